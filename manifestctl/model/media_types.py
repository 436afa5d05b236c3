"""Media types of manifests, lists and configs, and the family each belongs to.

OCI image-spec 1.1 "OCI Image Media Types"; Docker "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

from typing import Literal

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA_1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

Packing = Literal["gzip", "zstd", "none"]
_SUFFIXES: dict[str, Packing] = {"gzip": "gzip", "zstd": "zstd"}
_DOCKER_LAYERS: dict[Packing, str] = {"none": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP}
_OCI_LAYERS: dict[Packing, str] = {"none": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}

INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
LAYERS = frozenset({*_DOCKER_LAYERS.values(), *_OCI_LAYERS.values()})
"""Layers that are tars, packed or not, and may be packed otherwise."""
GENERIC = frozenset({"", "application/json", "application/octet-stream", "text/plain", "binary/octet-stream"})
"""What a registry says when it does not know better; the document's own ``mediaType`` decides then."""

ACCEPT = f"{OCI_INDEX}, {DOCKER_LIST}, {OCI_MANIFEST}, {DOCKER_MANIFEST}"
"""Always sent whole: with less, some registries convert what they hold, or answer 404."""


def essence(content_type: str) -> str:
    """Return a Content-Type without its parameters, in lower case (RFC 9110 §8.3.1)."""
    return content_type.partition(";")[0].strip().lower()


def is_docker(media_type: str) -> bool:
    """Tell whether the media type is one of Docker's own."""
    return media_type.startswith("application/vnd.docker.")


def is_foreign(media_type: str) -> bool:
    """Tell whether a layer of this type may be absent from a registry: non-distributable and foreign layers."""
    return "nondistributable" in media_type or ".foreign." in media_type


def packing(media_type: str) -> Packing:
    """Return how a layer of this type is packed; ``none`` for a plain tar."""
    for suffix, name in _SUFFIXES.items():
        if media_type.endswith(suffix):
            return name
    return "none"


def layer_type(*, docker: bool, packed: Packing) -> str:
    """Return the media type of a layer in Docker's family or OCI's; there is none for zstd in Docker's (`KeyError`)."""
    return (_DOCKER_LAYERS if docker else _OCI_LAYERS)[packed]
