"""An image in an engine as a store: exported once, when it is first read, and gone when the store is closed."""

from __future__ import annotations

import gc
import gzip
from typing import TYPE_CHECKING, Any, cast

import pytest

from manifestctl.errors import DeniedError, InputError, IntegrityError, NotFoundError, UnreachableError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import EngineLocation
from manifestctl.model.manifest import Index, Manifest, parse_config
from manifestctl.model.media_types import DOCKER_LAYER
from manifestctl.model.platforms import Platform
from manifestctl.parallel import Pool
from manifestctl.stores.base import Blob, Content, Foretold
from manifestctl.stores.locate import Stores
from tests.support import actions, images
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


LOCAL_ARM = images.image("linux/arm/v7", docker=True)
BOTH = images.index([images.image("linux/amd64"), ARM])
ARM64 = Platform("linux", "arm64")


@pytest.mark.parametrize(
    ("flavour", "version", "added", "location", "told"),
    [
        ("graph-driver", "1.41", [IMAGE], EngineLocation("x:1"), Foretold(config=Digest.parse(IMAGE.config_digest))),
        ("podman", "1.41", [IMAGE], EngineLocation("x:1"), Foretold(config=Digest.parse(IMAGE.config_digest))),
        (
            "podman",
            "1.41",
            [IMAGE, LOCAL_ARM, images.index([IMAGE, LOCAL_ARM])],
            EngineLocation("x:1", Platform("linux", "arm", "v7")),
            Foretold(config=Digest.parse(LOCAL_ARM.config_digest)),
        ),
        ("containerd", "1.51", [ARM], EngineLocation("x:1"), Foretold(manifest=Digest.parse(ARM.digest))),
        ("containerd", "1.51", [LIST], EngineLocation("x:1", every=True), Foretold(manifest=Digest.parse(LIST.digest))),
        ("containerd", "1.47", [BOTH], EngineLocation("x:1", ARM64), Foretold(manifest=Digest.parse(ARM.digest))),
        (
            "containerd",
            "1.51",
            [LIST],
            EngineLocation("x:1", ARM64),
            Foretold(manifest=Digest.parse(ARM.digest), attested=True),
        ),
        # What such an engine would say of its images is the host's.
        ("containerd", "1.44", [BOTH], EngineLocation("x:1", ARM64), Foretold()),
        ("containerd", "1.44", [BOTH], EngineLocation("x:1"), Foretold(manifest=Digest.parse(BOTH.digest))),
    ],
)
def test_what_it_is_is_known_before_it_is_exported(
    flavour: Any, version: str, added: list[images.Content], location: EngineLocation, told: Foretold
) -> None:
    with FakeEngine(flavour, version) as engine:
        for content in added:
            engine.add(content, *(["x:1"] if content is added[-1] else []))
        opened = Opened(engine)
        with opened.stores:
            store = opened.store(location)
            assert store.foretell() == store.foretell() == told
            assert exports(engine) == 0
            asked = len(engine.asked())
            read = store.read_manifest("")
            # What was found is not looked for again.
            assert len(engine.asked()) == asked + 1
            # And it comes true.
            assert told.manifest in (None, read.digest)
            document = read.parse("x")
            if told.config is not None:
                assert isinstance(document, Manifest)
                assert document.config.digest == told.config
                diff_ids = parse_config(store.read_blob(document.config, 1 << 20), "x").diff_ids
                assert [(layer.media_type, str(layer.digest)) for layer in document.layers] == [
                    (DOCKER_LAYER, diff_id) for diff_id in diff_ids
                ]


def test_an_id_is_no_name(opened: Opened, engine: FakeEngine) -> None:
    identity = IMAGE.config_digest[7:19]
    with pytest.raises(InputError, match=f"'{identity}' is the id of an image in the Docker engine at") as caught:
        opened.store(EngineLocation(identity, by_name=True)).foretell()
    assert caught.value.hint == f"Write manifestctl push {identity} registry/repository:tag"
    assert opened.store(EngineLocation("app/web:1", by_name=True)).tags() is not None
    engine.add(ARM, f"{identity}:latest")
    again = Opened(engine)
    with again.stores:
        named = again.store(EngineLocation(identity, by_name=True))
        assert named.foretell() == Foretold(config=Digest.parse(ARM.config_digest))
        with pytest.raises(NotFoundError, match="there is no image 'cafe'"):
            again.store(EngineLocation("cafe", by_name=True)).foretell()


@pytest.mark.parametrize("path", ["_ping", "images/json", "sha256", "images/get"])
def test_connections_are_closed_wherever_it_fails(path: str) -> None:
    with FakeEngine() as engine:
        engine.add(IMAGE, "web:1")
        engine.faults.add(actions.status(500, b"broken"), path=path)
        opened = Opened(engine)
        with opened.stores, pytest.raises(UnreachableError):
            opened.store(EngineLocation("web:1")).read_manifest("")
        # What was left open would be an error of this test.
        gc.collect()


def test_the_export_is_gone_when_the_store_is_closed(opened: Opened) -> None:
    store = opened.store(EngineLocation("app/web:1"))
    store.close()
    layer = store.read_manifest("").parse("x")
    assert isinstance(layer, Manifest)
    store.close()
    store.close()
    with pytest.raises((ValueError, OSError)), store.open_blob(layer.layers[0]) as chunks:
        list(chunks)


@pytest.mark.parametrize(
    ("created", "date"),
    [
        (1_700_000_000, "2023-11-14T22:13:20Z"),
        (253_402_300_799, "9999-12-31T23:59:59Z"),
        # Milliseconds, and numbers that are no time at all.
        (1_700_000_000_000, ""),
        (2**62, ""),
        (2**63 - 1, ""),
        (0, ""),
        (-62_135_596_801, ""),
    ],
)
def test_a_date_that_no_calendar_has_is_none(engine: FakeEngine, opened: Opened, created: int, date: str) -> None:
    engine.add(ARM, "app/odd:1", Created=created)
    dates = {image.names: image.created for image in opened.store(EngineLocation("")).images()}
    assert dates["app/odd:1",] == date
    assert len(dates) == 2
