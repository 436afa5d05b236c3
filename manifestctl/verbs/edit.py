"""Editing a list that exists: a new document, whose entries and fields are carried over as they were parsed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from manifestctl.errors import DocumentError, NotFoundError
from manifestctl.model.strict_json import load
from manifestctl.stores.base import Content

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.manifest import Index
    from manifestctl.model.platforms import Platform
    from manifestctl.verbs.checks import Attestations


def narrowed(
    content: Content, index: Index, platforms: Sequence[Platform], attestations: Attestations, what: str
) -> Content:
    """Return the list with the images for these platforms (all, if none are given) and the attestations of these.

    The same bytes if nothing is left out. Raises `NotFoundError` if no image is left or there is none for one of the
    platforms, and `DocumentError` if attestations are required and an image has none.
    """
    images = [entry for entry in index.entries if not entry.is_attestation]
    kept = {str(entry.digest) for entry in images if _is_wanted(entry, platforms)}
    _check_all_there(images, platforms, what)
    if attestations == "require":
        _check_attested(index, kept, what)
    chosen = [
        position
        for position, entry in enumerate(index.entries)
        if (str(entry.digest) in kept and not entry.is_attestation)
        or (entry.is_attestation and attestations != "drop" and entry.attests in kept)
    ]
    if len(chosen) == len(index.entries):
        return content
    return with_entries(content, chosen, what)


def with_entries(content: Content, chosen: Sequence[int], what: str) -> Content:
    """Return the list with only the entries at these places, in this order; all else as it was."""
    document: dict[str, Any] = load(content.raw, what)
    document["manifests"] = [document["manifests"][position] for position in chosen]
    raw = json.dumps(document, indent=2, ensure_ascii=False).encode()
    return Content.of(raw, content.media_type)


def _check_all_there(images: Sequence[Descriptor], platforms: Sequence[Platform], what: str) -> None:
    there = ", ".join(dict.fromkeys(entry.platform.shown for entry in images if entry.platform)) or "none"
    absent = [str(wanted) for wanted in platforms if not any(_is_wanted(entry, [wanted]) for entry in images)]
    if absent:
        raise NotFoundError(
            f"{what}: there is no image for {', '.join(absent)}; there is: {there}",
            hint="'manifestctl inspect' shows what is in it.",
        )
    if not images:
        raise NotFoundError(f"{what}: there is no image in it", hint="'manifestctl inspect' shows what is in it.")


def _check_attested(index: Index, kept: set[str], what: str) -> None:
    attested = {entry.attests for entry in index.entries}
    bare = [entry for entry in index.entries if str(entry.digest) in kept - attested and not entry.is_attestation]
    if bare:
        named = dict.fromkeys(entry.platform.shown if entry.platform else entry.digest.short for entry in bare)
        raise DocumentError(
            f"{what}: there is no attestation for {', '.join(named)}, and --attestations require was given",
            hint="Build with 'docker buildx build --provenance=true --push', or leave the option out.",
            rule="attestation-required",
        )


def _is_wanted(entry: Descriptor, platforms: Sequence[Platform]) -> bool:
    if not platforms:
        return True
    return entry.platform is not None and any(entry.platform.satisfies(platform) for platform in platforms)
