"""`check`: requests, schemas, layers, and what the user allows and denies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import InputError
from manifestctl.model.location import parse_location
from manifestctl.model.platforms import Platform
from manifestctl.verbs.check import CheckRequest, image_requests
from manifestctl.verbs.checks import Requirements
from tests.support import images
from tests.support.actions import error, status
from tests.support.faults import FOREVER
from tests.verbs.scene import REPOSITORY, Scene, rules_of, the_finding

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry

TARGET = parse_location("registry.example/team/web:1.4")
AMD64, ARM64 = images.image("linux/amd64", layers=3), images.image("linux/arm64", layers=2)
DIGEST = "sha256:" + "0" * 64


@pytest.fixture
def scene(registry: FakeRegistry) -> Scene:
    return Scene.of(registry)


# Requests.


def test_a_target_is_a_tag() -> None:
    target = parse_location(f"registry.example/web:1@{DIGEST}")
    with pytest.raises(InputError, match="a tag, not a digest") as caught:
        CheckRequest(target, ())
    assert "registry.example/web:1;" in caught.value.hint


def test_exact_needs_to_know_what() -> None:
    with pytest.raises(InputError, match="--exact is given without --require"):
        CheckRequest(TARGET, (), Requirements(exact=True))


@pytest.mark.parametrize(
    "spelled", [":a", "registry.example/team/web:a", f"registry.example/team/web@{DIGEST}", f"@{DIGEST}", DIGEST]
)
def test_a_declaration_finds_its_image_however_either_is_spelled(spelled: str) -> None:
    platform = Platform.parse("linux/arm64")
    given = [":a", f"@{DIGEST}", ":b"]
    declared = [request.declared for request in image_requests(TARGET, given, {spelled: platform})]
    assert declared == ([platform, None, None] if ":a" in spelled and DIGEST not in spelled else [None, platform, None])


def test_a_declaration_is_for_all_that_name_its_image() -> None:
    platform = Platform.parse("linux/arm64")
    requests = image_requests(TARGET, [":a", ":a", "registry.example/team/web:a"], {":a": platform})
    assert [request.declared for request in requests] == [platform] * 3
    assert [request.given for request in requests] == [":a", ":a", "registry.example/team/web:a"]


@pytest.mark.parametrize(
    ("given", "declared", "said"),
    [
        ([":a"], {":b": "linux/amd64"}, "names ':b', which is not one of the images"),
        ([":a"], {"::": "linux/amd64"}, "'::?' is not|is not a tag"),
        (
            [":a"],
            {":a": "linux/amd64", "registry.example/team/web:a": "linux/arm64"},
            "as linux/amd64 and as linux/arm64",
        ),
        ([":-bad"], {}, "is not a tag"),
        (["@sha256:12"], {}, "is not a sha256 digest"),
        (["https://registry.example/web"], {}, "not an image reference"),
    ],
)
def test_bad_images_and_declarations_are_bad_usage(given: list[str], declared: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        image_requests(TARGET, given, {image: Platform.parse(text) for image, text in declared.items()})
    assert caught.value.exit_code == 2
    assert caught.value.hint


def test_a_declaration_that_says_the_same_twice_is_fine() -> None:
    platform = Platform.parse("linux/arm64")
    [request] = image_requests(TARGET, [":a"], {":a": platform, "registry.example/team/web:a": platform})
    assert request.declared == platform


def test_no_images_are_an_error(scene: Scene) -> None:
    checked = scene.check()
    assert (rules_of(checked), checked.exit_code, checked.ok) == (["list-empty"], 1, False)


# Schemas.


def test_a_schema_fault_of_an_image_is_a_warning_with_its_place(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "a", config={"config": {"Env": None}}, manifest={"annotations": {}})
    registry.put_image(REPOSITORY, "b", "linux/arm64", created="yesterday")
    checked = scene.check(":a", ":b")
    assert checked.ok
    finding = the_finding(checked, "date-invalid")
    assert finding.severity == "warning"
    assert finding.where == "the config of :b: /created"
    assert (finding.image, finding.platform, finding.repository) == (":b", "linux/arm64", scene.base)


@pytest.mark.parametrize(
    ("said", "rule", "where"),
    [({"mediaType": "not a type"}, "schema-pattern", "/layers/0/mediaType"), ({"size": -1}, "document-invalid", ":a")],
)
def test_a_fault_that_hides_what_is_needed_is_an_error_and_others_are_not(
    registry: FakeRegistry, scene: Scene, said: dict[str, Any], rule: str, where: str
) -> None:
    made = images.image()
    layer = images.descriptor(made.layers[0], made.layer_media_types[0], **said)
    registry.put_image(REPOSITORY, "a", manifest={"layers": [layer]})
    finding = the_finding(scene.check(":a"), rule)
    assert finding.where.endswith(where)
    assert finding.is_error is (rule == "document-invalid")


@pytest.mark.parametrize("verb", ["check", "create"])
def test_a_schema_fault_of_the_list_itself_is_an_error_that_names_its_image(
    registry: FakeRegistry, scene: Scene, verb: str
) -> None:
    """A list given as an image may carry members into the new list that no schema allows."""
    registry.put(REPOSITORY, None, ARM64)
    registry.put_index(REPOSITORY, "list", [AMD64, ARM64.descriptor(urls=["no scheme"])])
    result: Any = getattr(scene, verb)(":list")
    finding = the_finding(result, "uri-invalid")
    assert finding.where == "/manifests/1/urls/0"
    assert (finding.severity, finding.platform, finding.repository) == ("error", "linux/arm64", scene.base)
    assert finding.image == f":list ({result.composed.entries[1].digest.short})"
    assert result.exit_code == 1
    assert registry.manifest_puts == []


def test_a_platform_that_clients_do_not_look_for_is_a_warning_with_a_suggestion(
    registry: FakeRegistry, scene: Scene
) -> None:
    registry.put_image(REPOSITORY, "a", "linux/aarch64")
    checked = scene.check(":a", require="linux/arm64")
    assert checked.ok
    places = {finding.where: finding for finding in checked.findings}
    assert set(places) == {"/manifests/0/platform/architecture", "the config of :a: /architecture"}
    assert {(finding.severity, finding.expected) for finding in places.values()} == {("warning", "arm64")}


@pytest.mark.parametrize("verb", ["check", "create"])
@pytest.mark.parametrize(
    ("key", "value"),
    [("architecture", "amd64\u202e\n::x"), ("os", "lin\x1b[2Jux"), ("variant", "v1 "), ("os.version", "10\u2028")],
)
def test_a_platform_of_strange_characters_is_not_published(
    registry: FakeRegistry, scene: Scene, verb: str, key: str, value: str
) -> None:
    registry.put_image(REPOSITORY, "a", config={key: value})
    result = getattr(scene, verb)(":a")
    assert result.exit_code == 1
    assert rules_of(result, "error") == ["platform-characters"]
    [finding] = [finding for finding in result.findings if finding.is_error]
    assert (finding.where, finding.image) == (f"/manifests/0/platform/{key}", ":a")
    assert finding.hint
    assert all(text.isprintable() for text in finding.to_json().values())
    assert registry.manifest_puts == []


def test_equal_platforms_are_reported_once(registry: FakeRegistry, scene: Scene) -> None:
    for seed in "ab":
        registry.put_image(REPOSITORY, seed, seed=seed)
    assert rules_of(scene.check(":a", ":b")) == ["platform-duplicate"]


def test_a_list_that_no_registry_would_take_is_an_error(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "a")
    checked = scene.check(":a", annotations={"long": "x" * 4 * 1024 * 1024})
    assert rules_of(checked) == ["json-too-large"]


# Layers.


@pytest.mark.parametrize("in_layout", [False, True])
def test_layers_are_looked_at_only_if_asked_for(registry: FakeRegistry, tmp_path: Path, in_layout: bool) -> None:
    images.write_layout(tmp_path, {"a": AMD64, "b": ARM64})
    registry.put(REPOSITORY, "a", AMD64)
    registry.put(REPOSITORY, "b", ARM64)
    gone, shorter = ARM64.layers[1], AMD64.layers[0]
    for made in (gone, shorter):
        digest = images.digest_of(made)
        path = tmp_path / "blobs" / "sha256" / digest.removeprefix("sha256:")
        path.unlink()
        del registry.repository(REPOSITORY).blobs[digest]
        if made is shorter:
            path.write_bytes(made[:-1])
            registry.put_blob(REPOSITORY, made[:-1], digest)
    scene = Scene.in_layout(tmp_path) if in_layout else Scene.of(registry)
    assert rules_of(scene.check(":a", ":b")) == []
    checked = scene.check(":a", ":b", depth="blobs")
    assert rules_of(checked) == ["image-integrity", "layer-missing"]
    missing, wrong = the_finding(checked, "layer-missing"), the_finding(checked, "image-integrity")
    assert missing.where == f":b layer {images.digest_of(gone)}"
    assert (missing.image, missing.platform, missing.repository) == (":b", "linux/arm64", scene.base)
    assert (missing.found, missing.expected) == ("nothing", f"{len(gone)} bytes")
    assert "push it again" in missing.hint
    assert wrong.where == f":a layer {images.digest_of(shorter)}"
    assert (wrong.image, wrong.platform, wrong.expected) == (":a", "linux/amd64", f"{len(shorter)} bytes")
    assert str(len(shorter) - 1) in wrong.message
    assert wrong.hint
    assert checked.exit_code == 6


def sharing(layer: bytes, *platforms: str, size: int | None = None) -> list[images.Image]:
    """Return images that all have this layer; the first says another size of it if one is given."""
    made = []
    for number, platform in enumerate(platforms):
        said = {"size": size} if size is not None and number == 0 else {}
        layers = [images.descriptor(layer, "application/vnd.oci.image.layer.v1.tar", **said)]
        made.append(images.image(platform, manifest={"layers": layers}))
    return made


def test_a_layer_that_images_share_is_looked_at_once_and_missed_by_each(registry: FakeRegistry, scene: Scene) -> None:
    for made, tag in zip(sharing(b"base", "linux/amd64", "linux/arm64"), "ab", strict=True):
        registry.put(REPOSITORY, tag, made)
    checked = scene.check(":a", ":b", depth="blobs")
    missing = [finding for finding in checked.findings if finding.rule == "layer-missing"]
    assert [(finding.image, finding.platform) for finding in missing] == [(":a", "linux/amd64"), (":b", "linux/arm64")]
    assert registry.count("HEAD", "/blobs/") == 1
    registry.put_blob(REPOSITORY, b"base")
    assert rules_of(scene.check(":a", ":b", depth="blobs")) == []


def test_two_sizes_of_one_layer_cannot_both_be_true(registry: FakeRegistry, scene: Scene) -> None:
    for made, tag in zip(sharing(b"base", "linux/amd64", "linux/arm64", size=5), "ab", strict=True):
        registry.put(REPOSITORY, tag, made)
    registry.put_blob(REPOSITORY, b"base")
    assert the_finding(scene.check(":a", ":b", depth="blobs"), "image-integrity").image == ":a"


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ],
)
def test_layers_that_may_not_be_distributed_need_not_be_there(
    registry: FakeRegistry, scene: Scene, media_type: str
) -> None:
    layer = images.descriptor(b"foreign", media_type, urls=["https://example.com/layer"])
    registry.put_image(REPOSITORY, "a", "windows/amd64:10.0.17763.1", manifest={"layers": [layer]})
    assert rules_of(scene.check(":a", depth="blobs")) == []
    assert registry.count("HEAD", "/blobs/") == 0


def test_attestations_have_layers_and_configs_too(registry: FakeRegistry, scene: Scene) -> None:
    index = images.buildx_index([AMD64])
    registry.put(REPOSITORY, "list", index)
    proof = index.children[1]
    assert rules_of(scene.check(":list", depth="blobs")) == []
    for digest in proof.blobs:
        del registry.repository(REPOSITORY).blobs[digest]
    checked = scene.check(":list", depth="blobs")
    assert rules_of(checked) == ["layer-missing"] * 3
    assert {finding.platform for finding in checked.findings} == {""}
    assert all("attestation" in finding.image for finding in checked.findings)
    assert rules_of(scene.check(":list", depth="blobs", attestations="drop")) == []


@pytest.mark.parametrize(
    ("action", "rule", "code"),
    [(error(403, "DENIED", "no"), "image-denied", 4), (status(500), "image-unreachable", 5)],
)
def test_a_layer_that_cannot_be_looked_at_is_a_finding(
    registry: FakeRegistry, scene: Scene, action: Any, rule: str, code: int
) -> None:
    registry.put(REPOSITORY, "a", AMD64)
    registry.faults.add(action, method="HEAD", path=images.digest_of(AMD64.layers[1]), times=FOREVER)
    checked = scene.check(":a", depth="blobs")
    assert the_finding(checked, rule).image == ":a"
    assert checked.exit_code == code


# What the user allows and denies.


@pytest.mark.parametrize(
    ("allow", "deny", "severity", "code"),
    [
        ((), (), {"platform-duplicate": "error", "image-duplicate": "warning"}, 1),
        (("platform-duplicate",), (), {"platform-duplicate": "warning", "image-duplicate": "warning"}, 0),
        (
            ("platform-duplicate",),
            ("image-duplicate",),
            {"platform-duplicate": "warning", "image-duplicate": "error"},
            1,
        ),
        (
            ("platform-duplicate",),
            ("platform-duplicate",),
            {"platform-duplicate": "error", "image-duplicate": "warning"},
            1,
        ),
        (("image-missing",), (), {"platform-duplicate": "error", "image-duplicate": "warning"}, 1),
    ],
)
def test_rules_are_allowed_and_denied(
    registry: FakeRegistry, allow: tuple[str, ...], deny: tuple[str, ...], severity: dict[str, str], code: int
) -> None:
    for seed in "ab":
        registry.put_image(REPOSITORY, seed, seed=seed)
    checked = Scene.of(registry).check(":a", ":b", ":a", allow=allow, deny=deny)
    assert {finding.rule: finding.severity for finding in checked.findings} == severity
    assert checked.exit_code == code


@pytest.mark.parametrize("verb", ["check", "create"])
def test_integrity_never_passes(registry: FakeRegistry, scene: Scene, verb: str) -> None:
    made = images.image()
    registry.put(REPOSITORY, "a", made)
    registry.put_blob(REPOSITORY, made.config + b" ", made.config_digest)
    result = getattr(scene, verb)(":a", allow=["image-integrity", "list-empty"])
    assert the_finding(result, "image-integrity").severity == "error"
    assert result.exit_code == 6
    assert registry.manifest_puts == []


def test_rules_of_documents_can_be_denied_too(registry: FakeRegistry, scene: Scene) -> None:
    registry.put_image(REPOSITORY, "a", "linux/aarch64")
    assert scene.check(":a").ok
    assert not scene.check(":a", deny=["architecture-unknown"]).ok


# Elsewhere.


def test_a_layout_is_checked_without_a_server(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"a": AMD64, "list": images.buildx_index([ARM64])})
    checked = Scene.in_layout(tmp_path).check(
        ":a", ":list", require="linux/amd64,linux/arm64", exact=True, depth="blobs"
    )
    assert (rules_of(checked), checked.exit_code) == ([], 0)
    assert checked.composed is not None
    assert len(json.loads(checked.composed.content.raw)["manifests"]) == 3


def test_a_directory_that_is_no_layout_is_3(tmp_path: Path) -> None:
    checked = Scene.in_layout(tmp_path / "absent").check(":a")
    assert checked.exit_code == 3
    assert "oci-layout" in str(checked.error)
    assert not (tmp_path / "absent").exists()


def test_check_writes_nothing_and_does_not_look_at_the_target(registry: FakeRegistry, scene: Scene) -> None:
    registry.put(REPOSITORY, "a", AMD64)
    checked = scene.check(":a")
    assert checked.ok
    assert [request.method for request in registry.requests] == ["GET", "GET"]
    assert registry.tags(REPOSITORY).keys() == {"a"}
