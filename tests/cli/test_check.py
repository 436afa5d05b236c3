"""`manifestctl check`: the findings are the result, and go to stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.actions import error, proxy_page
from tests.support.faults import FOREVER
from tests.support.running import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry


@pytest.fixture
def target(registry: FakeRegistry) -> str:
    """Return a reference in a repository with the images amd64 and arm64."""
    for name in ("amd64", "arm64"):
        registry.put_image("web", name, f"linux/{name}")
    return registry.reference("web", "1")


def test_images_that_can_be_published(registry: FakeRegistry, target: str) -> None:
    ran = run("check", target, ":amd64", ":arm64", "--require", "linux/amd64,linux/arm64")
    assert (ran.status, ran.err) == (0, "")
    first, second, verdict = ran.text.splitlines()
    assert first.startswith("ok       linux/amd64  :amd64  sha256:")
    assert second.startswith("ok       linux/arm64  :arm64  sha256:")
    assert verdict == f"{target}: 2 images, 0 errors, 0 warnings; can be published"
    assert registry.manifest_puts == []


def test_findings_go_to_stdout_with_their_next_steps(target: str) -> None:
    ran = run("check", target, ":amd64", ":gone", ":gone-too", "--require", "linux/s390x")
    assert (ran.status, ran.err) == (1, "")
    # Both have one next step, which stands once.
    assert ran.text.count("[image-missing]\nerror: ") == ran.text.count("[image-missing]\n         hint: ") == 1
    assert ran.text.count("[platform-required]\n         hint: ") == 1
    assert ran.text.endswith(f"{target}: 1 image, 3 errors, 0 warnings; must not be published\n")


def test_warnings_alone_are_success(target: str) -> None:
    ran = run("check", target, ":amd64", ":amd64")
    assert ran.status == 0
    assert "\nwarning: " in ran.text
    assert ran.text.endswith("1 image, 0 errors, 1 warning; can be published\n")


def test_output_json(target: str) -> None:
    document = run("check", target, ":amd64", ":arm64", "--output", "json").document
    digest = run("create", target, ":amd64", ":arm64", "--output", "digest").text.strip()
    assert document["digest"] == digest
    assert document["target"] == target
    assert [image["platform"] for image in document["images"]] == ["linux/amd64", "linux/arm64"]
    failed = run("check", target, ":amd64", ":gone", "--output", "json")
    assert failed.status == failed.document["exit_code"] == 1
    assert failed.document["digest"] is None
    assert [finding["rule"] for finding in failed.document["findings"]] == ["image-missing"]
    assert "[image-missing]" in failed.err


def test_output_digest(target: str) -> None:
    ran = run("check", target, ":amd64", ":arm64", "--output", "digest")
    assert ran.text == run("create", target, ":amd64", ":arm64", "--output", "digest").text
    failed = run("check", target, ":gone", "--output", "digest")
    assert (failed.status, failed.out) == (1, b"")
    assert "[image-missing]" in failed.err


def test_layers_are_looked_for_when_asked(registry: FakeRegistry, target: str) -> None:
    image = images.image("linux/amd64")
    registry.put("web", "broken", image)
    layer = images.digest_of(image.layers[0])
    registry.faults.add(error(404, "BLOB_UNKNOWN", "gone"), path=layer, times=FOREVER)
    assert run("check", target, ":broken").status == 0
    ran = run("check", target, ":broken", "--check", "blobs")
    assert ran.status == 1
    assert layer in ran.text
    assert "[layer-missing]" in ran.text


def test_a_repository_that_does_not_exist() -> None:
    from tests.support.fake_registry import FakeRegistry

    with FakeRegistry(unknown_repository="NAME_UNKNOWN") as registry:
        ran = run("check", registry.reference("web", "1"), ":amd64")
    assert ran.status == 3
    assert "could not be checked to the end" in ran.text
    assert ran.err.startswith("error: ")
    assert "Create the repository" in ran.err
    assert (ran.text + ran.err).count("NAME_UNKNOWN") == 1


def test_what_could_not_be_checked_outranks_what_was_found(registry: FakeRegistry, target: str) -> None:
    registry.faults.add(error(403, "DENIED", "no"), path="/manifests/arm64", times=FOREVER)
    ran = run("check", target, ":gone", ":arm64", "--output", "json")
    assert ran.status == 4
    assert {finding["category"] for finding in ran.document["findings"]} == {"missing", "denied"}


def test_a_page_of_a_proxy(registry: FakeRegistry, target: str) -> None:
    registry.faults.add(proxy_page(), times=FOREVER)
    ran = run("check", target, ":amd64", "--retries", "1")
    assert ran.status in (1, 5)
    assert "<html" not in ran.text.lower()


def test_a_path_cannot_forge_a_line_of_the_result(tmp_path: Path) -> None:
    target = f"oci:{tmp_path}/a\n::error::b:1"
    ran = run("check", target, ":amd64")
    assert ran.status != 0
    assert not any(line.startswith("::") for line in (ran.text + ran.err).splitlines())
