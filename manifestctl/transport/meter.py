"""Counts of what a run sent and received, for reports and for tests."""

from __future__ import annotations

import threading
from typing import TypedDict


class Requests(TypedDict):
    """The counts as reports show them; bytes are those of bodies."""

    sent: int
    retried: int
    bytes_in: int
    bytes_out: int


class Meter:
    """A thread-safe counter shared by all clients of a run."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._lock = threading.Lock()
        self._counts: Requests = {"sent": 0, "retried": 0, "bytes_in": 0, "bytes_out": 0}

    def sent(self) -> None:
        """Count a request."""
        with self._lock:
            self._counts["sent"] += 1

    def sent_bytes(self, count: int) -> None:
        """Count bytes of a request's body."""
        with self._lock:
            self._counts["bytes_out"] += count

    def received(self, bytes_in: int) -> None:
        """Count bytes of a response's body."""
        with self._lock:
            self._counts["bytes_in"] += bytes_in

    def retried(self) -> None:
        """Count a retry of an operation."""
        with self._lock:
            self._counts["retried"] += 1

    def counts(self) -> Requests:
        """Return a copy of the counts."""
        with self._lock:
            return self._counts.copy()
