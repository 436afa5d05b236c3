"""An archive of images, opened for reading: a tar in a file or a pipe, plain or packed with gzip or zstd.

A plain file is read where it is. What is packed, or comes out of a pipe, is brought into a `Spool` once and read there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifestctl.compression import decompressed, detect
from manifestctl.compression.formats import DETECT_SIZE
from manifestctl.errors import DocumentError, InputError, IntegrityError, MissingContentError, NotFoundError
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved, Noted
from manifestctl.files import NotRegularError, open_regular
from manifestctl.model.strict_json import load
from manifestctl.spool import CHUNK, PositionalFile, Spool
from manifestctl.stores.tar_header import BLOCK
from manifestctl.stores.tar_index import Member, TarIndex, check_beginning
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.compression import Format
    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime


class ArchiveFile:
    """The files of an archive, for any thread; ``what`` names it in messages. Reading raises `OSError`."""

    def __init__(self, file: PositionalFile, index: TarIndex, what: str) -> None:
        """Take over an open file and what was found in it."""
        self.what = what
        self._file = file
        self._index = index

    def find(self, name: str) -> Member | None:
        """Return a file by its name in the archive, or None."""
        return self._index.find(name)

    def blob(self, digest: Digest) -> Member | None:
        """Return a blob that the archive holds by its digest, as OCI layouts do, or None."""
        return self._index.find(f"blobs/{digest.algorithm}/{digest.encoded}")

    def read(self, member: Member, limit: int, what: str) -> bytes:
        """Read a small file whole; raises `IntegrityError` if it is larger than ``limit`` bytes."""
        if member.size > limit:
            raise IntegrityError(f"{what}: it is larger than {limit} bytes")
        return self._file.read(member.offset, member.size)

    def read_document(self, member: Member, limit: int, what: str) -> bytes:
        """Read a document whole; raises `DocumentError` if it is larger than ``limit`` bytes."""
        if member.size > limit:
            raise DocumentError(f"{what}: is larger than {limit} bytes", rule="json-too-large")
        return self._file.read(member.offset, member.size)

    def load(self, name: str, limit: int) -> Any:
        """Read a JSON document; None if there is none of this name. Raises `DocumentError`."""
        member = self.find(name)
        what = f"{self.what}/{name}"
        return load(self.read_document(member, limit, what), what, limit) if member is not None else None

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Stream a file."""
        return self._file.chunks(member.offset, member.size)

    def kind(self, member: Member) -> Format:
        """Tell whether a file is packed, by its first bytes."""
        return detect(self._file.read(member.offset, min(DETECT_SIZE, member.size)))

    def missing(self, what: str) -> NotFoundError:
        """Return the error for something that was asked for and is not in the archive."""
        return NotFoundError(f"{what} is not in the archive", hint=self._hint())

    def incomplete(self, what: str) -> MissingContentError:
        """Return the error for something that another file of the archive names, and that is not in it."""
        return MissingContentError(f"{what} is not in the archive", hint=self._hint())

    def _hint(self) -> str:
        cut = "" if self._index.complete else " The archive has no end mark, so it was probably cut off."
        return f"Make the archive again.{cut}"

    def close(self) -> None:
        """Close the file; a spool is gone then."""
        self._file.close()


def open_archive(path: str, what: str, runtime: Runtime) -> ArchiveFile:
    """Open an archive in a file, or one that comes out of a pipe; ``what`` names it in messages.

    Raises `InputError` if it is neither file nor pipe, `DocumentError` and `IntegrityError` as `TarIndex.read`,
    `UnreachableError` if there is no space to unpack it, and `OSError`.
    """
    return indexed_archive(_open(path, what, runtime), what)


def must_be_unpacked(path: str) -> bool:
    """Tell whether an archive cannot be read where it is; False if it cannot be read at all."""
    try:
        # A pipe is not opened: whoever writes into it would be told that nobody reads any more.
        if stat.S_ISFIFO(Path(path).stat().st_mode):
            return True
        with os.fdopen(open_regular(path), "rb") as file:
            return detect(file.read(DETECT_SIZE)) != "none"
    except OSError:
        return False


def indexed_archive(file: PositionalFile, what: str) -> ArchiveFile:
    """Take over an open file that is a plain tar; raises what `TarIndex.read` raises, and closes it then."""
    try:
        return ArchiveFile(file, TarIndex.read(file, what), what)
    except BaseException:
        file.close()
        raise


def _open(path: str, what: str, runtime: Runtime) -> PositionalFile:
    try:
        descriptor = open_regular(path, pipes=True)
    except NotRegularError as error:
        if stat.S_ISDIR(error.mode):
            hint = "A layout in a directory is written oci:DIR."
            raise InputError(f"{what} is a directory", hint=hint) from error
        hint = "Write the archive to a file first."
        raise InputError(f"{what} is neither a file nor a pipe", hint=hint) from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return _plain(PositionalFile(os.fdopen(descriptor, "rb", buffering=0)), what, runtime)
    try:
        os.set_blocking(descriptor, True)
        return _copied(iter(lambda: os.read(descriptor, CHUNK), b""), what, runtime)
    finally:
        os.close(descriptor)


def _plain(file: PositionalFile, what: str, runtime: Runtime) -> PositionalFile:
    """Return the file if it is a plain tar, else what is packed in it; a file that is not returned is closed."""
    with contextlib.ExitStack() as closing:
        closing.enter_context(file)
        kind = detect(file.read(0, DETECT_SIZE))
        if kind != "none":
            return _spooled(file.chunks(0, file.size), kind, what, runtime, file.size)
        closing.pop_all()
    return file


def _copied(chunks: Iterator[bytes], what: str, runtime: Runtime) -> Spool:
    head = next(chunks, b"")
    # The magic number may come in pieces.
    while head and len(head) < DETECT_SIZE and (more := next(chunks, b"")):
        head += more
    return _spooled(itertools.chain((head,), chunks), detect(head), what, runtime)


def _spooled(chunks: Iterator[bytes], kind: Format, what: str, runtime: Runtime, size: int | None = None) -> Spool:
    """Bring what is read, of so many bytes if that is known, into a spool, unpacked."""
    doing, done = ("copying", "copied") if kind == "none" else ("unpacking", "unpacked")
    spool = Spool(runtime.environ, what)
    looked = False
    try:
        for chunk in decompressed(_watched(chunks, what, runtime), kind, what):
            spool.write(chunk)
            # A small file may hide gigabytes; none of them is wanted if they are not a tar.
            if not looked and spool.size >= BLOCK:
                check_beginning(spool.read(0, BLOCK), what)
                looked = True
                runtime.observe(Noted(f"{what} is {done} into a temporary file in {escape(spool.directory)}"))
                runtime.observe(BlobStarted(what, size, doing))
    except BaseException:
        spool.close()
        raise
    runtime.observe(BlobMoved(what, spool.size, done))
    return spool


def _watched(chunks: Iterator[bytes], what: str, runtime: Runtime) -> Iterator[bytes]:
    for chunk in chunks:
        runtime.cancel.check()
        runtime.observe(BytesMoved(what, len(chunk)))
        yield chunk
