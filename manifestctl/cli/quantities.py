"""Quantities as users write them: durations and platforms in lists."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.model.platforms import Platform
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", re.ASCII)
_SECONDS = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_LONGEST = 1000 * 3600.0


def duration(text: str) -> float:
    """Parse ``90s``, ``10m``, ``1h30m`` or a number of seconds; raises `InputError`."""
    given = text.strip()
    match = _DURATION.fullmatch(f"{given}s" if _SECONDS.fullmatch(given) else given)
    if match is None or not any(match.groups()):
        raise InputError(f"'{escape(text, 80)}' is not a duration", hint="Write 90s, 10m or 1h30m.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total > _LONGEST:
        raise InputError(f"'{escape(text, 80)}' is too long for a duration", hint="The longest is 1000h.")
    return total


@contextlib.contextmanager
def given_by(option: str) -> Iterator[None]:
    """Let an `InputError` about a value begin with the option that the value was given by."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{option}: {error.message}", hint=error.hint) from error


def platforms(texts: Iterable[str], option: str) -> tuple[Platform, ...]:
    """Parse platforms given by repeated options or with commas, each once; raises `InputError`."""
    found: dict[Platform, None] = {}
    for text in texts:
        names = [name for part in text.split(",") if (name := part.strip())]
        if not names:
            # A variable that was not set must not switch a check off.
            raise InputError(
                f"{option} '{escape(text, 80)}' names no platform", hint="Write os/arch, e.g. linux/amd64."
            )
        with given_by(option):
            found |= dict.fromkeys(Platform.parse(name) for name in names)
    return tuple(found)


def pair(text: str, option: str, example: str = "org.example.key=value") -> tuple[str, str]:
    """Split ``KEY=VALUE`` at the first ``=``; raises `InputError`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"{option} '{escape(text, 200)}' is not KEY=VALUE", hint=f"Write {example}.")
    return key, value


def annotation_pairs(texts: Iterable[str]) -> dict[str, str]:
    """Parse ``--annotation`` options; raises `InputError`, also for a key that is given twice."""
    pairs = [pair(text, "--annotation") for text in texts]
    if len({key for key, _ in pairs}) != len(pairs):
        raise InputError("--annotation gives the same key twice", hint="Leave one of them out.")
    return dict(pairs)
