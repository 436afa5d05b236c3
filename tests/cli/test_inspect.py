"""`manifestctl inspect`: a tree for people, a tree as JSON, and the bytes themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.actions import error, wrong_bytes
from tests.support.faults import FOREVER
from tests.support.running import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry


def test_the_tree_of_a_list(registry: FakeRegistry) -> None:
    built = registry.put_buildx("web", "1", ["linux/amd64", "linux/arm64/v8"])
    ran = run("inspect", registry.reference("web", "1"))
    assert (ran.status, ran.err) == (0, "")
    lines = ran.text.splitlines()
    assert lines[:4] == [
        registry.reference("web", "1"),
        f"digest {built.digest}",
        "type   application/vnd.oci.image.index.v1+json",
        "holds  2 images",
    ]
    amd64, arm64 = built.children[:2]
    assert lines[4].startswith("├─ linux/amd64  ")
    assert lines[4].endswith(amd64.digest)
    assert lines[5].startswith("│  ├─ layer sha256:")
    assert lines[6].startswith("│  └─ attestation https://")
    assert lines[7].startswith("└─ linux/arm64/v8  ")
    assert lines[7].endswith(arm64.digest)
    assert lines[-1].startswith("   └─ attestation https://")


def test_annotations_are_shown_and_harmless(registry: FakeRegistry) -> None:
    entry = images.image("linux/amd64")
    made = images.index([entry], annotations={"a": "x\n::error::y\x1b[2J"})
    registry.put("web", "1", made)
    ran = run("inspect", registry.reference("web", "1"))
    assert "├─ annotation a=x\\n::error::y\\x1b[2J" in ran.text
    assert "\x1b" not in ran.text


def test_an_image_alone(registry: FakeRegistry) -> None:
    image = images.image("linux/arm/v7", layers=2)
    registry.put("web", "1", image)
    lines = run("inspect", registry.reference("web", "1")).text.splitlines()
    assert lines[1] == f"digest {image.digest}"
    assert lines[3].startswith("image  linux/arm/v7  ")
    assert [line[:9] for line in lines[4:]] == ["├─ layer ", "└─ layer "]


def test_raw_is_the_stored_bytes(registry: FakeRegistry) -> None:
    odd = b' {"schemaVersion":2,\r\n"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}\t\n\n'
    digest = registry.put_raw_manifest("web", "odd", odd, "application/vnd.oci.image.index.v1+json")
    assert run("inspect", "--raw", registry.reference("web", "odd")).out == odd
    assert run("inspect", "--raw", registry.reference("web", digest)).out == odd
    assert run("inspect", "--raw", registry.reference("web", "odd"), "--output", "json").out == odd


def test_one_platform(registry: FakeRegistry) -> None:
    built = registry.put_buildx("web", "1", ["linux/amd64", "linux/arm64/v8"])
    reference = registry.reference("web", "1")
    arm64 = built.children[1]
    assert run("inspect", reference, "--platform", "linux/arm64", "--digest").text == f"{arm64.digest}\n"
    assert run("inspect", reference, "--platform", "linux/arm64", "--output", "digest").text == f"{arm64.digest}\n"
    assert run("inspect", reference, "--platform", "linux/arm64", "--raw").out == arm64.manifest
    assert run("inspect", reference, "--platform", "linux/arm64").text.splitlines()[1] == f"digest {arm64.digest}"
    ran = run("inspect", reference, "--platform", "linux/s390x")
    assert ran.status == 3
    assert "there is no image for linux/s390x; there is: linux/amd64, linux/arm64/v8" in ran.err


def test_output_json(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64", labels={"l": "v"}, created="2024-01-02T03:04:05Z", annotations={"own": "1"})
    index = images.index([image], annotations={"top": "2"})
    registry.put("web", "1", index)
    root = run("inspect", registry.reference("web", "1"), "--output", "json").document
    assert (root["digest"], root["annotations"], root["entry_annotations"]) == (index.digest, {"top": "2"}, {})
    (child,) = root["images"]
    assert (child["digest"], child["annotations"], child["found"]) == (image.digest, {"own": "1"}, True)
    assert child["platform"] == "linux/amd64"
    alone = run("inspect", registry.reference("web", image.digest), "--output", "json").document
    assert (alone["labels"], alone["created"]) == ({"l": "v"}, "2024-01-02T03:04:05Z")
    assert alone["config"] == image.config_digest
    assert [layer["size"] for layer in alone["layers"]] == [len(image.layers[0])]


def test_attestations_as_json(registry: FakeRegistry) -> None:
    registry.put_buildx("web", "1", ["linux/amd64"])
    root = run("inspect", registry.reference("web", "1"), "--output", "json").document
    (image,) = root["images"]
    (attestation,) = image["attestations"]
    assert attestation["predicates"]
    assert all(predicate.startswith("https://") for predicate in attestation["predicates"])


def test_what_a_list_names_and_is_not_there(registry: FakeRegistry) -> None:
    present, absent = images.image("linux/amd64"), images.image("linux/arm64")
    registry.put("web", "1", images.index([present, absent]))
    registry.faults.add(error(404, "MANIFEST_UNKNOWN", "gone"), path=absent.digest, times=FOREVER)
    ran = run("inspect", registry.reference("web", "1"))
    assert ran.status == 1
    assert "linux/arm64 (image-missing)" in ran.text
    assert "[image-missing]" in ran.err
    document = run("inspect", registry.reference("web", "1"), "--output", "json").document
    assert [image["found"] for image in document["images"]] == [True, False]
    assert [finding["platform"] for finding in document["findings"]] == ["linux/arm64"]
    assert run("inspect", registry.reference("web", "1"), "--allow", "image-missing").status == 0


@pytest.mark.parametrize("options", [[], ["--raw"], ["--digest"], ["--output", "json"]])
def test_what_does_not_exist(registry: FakeRegistry, options: list[str]) -> None:
    ran = run("inspect", registry.reference("web", "gone"), *options)
    assert ran.status == 3
    assert ran.err.startswith("error: ")
    if "json" in options:
        assert ran.document["error"]["message"] in ran.err
    else:
        assert ran.out == b""


def test_bytes_that_are_not_what_the_digest_says(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    registry.put("web", "1", image)
    registry.faults.add(wrong_bytes(), path=f"/manifests/{image.digest}", times=FOREVER)
    ran = run("inspect", "--raw", registry.reference("web", image.digest))
    assert (ran.status, ran.out) == (6, b"")


def test_no_tag_means_latest_and_that_is_said(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.put_image("web", "latest")
    ran = run("inspect", registry.reference("web"))
    assert (ran.status, ran.err) == (0, f"no tag given: using {registry.reference('web')}:latest\n")
    images.write_layout(tmp_path / "layout", {"only": images.image("linux/amd64")})
    ran = run("inspect", f"oci:{tmp_path / 'layout'}")
    assert ran.status == 0
    assert ran.err == f"no tag given: using the only image in oci:{tmp_path / 'layout'}, or its tag latest\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--raw", "--digest"], "--raw and --digest are both given"),
        (["--platform", ""], "''"),
        (["--platform", "linux"], "'linux'"),
        (["--allow", "nonsense"], "'nonsense' is not a rule"),
    ],
)
def test_options_that_make_no_sense(registry: FakeRegistry, arguments: list[str], said: str) -> None:
    ran = run("inspect", registry.reference("web", "1"), *arguments)
    assert (ran.status, ran.out) == (2, b"")
    assert said in ran.err
    assert registry.requests == []
