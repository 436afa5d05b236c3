"""`inspect`: what a reference holds, as a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import DocumentError, InterruptedRun, NotFoundError
from manifestctl.model.location import parse_location
from manifestctl.model.manifest import Index, Manifest
from manifestctl.model.media_types import DOCKER_SCHEMA_1_SIGNED, OCI_INDEX, OCI_MANIFEST
from manifestctl.model.platforms import Platform
from manifestctl.stores.locate import Stores
from manifestctl.verbs.inspect import MAX_LAYERS, Inspected, Node, inspect, read
from manifestctl.verbs.reader import MAX_ENTRIES
from tests.support import images
from tests.support.actions import error, status, wrong_bytes
from tests.support.faults import FOREVER
from tests.support.world import World
from tests.verbs.scene import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry

AMD64, ARM64 = images.image("linux/amd64", layers=2), images.image("linux/arm64")
ALL = [AMD64, ARM64, images.image("linux/arm64/v9"), images.image("windows/amd64:10.0.17763.1")]


def look(reference: str, platform: str = "", world: World | None = None) -> Inspected:
    """Inspect a reference."""
    world = world or World()
    wanted = Platform.parse(platform) if platform else None
    with Stores.of_system(world.runtime) as stores:
        return inspect(parse_location(reference), stores, world.runtime, wanted)


def raw(reference: str, platform: str = "") -> bytes:
    """Return the stored bytes of a reference."""
    with Stores.of_system(World().runtime) as stores:
        return read(parse_location(reference), stores, Platform.parse(platform) if platform else None).raw


def shape(node: Node) -> Any:
    """Return a node as platform, and what is under it."""
    inner = [*map(shape, node.attestations), *map(shape, node.entries)]
    return (node.platform.shown if node.platform else None, inner)


@pytest.mark.parametrize("in_layout", [False, True])
def test_a_list_is_a_tree_with_attestations_under_their_images(
    registry: FakeRegistry, tmp_path: Path, in_layout: bool
) -> None:
    index = images.buildx_index([AMD64, ARM64])
    registry.put(REPOSITORY, "list", index)
    images.write_layout(tmp_path, {"list": index})
    inspected = look(f"oci:{tmp_path}:list" if in_layout else registry.reference(REPOSITORY, "list"))
    assert shape(inspected.root) == (
        None,
        [("linux/amd64", [("unknown/unknown", [])]), ("linux/arm64", [("unknown/unknown", [])])],
    )
    assert inspected.findings == []
    assert inspected.content.raw == index.manifest
    root, image = inspected.root, inspected.root.entries[0]
    assert (str(root.descriptor.digest), root.descriptor.media_type) == (index.digest, OCI_INDEX)
    assert isinstance(image.manifest, Manifest)
    assert [layer.size for layer in image.manifest.layers] == [len(layer) for layer in AMD64.layers]
    assert image.attestations[0].predicates == [images.SBOM, images.PROVENANCE]
    assert image.predicates == []
    # The list says the platforms, so no config is read.
    assert image.config is None
    if not in_layout:
        assert (registry.count("GET", "/manifests/"), registry.count("GET", "/blobs/")) == (5, 0)


def test_an_image_shows_its_config(registry: FakeRegistry) -> None:
    registry.put_image(REPOSITORY, "a", "linux/arm/v7", labels={"build": "7"})
    inspected = look(registry.reference(REPOSITORY, "a"))
    assert shape(inspected.root) == ("linux/arm/v7", [])
    assert inspected.root.config is not None
    assert (inspected.root.config.labels, inspected.root.config.created) == ({"build": "7"}, images.CREATED)


def test_an_entry_without_a_platform_shows_its_configs(registry: FakeRegistry) -> None:
    registry.put(REPOSITORY, None, AMD64)
    registry.put_index(REPOSITORY, "list", [AMD64.descriptor(platform=None)])
    assert shape(look(registry.reference(REPOSITORY, "list")).root) == (None, [("linux/amd64", [])])


def test_lists_in_lists_are_shown_one_level_deep(registry: FakeRegistry) -> None:
    inner = images.buildx_index([ARM64])
    deepest = images.index([images.index([images.index([AMD64])])])
    registry.put_index(REPOSITORY, "list", [AMD64, inner, deepest])
    root = look(registry.reference(REPOSITORY, "list")).root
    assert shape(root) == (
        None,
        [
            ("linux/amd64", []),
            (None, [("linux/arm64", [("unknown/unknown", [])])]),
            (None, [(None, [])]),
        ],
    )
    assert isinstance(root.entries[2].entries[0].manifest, Index)


def test_what_is_named_many_times_is_read_once(registry: FakeRegistry) -> None:
    inner = images.index([AMD64, ARM64, AMD64.descriptor(platform=None)] * 10)
    registry.put_index(REPOSITORY, "list", [inner] * 10)
    root = look(registry.reference(REPOSITORY, "list")).root
    assert [len(node.entries) for node in root.entries] == [30] * 10
    assert shape(root.entries[9]) == (None, [("linux/amd64", []), ("linux/arm64", []), ("linux/amd64", [])] * 10)
    # The list, the list in it, its two images, and the config of the one whose platform is not said once.
    assert (registry.count("GET", "/manifests/"), registry.count("GET", "/blobs/")) == (4, 1)


def test_lists_of_lists_do_not_grow_without_end(registry: FakeRegistry) -> None:
    """A list of n lists of n images has n times n entries, though little is read."""
    inner = images.index([AMD64.descriptor()] * 400)
    for content in (AMD64, inner):
        registry.put(REPOSITORY, None, content)
    registry.put_index(REPOSITORY, "list", [inner.descriptor()] * 400)
    inspected = look(registry.reference(REPOSITORY, "list"))
    fit = (MAX_ENTRIES - 400) // 400
    assert [len(node.entries) for node in inspected.root.entries] == [400] * fit + [0] * (400 - fit)
    assert len(inspected.findings) == 400 - fit
    assert {finding.rule for finding in inspected.findings} == {"document-invalid"}
    assert "it has 400 entries, with which all lists together would have more than 100000" in str(inspected.findings[0])


def test_layers_are_not_shown_without_end(registry: FakeRegistry) -> None:
    layer = images.descriptor(b"x", "application/vnd.oci.image.layer.v1.tar")
    large = images.image(manifest={"layers": [layer] * 5001})
    registry.put(REPOSITORY, None, large)
    registry.put_index(REPOSITORY, "list", [large.descriptor()] * 101)
    inspected = look(registry.reference(REPOSITORY, "list"))
    assert [node.manifest is not None for node in inspected.root.entries] == [True] * 99 + [False] * 2
    assert len(inspected.findings) == 2
    finding = inspected.findings[0]
    assert f"more than {MAX_LAYERS} in all images together" in finding.message
    assert f"'manifestctl inspect {registry.reference(REPOSITORY)}@{large.digest}'" in finding.hint


def test_an_attestation_of_an_absent_image_stays_where_it_is(registry: FakeRegistry) -> None:
    proof = images.attestation(AMD64)
    registry.put(REPOSITORY, None, proof)
    registry.put_index(REPOSITORY, "list", [ARM64, images.attestation_entry(proof, AMD64.digest)])
    root = look(registry.reference(REPOSITORY, "list")).root
    assert shape(root) == (None, [("linux/arm64", []), ("unknown/unknown", [])])
    assert root.entries[1].predicates == [images.SBOM, images.PROVENANCE]


# What cannot be read.

ABSENT = images.image("linux/s390x")


@pytest.mark.parametrize(
    ("action", "rule", "category"),
    [
        (None, "image-missing", "missing"),
        (error(403, "DENIED", "no"), "image-denied", "denied"),
        (status(500), "image-unreachable", "unreachable"),
        (wrong_bytes(b"{}"), "image-integrity", "integrity"),
    ],
)
def test_what_a_list_names_and_cannot_be_read_is_a_finding(
    registry: FakeRegistry, action: Any, rule: str, category: str
) -> None:
    registry.put_index(REPOSITORY, "list", [AMD64, images.index([ABSENT.descriptor()])])
    if action is not None:
        registry.put(REPOSITORY, None, ABSENT)
        registry.faults.add(action, path=f"/manifests/{ABSENT.digest}", times=FOREVER)
    inspected = look(registry.reference(REPOSITORY, "list"))
    [finding] = inspected.findings
    place = f"{registry.reference(REPOSITORY)}@{ABSENT.digest}"
    assert (finding.rule, finding.category, finding.severity) == (rule, category, "error")
    assert (finding.where, finding.image, finding.platform) == (place, place, "linux/s390x")
    assert (finding.repository, bool(finding.hint)) == (registry.reference(REPOSITORY), True)
    # The rest is there all the same.
    assert shape(inspected.root) == (None, [("linux/amd64", []), (None, [("linux/s390x", [])])])


@pytest.mark.parametrize("how", ["image", "list"])
def test_a_config_that_is_not_there_is_a_finding(registry: FakeRegistry, how: str) -> None:
    registry.put(REPOSITORY, "image", AMD64, blobs=False)
    registry.put_index(REPOSITORY, "list", [AMD64.descriptor(platform=None)])
    inspected = look(registry.reference(REPOSITORY, how))
    [finding] = inspected.findings
    assert (finding.rule, finding.category) == ("config-missing", "missing")
    node = inspected.root if how == "image" else inspected.root.entries[0]
    assert (node.config, node.platform) == (None, None)
    assert isinstance(node.manifest, Manifest)


@pytest.mark.parametrize("config", [b"[]", b"\xff", b"{"])
def test_a_config_that_is_none_is_a_finding(registry: FakeRegistry, config: bytes) -> None:
    registry.put_image(REPOSITORY, "a", config=config)
    [finding] = look(registry.reference(REPOSITORY, "a")).findings
    assert finding.rule == "config-unreadable"


def test_an_artifact_has_a_config_of_its_own_kind(registry: FakeRegistry) -> None:
    config = images.descriptor(b"not JSON", "application/vnd.example.config")
    registry.put_image(REPOSITORY, "a", manifest={"config": config, "artifactType": "application/vnd.example"})
    inspected = look(registry.reference(REPOSITORY, "a"))
    assert (inspected.findings, inspected.root.config) == ([], None)
    assert registry.count("GET", "/blobs/") == 0


def test_a_list_may_name_what_is_no_image_at_all(registry: FakeRegistry) -> None:
    registry.put_index(REPOSITORY, "list", [images.descriptor(b"x", "application/vnd.example.thing")])
    inspected = look(registry.reference(REPOSITORY, "list"))
    assert inspected.findings == []
    assert inspected.root.entries[0].manifest is None


def test_an_entry_that_is_not_what_the_list_says_is_a_finding(registry: FakeRegistry) -> None:
    old = b'{"schemaVersion": 1}'
    registry.put_raw_manifest(REPOSITORY, None, old, DOCKER_SCHEMA_1_SIGNED)
    registry.put_index(REPOSITORY, "list", [images.descriptor(old, OCI_MANIFEST)])
    [finding] = look(registry.reference(REPOSITORY, "list")).findings
    assert finding.rule == "not-an-image"


def test_a_reference_that_is_not_there_is_3(registry: FakeRegistry) -> None:
    for call in (look, raw):
        with pytest.raises(NotFoundError):
            call(registry.reference(REPOSITORY, "nowhere"))


def test_a_reference_that_is_no_manifest_is_an_error_but_its_bytes_can_be_had(registry: FakeRegistry) -> None:
    registry.put_raw_manifest(REPOSITORY, "a", b"<html>", OCI_INDEX)
    reference = registry.reference(REPOSITORY, "a")
    with pytest.raises(DocumentError):
        look(reference)
    assert raw(reference) == b"<html>"


def test_an_interrupted_run_is_no_finding(registry: FakeRegistry) -> None:
    world = World()
    registry.put_index(REPOSITORY, "list", [AMD64])

    def interrupt(exchange: Any) -> Any:
        world.cancel.set(2)
        return status(503)(exchange)

    registry.faults.add(interrupt, path=f"/manifests/{AMD64.digest}")
    with pytest.raises(InterruptedRun):
        look(registry.reference(REPOSITORY, "list"), world=world)


# --platform


@pytest.mark.parametrize(
    ("platform", "expected"),
    [("linux/amd64", ALL[0]), ("linux/arm64/v8", ALL[1]), ("linux/arm64/v9", ALL[2]), ("windows/amd64", ALL[3])],
)
def test_one_image_of_a_list(registry: FakeRegistry, platform: str, expected: images.Image) -> None:
    registry.put(REPOSITORY, "list", images.buildx_index(ALL))
    reference = registry.reference(REPOSITORY, "list")
    inspected = look(reference, platform)
    assert str(inspected.root.descriptor.digest) == expected.digest
    assert inspected.root.config is not None
    assert raw(reference, platform) == expected.manifest == inspected.content.raw


@pytest.mark.parametrize("platform", ["linux/riscv64", "unknown/unknown", "linux/amd64/v3"])
def test_a_platform_that_is_not_there_is_3_and_says_what_is(registry: FakeRegistry, platform: str) -> None:
    registry.put(REPOSITORY, "list", images.buildx_index(ALL))
    with pytest.raises(NotFoundError, match=rf"no image for {platform}; there is: linux/amd64, linux/arm64,") as caught:
        look(registry.reference(REPOSITORY, "list"), platform)
    assert caught.value.hint


def test_several_images_for_a_platform_are_told_apart_by_digest(registry: FakeRegistry) -> None:
    second = images.image("windows/amd64:10.0.20348.1")
    registry.put_index(REPOSITORY, "list", [ALL[3], second])
    reference = registry.reference(REPOSITORY, "list")
    with pytest.raises(NotFoundError, match="several images are for windows/amd64") as caught:
        raw(reference, "windows/amd64")
    assert second.digest[:19] in caught.value.message
    assert raw(reference, "windows/amd64:10.0.20348.1") == second.manifest


@pytest.mark.parametrize(("platform", "fits"), [("linux/amd64", True), ("linux/arm64", False)])
def test_a_single_image_fits_or_not(registry: FakeRegistry, platform: str, fits: bool) -> None:
    registry.put(REPOSITORY, "a", AMD64)
    reference = registry.reference(REPOSITORY, "a")
    if fits:
        assert raw(reference, platform) == AMD64.manifest
    else:
        with pytest.raises(NotFoundError, match="there is: linux/amd64"):
            raw(reference, platform)


def test_an_artifact_is_for_no_platform(registry: FakeRegistry) -> None:
    registry.put_image(REPOSITORY, "a", manifest={"config": images.descriptor(b"{}", "application/vnd.x")})
    with pytest.raises(NotFoundError, match="there is: an artifact"):
        raw(registry.reference(REPOSITORY, "a"), "linux/amd64")


def test_a_list_without_platforms_has_none(registry: FakeRegistry) -> None:
    registry.put_index(REPOSITORY, "list", [AMD64.descriptor(platform=None)])
    with pytest.raises(NotFoundError, match="there is: none"):
        raw(registry.reference(REPOSITORY, "list"), "linux/amd64")


def test_a_directory_with_a_hostile_name_is_shown_harmless(tmp_path: Path) -> None:
    directory = tmp_path / "a\n::error::b"
    images.write_layout(directory, {"list": images.index([AMD64, ABSENT.descriptor()])})
    with pytest.raises(NotFoundError) as caught:
        look(f"oci:{directory}:list", "linux/riscv64")
    assert "\n" not in caught.value.message
    (directory / "blobs" / "sha256" / AMD64.digest.removeprefix("sha256:")).unlink()
    for finding in look(f"oci:{directory}:list").findings:
        assert "\n" not in "".join(finding.to_json().values())
