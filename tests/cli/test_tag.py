"""`manifestctl tag`, and `create --tag-children`: what goes to stdout, what to stderr, and what it says when it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import images
from tests.support.actions import error, reset, status
from tests.support.faults import FOREVER
from tests.support.running import Ran, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry
    from tests.support.faults import Action

NOWHERE = f"sha256:{'0' * 64}"
PAIR = [images.image("linux/amd64"), images.image("linux/arm/v7")]


def document(ran: Ran) -> Any:
    """Return the JSON result, which must be right and tell the status of the process."""
    found = ran.document
    assert found["exit_code"] == ran.status
    return found


def test_more_tags_for_what_is_there(registry: FakeRegistry) -> None:
    digest = registry.put_image("web", "1")
    other = registry.put_image("web", "old", seed="other")
    target = registry.reference("web", "1")
    ran = run("tag", target, "2", "old", "latest")
    assert (ran.status, ran.text) == (0, f"{registry.reference('web')}@{digest}\n")
    assert set(registry.tags("web").values()) == {digest}
    store = registry.reference("web")
    assert ran.err.splitlines() == [
        f"{store}:2 created, read back",
        f"{store}:old moved from {other}, read back",
        f"{store}:latest created, read back",
        "3 tags moved, 0 tags right already",
    ]
    assert registry.manifest_puts[-1][1] == "latest"
    again = run("tag", target, "2", "3", "--output", "digest")
    assert again.text == f"{digest}\n"
    assert again.err.endswith("1 tag moved, 1 tag right already\n")


def test_output_json(registry: FakeRegistry) -> None:
    digest = registry.put_image("web", "1")
    found = document(run("tag", registry.reference("web", "1"), "2", "1", "--output", "json"))
    assert (found["target"], found["digest"]) == (registry.reference("web", "1"), digest)
    assert found["reference"] == f"{registry.reference('web')}@{digest}"
    assert [(tag["tag"], tag["old"], tag["new"], tag["moved"]) for tag in found["tags"]] == [
        ("2", None, digest, True),
        ("1", digest, digest, False),
    ]


def test_no_tag_means_latest_and_that_is_said(registry: FakeRegistry) -> None:
    registry.put_image("web", "latest")
    ran = run("tag", registry.reference("web"), "1")
    assert ran.err.startswith(f"no tag given: using {registry.reference('web')}:latest\n")
    assert registry.tag("web", "1") == registry.tag("web", "latest")


def test_a_layout(tmp_path: Path) -> None:
    images.write_layout(tmp_path / "layout", {"1": PAIR[0]})
    assert run("tag", f"oci:{tmp_path}/layout:1", "2").text == f"oci:{tmp_path}/layout@{PAIR[0].digest}\n"
    assert run("tags", f"oci:{tmp_path}/layout").text.count(PAIR[0].digest) == 2


def test_the_images_of_a_list(registry: FakeRegistry) -> None:
    listed = registry.put("web", "1", images.index(PAIR))
    target = registry.reference("web", "1")
    ran = run("tag", target, "stable", "--each", "{tag}-{arch}{variant}", "--output", "json")
    assert {tag["tag"]: tag["new"] for tag in document(ran)["tags"]} == {
        "1-amd64": PAIR[0].digest,
        "1-armv7": PAIR[1].digest,
        "stable": listed,
    }
    assert registry.tag("web", "1-armv7") == PAIR[1].digest
    again = run("tag", target, "--each", "{tag}-{arch}{variant}")
    assert again.err == "0 tags moved, 2 tags right already\n"


def test_create_tags_the_images_too(registry: FakeRegistry) -> None:
    for image in PAIR:
        registry.put("web", image.digest, image)
    given = [f"@{image.digest}" for image in PAIR]
    ran = run("create", registry.reference("web", "1"), *given, "--tag-children", "{tag}-{arch}{variant}")
    assert ran.status == 0, ran.err
    assert registry.tag("web", "1-amd64") == PAIR[0].digest
    assert registry.tag("web", "1-armv7") == PAIR[1].digest
    assert registry.tag("web", "1") is not None


def test_when_a_tag_may_be_overwritten(registry: FakeRegistry) -> None:
    registry.put_image("web", "1")
    held = registry.put_image("web", "2", seed="other")
    ran = run("tag", registry.reference("web", "1"), "3", "2", "--no-overwrite")
    assert (ran.status, ran.out) == (7, b"")
    assert ran.err.endswith("error: no tag was moved\n")
    assert registry.tag("web", "2") == held
    assert registry.tag("web", "3") is None
    assert run("tag", registry.reference("web", "1"), "2", "--expect", NOWHERE).status == 7
    assert run("tag", registry.reference("web", "1"), "2", "--expect", held).status == 0


@pytest.mark.parametrize(
    ("answer", "then"),
    [
        (status(503), "running this again moves the others"),
        (error(403, "DENIED", "exceeds the maximum allowed number of tags per image"), "the others did not"),
        (error(400, "TAG_INVALID", "the tag is immutable"), "the others did not"),
    ],
    ids=["busy", "quota", "immutable"],
)
def test_some_that_fail(registry: FakeRegistry, answer: Action, then: str) -> None:
    registry.put_image("web", "1")
    registry.faults.add(answer, method="PUT", path="/manifests/bad$", times=FOREVER)
    given = ("good", "bad", "latest", "--concurrency", "1", "--retries", "1", "--output", "json")
    ran = run("tag", registry.reference("web", "1"), *given)
    found = document(ran)
    assert ran.status == 10
    assert {tag["tag"]: tag["moved"] for tag in found["tags"]} == {"good": True, "bad": False, "latest": False}
    assert ran.err.endswith(f"error: 1 tag of 3 moved; {then}\n")
    assert "good created, read back" in ran.err


def test_an_outcome_that_nobody_knows(registry: FakeRegistry) -> None:
    registry.put_image("web", "1")
    registry.faults.add(reset(), method="PUT")
    registry.faults.add(status(500), path="/manifests/2$", after=1, times=FOREVER)
    ran = run("tag", registry.reference("web", "1"), "2", "--retries", "1", "--output", "json")
    assert (ran.status, document(ran)["tags"][0]["moved"]) == (5, "unknown")
    assert ran.err.endswith("it is not known whether 2 moved; look at it, running this again is safe\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["127.0.0.1:1/web:1"], "there is no new tag"),
        (["127.0.0.1:1/web:1", "a b"], "'a b' is not a tag"),
        (["127.0.0.1:1/web:1", "a/b:c"], "is not a tag"),
        (["docker-daemon:web", "2"], "an engine cannot be used here"),
        (["127.0.0.1:1/Web", "2"], "must be lower-case"),
        (["127.0.0.1:1/web:1", "2", "--expect", "x"], "--expect: "),
        (["127.0.0.1:1/web:1", "--each", "{nothing}"], "is not a template"),
    ],
)
def test_what_is_typed_wrong(arguments: list[str], said: str) -> None:
    ran = run("tag", *arguments)
    assert (ran.status, ran.out) == (2, b"")
    assert said in ran.err


def test_an_image_that_there_is_not(registry: FakeRegistry) -> None:
    ran = run("tag", registry.reference("web", "1"), "2", "--output", "json")
    assert (ran.status, document(ran)["reference"]) == (3, None)
    assert ran.err.endswith("error: no tag was moved\n")


def test_what_is_no_list_has_no_images_to_tag(registry: FakeRegistry) -> None:
    registry.put_image("web", "1")
    assert run("tag", registry.reference("web", "1"), "--each", "{arch}").status == 2
    assert registry.manifest_puts == []
