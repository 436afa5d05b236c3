"""Files appear whole or not at all, are read with a cap, and directories are locked between processes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import InputError
from manifestctl.files import (
    discard_result,
    is_temporary,
    locked,
    read_regular,
    reason,
    replacing,
    sync_directory,
    write_result,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

posix = pytest.mark.skipif(os.name != "posix", reason="no FIFOs, devices or flock here")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def test_read_regular_reads_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_regular(path, 5, "the file") == b"12345"
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read_regular(link, 100, "the file") == b"12345"
    with pytest.raises(InputError, match=r"^cannot read the file .*/file: it is larger than 4 bytes$"):
        read_regular(path, 4, "the file")


@posix
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("absent", "No such file or directory"),
        ("file/inside", "Not a directory"),
        ("directory", "it is not a regular file"),
        ("fifo", "it is not a regular file"),
        ("to-fifo", "it is not a regular file"),
        ("loop", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
        ("nul\0", "not a path"),
    ],
)
def test_read_regular_refuses_in_one_line(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "to-fifo").symlink_to("fifo")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError) as caught:
        read_regular(tmp_path / name, 10, "the config")
    assert caught.value.message.startswith("cannot read the config /")
    assert caught.value.message.endswith(f": {why}")


@linux
@pytest.mark.parametrize(
    ("path", "why"),
    [("/dev/zero", "it is not a regular file"), ("/proc/self/mem", "Input/output error")],
)
def test_read_regular_refuses_devices_and_what_cannot_be_read(path: str, why: str) -> None:
    with pytest.raises(InputError, match=f"^cannot read it {path}: {why}$"):
        read_regular(Path(path), 10, "it")


def test_read_regular_shows_odd_names_safely(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evil\\n::error::x: "):
        read_regular(tmp_path / "evil\n::error::x", 10, "the file")


def test_replacing_shows_the_new_content_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert len(list(tmp_path.iterdir())) == 2
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with suppress(type(error)), replacing(path, sync=True) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_rename_that_fails_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "taken"
    (directory / "full").mkdir(parents=True)
    with pytest.raises(OSError, match=r"irectory"), replacing(directory) as file:
        file.write(b"x")
    assert list(tmp_path.iterdir()) == [directory]


@posix
@pytest.mark.parametrize(("mask", "mode", "made"), [(0o022, 0o666, 0o644), (0o077, 0o666, 0o600), (0, 0o600, 0o600)])
def test_new_files_have_their_mode_under_the_umask(tmp_path: Path, mask: int, mode: int, made: int) -> None:
    with umask(mask), replacing(tmp_path / "file", mode=mode, sync=True) as file:
        file.write(b"x")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == made


def test_replacing_takes_the_longest_names(tmp_path: Path) -> None:
    path = tmp_path / ("語" * 85)
    with replacing(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize("name", ["config.json", "x" * 250, "語" * 85, "a\n", f"x.{'0' * 16}.tmp"])
def test_what_a_killed_writer_leaves_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    with replacing(tmp_path / name):
        (found,) = (path.name for path in tmp_path.iterdir())
        assert is_temporary(found)
        assert is_temporary(found, name)
        assert not is_temporary(found, "another")
    assert not is_temporary(name)


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as first:
        first.write(b"first")
        with replacing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
    assert path.read_bytes() == b"first"


def test_a_result_replaces_what_a_link_names_and_keeps_the_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real/result")
    write_result(link, b"one")
    write_result(link, b"two")
    assert link.is_symlink()
    assert (tmp_path / "real" / "result").read_bytes() == b"two"


def test_a_reader_of_the_old_result_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "result"
    write_result(path, b"old")
    with path.open("rb") as reader:
        write_result(path, b"new")
        assert reader.read() == b"old"


@posix
def test_a_result_goes_straight_into_a_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    write_result(fifo, b"through")
    reader.join(5)
    assert got == [b"through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_a_result_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent" / "result"):
        with pytest.raises(OSError, match=r"irectory"):
            write_result(path, b"x")


@posix
def test_only_a_file_of_an_earlier_run_is_discarded(tmp_path: Path) -> None:
    target, link, fifo = tmp_path / "target", tmp_path / "link", tmp_path / "fifo"
    target.write_bytes(b"old")
    link.symlink_to(target)
    os.mkfifo(fifo)
    for path in (link, fifo, tmp_path, tmp_path / "absent", link):
        discard_result(path)
    assert not target.exists()
    assert link.is_symlink()
    assert fifo.exists()


def test_directories_are_synced_where_that_can_be(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "absent")


@linux
def test_a_file_system_without_synced_directories_is_no_error() -> None:
    descriptor = os.open("/proc", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_directory(Path("/proc"))


_TRY_LOCK = (
    "import fcntl, os, sys\n"
    "mode = fcntl.LOCK_EX if sys.argv[2] == 'exclusive' else fcntl.LOCK_SH\n"
    "try:\n"
    "    fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), mode | fcntl.LOCK_NB)\n"
    "except BlockingIOError:\n"
    "    sys.exit(1)\n"
)


def free(directory: Path, mode: str) -> bool:
    return subprocess.run([sys.executable, "-S", "-c", _TRY_LOCK, directory, mode], check=False).returncode == 0


@posix
def test_a_lock_holds_off_other_processes(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert not free(tmp_path, "shared")
    with locked(tmp_path, exclusive=False):
        assert free(tmp_path, "shared")
        assert not free(tmp_path, "exclusive")
    with suppress(ValueError), locked(tmp_path):
        raise ValueError
    assert free(tmp_path, "exclusive")


@posix
def test_a_lock_holds_off_other_threads(tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(20):
            with locked(tmp_path):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(most) == 80
    assert set(most) == {1}


def test_a_lock_needs_a_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), locked(tmp_path / "absent"):
        pass


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "Permission denied", "/secret/path"), "Permission denied"),
        (OSError("no number"), "OSError"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_reason_leaves_out_the_path(error: OSError, text: str) -> None:
    assert reason(error) == text
