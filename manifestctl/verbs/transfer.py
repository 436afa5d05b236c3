"""Moving content from one store into another: blobs, images, and lists with all that they name.

What is there already is not sent. It is looked for, each manifest and each blob: registries clean up, so that a list or
an image may be there while something that it names is not. Within one registry blobs are mounted where that works;
otherwise they are streamed, never held whole. A manifest is written after everything that it names.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import DocumentError, MissingContentError, NotFoundError
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved, Noted, Warned
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest
from manifestctl.parallel import HOPELESS
from manifestctl.stores.base import Blob, Content, Mounter
from manifestctl.text import escape, plural
from manifestctl.values import dataclass
from manifestctl.verbs.publish import CHILDREN_DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.parallel import Pool
    from manifestctl.runtime import Runtime
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

    @property
    def brought(self) -> tuple[int, int]:
        """How many manifests and how many blobs were not there and are now."""
        return len(self.manifests), sum(how != "exists" for how in self.blobs.values())


@dataclass(frozen=True, slots=True)
class Transfer:
    """A way from one store to another, in one run.

    ``known`` are manifests and ``small`` blobs that were read already, so that they are not read again.
    """

    source: Store
    target: Store
    pool: Pool
    runtime: Runtime
    moved: Moved = field(default_factory=Moved)
    known: Mapping[Digest, Content] = field(default_factory=dict)
    small: Mapping[Digest, bytes] = field(default_factory=dict, repr=False)

    def image(self, content: Content, *, there: bool = False) -> Manifest | Index:
        """Bring over everything that a manifest or list names, and the manifests in a list; not the content itself.

        ``there`` says that the target has the content; that something is missing all the same is worth a warning.
        """
        manifest, before = self._parsed(content), self.moved.brought
        if isinstance(manifest, Index):
            self.entries(manifest.entries, there=there)
        else:
            self._blobs([(manifest, there)])
        if there:
            tell_gaps(self.target, content, before, self.moved, self.runtime)
        return manifest

    def entries(self, entries: Sequence[Descriptor], *, there: bool = False) -> None:
        """Bring over the images of a list, by digest, each whole; what the target has already is left.

        ``there`` says that the target has the list. Raises `DocumentError` if lists are nested too deep, and whatever
        reading and writing raise.
        """
        self._entries(entries, 1, there=there)

    def _entries(self, entries: Sequence[Descriptor], level: int, *, there: bool) -> None:
        if self._is_at_home:
            return
        wanted: dict[Digest, Descriptor] = {}
        for entry in entries:
            if entry.digest not in self.moved.manifests:
                wanted.setdefault(entry.digest, entry)
        found = self.pool.map(self._find, wanted.values(), stop=HOPELESS)
        manifests = [self._parsed(content) for content, _ in found]
        inner = [entry for manifest in manifests if isinstance(manifest, Index) for entry in manifest.entries]
        if inner and level == _MAX_DEPTH:
            raise DocumentError(
                f"{escape(self.source.name, 300)}: lists are nested deeper than {_MAX_DEPTH} levels",
                hint="Copy the images in it by their digests.",
                rule="list-too-deep",
            )
        if inner:
            self._entries(inner, level + 1, there=there)
        read = [(content, manifest, is_there) for (content, is_there), manifest in zip(found, manifests, strict=True)]
        images = [(manifest, there or is_there) for _, manifest, is_there in read if isinstance(manifest, Manifest)]
        self._blobs(images)
        lacking = [typed(content, manifest) for content, manifest, is_there in read if not is_there]
        self.pool.map(
            lambda one: write_patiently(self.target, one, None, self.runtime),
            lacking,
            stop=(*HOPELESS, MissingContentError),
        )
        self.moved.manifests += [content.digest for content in lacking]

    def _find(self, entry: Descriptor) -> tuple[Content, bool]:
        """Return a manifest, and whether the target has it, which is asked by GET: it says what else to look for."""
        try:
            return self.target.read_manifest(entry), True
        except NotFoundError:
            return self.known.get(entry.digest) or self.source.read_manifest(entry), False

    @property
    def _is_at_home(self) -> bool:
        return self.source.name == self.target.name

    def _parsed(self, content: Content) -> Manifest | Index:
        return content.parse(f"{escape(self.source.name, 300)}@{content.digest}")

    def _blobs(self, images: Iterable[tuple[Manifest, bool]]) -> None:
        """Bring over the blobs of images, each with whether the target has its manifest, or its list.

        Where it has, the blobs are looked for before anything else is tried: they are most likely there too.
        """
        if self._is_at_home:
            return
        named = [(blob, there) for image, there in images for blob in (image.config, *image.layers)]
        wanted = {blob.digest: blob for blob, _ in named if blob.digest not in self.moved.blobs}
        expected = {blob.digest: blob for blob, there in named if there and blob.digest in wanted}
        seen = self.pool.map(self.target.has, expected.values(), stop=HOPELESS)
        self.moved.blobs |= {digest: "exists" for digest, is_there in zip(expected, seen, strict=True) if is_there}
        # The largest begin first, so that none of them is alone at the end.
        absent = [blob for blob in wanted.values() if blob.digest not in self.moved.blobs]
        ordered = sorted(absent, key=lambda blob: -blob.size)
        for descriptor, how in zip(ordered, self.pool.map(self.blob, ordered, stop=HOPELESS), strict=True):
            if how is not None:
                self.moved.blobs[descriptor.digest] = how

    def blob(self, descriptor: Descriptor) -> How | None:
        """Bring over one blob; None if it is a layer that may not be distributed, and is not in the source either."""
        if media_types.is_foreign(descriptor.media_type) and not self.source.has(descriptor):
            return None
        name = descriptor.digest.short
        if isinstance(self.target, Mounter) and self.target.mount(descriptor, self.source):
            self.runtime.observe(BlobMoved(name, descriptor.size, "mounted"))
            return "mounted"
        self.runtime.observe(BlobStarted(name, descriptor.size))
        written = self.target.write_blob(Blob(descriptor, lambda: self._stream(descriptor)))
        how: How = "sent" if written else "exists"
        self.runtime.observe(BlobMoved(name, descriptor.size, how))
        return how

    def _stream(self, descriptor: Descriptor) -> Iterator[bytes]:
        name, held = descriptor.digest.short, self.small.get(descriptor.digest)
        if held is not None:
            self.runtime.observe(BytesMoved(name, len(held)))
            yield held
            return
        with self.source.open_blob(descriptor) as chunks:
            for chunk in chunks:
                self.runtime.observe(BytesMoved(name, len(chunk)))
                yield chunk


def tell_gaps(store: Store, content: Content, before: tuple[int, int], moved: Moved, runtime: Runtime) -> None:
    """Warn if something that content of a store names had to be brought, though the content itself was there."""
    counts = [after - earlier for after, earlier in zip(moved.brought, before, strict=True)]
    gaps = ", ".join(plural(count, thing) for count, thing in zip(counts, ("manifest", "blob"), strict=True) if count)
    if gaps:
        name = f"{escape(store.name, 300)}@{content.digest}"
        runtime.observe(Warned(f"{name} was there, but not all that it names: {gaps} had to be brought again"))


def typed(content: Content, manifest: Manifest | Index) -> Content:
    """Return the content with its own media type, where its store did not know better than, say, ``text/plain``."""
    return Content(content.raw, manifest.media_type, content.digest)


def write_patiently(store: Store, content: Content, tag: str | None, runtime: Runtime) -> None:
    """Write a manifest whose content is there, under a tag or by its digest alone, and do not read it back.

    A registry that says that some of the content is absent may be behind itself, so it is asked again for some seconds.
    """

    def attempt() -> bool:
        try:
            store.write_manifest(content, tag)
        except MissingContentError:
            where = escape(f"{store.name}{f':{tag}' if tag else f'@{content.digest}'}", 400)
            told = f"{where} is refused: the registry does not see all of its content yet; asking again"
            runtime.observe(Noted(told))
            raise
        return True

    until(attempt, MissingContentError, CHILDREN_DEADLINE, runtime)
