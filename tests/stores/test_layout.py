"""Layouts on disk: what other tools leave in them, what attackers put there, crashes, and several writers at once."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    DocumentError,
    IntegrityError,
    ManifestctlError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.files import locked
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import LayoutLocation
from manifestctl.model.media_types import OCI_INDEX, OCI_MANIFEST
from manifestctl.stores.base import Blob, Content, OnlyIf
from manifestctl.stores.layout import LayoutStore
from manifestctl.stores.layout_index import REF_NAME
from tests.support import images
from tests.support.images import digest_of, write_layout
from tests.support.privileges import unprivileged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.tools import Tools

posix = pytest.mark.skipif(os.name != "posix", reason="no links, FIFOs or flock here")

IMAGE = images.image("linux/amd64")
OTHER = images.image("linux/arm64")
LIST = images.index([IMAGE, OTHER])


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "out"


def opened(directory: Path) -> LayoutStore:
    return LayoutStore(LayoutLocation(str(directory)))


def content_of(made: images.Content) -> Content:
    return Content.of(made.manifest, made.media_type)


def index_of(directory: Path) -> Any:
    return json.loads((directory / "index.json").read_bytes())


def write_index(directory: Path, *entries: object, **members: object) -> None:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries), **members}
    (directory / "index.json").write_bytes(json.dumps(document).encode())


def blob_path(directory: Path, digest: str) -> Path:
    return directory / "blobs" / digest.replace(":", "/")


def files_of(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_nothing_is_made_before_something_is_written(directory: Path) -> None:
    store = opened(directory)
    for ask in (store.tags, lambda: store.read_manifest("1"), lambda: store.resolve("")):
        with pytest.raises(NotFoundError) as caught:
            ask()
        assert caught.value.message == f"oci:{directory} is not an OCI layout: it has no file oci-layout"
        assert caught.value.repository_unknown
    assert not store.has(Descriptor("x", Digest.of(b""), 0))
    assert not directory.exists()


@pytest.mark.parametrize(
    ("marker", "words"),
    [
        (b'{"imageLayoutVersion":"2.0.0"}', "the layout is of version '2.0.0', and only 1.0 is understood"),
        (b'{"imageLayoutVersion":"1.1.0"}', "the layout is of version '1.1.0'"),
        (b'{"imageLayoutVersion":"1.0"}', "the layout is of version '1.0'"),
        (b'{"imageLayoutVersion":1}', "/imageLayoutVersion is not a string"),
        (b"{}", "/imageLayoutVersion is missing"),
        (b"", "oci-layout"),
    ],
)
def test_a_layout_of_another_version_is_neither_read_nor_written(directory: Path, marker: bytes, words: str) -> None:
    write_layout(directory, {"1": IMAGE})
    (directory / "oci-layout").write_bytes(marker)
    before = files_of(directory)
    store = opened(directory)
    blob = IMAGE.blobs[IMAGE.config_digest]
    config = Descriptor("x", Digest.parse(IMAGE.config_digest), len(blob))
    for ask in (
        store.tags,
        lambda: store.read_manifest("1"),
        lambda: store.read_manifest(IMAGE.digest),
        lambda: store.read_blob(config, 10_000),
        lambda: store.has(config),
        lambda: store.write_blob(Blob.of(b"new", "x")),
        lambda: store.write_manifest(content_of(OTHER), "2"),
    ):
        with pytest.raises(DocumentError) as caught:
            ask()
        assert caught.value.message.startswith(f"oci:{directory}/oci-layout")
        assert words in caught.value.message
    assert files_of(directory) == before


def test_a_later_version_1_0_is_read(directory: Path) -> None:
    write_layout(directory, {"1": IMAGE})
    (directory / "oci-layout").write_bytes(b'{"imageLayoutVersion":"1.0.1", "more": 1}')
    assert str(opened(directory).read_manifest("1").digest) == IMAGE.digest


@posix
def test_a_marker_that_is_no_file_is_not_waited_for(directory: Path) -> None:
    write_layout(directory, {"1": IMAGE})
    (directory / "oci-layout").unlink()
    os.mkfifo(directory / "oci-layout")
    with pytest.raises(DocumentError, match="oci-layout: it is not a regular file"):
        opened(directory).tags()


def test_a_layout_is_what_the_specification_says(directory: Path) -> None:
    store = opened(directory / "deep" / "down")
    store.write_manifest(content_of(IMAGE), "1.4")
    root = directory / "deep" / "down"
    assert files_of(root) == {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": (root / "index.json").read_bytes(),
        f"blobs/sha256/{IMAGE.digest.removeprefix('sha256:')}": IMAGE.manifest,
    }
    assert index_of(root) == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {
                "mediaType": OCI_MANIFEST,
                "digest": IMAGE.digest,
                "size": len(IMAGE.manifest),
                "annotations": {REF_NAME: "1.4"},
            }
        ],
    }


@posix
def test_files_have_the_permissions_that_the_umask_leaves(directory: Path) -> None:
    old = os.umask(0o027)
    try:
        opened(directory).write_manifest(content_of(IMAGE), "1.4")
    finally:
        os.umask(old)
    assert {stat.S_IMODE(path.stat().st_mode) for path in directory.rglob("*") if path.is_file()} == {0o640}


def test_other_algorithms_have_directories_of_their_own(directory: Path) -> None:
    store = opened(directory)
    content = Content(IMAGE.manifest, OCI_MANIFEST, Digest.of(IMAGE.manifest, "sha512"))
    store.write_manifest(content, "1.4")
    assert (directory / "blobs" / "sha512" / content.digest.encoded).read_bytes() == IMAGE.manifest
    assert store.read_manifest("1.4").digest == content.digest
    blob = Blob(Descriptor("x", Digest.of(b"data", "sha384"), 4), lambda: iter((b"data",)))
    store.write_blob(blob)
    assert store.read_blob(blob.descriptor, 10) == b"data"


def test_content_whose_digest_cannot_be_checked_is_neither_read_nor_written(directory: Path) -> None:
    store = opened(directory)
    store.write_manifest(content_of(IMAGE), "1.4")
    unknown = Descriptor("x", Digest("blake3", "0" * 64), 4)
    (directory / "blobs" / "blake3").mkdir()
    (directory / "blobs" / "blake3" / ("0" * 64)).write_bytes(b"data")
    with pytest.raises(IntegrityError, match="blake3 is not known here"):
        store.read_blob(unknown, 10)
    with pytest.raises(IntegrityError, match="blake3 is not known here"):
        store.read_manifest(unknown)
    fresh = Descriptor("x", Digest("blake3", "1" * 64), 4)
    with pytest.raises(IntegrityError, match="blake3 is not known here"):
        store.write_blob(Blob(fresh, lambda: iter((b"data",))))
    assert [path.name for path in (directory / "blobs" / "blake3").iterdir()] == ["0" * 64]


def test_tags_stand_in_the_order_in_which_they_were_first_written(directory: Path) -> None:
    store = opened(directory)
    for tag, made in (("b", IMAGE), ("a", OTHER), ("c", IMAGE), ("b", LIST), ("a", OTHER)):
        store.write_manifest(content_of(made), tag)
    assert store.tags() == ["b", "a", "c"]
    assert store.read_manifest("b").raw == LIST.manifest


def test_one_image_is_meant_where_no_tag_is_given(directory: Path) -> None:
    store = opened(directory)
    store.write_manifest(content_of(IMAGE), "1.4")
    assert store.read_manifest("").raw == IMAGE.manifest
    store.write_manifest(content_of(OTHER), "1.5")
    with pytest.raises(NotFoundError) as caught:
        store.read_manifest("")
    assert caught.value.message == f"oci:{directory} holds 2 images, none tagged latest"
    assert caught.value.hint == f"'manifestctl tags oci:{directory}' lists what is there."
    store.write_manifest(content_of(LIST), "latest")
    assert store.read_manifest("").raw == LIST.manifest
    write_index(directory)
    with pytest.raises(NotFoundError, match="holds no image, none tagged latest"):
        store.read_manifest("")


def test_the_only_image_need_not_have_a_tag(directory: Path) -> None:
    store = opened(directory)
    store.write_manifest(content_of(IMAGE))
    assert store.tags() == []
    assert store.read_manifest("").raw == IMAGE.manifest
    store.write_manifest(content_of(IMAGE), "1.4")
    assert store.read_manifest("").raw == IMAGE.manifest
    assert len(index_of(directory)["manifests"]) == 1


def test_what_other_tools_say_of_an_image_stays(directory: Path) -> None:
    write_layout(directory, {"1.4": IMAGE, "1.5": OTHER})
    entries = index_of(directory)["manifests"]
    entries[0]["annotations"]["org.example.note"] = "kept"
    entries[0]["x-future"] = {"a": [1, None, 2.5]}
    members = {"annotations": {"org.example": "ünïcode"}, "x-unknown": {"B": 1, "a": [True, None, 1.5e10]}}
    write_index(directory, *entries, "not an object", {"digest": 7}, None, **members)
    before = (directory / "index.json").read_bytes()
    store = opened(directory)
    store.write_manifest(content_of(IMAGE), "1.4")
    store.write_manifest(content_of(IMAGE))
    assert (directory / "index.json").read_bytes() == before
    store.write_manifest(content_of(LIST), "1.6")
    after = index_of(directory)
    assert list(after) == ["schemaVersion", "mediaType", "manifests", "annotations", "x-unknown"]
    assert {key: after[key] for key in members} == members
    assert after["manifests"][:5] == [*entries, "not an object", {"digest": 7}, None]
    assert "ünïcode".encode() in (directory / "index.json").read_bytes()
    store.write_manifest(content_of(OTHER), "1.4")
    assert index_of(directory)["manifests"][0]["digest"] == OTHER.digest
    assert index_of(directory)["manifests"][1:] == after["manifests"][1:]


def test_a_tag_that_stood_twice_stands_once_after_it_was_written(directory: Path) -> None:
    write_layout(directory, {"1.4": IMAGE, "1.5": OTHER})
    first, second = index_of(directory)["manifests"]
    twice = second | {"annotations": {REF_NAME: "1.4"}}
    write_index(directory, first, second, twice)
    store = opened(directory)
    with pytest.raises(DocumentError, match=r"gives this tag to 2 different images") as caught:
        store.read_manifest("1.4")
    assert "oci:DIR@sha256:" in caught.value.hint
    with pytest.raises(ConflictError, match=f"holds {IMAGE.digest} and {OTHER.digest} now"):
        store.write_manifest(content_of(LIST), "1.4", OnlyIf(Digest.parse(IMAGE.digest)))
    store.write_manifest(content_of(LIST), "1.4")
    assert [entry["annotations"][REF_NAME] for entry in index_of(directory)["manifests"]] == ["1.4", "1.5"]
    write_index(directory, first, second, first)
    assert opened(directory).read_manifest("1.4").raw == IMAGE.manifest


def test_names_as_other_tools_write_them(directory: Path) -> None:
    """Podman gives an image its full name; ``docker save`` the tag here and the name in an annotation of its own."""
    write_layout(directory, {"localhost/web:1.4": IMAGE, "web:latest": OTHER})
    entries = index_of(directory)["manifests"]
    saved = LIST.descriptor(annotations={REF_NAME: "1.4", "io.containerd.image.name": "docker.io/library/web:1.4"})
    blob_path(directory, LIST.digest).write_bytes(LIST.manifest)
    values: list[object] = [None, [], {REF_NAME: None}, {REF_NAME: 7}, {REF_NAME: ""}, {}]
    odd = [{"annotations": value} for value in values]
    write_index(directory, *entries, saved, *odd)
    store = opened(directory)
    assert store.tags() == ["localhost/web:1.4", "web:latest", "1.4"]
    assert [str(store.resolve(tag).digest) for tag in store.tags()] == [IMAGE.digest, OTHER.digest, LIST.digest]


def test_a_name_that_pretends_to_be_a_digest_is_not_believed(directory: Path) -> None:
    write_layout(directory, {IMAGE.digest: OTHER})
    with pytest.raises(NotFoundError):
        opened(directory).read_manifest(IMAGE.digest)


def test_the_media_type_of_what_is_read_by_digest_is_what_the_index_says(directory: Path) -> None:
    write_layout(directory, {"1.4": LIST})
    write_index(directory, {"digest": IMAGE.digest, "mediaType": 7}, *index_of(directory)["manifests"])
    store = opened(directory)
    assert store.read_manifest(LIST.digest).media_type == OCI_INDEX
    # What only a list in the index names has the type that its own bytes say.
    assert store.read_manifest(IMAGE.digest).media_type == ""
    assert store.read_manifest(IMAGE.digest).parse("x").media_type == OCI_MANIFEST


@pytest.mark.parametrize(
    ("index", "reason"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[]", "the document is not a JSON object"),
        (b"{}", "/manifests is missing"),
        (b'{"manifests":null}', "/manifests is missing"),
        (b'{"manifests":{}}', "/manifests is not an array"),
        (b'{"manifests":[],"manifests":[]}', "stands twice"),
        (b'{"Manifests":[]}', "must be written 'manifests'"),
        (b'{"manifests":[],"MANIFESTS":[]}', "Go programs take for the same"),
        (b"[" * 200, "nested deeper"),
    ],
)
def test_a_damaged_index_is_neither_read_nor_written_over(directory: Path, index: bytes, reason: str) -> None:
    write_layout(directory, {"1.4": IMAGE})
    (directory / "index.json").write_bytes(index)
    store = opened(directory)
    asks: list[Callable[[], object]] = [
        store.tags,
        lambda: store.read_manifest("1.4"),
        lambda: store.write_manifest(content_of(OTHER), "1.4"),
    ]
    for ask in asks:
        with pytest.raises(DocumentError) as caught:
            ask()
        assert caught.value.message.startswith(f"oci:{directory}/index.json: ")
        assert reason in caught.value.message
    assert (directory / "index.json").read_bytes() == index


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"digest": "sha256:abc"}, "/manifests/0/digest: 'sha256:abc' is not a sha256 digest"),
        ({"size": -1}, "/manifests/0/size is not an integer"),
        ({"size": 1.0}, "/manifests/0/size is not an integer"),
        ({"mediaType": None}, "/manifests/0/mediaType is missing"),
        ({"DIGEST": "x"}, "take for the same"),
        ({"platform": 1}, "/manifests/0/platform is not a JSON object"),
    ],
)
def test_a_malformed_entry_is_refused_with_its_place(directory: Path, entry: dict[str, Any], reason: str) -> None:
    write_layout(directory, {"1.4": IMAGE})
    write_index(directory, index_of(directory)["manifests"][0] | entry)
    with pytest.raises(DocumentError) as caught:
        opened(directory).read_manifest("1.4")
    assert reason in caught.value.message


def test_an_only_entry_that_is_nothing_is_refused(directory: Path) -> None:
    write_layout(directory, {})
    write_index(directory, "nothing")
    with pytest.raises(DocumentError, match="/manifests/0 is not a JSON object"):
        opened(directory).read_manifest("")


def test_the_size_in_the_index_is_checked(directory: Path) -> None:
    write_layout(directory, {"1.4": IMAGE})
    write_index(directory, index_of(directory)["manifests"][0] | {"size": 5})
    with pytest.raises(IntegrityError, match="but its descriptor says 5"):
        opened(directory).read_manifest("1.4")


def test_a_manifest_that_is_too_large_is_not_read(directory: Path) -> None:
    write_layout(directory, {"1.4": IMAGE})
    huge = b"{}" + b" " * (4 * 1024 * 1024)
    blob_path(directory, digest_of(huge)).write_bytes(huge)
    with pytest.raises(DocumentError, match="is larger than 4194304 bytes") as caught:
        opened(directory).read_manifest(digest_of(huge))
    assert caught.value.rule == "json-too-large"


@pytest.mark.parametrize("missing", ["index.json", "blobs"])
def test_half_a_layout_is_told_from_none(directory: Path, missing: str) -> None:
    write_layout(directory, {"1.4": IMAGE})
    path = directory / missing
    path.unlink() if path.is_file() else shutil.rmtree(path)
    with pytest.raises(NotFoundError) as caught:
        opened(directory).read_manifest("1.4")
    assert "is not an OCI layout" not in caught.value.message
    assert "does not exist" in caught.value.message


# What may stand in the place of a file, and must not be read.


def make_fifo(path: Path, outside: Path) -> None:
    os.mkfifo(path)


def make_directory(path: Path, outside: Path) -> None:
    path.mkdir()


def make_link_out(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def make_relative_link_out(path: Path, outside: Path) -> None:
    path.symlink_to(os.path.relpath(outside, path.parent))


def make_link_to_device(path: Path, outside: Path) -> None:
    path.symlink_to("/dev/zero")


def make_socket(path: Path, outside: Path) -> None:
    # A socket's name is short.
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/s")
        Path(short, "s").rename(path)


def make_link_loop(path: Path, outside: Path) -> None:
    path.symlink_to(path.name)


STRANGE = [
    make_fifo,
    make_directory,
    make_link_out,
    make_relative_link_out,
    make_link_to_device,
    make_socket,
    make_link_loop,
]
# What the system itself does not open.
UNOPENED = (make_socket, make_link_loop)


@posix
@pytest.mark.parametrize("make", STRANGE)
@pytest.mark.parametrize("place", ["blob", "index"])
def test_what_is_no_file_of_the_layout_is_refused(
    directory: Path, tmp_path: Path, make: Callable[[Path, Path], None], place: str
) -> None:
    write_layout(directory, {"1.4": IMAGE})
    path = blob_path(directory, IMAGE.digest) if place == "blob" else directory / "index.json"
    outside = tmp_path / "outside"
    path.rename(outside)
    make(path, outside)
    store = opened(directory)
    descriptor = Descriptor(OCI_MANIFEST, Digest.parse(IMAGE.digest), len(IMAGE.manifest))
    asks: list[Callable[[], object]] = [lambda: store.read_manifest("1.4")]
    if place == "blob":
        asks += [
            lambda: store.read_blob(descriptor, 10_000),
            lambda: store.read_manifest(IMAGE.digest),
            lambda: store.write_manifest(content_of(IMAGE), "1.5"),
        ]
    else:
        asks += [store.tags, lambda: store.write_manifest(content_of(OTHER), "1.5")]
    before = outside.read_bytes()
    # The layout is damaged, as a tar is that has such a thing in it: nobody's permission is missing.
    expected = (DeniedError, NotFoundError, UnreachableError) if make in UNOPENED else DocumentError
    for ask in asks:
        with pytest.raises(expected) as caught:
            ask()
        assert "\n" not in caught.value.message
        assert caught.value.hint or make in UNOPENED
    assert outside.read_bytes() == before
    assert list(tmp_path.rglob("*.tmp")) == []


@posix
@pytest.mark.parametrize("level", ["blobs", "blobs/sha256"])
def test_directories_that_lead_out_are_neither_read_nor_written(directory: Path, tmp_path: Path, level: str) -> None:
    write_layout(directory, {"1.4": IMAGE})
    outside = tmp_path / "outside"
    (directory / level).rename(outside)
    (directory / level).symlink_to(outside)
    before = files_of(outside)
    store = opened(directory)
    fresh = Blob.of(b"fresh", "x")
    asks: list[Callable[[], object]] = [
        lambda: store.read_manifest("1.4"),
        lambda: store.has(fresh.descriptor),
        lambda: store.write_blob(fresh),
        lambda: store.write_manifest(content_of(LIST), "1.5"),
    ]
    for ask in asks:
        with pytest.raises(DocumentError, match="it is a link that leads out of the layout"):
            ask()
    assert files_of(outside) == before


@posix
def test_links_inside_the_layout_and_to_it_are_followed(directory: Path, tmp_path: Path) -> None:
    write_layout(directory, {"1.4": IMAGE})
    path = blob_path(directory, IMAGE.digest)
    path.rename(directory / "blobs" / "moved")
    path.symlink_to("../moved")
    link = tmp_path / "link"
    link.symlink_to(directory)
    for root in (directory, link):
        assert opened(root).read_manifest("1.4").raw == IMAGE.manifest
        opened(root).write_manifest(content_of(IMAGE), "1.5")
    assert path.is_symlink()
    assert opened(directory).tags() == ["1.4", "1.5"]


@pytest.mark.parametrize("names", [["README"], ["blobs", "src"], ["index.html"], [".hidden"], ["x.tmp"], [".x.tmp"]])
def test_a_directory_with_other_things_is_left_alone(directory: Path, names: list[str]) -> None:
    directory.mkdir()
    for name in names:
        (directory / name).write_bytes(b"mine")
    store = opened(directory)
    writes: list[Callable[[], object]] = [
        lambda: store.write_manifest(content_of(IMAGE), "1"),
        lambda: store.write_blob(Blob.of(b"x", "x")),
    ]
    for write in writes:
        with pytest.raises(DeniedError, match="the directory is not empty and is not an OCI layout") as caught:
            write()
        assert "nothing was written" in caught.value.hint
    assert files_of(directory) == dict.fromkeys(names, b"mine")


def test_an_index_of_something_else_is_left_alone(directory: Path) -> None:
    directory.mkdir()
    (directory / "index.json").write_bytes(b'{"name": "my-package"}')
    with pytest.raises(DocumentError, match="/manifests is missing"):
        opened(directory).write_manifest(content_of(IMAGE), "1")
    assert files_of(directory) == {"index.json": b'{"name": "my-package"}'}


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300, "loop"])
def test_what_cannot_be_a_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "loop").symlink_to("loop")
    store = opened(tmp_path / name)
    with pytest.raises(DeniedError, match="a directory cannot be created here") as caught:
        store.write_manifest(content_of(IMAGE), "1")
    assert caught.value.hint == "Name another directory."
    with pytest.raises(NotFoundError):
        store.read_manifest("1")
    assert (tmp_path / "file").read_bytes() == b"mine"


@posix
def test_a_directory_that_may_not_be_written_or_read() -> None:
    # Not below the tests' own directory, into which only its owner may go.
    with tempfile.TemporaryDirectory() as name:
        parent = Path(name)
        parent.chmod(0o755)
        directory = parent / "out"
        write_layout(directory, {"1.4": IMAGE})
        for path in (directory, *directory.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            with unprivileged():
                assert opened(directory).read_manifest("1.4").raw == IMAGE.manifest
                opened(directory).write_manifest(content_of(IMAGE), "1.4")
                writes: list[Callable[[], object]] = [
                    lambda: opened(directory).write_manifest(content_of(OTHER), "1.5"),
                    lambda: opened(directory).write_blob(Blob.of(b"new", "x")),
                    lambda: opened(parent / "out" / "new").write_manifest(content_of(OTHER), "1.5"),
                ]
                for write in writes:
                    with pytest.raises(DeniedError, match="cannot be written: Permission denied") as caught:
                        write()
                    assert caught.value.hint == "Check who may use the directory."
            blob_path(directory, IMAGE.digest).chmod(0)
            with unprivileged(), pytest.raises(DeniedError, match="cannot be read: Permission denied"):
                opened(directory).read_manifest("1.4")
            directory.chmod(0)
            with unprivileged(), pytest.raises(ManifestctlError) as caught_by_all:
                opened(directory).read_manifest("1.4")
            assert caught_by_all.value.exit_code in (3, 4)
        finally:
            for path in (directory, directory / "blobs", directory / "blobs" / "sha256"):
                path.chmod(0o755)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_said_and_nothing_is_left(directory: Path) -> None:
    store = opened(directory)
    store.write_manifest(content_of(IMAGE), "1.4")

    def filling() -> Iterator[bytes]:
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")
        yield b"never"

    with pytest.raises(UnreachableError, match="cannot be written: No space left on device"):
        store.write_blob(Blob(Descriptor("x", Digest.of(b"x"), 1), filling))
    assert list(directory.rglob("*.tmp")) == []


def test_what_fails_in_the_readers_block_is_the_readers(directory: Path) -> None:
    write_layout(directory, {"1.4": IMAGE})
    descriptor = Descriptor("x", Digest.parse(IMAGE.config_digest), len(IMAGE.config))
    for error in (FileNotFoundError(2, "mine"), PermissionError(13, "mine"), ConnectionResetError(104, "mine")):
        with pytest.raises(type(error), match="mine"), opened(directory).open_blob(descriptor):
            raise error


SYSTEMS = ["as the system has it", "with a name"]
"""This system, and one that knows no files without a name, as macOS and network file systems do not."""

# Crashes: whatever instant a writer dies at, readers see the old state or the new, and the next writer goes on.

_DIE = """
import os, sys
from manifestctl.model.location import LayoutLocation
from manifestctl.stores.base import Content
from manifestctl.stores.layout import LayoutStore

def die(left):
    def counted(function):
        def call(*arguments, **options):
            nonlocal left
            if left == 0:
                os._exit(9)
            left -= 1
            return function(*arguments, **options)
        return call
    for name in ("replace", "fsync", "mkdir", "open", "write", "link"):
        setattr(os, name, counted(getattr(os, name)))

parent, media_type, old, system = sys.argv[1:]
if system == "with a name" and hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
raw = sys.stdin.buffer.read()
step, status = 0, 1
while status:
    store = LayoutStore(LayoutLocation(f"{parent}/step{step}"))
    if old:
        store.write_manifest(Content.of(old.encode(), media_type), "old")
    child = os.fork()
    if not child:
        die(step)
        store.write_manifest(Content.of(raw, media_type), "1.4")
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9), status
    step += 1
"""


@posix
@pytest.mark.parametrize("old", ["", OTHER.manifest.decode()])
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_writer_may_die_at_any_step(tmp_path: Path, old: str, system: str) -> None:
    """A process is killed before its first dealing with the file system, another before its second, and so on."""
    command = [sys.executable, "-S", "-c", _DIE, str(tmp_path), OCI_MANIFEST, old, system]
    subprocess.run(command, input=IMAGE.manifest, env={"PYTHONPATH": str(Path(__file__).parents[2])}, check=True)
    steps = sorted(tmp_path.iterdir())
    assert len(steps) > 8
    before, after = (["old"], ["old", "1.4"]) if old else ([], ["1.4"])
    for directory in steps:
        store = opened(directory)
        try:
            tags = store.tags()
        except NotFoundError:
            tags = []
        assert tags in (before, after)
        for tag in tags:
            assert store.read_manifest(tag).raw == (OTHER if tag == "old" else IMAGE).manifest
        # What is no blob does not look like one.
        for path in directory.glob("blobs/sha256/[!.]*"):
            assert digest_of(path.read_bytes()) == f"sha256:{path.name}"
        store.write_manifest(content_of(IMAGE), "1.4")
        assert opened(directory).tags() == after
        assert opened(directory).read_manifest("1.4").raw == IMAGE.manifest
    # Nor does anything stay that those have left which were killed.
    assert list(tmp_path.rglob("*.tmp")) == []


_WRITE_BLOB = """
import os, sys
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import LayoutLocation
from manifestctl.stores.base import Blob
from manifestctl.stores.layout import LayoutStore

directory, way, system = sys.argv[1:]
if system == "with a name" and hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE

class Slow:
    name = "a layer"
    def open(self):
        # More than is kept in memory.
        yield b"x" * 1_000_000
        print("in the middle", flush=True)
        sys.stdin.read()

store = LayoutStore(LayoutLocation(directory))
if way == "write_blob":
    store.write_blob(Blob(Descriptor("x", Digest.of(b"x" * 2_000_000), 2_000_000), Slow().open))
else:
    store.write_stream(Slow())
"""


@contextmanager
def writing(directory: Path, way: str, system: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that is in the middle of writing a blob, and kill it in the end."""
    command = [sys.executable, "-S", "-c", _WRITE_BLOB, str(directory), way, system]
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"in the middle\n"
            yield process
        finally:
            process.kill()


@posix
@pytest.mark.parametrize("way", ["write_blob", "write_stream"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_writer_that_is_killed_leaves_nothing_for_good(directory: Path, way: str, system: str) -> None:
    """On Linux a blob has no name before it is whole; elsewhere the next writer removes it, but not another's."""
    images.write_layout(directory, {"1.4": IMAGE})
    before = set(files_of(directory))
    with writing(directory, way, system):
        pass
    assert system == "with a name" or not sys.platform.startswith("linux") or set(files_of(directory)) == before
    with writing(directory, way, system):
        opened(directory).write_manifest(content_of(OTHER), "1.5")
        left = set(files_of(directory)) - before - {f"blobs/{OTHER.digest.replace(':', '/')}"}
        assert len(left) == (1 if system == "with a name" else 0)
    opened(directory).write_blob(Blob.of(b"new", "x"))
    assert list(directory.rglob("*.tmp")) == []


@posix
def test_what_lies_outside_is_not_tidied(directory: Path, tmp_path: Path) -> None:
    write_layout(directory, {"1.4": IMAGE})
    outside = tmp_path / "outside"
    outside.mkdir()
    (directory / "blobs" / "sha512").symlink_to(outside)
    left = outside / f".file.{'0' * 16}.tmp"
    left.write_bytes(b"somebody else's")
    blob = Blob(Descriptor("x", Digest.of(b"data", "sha512"), 4), lambda: iter((b"data",)))
    with pytest.raises(DocumentError, match="leads out of the layout"):
        opened(directory).write_blob(blob)
    assert left.exists()


@pytest.mark.parametrize("damage", [b"", IMAGE.manifest[:-5], b"x" * len(IMAGE.manifest), IMAGE.manifest + b"\n"])
def test_a_manifest_that_another_tool_left_half_written_is_mended(directory: Path, damage: bytes) -> None:
    write_layout(directory, {"1.4": IMAGE})
    blob_path(directory, IMAGE.digest).write_bytes(damage)
    store = opened(directory)
    with pytest.raises(IntegrityError):
        store.read_manifest("1.4")
    store.write_manifest(content_of(IMAGE), "1.4")
    assert store.read_manifest("1.4").raw == IMAGE.manifest


def test_a_blob_that_fails_midway_leaves_nothing(directory: Path) -> None:
    store = opened(directory)
    store.write_manifest(content_of(IMAGE), "1.4")
    before = files_of(directory)

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise UnreachableError("the source broke off")

    for opener, error in ((broken, UnreachableError), (lambda: iter((b"else",)), IntegrityError)):
        with pytest.raises(error):
            store.write_blob(Blob(Descriptor("x", Digest.of(b"all of it"), 9), opener))
    assert files_of(directory) == before


@dataclass
class Produced:
    """What a compressor makes on the way, which knows its digest at the end."""

    pieces: list[bytes | Exception]
    name: str = "a layer"
    made: bytes = b""

    def open(self) -> Iterator[bytes]:
        self.made = b""
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            self.made += piece
            yield piece

    def descriptor(self) -> Descriptor:
        return Descriptor("application/x", Digest.of(self.made), len(self.made))


@pytest.mark.parametrize("pieces", [[], [b"one"], [b"o", b"", b"ne" * 100_000]])
def test_content_that_is_made_on_the_way_is_a_blob_at_the_end(directory: Path, pieces: list[bytes | Exception]) -> None:
    store, produced = opened(directory), Produced(pieces)
    for _ in range(2):
        made = store.write_stream(produced)
        assert store.read_blob(made, 1_000_000) == produced.made
        assert made == produced.descriptor()
    assert list(directory.glob("blobs/sha256/*")) == [blob_path(directory, str(made.digest))]
    assert {path.name for path in directory.iterdir()} == {"blobs", "index.json", "oci-layout"}


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (IntegrityError("the source is damaged"), IntegrityError),
        (OSError(28, "No space left on device"), UnreachableError),
        (ValueError("a bug"), ValueError),
    ],
)
def test_making_that_fails_leaves_nothing(directory: Path, error: Exception, raised: type[Exception]) -> None:
    store = opened(directory)
    store.write_manifest(content_of(IMAGE), "1.4")
    before = files_of(directory)
    with pytest.raises(raised):
        store.write_stream(Produced([b"some of it", error]))
    assert files_of(directory) == before


@posix
def test_what_is_made_does_not_go_where_links_lead_out(directory: Path, tmp_path: Path) -> None:
    write_layout(directory, {"1.4": IMAGE})
    outside = tmp_path / "outside"
    (directory / "blobs").rename(outside)
    (directory / "blobs").symlink_to(outside)
    before = files_of(tmp_path)
    with pytest.raises(DocumentError, match="it is a link that leads out of the layout"):
        opened(directory).write_stream(Produced([b"x"]))
    assert files_of(tmp_path) == before


# Several writers.

_WRITE = """
import sys
from manifestctl.errors import ConflictError
from manifestctl.model.location import LayoutLocation
from manifestctl.stores.base import Blob, Content, OnlyIf
from manifestctl.stores.layout import LayoutStore

directory, number = sys.argv[1:]
store = LayoutStore(LayoutLocation(directory))
sys.stdin.readline()
won = 0
for turn in range(8):
    content = Content.of(b'{"writer":%s,"turn":%d}' % (number.encode(), turn), "application/x")
    store.write_blob(Blob.of(b"shared by all", "x"))
    store.write_manifest(content, f"w{number}-{turn}")
    store.write_manifest(content, "contended")
    try:
        store.write_manifest(content, f"claim-{turn}", OnlyIf(None))
        won += 1
    except ConflictError:
        pass
print(won)
"""


@posix
def test_several_processes_write_one_directory(directory: Path) -> None:
    environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-S", "-c", _WRITE, str(directory)]
    writers = [
        subprocess.Popen([*command, str(number)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for number in range(4)
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    won = [int(writer.communicate(timeout=60)[0]) for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * 4
    store = opened(directory)
    tags = store.tags()
    assert sorted(tags) == sorted(
        ["contended", *(f"w{n}-{t}" for n in range(4) for t in range(8)), *(f"claim-{t}" for t in range(8))]
    )
    for number in range(4):
        for turn in range(8):
            assert json.loads(store.read_manifest(f"w{number}-{turn}").raw) == {"writer": number, "turn": turn}
    # Each tag that must not have been there went to exactly one of them.
    assert sum(won) == 8
    assert list(directory.rglob("*.tmp")) == []


@posix
def test_a_reader_does_not_wait_for_the_lock(directory: Path) -> None:
    write_layout(directory, {"1.4": IMAGE})
    store = opened(directory)
    with locked(directory):
        assert store.read_manifest("1.4").raw == IMAGE.manifest
        assert store.tags() == ["1.4"]
        # A manifest without news needs no lock for its bytes, but its entry does; a blob needs none.
        store.write_blob(Blob.of(b"blob", "x"))


def test_a_store_sees_what_others_write_meanwhile(directory: Path) -> None:
    mine, theirs = opened(directory), opened(directory)
    mine.write_manifest(content_of(IMAGE), "1.4")
    assert mine.tags() == theirs.tags() == ["1.4"]
    theirs.write_manifest(content_of(OTHER), "1.4")
    assert mine.read_manifest("1.4").raw == OTHER.manifest
    theirs.write_manifest(content_of(IMAGE), "1.5")
    assert mine.tags() == ["1.4", "1.5"]
    write_index(directory)
    assert mine.tags() == []


@pytest.mark.parametrize(
    ("held", "condition", "message"),
    [
        (None, IMAGE.digest, "the tag holds nothing now"),
        (IMAGE, None, f"the tag holds {IMAGE.digest} now"),
        (IMAGE, OTHER.digest, f"the tag holds {IMAGE.digest} now"),
    ],
)
def test_a_conflict_says_what_the_tag_holds(
    directory: Path, held: images.Image | None, condition: str | None, message: str
) -> None:
    write_layout(directory, {"1.4": held} if held else {})
    before = (directory / "index.json").read_bytes()
    only_if = OnlyIf(Digest.parse(condition) if condition else None)
    with pytest.raises(ConflictError) as caught:
        opened(directory).write_manifest(content_of(LIST), "1.4", only_if)
    assert caught.value.message == f"oci:{directory}:1.4: {message}"
    assert (directory / "index.json").read_bytes() == before


def test_what_an_index_says_is_shown_safely(directory: Path) -> None:
    write_layout(directory, {})
    write_index(directory, {"digest": "x\n::error::y", "annotations": {REF_NAME: "1.4"}})
    with pytest.raises(ConflictError) as caught:
        opened(directory).write_manifest(content_of(LIST), "1.4", OnlyIf(None))
    assert "\n" not in caught.value.message
    odd = directory.parent / "od\nd"
    for ask in (opened(odd).tags, lambda: opened(odd).read_manifest("1")):
        with pytest.raises(NotFoundError) as missing:
            ask()
        assert "\n" not in missing.value.message + missing.value.hint
    write_layout(odd, {"1.4": IMAGE})
    write_index(odd, {"annotations": {REF_NAME: "1.4"}})
    with pytest.raises(DocumentError) as broken:
        opened(odd).read_manifest("1.4")
    assert "\n" not in broken.value.message


def test_a_thousand_images_are_read_in_no_time(directory: Path) -> None:
    made = [images.image("linux/amd64", layers=0, labels={"n": str(number)}) for number in range(1000)]
    write_layout(directory, {f"t{number}": content for number, content in enumerate(made)})
    store = opened(directory)
    assert len(store.tags()) == 1000
    for number in range(0, 1000, 10):
        assert store.read_manifest(f"t{number}").raw == made[number].manifest
        assert store.read_manifest(made[number].digest).media_type == OCI_MANIFEST


def test_skopeo_reads_what_was_written_and_the_reverse(directory: Path, tmp_path: Path, tools: Tools) -> None:
    store = opened(directory)
    for part in images.walk(LIST):
        for data in part.blobs.values():
            store.write_blob(Blob.of(data, "x"))
        store.write_manifest(content_of(part), None if part is not LIST else "1.4")
    copied = tmp_path / "copied"
    tools.skopeo("copy", "--all", f"oci:{directory}:1.4", f"oci:{copied}:theirs")
    assert opened(copied).read_manifest("theirs").raw == LIST.manifest
    opened(copied).write_manifest(content_of(IMAGE), "ours")
    assert opened(copied).tags() == ["theirs", "ours"]
    tools.skopeo("copy", f"oci:{copied}:ours", f"oci:{tmp_path / 'again'}:1")
    assert opened(tmp_path / "again").read_manifest("1").raw == IMAGE.manifest
