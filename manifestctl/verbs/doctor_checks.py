"""What `doctor` says of one thing that it looked at: `Check`, and how errors become one."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import InterruptedRun
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from manifestctl.errors import ManifestctlError

State = Literal["ok", "failed", "warning", "skipped"]

_DAY, _HOUR = 86400.0, 3600.0
# Who reads this has run it.
_OWN_ADVICE = re.compile(r"(?<=\.) *'manifestctl doctor' [^.]*\.|[;,]? *'manifestctl doctor' [^.]*(?=\.)")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that a push needs, and what was seen of it. All texts are one safe line each.

    ``name`` is stable. ``next_step`` is empty where there is nothing to do. ``statement`` is an IAM policy statement
    that would allow what was denied, as JSON on one line; empty if there is none. ``exit_code`` is what a push would
    end with because of it: 0 unless the state is ``failed``.
    """

    name: str
    state: State
    seen: str
    next_step: str = ""
    statement: str = ""
    exit_code: int = 0


def ok(name: str, seen: str) -> Check:
    """Return that all is well."""
    return Check(name, "ok", seen)


def warning(name: str, seen: str, next_step: str = "") -> Check:
    """Return what stops no push, but should be known."""
    return Check(name, "warning", seen, next_step)


def skipped(name: str, why: str) -> Check:
    """Return that something was not looked at, and why."""
    return Check(name, "skipped", why)


def all_skipped(names: Iterable[str], why: str) -> list[Check]:
    """Return that several things were not looked at, for one reason."""
    return [skipped(name, why) for name in names]


def failed(name: str, error: ManifestctlError, doing: str = "") -> Check:
    """Return that an error stands in the way; ``doing`` is what its message begins with. Raises as `words` does."""
    return Check(name, "failed", words(error, doing), advice(error), error.statement, error.exit_code)


def as_warning(check: Check) -> Check:
    """Return a check that failed as one that stops nothing after all."""
    return Check(check.name, "warning", check.seen, check.next_step, check.statement)


def words(error: ManifestctlError, doing: str = "") -> str:
    """Return an error's message, without ``doing`` and "failed" at its beginning.

    What ended the run says nothing about what was looked at: `InterruptedRun` is raised.
    """
    if isinstance(error, InterruptedRun):
        raise error
    return error.message.removeprefix(f"{doing} failed: ") if doing else error.message


def advice(error: ManifestctlError) -> str:
    """Return an error's next step, without the advice to run what is run already."""
    return _OWN_ADVICE.sub("", error.hint).strip()


def moment(seconds: float, now: float) -> str:
    """Return a time as ``2026-03-01 12:00 UTC, in 97 days``."""
    shown = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    left = seconds - now
    for unit, word in ((_DAY, "days"), (_HOUR, "hours"), (60.0, "minutes")):
        if abs(left) >= 2 * unit:
            count = int(abs(left) / unit)
            return f"{shown}, {f'in {count} {word}' if left > 0 else f'{count} {word} ago'}"
    return f"{shown}, {'in a moment' if left > 0 else 'just now'}"
