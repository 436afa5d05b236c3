"""Streams in and out: the same bytes whatever the pieces, nothing lost, nothing believed that is damaged."""

from __future__ import annotations

import gzip
import itertools
import random
import subprocess
import sys
import tracemalloc
import zlib

import pytest

from manifestctl.compression import Format, compressor, decompressed, detect
from manifestctl.errors import InputError, IntegrityError

PACKED: list[Format] = ["gzip", "zstd"]
EVERY: list[Format] = ["gzip", "zstd", "none"]
SKIPPED_FRAME = b"\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"


def some_data(size: int, seed: int = 1) -> bytes:
    """Return bytes that compress to about a half."""
    chance = random.Random(seed)
    return b"".join(chance.randbytes(32) + b"manifest" * 4 for _ in range(size // 64 + 1))[:size]


def compress(data: bytes, kind: Format, level: int | None = None, pieces: int = 1 << 20) -> bytes:
    stream = compressor(kind, level)
    parts = [stream.update(data[start : start + pieces]) for start in range(0, len(data), pieces)]
    return b"".join(parts) + stream.finish()


def decompress(data: bytes, kind: Format, pieces: int = 1 << 20) -> bytes:
    return b"".join(decompressed((data[i : i + pieces] for i in range(0, len(data), pieces)), kind))


@pytest.mark.parametrize(("kind", "level"), [("gzip", n) for n in range(1, 10)] + [("zstd", n) for n in (1, 3, 9, 19)])
@pytest.mark.parametrize("size", [0, 1, 700_000])
def test_what_was_compressed_comes_back(kind: Format, level: int, size: int) -> None:
    data = some_data(size)
    packed = compress(data, kind, level)
    assert decompress(packed, kind) == data
    assert detect(packed) == kind
    assert len(packed) < max(100, size * 0.8)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("pieces", [1, 65_537, 262_143, 262_144, 262_145, 1 << 20])
def test_the_pieces_do_not_change_the_bytes(kind: Format, pieces: int) -> None:
    data = some_data(600_000 if pieces > 1 else 5_000)
    assert compress(data, kind, pieces=pieces) == compress(data, kind, pieces=len(data))


def test_gzip_has_no_time_and_no_name_and_is_read_by_others() -> None:
    for level in (1, 9):
        packed = compress(b"layer", "gzip", level)
        assert packed[3:8] == bytes(5)
        assert gzip.decompress(packed) == b"layer"


def test_the_default_levels_are_1_and_3() -> None:
    data = some_data(100_000)
    assert compress(data, "gzip") == compress(data, "gzip", 1) != compress(data, "gzip", 2)
    assert compress(data, "zstd") == compress(data, "zstd", 3) != compress(data, "zstd", 1)


@pytest.mark.parametrize(
    ("kind", "level", "said"),
    [
        ("gzip", 0, "1 to 9"),
        ("gzip", 10, "1 to 9"),
        ("zstd", 0, "1 to 19"),
        ("zstd", 20, "1 to 19"),
        ("zstd", -1, "1 to 19"),
    ],
)
def test_levels_that_do_not_exist(kind: Format, level: int, said: str) -> None:
    with pytest.raises(InputError, match=f"{level} is not a compression level of {kind}") as caught:
        compressor(kind, level)
    assert said in caught.value.hint


def test_no_compression_has_no_level() -> None:
    with pytest.raises(InputError, match="not to be compressed"):
        compressor("none", 1)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x1f\x8b\x07\x00", "none"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (SKIPPED_FRAME, "zstd"),
        (b"\x4f\x2a\x4d\x18", "none"),
        (b"\x60\x2a\x4d\x18", "none"),
        (b"", "none"),
        (b"\x1f", "none"),
        (b"manifest.json", "none"),
    ],
)
def test_the_first_bytes_tell_the_format(head: bytes, kind: str) -> None:
    assert detect(head) == kind


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("pieces", [1, 7, 1 << 20])
def test_several_members_are_one_stream_and_zeros_may_follow(kind: Format, pieces: int) -> None:
    packed = compress(b"first, ", kind) + compress(b"", kind) + compress(b"second", kind)
    assert decompress(packed + bytes(1000), kind, pieces) == b"first, second"


@pytest.mark.parametrize("pieces", [1, 1 << 20])
def test_frames_of_zstd_that_are_to_be_skipped(pieces: int) -> None:
    packed = SKIPPED_FRAME + compress(b"data", "zstd") + SKIPPED_FRAME
    assert decompress(packed, "zstd", pieces) == b"data"


def test_plain_data_passes_as_it_is() -> None:
    assert list(decompressed([b"a", b"", b"b"], "none")) == [b"a", b"", b"b"]


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("kept", [0, 1, 10, -1, -4, -9])
def test_a_stream_that_is_cut_off(kind: Format, kept: int) -> None:
    packed = compress(some_data(10_000), kind)[:kept] if kept else b""
    with pytest.raises(IntegrityError, match=f"layer 3: its {kind} stream is cut off"):
        list(decompressed([packed], kind, "layer 3"))


@pytest.mark.parametrize("kind", PACKED)
def test_a_second_member_that_is_cut_off(kind: Format) -> None:
    packed = compress(b"first", kind) + compress(b"second", kind)[:-3]
    with pytest.raises(IntegrityError, match="is cut off"):
        decompress(packed, kind)


@pytest.mark.parametrize(
    ("kind", "packed"),
    [
        pytest.param("gzip", b"not gzip at all", id="not gzip"),
        pytest.param("zstd", b"not zstd at all", id="not zstd"),
        pytest.param("gzip", gzip.compress(b"a")[:-5] + b"\x01" + gzip.compress(b"a")[-4:], id="wrong checksum"),
        pytest.param("gzip", gzip.compress(b"a")[:10] + b"\xff" * 30, id="bad block"),
    ],
)
def test_a_stream_that_is_damaged(kind: Format, packed: bytes) -> None:
    with pytest.raises(IntegrityError, match=f"the data: its {kind} stream is damaged") as caught:
        decompress(packed, kind)
    assert caught.value.hint


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("pieces", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    "more", [b"x", b"\x1f", b"\x1f\x8b", b"\x28\xb5\x2f", b"hello", b"\0\0hello", b"something else" * 1000]
)
def test_a_stream_that_something_else_follows(kind: Format, pieces: int, more: bytes) -> None:
    # Nothing of the stream itself is missing, so that nobody need look for its end.
    with pytest.raises(IntegrityError, match=f"the data: its {kind} stream is followed by something") as caught:
        decompress(compress(b"data", kind) + more, kind, pieces)
    assert "appended" in caught.value.hint


@pytest.mark.parametrize("kind", PACKED)
def test_a_bomb_comes_out_in_small_pieces(kind: Format) -> None:
    block = bytes(1 << 20)
    stream = compressor(kind)
    bomb = b"".join([stream.update(block) for _ in range(64)]) + stream.finish()
    assert len(bomb) < 1 << 20
    tracemalloc.start()
    try:
        sizes = [len(piece) for piece in decompressed([bomb], kind)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 1 << 20
    assert peak < 8 << 20


def test_what_comes_out_does_not_wait_for_the_end() -> None:
    packed = compress(some_data(3 << 20), "gzip")
    half = itertools.chain([packed[: len(packed) // 2]], iter(lambda: pytest.fail("read further"), b""))
    assert len(next(decompressed(half, "gzip"))) > 0


def test_a_stream_that_was_flushed_in_the_middle() -> None:
    stream = zlib.compressobj(6, zlib.DEFLATED, 31)
    packed = stream.compress(b"one") + stream.flush(zlib.Z_FULL_FLUSH) + stream.compress(b"two") + stream.flush()
    assert decompress(packed, "gzip", 5) == b"onetwo"


def test_no_library_is_imported_before_it_is_used() -> None:
    code = (
        "import sys, manifestctl.compression as c;"
        "assert not {'isal', 'backports.zstd', 'compression.zstd'} & set(sys.modules);"
        "c.compressor('none'); c.compressor('gzip', 9);"
        "assert not {'isal', 'backports.zstd', 'compression.zstd'} & set(sys.modules);"
        "c.compressor('gzip'); assert 'isal' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


FIRST_USE = """
import threading

from isal import isal_zlib

from manifestctl.compression import compressor

happened, make = [], isal_zlib.compressobj


class Watched:
    def __init__(self, *arguments):
        happened.append("made")
        self.inner = make(*arguments)

    def compress(self, data):
        return self.inner.compress(data)

    def flush(self):
        happened.append("flushed")
        return self.inner.flush()


isal_zlib.compressobj = Watched
barrier = threading.Barrier(4)


def begin():
    barrier.wait()
    compressor("gzip")


threads = [threading.Thread(target=begin) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(" ".join(happened))
"""


def test_what_isal_chooses_at_its_first_use_it_chooses_alone() -> None:
    # Threads that come meanwhile get other bytes out of the same data: seen in one of some 150 processes.
    ran = subprocess.run([sys.executable, "-c", FIRST_USE], capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.split() == ["made", "flushed", *["made"] * 4]
