"""A bounded pool of threads whose waiting can be interrupted."""

from __future__ import annotations

from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, TypeVar

from manifestctl.errors import DeniedError, InterruptedRun, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from manifestctl.runtime import Cancel

T = TypeVar("T")
R = TypeVar("R")

__all__ = ["HOPELESS", "Future", "Pool"]

HOPELESS = (DeniedError, UnreachableError)
"""Errors of one request after which others to the same place are not worth making: they would fare the same."""


class Pool:
    """Runs calls on at most ``size`` threads; used as a context manager.

    Only the thread that made the pool submits to it, so no call ever waits for a place behind itself.
    Threads start when there is work for them. Leaving the block normally waits for what was submitted;
    leaving it by an exception drops what has not started and does not wait.
    """

    def __init__(self, size: int, cancel: Cancel) -> None:
        """Make a pool; no thread starts yet."""
        self._cancel = cancel
        self._executor = ThreadPoolExecutor(max(1, size), thread_name_prefix="manifestctl")

    def submit(self, call: Callable[[T], R], argument: T) -> Future[R]:
        """Start ``call(argument)`` when a thread is free."""
        return self._executor.submit(self._run, call, argument)

    def map(self, call: Callable[[T], R], arguments: Iterable[T], *, stop: tuple[type[Exception], ...] = ()) -> list[R]:
        """Run the call for each argument; results in the order of the arguments.

        Once a call has raised an error of the kinds in ``stop``, those behind it that have not begun are dropped. The
        first error, in the order of the arguments, is raised after all that began have ended, so it is the same as if
        all of them had run; but an interruption goes before any other.
        """
        stopped_by: list[int] = []

        def run(numbered: tuple[int, T]) -> R:
            number, argument = numbered
            if min(stopped_by, default=number) < number:
                raise CancelledError
            try:
                return call(argument)
            except stop:
                stopped_by.append(number)
                raise

        futures = [self.submit(run, numbered) for numbered in enumerate(arguments)]
        errors = [error for future in futures if (error := future.exception()) is not None]
        if errors:
            raise next((error for error in errors if isinstance(error, InterruptedRun)), errors[0])
        return [future.result() for future in futures]

    def _run(self, call: Callable[[T], R], argument: T) -> R:
        self._cancel.check()
        return call(argument)

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the calls, or drop them if the block failed."""
        self._executor.shutdown(wait=kind is None, cancel_futures=kind is not None)
