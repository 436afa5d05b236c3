"""Pushing an image again, or what is left of it: what is found, what is taken over, and what is sent after all."""

from __future__ import annotations

import gzip
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.compression import compressor
from manifestctl.events import BlobMoved, BlobStarted, Retried
from manifestctl.model.media_types import DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_LAYER_GZIP, OCI_MANIFEST
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.push import SPOOLED
from manifestctl.verbs.push_request import Packing
from tests.support import archives, images
from tests.support.actions import error, reset, status
from tests.support.faults import FOREVER
from tests.support.images import digest_of
from tests.support.limits import file_size_limit
from tests.verbs.pushing_scene import BLOBS, UPLOADS, WEB, PushScene, done, failed, plain, relayered, sent

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry

IMAGE = images.image("linux/amd64", docker=True, layers=3)
OCI = images.image("linux/amd64", layers=3)
ARM = images.image("linux/arm64", layers=2)
TARS = [gzip.decompress(layer) for layer in IMAGE.layers]


@pytest.fixture
def scene(registry: FakeRegistry, tmp_path: Path) -> PushScene:
    return PushScene(registry, tmp_path)


# Nothing twice


def test_pushed_again_is_unchanged_and_packs_nothing(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.saved(IMAGE)
    first = done(scene.push(source))
    registry.reset()
    pushed = scene.push(source)
    assert done(pushed, "unchanged") == first
    assert sent(registry) == []
    assert registry.count("HEAD", BLOBS) == 4
    assert registry.count() == 5
    assert scene.world.heard(BlobStarted) == []
    assert [layer.how for layer in pushed.layers] == ["exists"] * 3


def test_an_image_that_another_machine_has_packed_is_unchanged(scene: PushScene, registry: FakeRegistry) -> None:
    # Its gzip is not ours, its config and its tars are.
    other = relayered(IMAGE, tuple(gzip.compress(tar, 9, mtime=7) for tar in TARS), DOCKER_LAYER_GZIP)
    registry.put(WEB, "1.4", other)
    assert done(scene.push(scene.saved(IMAGE)), "unchanged") == other.digest
    assert sent(registry) == []


def test_a_ready_image_is_pushed_exactly(scene: PushScene, registry: FakeRegistry) -> None:
    """Another packing of the same image is another image, if its bytes are given."""
    other = relayered(OCI, tuple(gzip.compress(gzip.decompress(x), 9, mtime=7) for x in OCI.layers), OCI_LAYER_GZIP)
    registry.put(WEB, "1.4", other)
    assert done(scene.push(scene.layout(OCI)), "updated") == OCI.digest
    registry.reset()
    assert done(scene.push(scene.layout(OCI)), "unchanged") == OCI.digest
    assert sent(registry) == []


def test_what_was_unchanged_but_lacks_a_layer_is_mended(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.saved(IMAGE)
    first = done(scene.push(source))
    gone = scene.stored()["layers"][1]["digest"]
    del registry.repository(WEB).blobs[gone]
    registry.reset()
    pushed = scene.push(source)
    assert done(pushed, "unchanged") == first
    assert [layer.how for layer in pushed.layers] == ["reused", "packed", "reused"]
    assert gone in registry.repository(WEB).blobs
    assert registry.count("HEAD", BLOBS) == 4


def test_layers_that_the_target_has_packed_are_reused(scene: PushScene, registry: FakeRegistry) -> None:
    config = json.loads(IMAGE.config)
    config["config"] = {"Labels": {"build": "2"}}
    config["rootfs"]["diff_ids"][2] = images.layer("new on top")[1]
    after = images.image("linux/amd64", docker=True, layers=3, config=config)
    after = relayered(after, (*IMAGE.layers[:2], images.layer("new on top")[0]), DOCKER_LAYER_GZIP)
    done(scene.push(scene.saved(IMAGE)))
    before = [layer["digest"] for layer in scene.stored()["layers"]]
    registry.reset()
    pushed = scene.push(scene.saved(after))
    done(pushed, "updated")
    assert [layer["digest"] for layer in scene.stored()["layers"]][:2] == before[:2]
    assert [layer.how for layer in pushed.layers] == ["reused", "reused", "packed"]
    assert registry.count("PATCH") == 1


def test_a_new_tag_takes_the_layers_of_the_further_one(scene: PushScene, registry: FakeRegistry) -> None:
    done(scene.push(scene.saved(IMAGE), "latest"))
    first = registry.tag(WEB, "latest")
    registry.reset()
    pushed = scene.push(scene.saved(IMAGE), "1.5", tags=("latest",))
    assert done(pushed) == first
    assert registry.tags(WEB) == {"latest": first, "1.5": first}
    assert registry.manifest_puts == [(WEB, "1.5")]
    assert registry.count("POST") == 0


@pytest.mark.parametrize(
    "held",
    [
        images.index([ARM]),
        images.image("linux/amd64", layers=3),
        relayered(IMAGE, (IMAGE.layers[0],), DOCKER_LAYER_GZIP),
        relayered(images.image("linux/amd64", docker=True, config=b"no JSON"), IMAGE.layers, DOCKER_LAYER_GZIP),
    ],
    ids=["list", "other family", "fewer layers", "config unreadable"],
)
def test_what_the_tag_holds_need_not_be_of_use(scene: PushScene, registry: FakeRegistry, held: images.Content) -> None:
    registry.put(WEB, "1.4", held)
    done(scene.push(scene.saved(IMAGE)), "updated")
    assert scene.held() == TARS


def test_a_tag_that_holds_no_manifest_is_replaced(scene: PushScene, registry: FakeRegistry) -> None:
    registry.put_raw_manifest(WEB, "1.4", b"[]", OCI_MANIFEST)
    done(scene.push(scene.saved(IMAGE)), "updated")


def test_a_manifest_that_lies_about_its_layers_is_not_believed(scene: PushScene, registry: FakeRegistry) -> None:
    document = json.loads(IMAGE.manifest)
    document["layers"][0]["size"] += 1
    registry.put(WEB, "1.4", IMAGE)
    registry.put_raw_manifest(WEB, "1.4", images.dump(document), DOCKER_MANIFEST)
    pushed = scene.push(scene.saved(IMAGE))
    done(pushed, "updated")
    assert [layer.how for layer in pushed.layers] == ["packed", "reused", "reused"]


def test_a_push_that_was_cut_off_is_finished_by_another(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.layout(OCI)
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path=UPLOADS, after=2, times=FOREVER)
    failed(scene.push(source), 4)
    assert registry.tags(WEB) == {}
    there = len(registry.repository(WEB).blobs)
    assert 0 < there < 4
    registry.faults.clear()
    registry.reset()
    assert done(scene.push(source)) == OCI.digest
    assert registry.count("POST", UPLOADS) == 4 - there


# An earlier push of this image was killed, or had another tag


def kill(scene: PushScene, source: str, layers: int) -> None:
    """Begin a push, whose connections break once so many layers have been sent; the registry is as it was then."""
    scene.registry.faults.add(reset(), method="PATCH", after=layers, times=FOREVER)
    scene.settings = TransportSettings(retries=1)
    failed(scene.push(source, concurrency=1), 5)
    scene.registry.faults.clear()
    scene.registry.reset()


def bytes_sent(registry: FakeRegistry) -> int:
    return sum(recorded.body_size for recorded in registry.requests)


def test_the_config_is_sent_before_any_layer(scene: PushScene, registry: FakeRegistry) -> None:
    done(scene.push(scene.saved(IMAGE), concurrency=1))
    first = registry.find("PUT", UPLOADS)[0]
    assert dict(first.parameters)["digest"] == digest_of(IMAGE.config)
    assert registry.count("HEAD", BLOBS) == 1


@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("spooled", [SPOOLED, 0], ids=["spooled", "too large for a spool"])
def test_a_push_that_was_killed_sends_only_the_layers_that_are_missing(
    scene: PushScene, registry: FakeRegistry, before: int, spooled: int
) -> None:
    source = scene.saved(IMAGE)
    kill(scene, source, before)
    assert len(registry.repository(WEB).blobs) == 1 + before
    pushed = scene.push(source, spooled=spooled)
    done(pushed)
    assert scene.held() == TARS
    missing = 3 - before
    assert sorted(layer.how for layer in pushed.layers) == ["exists"] * before + ["packed"] * missing
    assert sorted(event.how for event in scene.world.heard(BlobMoved)) == ["exists"] * before + ["packed"] * missing
    assert registry.count("POST", UPLOADS) == registry.count("PUT", UPLOADS) == missing
    # All that is asked is asked once: for the config, and for each layer once it is packed.
    assert registry.count("HEAD", BLOBS) == 4
    # What fits into a spool is packed once and has a length then; the rest is packed a second time, on the way.
    assert registry.count("PATCH") == (0 if spooled else missing)
    assert len(scene.world.heard(BlobStarted)) == 3 + (0 if spooled else missing)
    written = [layer.descriptor.size for layer in pushed.layers if layer.how == "packed"]
    assert pushed.content is not None
    assert bytes_sent(registry) == sum(written) + len(pushed.content.raw)


@pytest.mark.parametrize("spooled", [SPOOLED, 0])
def test_another_tag_of_the_same_image_sends_no_layer(scene: PushScene, registry: FakeRegistry, spooled: int) -> None:
    source = scene.saved(IMAGE)
    first = done(scene.push(source))
    registry.reset()
    pushed = scene.push(source, "1.5", spooled=spooled)
    assert done(pushed) == first
    assert [layer.how for layer in pushed.layers] == ["exists"] * 3
    assert sent(registry) == ["PUT"]
    assert registry.count("HEAD", BLOBS) == 4
    assert registry.count() == 4 + 3
    assert pushed.content is not None
    assert bytes_sent(registry) == len(pushed.content.raw)


def test_a_push_by_digest_again_sends_no_layer(scene: PushScene, registry: FakeRegistry) -> None:
    first = done(scene.push(scene.saved(IMAGE), None, by_digest=True))
    registry.reset()
    assert done(scene.push(scene.saved(IMAGE), None, by_digest=True), "unchanged") == first
    assert sent(registry) == []


def test_a_layout_gets_nothing_twice_either(scene: PushScene, tmp_path: Path) -> None:
    out = f"oci:{tmp_path / 'out'}"
    done(scene.push(scene.saved(IMAGE), target=f"{out}:1"))
    pushed = scene.push(scene.saved(IMAGE), target=f"{out}:2")
    done(pushed)
    assert [layer.how for layer in pushed.layers] == ["exists"] * 3


@pytest.mark.parametrize("spooled", [SPOOLED, 0])
def test_what_was_packed_otherwise_is_not_found_and_sent(
    scene: PushScene, registry: FakeRegistry, spooled: int
) -> None:
    source = scene.saved(IMAGE)
    done(scene.push(source))
    pushed = scene.push(source, "9", packing=Packing(level=9), spooled=spooled)
    done(pushed)
    assert [layer.how for layer in pushed.layers] == ["packed"] * 3
    assert scene.held("9") == TARS


@pytest.mark.parametrize("spooled", [SPOOLED, 0])
def test_a_damaged_layer_is_found_before_it_is_looked_for(
    scene: PushScene, registry: FakeRegistry, spooled: int
) -> None:
    registry.put_blob(WEB, IMAGE.config)
    members = archives.legacy_save(archives.saved(IMAGE, "web:1"))
    name = next(name for name, data in members.items() if data == TARS[1])
    members[name] = bytes(len(TARS[1]))
    path = archives.write_archive(scene.directory / "bad.tar", members)
    failed(scene.push(f"docker-archive:{path}", spooled=spooled), 6, digest_of(TARS[1]))
    assert registry.manifest_puts == []
    assert registry.tags(WEB) == {}
    # The other two are good, and stay for the next push.
    assert registry.count("HEAD", BLOBS) == 3
    assert len(registry.repository(WEB).blobs) == 3


def test_a_diff_id_of_another_algorithm_is_verified_before_the_layer_is_looked_for(
    scene: PushScene, registry: FakeRegistry
) -> None:
    config = {"rootfs": {"type": "layers", "diff_ids": [f"sha512:{'a' * 128}"]}}
    made = plain(images.image("linux/amd64", config=config))
    registry.put_blob(WEB, made.config)
    failed(scene.push(scene.layout(made)), 6, "does not hash to sha512:")
    assert registry.count("POST") == 0


def test_only_small_layers_need_scratch_space(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.saved(IMAGE)
    registry.put_blob(WEB, IMAGE.config)
    scene.environ = {"TMPDIR": str(scene.directory / "nowhere")}
    least = min(map(len, TARS))
    failed(scene.push(source, spooled=least), 2, "TMPDIR")
    done(scene.push(source, spooled=least - 1))


def test_without_scratch_space_small_layers_go_the_way_of_large_ones(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.saved(IMAGE)
    kill(scene, source, 1)
    with file_size_limit(10):
        pushed = scene.push(source)
    done(pushed)
    assert sorted(layer.how for layer in pushed.layers) == ["exists", "packed", "packed"]
    assert registry.count("PATCH") == 2
    assert scene.held() == TARS


@pytest.mark.parametrize("packing", [("gzip", 1), ("gzip", 9), ("zstd", None), ("none", None)])
def test_a_spool_has_at_most_64_mib(packing: tuple[Any, int | None]) -> None:
    """What cannot be compressed gets larger, in proportion."""
    data = random.Random(1).randbytes(SPOOLED // 63)
    packer = compressor(*packing)
    assert len(packer.update(data) + packer.finish()) * 63 <= 64 * 1024 * 1024


def test_a_spooled_layer_is_sent_again_without_being_packed_again(scene: PushScene, registry: FakeRegistry) -> None:
    registry.put_blob(WEB, IMAGE.config)
    registry.faults.add(status(503), method="PUT", path=UPLOADS, times=2)
    done(scene.push(scene.saved(IMAGE)))
    assert scene.held() == TARS
    assert len(scene.world.heard(BlobStarted)) == 3
    assert len(scene.world.heard(Retried)) == 2


def test_an_image_without_layers_to_pack_is_looked_for_in_one_wave(scene: PushScene, registry: FakeRegistry) -> None:
    registry.put(WEB, "1.3", OCI)
    registry.reset()
    pushed = scene.push(scene.layout(OCI))
    assert done(pushed) == OCI.digest
    assert [layer.how for layer in pushed.layers] == ["exists"] * 3
    assert sorted(event.how for event in scene.world.heard(BlobMoved)) == ["exists"] * 3
    assert registry.count("HEAD", BLOBS) == 4
    assert sent(registry) == ["PUT"]


def test_a_config_that_the_registry_has_in_another_size_is_an_error(scene: PushScene, registry: FakeRegistry) -> None:
    registry.put_blob(WEB, IMAGE.config + b" ", digest_of(IMAGE.config))
    failed(scene.push(scene.saved(IMAGE)), 6, digest_of(IMAGE.config))
    assert registry.manifest_puts == []
