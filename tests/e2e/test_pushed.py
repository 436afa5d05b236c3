"""Pushing on real parts: sources as real tools make them, a real registry, and other tools that pull what was pushed."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.compression import decompressed, detect
from tests.support import images
from tests.support.actions import stall
from tests.support.fake_engine import docker_archive, oci_archive
from tests.support.faults import FOREVER
from tests.support.images import digest_of
from tests.support.real import require_real
from tests.support.real_engine import RealEngine
from tests.support.running import LIMIT, Ran, run_process, start

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry
    from tests.support.faults import Exchange
    from tests.support.http_message import Response
    from tests.support.real_registry import RealRegistry
    from tests.support.tools import Tools

NAME = "registry.example.com/team/web:1"
FILES = {"/hello.txt": "hello\n", "/deep/er/file.bin": "x" * 200_000, "/empty": ""}
KINDS = ("docker-archive by skopeo", "docker-archive by podman", "oci-archive by buildah", "oci by buildah")


class Sources:
    """One image of several layers as each tool writes it, and its layers as plain tars."""

    def __init__(self, tools: Tools, directory: Path) -> None:
        self.places: dict[str, str] = {}
        image = _build(tools, directory)
        layout = directory / "layout"
        tools.buildah("push", "--quiet", "--format", "oci", image, f"oci:{layout}:1")
        self.places["oci by buildah"] = f"oci:{layout}:1"
        archive = directory / "oci.tar"
        tools.buildah("push", "--quiet", "--format", "oci", image, f"oci-archive:{archive}:1")
        self.places["oci-archive by buildah"] = f"oci-archive:{archive}:1"
        saved = directory / "skopeo.tar"
        tools.skopeo_copy(f"oci:{layout}:1", f"docker-archive:{saved}:{NAME}")
        self.places["docker-archive by skopeo"] = f"docker-archive:{saved}"
        tools.podman("load", "--quiet", "--input", str(saved))
        again = directory / "podman.tar"
        tools.podman("save", "--quiet", "--output", str(again), NAME)
        self.places["docker-archive by podman"] = f"docker-archive:{again}:{NAME}"
        with tarfile.open(saved) as tar:
            [entry] = json.loads(_member(tar, "manifest.json"))
            self.config = _member(tar, entry["Config"])
            self.tars = [_member(tar, name) for name in entry["Layers"]]


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()


def _build(tools: Tools, directory: Path) -> str:
    """Build an image with a layer for each file; returns its id."""
    base, image = "scratch", ""
    for path, text in FILES.items():
        container = tools.buildah("from", base).stdout.strip()
        content = directory / "content"
        content.write_text(text)
        tools.buildah("copy", "--quiet", container, str(content), path)
        image = base = tools.buildah("commit", "--quiet", "--rm", container).stdout.strip()
    return image


@pytest.fixture(scope="module")
def sources(tools: Tools, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    return Sources(tools, tmp_path_factory.mktemp("sources"))


def push(*arguments: str, **environ: str) -> Ran:
    ran = run_process("push", *arguments, environ=environ)
    assert ran.status == 0, ran.err
    return ran


def pulled(tools: Tools, reference: str, directory: Path) -> tuple[Any, bytes, list[bytes]]:
    """Pull by skopeo, which checks every digest; returns manifest, config, and the layers as plain tars."""
    tools.skopeo_copy(f"docker://{reference}", f"dir:{directory}")
    manifest = json.loads((directory / "manifest.json").read_bytes())

    def blob(descriptor: Any) -> bytes:
        data: bytes = (directory / descriptor["digest"].removeprefix("sha256:")).read_bytes()
        assert digest_of(data) == descriptor["digest"]
        return data

    return manifest, blob(manifest["config"]), [_plain(blob(layer)) for layer in manifest["layers"]]


def _plain(data: bytes) -> bytes:
    return b"".join(decompressed(iter((data,)), detect(data), "a layer"))


def check_layers(config: bytes, tars: Iterable[bytes]) -> None:
    """Fail unless the layers are those that the config names."""
    assert [digest_of(tar) for tar in tars] == json.loads(config)["rootfs"]["diff_ids"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_pulled_is_what_was_there(
    tools: Tools, real_registry: RealRegistry, sources: Sources, tmp_path: Path, kind: str
) -> None:
    reference = real_registry.reference(f"pushed/{kind.replace(' ', '-')}", "1")
    ran = push(sources.places[kind], reference)
    manifest, config, tars = pulled(tools, reference, tmp_path / "pulled")
    assert ran.text.strip().endswith(f"@{digest_of(tools.skopeo_raw(reference).encode())}")
    assert tars == sources.tars
    check_layers(config, tars)
    assert ("docker" in manifest["mediaType"]) == kind.startswith("docker")
    again = push(sources.places[kind], reference, "--output", "json").document
    assert (again["status"], again["digest"]) == ("unchanged", ran.text.strip().partition("@")[2])


@pytest.mark.parametrize(
    "options",
    [("--format", "oci"), ("--format", "oci", "--compression", "zstd"), ("--compression-level", "9")],
    ids=["oci", "zstd", "level 9"],
)
def test_other_formats_hold_the_same(
    tools: Tools, real_registry: RealRegistry, sources: Sources, tmp_path: Path, options: tuple[str, ...]
) -> None:
    reference = real_registry.reference("pushed/formats", "".join(options).replace("-", ""))
    push(sources.places["docker-archive by skopeo"], reference, *options)
    _, config, tars = pulled(tools, reference, tmp_path / "pulled")
    assert (config, tars) == (sources.config, sources.tars)


def test_podman_has_the_same_files(tools: Tools, real_registry: RealRegistry, sources: Sources) -> None:
    reference = real_registry.reference("pushed/files", "1")
    push(sources.places["docker-archive by podman"], reference, "--tag", "latest")
    latest = real_registry.reference("pushed/files", "latest")
    tools.podman("pull", "--quiet", "--tls-verify=false", latest)
    root = tools.podman("image", "mount", latest).stdout.strip()
    try:
        for path, text in FILES.items():
            with open(root + path) as file:  # noqa: PTH123 - beside a path that is text
                assert file.read() == text
    finally:
        tools.podman("image", "unmount", latest)


def test_packed_archives(tools: Tools, real_registry: RealRegistry, sources: Sources, tmp_path: Path) -> None:
    saved = sources.places["docker-archive by skopeo"].removeprefix("docker-archive:")
    packed = tmp_path / "saved.tar.gz"
    with open(saved, "rb") as file:  # noqa: PTH123 - beside a path that is text
        packed.write_bytes(gzip.compress(file.read(), 1))
    reference = real_registry.reference("pushed/packed", "1")
    push(str(packed), reference)
    assert pulled(tools, reference, tmp_path / "pulled")[2] == sources.tars


def test_another_tag_costs_no_layer(real_registry: RealRegistry, sources: Sources) -> None:
    places = [real_registry.reference("pushed/again", tag) for tag in ("1", "2")]
    source = sources.places["docker-archive by skopeo"]
    first, second = (push(source, place, "--output", "json").document for place in places)
    assert first["digest"] == second["digest"]
    assert [layer["how"] for layer in second["layers"]] == ["exists"] * len(sources.tars)
    # The manifest alone went up.
    assert second["requests"]["bytes_out"] < 2_000


def test_a_push_that_was_killed_is_finished_by_another(registry: FakeRegistry, tmp_path: Path) -> None:
    """It stops in the second of three layers, and is given no time to tidy up."""
    made = images.image("linux/amd64", docker=True, layers=3)
    source = tmp_path / "saved.tar"
    source.write_bytes(docker_archive(made, NAME))
    reached = threading.Event()

    def stop(exchange: Exchange) -> Response:
        reached.set()
        return stall()(exchange)

    registry.faults.add(stop, method="PATCH", after=1, times=FOREVER)
    target = registry.reference("web", "1")
    with start("push", source, target, "--concurrency", "1") as process:
        assert reached.wait(LIMIT)
        process.kill()
    assert registry.tags("web") == {}
    registry.faults.clear()
    registry.reset()
    ran = push(str(source), target, "--output", "json").document
    assert sorted(layer["how"] for layer in ran["layers"]) == ["exists", "packed", "packed"]
    assert (ran["status"], registry.tag("web", "1")) == ("created", ran["digest"])
    assert registry.count("PUT", "/blobs/uploads/") == 2
    sizes = [layer["size"] for layer in ran["layers"] if layer["how"] == "packed"]
    manifest = registry.manifest("web", "1")
    assert manifest is not None
    assert ran["requests"]["bytes_out"] == sum(sizes) + len(manifest.data)


def test_a_pushed_image_can_be_listed(tools: Tools, real_registry: RealRegistry, sources: Sources) -> None:
    """Push by digest, then a list of it: what a pipeline does."""
    ran = push(sources.places["oci by buildah"], real_registry.reference("pushed/list", "x")[:-2], "--by-digest")
    reference = real_registry.reference("pushed/list", "1")
    created = run_process("create", reference, f"@{ran.text.strip().partition('@')[2]}")
    assert created.status == 0, created.err
    [entry] = json.loads(tools.skopeo_raw(reference))["manifests"]
    assert ran.text.strip().endswith(entry["digest"])


@pytest.mark.parametrize("program", ["dockerd", "podman"])
def test_the_image_of_a_real_engine(tools: Tools, real_registry: RealRegistry, tmp_path: Path, program: str) -> None:
    require_real(program)
    made = images.image("linux/arm64", docker=True, layers=3)
    with RealEngine(program) as engine:
        engine.load(docker_archive(made, NAME))
        reference = real_registry.reference(f"pushed/{program}", "1")
        assert "exported (" in push(f"docker-daemon:{NAME}", reference, DOCKER_HOST=engine.address).err
        ran = push(f"docker-daemon:{NAME}", reference, "--output", "json", DOCKER_HOST=engine.address)
        nowhere = ("127.0.0.1:1/web:1", "--retries", "1")
        refused = run_process("push", f"docker-daemon:{NAME}", *nowhere, environ={"DOCKER_HOST": engine.address})
    # Again, or where the target cannot be reached, nothing is brought out of the engine.
    again = ran.document
    assert "export" not in ran.err
    assert refused.status == 5
    assert "export" not in refused.err
    _, config, tars = pulled(tools, reference, tmp_path / "pulled")
    assert tars == [gzip.decompress(layer) for layer in made.layers]
    check_layers(config, tars)
    assert again["status"] == "unchanged"
    assert again["platform"] == "linux/arm64"
    assert hashlib.sha256(tools.skopeo_raw(reference).encode()).hexdigest() in again["digest"]


def test_a_zstd_image_of_podman(tools: Tools, real_registry: RealRegistry, tmp_path: Path) -> None:
    require_real("podman")
    made = images.repacked(images.image("linux/amd64", layers=2), "zstd")
    with RealEngine("podman") as engine:
        engine.load(oci_archive(made))
        reference = real_registry.reference("pushed/zstd", "1")
        push(made.config_digest, reference, DOCKER_HOST=engine.address)
    _, config, tars = pulled(tools, reference, tmp_path / "pulled")
    assert config == made.config
    check_layers(config, tars)
