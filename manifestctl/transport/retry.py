"""Retries, at one level: around one registry operation (a manifest GET, a manifest PUT, a whole blob upload).

Full jitter between tries. A server's ``Retry-After`` is honoured; one that reaches past the deadline fails at once and
says so. Nothing here changes what is sent: the same call is made again.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from manifestctl.errors import UnreachableError
from manifestctl.events import Retried
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

    from manifestctl.runtime import Runtime
    from manifestctl.transport.meter import Meter

T = TypeVar("T")

_BASE = 0.5
_CAP = 20.0


def retry_after(value: str | None, now: float) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for (RFC 9110 §10.2.3), or None if it says nothing usable.

    ``now`` is the wall clock in seconds, for the form that is a date.
    """
    if value is None:
        return None
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        date = parsedate_to_datetime(value)
        # Dates of HTTP are in GMT, whether they say so or not.
        date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - now)
    except (ValueError, OverflowError):
        return None


class Retries:
    """Runs operations again when they fail in a passing way."""

    def __init__(self, runtime: Runtime, meter: Meter, *, tries: int, deadline: float) -> None:
        """Keep the limits: tries of an operation in all, and seconds from its first to its last."""
        self._runtime = runtime
        self._meter = meter
        self._tries = max(1, tries)
        self._deadline = deadline

    def run(self, operation: str, call: Callable[[], T]) -> T:
        """Make the call, and make it again after a transient `UnreachableError`; raises the last error.

        ``operation`` names it in the log, e.g. ``GET manifest of example.com/web:1``. If the outcome of any try was
        unknown, it is unknown in the last error too.
        """
        started = self._runtime.monotonic()
        try:
            return call()
        except UnreachableError as error:
            if not error.transient or self._tries == 1:
                raise
            return self._again(operation, call, error, started)

    def _again(self, operation: str, call: Callable[[], T], first: UnreachableError, started: float) -> T:
        # Most runs need no retry, and are spared the import.
        from tenacity import Retrying, retry_if_exception

        failures: list[UnreachableError] = []

        def attempt() -> T:
            if not failures:
                failures.append(first)
                raise first
            try:
                return call()
            except UnreachableError as error:
                error.outcome_unknown |= failures[-1].outcome_unknown
                failures.append(error)
                raise

        retrying = Retrying(
            retry=retry_if_exception(lambda error: isinstance(error, UnreachableError) and error.transient),
            wait=self._wait,
            stop=lambda state: self._stop(state, started),
            sleep=self._runtime.sleep,
            before_sleep=lambda state: self._report(operation, state),
            reraise=True,
        )
        try:
            return retrying(attempt)
        except UnreachableError as error:
            left = started + self._deadline - self._runtime.monotonic()
            if error.transient and error.retry_after is not None and error.retry_after > left:
                error.message += (
                    f"; it asks to wait {error.retry_after:.0f} s, which is past the deadline of {self._deadline:.0f} s"
                )
            raise

    def _wait(self, state: RetryCallState) -> float:
        error = _error(state)
        jittered: float = self._runtime.random() * min(_CAP, _BASE * 2.0**state.attempt_number)
        return max(jittered, error.retry_after or 0.0)

    def _stop(self, state: RetryCallState, started: float) -> bool:
        # Tenacity's own clock is not the one that was handed down.
        elapsed = self._runtime.monotonic() - started
        return state.attempt_number >= self._tries or elapsed + state.upcoming_sleep > self._deadline

    def _report(self, operation: str, state: RetryCallState) -> None:
        self._meter.retried()
        error = _error(state)
        self._runtime.observe(
            Retried(escape(operation), error.message, state.attempt_number, self._tries, state.upcoming_sleep)
        )


def _error(state: RetryCallState) -> UnreachableError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, UnreachableError)  # noqa: S101 - the retry condition admits nothing else
    return error
