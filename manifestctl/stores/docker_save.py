"""What ``docker save`` writes, and programs that write the same: ``manifest.json``, configs, and layers as plain tars.

There are no manifests in it that can be trusted, so one is made for each image: of Docker's media types, with the
config and the layers as they are. A plain tar's digest is its ``diff_id``, which the config states and which is checked
whenever the layer is read. Some programs pack the layers; those are read once to learn their digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import field
from typing import TYPE_CHECKING, Any

from manifestctl.compression import decompressed
from manifestctl.errors import DocumentError, InputError, IntegrityError
from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.manifest import ImageConfig, parse_config
from manifestctl.model.strict_json import CONFIG_LIMIT, Fields
from manifestctl.stores.base import Content
from manifestctl.text import escape, plural
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.compression import Format
    from manifestctl.runtime import Cancel
    from manifestctl.stores.archive_file import ArchiveFile
    from manifestctl.stores.tar_index import Member

MANIFEST_FILE = "manifest.json"
_MAX_FILE = 16 * 1024 * 1024
_KEYS = frozenset({"Config", "RepoTags", "Layers", "Parent", "LayerSources"})
_HEX = re.compile(r"(?:^|[/:])([a-f0-9]{64})(?:\.json)?$")
# zstd is not among Docker's media types; an image that has such a layer is given OCI's.
_DOCKER_SUFFIXES: dict[Format, str] = {"none": "", "gzip": ".gzip"}
_OCI_SUFFIXES: dict[Format, str] = {"none": "", "gzip": "+gzip", "zstd": "+zstd"}


@dataclass(frozen=True, slots=True)
class SavedImage:
    """One entry of ``manifest.json``: its names as they stand there, its config, and the names of its layers' files."""

    names: tuple[str, ...]
    config: Descriptor
    config_member: Member
    image: ImageConfig = field(hash=False)
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Synthesised:
    """The manifest made for a saved image, and the files of its layers: their names, and where they are."""

    content: Content
    places: dict[Digest, tuple[str, Member]] = field(hash=False)


def saved_images(file: ArchiveFile) -> list[SavedImage]:
    """Read ``manifest.json`` and the configs that it names; no images if there is none.

    Raises `DocumentError`, `IntegrityError`, and `MissingContentError` if a config is not there.
    """
    if file.find(MANIFEST_FILE) is None:
        return []
    what = f"{file.what}/{MANIFEST_FILE}"
    entries = file.load(MANIFEST_FILE, _MAX_FILE)
    if not isinstance(entries, list):
        raise DocumentError(f"{what}: it is not a JSON array", hint="It should be as 'docker save' writes it.")
    found = [_saved_image(file, entry, what, f"/{place}") for place, entry in enumerate(entries)]
    merged: dict[tuple[Digest, tuple[str, ...]], SavedImage] = {}
    for image in found:
        key = (image.config.digest, image.layers)
        names = merged[key].names if key in merged else ()
        merged[key] = SavedImage(
            tuple(dict.fromkeys(names + image.names)), image.config, image.config_member, image.image, image.layers
        )
    return list(merged.values())


def synthesise(file: ArchiveFile, saved: SavedImage, cancel: Cancel) -> Synthesised:
    """Make the manifest of a saved image.

    Raises `MissingContentError` if a layer is not there, `DocumentError` if the config does not fit the layers, and
    `IntegrityError` if a packed layer is not what the config says.
    """
    what = f"{file.what}: image {saved.config.digest.short}"
    diff_ids = _diff_ids(saved, what)
    layers = [_layer(file, name, diff_id, cancel) for name, diff_id in zip(saved.layers, diff_ids, strict=True)]
    docker = all(kind in _DOCKER_SUFFIXES for _, _, kind in layers)
    suffixes = _DOCKER_SUFFIXES if docker else _OCI_SUFFIXES
    base = media_types.DOCKER_LAYER if docker else media_types.OCI_LAYER
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST,
        "config": Descriptor(
            media_types.DOCKER_CONFIG if docker else media_types.OCI_CONFIG, saved.config.digest, saved.config.size
        ).to_json(),
        "layers": [Descriptor(base + suffixes[kind], digest, member.size).to_json() for digest, member, kind in layers],
    }
    raw = json.dumps(document, separators=(",", ":")).encode()
    places = {digest: (name, member) for name, (digest, member, _) in zip(saved.layers, layers, strict=True)}
    return Synthesised(Content.of(raw, document["mediaType"]), places)


def _saved_image(file: ArchiveFile, entry: object, what: str, where: str) -> SavedImage:
    fields = Fields.of(entry, what, where, _KEYS)
    path = fields.required(fields.text, "Config")
    member = file.find(path)
    if member is None:
        raise file.incomplete(f"{file.what}: the config '{escape(path, 200)}'")
    named = f"{file.what}/{escape(path, 200)}"
    raw = file.read(member, CONFIG_LIMIT, named)
    config = Descriptor(media_types.DOCKER_CONFIG, Digest.of(raw), len(raw))
    match = _HEX.search(path)
    if match is not None and match[1] != config.digest.encoded:
        raise IntegrityError(f"{named}: its bytes hash to {config.digest}, which is not its name")
    return SavedImage(fields.texts("RepoTags"), config, member, parse_config(raw, named), fields.texts("Layers"))


def _diff_ids(saved: SavedImage, what: str) -> list[Digest]:
    if len(saved.layers) != len(saved.image.diff_ids):
        raise DocumentError(
            f"{what}: {MANIFEST_FILE} has {plural(len(saved.layers), 'layer')} for it, "
            f"but its config has {plural(len(saved.image.diff_ids), 'diff_id')}",
            hint="Save the image again.",
        )
    try:
        digests = [Digest.parse(text) for text in saved.image.diff_ids]
    except InputError as error:
        raise DocumentError(f"{what}: its config's diff_ids: {error.message}", pointer="/rootfs/diff_ids") from error
    unknown = next((digest for digest in digests if not digest.verifiable), None)
    if unknown is not None:
        raise DocumentError(f"{what}: its config's diff_id {unknown} cannot be checked", pointer="/rootfs/diff_ids")
    return digests


def _layer(file: ArchiveFile, name: str, diff_id: Digest, cancel: Cancel) -> tuple[Digest, Member, Format]:
    member = file.find(name)
    what = f"{file.what}: the layer '{escape(name, 200)}'"
    if member is None:
        raise file.incomplete(what)
    kind = file.kind(member)
    if kind == "none":
        return diff_id, member, kind
    packed, plain = hashlib.sha256(), diff_id.hasher()

    def packed_chunks() -> Iterator[bytes]:
        for chunk in file.chunks(member):
            cancel.check()
            packed.update(chunk)
            yield chunk

    for piece in decompressed(packed_chunks(), kind, what):
        plain.update(piece)
    if plain.hexdigest() != diff_id.encoded:
        raise IntegrityError(f"{what}: its tar does not hash to {diff_id}, which the image's config says")
    return Digest("sha256", packed.hexdigest()), member, kind
