"""What a schema says about keys and integers that a JSON Schema validator does not check.

Go's JSON decoder takes keys in any case, and JSON Schema takes ``2.0`` for an integer: both would let two readers see
different things in one document.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from manifestctl.text import escape
from manifestctl.validation.faults import Fault, name, shown
from manifestctl.validation.schemas import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from manifestctl.validation.faults import Path


class _Shape:
    """The part of a schema that matters here, so that a walk looks nothing up twice."""

    __slots__ = ("folded", "integer", "items", "properties")

    def __init__(self, rules: Mapping[str, Any]) -> None:
        self.integer = rules.get("type") == "integer"
        self.properties = {key: _Shape(value) for key, value in rules.get("properties", {}).items()}
        # The right spelling of each known key, by the key folded as Go folds it.
        self.folded = {key.casefold(): key for key in self.properties}
        self.items = _Shape(rules["items"]) if "items" in rules else None


def shape_faults(kind: str, document: object) -> Iterator[Fault]:
    """Yield the keys in the wrong case and the integers not written as integers, wherever the schema knows them."""
    return _walk(_shape(kind), document, ())


@cache
def _shape(kind: str) -> _Shape:
    return _Shape(schema(kind))


def _walk(shape: _Shape, value: object, path: Path) -> Iterator[Fault]:
    if isinstance(value, dict):
        for key, item in value.items():
            known = shape.folded.get(key.casefold())
            if known is not None and known != key:
                yield _wrong_case((*path, key), key, known)
            elif known is not None:
                yield from _walk(shape.properties[key], item, (*path, key))
    elif isinstance(value, list) and shape.items is not None:
        for position, item in enumerate(value):
            yield from _walk(shape.items, item, (*path, position))
    elif shape.integer and isinstance(value, float) and value.is_integer():
        yield Fault(
            path,
            "integer-token",
            f"{name(path)} is written with a fraction or an exponent ({shown(value)})",
            hint="Write it as an integer, digits only.",
        )


def _wrong_case(path: Path, key: str, known: str) -> Fault:
    return Fault(
        path,
        "json-key-case",
        f"the key '{escape(key, 80)}' must be written '{known}'",
        hint="Programs written in Go read it as that key, others do not.",
        found=key,
        expected=known,
    )
