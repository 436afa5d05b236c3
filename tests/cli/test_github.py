"""GitHub's outputs, step summary and log commands: whole, and harmless whatever a registry puts into them."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from manifestctl.cli.github import error_commands, write_outputs, write_summary
from manifestctl.errors import InputError
from manifestctl.model.finding import Finding
from tests.support import images
from tests.support.actions import HOSTILE_TEXT, hold, hostile_error
from tests.support.faults import FOREVER
from tests.support.running import Ran, check_result, run

if TYPE_CHECKING:
    from tests.support.fake_registry import FakeRegistry


@pytest.fixture
def github(tmp_path: Path) -> dict[str, str]:
    """Return the variables of a step that has written an output already."""
    (tmp_path / "output").write_text("earlier=1\n")
    return {"GITHUB_OUTPUT": str(tmp_path / "output"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}


@pytest.fixture
def target(registry: FakeRegistry) -> str:
    """Return a reference in a repository with the image amd64."""
    registry.put_image("web", "amd64")
    return registry.reference("web", "1")


def outputs(text: str) -> dict[str, str]:
    """Read a file of outputs as GitHub's runner does."""
    found: dict[str, str] = {}
    lines = iter(text.split("\n"))
    for line in lines:
        name, heredoc, delimiter = line.partition("<<")
        if not heredoc:
            name, _, value = line.partition("=")
            if name:
                found[name] = value
            continue
        value_lines = []
        for value_line in lines:
            if value_line == delimiter:
                break
            value_lines.append(value_line)
        found[name] = "\n".join(value_lines)
    return found


def create(github: dict[str, str], target: str, *arguments: str) -> tuple[Ran, dict[str, str]]:
    ran = run("create", target, *arguments, environ=github)
    return ran, outputs(written(github, "GITHUB_OUTPUT"))


def summary(github: dict[str, str]) -> str:
    return written(github, "GITHUB_STEP_SUMMARY")


def written(github: dict[str, str], variable: str) -> str:
    return Path(github[variable]).read_text(encoding="utf-8")


def commands(ran: Ran) -> list[str]:
    """Return the lines that GitHub's runner takes for commands: those that begin so after white space."""
    return [line for line in (ran.text + ran.err).splitlines() if line.lstrip().startswith("::")]


def test_success(registry: FakeRegistry, github: dict[str, str], target: str) -> None:
    ran, found = create(github, target, ":amd64", "--tag", "latest")
    digest = registry.tag("web", "1")
    assert found.keys() == {"earlier", "reference", "digest", "status", "published", "json"}
    assert found["reference"] == f"{registry.reference('web')}@{digest}" == ran.text.strip()
    assert (found["digest"], found["status"], found["published"]) == (digest, "created", "true")
    document = json.loads(found["json"])
    check_result(document)
    assert document["digest"] == digest
    assert commands(ran) == []
    text = summary(github)
    assert "| linux/amd64 | \\:amd64 |" in text
    assert text.count("| nothing |") == 2


def test_no_delimiter_is_used_twice(github: dict[str, str], target: str) -> None:
    create(github, target, ":amd64")
    first = re.findall("<<(.*)", written(github, "GITHUB_OUTPUT"))
    create(github, target, ":amd64")
    both = re.findall("<<(.*)", written(github, "GITHUB_OUTPUT"))
    assert len(set(first)) == 1
    assert len(set(both)) == 2
    assert all(len(delimiter) > 32 for delimiter in both)


@pytest.mark.parametrize("arguments", [(":gone",), (":amd64", "--expect", "x"), ("::",)])
def test_failure(github: dict[str, str], target: str, arguments: tuple[str, ...]) -> None:
    ran, found = create(github, target, *arguments)
    assert ran.status in (1, 2)
    assert (found["reference"], found["digest"]) == ("", "")
    assert (found["status"], found["published"]) == ("failed", "false")
    (command,) = commands(ran)
    assert command.startswith("::error::")
    # The next step stands in it, for on GitHub's page it stands alone.
    hint = next(line.partition("hint: ")[2] for line in ran.err.splitlines() if "hint: " in line)
    assert command.endswith(f". {hint}")
    assert "failed" in summary(github)


def test_each_command_has_its_own_next_step() -> None:
    missing = [Finding("error", "image-missing", "missing", name, f"{name}: gone {name}", "Push it.") for name in "abc"]
    odd = Finding("warning", "revision-differs", "wrong", "x", "they differ", "")
    assert error_commands([missing[0], odd, *missing[1:]], InputError("no", hint="100% wrong.")) == [
        "::error::no. 100%25 wrong.",
        "::error::a: gone a [image-missing]. Push it.",
        "::error::b: gone b [image-missing]. Push it.",
        "::error::c: gone c [image-missing]. Push it.",
        "::warning::x: they differ [revision-differs]",
    ]


def test_the_tags_of_the_images_are_in_the_summary_too(
    registry: FakeRegistry, github: dict[str, str], target: str
) -> None:
    assert create(github, target, ":amd64")[0].status == 0
    Path(github["GITHUB_STEP_SUMMARY"]).unlink()
    ran, found = create(github, target, ":amd64", "--tag-children", "{tag}-{arch}")
    digest, listed = registry.tag("web", "amd64"), registry.tag("web", "1")
    assert (ran.status, found["status"]) == (0, "updated")
    rows = [line.replace("\\", "") for line in summary(github).splitlines() if line.startswith("| 1")]
    assert rows == [f"| 1 | {listed} | {listed} |", f"| 1-amd64 | nothing | {digest} |"]


def test_a_registry_cannot_forge_anything(registry: FakeRegistry, github: dict[str, str], target: str) -> None:
    registry.faults.add(hostile_error(403), path="/manifests/", times=FOREVER)
    ran, found = create(github, target, ":amd64", "--output", "json")
    assert ran.status == 4
    assert found.keys() == {"earlier", "reference", "digest", "status", "published", "json"}
    assert {line.partition("::")[2].partition("::")[0] for line in commands(ran)} == {"error"}
    everything = ran.text + ran.err + summary(github)
    for forbidden in ("\x1b", "\x07", "\r", "\u202e", "\x00", "##[", "\n::add-mask", "\n::error file"):
        assert forbidden not in everything
    assert "first line" in everything


def test_names_and_labels_cannot_forge_anything(registry: FakeRegistry, github: dict[str, str], target: str) -> None:
    evil = f"x | [click](http://evil.example.com) <script>@team\n{HOSTILE_TEXT}"
    registry.put("web", "evil", images.image("linux/arm64", labels={"org.opencontainers.image.revision": evil}))
    ran, _ = create(github, target, ":amd64", ":evil", "--same", "org.opencontainers.image.revision")
    assert ran.status == 1
    text = summary(github)
    (line,) = [line for line in text.splitlines() if "click" in line]
    for harmless in ("\\[click\\]", "\\<script\\>", "\\@team", "\\|"):
        assert harmless in line
    assert "\x1b" not in text


def test_hostile_platforms_of_a_table(registry: FakeRegistry, github: dict[str, str], target: str) -> None:
    config = {"os": "linux|x", "architecture": "amd64\n| a | b |", "rootfs": {"type": "layers", "diff_ids": []}}
    registry.put("web", "odd", images.image(None, config=config))
    create(github, target, ":odd")
    rows = [line for line in summary(github).splitlines() if line.startswith("|")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) in (4, 5) for row in rows)


def test_findings_are_commands_too(github: dict[str, str], target: str) -> None:
    ran, _ = create(github, target, ":amd64", ":amd64")
    assert [line.partition("::")[2].partition("::")[0] for line in commands(ran)] == ["warning"]
    ran, _ = create(github, target, ":amd64", ":amd64", "--quiet")
    assert commands(ran) == []
    ran, _ = create(github, target, ":gone", "--log-format", "json")
    assert commands(ran) == []
    assert all(json.loads(line) for line in ran.err.splitlines())


@pytest.mark.parametrize("variable", ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"])
def test_a_file_that_cannot_be_written(
    registry: FakeRegistry, github: dict[str, str], target: str, tmp_path: Path, variable: str
) -> None:
    github[variable] = str(tmp_path / "absent" / "file")
    report = tmp_path / "report"
    ran = run("create", target, ":amd64", "--report", report, environ=github)
    assert ran.status == 10
    assert f"{variable} could not be written: No such file or directory" in ran.err
    assert registry.tag("web", "1") is not None
    assert json.loads(report.read_bytes())["exit_code"] == 10


@pytest.mark.skipif(os.name != "posix", reason="needs FIFOs")
@pytest.mark.parametrize("variable", ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"])
def test_a_pipe_that_nobody_reads_does_not_hold_up_the_end(
    registry: FakeRegistry, github: dict[str, str], target: str, tmp_path: Path, variable: str
) -> None:
    os.mkfifo(tmp_path / "fifo")
    github[variable] = str(tmp_path / "fifo")
    ran = run("create", target, ":amd64", environ=github)
    assert ran.status == 10
    assert f"{variable} could not be written: No such device or address" in ran.err
    assert registry.tag("web", "1") is not None


@pytest.mark.skipif(os.name != "posix", reason="needs FIFOs")
def test_a_pipe_that_somebody_reads_is_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    read: list[bytes] = []

    def drain() -> None:
        # Before there is a writer, a pipe looks as if it had come to its end.
        select.select([reader], [], [])
        os.set_blocking(reader, True)
        read.extend(iter(lambda: os.read(reader, 4096), b""))

    thread = threading.Thread(target=drain)
    thread.start()
    # More than a pipe holds, so that the end of it must wait for the reader.
    document = {"digest": "sha256:" + "0" * 64, "long": "x" * 200_000}
    assert write_outputs({"GITHUB_OUTPUT": str(tmp_path / "fifo")}, document) == []
    thread.join()
    os.close(reader)
    found = outputs(b"".join(read).decode())
    assert (found["digest"], json.loads(found["json"])) == (document["digest"], document)


def test_a_file_that_goes_away_in_a_dry_run(
    registry: FakeRegistry, github: dict[str, str], target: str, tmp_path: Path
) -> None:
    github["GITHUB_OUTPUT"] = str(tmp_path / "going" / "file")
    (tmp_path / "going").mkdir()
    registry.faults.add(hold(lambda: shutil.rmtree(tmp_path / "going", ignore_errors=True)), times=FOREVER)
    ran = run("create", target, ":amd64", "--dry-run", environ=github)
    assert ran.status == 2
    assert "nothing was published" in ran.err


def test_without_github_nothing_is_written(target: str) -> None:
    ran = run("create", target, ":gone")
    assert commands(ran) == []
    assert write_outputs({}, {}) == write_summary({"GITHUB_STEP_SUMMARY": ""}, {}) == []


def test_other_commands_write_no_outputs(registry: FakeRegistry, github: dict[str, str], target: str) -> None:
    del target
    for arguments in (("tags", registry.reference("web")), ("inspect", registry.reference("web", "amd64"))):
        assert run(*arguments, environ=github).status == 0
    assert written(github, "GITHUB_OUTPUT") == "earlier=1\n"


def test_a_summary_lists_no_more_findings_than_can_be_read(tmp_path: Path) -> None:
    finding = {"severity": "error", "message": "m"}
    document = {"target": "t", "status": "failed", "findings": [finding] * 80}
    assert write_summary({"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}, document) == []
    text = (tmp_path / "summary").read_text()
    assert text.count("- error: m") == 50
    assert "- and 30 more" in text


def test_commands_begin_with_what_ended_the_run_and_are_not_too_many() -> None:
    findings = [Finding("error", "image-missing", "missing", "", f"100% {number}\r\n") for number in range(80)]
    lines = error_commands(findings, InputError("the end"))
    assert lines[0] == "::error::the end"
    assert lines[1] == "::error::100%25 0\\r\\n [image-missing]"
    assert len(lines) == 50
