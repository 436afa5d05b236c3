"""What ``index.json`` of an OCI archive names. OCI image-spec "Image Layout"; containerd's and buildx's annotations."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, IntegrityError, ManifestctlError, NotFoundError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.manifest import Manifest
from manifestctl.model.strict_json import MANIFEST_LIMIT, Fields, load
from manifestctl.stores.base import Content, check_content
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.model.digest import Digest
    from manifestctl.model.manifest import Index
    from manifestctl.stores.archive_file import ArchiveFile

INDEX_FILE = "index.json"
FULL_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
_MAX_FILE = 64 * 1024 * 1024
_KEYS = frozenset({"schemaVersion", "mediaType", "manifests", "annotations"})


@dataclass(frozen=True, slots=True)
class Root:
    """A manifest or list that ``index.json`` names.

    ``names`` are full references where the program that wrote it gives them, else tags; ``tags`` are tags alone.
    ``content`` and ``document`` are absent if it cannot be read, which ``fault`` explains.
    """

    descriptor: Descriptor
    names: tuple[str, ...]
    tags: frozenset[str]
    content: Content | None = field(default=None, repr=False)
    document: Manifest | Index | None = field(default=None, repr=False)
    fault: ManifestctlError | None = None


def roots(file: ArchiveFile) -> list[Root]:
    """Read ``index.json`` and what it names, attestations left out; nothing if there is none.

    Raises `DocumentError` and `IntegrityError` for the file itself.
    """
    member = file.find(INDEX_FILE)
    if member is None:
        return []
    what = f"{file.what}/{INDEX_FILE}"
    fields = Fields.of(load(file.read(member, _MAX_FILE, what), what, _MAX_FILE), what, "", _KEYS)
    found: dict[Digest, Root] = {}
    # Docker writes null when an image was saved by its digest.
    for place, value in enumerate(fields.array("manifests") or []):
        entry = Descriptor.from_json(value, what, f"/manifests/{place}")
        if entry.is_attestation:
            continue
        full, ref = entry.annotations.get(FULL_NAME), entry.annotations.get(REF_NAME)
        names, tags = tuple(name for name in (full or ref,) if name), frozenset({ref} if ref else ())
        root = found.get(entry.digest) or _read(file, entry)
        found[entry.digest] = replace(root, names=tuple(dict.fromkeys(root.names + names)), tags=root.tags | tags)
    return list(found.values())


def read_content(file: ArchiveFile, wanted: Descriptor, what: str) -> Content:
    """Read a manifest or list that a descriptor names.

    Raises `NotFoundError` if it is not in the archive, `DocumentError` if it is too large, `IntegrityError`.
    """
    member = file.blob(wanted.digest)
    if member is None:
        raise file.missing(what)
    if member.size > MANIFEST_LIMIT:
        raise DocumentError(f"{what}: is larger than {MANIFEST_LIMIT} bytes", rule="json-too-large")
    raw = file.read(member, MANIFEST_LIMIT, what)
    check_content(raw, wanted, what)
    return Content(raw, wanted.media_type, wanted.digest)


def manifests(file: ArchiveFile, document: Manifest | Index) -> Iterator[Manifest]:
    """Yield the image itself, or the images of a list that are in the archive and can be read, each once."""
    seen = {document.digest}
    waiting: list[Descriptor] = []
    one: Manifest | Index | None = document
    while True:
        if isinstance(one, Manifest):
            yield one
        elif one is not None:
            waiting += reversed([entry for entry in one.entries if not entry.is_attestation])
        while waiting and waiting[-1].digest in seen:
            waiting.pop()
        if not waiting:
            return
        entry = waiting.pop()
        seen.add(entry.digest)
        one = _read(file, entry).document


def _read(file: ArchiveFile, entry: Descriptor) -> Root:
    what = f"{file.what}@{entry.digest}"
    root = Root(entry, (), frozenset())
    try:
        content = read_content(file, entry, what)
        return replace(root, content=content, document=content.parse(what))
    except (DocumentError, IntegrityError, NotFoundError) as error:
        return replace(root, fault=error)
