"""How much scratch space a command takes: files without a name, which only /proc shows, and named ones in TMPDIR."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Self

_INTERVAL = 0.02
_DELETED = " (deleted)"


class ScratchWatch:
    """Looks now and then at the files of a process and of what it started; a context manager that ends with it.

    ``peak`` is the most that was found, in bytes.
    """

    def __init__(self) -> None:
        """Nothing is watched yet."""
        self.peak = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, process: int) -> None:
        """Watch a process."""
        self._thread = threading.Thread(target=self._watch, args=(process,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Look no more."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, process: int) -> None:
        while not self._over.wait(_INTERVAL):
            self.peak = max(self.peak, _unnamed(process) + _named(process))


def _family(process: int) -> list[int]:
    found = [process]
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            for child in (thread / "children").read_text().split():
                found += _family(int(child))
    return found


def _unnamed(process: int) -> int:
    """Return the bytes in open files that have no name any more, each counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for member in _family(process):
        with contextlib.suppress(OSError):
            for file in Path(f"/proc/{member}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(file.readlink()).endswith(_DELETED):
                        status = file.stat()
                        sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def _named(process: int) -> int:
    """Return the bytes in the process's TMPDIR."""
    with contextlib.suppress(OSError):
        variables = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
        directory = next((entry[7:].decode() for entry in variables if entry.startswith(b"TMPDIR=")), "")
        if directory:
            return sum(path.lstat().st_size for path in Path(directory).rglob("*") if path.is_file())
    return 0
