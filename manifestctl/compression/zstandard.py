"""The zstd library: Python's own from 3.14 on, before that the same code as a package. Imported when it is used."""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):  # pragma: no cover - one of the two, by the version of Python
    from compression.zstd import ZstdCompressor, ZstdDecompressor, ZstdError
else:  # pragma: no cover
    from backports.zstd import ZstdCompressor, ZstdDecompressor, ZstdError

__all__ = ["ZstdCompressor", "ZstdDecompressor", "ZstdError"]
