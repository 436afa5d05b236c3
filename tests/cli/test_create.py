"""`manifestctl create`: what goes to stdout, what to stderr, and what it says of itself."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.actions import after_serving, error, reset, status
from tests.support.faults import FOREVER
from tests.support.running import Ran, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry

NOWHERE = f"sha256:{'0' * 64}"


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """Return a layout with the images 1-amd64 and 1-arm64."""
    tagged = {f"1-{name}": images.image(f"linux/{name}") for name in ("amd64", "arm64")}
    images.write_layout(tmp_path / "layout", tagged)
    return f"oci:{tmp_path / 'layout'}"


def create(target: str, *arguments: str, **environ: str) -> Ran:
    return run("create", target, ":1-amd64", ":1-arm64", *arguments, environ=environ)


def test_stdout_has_the_reference_and_nothing_else(layout: str) -> None:
    ran = create(f"{layout}:1")
    assert ran.status == 0
    digest = run("inspect", "--digest", f"{layout}:1").text.strip()
    assert ran.text == f"{layout}@{digest}\n"
    assert ran.err == (f"2 images: linux/amd64, linux/arm64\n{layout}:1 created ({digest[:19]}), read back\n")


def test_each_tag_of_an_image_is_a_line(layout: str) -> None:
    images_of = {name: images.image(f"linux/{name}").digest[:19] for name in ("amd64", "arm64")}
    template = ("--tag-children", "{tag}-{os}-{arch}")
    children = [f"{layout}:1-linux-{name}" for name in images_of]
    dry = create(f"{layout}:1", *template, "--dry-run").err.splitlines()
    assert dry[1:3] == [
        f"{child} would be created ({digest})" for child, digest in zip(children, images_of.values(), strict=True)
    ]
    first = create(f"{layout}:1", *template).err.splitlines()
    assert first[1:3] == [
        f"{child} created ({digest}), read back" for child, digest in zip(children, images_of.values(), strict=True)
    ]
    assert first[3].startswith(f"{layout}:1 created (")
    again = create(f"{layout}:1", *template).err.splitlines()
    assert again[1:3] == [
        f"{child} unchanged ({digest})" for child, digest in zip(children, images_of.values(), strict=True)
    ]


def test_only_the_tags_of_the_images_are_new(layout: str) -> None:
    create(f"{layout}:1")
    ran = create(f"{layout}:1", "--tag-children", "{tag}-{os}-{arch}", "--output", "json")
    assert (ran.document["status"], ran.document["tags"][0]["moved"]) == ("updated", False)
    lines = ran.err.splitlines()
    assert [line.rpartition(" (")[0].removeprefix(f"{layout}:") for line in lines[1:]] == [
        "1-linux-amd64 created",
        "1-linux-arm64 created",
        "1 unchanged",
    ]


def test_tags_of_images_that_moved_before_the_list_was_refused_are_named(registry: FakeRegistry) -> None:
    new = {name: registry.put_image("web", f"1-{name}", f"linux/{name}") for name in ("amd64", "arm64")}
    old = registry.put_image("web", "x-arm64", "linux/s390x")
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/1$")
    ran = create(registry.reference("web", "1"), "--tag-children", "x-{arch}")
    assert (ran.status, ran.out) == (4, b"")
    moved = f"x-amd64 from nothing to {new['amd64']}; x-arm64 from {old} to {new['arm64']}"
    assert f"; tags of its images had moved by then: {moved}\n" in ran.err
    target = registry.reference("web", "1")
    assert ran.err.endswith(
        f"error: the list was not published: {target} is as it was; but tags of its images moved: {moved}\n"
    )


def test_output_digest(layout: str) -> None:
    ran = create(f"{layout}:1", "--output", "digest")
    assert ran.text == f"{json.loads(create(f'{layout}:1', '--output', 'json').out)['digest']}\n"


def test_output_json(layout: str) -> None:
    document = create(f"{layout}:1", "--tag", "latest", "--tag", "1.0", "--output", "json").document
    assert (document["ok"], document["exit_code"], document["status"]) == (True, 0, "created")
    assert document["published"] is True
    assert document["target"] == f"{layout}:1"
    assert document["reference"] == f"{layout}@{document['digest']}"
    assert document["media_type"] == "application/vnd.oci.image.index.v1+json"
    assert [(tag["tag"], tag["old"], tag["moved"]) for tag in document["tags"]] == [
        ("1", None, True),
        ("1.0", None, True),
        ("latest", None, True),
    ]
    assert {tag["new"] for tag in document["tags"]} == {document["digest"]}
    assert [(image["reference"], image["platform"]) for image in document["images"]] == [
        (":1-amd64", "linux/amd64"),
        (":1-arm64", "linux/arm64"),
    ]
    assert document["error"] is None


def test_doing_it_again_is_unchanged(layout: str) -> None:
    first = create(f"{layout}:1")
    again = create(f"{layout}:1")
    assert (again.status, again.out) == (0, first.out)
    assert "unchanged" in again.err
    assert "read back" not in again.err
    assert create(f"{layout}:1", "--output", "json").document["status"] == "unchanged"


def test_a_tag_that_moves_names_what_it_held(layout: str) -> None:
    held = run("create", f"{layout}:1", ":1-amd64", "--output", "digest").text.strip()
    assert f"{layout}:1 moved from {held}" in create(f"{layout}:1").err
    assert create(f"{layout}:1", "--output", "json").document["tags"][0]["old"] != held


def test_dry_run_prints_the_bytes_that_would_be_published(layout: str, tmp_path: Path) -> None:
    files = ("--digest-file", str(tmp_path / "digest"), "--report", str(tmp_path / "report.json"))
    dry = create(f"{layout}:1", "--dry-run", *files)
    assert dry.status == 0
    assert f"{layout}:1 would be created" in dry.err
    assert run("tags", layout).text.count("\n") == 2
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert (report["status"], report["published"]) == ("dry-run", False)
    assert report["digest"] == images.digest_of(dry.out)
    assert not (tmp_path / "digest").exists()
    create(f"{layout}:1")
    assert run("inspect", "--raw", f"{layout}:1").out == dry.out
    assert "unchanged" in create(f"{layout}:1", "--dry-run").err
    assert "would be moved from sha256:" in run("create", f"{layout}:1", ":1-amd64", "--dry-run").err


def test_no_tag_means_latest_and_that_is_said(layout: str, registry: FakeRegistry) -> None:
    assert f"no tag given: using {layout}:latest\n" in create(layout).err
    assert "latest" in run("tags", layout).text
    registry.put_image("web", "latest")
    ran = run("create", registry.reference("web", "list"), registry.reference("web"))
    assert ran.status == 0
    assert f"no tag given: using {registry.reference('web')}:latest\n" in ran.err


def test_a_failed_check_shows_all_findings_and_that_nothing_was_published(registry: FakeRegistry) -> None:
    registry.put_image("web", "1-amd64")
    target = registry.reference("web", "1")
    ran = create(target, ":1-nothing", "--require", "linux/s390x")
    assert (ran.status, ran.out) == (1, b"")
    assert registry.manifest_puts == []
    assert ran.err.count("[image-missing]") == 2
    assert ran.err.count("[platform-required]") == 1
    assert f"3 errors; nothing was published: {target} is as it was" in ran.err.splitlines()[-1]


def test_the_document_of_a_failure_goes_to_stdout_and_the_error_to_stderr(registry: FakeRegistry) -> None:
    registry.put_image("web", "1-amd64")
    ran = create(registry.reference("web", "1"), "--output", "json")
    document = ran.document
    assert (ran.status, document["exit_code"], document["ok"]) == (1, 1, False)
    assert (document["status"], document["published"]) == ("failed", False)
    # The digest of a list that is nowhere would be taken for one that can be pulled.
    assert (document["reference"], document["digest"], document["media_type"]) == (None, None, None)
    assert [finding["rule"] for finding in document["findings"]] == ["image-missing"]
    assert [image["reference"] for image in document["images"]] == [":1-amd64"]
    assert document["requests"]["sent"] >= 3
    assert "error: " in ran.err


def test_a_failed_check_of_what_is_published_already(layout: str) -> None:
    create(f"{layout}:1")
    ran = create(f"{layout}:1", "--require", "linux/s390x")
    assert ran.status == 1
    assert f"nothing was published: {layout}:1 is as it was, and holds this very list already" in ran.err


@pytest.mark.parametrize("output", ["text", "digest"])
def test_a_failure_prints_nothing_to_stdout(layout: str, output: str) -> None:
    ran = create(f"{layout}:1", "--require", "linux/s390x", "--output", output)
    assert (ran.status, ran.out) == (1, b"")


def test_a_conflict(layout: str) -> None:
    run("create", f"{layout}:1", ":1-amd64")
    for option in (("--no-overwrite",), ("--expect", NOWHERE)):
        ran = create(f"{layout}:1", *option)
        assert ran.status == 7
        assert "nothing was published" in ran.err
    held = run("inspect", "--digest", f"{layout}:1").text.strip()
    assert create(f"{layout}:1", "--expect", held).status == 0


def test_an_outcome_that_nobody_knows(registry: FakeRegistry) -> None:
    for name in ("amd64", "arm64"):
        registry.put_image("web", f"1-{name}", f"linux/{name}")
    registry.faults.add(reset(), method="PUT")
    registry.faults.add(status(500), path="/manifests/1$", after=1, times=FOREVER)
    target = registry.reference("web", "1")
    ran = create(target, "--retries", "1", "--output", "json")
    assert ran.status == 5
    document = ran.document
    assert document["published"] == "unknown"
    assert document["tags"][0]["moved"] == "unknown"
    assert document["digest"] is not None
    assert f"it is not known whether {target} was published" in ran.err


def test_an_answer_that_was_lost_is_found_out(registry: FakeRegistry) -> None:
    for name in ("amd64", "arm64"):
        registry.put_image("web", f"1-{name}", f"linux/{name}")
    registry.faults.add(after_serving(reset()), method="PUT")
    ran = create(registry.reference("web", "1"), "--retries", "1", "--output", "json")
    assert ran.status == 0
    assert (ran.document["published"], ran.document["status"]) == (True, "created")


def test_a_further_tag_that_fails_says_which_moved(registry: FakeRegistry, tmp_path: Path) -> None:
    for name in ("amd64", "arm64"):
        registry.put_image("web", f"1-{name}", f"linux/{name}")
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/2$", times=FOREVER)
    digest_file = tmp_path / "digest"
    ran = create(
        registry.reference("web", "1"),
        "--tag",
        "latest",
        "--tag",
        "2",
        "--output",
        "json",
        "--digest-file",
        str(digest_file),
    )
    assert ran.status == 10
    document = ran.document
    assert (document["status"], document["published"], document["ok"]) == ("failed", True, False)
    assert [(tag["tag"], tag["moved"]) for tag in document["tags"]] == [("1", True), ("2", False), ("latest", False)]
    assert document["reference"].endswith(document["digest"])
    assert "1 moved" in ran.err
    assert "2 failed" in ran.err
    assert "latest was not tried" in ran.err
    assert "was published, but not everything that was asked for was done" in ran.err
    assert not digest_file.exists()


def test_quiet_leaves_out_all_but_errors(layout: str) -> None:
    assert create(f"{layout}:1", "--quiet").err == ""
    run("create", f"{layout}:1", ":1-amd64", ":1-amd64")
    assert "image-duplicate" in run("create", f"{layout}:1", ":1-amd64", ":1-amd64").err
    assert run("create", f"{layout}:1", ":1-amd64", ":1-amd64", "-q").err == ""
    assert "image-missing" in run("create", f"{layout}:1", ":nothing", "-q").err


def test_verbose_shows_each_request(registry: FakeRegistry) -> None:
    for name in ("amd64", "arm64"):
        registry.put_image("web", f"1-{name}", f"linux/{name}")
    ran = create(registry.reference("web", "1"), "-v")
    lines = [line for line in ran.err.splitlines() if line.startswith("http: ")]
    assert len(lines) == len(registry.requests) == 7
    assert sum(line.startswith("http: PUT ") for line in lines) == 1


def test_the_log_as_json(layout: str) -> None:
    ran = create(f"{layout}:1", ":nothing", "--log-format", "json")
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert [line["level"] for line in lines] == ["error", "hint", "error"]
    assert lines[0]["rule"] == "image-missing"
    assert "nothing was published" in lines[-1]["message"]


@pytest.mark.parametrize(
    ("options", "rule", "status"),
    [
        (["--allow", "image-duplicate"], "warning: ", 0),
        (["--deny", "image-duplicate"], "error: ", 1),
        (["--deny", "image-duplicate", "--allow", "image-duplicate"], "error: ", 1),
    ],
)
def test_allow_and_deny(layout: str, options: list[str], rule: str, status: int) -> None:
    ran = run("create", f"{layout}:1", ":1-amd64", ":1-amd64", *options)
    assert ran.status == status
    (line,) = [line for line in ran.err.splitlines() if "[image-duplicate]" in line]
    assert line.startswith(rule)


def test_annotations_and_platforms_reach_the_list(layout: str) -> None:
    create(
        f"{layout}:1",
        "--annotation",
        "org.example.a=x=y",
        "--entry-annotation",
        "linux/arm64=org.example.b=z=w",
        "--require",
        "linux/amd64, linux/arm64",
        "--exact",
        "--same",
        "none",
        "--allow",
        "label-differs",
        "--format",
        "oci",
        "--check",
        "blobs",
        "--attestations",
        "drop",
    )
    document = json.loads(run("inspect", "--raw", f"{layout}:1").out)
    assert document["annotations"] == {"org.example.a": "x=y"}
    assert document["manifests"][1]["annotations"] == {"org.example.b": "z=w"}


def test_a_platform_that_is_declared(tmp_path: Path) -> None:
    images.write_layout(tmp_path / "layout", {"a": images.image(None)})
    target = f"oci:{tmp_path / 'layout'}:1"
    assert run("create", target, ":a").status == 1
    ran = run("create", target, ":a", "--set-platform", ":a=linux/arm/v7", "--output", "json")
    assert ran.document["images"][0]["platform"] == "linux/arm/v7"


def test_images_of_a_list_are_narrowed_and_keep_their_attestations(tmp_path: Path) -> None:
    built = images.buildx_index([images.image("linux/amd64"), images.image("linux/arm64")])
    images.write_layout(tmp_path / "layout", {"b": built})
    ran = run("create", f"oci:{tmp_path / 'layout'}:1", ":b", "--platform", "linux/arm64", "--output", "json")
    (image,) = ran.document["images"]
    assert image["platform"] == "linux/arm64"
    assert len(image["attestations"]) == 1


def test_a_warning_about_certificates_that_are_not_verified(registry: FakeRegistry) -> None:
    registry.put_image("web", "1-amd64")
    ran = run("create", registry.reference("web", "1"), ":1-amd64", "--tls-skip-verify", "elsewhere.example.com")
    assert ran.status == 0
    assert "warning: --tls-skip-verify: whoever answers for elsewhere.example.com is believed" in ran.err
    quiet = run(
        "create", registry.reference("web", "1"), ":1-amd64", "--tls-skip-verify", "elsewhere.example.com", "-q"
    )
    assert quiet.err == ""


def test_a_retry_is_one_line(registry: FakeRegistry) -> None:
    registry.put_image("web", "1-amd64")
    registry.faults.add(status(503, retry_after=0), method="GET", path="/blobs/")
    ran = run("create", registry.reference("web", "1"), ":1-amd64", "--output", "json")
    assert ran.status == 0
    assert ran.err.count("retry: ") == 1
    assert ran.document["requests"]["retried"] == 1
