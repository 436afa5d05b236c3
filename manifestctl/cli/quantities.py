"""Quantities as users write them: durations and platforms in lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.model.platforms import Platform
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterable

_DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", re.ASCII)


def duration(text: str) -> float:
    """Parse ``90s``, ``10m``, ``1h30m`` or a number of seconds; raises `InputError`."""
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None or not any(match.groups()):
        raise InputError(f"'{escape(text, 80)}' is not a duration", hint="Write 90s, 10m or 1h30m.")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def platforms(texts: Iterable[str]) -> tuple[Platform, ...]:
    """Parse platforms given by repeated options or with commas, each once; raises `InputError`."""
    names = [part.strip() for text in texts for part in text.split(",")]
    return tuple(dict.fromkeys(Platform.parse(name) for name in names if name))


def pair(text: str, option: str) -> tuple[str, str]:
    """Split ``KEY=VALUE`` at the first ``=``; raises `InputError`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise InputError(f"{option} '{escape(text, 200)}' is not KEY=VALUE")
    return key, value
