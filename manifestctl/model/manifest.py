"""Manifests, lists and image configs: the bytes that were received beside what they say.

OCI image-spec "Image Manifest", "Image Index", "Image Configuration"; Docker "Image Manifest Version 2, Schema 2". OCI
and Docker share the classes and differ by media type. What was received is never serialised again.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any

from manifestctl.errors import DocumentError
from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor, read_platform
from manifestctl.model.digest import Digest
from manifestctl.model.strict_json import CONFIG_LIMIT, Fields, load
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manifestctl.model.platforms import Platform

_TOP_KEYS = frozenset(
    {"schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject", "annotations"}
)
_CONFIG_KEYS = frozenset(
    {"architecture", "os", "os.version", "os.features", "variant", "config", "rootfs", "history", "created", "author"}
)
_RUN_KEYS = frozenset({"Labels"})
_ROOTFS_KEYS = frozenset({"type", "diff_ids"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image (or other artifact): its config and its layers."""

    raw: bytes = field(repr=False)
    media_type: str
    digest: Digest
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None

    @property
    def descriptor(self) -> Descriptor:
        """Describe the bytes themselves."""
        return Descriptor(self.media_type, self.digest, len(self.raw), artifact_type=self.artifact_type)

    @property
    def size(self) -> int:
        """Bytes to pull for this image: config and layers."""
        return self.config.size + sum(layer.size for layer in self.layers)


@dataclass(frozen=True, slots=True)
class Index:
    """A Docker manifest list or an OCI image index: its entries in their order."""

    raw: bytes = field(repr=False)
    media_type: str
    digest: Digest
    entries: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None

    @property
    def descriptor(self) -> Descriptor:
        """Describe the bytes themselves."""
        return Descriptor(self.media_type, self.digest, len(self.raw), artifact_type=self.artifact_type)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What `create` needs of an image's config: its platform, its labels and the digests of its unpacked layers."""

    platform: Platform
    labels: Mapping[str, str] = field(hash=False)
    diff_ids: tuple[str, ...]
    created: str = ""


def parse_manifest(raw: bytes, content_type: str, what: str, digest: Digest | None = None) -> Manifest | Index:
    """Parse what a store gave; ``content_type`` is what it said the bytes are, ``what`` names them in messages.

    A generic or missing Content-Type lets the document's ``mediaType`` (or its shape) decide. ``digest`` is given if it
    was computed already. Raises `DocumentError` if the bytes are not a manifest or list, if ``mediaType`` and
    Content-Type disagree, or if a document is both a manifest and a list (CVE-2021-41190).
    """
    stated = media_types.essence(content_type)
    if stated in (media_types.DOCKER_SCHEMA_1, media_types.DOCKER_SCHEMA_1_SIGNED):
        raise _schema_1(what)
    fields = Fields.of(load(raw, what), what, "", _TOP_KEYS)
    if fields.value.get("schemaVersion") == 1:
        raise _schema_1(what)
    media_type = _media_type(fields, stated, what)
    common: dict[str, Any] = {
        "raw": raw,
        "media_type": media_type,
        "digest": digest or Digest.of(raw),
        "annotations": fields.words("annotations"),
        "artifact_type": fields.text("artifactType") or "",
        "subject": _optional_descriptor(fields, "subject"),
    }
    if fields.integer("schemaVersion") != 2:
        raise DocumentError(f"{what}: /schemaVersion is not 2", pointer="/schemaVersion")
    if media_type in media_types.INDEXES:
        return Index(entries=_descriptors(fields, "manifests"), **common)
    config = Descriptor.from_json(fields.required(fields.value.get, "config"), what, "/config")
    return Manifest(config=config, layers=_descriptors(fields, "layers"), **common)


def parse_config(raw: bytes, what: str) -> ImageConfig:
    """Parse an image config; absent members are empty. Raises `DocumentError`."""
    fields = Fields.of(load(raw, what, CONFIG_LIMIT), what, "", _CONFIG_KEYS)
    run = fields.value.get("config")
    labels = Fields.of(run, what, "/config", _RUN_KEYS).words("Labels") if run is not None else {}
    rootfs = fields.value.get("rootfs")
    diff_ids = Fields.of(rootfs, what, "/rootfs", _ROOTFS_KEYS).texts("diff_ids") if rootfs is not None else ()
    return ImageConfig(read_platform(fields), labels, diff_ids, fields.text("created") or "")


def _media_type(fields: Fields, stated: str, what: str) -> str:
    is_list, is_manifest = (
        fields.value.get("manifests") is not None,
        any(fields.value.get(key) is not None for key in ("config", "layers")),
    )
    if is_list and is_manifest:
        raise DocumentError(
            f"{what}: it has both 'manifests' and 'config' or 'layers', so readers would disagree on what it is",
            hint="Such documents are refused everywhere (CVE-2021-41190).",
            rule="document-ambiguous",
        )
    own = fields.text("mediaType") or ""
    if own and stated not in media_types.GENERIC and own != stated:
        raise DocumentError(
            f"{what}: its mediaType is {escape(own, 120)}, but it was served as {escape(stated, 120)}",
            rule="media-type-mismatch",
            pointer="/mediaType",
        )
    media_type = own or ("" if stated in media_types.GENERIC else stated)
    if not media_type:
        media_type = media_types.OCI_INDEX if is_list else media_types.OCI_MANIFEST if is_manifest else ""
    if media_type not in media_types.INDEXES | media_types.MANIFESTS:
        kind = escape(media_type, 120) or "a document of no known type"
        raise DocumentError(
            f"{what}: it is not an image or a list of images, but {kind}",
            rule="not-an-image",
            pointer="/mediaType" if own else "",
        )
    if (media_type in media_types.INDEXES) == is_manifest and (is_list or is_manifest):
        raise DocumentError(
            f"{what}: it says it is {media_type}, but has the members of the other kind",
            rule="document-ambiguous",
            pointer="/mediaType" if own else "",
        )
    return media_type


def _schema_1(what: str) -> DocumentError:
    return DocumentError(
        f"{what}: it is a Docker schema 1 manifest, which cannot be an entry of a list",
        hint="Push the image again with a current tool; schema 1 was retired in 2017.",
        rule="not-an-image",
    )


def _optional_descriptor(fields: Fields, key: str) -> Descriptor | None:
    value = fields.value.get(key)
    return None if value is None else Descriptor.from_json(value, fields.what, f"/{key}")


def _descriptors(fields: Fields, key: str) -> tuple[Descriptor, ...]:
    values = fields.required(fields.array, key)
    return tuple(Descriptor.from_json(value, fields.what, f"/{key}/{i}") for i, value in enumerate(values))
