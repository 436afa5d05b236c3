"""The formats that layers and archives are packed in, told by their first bytes. RFC 1952 §2.3.1, RFC 8878 §3.1."""

from __future__ import annotations

from typing import Literal

Format = Literal["gzip", "zstd", "none"]
"""``none`` is plain data."""

DETECT_SIZE = 4
"""Bytes that `detect` looks at."""

_GZIP = b"\x1f\x8b\x08"
_ZSTD = b"\x28\xb5\x2f\xfd"
# A zstd stream may begin with frames that are to be skipped: 0x184D2A50 to 0x184D2A5F, little-endian.
_SKIPPABLE = b"\x2a\x4d\x18"


def detect(head: bytes) -> Format:
    """Tell the format of data by its first `DETECT_SIZE` bytes; what is neither gzip nor zstd is ``none``."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_ZSTD) or (head[1:4] == _SKIPPABLE and head[0] >> 4 == 5):
        return "zstd"
    return "none"
