"""Archives of images as each program and generation writes them, and tars with whatever else can be in a header.

An archive is made as a dict of members first, so that a test can change what it is about, and packed by `pack`.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from manifestctl.compression import compressor
from manifestctl.model.media_types import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from tests.support.images import Content, Image, descriptor, digest_of, dump, walk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from manifestctl.compression import Format

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
FULL_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT = dump({"imageLayoutVersion": "1.0.0"})
Flaw = Literal["reversed", "no layers", "null", "first only", "no blob"]


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link in an archive."""

    target: str


Members = dict[str, bytes | Link]


@dataclass(frozen=True, slots=True)
class Saved:
    """An image as ``docker save`` has it: names, config, and plain tars."""

    names: tuple[str, ...]
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def config_hex(self) -> str:
        """The image's ID without ``sha256:``."""
        return hex_of(self.config)

    @property
    def diff_ids(self) -> list[str]:
        """The digests of the tars."""
        return [digest_of(layer) for layer in self.layers]


def hex_of(data: bytes) -> str:
    """Return the hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def saved(image: Image, *names: str) -> Saved:
    """Take an image's layers out of their gzip."""
    return Saved(names, image.config, tuple(gzip.decompress(layer) for layer in image.layers))


def legacy_save(*images: Saved) -> Members:
    """Make what Docker 1.10 to 24 wrote: a directory for each layer; one that was written already becomes a link."""
    members: Members = {}
    places: dict[bytes, str] = {}
    manifest: list[dict[str, Any]] = []
    tops: dict[str, dict[str, str]] = {}
    for image in images:
        paths = []
        for number, layer in enumerate(image.layers):
            directory = hex_of(f"{image.config_hex}/{number}".encode())
            path = f"{directory}/layer.tar"
            members |= {f"{directory}/": b"", f"{directory}/VERSION": b"1.0", f"{directory}/json": b"{}"}
            place = places.setdefault(layer, path)
            members[path] = layer if place == path else Link(f"../{place}")
            paths.append(path)
        members[f"{image.config_hex}.json"] = image.config
        manifest.append(_entry(f"{image.config_hex}.json", image, paths))
        for name in image.names:
            repository, _, tag = name.rpartition(":")
            tops.setdefault(repository, {})[tag] = paths[-1].partition("/")[0] if paths else ""
    return members | {"manifest.json": dump(manifest), "repositories": dump(tops)}


def skopeo_save(*images: Saved) -> Members:
    """Make what skopeo and podman write: layers by their digest, with links to them under their old names."""
    members: Members = {}
    manifest = []
    for image in images:
        paths = [f"{hex_of(layer)}.tar" for layer in image.layers]
        members |= dict(zip(paths, image.layers, strict=True))
        members[f"{image.config_hex}.json"] = image.config
        for number, path in enumerate(paths):
            directory = hex_of(f"{image.config_hex}/{number}".encode())
            members |= {f"{directory}/layer.tar": Link(f"../{path}"), f"{directory}/json": b"{}"}
        manifest.append(_entry(f"{image.config_hex}.json", image, paths))
    return members | {"manifest.json": dump(manifest), "repositories": b"{}"}


def packed_save(*images: Saved, kind: Format = "gzip") -> Members:
    """Make what crane, kaniko and Bazel write: packed layers, and configs without a suffix."""
    members: Members = {}
    manifest = []
    for image in images:
        layers = [packed(layer, kind) for layer in image.layers]
        paths = [f"{hex_of(layer)}.tar.gz" for layer in layers]
        members |= {f"sha256:{image.config_hex}": image.config, **dict(zip(paths, layers, strict=True))}
        manifest.append(_entry(f"sha256:{image.config_hex}", image, paths))
    return members | {"manifest.json": dump(manifest)}


def modern_save(*images: Saved, flaw: Flaw | None = None) -> Members:
    """Make what Docker 25 and later write from a graph driver: a layout and ``manifest.json`` in one, layers plain.

    ``flaw`` is a known bug: ``reversed`` layers (25.0.0), ``no layers`` (its release candidates), ``null`` instead of
    entries (saved by digest), the ``first only`` (several saved by digest), or entries whose manifest is not there.
    """
    members: Members = {"blobs/": b"", "blobs/sha256/": b""}
    manifest, entries = [], []
    for image in images:
        layers = [descriptor(layer, OCI_LAYER) for layer in image.layers]
        listed = {"reversed": layers[::-1], "no layers": []}.get(flaw or "", layers)
        body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(image.config, OCI_CONFIG)}
        document = dump(body | {"layers": listed})
        blobs = (image.config, *image.layers, *(() if flaw == "no blob" else (document,)))
        members |= {_blob(data): data for data in blobs}
        entries += [descriptor(document, OCI_MANIFEST, annotations=_named(name)) for name in image.names or ("",)]
        manifest.append(_entry(_blob(image.config), image, [_blob(layer) for layer in image.layers]))
    listing = {"null": None, "first only": entries[:1]}.get(flaw or "", entries)
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listing}
    return members | {"index.json": dump(index), "manifest.json": dump(manifest), "oci-layout": LAYOUT}


def containerd_save(content: Content, name: str, shown: Image | None = None) -> Members:
    """Make what Docker writes from containerd's store: the original blobs; ``manifest.json`` for the image ``shown``."""
    members = oci_archive({"": content})
    entry = content.descriptor(annotations=_named(name))
    members["index.json"] = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
    if shown is not None:
        paths = [_blob(layer) for layer in shown.layers]
        members["manifest.json"] = dump([{"Config": _blob(shown.config), "RepoTags": [name], "Layers": paths}])
    return members


def oci_archive(tagged: Mapping[str, Content]) -> Members:
    """Make an OCI archive whose ``index.json`` names each content by its tag; ``""`` is no name."""
    members: Members = {}
    for content in tagged.values():
        for part in walk(content):
            members |= {_blob(data): data for data in (part.manifest, *part.blobs.values())}
    entries = [
        content.descriptor(**({"annotations": {REF_NAME: tag}} if tag else {})) for tag, content in tagged.items()
    ]
    return members | {"index.json": dump({"schemaVersion": 2, "manifests": entries}), "oci-layout": LAYOUT}


def packed(data: bytes, kind: Format) -> bytes:
    """Compress bytes."""
    stream = compressor(kind)
    return stream.update(data) + stream.finish()


def pack(members: Members) -> bytes:
    """Make a tar; a name that ends with ``/`` is a directory."""
    return b"".join(
        header(name, kind=b"2", link=data.target)
        if isinstance(data, Link)
        else header(name, kind=b"5")
        if name.endswith("/")
        else member(name, data)
        for name, data in members.items()
    ) + bytes(1024)


def write_archive(path: Path, members: Members, kind: Format = "none") -> Path:
    """Write an archive to a file, packed if asked for."""
    path.write_bytes(packed(pack(members), kind))
    return path


def header(
    name: str | bytes,
    size: int | bytes = 0,
    *,
    kind: bytes = b"0",
    link: str = "",
    magic: bytes = b"ustar\x0000",
    prefix: str = "",
) -> bytes:
    """Make one header block with a right checksum; ``size`` as bytes goes in as it is."""
    fields = [
        (name if isinstance(name, bytes) else name.encode()).ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,
        size if isinstance(size, bytes) else b"%011o\0" % size,
        b"00000000000\0" + b" " * 8,
        kind,
        link.encode().ljust(100, b"\0"),
        magic,
        bytes(64) + b"0000000\0" * 2,
        prefix.encode().ljust(155, b"\0"),
    ]
    block = b"".join(fields).ljust(512, b"\0")
    assert len(block) == 512
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def member(name: str, data: bytes, *, kind: bytes = b"0") -> bytes:
    """Make a header and its padded content."""
    return header(name, len(data), kind=kind) + data + bytes(-len(data) % 512)


def pax(**records: str | int) -> bytes:
    """Make a pax header for the member behind it; ``__`` in a key is a dot."""
    return member("PaxHeaders/x", _pax_records(records), kind=b"x")


def global_pax(**records: str | int) -> bytes:
    """Make a pax header for all members."""
    return member("pax_global_header", _pax_records(records), kind=b"g")


def long_name(name: str, kind: bytes = b"L") -> bytes:
    """Make GNU's header of a long name (``L``) or a long link (``K``)."""
    return member("././@LongLink", name.encode() + b"\0", kind=kind)


def base_256(number: int, width: int = 12) -> bytes:
    """Write a number as GNU's headers have those that are negative, or too large for octal digits."""
    return bytes((0xFF if number < 0 else 0x80,)) + (number % (1 << 8 * (width - 1))).to_bytes(width - 1, "big")


def _pax_records(records: Mapping[str, str | int]) -> bytes:
    lines = []
    for key, value in records.items():
        text = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(text) + 1
        while len(text) + len(str(length)) != length:
            length += 1
        lines.append(str(length).encode() + text)
    return b"".join(lines)


def _entry(config: str, image: Saved, layers: list[str]) -> dict[str, Any]:
    return {"Config": config, "RepoTags": list(image.names) or None, "Layers": layers}


def _named(name: str) -> dict[str, str]:
    full = name if "." in name.partition("/")[0] else f"docker.io/library/{name}"
    return {FULL_NAME: full, REF_NAME: name.rpartition(":")[2]} if name else {}


def _blob(data: bytes) -> str:
    return f"blobs/sha256/{hex_of(data)}"
