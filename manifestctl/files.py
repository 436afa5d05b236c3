"""Files written so that a reader sees the old content or the new, never half of either."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from typing import IO, TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


# A name has 255 bytes at most, and a character takes up to four.
_KEPT = 50
_TEMPORARY = re.compile(r"\.(?P<begin>.+)\.[0-9a-f]{16}\.tmp", re.DOTALL)


def reason(error: OSError) -> str:
    """Return what the system said, without the path: ``Permission denied``."""
    return error.strerror or type(error).__name__


def read_regular(path: Path, limit: int, what: str) -> bytes:
    """Read a regular file of at most ``limit`` bytes.

    Raises `InputError` if it cannot be read, is a FIFO, device or directory, or is larger.
    """
    try:
        # Without O_NONBLOCK opening a FIFO would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise InputError(f"cannot read {what} {escape(str(path))}: {reason(error)}") from error
    except ValueError as error:
        raise InputError(f"cannot read {what} {escape(str(path))}: not a path") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"cannot read {what} {escape(str(path))}: it is not a regular file")
    try:
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"cannot read {what} {escape(str(path))}: {reason(error)}") from error
    if len(data) > limit:
        raise InputError(f"cannot read {what} {escape(str(path))}: it is larger than {limit} bytes")
    return data


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = 0o666, sync: bool = False) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` and rename it over ``path`` when the block ends well.

    ``mode`` is subject to the umask. With ``sync`` content and name are on disk before it returns. A block that
    fails leaves what was there. Raises `OSError`.
    """
    temporary = path.with_name(f".{path.name[:_KEPT]}.{os.urandom(8).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 - beside os.open, for one spelling
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if sync:
        sync_directory(path.parent)


def is_temporary(name: str, beginning: str = "") -> bool:
    """Tell whether a name is one that `replacing` uses on the way, for a file whose name begins like this.

    A process that is killed while it writes leaves such a file.
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
