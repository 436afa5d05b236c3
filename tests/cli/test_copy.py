"""`manifestctl copy`, and `create --copy`: what goes to stdout, what to stderr, and what it says when it fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import images
from tests.support.actions import error, reset, status
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.running import Ran, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOWHERE = f"sha256:{'0' * 64}"
PAIR = [images.image(f"linux/{name}") for name in ("amd64", "arm64")]


@pytest.fixture
def mirror() -> Iterator[FakeRegistry]:
    """Return another registry."""
    with FakeRegistry() as server:
        yield server


@pytest.fixture
def source(registry: FakeRegistry) -> str:
    """Return a reference to a list of two images with their attestations."""
    registry.put("web", "1", images.buildx_index(PAIR))
    return registry.reference("web", "1")


def document(ran: Ran) -> Any:
    """Return the JSON result, which must be right and tell the status of the process."""
    found = ran.document
    assert found["exit_code"] == ran.status
    return found


def test_a_list_goes_to_another_registry_under_its_own_tag(
    registry: FakeRegistry, mirror: FakeRegistry, source: str
) -> None:
    ran = run("copy", source, mirror.reference("mirrored"))
    digest = registry.tag("web", "1")
    assert (ran.status, ran.text) == (0, f"{mirror.reference('mirrored')}@{digest}\n")
    assert mirror.tag("mirrored", "1") == digest
    *blobs, count, tag = ran.err.splitlines()
    assert all(" sent (" in line for line in blobs)
    assert count == f"{len(blobs)} blobs: {len(blobs)} sent"
    assert tag.startswith(f"{mirror.reference('mirrored', '1')} created (")


def test_output_json(registry: FakeRegistry, mirror: FakeRegistry, source: str) -> None:
    target = mirror.reference("mirrored", "2")
    found = document(run("copy", source, target, "--tag", "latest", "--output", "json"))
    digest = registry.tag("web", "1")
    assert (found["source"], found["target"], found["digest"]) == (source, target, digest)
    assert found["reference"] == f"{mirror.reference('mirrored')}@{digest}"
    assert (found["status"], found["published"], found["referrers"]) == ("created", True, 0)
    assert [(tag["tag"], tag["moved"]) for tag in found["tags"]] == [("2", True), ("latest", True)]
    assert found["blobs"]["sent"] > 0
    assert (found["blobs"]["exists"], found["blobs"]["mounted"]) == (0, 0)
    again = document(run("copy", source, target, "--output", "json"))
    assert (again["status"], again["blobs"]["sent"]) == ("unchanged", 0)
    assert run("copy", source, target, "--output", "digest").text == f"{digest}\n"


def test_within_a_registry_blobs_are_mounted(registry: FakeRegistry, source: str) -> None:
    ran = run("copy", source, registry.reference("other"), "--output", "json")
    found = document(ran)
    assert found["blobs"]["mounted"] > 0
    assert found["blobs"]["sent"] == 0
    assert " mounted (" in ran.err


def test_a_list_is_narrowed(registry: FakeRegistry, mirror: FakeRegistry, source: str) -> None:
    options = ("--platform", "linux/arm64", "--attestations", "drop", "--output", "json")
    found = document(run("copy", source, mirror.reference("mirrored", "1"), *options))
    assert found["digest"] != registry.tag("web", "1")
    assert [entry["digest"] for entry in mirror.document("mirrored", "1")["manifests"]] == [PAIR[1].digest]


def test_what_is_named_by_digest_gets_no_tag(registry: FakeRegistry, mirror: FakeRegistry) -> None:
    digest = registry.put_image("web", "1")
    given = ("copy", f"{registry.reference('web')}@{digest}", mirror.reference("mirrored"))
    ran = run(*given)
    assert ran.text == f"{mirror.reference('mirrored')}@{digest}\n"
    assert f"{mirror.reference('mirrored')}@{digest} is there now; it has no tag\n" in ran.err
    assert mirror.tags("mirrored") == {}
    found = document(run(*given, "--output", "json"))
    assert (found["target"], found["tags"], found["status"]) == (mirror.reference("mirrored"), [], "unchanged")
    assert found["published"] is True


def test_referrers_come_along(registry: FakeRegistry, mirror: FakeRegistry) -> None:
    digest = registry.put_image("web", "1")
    registry.put_image("web", f"sha256-{digest.removeprefix('sha256:')}.sig", seed="signature")
    ran = run("copy", registry.reference("web", "1"), mirror.reference("m"), "--referrers", "--output", "json")
    assert document(ran)["referrers"] == 1
    assert len(mirror.tags("m")) == 2
    assert "1 referrer\n" in ran.err


@pytest.mark.parametrize("options", [(), ("--referrers",)])
def test_that_nothing_refers_to_it_is_said(
    registry: FakeRegistry, mirror: FakeRegistry, options: tuple[str, ...]
) -> None:
    registry.put_image("web", "1")
    ran = run("copy", registry.reference("web", "1"), mirror.reference("m"), *options)
    assert ran.status == 0
    assert ("0 referrers\n" in ran.err) == bool(options)


def test_referrers_that_may_not_be_listed(registry: FakeRegistry, mirror: FakeRegistry) -> None:
    digest = registry.put_image("web", "1")
    said = "User: x is not authorized to perform: ecr:BatchGetImage on resource: y"
    registry.faults.add(error(403, "DENIED", said), path="/referrers/", times=FOREVER)
    ran = run("copy", registry.reference("web", "1"), mirror.reference("m"), "--referrers", "--output", "json")
    found = document(ran)
    assert (ran.status, found["status"], found["published"], found["digest"]) == (10, "failed", True, digest)
    assert "the image is copied, but not all that refers to it: listing the referrers of " in ran.err
    assert "403 DENIED" in ran.err


def test_layouts(tmp_path: Path) -> None:
    images.write_layout(tmp_path / "a", {"1": PAIR[0]})
    ran = run("copy", f"oci:{tmp_path}/a", f"oci:{tmp_path}/b:2")
    assert ran.text == f"oci:{tmp_path}/b@{PAIR[0].digest}\n"
    assert f"no tag given: using the only image in oci:{tmp_path}/a, or its tag latest\n" in ran.err


def test_result_files_and_github(mirror: FakeRegistry, source: str, tmp_path: Path) -> None:
    environ = {"GITHUB_OUTPUT": str(tmp_path / "outputs"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    files = ("--digest-file", tmp_path / "digest", "--report", tmp_path / "report")
    ran = run("copy", source, mirror.reference("m"), *files, "--output", "json", environ=environ)
    found = document(ran)
    assert (tmp_path / "digest").read_text() == f"{found['digest']}\n"
    assert json.loads((tmp_path / "report").read_bytes()) == found
    assert f"\n{found['reference']}\n" in (tmp_path / "outputs").read_text()
    assert "| 1 | nothing |" in (tmp_path / "summary").read_text()


def test_attestations_that_are_required_and_absent_are_a_check_that_failed(
    mirror: FakeRegistry, registry: FakeRegistry
) -> None:
    registry.put("web", "bare", images.index(list(PAIR)))
    ran = run("copy", registry.reference("web", "bare"), mirror.reference("m"), "--attestations", "require")
    assert (ran.status, mirror.tags("m")) == (1, {})
    assert "there is no attestation for linux/amd64, linux/arm64, and --attestations require was given" in ran.err
    assert "sha256:" not in ran.err.splitlines()[0]


def test_what_was_lost_is_brought_again_and_that_is_said(mirror: FakeRegistry, source: str) -> None:
    target = mirror.reference("m")
    run("copy", source, target)
    del mirror.repository("m").manifests[PAIR[0].digest]
    ran = run("copy", source, target, "--output", "json")
    found = document(ran)
    assert (found["status"], found["blobs"]["sent"]) == ("unchanged", 0)
    assert f"warning: {target}@{found['digest']} was there, but not all that it names: 1 manifest had to be" in ran.err
    assert "not all that it names" not in run("copy", source, target).err


def test_when_a_tag_may_be_overwritten(registry: FakeRegistry, mirror: FakeRegistry, source: str) -> None:
    held = mirror.put_image("m", "1", seed="other")
    target = mirror.reference("m", "1")
    for option in (("--no-overwrite",), ("--expect", NOWHERE)):
        ran = run("copy", source, target, *option)
        assert (ran.status, ran.out, mirror.tag("m", "1")) == (7, b"", held)
        assert ran.err.endswith(f"error: nothing was published: {target} is as it was\n")
    assert run("copy", source, target, "--expect", held).status == 0
    assert mirror.tag("m", "1") == registry.tag("web", "1")


def test_a_further_tag_that_fails(mirror: FakeRegistry, source: str) -> None:
    mirror.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/2$", times=FOREVER)
    ran = run("copy", source, mirror.reference("m"), "--tag", "2", "--output", "json")
    found = document(ran)
    assert (ran.status, found["status"], found["published"]) == (10, "failed", True)
    assert "was published, but not everything that was asked for was done" in ran.err


TYPED: dict[str, tuple[list[str], str]] = {
    "a path": (["./x", "127.0.0.1:1/web:1"], "is not an image reference"),
    "an archive as the target": (["127.0.0.1:1/a", "oci-archive:x.tar"], "an archive cannot be used here"),
    "a digest as the target": (["127.0.0.1:1/a", f"127.0.0.1:1/b@{NOWHERE}"], "not a digest"),
    "half a platform": (["127.0.0.1:1/a", "127.0.0.1:1/b", "--platform", "linux"], "--platform: 'linux'"),
    "no tag": (["127.0.0.1:1/a", "127.0.0.1:1/b", "--tag", "a b"], "--tag: 'a b' is not a tag"),
    "no digest": (["127.0.0.1:1/a", "127.0.0.1:1/b", "--expect", "1"], "--expect: "),
}


@pytest.mark.parametrize("name", TYPED)
def test_what_is_typed_wrong(name: str) -> None:
    arguments, said = TYPED[name]
    ran = run("copy", *arguments)
    assert (ran.status, ran.out) == (2, b"")
    assert said in ran.err
    assert "nothing was published" in ran.err


@pytest.mark.parametrize(
    ("action", "which", "code"),
    [
        (error(405, "UNSUPPORTED", "read-only"), {"method": "POST"}, 4),
        (error(403, "DENIED", "quota exceeded"), {"method": "POST"}, 4),
        (reset(), {"method": "PUT", "path": "/blobs/"}, 5),
        (status(500), {"method": "PUT", "path": "/blobs/"}, 5),
        (error(403, "DENIED", "no"), {"method": "PUT", "path": "/manifests/"}, 4),
    ],
)
def test_registries_that_take_nothing(
    mirror: FakeRegistry, source: str, action: Any, which: dict[str, Any], code: int
) -> None:
    mirror.faults.add(action, times=FOREVER, **which)
    ran = run("copy", source, mirror.reference("m"), "--retries", "1")
    assert (ran.status, ran.out) == (code, b"")
    assert ran.err.splitlines()[-1] == f"error: nothing was published: {mirror.reference('m', '1')} is as it was"
    assert mirror.tags("m") == {}


def test_a_source_that_there_is_not(registry: FakeRegistry, mirror: FakeRegistry) -> None:
    ran = run("copy", registry.reference("web", "9"), mirror.reference("m"), "--output", "json")
    assert (ran.status, document(ran)["digest"]) == (3, None)
    assert document(ran)["source"] == registry.reference("web", "9")


def test_create_brings_images_that_live_elsewhere(registry: FakeRegistry, mirror: FakeRegistry) -> None:
    for name, image in zip(("amd64", "arm64"), PAIR, strict=True):
        registry.put("web", f"1-{name}", image)
    given = (
        "create",
        mirror.reference("m", "1"),
        *(registry.reference("web", f"1-{name}") for name in ("amd64", "arm64")),
    )
    refused = run(*given)
    assert refused.status == 1
    assert mirror.tags("m") == {}
    ran = run(*given, "--copy", "--output", "json")
    assert document(ran)["status"] == "created"
    assert [entry["digest"] for entry in mirror.document("m", "1")["manifests"]] == [image.digest for image in PAIR]
    assert all(mirror.manifest("m", image.digest) is not None for image in PAIR)
    assert " sent (" in ran.err
    assert document(run(*given, "--copy", "--output", "json"))["status"] == "unchanged"
