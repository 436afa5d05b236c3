"""Moving content from one store into another: blobs, images, and lists with all that they name.

What is there already is not sent. Within one registry blobs are mounted where that works; otherwise they are streamed,
never held whole. A manifest is written after everything that it names.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import NotFoundError
from manifestctl.events import BlobMoved, BlobStarted
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest
from manifestctl.stores.base import Blob, Mounter
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from manifestctl.events import Observer
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.parallel import Pool
    from manifestctl.stores.base import Content, Store

How = Literal["exists", "mounted", "sent"]


@dataclass(slots=True)
class Moved:
    """What moved: each blob once, with how it came there, and the manifests that were written."""

    blobs: dict[Digest, How] = field(default_factory=dict)
    manifests: list[Digest] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A way from one store to another, in one run."""

    source: Store
    target: Store
    pool: Pool
    observe: Observer
    moved: Moved = field(default_factory=Moved)

    def image(self, content: Content) -> Manifest | Index:
        """Bring over everything that a manifest or list names, and the manifests in a list; not the content itself."""
        manifest = content.parse(f"{self.source.name}@{content.digest}")
        if isinstance(manifest, Index):
            self.entries(manifest.entries)
        else:
            self._blobs([manifest.config, *manifest.layers])
        return manifest

    def entries(self, entries: Sequence[Descriptor]) -> None:
        """Bring over the images of a list, by digest, each whole; what the target has already is left."""
        left = [entry for entry in dict.fromkeys(entries) if not self._has_manifest(entry)]
        contents = self.pool.map(self.source.read_manifest, left)
        blobs: list[Descriptor] = []
        deeper: list[Index] = []
        for content in contents:
            manifest = content.parse(f"{self.source.name}@{content.digest}")
            if isinstance(manifest, Index):
                deeper.append(manifest)
            else:
                blobs += [manifest.config, *manifest.layers]
        for index in deeper:
            self.entries(index.entries)
        self._blobs(blobs)
        self.pool.map(self.target.write_manifest, contents)
        self.moved.manifests += [content.digest for content in contents]

    def _has_manifest(self, entry: Descriptor) -> bool:
        if self.source.name == self.target.name:
            return True
        try:
            return self.target.resolve(str(entry.digest)).size == entry.size
        except NotFoundError:
            return False

    def _blobs(self, descriptors: Sequence[Descriptor]) -> None:
        if self.source.name == self.target.name:
            return
        wanted = {blob.digest: blob for blob in descriptors if blob.digest not in self.moved.blobs}
        # The largest begin first, so that none of them is alone at the end.
        ordered = sorted(wanted.values(), key=lambda blob: -blob.size)
        for descriptor, how in zip(ordered, self.pool.map(self.blob, ordered), strict=True):
            self.moved.blobs[descriptor.digest] = how

    def blob(self, descriptor: Descriptor) -> How:
        """Bring over one blob."""
        if media_types.is_foreign(descriptor.media_type) and not self.source.has(descriptor):
            return "exists"
        name = descriptor.digest.short
        if isinstance(self.target, Mounter) and self.target.mount(descriptor, self.source):
            self.observe(BlobMoved(name, descriptor.size, "mounted"))
            return "mounted"
        self.observe(BlobStarted(name, descriptor.size))
        written = self.target.write_blob(Blob(descriptor, lambda: self._stream(descriptor)))
        self.observe(BlobMoved(name, descriptor.size, "sent" if written else "exists"))
        return "sent" if written else "exists"

    def _stream(self, descriptor: Descriptor) -> Iterator[bytes]:
        from manifestctl.events import BytesMoved

        with self.source.open_blob(descriptor) as chunks:
            for chunk in chunks:
                self.observe(BytesMoved(descriptor.digest.short, len(chunk)))
                yield chunk


def where(store: Store, tag: str | None) -> str:
    """Return how messages call a tag of a store."""
    return escape(f"{store.name}:{tag}" if tag else store.name, 300)
