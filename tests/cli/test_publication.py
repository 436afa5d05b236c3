"""The end of a command that publishes, with an outcome of each kind: who is told what, in which order, with which status."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.cli.options import Common, Output
from manifestctl.cli.publication import Ending, Telling, tag_members, tag_notes
from manifestctl.cli.result_files import ResultFiles
from manifestctl.cli.session import Session
from manifestctl.errors import (
    ConflictError,
    InputError,
    InterruptedRun,
    ManifestctlError,
    PartialError,
    UnreachableError,
)
from manifestctl.model.digest import Digest
from manifestctl.model.finding import Finding
from manifestctl.verbs.publish import TagState

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.verbs.publish import Published

DIGEST, OTHER = Digest.of(b"this"), Digest.of(b"other")
FINDING = Finding("error", "image-missing", "missing", ":a", "it is not there", "Push it.")


@dataclass
class Outcome:
    """What became of a run."""

    published: Published = "true"
    error: ManifestctlError | None = None
    tags: list[TagState] = field(default_factory=list)
    result: str | bytes = "registry.example.com/web@sha256:…"
    digest: Digest | None = DIGEST
    findings: tuple[Finding, ...] = ()

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error is not None else 0


TELLING: Telling[Outcome] = Telling(
    "image",
    lambda outcome: {"status": "done" if outcome is not None else "failed"},
    lambda outcome: outcome.result,
    lambda outcome: [] if outcome.exit_code else ["it is done"],
    lambda outcome: outcome.digest,
    lambda outcome: outcome.findings,
)


def end(outcome: Outcome | Exception, target: str = "web:1", files: ResultFiles | None = None, **how: Any) -> int:
    """End a run; returns its status."""
    environ = how.pop("environ", {})
    ending = Ending(Session("push", Common(**how), environ), files or ResultFiles(), TELLING, target)

    def begin(_: Ending[Outcome]) -> Outcome:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with pytest.raises(SystemExit) as leaving:
        ending.act(begin)
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def states(*moved: Published) -> list[TagState]:
    return [TagState(f"t{place}", None, DIGEST, state) for place, state in enumerate(moved)]


def test_a_run_that_goes_well(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = ResultFiles(tmp_path / "digest", tmp_path / "report")
    assert end(Outcome(), files=files) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("registry.example.com/web@sha256:…\n", "it is done\n")
    assert (tmp_path / "digest").read_text() == f"{DIGEST}\n"
    report = json.loads((tmp_path / "report").read_bytes())
    assert (report["ok"], report["target"], report["status"], report["published"]) == (True, "web:1", "done", True)


def test_stdout_by_output(capsys: pytest.CaptureFixture[str]) -> None:
    end(Outcome(), output=Output.digest)
    assert capsys.readouterr().out == f"{DIGEST}\n"
    end(Outcome(), output=Output.json)
    assert json.loads(capsys.readouterr().out)["schema"] == "manifestctl/push/v1"
    end(Outcome(result=b"bytes as they are"), output=Output.digest)
    assert capsys.readouterr().out == "bytes as they are"


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (Outcome("false", ConflictError("no")), 7, "nothing was published: web:1 is as it was"),
        (Outcome("unknown", UnreachableError("no")), 5, "it is not known whether web:1 was published; look at it"),
        (Outcome("true", PartialError("no"), states("true", "false")), 10, "web:1 was published, but not everything"),
        (Outcome("true", PartialError("no"), states("false", "false")), 10, "web:1 was published, but not everything"),
        (Outcome("true", ConflictError("no"), states("false")), 7, "is as it was, and holds this very image already"),
        (Outcome("true", ConflictError("no"), states("true")), 7, "web:1 was published, but not everything"),
        (Outcome("true", ConflictError("no")), 7, "web:1 was published, but not everything"),
        (Outcome("false", ConflictError("no"), findings=(FINDING,)), 7, "error: 1 error; nothing was published"),
    ],
)
def test_the_last_words_of_a_failure(
    capsys: pytest.CaptureFixture[str], outcome: Outcome, code: int, said: str
) -> None:
    assert end(outcome) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.splitlines()[-1]
    assert "it is done" not in err


def test_a_run_that_never_began(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = ResultFiles(tmp_path / "digest", tmp_path / "report")
    assert end(InputError("no such option", hint="Another."), target="", files=files) == 2
    assert capsys.readouterr().err == "error: no such option\n  hint: Another.\nerror: nothing was published\n"
    assert not (tmp_path / "digest").exists()
    report = json.loads((tmp_path / "report").read_bytes())
    assert (report["status"], report["error"]) == ("failed", {"message": "no such option", "hint": "Another."})


def test_an_interruption_is_raised_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    files = ResultFiles(report=tmp_path / "report")
    ending = Ending(Session("push", Common(), {}), files, TELLING, "web:1")
    with pytest.raises(InterruptedRun):
        ending.act(lambda _: Outcome("unknown", InterruptedRun(2)))
    assert json.loads((tmp_path / "report").read_bytes())["exit_code"] == 130
    assert capsys.readouterr().err.startswith("error: it is not known whether web:1 was published")


def test_a_bug_is_told_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ending = Ending(
        Session("push", Common(output=Output.json), {}), ResultFiles(report=tmp_path / "report"), TELLING, "web:1"
    )

    def begin(_: Ending[Outcome]) -> Outcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ending.act(begin)
    report = json.loads((tmp_path / "report").read_bytes())
    assert (report["exit_code"], report["published"], report["ok"]) == (70, "unknown", False)
    assert json.loads(capsys.readouterr().out) == report


@pytest.mark.parametrize(
    ("outcome", "code", "said"),
    [
        (Outcome(), 10, "The image itself is published, as its digest says."),
        (Outcome(digest=None), 2, "error: "),
        (Outcome("false", ConflictError("no")), 7, "error: no\n"),
    ],
)
def test_a_result_that_could_not_be_written(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, outcome: Outcome, code: int, said: str
) -> None:
    environ = {"GITHUB_OUTPUT": str(tmp_path)}
    assert end(outcome, files=ResultFiles(report=tmp_path / "report"), environ=environ) == code
    err = capsys.readouterr().err
    assert "GITHUB_OUTPUT could not be written" in err
    assert said in err
    # The report says how it really ended.
    assert json.loads((tmp_path / "report").read_bytes())["exit_code"] == code


def test_commands_for_github(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    environ = {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    end(Outcome("false", ConflictError("held by 50%"), findings=(FINDING,)), environ=environ)
    err = capsys.readouterr().err
    assert "::error::held by 50%25\n::error:::a: it is not there [image-missing]\n" in err
    assert "- error: held by 50%" in (tmp_path / "summary").read_text().replace("\\", "")


def test_how_tags_are_told() -> None:
    told = [
        TagState("new", None, DIGEST, "true"),
        TagState("moved", OTHER, DIGEST, "true"),
        TagState("same", DIGEST, DIGEST),
        TagState("lost", OTHER, None, "unknown"),
    ]
    assert [(tag["old"], tag["new"], tag["moved"]) for tag in tag_members(told)] == [
        (None, str(DIGEST), True),
        (str(OTHER), str(DIGEST), True),
        (str(DIGEST), str(DIGEST), False),
        (str(OTHER), None, "unknown"),
    ]
    assert tag_notes("web", told[:3], DIGEST) == [
        f"web:new created ({DIGEST.short}), read back",
        f"web:moved moved from {OTHER} ({DIGEST.short}), read back",
        f"web:same unchanged ({DIGEST.short})",
    ]
    assert tag_notes("web", told[:2], DIGEST, dry_run=True) == [
        f"web:new would be created ({DIGEST.short})",
        f"web:moved would be moved from {OTHER} ({DIGEST.short})",
    ]
