"""The outside world as a test gives it to the library: clocks that only jump, chance that is not, and all that is heard."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, TypeVar

from manifestctl.events import Exchanged
from manifestctl.runtime import Cancel, Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manifestctl.events import Event

E = TypeVar("E")

EPOCH = 1_700_000_000.0
"""What the wall clock of a new world says, in seconds; its monotonic clock says 0."""


class World:
    """Gives a `Runtime` whose sleep returns at once and moves both clocks, and keeps what happened.

    ``slept`` holds the seconds of every sleep in order, ``events`` everything that was observed. The chance is a
    seeded generator unless a test gives its own. All of it may be used from several threads.
    """

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        now: float = EPOCH,
        chance: Callable[[], float] | None = None,
    ) -> None:
        """Begin at ``now`` seconds of the wall clock, with an environment that is empty unless given."""
        self.environ: dict[str, str] = dict(environ or {})
        self.slept: list[float] = []
        self.events: list[Event] = []
        self.cancel = Cancel()
        self._epoch = now
        self._passed = 0.0
        self._lock = threading.Lock()
        self.runtime = Runtime(
            monotonic=lambda: self._passed,
            now=lambda: self.now,
            sleep=self._sleep,
            random=chance or random.Random(1).random,
            environ=self.environ,
            cancel=self.cancel,
            observe=self._observe,
        )

    @property
    def now(self) -> float:
        """The wall clock, in seconds since 1970."""
        return self._epoch + self._passed

    def advance(self, seconds: float) -> None:
        """Let time pass, without anybody having slept."""
        with self._lock:
            self._passed += seconds

    @property
    def said(self) -> list[Event]:
        """What was observed beside the wire log."""
        return [event for event in self.events if not isinstance(event, Exchanged)]

    def heard(self, kind: type[E]) -> list[E]:
        """Return the events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    def _sleep(self, seconds: float) -> None:
        self.cancel.check()
        with self._lock:
            self.slept.append(seconds)
            self._passed += seconds
        self.cancel.check()

    def _observe(self, event: Event) -> None:
        with self._lock:
            self.events.append(event)
