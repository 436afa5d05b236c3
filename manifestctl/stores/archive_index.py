"""What ``index.json`` of an OCI archive names. OCI image-spec "Image Layout"; containerd's and buildx's annotations."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, IntegrityError, ManifestctlError, NotFoundError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.manifest import Manifest
from manifestctl.model.strict_json import MANIFEST_LIMIT, Fields
from manifestctl.stores.base import Content, check_content
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from manifestctl.model.digest import Digest
    from manifestctl.model.manifest import Index
    from manifestctl.stores.archive_file import ArchiveFile

INDEX_FILE = "index.json"
FULL_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
_MAX_FILE = 64 * 1024 * 1024
MAX_NAMED = 128 * 1024 * 1024
"""Bytes of all manifests together that ``index.json`` names: they are kept while the archive is open."""
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


def roots(file: ArchiveFile, limit: int = MAX_NAMED) -> list[Root]:
    """Read ``index.json`` and what it names, attestations left out; nothing if there is none.

    All that it names may have ``limit`` bytes together; what goes beyond has a fault. Raises `DocumentError` and
    `IntegrityError` for the file itself.
    """
    if file.find(INDEX_FILE) is None:
        return []
    what = f"{file.what}/{INDEX_FILE}"
    fields = Fields.of(file.load(INDEX_FILE, _MAX_FILE), what, "", _KEYS)
    entries: dict[Digest, list[Descriptor]] = {}
    # Docker writes null when an image was saved by its digest.
    for place, value in enumerate(fields.array("manifests") or []):
        entry = Descriptor.from_json(value, what, f"/manifests/{place}")
        if not entry.is_attestation:
            entries.setdefault(entry.digest, []).append(entry)
    found = []
    left = limit
    for same in entries.values():
        root = _named(same, _read(file, same[0], left))
        left -= len(root.content.raw) if root.content is not None else 0
        found.append(root)
    return found


def _named(entries: Sequence[Descriptor], root: Root) -> Root:
    """Return what several entries name, with the names that they give it."""
    said = [(entry.annotations.get(FULL_NAME), entry.annotations.get(REF_NAME)) for entry in entries]
    names = dict.fromkeys(name for full, ref in said if (name := full or ref))
    return replace(root, names=tuple(names), tags=frozenset(ref for _, ref in said if ref))


def read_content(file: ArchiveFile, wanted: Descriptor, what: str) -> Content:
    """Read a manifest or list that a descriptor names.

    Raises `NotFoundError` if it is not in the archive, `DocumentError` if it is too large, `IntegrityError`.
    """
    member = file.blob(wanted.digest)
    if member is None:
        raise file.missing(what)
    raw = file.read_document(member, MANIFEST_LIMIT, what)
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


def _read(file: ArchiveFile, entry: Descriptor, room: int = MANIFEST_LIMIT) -> Root:
    what = f"{file.what}@{entry.digest}"
    root = Root(entry, (), frozenset())
    try:
        if min(entry.size, MANIFEST_LIMIT) > room:
            raise DocumentError(
                f"{what}: it is not read, for the manifests that {INDEX_FILE} names are too large together",
                hint="Make an archive with fewer images.",
                rule="json-too-large",
            )
        content = read_content(file, entry, what)
        return replace(root, content=content, document=content.parse(what))
    except NotFoundError:
        return replace(root, fault=file.incomplete(what))
    except (DocumentError, IntegrityError) as error:
        return replace(root, fault=error)
