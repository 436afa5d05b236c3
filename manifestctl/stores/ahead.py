"""Work that is begun before it is needed: `Ahead`."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.events import Event
    from manifestctl.runtime import Runtime


class Ahead:
    """Runs work on threads of its own, of which nothing is heard until somebody needs what it is for.

    ``runtime`` is the one to do the work with: what is observed with it on such a thread is kept back until `needed`
    is called, and forgotten if that never happens. On all other threads it is like the one that was given.
    """

    def __init__(self, runtime: Runtime) -> None:
        """Begin with no work."""
        self.runtime = replace(runtime, observe=self._heard)
        self._observe = runtime.observe
        self._here = threading.local()
        self._held: list[Event] = []
        self._open = False
        self._lock = threading.RLock()

    def begin(self, work: Callable[[], object]) -> None:
        """Begin some work. Its result is dropped, and so is its failure: whoever needs it does it again, and hears."""

        def run() -> None:
            self._here.ahead = True
            with contextlib.suppress(Exception):
                work()

        # A machine that has no thread to spare does the work when it is needed.
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=run, name="manifestctl-ahead", daemon=True).start()

    def needed(self) -> None:
        """Hear that the work is needed, unless it is the work itself that says so: what it has to say is let out."""
        if self._open or self._is_ahead():
            return
        with self._lock:
            self._open = True
            held, self._held = self._held, []
            for event in held:
                self._observe(event)

    def _is_ahead(self) -> bool:
        return getattr(self._here, "ahead", False)

    def _heard(self, event: Event) -> None:
        if self._is_ahead():
            with self._lock:
                if not self._open:
                    self._held.append(event)
                    return
        self._observe(event)
