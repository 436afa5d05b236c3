"""The one door through which untrusted JSON enters.

Registries, images and files are read by other programs too, most of them written in Go, whose decoder takes what
Python's refuses and the reverse. A document is refused here if two readers could see different things in it: two equal
keys, or keys that Go would match without regard to case; numbers that are not integers where integers belong; NaN;
lone surrogates; text that is not UTF-8. RFC 8259; OCI image-spec "Considerations".
"""

from __future__ import annotations

import json
import math
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

from manifestctl.errors import DocumentError
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MANIFEST_LIMIT = 4 * 1024 * 1024
"""Bytes of a manifest or list; ECR's and most registries' own limit."""
CONFIG_LIMIT = 16 * 1024 * 1024
"""Bytes of an image config."""
MAX_DEPTH = 100
MAX_VALUES = 1_000_000
"""Commas and opening brackets that a document may have, those in its texts too: no document has more values."""
MAX_DIGITS = 400
MAX_INTEGER = 2**63 - 1
# Their keys are the user's own words (labels, say), which Go reads into maps, where case matters.
MAPS_OF_WORDS = frozenset({"annotations", "Labels", "ExposedPorts", "Volumes"})

# Possessive, and with an end that may be missing: a string that is never closed must not be tried from each of its
# quotes anew.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
# What is decoded may take fifty times the memory of a document, so that large ones are decoded one after another. That
# takes no longer: decoding holds the interpreter.
_LARGE = 64 * 1024
_one_large_document = threading.Lock()
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def pointer(*parts: str | int) -> str:
    """Return a JSON pointer (RFC 6901) to the parts."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def load(raw: bytes, what: str, limit: int = MANIFEST_LIMIT) -> Any:
    """Decode strictly; ``what`` names the document in messages.

    Raises `DocumentError` with the rule ``json-…`` that was broken.
    """
    decoder = _Decoder(what)
    if len(raw) <= _LARGE:
        return decoder.decode(raw, limit)
    with _one_large_document:
        return decoder.decode(raw, limit)


class _Decoder:
    def __init__(self, what: str) -> None:
        self.what = what
        # Objects with keys that differ only in case, by identity; where they stand decides whether that is a fault.
        self.suspects: dict[int, dict[str, Any]] = {}

    def refuse(self, reason: str, rule: str, where: str = "") -> NoReturn:
        raise DocumentError(f"{self.what}: {reason}", rule=rule, pointer=where)

    def decode(self, raw: bytes, limit: int) -> Any:
        if len(raw) > limit:
            self.refuse(f"is larger than {limit} bytes", "json-too-large")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            self.refuse(f"is not UTF-8 (byte {error.start})", "json-not-utf-8")
        if raw.startswith(b"\xef\xbb\xbf"):
            self.refuse("begins with a byte-order mark", "json-not-utf-8")
        if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > MAX_VALUES:
            self.refuse(f"has more than {MAX_VALUES} commas and brackets", "json-too-many-values")
        if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and _too_deep(raw):
            self.refuse(f"is nested deeper than {MAX_DEPTH} levels", "json-too-deep")
        try:
            value = json.loads(
                text,
                object_pairs_hook=self._object,
                parse_int=self._integer,
                parse_float=self._float,
                parse_constant=self._constant,
            )
        except json.JSONDecodeError as error:
            if text.lstrip().startswith("<"):
                self.refuse("is not JSON but a web page or XML; a proxy may have answered", "json-syntax")
            self.refuse(f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})", "json-syntax")
        if self.suspects or "\\u" in text:
            self._walk(value, ())
        return value

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            key = Counter(key for key, _ in pairs).most_common(1)[0][0]
            self.refuse(f"the key '{escape(key, 80)}' stands twice in one object", "json-duplicate-key")
        if len({key.casefold() for key in result}) != len(result):
            self.suspects[id(result)] = result
        return result

    def _integer(self, digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            self.refuse(f"has a number of {len(digits)} digits", "json-number")
        return int(digits)

    def _float(self, digits: str) -> float:
        if len(digits) > MAX_DIGITS:
            self.refuse(f"has a number of {len(digits)} digits", "json-number")
        value = float(digits)
        if math.isinf(value):
            self.refuse(f"has a number that is too large: {digits[:40]}", "json-number")
        return value

    def _constant(self, name: str) -> NoReturn:
        self.refuse(f"has the value {name}, which is not JSON", "json-number")

    def _walk(self, value: Any, path: tuple[str | int, ...]) -> None:
        if isinstance(value, str) and _SURROGATE.search(value):
            where = escape(pointer(*path))
            self.refuse(f"has a lone surrogate at {where or 'its root'}", "json-surrogate", where)
        elif isinstance(value, list):
            for position, item in enumerate(value):
                self._walk(item, (*path, position))
        elif isinstance(value, dict):
            if id(value) in self.suspects and not (path and path[-1] in MAPS_OF_WORDS):
                self._refuse_case(value, path)
            for key, item in value.items():
                self._walk(key, path)
                self._walk(item, (*path, key))

    def _refuse_case(self, value: dict[str, Any], path: tuple[str | int, ...]) -> NoReturn:
        seen: dict[str, str] = {}
        for key in value:
            if (other := seen.setdefault(key.casefold(), key)) != key:
                keys = f"'{escape(other, 80)}' and '{escape(key, 80)}'"
                self.refuse(
                    f"has the keys {keys} in one object, which Go programs take for the same",
                    "json-duplicate-key",
                    escape(pointer(*path)),
                )
        raise AssertionError  # pragma: no cover - only objects with such keys come here


def _too_deep(raw: bytes) -> bool:
    depth = 0
    for byte in _STRING.sub(b"", raw).translate(None, _NOT_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        if depth > MAX_DEPTH:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object with its place, read field by field with the types that the specification gives them.

    Each getter returns the value, or None if the key is absent or null; a value of another type raises `DocumentError`.
    """

    value: Mapping[str, Any]
    what: str
    where: str = ""

    @classmethod
    def of(cls, value: object, what: str, where: str, known: frozenset[str]) -> Fields:
        """Take a JSON value that must be an object, none of whose keys is a known one in the wrong case."""
        if not isinstance(value, dict):
            raise DocumentError(f"{what}: {where or 'the document'} is not a JSON object", pointer=where)
        folded = {key.casefold(): key for key in known}
        for key in value:
            right = folded.get(key.casefold())
            if right is not None and right != key:
                raise DocumentError(
                    f"{what}: the key '{escape(key, 80)}' at {where or 'its root'} must be written '{right}'",
                    hint="Programs written in Go would read it as that key.",
                    rule="json-key-case",
                    pointer=f"{where}{pointer(key)}",
                )
        return cls(value, what, where)

    def _wrong(self, key: str, expected: str) -> NoReturn:
        place = f"{self.where}{pointer(key)}"
        raise DocumentError(f"{self.what}: {place} is not {expected}", pointer=place)

    def text(self, key: str) -> str | None:
        """Return a string."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, str):
            self._wrong(key, "a string")
        return value

    def integer(self, key: str) -> int | None:
        """Return an integer from 0 to 2^63-1 that was written as one (``1.0`` is not)."""
        value = self.value.get(key)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_INTEGER:
            self._wrong(key, "an integer from 0 to 2^63-1")
        return value

    def array(self, key: str) -> list[Any] | None:
        """Return an array."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, list):
            self._wrong(key, "an array")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return an array of strings; empty if absent."""
        values = self.array(key) or []
        if not all(isinstance(value, str) for value in values):
            self._wrong(key, "an array of strings")
        return tuple(values)

    def words(self, key: str) -> dict[str, str]:
        """Return an object of strings, as annotations and labels are; empty if absent."""
        value = self.value.get(key)
        if value is None:
            return {}
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            self._wrong(key, "an object of strings")
        return dict(value)

    def required(self, get: Callable[[str], Any], key: str) -> Any:
        """Return what the getter returns for the key, which must be there."""
        value = get(key)
        if value is None:
            place = f"{self.where}{pointer(key)}"
            raise DocumentError(f"{self.what}: {place} is missing", pointer=place)
        return value
