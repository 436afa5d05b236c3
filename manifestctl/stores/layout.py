"""OCI image layouts: a directory that holds images, with no server. OCI image-spec "Image Layout".

Several processes may write one directory: it is locked by ``flock`` on itself, blobs are content-addressed, and every
file appears whole or not at all. Links that lead out of the directory, FIFOs and devices are refused.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    DocumentError,
    IntegrityError,
    ManifestctlError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.files import (
    Draft,
    NotRegularError,
    is_temporary,
    locked,
    open_regular,
    reason,
    remove_abandoned,
    replacing,
    sync_directory,
)
from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.strict_json import MANIFEST_LIMIT, Fields, load
from manifestctl.stores.base import Content, check_content, check_digest, check_size, checked, described
from manifestctl.stores.layout_index import (
    check_inside,
    check_version,
    held_by,
    readable_digest,
    ref_name,
    stated_type,
    with_entry,
)
from manifestctl.text import escape, plural

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.model.digest import Digest
    from manifestctl.model.location import LayoutLocation
    from manifestctl.stores.base import Blob, OnlyIf, Produced

_LAYOUT_FILE = "oci-layout"
_INDEX_FILE = "index.json"
_BLOBS = "blobs"
_MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_CHUNK = 1024 * 1024
_INDEX_KEYS = frozenset({"schemaVersion", "mediaType", "manifests", "annotations"})
_MAX_INDEX = 64 * 1024 * 1024
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_NO_DIRECTORY = frozenset({errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


class LayoutStore:
    """A store in an OCI image layout directory; it is made when something is first written."""

    def __init__(self, location: LayoutLocation) -> None:
        """Bind to the directory; nothing is read yet."""
        self._root = Path(location.path)
        self._name = location.store
        self._shown = escape(location.store)
        self._parsed: tuple[tuple[int, ...], dict[str, Any]] | None = None
        self._understood = False
        self._tidied: set[Path] = set()

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
        what = described(name, self._shown)
        with self._errors(what):
            if isinstance(name, Descriptor):
                return self._read_content(name.digest, name.media_type, what, name)
            digest = readable_digest(name)
            if digest is not None:
                return self._read_content(digest, stated_type(self._index()["manifests"], name), what)
            entry = self._entry(name, what)
            return self._read_content(entry.digest, entry.media_type, what, entry)

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Read a small blob whole."""
        what = described(descriptor, self._shown)
        with self._errors(what), self._open(descriptor.digest, what) as file:
            raw = file.read(limit + 1)
        if len(raw) > limit:
            raise IntegrityError(f"{what}: it is larger than {limit} bytes")
        check_content(raw, descriptor, what)
        return raw

    @contextlib.contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob."""
        what = described(descriptor, self._shown)
        with self._errors(what):
            file = self._open(descriptor.digest, what)
        # What fails in the caller's block is the caller's, so that only the reading is watched over from here on.
        with file:
            yield checked(self._chunks(file, what), descriptor, what)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there, with the size that the descriptor says."""
        what = described(descriptor, self._shown)
        try:
            with self._errors(what), self._open(descriptor.digest, what) as file:
                size = os.fstat(file.fileno()).st_size
        except NotFoundError:
            return False
        check_size(size, descriptor, what)
        return True

    def write_blob(self, blob: Blob) -> bool:
        """Write a blob unless it is there already."""
        if self.has(blob.descriptor):
            return False
        what = described(blob.descriptor, self._shown)
        with self._errors(what, writing=True):
            self._make()
            with replacing(self._place(blob.descriptor.digest, what), sync=True) as file:
                for chunk in checked(blob.open(), blob.descriptor, what):
                    file.write(chunk)
        return True

    def write_stream(self, produced: Produced) -> Descriptor:
        """Write content that is produced on the way; what its name is, its digest, is known when it is whole."""
        what = f"{produced.name} into {self._shown}"
        with self._errors(what, writing=True):
            self._make()
            with Draft(self._root, "blob") as draft:
                for chunk in produced.open():
                    draft.file.write(chunk)
                descriptor = produced.descriptor()
                draft.become(self._place(descriptor.digest, what), sync=True)
        return descriptor

    def write_manifest(self, content: Content, tag: str | None = None, only_if: OnlyIf | None = None) -> None:
        """Write a manifest and, with a tag, its entry in ``index.json``; ``only_if`` is checked under the lock."""
        what = described(tag or str(content.digest), self._shown)
        with self._errors(what, writing=True):
            self._make()
            path = self._place(content.digest, what)
            # What another program left half written under this name is written again.
            if not self._holds(path, content.raw, what):
                with replacing(path, sync=True) as file:
                    file.write(content.raw)
            with locked(self._root):
                self._write_entry(content, tag, only_if, what)

    def tags(self) -> list[str]:
        """List the tags in the order of ``index.json``."""
        with self._errors(self._shown):
            names = (ref_name(entry) for entry in self._index()["manifests"])
            return list(dict.fromkeys(name for name in names if name))

    def check_place(self) -> bool:
        """Tell whether the directory is a layout. Raises what writing would, if it holds something else."""
        with self._errors(self._shown, writing=True):
            if self._is_layout():
                self._read_index()
                return True
            if self._root.exists():
                self._refuse_strangers()
            return False

    def _write_entry(self, content: Content, tag: str | None, only_if: OnlyIf | None, what: str) -> None:
        index = self._read_index()
        entries: list[Any] = index["manifests"]
        if only_if is not None and tag is not None:
            held = held_by(entries, tag)
            if held != ([str(only_if.digest)] if only_if.digest else []):
                raise ConflictError(f"{what}: the tag holds {escape(' and '.join(held), 300) or 'nothing'} now")
        made = Descriptor(content.media_type, content.digest, len(content.raw)).to_json()
        index["manifests"] = with_entry(entries, made, tag)
        if index["manifests"] is not entries:
            with replacing(self._root / _INDEX_FILE, sync=True) as file:
                file.write(json.dumps(index, indent=2, ensure_ascii=False).encode() + b"\n")

    def _make(self) -> None:
        if self._is_layout():
            return
        self._root.mkdir(parents=True, exist_ok=True)
        sync_directory(self._root.parent)
        with locked(self._root):
            if self._is_layout():
                return
            self._refuse_strangers()
            (self._root / _BLOBS).mkdir(exist_ok=True)
            empty = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []}
            # The file by which a layout is known comes last: what is half made is not one.
            for name, data in ((_INDEX_FILE, json.dumps(empty).encode()), (_LAYOUT_FILE, _MARKER)):
                if not (self._root / name).exists():
                    with replacing(self._root / name, sync=True) as file:
                        file.write(data)

    def _refuse_strangers(self) -> None:
        """Raise unless the directory is empty, or holds nothing but what a run left that was killed in `_make`."""
        names = {path.name for path in self._root.iterdir()}
        if any(name not in (_BLOBS, _INDEX_FILE) and not is_temporary(name) for name in names):
            raise DeniedError(
                f"{self._shown}: the directory is not empty and is not an OCI layout",
                hint="Name an empty or new directory; nothing was written.",
            )
        if _INDEX_FILE in names:
            self._read_index()

    def _place(self, digest: Digest, what: str) -> Path:
        """Return where a blob is written; its directory is made, and rid of what killed runs left."""
        path = self._blob_path(digest)
        check_inside(path.parent, self._root, what)
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            sync_directory(path.parent.parent)
        for directory in {self._root, path.parent} - self._tidied:
            remove_abandoned(directory)
            self._tidied.add(directory)
        return path

    def _is_layout(self) -> bool:
        """Tell whether the directory is a layout; raises `DocumentError` for one of a version that is not known."""
        path, what = self._root / _LAYOUT_FILE, f"{self._shown}/{_LAYOUT_FILE}"
        if not path.exists():
            return False
        if not self._understood:
            with self._open_file(path, what) as file:
                check_version(file.read(MANIFEST_LIMIT + 1), what)
            self._understood = True
        return True

    def _index(self) -> dict[str, Any]:
        if not self._is_layout():
            raise NotFoundError(
                f"{self._shown} is not an OCI layout: it has no file {_LAYOUT_FILE}",
                hint="Name the directory that holds oci-layout, index.json and blobs/.",
                repository_unknown=True,
            )
        return self._read_index(cached=True)

    def _read_index(self, *, cached: bool = False) -> dict[str, Any]:
        what = f"{self._shown}/{_INDEX_FILE}"
        with self._errors(what), self._open_file(self._root / _INDEX_FILE, what) as file:
            status = os.fstat(file.fileno())
            # Every change gives it another number, time or size. A thousand images of one layout read it once.
            key = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
            if cached and self._parsed is not None and self._parsed[0] == key:
                return self._parsed[1]
            raw = file.read(_MAX_INDEX + 1)
        fields = Fields.of(load(raw, what, _MAX_INDEX), what, "", _INDEX_KEYS)
        fields.required(fields.array, "manifests")
        index = dict(fields.value)
        if cached:
            self._parsed = (key, index)
        return index

    def _entry(self, tag: str, what: str) -> Descriptor:
        entries = self._index()["manifests"]
        wanted = tag or "latest"
        places = [i for i, entry in enumerate(entries) if ref_name(entry) == wanted]
        if not tag and not places and len(entries) == 1:
            places = [0]
        index = f"{self._shown}/{_INDEX_FILE}"
        found = [Descriptor.from_json(entries[i], index, f"/manifests/{i}") for i in places]
        if not found:
            missing = f"{what} does not exist"
            if not tag:
                missing = f"{what} holds {plural(len(entries), 'image') if entries else 'no image'}, none tagged latest"
            raise NotFoundError(missing, hint=f"'manifestctl tags {self._shown}' lists what is there.")
        if len({entry.digest for entry in found}) > 1:
            raise DocumentError(
                f"{what}: {_INDEX_FILE} gives this tag to {len(found)} different images",
                hint="Name the one you mean by its digest, as oci:DIR@sha256:…",
            )
        return found[0]

    def _read_content(self, digest: Digest, media_type: str, what: str, wanted: Descriptor | None = None) -> Content:
        with self._open(digest, what) as file:
            raw = file.read(MANIFEST_LIMIT + 1)
        if len(raw) > MANIFEST_LIMIT:
            raise DocumentError(f"{what}: is larger than {MANIFEST_LIMIT} bytes", rule="json-too-large")
        check_digest(raw, digest, what) if wanted is None else check_content(raw, wanted, what)
        return Content(raw, media_type, digest)

    def _holds(self, path: Path, raw: bytes, what: str) -> bool:
        try:
            with self._open_file(path, what) as file:
                return file.read(len(raw) + 1) == raw
        except FileNotFoundError:
            return False

    def _blob_path(self, digest: Digest) -> Path:
        return self._root / _BLOBS / digest.algorithm / digest.encoded

    def _open(self, digest: Digest, what: str) -> IO[bytes]:
        if not self._is_layout():
            self._index()
        return self._open_file(self._blob_path(digest), what)

    def _open_file(self, path: Path, what: str) -> IO[bytes]:
        check_inside(path, self._root, what)
        try:
            return os.fdopen(open_regular(path), "rb")
        except NotRegularError as error:
            raise DocumentError(f"{what}: {reason(error)}", hint="Remove it, and write the image again.") from error

    def _chunks(self, file: IO[bytes], what: str) -> Iterator[bytes]:
        with self._errors(what):
            while chunk := file.read(_CHUNK):
                yield chunk

    @contextlib.contextmanager
    def _errors(self, what: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _failure(error, what, writing=writing) from error


def _failure(error: OSError, what: str, *, writing: bool) -> ManifestctlError:
    doing = "written" if writing else "read"
    if error.errno in _REFUSED:
        return DeniedError(f"{what}: cannot be {doing}: {reason(error)}", hint="Check who may use the directory.")
    if not writing and error.errno in _ABSENT:
        return NotFoundError(f"{what} does not exist")
    if writing and error.errno in _NO_DIRECTORY:
        return DeniedError(
            f"{what}: a directory cannot be created here: {reason(error)}", hint="Name another directory."
        )
    return UnreachableError(f"{what}: cannot be {doing}: {reason(error)}")
