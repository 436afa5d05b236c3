"""Calls that are made once, however many threads want their result."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class Once:
    """Remembers what each call gave, or raised, by its key.

    Who asks while the call is under way waits for it. That cannot block a pool of threads: whoever is waited for has
    begun already, and a call must not ask for another.
    """

    def __init__(self) -> None:
        """Begin with nothing remembered."""
        self._lock = threading.Lock()
        self._calls: dict[Hashable, Future[Any]] = {}

    def get(self, key: Hashable, call: Callable[[], T]) -> T:
        """Return what the call gives; one key always stands for the same call."""
        with self._lock:
            first = key not in self._calls
            future: Future[T] = self._calls.setdefault(key, Future())
        if first:
            try:
                future.set_result(call())
            except BaseException as error:  # noqa: BLE001 - it is raised in everybody who waits, here too
                future.set_exception(error)
        return future.result()
