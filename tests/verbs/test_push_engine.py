"""Pushing out of an engine: what is asked before an image is brought here, and what need not be brought here at all."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.events import BlobStarted, Noted
from manifestctl.model.location import EngineLocation
from manifestctl.model.media_types import DOCKER_LAYER_GZIP, OCI_MANIFEST
from manifestctl.model.platforms import Platform
from manifestctl.verbs.push_request import Packing
from tests.support import images
from tests.support.actions import reset
from tests.support.archives import legacy_save, saved, write_archive
from tests.support.fake_auth import BearerAuth
from tests.support.fake_engine import FakeEngine
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.verbs.pushing_scene import BLOBS, WEB, PushScene, done, failed, plain, relayered, sent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fake_engine import Flavour

IMAGE = images.image("linux/amd64", docker=True, layers=3)
OTHER = images.image("linux/amd64", docker=True, layers=2, seed="other")
OCI = images.image("linux/amd64", layers=3)
ARM = images.image("linux/arm64", layers=2)
LIST = images.index([OCI, ARM])
ATTESTED = images.buildx_index([OCI, ARM])
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NOWHERE = f"sha256:{'0' * 64}"

PLAIN_ENGINES: list[tuple[Flavour, str]] = [("graph-driver", "1.41"), ("podman", "1.41")]
"""Engines whose ids are those of configs."""


class EngineScene(PushScene):
    """A scene with an engine beside the registry."""

    def __init__(self, registry: FakeRegistry, directory: Path, engine: FakeEngine) -> None:
        super().__init__(registry, directory)
        self.engine = engine
        self.environ = {"DOCKER_HOST": engine.address}

    @property
    def exports(self) -> int:
        return sum(path.partition("?")[0].endswith("/get") for path in self.engine.asked())


@pytest.fixture(params=PLAIN_ENGINES, ids=lambda param: param[0])
def scene(request: pytest.FixtureRequest, registry: FakeRegistry, tmp_path: Path) -> Iterator[EngineScene]:
    """Return a scene with an engine that makes a manifest only when it exports an image."""
    with FakeEngine(*request.param) as engine:
        yield EngineScene(registry, tmp_path, engine)


@pytest.fixture
def containerd(registry: FakeRegistry, tmp_path: Path) -> Iterator[EngineScene]:
    with FakeEngine("containerd") as engine:
        yield EngineScene(registry, tmp_path, engine)


def added(scene: EngineScene, content: images.Content = IMAGE, name: str = "x/web:1") -> str:
    scene.engine.add(content, name)
    return f"docker-daemon:{name}"


# What is there already stays in the engine


@pytest.mark.parametrize("packing", [None, Packing(family="oci"), Packing("zstd", family="oci"), Packing(level=9)])
def test_again_nothing_is_exported(scene: EngineScene, registry: FakeRegistry, packing: Packing | None) -> None:
    source = added(scene)
    first = done(scene.push(source, packing=packing))
    assert scene.exports == 1
    registry.reset()
    pushed = scene.push(source, packing=packing)
    assert done(pushed, "unchanged") == first
    assert scene.exports == 1
    assert sent(registry) == []
    # The tag, the config, and whether the layers are there: as many requests as of an archive.
    assert (registry.count("GET"), registry.count("HEAD", BLOBS)) == (2, 3)
    assert [layer.how for layer in pushed.layers] == ["exists"] * 3
    assert str(pushed.platform) == "linux/amd64"
    assert scene.world.heard(BlobStarted) == []


def test_another_tag_gets_the_manifest_alone(scene: EngineScene, registry: FakeRegistry) -> None:
    source = added(scene)
    first = done(scene.push(source))
    registry.reset()
    done(scene.push(source, tags=("2", "latest")), "updated")
    assert registry.tags(WEB) == dict.fromkeys(("1.4", "2", "latest"), first)
    assert sent(registry) == ["PUT"] * 2
    assert scene.exports == 1


@pytest.mark.parametrize("tag", ["1.4", None])
def test_by_digest_a_tag_tells_what_is_there(scene: EngineScene, registry: FakeRegistry, tag: str | None) -> None:
    source = added(scene)
    first = done(scene.push(source, tag or "latest"))
    registry.reset()
    assert done(scene.push(source, tag, by_digest=True), "unchanged") == first
    assert scene.exports == 1
    assert sent(registry) == []


@pytest.mark.parametrize("damage", [b"", b"{}"])
def test_by_digest_the_tag_may_hold_anything(scene: EngineScene, registry: FakeRegistry, damage: bytes) -> None:
    registry.put_raw_manifest(WEB, "latest", damage, OCI_MANIFEST)
    done(scene.push(added(scene), None, by_digest=True))


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/x86_64"])
def test_a_platform_that_fits_changes_nothing(scene: EngineScene, platform: str) -> None:
    source = added(scene)
    done(scene.push(source))
    done(pushed := scene.push(source, platform=[platform]), "unchanged")
    assert str(pushed.platform) == "linux/amd64"
    assert scene.exports == 1


def test_a_variant_that_podman_does_not_tell_is_compared(registry: FakeRegistry, tmp_path: Path) -> None:
    arm = images.image("linux/arm/v7", docker=True)
    with FakeEngine("podman", "1.41") as engine:
        scene = EngineScene(registry, tmp_path, engine)
        source = added(scene, arm)
        done(scene.push(source))
        failed(scene.push(source, platform=["linux/arm/v6"]), 3, "there is no image for linux/arm/v6")
        assert scene.exports == 1


# What would be something else is exported


@pytest.mark.parametrize(
    "change",
    [
        {"packing": Packing("zstd", family="oci")},
        {"packing": Packing(family="oci")},
        {"packing": Packing(family="oci"), "annotations": {"a": "1"}},
        {"packing": Packing("none")},
    ],
    ids=["zstd", "oci", "annotation", "none"],
)
def test_what_is_asked_for_otherwise_is_made(scene: EngineScene, change: dict[str, Any]) -> None:
    source = added(scene)
    done(scene.push(source))
    done(scene.push(source, **change), "updated")
    assert scene.exports == 2


def test_an_image_without_compression_is_compared_byte_for_byte(scene: EngineScene) -> None:
    source = added(scene)
    done(scene.push(source, packing=Packing("none")))
    done(scene.push(source, packing=Packing("none")), "unchanged")
    # How large the layers are nobody tells before.
    assert scene.exports == 2


def test_a_layer_that_is_gone_is_brought(scene: EngineScene, registry: FakeRegistry) -> None:
    source = added(scene)
    first = done(scene.push(source))
    gone = scene.stored()["layers"][1]["digest"]
    del registry.repository(WEB).blobs[gone]
    registry.reset()
    pushed = scene.push(source)
    assert done(pushed, "unchanged") == first
    assert [layer.how for layer in pushed.layers] == ["reused", "packed", "reused"]
    assert scene.exports == 2
    # Nothing is asked twice.
    assert registry.count("HEAD", BLOBS) == 3


@pytest.mark.parametrize("held", [b"something else", None])
def test_a_config_that_is_not_there_is_brought(scene: EngineScene, registry: FakeRegistry, held: bytes | None) -> None:
    source = added(scene)
    first = done(scene.push(source))
    blobs = registry.repository(WEB).blobs
    if held is None:
        del blobs[IMAGE.config_digest]
        assert done(scene.push(source), "unchanged") == first
        assert blobs[IMAGE.config_digest] == IMAGE.config
    else:
        blobs[IMAGE.config_digest] = held
        failed(scene.push(source), 6, IMAGE.config_digest)
    assert scene.exports == 2


@pytest.mark.parametrize("diff_id", ["sha256:x", "md5:0123"])
def test_a_config_that_names_its_layers_wrongly_is_judged_when_it_is_here(scene: EngineScene, diff_id: str) -> None:
    config = {"rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    made = relayered(images.image("linux/amd64", docker=True, config=config), (IMAGE.layers[0],), DOCKER_LAYER_GZIP)
    scene.registry.put(WEB, "1.4", made)
    failed(scene.push(added(scene, made)), 1, "diff_id")
    assert scene.exports == 1


def test_another_image_is_exported_once(scene: EngineScene, registry: FakeRegistry) -> None:
    done(scene.push(added(scene)))
    registry.reset()
    done(scene.push(added(scene, OTHER, "x/web:2")), "updated")
    assert scene.exports == 2
    assert registry.count("GET", "/manifests/1.4") == 2


# The target is asked before anything is exported


def test_whoever_may_not_read_the_target_is_told_so_first(tmp_path: Path) -> None:
    auth = BearerAuth(users={"ci": "secret"}, anonymous=None)
    for tag in ("1", None):
        with FakeRegistry(auth=auth) as registry, FakeEngine() as engine:
            scene = EngineScene(registry, tmp_path, engine)
            failed(scene.push(added(scene), tag, by_digest=tag is None), 4)
            assert scene.exports == 0


def test_a_host_that_does_not_answer_is_found_first(scene: EngineScene, registry: FakeRegistry) -> None:
    registry.faults.add(reset(), times=FOREVER)
    failed(scene.push(added(scene)), 5)
    assert scene.exports == 0


@pytest.mark.parametrize("guard", [{"no_overwrite": True}, {"expect": NOWHERE}])
def test_a_conflict_is_found_first(scene: EngineScene, registry: FakeRegistry, guard: dict[str, Any]) -> None:
    held = registry.put(WEB, "1.4", OTHER)
    failed(scene.push(added(scene), **guard), 7, held)
    assert scene.exports == 0
    # What the tag holds may be this very image.
    registry.put(WEB, "1.4", IMAGE)
    assert scene.push(added(scene), no_overwrite=True).exit_code == 0
    assert scene.exports == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [({"annotations": {"a": "1"}}, "annotations"), ({"packing": Packing("zstd")}, "cannot hold zstd layers")],
)
def test_what_dockers_manifest_cannot_hold_is_known_first(
    scene: EngineScene, options: dict[str, Any], said: str
) -> None:
    failed(scene.push(added(scene), **options), 2, said, "--format oci")
    assert scene.exports == 0


def test_an_image_that_is_not_in_the_engine_is_missed_before_the_target_is_asked(
    scene: EngineScene, registry: FakeRegistry
) -> None:
    failed(scene.push("docker-daemon:x/absent:1"), 3, "there is no image 'x/absent:1'")
    assert registry.requests == []


@pytest.mark.parametrize("kind", ["none", "gzip"])
def test_an_archive_that_must_be_unpacked_waits_for_the_target_too(tmp_path: Path, kind: Any) -> None:
    path = write_archive(tmp_path / "x.tar", legacy_save(saved(IMAGE, "web:1")), kind)
    with FakeRegistry(auth=BearerAuth(users={"ci": "secret"}, anonymous=None)) as registry:
        scene = PushScene(registry, tmp_path)
        failed(scene.push(f"docker-archive:{path}"), 4)
        assert scene.world.heard(BlobStarted) == []


# The containerd image store: ids are those of manifests and lists


@pytest.mark.parametrize("content", [OCI, IMAGE], ids=["oci", "docker"])
def test_what_the_target_holds_stands_in_for_the_engine(
    containerd: EngineScene, registry: FakeRegistry, content: images.Image
) -> None:
    source = added(containerd, content)
    assert done(containerd.push(source)) == content.digest
    registry.reset()
    pushed = containerd.push(source)
    assert done(pushed, "unchanged") == content.digest
    assert containerd.exports == 1
    assert sent(registry) == []
    # The tag, the config, and whether the layers are there.
    assert (registry.count("GET"), registry.count("HEAD", BLOBS)) == (2, 3)
    assert [layer.how for layer in pushed.layers] == ["exists"] * 3
    assert str(pushed.platform) == "linux/amd64"
    assert done(containerd.push(source, tags=("2",)), "updated") == content.digest
    assert containerd.exports == 1


def test_only_what_the_target_lacks_is_taken_from_the_engine(containerd: EngineScene, registry: FakeRegistry) -> None:
    source = added(containerd, OCI)
    done(containerd.push(source))
    blobs = registry.repository(WEB).blobs
    for gone in (images.digest_of(OCI.layers[1]), OCI.config_digest):
        del blobs[gone]
        assert done(containerd.push(source), "unchanged") == OCI.digest
        assert gone in blobs
    assert containerd.exports == 3


@pytest.mark.parametrize("made", [LIST, ATTESTED], ids=["list", "attested"])
def test_a_list_is_not_exported_again(containerd: EngineScene, registry: FakeRegistry, made: images.Index) -> None:
    added(containerd, made)
    location = EngineLocation("x/web:1", every=True)
    assert done(containerd.push(location, everything=True)) == made.digest
    registry.reset()
    pushed = containerd.push(location, everything=True)
    assert done(pushed, "unchanged") == made.digest
    assert (sent(registry), containerd.exports) == ([], 1)
    assert [str(platform) for platform in pushed.platforms] == ["linux/amd64", "linux/arm64"]
    del registry.repository(WEB).manifests[ARM.digest]
    assert done(containerd.push(location, everything=True), "unchanged") == made.digest
    assert registry.manifest(WEB, ARM.digest) is not None
    assert containerd.exports == 2


def test_one_image_of_a_list_is_not_exported_again(containerd: EngineScene, registry: FakeRegistry) -> None:
    added(containerd, ATTESTED)
    location = EngineLocation("x/web:1", Platform("linux", "arm64"))
    for status, exports in (("created", 1), ("unchanged", 1)):
        pushed = containerd.push(location, platform=["linux/arm64"])
        assert done(pushed, status) == ARM.digest
        assert containerd.exports == exports
        [said] = [event.message for event in containerd.world.heard(Noted) if "attestations" in event.message]
        # An engine's image cannot be copied.
        assert said.endswith("which are not pushed with it; --platform all pushes them")


def test_plain_layers_are_still_packed(containerd: EngineScene, registry: FakeRegistry) -> None:
    source = added(containerd, plain(OCI))
    done(containerd.push(source))
    assert containerd.held() == [gzip.decompress(layer) for layer in OCI.layers]
    # The tag holds what became of it, and not what the engine has.
    done(containerd.push(source), "unchanged")
    assert containerd.exports == 2


@pytest.mark.parametrize("there", [False, True])
def test_foreign_layers_are_no_reason_to_export(containerd: EngineScene, registry: FakeRegistry, there: bool) -> None:
    base, top = images.image("windows/amd64:10.0.1", docker=True, layers=2, seed="foreign").layers
    made = relayered(
        images.image("windows/amd64:10.0.1", docker=True, layers=2), (base, top), FOREIGN, DOCKER_LAYER_GZIP
    )
    source = added(containerd, made)
    registry.put(WEB, "1.4", made)
    if not there:
        del registry.repository(WEB).blobs[images.digest_of(base)]
    done(containerd.push(source), "unchanged")
    # One that could be sent is.
    assert containerd.exports == (0 if there else 1)
    assert images.digest_of(base) in registry.repository(WEB).blobs


def test_an_older_containerd_store_leaves_the_choice_to_the_archive(registry: FakeRegistry, tmp_path: Path) -> None:
    with FakeEngine("containerd", "1.44") as engine:
        scene = EngineScene(registry, tmp_path, engine)
        added(scene, LIST)
        location = EngineLocation("x/web:1", Platform("linux", "arm64"))
        for status in ("created", "unchanged"):
            assert done(scene.push(location, platform=["linux/arm64"]), status) == ARM.digest


# Images that are elsewhere


@pytest.mark.parametrize("there_is_an_engine", [True, False])
def test_an_image_in_a_registry_is_copied(scene: EngineScene, registry: FakeRegistry, there_is_an_engine: bool) -> None:
    if not there_is_an_engine:
        scene.environ = {"DOCKER_HOST": f"unix://{scene.directory}/none.sock"}
    target = registry.reference(WEB, "1.4")
    for name in ("docker.io/library/alpine:3", registry.reference("team/api", "1.0")):
        said = failed(scene.push(f"docker-daemon:{name}"), 3 if there_is_an_engine else 5)
        assert f"To bring it from its registry, run 'manifestctl copy {name} {target}'. " in said
    for location in ("docker-daemon:alpine:3", "docker-daemon:team/api:1"):
        assert "manifestctl copy" not in failed(scene.push(location), 3 if there_is_an_engine else 5)


def test_a_zstd_image_of_podman(registry: FakeRegistry, tmp_path: Path) -> None:
    with FakeEngine("podman", "1.41") as engine:
        scene = EngineScene(registry, tmp_path, engine)
        source = added(scene, images.repacked(OCI, "zstd"))
        first = done(scene.push(source))
        assert scene.held() == [gzip.decompress(layer) for layer in OCI.layers]
        assert scene.stored()["mediaType"] == OCI_MANIFEST
        assert json.loads(registry.repository(WEB).blobs[OCI.config_digest]) == json.loads(OCI.config)
        assert done(scene.push(source), "unchanged") == first
