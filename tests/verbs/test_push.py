"""`push`: what is sent and what is not, in which order, how often it is read, and what it leaves when it fails."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import ConflictError, InputError
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved, Noted, Retried, Warned
from manifestctl.model.media_types import (
    DOCKER_CONFIG,
    DOCKER_LAYER,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    OCI_MANIFEST,
)
from manifestctl.model.published import Published
from manifestctl.verbs.push_request import Packing
from tests.support import archives, images
from tests.support.actions import after_serving, error, lag, reset, respond, status, unauthorized
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.http_message import Response
from tests.support.images import digest_of
from tests.verbs.pushing_scene import BLOBS, UPLOADS, WEB, PushScene, done, failed, plain, relayered, sent

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = images.image("linux/amd64", docker=True, layers=3)
OCI = images.image("linux/amd64", layers=3)
ARM = images.image("linux/arm64", layers=2)
TARS = [gzip.decompress(layer) for layer in IMAGE.layers]
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
FOREIGN_OCI = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


@pytest.fixture
def scene(registry: FakeRegistry, tmp_path: Path) -> PushScene:
    return PushScene(registry, tmp_path)


# What goes up


def test_an_archive_of_docker_save(scene: PushScene, registry: FakeRegistry) -> None:
    pushed = scene.push(scene.saved(IMAGE))
    digest = done(pushed)
    stored = scene.stored()
    assert registry.tag(WEB, "1.4") == digest
    assert stored["mediaType"] == DOCKER_MANIFEST
    assert stored["config"] == images.descriptor(IMAGE.config, DOCKER_CONFIG)
    assert [layer["mediaType"] for layer in stored["layers"]] == [DOCKER_LAYER_GZIP] * 3
    assert registry.repository(WEB).blobs[digest_of(IMAGE.config)] == IMAGE.config
    assert scene.held() == TARS
    assert str(pushed.platform) == "linux/amd64"
    assert [layer.how for layer in pushed.layers] == ["packed"] * 3


def test_a_layer_is_packed_in_one_pass(scene: PushScene, registry: FakeRegistry) -> None:
    done(scene.push(scene.saved(IMAGE)))
    patches = registry.find("PATCH")
    assert len(patches) == 3
    for patch in patches:
        assert "content-range" not in patch.headers
        assert patch.headers["transfer-encoding"] == "chunked"
        assert patch.headers["content-type"] == "application/octet-stream"
    closing = [put for put in registry.find("PUT", UPLOADS) if put.body_size == 0]
    assert len(closing) == 3
    assert {dict(put.parameters)["digest"] for put in closing} == {x["digest"] for x in scene.stored()["layers"]}
    # Each byte of each tar was read once.
    started = scene.world.heard(BlobStarted)
    assert sorted(event.size or 0 for event in started) == sorted(map(len, TARS))
    assert sum(event.count for event in scene.world.heard(BytesMoved)) == sum(map(len, TARS))
    assert sorted(event.how for event in scene.world.heard(BlobMoved)) == ["packed"] * 3


def test_the_manifest_goes_up_last(scene: PushScene, registry: FakeRegistry) -> None:
    done(scene.push(scene.saved(IMAGE)))
    writes = registry.find("POST|PATCH|PUT")
    assert [recorded.method for recorded in writes if "/manifests/" in recorded.path] == ["PUT"]
    assert "/manifests/1.4" in writes[-1].path
    assert "/manifests/1.4" in registry.find("GET")[-1].path


@pytest.mark.parametrize("made", [OCI, IMAGE], ids=["oci", "docker"])
def test_layers_that_are_ready_go_up_as_they_are(scene: PushScene, registry: FakeRegistry, made: images.Image) -> None:
    pushed = scene.push(scene.layout(made))
    assert done(pushed) == made.digest
    stored = registry.manifest(WEB, "1.4")
    assert stored is not None
    assert (stored.data, stored.media_type) == (made.manifest, made.media_type)
    assert made.blobs.items() <= registry.repository(WEB).blobs.items()
    assert sent(registry) == ["POST"] * 4 + ["PUT"] * 5
    assert registry.count("HEAD", BLOBS) == 4
    assert registry.count("GET") == 2
    assert all(put.headers["content-length"] == str(put.body_size) for put in registry.find("PUT"))
    # All that is asked for comes before all that is sent, for there is a thread for each.
    assert sorted(event.how for event in scene.world.heard(BlobMoved)) == ["sent"] * 3


def test_only_what_is_missing_is_sent(scene: PushScene, registry: FakeRegistry) -> None:
    for data in (OCI.config, OCI.layers[0]):
        registry.put_blob(WEB, data)
    pushed = scene.push(scene.layout(OCI))
    assert done(pushed) == OCI.digest
    assert registry.count("POST", UPLOADS) == 2
    assert [layer.how for layer in pushed.layers] == ["exists", "sent", "sent"]
    assert sorted(event.how for event in scene.world.heard(BlobMoved)) == ["exists", "sent", "sent"]
    assert len(scene.world.heard(BlobStarted)) == 2


@pytest.mark.parametrize("packed", [False, True])
def test_identical_layers_are_sent_once(scene: PushScene, registry: FakeRegistry, packed: bool) -> None:
    data, diff_id = images.layer("twice")
    made = images.image("linux/amd64", config={"rootfs": {"type": "layers", "diff_ids": [diff_id] * 3}})
    made = relayered(made, (data,) * 3, OCI_LAYER_GZIP)
    pushed = scene.push(scene.layout(made if packed else plain(made)))
    done(pushed)
    assert registry.count("POST", UPLOADS) == 2
    assert registry.count("PATCH") == (0 if packed else 1)
    assert scene.held() == [gzip.decompress(data)] * 3
    assert len(pushed.layers) == 3


def test_a_layout_may_be_the_target(scene: PushScene, tmp_path: Path) -> None:
    out = f"oci:{tmp_path / 'out'}:1"
    digest = done(scene.push(scene.saved(IMAGE), target=out))
    assert done(scene.push(scene.saved(IMAGE), target=out), "unchanged") == digest
    assert done(scene.push(out, "copied")) == digest
    assert scene.held("copied") == TARS


def test_an_image_that_a_layout_names_by_its_digest_alone(scene: PushScene, registry: FakeRegistry) -> None:
    # Nothing says then what it is but itself.
    made = images.index([OCI])
    source = scene.layout(made).removesuffix(":1")
    assert done(scene.push(f"{source}@{OCI.digest}")) == OCI.digest
    stored = registry.manifest(WEB, "1.4")
    assert stored is not None
    assert stored.media_type == OCI_MANIFEST


# Media types


@pytest.mark.parametrize(
    ("made", "family", "types"),
    [
        (IMAGE, "oci", (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP)),
        (OCI, "docker", (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP)),
        (plain(OCI), "docker", (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP)),
        (plain(OCI), None, (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP)),
        (plain(IMAGE, docker=True), None, (DOCKER_MANIFEST, DOCKER_CONFIG, DOCKER_LAYER_GZIP)),
    ],
    ids=["to oci", "to docker", "plain to docker", "oci stays", "docker stays"],
)
def test_the_family_of_media_types(scene: PushScene, made: images.Image, family: Any, types: tuple[str, ...]) -> None:
    source = scene.layout(made)
    done(scene.push(source, packing=Packing(family=family)))
    stored = scene.stored()
    assert (stored["mediaType"], stored["config"]["mediaType"], stored["layers"][0]["mediaType"]) == types
    assert stored["config"]["digest"] == made.config_digest
    assert scene.held() == [gzip.decompress(layer) for layer in OCI.layers] or made is IMAGE
    assert done(scene.push(source, packing=Packing(family=family)), "unchanged")


@pytest.mark.parametrize(
    ("packing", "media_type"),
    [
        (Packing("none"), DOCKER_LAYER),
        (Packing("none", family="oci"), OCI_LAYER),
        (Packing("zstd", family="oci"), OCI_LAYER_ZSTD),
        (Packing("zstd", 19, "oci"), OCI_LAYER_ZSTD),
        (Packing("gzip", 9), DOCKER_LAYER_GZIP),
        (Packing(level=9), DOCKER_LAYER_GZIP),
    ],
)
def test_how_layers_are_packed(scene: PushScene, registry: FakeRegistry, packing: Packing, media_type: str) -> None:
    source = scene.saved(IMAGE)
    done(scene.push(source, packing=packing))
    layers = scene.stored()["layers"]
    assert [layer["mediaType"] for layer in layers] == [media_type] * 3
    for layer, tar in zip(layers, TARS, strict=True):
        data = registry.repository(WEB).blobs[layer["digest"]]
        assert b"".join(_unpacked(data)) == tar
    registry.reset()
    done(scene.push(source, packing=packing), "unchanged")
    assert sent(registry) == []


def _unpacked(data: bytes) -> Any:
    from manifestctl.compression import decompressed, detect

    return decompressed(iter((data,)), detect(data), "a layer")


def test_an_order_to_pack_otherwise_is_not_unchanged(scene: PushScene) -> None:
    source = scene.saved(IMAGE)
    done(scene.push(source, packing=Packing("gzip", family="oci")))
    done(scene.push(source, packing=Packing("zstd", family="oci")), "updated")
    # Without an order what is there is good.
    done(scene.push(source, packing=Packing(family="oci")), "unchanged")
    assert scene.stored()["layers"][0]["mediaType"] == OCI_LAYER_ZSTD


@pytest.mark.parametrize("kind", ["zstd", "none"])
def test_layers_that_are_packed_are_not_packed_again(scene: PushScene, registry: FakeRegistry, kind: Any) -> None:
    failed(scene.push(scene.layout(OCI), packing=Packing(kind)), 2, "compressed with gzip already")
    assert sent(registry) == []


def test_zstd_is_not_dockers(scene: PushScene, registry: FakeRegistry) -> None:
    said = failed(scene.push(scene.saved(IMAGE), packing=Packing("zstd")), 2, "zstd", "--format oci")
    assert "--compression gzip" in said
    assert sent(registry) == []


@pytest.mark.parametrize("packing", [Packing(family="docker"), Packing("gzip", family="docker")])
def test_a_hint_is_followed_once(scene: PushScene, registry: FakeRegistry, packing: Packing) -> None:
    packed = tuple(archives.packed(gzip.decompress(layer), "zstd") for layer in OCI.layers)
    source = scene.layout(relayered(OCI, packed, OCI_LAYER_ZSTD))
    said = failed(scene.push(source, packing=packing), 2, "Docker's manifest cannot hold zstd", "Pass --format oci;")
    assert "--compression gzip" not in said
    assert sent(registry) == []
    done(scene.push(source, packing=Packing(family="oci")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "zstd", "family": "docker"}, "zstd"),
        ({"level": 10}, "10"),
        ({"format": "none", "level": 1}, "level"),
    ],
)
def test_packings_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Packing(**options)


def test_annotations_are_added(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.layout(images.image("linux/amd64", annotations={"a": "1", "b": "2"}))
    done(scene.push(source, annotations={"b": "3", "c": "4"}))
    assert scene.stored()["annotations"] == {"a": "1", "b": "3", "c": "4"}
    registry.reset()
    done(scene.push(source, annotations={"b": "3", "c": "4"}), "unchanged")
    assert sent(registry) == []


def test_annotations_that_are_there_already_change_nothing(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.saved(IMAGE)
    oci = Packing(family="oci")
    done(scene.push(source, packing=oci, annotations={"a": "1"}))
    registry.reset()
    done(scene.push(source, packing=oci, annotations={"a": "1"}), "unchanged")
    pushed = scene.push(source, packing=oci, annotations={"a": "2"})
    done(pushed, "updated")
    assert [layer.how for layer in pushed.layers] == ["reused"] * 3
    assert scene.stored()["annotations"] == {"a": "2"}


def test_docker_has_no_annotations(scene: PushScene, registry: FakeRegistry) -> None:
    failed(scene.push(scene.saved(IMAGE), annotations={"a": "1"}), 2, "annotations", "--format oci")
    assert registry.tags(WEB) == {}


@pytest.mark.parametrize(
    "kind", ["application/vnd.cncf.helm.chart.content.v1.tar+gzip", "application/vnd.in-toto+json"]
)
def test_layers_that_are_no_tars_are_left_alone(scene: PushScene, kind: str) -> None:
    made = relayered(images.image("linux/amd64"), (b"something else",), kind)
    assert done(scene.push(scene.layout(made))) == made.digest


def test_layers_that_are_no_tars_have_no_counterpart(scene: PushScene) -> None:
    made = relayered(images.image("linux/amd64"), (b"something else",), "application/vnd.in-toto+json")
    failed(scene.push(scene.layout(made), packing=Packing(family="docker")), 2, "vnd.in-toto+json", "--format")


def test_an_artifact_is_pushed_as_it_is(scene: PushScene, registry: FakeRegistry) -> None:
    chart = images.image(
        "linux/amd64",
        config=b"{}",
        manifest={
            "artifactType": "application/vnd.example+json",
            "config": images.descriptor(b"{}", "application/vnd.oci.empty.v1+json"),
            "subject": images.descriptor(b"subject", OCI_MANIFEST),
        },
    )
    assert done(scene.push(scene.layout(chart))) == chart.digest
    assert registry.repository(WEB).blobs.keys() == chart.blobs.keys()
    failed(scene.push(scene.layout(chart), packing=Packing("gzip")), 2, "artifact")
    failed(scene.push(scene.layout(chart), platform=["linux/amd64"]), 3, "no platform")


@pytest.mark.parametrize("in_source", [False, True])
@pytest.mark.parametrize("family", [None, "oci"])
def test_foreign_layers(scene: PushScene, registry: FakeRegistry, family: Any, in_source: bool) -> None:
    base, top = images.image("windows/amd64:10.0.1", docker=True, layers=2, seed="foreign").layers
    made = relayered(
        images.image("windows/amd64:10.0.1", docker=True, layers=2), (base, top), FOREIGN, DOCKER_LAYER_GZIP
    )
    source = scene.layout(made)
    if not in_source:
        (scene.directory / "layout" / "blobs" / digest_of(base).replace(":", "/")).unlink()
    pushed = scene.push(source, packing=Packing(family=family))
    done(pushed)
    assert [layer.how for layer in pushed.layers] == ["sent" if in_source else "exists", "sent"]
    assert (digest_of(base) in registry.repository(WEB).blobs) == in_source
    assert scene.stored()["layers"][0]["mediaType"] == (FOREIGN if family is None else FOREIGN_OCI)


# What is wrong with the source


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize(
    ("part", "kind"), [(OCI.config, "config"), (OCI.layers[1], "layer"), (ARM.manifest, "image")], ids=lambda part: ""
)
def test_a_source_that_lacks_a_part(
    scene: PushScene, registry: FakeRegistry, archive: bool, part: bytes, kind: str
) -> None:
    """The image that was named is there, and damaged: that is no 3."""
    content = images.index([OCI, ARM]) if kind == "image" else OCI
    digest = digest_of(part)
    blob = f"blobs/{digest.replace(':', '/')}"
    if archive:
        members = archives.oci_archive({"1": content})
        del members[blob]
        source = f"oci-archive:{archives.write_archive(scene.directory / 'a.tar', members)}"
    else:
        source = scene.layout(content)
        (scene.directory / "layout" / blob).unlink()
    store = source.removesuffix(":1")
    pushed = scene.push(source, everything=kind == "image")
    failed(pushed, 1, f"{kind} {digest} of {store} is missing, though the image names it", "again")
    assert registry.tags(WEB) == {}


@pytest.mark.parametrize("name", ["FIFO", "a link"])
def test_a_layout_with_what_is_no_file_of_it(scene: PushScene, registry: FakeRegistry, name: str) -> None:
    source = scene.layout(OCI)
    blob = scene.directory / "layout" / "blobs" / digest_of(OCI.layers[1]).replace(":", "/")
    if name == "FIFO":
        blob.unlink()
        os.mkfifo(blob)
    else:
        blob.symlink_to(blob.rename(scene.directory / "outside"))
    said = failed(scene.push(source), 1, digest_of(OCI.layers[1]))
    assert ("it is not a regular file | Remove it" if name == "FIFO" else "Put the file itself in the link") in said
    assert registry.tags(WEB) == {}


def test_a_layer_of_other_bytes_is_named_by_its_file(scene: PushScene) -> None:
    members = archives.legacy_save(archives.saved(IMAGE, "web:1"))
    name = next(name for name, data in members.items() if data == TARS[1])
    path = archives.write_archive(scene.directory / "bad.tar", members | {name: bytes(len(TARS[1]))})
    for packing in (Packing(), Packing("none")):
        failed(scene.push(f"docker-archive:{path}", packing=packing), 6, f"(its file is '{name}')", "make it again")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"os": "", "architecture": ""}, "no os and no architecture"),
        ({"os": ""}, "no os;"),
        ({"architecture": ""}, "no architecture;"),
    ],
)
def test_an_image_that_no_list_could_hold(scene: PushScene, fields: dict[str, str], words: str) -> None:
    made = images.image("linux/amd64", config=json.loads(OCI.config) | fields)
    done(scene.push(scene.layout(made)))
    [said] = scene.world.heard(Warned)
    assert f"its config names {words}" in said.message
    assert "'create' refuses it (platform-missing) unless --set-platform" in said.message
    done(scene.push(scene.layout(OCI, directory="whole"), "2"))
    assert scene.world.heard(Warned) == []


# Which image


LIST = images.index([OCI, ARM])


@pytest.mark.parametrize("attested", [True, False])
def test_attestations_are_not_left_behind_in_silence(scene: PushScene, attested: bool) -> None:
    source = scene.layout(images.buildx_index([OCI, ARM], attestations=attested))
    assert done(scene.push(source, platform=["linux/arm64"])) == ARM.digest
    notes = [event.message for event in scene.world.heard(Noted)]
    assert len(notes) == attested
    if attested:
        assert notes[0].startswith(f"{source}: the list has attestations of this image")
        assert "--platform all pushes them, and so does 'manifestctl copy --platform'" in notes[0]
    done(scene.push(source, "2", everything=True))
    assert scene.world.heard(Noted) == []


@pytest.mark.parametrize(("platform", "made"), [("linux/amd64", OCI), ("linux/arm64/v8", ARM), ("linux/aarch64", ARM)])
@pytest.mark.parametrize("archive", [False, True])
def test_one_platform_of_several(scene: PushScene, platform: str, made: images.Image, archive: bool) -> None:
    source = scene.layout(LIST)
    if archive:
        path = archives.write_archive(scene.directory / "a.tar", archives.oci_archive({"1": LIST}))
        source = f"oci-archive:{path}"
    pushed = scene.push(source, platform=[platform])
    assert done(pushed) == made.digest


def test_several_platforms_need_a_choice(scene: PushScene, registry: FakeRegistry) -> None:
    text = failed(scene.push(scene.layout(LIST)), 2, "linux/amd64, linux/arm64", "--platform")
    assert "several platforms" in text
    assert sent(registry) == []


def test_a_platform_that_several_images_have(scene: PushScene) -> None:
    twice = images.index([OCI, images.image("linux/amd64", seed="other")])
    failed(scene.push(scene.layout(twice), platform=["linux/amd64"]), 2, "several images for linux/amd64")


@pytest.mark.parametrize("made", [LIST, OCI], ids=["list", "image"])
def test_a_platform_that_is_not_there(scene: PushScene, registry: FakeRegistry, made: images.Content) -> None:
    pushed = scene.push(scene.layout(made), platform=["linux/s390x"])
    failed(pushed, 3, "no image for linux/s390x", "linux/amd64")
    assert sent(registry) == []


def test_a_platform_of_the_only_image(scene: PushScene) -> None:
    assert done(scene.push(scene.layout(OCI), platform=["linux/amd64"])) == OCI.digest
    done(scene.push(scene.saved(IMAGE), "2", platform=["linux/amd64"]))


def test_entries_without_a_platform_are_read(scene: PushScene) -> None:
    entries = [images.descriptor(made.manifest, made.media_type) for made in (OCI, ARM)]
    bare = images.index([OCI, ARM], fields={"manifests": entries})
    source = scene.layout(bare)
    failed(scene.push(source), 2, "linux/amd64, linux/arm64")
    assert done(scene.push(source, platform=["linux/arm64"])) == ARM.digest


def test_a_list_without_images(scene: PushScene) -> None:
    failed(scene.push(scene.layout(images.index([]))), 3, "without images")


def test_a_list_is_pushed_whole_with_its_attestations(scene: PushScene, registry: FakeRegistry) -> None:
    whole = images.buildx_index([OCI, ARM])
    pushed = scene.push(scene.layout(whole), everything=True)
    assert done(pushed) == whole.digest
    held = registry.repository(WEB)
    for part in images.walk(whole):
        assert part.digest in held.manifests
        assert part.blobs.keys() <= held.blobs.keys()
    assert registry.manifest_puts[-1] == (WEB, "1.4")
    registry.reset()
    assert done(scene.push(scene.layout(whole), everything=True), "unchanged") == whole.digest
    assert sent(registry) == []


def test_a_list_of_one_image_is_pushed_as_it_is(scene: PushScene) -> None:
    one = images.buildx_index([OCI])
    source = scene.layout(one)
    assert done(scene.push(source)) == one.digest
    assert done(scene.push(source, "2", platform=["linux/amd64"])) == OCI.digest


@pytest.mark.parametrize("options", [{"packing": Packing("gzip")}, {"annotations": {"a": "b"}}])
def test_a_list_is_not_changed(scene: PushScene, registry: FakeRegistry, options: dict[str, Any]) -> None:
    failed(scene.push(scene.layout(LIST), everything=True, **options), 2, "is a list", "--platform")
    assert sent(registry) == []


def test_an_archive_of_several_images_needs_a_name(scene: PushScene) -> None:
    made = [archives.saved(IMAGE, "web:1"), archives.saved(images.image("linux/arm64", docker=True), "db:2")]
    path = archives.write_archive(scene.directory / "two.tar", archives.legacy_save(*made))
    failed(scene.push(f"docker-archive:{path}"), 2, "web:1", "db:2")
    done(scene.push(f"docker-archive:{path}:web:1"))
    assert scene.held() == TARS


@pytest.mark.parametrize("source", ["oci:nowhere:1", "docker-archive:nowhere.tar"])
def test_a_source_that_does_not_exist(scene: PushScene, registry: FakeRegistry, source: str) -> None:
    failed(scene.push(source), 3, "nowhere")
    assert sent(registry) == []


@pytest.mark.parametrize("target", ["docker-archive:x.tar", "oci-archive:x.tar:1"])
def test_archives_are_no_targets(scene: PushScene, target: str) -> None:
    failed(scene.push(scene.saved(IMAGE), target=target), 4, "read-only")


# Integrity


def test_a_layer_that_the_config_does_not_name(scene: PushScene, registry: FakeRegistry) -> None:
    config = json.loads(OCI.config)
    config["rootfs"]["diff_ids"][1] = digest_of(b"another layer")
    made = relayered(images.image("linux/amd64", layers=3, config=config), OCI.layers, OCI_LAYER_GZIP)
    failed(scene.push(scene.layout(plain(made))), 6, "its place", digest_of(b"another layer"))
    assert sent(registry) == []


@pytest.mark.parametrize("diff_ids", [[], ["sha256:" + "a" * 64], ["nonsense"] * 3, ["sha9:" + "a" * 64] * 3])
@pytest.mark.parametrize("packing", [Packing(), Packing("none")])
def test_diff_ids_that_cannot_be_right(scene: PushScene, diff_ids: list[str], packing: Packing) -> None:
    made = plain(images.image("linux/amd64", layers=3, config={"rootfs": {"type": "layers", "diff_ids": diff_ids}}))
    failed(scene.push(scene.layout(made), packing=packing), 6, "diff_id" if len(diff_ids) != 1 else "config")
    assert scene.registry.tags(WEB) == {}


def test_diff_ids_of_ready_layers_may_be_missing(scene: PushScene) -> None:
    made = images.image("linux/amd64", config={"rootfs": None})
    assert done(scene.push(scene.layout(made))) == made.digest


@pytest.mark.parametrize("right", [True, False])
def test_diff_ids_of_another_algorithm_are_verified(scene: PushScene, right: bool) -> None:
    import hashlib

    tars = [gzip.decompress(layer) for layer in OCI.layers]
    diff_ids = [f"sha512:{hashlib.sha512(tar).hexdigest()}" for tar in (tars if right else tars[::-1])]
    made = plain(images.image("linux/amd64", layers=3, config={"rootfs": {"type": "layers", "diff_ids": diff_ids}}))
    pushed = scene.push(scene.layout(made))
    if right:
        done(pushed)
    else:
        failed(pushed, 6, "does not hash to sha512:")
        assert scene.registry.tags(WEB) == {}


@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_layer_is_found_on_the_way(scene: PushScene, registry: FakeRegistry, packed: bool) -> None:
    made = OCI if packed else plain(OCI)
    source = scene.layout(made)
    digest = digest_of(made.layers[1])
    path = scene.directory / "layout" / "blobs" / digest.replace(":", "/")
    path.write_bytes(bytes(len(made.layers[1])))
    failed(scene.push(source), 6, digest)
    assert registry.manifest_puts == []
    assert digest not in registry.repository(WEB).blobs


def test_a_damaged_layer_of_a_saved_image(scene: PushScene, registry: FakeRegistry) -> None:
    members = archives.legacy_save(archives.saved(IMAGE, "web:1"))
    name = next(name for name, data in members.items() if data == TARS[1])
    members[name] = bytes(len(TARS[1]))
    path = archives.write_archive(scene.directory / "bad.tar", members)
    failed(scene.push(f"docker-archive:{path}"), 6, digest_of(TARS[1]))
    assert registry.manifest_puts == []


# Tags


def test_further_tags_and_latest_last(scene: PushScene, registry: FakeRegistry) -> None:
    pushed = scene.push(scene.saved(IMAGE), "latest", tags=("1.4", "1", "latest"))
    digest = done(pushed)
    assert [reference for _, reference in registry.manifest_puts] == ["1.4", "1", "latest"]
    assert registry.tags(WEB) == dict.fromkeys(("1.4", "1", "latest"), digest)
    assert [(str(state.now), state.moved, state.old) for state in pushed.tags] == [(digest, Published.YES, None)] * 3


def test_tags_that_are_right_are_left_alone(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.saved(IMAGE)
    digest = done(scene.push(source, tags=("1",)))
    registry.put(WEB, "latest", ARM)
    registry.reset()
    pushed = scene.push(source, tags=("1", "latest"))
    assert pushed.error is None
    assert registry.manifest_puts == [(WEB, "latest")]
    assert [str(state.old) for state in pushed.tags] == [digest, digest, ARM.digest]
    registry.reset()
    assert done(scene.push(source, tags=("1", "latest")), "unchanged") == digest
    assert sent(registry) == []


@pytest.mark.parametrize("own", ["1.4", "latest"])
@pytest.mark.parametrize("made", [OCI, plain(OCI)], ids=["ready", "plain"])
def test_no_overwrite_is_heeded_before_anything_is_sent(
    scene: PushScene, registry: FakeRegistry, own: str, made: images.Image
) -> None:
    registry.put(WEB, "1.4", ARM)
    registry.reset()
    pushed = scene.push(scene.layout(made), own, tags=("1.4", "new"), no_overwrite=True)
    failed(pushed, 7, "1.4", ARM.digest, "--no-overwrite")
    assert sent(registry) == []
    assert registry.tags(WEB) == {"1.4": ARM.digest}


def test_a_further_tag_that_may_hold_the_same_is_looked_at_before_any_moves(
    scene: PushScene, registry: FakeRegistry
) -> None:
    """Its config is ours, so that only what is composed in the end tells whether it holds that."""
    one, two = (relayered(IMAGE, tuple(gzip.compress(x, n, mtime=n) for x in TARS), DOCKER_LAYER_GZIP) for n in (1, 9))
    registry.put(WEB, "1", one)
    registry.put(WEB, "2", two)
    registry.reset()
    failed(scene.push(scene.saved(IMAGE), "3", tags=("1", "2"), no_overwrite=True), 7, ":2 holds", "--no-overwrite")
    assert registry.manifest_puts == []
    assert done(scene.push(scene.saved(IMAGE), "3", tags=("1",), no_overwrite=True)) == one.digest


def test_no_overwrite_of_what_is_there_already(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.saved(IMAGE)
    done(scene.push(source, no_overwrite=True))
    done(scene.push(source, no_overwrite=True), "unchanged")


@pytest.mark.parametrize(("own", "others"), [("1.4", ("latest",)), ("latest", ("1.4", "1.3"))])
def test_expect_is_about_the_targets_own_tag(
    scene: PushScene, registry: FakeRegistry, own: str, others: tuple[str, ...]
) -> None:
    registry.put(WEB, own, ARM)
    registry.put(WEB, others[0], images.image("linux/arm64", seed="other"))
    source = scene.saved(IMAGE)
    registry.reset()
    failed(scene.push(source, own, tags=others, expect=OCI.digest), 7, f":{own} holds", "--expect")
    assert sent(registry) == []
    pushed = scene.push(source, own, tags=others, expect=ARM.digest)
    assert pushed.error is None
    assert set(registry.tags(WEB).values()) == {done(scene.push(source, own, tags=others), "unchanged")}


def test_expect_of_a_tag_that_does_not_exist(scene: PushScene, registry: FakeRegistry) -> None:
    failed(scene.push(scene.saved(IMAGE), expect=OCI.digest), 7, "holds nothing")
    assert sent(registry) == []


def test_a_further_tag_that_fails_is_told(scene: PushScene, registry: FakeRegistry) -> None:
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="manifests/latest", times=FOREVER)
    pushed = scene.push(scene.saved(IMAGE), tags=("latest",))
    assert (pushed.exit_code, pushed.status, pushed.published) == (10, "failed", Published.YES)
    assert [state.moved for state in pushed.tags] == [Published.YES, Published.NO]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tags": ("no tag",)}, "no tag"),
        ({"by_digest": True, "tags": ("1",)}, "--by-digest"),
        ({"by_digest": True, "no_overwrite": True}, "--by-digest"),
        ({"no_overwrite": True, "expect": OCI.digest}, "--expect"),
        ({"target": f"example.com/web@{OCI.digest}"}, "digest"),
    ],
)
def test_requests_that_make_no_sense(scene: PushScene, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        scene.push("oci:layout:1", **options)


# By digest


def test_by_digest(scene: PushScene, registry: FakeRegistry) -> None:
    source = scene.saved(IMAGE)
    pushed = scene.push(source, None, by_digest=True)
    digest = done(pushed)
    assert pushed.tags == []
    assert registry.tags(WEB) == {}
    assert registry.manifest_puts == [(WEB, digest)]
    assert scene.held(digest) == TARS
    again = scene.push(source, None, by_digest=True)
    assert done(again, "unchanged") == digest


def test_by_digest_with_answers_that_are_lost(scene: PushScene, registry: FakeRegistry) -> None:
    registry.faults.add(after_serving(status(503)), method="PUT", path="/manifests/")
    assert done(scene.push(scene.saved(IMAGE), None, by_digest=True), "created")


def test_by_digest_with_an_answer_that_is_lost_for_good(scene: PushScene, registry: FakeRegistry) -> None:
    def last_word(exchange: Any) -> Any:
        exchange.serve()
        registry.faults.add(status(503), times=FOREVER)
        return status(500)(exchange)

    registry.faults.add(last_word, method="PUT", path="/manifests/")
    pushed = scene.push(scene.saved(IMAGE), None, by_digest=True)
    assert (pushed.exit_code, pushed.published) == (5, Published.UNKNOWN)


def test_by_digest_looks_at_the_tag_that_is_named(scene: PushScene, registry: FakeRegistry) -> None:
    other = relayered(IMAGE, tuple(gzip.compress(tar, 9, mtime=7) for tar in TARS), DOCKER_LAYER_GZIP)
    registry.put(WEB, "1.4", other)
    assert done(scene.push(scene.saved(IMAGE), by_digest=True), "unchanged") == other.digest
    assert sent(registry) == []


def test_a_list_by_digest(scene: PushScene, registry: FakeRegistry) -> None:
    whole = images.buildx_index([OCI, ARM])
    assert done(scene.push(scene.layout(whole), None, by_digest=True, everything=True)) == whole.digest
    assert registry.manifest_puts[-1] == (WEB, whole.digest)


def test_a_registry_that_is_behind_itself_is_asked_again(scene: PushScene, registry: FakeRegistry) -> None:
    registry.faults.add(lag(3, missing=True), method="GET", path="manifests/sha256:", times=FOREVER)
    done(scene.push(scene.layout(OCI), None, by_digest=True))
    assert scene.world.slept


def test_what_a_registry_loses_is_told(scene: PushScene, registry: FakeRegistry) -> None:
    registry.faults.add(error(404, "MANIFEST_UNKNOWN", "no"), method="GET", path="manifests/sha256:", times=FOREVER)
    pushed = scene.push(scene.layout(OCI), None, by_digest=True)
    assert (pushed.exit_code, pushed.status) == (5, "failed")
    assert pushed.error is not None
    assert "after 15 s it still does not exist" in pushed.error.message


# Registries that fail


def test_a_registry_that_dies_in_the_middle_of_a_layer(scene: PushScene, registry: FakeRegistry) -> None:
    registry.faults.add(reset(), method="PATCH", times=FOREVER)
    failed(scene.push(scene.saved(IMAGE)), 5, "layer sha256:")
    assert registry.manifest_puts == []
    assert registry.tags(WEB) == {}


@pytest.mark.parametrize(
    ("action", "code", "words"),
    [
        (error(405, "UNSUPPORTED", "The operation is unsupported."), 4, "does not accept writes"),
        (error(403, "DENIED", "no push for you"), 4, "no push for you"),
        (error(400, "LIMIT", "your quota of storage is exceeded"), 4, "quota"),
        (error(404, "NAME_UNKNOWN", "repository does not exist"), 3, "repository does not exist"),
    ],
    ids=["read-only", "denied", "quota", "no repository"],
)
def test_registries_that_refuse(scene: PushScene, registry: FakeRegistry, action: Any, code: int, words: str) -> None:
    registry.faults.add(action, method="POST", path=UPLOADS, times=FOREVER)
    for source in (scene.layout(OCI), scene.saved(IMAGE)):
        failed(scene.push(source), code, words)
        assert registry.tags(WEB) == {}
        assert scene.world.heard(Retried) == []


@pytest.mark.parametrize("source", ["layout", "archive"])
@pytest.mark.parametrize(
    ("action", "code", "posts"),
    [(error(403, "DENIED", "no push for you"), 4, 4), (status(503), 5, 20)],
    ids=["denied", "failing"],
)
def test_after_a_refused_upload_no_other_begins(
    scene: PushScene, registry: FakeRegistry, source: str, action: Any, code: int, posts: int
) -> None:
    made = images.image("linux/amd64", docker=True, layers=40)
    registry.faults.add(action, method="POST", path=UPLOADS, times=FOREVER)
    scene.settings = type(scene.settings)(concurrency=4)
    pushed = scene.push(scene.layout(made) if source == "layout" else scene.saved(made), concurrency=4)
    failed(pushed, code)
    # Only what was under way: a thread, an upload; with five tries of each where trying again may help.
    assert 1 <= registry.count("POST") <= posts
    # What is ready to be sent is looked for in one wave, before anything is sent.
    assert registry.count("HEAD", BLOBS) == (41 if source == "layout" else 1)


def test_a_repository_that_may_not_be_read_is_asked_once_a_thread(scene: PushScene, registry: FakeRegistry) -> None:
    made = images.image("linux/amd64", layers=40)
    registry.faults.add(error(403, "DENIED", "no"), method="HEAD|GET", times=FOREVER)
    scene.settings = type(scene.settings)(concurrency=4)
    failed(scene.push(scene.layout(made), concurrency=4), 4, "DENIED")
    assert registry.count("HEAD|GET", "/v2/team/") <= 8


def test_a_read_only_registry_that_has_the_blobs(scene: PushScene, registry: FakeRegistry) -> None:
    registry.put(WEB, "1.3", OCI)
    registry.faults.add(error(405, "UNSUPPORTED", "The operation is unsupported."), method="PUT", times=FOREVER)
    failed(scene.push(scene.layout(OCI)), 4, "does not accept writes")
    assert scene.world.heard(Retried) == []


def test_what_broke_is_sent_again(scene: PushScene, registry: FakeRegistry) -> None:
    registry.faults.add(reset(), method="PATCH")
    registry.faults.add(status(503), method="PUT", path=UPLOADS)
    done(scene.push(scene.saved(IMAGE)))
    assert scene.held() == TARS
    assert len(scene.world.heard(Retried)) == 2
    # A second pass begins anew, and says so.
    assert len(scene.world.heard(BlobStarted)) > 3


def test_a_token_that_expires_in_the_middle(tmp_path: Path) -> None:
    with FakeRegistry(auth=BearerAuth(uses=3)) as registry:
        scene = PushScene(registry, tmp_path)
        scene.settings = type(scene.settings)(concurrency=1)
        done(scene.push(scene.saved(IMAGE), concurrency=1))
        assert scene.held() == TARS
        assert any(recorded.status == 401 for recorded in registry.find("PATCH|PUT"))
        assert isinstance(registry.auth, BearerAuth)
        assert len(registry.auth.requests) > 3


def test_a_refusal_in_the_middle_of_a_stream_is_answered_by_the_whole_stream(
    scene: PushScene, registry: FakeRegistry
) -> None:
    registry.faults.add(unauthorized(None), method="PATCH")
    failed(scene.push(scene.saved(IMAGE)), 4, "401")
    assert registry.tags(WEB) == {}


def test_an_answer_before_everything_was_sent(scene: PushScene, registry: FakeRegistry) -> None:
    registry.faults.add(respond(lambda: Response(202, b"", {"Location": "/v2/x/blobs/uploads/y"})), method="PATCH")
    done(scene.push(scene.saved(IMAGE)))
    assert scene.held() == TARS


def test_an_interrupted_push(scene: PushScene, registry: FakeRegistry) -> None:
    def interrupt() -> Response:
        scene.world.cancel.set(2)
        return Response(503)

    registry.faults.add(respond(interrupt), method="POST", path=UPLOADS)
    pushed = scene.push(scene.saved(IMAGE))
    assert pushed.exit_code == 130
    assert pushed.published == Published.NO
    assert registry.tags(WEB) == {}


def test_an_interrupt_while_the_tag_is_written(scene: PushScene, registry: FakeRegistry) -> None:
    def interrupt() -> Response:
        scene.world.cancel.set(15)
        return Response(503)

    registry.faults.add(respond(interrupt), method="PUT", path="manifests/")
    pushed = scene.push(scene.saved(IMAGE))
    assert (pushed.exit_code, pushed.published) == (143, Published.UNKNOWN)


def test_another_writer_between(scene: PushScene, registry: FakeRegistry) -> None:
    registry.put(WEB, "1.4", ARM)

    def other() -> Response:
        registry.put(WEB, "1.4", OCI)
        return Response(503)

    registry.faults.add(respond(other), method="POST", path=UPLOADS)
    pushed = scene.push(scene.saved(IMAGE), expect=ARM.digest)
    failed(pushed, 7, OCI.digest)
    assert isinstance(pushed.error, ConflictError)
    assert registry.tag(WEB, "1.4") == OCI.digest


def test_ready_and_plain_layers_in_one_image(scene: PushScene, registry: FakeRegistry) -> None:
    layers = (OCI.layers[0], *(gzip.decompress(layer) for layer in OCI.layers[1:]))
    source = scene.layout(relayered(OCI, layers, OCI_LAYER_GZIP, OCI_LAYER, OCI_LAYER))
    pushed = scene.push(source)
    done(pushed)
    assert [layer.how for layer in pushed.layers] == ["sent", "packed", "packed"]
    assert scene.stored()["layers"][0]["digest"] == digest_of(OCI.layers[0])
    registry.reset()
    done(scene.push(source), "unchanged")
    assert sent(registry) == []


def test_what_the_target_has_in_the_place_of_a_layer_must_be_one(scene: PushScene, registry: FakeRegistry) -> None:
    registry.put(WEB, "1.4", relayered(IMAGE, (*IMAGE.layers[:2], b"{}"), *[DOCKER_LAYER_GZIP] * 2, "a/b"))
    pushed = scene.push(scene.saved(IMAGE))
    done(pushed, "updated")
    assert [layer.how for layer in pushed.layers] == ["reused", "reused", "packed"]


def test_many_tags_are_given_in_parallel_and_latest_last(scene: PushScene) -> None:
    tags = tuple(f"t{number}" for number in range(40))
    pushed = scene.push(scene.saved(IMAGE), "1.4", tags=(*tags, "latest"))
    digest = done(pushed)
    assert {scene.registry.tag(WEB, name) for name in ("1.4", *tags, "latest")} == {digest}
    written = [name for _, name in scene.registry.manifest_puts]
    assert written[0] == "1.4"
    assert written[-1] == "latest"
    assert len(written) == 42
    puts = scene.registry.find("PUT", "/manifests/t")
    assert len({request.connection_id for request in puts}) > 1


def test_a_further_tag_that_fails_is_named(scene: PushScene) -> None:
    scene.registry.faults.add(error(403, "DENIED", "this one is not for you"), method="PUT", path="/manifests/t2$")
    pushed = scene.push(scene.saved(IMAGE), "1.4", tags=("t1", "t2", "latest"))
    assert pushed.exit_code == 10
    assert pushed.published == Published.YES
    assert pushed.error is not None
    assert "t2" in pushed.error.message
    assert "this one is not for you" in pushed.error.message
    # What goes last stays where it is if something before it failed.
    assert scene.registry.tag(WEB, "latest") is None
