"""Archives of images as stores that are only read: ``docker save`` files of every generation, and OCI archives.

Nothing is extracted: the tar's headers are read once, and its files where they are.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from typing import TYPE_CHECKING, NoReturn, Self

from manifestctl.errors import (
    DeniedError,
    DocumentError,
    InputError,
    IntegrityError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.files import reason
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.manifest import Manifest
from manifestctl.model.strict_json import MANIFEST_LIMIT
from manifestctl.stores.archive_file import must_be_unpacked, open_archive
from manifestctl.stores.archive_images import Held, Images
from manifestctl.stores.archive_index import Root, read_content
from manifestctl.stores.base import Content, Foretold, check_content, check_digest, check_size, checked
from manifestctl.stores.docker_save import Synthesised, synthesise
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from manifestctl.model.location import ArchiveLocation
    from manifestctl.runtime import Cancel, Runtime
    from manifestctl.stores.archive_file import ArchiveFile
    from manifestctl.stores.base import Blob, LocalImage, OnlyIf
    from manifestctl.stores.docker_save import SavedImage
    from manifestctl.stores.tar_index import Member


_DAMAGED = "The archive is damaged, or was changed after it was made; make it again."
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM})


class ArchiveStore:
    """A store in an archive file; it is opened when it is first read, and is to be closed.

    A name is what the archive calls an image, in full or short, or its tag; a digest is a manifest's, or an image's id
    (the digest of its config), which names the image's manifest.
    """

    def __init__(
        self,
        name: str,
        open_file: Callable[[], ArchiveFile],
        cancel: Cancel,
        *,
        prefer_saved: bool = True,
        is_slow: Callable[[], bool] = lambda: False,
    ) -> None:
        """Bind to what ``open_file`` opens, once, when it is first read.

        ``name`` is what the store is called. Of what an archive holds twice, as Docker's does and as OCI's,
        ``prefer_saved`` takes the first where both are right. ``is_slow`` tells whether opening it may take long.
        """
        self._name = name
        self._shown = escape(name)
        self._open_file = open_file
        self._cancel = cancel
        self._prefer_saved = prefer_saved
        self._is_slow = is_slow
        self._lock = threading.Lock()
        self._opened: _Archive | None = None

    @classmethod
    def at(cls, location: ArchiveLocation, runtime: Runtime) -> Self:
        """Bind to a file; nothing is read yet."""

        def open_file() -> ArchiveFile:
            return open_archive(location.path, escape(location.store), runtime)

        return cls(
            location.store,
            open_file,
            runtime.cancel,
            prefer_saved=location.is_docker,
            is_slow=lambda: must_be_unpacked(location.path),
        )

    @property
    def name(self) -> str:
        """``oci-archive:FILE`` or ``docker-archive:FILE``."""
        return self._name

    def foretell(self) -> Foretold | None:
        """Tell whether the archive must be unpacked before it can be read; what is in it cannot be told then."""
        return Foretold() if self._is_slow() else None

    def resolve(self, name: str) -> Descriptor:
        """Say what a name or digest is."""
        content = self.read_manifest(name)
        return Descriptor(content.media_type, content.digest, len(content.raw))

    def read_manifest(self, name: str | Descriptor) -> Content:
        """Read a manifest or list by name, digest or descriptor; ``""`` is the only one.

        Raises `InputError` if several images could be meant.
        """
        with self._errors():
            archive = self._archive()
            if isinstance(name, Descriptor):
                return archive.described(name, self._what(name))
            content = archive.by_digest(name, f"{self._shown}@{escape(name, 200)}")
            return content or archive.content(archive.images.choose(name))

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Read a small blob whole."""
        what = self._what(descriptor)
        with self._errors():
            archive = self._archive()
            member, what = archive.place(descriptor, what)
            raw = archive.file.read(member, limit, what)
            check_content(raw, descriptor, what)
        return raw

    @contextlib.contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob."""
        what = self._what(descriptor)
        with self._errors():
            archive = self._archive()
            member, what = archive.place(descriptor, what)
        yield self._watched(checked(archive.file.chunks(member), descriptor, what))

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there, with the size that the descriptor says."""
        what = self._what(descriptor)
        try:
            with self._errors():
                member, what = self._archive().place(descriptor, what)
                check_size(member.size, descriptor, what)
        except NotFoundError:
            return False
        return True

    def write_blob(self, blob: Blob) -> NoReturn:
        """Refuse: raises `DeniedError`."""
        del blob
        self._refuse()

    def write_manifest(self, content: Content, tag: str | None = None, only_if: OnlyIf | None = None) -> NoReturn:
        """Refuse: raises `DeniedError`."""
        del content, tag, only_if
        self._refuse()

    def tags(self) -> list[str]:
        """List the names, in the archive's order: references, or tags where the archive has no more."""
        with self._errors():
            return list(dict.fromkeys(name for held in self._archive().images.held for name in held.names))

    def images(self, name: str = "") -> list[LocalImage]:
        """List the images, in the archive's order, those without a name too, or those that a name or a digest means."""
        with self._errors():
            archive = self._archive()
            found = archive.named(name, f"{self._shown}@{escape(name, 200)}") if name else archive.images.held
            return [archive.images.describe(held) for held in found]

    def close(self) -> None:
        """Close the file; one that had to be unpacked is gone then."""
        with self._lock:
            if self._opened is not None:
                self._opened.file.close()
                self._opened = None

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _archive(self) -> _Archive:
        with self._lock:
            if self._opened is None:
                file = self._open_file()
                try:
                    images = Images.read(file, prefer_saved=self._prefer_saved)
                except BaseException:
                    file.close()
                    raise
                self._opened = _Archive(file, images, self._cancel)
            return self._opened

    def _what(self, descriptor: Descriptor) -> str:
        return f"{self._shown}@{descriptor.digest}"

    def _watched(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        # Errors of what the caller does with a chunk are not this store's, so only the reading is covered.
        while True:
            with self._errors():
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def _refuse(self) -> NoReturn:
        raise read_only(self._name)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DocumentError, IntegrityError) as error:
            error.hint = error.hint or _DAMAGED
            raise
        except OSError as error:
            if error.errno in _ABSENT:
                hint = "Check the path." if not self._name.endswith(":-") else "For standard input, write /dev/stdin."
                raise NotFoundError(f"{self._shown} does not exist", hint=hint, repository_unknown=True) from error
            if error.errno in _REFUSED:
                raise DeniedError(f"{self._shown}: {reason(error)}", hint="Check who may read the file.") from error
            raise UnreachableError(f"{self._shown}: cannot be read: {reason(error)}") from error


def read_only(name: str) -> DeniedError:
    """Return the error for an archive that was to be written."""
    return DeniedError(
        f"{escape(name)} is read-only: archives are not written",
        hint="Name a registry, or an OCI layout as oci:DIR:TAG.",
    )


class _Archive:
    """An open archive with the manifests that were made for it so far."""

    def __init__(self, file: ArchiveFile, images: Images, cancel: Cancel) -> None:
        self.file = file
        self.images = images
        self._cancel = cancel
        self._lock = threading.Lock()
        self._saved = [held.source for held in images.held if not isinstance(held.source, Root)]
        self._made: dict[SavedImage, Synthesised] = {}

    def content(self, held: Held) -> Content:
        """Return an image's manifest; raises what stands against it."""
        source = held.source
        if not isinstance(source, Root):
            return self._synthesised(source).content
        if source.content is None:
            assert source.fault is not None  # noqa: S101 - a root has one or the other
            raise source.fault
        return source.content

    def named(self, name: str, what: str) -> list[Held]:
        """Return what a name (of a repository: all tags) or a digest means; raises `NotFoundError` if nothing."""
        found = self.images.find(name, every_tag=True)
        content = self.by_digest(name, what) if not found else None
        if content is not None:
            # One of the images of a list, or an image whose manifest was made here.
            document = content.parse(what)
            identity = document.config.digest if isinstance(document, Manifest) else content.digest
            descriptor = Descriptor(document.media_type, content.digest, len(content.raw))
            part = Held((), frozenset(), Root(descriptor, (), frozenset(), content, document))
            found = [held for held in self.images.held if held.id == identity] or [part]
        if not found:
            raise self.images.missing(name)
        return found

    def by_digest(self, name: str, what: str) -> Content | None:
        """Return the manifest of a digest; None if the name is none, or is the id of an image."""
        try:
            digest = Digest.parse(name)
        except InputError:
            return None
        # "web:1.4" has the form of a digest too.
        if not digest.verifiable or any(held.id == digest for held in self.images.held):
            return None
        member = self.file.blob(digest)
        if member is None:
            return next((made.content for made in self._all() if made.content.digest == digest), None)
        raw = self.file.read_document(member, MANIFEST_LIMIT, what)
        check_digest(raw, digest, what)
        return Content(raw, "", digest)

    def described(self, wanted: Descriptor, what: str) -> Content:
        """Return the manifest of a descriptor."""
        if self.file.blob(wanted.digest) is None:
            for made in self._all():
                if made.content.digest == wanted.digest:
                    check_content(made.content.raw, wanted, what)
                    return made.content
        return read_content(self.file, wanted, what)

    def place(self, wanted: Descriptor, what: str) -> tuple[Member, str]:
        """Return where a blob is, and what messages call it: a layer that has a file is called by that as well.

        Raises `NotFoundError`.
        """
        digest = wanted.digest
        configs = (image.config_member for image in self._saved if image.config.digest == digest)
        member = self.file.blob(digest) or next(configs, None)
        if member is not None:
            return member, what
        for made in self._all():
            if digest in made.places:
                name, member = made.places[digest]
                return member, f"{what} (its file is '{escape(name, 200)}')"
        raise self.file.missing(what)

    def _all(self) -> Iterator[Synthesised]:
        """Yield what was made already, then the rest; images that cannot be used have no part in it."""
        for saved in sorted(self._saved, key=lambda image: image not in self._made):
            with contextlib.suppress(DocumentError, IntegrityError, MissingContentError):
                yield self._synthesised(saved)

    def _synthesised(self, saved: SavedImage) -> Synthesised:
        with self._lock:
            if saved not in self._made:
                self._made[saved] = synthesise(self.file, saved, self._cancel)
            return self._made[saved]
