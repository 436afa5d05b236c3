"""One suite over every store: a layout on disk, a fake registry, and CNCF's registry on a real socket."""

from __future__ import annotations

import json
import re
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import pytest

from manifestctl.errors import ConflictError, IntegrityError, ManifestctlError, NotFoundError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.model.manifest import Index, Manifest
from manifestctl.model.media_types import OCI_MANIFEST
from manifestctl.parallel import Pool
from manifestctl.stores.base import Blob, Content, OnlyIf, StreamWriter
from manifestctl.stores.locate import Stores
from tests.support import images
from tests.support.fake_content import StoredManifest
from tests.support.fake_registry import FakeRegistry
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifestctl.stores.base import Store
    from tests.support.real_registry import RealRegistry

ABSENT = Digest.of(b"nothing that anybody has written")


class Place(Protocol):
    """Where the images of one test are."""

    name: str
    # Whether a condition on a tag is enforced, and whether tags have an order and may be written by several at once.
    enforces_conditions: bool
    keeps_order: bool

    def damage(self, digest: str, data: bytes) -> None:
        """Put other bytes in the place of a manifest or blob, as a disk does or a thief."""


class LayoutPlace:
    enforces_conditions = True
    keeps_order = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = f"oci:{directory}"

    def damage(self, digest: str, data: bytes) -> None:
        (self.directory / "blobs" / digest.replace(":", "/")).write_bytes(data)


class FakePlace:
    enforces_conditions = True
    keeps_order = True

    def __init__(self, registry: FakeRegistry) -> None:
        self.registry = registry
        self.name = registry.reference("team/web")

    def damage(self, digest: str, data: bytes) -> None:
        repository = self.registry.repository("team/web")
        if digest in repository.blobs:
            repository.blobs[digest] = data
        else:
            repository.manifests[digest] = StoredManifest(data, repository.manifests[digest].media_type)


class RealPlace:
    # Distribution heeds no condition, lists tags as its disk does, and answers 500 to who reads a tag that is written.
    enforces_conditions = False
    keeps_order = False

    def __init__(self, registry: RealRegistry) -> None:
        self.directory = registry.directory
        self.name = f"{registry.host}/contract/{secrets.token_hex(8)}"

    def damage(self, digest: str, data: bytes) -> None:
        encoded = digest.removeprefix("sha256:")
        [path] = self.directory.glob(f"data/docker/registry/v2/blobs/sha256/{encoded[:2]}/{encoded}/data")
        path.write_bytes(data)


@pytest.fixture(params=["layout", "fake", "real"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "layout":
        yield LayoutPlace(tmp_path / "out")
    elif request.param == "fake":
        with FakeRegistry(heeds_conditions=True, strict_children=True, page_size=3) as registry:
            yield FakePlace(registry)
    else:
        yield RealPlace(request.getfixturevalue("real_registry"))


@contextmanager
def opened(place: Place) -> Iterator[Store]:
    """Open the place as another process would, that remembers nothing."""
    with Stores.of_system(World().runtime) as stores:
        yield stores(parse_location(place.name), write=True)


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    with opened(place) as found:
        yield found


def content_of(made: images.Content) -> Content:
    return Content.of(made.manifest, made.media_type)


def push(store: Store, made: images.Content, tag: str | None = None) -> Content:
    """Write an image or a list with everything in it, as `push` does: blobs, children, itself."""
    for part in images.walk(made):
        for data in part.blobs.values():
            store.write_blob(Blob.of(data, "application/octet-stream"))
        if part is not made:
            store.write_manifest(content_of(part))
    content = content_of(made)
    store.write_manifest(content, tag)
    return content


def described(content: Content) -> Descriptor:
    return Descriptor(content.media_type, content.digest, len(content.raw))


IMAGE = images.image("linux/amd64", layers=2)
OTHER = images.image("linux/arm64", docker=True)
LIST = images.index([IMAGE, images.image("linux/arm64", seed="list")], annotations={"a": "b"}, indent=2)


def test_a_store_is_called_as_its_location_calls_it(place: Place, store: Store) -> None:
    assert store.name == place.name == parse_location(place.name).store


@pytest.mark.parametrize("made", [IMAGE, OTHER, LIST, images.index([OTHER], docker=True)])
def test_what_was_written_is_read_byte_by_byte(place: Place, made: images.Content) -> None:
    with opened(place) as store:
        written = push(store, made, "1.4")
    with opened(place) as store:
        for name in ("1.4", str(written.digest), described(written)):
            read = store.read_manifest(name)
            assert (read.raw, read.media_type, read.digest) == (made.manifest, made.media_type, written.digest)
            parsed = read.parse("x")
            assert isinstance(parsed, Manifest if isinstance(made, images.Image) else Index)
        for name in ("1.4", str(written.digest)):
            assert store.resolve(name) == described(written)
        assert store.tags() == ["1.4"]


def test_a_manifest_without_a_tag_is_there_by_its_digest_alone(store: Store) -> None:
    untagged = push(store, IMAGE)
    push(store, OTHER, "tagged")
    assert store.read_manifest(str(untagged.digest)).raw == IMAGE.manifest
    assert store.tags() == ["tagged"]


def test_writing_again_changes_nothing(place: Place, store: Store) -> None:
    for _ in range(3):
        push(store, LIST, "1.4")
        push(store, LIST)
    with opened(place) as again:
        push(again, LIST, "1.4")
        assert again.tags() == ["1.4"]
        assert again.read_manifest("1.4").raw == LIST.manifest


def test_a_tag_moves_and_what_it_held_stays_readable(store: Store) -> None:
    first = push(store, IMAGE, "latest")
    push(store, OTHER, "latest")
    push(store, LIST, "1.4")
    assert store.read_manifest("latest").raw == OTHER.manifest
    assert store.read_manifest("").raw == OTHER.manifest
    assert store.read_manifest(str(first.digest)).raw == IMAGE.manifest
    assert sorted(store.tags()) == ["1.4", "latest"]


def test_many_tags_are_listed_once_each(place: Place, store: Store) -> None:
    content = push(store, IMAGE, "v0")
    expected = [f"v{number}" for number in range(8)]
    for tag in expected:
        store.write_manifest(content, tag)
    assert sorted(store.tags()) == expected
    assert store.tags() == expected or not place.keeps_order
    assert {str(store.resolve(tag).digest) for tag in expected} == {IMAGE.digest}


@pytest.mark.parametrize("pushed", [False, True])
def test_what_is_not_there_is_not_found(store: Store, pushed: bool) -> None:
    if pushed:
        push(store, IMAGE, "1.4")
    missing = Descriptor(OCI_MANIFEST, ABSENT, 7)
    for name in ("nope", str(ABSENT), missing):
        with pytest.raises(NotFoundError) as caught:
            store.read_manifest(name)
        assert store.name in caught.value.message
        assert "\n" not in caught.value.message
    for tag in ("nope", str(ABSENT)):
        with pytest.raises(NotFoundError):
            store.resolve(tag)
    with pytest.raises(NotFoundError):
        store.read_blob(missing, 100)
    with pytest.raises(NotFoundError), store.open_blob(missing) as chunks:
        list(chunks)
    assert store.has(missing) is False


def test_tags_of_what_does_not_exist_are_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError) as caught:
        store.tags()
    assert caught.value.repository_unknown
    assert store.name in caught.value.message


def test_blobs_are_read_whole_and_in_pieces(place: Place) -> None:
    data = secrets.token_bytes(3 * 1024 * 1024 + 17)
    blob = Blob.of(data, "application/octet-stream")
    with opened(place) as store:
        assert not store.has(blob.descriptor)
        store.write_blob(blob)
    with opened(place) as store:
        assert store.has(blob.descriptor)
        assert store.read_blob(blob.descriptor, len(data)) == data
        with store.open_blob(blob.descriptor) as chunks:
            pieces = list(chunks)
        assert b"".join(pieces) == data
        assert len(pieces) > 1
        with store.open_blob(blob.descriptor) as chunks:
            assert data.startswith(next(chunks))


def test_an_empty_blob_is_a_blob(store: Store) -> None:
    empty = Blob.of(b"", "application/octet-stream")
    store.write_blob(empty)
    assert store.has(empty.descriptor)
    assert store.read_blob(empty.descriptor, 0) == b""
    with store.open_blob(empty.descriptor) as chunks:
        assert b"".join(chunks) == b""


def test_a_blob_that_is_there_is_not_opened_again(store: Store) -> None:
    blob = Blob.of(b"content", "application/octet-stream")
    assert store.write_blob(blob) is True

    def opener() -> Iterator[bytes]:
        raise AssertionError("opened again")

    assert store.write_blob(Blob(blob.descriptor, opener)) is False
    assert store.read_blob(blob.descriptor, 100) == b"content"


class Pieces:
    """Content that is produced while it is written."""

    name = "what is made"

    def __init__(self, data: bytes, fault: Exception | None = None) -> None:
        self.data = data
        self.fault = fault
        self.passes = 0

    def open(self) -> Iterator[bytes]:
        self.passes += 1
        yield self.data[:7]
        if self.fault is not None:
            raise self.fault
        yield self.data[7:]

    def descriptor(self) -> Descriptor:
        return Descriptor("x/y", Digest.of(self.data), len(self.data))


def test_content_that_is_made_on_the_way_is_read_once(store: Store) -> None:
    assert isinstance(store, StreamWriter)
    pieces = Pieces(secrets.token_bytes(100_000))
    for passes in (1, 2):
        made = store.write_stream(pieces)
        assert made == pieces.descriptor()
        assert pieces.passes == passes
    assert store.has(made)
    assert store.read_blob(made, 100_000) == pieces.data


def test_content_that_fails_on_the_way_is_not_kept(store: Store) -> None:
    assert isinstance(store, StreamWriter)
    pieces = Pieces(secrets.token_bytes(100), IntegrityError("not what it should be"))
    with pytest.raises(IntegrityError, match="not what it should be"):
        store.write_stream(pieces)
    assert not store.has(pieces.descriptor())


def test_a_blob_comes_in_pieces_of_any_size(store: Store) -> None:
    pieces = [b"", b"a", b"", b"bc" * 70_000, b"d"]
    descriptor = Blob.of(b"".join(pieces), "application/octet-stream").descriptor
    store.write_blob(Blob(descriptor, lambda: iter(pieces)))
    assert store.read_blob(descriptor, 200_000) == b"".join(pieces)


@pytest.mark.parametrize("given", [b"other bytes", b"right bytes and more", b"right", b""])
def test_a_blob_whose_bytes_are_not_what_they_should_be_is_not_kept(store: Store, given: bytes) -> None:
    descriptor = Blob.of(b"right bytes", "application/octet-stream").descriptor
    with pytest.raises(ManifestctlError) as caught:
        store.write_blob(Blob(descriptor, lambda: iter((given,))))
    assert caught.value.exit_code in (5, 6)
    assert not store.has(descriptor)


@pytest.mark.parametrize(("change", "limit"), [(1, 100), (-1, 100), (0, 6), (1000, 6)])
def test_a_blob_of_another_size_than_was_said_is_not_believed(store: Store, change: int, limit: int) -> None:
    blob = Blob.of(b"content", "application/octet-stream")
    store.write_blob(blob)
    told = Descriptor("application/octet-stream", blob.descriptor.digest, 7 + change)
    with pytest.raises(IntegrityError) as caught:
        store.read_blob(told, limit)
    assert str(told.digest) in caught.value.message
    if change:
        with pytest.raises(IntegrityError) as size:
            store.has(told)
        assert size.value.message.endswith(f"it has 7 bytes, but its descriptor says {told.size}")
        assert "push the image again" in size.value.hint
        with pytest.raises(IntegrityError), store.open_blob(told) as chunks:
            list(chunks)


@pytest.mark.parametrize("data", [b"CONTENT 0123456789abcdef", b"cont", b"content that is longer than it was", b""])
def test_damaged_blobs_are_found_out(place: Place, store: Store, data: bytes) -> None:
    blob = Blob.of(f"content {secrets.token_hex(8)}".encode(), "application/octet-stream")
    store.write_blob(blob)
    place.damage(str(blob.descriptor.digest), data)
    with pytest.raises(IntegrityError):
        store.read_blob(blob.descriptor, 100)
    with pytest.raises(IntegrityError), store.open_blob(blob.descriptor) as chunks:
        list(chunks)


def test_a_manifest_of_another_size_than_was_said_is_not_believed(store: Store) -> None:
    written = push(store, IMAGE, "1.4")
    for size in (0, len(IMAGE.manifest) - 1, len(IMAGE.manifest) + 1):
        with pytest.raises(IntegrityError, match=re.escape(str(written.digest))):
            store.read_manifest(Descriptor(written.media_type, written.digest, size))


@pytest.mark.parametrize("same_size", [True, False])
def test_damaged_manifests_are_found_out(place: Place, store: Store, same_size: bool) -> None:
    # An image of its own: the real registry keeps one copy of what several repositories hold.
    made = images.image("linux/amd64", seed=secrets.token_hex(8))
    written = push(store, made, "1.4")
    other = made.config_digest[:-1] + ("0" if made.config_digest[-1] != "0" else "1")
    damaged = made.manifest.replace(made.config_digest.encode(), other.encode())
    place.damage(str(written.digest), damaged if same_size else damaged + b"\n")
    for name in (str(written.digest), described(written)):
        with pytest.raises(IntegrityError) as caught:
            store.read_manifest(name)
        assert str(written.digest) in caught.value.message


def test_a_condition_holds_or_nothing_is_written(place: Place, store: Store) -> None:
    first, second = push(store, IMAGE), push(store, OTHER)
    store.write_manifest(first, "new", OnlyIf(None))
    assert store.resolve("new").digest == first.digest
    store.write_manifest(second, "new", OnlyIf(first.digest))
    assert store.resolve("new").digest == second.digest
    for condition in (OnlyIf(None), OnlyIf(first.digest)):
        if place.enforces_conditions:
            with pytest.raises(ConflictError, match="new"):
                store.write_manifest(first, "new", condition)
            assert store.resolve("new").digest == second.digest
    if place.enforces_conditions:
        with pytest.raises(ConflictError):
            store.write_manifest(first, "absent", OnlyIf(second.digest))
        assert store.tags() == ["new"]


def test_a_list_whose_images_are_there_is_taken(store: Store) -> None:
    written = push(store, LIST, "list")
    parsed = store.read_manifest("list").parse("x")
    assert isinstance(parsed, Index)
    for entry in parsed.entries:
        child = store.read_manifest(entry).parse("x")
        assert isinstance(child, Manifest)
        config = json.loads(store.read_blob(child.config, 1 << 20))
        assert entry.platform is not None
        assert config["architecture"] == entry.platform.architecture
        assert all(store.has(layer) for layer in child.layers)
    assert written.digest == Digest.of(LIST.manifest)


def test_a_store_may_be_used_from_many_threads(place: Place, store: Store) -> None:
    content = push(store, IMAGE, "first")
    made = [images.image("linux/amd64", seed=str(number)) for number in range(16)]

    def work(number: int) -> None:
        push(store, made[number], f"t{number}")
        store.write_manifest(content, "shared" if place.keeps_order else f"u{number}")
        assert store.read_manifest(f"t{number}").raw == made[number].manifest

    world = World()
    with Pool(8, world.cancel) as pool:
        pool.map(work, range(16))
    tags = store.tags()
    assert len(tags) == len(set(tags)) == (18 if place.keeps_order else 33)
    assert all(store.resolve(tag).digest == content.digest for tag in tags if not tag.startswith("t"))
    for number in range(16):
        assert store.resolve(f"t{number}").digest == Digest.of(made[number].manifest)


def test_the_name_of_a_manifest_is_shown_safely(store: Store) -> None:
    with pytest.raises(ManifestctlError) as caught:
        store.read_manifest("no\n::error::such")
    assert "\n" not in caught.value.message
