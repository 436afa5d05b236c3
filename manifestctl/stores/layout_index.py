"""The files of a layout as values: ``oci-layout``, and the entries of ``index.json``. OCI image-spec "Image Layout".

Other tools write there too, so that an entry may be anything; what is not understood is left as it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from manifestctl.errors import DocumentError, InputError
from manifestctl.model.digest import Digest
from manifestctl.model.strict_json import Fields, load
from manifestctl.text import escape

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation that holds an entry's tag."""

_VERSION = "imageLayoutVersion"


def check_inside(path: Path, root: Path, what: str) -> None:
    """Raise `DocumentError` if a file of a layout is a link that leads out of its directory."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
        raise DocumentError(
            f"{what}: it is a link that leads out of the layout", hint="Put the file itself in the link's place."
        )


def check_version(raw: bytes, what: str) -> None:
    """Raise `DocumentError` unless these bytes, of ``oci-layout``, say that the layout is of version 1.0."""
    fields = Fields.of(load(raw, what), what, "", frozenset({_VERSION}))
    version = fields.required(fields.text, _VERSION)
    if not version.startswith("1.0."):
        raise DocumentError(
            f"{what}: the layout is of version '{escape(version, 80)}', and only 1.0 is understood",
            hint="Write it again with another tool, or with an option of that tool that asks for version 1.0.0.",
            pointer=f"/{_VERSION}",
        )


def readable_digest(name: str) -> Digest | None:
    """Return the name as a digest that can be read by, or None: some tools write tags like ``web:1.4``."""
    try:
        digest = Digest.parse(name)
    except InputError:
        return None
    return digest if digest.verifiable else None


def ref_name(entry: object) -> str | None:
    """Return the tag that an entry has, or None."""
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else None


def stated_type(entries: list[Any], digest: str) -> str:
    """Return the media type that an entry states for a digest; ``""`` if none does."""
    stated = (e.get("mediaType") for e in entries if isinstance(e, dict) and e.get("digest") == digest)
    return next((media_type for media_type in stated if isinstance(media_type, str)), "")


def held_by(entries: list[Any], tag: str) -> list[str]:
    """Return the digests that a tag has, each once; more than one only if some tool wrote it so."""
    return list(dict.fromkeys(str(entry.get("digest")) for entry in entries if ref_name(entry) == tag))


def with_entry(entries: list[Any], made: dict[str, Any], tag: str | None) -> list[Any]:
    """Return the entries with one for this descriptor, under the tag if there is one; the same list if it is there.

    It takes the place of the entry that had the tag, and otherwise comes last.
    """
    if tag is None:
        known = any(isinstance(entry, dict) and entry.get("digest") == made["digest"] for entry in entries)
        return entries if known else [*entries, made]
    same = [entry for entry in entries if ref_name(entry) == tag]
    if len(same) == 1 and all(same[0].get(key) == value for key, value in made.items()):
        return entries
    # An entry without a tag that only kept the content from being collected has done its work.
    gone = [*same, *(entry for entry in entries if entry == made)]
    identities = {id(entry) for entry in gone}
    place = next((i for i, entry in enumerate(entries) if gone and entry is gone[0]), len(entries))
    before, after = ([e for e in part if id(e) not in identities] for part in (entries[:place], entries[place:]))
    return [*before, made | {"annotations": {REF_NAME: tag}}, *after]
