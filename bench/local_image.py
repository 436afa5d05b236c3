"""An image of this machine's own files, as ``docker save`` writes it and as a layout with gzip'd layers.

Real programs, libraries and texts: how fast a tool compresses, and how small, depends on what it is given.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import random
import stat
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from manifestctl.compression import compressor

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
TAG = "bench"
NAME = f"localhost/bench:{TAG}"
# Layers of real images are uneven: a base, dependencies, the program, its configuration. Parts of the whole.
SHARES = (0.32, 0.23, 0.18, 0.14, 0.09, 0.04)
_ROOTS = ("/usr/bin", "/usr/share", "/usr/lib", sys.prefix)
_LARGEST = 16 * MIB
_OCI = "application/vnd.oci.image"
_LAYOUT = b'{"imageLayoutVersion": "1.0.0"}'
_SEED = 20240229


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its tar in a file, the digest of that, and its size in bytes."""

    path: Path
    diff_id: str
    size: int


@dataclass(frozen=True, slots=True)
class LocalImage:
    """One image in two forms: the archive's path, and the layout's; ``packed`` is the bytes of the layers in that."""

    archive: Path
    layout: Path
    layers: tuple[Layer, ...]
    packed: int

    @property
    def diff_ids(self) -> list[str]:
        """The digests of the layers' tars, lowest first."""
        return [layer.diff_id for layer in self.layers]

    @property
    def unpacked(self) -> int:
        """The bytes of the layers' tars."""
        return sum(layer.size for layer in self.layers)


def make_image(directory: Path, mebibytes: int) -> LocalImage:
    """Make an image of six layers out of files that lie on this machine, the same ones each time.

    Its tars have at least so many bytes. Raises `RuntimeError` if there are not so many files.
    """
    directory.mkdir(parents=True)
    files = _files()
    sizes = [round(share * mebibytes * MIB) for share in SHARES]
    return _written(directory, tuple(_layer(directory / f"{at}.tar", files, size) for at, size in enumerate(sizes)))


def make_large(directory: Path, mebibytes: int) -> LocalImage:
    """Make an image of one layer with one file, which no compressor gets small."""
    directory.mkdir(parents=True)
    block = random.Random(_SEED).randbytes(MIB)
    path = directory / "0.tar"
    with path.open("wb") as raw:
        hashing = _Hashing(raw)
        header = tarfile.TarInfo("data")
        header.size = mebibytes * MIB
        hashing.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(mebibytes):
            hashing.write(block)
        hashing.write(bytes(2 * tarfile.BLOCKSIZE))
    return _written(directory, (hashing.layer(path),))


class _Hashing:
    """A file that is hashed while it is written."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._hasher = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        self._hasher.update(data)
        self.size += len(data)
        return self._raw.write(data)

    def layer(self, path: Path) -> Layer:
        return Layer(path, f"sha256:{self._hasher.hexdigest()}", self.size)


def _files() -> Iterator[Path]:
    """Yield regular files, the roots in turns, each in the order of its names."""
    for found in itertools.zip_longest(*(_walk(root) for root in dict.fromkeys(_ROOTS))):
        yield from (path for path in found if path is not None)


def _walk(root: str) -> Iterator[Path]:
    for directory, below, names in os.walk(root):
        below.sort()
        for name in sorted(names):
            path = Path(directory, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and 0 < status.st_size <= _LARGEST and os.access(path, os.R_OK):
                yield path


def _layer(path: Path, files: Iterator[Path], size: int) -> Layer:
    with path.open("wb") as raw:
        hashing = _Hashing(raw)
        # tarfile asks no more of its file than to be written to, in its stream mode.
        with tarfile.open(fileobj=hashing, mode="w|", format=tarfile.GNU_FORMAT, bufsize=MIB) as tar:  # type: ignore[call-overload]
            while hashing.size < size:
                source = next(files, None)
                if source is None:
                    raise RuntimeError(f"there are not enough files in {', '.join(_ROOTS)} for such an image")
                header = tarfile.TarInfo(str(source).lstrip("/"))
                with source.open("rb") as file:
                    header.size = os.fstat(file.fileno()).st_size
                    header.mode = 0o755 if os.access(source, os.X_OK) else 0o644
                    tar.addfile(header, file)
    return hashing.layer(path)


def _written(directory: Path, layers: tuple[Layer, ...]) -> LocalImage:
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created_by": f"layer {number}"} for number in range(len(layers))],
        }
    ).encode()
    archive, layout = directory / "image.tar", directory / "layout"
    _save(archive, config, layers)
    packed = _lay_out(layout, config, layers)
    for layer in layers:
        layer.path.unlink()
    return LocalImage(archive, layout, layers, packed)


def _save(archive: Path, config: bytes, layers: tuple[Layer, ...]) -> None:
    """Write what Docker 25 and later save: a layout and ``manifest.json`` in one tar, its layers plain."""
    descriptors = [_descriptor(f"{_OCI}.layer.v1.tar", layer.diff_id, layer.size) for layer in layers]
    manifest = _manifest(config, descriptors)
    saved = {
        "Config": _blob(_digest(config)),
        "RepoTags": [NAME],
        "Layers": [_blob(layer.diff_id) for layer in layers],
    }
    members = {
        _blob(_digest(config)): config,
        _blob(_digest(manifest)): manifest,
        "index.json": _index(manifest, {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": TAG}),
        "manifest.json": json.dumps([saved]).encode(),
        "oci-layout": _LAYOUT,
    }
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        for layer in layers:
            tar.add(layer.path, _blob(layer.diff_id))
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


def _lay_out(layout: Path, config: bytes, layers: tuple[Layer, ...]) -> int:
    """Write an OCI layout with gzip'd layers; returns their bytes."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    descriptors = [_packed(layer, blobs) for layer in layers]
    manifest = _manifest(config, descriptors)
    for data in (config, manifest):
        (layout / _blob(_digest(data))).write_bytes(data)
    (layout / "index.json").write_bytes(_index(manifest, {"org.opencontainers.image.ref.name": TAG}))
    (layout / "oci-layout").write_bytes(_LAYOUT)
    return sum(descriptor["size"] for descriptor in descriptors)


def _packed(layer: Layer, blobs: Path) -> dict[str, Any]:
    packer = compressor("gzip")
    unfinished = blobs / "unfinished"
    with layer.path.open("rb") as plain, unfinished.open("wb") as raw:
        hashing = _Hashing(raw)
        while piece := plain.read(MIB):
            hashing.write(packer.update(piece))
        hashing.write(packer.finish())
    made = hashing.layer(unfinished)
    unfinished.rename(blobs / made.diff_id.partition(":")[2])
    return _descriptor(f"{_OCI}.layer.v1.tar+gzip", made.diff_id, made.size)


def _manifest(config: bytes, layers: list[dict[str, Any]]) -> bytes:
    document = {
        "schemaVersion": 2,
        "mediaType": f"{_OCI}.manifest.v1+json",
        "config": _descriptor(f"{_OCI}.config.v1+json", _digest(config), len(config)),
        "layers": layers,
    }
    return json.dumps(document).encode()


def _index(manifest: bytes, annotations: dict[str, str]) -> bytes:
    entry = _descriptor(f"{_OCI}.manifest.v1+json", _digest(manifest), len(manifest)) | {"annotations": annotations}
    index = {"schemaVersion": 2, "mediaType": f"{_OCI}.index.v1+json", "manifests": [entry]}
    return json.dumps(index).encode()


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
