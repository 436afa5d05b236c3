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
from manifestctl.model.published import Published
from manifestctl.verbs.publish import TagState

if TYPE_CHECKING:
    from pathlib import Path


DIGEST, OTHER = Digest.of(b"this"), Digest.of(b"other")
FINDING = Finding("error", "image-missing", "missing", ":a", "it is not there", "Push it.")


@dataclass
class Outcome:
    """What became of a run."""

    published: Published = Published.YES
    error: ManifestctlError | None = None
    tags: list[TagState] = field(default_factory=list)
    result: str | bytes = "registry.example.com/web@sha256:…"
    digest: Digest | None = DIGEST
    findings: tuple[Finding, ...] = ()
    children: list[TagState] = field(default_factory=list)

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
    lambda outcome: outcome.children,
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
        (Outcome(Published.NO, ConflictError("no")), 7, "nothing was published: web:1 is as it was"),
        (
            Outcome(Published.UNKNOWN, UnreachableError("no")),
            5,
            "it is not known whether web:1 was published; look at it",
        ),
        (
            Outcome(Published.YES, PartialError("no"), states(Published.YES, Published.NO)),
            10,
            "web:1 was published, but not everything",
        ),
        (
            Outcome(Published.YES, PartialError("no"), states(Published.NO, Published.NO)),
            10,
            "web:1 was published, but not everything",
        ),
        (
            Outcome(Published.YES, ConflictError("no"), states(Published.NO)),
            7,
            "is as it was, and holds this very image already",
        ),
        (
            Outcome(Published.YES, ConflictError("no"), states(Published.YES)),
            7,
            "web:1 was published, but not everything",
        ),
        (Outcome(Published.YES, ConflictError("no")), 7, "web:1 was published, but not everything"),
        (Outcome(Published.NO, ConflictError("no"), findings=(FINDING,)), 7, "error: 1 error; nothing was published"),
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


CHILDREN = [
    TagState("a", OTHER, DIGEST, Published.YES),
    TagState("b", None, DIGEST, Published.YES),
    TagState("c", OTHER),
]
MOVED = f"tags of its images moved: a from {OTHER} to {DIGEST}; b from nothing to {DIGEST}"


@pytest.mark.parametrize(
    ("published", "error", "tags", "said"),
    [
        (Published.NO, ConflictError("no"), [], f"the image was not published: web:1 is as it was; but {MOVED}"),
        (Published.NO, InterruptedRun(2), [], f"the image was not published: web:1 is as it was; but {MOVED}"),
        (Published.UNKNOWN, UnreachableError("no"), [], f"running this again is safe; but {MOVED}"),
        (Published.YES, ConflictError("no"), states(Published.NO), f"holds this very image already; but {MOVED}"),
        (Published.YES, PartialError("no"), states(Published.YES), "not everything that was asked for was done"),
    ],
)
def test_the_last_words_name_what_moved_beside(
    capsys: pytest.CaptureFixture[str], published: Published, error: ManifestctlError, tags: list[TagState], said: str
) -> None:
    outcome = Outcome(published, error, tags, children=CHILDREN)
    if isinstance(error, InterruptedRun):
        with pytest.raises(InterruptedRun):
            Ending(Session("push", Common(), {}), ResultFiles(), TELLING, "web:1").act(lambda _: outcome)
    else:
        end(outcome)
    assert capsys.readouterr().err.endswith(f"{said}\n")


def test_a_tag_of_which_nothing_is_known_is_named_too(capsys: pytest.CaptureFixture[str]) -> None:
    end(Outcome(Published.NO, UnreachableError("no"), children=[TagState("a", OTHER, None, Published.UNKNOWN)]))
    assert f"moved: a held {OTHER}, and what it holds now is not known\n" in capsys.readouterr().err
    many = [TagState(f"t{number}", None, DIGEST, Published.YES) for number in range(23)]
    end(Outcome(Published.NO, UnreachableError("no"), children=many))
    assert capsys.readouterr().err.endswith(f"t19 from nothing to {DIGEST}; and 3 more\n")


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
        ending.act(lambda _: Outcome(Published.UNKNOWN, InterruptedRun(2)))
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
        (Outcome(Published.NO, ConflictError("no")), 7, "error: no\n"),
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
    end(Outcome(Published.NO, ConflictError("held by 50%"), findings=(FINDING,)), environ=environ)
    err = capsys.readouterr().err
    assert "::error::held by 50%25\n::error:::a: it is not there [image-missing]. Push it.\n" in err
    assert "- error: held by 50%" in (tmp_path / "summary").read_text().replace("\\", "")


def test_how_tags_are_told() -> None:
    told = [
        TagState("new", None, DIGEST, Published.YES),
        TagState("moved", OTHER, DIGEST, Published.YES),
        TagState("same", DIGEST, DIGEST),
        TagState("lost", OTHER, None, Published.UNKNOWN),
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
