"""What a tar holds and where: read in one pass over its headers, with nothing extracted. POSIX.1-2024 pax, "ustar".

`tarfile.TarFile` is not used: it takes a damaged header for the end of the archive, reads extended headers of any size
into memory, follows them by recursion, and is glad of whatever it can make out. Here an archive that another reader
might take for something else is refused as a whole.
"""

from __future__ import annotations

import re
from dataclasses import field, replace
from typing import TYPE_CHECKING, NoReturn

from manifestctl.errors import DocumentError, IntegrityError
from manifestctl.stores.tar_header import (
    BLOCK,
    CONTIGUOUS,
    DIRECTORY,
    FILE,
    IS_DIRECTORY,
    OLD_FILE,
    SYMBOLIC_LINK,
    Header,
)
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from manifestctl.spool import PositionalFile

MAX_MEMBERS = 100_000
"""Headers that an archive may have, extended ones included."""

_END = bytes(BLOCK)
_MAX_EXTENSION = 1024 * 1024
_MAX_LINKS = 8
_MAX_NAME = 1024
_FILES = (FILE, OLD_FILE, CONTIGUOUS)
_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_EXTENSIONS = (_PAX, _PAX_GLOBAL, _LONG_NAME, _LONG_LINK)
_KEYS = {_LONG_NAME: "path", _LONG_LINK: "linkpath"}
_REFUSED = {
    b"1": "a hard link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a FIFO",
    b"S": "a sparse file",
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
    """What extended headers say about the member behind them: ``path``, ``linkpath`` and ``size``."""

    kinds: set[bytes] = field(default_factory=set)
    said: dict[str, str] = field(default_factory=dict)

    def applied(self, header: Header) -> Header:
        """Return the header as all of them together mean it."""
        changed = replace(
            header,
            name=self.said.get("path", header.name),
            link=self.said.get("linkpath", header.link),
            size=int(self.said.get("size", header.size)),
        )
        # Python goes by the name that stands in the header itself, Go by the one that comes out.
        disputed = self.kinds and (header.is_old_directory or changed.is_old_directory)
        return replace(changed, dispute=IS_DIRECTORY) if disputed else changed


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
        for header, offset in self._headers():
            self._take(header, offset)
        return TarIndex(self._members, self._links, complete=self._complete)

    def _headers(self) -> Iterator[tuple[Header, int]]:
        """Yield each member's header, with what extended ones say about it, and the place of its content."""
        extensions = _Extensions()
        offset = count = 0
        while (header := self._header(offset)) is not None:
            offset += BLOCK
            count += 1
            if count > self._limit:
                self._refuse(f"it has more than {self._limit} members")
            if header.kind in _EXTENSIONS:
                self._extend(header, offset, extensions)
            else:
                header, extensions = extensions.applied(header), _Extensions()
                self._check_dispute(header)
                self._check_extent(header, offset)
                yield header, offset
            # Of what is neither file nor extension some writers state a size, and none has content.
            stored = header.size if header.kind in _FILES + _EXTENSIONS else 0
            offset += -(-stored // BLOCK) * BLOCK
        if extensions.kinds:
            self._damaged(f"an extended header before {offset} belongs to no member")

    def _header(self, offset: int) -> Header | None:
        block = self._file.read(offset, BLOCK)
        if offset == 0:
            check_beginning(block, self._what)
        elif not block:
            return None
        if block == _END:
            if any(self._file.read(offset + BLOCK, BLOCK)):
                self._damaged(f"it goes on behind its end mark at {offset}")
            self._complete = True
            return None
        header = Header.parse(block)
        if header is None:
            self._damaged(f"it is cut off at {offset}" if len(block) < BLOCK else f"the header at {offset} is not one")
        self._check_dispute(header)
        return header

    def _check_dispute(self, header: Header) -> None:
        if header.dispute:
            self._refuse(f"programs read '{escape(header.name, 200)}' differently: {header.dispute}")

    def _take(self, header: Header, offset: int) -> None:
        shown = escape(header.name, 200)
        if header.kind in _REFUSED:
            self._refuse(f"'{shown}' is {_REFUSED[header.kind]}")
        name = None if ".." in header.name.split("/") else _within(header.name)
        if name is None:
            self._refuse(f"the name '{shown}' leads out of it")
        if header.kind == DIRECTORY or header.is_old_directory:
            return
        if not name or header.name.endswith("/"):
            self._refuse(f"the name '{shown}' is not a file's")
        if name in self._members or name in self._links:
            self._refuse(f"'{shown}' stands in it twice")
        if header.kind in _FILES:
            self._members[name] = Member(offset, header.size)
        elif header.kind == SYMBOLIC_LINK:
            self._links[name] = self._target(name, header.link)
        else:
            self._refuse(f"'{shown}' is of the unknown kind '{escape(header.kind.decode('latin-1'))}'")

    def _target(self, name: str, target: str) -> str:
        directory, _, base = name.rpartition("/")
        if base != _LINKED:
            self._refuse(f"'{escape(name, 200)}' is a link")
        path = None if target.startswith("/") else _within(f"./{directory}/{target}")
        if not path:
            self._refuse(f"'{escape(name, 200)}' is a link that leads out of it")
        return path

    def _check_extent(self, header: Header, offset: int) -> None:
        shown = escape(header.name, 200)
        if header.size < 0:
            self._refuse(f"'{shown}' has the size {header.size}")
        if header.kind in _FILES + _EXTENSIONS and header.size > self._size - offset:
            self._damaged(
                f"'{shown}' should have {header.size} bytes, and {max(0, self._size - offset)} are left of the archive"
            )

    def _extend(self, header: Header, offset: int, extensions: _Extensions) -> None:
        # A global header applies to no member in particular, so one may end an archive. Go's programs forget what
        # stands before one, and before a second header of the same kind.
        everywhere = header.kind == _PAX_GLOBAL
        if header.kind in extensions.kinds or (everywhere and extensions.kinds):
            self._refuse(f"programs read the extended header at {offset - BLOCK} differently: another stands before it")
        if not everywhere:
            extensions.kinds.add(header.kind)
        if not 0 <= header.size <= _MAX_EXTENSION:
            self._refuse(f"the extended header at {offset - BLOCK} is too large")
        self._check_extent(header, offset)
        data = self._file.read(offset, header.size)
        if header.kind in _KEYS:
            # GNU's long names end with NUL; a pax value has none, or is refused by `_within` with it.
            self._note(_KEYS[header.kind], data.partition(b"\0")[0], extensions)
        else:
            self._read_pax(data, extensions, everywhere=everywhere)

    def _read_pax(self, data: bytes, extensions: _Extensions, *, everywhere: bool) -> None:
        for key, value in self._records(data):
            if key.startswith((b"GNU.sparse.", b"SCHILY.realsize")):
                self._refuse("it has a sparse file")
            if key not in (b"path", b"linkpath", b"size"):
                continue
            if everywhere:
                self._refuse(f"one extended header gives all its members the same {key.decode()}")
            self._note(key.decode(), value, extensions)

    def _note(self, key: str, value: bytes, extensions: _Extensions) -> None:
        """Take over what an extended header says. Programs differ on what is said twice, and on what is empty."""
        text = value.decode("utf-8", "surrogateescape")
        if key in extensions.said:
            shown = f"'{escape(extensions.said[key], 200)}' and '{escape(text, 200)}'"
            self._refuse(f"extended headers give one member two values of {key}, {shown}")
        if key == "size" and not re.fullmatch("[0-9]{1,20}", text):
            self._refuse(f"a member's size is '{escape(text, 40)}'")
        if not text or len(text) > _MAX_NAME:
            self._refuse(f"the {key} that an extended header gives has {len(text)} characters, not 1 to {_MAX_NAME}")
        extensions.said[key] = text

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

    def _refuse(self, fault: str) -> NoReturn:
        hint = "Make it again with 'docker save', 'skopeo copy' or 'buildx build --output type=oci'."
        raise _refusal(self._what, fault, hint)

    def _damaged(self, fault: str) -> NoReturn:
        raise IntegrityError(
            f"{self._what} is damaged: {fault}", hint="Make or copy the archive again; nothing of it was used."
        )


def check_beginning(block: bytes, what: str) -> None:
    """Check the first block of an archive; raises `DocumentError` if it is not that of a tar."""
    if block == _END or Header.parse(block) is not None:
        return
    other = next((name for magic, name in _OTHER_FORMATS.items() if block.startswith(magic)), "not a tar")
    hint = "Archives are tars, or tars packed with gzip or zstd."
    raise _refusal(what, f"it is {other if block else 'empty'}", hint)


def _refusal(what: str, fault: str, hint: str) -> DocumentError:
    return DocumentError(f"{what} cannot be used as an archive of images: {fault}", hint=hint)


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
