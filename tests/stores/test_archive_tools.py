"""Archives of the real programs are read, and theirs read what the tests' builders make."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest

from manifestctl.model.manifest import Index, Manifest, parse_config
from manifestctl.stores.archive import ArchiveStore
from manifestctl.stores.archive_file import open_archive
from tests.support.archives import legacy_save, modern_save, oci_archive, packed_save, saved, skopeo_save, write_archive
from tests.support.images import buildx_index, image, write_layout
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.archives import Members
    from tests.support.tools import Tools

IMAGE = image(layers=3)
PLAIN = [gzip.decompress(layer) for layer in IMAGE.layers]


def store_at(path: Path, *, prefer_saved: bool) -> ArchiveStore:
    world = World({"TMPDIR": str(path.parent)})
    return ArchiveStore(
        f"archive:{path}",
        lambda: open_archive(str(path), f"archive:{path}", world.runtime),
        world.cancel,
        prefer_saved=prefer_saved,
    )


def layers_of(store: ArchiveStore, name: str) -> list[bytes]:
    manifest = store.read_manifest(name).parse("test")
    assert isinstance(manifest, Manifest)
    found = []
    for layer in manifest.layers:
        with store.open_blob(layer) as chunks:
            data = b"".join(chunks)
        found.append(gzip.decompress(data) if layer.media_type.endswith("gzip") else data)
    return found


def test_skopeo_makes_docker_archives(tools: Tools, tmp_path: Path) -> None:
    write_layout(tmp_path / "layout", {"1": IMAGE})
    path = tmp_path / "x.tar"
    tools.skopeo_copy(f"oci:{tmp_path}/layout:1", f"docker-archive:{path}:example.com/web:1.4")
    with store_at(path, prefer_saved=True) as store:
        assert layers_of(store, "example.com/web:1.4") == PLAIN
        assert store.images()[0].id.encoded == saved(IMAGE).config_hex


def test_skopeo_makes_oci_archives(tools: Tools, tmp_path: Path) -> None:
    made = buildx_index([IMAGE, image("linux/arm64")])
    write_layout(tmp_path / "layout", {"1": made})
    path = tmp_path / "x.tar"
    tools.skopeo_copy(f"oci:{tmp_path}/layout:1", f"oci-archive:{path}:1", "--all")
    with store_at(path, prefer_saved=False) as store:
        content = store.read_manifest("1")
        assert content.raw == made.manifest
        assert isinstance(content.parse("test"), Index)
        assert layers_of(store, IMAGE.digest) == PLAIN


@pytest.mark.parametrize("form", ["docker-archive", "oci-archive"])
def test_podman_saves(tools: Tools, tmp_path: Path, form: str) -> None:
    write_layout(tmp_path / "layout", {"1": IMAGE})
    tools.skopeo_copy(f"oci:{tmp_path}/layout:1", f"oci-archive:{tmp_path}/in.tar:example.com/web:1.4")
    tools.podman("load", "-i", str(tmp_path / "in.tar"))
    path = tmp_path / "x.tar"
    tools.podman("save", "--format", form, "-o", str(path), "example.com/web:1.4")
    with store_at(path, prefer_saved=form == "docker-archive") as store:
        assert layers_of(store, "example.com/web:1.4") == PLAIN


@pytest.mark.parametrize("maker", [legacy_save, skopeo_save, packed_save, modern_save])
def test_skopeo_reads_what_the_builders_make(tools: Tools, tmp_path: Path, maker: Callable[..., Members]) -> None:
    path = write_archive(tmp_path / "x.tar", maker(saved(IMAGE, "example.com/web:1.4")))
    target = tmp_path / "layout"
    tools.skopeo_copy(f"docker-archive:{path}:example.com/web:1.4", f"oci:{target}:1")
    config = (target / "blobs" / "sha256" / saved(IMAGE).config_hex).read_bytes()
    assert parse_config(config, "test").diff_ids == tuple(saved(IMAGE).diff_ids)


def test_skopeo_reads_the_builders_oci_archives(tools: Tools, tmp_path: Path) -> None:
    path = write_archive(tmp_path / "x.tar", oci_archive({"1": IMAGE}))
    assert tools.skopeo("inspect", "--raw", f"oci-archive:{path}:1").stdout.encode() == IMAGE.manifest
