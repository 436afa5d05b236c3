"""Copying and tagging on real parts: CNCF's registry, the command in a process of its own, and other tools that read."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import images
from tests.support.pushing import Client
from tests.support.real import require_real
from tests.support.real_registry import RealRegistry
from tests.support.running import Ran, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.tools import Tools

LIST = images.buildx_index([images.image(name, layers=3) for name in ("linux/amd64", "linux/arm64")])
MANY_TAGS = 200


@pytest.fixture(scope="module")
def other_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    require_real("docker-registry")
    with RealRegistry(tmp_path_factory.mktemp("other")) as server:
        yield server


@pytest.fixture(scope="module")
def pushed(real_registry: RealRegistry) -> str:
    """Push a list with attestations; returns its reference."""
    push(real_registry, "copied/from", "1.4", LIST)
    return real_registry.reference("copied/from", "1.4")


def push(registry: RealRegistry, repository: str, tag: str, content: images.Content) -> None:
    with Client(registry.url) as client:
        client.push(repository, tag, content)


def run(*arguments: str) -> Ran:
    ran = run_process(*arguments)
    assert ran.status == 0, ran.err
    return ran


def blobs(document: Any) -> dict[str, int]:
    counts: dict[str, int] = {how: count for how, count in document["blobs"].items() if count}
    return counts


def check_whole(tools: Tools, tmp_path: Path, reference: str) -> None:
    """Let skopeo read a list with all its images, checking every digest; attestations are images to it too."""
    assert tools.skopeo_raw(reference).encode() == LIST.manifest
    tmp_path.mkdir(exist_ok=True)
    tools.skopeo_copy(f"docker://{reference}", f"oci:{tmp_path / 'read'}:read", "--all")
    held = {path.name: path.read_bytes() for path in (tmp_path / "read" / "blobs" / "sha256").iterdir()}
    for part in images.walk(LIST):
        for digest, data in {part.digest: part.manifest, **part.blobs}.items():
            assert held[digest.removeprefix("sha256:")] == data


def test_a_list_across_two_repositories(tools: Tools, real_registry: RealRegistry, pushed: str, tmp_path: Path) -> None:
    target = real_registry.reference("copied/to", "1.4")
    document = run("copy", pushed, target, "--output", "json").document
    assert (document["digest"], document["status"]) == (LIST.digest, "created")
    count = len({digest for part in images.walk(LIST) for digest in part.blobs})
    assert blobs(document) == {"mounted": count}
    check_whole(tools, tmp_path, target)
    again = run("copy", pushed, target, "--output", "json").document
    assert (again["status"], blobs(again)) == ("unchanged", {"exists": count})


@pytest.mark.parametrize("command", ["copy", "create"])
def test_images_that_were_collected_as_garbage_are_brought_again(
    tools: Tools, pushed: str, tmp_path: Path, command: str
) -> None:
    require_real("docker-registry")
    with RealRegistry(tmp_path / "mirror") as mirror:
        target = mirror.reference("m/web", "1")
        given = ("copy", pushed, target) if command == "copy" else ("create", target, pushed, "--copy")
        first = run(*given, "--output", "digest").text
        collect = ["docker-registry", "garbage-collect", "-m", str(mirror.directory / "config.yml")]
        subprocess.run(collect, check=True, capture_output=True)
        # The list is there, and of its images nothing.
        assert json.loads(tools.skopeo_raw(target))["manifests"]
        with Client(mirror.url) as client:
            for child in LIST.children:
                assert client.request("GET", f"/v2/m/web/manifests/{child.digest}").status == 404
        again = run(*given, "--output", "digest")
        assert again.text == first
        assert ": 4 manifests, " in again.err
        tools.skopeo_copy(f"docker://{target}", f"oci:{tmp_path / 'read'}:read", "--all")


def test_a_list_across_two_registries(tools: Tools, other_registry: RealRegistry, pushed: str, tmp_path: Path) -> None:
    ran = run("copy", pushed, f"{other_registry.host}/mirror/web", "--tag", "latest", "--attestations", "require")
    assert ran.text == f"{other_registry.host}/mirror/web@{LIST.digest}\n"
    for tag in ("1.4", "latest"):
        check_whole(tools, tmp_path / tag, other_registry.reference("mirror/web", tag))


def test_one_platform_of_a_list(tools: Tools, other_registry: RealRegistry, pushed: str) -> None:
    target = other_registry.reference("narrow/web", "arm64")
    run("copy", pushed, target, "--platform", "linux/arm64")
    entries = json.loads(tools.skopeo_raw(target))["manifests"]
    assert [entry["digest"] for entry in entries] == [LIST.children[1].digest, LIST.children[3].digest]


def test_images_from_another_registry_go_into_a_list(
    tools: Tools, real_registry: RealRegistry, other_registry: RealRegistry, tmp_path: Path
) -> None:
    for registry, image, tag in (
        (real_registry, LIST.children[0], "amd64"),
        (other_registry, LIST.children[1], "arm64"),
    ):
        push(registry, "listed/from", tag, image)
    target = other_registry.reference("listed/to", "1")
    given = [real_registry.reference("listed/from", "amd64"), other_registry.reference("listed/from", "arm64")]
    run("create", target, *given, "--copy", "--tag-children", "{tag}-{arch}")
    tools.skopeo_copy(f"docker://{target}", f"oci:{tmp_path / 'read'}:read", "--all")
    for place, arch in enumerate(("amd64", "arm64")):
        child = other_registry.reference("listed/to", f"1-{arch}")
        assert tools.skopeo_raw(child).encode() == LIST.children[place].manifest


def test_hundreds_of_tags_on_one_list(tools: Tools, real_registry: RealRegistry, pushed: str) -> None:
    names = [f"t{number}" for number in range(MANY_TAGS)]
    began = time.monotonic()
    document = run("tag", pushed, *names, "many", "latest", "--output", "json").document
    # Two to three seconds on two busy cores; a request after the other would take longer than this.
    assert time.monotonic() - began < 60
    assert {tag["tag"] for tag in document["tags"]} == {*names, "many", "latest"}
    listed = json.loads(tools.skopeo("list-tags", "--tls-verify=false", f"docker://{pushed.rpartition(':')[0]}").stdout)
    assert {*names, "many", "latest", "1.4"} <= set(listed["Tags"])
    assert tools.skopeo_raw(real_registry.reference("copied/from", names[-1])).encode() == LIST.manifest


@pytest.mark.parametrize("command", ["copy", "push"])
def test_a_signature_is_found_by_what_it_signs(
    tools: Tools, real_registry: RealRegistry, other_registry: RealRegistry, tmp_path: Path, command: str
) -> None:
    image = LIST.children[0]
    subject = images.descriptor(image.manifest, image.media_type)
    signature = images.image(None, manifest={"artifactType": "example/signature", "subject": subject})
    repository = f"signed/{command}"
    if command == "copy":
        push(real_registry, repository, "sig", signature)
        source = real_registry.reference(repository, "sig")
    else:
        images.write_layout(tmp_path / "layout", {"sig": signature})
        source = f"oci:{tmp_path / 'layout'}:sig"
    run(command, source, other_registry.reference(repository, "sig"))
    listed = json.loads(tools.skopeo_raw(other_registry.reference(repository, image.digest.replace(":", "-"))))
    assert listed["manifests"] == [
        images.descriptor(signature.manifest, signature.media_type, artifactType="example/signature")
    ]
