"""The JSON Schemas: where they are, their text, and the form in which they are evaluated.

They stand in the checkout's ``schemas`` directory, and in a wheel beside this module. Nothing is ever fetched: the
``$id`` of a schema is its name, and its last segment the name of its file.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifestctl.validation.kinds import kind_named

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

BASE = "https://manifestctl.dev/schemas/"
"""What every ``$id`` begins with."""

RESULTS = (
    "result",
    "create-result",
    "check-result",
    "push-result",
    "copy-result",
    "tag-result",
    "images-result",
    "inspect-result",
    "tags-result",
    "repo-create-result",
    "repo-describe-result",
    "repo-catalog-result",
    "doctor-result",
    "validate-result",
    "login-result",
    "logout-result",
    "schema-result",
)
"""What this product itself writes as JSON: it has schemas too, but is not among the documents that are judged."""

Schema = dict[str, Any]


def directory() -> Traversable:
    """Return the directory that holds the schemas: in the installed package, else in the checkout."""
    # It costs milliseconds, and only those who need a schema pay them.
    from importlib import resources

    packaged = resources.files("manifestctl.validation") / "schemas"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "schemas"


def schema_text(kind: str) -> str:
    """Return the schema of a kind, or of one of `RESULTS`, as it is shipped; raises `InputError`."""
    name = kind if kind in RESULTS else kind_named(kind).name
    return (directory() / f"{name}.json").read_text(encoding="utf-8")


def schema_title(kind: str) -> str:
    """Return what documents of this kind are called: ``OCI image index``; raises `InputError`."""
    title: str = _document(kind)["title"]
    return title


@cache
def schema(kind: str) -> Schema:
    """Return the schema of a kind with every ``$ref`` replaced by what it names.

    Evaluating it is more than twice as fast so. A description beside a ``$ref`` stays; the one that it hides is kept in
    ``$comment``. Raises `InputError`; the result is shared and must not be changed.
    """
    root = _document(kind)
    inlined: Schema = _inline(root, root)
    return inlined


@cache
def _document(kind: str) -> Schema:
    document: Schema = json.loads(schema_text(kind))
    return document


def _inline(value: Any, root: Schema) -> Any:
    if isinstance(value, list):
        return [_inline(item, root) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" not in value:
        return {key: _inline(item, root) for key, item in value.items() if key != "$defs"}
    target, target_root = _resolve(value["$ref"], root)
    result: Schema = {key: item for key, item in _inline(target, target_root).items() if key != "$id"}
    result["$comment"] = result.get("description", "")
    return result | {key: item for key, item in value.items() if key != "$ref"}


def _resolve(reference: str, root: Schema) -> tuple[Schema, Schema]:
    url, _, fragment = reference.partition("#")
    if url:
        root = _document(url.removeprefix(BASE).removesuffix(".json"))
    target: Any = root
    for part in fragment.split("/")[1:]:
        target = target[part]
    return target, root
