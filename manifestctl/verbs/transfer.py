"""Moving content from one store into another: blobs, images, and lists with all that they name.

What is there already is not sent. Within one registry blobs are mounted where that works; otherwise they are streamed,
never held whole. A manifest is written after everything that it names.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import DocumentError, NotFoundError
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest
from manifestctl.stores.base import Blob, Content, Mounter
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from manifestctl.events import Observer
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.parallel import Pool
    from manifestctl.stores.base import Store

How = Literal["exists", "mounted", "sent"]

_MAX_DEPTH = 3


@dataclass(slots=True)
class Moved:
    """What moved: each blob once, with how it came there, and the manifests that were written.

    Layers that may not be distributed and are not in the source either are not among the blobs.
    """

    blobs: dict[Digest, How] = field(default_factory=dict)
    manifests: list[Digest] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Transfer:
    """A way from one store to another, in one run.

    ``known`` are manifests and ``small`` blobs that were read already, so that they are not read again.
    """

    source: Store
    target: Store
    pool: Pool
    observe: Observer
    moved: Moved = field(default_factory=Moved)
    known: Mapping[Digest, Content] = field(default_factory=dict)
    small: Mapping[Digest, bytes] = field(default_factory=dict, repr=False)

    def image(self, content: Content) -> Manifest | Index:
        """Bring over everything that a manifest or list names, and the manifests in a list; not the content itself."""
        manifest = self._parsed(content)
        if isinstance(manifest, Index):
            self.entries(manifest.entries)
        else:
            self._blobs([manifest.config, *manifest.layers])
        return manifest

    def entries(self, entries: Sequence[Descriptor]) -> None:
        """Bring over the images of a list, by digest, each whole; what the target has already is left.

        Raises `DocumentError` if lists are nested too deep, and whatever reading and writing raise.
        """
        self._entries(entries, 1)

    def _entries(self, entries: Sequence[Descriptor], level: int) -> None:
        if self._is_at_home:
            return
        wanted: dict[Digest, Descriptor] = {}
        for entry in entries:
            if entry.digest not in self.moved.manifests:
                wanted.setdefault(entry.digest, entry)
        left = [content for content in self.pool.map(self._lacking, wanted.values()) if content is not None]
        manifests = [self._parsed(content) for content in left]
        inner = [entry for manifest in manifests if isinstance(manifest, Index) for entry in manifest.entries]
        if inner and level == _MAX_DEPTH:
            raise DocumentError(
                f"{escape(self.source.name, 300)}: lists are nested deeper than {_MAX_DEPTH} levels",
                hint="Copy the images in it by their digests.",
                rule="list-too-deep",
            )
        if inner:
            self._entries(inner, level + 1)
        images = [manifest for manifest in manifests if isinstance(manifest, Manifest)]
        self._blobs([blob for image in images for blob in (image.config, *image.layers)])
        self.pool.map(self.target.write_manifest, map(typed, left, manifests))
        self.moved.manifests += [content.digest for content in left]

    def _lacking(self, entry: Descriptor) -> Content | None:
        """Return the manifest if the target does not have it.

        It is there only with all that it names, so that nothing of it need be looked for. Manifests are small: GET
        costs one request where HEAD and, for what is absent, GET would cost two.
        """
        try:
            self.target.read_manifest(entry)
        except NotFoundError:
            return self.known.get(entry.digest) or self.source.read_manifest(entry)
        return None

    @property
    def _is_at_home(self) -> bool:
        return self.source.name == self.target.name

    def _parsed(self, content: Content) -> Manifest | Index:
        return content.parse(f"{escape(self.source.name, 300)}@{content.digest}")

    def _blobs(self, descriptors: Iterable[Descriptor]) -> None:
        if self._is_at_home:
            return
        wanted = {blob.digest: blob for blob in descriptors if blob.digest not in self.moved.blobs}
        # The largest begin first, so that none of them is alone at the end.
        ordered = sorted(wanted.values(), key=lambda blob: -blob.size)
        for descriptor, how in zip(ordered, self.pool.map(self.blob, ordered), strict=True):
            if how is not None:
                self.moved.blobs[descriptor.digest] = how

    def blob(self, descriptor: Descriptor) -> How | None:
        """Bring over one blob; None if it is a layer that may not be distributed, and is not in the source either."""
        if media_types.is_foreign(descriptor.media_type) and not self.source.has(descriptor):
            return None
        name = descriptor.digest.short
        if isinstance(self.target, Mounter) and self.target.mount(descriptor, self.source):
            self.observe(BlobMoved(name, descriptor.size, "mounted"))
            return "mounted"
        self.observe(BlobStarted(name, descriptor.size))
        written = self.target.write_blob(Blob(descriptor, lambda: self._stream(descriptor)))
        how: How = "sent" if written else "exists"
        self.observe(BlobMoved(name, descriptor.size, how))
        return how

    def _stream(self, descriptor: Descriptor) -> Iterator[bytes]:
        name, held = descriptor.digest.short, self.small.get(descriptor.digest)
        if held is not None:
            self.observe(BytesMoved(name, len(held)))
            yield held
            return
        with self.source.open_blob(descriptor) as chunks:
            for chunk in chunks:
                self.observe(BytesMoved(name, len(chunk)))
                yield chunk


def typed(content: Content, manifest: Manifest | Index) -> Content:
    """Return the content with its own media type, where its store did not know better than, say, ``text/plain``."""
    return Content(content.raw, manifest.media_type, content.digest)
