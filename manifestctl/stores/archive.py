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
    NotFoundError,
    UnreachableError,
)
from manifestctl.files import reason
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.strict_json import MANIFEST_LIMIT
from manifestctl.stores.archive_file import open_archive
from manifestctl.stores.archive_images import Images
from manifestctl.stores.archive_index import Root, read_content
from manifestctl.stores.base import Content, check_content, check_digest, checked
from manifestctl.stores.docker_save import Synthesised, synthesise
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

    from manifestctl.model.location import ArchiveLocation
    from manifestctl.runtime import Cancel, Runtime
    from manifestctl.stores.archive_file import ArchiveFile
    from manifestctl.stores.archive_images import Held
    from manifestctl.stores.base import Blob, LocalImage, OnlyIf
    from manifestctl.stores.docker_save import SavedImage
    from manifestctl.stores.tar_index import Member


_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_REFUSED = frozenset({errno.EACCES, errno.EPERM})


class ArchiveStore:
    """A store in an archive file; it is opened when it is first read, and is to be closed.

    A name is what the archive calls an image, in full or short, or its tag; a digest is a manifest's, or an image's id
    (the digest of its config), which names the image's manifest.
    """

    def __init__(
        self, name: str, open_file: Callable[[], ArchiveFile], cancel: Cancel, *, prefer_saved: bool = True
    ) -> None:
        """Bind to what ``open_file`` opens, once, when it is first read.

        ``name`` is what the store is called. Of what an archive holds twice, as Docker's does and as OCI's,
        ``prefer_saved`` takes the first where both are right.
        """
        self._name = name
        self._shown = escape(name)
        self._open_file = open_file
        self._cancel = cancel
        self._prefer_saved = prefer_saved
        self._lock = threading.Lock()
        self._opened: _Archive | None = None

    @classmethod
    def at(cls, location: ArchiveLocation, runtime: Runtime) -> Self:
        """Bind to a file; nothing is read yet."""

        def open_file() -> ArchiveFile:
            return open_archive(location.path, escape(location.store), runtime)

        return cls(location.store, open_file, runtime.cancel, prefer_saved=location.is_docker)

    @property
    def name(self) -> str:
        """``oci-archive:FILE`` or ``docker-archive:FILE``."""
        return self._name

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
            raw = archive.file.read(archive.member(descriptor, what), limit, what)
        check_content(raw, descriptor, what)
        return raw

    @contextlib.contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob."""
        what = self._what(descriptor)
        with self._errors():
            archive = self._archive()
            member = archive.member(descriptor, what)
        yield checked(self._chunks(archive.file, member), descriptor, what)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there, with the size that the descriptor says."""
        what = self._what(descriptor)
        try:
            with self._errors():
                size = self._archive().member(descriptor, what).size
        except NotFoundError:
            return False
        if size != descriptor.size:
            raise IntegrityError(f"{what}: it has {size} bytes, but its descriptor says {descriptor.size}")
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

    def images(self) -> list[LocalImage]:
        """List the images, in the archive's order, those without a name too."""
        with self._errors():
            images = self._archive().images
            return [images.describe(held) for held in images.held]

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

    def _chunks(self, file: ArchiveFile, member: Member) -> Iterator[bytes]:
        # Errors of what the caller does with a chunk are not this store's, so only the reading is covered.
        chunks = file.chunks(member)
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
        except OSError as error:
            if error.errno in _ABSENT:
                hint = "" if not self._name.endswith(":-") else "Standard input is written /dev/stdin."
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
        if member.size > MANIFEST_LIMIT:
            raise DocumentError(f"{what}: is larger than {MANIFEST_LIMIT} bytes", rule="json-too-large")
        raw = self.file.read(member, MANIFEST_LIMIT, what)
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

    def member(self, wanted: Descriptor, what: str) -> Member:
        """Return where a blob is; raises `NotFoundError`."""
        member = self.file.blob(wanted.digest) or self._place(wanted.digest)
        if member is None:
            raise self.file.missing(what)
        return member

    def _place(self, digest: Digest) -> Member | None:
        configs = (image.config_member for image in self._saved if image.config.digest == digest)
        layers = (made.places[digest] for made in self._all() if digest in made.places)
        return next(configs, None) or next(layers, None)

    def _all(self) -> Iterator[Synthesised]:
        """Yield what was made already, then the rest; images that cannot be used have no part in it."""
        for saved in sorted(self._saved, key=lambda image: image not in self._made):
            with contextlib.suppress(DocumentError, IntegrityError, NotFoundError):
                yield self._synthesised(saved)

    def _synthesised(self, saved: SavedImage) -> Synthesised:
        with self._lock:
            if saved not in self._made:
                self._made[saved] = synthesise(self.file, saved, self._cancel)
            return self._made[saved]
