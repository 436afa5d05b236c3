"""Files that several threads read at positions of their own, and temporary ones that have no name.

A `Spool` is unlinked from the start (``O_TMPFILE`` where the system has it): nothing is left however a run ends.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Self

from manifestctl.errors import InputError, UnreachableError
from manifestctl.files import reason
from manifestctl.text import escape
from manifestctl.text import size as spelled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

CHUNK = 1024 * 1024
"""Bytes of one piece of what is streamed."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# A spool of unknown size looks at the free space each time after so many bytes, and leaves so many to others.
_LOOK = 64 * 1024 * 1024
_LEFT = 32 * 1024 * 1024


class NoSpaceError(UnreachableError):
    """There is no room for a temporary file."""


class PositionalFile:
    """An open file, read at any position by any thread; a context manager that closes it. Reading raises `OSError`."""

    def __init__(self, file: IO[bytes]) -> None:
        """Take over an open, seekable file."""
        self._file = file
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes at a position; fewer than asked for only at the end of the file."""
        data = self._read(offset, length)
        while len(data) < length:
            more = self._read(offset + len(data), length - len(data))
            if not more:
                break
            data += more
        return data

    def chunks(self, offset: int, length: int) -> Iterator[bytes]:
        """Yield a range in pieces of `CHUNK`; it ends early where the file does."""
        end = offset + length
        while offset < end:
            piece = self.read(offset, min(CHUNK, end - offset))
            if not piece:
                return
            yield piece
            offset += len(piece)

    def close(self) -> None:
        """Close the file; a temporary one is gone then."""
        self._file.close()

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def _read(self, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), length, offset)
        # Windows has one position for all threads.
        with self._lock:
            self._file.seek(offset)
            return self._file.read(length)


class Spool(PositionalFile):
    """A temporary file without a name, written from its beginning and read at any position.

    It lies in ``TMPDIR``, or in /var/tmp: /tmp is memory on many systems.
    """

    def __init__(self, environ: Mapping[str, str], what: str, size: int | None = None) -> None:
        """Make the file; ``what`` names its content in messages, ``size`` is given if it is known.

        Raises `InputError` if it cannot be made there, and `NoSpaceError` if ``size`` bytes do not fit.
        """
        self.directory = _directory(environ)
        self._what = what
        self._looked = 0
        try:
            if size is not None:
                self._need(size)
            file = tempfile.TemporaryFile(dir=self.directory, buffering=0)  # noqa: SIM115 - closed by `close`
        except OSError as error:
            if error.errno in _FULL:
                raise self._full(reason(error)) from error
            raise InputError(
                f"cannot make a temporary file in {escape(self.directory)}: {reason(error)}",
                hint="Set TMPDIR to a directory that exists and can be written to.",
            ) from error
        super().__init__(file)
        self._written = 0

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._written

    def write(self, data: bytes) -> None:
        """Append; raises `NoSpaceError` if the disk is full, or so full that others would suffer."""
        view = memoryview(data)
        try:
            if self._written + len(view) - self._looked > _LOOK:
                self._looked = self._written
                self._need(len(view) + _LEFT)
            while view:
                count = self._file.write(view)
                self._written += count
                view = view[count:]
        except OSError as error:
            if error.errno in _FULL:
                raise self._full(f"{spelled(self._written)} were written") from error
            place = escape(self.directory)
            raise UnreachableError(f"{self._what}: cannot write to {place}: {reason(error)}") from error

    def _need(self, count: int) -> None:
        free = shutil.disk_usage(self.directory).free
        if count > free:
            raise self._full(f"{spelled(count)} are needed, {spelled(free)} are free")

    def _full(self, detail: str) -> NoSpaceError:
        return NoSpaceError(
            f"{self._what}: no space for a temporary file in {escape(self.directory)}: {detail}",
            hint="Free some space there, or set TMPDIR to a directory on a larger disk.",
        )


def _directory(environ: Mapping[str, str]) -> str:
    named = next((environ[name] for name in ("TMPDIR", "TEMP", "TMP") if environ.get(name)), "")
    usual = (path for path in ("/var/tmp", "/tmp") if os.path.isdir(path))  # noqa: S108, PTH112 - the file has no name
    return named or next(usual, ".")
