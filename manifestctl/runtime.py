"""What a run takes from the outside world: clocks, sleep, chance, environment, cancellation, an observer.

The library reads none of these by itself; `manifestctl.cli.app` makes one `Runtime` and passes it down,
and tests pass one of their own.
"""

from __future__ import annotations

import os
import random
import threading
import time
from dataclasses import field
from typing import TYPE_CHECKING, Self

from manifestctl.errors import InterruptedRun
from manifestctl.events import ignore
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from manifestctl.events import Observer


class Cancel:
    """A flag that stops a run: it wakes sleepers and lets no new request start."""

    def __init__(self) -> None:
        """Begin not cancelled."""
        # With a condition's re-entrant lock a signal handler may call `set` while its own thread sleeps; an event's
        # lock could hang there.
        self._condition = threading.Condition()
        self._cancelled = False
        self._signum = 0

    def set(self, signum: int) -> None:
        """Cancel the run because of a signal."""
        with self._condition:
            self._signum = signum
            self._cancelled = True
            self._condition.notify_all()

    def check(self) -> None:
        """Raise `InterruptedRun` if the run was cancelled."""
        if self._cancelled:
            raise InterruptedRun(self._signum)

    def sleep(self, seconds: float) -> None:
        """Sleep, but wake and raise `InterruptedRun` as soon as the run is cancelled."""
        with self._condition:
            self._condition.wait_for(lambda: self._cancelled, min(seconds, threading.TIMEOUT_MAX))
        self.check()


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that a run takes from outside.

    ``monotonic`` and ``now`` return seconds (`time.monotonic`, `time.time`), ``sleep`` takes seconds,
    ``random`` returns a float in [0, 1), ``environ`` is a mapping like `os.environ`; ``uid`` is the user's number, None
    where users have none.
    """

    monotonic: Callable[[], float]
    now: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]
    environ: Mapping[str, str] = field(repr=False)
    cancel: Cancel = field(default_factory=Cancel)
    observe: Observer = ignore
    uid: int | None = None

    @classmethod
    def of_system(cls, environ: Mapping[str, str], *, cancel: Cancel | None = None, observe: Observer = ignore) -> Self:
        """Return a runtime with the system's clocks and user; the environment is the caller's choice."""
        cancel = cancel or Cancel()
        uid = os.getuid() if hasattr(os, "getuid") else None
        return cls(time.monotonic, time.time, cancel.sleep, random.random, environ, cancel, observe, uid)
