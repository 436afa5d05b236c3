"""One header of a tar. POSIX.1-2024 "ustar", and what GNU's programs have in its place.

Go's archive/tar, GNU tar and Python's tarfile do not agree on numbers in unusual spellings, on a prefix in formats that
have none, and on directories of the oldest tars. A header that they read differently is told from one that they all
read alike: ``Header.dispute``.
"""

from __future__ import annotations

import re
from dataclasses import replace

from manifestctl.values import dataclass

BLOCK = 512
"""Bytes of a header, and what the content behind it is padded to."""
FILE, OLD_FILE, CONTIGUOUS = b"0", b"\0", b"7"
SYMBOLIC_LINK, DIRECTORY = b"2", b"5"
IS_DIRECTORY = "whether it is a directory"
"""What programs do not agree on if something is made of a directory as the oldest tars have it."""

_OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
# Fields of this kind may also be empty.
_FIELDS = {"mode": (100, 108), "owner": (108, 116), "group": (116, 124), "size": (124, 136), "time": (136, 148)}
_CHECKSUM = slice(148, 156)
_PREFIX = slice(345, 500)
_USTAR = b"ustar\0"
# Archives of star have times where the end of the prefix is, and this at the end of the block.
_STAR = b"tar\0"


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says. ``dispute`` is what programs would read differently in it; ``""`` if nothing."""

    name: str
    kind: bytes
    size: int
    link: str
    dispute: str = ""

    @classmethod
    def parse(cls, block: bytes) -> Header | None:
        """Read a block; None if it is not a header: its checksum is not that of its bytes, or it is cut off."""
        if len(block) != BLOCK or not _is_whole(block):
            return None
        name, kind = _text(block[:100]), block[156:157]
        numbers = {field: _number(block[slice(*place)]) for field, place in _FIELDS.items()}
        prefix = _text(block[_PREFIX]) if block[257:263] == _USTAR else ""
        dispute = next((f"its {field}" for field, number in numbers.items() if number is None), "")
        if any(block[_PREFIX]) and (not prefix or block.endswith(_STAR)):
            dispute = "the prefix of its name"
        name = f"{prefix}/{name}" if prefix else name
        header = cls(name, kind, numbers["size"] or 0, _text(block[157:257]), dispute)
        return replace(header, dispute=IS_DIRECTORY) if header.is_old_directory and header.size else header

    @property
    def is_old_directory(self) -> bool:
        """Tell whether it is a directory of the oldest tars, which had no kind for it, but a slash behind its name."""
        return self.kind == OLD_FILE and self.name.endswith("/")


def _is_whole(block: bytes) -> bool:
    match = _OCTAL.fullmatch(block[_CHECKSUM])
    if match is None:
        return False
    stated = int(match[1], 8)
    summed = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    # Some old programs summed the bytes as signed ones; all readers take both.
    return stated in (sum(summed), sum(byte - 256 if byte > 127 else byte for byte in summed))


def _number(data: bytes) -> int | None:
    """Read a number as all programs do; None if they would not agree."""
    if data[0] in (0x80, 0xFF):
        return int.from_bytes(data[1:], "big", signed=data[0] == 0xFF)
    match = _OCTAL.fullmatch(data)
    if match is not None:
        return int(match[1], 8)
    return None if any(data) else 0


def _text(data: bytes) -> str:
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
