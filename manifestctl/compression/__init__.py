"""Compressed streams: gzip by Intel's ISA-L and by zlib, zstd. The libraries are imported when first used."""

from manifestctl.compression.compress import Compressor, compressor
from manifestctl.compression.decompress import decompressed
from manifestctl.compression.formats import Format, detect

__all__ = ["Compressor", "Format", "compressor", "decompressed", "detect"]
