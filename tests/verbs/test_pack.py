"""Layers that are compressed on the way: what comes out, what it is said to be, and what is verified."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.compression import decompressed
from manifestctl.errors import InputError, IntegrityError, UnreachableError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.media_types import OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD
from manifestctl.verbs.pack import PackedLayer

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = b"a tar that is long enough to be packed in blocks " * 40_000
LAYER = Descriptor(
    OCI_LAYER,
    Digest.of(DATA),
    len(DATA),
    annotations={"a": "b"},
    extra={"data": "AAAA", "urls": ["https://example.com"], "other": 1},
)


class Source:
    """Gives the data in pieces, and counts how often it is read from the beginning."""

    def __init__(self, piece: int = 65_536, data: bytes = DATA, fault: Exception | None = None) -> None:
        self.piece = piece
        self.data = data
        self.fault = fault
        self.passes = 0

    def __call__(self) -> Iterator[bytes]:
        self.passes += 1
        yield b""
        for start in range(0, len(self.data), self.piece):
            yield self.data[start : start + self.piece]
        if self.fault is not None:
            raise self.fault


def packed(source: Source, kind: Any = "gzip", level: int | None = None, diff_id: Digest | None = None) -> PackedLayer:
    types = {"gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD, "none": OCI_LAYER}
    return PackedLayer("the layer", LAYER, source, (kind, level), media_type=types[kind], diff_id=diff_id)


@pytest.mark.parametrize(
    ("kind", "level", "media_type"),
    [
        ("gzip", None, OCI_LAYER_GZIP),
        ("gzip", 9, OCI_LAYER_GZIP),
        ("zstd", None, OCI_LAYER_ZSTD),
        ("none", None, OCI_LAYER),
    ],
)
def test_a_layer_is_packed_and_described_in_one_pass(kind: Any, level: int | None, media_type: str) -> None:
    source = Source()
    layer = packed(source, kind, level)
    data = b"".join(layer.open())
    assert source.passes == 1
    assert b"".join(decompressed(iter((data,)), kind, "x") if kind != "none" else (data,)) == DATA
    made = layer.descriptor()
    assert (made.media_type, made.digest, made.size) == (media_type, Digest.of(data), len(data))
    # What is said about the layer stays; what is said about its bytes does not.
    assert (made.annotations, made.extra) == ({"a": "b"}, {"other": 1})


def test_no_piece_is_empty() -> None:
    assert all(packed(Source(), "none").open())
    assert all(packed(Source()).open())


def test_an_empty_layer() -> None:
    layer = packed(Source(data=b""))
    assert gzip.decompress(b"".join(layer.open())) == b""
    assert layer.descriptor().size > 0
    bare = packed(Source(data=b""), "none")
    assert list(bare.open()) == []
    assert bare.descriptor().size == 0


def test_a_second_pass_makes_the_same_however_the_pieces_come() -> None:
    source = Source()
    layer = packed(source)
    first = b"".join(layer.open())
    for piece in (999, 1 << 20):
        source.piece = piece
        assert b"".join(layer.open()) == first
    assert layer.descriptor().digest == Digest.of(first)


def test_what_was_not_read_to_its_end_is_not_described() -> None:
    layer = packed(Source(), "none")
    chunks = layer.open()
    for _ in range(2):
        next(chunks)
        with pytest.raises(UnreachableError, match="sending the layer failed") as caught:
            layer.descriptor()
        assert caught.value.transient
    list(layer.open())
    assert layer.descriptor().digest == LAYER.digest
    # A pass that begins anew forgets the one before.
    next(layer.open())
    with pytest.raises(UnreachableError):
        layer.descriptor()


def test_what_the_source_finds_wrong_ends_the_pass() -> None:
    layer = packed(Source(fault=IntegrityError("the tar is damaged")))
    with pytest.raises(IntegrityError, match="damaged"):
        list(layer.open())
    with pytest.raises(UnreachableError):
        layer.descriptor()


@pytest.mark.parametrize("right", [True, False])
def test_a_diff_id_of_another_algorithm_is_verified(right: bool) -> None:
    diff_id = Digest("sha512", hashlib.sha512(DATA if right else b"x").hexdigest())
    layer = packed(Source(), diff_id=diff_id)
    if right:
        list(layer.open())
        assert layer.descriptor().size
        return
    with pytest.raises(IntegrityError, match=f"the layer: its tar does not hash to {diff_id}"):
        list(layer.open())
    with pytest.raises(UnreachableError):
        layer.descriptor()


@pytest.mark.parametrize(("kind", "level"), [("gzip", 0), ("zstd", 20), ("none", 1)])
def test_levels_that_do_not_exist(kind: Any, level: int) -> None:
    with pytest.raises(InputError, match="level"):
        list(packed(Source(), kind, level).open())
