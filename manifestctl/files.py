"""Files written so that a reader sees the old content or the new, never half of either."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

from manifestctl.errors import InputError
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType


# A name has 255 bytes at most, and a character takes up to four.
_KEPT = 50
_TEMPORARY = re.compile(r"\.(?P<begin>.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)
_DESCRIPTORS = Path("/proc/self/fd")


class NotRegularError(OSError):
    """What was to be opened is no regular file; ``mode`` tells what it is, as ``st_mode`` does."""

    def __init__(self, mode: int) -> None:
        """Say it as the system says what is wrong."""
        super().__init__(errno.EINVAL, "it is not a regular file")
        self.mode = mode


def reason(error: OSError) -> str:
    """Return what the system said, without the path: ``Permission denied``."""
    return error.strerror or type(error).__name__


EXHAUSTED_HINT = "Raise the limit ('ulimit -n 4096'), or lower --concurrency, and run this again: that is safe."
"""The next step where a process may open no more files and connections."""


def is_exhausted(error: OSError) -> bool:
    """Tell whether nothing more can be opened, for this process or the whole system has too much open."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def open_regular(path: Path | str, *, pipes: bool = False) -> int:
    """Open a regular file for reading, or with ``pipes`` a FIFO; returns the descriptor.

    Raises `NotRegularError` if it is anything else, `OSError`, and `ValueError` if a path cannot be like that.
    """
    # Without O_NONBLOCK opening a FIFO would wait for a writer for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode)):
        return descriptor
    os.close(descriptor)
    raise NotRegularError(mode)


def read_regular(path: Path, limit: int, what: str) -> bytes:
    """Read a regular file of at most ``limit`` bytes.

    Raises `InputError` if it cannot be read, is a FIFO, device or directory, or is larger.
    """
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"cannot read {what} {escape(str(path))}: {reason(error)}") from error
    except ValueError as error:
        raise InputError(f"cannot read {what} {escape(str(path))}: not a path") from error
    if len(data) > limit:
        raise InputError(f"cannot read {what} {escape(str(path))}: it is larger than {limit} bytes")
    return data


class Draft:
    """A file that gets its name when it is whole; a context manager that drops it if it got none. Raises `OSError`.

    Where the system allows it, the file has no name until then, so that nothing is left however the process ends.
    Elsewhere it has one that `is_temporary` knows, and is locked while it is written; if the process is killed,
    `remove_abandoned` can tell, and removes it.
    """

    def __init__(self, directory: Path, name: str, mode: int = 0o666) -> None:
        """Make the file in a directory; a temporary name has ``name`` in it. ``mode`` is subject to the umask."""
        self._place: Path | None = None
        descriptor = _open_unnamed(directory, mode)
        if descriptor is None:
            self._place = _temporary(directory, name)
            descriptor = _open_named(self._place, mode)
        self.file: IO[bytes] = os.fdopen(descriptor, "wb")

    def become(self, path: Path, *, sync: bool = False) -> None:
        """Take a name, and the place of what had it. With ``sync`` content and name are on disk before it returns.

        The name may be in another directory of the same file system.
        """
        self.file.flush()
        if sync:
            os.fsync(self.file.fileno())
        # Closing may report that not all was written, so it comes first; the lock lasts until the file has its name.
        # On Windows a file cannot be renamed while it is open.
        held = os.dup(self.file.fileno()) if os.name == "posix" else None
        try:
            self.file.close()
            if self._place is None:
                # A link never takes the place of another file, a rename does.
                self._place = _temporary(path.parent, path.name)
                os.link(_DESCRIPTORS / str(held), self._place, src_dir_fd=held)
            os.replace(self._place, path)  # noqa: PTH105 - beside os.open, for one spelling
            self._place = None
        finally:
            if held is not None:
                os.close(held)
        if sync:
            sync_directory(path.parent)

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; one that got no name is gone then."""
        try:
            self.file.close()
        finally:
            if self._place is not None:
                with contextlib.suppress(OSError):
                    self._place.unlink()


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666, sync: bool = False) -> Iterator[IO[bytes]]:
    """Open a `Draft` that becomes ``path`` when the block ends well; a block that fails leaves what was there.

    ``mode`` is subject to the umask. With ``sync`` content and name are on disk before it returns. Raises `OSError`.
    """
    with Draft(path.parent, path.name, mode) as draft:
        yield draft.file
        draft.become(path, sync=sync)


def _temporary(directory: Path, name: str) -> Path:
    return directory / f".{name[:_KEPT]}.{os.urandom(8).hex()}.tmp"


def _open_unnamed(directory: Path, mode: int) -> int | None:
    """Open a file without a name; None if the system or the file system has no such thing, or no way to name it."""
    if not _DESCRIPTORS.is_dir():
        return None
    # A system without the flag refuses to open a directory for writing.
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_WRONLY | getattr(os, "O_TMPFILE", 0), mode)
        _lock(descriptor)
        return descriptor
    return None


def _open_named(path: Path, mode: int) -> int:
    while True:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
        _lock(descriptor)
        # Until it was locked, another process may have taken it for abandoned.
        if path.exists():
            return descriptor
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Mark a file as being written, for as long as it is open: `remove_abandoned` leaves it alone."""
    if os.name == "posix":
        import fcntl

        # Where there are no locks, `remove_abandoned` gets none either and removes nothing.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)


def remove_abandoned(directory: Path) -> None:
    """Remove from a directory what `Draft` and `replacing` left there when their process was killed.

    What a process is still writing is left alone, and so is what cannot be removed. Windows has no such locks; nothing
    is removed there.
    """
    if os.name != "posix":
        return
    import fcntl

    with contextlib.suppress(OSError):
        for path in [path for path in directory.iterdir() if is_temporary(path.name)]:
            with contextlib.suppress(OSError):
                # Network file systems lock only what is open for writing.
                descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                finally:
                    os.close(descriptor)


def is_temporary(name: str, beginning: str = "") -> bool:
    """Tell whether a name is a temporary one of `Draft` or `replacing`, for a file whose name begins like this.

    A process that is killed while it writes may leave such a file.
    """
    found = _TEMPORARY.fullmatch(name)
    return found is not None and found["begin"].startswith(beginning[:_KEPT])


def write_result(path: Path, data: bytes) -> None:
    """Write a result file: atomically if it is (or will be) a regular file, directly if it is a pipe or device.

    Raises `OSError`.
    """
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        regular = True
    if not regular:
        path.write_bytes(data)
        return
    # A link is followed, so that the file it names is replaced and the link stays.
    with replacing(path.resolve()) as file:
        file.write(data)


def discard_result(path: Path) -> None:
    """Remove a regular file that an earlier run left, so that it is not taken for this run's. Raises `OSError`."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISREG(path.stat().st_mode):
            path.resolve().unlink()


def sync_directory(path: Path) -> None:
    """Bring a directory's names to disk, where the system can."""
    if os.name != "posix":
        return
    # Some file systems have no such thing for a directory, and who may write into one need not be able to open it.
    with _tolerating(errno.EINVAL, errno.ENOTSUP, errno.EACCES):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _tolerating(*numbers: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise


@contextlib.contextmanager
def locked(directory: Path, *, exclusive: bool = True) -> Iterator[None]:
    """Hold ``flock`` on a directory; other processes wait. On Windows there is no such lock and none is taken."""
    if os.name != "posix":
        yield
        return
    import fcntl

    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
