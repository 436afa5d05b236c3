"""What a check notes down while it walks a document, and how it becomes findings in document order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from manifestctl.model.finding import Finding
from manifestctl.model.platforms import Platform
from manifestctl.model.strict_json import pointer
from manifestctl.text import escape, outside
from manifestctl.validation.rules import RULES
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str | int, ...]
"""The keys and positions that lead from the root of a document to a place in it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault at one place. ``message`` and ``hint`` are safe lines; ``found`` and ``expected`` are outside text."""

    path: Path
    rule: str
    message: str
    hint: str = ""
    found: str = ""
    expected: str = ""


def name(path: Path) -> str:
    """Return what people call the place: ``size``, ``manifests[0]``, ``the document``."""
    if not path:
        return "the document"
    last = path[-1]
    return escape(last, 80) if isinstance(last, str) else f"{name(path[:-1])}[{last}]"


def shown(value: object) -> str:
    """Return a value as a message shows it: short, without secrets of URLs, escaped; containers by their kind alone."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{outside(value, 120)}"'
    if isinstance(value, int | float):
        return escape(str(value), 40)
    return "an object" if isinstance(value, dict) else "an array"


def merged(faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults without those that say what another one says already."""
    noted = list(faults)
    by_schema = {fault.path for fault in noted if fault.rule.startswith("schema-")}
    # A key in the wrong case is the reason why the right one is missing.
    misspelt = {(*fault.path[:-1], fault.expected) for fault in noted if fault.rule == "json-key-case"}
    kept: dict[tuple[Path, str], Fault] = {}
    for fault in noted:
        if fault.rule == "schema-required" and fault.path in misspelt:
            continue
        if fault.rule == "integer-token" and fault.path in by_schema:
            continue
        # The schema notes the type first; what else it says of a value of the wrong type follows from that.
        aspect = "schema" if fault.rule.startswith("schema-") else fault.rule
        kept.setdefault((fault.path, aspect), fault)
    return list(kept.values())


def in_order(document: object, faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults sorted by where they stand in the document; a missing key stands at its object's end."""
    orders: dict[int, dict[str, int]] = {}

    def place(fault: Fault) -> tuple[int, ...]:
        where: list[int] = []
        value: Any = document
        for part in fault.path:
            if isinstance(value, dict):
                if id(value) not in orders:
                    orders[id(value)] = {key: position for position, key in enumerate(value)}
                where.append(orders[id(value)].get(str(part), len(value)))
                value = value.get(part)
            else:
                where.append(int(part))
                value = value[int(part)]
        return tuple(where)

    return sorted(faults, key=place)


def finding(fault: Fault, document: object) -> Finding:
    """Return the finding that tells of a fault; inside an entry of a list it names the entry."""
    image, platform = _entry(fault.path, document)
    return Finding(
        severity=RULES[fault.rule].severity,
        rule=fault.rule,
        category="wrong",
        where=escape(pointer(*fault.path)),
        message=fault.message,
        hint=fault.hint or RULES[fault.rule].step,
        image=image,
        platform=platform,
        found=outside(fault.found, 200),
        expected=outside(fault.expected, 200),
    )


def platform_in(value: object) -> Platform | None:
    """Return the platform that a platform object or a config says, if it is one and all its parts have their types."""
    if not isinstance(value, dict):
        return None
    os, architecture, variant, version = (value.get(key, "") for key in ("os", "architecture", "variant", "os.version"))
    features = value.get("os.features", [])
    texts = (os, architecture, variant, version, *features) if isinstance(features, list) else (None,)
    if not all(isinstance(text, str) for text in texts):
        return None
    return Platform(os, architecture, variant, version, tuple(features))


def _entry(path: Path, document: object) -> tuple[str, str]:
    if len(path) < 2 or path[0] != "manifests" or not isinstance(document, dict):
        return "", ""
    entry = document["manifests"][path[1]]
    if not isinstance(entry, dict):
        return "", ""
    digest, platform = entry.get("digest"), platform_in(entry.get("platform"))
    image = escape(digest, 160) if isinstance(digest, str) else ""
    return image, escape(str(platform), 120) if platform and platform.os and platform.architecture else ""
