"""Documents against their JSON Schemas, by jsonschema, whose errors are put into plain words.

jsonschema takes longer to import than all the rest of a run's checks, so it is imported on first use, or ahead of it in
a thread by `warm`.
"""

from __future__ import annotations

from collections import deque
from functools import cache
from typing import TYPE_CHECKING, Any

from manifestctl.text import escape, plural
from manifestctl.validation.faults import Fault, name, shown
from manifestctl.validation.kinds import INDEX_KINDS, kind_of_media_type
from manifestctl.validation.schemas import schema
from manifestctl.validation.shapes import shape_faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from jsonschema import Draft202012Validator, ValidationError

    from manifestctl.validation.faults import Path

# A jsonschema.ValidationError; its type hints leave each attribute possibly unset, which none of a real error is.
_Error = Any

_TYPES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def warm() -> None:
    """Import jsonschema and make the validators of lists, so that the first real use finds them ready.

    It may run in a thread of its own beside any other call of this room.
    """
    # An entry has the patterns compiled too.
    document = {"manifests": [{"mediaType": "a/b", "digest": "sha256:0"}]}
    for kind in sorted(INDEX_KINDS):
        deque(schema_faults(kind, document), maxlen=0)
        deque(shape_faults(kind, document), maxlen=0)


def schema_faults(kind: str, document: object) -> Iterator[Fault]:
    """Yield what the schema of the kind says against a parsed document."""
    return in_words(_validator(kind).iter_errors(document))


def in_words(errors: Iterable[ValidationError]) -> Iterator[Fault]:
    """Yield jsonschema's errors as faults in plain words."""
    for error in errors:
        path: Path = tuple(error.absolute_path)
        if error.validator == "required":
            yield from _missing(error, path)
        else:
            yield _FAULTS.get(str(error.validator), _other)(error, path)


@cache
def _validator(kind: str) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # An empty registry of our own: the default one would go to the network for a $ref that it does not know.
    return Draft202012Validator(schema(kind), registry=Registry())


def _missing(error: _Error, path: Path) -> Iterator[Fault]:
    # jsonschema names the missing key in its message only, and complains once for each: here all are named each time,
    # and `faults.merged` drops the repetitions.
    for key in error.validator_value:
        if key not in error.instance:
            hint = error.schema.get("properties", {}).get(key, {}).get("description", "")
            place = f" in {name(path)}" if path else ""
            yield Fault((*path, key), "schema-required", f"{key} is missing{place}", hint)


def _wrong_type(error: _Error, path: Path) -> Fault:
    types, value = error.validator_value, error.instance
    hint = error.schema.get("description", "")
    wanted = " or ".join(_TYPES[kind] for kind in ([types] if isinstance(types, str) else types))
    if value is None:
        # Some descriptions say what null would mean here; the general advice is for the others.
        hint = hint if "null" in hint else "Write a value, or leave the key out where it is optional."
        return Fault(path, "schema-null", f"{name(path)} is null, but must be {wanted}", hint)
    found = f"the string {shown(value)}" if isinstance(value, str) else shown(value)
    if isinstance(value, str) and types == "integer" and value.isascii() and value.isdigit():
        hint = f"Write {escape(value, 40)} without quotes."
    return Fault(path, "schema-type", f"{name(path)} is {found}, but must be {wanted}", hint)


def _wrong_value(error: _Error, path: Path) -> Fault:
    value = error.instance
    kind = kind_of_media_type(value) if path == ("mediaType",) and isinstance(value, str) else None
    hint = f"That is the media type of the kind {kind}." if kind else error.schema.get("description", "")
    message = f"{name(path)} is {shown(value)}, but must be {shown(error.validator_value)}"
    return Fault(
        path, "schema-const", message, hint, value if isinstance(value, str) else "", str(error.validator_value)
    )


def _wrong_form(error: _Error, path: Path) -> Fault:
    title = error.schema.get("title", "text of the form that the schema says")
    article = "an" if title[0] in "aeioAEIO" else "a"
    message = f"{name(path)} {shown(error.instance)} is not {article} {title}"
    return Fault(path, "schema-pattern", message, _explanation(error.schema), error.instance)


def _out_of_bounds(error: _Error, path: Path) -> Fault:
    bound = "least" if error.validator == "minimum" else "most"
    message = f"{name(path)} is {shown(error.instance)}, but must be at {bound} {error.validator_value}"
    return Fault(path, f"schema-{error.validator}", message, _explanation(error.schema))


def _too_few(error: _Error, path: Path) -> Fault:
    count = f"has {len(error.instance)}" if error.instance else "is empty"
    message = f"{name(path)} {count}, but must have at least {plural(error.validator_value, 'entry', 'entries')}"
    return Fault(path, "schema-min-items", message, _explanation(error.schema))


def _other(error: _Error, path: Path) -> Fault:
    message = f"{name(path)} breaks the schema's rule '{escape(str(error.validator), 40)}'"
    return Fault(path, "schema-other", message, _explanation(error.schema))


_FAULTS: dict[str, Callable[[_Error, Path], Fault]] = {
    "type": _wrong_type,
    "const": _wrong_value,
    "pattern": _wrong_form,
    "minimum": _out_of_bounds,
    "maximum": _out_of_bounds,
    "minItems": _too_few,
}


def _explanation(rules: Mapping[str, Any]) -> str:
    # $comment is what a general definition says of itself, description what its place says of it.
    text: str = rules.get("$comment") or rules.get("description", "")
    return text
