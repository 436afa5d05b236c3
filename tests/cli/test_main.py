"""The entry point: usage, standard streams in any state, bugs, completion, the version."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manifestctl import __version__
from manifestctl.cli import main as entry
from manifestctl.cli.app import COMMANDS
from manifestctl.cli.main import status
from manifestctl.cli.options import Common
from manifestctl.cli.session import Session
from manifestctl.errors import InterruptedRun, ManifestctlError
from manifestctl.runtime import Cancel
from tests.support import images
from tests.support.running import COMMAND_LINES, LIMIT, ROOT, environment, run, run_process, start

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.fixture
def layout(tmp_path: Path) -> str:
    """Return a layout with the image 1."""
    images.write_layout(tmp_path / "layout", {"1": images.image("linux/amd64")})
    return f"oci:{tmp_path / 'layout'}"


@pytest.mark.parametrize("arguments", [["--version"], ["-q", "--version"], ["--output", "json", "--version"]])
def test_the_version(arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.text, ran.err) == (0, f"manifestctl {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["--output=json", "-h"], ["-h", "create"]])
def test_help_lists_every_command_in_whole_words(arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.err) == (0, "")
    for name, line in COMMANDS.items():
        assert f"  {name:<10}  {line}\n" in ran.text
    assert "MANIFESTCTL_OUTPUT" in ran.text
    assert "Exit codes:" in ran.text


@pytest.mark.parametrize("command", COMMAND_LINES)
def test_help_of_a_command(command: str) -> None:
    ran = run(*command.split(), "--help")
    assert (ran.status, ran.err) == (0, "")
    assert f"Usage: manifestctl {command} " in ran.text
    if command != "completion":
        for option in ("--output", "--plain-http", "--retry-deadline", "--deny"):
            assert f"{option} " in ran.text


def test_no_arguments_show_the_help_as_an_error() -> None:
    ran = run()
    assert (ran.status, ran.out) == (2, b"")
    assert ran.err == run("--help").text


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["creat"], "no such command 'creat'", "Did you mean 'create'? "),
        (["inspct", "create"], "no such command 'inspct'", "Did you mean 'inspect'? "),
        (["xyzzy"], "no such command 'xyzzy'", "manifestctl [OPTIONS] COMMAND"),
        (["-v"], "missing command", "manifestctl [OPTIONS] COMMAND"),
        (["--nope"], "no such option: --nope", "see 'manifestctl -h'."),
        (["--output", "xml", "tags"], "'xml' is not one of 'text', 'digest', 'json'", "'manifestctl"),
        (["--output"], "option '--output' requires an argument", "see 'manifestctl -h'."),
        (["inspect"], "missing argument 'REF'", "Usage: manifestctl inspect [OPTIONS] {REF}; "),
        (["tags", "a", "b"], "unexpected extra argument", "see 'manifestctl tags -h'."),
        (["repo", "create"], "missing argument 'NAME'", "see 'manifestctl repo create -h'."),
        (["repo", "nope"], "no such command 'nope'", "see 'manifestctl repo -h'."),
        (["completion", "tcsh"], "'tcsh' is not one of", "see 'manifestctl completion -h'."),
        (["a\n::error::b\x1b[2J"], "\\n::error::b\\x1b[2J", "see 'manifestctl -h'."),
        (["-" * 3 + "\udcff"], "\\udcff", "see 'manifestctl -h'."),
        (["x" * 100_000], "no such command", "see 'manifestctl -h'."),
    ],
)
def test_usage_errors_are_two_lines(arguments: Sequence[str], message: str, hint: str) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, b"")
    first, second = ran.err.splitlines()
    assert first.startswith("error: ")
    assert message in first
    assert second.startswith("  hint: ")
    assert hint in second
    assert len(ran.err) < 3000
    # Which is for the commands that publish.
    assert "published" not in ran.err


def test_thousands_of_arguments(layout: str) -> None:
    ran = run("create", f"{layout}:list", *[":1"] * 1000, "--quiet", "--output", "json")
    assert ran.status == 0
    assert len(ran.document["images"]) == 1


@pytest.mark.parametrize("arguments", [["tags"], ["inspect", "--output", "json"], ["schema", "oci-index"], ["--help"], ["--version"], ["completion", "bash"]])  # fmt: skip
def test_a_reader_that_went_away_is_no_error(layout: str, arguments: list[str]) -> None:
    place = {"tags": [layout], "inspect": [f"{layout}:1"]}.get(arguments[0], [])
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with start(*arguments, *place, stdout=writing) as process:
            _, err = process.communicate(timeout=LIMIT)
    finally:
        os.close(writing)
    assert (process.returncode, err) == (0, b"")


def test_a_list_is_published_though_nobody_reads_its_name(layout: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with start("create", f"{layout}:list", ":1", "-q", stdout=writing) as process:
        os.close(writing)
        _, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, err) == (0, b"")
    assert "list" in run("tags", layout).text


@pytest.mark.skipif(os.name != "posix", reason="a shell closes the streams")
@pytest.mark.parametrize(
    ("command", "closed"),
    [
        ("create {layout}:list :1", ">&-"),
        ("create {layout}:list :1", "2>&-"),
        ("create {layout}:list :1", "<&- >&- 2>&-"),
        ("--version", ">&-"),
        ("validate - ", "<&-"),
    ],
)
def test_streams_that_were_closed_before(layout: str, closed: str, command: str) -> None:
    shell = f'"$0" -m manifestctl {command.format(layout=layout)} {closed}'
    ran = subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable],
        env=environment(),
        input=b"{}",
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert ran.returncode == (1 if command.startswith("validate") else 0), ran.stderr
    assert b"Traceback" not in ran.stderr
    assert b"bug" not in ran.stderr
    if command.startswith("create"):
        assert "list" in run("tags", layout).text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("arguments", [["tags"], ["inspect", "--raw"], ["inspect", "--output", "json"], ["schema"]])
def test_a_standard_output_that_is_full(layout: str, arguments: list[str]) -> None:
    place = {"tags": [layout], "inspect": [f"{layout}:1"]}.get(arguments[0], [])
    with Path("/dev/full").open("wb") as full, start(*arguments, *place, stdout=full) as process:
        _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 2
    assert err == b"error: the result cannot be written to the standard output: No space left on device\n"


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LC_ALL": "no_SUCH.locale"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "utf-16"},
    ],
)
def test_a_broken_locale_changes_no_result(layout: str, locale: dict[str, str]) -> None:
    right = run("inspect", f"{layout}:1")
    ran = run_process("inspect", f"{layout}:1", environ=locale)
    assert (ran.status, ran.out) == (0, right.out)


def test_arguments_that_are_not_utf_8(tmp_path: Path) -> None:
    directory = os.fsencode(tmp_path) + b"/l\xff"
    images.write_layout(Path(os.fsdecode(directory)), {"1": images.image("linux/amd64")})
    target = f"oci:{os.fsdecode(directory)}"
    ran = run_process("create", f"{target}:list", ":1")
    assert ran.status == 0
    assert ran.out.startswith(b"oci:" + directory + b"@sha256:")
    # JSON is UTF-8 all the same.
    document = run_process("create", f"{target}:list", ":1", "--output", "json").document
    assert document["target"] == f"{target}:list"
    assert "l\\udcff:list unchanged" in ran.err or "l\\udcff:list created" in ran.err


BROKEN = "raise RuntimeError('the installation\\n::error::is broken')\n"


EXHAUSTED = "import errno\nraise OSError(errno.EMFILE, 'Too many open files')\n"


def broken(
    tmp_path: Path, *arguments: str, environ: dict[str, str] | None = None, library: str = BROKEN
) -> tuple[int, str, str]:
    """Run a command line with a library that cannot be imported."""
    (tmp_path / "broken").mkdir(exist_ok=True)
    (tmp_path / "broken" / "jsonschema.py").write_text(library)
    path = f"{tmp_path / 'broken'}{os.pathsep}{ROOT}"
    ran = run_process(*arguments, environ={"PYTHONPATH": path} | (environ or {}))
    return ran.status, ran.text, ran.err


def test_a_bug_asks_to_be_reported(tmp_path: Path, layout: str) -> None:
    code, out, err = broken(tmp_path, "validate", f"{layout}:1")
    assert (code, out) == (70, "")
    first, second = err.splitlines()
    assert first.startswith(f"error: this is a bug in manifestctl {__version__}: RuntimeError at jsonschema.py:1: ")
    assert first.endswith("the installation\\n::error::is broken")
    assert second.startswith("  hint: please report it")


def test_a_bug_with_its_traceback(tmp_path: Path, layout: str) -> None:
    code, _, err = broken(tmp_path, "validate", f"{layout}:1", environ={"MANIFESTCTL_DEBUG": "1"})
    assert code == 70
    assert "Traceback (most recent call last):" in err
    assert err.splitlines()[-2].startswith("error: this is a bug in manifestctl")


def test_a_bug_is_told_to_programs_too(tmp_path: Path, layout: str) -> None:
    code, out, _ = broken(tmp_path, "validate", f"{layout}:1", "--output", "json")
    document = json.loads(out)
    assert (code, document["exit_code"], document["ok"]) == (70, 70, False)
    assert document["error"]["message"] == "this is a bug in manifestctl: RuntimeError"


def test_a_bug_in_create_leaves_a_report(tmp_path: Path, layout: str) -> None:
    report = tmp_path / "report.json"
    arguments = ("create", f"{layout}:list", ":1", "--output", "json", "--report", str(report))
    code, out, err = broken(tmp_path, *arguments)
    document = json.loads(report.read_bytes())
    assert code == document["exit_code"] == 70
    assert document["published"] == "unknown"
    assert json.loads(out) == document
    assert "bug in manifestctl" in err
    assert run("tags", layout).text.startswith("1 ")


def test_that_nothing_more_can_be_opened_is_no_bug(tmp_path: Path, layout: str) -> None:
    code, out, err = broken(tmp_path, "validate", f"{layout}:1", "--output", "json", library=EXHAUSTED)
    document = json.loads(out)
    assert code == document["exit_code"] == 5
    assert document["error"]["message"] == "this process cannot go on: Too many open files"
    assert "ulimit -n" in document["error"]["hint"]
    assert err.splitlines()[0] == "error: this process cannot go on: Too many open files"
    assert "bug" not in err


def test_it_is_none_in_create_either(tmp_path: Path, layout: str) -> None:
    report = tmp_path / "report.json"
    code, out, err = broken(tmp_path, "create", f"{layout}:list", ":1", "--report", str(report), library=EXHAUSTED)
    document = json.loads(report.read_bytes())
    assert (code, out) == (5, "")
    assert (document["exit_code"], document["published"]) == (5, "unknown")
    assert "Too many open files" in err
    assert "bug" not in err


def test_what_comes_out_of_an_interruption_is_no_bug() -> None:
    session = Session("tags", Common(), {})
    assert session.as_error(RuntimeError("release unlocked lock")).exit_code == 70
    cancel = Cancel()
    cancel.set(2)
    session.runtime = replace(session.runtime, cancel=cancel)
    assert isinstance(session.as_error(RuntimeError("release unlocked lock")), InterruptedRun)
    with pytest.raises(InterruptedRun):
        session.leave(0)


def test_a_call_apart_gives_its_result_and_its_error() -> None:
    session = Session("tags", Common(), {})
    assert session.apart(threading.get_ident) != threading.get_ident()

    def fail() -> None:
        raise ManifestctlError("no")

    with pytest.raises(ManifestctlError, match="no"):
        session.apart(fail)


def test_an_error_before_there_is_a_session(capsys: pytest.CaptureFixture[str]) -> None:
    # A name that Typer cannot even make an argument of.
    assert status(["tags", "\0"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("shell", "words", "wanted"),
    [
        ("bash", {"COMP_WORDS": "manifestctl ", "COMP_CWORD": "1"}, list(COMMANDS)),
        ("bash", {"COMP_WORDS": "manifestctl cre", "COMP_CWORD": "1"}, ["create"]),
        ("bash", {"COMP_WORDS": "manifestctl create --entry", "COMP_CWORD": "2"}, ["--entry-annotation"]),
        ("bash", {"COMP_WORDS": "manifestctl completion z", "COMP_CWORD": "2"}, ["zsh"]),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "manifestctl cre"}, ["create"]),
        ("fish", {"_TYPER_COMPLETE_ARGS": "manifestctl cre", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}, ["create"]),
        (
            "powershell",
            {"_TYPER_COMPLETE_ARGS": "manifestctl cre", "_TYPER_COMPLETE_WORD_TO_COMPLETE": "cre"},
            ["create"],
        ),
    ],
)
def test_completion(shell: str, words: dict[str, str], wanted: list[str]) -> None:
    ran = run(environ=words | {"_MANIFESTCTL_COMPLETE": f"complete_{shell}"})
    assert ran.status == 0
    assert ran.err == ""
    for word in wanted:
        assert word in ran.text
    assert ran.text.count("\n") >= len(wanted)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_scripts(shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.status, ran.err) == (0, "")
    assert f"complete_{shell}" in ran.text
    assert "manifestctl" in ran.text
    assert "_MANIFESTCTL_COMPLETE" in ran.text


@pytest.mark.skipif(not Path("/bin/bash").exists(), reason="there is no bash here")
def test_the_script_works_in_bash(tmp_path: Path) -> None:
    program = tmp_path / "manifestctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m manifestctl "$@"\n')
    program.chmod(0o755)
    script = (
        f"{run('completion', 'bash').text}\n"
        "COMP_WORDS=(manifestctl val); COMP_CWORD=1\n"
        f'_manifestctl_completion {program}; echo "${{COMPREPLY[@]}}"\n'
    )
    ran = subprocess.run(
        ["/bin/bash", "-c", script], env=environment(), capture_output=True, timeout=LIMIT, check=False
    )
    assert ran.stdout == b"validate\n", ran.stderr


def test_running_the_module_is_the_same() -> None:
    assert run_process("--version").text == f"manifestctl {__version__}\n"


def test_streams_that_cannot_be_flushed_stop_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    entry._say("nobody reads this")
    entry._flush()


@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_that_is_not_there_becomes_a_null_device(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, name, None)
    entry._mend_streams()
    made = getattr(sys, name)
    assert made.name == os.devnull
    made.close()
