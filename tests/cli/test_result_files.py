"""`--digest-file` and `--report`: what is there when the run ends, whatever its end, and nothing stale before."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.actions import hold
from tests.support.faults import FOREVER
from tests.support.running import Ran, check_result, environment, run, run_process, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.fake_registry import FakeRegistry


@pytest.fixture
def target(registry: FakeRegistry) -> str:
    """Return a reference in a repository with the image amd64."""
    registry.put_image("web", "amd64")
    return registry.reference("web", "1")


def create(target: str, tmp_path: Path, *arguments: str, image: str = ":amd64") -> Ran:
    return run(
        "create", target, image, "--digest-file", tmp_path / "digest", "--report", tmp_path / "report", *arguments
    )


def report(tmp_path: Path) -> dict[str, object]:
    document: dict[str, object] = json.loads((tmp_path / "report").read_bytes())
    check_result(document)
    return document


def test_success(target: str, tmp_path: Path) -> None:
    ran = create(target, tmp_path, "--output", "digest")
    assert (tmp_path / "digest").read_bytes() == ran.out
    assert report(tmp_path)["status"] == "created"
    # No temporary file is left.
    assert {path.name for path in tmp_path.iterdir()} == {"digest", "report"}


def test_the_report_is_the_json_result(target: str, tmp_path: Path) -> None:
    ran = create(target, tmp_path, "--output", "json")
    assert (tmp_path / "report").read_bytes() == ran.out


def test_unchanged_is_success(target: str, tmp_path: Path) -> None:
    ran = create(target, tmp_path, "--output", "digest")
    (tmp_path / "digest").unlink()
    assert create(target, tmp_path).status == 0
    assert (tmp_path / "digest").read_bytes() == ran.out
    assert report(tmp_path)["status"] == "unchanged"


@pytest.mark.parametrize(
    ("arguments", "image", "status"),
    [
        ([], ":gone", 1),
        (["--require", "linux/s390x"], ":amd64", 1),
        (["--expect", "sha256:" + "0" * 64], ":amd64", 7),
        (["--expect", "sha256:0"], ":amd64", 2),
        (["--timeout", "soon"], ":amd64", 2),
        (["--allow", "nonsense"], ":amd64", 2),
        ([], "::", 2),
        ([], "http://x", 2),
    ],
)
def test_failure(target: str, tmp_path: Path, arguments: list[str], image: str, status: int) -> None:
    for name in ("digest", "report"):
        (tmp_path / name).write_text("of an earlier run")
    ran = create(target, tmp_path, *arguments, image=image)
    assert ran.status == status
    assert not (tmp_path / "digest").exists()
    document = report(tmp_path)
    assert (document["exit_code"], document["status"], document["published"]) == (status, "failed", False)
    assert document["digest"] is None


@pytest.mark.parametrize(
    "arguments",
    [["--concurrency", "0"], ["--format", "foo"], ["--check", "layers"], ["--requir", "x"], ["--retries", "many"]],
)
@pytest.mark.parametrize("command", ["create", "push", "copy"])
def test_a_command_line_that_cannot_be_parsed(target: str, tmp_path: Path, command: str, arguments: list[str]) -> None:
    for name in ("digest", "report"):
        (tmp_path / name).write_text("of an earlier run")
    files = ["--digest-file", str(tmp_path / "digest"), f"--report={tmp_path / 'report'}"]
    ran = run(command, target, ":amd64", "--nope", *arguments, *files, "--output", "json")
    assert ran.status == 2
    assert not (tmp_path / "digest").exists()
    document = report(tmp_path)
    assert (document["exit_code"], document["status"], document["published"]) == (2, "failed", False)
    assert ran.document == document
    assert ran.err.startswith("error: ")
    assert ran.err.endswith("\nerror: nothing was published\n")


def test_where_parsing_ends_options_end_too(target: str, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("kept")
    assert run("create", target, "--nope", "--", "--report", tmp_path / "report").status == 2
    assert (tmp_path / "report").read_text() == "kept"


def test_files_that_variables_would_name_if_they_could_are_left_alone(target: str, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("kept")
    run("create", target, "--nope", environ={"MANIFESTCTL_REPORT": str(tmp_path / "report")})
    assert (tmp_path / "report").read_text() == "kept"


def test_old_files_are_gone_before_the_first_request(registry: FakeRegistry, target: str, tmp_path: Path) -> None:
    for name in ("digest", "report"):
        (tmp_path / name).write_text("of an earlier run")
    seen: list[list[str]] = []
    registry.faults.add(hold(lambda: seen.append([path.name for path in tmp_path.iterdir()])), times=FOREVER)
    assert create(target, tmp_path).status == 0
    assert seen[0] == []


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_mode_is_that_of_any_file(target: str, tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        create(target, tmp_path)
    finally:
        os.umask(before)
    for name in ("digest", "report"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask


def test_a_link_stays_and_its_file_is_replaced(target: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "digest").symlink_to(tmp_path / "elsewhere" / "digest")
    ran = create(target, tmp_path, "--output", "digest")
    assert (tmp_path / "digest").is_symlink()
    assert (tmp_path / "elsewhere" / "digest").read_bytes() == ran.out


def test_a_pipe_is_written_directly(target: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "report").read_bytes()))
    reader.start()
    assert create(target, tmp_path).status == 0
    reader.join(10)
    assert json.loads(read[0])["status"] == "created"
    assert stat.S_ISFIFO((tmp_path / "report").stat().st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_the_standard_output_is_written_where_it_stands(tmp_path: Path, name: str) -> None:
    if not Path(name).parent.is_dir():
        pytest.skip(f"there is no {name} here")
    images.write_layout(tmp_path / "layout", {"amd64": images.image()})
    target = f"oci:{tmp_path / 'layout'}:1"
    out = tmp_path / "out"
    out.write_text("")
    # To a regular file too: it must not be removed, nor replaced, nor written over.
    shell = f'{{ echo first; "$0" -m manifestctl create "{target}" :amd64 --report {name}; echo last; }} > "{out}"'
    subprocess.run(["/bin/sh", "-c", shell, sys.executable], env=environment(), check=True, timeout=30)
    first, *document, reference, last = out.read_text().splitlines()
    assert (first, last) == ("first", "last")
    assert json.loads("\n".join(document))["reference"] == reference
    assert {path.name for path in tmp_path.iterdir()} == {"layout", "out"}


def test_both_may_be_the_standard_output(tmp_path: Path) -> None:
    images.write_layout(tmp_path / "layout", {"amd64": images.image()})
    streams = ("--report", "/dev/stderr", "--digest-file", "/dev/stderr")
    ran = run_process("create", f"oci:{tmp_path / 'layout'}:1", ":amd64", "--output", "digest", "-q", *streams)
    assert ran.status == 0
    assert ran.err.endswith(f"}}\n{ran.text}")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.mkdir(), "it is a directory"),
        (lambda path: path.symlink_to(path.parent / "none" / "x"), "cannot be written to"),
        (lambda path: path.symlink_to(path), "it cannot be used"),
    ],
)
@pytest.mark.parametrize("name", ["digest", "report"])
def test_files_that_cannot_be_used(
    registry: FakeRegistry, target: str, tmp_path: Path, name: str, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(tmp_path / name)
    ran = create(target, tmp_path)
    assert (ran.status, ran.out) == (2, b"")
    assert said in ran.err
    assert "nothing was published" in ran.err
    assert registry.requests == []
    # A report is written even then, if it can be.
    if name == "digest":
        assert report(tmp_path)["exit_code"] == 2


@pytest.mark.parametrize("name", ["absent/file", "file/file", "x" * 300])
def test_names_that_cannot_be_files(registry: FakeRegistry, target: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    ran = run("create", target, ":amd64", "--digest-file", f"{tmp_path}/{name}", "--report", tmp_path / "report")
    assert ran.status == 2
    assert ran.err.startswith("error: --digest-file ")
    assert report(tmp_path)["exit_code"] == 2
    assert registry.requests == []


@pytest.mark.parametrize("other", ["same", "./same", "link"])
def test_the_same_file_twice(registry: FakeRegistry, target: str, tmp_path: Path, other: str) -> None:
    if other == "link":
        (tmp_path / "link").symlink_to("same")
    ran = run("create", target, ":amd64", "--digest-file", f"{tmp_path}/same", "--report", f"{tmp_path}/{other}")
    assert ran.status == 2
    assert "--digest-file and --report name the same file" in ran.err
    assert registry.requests == []
    assert not (tmp_path / "same").exists()


def test_a_file_that_fails_after_publishing_is_not_success(registry: FakeRegistry, target: str, tmp_path: Path) -> None:
    going = tmp_path / "going"
    going.mkdir()
    registry.faults.add(hold(lambda: shutil.rmtree(going, ignore_errors=True)), method="PUT")
    files = ("--report", tmp_path / "report", "--digest-file", going / "digest")
    ran = run("create", target, ":amd64", *files, "--output", "json")
    assert ran.status == 10
    assert registry.tag("web", "1") is not None
    document = ran.document
    assert (document["published"], document["ok"], document["status"]) == (True, False, "failed")
    assert document["digest"] == registry.tag("web", "1")
    assert "digest could not be written: No such file or directory" in document["error"]["message"]
    assert "The list itself is published" in ran.err
    # The report knows of it.
    assert report(tmp_path)["exit_code"] == 10


def test_a_report_that_fails_after_publishing(registry: FakeRegistry, target: str, tmp_path: Path) -> None:
    going = tmp_path / "going"
    going.mkdir()
    registry.faults.add(hold(lambda: shutil.rmtree(going, ignore_errors=True)), method="PUT")
    ran = run("create", target, ":amd64", "--report", going / "report")
    assert (ran.status, ran.out) == (10, b"")
    assert ran.err.count("report could not be written") == 1


def test_a_report_that_fails_beside_another_failure_changes_no_status(
    registry: FakeRegistry, target: str, tmp_path: Path
) -> None:
    going = tmp_path / "going"
    going.mkdir()
    registry.faults.add(hold(lambda: shutil.rmtree(going, ignore_errors=True)), times=FOREVER)
    ran = run("create", target, ":gone", "--report", going / "report")
    assert ran.status == 1
    assert "report could not be written: No such file or directory" in ran.err
    assert "nothing was published" in ran.err


def test_a_report_that_fails_after_a_dry_run(registry: FakeRegistry, target: str, tmp_path: Path) -> None:
    going = tmp_path / "going"
    going.mkdir()
    registry.faults.add(hold(lambda: shutil.rmtree(going, ignore_errors=True)), times=FOREVER)
    ran = run("create", target, ":amd64", "--dry-run", "--report", going / "report")
    assert ran.status == 2
    assert "nothing was published" in ran.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize(("arguments", "status"), [([], 10), (["--dry-run"], 2), (["--output", "json"], 10)])
def test_a_standard_output_that_is_full(tmp_path: Path, arguments: list[str], status: int) -> None:
    images.write_layout(tmp_path / "layout", {"amd64": images.image()})
    command = ["create", f"oci:{tmp_path / 'layout'}:1", ":amd64", "--report", f"{tmp_path / 'report'}", *arguments]
    with Path("/dev/full").open("wb") as full, start(*command, stdout=full) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert b"cannot be written to the standard output: No space left on device" in err
    assert b"Traceback" not in err
    assert report(tmp_path)["exit_code"] == status
