"""Composing an image's manifest anew: after its layers were packed, or into the other family of media types.

OCI image-spec "Image Manifest"; Docker "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from manifestctl.errors import InputError
from manifestctl.model import media_types
from manifestctl.stores.base import Content

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.manifest import Manifest

Family = Literal["docker", "oci"]


def family_of(manifest: Manifest) -> Family:
    """Return which family of media types a manifest has."""
    return "docker" if media_types.is_docker(manifest.media_type) else "oci"


def compose_manifest(
    manifest: Manifest,
    config: Descriptor,
    layers: Sequence[Descriptor],
    family: Family,
    annotations: Mapping[str, str],
) -> Content:
    """Compose a manifest with this config and these layers; annotations are added to those that it had.

    Raises `InputError` if Docker's manifest cannot say it.
    """
    said = dict(manifest.annotations) | dict(annotations)
    if family == "docker" and said:
        raise InputError("Docker's manifest cannot hold annotations", hint="Pass --format oci, or leave them out.")
    docker = family == "docker"
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST,
        "config": replace(config, media_type=media_types.DOCKER_CONFIG if docker else media_types.OCI_CONFIG).to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    if said:
        document["annotations"] = said
    return Content.of(json.dumps(document, indent=2, ensure_ascii=False).encode(), document["mediaType"])
