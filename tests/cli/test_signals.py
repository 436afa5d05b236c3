"""Ctrl-C and SIGTERM: the process ends soon, by the signal itself, and says what is where."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.files import locked
from tests.support import images
from tests.support.actions import hold, stall, status
from tests.support.archives import legacy_save, saved, write_archive
from tests.support.faults import FOREVER
from tests.support.running import LIMIT, check_result, environment, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.fake_registry import FakeRegistry

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")

SIGNALS = [signal.SIGINT, signal.SIGTERM]
WORD = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
GRACE = 20.0
"""Seconds: far below any timeout of a request, far above what a loaded machine takes."""
PROC = Path("/proc")
linux = pytest.mark.skipif(not (PROC / "self" / "status").exists(), reason="looks into processes as Linux shows them")


@pytest.fixture
def target(registry: FakeRegistry) -> str:
    """Return a reference in a repository with the images amd64 and arm64."""
    for name in ("amd64", "arm64"):
        registry.put_image("web", name, f"linux/{name}")
    return registry.reference("web", "1")


def reached(registry: FakeRegistry, **which: Any) -> threading.Event:
    """Let a kind of request stall for ever; the event is set when the first one has come."""
    event = threading.Event()

    def action(exchange: Any) -> Any:
        event.set()
        return stall()(exchange)

    registry.faults.add(action, times=FOREVER, **which)
    return event


# A loaded machine may take longer for the last words than a user is made to wait for them.
PATIENT = ("-c", "import sys; del sys.argv[1:3]; from manifestctl.cli import main; main._GRACE = 15.0; main.main()")


@contextmanager
def interrupted(
    event: threading.Event, signum: int, *arguments: Any, python: tuple[str, ...] = PATIENT
) -> Iterator[tuple[int, bytes, str]]:
    """Run a command line, send it a signal once the event is set, and give its status, stdout and stderr."""
    with start(*arguments, python=python) as process:
        assert event.wait(LIMIT)
        began = time.monotonic()
        process.send_signal(signum)
        out, err = process.communicate(timeout=LIMIT)
        assert time.monotonic() - began < GRACE
        yield process.returncode, out, err.decode()


@pytest.mark.parametrize(
    ("signum", "which"),
    [
        (signal.SIGINT, {}),
        (signal.SIGTERM, {"path": "/blobs/"}),
        (signal.SIGINT, {"path": "/manifests/1$"}),
    ],
)
def test_while_images_are_read(
    registry: FakeRegistry, target: str, tmp_path: Path, signum: int, which: dict[str, str]
) -> None:
    event = reached(registry, **which)
    files = ("--report", tmp_path / "report", "--digest-file", tmp_path / "digest", "--output", "json")
    with interrupted(event, signum, "create", target, ":amd64", ":arm64", *files) as (code, out, err):
        assert code == -signum
        assert f"nothing was published: {target} is as it was" in err
        assert err.endswith(f"error: {WORD[signal.Signals(signum)]}; running it again is safe\n")
        assert "Traceback" not in err, err
        document = json.loads((tmp_path / "report").read_bytes())
        check_result(document)
        assert (document["exit_code"], document["published"], document["status"]) == (128 + signum, False, "failed")
        assert json.loads(out) == document
    assert registry.manifest_puts == []
    # Nothing else is left: no digest, no temporary file.
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_while_the_list_is_written(registry: FakeRegistry, target: str, tmp_path: Path) -> None:
    signum = signal.SIGINT
    event = reached(registry, method="PUT")
    with interrupted(event, signum, "create", target, ":amd64", "--report", tmp_path / "report") as (code, out, err):
        assert (code, out) == (-signum, b"")
        assert f"it is not known whether {target} was published" in err
        document = json.loads((tmp_path / "report").read_bytes())
        assert document["published"] == document["tags"][0]["moved"] == "unknown"


def test_while_a_further_tag_is_written(registry: FakeRegistry, target: str, tmp_path: Path) -> None:
    event = reached(registry, method="PUT", path="/manifests/2$")
    arguments = ("create", target, ":amd64", "--tag", "2", "--report", tmp_path / "report")
    with interrupted(event, signal.SIGTERM, *arguments) as (code, _, err):
        assert code == -signal.SIGTERM
        assert "was published, but not everything" in err
        document = json.loads((tmp_path / "report").read_bytes())
        assert document["exit_code"] == 143
        assert [tag["moved"] for tag in document["tags"]] == [True, "unknown"]


def test_while_it_waits_before_a_retry(registry: FakeRegistry, target: str) -> None:
    event = threading.Event()

    def action(exchange: Any) -> Any:
        event.set()
        return status(503, retry_after=200)(exchange)

    registry.faults.add(action, times=FOREVER)
    with interrupted(event, signal.SIGINT, "create", target, ":amd64") as (code, _, err):
        assert code == -signal.SIGINT
        assert "nothing was published" in err


@pytest.mark.parametrize(
    ("signum", "which"),
    [
        (signal.SIGINT, {"method": "POST"}),
        (signal.SIGINT, {"method": "PATCH"}),
        (signal.SIGTERM, {"method": "PUT", "path": "/blobs/"}),
    ],
)
def test_while_layers_are_sent(registry: FakeRegistry, tmp_path: Path, signum: int, which: dict[str, str]) -> None:
    archive = write_archive(tmp_path / "i.tar", legacy_save(saved(images.image("linux/amd64", layers=3), "web:1")))
    target = registry.reference("web", "1")
    event = reached(registry, **which)
    files = ("--report", tmp_path / "report", "--digest-file", tmp_path / "digest")
    with interrupted(event, signum, "push", archive, target, *files) as (code, out, err):
        assert (code, out) == (-signum, b"")
        assert f"nothing was published: {target} is as it was" in err
        assert err.endswith(f"error: {WORD[signal.Signals(signum)]}; running it again is safe\n")
        assert "Traceback" not in err, err
        document = json.loads((tmp_path / "report").read_bytes())
        check_result(document)
        assert (document["exit_code"], document["published"], document["status"]) == (128 + signum, False, "failed")
    assert registry.manifest_puts == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i.tar", "report"]


def test_while_a_copy_is_sent(registry: FakeRegistry, tmp_path: Path) -> None:
    images.write_layout(tmp_path / "layout", {"1": images.image("linux/amd64", layers=3)})
    event = reached(registry, method="PUT")
    given = ("copy", f"oci:{tmp_path}/layout:1", registry.reference("web", "1"), "--output", "json")
    with interrupted(event, signal.SIGINT, *given) as (code, out, err):
        assert code == -signal.SIGINT
        assert "nothing was published" in err
        document = json.loads(out)
        check_result(document)
        assert (document["exit_code"], document["published"]) == (130, False)
    assert registry.manifest_puts == []


@linux
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_while_a_copy_is_written_into_a_layout(registry: FakeRegistry, tmp_path: Path, signum: int) -> None:
    images.write_layout(tmp_path / "layout", {"0": images.image("linux/arm64")})
    before = sorted(tmp_path.rglob("*"))
    registry.put_image("web", "1", "linux/amd64", layers=3)
    event = reached(registry, path="/blobs/")
    given = ("copy", registry.reference("web", "1"), f"oci:{tmp_path}/layout:1")
    with interrupted(event, signum, *given) as (code, _, _):
        assert code == -signum
    assert sorted(tmp_path.rglob("*")) == before


def test_while_tags_are_written(registry: FakeRegistry, target: str) -> None:
    event = reached(registry, method="PUT")
    given = ("tag", registry.reference("web", "amd64"), "2", "3", "--output", "json")
    with interrupted(event, signal.SIGTERM, *given) as (code, out, err):
        assert code == -signal.SIGTERM
        assert "it is not known whether " in err
        document = json.loads(out)
        check_result(document)
        assert "unknown" in [tag["moved"] for tag in document["tags"]]


@pytest.mark.parametrize(
    ("command", "signum"),
    [
        ("inspect", signal.SIGINT),
        ("tags", signal.SIGTERM),
        ("validate", signal.SIGINT),
        ("check", signal.SIGTERM),
    ],
)
def test_commands_that_only_read(registry: FakeRegistry, target: str, command: str, signum: int) -> None:
    arguments = {"tags": (registry.reference("web"),), "check": (target, ":amd64")}.get(
        command, (registry.reference("web", "amd64"),)
    )
    event = reached(registry)
    with interrupted(event, signum, command, *arguments, "--output", "json") as (code, out, err):
        assert code == -signum
        assert err.endswith(f"error: {WORD[signal.Signals(signum)]}; running it again is safe\n")
        document = json.loads(out)
        check_result(document)
        assert document["exit_code"] == 128 + signum


def test_entries_that_are_judged_one_by_one(registry: FakeRegistry) -> None:
    # An interruption must not become a finding of one entry after the other.
    registry.put("web", "1", images.index([images.image(f"linux/{name}") for name in ("amd64", "arm64", "s390x")]))
    event = reached(registry, path="/manifests/sha256")
    with interrupted(event, signal.SIGINT, "validate", registry.reference("web", "1")) as (code, _, err):
        assert code == -signal.SIGINT
        assert "not-found" not in err


def test_while_standard_input_is_read() -> None:
    with start("validate", "-") as process:
        assert process.stdin is not None
        process.stdin.write(b"{")
        process.stdin.flush()
        # It reads when its own output is still empty and it lives; a signal that came before would end it as well.
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=LIMIT)
        assert process.returncode == -signal.SIGTERM


@linux
def test_a_second_signal_ends_it_at_once(registry: FakeRegistry, target: str, tmp_path: Path) -> None:
    # The report goes into a pipe that nobody reads, so the first signal alone cannot end it.
    os.mkfifo(tmp_path / "report")
    event = reached(registry)
    with start("create", target, ":amd64", "--report", tmp_path / "report") as process:
        assert event.wait(LIMIT)
        process.send_signal(signal.SIGTERM)
        waits_for(process, lambda: not caught(process, signal.SIGTERM))
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT) == -signal.SIGTERM


def test_a_report_that_nobody_reads_holds_it_no_longer_than_that(
    registry: FakeRegistry, target: str, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "report")
    event = reached(registry)
    given = ("create", target, ":amd64", "--report", tmp_path / "report")
    with interrupted(event, signal.SIGINT, *given, python=()) as (code, _, err):
        assert code == -signal.SIGINT
        assert err == "error: interrupted; running it again is safe\n"


@linux
def test_a_layout_that_another_process_holds(tmp_path: Path) -> None:
    images.write_layout(tmp_path / "layout", {"amd64": images.image("linux/amd64")})
    target = f"oci:{tmp_path / 'layout'}:1"
    with locked(tmp_path / "layout"), start("create", target, ":amd64") as process:
        # Others may catch SIGINT and SIGTERM from the beginning, but SIGALRM is caught by us alone.
        waits_for(process, lambda: caught(process, signal.SIGALRM))
        # It cannot end before it has the lock, wherever it is now.
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == -signal.SIGINT
    assert b"Traceback" not in err


@pytest.mark.parametrize("signum", SIGNALS)
def test_a_signal_during_start_up_is_no_bug(signum: int) -> None:
    with start("create", "127.0.0.1:1/web:1", ":a", python=("-X", "importtime")) as process:
        assert process.stderr is not None
        # In the middle of the imports of our own modules.
        for line in process.stderr:
            if line.rstrip().endswith(b"manifestctl.errors"):
                break
        process.send_signal(signum)
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode in (-signum, 5)
    assert b"bug in manifestctl" not in err


def test_a_run_that_is_not_disturbed_ends_as_ever(registry: FakeRegistry, target: str) -> None:
    event = threading.Event()
    registry.faults.add(hold(event.set), times=FOREVER)
    with start("create", target, ":amd64") as process:
        assert event.wait(LIMIT)
        process.communicate(timeout=LIMIT)
        assert process.returncode == 0


# What saves data at the exit of a process does so within its own locks, as coverage tools do.
LEAVES = """
import os, signal

def leave(code, leave=os._exit):
    leave(9 if signal.getitimer(signal.ITIMER_REAL)[0] else code)

os._exit = leave
from manifestctl.cli.main import main
main()
"""


@pytest.mark.parametrize(("arguments", "expected"), [(("--version",), 0), (("inspect", "oci:/nonexistent:1"), 3)])
def test_no_handler_runs_while_the_process_is_left(arguments: tuple[str, ...], expected: int) -> None:
    command = [sys.executable, "-c", LEAVES, *arguments]
    ran = subprocess.run(command, env=environment(), capture_output=True, timeout=LIMIT, check=False)
    assert ran.returncode == expected


def caught(process: subprocess.Popen[bytes], signum: int) -> bool:
    """Tell whether a process has a handler for a signal, as Linux shows it."""
    lines = (PROC / str(process.pid) / "status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
    return bool(mask >> (signum - 1) & 1)


def waits_for(process: subprocess.Popen[bytes], condition: Callable[[], bool]) -> None:
    """Wait until something is true of a running process."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < deadline
        os.sched_yield()
