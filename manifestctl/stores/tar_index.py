"""What a tar holds and where: read in one pass over its headers, with nothing extracted. POSIX.1-2024 pax, "ustar".

`tarfile.TarInfo.frombuf` reads one header block (checksum, octal and base-256 numbers, prefix). `tarfile.TarFile` is
not used: it takes a damaged header for the end of the archive, reads extended headers of any size into memory, follows
them by recursion, and is glad of whatever it can make out. Here an archive that another reader might take for something
else is refused as a whole.
"""

from __future__ import annotations

import re
import tarfile
from typing import TYPE_CHECKING, NoReturn

from manifestctl.errors import DocumentError, IntegrityError
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from manifestctl.spool import PositionalFile

MAX_MEMBERS = 100_000
"""Headers that an archive may have, extended ones included."""

_BLOCK = 512
_END = bytes(_BLOCK)
_MAX_EXTENSION = 1024 * 1024
_MAX_EXTENSIONS = 8
_MAX_LINKS = 8
_MAX_NAME = 1024
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_EXTENSIONS = (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK)
_REFUSED = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
# The one link that programs put into archives of images: a layer that is there under another name.
_LINKED = "layer.tar"
_RECORD = re.compile(rb"([0-9]{1,7}) ")
_OTHER_FORMATS = {
    b"PK\x03\x04": "a zip",
    b"BZh": "packed with bzip2",
    b"\xfd7zXZ\x00": "packed with xz",
    b"\x1f\x8b": "packed more than once",
    b"\x28\xb5\x2f\xfd": "packed more than once",
}


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive: where its content is, and how long."""

    offset: int
    size: int


class TarIndex:
    """The files of a tar by name, without a leading ``./``.

    ``complete`` tells whether the archive has its end mark; one without may have been cut off between two members.
    """

    def __init__(self, members: Mapping[str, Member], links: Mapping[str, str], *, complete: bool) -> None:
        """Keep what was found."""
        self.members = members
        self.complete = complete
        self._links = links

    @classmethod
    def read(cls, file: PositionalFile, what: str, limit: int = MAX_MEMBERS) -> TarIndex:
        """Read the headers of a tar, at most ``limit``; ``what`` names it in messages.

        Raises `DocumentError` if it is not a tar, or has a member that leads out of it, is there twice, or is neither
        file nor directory; `IntegrityError` if it is damaged or cut off; `OSError`.
        """
        return _Reader(file, what, limit).read()

    def find(self, name: str) -> Member | None:
        """Return a file by the name that another member gives it, through links within the archive."""
        path = _within(name)
        for _ in range(_MAX_LINKS):
            if path is None or path not in self._links:
                break
            path = self._links[path]
        return self.members.get(path) if path is not None else None


@dataclass(slots=True)
class _Extensions:
    """What extended headers say about the member behind them."""

    path: str | None = None
    link: str | None = None
    size: int | None = None
    count: int = 0

    def clear(self) -> None:
        self.path = self.link = self.size = None
        self.count = 0


class _Reader:
    def __init__(self, file: PositionalFile, what: str, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._size = file.size
        self._what = what
        self._members: dict[str, Member] = {}
        self._links: dict[str, str] = {}
        self._complete = False

    def read(self) -> TarIndex:
        extensions = _Extensions()
        for header, offset in self._headers(extensions):
            self._take(header, offset, extensions)
        return TarIndex(self._members, self._links, complete=self._complete)

    def _headers(self, extensions: _Extensions) -> Iterator[tuple[tarfile.TarInfo, int]]:
        """Yield each member's header with the place of its content; ``extensions`` holds what applies to it."""
        offset = count = 0
        while (header := self._header(offset)) is not None:
            offset += _BLOCK
            count += 1
            if count > self._limit:
                self._refuse(f"it has more than {self._limit} members")
            if header.type in _EXTENSIONS:
                self._extend(header, offset, extensions)
            else:
                if extensions.size is not None:
                    header.size = extensions.size
                self._check_extent(header, offset)
                yield header, offset
                extensions.clear()
            # Of what is neither file nor extension some writers state a size, and none has content.
            stored = header.size if header.type in _FILES + _EXTENSIONS else 0
            offset += -(-stored // _BLOCK) * _BLOCK
        if extensions.count:
            self._damaged(f"an extended header before {offset} belongs to no member")

    def _header(self, offset: int) -> tarfile.TarInfo | None:
        block = self._file.read(offset, _BLOCK)
        if offset and not block:
            return None
        if block == _END:
            if any(self._file.read(offset + _BLOCK, _BLOCK)):
                self._damaged(f"it goes on behind its end mark at {offset}")
            self._complete = True
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            if offset == 0:
                self._refuse_format(block)
            self._damaged(f"it is cut off at {offset}" if len(block) < _BLOCK else f"the header at {offset} is not one")

    def _refuse_format(self, block: bytes) -> NoReturn:
        other = next((name for magic, name in _OTHER_FORMATS.items() if block.startswith(magic)), "not a tar")
        self._refuse(
            f"it is {other if block else 'empty'}", hint="Archives are tars, or tars packed with gzip or zstd."
        )

    def _take(self, header: tarfile.TarInfo, offset: int, extensions: _Extensions) -> None:
        stated = header.name if extensions.path is None else extensions.path
        shown = escape(stated, 200)
        if header.type in _REFUSED:
            self._refuse(f"'{shown}' is {_REFUSED[header.type]}")
        name = None if ".." in stated.split("/") else _within(stated)
        if name is None:
            self._refuse(f"the name '{shown}' leads out of it")
        if header.isdir():
            return
        if not name or stated.endswith("/"):
            self._refuse(f"the name '{shown}' is not a file's")
        if name in self._members or name in self._links:
            self._refuse(f"'{shown}' stands in it twice")
        if header.type in _FILES:
            self._members[name] = Member(offset, header.size)
        elif header.issym():
            self._links[name] = self._target(name, header.linkname if extensions.link is None else extensions.link)
        else:
            self._refuse(f"'{shown}' is of the unknown kind '{escape(header.type.decode('latin-1'))}'")

    def _target(self, name: str, target: str) -> str:
        directory, _, base = name.rpartition("/")
        if base != _LINKED:
            self._refuse(f"'{escape(name, 200)}' is a link")
        path = None if target.startswith("/") else _within(f"./{directory}/{target}")
        if not path:
            self._refuse(f"'{escape(name, 200)}' is a link that leads out of it")
        return path

    def _check_extent(self, header: tarfile.TarInfo, offset: int) -> None:
        shown = escape(header.name, 200)
        if header.size < 0:
            self._refuse(f"'{shown}' has the size {header.size}")
        if header.type in _FILES + _EXTENSIONS and header.size > self._size - offset:
            self._damaged(
                f"'{shown}' should have {header.size} bytes, and {max(0, self._size - offset)} are left of the archive"
            )

    def _extend(self, header: tarfile.TarInfo, offset: int, extensions: _Extensions) -> None:
        # A global header applies to no member in particular, so one may end an archive.
        extensions.count += header.type != _PAX_GLOBAL
        if not 0 <= header.size <= _MAX_EXTENSION or extensions.count > _MAX_EXTENSIONS:
            self._refuse(f"the extended header at {offset - _BLOCK} is too large")
        self._check_extent(header, offset)
        data = self._file.read(offset, header.size)
        if header.type == _LONG_NAME:
            extensions.path = _text(data)
        elif header.type == _LONG_LINK:
            extensions.link = _text(data)
        else:
            self._read_pax(data, extensions, everywhere=header.type == _PAX_GLOBAL)
        if max(len(extensions.path or ""), len(extensions.link or "")) > _MAX_NAME:
            self._refuse(f"the name at {offset} is longer than {_MAX_NAME} characters")

    def _read_pax(self, data: bytes, extensions: _Extensions, *, everywhere: bool) -> None:
        for key, value in self._records(data):
            if key.startswith(b"GNU.sparse."):
                self._refuse("it has a sparse file")
            if key not in (b"path", b"linkpath", b"size"):
                continue
            if everywhere:
                self._refuse(f"one extended header gives all its members the same {key.decode()}")
            if key == b"path":
                extensions.path = _text(value, pax=True)
            elif key == b"linkpath":
                extensions.link = _text(value, pax=True)
            elif re.fullmatch(rb"[0-9]{1,20}", value):
                extensions.size = int(value)
            else:
                self._refuse(f"a member's size is '{escape(_text(value), 40)}'")

    def _records(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        start = 0
        while start < len(data):
            match = _RECORD.match(data, start)
            end = start + int(match[1]) if match else 0
            if match is None or not match.end() < end <= len(data) or data[end - 1 : end] != b"\n":
                self._damaged("an extended header is malformed")
            key, equals, value = data[match.end() : end - 1].partition(b"=")
            if not equals:
                self._damaged("an extended header is malformed")
            yield key, value
            start = end

    def _refuse(self, fault: str, hint: str = "") -> NoReturn:
        hint = hint or "Make it again with 'docker save', 'skopeo copy' or 'buildx build --output type=oci'."
        raise DocumentError(f"{self._what} cannot be used as an archive of images: {fault}", hint=hint)

    def _damaged(self, fault: str) -> NoReturn:
        raise IntegrityError(
            f"{self._what} is damaged: {fault}", hint="Make or copy the archive again; nothing of it was used."
        )


def _text(data: bytes, *, pax: bool = False) -> str:
    # GNU's long names end with NUL; a pax value has none, or is refused by `_within` with it.
    kept = data if pax else data.partition(b"\0")[0]
    return kept.decode("utf-8", "surrogateescape")


def _within(name: str) -> str | None:
    """Return a path relative to the archive's root, with ``.`` and ``..`` resolved; None if it leads out."""
    if name.startswith("/") or "\0" in name:
        return None
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)
