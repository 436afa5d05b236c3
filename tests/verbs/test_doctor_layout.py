"""`doctor`: an OCI layout as the target."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manifestctl.verbs.doctor_layout import space
from tests.support import images
from tests.support.privileges import unprivileged
from tests.verbs.doctoring import examine

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ["layout", "writable", "space"]
posix = pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")


@pytest.fixture
def common() -> Iterator[Path]:
    """Return a directory into which anybody may go, unlike the tests' own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def listing(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*"))


@pytest.mark.parametrize(
    ("make", "seen"),
    [
        (lambda path: images.write_layout(path, {"1": images.image("linux/amd64")}), "is an OCI layout"),
        (lambda path: path.mkdir(), "is empty, and becomes an OCI layout"),
        (lambda path: (path / "blobs").mkdir(parents=True), "is empty, and becomes an OCI layout"),
        (lambda path: None, "does not exist, and is made in "),
    ],
)
def test_a_place_for_a_layout(tmp_path: Path, make: object, seen: str) -> None:
    assert callable(make)
    make(tmp_path / "layout")
    before = listing(tmp_path)
    examined = examine(f"oci:{tmp_path}/layout:1")
    assert examined.names == NAMES
    assert seen in examined["layout"].seen
    assert examined["layout"].state == examined["writable"].state == "ok"
    assert examined.exit_code == 0
    assert listing(tmp_path) == before


def test_a_directory_far_below_one_that_exists(tmp_path: Path) -> None:
    assert examine(f"oci:{tmp_path}/a/b/c")["layout"].seen.endswith(f"is made in {tmp_path}")


def test_a_relative_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert examine("oci:layout")["layout"].seen == f"layout does not exist, and is made in {tmp_path}"


@pytest.mark.parametrize(
    ("name", "content", "target", "code", "words"),
    [
        ("notes.txt", "mine", "", 4, "not empty and is not an OCI layout"),
        ("index.json", "{", "", 1, "is not JSON"),
        ("file", "", "/file", 4, "a directory cannot be created here: Not a directory"),
        ("file", "", "/file/layout", 4, "there cannot be a directory: "),
        ("file", "", "/" + "x" * 300, 4, "a directory cannot be created here: File name too long"),
    ],
)
def test_no_place_for_a_layout(tmp_path: Path, name: str, content: str, target: str, code: int, words: str) -> None:
    (tmp_path / name).write_text(content)
    examined = examine(f"oci:{tmp_path}{target}")
    assert examined.named("failed") == ["layout"]
    assert words in examined["layout"].seen
    assert examined["writable"].seen == examined["space"].seen == "needs a directory for a layout"
    assert examined.exit_code == code


@posix
@pytest.mark.parametrize("closed", ["layout", "layout/blobs", "layout/blobs/sha256"])
def test_a_layout_that_may_not_be_written(common: Path, closed: str) -> None:
    images.write_layout(common / "layout", {"1": images.image("linux/amd64")})
    for path in common.rglob("*"):
        path.chmod(0o777)
    (common / closed).chmod(0o555)
    with unprivileged():
        examined = examine(f"oci:{common}/layout")
    (common / closed).chmod(0o777)
    assert examined.named("failed") == ["writable"]
    assert examined["writable"].seen == f"{common}/{closed} cannot be written"
    assert examined.exit_code == 4


@posix
def test_a_place_where_nothing_may_be_made(common: Path) -> None:
    common.chmod(0o555)
    with unprivileged():
        examined = examine(f"oci:{common}/layout")
    common.chmod(0o777)
    assert examined["writable"].seen == f"{common} cannot be written"
    assert examined.exit_code == 4


@posix
def test_a_layout_that_may_not_be_looked_into(common: Path) -> None:
    (common / "closed").mkdir(mode=0o000)
    with unprivileged():
        examined = examine(f"oci:{common}/closed/layout")
    assert examined.named("failed") == ["layout"]
    assert "Permission denied" in examined["layout"].seen
    assert examined.exit_code == 4


@pytest.mark.parametrize(
    ("free", "state", "seen", "code"),
    [
        (50 * 1024**3, "ok", "50.0 GiB are left", 0),
        (1024**3, "ok", "1.0 GiB are left", 0),
        (5 * 1024**2, "warning", "5.0 MiB are left", 0),
        (0, "failed", "there is none left", 5),
    ],
)
def test_the_space_that_is_left(free: int, state: str, seen: str, code: int) -> None:
    check = space(free)
    assert (check.state, check.seen, check.exit_code) == (state, seen, code)
    assert bool(check.next_step) == (state != "ok")


def test_a_file_system_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> object:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("shutil.disk_usage", refuse)
    assert examine(f"oci:{tmp_path}/layout")["space"].seen == "the system does not tell: Function not implemented"
