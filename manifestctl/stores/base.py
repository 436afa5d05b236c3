"""The one interface behind which images live.

A `Store` is bound to one repository of a registry, or to one directory. Verbs are written against it and get one from
an `OpenStore`, so that a registry and a layout on disk are the same to them.
"""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from manifestctl.errors import IntegrityError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.manifest import Index, Manifest, parse_manifest
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a manifest or list as a store holds them.

    ``media_type`` is what the store says they are, which may be nothing; ``digest`` is computed from the bytes.
    """

    raw: bytes = field(repr=False)
    media_type: str
    digest: Digest

    @classmethod
    def of(cls, raw: bytes, media_type: str) -> Content:
        """Wrap bytes that were composed here."""
        return cls(raw, media_type, Digest.of(raw))

    def parse(self, what: str) -> Manifest | Index:
        """Parse the bytes; ``what`` names them in messages. Raises `DocumentError`."""
        return parse_manifest(self.raw, self.media_type, what, self.digest)


@dataclass(frozen=True, slots=True)
class Blob:
    """Content to write: what it is, and an opener that can be called again, so that retries can replay it."""

    descriptor: Descriptor
    open: Callable[[], Iterator[bytes]] = field(repr=False)

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Blob:
        """Wrap bytes."""
        return cls(Descriptor(media_type, Digest.of(data), len(data)), lambda: iter((data,)))


@dataclass(frozen=True, slots=True)
class OnlyIf:
    """A condition on a tag that is about to be written: it must hold this digest, or, if None, must not exist."""

    digest: Digest | None


class Store(Protocol):
    """One repository, or one directory.

    All methods may be called from several threads. They raise `NotFoundError`, `DeniedError`, `UnreachableError` and
    `IntegrityError`; messages name the store and what was asked of it.
    """

    @property
    def name(self) -> str:
        """``registry/repository`` or ``oci:DIR``, as locations name their store."""

    def resolve(self, name: str) -> Descriptor:
        """Say what a tag or digest is, without reading it where that is possible. Raises `NotFoundError`."""

    def read_manifest(self, name: str | Descriptor) -> Content:
        """Read a manifest or list by tag, digest or descriptor.

        Bytes read by digest hash to it, else `IntegrityError`; by descriptor, the size must fit too.
        """

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Read a small blob whole. Raises `IntegrityError` if it is over the limit, or not what the descriptor says."""

    def open_blob(self, descriptor: Descriptor) -> AbstractContextManager[Iterator[bytes]]:
        """Stream a blob; the iterator raises `IntegrityError` at its end if digest or size is not the descriptor's."""

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there; one of another size than the descriptor says raises `IntegrityError`."""

    def write_blob(self, blob: Blob) -> bool:
        """Write a blob unless it is there already; returns whether it was written."""

    def write_manifest(self, content: Content, tag: str | None = None, only_if: OnlyIf | None = None) -> None:
        """Write a manifest or list, under a tag or by its digest alone.

        ``only_if`` is enforced where the store can, and raises `ConflictError` then.
        """

    def tags(self) -> list[str]:
        """List the tags, in the store's order."""


class Produced(Protocol):
    """Content that is made while it is written, so that its digest and size are known only at the end."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def open(self) -> Iterator[bytes]:
        """Produce it from the beginning; may be called again."""

    def descriptor(self) -> Descriptor:
        """Describe what the last complete pass produced."""


@runtime_checkable
class StreamWriter(Protocol):
    """A store that takes content whose digest is not known beforehand."""

    def write_stream(self, produced: Produced) -> Descriptor:
        """Write it in one pass; returns what it turned out to be."""


@runtime_checkable
class Mounter(Protocol):
    """A store that can take a blob over from another repository without its bytes being sent."""

    def mount(self, descriptor: Descriptor, source: Store) -> bool:
        """Ask for it; returns whether the blob is there now. A source elsewhere is simply not possible: False."""


@runtime_checkable
class ReferrerStore(Protocol):
    """A store that knows which manifests (signatures, SBOMs) refer to a manifest.

    OCI distribution-spec "Listing Referrers".
    """

    def referrers(self, digest: Digest) -> list[Descriptor]:
        """List the manifests whose subject this is, by the API or by the tag scheme; empty if there are none."""


@runtime_checkable
class TagQuota(Protocol):
    """A store that knows how many tags one image may have."""

    @property
    def tags_per_image(self) -> int | None:
        """The most tags; None if there is no such limit."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """What a store can say of its image while that is not here yet.

    ``manifest`` is the digest of the manifest or list that reading the image will give. Where a manifest is made only
    then, ``config`` is that of its config: it will be one of Docker's, and its layers plain tars. If nobody can tell,
    there is neither. ``attested`` tells whether the list from which the image was chosen has attestations of it.
    """

    manifest: Digest | None = None
    config: Digest | None = None
    attested: bool = False


@runtime_checkable
class Foretelling(Protocol):
    """A store that may have to bring its image here before any of it can be read, which can take long."""

    def foretell(self) -> Foretold | None:
        """Say what the image is without bringing it here; None if there is nothing to bring.

        Raises what finding the image raises.
        """


@dataclass(frozen=True, slots=True)
class LocalImage:
    """One image, or list of images, of this machine that could be pushed.

    ``names`` are references or tags as its place has them; ``id`` is the digest of the config (Docker's image ID), or
    of the list. ``platforms`` are those whose images are there, ``size`` the bytes of configs and layers as they are
    stored (None if nobody says), ``created`` when the first says that it was made.
    """

    names: tuple[str, ...]
    id: Digest
    platforms: tuple[Platform, ...]
    size: int | None
    created: str = ""


@runtime_checkable
class ImageLister(Protocol):
    """A store that can say which images it has."""

    def images(self, name: str = "") -> list[LocalImage]:
        """List the images, those without a name too, or those that a name, a tag or an id means.

        What names one image when it is pushed gives that image. But a name without a tag, which means ``latest`` then,
        gives all tags of the repository. Raises `NotFoundError` if there is no such image.
        """


class OpenStore(Protocol):
    """Gives the store in which a location lies; the composition root provides it to verbs."""

    def __call__(self, location: Location, *, write: bool = False) -> Store:
        """Return the store, the same object for the same repository. ``write`` says that it will be written to.

        Opening sends nothing. All stores of a run are opened before the first request, so that one token serves all.
        """


def check_content(raw: bytes, wanted: Descriptor, what: str) -> None:
    """Raise `IntegrityError` unless the bytes have the descriptor's size and digest; ``what`` names them."""
    check_size(len(raw), wanted, what)
    check_digest(raw, wanted.digest, what)


def check_size(size: int, wanted: Descriptor, what: str) -> None:
    """Raise `IntegrityError` unless the size is the descriptor's; ``what`` names what has it."""
    if size != wanted.size:
        raise IntegrityError(
            f"{what}: it has {size} bytes, but its descriptor says {wanted.size}",
            hint="The list or manifest that names it is wrong, or the store is damaged; push the image again.",
        )


def check_digest(raw: bytes, wanted: Digest, what: str) -> None:
    """Raise `IntegrityError` unless the bytes hash to the digest; ``what`` names them."""
    if not wanted.matches(raw):
        raise IntegrityError(
            f"{what}: its bytes hash to {Digest.of(raw, wanted.algorithm)}, not to {wanted}",
            hint="The store, or something between, gave other bytes than were asked for; nothing of it can be used.",
        )


def checked(chunks: Iterator[bytes], wanted: Descriptor, what: str) -> Iterator[bytes]:
    """Pass chunks through and raise `IntegrityError` as soon as they cannot be what the descriptor says."""
    hasher = wanted.digest.hasher()
    count = 0
    for chunk in chunks:
        count += len(chunk)
        if count > wanted.size:
            break
        hasher.update(chunk)
        yield chunk
    if count != wanted.size:
        more = "more than" if count > wanted.size else f"{count} bytes instead of"
        raise IntegrityError(f"{what}: it has {more} the {wanted.size} bytes that its descriptor says")
    if hasher.hexdigest() != wanted.digest.encoded:
        raise IntegrityError(f"{what}: its bytes do not hash to {wanted.digest}")


def described(name: str | Descriptor, store: str) -> str:
    """Return how messages call a manifest: ``store:tag`` or ``store@digest``."""
    text = str(name.digest) if isinstance(name, Descriptor) else escape(name, 300)
    return f"{store}{'@' if ':' in text else ':' if text else ''}{text}"
