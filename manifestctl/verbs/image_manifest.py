"""Composing an image's manifest anew: after its layers were packed, or into the other family of media types.

OCI image-spec "Image Manifest"; Docker "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from manifestctl.errors import InputError
from manifestctl.model import media_types
from manifestctl.model.strict_json import load
from manifestctl.stores.base import Content
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.manifest import Manifest

Family = Literal["docker", "oci"]

_DOCKER_KEYS = frozenset({"schemaVersion", "mediaType", "config", "layers"})
_DOCKER_PART_KEYS = frozenset({"mediaType", "digest", "size", "urls"})
_HINT = "Pass --format oci, or leave them out."


def family_of(manifest: Manifest) -> Family:
    """Return which family of media types a manifest has."""
    return "docker" if media_types.is_docker(manifest.media_type) else "oci"


def compose_manifest(
    manifest: Manifest, layers: Sequence[Descriptor], family: Family, annotations: Mapping[str, str]
) -> Content:
    """Compose a manifest with these layers, and with all else that it had; annotations are added to its own.

    The same bytes if nothing changes. Raises `InputError` if Docker's manifest cannot say it.
    """
    own = family_of(manifest)
    said = {**manifest.annotations, **annotations}
    if family == own and list(layers) == list(manifest.layers) and said == manifest.annotations:
        return Content(manifest.raw, manifest.media_type, manifest.digest)
    docker = family == "docker"
    document: dict[str, Any] = load(manifest.raw, "the manifest")
    document["mediaType"] = media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST
    if family != own:
        config_type = media_types.DOCKER_CONFIG if docker else media_types.OCI_CONFIG
        document["config"] = replace(manifest.config, media_type=config_type).to_json()
    document["layers"] = [layer.to_json() for layer in layers]
    if said:
        document["annotations"] = said
    if docker:
        _check_docker(document, converted=family != own)
    order = dict.fromkeys(("schemaVersion", "mediaType", *document))
    raw = json.dumps({key: document[key] for key in order}, indent=2, ensure_ascii=False).encode()
    return Content.of(raw, document["mediaType"])


def check_annotations(family: Family, annotations: Mapping[str, str]) -> None:
    """Raise `InputError` for annotations that the family's manifest cannot hold."""
    if family == "docker" and annotations:
        raise InputError("Docker's manifest cannot hold annotations", hint=_HINT)


def _check_docker(document: dict[str, Any], *, converted: bool) -> None:
    """Raise `InputError` for what Docker's manifest has no place for: it is never dropped in silence."""
    unknown = [key for key, value in document.items() if value is not None and key not in _DOCKER_KEYS]
    check_annotations("docker", document.get("annotations") or {})
    if not converted:
        return
    parts = [document["config"], *document["layers"]]
    unknown += [f"{key} of a layer" for key in dict.fromkeys(key for part in parts for key in part)]
    unknown = [key for key in unknown if key.removesuffix(" of a layer") not in _DOCKER_PART_KEYS]
    if unknown:
        shown = ", ".join(escape(key, 100) for key in unknown)
        raise InputError(f"Docker's manifest cannot hold what this image's has: {shown}", hint=_HINT)
