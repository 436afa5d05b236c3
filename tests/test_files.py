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
    Draft,
    NotRegularError,
    discard_result,
    is_temporary,
    locked,
    open_regular,
    read_regular,
    reason,
    remove_abandoned,
    replacing,
    sync_directory,
    write_result,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

posix = pytest.mark.skipif(os.name != "posix", reason="no FIFOs, devices or flock here")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's /proc")


@pytest.fixture(params=["as the system has it", "with a name"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run on this system, and on one that knows no files without a name, as macOS and network file systems do not."""
    if request.param == "with a name":
        nameless(monkeypatch)


def nameless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files without a name away."""
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)


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


@posix
def test_a_pipe_is_opened_only_where_it_is_welcome(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(NotRegularError, match="it is not a regular file") as caught:
        open_regular(tmp_path / "fifo")
    assert stat.S_ISFIFO(caught.value.mode)
    descriptor = open_regular(tmp_path / "fifo", pipes=True)
    assert stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    os.close(descriptor)
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(NotRegularError) as other:
            open_regular(path, pipes=True)
        assert other.value.mode == path.stat().st_mode


def test_read_regular_shows_odd_names_safely(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"evil\\n::error::x: "):
        read_regular(tmp_path / "evil\n::error::x", 10, "the file")


@pytest.mark.usefixtures("system")
def test_replacing_shows_the_new_content_only_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with replacing(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@linux
def test_what_is_being_written_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    with replacing(path):
        assert list(tmp_path.iterdir()) == []
    path.unlink()
    nameless(monkeypatch)
    with replacing(path):
        assert [is_temporary(found.name, "file") for found in tmp_path.iterdir()] == [True]


@pytest.mark.usefixtures("system")
def test_a_draft_may_get_its_name_in_another_directory(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "file"
    with Draft(tmp_path, "draft") as draft:
        draft.file.write(b"content")
        draft.become(path, sync=True)
    assert path.read_bytes() == b"content"
    assert {found.name for found in tmp_path.rglob("*")} == {"below", "file"}


@pytest.mark.usefixtures("system")
def test_a_draft_without_a_name_is_dropped(tmp_path: Path) -> None:
    with Draft(tmp_path, "draft") as draft:
        draft.file.write(b"content")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with suppress(type(error)), replacing(path, sync=True) as file:
        file.write(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("system")
def test_a_rename_that_fails_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "taken"
    (directory / "full").mkdir(parents=True)
    with pytest.raises(OSError, match=r"irectory"), replacing(directory) as file:
        file.write(b"x")
    assert list(tmp_path.iterdir()) == [directory]


@posix
@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(("mask", "mode", "made"), [(0o022, 0o666, 0o644), (0o077, 0o666, 0o600), (0, 0o600, 0o600)])
def test_new_files_have_their_mode_under_the_umask(tmp_path: Path, mask: int, mode: int, made: int) -> None:
    with umask(mask), replacing(tmp_path / "file", mode=mode, sync=True) as file:
        file.write(b"x")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == made


@pytest.mark.usefixtures("system")
def test_replacing_takes_the_longest_names(tmp_path: Path) -> None:
    path = tmp_path / ("語" * 85)
    with replacing(path) as file:
        file.write(b"x")
    assert path.read_bytes() == b"x"


@pytest.mark.parametrize("name", ["config.json", "x" * 250, "語" * 85, "a\n", f"x.{'0' * 16}.tmp"])
def test_what_a_killed_writer_leaves_is_known_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    nameless(monkeypatch)
    with replacing(tmp_path / name):
        (found,) = (path.name for path in tmp_path.iterdir())
        assert is_temporary(found)
        assert is_temporary(found, name)
        assert not is_temporary(found, "another")
    assert not is_temporary(name)


_WRITE = """
import os, sys
from pathlib import Path
from manifestctl.files import replacing

if sys.argv[2] == "with a name" and hasattr(os, "O_TMPFILE"):
    del os.O_TMPFILE
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("in the middle", flush=True)
    sys.stdin.read()
"""


@contextmanager
def writer(path: Path, system: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that is in the middle of writing a file, and kill it in the end."""
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-S", "-c", _WRITE, str(path), system]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"in the middle\n"
            yield process
        finally:
            process.kill()


@linux
def test_a_writer_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    with writer(tmp_path / "file", "as the system has it"):
        pass
    assert list(tmp_path.iterdir()) == []


@posix
def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("file", ".file.tmp", ".hidden", f".d.{'0' * 16}.tmp", f".f.{'1' * 16}.tmp")]
    for path in others[:3]:
        path.write_bytes(b"mine")
    others[3].mkdir()
    os.mkfifo(others[4])
    link = tmp_path / f".l.{'2' * 16}.tmp"
    link.symlink_to("file")
    with writer(tmp_path / "file", "with a name") as process:
        (left,) = set(tmp_path.iterdir()) - {*others, link}
        remove_abandoned(tmp_path)
        assert left.read_bytes() == b"half"
        process.kill()
        process.wait()
        assert left.exists()
        remove_abandoned(tmp_path)
        assert set(tmp_path.iterdir()) == {*others, link}
    assert others[0].read_bytes() == b"mine"
    remove_abandoned(tmp_path / "absent")
    remove_abandoned(others[0])


@posix
def test_a_file_that_is_taken_for_abandoned_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    nameless(monkeypatch)
    lock = fcntl.flock
    removed: list[Path] = []

    def late(descriptor: int, how: int) -> None:
        if not removed:
            removed.extend(tmp_path.iterdir())
            remove_abandoned(tmp_path)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with replacing(tmp_path / "file") as file:
        file.write(b"x")
    assert (tmp_path / "file").read_bytes() == b"x"
    assert len(removed) == 1


@posix
def test_a_file_system_without_locks_is_written_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(descriptor: int, how: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    left = tmp_path / f".file.{'0' * 16}.tmp"
    left.write_bytes(b"perhaps it is being written")
    with replacing(tmp_path / "file") as file:
        file.write(b"x")
    remove_abandoned(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"file", left.name}


@linux
def test_where_no_file_can_get_a_name_later_it_has_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As where /proc is not mounted.
    monkeypatch.setattr(Path, "is_dir", lambda path: "proc" not in path.parts)
    with replacing(tmp_path / "file") as file:
        file.write(b"x")
        assert len(list(tmp_path.iterdir())) == 1
    assert (tmp_path / "file").read_bytes() == b"x"


@pytest.mark.usefixtures("system")
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
