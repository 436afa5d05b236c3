"""Decompressing streams chunk by chunk, in memory that does not grow with what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from manifestctl.compression.formats import DETECT_SIZE, detect
from manifestctl.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from manifestctl.compression.formats import Format

# What one step may give. A bomb is so met a piece at a time by whoever counts or stores.
_OUTPUT = 1024 * 1024
# What one step is given. What lies behind the end of a member is copied, which many small members would make slow.
_INPUT = 64 * 1024


class _Library(Protocol):
    """What the libraries' own decompressors have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


def decompressed(chunks: Iterable[bytes], kind: Format, what: str = "the data") -> Iterator[bytes]:
    """Yield the plain data of a stream; ``what`` names it in messages.

    Several gzip members or zstd frames one after another are one stream, and zeros may follow the last. Checksums are
    checked where the format has them. Raises `IntegrityError` if the stream is damaged, cut off, or followed by
    something else; what was yielded before is then not to be trusted.
    """
    if kind == "none":
        yield from chunks
        return
    begin, failure = _gzip() if kind == "gzip" else _zstd()
    try:
        yield from _members(_pieces(chunks), kind, begin, f"{what}: its {kind} stream")
    except failure as error:
        raise IntegrityError(
            f"{what}: its {kind} stream is damaged", hint="Make or download the file again; it is of no use as it is."
        ) from error


def _members(pieces: Iterable[bytes], kind: Format, begin: Callable[[], _Library], what: str) -> Iterator[bytes]:
    library: _Library | None = None
    ended = False
    # What stands behind an end, as long as it is too short to tell what it is.
    rest = b""
    for piece in pieces:
        data, rest = rest + piece, b""
        while data or (library is not None and not library.needs_input):
            if library is None:
                data = data.lstrip(b"\0") if ended else data
                if ended and len(data) < DETECT_SIZE:
                    rest = data
                    break
                if ended and detect(data) != kind:
                    raise _followed(what)
                library = begin()
            out = library.decompress(data, _OUTPUT)
            data = b""
            if library.eof:
                data, library, ended = library.unused_data, None, True
            if out:
                yield out
    if rest:
        raise _followed(what)
    if library is not None or not ended:
        raise IntegrityError(f"{what} is cut off", hint="Make or download the file again; its end is missing.")


def _followed(what: str) -> IntegrityError:
    return IntegrityError(
        f"{what} is followed by something that does not belong to it",
        hint="Make or download the file again; something was appended to it.",
    )


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        for start in range(0, len(chunk), _INPUT):
            yield chunk[start : start + _INPUT]


def _gzip() -> tuple[Callable[[], _Library], type[Exception]]:
    from isal import igzip_lib

    return lambda: igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP), cast("type[Exception]", igzip_lib.error)


def _zstd() -> tuple[Callable[[], _Library], type[Exception]]:
    from manifestctl.compression.zstandard import ZstdDecompressor, ZstdError

    return ZstdDecompressor, ZstdError
