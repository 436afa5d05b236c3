"""Runtimes for these tests: an environment of one's own, a clock that jumps, and the events that were observed."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manifestctl.runtime import Cancel, Runtime

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manifestctl.events import Event


@dataclass(slots=True)
class World:
    """What one test gives to the library, and what it hears from it. ``step``: seconds that a look at the clock takes."""

    environ: Mapping[str, str] = field(default_factory=dict)
    step: float = 0.0
    events: list[Event] = field(default_factory=list)
    cancel: Cancel = field(default_factory=Cancel)
    time: float = 0.0

    @property
    def runtime(self) -> Runtime:
        """The runtime of this world."""
        return Runtime(
            monotonic=self.monotonic,
            now=time.time,
            sleep=self.cancel.sleep,
            random=random.random,
            environ=self.environ,
            cancel=self.cancel,
            observe=self.events.append,
        )

    def monotonic(self) -> float:
        """Return a time that is later by ``step`` with each call."""
        self.time += self.step
        return self.time

    @property
    def warnings(self) -> list[str]:
        """The texts of the events that have one."""
        return [getattr(event, "message", "") for event in self.events]
