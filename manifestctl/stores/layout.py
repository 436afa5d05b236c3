"""OCI image layouts: a directory that holds images, with no server. OCI image-spec "Image Layout".

Several processes may write one directory: it is locked by ``flock`` on itself, blobs are content-addressed, and every file
appears whole or not at all. Links that lead out of the directory, FIFOs and devices are refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    DocumentError,
    IntegrityError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.files import locked, reason, replacing
from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.strict_json import MANIFEST_LIMIT, Fields, load
from manifestctl.stores.base import Content, check_content, check_digest, checked, described
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.model.location import LayoutLocation
    from manifestctl.stores.base import Blob, OnlyIf

REF_NAME = "org.opencontainers.image.ref.name"
_LAYOUT_FILE = "oci-layout"
_INDEX_FILE = "index.json"
_MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK = 1024 * 1024
_INDEX_KEYS = frozenset({"schemaVersion", "mediaType", "manifests", "annotations"})
_MAX_INDEX = 64 * 1024 * 1024


class LayoutStore:
    """A store in an OCI image layout directory; it is made when something is first written."""

    def __init__(self, location: LayoutLocation) -> None:
        """Bind to the directory; nothing is read yet."""
        self._root = Path(location.path)
        self._name = location.store

    @property
    def name(self) -> str:
        """``oci:DIR``."""
        return self._name

    def resolve(self, name: str) -> Descriptor:
        """Say what a tag or digest is."""
        content = self.read_manifest(name)
        return Descriptor(content.media_type, content.digest, len(content.raw))

    def read_manifest(self, name: str | Descriptor) -> Content:
        """Read a manifest by tag, digest or descriptor; ``""`` is the only one, or ``latest``."""
        what = described(name, escape(self.name))
        with self._errors(what):
            if isinstance(name, Descriptor):
                return self._read_content(name.digest, name.media_type, what, name)
            if ":" in name:
                return self._read_content(Digest.parse(name), self._stated_type(name), what)
            entry = self._entry(name, what)
            return self._read_content(entry.digest, entry.media_type, what, entry)

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Read a small blob whole."""
        what = described(descriptor, escape(self.name))
        with self._errors(what), self._open(descriptor.digest, what) as file:
            raw = file.read(limit + 1)
        if len(raw) > limit:
            raise IntegrityError(f"{what}: it is larger than {limit} bytes")
        check_content(raw, descriptor, what)
        return raw

    @contextlib.contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob."""
        what = described(descriptor, escape(self.name))
        with self._errors(what), self._open(descriptor.digest, what) as file:
            yield checked(iter(lambda: file.read(_CHUNK), b""), descriptor, what)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there, with the size that the descriptor says."""
        what = described(descriptor, escape(self.name))
        try:
            with self._errors(what), self._open(descriptor.digest, what) as file:
                size = os.fstat(file.fileno()).st_size
        except NotFoundError:
            return False
        if size != descriptor.size:
            raise IntegrityError(f"{what}: it has {size} bytes, but its descriptor says {descriptor.size}")
        return True

    def write_blob(self, blob: Blob) -> None:
        """Write a blob unless it is there already."""
        if self.has(blob.descriptor):
            return
        what = described(blob.descriptor, escape(self.name))
        with self._errors(what, writing=True):
            self._make()
            path = self._blob_path(blob.descriptor.digest)
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path, sync=True) as file:
                for chunk in checked(blob.open(), blob.descriptor, what):
                    file.write(chunk)

    def write_manifest(self, content: Content, tag: str | None = None, only_if: OnlyIf | None = None) -> None:
        """Write a manifest and, with a tag, its entry in ``index.json``; ``only_if`` is checked under the lock."""
        what = f"{escape(self.name)}{f':{tag}' if tag else ''}"
        with self._errors(what, writing=True):
            self._make()
            path = self._blob_path(content.digest)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path, sync=True) as file:
                    file.write(content.raw)
            with locked(self._root):
                self._write_entry(content, tag, only_if, what)

    def tags(self) -> list[str]:
        """List the tags in the order of ``index.json``."""
        with self._errors(escape(self.name)):
            names = (_ref_name(entry) for entry in self._index()["manifests"] if isinstance(entry, dict))
            return list(dict.fromkeys(name for name in names if name))

    def _write_entry(self, content: Content, tag: str | None, only_if: OnlyIf | None, what: str) -> None:
        index = self._index()
        entries: list[Any] = index["manifests"]
        same = [i for i, entry in enumerate(entries) if isinstance(entry, dict) and _ref_name(entry) == tag]
        if only_if is not None and tag is not None:
            held = str(entries[same[0]].get("digest")) if same else None
            wanted = str(only_if.digest) if only_if.digest else None
            if held != wanted:
                raise ConflictError(f"{what}: the tag holds {escape(held) if held else 'nothing'} now")
        if tag is None and any(isinstance(e, dict) and e.get("digest") == str(content.digest) for e in entries):
            return
        entry = Descriptor(content.media_type, content.digest, len(content.raw)).to_json()
        if tag is not None:
            entry["annotations"] = {REF_NAME: tag}
            index["manifests"] = [e for i, e in enumerate(entries) if i not in same[1:]]
        if same and tag is not None:
            index["manifests"][same[0]] = entry
        else:
            index["manifests"].append(entry)
        with replacing(self._root / _INDEX_FILE, sync=True) as file:
            file.write(json.dumps(index, indent=2, ensure_ascii=False).encode() + b"\n")

    def _make(self) -> None:
        if self._is_layout():
            return
        self._root.mkdir(parents=True, exist_ok=True)
        with locked(self._root):
            if self._is_layout():
                return
            if any(self._root.iterdir()):
                raise DeniedError(
                    f"{escape(self.name)}: the directory is not empty and is not an OCI layout",
                    hint="Name an empty or new directory; nothing was written.",
                )
            (self._root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
            empty = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []}
            for name, data in ((_INDEX_FILE, json.dumps(empty).encode()), (_LAYOUT_FILE, _MARKER)):
                with replacing(self._root / name, sync=True) as file:
                    file.write(data)

    def _is_layout(self) -> bool:
        return (self._root / _LAYOUT_FILE).exists()

    def _index(self) -> dict[str, Any]:
        if not self._is_layout():
            raise NotFoundError(
                f"{escape(self.name)} is not an OCI layout: it has no file {_LAYOUT_FILE}",
                hint="Name the directory that holds oci-layout, index.json and blobs/.",
                repository_unknown=True,
            )
        what = f"{escape(self.name)}/{_INDEX_FILE}"
        with self._open_file(self._root / _INDEX_FILE, what) as file:
            fields = Fields.of(load(file.read(_MAX_INDEX + 1), what, _MAX_INDEX), what, "", _INDEX_KEYS)
        fields.required(fields.array, "manifests")
        return dict(fields.value)

    def _entry(self, tag: str, what: str) -> Descriptor:
        entries = self._index()["manifests"]
        places = [
            i for i, entry in enumerate(entries) if isinstance(entry, dict) and _ref_name(entry) == (tag or "latest")
        ]
        if not tag and not places and len(entries) == 1:
            places = [0]
        found = [Descriptor.from_json(entries[i], f"{self.name}/{_INDEX_FILE}", f"/manifests/{i}") for i in places]
        if not found:
            raise NotFoundError(
                f"{what} does not exist", hint=f"'manifestctl tags {escape(self.name)}' lists what is there."
            )
        if len({entry.digest for entry in found}) > 1:
            raise DocumentError(
                f"{what}: {_INDEX_FILE} gives this tag to {len(found)} different images",
                hint="Name the one you mean by its digest, as oci:DIR@sha256:…",
            )
        return found[0]

    def _stated_type(self, digest: str) -> str:
        entries = self._index()["manifests"]
        stated = (e.get("mediaType") for e in entries if isinstance(e, dict) and e.get("digest") == digest)
        return next((media_type for media_type in stated if isinstance(media_type, str)), "")

    def _read_content(self, digest: Digest, media_type: str, what: str, wanted: Descriptor | None = None) -> Content:
        with self._open(digest, what) as file:
            raw = file.read(MANIFEST_LIMIT + 1)
        if len(raw) > MANIFEST_LIMIT:
            raise DocumentError(f"{what}: is larger than {MANIFEST_LIMIT} bytes", rule="json-too-large")
        check_digest(raw, digest, what) if wanted is None else check_content(raw, wanted, what)
        return Content(raw, media_type, digest)

    def _blob_path(self, digest: Digest) -> Path:
        return self._root / "blobs" / digest.algorithm / digest.encoded

    def _open(self, digest: Digest, what: str) -> IO[bytes]:
        if not self._is_layout():
            self._index()
        return self._open_file(self._blob_path(digest), what)

    def _open_file(self, path: Path, what: str) -> IO[bytes]:
        # Without O_NONBLOCK opening a FIFO would wait for a writer for ever.
        file = open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")  # noqa: SIM115 - the caller closes
        inside = path.resolve().is_relative_to(self._root.resolve())
        if not inside or not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise DeniedError(f"{what}: it is a link that leads out of the layout, or not a regular file")
        return file

    @contextlib.contextmanager
    def _errors(self, what: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if writing:
                raise UnreachableError(f"{what}: cannot be written: {reason(error)}") from error
            raise NotFoundError(f"{what} does not exist") from error
        except PermissionError as error:
            raise DeniedError(f"{what}: {reason(error)}", hint="Check who owns the directory.") from error
        except OSError as error:
            doing = "written" if writing else "read"
            raise UnreachableError(f"{what}: cannot be {doing}: {reason(error)}") from error


def _ref_name(entry: dict[str, Any]) -> str | None:
    annotations = entry.get("annotations")
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else None
