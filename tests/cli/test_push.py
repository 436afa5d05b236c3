"""`manifestctl push`: where the image is, what goes to stdout, what to stderr, and what it says when it fails."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.cli.push import source_location
from manifestctl.model.media_types import DOCKER_MANIFEST, OCI_MANIFEST
from tests.support import images
from tests.support.actions import error, reset, status
from tests.support.archives import legacy_save, modern_save, packed, saved, write_archive
from tests.support.fake_engine import FakeEngine
from tests.support.faults import FOREVER
from tests.support.privileges import NOBODY, unprivileged
from tests.support.running import Ran, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.fake_registry import FakeRegistry

IMAGE = images.image("linux/amd64", layers=2)
SAVED = saved(IMAGE, "web:1")
NOWHERE = f"sha256:{'0' * 64}"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return a `docker save` file with one image of two layers."""
    return write_archive(tmp_path / "image.tar", legacy_save(SAVED))


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """Return an engine without images."""
    with FakeEngine() as server:
        yield server


def document(ran: Ran) -> Any:
    """Return the JSON result, which must be right and tell the status of the process."""
    found = ran.document
    assert found["exit_code"] == ran.status
    return found


SOURCES = {
    "web": "docker-daemon:web",
    "web:1.4": "docker-daemon:web:1.4",
    "registry.example.com:5000/team/web:1": "docker-daemon:registry.example.com:5000/team/web:1",
    "0123456789ab": "docker-daemon:0123456789ab",
    "docker-daemon:web.tar": "docker-daemon:web.tar",
    "/x/image": "docker-archive:/x/image",
    "./image": "docker-archive:./image",
    "../image:web:1": "docker-archive:../image:web:1",
    "image.tar": "docker-archive:image.tar",
    "image.tar.gz": "docker-archive:image.tar.gz",
    "image.tar.zst": "docker-archive:image.tar.zst",
    "build:7.tar": "docker-archive:build:7.tar",
    "./image.tar:web:1+2": "docker-archive:./image.tar:web:1+2",
    "oci-archive:image.tar": "oci-archive:image.tar",
    "docker-archive:image.tar:web:1": "docker-archive:image.tar:web:1",
    "oci:image.tar:1": "oci:image.tar:1",
}


@pytest.mark.parametrize(("text", "meant"), SOURCES.items())
def test_what_a_source_means(text: str, meant: str) -> None:
    assert str(source_location(text)) == meant


def test_a_path_to_a_directory_is_a_layout(tmp_path: Path) -> None:
    images.write_layout(tmp_path / "layout.tar", {"1": IMAGE})
    for text in (f"{tmp_path}/layout.tar", f"{tmp_path}/layout.tar:1"):
        assert str(source_location(text)) == f"oci:{text}"


def test_stdout_has_the_reference_and_nothing_else(registry: FakeRegistry, archive: Path) -> None:
    target = registry.reference("web", "1")
    ran = run("push", archive, target)
    assert ran.status == 0
    digest = registry.tag("web", "1")
    assert digest is not None
    assert ran.text == f"{target.removesuffix(':1')}@{digest}\n"
    lines = ran.err.splitlines()
    assert sorted(re.sub("[0-9a-f]{12}", "…", line) for line in lines[:2]) == ["sha256:… packed (10.0 KiB)"] * 2
    assert lines[2].startswith("linux/amd64: 2 layers: 2 packed (")
    assert lines[3] == f"{target} created ({digest[:19]}), read back"
    assert len(lines) == 4


def test_doing_it_again_is_unchanged(registry: FakeRegistry, archive: Path) -> None:
    target = registry.reference("web", "1")
    first = run("push", archive, target)
    again = run("push", archive, target)
    assert (again.status, again.out) == (0, first.out)
    assert f"{target} unchanged (" in again.err
    assert "packed" not in again.err
    assert document(run("push", archive, target, "--output", "json"))["status"] == "unchanged"


def test_one_argument_pushes_the_engines_image_of_that_name(registry: FakeRegistry, engine: FakeEngine) -> None:
    name = registry.reference("web", "1")
    engine.add(IMAGE, name, "other:1")
    environ = {"DOCKER_HOST": engine.address}
    assert run("push", name, environ=environ).text == f"{registry.reference('web')}@{registry.tag('web', '1')}\n"
    assert run("push", f"docker-daemon:{name}", "--output", "digest", environ=environ).text.strip() == registry.tag(
        "web", "1"
    )
    by_id = run("push", f"sha256:{SAVED.config_hex}", registry.reference("web", "2"), environ=environ)
    assert by_id.status == 0
    assert registry.tag("web", "2") == registry.tag("web", "1")


def test_an_id_is_not_taken_for_a_name(registry: FakeRegistry, engine: FakeEngine) -> None:
    """Nothing is exported, and Docker Hub, where the name would lead, is not asked."""
    identity = engine.add(IMAGE, registry.reference("web", "1"))[7:19]
    environ = {"DOCKER_HOST": engine.address}
    ran = run("push", identity, environ=environ)
    check_failed(
        ran, 2, f"'{identity}' is the id of an image in", f"Write manifestctl push {identity} registry/repository:tag"
    )
    assert not engine.count(path_regex="images/get")
    assert run("push", identity, registry.reference("web", "2"), environ=environ).status == 0


def test_no_tag_means_latest_and_that_is_said(registry: FakeRegistry, engine: FakeEngine, tmp_path: Path) -> None:
    name = registry.reference("web")
    engine.add(IMAGE, f"{name}:latest")
    ran = run("push", name, environ={"DOCKER_HOST": engine.address})
    assert ran.status == 0
    assert ran.err.startswith(f"no tag given: using {name}:latest\n")
    assert registry.tag("web", "latest") is not None
    layout = run("push", f"docker-daemon:{name}", f"oci:{tmp_path}/new", environ={"DOCKER_HOST": engine.address})
    assert f"no tag given: using oci:{tmp_path}/new:latest\n" in layout.err
    assert f"oci:{tmp_path}/new:latest created" in layout.err


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_archives_that_are_packed(registry: FakeRegistry, tmp_path: Path, kind: Any) -> None:
    path = write_archive(tmp_path / "image.tar.x", modern_save(SAVED), kind)
    ran = run("push", f"docker-archive:{path}", registry.reference("web", "1"))
    assert ran.status == 0, ran.err
    assert "unpacked into a temporary file in " in ran.err


def test_output_json(registry: FakeRegistry, archive: Path) -> None:
    target = registry.reference("web", "1")
    found = document(run("push", archive, target, "--tag", "latest", "--tag", "1.0", "--output", "json"))
    digest = registry.tag("web", "1")
    assert found["reference"] == f"{registry.reference('web')}@{digest}"
    assert (found["target"], found["digest"], found["media_type"]) == (target, digest, DOCKER_MANIFEST)
    assert (found["status"], found["published"], found["platform"]) == ("created", True, "linux/amd64")
    assert [(tag["tag"], tag["old"], tag["new"], tag["moved"]) for tag in found["tags"]] == [
        (tag, None, digest, True) for tag in ("1", "1.0", "latest")
    ]
    assert [layer["how"] for layer in found["layers"]] == ["packed", "packed"]
    named = registry.document("web", "1")["layers"]
    assert [(layer["digest"], layer["size"]) for layer in found["layers"]] == [(x["digest"], x["size"]) for x in named]


def test_formats_and_compression(registry: FakeRegistry, archive: Path) -> None:
    options = (
        "--format",
        "oci",
        "--compression",
        "zstd",
        "--compression-level",
        "5",
        "--annotation",
        "org.example.a=b=c",
    )
    found = document(run("push", archive, registry.reference("web", "1"), *options, "--output", "json"))
    assert found["media_type"] == OCI_MANIFEST
    assert {layer["media_type"] for layer in found["layers"]} == {"application/vnd.oci.image.layer.v1.tar+zstd"}
    assert registry.document("web", "1")["annotations"] == {"org.example.a": "b=c"}
    run("push", archive, registry.reference("web", "2"), "--format", "oci", "--compression", "none")
    assert [layer["digest"] for layer in registry.document("web", "2")["layers"]] == SAVED.diff_ids


def test_by_digest_moves_no_tag_and_says_what_that_means(registry: FakeRegistry, archive: Path, tmp_path: Path) -> None:
    given = ("push", archive, registry.reference("web", "1"), "--by-digest")
    ran = run(*given, "--output", "digest", "--digest-file", tmp_path / "digest")
    digest = ran.text.strip()
    assert registry.tags("web") == {}
    assert registry.manifest("web", digest) is not None
    assert (tmp_path / "digest").read_text() == ran.text
    assert ran.err.splitlines()[-3:] == [
        f"{registry.reference('web')}@{digest} is there now; no tag was moved",
        f"{registry.reference('web', '1')} is left as it is: --by-digest moves no tag",
        "some registries delete untagged images until a list refers to them",
    ]
    assert "left as it is" not in run("push", archive, registry.reference("web"), "--by-digest").err
    again = document(run(*given, "--output", "json"))
    assert (again["status"], again["published"], again["tags"]) == ("unchanged", True, [])
    assert again["target"] == registry.reference("web")


def test_a_source_of_several_platforms(registry: FakeRegistry, tmp_path: Path) -> None:
    pair = [images.image(f"linux/{name}") for name in ("amd64", "arm64")]
    images.write_layout(tmp_path / "layout", {"1": images.index(pair)})
    target = registry.reference("web", "1")
    refused = run("push", f"{tmp_path}/layout:1", target)
    assert (refused.status, registry.manifest_puts) == (2, [])
    assert "linux/amd64, linux/arm64" in refused.err
    assert "--platform" in refused.err
    one = document(run("push", f"{tmp_path}/layout:1", target, "--platform", "linux/arm64", "--output", "json"))
    assert (one["digest"], one["platform"]) == (pair[1].digest, "linux/arm64")
    both = document(run("push", f"{tmp_path}/layout:1", target, "--platform", "all", "--output", "json"))
    assert (both["status"], both["platform"]) == ("updated", None)
    everything = run("push", f"{tmp_path}/layout:1", target, "--platform", "all")
    assert "a list of 2 images: linux/amd64, linux/arm64\n" in everything.err
    assert both["tags"][0]["old"] == pair[1].digest
    absent = run("push", f"{tmp_path}/layout:1", target, "--platform", "linux/s390x")
    assert absent.status == 3
    assert "linux/s390x" in absent.err


def test_an_engines_image_of_several_platforms(registry: FakeRegistry) -> None:
    pair = [images.image(f"linux/{name}") for name in ("amd64", "arm64")]
    target = registry.reference("web", "1")
    with FakeEngine("containerd") as engine:
        engine.add(images.index(pair), "web:1")
        environ = {"DOCKER_HOST": engine.address}
        assert run("push", "web:1", target, environ=environ).status == 2
        assert run("push", "web:1", target, "--platform", "linux/arm64", environ=environ).status == 0
        assert registry.tag("web", "1") == pair[1].digest
        assert run("push", "web:1", target, "--platform", "all", environ=environ).status == 0
        assert registry.tag("web", "1") == images.index(pair).digest


def test_when_a_tag_may_be_overwritten(registry: FakeRegistry, archive: Path) -> None:
    held = registry.put_image("web", "1", "linux/arm64")
    target = registry.reference("web", "1")
    for option in (("--no-overwrite",), ("--expect", NOWHERE)):
        ran = run("push", archive, target, *option)
        assert (ran.status, ran.out, registry.tag("web", "1")) == (7, b"", held)
        assert ran.err.endswith(f"error: nothing was published: {target} is as it was\n")
    ran = run("push", archive, target, "--expect", held)
    assert ran.status == 0
    assert f"{target} moved from {held} (" in ran.err


def test_result_files_and_github(registry: FakeRegistry, archive: Path, tmp_path: Path) -> None:
    environ = {"GITHUB_OUTPUT": str(tmp_path / "outputs"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    files = ("--digest-file", tmp_path / "digest", "--report", tmp_path / "report")
    ran = run("push", archive, registry.reference("web", "1"), *files, "--output", "json", environ=environ)
    digest = registry.tag("web", "1")
    assert (tmp_path / "digest").read_text() == f"{digest}\n"
    assert json.loads((tmp_path / "report").read_bytes()) == document(ran)
    outputs = (tmp_path / "outputs").read_text()
    assert re.findall(r"^(\w+)<<manifestctl-\w+\n(.*)\n", outputs, re.MULTILINE)[:4] == [
        ("reference", f"{registry.reference('web')}@{digest}"),
        ("digest", digest),
        ("status", "created"),
        ("published", "true"),
    ]
    assert f"| 1 | nothing | {digest} |" in (tmp_path / "summary").read_text().replace("\\", "")


def test_result_files_of_a_failure(registry: FakeRegistry, tmp_path: Path) -> None:
    environ = {"GITHUB_OUTPUT": str(tmp_path / "outputs"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    (tmp_path / "digest").write_text("of an earlier run")
    files = ("--digest-file", tmp_path / "digest", "--report", tmp_path / "report")
    ran = run("push", tmp_path / "no.tar", registry.reference("web", "1"), *files, "--output", "json", environ=environ)
    found = document(ran)
    assert (ran.status, found["status"], found["published"], found["digest"]) == (3, "failed", False, None)
    assert not (tmp_path / "digest").exists()
    assert json.loads((tmp_path / "report").read_bytes()) == found
    assert "status<<" in (tmp_path / "outputs").read_text()
    assert "no.tar does not exist" in (tmp_path / "summary").read_text().replace("\\", "")
    assert f"::error::{found['error']['message']}" in ran.err
    assert found["error"]["hint"] == "Check the path."


def test_a_further_tag_that_fails(registry: FakeRegistry, archive: Path) -> None:
    registry.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/2$", times=FOREVER)
    target = registry.reference("web", "1")
    ran = run("push", archive, target, "--tag", "2", "--output", "json")
    found = document(ran)
    assert (ran.status, found["status"], found["published"]) == (10, "failed", True)
    assert [(tag["tag"], tag["moved"]) for tag in found["tags"]] == [("1", True), ("2", False)]
    assert found["digest"] == registry.tag("web", "1")
    assert ran.err.endswith(f"error: {target} was published, but not everything that was asked for was done\n")


def test_quiet_and_the_log_as_json(registry: FakeRegistry, archive: Path) -> None:
    assert run("push", archive, registry.reference("web", "1"), "-q").err == ""
    lines = run("push", archive, registry.reference("web", "2"), "--log-format", "json").err.splitlines()
    assert {json.loads(line)["level"] for line in lines} == {"note"}
    assert "retry: " not in run("push", archive, registry.reference("web", "3"), "-v").err


def check_failed(ran: Ran, code: int, *said: str) -> None:
    """Fail unless it ended with this status and these words, in few lines, and said that nothing was published."""
    assert ran.status == code, ran
    assert ran.out == b""
    assert "Traceback" not in ran.err
    assert "bug in manifestctl" not in ran.err
    lines = [line for line in ran.err.splitlines() if line.startswith(("error: ", "  hint: "))]
    assert lines[-1].startswith("error: nothing was published"), ran.err
    assert len(lines) <= 3, ran.err
    for words in said:
        assert words in ran.err, ran.err


TYPED: dict[str, tuple[list[str], str]] = {
    "no target for a path": (["./x.tar"], "there is no target to push it to"),
    "no target for a layout": (["oci:x:1"], "there is no target to push it to"),
    "an id as the target": (["sha256:0123456789ab"], "an id says nothing of where to push it"),
    "no source": (["", "127.0.0.1:1/web:1"], "names no image"),
    "a source of several words": (["a b", "127.0.0.1:1/web:1"], "names no image"),
    "an archive as the target": (["web", "docker-archive:x.tar"], "an archive cannot be used here"),
    "an engine as the target": (["web", "docker-daemon:web"], "an engine cannot be used here"),
    "a digest as the target": (["web", f"127.0.0.1:1/web@{NOWHERE}"], "not a digest"),
    "a name in capitals": (["127.0.0.1:1/Web"], "must be lower-case"),
    "several platforms": (["web", "127.0.0.1:1/web:1", "--platform", "linux/arm,linux/amd64"], "several platforms"),
    "all and another platform": (["web", "127.0.0.1:1/web:1", "--platform", "all,linux/arm"], "--platform: 'all'"),
    "half a platform": (["web", "127.0.0.1:1/web:1", "--platform", "linux"], "--platform: 'linux'"),
    "no tag": (["web", "127.0.0.1:1/web:1", "--tag", "-"], "--tag: '-' is not a tag"),
    "no digest": (["web", "127.0.0.1:1/web:1", "--expect", "x"], "--expect: "),
    "both guards": (["web", "127.0.0.1:1/w:1", "--expect", NOWHERE, "--no-overwrite"], "are both given"),
    "a tag that is not to move": (
        ["web", "127.0.0.1:1/web:1", "--by-digest", "--tag", "2"],
        "--by-digest moves no tag",
    ),
    "no annotation": (["web", "127.0.0.1:1/web:1", "--annotation", "x"], "is not KEY=VALUE"),
    "zstd in Docker's": (["web", "127.0.0.1:1/w:1", "--compression", "zstd", "--format", "docker"], "zstd"),
    "a level too high": (
        ["web", "127.0.0.1:1/w:1", "--compression-level", "10"],
        "10 is not a compression level of gzip",
    ),
    "a level of nothing": (["web", "127.0.0.1:1/w:1", "--compression", "none", "--compression-level", "1"], "level"),
    "an engine elsewhere": (["web", "127.0.0.1:1/w:1"], "docker save"),
}


@pytest.mark.parametrize("name", TYPED)
def test_what_is_typed_wrong(name: str) -> None:
    arguments, said = TYPED[name]
    check_failed(run("push", *arguments, environ={"DOCKER_HOST": "ssh://build@example.com"}), 2, said)


@pytest.mark.parametrize("option", ["--format", "--compression"])
def test_what_is_not_among_the_choices(option: str) -> None:
    ran = run("push", "web", "127.0.0.1:1/web:1", option, "x")
    assert (ran.status, ran.out) == (2, b"")
    assert option in ran.err


def test_no_engine(tmp_path: Path) -> None:
    ran = run("push", "web:1", "127.0.0.1:1/web:1", environ={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    check_failed(ran, 5, f"no engine at unix://{tmp_path}/none.sock (from DOCKER_HOST)", "systemctl start docker")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a socket to a group")
def test_no_permission_on_the_socket(engine: FakeEngine) -> None:
    engine.path.parent.chmod(0o755)
    os.chown(engine.path, 0, 1)
    engine.path.chmod(0o660)
    with unprivileged():
        assert os.geteuid() == NOBODY
        ran = run("push", "web:1", "127.0.0.1:1/web:1", environ={"DOCKER_HOST": engine.address})
    check_failed(ran, 4, f"no permission to open {engine.address}", "its group is '")


def test_an_image_that_is_in_a_registry(registry: FakeRegistry, engine: FakeEngine) -> None:
    source, target = registry.reference("team/web", "1.0"), registry.reference("web", "1")
    ran = run("push", source, target, environ={"DOCKER_HOST": engine.address})
    check_failed(ran, 3, f"run 'manifestctl copy {source} {target}'")
    # With one argument it would be copied onto itself.
    assert "manifestctl copy" not in run("push", source, environ={"DOCKER_HOST": engine.address}).err


def test_the_target_is_no_digest() -> None:
    ran = run("push", "web", f"127.0.0.1:1/web@{NOWHERE}")
    check_failed(ran, 2, "not a digest", "--by-digest pushes without moving a tag")


def test_an_image_that_the_engine_does_not_have(registry: FakeRegistry, engine: FakeEngine) -> None:
    engine.add(IMAGE, "team/web:1.4")
    ran = run("push", "team/web:1.5", registry.reference("web", "1"), environ={"DOCKER_HOST": engine.address})
    check_failed(ran, 3, "there is no image 'team/web:1.5'", "Names like it are team/web:1.4.")


def archives_that_are_wrong(directory: Path) -> dict[str, tuple[Path, int, str]]:
    """Return files, each with the exit code and words of the error that it is."""
    whole = write_archive(directory / "whole.tar", legacy_save(SAVED)).read_bytes()
    other = replace(SAVED, layers=(SAVED.layers[0], SAVED.layers[1][:-1] + b"x"))
    contents = {
        "cut off": (whole[:3000], 6, "cut off"),
        "cut off, packed": (packed(whole, "gzip")[:-20], 6, "cut off"),
        "empty": (b"", 1, "it is empty"),
        "no tar": (b"x" * 3000, 1, "it is not a tar"),
    }
    made = {}
    for name, (data, code, said) in contents.items():
        path = directory / f"{name}.tar"
        path.write_bytes(data)
        made[name] = (path, code, said)
    several = legacy_save(SAVED, saved(images.image("linux/arm64"), "api:2"))
    made["several images"] = (write_archive(directory / "several.tar", several), 2, "web:1, api:2")
    made["another layer"] = (write_archive(directory / "other.tar", legacy_save(other)), 6, SAVED.diff_ids[1])
    made["not there"] = (directory / "nothing.tar", 3, "does not exist")
    made["a device"] = (Path("/dev/null"), 2, "neither a file nor a pipe")
    made["a directory"] = (directory, 3, "is not an OCI layout")
    return made


WRONG = (
    "cut off",
    "cut off, packed",
    "empty",
    "no tar",
    "several images",
    "another layer",
    "not there",
    "a device",
    "a directory",
)


@pytest.mark.parametrize("name", WRONG)
def test_archives_that_cannot_be_pushed(registry: FakeRegistry, tmp_path: Path, name: str) -> None:
    path, code, said = archives_that_are_wrong(tmp_path)[name]
    check_failed(run("push", path, registry.reference("web", "1")), code, said)
    assert registry.manifest_puts == []


def test_one_of_several_images_is_named(registry: FakeRegistry, tmp_path: Path) -> None:
    path = archives_that_are_wrong(tmp_path)["several images"][0]
    ran = run("push", f"{path}:api:2", registry.reference("web", "1"), "--output", "json")
    assert document(ran)["platform"] == "linux/arm64"


REGISTRIES: dict[str, tuple[Any, dict[str, Any], int, str]] = {
    "read-only": (
        error(405, "UNSUPPORTED", "read-only mode"),
        {"method": "POST"},
        4,
        '405 UNSUPPORTED "read-only mode"',
    ),
    "denied": (error(403, "DENIED", "no access"), {"method": "POST"}, 4, '403 DENIED "no access"'),
    "out of quota": (error(403, "DENIED", "quota exceeded"), {"method": "POST"}, 4, "A quota or limit"),
    "no repository": (error(404, "NAME_UNKNOWN", "no such repository"), {"method": "POST"}, 3, "NAME_UNKNOWN"),
    "dies in a layer": (reset(), {"method": "PATCH"}, 5, "broke"),
    "fails in a layer": (status(503), {"method": "PATCH"}, 5, "503"),
    "fails at the end of a layer": (status(500), {"method": "PUT", "path": "/blobs/"}, 5, "500"),
    "takes no manifest": (error(403, "DENIED", "no"), {"method": "PUT", "path": "/manifests/"}, 4, "DENIED"),
}


@pytest.mark.parametrize("name", REGISTRIES)
def test_registries_that_take_nothing(registry: FakeRegistry, archive: Path, name: str) -> None:
    action, which, code, said = REGISTRIES[name]
    registry.faults.add(action, times=FOREVER, **which)
    ran = run("push", archive, registry.reference("web", "1"), "--retries", "1")
    check_failed(ran, code, said)
    assert registry.tags("web") == {}


def test_a_registry_that_dies_once_in_a_layer(registry: FakeRegistry, archive: Path) -> None:
    registry.faults.add(status(503, retry_after=0), method="PATCH")
    ran = run("push", archive, registry.reference("web", "1"), "--output", "json")
    assert ran.status == 0
    assert ran.err.count("retry: ") == 1
    assert document(ran)["requests"]["retried"] == 1


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a file system with room for 64 KiB."""
    place = tmp_path / "tiny"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("only root can mount a small file system, and not everywhere")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_no_space_to_unpack_an_archive(registry: FakeRegistry, tmp_path: Path, tiny_disk: Path) -> None:
    large = replace(SAVED, layers=(SAVED.layers[0], bytes(1_000_000)))
    path = write_archive(tmp_path / "large.tar", legacy_save(large), "gzip")
    ran = run("push", path, registry.reference("web", "1"), environ={"TMPDIR": str(tiny_disk)})
    check_failed(ran, 5, f"no space for a temporary file in {tiny_disk}", "set TMPDIR")
    assert list(tiny_disk.iterdir()) == []


def test_no_space_to_export_an_image(registry: FakeRegistry, engine: FakeEngine, tiny_disk: Path) -> None:
    engine.add(IMAGE, "web:1", Size=10**9)
    environ = {"TMPDIR": str(tiny_disk), "DOCKER_HOST": engine.address}
    check_failed(
        run("push", "web:1", registry.reference("web", "1"), environ=environ), 5, "no space", "64.0 KiB are free"
    )
