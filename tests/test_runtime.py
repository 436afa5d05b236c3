"""A run takes clocks, chance and environment as values; a signal wakes its sleepers."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from manifestctl.errors import InterruptedRun
from manifestctl.events import Event, Exchanged, Noted, Retried, Warned, ignore
from manifestctl.runtime import Cancel, Runtime


def test_a_run_that_is_not_cancelled_goes_on() -> None:
    cancel = Cancel()
    cancel.check()
    for seconds in (0, -1, 0.0005):
        cancel.sleep(seconds)


def test_a_cancelled_run_says_by_which_signal() -> None:
    cancel = Cancel()
    cancel.set(15)
    with pytest.raises(InterruptedRun) as caught:
        cancel.check()
    assert caught.value.signum == 15
    cancel.set(2)
    with pytest.raises(InterruptedRun) as again:
        cancel.sleep(3600)
    assert again.value.signum == 2


@pytest.mark.parametrize("seconds", [3600.0, 1e300, float("inf")])
def test_cancelling_wakes_every_sleeper_at_once(seconds: float) -> None:
    cancel = Cancel()
    woken: list[int] = []
    asleep = threading.Barrier(4)

    def sleeper() -> None:
        asleep.wait(5)
        try:
            cancel.sleep(seconds)
        except InterruptedRun as error:
            woken.append(error.signum)

    threads = [threading.Thread(target=sleeper, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    asleep.wait(5)
    cancel.set(2)
    for thread in threads:
        thread.join(5)
    assert woken == [2, 2, 2]


def test_a_signal_handler_may_cancel_while_its_own_thread_is_about_to_sleep() -> None:
    cancel = Cancel()
    done = threading.Event()

    def interrupted() -> None:
        # A handler runs between any two steps of a thread, also while that holds the lock.
        with cancel._condition:
            cancel.set(2)
        done.set()

    threading.Thread(target=interrupted, daemon=True).start()
    assert done.wait(5)
    with pytest.raises(InterruptedRun):
        cancel.check()


@pytest.mark.skipif(os.name != "posix", reason="no such signals here")
def test_a_signal_ends_a_sleep_in_the_main_thread() -> None:
    cancel = Cancel()

    def handle(signum: int, _frame: object) -> None:
        cancel.set(signum)

    old = signal.signal(signal.SIGUSR1, handle)
    threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
    started = time.monotonic()
    try:
        with pytest.raises(InterruptedRun) as caught:
            cancel.sleep(60)
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert caught.value.signum == signal.SIGUSR1
    assert time.monotonic() - started < 5


def test_the_systems_runtime_has_real_clocks_and_the_environment_it_is_given() -> None:
    heard: list[Event] = []
    cancel = Cancel()
    runtime = Runtime.of_system({"A": "b"}, cancel=cancel, observe=heard.append)
    assert runtime.environ == {"A": "b"}
    assert abs(runtime.now() - time.time()) < 5
    assert abs(runtime.monotonic() - time.monotonic()) < 5
    assert 0 <= runtime.random() < 1
    runtime.observe(Noted("x"))
    assert heard == [Noted("x")]
    cancel.set(15)
    with pytest.raises(InterruptedRun):
        runtime.sleep(3600)


def test_runtimes_do_not_share_their_cancellation() -> None:
    first, second = Runtime.of_system({}), Runtime.of_system({})
    first.cancel.set(2)
    second.cancel.check()
    second.sleep(0)
    assert first.observe is ignore


@pytest.mark.parametrize(
    "event",
    [Warned("careful"), Noted("step"), Retried("GET x", "503", 1, 5, 0.5), Exchanged("GET", "http://h/", 200, 0.1, 0)],
)
def test_events_are_values(event: Event) -> None:
    ignore(event)
    assert event == event.__class__(*(getattr(event, name) for name in event.__dataclass_fields__))
    assert hash(event) == hash(event.__class__(*(getattr(event, name) for name in event.__dataclass_fields__)))
    with pytest.raises(AttributeError):
        setattr(event, next(iter(event.__dataclass_fields__)), "other")
