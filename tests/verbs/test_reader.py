"""`Reader`: what lists name is read once, and no more of it than is good for the memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import DocumentError, NotFoundError
from manifestctl.model.location import parse_location
from manifestctl.model.manifest import Index, Manifest
from manifestctl.stores.locate import Stores
from manifestctl.verbs.reader import MAX_BYTES, MAX_ENTRIES, Reader
from tests.support import images
from tests.support.world import World
from tests.verbs.scene import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.stores.base import Store
    from tests.support.fake_registry import FakeRegistry

AMD64, ARM64 = images.image("linux/amd64"), images.image("linux/arm64")


@pytest.fixture
def store(registry: FakeRegistry) -> Iterator[Store]:
    """Return a store of a repository with a list of two images."""
    registry.put_index(REPOSITORY, "list", [AMD64, ARM64])
    with Stores.of_system(World().runtime) as stores:
        yield stores(parse_location(registry.reference(REPOSITORY)))


def the_list(store: Store, reader: Reader) -> Index:
    index = reader.manifest(store, "list").parse("test")
    assert isinstance(index, Index)
    return index


def image(store: Store, reader: Reader, number: int) -> Manifest:
    manifest = reader.manifest(store, the_list(store, reader).entries[number]).parse("test")
    assert isinstance(manifest, Manifest)
    return manifest


def test_everything_is_read_once(registry: FakeRegistry, store: Store) -> None:
    reader = Reader()
    for number in (0, 1, 0):
        assert reader.config(store, image(store, reader, number).config)
    assert (registry.count("GET", "/manifests/"), registry.count("GET", "/blobs/")) == (3, 2)
    absent = replace(image(store, reader, 0).config, digest=the_list(store, reader).digest)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            reader.config(store, absent)
    assert registry.count("GET", "/blobs/") == 3


def test_what_would_be_too_much_is_not_asked_for(registry: FakeRegistry, store: Store) -> None:
    index = the_list(store, Reader())
    room = len(index.raw) + index.entries[0].size
    reader = Reader(max_bytes=room)
    first = image(store, reader, 0)
    asked = len(registry.requests)
    for call in (lambda: image(store, reader, 1), lambda: reader.config(store, first.config)):
        with pytest.raises(DocumentError, match=r"together would have more than [0-9.]+ (B|KiB)") as caught:
            call()
        assert caught.value.hint
    assert len(registry.requests) == asked
    # What was read stays at hand.
    assert image(store, reader, 0).digest == first.digest


def test_what_a_tag_holds_counts_too(store: Store) -> None:
    with pytest.raises(DocumentError, match="list: it is not read"):
        Reader(max_bytes=10).manifest(store, "list")


def test_a_size_that_nothing_can_have_is_not_counted(store: Store) -> None:
    """A list may say of one image that it has 2^63 bytes; the others can be read all the same."""
    reader = Reader()
    huge = replace(image(store, reader, 0).config, size=2**63 - 1)
    with pytest.raises(Exception, match=r"more than|larger than"):
        reader.config(store, huge)
    assert reader.config(store, image(store, reader, 1).config)


def test_entries_are_counted_over_all_lists() -> None:
    reader = Reader(max_entries=5)
    for _ in range(2):
        reader.enter(2, "x")
    with pytest.raises(
        DocumentError, match="x: it has 2 entries, with which all lists together would have more than 5"
    ):
        reader.enter(2, "x")
    reader.enter(1, "x")


def test_a_list_of_ten_thousand_usual_images_fits() -> None:
    assert MAX_BYTES >= 2 * 10_000 * (2 * 1024 + 10 * 1024)
    assert MAX_ENTRIES >= 10 * 10_000
