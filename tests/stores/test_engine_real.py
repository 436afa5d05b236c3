"""Real engines: Debian's Docker and Podman list, describe and export what was loaded into them."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import InputError, NotFoundError
from manifestctl.model.platforms import Platform
from manifestctl.stores.engine import Engine
from manifestctl.stores.tar_index import TarIndex
from tests.support import images
from tests.support.fake_engine import docker_archive, oci_archive
from tests.support.images import digest_of
from tests.support.real import require_real
from tests.support.real_engine import RealEngine
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.spool import Spool
    from manifestctl.stores.engine_images import EngineImage

AMD64 = images.image("linux/amd64", docker=True, layers=2)
ARM = images.image("linux/arm/v7", docker=True)
UNNAMED = images.image("linux/s390x", docker=True)
ZSTD = images.repacked(images.image("linux/arm64", layers=2, seed="zstd"), "zstd")


@pytest.fixture(scope="module", params=["dockerd", "podman"])
def engine(request: pytest.FixtureRequest) -> Iterator[RealEngine]:
    """Return an engine with three images, one of them without a name."""
    require_real(request.param)
    with RealEngine(request.param) as running:
        running.load(docker_archive(AMD64, "app/web:1", "app/web:latest"))
        running.load(docker_archive(ARM, "registry.example.com/app/arm:2"))
        running.load(docker_archive(UNNAMED))
        yield running


@pytest.fixture
def found(engine: RealEngine) -> Iterator[Engine]:
    with Engine.connect(World({"DOCKER_HOST": engine.address}).runtime) as connected:
        yield connected


def by_id(listed: list[EngineImage]) -> dict[str, EngineImage]:
    return {str(image.id): image for image in listed}


def digests(exported: Spool) -> set[str]:
    """Return the digests of all files of an export, which is closed."""
    with exported as spool:
        index = TarIndex.read(spool, "the export")
        assert index.complete
        return {
            f"sha256:{hashlib.sha256(spool.read(member.offset, member.size)).hexdigest()}"
            for member in index.members.values()
        }


def test_listing(engine: RealEngine, found: Engine) -> None:
    listed = by_id(found.list_images())
    podman = engine.program == "podman"
    local = "localhost/" if podman else ""
    assert set(listed[AMD64.config_digest].names) == {f"{local}app/web:1", f"{local}app/web:latest"}
    assert listed[ARM.config_digest].names == ("registry.example.com/app/arm:2",)
    assert listed[UNNAMED.config_digest].names == ()
    assert [str(platform) for platform in listed[AMD64.config_digest].platforms] == ["linux/amd64"]
    assert [str(platform) for platform in listed[ARM.config_digest].platforms] in (["linux/arm/v7"], ["linux/arm"])
    assert {image.kind for image in listed.values()} == {"podman" if podman else "graph-driver"}
    assert all(image.created and image.size for image in listed.values())


@pytest.mark.parametrize(
    ("text", "platform", "expected"),
    [
        ("app/web", None, AMD64),
        ("app/web:1", "linux/amd64", AMD64),
        ("registry.example.com/app/arm:2", "linux/arm/v7", ARM),
        (UNNAMED.config_digest, None, UNNAMED),
        (UNNAMED.config_digest[7:20], None, UNNAMED),
    ],
)
def test_exporting(found: Engine, text: str, platform: str | None, expected: images.Image) -> None:
    selected = found.select(found.find(text), Platform.parse(platform) if platform else None)
    assert str(selected.digest) == expected.config_digest
    exported = found.export(selected)
    diff_ids = {digest_of(gzip.decompress(layer)) for layer in expected.layers}
    assert {expected.config_digest, *diff_ids} <= digests(exported)


def test_what_is_not_there(found: Engine) -> None:
    with pytest.raises(NotFoundError, match="there is no image 'app/web:2'") as caught:
        found.find("app/web:2")
    assert "app/web:1" in caught.value.hint
    with pytest.raises(NotFoundError, match="has no image for linux/arm64"):
        found.select(found.find("app/web:1"), Platform.parse("linux/arm64"))


@pytest.mark.parametrize("engine", ["podman"], indirect=True)
def test_a_list_in_podman(engine: RealEngine, found: Engine) -> None:
    engine.podman("manifest", "create", "both:1")
    for child in (AMD64, ARM):
        engine.podman("manifest", "add", "both:1", f"containers-storage:@{child.config_digest[7:]}")
    image = found.find("both:1")
    assert [(str(part.platform), part.available) for part in image.parts] == [
        ("linux/amd64", True),
        ("linux/arm/v7", True),
    ]
    with pytest.raises(InputError, match="is an image of 2 platforms: linux/amd64, linux/arm/v7"):
        found.select(image)
    selected = found.select(image, Platform.parse("linux/arm/v7"))
    assert str(selected.digest) == ARM.config_digest
    assert ARM.config_digest in digests(found.export(selected))


@pytest.mark.parametrize("engine", ["podman"], indirect=True)
def test_a_zstd_image_in_podman(engine: RealEngine, found: Engine) -> None:
    """It is refused in Docker's format, and comes in OCI's, packed with gzip."""
    engine.load(oci_archive(ZSTD))
    selected = found.select(found.find(ZSTD.config_digest))
    assert ZSTD.config_digest in digests(found.export(selected))
