"""Work ahead of its time: silent until it is needed, and never in anybody's way."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import DeniedError
from manifestctl.events import Noted
from manifestctl.stores.ahead import Ahead
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable


class Work:
    """Something to do on another thread, in steps that the test allows."""

    def __init__(self, ahead: Ahead, *messages: str) -> None:
        self.ahead, self.messages = ahead, messages
        self.begun, self.go_on, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self) -> None:
        first, *rest = self.messages
        self.ahead.runtime.observe(Noted(first))
        self.begun.set()
        self.go_on.wait(10)
        for message in rest:
            self.ahead.runtime.observe(Noted(message))
        self.ended.set()


def texts(world: World) -> list[str]:
    return [event.message for event in world.heard(Noted)]


def test_what_is_heard_ahead_is_let_out_when_it_is_needed() -> None:
    world = World()
    ahead = Ahead(world.runtime)
    work = Work(ahead, "one", "two")
    ahead.begin(work)
    assert work.begun.wait(10)
    ahead.runtime.observe(Noted("of the run itself"))
    assert texts(world) == ["of the run itself"]
    ahead.needed()
    assert texts(world) == ["of the run itself", "one"]
    work.go_on.set()
    assert work.ended.wait(10)
    assert texts(world) == ["of the run itself", "one", "two"]
    ahead.needed()
    assert len(world.events) == 3


def test_what_nobody_needs_is_never_heard() -> None:
    world = World()
    ahead = Ahead(world.runtime)
    work = Work(ahead, "one", "two")
    ahead.begin(work)
    work.go_on.set()
    assert work.ended.wait(10)
    assert world.events == []


def test_the_work_itself_does_not_need_it() -> None:
    world = World()
    ahead = Ahead(world.runtime)
    ended = threading.Event()

    def work() -> None:
        ahead.runtime.observe(Noted("one"))
        ahead.needed()
        ended.set()

    ahead.begin(work)
    assert ended.wait(10)
    assert world.events == []


@pytest.mark.parametrize("error", [DeniedError("no"), KeyError("a bug"), OSError("x")])
def test_failures_are_for_whoever_needs_it(error: Exception) -> None:
    # One that got out of its thread would fail the test.
    world, ended = World(), threading.Event()
    ahead = Ahead(world.runtime)

    def work() -> None:
        ended.set()
        raise error

    ahead.begin(work)
    assert ended.wait(10)
    ahead.needed()
    assert world.events == []


def test_it_does_not_keep_a_process_alive() -> None:
    ahead, go_on = Ahead(World().runtime), threading.Event()
    found: list[bool] = []
    begun = threading.Event()

    def work() -> None:
        found.append(threading.current_thread().daemon)
        begun.set()
        go_on.wait(10)

    ahead.begin(work)
    assert begun.wait(10)
    go_on.set()
    assert found == [True]


def test_a_machine_without_a_thread_to_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", no_start)
    done: list[int] = []
    work: Callable[[], object] = lambda: done.append(1)  # noqa: E731 - it says the type
    Ahead(World().runtime).begin(work)
    assert done == []


def test_all_else_of_the_runtime_stays() -> None:
    world = World({"NAME": "value"})
    runtime = Ahead(world.runtime).runtime
    runtime.sleep(1.5)
    assert (world.slept, runtime.environ["NAME"], runtime.cancel) == ([1.5], "value", world.cancel)
    assert (runtime.now(), runtime.monotonic()) == (world.now, 1.5)
