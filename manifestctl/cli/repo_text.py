"""Repositories as ``manifestctl repo`` shows them: lines for people, and members of JSON results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manifestctl.aws.catalog import Catalog
    from manifestctl.aws.repository_settings import PrivateSettings, Repository
    from manifestctl.verbs.repository import Cataloged, Described, Made, Unread

_NONE, _UNKNOWN = "none", "unknown"
_INDENT = "    "
_LONGEST = 2048
"""Characters of a value that are shown; no value of AWS's is longer, but for Markdown."""
_LONGEST_LINE = 25_600

_Row = tuple[str, str]


def made_members(made: Made) -> dict[str, Any]:
    """Return what became of a `repo create` as its JSON result has it."""
    return {
        **_repository_members(made.repository),
        "status": made.status,
        "differences": [
            {"option": item.option, "found": item.found or None, "asked": item.asked, "hint": item.hint}
            for item in made.differences
        ],
        "unread": _unread_members(made.unread),
    }


def described_members(found: Described) -> dict[str, Any]:
    """Return a repository as the JSON result of `repo describe` has it."""
    settings = found.repository.settings
    return {
        **_repository_members(found.repository),
        "service": "ecr-public" if settings is None else "ecr",
        "tags": found.tags,
        "catalog": _catalog_members(found.catalog) if found.catalog is not None else None,
        "settings": _settings_members(settings) if settings is not None else None,
        "unread": _unread_members(found.unread),
    }


def cataloged_members(done: Cataloged) -> dict[str, Any]:
    """Return catalog data as the JSON result of `repo catalog` has it."""
    return {
        **_repository_members(done.repository),
        "changed": list(done.changed),
        "catalog": _catalog_members(done.catalog),
    }


def described_lines(found: Described) -> list[str]:
    """Return a repository as people read it; of long texts, how long they are."""
    repository = found.repository
    tags = _UNKNOWN if found.tags is None else ", ".join(f"{key}={value}" for key, value in found.tags.items())
    rows = [("arn", repository.arn), ("created", repository.created), ("tags", tags)]
    if repository.settings is not None:
        rows += _settings_rows(repository.settings)
    else:
        rows.append(("page", repository.page))
        rows += _catalog_rows(found.catalog) if found.catalog is not None else [("catalog", _UNKNOWN)]
        for name in ("about", "usage"):
            text = getattr(found.catalog, name, None)
            rows += [(name, f"{len(text):,} characters")] if text else []
    return [escape(repository.uri, _LONGEST), *_table(rows)]


def cataloged_lines(done: Cataloged) -> list[str]:
    """Return catalog data as people read it, Markdown as it is but for its margin."""
    rows = [("page", done.repository.page), *_catalog_rows(done.catalog)]
    lines = [escape(done.repository.uri, _LONGEST), *_table(rows)]
    for name in ("about", "usage"):
        text = getattr(done.catalog, name) or _NONE
        # Only what ends a line in a file does so here; every other control character is shown.
        margin = [
            f"{_INDENT}{escape(line.removesuffix(chr(13)), _LONGEST_LINE)}" for line in text.rstrip("\n").split("\n")
        ]
        lines += [f"{name}:", *(line.rstrip() for line in margin)]
    return lines


def _repository_members(repository: Repository) -> dict[str, Any]:
    return {
        "uri": repository.uri,
        "arn": repository.arn or None,
        "created": repository.created or None,
        "page": repository.page or None,
    }


def _catalog_members(catalog: Catalog) -> dict[str, Any]:
    return {
        "description": catalog.description,
        "about": catalog.about,
        "usage": catalog.usage,
        "operating_systems": list(catalog.operating_systems or ()),
        "architectures": list(catalog.architectures or ()),
        "logo_url": catalog.logo_url or None,
    }


def _settings_members(settings: PrivateSettings) -> dict[str, Any]:
    return {
        "mutability": settings.mutability,
        "exclusions": list(settings.exclusions),
        "scan_on_push": settings.scan_on_push,
        "encryption": settings.encryption,
        "kms_key": settings.kms_key or None,
    }


def _unread_members(unread: Iterable[Unread]) -> list[dict[str, Any]]:
    return [
        {"what": item.what, "message": item.error.message, "hint": item.error.hint}
        | ({"statement": json.loads(item.error.statement)} if item.error.statement else {})
        for item in unread
    ]


def _catalog_rows(catalog: Catalog) -> Iterator[_Row]:
    yield "description", catalog.description or ""
    yield "systems", ", ".join(catalog.operating_systems or ())
    yield "architectures", ", ".join(catalog.architectures or ())
    yield "logo", catalog.logo_url


def _settings_rows(settings: PrivateSettings) -> Iterator[_Row]:
    exclusions = f", except {', '.join(settings.exclusions)}" if settings.exclusions else ""
    yield "mutability", f"{settings.mutability}{exclusions}"
    yield "scan on push", "yes" if settings.scan_on_push else "no"
    yield "encryption", f"{settings.encryption} {settings.kms_key}".rstrip()


def _table(rows: Iterable[_Row]) -> list[str]:
    shown = [(name, escape(value, _LONGEST) or _NONE) for name, value in rows]
    width = max(len(name) for name, _ in shown)
    return [f"  {name:<{width}}  {value}" for name, value in shown]
