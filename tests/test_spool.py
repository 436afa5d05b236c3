"""Temporary files without a name, and reading at positions."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from typing import TYPE_CHECKING, NoReturn

import pytest

from manifestctl.errors import InputError, UnreachableError
from manifestctl.spool import CHUNK, NoSpaceError, PositionalFile, Spool
from tests.support.limits import file_size_limit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool({"TMPDIR": str(tmp_path)}, "image web:1") as made:
        yield made


@pytest.fixture(params=[True, False], ids=["pread", "one position"])
def numbers(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PositionalFile]:
    """Return a file of 1000 four-digit numbers, read as POSIX can and as Windows must."""
    if not request.param:
        monkeypatch.delattr(os, "pread", raising=False)
    path = tmp_path / "numbers"
    path.write_bytes(b"".join(b"%04d" % number for number in range(1000)))
    with PositionalFile(path.open("rb", buffering=0)) as file:
        yield file


@pytest.mark.parametrize(
    ("offset", "length", "data"),
    [(0, 4, b"0000"), (3996, 4, b"0999"), (3996, 100, b"0999"), (4000, 4, b""), (9999, 1, b""), (8, 0, b"")],
)
def test_reading_at_a_position(numbers: PositionalFile, offset: int, length: int, data: bytes) -> None:
    assert numbers.read(offset, length) == data
    assert numbers.size == 4000


def test_a_read_that_comes_in_parts_is_completed(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.write(b"0123456789")
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda descriptor, length, offset: whole(descriptor, min(length, 3), offset))
    assert spool.read(1, 7) == b"1234567"
    assert spool.read(5, 100) == b"56789"


def test_several_threads_read_at_positions_of_their_own(numbers: PositionalFile) -> None:
    wrong: list[int] = []

    def read(start: int) -> None:
        wrong.extend(n for n in range(start, 1000, 4) if numbers.read(n * 4, 4) != b"%04d" % n)

    threads = [threading.Thread(target=read, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_range_comes_in_chunks_and_ends_with_the_file(spool: Spool) -> None:
    spool.write(b"x" * (CHUNK + 10))
    assert [len(chunk) for chunk in spool.chunks(0, CHUNK + 5)] == [CHUNK, 5]
    assert [len(chunk) for chunk in spool.chunks(CHUNK, 100)] == [10]
    assert list(spool.chunks(0, 0)) == []


def test_what_is_written_can_be_read_and_leaves_no_name(spool: Spool, tmp_path: Path) -> None:
    spool.write(b"first, ")
    spool.write(b"second")
    assert spool.read(7, 100) == b"second"
    assert spool.size == 13
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"TMPDIR": "HERE", "TEMP": "/nonexistent"}, "HERE"),
        ({"TMPDIR": "", "TEMP": "HERE"}, "HERE"),
        ({"TMP": "HERE"}, "HERE"),
        ({}, "/var/tmp"),
    ],
)
def test_where_it_lies(environ: dict[str, str], directory: str, tmp_path: Path) -> None:
    here = str(tmp_path)
    with Spool({name: value.replace("HERE", here) for name, value in environ.items()}, "x") as spool:
        assert spool.directory == directory.replace("HERE", here)


@pytest.mark.parametrize("size", [None, 1])
def test_a_directory_that_is_not_there(tmp_path: Path, size: int | None) -> None:
    with pytest.raises(InputError, match=r"temporary file in .*/no/where: No such file") as caught:
        Spool({"TMPDIR": str(tmp_path / "no" / "where")}, "x", size)
    assert "TMPDIR" in caught.value.hint


def test_a_size_that_cannot_fit_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(
        NoSpaceError, match=r"^image web:1: no space for a temporary file in .*: 4096.0 TiB are needed, "
    ) as caught:
        Spool({"TMPDIR": str(tmp_path)}, "image web:1", 1 << 52)
    assert "larger disk" in caught.value.hint
    assert str(tmp_path) in caught.value.message
    assert not caught.value.transient


def test_a_file_that_cannot_even_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**given: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(NoSpaceError, match=r"^image web:1: no space .*: No space left on device$"):
        Spool({"TMPDIR": str(tmp_path)}, "image web:1")


def test_a_size_that_fits(tmp_path: Path) -> None:
    with Spool({"TMPDIR": str(tmp_path)}, "x", 1) as spool:
        spool.write(b"more than one")
        assert spool.size == 13


def test_no_more_fits_while_it_is_written(spool: Spool) -> None:
    data = bytes(CHUNK)
    for _ in range(4):
        spool.write(data)
    with file_size_limit(4 * CHUNK + 1000), pytest.raises(NoSpaceError, match=r"4\.0 MiB were written") as caught:
        spool.write(data)
    assert "set TMPDIR" in caught.value.hint
    assert spool.size == 4 * CHUNK + 1000


def test_it_stops_before_the_disk_is_full_for_others(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    free = iter([1 << 40, 20 << 20])

    def usage(path: object) -> object:
        asked.append(path)
        return shutil._ntuple_diskusage(1 << 41, 0, next(free))

    monkeypatch.setattr(shutil, "disk_usage", usage)
    data = bytes(16 << 20)
    for _ in range(8):
        spool.write(data)
    with pytest.raises(NoSpaceError, match=r"48\.0 MiB are needed, 20\.0 MiB are free"):
        spool.write(data)
    assert spool.size == 128 << 20
    assert asked == [spool.directory] * 2


def test_another_fault_of_the_disk(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def write(self, data: object) -> int:
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(spool, "_file", Broken())
        with pytest.raises(UnreachableError, match=r"^image web:1: cannot write to .*: Input/output error$"):
            spool.write(b"x")
