"""Compressing streams chunk by chunk.

The bytes that come out depend on the data and the level alone, not on how the data was cut into chunks, so that a retry
which reads in other chunks uploads the same blob. They may still differ between machines: ISA-L picks its code by the
kind of CPU. All compressors let other threads run while they work.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from manifestctl.errors import InputError

if TYPE_CHECKING:
    from manifestctl.compression.formats import Format

_GZIP_LEVELS = range(1, 10)
_ZSTD_LEVELS = range(1, 20)
_DEFAULT_LEVELS: dict[Format, int] = {"gzip": 1, "zstd": 3}
# ISA-L has no higher levels; those are zlib's, which is several times slower and packs tighter.
_ISAL_MAX = 3
# zlib's and ISA-L's name for the largest window, in a gzip header and trailer.
_GZIP_WINDOW = 31
_BLOCK = 256 * 1024


class Compressor(Protocol):
    """One stream being compressed; used by one thread at a time."""

    def update(self, data: bytes) -> bytes:
        """Take more data; return what is ready, which may be nothing."""

    def finish(self) -> bytes:
        """Return the rest; nothing may follow."""


class _Library(Protocol):
    """What the libraries' own compressors have in common."""

    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


def compressor(kind: Format, level: int | None = None) -> Compressor:
    """Begin a stream of a format.

    ``level`` is 1 to 9 for gzip (1 unless given; up to 3 by ISA-L, above by zlib) and 1 to 19 for zstd (3 unless
    given); ``none`` has no level. gzip's header has no time and no name. Raises `InputError` for any other level.
    """
    if kind == "none":
        if level is not None:
            raise InputError("a compression level was given, but layers are not to be compressed")
        return _Plain()
    levels = _GZIP_LEVELS if kind == "gzip" else _ZSTD_LEVELS
    level = _DEFAULT_LEVELS[kind] if level is None else level
    if level not in levels:
        raise InputError(
            f"{level} is not a compression level of {kind}", hint=f"Its levels are {levels[0]} to {levels[-1]}."
        )
    return _Blockwise(_gzip(level) if kind == "gzip" else _zstd(level))


_SAMPLE = bytes(range(256)) * 64 + b"layer" * 4096
_chosen: set[int] = set()
_choosing = threading.Lock()


def _gzip(level: int) -> _Library:
    if level <= _ISAL_MAX:
        from isal import isal_zlib

        with _choosing:
            if level not in _chosen:
                # What ISA-L uses on this processor it chooses when it is first used. Threads that use it meanwhile may
                # get something else, of which other bytes come out.
                first = isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP_WINDOW)
                first.compress(_SAMPLE)
                first.flush()
                _chosen.add(level)
        return isal_zlib.compressobj(level, isal_zlib.DEFLATED, _GZIP_WINDOW)
    import zlib

    return zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)


def _zstd(level: int) -> _Library:
    from manifestctl.compression.zstandard import ZstdCompressor

    return ZstdCompressor(level)


class _Plain:
    """Data as it is."""

    def update(self, data: bytes) -> bytes:
        return data

    def finish(self) -> bytes:
        return b""


class _Blockwise:
    """Feeds a compressor blocks of one size: what ISA-L makes of data depends on the pieces in which it comes."""

    def __init__(self, library: _Library) -> None:
        self._library = library
        self._held = bytearray()

    def update(self, data: bytes) -> bytes:
        view = memoryview(data)
        ready: list[bytes] = []
        if self._held:
            missing = _BLOCK - len(self._held)
            self._held += view[:missing]
            view = view[missing:]
            if len(self._held) < _BLOCK:
                return b""
            ready.append(self._library.compress(bytes(self._held)))
            self._held.clear()
        whole = len(view) - len(view) % _BLOCK
        ready.extend(self._library.compress(view[start : start + _BLOCK]) for start in range(0, whole, _BLOCK))
        self._held += view[whole:]
        return b"".join(ready)

    def finish(self) -> bytes:
        return self._library.compress(bytes(self._held)) + self._library.flush()
