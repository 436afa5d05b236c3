"""An image in an engine as a store: exported once, when it is first read, and gone when the store is closed."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, cast

import pytest

from manifestctl.errors import DeniedError, IntegrityError, NotFoundError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import EngineLocation
from manifestctl.model.manifest import Index, Manifest
from manifestctl.model.platforms import Platform
from manifestctl.parallel import Pool
from manifestctl.stores.base import Blob, Content
from manifestctl.stores.locate import Stores
from tests.support import images
from tests.support.fake_engine import FakeEngine
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.stores.engine_store import EngineStore

IMAGE = images.image("linux/amd64", docker=True, layers=2)
ARM = images.image("linux/arm64", layers=2)
LIST = images.buildx_index([images.image("linux/amd64", layers=2), ARM])
ABSENT = Descriptor("x/y", Digest.of(b"absent"), 6)


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as running:
        running.add(IMAGE, "app/web:1", "app/web:latest")
        yield running


class Opened:
    """Stores of a run that finds this engine."""

    def __init__(self, engine: FakeEngine) -> None:
        self.world = World({"DOCKER_HOST": engine.address})
        self.stores = Stores.of_system(self.world.runtime)

    def store(self, location: EngineLocation) -> EngineStore:
        return cast("EngineStore", self.stores(location))


@pytest.fixture
def opened(engine: FakeEngine) -> Iterator[Opened]:
    made = Opened(engine)
    with made.stores:
        yield made


def exports(engine: FakeEngine) -> int:
    return sum("/images/get" in path for path in engine.asked())


def test_an_image_is_exported_once_for_everything(opened: Opened, engine: FakeEngine) -> None:
    store = opened.store(EngineLocation("app/web:1"))
    assert engine.asked() == []
    assert store.name == "docker-daemon:app/web:1"
    content = store.read_manifest("")
    manifest = content.parse("x")
    assert isinstance(manifest, Manifest)
    assert store.read_blob(manifest.config, 1 << 20) == IMAGE.config
    for layer, packed in zip(manifest.layers, IMAGE.layers, strict=True):
        assert store.has(layer)
        with store.open_blob(layer) as chunks:
            assert b"".join(chunks) == gzip.decompress(packed)
    assert exports(engine) == 1


def test_the_one_image_is_meant_whatever_it_is_called(opened: Opened) -> None:
    store = opened.store(EngineLocation("app/web:1"))
    content = store.read_manifest("")
    for name in ("1", "latest", "anything", "sha256:short", str(content.digest)):
        assert store.read_manifest(name) == content or name == str(content.digest)
        assert store.read_manifest(name).raw == content.raw
        assert store.resolve(name).digest == content.digest
    assert store.read_manifest(store.resolve("")).raw == content.raw
    # It is asked for by its id, so that no other image of these names comes with it.
    assert store.tags() == []


def test_what_is_not_in_it_is_not_found(opened: Opened) -> None:
    store = opened.store(EngineLocation("app/web:1"))
    assert store.has(ABSENT) is False
    with pytest.raises(NotFoundError):
        store.read_manifest(str(ABSENT.digest))
    with pytest.raises(NotFoundError), store.open_blob(ABSENT) as chunks:
        list(chunks)
    with pytest.raises(IntegrityError):
        store.read_blob(Descriptor("x/y", Digest.parse(IMAGE.config_digest), 1), 10)


def test_threads_share_one_export(opened: Opened, engine: FakeEngine) -> None:
    store = opened.store(EngineLocation("app/web:1"))
    with Pool(8, opened.world.cancel) as pool:
        digests = pool.map(lambda name: store.read_manifest(name).digest, [""] * 8)
    assert len(set(digests)) == 1
    assert exports(engine) == 1


def test_a_list_of_the_containerd_store() -> None:
    with FakeEngine("containerd") as engine:
        engine.add(LIST, "app/multi:1")
        opened = Opened(engine)
        with opened.stores:
            whole = opened.store(EngineLocation("app/multi:1", every=True))
            content = whole.read_manifest("")
            index = content.parse("x")
            assert isinstance(index, Index)
            assert (str(content.digest), content.raw) == (LIST.digest, LIST.manifest)
            arm = next(entry for entry in index.entries if str(entry.digest) == ARM.digest)
            assert whole.read_manifest(arm).raw == whole.read_manifest(ARM.digest).raw == ARM.manifest
        again = Opened(engine)
        with again.stores:
            one = again.store(EngineLocation("app/multi:1", Platform("linux", "arm64")))
            assert one.read_manifest("").raw == ARM.manifest


def test_an_image_that_is_not_there(opened: Opened) -> None:
    store = opened.store(EngineLocation("app/wep:1"))
    for _ in range(2):
        with pytest.raises(NotFoundError, match="app/wep:1") as caught:
            store.read_manifest("")
        assert "app/web:1" in caught.value.hint


def test_an_engine_is_not_written(opened: Opened, engine: FakeEngine) -> None:
    store = opened.store(EngineLocation("app/web:1"))
    with pytest.raises(DeniedError, match="docker-daemon:app/web:1 is read-only"):
        store.write_blob(Blob.of(b"x", "x/y"))
    with pytest.raises(DeniedError, match="read-only"):
        store.write_manifest(Content.of(b"{}", "x/y"), "1")
    with pytest.raises(DeniedError, match="read-only"):
        opened.stores(EngineLocation("app/web:1"), write=True)
    assert engine.asked() == []


def test_all_images_are_listed_and_none_is_exported(opened: Opened, engine: FakeEngine) -> None:
    engine.add(images.image("linux/s390x", docker=True), Created=0)
    named, unnamed = opened.store(EngineLocation("")).images()
    assert named.names == ("app/web:1", "app/web:latest")
    assert (str(named.id), named.platforms) == (IMAGE.config_digest, (Platform("linux", "amd64"),))
    assert named.created == "2024-05-06T07:08:09Z"
    assert named.size == sum(map(len, IMAGE.blobs.values()))
    assert unnamed.names == ()
    assert exports(engine) == 0


def test_the_export_is_gone_when_the_store_is_closed(opened: Opened) -> None:
    store = opened.store(EngineLocation("app/web:1"))
    store.close()
    layer = store.read_manifest("").parse("x")
    assert isinstance(layer, Manifest)
    store.close()
    store.close()
    with pytest.raises((ValueError, OSError)), store.open_blob(layer.layers[0]) as chunks:
        list(chunks)
