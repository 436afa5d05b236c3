"""How fast one host is asked: concurrency that yields to 429, and a rate for writes where the host has one."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.runtime import Runtime

_RECOVERY = 8
"""This many answers without 429 win one place back."""


class Throttle:
    """Limits how many requests to a host are under way; halves the limit on 429 and lets it recover slowly."""

    def __init__(self, places: int) -> None:
        """Begin with this many places."""
        self._most = self._places = max(1, places)
        self._busy = 0
        self._good = 0
        self._halved = 0
        self._changed = threading.Condition()
        self._of_thread = threading.local()

    @property
    def places(self) -> int:
        """How many requests may be under way now."""
        return self._places

    @contextlib.contextmanager
    def place(self) -> Iterator[int]:
        """Hold one place while a request is under way; gives what `slow_down` wants to know.

        A request whose body is read from another one of the same thread shares its place: with one place left, each
        would wait for the other.
        """
        if getattr(self._of_thread, "holds", False):
            yield self._halved
            return
        with self._changed:
            while self._busy >= self._places:
                self._changed.wait()
            self._busy += 1
            since = self._halved
        self._of_thread.holds = True
        try:
            yield since
        finally:
            self._of_thread.holds = False
            with self._changed:
                self._busy -= 1
                self._changed.notify()

    def slow_down(self, since: int) -> None:
        """Halve the places: the host said 429 to a request that began at ``since``.

        The answers to requests that were under way together are one sign, not many.
        """
        with self._changed:
            self._good = 0
            if since == self._halved:
                self._halved += 1
                self._places = max(1, self._places // 2)

    def speed_up(self) -> None:
        """Count an answer that was not 429."""
        with self._changed:
            if self._places == self._most:
                return
            self._good += 1
            if self._good >= _RECOVERY:
                self._good = 0
                self._places += 1
                self._changed.notify()


class Pacer:
    """A token bucket: at most ``rate`` calls a second after a burst of ``burst``."""

    def __init__(self, rate: float, burst: int, runtime: Runtime) -> None:
        """Begin with a full bucket."""
        self._rate = rate
        self._burst = float(burst)
        self._left = float(burst)
        self._runtime = runtime
        self._then = runtime.monotonic()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next call may be made."""
        with self._lock:
            now = self._runtime.monotonic()
            self._left = min(self._burst, self._left + (now - self._then) * self._rate)
            self._then = now
            self._left -= 1
            delay = max(0.0, -self._left / self._rate)
        if delay:
            self._runtime.sleep(delay)
