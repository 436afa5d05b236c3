"""Archives of every program and generation give the image that was saved, byte for byte."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.compression import decompressed, detect
from manifestctl.errors import (
    DeniedError,
    DocumentError,
    InputError,
    IntegrityError,
    InterruptedRun,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved, Noted
from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import ArchiveLocation, parse_location
from manifestctl.model.manifest import Index, Manifest
from manifestctl.model.platforms import Platform
from manifestctl.model.strict_json import CONFIG_LIMIT, MANIFEST_LIMIT
from manifestctl.spool import Spool
from manifestctl.stores.archive import ArchiveStore
from manifestctl.stores.archive_file import indexed_archive, open_archive
from manifestctl.stores.archive_index import roots
from manifestctl.stores.base import Blob, Content, Foretold
from manifestctl.stores.locate import Stores
from manifestctl.transport.settings import TransportSettings
from tests.support.archives import (
    Link,
    Members,
    Saved,
    containerd_save,
    hex_of,
    legacy_save,
    modern_save,
    oci_archive,
    pack,
    packed,
    packed_save,
    saved,
    skopeo_save,
    write_archive,
)
from tests.support.images import attestation, buildx_index, descriptor, digest_of, dump, image, index
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from manifestctl.compression import Format
    from manifestctl.transport.credentials import CredentialSource
    from tests.support.archives import Flaw

WEB = saved(image(layers=3), "example.com/web:1.4")
TOOL = saved(image("linux/arm64/v8", layers=2, seed="tool", created="2025-01-02T03:04:05Z"), "tool:2")
SCHEMES = ["docker-archive", "oci-archive"]


class Archives:
    """Writes archives and opens them; all are closed at the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.world = World({"TMPDIR": str(directory)})
        self.opened: list[ArchiveStore] = []

    def __call__(self, members: Members | bytes, scheme: str = "docker-archive", kind: Format = "none") -> ArchiveStore:
        path = self.directory / "x.tar"
        path.write_bytes(packed(members if isinstance(members, bytes) else pack(members), kind))
        return self.at(str(path), scheme)

    def at(self, path: str, scheme: str = "docker-archive") -> ArchiveStore:
        store = ArchiveStore.at(ArchiveLocation(scheme, path), self.world.runtime)
        self.opened.append(store)
        return store


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archives]:
    archives = Archives(tmp_path)
    yield archives
    for store in archives.opened:
        store.close()


def read(store: ArchiveStore, wanted: Descriptor) -> bytes:
    with store.open_blob(wanted) as chunks:
        return b"".join(chunks)


def manifest_of(store: ArchiveStore, name: str | Descriptor = "") -> Manifest:
    content = store.read_manifest(name)
    assert Digest.of(content.raw) == content.digest
    manifest = content.parse("test")
    assert isinstance(manifest, Manifest)
    return manifest


def check_image(store: ArchiveStore, wanted: Saved, name: str = "") -> Manifest:
    """Check that a name gives exactly what was saved, and that all of it can be read."""
    manifest = manifest_of(store, name)
    assert store.read_blob(manifest.config, CONFIG_LIMIT) == wanted.config
    layers = [read(store, layer) for layer in manifest.layers]
    assert [b"".join(decompressed([layer], detect(layer))) for layer in layers] == list(wanted.layers)
    assert all(store.has(part) for part in (manifest.config, *manifest.layers))
    assert store.resolve(name) == Descriptor(manifest.media_type, manifest.digest, len(manifest.raw))
    assert store.read_manifest(manifest.descriptor).raw == manifest.raw
    assert store.read_manifest(str(manifest.digest)).raw == manifest.raw
    return manifest


# What each generation writes


MAKERS: dict[str, Callable[..., Members]] = {
    "docker 24": legacy_save,
    "skopeo": skopeo_save,
    "crane": packed_save,
    "docker 25": modern_save,
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("kind", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
def test_one_image(archive: Archives, maker: Callable[..., Members], kind: Format, scheme: str) -> None:
    store = archive(maker(WEB), scheme, kind)
    check_image(store, WEB)
    check_image(store, WEB, "example.com/web:1.4")
    assert store.tags() == ["example.com/web:1.4"]
    assert store.name == f"{scheme}:{archive.directory}/x.tar"


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("flaw", ["reversed", "no layers", "null", "first only", "no blob"])
def test_the_bugs_of_docker_25(archive: Archives, flaw: Flaw, scheme: str) -> None:
    store = archive(modern_save(WEB, TOOL, flaw=flaw), scheme)
    check_image(store, WEB, "example.com/web:1.4")
    check_image(store, TOOL, "tool:2")
    assert sorted(store.tags()) == ["example.com/web:1.4", "tool:2"]
    assert len(store.images()) == 2


def test_a_synthesised_manifest_is_dockers(archive: Archives) -> None:
    manifest = check_image(archive(modern_save(WEB)), WEB)
    assert manifest.media_type == media_types.DOCKER_MANIFEST
    assert json.loads(manifest.raw) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": descriptor(WEB.config, "application/vnd.docker.container.image.v1+json"),
        "layers": [descriptor(layer, "application/vnd.docker.image.rootfs.diff.tar") for layer in WEB.layers],
    }


def test_every_plain_generation_gives_the_same_manifest(archive: Archives) -> None:
    digests = {manifest_of(archive(maker(WEB))).digest for maker in (legacy_save, skopeo_save, modern_save)}
    assert len(digests) == 1


def test_the_scheme_says_which_of_two_right_manifests_is_meant(archive: Archives) -> None:
    members = modern_save(WEB)
    assert check_image(archive(members, "docker-archive"), WEB).media_type == media_types.DOCKER_MANIFEST
    named = Digest.parse(json.loads(bytes_of(members, "index.json"))["manifests"][0]["digest"])
    assert check_image(archive(members, "oci-archive"), WEB).digest == named


@pytest.mark.parametrize(
    ("kind", "media_type", "suffix"),
    [("gzip", media_types.DOCKER_MANIFEST, "tar.gzip"), ("zstd", media_types.OCI_MANIFEST, "tar+zstd")],
)
def test_packed_layers_stay_packed(archive: Archives, kind: Format, media_type: str, suffix: str) -> None:
    manifest = check_image(archive(packed_save(WEB, kind=kind)), WEB)
    assert manifest.media_type == media_type
    assert [layer.digest for layer in manifest.layers] == [Digest.of(packed(layer, kind)) for layer in WEB.layers]
    assert all(layer.media_type.endswith(suffix) for layer in manifest.layers)


def test_a_mixture_of_packed_and_plain_layers(archive: Archives) -> None:
    members = packed_save(WEB)
    entry = json.loads(bytes_of(members, "manifest.json"))
    members[entry[0]["Layers"][1]] = WEB.layers[1]
    kinds = [layer.media_type.rpartition(".")[2] for layer in check_image(archive(members), WEB).layers]
    assert kinds == ["gzip", "tar", "gzip"]


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
def test_layers_that_stand_twice_or_are_shared(archive: Archives, maker: Callable[..., Members]) -> None:
    base, empty = WEB.layers[0], bytes(1024)
    layers = (base, empty, WEB.layers[1], empty)
    config = dump(json.loads(WEB.config) | {"rootfs": {"type": "layers", "diff_ids": [digest_of(x) for x in layers]}})
    repeated = Saved(("example.com/repeated:1",), config, layers)
    store = archive(maker(WEB, repeated))
    check_image(store, WEB, "example.com/web:1.4")
    assert len(check_image(store, repeated, "example.com/repeated:1").layers) == 4


@pytest.mark.parametrize("maker", [legacy_save, packed_save, modern_save])
def test_an_image_without_layers(archive: Archives, maker: Callable[..., Members]) -> None:
    config = dump({"architecture": "amd64", "os": "linux", "config": {}})
    assert check_image(archive(maker(Saved(("scratch:1",), config, ()))), Saved((), config, ())).layers == ()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("docker", [True, False])
def test_an_oci_archive(archive: Archives, scheme: str, docker: bool) -> None:
    made = {"1": image(docker=docker), "2": image("linux/arm64", seed="x", docker=docker)}
    store = archive(oci_archive(made), scheme)
    for tag, one in made.items():
        assert check_image(store, saved(one), tag).raw == one.manifest
        for digest in (one.digest, one.config_digest, one.digest[:19], one.config_digest[7:14]):
            assert store.read_manifest(digest).raw == one.manifest
    assert store.tags() == ["1", "2"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_archive_of_containerds_store_is_taken_as_it_is(archive: Archives, scheme: str) -> None:
    amd64 = image(layers=2)
    made = buildx_index([amd64, image("linux/arm64")])
    store = archive(containerd_save(made, "web:1.4", amd64), scheme)
    for name in ("", "web:1.4", "docker.io/library/web:1.4", "1.4", made.digest, made.digest[7:20]):
        content = store.read_manifest(name)
        assert content.raw == made.manifest
        found = content.parse("x")
        assert isinstance(found, Index)
        assert [store.read_manifest(entry).raw for entry in found.entries] == [c.manifest for c in made.children]
    assert store.tags() == ["web:1.4"]
    assert [platform.architecture for platform in store.images()[0].platforms] == ["amd64", "arm64"]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("docker", [True, False])
def test_one_image_of_containerds_store_keeps_its_packed_layers(archive: Archives, scheme: str, docker: bool) -> None:
    made = image(layers=2, docker=docker)
    store = archive(containerd_save(made, "web:1.4", made), scheme)
    assert check_image(store, saved(made), "web:1.4").raw == made.manifest


def test_a_list_of_which_one_platform_was_pulled(archive: Archives) -> None:
    amd64, arm64 = image(layers=2), image("linux/arm64")
    made = buildx_index([amd64, arm64])
    members = containerd_save(made, "web:1.4", amd64)
    del members[f"blobs/sha256/{hex_of(arm64.manifest)}"]
    store = archive(members)
    found = store.images()[0]
    assert [str(platform) for platform in found.platforms] == ["linux/amd64"]
    assert found.size == len(amd64.config) + sum(map(len, amd64.layers))
    assert store.read_manifest("").raw == made.manifest
    with pytest.raises(NotFoundError, match=f"{arm64.digest} is not in the archive"):
        store.read_manifest(Descriptor(arm64.media_type, Digest.parse(arm64.digest), len(arm64.manifest)))


def test_lists_in_lists(archive: Archives) -> None:
    inner = index([image(), image("linux/arm64")])
    outer = index([inner, image("linux/s390x"), image()])
    store = archive(oci_archive({"1": outer}))
    assert store.read_manifest("1").raw == outer.manifest
    found = store.images()[0]
    assert [platform.architecture for platform in found.platforms] == ["amd64", "arm64", "s390x"]
    assert store.read_manifest(inner.digest).raw == inner.manifest


def test_one_image_under_many_names_is_one(archive: Archives) -> None:
    names = [f"v{number}" for number in range(2_000)]
    made = image()
    members = oci_archive({"": made})
    entries = [made.descriptor(annotations={"org.opencontainers.image.ref.name": name}) for name in names]
    store = archive(members | {"index.json": dump({"schemaVersion": 2, "manifests": entries})}, "oci-archive")
    assert store.tags() == names
    assert store.read_manifest("v1999").raw == made.manifest


def test_what_index_json_names_is_not_read_without_end(tmp_path: Path) -> None:
    named = {str(number): image(seed=str(number)) for number in range(3)}
    path = write_archive(tmp_path / "x.tar", oci_archive(named))
    one = len(named["0"].manifest)
    with contextlib.closing(open_archive(str(path), "x", World().runtime)) as file:
        found = roots(file, 2 * one)
        assert [root.content is not None for root in found] == [True, True, False]
        assert "index.json names are too large together" in str(found[2].fault)
        assert [root.fault for root in roots(file)] == [None] * 3


def test_attestations_in_index_json_are_no_images(archive: Archives) -> None:
    made = image()
    members = oci_archive({"1": made})
    proof = attestation(made)
    document = json.loads(bytes_of(members, "index.json"))
    document["manifests"].append(proof.descriptor(platform={"architecture": "unknown", "os": "unknown"}))
    members |= {"index.json": dump(document), f"blobs/sha256/{hex_of(proof.manifest)}": proof.manifest}
    store = archive(members)
    assert manifest_of(store).raw == made.manifest
    assert store.read_manifest(proof.digest).raw == proof.manifest


def test_an_artifact_has_no_platform(archive: Archives) -> None:
    config = {"mediaType": "application/vnd.example+json", "digest": digest_of(b"not JSON"), "size": 8}
    document = dump({"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": config, "layers": []})
    entry = descriptor(document, media_types.OCI_MANIFEST)
    members: Members = {
        f"blobs/sha256/{hex_of(document)}": document,
        f"blobs/sha256/{hex_of(b'not JSON')}": b"not JSON",
        "index.json": dump({"schemaVersion": 2, "manifests": [entry]}),
    }
    store = archive(members)
    assert manifest_of(store).raw == document
    assert store.images()[0].platforms == ()
    del members[f"blobs/sha256/{hex_of(b'not JSON')}"]
    assert archive(members).images()[0].size == 8


# Choosing


SEVERAL = {
    "legacy": legacy_save(WEB, TOOL),
    "modern": modern_save(WEB, TOOL),
    "skopeo": skopeo_save(WEB, TOOL),
}


@pytest.mark.parametrize("members", SEVERAL.values(), ids=SEVERAL.keys())
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("example.com/web:1.4", WEB),
        ("1.4", WEB),
        ("tool:2", TOOL),
        ("docker.io/library/tool:2", TOOL),
        ("docker.io/tool:2", TOOL),
        ("2", TOOL),
        (f"sha256:{WEB.config_hex}", WEB),
        (WEB.config_hex, WEB),
        (WEB.config_hex[:12], WEB),
        (f"sha256:{TOOL.config_hex[:7]}", TOOL),
        (TOOL.config_hex[:4], TOOL),
    ],
)
def test_an_image_is_chosen(archive: Archives, members: Members, name: str, wanted: Saved) -> None:
    store = archive(members)
    assert store.read_blob(manifest_of(store, name).config, CONFIG_LIMIT) == wanted.config


def test_no_tag_is_latest(archive: Archives) -> None:
    store = archive(legacy_save(Saved(("web:latest", "web:1"), WEB.config, WEB.layers), TOOL))
    assert manifest_of(store, "web").config.digest.encoded == WEB.config_hex
    assert store.tags() == ["web:latest", "web:1", "tool:2"]


def test_podmans_host_may_be_left_out_where_no_other_image_is_meant(archive: Archives) -> None:
    local = Saved(("localhost/tool:2",), TOOL.config, TOOL.layers)
    other = Saved(("docker.io/library/tool:2",), WEB.config, WEB.layers)
    both = archive(skopeo_save(local, other))
    assert manifest_of(both, "tool:2").config.digest.encoded == WEB.config_hex
    assert manifest_of(both, "localhost/tool:2").config.digest.encoded == TOOL.config_hex
    alone = archive(skopeo_save(local))
    assert manifest_of(alone, "tool:2").config.digest.encoded == TOOL.config_hex
    for name in ("docker.io/library/tool:2", "tool", "host.example.com/tool:2"):
        with pytest.raises(NotFoundError):
            alone.read_manifest(name)


def test_names_of_oci_archives_are_full_or_tags(archive: Archives) -> None:
    made = {"example.com/web:1.4": image(), "2": image(seed="2")}
    store = archive(oci_archive(made))
    for name in ("example.com/web:1.4", "1.4"):
        assert manifest_of(store, name).raw == made["example.com/web:1.4"].manifest
    assert manifest_of(store, "2").raw == made["2"].manifest


def test_several_names_of_one_image(archive: Archives) -> None:
    both = Saved(("web:1", "docker.io/library/web:1", "web:2"), WEB.config, WEB.layers)
    for members in (
        modern_save(both),
        legacy_save(both),
        legacy_save(*(Saved((n,), both.config, both.layers) for n in both.names)),
    ):
        store = archive(members)
        check_image(store, WEB)
        assert store.tags() == ["web:1", "web:2"]
        assert len(store.images()) == 1


@pytest.mark.parametrize("members", SEVERAL.values(), ids=SEVERAL.keys())
def test_several_images_and_no_name(archive: Archives, members: Members) -> None:
    with pytest.raises(InputError, match=r"x\.tar: it holds 2 images") as caught:
        archive(members).read_manifest("")
    assert caught.value.hint == "Name one of them: example.com/web:1.4, tool:2."


def test_several_images_without_names(archive: Archives) -> None:
    made = [image(seed=str(number)) for number in range(12)]
    store = archive(legacy_save(*map(saved, made)))
    with pytest.raises(InputError, match="it holds 12 images") as caught:
        store.read_manifest("")
    assert made[0].config_digest[:19] in caught.value.hint
    assert "and 2 more." in caught.value.hint
    assert store.tags() == []
    assert [found.id for found in store.images()] == [Digest.parse(one.config_digest) for one in made]


def test_a_tag_that_fits_several(archive: Archives) -> None:
    images = [Saved((f"{name}:1.4",), saved(image(seed=name)).config, saved(image(seed=name)).layers) for name in "ab"]
    with pytest.raises(InputError, match=r"'1\.4' fits several of its images") as caught:
        archive(legacy_save(*images)).read_manifest("1.4")
    assert caught.value.hint == "Name one of them: a:1.4, b:1.4."


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("example.com/web:1.5", "Did you mean example.com/web:1.4?"),
        ("example.com/wed:1.4", "Did you mean example.com/web:1.4?"),
        ("1.5", "Did you mean example.com/web:1.4?"),
        ("tool:3", "Did you mean tool:2?"),
        ("sha256:" + "0" * 64, "It holds example.com/web:1.4, tool:2."),
        ("20240506", "It holds example.com/web:1.4, tool:2."),
        ("something-else", "It holds example.com/web:1.4, tool:2."),
        (WEB.config_hex[:3], "It holds example.com/web:1.4, tool:2."),
    ],
)
def test_an_image_that_is_not_there(archive: Archives, name: str, hint: str) -> None:
    with pytest.raises(NotFoundError, match=f"it holds no image '{name}'") as caught:
        archive(modern_save(WEB, TOOL)).read_manifest(name)
    assert caught.value.hint == hint


@pytest.mark.parametrize("name", ["", "web:1"])
@pytest.mark.parametrize(
    "members",
    [{"manifest.json": b"[]"}, oci_archive({}), {"index.json": dump({"schemaVersion": 2, "manifests": None})}],
)
def test_an_archive_that_holds_nothing(archive: Archives, members: Members, name: str) -> None:
    store = archive(members)
    with pytest.raises(NotFoundError, match="it holds no image") as caught:
        store.read_manifest(name)
    assert caught.value.hint
    assert store.tags() == []
    assert store.images() == []


def test_images_are_described(archive: Archives) -> None:
    for maker in MAKERS.values():
        store = archive(maker(WEB, TOOL))
        web, tool = sorted(store.images(), key=lambda found: found.names)
        assert web.names == ("example.com/web:1.4",)
        assert tool.id.encoded == TOOL.config_hex
        assert tool.platforms == (Platform("linux", "arm64", "v8"),)
        assert tool.created == "2025-01-02T03:04:05Z"
        sizes = [len(packed(layer, "gzip")) if maker is packed_save else len(layer) for layer in TOOL.layers]
        assert tool.size == len(TOOL.config) + sum(sizes)


# What is wrong


def bytes_of(members: Members, name: str) -> bytes:
    data = members[name]
    assert isinstance(data, bytes)
    return data


def changed(members: Members, name: str, data: bytes | Link | None) -> Members:
    """Return the members with one replaced, or without it."""
    rest = {key: value for key, value in members.items() if key != name}
    return rest if data is None else rest | {name: data}


def manifest_json(**fields: Any) -> Members:
    """Return a legacy archive whose ``manifest.json`` says something else."""
    members = legacy_save(WEB)
    entry = json.loads(bytes_of(members, "manifest.json"))[0] | fields
    return members | {"manifest.json": dump([{k: v for k, v in entry.items() if v is not None}])}


LEGACY = legacy_save(WEB)
MODERN = modern_save(WEB)
FIRST_LAYER = json.loads(bytes_of(LEGACY, "manifest.json"))[0]["Layers"][0]
CONFIG = f"{WEB.config_hex}.json"
OTHER_CONFIG = dump(json.loads(WEB.config) | {"author": "somebody"})


def with_config(config: bytes) -> Members:
    return manifest_json(Config="config.json") | {"config.json": config}


def with_diff_ids(diff_ids: list[str]) -> Members:
    return with_config(dump(json.loads(WEB.config) | {"rootfs": {"type": "layers", "diff_ids": diff_ids}}))


BAD: dict[str, tuple[Members, type[ManifestctlError], str]] = {
    "no archive": ({"README": b"hello"}, DocumentError, "neither manifest.json nor index.json"),
    "older than 1.10": ({"repositories": b"{}"}, DocumentError, "older than 1.10"),
    "no array": ({"manifest.json": b"{}"}, DocumentError, "manifest.json: it is not a JSON array"),
    "no JSON": ({"manifest.json": b"[{"}, DocumentError, "manifest.json: is not JSON"),
    "no object": ({"manifest.json": b"[1]"}, DocumentError, "/0 is not a JSON object"),
    "key in another case": (
        manifest_json(Config=None, config="x"),
        DocumentError,
        "'config' at /0 must be written 'Config'",
    ),
    "no config named": (manifest_json(Config=None), DocumentError, "/0/Config is missing"),
    "config outside": (
        manifest_json(Config="../../etc/passwd"),
        MissingContentError,
        "'../../etc/passwd' is not in the archive",
    ),
    "config not there": (
        changed(LEGACY, CONFIG, None),
        MissingContentError,
        f"config '{CONFIG}' is not in the archive",
    ),
    "config of other bytes": (LEGACY | {CONFIG: OTHER_CONFIG}, IntegrityError, "which is not its name"),
    "blob of other bytes": (
        MODERN | {f"blobs/sha256/{WEB.config_hex}": OTHER_CONFIG},
        IntegrityError,
        "which is not its name",
    ),
    "config no JSON": (with_config(b"x"), DocumentError, "config.json: is not JSON"),
    "layer not named": (
        manifest_json(Layers=None),
        DocumentError,
        "has 0 layers for it, but its config has 3 diff_ids",
    ),
    "layer not there": (
        changed(LEGACY, FIRST_LAYER, None),
        MissingContentError,
        f"the layer '{FIRST_LAYER}' is not in the archive",
    ),
    "layer outside": (
        manifest_json(Layers=["/etc/passwd"] * 3),
        MissingContentError,
        "the layer '/etc/passwd' is not in the archive",
    ),
    "layer a loop": (LEGACY | {FIRST_LAYER: Link("layer.tar")}, MissingContentError, "is not in the archive"),
    "diff_id missing": (
        with_diff_ids(WEB.diff_ids[:2]),
        DocumentError,
        "3 layers for it, but its config has 2 diff_ids",
    ),
    "diff_id malformed": (with_diff_ids(["sha256:x"] * 3), DocumentError, "diff_ids: 'sha256:x' is not a"),
    "diff_id of another kind": (with_diff_ids(["md5:0123"] * 3), DocumentError, "diff_id md5:0123 cannot be checked"),
    "packed layer of other bytes": (
        packed_save(WEB) | {f"{hex_of(packed(WEB.layers[0], 'gzip'))}.tar.gz": packed(b"x", "gzip")},
        IntegrityError,
        "its tar does not hash to sha256:",
    ),
    "packed layer cut off": (
        packed_save(WEB) | {f"{hex_of(packed(WEB.layers[0], 'gzip'))}.tar.gz": packed(WEB.layers[0], "gzip")[:-1]},
        IntegrityError,
        "its gzip stream is cut off",
    ),
    "manifest.json too large": (
        {"manifest.json": b"[" + b" " * (16 << 20) + b"]"},
        DocumentError,
        "manifest.json: is larger than 16777216 bytes",
    ),
    "index too large": (
        {"index.json": b"{" + b" " * (64 << 20) + b"}"},
        DocumentError,
        "index.json: is larger than 67108864 bytes",
    ),
    "index no JSON": (oci_archive({}) | {"index.json": b"?"}, DocumentError, "index.json: is not JSON"),
    "index of no descriptors": (
        {"index.json": dump({"manifests": [{"mediaType": "x", "size": 1}]})},
        DocumentError,
        "/manifests/0/digest is missing",
    ),
}


@pytest.mark.parametrize(("members", "kind", "said"), BAD.values(), ids=BAD.keys())
def test_what_is_wrong_is_said(archive: Archives, members: Members, kind: type[ManifestctlError], said: str) -> None:
    with pytest.raises(kind) as caught:
        archive(members).read_manifest("")
    assert said in caught.value.message
    assert caught.value.message.startswith(f"docker-archive:{archive.directory}/x.tar")
    assert caught.value.hint
    assert caught.value.exit_code == (6 if kind is IntegrityError else 1)


@pytest.mark.parametrize("maker", [legacy_save, modern_save])
def test_a_layer_of_other_bytes_is_found_when_it_is_read(archive: Archives, maker: Callable[..., Members]) -> None:
    members = maker(WEB)
    name = json.loads(bytes_of(members, "manifest.json"))[0]["Layers"][1]
    other = bytes(reversed(WEB.layers[1]))
    store = archive(members | {name: other})
    layer = manifest_of(store).layers[1]
    with pytest.raises(IntegrityError, match=f": its bytes do not hash to {layer.digest}") as caught:
        read(store, layer)
    # Nobody finds a layer in an old archive by its digest.
    assert name in caught.value.message or str(layer.digest).replace(":", "/") in name
    assert str(layer.digest) in caught.value.message.partition(": its bytes")[0]
    assert "make it again" in caught.value.hint
    with pytest.raises(IntegrityError, match="hash to"):
        store.read_blob(layer, len(other))


def test_a_manifest_that_is_not_what_index_json_says(archive: Archives) -> None:
    made = image()
    members = oci_archive({"1": made})
    blob = f"blobs/sha256/{hex_of(made.manifest)}"
    cases: list[tuple[Members, type[ManifestctlError], str]] = [
        (members | {blob: made.manifest + b" "}, IntegrityError, "but its descriptor says"),
        (members | {blob: made.manifest[:-1] + b" "}, IntegrityError, "hash to"),
        (changed(members, blob, None), MissingContentError, "is not in the archive"),
        (members | {blob: bytes(MANIFEST_LIMIT + 1)}, DocumentError, "larger than"),
    ]
    for bad, kind, said in cases:
        store = archive(bad)
        assert store.tags() == ["1"]
        assert store.images()[0].platforms == ()
        with pytest.raises(kind, match=said):
            store.read_manifest("1")
        with pytest.raises(kind, match=said):
            store.read_manifest(made.digest)


def test_content_that_is_no_manifest_is_said_to_be_none(archive: Archives) -> None:
    made = image()
    store = archive(oci_archive({"1": made}))
    layer = store.read_manifest(digest_of(made.layers[0]))
    with pytest.raises(DocumentError, match="not UTF-8"):
        layer.parse("x")
    large = bytes(MANIFEST_LIMIT + 1)
    store = archive(oci_archive({"1": made}) | {f"blobs/sha256/{hex_of(large)}": large})
    with pytest.raises(DocumentError, match="larger than 4194304 bytes"):
        store.read_manifest(digest_of(large))


def test_a_cut_off_archive_is_suspected(archive: Archives) -> None:
    whole = pack({**{name: data for name, data in LEGACY.items() if name != "manifest.json"}})
    with pytest.raises(DocumentError):
        archive(whole[:-1024]).tags()
    kept = pack({"manifest.json": LEGACY["manifest.json"]})
    with pytest.raises(MissingContentError) as caught:
        archive(kept[:-1024]).tags()
    assert "no end mark" in caught.value.hint
    with pytest.raises(MissingContentError) as caught:
        archive(kept).tags()
    assert "no end mark" not in caught.value.hint


def test_a_truncated_archive_is_damaged(archive: Archives) -> None:
    with pytest.raises(IntegrityError, match="is damaged"):
        archive(pack(LEGACY)[:20_000]).tags()
    with pytest.raises(IntegrityError, match="cut off"):
        archive(packed(pack(LEGACY), "gzip")[:-10]).tags()
    assert list(archive.directory.iterdir()) == [archive.directory / "x.tar"]


def test_a_list_that_names_itself_many_times_ends(archive: Archives) -> None:
    """Lists of lists, each twenty times in the next, would be a million million images."""
    made: Any = index([image()])
    for _ in range(10):
        made = index([made.descriptor(annotations={"n": str(number)}) for number in range(20)] + [made])
    assert len(archive(oci_archive({"1": made})).images()[0].platforms) == 1


# Blobs


def test_blobs_that_are_not_as_described(archive: Archives) -> None:
    store = archive(modern_save(WEB))
    config = manifest_of(store).config
    longer = Descriptor(config.media_type, config.digest, config.size + 1)
    absent = Descriptor(config.media_type, Digest.of(b"absent"), 6)
    assert not store.has(absent)
    with pytest.raises(IntegrityError, match=f"it has {config.size} bytes, but its descriptor says {config.size + 1}"):
        store.has(longer)
    with pytest.raises(IntegrityError, match="bytes"):
        store.read_blob(longer, CONFIG_LIMIT)
    with pytest.raises(IntegrityError, match="bytes instead of"):
        read(store, longer)
    with pytest.raises(IntegrityError, match="larger than 10 bytes"):
        store.read_blob(config, 10)
    for call in (lambda: store.read_blob(absent, 10), lambda: read(store, absent), lambda: store.read_manifest(absent)):
        with pytest.raises(NotFoundError, match=f"@{absent.digest} is not in the archive"):
            call()


def test_a_synthesised_manifest_of_another_size(archive: Archives) -> None:
    store = archive(legacy_save(WEB))
    manifest = manifest_of(store)
    with pytest.raises(IntegrityError, match="but its descriptor says 1"):
        store.read_manifest(Descriptor(manifest.media_type, manifest.digest, 1))


@pytest.mark.parametrize("maker", [legacy_save, packed_save])
def test_blobs_are_found_before_any_manifest_was_read(archive: Archives, maker: Callable[..., Members]) -> None:
    manifest = manifest_of(archive(maker(WEB)))
    for part in (manifest.config, *manifest.layers):
        assert archive(maker(WEB)).has(part)
    assert archive(maker(WEB)).read_manifest(str(manifest.digest)).raw == manifest.raw


def test_an_image_that_cannot_be_used_does_not_stand_in_the_way_of_others(archive: Archives) -> None:
    members = legacy_save(TOOL, WEB)
    entries = json.loads(bytes_of(members, "manifest.json"))
    entries[0]["Layers"].pop()
    store = archive(members | {"manifest.json": dump(entries)})
    check_image(store, WEB, "example.com/web:1.4")
    assert not store.has(Descriptor("x", Digest.of(b"absent"), 1))
    with pytest.raises(DocumentError):
        store.read_manifest("tool:2")


def test_many_threads_read_at_once(archive: Archives) -> None:
    store = archive(packed_save(WEB, TOOL), kind="gzip")
    wrong: list[BaseException] = []

    def run() -> None:
        try:
            check_image(store, WEB, "example.com/web:1.4")
            check_image(store, TOOL, "tool:2")
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            wrong.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(archive.world.heard(Noted)) == 1


# Files, pipes and what is neither


def test_what_is_packed_is_unpacked_once_and_said(archive: Archives) -> None:
    store = archive(legacy_save(WEB), kind="zstd")
    assert archive.world.events == []
    check_image(store, WEB)
    assert archive.world.heard(Noted) == [
        Noted(f"{store.name} is unpacked into a temporary file in {archive.directory}")
    ]
    assert list(archive.directory.iterdir()) == [archive.directory / "x.tar"]


@pytest.mark.parametrize("from_a_pipe", [False, True])
def test_how_far_the_unpacking_is(archive: Archives, from_a_pipe: bool) -> None:
    """It may take minutes, which nobody should spend without a sign of life."""
    plain = pack({"manifest.json": b"[]", "x": os.urandom(3 << 20)})
    data = packed(plain, "gzip")
    path = archive.directory / "x.tar"
    path.write_bytes(data)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        store = archive.at(f"/dev/fd/{writer.stdout.fileno()}" if from_a_pipe else str(path))
        assert store.tags() == []
    # Of a pipe nobody knows beforehand what will come out of it.
    assert archive.world.heard(BlobStarted) == [
        BlobStarted(store.name, None if from_a_pipe else len(data), "unpacking")
    ]
    assert {event.name for event in archive.world.heard(BytesMoved)} == {store.name}
    assert sum(event.count for event in archive.world.heard(BytesMoved)) == len(data)
    assert archive.world.heard(BlobMoved) == [BlobMoved(store.name, len(plain), "unpacked")]


def test_whether_it_must_be_unpacked_first(archive: Archives) -> None:
    kinds: list[tuple[Format, bool]] = [("none", False), ("gzip", True), ("zstd", True)]
    for kind, slow in kinds:
        assert (archive(LEGACY, kind=kind).foretell() == Foretold()) == slow
        assert (archive(LEGACY, kind=kind).foretell() is None) != slow
    os.mkfifo(archive.directory / "pipe")
    assert archive.at(str(archive.directory / "pipe")).foretell() == Foretold()
    # Reading it will say what is wrong.
    assert archive.at(str(archive.directory / "absent")).foretell() is None
    assert archive.world.events == []


def test_an_archive_that_is_packed_twice(archive: Archives) -> None:
    with pytest.raises(DocumentError, match="packed more than once"):
        archive(gzip.compress(pack(LEGACY)), kind="gzip").tags()


@pytest.mark.parametrize("kind", ["none", "gzip"])
@pytest.mark.parametrize("piece", [3, 1 << 20])
def test_a_pipe(archive: Archives, kind: Format, piece: int) -> None:
    data = packed(pack(legacy_save(WEB)), kind)
    # Each write is then one read, where the system has such pipes.
    end, start = os.pipe2(os.O_DIRECT) if hasattr(os, "pipe2") else os.pipe()

    def write() -> None:
        with os.fdopen(start, "wb", buffering=0) as file:
            for place in range(0, 100, piece):
                file.write(data[place : min(place + piece, 100)])
            file.write(data[100:])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        store = archive.at(f"/dev/fd/{end}")
        check_image(store, WEB)
    finally:
        writer.join()
        os.close(end)
    verb = "copied" if kind == "none" else "unpacked"
    assert f"is {verb} into a temporary file in " in archive.world.heard(Noted)[0].message


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_what_is_packed_and_is_no_tar_is_not_unpacked(archive: Archives, kind: Format) -> None:
    """A stream that is damaged further on tells how far it was read."""
    data = packed(os.urandom(4 << 20), kind)
    with pytest.raises(IntegrityError):
        b"".join(decompressed([data[: len(data) // 2]], kind))
    path = archive.directory / "x.tar"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DocumentError, match="it is not a tar") as caught:
        archive.at(str(path)).tags()
    assert "tars packed with gzip or zstd" in caught.value.hint
    assert (archive.world.heard(Noted), archive.world.heard(BlobStarted)) == ([], [])


def test_a_pipe_that_brings_no_tar_is_not_read_to_its_end(archive: Archives) -> None:
    end, start = os.pipe()
    try:
        os.write(start, b"hello" * 200)
        # The other end is still open: whoever read on would wait for more.
        with pytest.raises(DocumentError, match="it is not a tar"):
            archive.at(f"/dev/fd/{end}").tags()
    finally:
        os.close(start)
        os.close(end)


def test_a_pipe_into_which_nobody_writes(archive: Archives) -> None:
    path = archive.directory / "fifo"
    os.mkfifo(path)
    with pytest.raises(DocumentError, match="it is empty"):
        archive.at(str(path)).tags()


def test_an_export_in_a_temporary_file(archive: Archives) -> None:
    spool = Spool(archive.world.environ, "export")
    spool.write(pack(legacy_save(WEB)))
    name = "docker-daemon:web:1.4"
    with ArchiveStore(name, lambda: indexed_archive(spool, name), archive.world.cancel) as store:
        check_image(store, WEB)
        check_image(store, WEB, f"sha256:{WEB.config_hex}")
    with pytest.raises(ValueError, match="closed"):
        spool.read(0, 1)


def test_a_run_that_is_cancelled_stops_unpacking(archive: Archives) -> None:
    store = archive(legacy_save(WEB), kind="gzip")
    archive.world.cancel.set(2)
    with pytest.raises(InterruptedRun):
        store.tags()


def test_a_run_that_is_cancelled_stops_hashing_packed_layers(archive: Archives) -> None:
    store = archive(packed_save(WEB))
    assert store.tags() == ["example.com/web:1.4"]
    archive.world.cancel.set(2)
    with pytest.raises(InterruptedRun):
        store.read_manifest("")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_no_file(archive: Archives, scheme: str, tmp_path: Path) -> None:
    cases: list[tuple[str, type[ManifestctlError], str, str]] = [
        (str(tmp_path / "absent.tar"), NotFoundError, "absent.tar does not exist", "Check the path."),
        ("-", NotFoundError, ":- does not exist", "For standard input, write /dev/stdin."),
        (str(tmp_path), InputError, "is a directory", "oci:DIR"),
        ("/dev/null", InputError, "neither a file nor a pipe", "to a file first"),
        (str(tmp_path / ("x" * 300)), NotFoundError, "does not exist", "Check the path."),
    ]
    for path, kind, said, hint in cases:
        with pytest.raises(kind) as caught:
            archive.at(path, scheme).tags()
        assert said in caught.value.message
        assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (PermissionError(13, "Permission denied"), DeniedError, r"x\.tar: Permission denied"),
        (OSError(5, "Input/output error"), UnreachableError, r"x\.tar: cannot be read: Input/output error"),
    ],
)
def test_a_file_that_cannot_be_read(
    archive: Archives, monkeypatch: pytest.MonkeyPatch, error: OSError, kind: type[ManifestctlError], said: str
) -> None:
    store = archive(legacy_save(WEB))

    def refuse(*arguments: object) -> int:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with pytest.raises(kind, match=said):
            store.tags()


def test_a_disk_that_fails_while_a_layer_is_read(archive: Archives, monkeypatch: pytest.MonkeyPatch) -> None:
    store = archive(legacy_save(WEB))
    layer = manifest_of(store).layers[0]

    def broken(descriptor: int, length: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    with store.open_blob(layer) as chunks:
        monkeypatch.setattr(os, "pread", broken)
        with pytest.raises(UnreachableError, match="cannot be read: Input/output error"):
            next(chunks)


def test_what_fails_at_the_caller_is_the_callers(archive: Archives) -> None:
    store = archive(legacy_save(WEB))
    layer = manifest_of(store).layers[0]

    def copy() -> None:
        with store.open_blob(layer):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        copy()


def test_no_space_to_unpack(archive: Archives, tmp_path: Path) -> None:
    store = archive(legacy_save(WEB), kind="gzip")
    archive.world.environ["TMPDIR"] = str(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"temporary file in .*nowhere"):
        store.tags()


@pytest.mark.parametrize("what", ["blob", "manifest"])
def test_archives_are_not_written(archive: Archives, what: str) -> None:
    store = archive.at("nowhere.tar")
    with pytest.raises(DeniedError, match=r"docker-archive:nowhere\.tar is read-only") as caught:
        store.write_blob(Blob.of(b"x", "x")) if what == "blob" else store.write_manifest(Content.of(b"{}", "x"), "1")
    assert "oci:DIR" in caught.value.hint


def test_a_closed_archive_is_opened_again(archive: Archives) -> None:
    store = archive(legacy_save(WEB))
    store.close()
    check_image(store, WEB)
    store.close()
    store.close()
    check_image(store, WEB)


def test_names_are_shown_escaped(archive: Archives) -> None:
    evil = "web:1\x1b[31m\n::error::x"
    store = archive(legacy_save(Saved((evil,), WEB.config, WEB.layers), TOOL))
    with pytest.raises(InputError) as caught:
        store.read_manifest("")
    assert "\n" not in caught.value.hint
    assert "\x1b" not in caught.value.hint
    assert manifest_of(store, evil).config.digest.encoded == WEB.config_hex


def opened(world: World) -> Stores:
    def nobody() -> CredentialSource:
        pytest.fail("an archive needs no credentials")

    return Stores(TransportSettings(), nobody, world.runtime)


def test_a_location_opens_its_archive_which_is_closed_in_the_end(tmp_path: Path) -> None:
    write_archive(tmp_path / "x.tar", legacy_save(WEB, TOOL), "gzip")
    world = World({"TMPDIR": str(tmp_path)})
    with opened(world) as stores:
        location = parse_location(f"docker-archive:{tmp_path}/x.tar:tool:2")
        stores.reach(location, 4)
        store = stores(location)
        assert isinstance(store, ArchiveStore)
        assert stores(location.with_tag("example.com/web:1.4")) is store
        content = store.read_manifest(location.selector)
        manifest = content.parse("x")
        assert isinstance(manifest, Manifest)
        assert manifest.config.digest.encoded == TOOL.config_hex
        with store.open_blob(manifest.layers[0]) as chunks:
            stores.__exit__(None, None, None)
            with pytest.raises(ValueError, match="closed"):
                next(chunks)


def test_an_archive_is_not_opened_to_be_written(tmp_path: Path) -> None:
    with opened(World()) as stores, pytest.raises(DeniedError, match=r"x\.tar is read-only"):
        stores(ArchiveLocation("oci-archive", "x.tar"), write=True)
