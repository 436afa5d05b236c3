"""What the documents say is what the code does."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from manifestctl import errors
from manifestctl.aws.boto_failures import FAILURES
from manifestctl.aws.refusals import REFUSALS
from manifestctl.cli.app import COMMANDS
from manifestctl.cli.github import _OUTPUTS
from manifestctl.cli.options import Common
from manifestctl.transport.known_answers import KNOWN
from manifestctl.validation import KINDS, RESULTS, schema_text
from manifestctl.validation import RULES as DOCUMENT_RULES
from manifestctl.verbs.rules import RULES
from tests.support.known_errors import KNOWN_ERRORS, SECRET
from tests.support.running import COMMAND_LINES, GROUPS, run

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *sorted(ROOT.glob("*.md")), *sorted((ROOT / "fixtures").rglob("*.md"))]


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def tables(text: str) -> list[list[list[str]]]:
    """Return the tables of a page, each as rows of cells, without heads."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found[-1]:
            found.append([])
    return [rows[2:] for rows in found if rows]


def test_every_rule_of_images_is_listed_as_it_is() -> None:
    rows = {row[0].strip("`"): row[1:] for row in tables(page("rules.md"))[0]}
    assert list(rows) == list(RULES)
    for name, rule in RULES.items():
        assert rows[name][:3] == [rule.severity, rule.category, rule.summary], name
        assert len(rows[name][3]) > 10, name


def test_every_rule_of_documents_is_listed_as_it_is() -> None:
    rows = {row[0].strip("`"): row[1:] for row in tables(page("rules.md"))[1]}
    assert list(rows) == list(DOCUMENT_RULES)
    for name, rule in DOCUMENT_RULES.items():
        assert rows[name][:2] == [rule.severity, rule.meaning], name
        assert re.sub("['`]", "", rows[name][2]) == re.sub("['`]", "", rule.step), name


def test_rules_in_both_tables_are_named() -> None:
    for name in RULES.keys() & DOCUMENT_RULES.keys():
        assert f"`{name}`" in page("rules.md").rpartition("|")[2]


def codes_of_errors() -> set[int]:
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    return {value.exit_code for value in classes if issubclass(value, errors.ManifestctlError)}


def test_every_exit_code_is_listed() -> None:
    rows = tables(page("exit-codes.md"))[0]
    listed = {int(code) for row in rows for code in row[0].split(", ")}
    schema = json.loads(schema_text("result"))
    assert listed == set(schema["properties"]["exit_code"]["enum"])
    assert listed >= codes_of_errors() | {0, 130, 143}


def test_the_precedence_is_told_as_it_is() -> None:
    told = re.search(r"the first of ([0-9, ]+) is returned", page("exit-codes.md"))
    assert told is not None
    assert tuple(int(code) for code in told[1].split(", ")) == errors._PRECEDENCE


def test_the_readme_lists_the_same_exit_codes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Exit codes")[2].partition("\n## ")[0]
    named = {int(code) for row in tables(section)[0] for code in row[0].split(", ")}
    assert named >= {0, 1, 2, 3, 4, 5, 6, 7, 10}
    assert named <= {int(code) for row in tables(page("exit-codes.md"))[0] for code in row[0].split(", ")}


def test_every_command_and_its_members_are_described() -> None:
    members = next(rows for rows in tables(page("output.md")) if any("create-result" in row[1] for row in rows))
    assert {row[0].strip("`") for row in members} == set(COMMAND_LINES) - {"completion"}
    for row in members:
        command = row[0].strip("`").replace(" ", "-")
        schema = json.loads(schema_text(f"{command}-result"))
        known = schema["properties"].keys() | schema.get("$defs", {}).get("node", {}).get("properties", {}).keys()
        named = set(re.findall("`([a-z_]+)`", row[2]))
        assert named <= known
        # A list of all is one that ends without an ellipsis.
        assert "…" in row[2] or named == known - {"schema"}


def test_the_common_members_are_described() -> None:
    common = next(rows for rows in tables(page("output.md")) if any(row[0] == "`exit_code`" for row in rows))
    assert {row[0].strip("`") for row in common} == json.loads(schema_text("result"))["properties"].keys()


def test_the_outputs_for_github_are_described() -> None:
    sentence = page("output.md").partition("appends the outputs ")[2].partition("(")[0]
    assert set(re.findall("`([a-z]+)`", sentence)) == {*_OUTPUTS, "json"}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (path.parent / target).exists(), target


def rows_of_errors() -> list[list[str]]:
    return [row for rows in tables(page("errors.md")) for row in rows]


def in_words(cell: str) -> str:
    """Return an expression for what a cell quotes, with an ellipsis for anything."""
    return re.escape(cell).replace("…", ".*")


@pytest.mark.parametrize(("number", "row"), [*enumerate(rows_of_errors())], ids=lambda value: str(value)[:60])
def test_every_row_of_errors_is_what_is_said(number: int, row: list[str]) -> None:
    seen, meaning, step, code = row
    error = KNOWN_ERRORS[number]()
    assert re.search(in_words(seen.split("`")[1]), error.message), error.message
    assert int(code) == error.exit_code
    assert meaning.endswith(".")
    assert step.endswith(".")
    assert len(error.hint) > 10
    for quoted in re.findall("`([^`]+)`", step):
        # What stands in capitals in a command is filled in.
        assert re.search(re.sub(r"(?<= )[A-Z]{4,}|(?<=/)[A-Z]{4,}", r"\\S+", in_words(quoted)), error.hint), error.hint
    assert SECRET not in f"{error.message}{error.hint}"


def test_no_known_error_is_without_a_row() -> None:
    assert len(rows_of_errors()) == len(KNOWN_ERRORS)
    seen = [row[0] for row in rows_of_errors()]
    assert len(set(seen)) == len(seen)


def test_every_known_error_is_tried() -> None:
    hints = "\n".join(known().hint for known in KNOWN_ERRORS)
    for row in (*KNOWN, *REFUSALS, *FAILURES):
        if isinstance(row.step, str):
            assert row.step.partition("{")[0] in hints, row


def mentioned() -> list[tuple[str, str, str]]:
    """Return (page, command, option) for every option that stands beside its command in a code span or block."""
    found = set()
    for path in PAGES:
        for first, rest in re.findall(r"manifestctl ([a-z]+)((?: [^`\n]*)?)", path.read_text(encoding="utf-8")):
            command = " ".join((first, *rest.split()[:1])) if first in GROUPS else first
            if first in COMMANDS:
                found |= {(path.name, command, option) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", rest)}
    return sorted(found)


@pytest.mark.parametrize(("name", "command", "option"), mentioned())
def test_options_that_are_mentioned_exist(name: str, command: str, option: str) -> None:
    assert f"{option} " in run(*command.split(), "--help").text, name


def test_kinds_that_are_mentioned_exist() -> None:
    for path in PAGES:
        for kind in re.findall(r"manifestctl schema ([a-z-]+)", path.read_text(encoding="utf-8")):
            assert kind in (*KINDS, *RESULTS), path.name


def test_variables_that_are_mentioned_exist() -> None:
    known = {
        f"MANIFESTCTL_{option}"
        for option in ("OUTPUT", "ALLOW", "AWS", "CA_FILE", "DEBUG", "E2E", "NO_TOKEN_CACHE", "PROFILE")
    }
    for path in PAGES:
        for name in re.findall(r"MANIFESTCTL_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8")):
            assert name in known, path.name


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_lines_are_not_longer_than_is_readable(path: Path) -> None:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        assert len(line) <= 130 or line.startswith("|") or "http" in line, f"{path.name}:{number}"


def test_every_common_option_is_described_with_its_default() -> None:
    rows = {re.findall(r"--([a-z-]+)", row[0])[0].replace("-", "_"): row for row in tables(page("options.md"))[0]}
    described = {name.replace("-", "_") for row in rows.values() for name in re.findall(r"--([a-z-]+)", row[0])}
    assert described == {field.name for field in fields(Common)} | {"no_aws"}
    defaults = {field.name: field.default for field in fields(Common)}
    for name in ("concurrency", "timeout", "retries", "retry_deadline", "log_format"):
        assert rows[name][1].strip("`") == str(defaults[name])
