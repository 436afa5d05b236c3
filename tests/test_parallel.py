"""The pool: order, errors, cancellation, and leaving it in every way."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading

import pytest

from manifestctl.errors import DeniedError, InterruptedRun, NotFoundError
from manifestctl.parallel import HOPELESS, Future, Pool
from manifestctl.runtime import Cancel

PATIENCE = 5


def test_results_come_in_the_order_of_the_arguments() -> None:
    # Each call waits for the one after it, so that they end in the reverse order.
    ended = [threading.Event() for _ in range(5)]
    ended[4].set()
    order: list[int] = []

    def call(number: int) -> int:
        if number < 4:
            assert ended[number + 1].wait(PATIENCE)
        order.append(number)
        if number:
            ended[number].set()
        return number * 10

    with Pool(5, Cancel()) as pool:
        ended[4].clear()
        assert pool.map(call, range(5)) == [0, 10, 20, 30, 40]
    assert order == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(("size", "most"), [(1, 1), (3, 3), (0, 1), (-2, 1)])
def test_no_more_threads_than_the_size(size: int, most: int) -> None:
    lock = threading.Lock()
    names: set[str] = set()
    running = 0
    peak = 0
    full = threading.Barrier(most)

    def call(_: int) -> None:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
            names.add(threading.current_thread().name)
        full.wait(PATIENCE)
        with lock:
            running -= 1

    with Pool(size, Cancel()) as pool:
        pool.map(call, range(most * 3))
    assert peak == most
    assert all(name.startswith("manifestctl") for name in names)


def test_no_thread_starts_before_there_is_work() -> None:
    before = threading.active_count()
    with Pool(16, Cancel()) as pool:
        assert threading.active_count() == before
        assert pool.map(str, []) == []
        assert pool.submit(str, 1).result(PATIENCE) == "1"
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_the_first_error_in_order_is_raised_after_all_calls_ended() -> None:
    slow_ended = threading.Event()
    quick_failed = threading.Event()

    def call(number: int) -> int:
        if number == 1:
            assert quick_failed.wait(PATIENCE)
            raise NotFoundError("the first in order")
        if number == 2:
            quick_failed.set()
            raise DeniedError("the first in time")
        if number == 3:
            assert quick_failed.wait(PATIENCE)
            slow_ended.set()
        return number

    with Pool(4, Cancel()) as pool, pytest.raises(NotFoundError, match="the first in order"):
        pool.map(call, range(4))
    assert slow_ended.is_set()


@pytest.mark.parametrize("size", [1, 4])
def test_behind_a_call_that_is_to_stop_the_others_none_begins(size: int) -> None:
    began: list[int] = []
    full = threading.Barrier(size)

    def call(number: int) -> None:
        began.append(number)
        # All threads are at work when the first call fails, so that whatever else began did so before.
        full.wait(PATIENCE)
        raise DeniedError(str(number))

    with Pool(size, Cancel()) as pool:
        with pytest.raises(DeniedError, match=r"^0$"):
            pool.map(call, range(100), stop=HOPELESS)
        assert sorted(began) == list(range(size))
        # What failed before says nothing of another time.
        assert pool.map(str, range(3), stop=HOPELESS) == ["0", "1", "2"]


@pytest.mark.parametrize("stop", [(), HOPELESS])
def test_other_errors_stop_no_other_call(stop: tuple[type[Exception], ...]) -> None:
    began: list[int] = []

    def call(number: int) -> None:
        began.append(number)
        raise NotFoundError(str(number))

    with Pool(2, Cancel()) as pool, pytest.raises(NotFoundError, match=r"^0$"):
        pool.map(call, range(20), stop=stop)
    assert sorted(began) == list(range(20))


class _Holding(Cancel):
    """Holds up the first call, which a thread has taken but not begun, until the thread of the second takes a third."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = itertools.count(1)
        self._third = threading.Event()

    def check(self) -> None:
        super().check()
        number = next(self._taken)
        if number == 1:
            assert self._third.wait(PATIENCE)
        if number == 3:
            self._third.set()


def test_a_call_before_one_that_failed_is_made_all_the_same() -> None:
    # So which error is raised does not hang on the order in which threads come to their calls.
    def call(number: int) -> None:
        raise DeniedError(str(number))

    with Pool(2, _Holding()) as pool, pytest.raises(DeniedError, match=r"^0$"):
        pool.map(call, range(5), stop=HOPELESS)


def test_an_interruption_goes_before_other_errors() -> None:
    cancel = Cancel()

    def call(_: int) -> None:
        cancel.set(15)
        raise DeniedError("what went wrong meanwhile")

    with Pool(1, cancel) as pool, pytest.raises(InterruptedRun):
        pool.map(call, range(3))


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), KeyboardInterrupt(), MemoryError()])
def test_whatever_a_call_raises_reaches_the_caller(error: BaseException) -> None:
    def call(_: int) -> None:
        raise error

    with Pool(2, Cancel()) as pool:
        future = pool.submit(call, 0)
        with pytest.raises(type(error)):
            future.result(PATIENCE)


def test_a_cancelled_run_starts_no_new_call() -> None:
    cancel = Cancel()
    started = threading.Event()
    released = threading.Event()
    ran: list[int] = []

    def call(number: int) -> None:
        ran.append(number)
        started.set()
        assert released.wait(PATIENCE)

    with Pool(1, cancel) as pool:
        futures = [pool.submit(call, number) for number in range(3)]
        assert started.wait(PATIENCE)
        cancel.set(15)
        released.set()
        errors = [future.exception(PATIENCE) for future in futures]
    assert ran == [0]
    assert errors[0] is None
    assert [type(error) for error in errors[1:]] == [InterruptedRun, InterruptedRun]


def test_leaving_by_an_error_drops_what_has_not_started_and_does_not_wait() -> None:
    started = threading.Event()
    released = threading.Event()
    ran: list[int] = []

    def call(number: int) -> None:
        ran.append(number)
        started.set()
        assert released.wait(PATIENCE)

    futures: list[Future[None]] = []
    with contextlib.suppress(InterruptedRun), Pool(1, Cancel()) as pool:
        futures += [pool.submit(call, number) for number in range(5)]
        assert started.wait(PATIENCE)
        raise InterruptedRun(2)
    # The call that runs is still held, so that nobody can have waited for it.
    assert not futures[0].done()
    assert all(future.cancelled() for future in futures[1:])
    released.set()
    assert futures[0].result(PATIENCE) is None
    assert ran == [0]


def test_leaving_normally_waits_for_what_was_submitted() -> None:
    ran: list[int] = []
    gate = threading.Event()

    def call(number: int) -> None:
        assert gate.wait(PATIENCE)
        ran.append(number)

    with Pool(2, Cancel()) as pool:
        for number in range(6):
            pool.submit(call, number)
        gate.set()
    assert sorted(ran) == list(range(6))
    with pytest.raises(RuntimeError):
        pool.submit(call, 7)


def test_pools_may_be_nested() -> None:
    cancel = Cancel()

    def outer(number: int) -> list[int]:
        with Pool(2, cancel) as inner:
            return inner.map(lambda digit: number * 10 + digit, range(3))

    with Pool(2, cancel) as pool:
        assert pool.map(outer, range(4)) == [[n * 10 + digit for digit in range(3)] for n in range(4)]


def test_an_inner_pool_ends_with_the_run() -> None:
    cancel = Cancel()

    def outer(_: int) -> None:
        with Pool(1, cancel) as inner:
            cancel.set(2)
            inner.map(str, range(3))

    with Pool(1, cancel) as pool, pytest.raises(InterruptedRun):
        pool.map(outer, [0])


@pytest.mark.skipif(os.name != "posix", reason="no such signals here")
def test_a_wait_is_left_as_soon_as_the_waiting_thread_is_interrupted() -> None:
    released = threading.Event()
    cancel = Cancel()

    def handle(signum: int, _frame: object) -> None:
        cancel.set(signum)
        raise InterruptedRun(signum)

    def call(_: int) -> bool:
        os.kill(os.getpid(), signal.SIGUSR1)
        return released.wait(PATIENCE)

    old = signal.signal(signal.SIGUSR1, handle)
    try:
        with pytest.raises(InterruptedRun) as caught, Pool(1, cancel) as pool:
            pool.map(call, range(3))
    finally:
        signal.signal(signal.SIGUSR1, old)
    assert caught.value.signum == signal.SIGUSR1
    assert not released.is_set()
    released.set()
