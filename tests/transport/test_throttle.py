"""Concurrency yields to 429 and recovers; writes keep to a rate."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from manifestctl.errors import InterruptedRun
from manifestctl.runtime import Runtime
from manifestctl.transport.throttle import Pacer, Throttle
from tests.support.world import World

PATIENCE = 5.0


def halve(throttle: Throttle, times: int = 1) -> None:
    for _ in range(times):
        with throttle.place() as since:
            pass
        throttle.slow_down(since)


@pytest.mark.parametrize(("most", "places"), [(16, [8, 4, 2, 1, 1]), (5, [2, 1, 1]), (1, [1]), (0, [1])])
def test_each_refusal_halves_down_to_one(most: int, places: list[int]) -> None:
    throttle = Throttle(most)
    assert throttle.places == max(1, most)
    seen = []
    for _ in places:
        halve(throttle)
        seen.append(throttle.places)
    assert seen == places


def test_refusals_of_requests_that_were_under_way_together_are_one_sign() -> None:
    throttle = Throttle(16)
    with contextlib.ExitStack() as stack:
        together = [stack.enter_context(throttle.place()) for _ in range(3)]
    for since in together:
        throttle.slow_down(since)
    assert throttle.places == 8
    halve(throttle)
    assert throttle.places == 4


def test_it_recovers_slowly_and_no_further_than_it_began() -> None:
    throttle = Throttle(4)
    halve(throttle)
    seen = []
    for _ in range(40):
        throttle.speed_up()
        seen.append(throttle.places)
    assert seen == [2] * 7 + [3] * 8 + [4] * 25


def test_a_refusal_takes_back_what_was_won_towards_the_next_place() -> None:
    throttle = Throttle(4)
    halve(throttle)
    for _ in range(7):
        throttle.speed_up()
    halve(throttle)
    throttle.speed_up()
    assert throttle.places == 1


def test_no_more_are_under_way_than_there_are_places() -> None:
    throttle, lock = Throttle(2), threading.Lock()
    both, busy, most = threading.Barrier(2, timeout=PATIENCE), 0, 0

    def work(_: int) -> None:
        nonlocal busy, most
        with throttle.place():
            with lock:
                busy += 1
                most = max(most, busy)
            both.wait()
            with lock:
                busy -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(16)))
    assert most == 2


def test_who_waits_comes_in_when_a_place_is_won_back() -> None:
    throttle = Throttle(2)
    halve(throttle)
    entered, leave = threading.Event(), threading.Event()

    def second() -> None:
        with throttle.place():
            entered.set()
            leave.wait(PATIENCE)

    with throttle.place():
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.02)
        for _ in range(8):
            throttle.speed_up()
        assert entered.wait(PATIENCE)
        leave.set()
        thread.join(PATIENCE)


def test_a_request_that_is_made_within_another_shares_its_place() -> None:
    throttle = Throttle(1)
    with throttle.place(), throttle.place():
        pass
    free = threading.Event()

    def other() -> None:
        with throttle.place():
            free.set()

    with throttle.place():
        thread = threading.Thread(target=other)
        thread.start()
        assert not free.wait(0.02)
    assert free.wait(PATIENCE)
    thread.join(PATIENCE)


def test_a_failure_gives_the_place_back() -> None:
    throttle = Throttle(1)
    with pytest.raises(ZeroDivisionError), throttle.place():
        raise ZeroDivisionError

    def enter() -> int:
        with throttle.place() as since:
            return since

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(enter).result(PATIENCE) == 0


@pytest.mark.parametrize(
    ("rate", "burst", "calls", "slept"),
    [
        (8.0, 2, 2, []),
        (8.0, 2, 5, [0.125] * 3),
        (1.0, 1, 3, [1.0, 1.0]),
        (0.5, 1, 2, [2.0]),
    ],
)
def test_calls_beyond_the_burst_keep_to_the_rate(rate: float, burst: int, calls: int, slept: list[float]) -> None:
    world = World()
    pacer = Pacer(rate, burst, world.runtime)
    for _ in range(calls):
        pacer.wait()
    assert world.slept == pytest.approx(slept)


def test_time_that_passed_fills_the_bucket_up_to_the_burst() -> None:
    world = World()
    pacer = Pacer(1.0, 2, world.runtime)
    for _ in range(2):
        pacer.wait()
    world.advance(100.0)
    for _ in range(3):
        pacer.wait()
    assert world.slept == pytest.approx([1.0])


def test_callers_that_come_together_wait_one_behind_the_other() -> None:
    asked: list[float] = []
    # A sleep in which no time passes: all have come at the same moment.
    pacer = Pacer(1.0, 1, Runtime(lambda: 0.0, lambda: 0.0, asked.append, lambda: 0.0, {}))
    for _ in range(4):
        pacer.wait()
    assert asked == [1.0, 2.0, 3.0]


def test_a_cancelled_run_waits_for_no_turn() -> None:
    world = World()
    pacer = Pacer(1.0, 1, world.runtime)
    pacer.wait()
    world.cancel.set(15)
    with pytest.raises(InterruptedRun):
        pacer.wait()
