"""An archive of images, opened for reading: a tar in a file or a pipe, plain or packed with gzip or zstd.

A plain file is read where it is. What is packed, or comes out of a pipe, is brought into a `Spool` once and read there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from typing import TYPE_CHECKING

from manifestctl.compression import decompressed, detect
from manifestctl.errors import InputError, IntegrityError, NotFoundError
from manifestctl.events import Noted
from manifestctl.spool import CHUNK, PositionalFile, Spool
from manifestctl.stores.tar_index import Member, TarIndex
from manifestctl.text import escape
from manifestctl.text import size as spelled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.compression import Format
    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime

_HEAD = 16


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

    def chunks(self, member: Member) -> Iterator[bytes]:
        """Stream a file."""
        return self._file.chunks(member.offset, member.size)

    def kind(self, member: Member) -> Format:
        """Tell whether a file is packed, by its first bytes."""
        return detect(self._file.read(member.offset, min(_HEAD, member.size)))

    def missing(self, what: str) -> NotFoundError:
        """Return the error for something that should be in the archive and is not."""
        cut = "" if self._index.complete else " The archive has no end mark, so it was probably cut off."
        return NotFoundError(f"{what} is not in the archive", hint=f"Make the archive again.{cut}")

    def close(self) -> None:
        """Close the file; a spool is gone then."""
        self._file.close()


def open_archive(path: str, what: str, runtime: Runtime) -> ArchiveFile:
    """Open an archive in a file, or one that comes out of a pipe; ``what`` names it in messages.

    Raises `InputError` if it is neither file nor pipe, `DocumentError` and `IntegrityError` as `TarIndex.read`,
    `UnreachableError` if there is no space to unpack it, and `OSError`.
    """
    return indexed_archive(_open(path, what, runtime), what)


def indexed_archive(file: PositionalFile, what: str) -> ArchiveFile:
    """Take over an open file that is a plain tar; raises what `TarIndex.read` raises, and closes it then."""
    try:
        return ArchiveFile(file, TarIndex.read(file, what), what)
    except BaseException:
        file.close()
        raise


def _open(path: str, what: str, runtime: Runtime) -> PositionalFile:
    # Without O_NONBLOCK opening a FIFO would wait for a writer for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return _plain(PositionalFile(os.fdopen(descriptor, "rb", buffering=0)), what, runtime)
    try:
        if stat.S_ISDIR(mode):
            raise InputError(f"{what} is a directory", hint="A layout in a directory is written oci:DIR.")
        if not stat.S_ISFIFO(mode):
            raise InputError(f"{what} is neither a file nor a pipe", hint="Write the archive to a file first.")
        os.set_blocking(descriptor, True)
        return _copied(iter(lambda: os.read(descriptor, CHUNK), b""), what, runtime)
    finally:
        os.close(descriptor)


def _plain(file: PositionalFile, what: str, runtime: Runtime) -> PositionalFile:
    """Return the file if it is a plain tar, else what is packed in it; a file that is not returned is closed."""
    with contextlib.ExitStack() as closing:
        closing.enter_context(file)
        kind = detect(file.read(0, _HEAD))
        if kind != "none":
            return _spooled(file.chunks(0, file.size), kind, what, runtime)
        closing.pop_all()
    return file


def _copied(chunks: Iterator[bytes], what: str, runtime: Runtime) -> Spool:
    head = next(chunks, b"")
    # The magic number may come in pieces.
    while head and len(head) < _HEAD and (more := next(chunks, b"")):
        head += more
    return _spooled(itertools.chain((head,), chunks), detect(head), what, runtime)


def _spooled(chunks: Iterator[bytes], kind: Format, what: str, runtime: Runtime) -> Spool:
    spool = Spool(runtime.environ, what)
    try:
        for chunk in decompressed(chunks, kind, what):
            runtime.cancel.check()
            spool.write(chunk)
    except BaseException:
        spool.close()
        raise
    verb = "copied" if kind == "none" else "unpacked"
    runtime.observe(Noted(f"{what}: {spelled(spool.size)} {verb} into a temporary file in {escape(spool.directory)}"))
    return spool
