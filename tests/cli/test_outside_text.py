"""What the command line repeats: text that came from outside in documents, passwords in arguments."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestctl.cli.session import json_bytes
from tests.support import images
from tests.support.running import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry

HOSTILE = "##[set-output name=d;]x ###vso[task]\x9b31m\u202eabc\x7f\n::error::y"
# What no document may have in it: commands to runners, and characters that a terminal heeds.
HEEDED = re.compile(rb"##|[^\n\x20-\x7e]|^\s*::", re.MULTILINE)

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.text('#:[\\\\" \n\x7f'),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.text("#:["), inner),
    max_leaves=12,
)


@given(_values)
def test_a_document_says_the_same_in_characters_that_nobody_heeds(value: Any) -> None:
    written = json_bytes({"value": value})
    assert json.loads(written) == {"value": value}
    assert HEEDED.search(written) is None


def test_what_was_no_text_on_the_command_line_is_written_as_an_escape() -> None:
    assert json.loads(json_bytes({"target": "oci:\udcff"})) == {"target": "oci:\udcff"}


@pytest.mark.parametrize("arguments", [("inspect", "{0}:1"), ("tags", "{0}"), ("check", "{0}:2", ":1")])
def test_documents_hold_what_a_registry_says_and_no_log_heeds_it(
    registry: FakeRegistry, arguments: tuple[str, ...]
) -> None:
    entry = images.image("linux/amd64", annotations={HOSTILE: HOSTILE}, labels={HOSTILE: HOSTILE})
    registry.put("web", "1", entry)
    registry.repository("web").tags[HOSTILE] = registry.repository("web").tags["1"]
    ran = run(*(text.format(registry.reference("web")) for text in arguments), "--output", "json")
    assert ran.document["schema"] == f"manifestctl/{arguments[0]}/v1"
    assert HEEDED.search(ran.out) is None


def test_a_report_is_written_as_documents_are(registry: FakeRegistry, tmp_path: Path) -> None:
    registry.put_image("web", "amd64")
    registry.put("web", "b", images.image("linux/arm64", labels={"org.opencontainers.image.revision": HOSTILE}))
    registry.put("web", "c", images.image("linux/arm/v7", labels={"org.opencontainers.image.revision": "1"}))
    report, outputs = tmp_path / "report.json", tmp_path / "outputs"
    arguments = (
        "create",
        registry.reference("web", "1"),
        ":amd64",
        ":b",
        ":c",
        "--same",
        "org.opencontainers.image.revision",
    )
    ran = run(*arguments, "--report", report, environ={"GITHUB_OUTPUT": str(outputs)})
    assert ran.status == 1
    for written in (report, outputs):
        assert b"set-output name=d" in written.read_bytes()
        assert HEEDED.search(written.read_bytes()) is None


@pytest.mark.parametrize(
    "target",
    [
        "https://alice:hunter2pw@reg.example/x:1",
        "alice:hunter2pw@reg.example/x:1",
        "alice:hunter2pw@reg.example",
        "alice:p@hunter2pw@reg.example:5000/x",
    ],
)
@pytest.mark.parametrize("command", ["create", "copy", "push", "check", "tag", "inspect"])
def test_a_password_in_a_mistyped_reference_is_not_repeated(tmp_path: Path, target: str, command: str) -> None:
    first = () if command in ("create", "check", "tag", "inspect") else ("oci:lay:1",)
    more = {"create": (":a",), "check": (":a",), "tag": ("2",)}.get(command, ())
    files = ("--report", tmp_path / "report") if command in ("create", "copy", "push") else ()
    github = {"GITHUB_OUTPUT": str(tmp_path / "outputs"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    ran = run(command, *first, target, *more, *files, "--output", "json", environ=github)
    assert ran.status == 2
    told = [ran.text, ran.err, *(path.read_text() for path in tmp_path.iterdir())]
    assert [text for text in told if "hunter2" in text] == []
    assert "reg.example" in ran.err
    assert len(told) == (2 if not files else 5)
