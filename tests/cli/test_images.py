"""`manifestctl images`: what could be pushed, of an engine, an archive or a layout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import images
from tests.support.archives import legacy_save, oci_archive, saved, write_archive
from tests.support.fake_engine import FakeEngine
from tests.support.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fake_engine import Flavour

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


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("api", "'manifestctl images' lists what is there."),
        ("web:3", "Names like it are web:1, "),
        ("registry.example.com/web", "Names like it are web:1, "),
        ("000000000000", "'manifestctl images' lists what is there."),
    ],
)
def test_an_image_that_the_engine_does_not_have(engine: FakeEngine, name: str, hint: str) -> None:
    ran = run("images", name, environ={"DOCKER_HOST": engine.address})
    assert (ran.status, ran.out) == (3, b"")
    assert f"there is no image '{name}' in the Docker engine at {engine.address}" in ran.err
    assert hint in ran.err


def test_an_image_that_is_in_a_registry(engine: FakeEngine) -> None:
    name = "registry.example.com/team/api:1.0"
    ran = run("images", name, environ={"DOCKER_HOST": engine.address})
    assert ran.status == 3
    assert f"'manifestctl inspect {name}' and 'manifestctl tags registry.example.com/team/api'" in ran.err
    assert "In its registry" not in run("images", "team/api", environ={"DOCKER_HOST": engine.address}).err


def test_a_repository_means_all_its_tags_here(tmp_path: Path) -> None:
    with FakeEngine() as engine:
        engine.add(AMD64, "web:1")
        engine.add(ARM64, "web:2", "other:1")
        found = listed("web", DOCKER_HOST=engine.address)
        assert [image["names"] for image in found] == [["web:1"], ["web:2", "other:1"]]
        # For a push it means "latest".
        assert run("push", "web", f"oci:{tmp_path / 'out'}:1", environ={"DOCKER_HOST": engine.address}).status == 3
    path = write_archive(tmp_path / "x.tar", legacy_save(saved(AMD64, "web:1"), saved(ARM64, "web:2")))
    assert [image["names"] for image in listed(f"docker-archive:{path}:web")] == [["web:1"], ["web:2"]]
    assert run("push", f"docker-archive:{path}:web", f"oci:{tmp_path / 'out'}:1").status == 3


def pushed(source: str, directory: Path, **environ: str) -> tuple[int, list[str]]:
    """Push an image into a layout; returns the status, and the id of what is there then."""
    ran = run("push", source, f"oci:{directory}:1", environ=environ)
    if ran.status:
        return ran.status, []
    (entry,) = json.loads((directory / "index.json").read_bytes())["manifests"]
    manifest = json.loads((directory / "blobs" / entry["digest"].replace(":", "/")).read_bytes())
    return 0, [manifest["config"]["digest"]]


def looked_up(source: str, **environ: str) -> tuple[int, list[str]]:
    """List an image; returns the status and its id."""
    ran = run("images", source, "--output", "json", environ=environ)
    return ran.status, [image["id"] for image in ran.document.get("images", [])]


LOOKUPS = [
    ("web:1.4", True),
    ("library/web:1.4", True),
    ("docker.io/library/web:1.4", True),
    ("my.docker.io/library/web:1.4", False),
    ("web:9", False),
    ("1.4", False),
    ("web", False),
    (AMD64.config_digest, True),
    (AMD64.config_digest[7:11], True),
    (AMD64.config_digest[:12], True),
    (AMD64.config_digest[7:10], False),
    ("0" * 12, False),
]
"""Names, and whether they mean the image that Docker calls web:1.4."""
OF_PODMAN = {"localhost/web:1.4": True, "docker.io/library/web:1.4": False}


@pytest.mark.parametrize(("name", "there"), [*LOOKUPS, ("localhost/web:1.4", False), ("Web:1.4", None)])
@pytest.mark.parametrize("flavour", ["graph-driver", "podman"])
def test_what_is_listed_can_be_pushed(tmp_path: Path, flavour: Flavour, name: str, there: bool | None) -> None:
    podman = flavour == "podman"
    there = OF_PODMAN.get(name, there) if podman else there
    expected = {True: (0, [AMD64.config_digest]), False: (3, []), None: (2, [])}[there]
    with FakeEngine(flavour, "1.41") as engine:
        engine.add(AMD64, "localhost/web:1.4" if podman else "web:1.4")
        engine.add(ARM64, "app:2")
        source = f"docker-daemon:{name}"
        assert pushed(source, tmp_path / "out", DOCKER_HOST=engine.address) == expected
        if name != "web":
            assert looked_up(source, DOCKER_HOST=engine.address) == expected


@pytest.mark.parametrize(
    ("name", "there"),
    [*LOOKUPS, ("localhost/web:1.4", False), ("localhost/app:2", None), ("app:2", None), ("2", None)],
)
def test_what_is_listed_of_an_archive_can_be_pushed(tmp_path: Path, name: str, there: bool | None) -> None:
    # A tag alone is enough for an archive, and Podman's "localhost/" may be left out.
    there = True if name == "1.4" else there
    expected = {True: (0, [AMD64.config_digest]), False: (3, []), None: (0, [ARM64.config_digest])}[there]
    made = legacy_save(saved(AMD64, "web:1.4"), saved(ARM64, "localhost/app:2"))
    source = f"docker-archive:{write_archive(tmp_path / 'x.tar', made)}:{name}"
    assert pushed(source, tmp_path / "out") == expected
    if name != "web":
        assert looked_up(source) == expected


def test_one_image_of_a_list_in_an_archive(tmp_path: Path) -> None:
    both = images.index([AMD64, ARM64])
    path = write_archive(tmp_path / "x.tar", oci_archive({"1": both}))
    (whole,) = listed(f"oci-archive:{path}@{both.digest}")
    assert (whole["names"], whole["id"], whole["platforms"]) == (["1"], both.digest, ["linux/amd64", "linux/arm64"])
    (part,) = listed(f"oci-archive:{path}@{ARM64.digest}")
    assert (part["names"], part["id"], part["platforms"]) == ([], ARM64.config_digest, ["linux/arm64"])
    assert part["size"] == sum(len(data) for data in ARM64.blobs.values())
    assert run("images", f"oci-archive:{path}@sha256:{'0' * 64}").status == 3


def test_an_image_by_the_manifest_that_is_made_for_it(tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.tar", legacy_save(saved(AMD64, "web:1"), saved(ARM64, "web:2")))
    made = run("push", f"{path}:web:2", f"oci:{tmp_path / 'out'}:1", "--compression", "none", "--output", "digest").text
    (image,) = listed(f"docker-archive:{path}@{made.strip()}")
    assert (image["names"], image["id"]) == (["web:2"], ARM64.config_digest)


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
    assert f"docker-archive:{path}: it holds no image '3'" in ran.err
    assert "It holds web:1, web:2." in ran.err


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
