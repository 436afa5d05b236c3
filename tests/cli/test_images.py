"""`manifestctl images`: what could be pushed, of an engine, an archive or a layout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import images
from tests.support.archives import legacy_save, saved, write_archive
from tests.support.fake_engine import FakeEngine
from tests.support.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AMD64, ARM64 = (images.image(f"linux/{name}") for name in ("amd64", "arm64"))


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    """Return an engine with two images, one of them without a name."""
    with FakeEngine() as server:
        server.add(AMD64, "web:1", "registry.example.com/team/web:2")
        server.add(ARM64)
        yield server


def listed(*arguments: str | Path, **environ: str) -> list[Any]:
    """Return the images of a run that goes well."""
    ran = run("images", *arguments, "--output", "json", environ=environ)
    assert ran.status == 0, ran.err
    found: list[Any] = ran.document["images"]
    return found


def test_the_table(engine: FakeEngine) -> None:
    ran = run("images", environ={"DOCKER_HOST": engine.address})
    assert (ran.status, ran.err) == (0, "")
    ids = [image.config_digest.removeprefix("sha256:")[:12] for image in (AMD64, ARM64)]
    assert [line.split() for line in ran.text.splitlines()] == [
        ["NAME", "ID", "PLATFORM", "SIZE", "CREATED"],
        ["web:1", ids[0], "linux/amd64", *_size(AMD64), "2024-05-06T07:08:09Z"],
        ["registry.example.com/team/web:2", ids[0], "linux/amd64", *_size(AMD64), "2024-05-06T07:08:09Z"],
        ["<none>", ids[1], "linux/arm64", *_size(ARM64), "2024-05-06T07:08:09Z"],
    ]
    assert len({line.index(line.split()[1]) for line in ran.text.splitlines()}) == 1


def _size(image: images.Image) -> list[str]:
    return [str(sum(len(data) for data in image.blobs.values())), "B"]


def test_output_json_and_digest(engine: FakeEngine) -> None:
    first, second = listed(DOCKER_HOST=engine.address)
    assert first == {
        "names": ["web:1", "registry.example.com/team/web:2"],
        "id": AMD64.config_digest,
        "platforms": ["linux/amd64"],
        "size": sum(len(data) for data in AMD64.blobs.values()),
        "created": "2024-05-06T07:08:09Z",
    }
    assert second["names"] == []
    ran = run("images", "--output", "digest", environ={"DOCKER_HOST": engine.address})
    assert ran.text.split() == [AMD64.config_digest, ARM64.config_digest]


@pytest.mark.parametrize(
    "name",
    [
        "web:1",
        "web",
        "docker.io/library/web:1",
        "registry.example.com/team/web",
        "docker-daemon:web:1",
        AMD64.config_digest,
        AMD64.config_digest[7:19],
    ],
)
def test_one_image_of_the_engine(engine: FakeEngine, name: str) -> None:
    assert [image["id"] for image in listed(name, DOCKER_HOST=engine.address)] == [AMD64.config_digest]


@pytest.mark.parametrize("name", ["api", "web:3", "registry.example.com/web", "000000000000"])
def test_an_image_that_the_engine_does_not_have(engine: FakeEngine, name: str) -> None:
    ran = run("images", name, environ={"DOCKER_HOST": engine.address})
    assert (ran.status, ran.out) == (3, b"")
    assert "'manifestctl images' lists what is there." in ran.err


def test_what_podman_has_without_a_host() -> None:
    with FakeEngine("podman") as engine:
        engine.add(AMD64, "localhost/web:1")
        assert len(listed("web", DOCKER_HOST=engine.address)) == 1


def test_an_engine_without_images_and_none() -> None:
    with FakeEngine() as engine:
        assert run("images", environ={"DOCKER_HOST": engine.address}).text.count("\n") == 1
        assert run("images", "-q", "--output", "digest", environ={"DOCKER_HOST": engine.address}).out == b""
    ran = run("images", "--output", "json", environ={"DOCKER_HOST": "unix:///nonexistent/engine.sock"})
    assert (ran.status, ran.document["ok"]) == (5, False)
    assert "no engine at unix:///nonexistent/engine.sock" in ran.err


def test_only_those_for_a_platform(engine: FakeEngine) -> None:
    found = listed("--platform", "linux/arm64,linux/s390x", DOCKER_HOST=engine.address)
    assert [image["id"] for image in found] == [ARM64.config_digest]
    assert listed("--platform", "linux/s390x", DOCKER_HOST=engine.address) == []
    assert run("images", "--platform", "linux").status == 2


def test_an_archive(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.tar", legacy_save(saved(AMD64, "web:1"), saved(ARM64, "web:2")))
    assert [image["names"] for image in listed(path)] == [["web:1"], ["web:2"]]
    assert [image["names"] for image in listed(f"docker-archive:{path}:2")] == [["web:2"]]
    ran = run("images", f"docker-archive:{path}:3")
    assert ran.status == 3
    assert f"'manifestctl images docker-archive:{path}' lists what is there." in ran.err


def test_a_layout(tmp_path: Path) -> None:
    both = images.index([AMD64, ARM64])
    images.write_layout(tmp_path, {"1": AMD64, "latest": AMD64, "both": both})
    found = {tuple(image["names"]): image for image in listed(f"oci:{tmp_path}")}
    assert found.keys() == {("1", "latest"), ("both",)}
    assert found["1", "latest"]["id"] == AMD64.config_digest
    assert found["1", "latest"]["created"] == json.loads(AMD64.config).get("created")
    assert found["both",]["id"] == both.digest
    assert found["both",]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert [image["names"] for image in listed(f"{tmp_path}:both")] == [["both"]]
    (by_digest,) = listed(f"oci:{tmp_path}@{ARM64.digest}")
    assert (by_digest["names"], by_digest["id"]) == ([], ARM64.config_digest)
    assert run("images", f"oci:{tmp_path}:nothing").status == 3


def test_a_layout_that_holds_some_of_a_lists_images(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"both": images.index([AMD64, ARM64])})
    blobs = tmp_path / "blobs" / "sha256"
    (blobs / ARM64.digest.removeprefix("sha256:")).unlink()
    assert listed(f"oci:{tmp_path}")[0]["platforms"] == ["linux/amd64"]
    (blobs / AMD64.config_digest.removeprefix("sha256:")).unlink()
    assert listed(f"oci:{tmp_path}")[0]["platforms"] == []


def test_what_is_no_image(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"chart": images.image(None, config=b"{}")})
    assert "unknown" in run("images", f"oci:{tmp_path}").text
    (chart,) = listed(f"oci:{tmp_path}")
    assert (chart["platforms"], chart["created"]) == ([], None)


def test_names_are_shown_on_one_line(tmp_path: Path) -> None:
    ran = run("images", f"oci:{tmp_path}/no\nthing")
    assert ran.status == 3
    assert ran.err.count("\n") == 2
