"""What is done once, however many threads want its outcome: `Once`."""

from __future__ import annotations

import threading
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar

from manifestctl.errors import ManifestctlError
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


@dataclass(slots=True)
class _Cell:
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: bool = False
    value: Any = None
    error: ManifestctlError | None = None


class Once:
    """Remembers what each call gave, or the error that it raised, by its key.

    Who asks while the call for a key is under way waits for it; other keys do not wait. That cannot block a pool of
    threads: whoever is waited for has begun already, and a call must not ask for another. An error is raised as a copy
    each time, for whoever catches it may add to it. What is no error of manifestctl's is a bug, and not remembered.
    """

    def __init__(self) -> None:
        """Begin with nothing remembered."""
        self._lock = threading.Lock()
        self._cells: dict[Hashable, _Cell] = {}

    def get(self, key: Hashable, call: Callable[[], T]) -> T:
        """Return what the call gives; one key always stands for the same call."""
        return self._settled(key, lambda cell: cell.value if cell.done else call())

    def change(self, key: Hashable, step: Callable[[T | None], T]) -> T:
        """Let ``step`` make of what is remembered what will be; it is given None if nothing is yet.

        A remembered error is raised, and stays.
        """
        return self._settled(key, lambda cell: step(cell.value))

    def _settled(self, key: Hashable, settle: Callable[[_Cell], T]) -> T:
        with self._lock:
            cell = self._cells.setdefault(key, _Cell())
        with cell.lock:
            if cell.error is None:
                try:
                    cell.value = value = settle(cell)
                except ManifestctlError as error:
                    cell.error = error
                else:
                    cell.done = True
                    return value
        raise cell.error.again()
