"""The composed list: its bytes, its format, its annotations, and what a format cannot say."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import InputError
from manifestctl.model.media_types import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from manifestctl.model.platforms import Platform
from manifestctl.verbs.compose import Wording, compose
from tests.support import images
from tests.verbs.scene import REPOSITORY, Scene, rules_of, the_finding

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.verbs.check import Checked
    from tests.support.fake_registry import FakeRegistry

AMD64, ARM64 = images.image("linux/amd64"), images.image("linux/arm64/v8")
DOCKER, DOCKER_ARM = images.image("linux/amd64", docker=True), images.image("linux/arm64", docker=True)
PROOF = images.attestation(AMD64)


@pytest.fixture
def scene(registry: FakeRegistry) -> Scene:
    return Scene.of(registry)


def document(checked: Checked) -> Any:
    """Return the composed list as JSON."""
    assert checked.composed is not None
    return json.loads(checked.composed.content.raw)


def put_all(registry: FakeRegistry, *contents: images.Content) -> list[str]:
    """Store contents under the tags 0, 1, 2 …, and return what names them."""
    for number, content in enumerate(contents):
        registry.put(REPOSITORY, str(number), content)
    return [f":{number}" for number in range(len(contents))]


# Bytes.


def test_the_bytes_are_these(registry: FakeRegistry, scene: Scene) -> None:
    windows = images.image("windows/amd64:10.0.20348.2340", config={"os.features": ["win32k"]})
    given = put_all(registry, ARM64, windows)
    checked = scene.check(*given, annotations={"org.example.b": "é", "org.example.a": "1"})
    assert checked.composed is not None
    assert (
        checked.composed.content.raw.decode()
        == f"""{{
  "schemaVersion": 2,
  "mediaType": "{OCI_INDEX}",
  "manifests": [
    {{
      "mediaType": "{OCI_MANIFEST}",
      "digest": "{ARM64.digest}",
      "size": {len(ARM64.manifest)},
      "platform": {{
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8"
      }}
    }},
    {{
      "mediaType": "{OCI_MANIFEST}",
      "digest": "{windows.digest}",
      "size": {len(windows.manifest)},
      "platform": {{
        "architecture": "amd64",
        "os": "windows",
        "os.version": "10.0.20348.2340",
        "os.features": [
          "win32k"
        ]
      }}
    }}
  ],
  "annotations": {{
    "org.example.b": "é",
    "org.example.a": "1"
  }}
}}"""
    )
    assert str(checked.composed.content.digest) == images.digest_of(checked.composed.content.raw)
    assert checked.composed.content.media_type == OCI_INDEX


COMPOSE = """
import os, sys
from manifestctl.model.location import parse_location
from manifestctl.runtime import Runtime
from manifestctl.stores.locate import Stores
from manifestctl.verbs.check import CheckRequest, check, image_requests
target = parse_location(f"oci:{sys.argv[1]}:list")
runtime = Runtime.of_system({})
with Stores.of_system(runtime) as stores:
    checked = check(CheckRequest(target, image_requests(target, [":list", ":arm64", ":amd64"])), stores, runtime)
print(checked.composed.content.digest)
"""


@pytest.mark.parametrize("seed", ["0", "1", "77"])
def test_the_digest_is_the_same_in_every_process_whatever_the_order_of_hashes(tmp_path: Path, seed: str) -> None:
    sources: dict[str, images.Content] = {
        "list": images.buildx_index([images.image("linux/s390x")]),
        "arm64": ARM64,
        "amd64": AMD64,
    }
    images.write_layout(tmp_path, sources)
    environ = {"PYTHONHASHSEED": seed, "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    run = subprocess.run(
        [sys.executable, "-c", COMPOSE, str(tmp_path)], capture_output=True, text=True, check=True, env=environ
    )
    checked = Scene.in_layout(tmp_path).check(":list", ":arm64", ":amd64")
    assert checked.composed is not None
    assert run.stdout.strip() == str(checked.composed.content.digest)


def test_the_order_is_the_users_and_duplicates_do_not_change_it(registry: FakeRegistry, scene: Scene) -> None:
    zero, one = put_all(registry, AMD64, ARM64)

    def order(*given: str) -> list[str]:
        return [entry["digest"] for entry in document(scene.check(*given))["manifests"]]

    assert order(zero, one) == [AMD64.digest, ARM64.digest]
    assert order(one, zero) == [ARM64.digest, AMD64.digest]
    assert order(zero, one, zero) == [AMD64.digest, ARM64.digest]
    assert order(one, zero, zero, one) == [ARM64.digest, AMD64.digest]


def test_attestations_follow_all_images(registry: FakeRegistry, scene: Scene) -> None:
    given = put_all(registry, images.buildx_index([AMD64]), ARM64, images.buildx_index([images.image("linux/s390x")]))
    entries = document(scene.check(*given))["manifests"]
    kinds = [entry["platform"]["architecture"] for entry in entries]
    assert kinds == ["amd64", "arm64", "s390x", "unknown", "unknown"]
    assert entries[3] == images.attestation_entry(PROOF, AMD64.digest) | {"platform": images.UNKNOWN}


# Formats.

FORMATS = [
    ([AMD64, ARM64], "auto", OCI_INDEX, []),
    ([DOCKER, DOCKER_ARM], "auto", DOCKER_LIST, []),
    ([DOCKER, ARM64], "auto", OCI_INDEX, []),
    ([DOCKER, DOCKER_ARM], "oci", OCI_INDEX, []),
    ([DOCKER, DOCKER_ARM], "docker", DOCKER_LIST, []),
    ([DOCKER, ARM64], "docker", DOCKER_LIST, ["media-type-format"]),
    ([AMD64, ARM64], "docker", DOCKER_LIST, ["media-type-format", "media-type-format"]),
    ([images.index([DOCKER], docker=True), DOCKER_ARM], "auto", DOCKER_LIST, []),
    ([images.index([DOCKER]), DOCKER_ARM], "auto", DOCKER_LIST, []),
    ([images.buildx_index([DOCKER]), DOCKER_ARM], "auto", OCI_INDEX, []),
    ([], "auto", OCI_INDEX, ["list-empty"]),
    ([], "docker", DOCKER_LIST, ["list-empty"]),
]


@pytest.mark.parametrize(("contents", "wanted", "media_type", "rules"), FORMATS)
def test_the_format_follows_the_images_or_the_user(
    registry: FakeRegistry, contents: list[images.Content], wanted: str, media_type: str, rules: list[str]
) -> None:
    scene = Scene.of(registry)
    checked = scene.check(*put_all(registry, *contents), format=wanted)
    assert document(checked)["mediaType"] == media_type
    assert checked.composed is not None
    assert checked.composed.content.media_type == media_type
    assert rules_of(checked, "error") == rules


def test_an_entry_that_a_docker_list_cannot_hold_is_named(registry: FakeRegistry, scene: Scene) -> None:
    given = put_all(registry, DOCKER, ARM64)
    finding = the_finding(scene.check(*given, format="docker"), "media-type-format")
    assert (finding.where, finding.image, finding.platform) == (":1", f":1 ({ARM64.digest})", "linux/arm64/v8")
    assert (finding.found, finding.expected, finding.repository) == (OCI_MANIFEST, DOCKER_MANIFEST, scene.base)
    assert "--format oci" in finding.hint


def test_an_attestation_that_a_docker_list_cannot_hold_may_be_left_out(registry: FakeRegistry, scene: Scene) -> None:
    given = put_all(registry, images.buildx_index([DOCKER]))
    finding = the_finding(scene.check(*given, format="docker"), "media-type-format")
    assert "attestation" in finding.message
    assert "--attestations drop" in finding.hint
    assert rules_of(scene.check(*given, format="docker", attestations="drop"), "error") == []


UNSAYABLE: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("annotations", {}, {"annotations": {"a": "b"}}, "annotations"),
    ("entry annotations", {}, {"entry_annotations": [("linux/amd64", "a", "b")]}, "annotations of entries"),
    ("annotations from a list", {"annotations": {"a": "b"}}, {}, "annotations of entries"),
    ("artifactType", {"artifactType": "application/vnd.x"}, {}, "an artifactType"),
    ("urls", {"urls": ["https://example.com/x"]}, {}, "the member urls"),
    ("an unknown member", {"x-\n": 1}, {}, r"the member x-\n"),
]


@pytest.mark.parametrize(("entry", "options", "thing"), [c[1:] for c in UNSAYABLE], ids=[c[0] for c in UNSAYABLE])
def test_what_a_docker_list_cannot_say_is_an_error_if_asked_for_and_an_index_otherwise(
    registry: FakeRegistry, scene: Scene, entry: dict[str, Any], options: dict[str, Any], thing: str
) -> None:
    registry.put(REPOSITORY, None, DOCKER)
    given = put_all(registry, images.index([DOCKER.descriptor(**entry)]), DOCKER_ARM)
    refused = scene.check(*given, format="docker", **options)
    assert the_finding(refused, "format-unsupported").found == thing
    assert refused.exit_code == 1
    widened = scene.check(*given, **options)
    assert (rules_of(widened, "error"), document(widened)["mediaType"]) == ([], OCI_INDEX)
    finding = the_finding(widened, "format-widened")
    assert (finding.severity, finding.found) == ("warning", thing)
    # Saying so is the end of the warning.
    assert "format-widened" not in rules_of(scene.check(*given, format="oci", **options))


# Annotations.


def test_annotations_go_where_they_were_meant_to_go(registry: FakeRegistry, scene: Scene) -> None:
    given = put_all(registry, AMD64, ARM64)
    checked = scene.check(
        *given,
        annotations={"index": "1"},
        entry_annotations=[("linux/arm64", "who", "arm"), ("linux/amd64", "who", "a=b"), ("linux/amd64", "two", "2")],
    )
    made = document(checked)
    assert made["annotations"] == {"index": "1"}
    assert [entry.get("annotations") for entry in made["manifests"]] == [{"who": "a=b", "two": "2"}, {"who": "arm"}]


def test_an_annotation_may_mean_several_entries(registry: FakeRegistry, scene: Scene) -> None:
    builds = ["windows/amd64:10.0.17763.5576", "windows/amd64:10.0.20348.2340"]
    given = put_all(registry, *(images.image(build) for build in builds))
    both = document(scene.check(*given, entry_annotations=[("windows/amd64", "k", "v")]))
    assert [entry["annotations"] for entry in both["manifests"]] == [{"k": "v"}] * 2
    one = document(scene.check(*given, entry_annotations=[(builds[1], "k", "v")]))
    assert [entry.get("annotations") for entry in one["manifests"]] == [None, {"k": "v"}]


def test_an_annotation_for_a_platform_that_is_not_there_is_an_error(registry: FakeRegistry, scene: Scene) -> None:
    given = put_all(registry, AMD64)
    checked = scene.check(*given, entry_annotations=[("linux/s390x", "k", "v")])
    finding = the_finding(checked, "annotation-unmatched")
    assert (finding.severity, finding.platform, finding.found) == ("error", "linux/s390x", "linux/amd64")
    assert finding.repository == scene.base


def test_an_image_named_twice_has_the_annotations_of_both_and_the_later_win(
    registry: FakeRegistry, scene: Scene
) -> None:
    registry.put(REPOSITORY, "plain", AMD64)
    for number, said in enumerate(({"a": "1", "b": "1"}, {"b": "2", "c": "2"})):
        registry.put_index(REPOSITORY, f"list-{number}", [AMD64.descriptor(annotations=said)])
    checked = scene.check(":plain", ":list-0", ":list-1")
    assert rules_of(checked) == ["image-duplicate", "image-duplicate"]
    [entry] = document(checked)["manifests"]
    assert entry["annotations"] == {"a": "1", "b": "2", "c": "2"}


def test_an_attestation_named_twice_stands_once_with_the_annotations_of_both(
    registry: FakeRegistry, scene: Scene
) -> None:
    registry.put(REPOSITORY, None, PROOF)
    for number in range(2):
        entry = images.attestation_entry(PROOF, AMD64.digest)
        entry["annotations"] |= {f"from-{number}": "yes"}
        registry.put_index(REPOSITORY, f"list-{number}", [AMD64, entry])
    entries = document(scene.check(":list-0", ":list-1"))["manifests"]
    assert [entry["digest"] for entry in entries] == [AMD64.digest, PROOF.digest]
    assert {"from-0", "from-1"} < set(entries[1]["annotations"])


def test_an_entry_from_a_list_loses_nothing(registry: FakeRegistry, scene: Scene) -> None:
    entry = AMD64.descriptor(
        platform={"os": "linux", "architecture": "amd64", "features": ["sse4"], "x-unknown": {"deep": [1]}},
        urls=["https://example.com/x"],
        annotations={"z": "1", "a": "2"},
        artifactType="application/vnd.x",
        **{"x-unknown": None},
    )
    registry.put(REPOSITORY, None, AMD64)
    registry.put_index(REPOSITORY, "list", [entry])
    [made] = document(scene.check(":list"))["manifests"]
    assert made == entry
    assert list(made["annotations"]) == ["z", "a"]


@pytest.mark.parametrize("place", ["annotations", "entry key", "entry value"])
def test_text_that_is_not_unicode_is_refused_before_anything_is_read(place: str) -> None:
    bad, platform = "caf\udce9", Platform.parse("linux/amd64")
    wordings: dict[str, dict[str, Any]] = {
        "annotations": {"annotations": {"key": bad}},
        "entry key": {"entry_annotations": [(platform, bad, "x")]},
        "entry value": {"entry_annotations": [(platform, "x", bad)]},
    }
    with pytest.raises(InputError, match="is not UTF-8 text"):
        Wording(**wordings[place])


def test_an_empty_list_has_nothing_in_it() -> None:
    composed = compose([], [], Wording())
    assert json.loads(composed.content.raw) == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
    assert (composed.entries, composed.findings) == ((), ())
