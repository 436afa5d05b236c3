"""The source of a push as it is read: what it lacks is its own fault, and what the target has is not brought here."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from manifestctl.errors import MissingContentError, NotFoundError, UnreachableError
from manifestctl.model import media_types
from manifestctl.model.location import EngineLocation
from manifestctl.stores.base import Foretelling
from manifestctl.stores.local_names import names_host
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.stores.base import Blob, Content, Foretold, OnlyIf, Store
    from manifestctl.verbs.push_request import PushRequest
    from manifestctl.verbs.push_target import Known


class Source:
    """The source as a store that raises `MissingContentError` for what its own documents name and it does not have.

    Where the target holds the very manifest that is pushed, that stands in for the source, which may then never be
    read: content is what its digest says, wherever it lies.
    """

    def __init__(self, store: Store, known: Known) -> None:
        """Bind to a store; nothing is read yet."""
        self._store = store
        self._known = known
        self._stand_in: Content | None = None

    @property
    def name(self) -> str:
        """The store's name."""
        return self._store.name

    def stand_in(self, content: Content | None) -> None:
        """Take this, which the target holds, for what reading the source by its own name would give."""
        self._stand_in = content

    def can_lack(self, layer: Descriptor) -> bool:
        """Tell whether a layer that need not be in a registry is not here either, or is there already."""
        if self._stand_in is not None:
            self._known.ask([layer])
            if self._known.blobs[layer.digest]:
                return True
        return not self.has(layer)

    def resolve(self, name: str) -> Descriptor:
        """Say what a name or digest is."""
        return self._store.resolve(name)

    def read_manifest(self, name: str | Descriptor) -> Content:
        """Read a manifest or list; by its descriptor it is one that a list names."""
        if isinstance(name, str):
            return self._stand_in or self._store.read_manifest(name)
        with self._naming(name):
            return self._store.read_manifest(name)

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Read a small blob whole."""
        raw = self._known.read_blob(descriptor) if self._stand_in is not None else None
        if raw is not None:
            return raw
        with self._naming(descriptor):
            return self._store.read_blob(descriptor, limit)

    @contextlib.contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob."""
        with contextlib.ExitStack() as opened:
            with self._naming(descriptor):
                chunks = opened.enter_context(self._store.open_blob(descriptor))
            yield chunks

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there."""
        return self._store.has(descriptor)

    def write_blob(self, blob: Blob) -> bool:
        """Write as the store does; a push never does."""
        return self._store.write_blob(blob)

    def write_manifest(self, content: Content, tag: str | None = None, only_if: OnlyIf | None = None) -> None:
        """Write as the store does; a push never does."""
        self._store.write_manifest(content, tag, only_if)

    def tags(self) -> list[str]:
        """List the tags."""
        return self._store.tags()

    @contextlib.contextmanager
    def _naming(self, part: Descriptor) -> Iterator[None]:
        try:
            yield
        except NotFoundError as error:
            what = f"{_kind(part)} {part.digest} of {escape(self.name, 300)}"
            raise MissingContentError(
                f"{what} is missing, though the image names it",
                hint=error.hint or "Make the image again, or copy all of it here again: a part of it is not here.",
                digests=frozenset({str(part.digest)}),
            ) from error


def foretell(source: Store, request: PushRequest) -> Foretold | None:
    """Say what a source that has to be brought here will give; None if it can be read where it is.

    Raises what finding the image raises; of one that is in a registry the hint says how it comes from there.
    """
    if not isinstance(source, Foretelling):
        return None
    try:
        return source.foretell()
    except (NotFoundError, UnreachableError) as error:
        error.hint = f"{_from_its_registry(request)}{error.hint}"
        raise


def _from_its_registry(request: PushRequest) -> str:
    place = request.source
    if not isinstance(place, EngineLocation) or place.by_name or not names_host(place.image):
        return ""
    copy = f"manifestctl copy {escape(place.image, 300)} {escape(str(request.target), 300)}"
    return f"To bring it from its registry, run '{copy}'. "


def _kind(part: Descriptor) -> str:
    if part.media_type in media_types.CONFIGS:
        return "config"
    return "image" if part.media_type in media_types.MANIFESTS | media_types.INDEXES else "layer"
