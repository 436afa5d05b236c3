"""Logos of repositories on the Gallery, judged before they are sent: `read_logo`.

The ECR Public user guide wants 60 to 2048 pixels each side and 500 KB at most; the API's model says 512,000 bytes. Of
PNG (W3C, "Portable Network Graphics", 5.2, 5.3 and 11.2.2) the signature, the header and the chunks are looked at, so
that a file that was cut off is found; the image itself is not decoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.files import read_regular
from manifestctl.text import escape

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 512_000
"""Bytes that a logo may have."""
SHORTEST_SIDE, LONGEST_SIDE = 60, 2048
"""Pixels that each side of a logo may have."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# The length of the header's data, and its name.
_HEADER = b"\x00\x00\x00\x0dIHDR"
# What stands around the data of a chunk: its length, its name, its checksum.
_AROUND = 12
_RULE = f"A logo is a PNG of {SHORTEST_SIDE} to {LONGEST_SIDE} pixels each side and at most {LARGEST:,} bytes."


def read_logo(path: Path) -> bytes:
    """Read a PNG file that can be a logo; raises `InputError` with the limit that it breaks."""
    try:
        data = read_regular(path, LARGEST, "logo")
    except InputError as error:
        raise InputError(error.message, hint=_RULE) from error
    name = escape(str(path), 300)
    if not data.startswith(_SIGNATURE):
        raise InputError(f"{name} is not a PNG file", hint=_RULE)
    start = len(_SIGNATURE)
    sides = data[start + len(_HEADER) :][:8]
    if data[start:][: len(_HEADER)] != _HEADER or len(sides) < 8:
        raise InputError(f"{name} begins as a PNG file, but has no header that says how large it is", hint=_RULE)
    width, height = int.from_bytes(sides[:4], "big"), int.from_bytes(sides[4:], "big")
    if not all(SHORTEST_SIDE <= side <= LONGEST_SIDE for side in (width, height)):
        raise InputError(
            f"{name} has {width} x {height} pixels, and each side has {SHORTEST_SIDE} to {LONGEST_SIDE}", hint=_RULE
        )
    if not _is_whole(data):
        raise InputError(f"{name} is not a whole PNG file: it was cut off, or is damaged", hint=_RULE)
    return data


def _is_whole(data: bytes) -> bool:
    """Tell whether the chunks follow one another up to the one that ends the image, and have an image among them."""
    place, has_image = len(_SIGNATURE), False
    while place + _AROUND <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        place += length + _AROUND
        if kind == b"IEND":
            return has_image and place <= len(data)
        has_image |= kind == b"IDAT"
    return False
