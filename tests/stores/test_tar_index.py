"""Tars as programs write them are read; those that are damaged, or made to mislead, are refused."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import tempfile
from typing import IO, TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifestctl.errors import DocumentError, IntegrityError
from manifestctl.spool import PositionalFile
from manifestctl.stores.tar_index import MAX_MEMBERS, Member, TarIndex
from tests.support.archives import base_256, global_pax, header, long_name, member, pax

if TYPE_CHECKING:
    from pathlib import Path

END = bytes(1024)
LAYER = "a/layer.tar"


def index_of(data: bytes) -> TarIndex:
    with PositionalFile(_file(data)) as file:
        return TarIndex.read(file, "docker-archive:x.tar")


def _file(data: bytes) -> IO[bytes]:
    file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    file.write(data)
    return file


def altered(block: bytes, place: int, data: bytes) -> bytes:
    """Write something into a header and make its checksum right again."""
    block = block[:place] + data + block[place + len(data) :]
    blank = block[:148] + b" " * 8 + block[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def contents(data: bytes) -> dict[str, bytes]:
    index = index_of(data)
    return {name: data[found.offset : found.offset + found.size] for name, found in index.members.items()}


FILES = {
    "manifest.json": b"[]",
    "a/VERSION": b"1.0",
    "empty": b"",
    "exactly": bytes(512),
    "blobs/sha256/" + "0" * 64: b"x" * 1000,
}
LONG = {f"{'d' * 90}/{'f' * 90}": b"long"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes(form: int) -> None:
    files = FILES | LONG
    if form != tarfile.USTAR_FORMAT:
        files |= {"é/" * 60 + "ü": b"long and not ASCII"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        directory = tarfile.TarInfo("a")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mtime = 1.5 if form == tarfile.PAX_FORMAT else 1
            tar.addfile(entry, io.BytesIO(data))
    assert contents(buffer.getvalue()) == files


GNU_TAR = shutil.which("tar")


@pytest.mark.skipif(GNU_TAR is None, reason="needs tar")
@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_what_gnu_tar_writes(tmp_path: Path, form: str) -> None:
    version = subprocess.run(["tar", "--version"], capture_output=True, text=True, check=True).stdout
    if "GNU tar" not in version:
        pytest.skip("this tar is not GNU's")
    long_names = {"é/" * 60 + "ü": b"long and not ASCII"} if form in ("oldgnu", "gnu", "posix") else {}
    files = FILES | long_names | (LONG if form != "v7" else {})
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "layer.tar").symlink_to("../exactly")
    command = ["tar", f"--format={form}", "-C", str(tmp_path), "-cf", "-", "--", *(p.name for p in tmp_path.iterdir())]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    assert contents(data) == files
    found = index_of(data).find("b/layer.tar")
    assert found is not None
    assert data[found.offset : found.offset + found.size] == files["exactly"]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        pytest.param(member("./index.json", b"{}"), ["index.json"], id="dot"),
        pytest.param(header("./", kind=b"5") + member(".//a/./b", b""), ["a/b"], id="empty and single dots"),
        pytest.param(
            member("old", b"x", kind=b"\0") + member("new", b"y", kind=b"7"), ["old", "new"], id="kinds of file"
        ),
        pytest.param(header("dir/", kind=b"\0"), [], id="directory of a V7 tar"),
        pytest.param(header("dir", 4096, kind=b"5") + member("a", b"x"), ["a"], id="directory with a size"),
        pytest.param(header("a", magic=b"ustar  \0") + b"", ["a"], id="GNU magic"),
        pytest.param(header("name", prefix="long/prefix"), ["long/prefix/name"], id="prefix"),
        pytest.param(header("a", magic=bytes(8)), ["a"], id="no magic"),
        pytest.param(header("a", bytes(12)), ["a"], id="no size"),
        pytest.param(header("a", b"000000000001") + b"x" + bytes(511), ["a"], id="size without an end"),
        pytest.param(header("a", b"1 \0 \0       ") + b"x" + bytes(511), ["a"], id="size with any end"),
        pytest.param(
            long_name("../b", b"K") + long_name("c/layer.tar") + pax(mtime="1.5") + header("x", kind=b"2", link="y"),
            [],
            id="three extended headers",
        ),
        pytest.param(long_name("l" * 200) + member("l" * 100, b"x"), ["l" * 200], id="GNU long name"),
        pytest.param(pax(path="p/q", size=1) + member("short", b"x"), ["p/q"], id="pax path"),
        pytest.param(
            pax(path="ü" * 100) + member("short", b"x") + member("b", b""), ["ü" * 100, "b"], id="pax for one"
        ),
        pytest.param(global_pax(comment="0f3c") + member("a", b""), ["a"], id="global pax"),
        pytest.param(member("a", b"") + global_pax(comment="the end"), ["a"], id="global pax at the end"),
        pytest.param(header("a", b"          1\0") + b"x" + bytes(511), ["a"], id="size with spaces"),
        pytest.param(header("a", base_256(3)) + b"abc" + bytes(509), ["a"], id="size in base 256"),
        pytest.param(header(b"\xff\xfe"), ["\udcff\udcfe"], id="not UTF-8"),
        pytest.param(END, [], id="nothing"),
    ],
)
def test_forms_that_are_taken(data: bytes, names: list[str]) -> None:
    index = index_of(data + END)
    assert list(index.members) == names
    assert index.complete


def test_the_size_of_a_pax_header_counts() -> None:
    data = pax(size=5) + header("a", 0) + b"hello" + bytes(507) + member("b", b"x") + END
    assert contents(data) == {"a": b"hello", "b": b"x"}


def test_a_missing_end_is_known() -> None:
    assert not index_of(member("a", b"x")).complete
    assert index_of(member("a", b"x") + bytes(512)).complete


def test_the_padding_of_the_last_member_may_be_missing() -> None:
    assert contents(header("a", 3) + b"abc") == {"a": b"abc"}


REFUSED = {
    "absolute": (member("/etc/passwd", b""), "'/etc/passwd' leads out"),
    "up": (member("../x", b""), "'../x' leads out"),
    "up and down": (member("a/../../x", b""), "leads out"),
    "up within": (member("a/../x", b""), "'a/../x' leads out"),
    "directory that is absolute": (header("/a/", kind=b"5"), "'/a/' leads out"),
    "directory that leads out": (header("../", kind=b"5"), "leads out"),
    "absolute by pax": (pax(path="/x") + member("x", b""), "'/x' leads out"),
    "absolute by GNU": (long_name("/" + "x" * 120) + member("x", b""), "leads out"),
    "absolute by prefix": (header("x", prefix="/etc"), "leads out"),
    "NUL by pax": (pax(path="a\0b") + member("x", b""), "leads out"),
    "twice": (member("a", b"1") + member("a", b"2"), "'a' stands in it twice"),
    "twice and equal": (member("a", b"1") + member("a", b"1"), "twice"),
    "twice by another spelling": (member("a", b"1") + member("./a", b"2"), "'./a' stands in it twice"),
    "a link and a file": (header(LAYER, kind=b"2", link="../b") + member(LAYER, b""), "twice"),
    "a file and a link": (member(LAYER, b"") + header(LAYER, kind=b"2", link="../b"), "twice"),
    "link out": (header(LAYER, kind=b"2", link="../../etc/passwd"), "link that leads out"),
    "absolute link": (header(LAYER, kind=b"2", link="/etc/passwd"), "link that leads out"),
    "link to nothing": (header(LAYER, kind=b"2", link=".."), "link that leads out"),
    "link out by GNU": (long_name("../" * 50, b"K") + header(LAYER, kind=b"2", link="../b"), "link that leads out"),
    "link out by pax": (pax(linkpath="/x") + header(LAYER, kind=b"2", link="../b"), "link that leads out"),
    "other link": (header("manifest.json", kind=b"2", link="other"), "'manifest.json' is a link"),
    "hard link": (header(LAYER, kind=b"1", link="a"), "is a hard link"),
    "character device": (header("null", kind=b"3"), "'null' is a device"),
    "block device": (header("sda", kind=b"4"), "'sda' is a device"),
    "FIFO": (header("pipe", kind=b"6"), "'pipe' is a FIFO"),
    "sparse": (header("holes", kind=b"S", magic=b"ustar  \0"), "'holes' is a sparse file"),
    "sparse by pax": (pax(GNU__sparse__realsize=99) + member("holes", b""), "sparse file"),
    "other kind": (header("x", kind=b"Z"), "unknown kind 'Z'"),
    "multi-volume": (header("x", kind=b"M"), "unknown kind 'M'"),
    "no name": (member("", b""), "'' is not a file's"),
    "only a dot": (member(".", b"x"), "'.' is not a file's"),
    "file with a slash": (member("a/", b"x"), "'a/' is not a file's"),
    "negative size": (header("a", base_256(-512)), "'a' has the size -512"),
    "size in words": (pax(size="many") + member("a", b""), "size is 'many'"),
    "negative size by pax": (pax(size="-1") + member("a", b""), "size is '-1'"),
    "global path": (global_pax(path="x") + member("a", b""), "all its members the same path"),
    "global size": (global_pax(size=1) + member("a", b""), "all its members the same size"),
    "large extension": (header("x", 2 << 20, kind=b"x") + bytes(2 << 20), "extended header at 0 is too large"),
    "negative extension": (header("x", base_256(-1), kind=b"L"), "extended header at 0 is too large"),
    "long name": (long_name("n" * 1025) + member("a", b""), "path that an extended header gives has 1025 characters"),
    "long link": (pax(linkpath="n" * 1025) + header(LAYER, kind=b"2", link="b"), "linkpath that an extended header"),
    "no path": (pax(path="") + member("a", b""), "path that an extended header gives has 0 characters"),
    "no link": (long_name("", b"K") + header(LAYER, kind=b"2", link="../b"), "gives has 0 characters"),
    "no size by pax": (pax(size="") + member("a", b""), "a member's size is ''"),
    "star's sparse": (pax(SCHILY__realsize=99) + member("holes", b""), "sparse file"),
    "zip": (b"PK\x03\x04" + bytes(600), "it is a zip"),
    "bzip2": (b"BZh9" + bytes(600), "packed with bzip2"),
    "xz": (b"\xfd7zXZ\x00" + bytes(600), "packed with xz"),
    "gzip": (b"\x1f\x8b\x08" + bytes(600), "packed more than once"),
    "zstd": (b"\x28\xb5\x2f\xfd" + bytes(600), "packed more than once"),
    "text": (b"FROM scratch\n", "it is not a tar"),
    "long text": (b"FROM scratch\n" * 100, "it is not a tar"),
    "empty": (b"", "it is empty"),
}


@pytest.mark.parametrize(("data", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(DocumentError) as caught:
        index_of(data + (END if data.rstrip(b"\0") and len(data) > 300 else b""))
    assert caught.value.message.startswith("docker-archive:x.tar cannot be used as an archive of images: ")
    assert said in caught.value.message
    assert caught.value.hint


# What Go's archive/tar (that is docker, skopeo and podman), GNU tar and Python's tarfile do not read alike.
DISPUTED = {
    "size that begins with NUL": (header("a", b"\0" + b"0000002000\0"), "'a' differently: its size"),
    "size with NUL within": (header("a", b"0000000\0" + b"200\0"), "'a' differently: its size"),
    "size with a space within": (header("a", b"0000000 2000"), "'a' differently: its size"),
    "size of spaces": (header("a", b" " * 12), "'a' differently: its size"),
    "size with an underscore": (header("a", b"000000_2000\0"), "'a' differently: its size"),
    "size as Python writes octals": (header("a", b"0o000002000\0"), "'a' differently: its size"),
    "size with a sign": (header("a", b"+0000002000\0"), "'a' differently: its size"),
    "size that is decimal": (header("a", b"00000009000\0"), "'a' differently: its size"),
    "size in another base 256": (header("a", b"\x81" + bytes(10) + b"\1"), "'a' differently: its size"),
    "prefix of a V7 tar": (header("a", magic=bytes(8), prefix="hidden"), "'a' differently: the prefix of its name"),
    "prefix of GNU's": (header("a", magic=b"ustar  \0", prefix="hidden"), "'a' differently: the prefix of its name"),
    "prefix behind NUL": (header("a", prefix="\0hidden"), "'a' differently: the prefix of its name"),
    "prefix of star's": (
        altered(header("a", prefix="p"), 508, b"tar\0"),
        "'p/a' differently: the prefix of its name",
    ),
    "owner": (altered(header("a"), 108, b"0x00000\0"), "'a' differently: its owner"),
    "old directory with a size": (header("dir/", 512, kind=b"\0"), "'dir/' differently: whether it is a directory"),
    "old directory with a name": (pax(path="a") + header("x/", kind=b"\0"), "'a' differently: whether it is a dir"),
    "old directory by its name": (pax(path="a/") + header("x", kind=b"\0"), "'a/' differently: whether it is a dir"),
    "old directory with a size by pax": (pax(size=512) + header("x/", kind=b"\0"), "'x/' differently: whether it is"),
    "old directory with a long name": (long_name("a/") + header("x", kind=b"\0"), "'a/' differently: whether it is"),
    "two pax headers": (pax(path="a") + pax(mtime=1) + member("b", b""), "extended header at 1024 differently"),
    "two long names": (long_name("a") + long_name("b") + member("c", b""), "extended header at 1024 differently"),
    "two long links": (
        long_name("a", b"K") + long_name("b", b"K") + header(LAYER, kind=b"2"),
        "extended header at 1024 differently",
    ),
    "global header in between": (
        pax(path="a") + global_pax(comment="x") + member("b", b""),
        "extended header at 1024 differently",
    ),
    "name by both": (long_name("a") + pax(path="b") + member("c", b""), "two values of path, 'a' and 'b'"),
    "name by both in the other order": (
        pax(path="b") + long_name("a") + member("c", b""),
        "two values of path, 'b' and 'a'",
    ),
    "link by both": (
        long_name("../a", b"K") + pax(linkpath="../b") + header(LAYER, kind=b"2", link="../c"),
        "two values of linkpath, '../a' and '../b'",
    ),
    "name twice in one": (
        member("x", b"9 path=a\n9 path=b\n", kind=b"x") + member("c", b""),
        "two values of path, 'a' and 'b'",
    ),
}


@pytest.mark.parametrize(("data", "said"), DISPUTED.values(), ids=DISPUTED.keys())
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_what_programs_read_differently_is_refused(data: bytes, said: str, first: bool) -> None:
    before = b"" if first else member("before", b"")
    if not first:
        said = said.replace("1024", "1536")
    with pytest.raises(DocumentError) as caught:
        index_of(before + data + END)
    assert said in caught.value.message
    assert "'docker save'" in caught.value.hint


FLAWED = header("b", 3)[:200] + b"!" + header("b", 3)[201:]
DAMAGED = {
    "cut off in content": (member("a", b"x" * 600)[:-500], None),
    "size beyond the end": (header("a", 7 << 30) + bytes(512), "'a' should have 7516192768 bytes, and 512 are left"),
    "size beyond everything": (header("a", base_256(1 << 80)) + END, "'a' should have 1208925819614629174706176"),
    "size beyond the end by pax": (pax(size=1 << 62) + header("a") + END, "'a' should have 4611686018427387904"),
    "nothing left": (header("a", 1), "and 0 are left"),
    "cut off in a header": (member("a", b"x") + header("b")[:100], "it is cut off at 1024"),
    "wrong checksum": (member("a", b"x") + FLAWED + bytes(2048), "the header at 1024 is not one"),
    "garbage between": (member("a", b"x") + b"garbage!" * 64 + member("b", b"y") + END, "header at 1024 is not one"),
    "data behind one zero block": (
        member("a", b"x") + bytes(512) + member("b", b"y"),
        "goes on behind its end mark at 1024",
    ),
    "extension at the end": (pax(path="a") + END, "belongs to no member"),
    "extension cut off": (header("x", 600, kind=b"x") + bytes(512), "'x' should have 600 bytes"),
    "pax without a length": (member("x", b"path=a\n", kind=b"x") + member("a", b""), "malformed"),
    "pax with a short length": (member("x", b"3 path=a\n", kind=b"x") + member("a", b""), "malformed"),
    "pax with a long length": (member("x", b"99 path=a\n", kind=b"x") + member("a", b""), "malformed"),
    "pax with a length of nothing": (member("x", b"2 \n", kind=b"x") + member("a", b""), "malformed"),
    "pax without an end": (member("x", b"9 path=ab", kind=b"x") + member("a", b""), "malformed"),
    "pax without a value": (member("x", b"7 path\n", kind=b"x") + member("a", b""), "malformed"),
    "pax with zeros behind": (member("x", b"8 a=bcd\n\0\0", kind=b"x") + member("a", b""), "malformed"),
}


@pytest.mark.parametrize(("data", "said"), DAMAGED.values(), ids=DAMAGED.keys())
def test_what_is_damaged(data: bytes, said: str | None) -> None:
    with pytest.raises(IntegrityError) as caught:
        index_of(data)
    assert caught.value.message.startswith("docker-archive:x.tar is damaged: ")
    assert (said or "") in caught.value.message
    assert "nothing of it was used" in caught.value.hint


@pytest.mark.parametrize(
    "header_of_one", [header("d/", kind=b"5"), global_pax(comment="x")], ids=["members", "extensions"]
)
def test_an_archive_of_too_many_members_is_refused(header_of_one: bytes) -> None:
    for count in (100, 101):
        with PositionalFile(_file(header_of_one * count + END)) as file:
            if count == 100:
                assert TarIndex.read(file, "x", 100).complete
                assert MAX_MEMBERS == 100_000
            else:
                with pytest.raises(DocumentError, match="more than 100 members"):
                    TarIndex.read(file, "x", 100)


def test_links_are_followed_within_the_archive() -> None:
    index = index_of(
        member("b/layer.tar", b"content")
        + header("a/layer.tar", kind=b"2", link="../b/layer.tar")
        + long_name("./.././b/../a/layer.tar", b"K")
        + header("c/layer.tar", kind=b"2", link="cut")
        + header("layer.tar", kind=b"2", link="c/layer.tar")
        + END
    )
    place = Member(512, 7)
    assert index.find("b/layer.tar") == index.find("./a/layer.tar") == index.find("c/../layer.tar") == place
    assert index.find("c/layer.tar") == place
    assert index.find("nothing") is index.find("../b/layer.tar") is index.find("/b/layer.tar") is None


@pytest.mark.parametrize("length", [7, 8, 9])
def test_chains_of_links_are_bounded(length: int) -> None:
    links = [header(f"{n}/layer.tar", kind=b"2", link=f"../{n + 1}/layer.tar") for n in range(length)]
    index = index_of(b"".join(links) + member(f"{length}/layer.tar", b"x") + END)
    assert (index.find("0/layer.tar") is not None) == (length <= 8)


@pytest.mark.parametrize("target", ["../a/layer.tar", "../b/layer.tar", "../nowhere"])
def test_links_that_lead_nowhere(target: str) -> None:
    index = index_of(
        header("a/layer.tar", kind=b"2", link=target) + header("b/layer.tar", kind=b"2", link="../a/layer.tar") + END
    )
    assert index.find("a/layer.tar") is None


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_damaged_tar_never_gives_what_is_not_in_it(data: st.DataObject) -> None:
    raw = bytearray(
        pax(path="p" * 120)
        + member("a", b"x" * 700)
        + long_name("n" * 120)
        + member("b", b"y")
        + header(LAYER, kind=b"2", link="../b")
        + END
    )
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        index = index_of(cut)
    except (DocumentError, IntegrityError):
        return
    for name, found in index.members.items():
        assert 0 <= found.offset <= found.offset + found.size <= len(cut)
        assert not name.startswith("/")
        assert ".." not in name.split("/")


def test_nothing_but_headers_is_read(tmp_path: Path) -> None:
    """A layer of any size costs one read of its header."""

    class Counting(PositionalFile):
        def __init__(self, path: Path) -> None:
            super().__init__(path.open("rb", buffering=0))
            self.count = 0

        def read(self, offset: int, length: int) -> bytes:
            self.count += length
            return super().read(offset, length)

    path = tmp_path / "large.tar"
    with path.open("wb") as file:
        file.write(header("layer", base_256(8 << 30)))
        file.truncate(512 + (8 << 30))
        file.seek(0, io.SEEK_END)
        file.write(member("b", b"y") + END)
    with Counting(path) as counting:
        index = TarIndex.read(counting, "large")
        assert counting.count <= 2048
    assert index.members == {"layer": Member(512, 8 << 30), "b": Member(1024 + (8 << 30), 1)}
