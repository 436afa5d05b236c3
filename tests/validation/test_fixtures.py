"""The documents under fixtures/documents: each good one passes, each bad one gives exactly the findings beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from manifestctl import validation
from manifestctl.validation import UNKNOWN, validate

DOCUMENTS = Path(__file__).resolve().parents[2] / "fixtures" / "documents"


def documents(directory: str) -> list[Any]:
    paths = sorted((DOCUMENTS / directory).glob("*.json"))
    return [pytest.param(path, id=path.stem) for path in paths if not path.stem.endswith(".expected")]


def expected(path: Path) -> list[dict[str, str]]:
    beside = path.with_name(f"{path.stem}.expected.json")
    rows: list[dict[str, str]] = json.loads(beside.read_text()) if beside.exists() else []
    return rows


def found(result: validation.Validation) -> list[dict[str, str]]:
    return [{"severity": f.severity, "rule": f.rule, "where": f.where} for f in result.findings]


@pytest.mark.parametrize("path", documents("good"))
def test_a_good_document_passes(path: Path) -> None:
    result = validate(path.read_bytes(), path.name)
    assert (result.kind, found(result)) == (path.name.split(".")[0], expected(path))
    assert result.ok


@pytest.mark.parametrize("path", documents("bad"))
def test_a_bad_document_gives_the_findings_expected(path: Path) -> None:
    result = validate(path.read_bytes(), path.name)
    kind = path.name.split(".")[0]
    assert (result.kind, found(result)) == (UNKNOWN if kind == "json" else kind, expected(path))
    assert not result.ok


@pytest.mark.parametrize("path", documents("bad"))
def test_every_finding_is_one_safe_line_with_a_reason(path: Path) -> None:
    for finding in validate(path.read_bytes(), path.name).findings:
        assert finding.message
        assert finding.category == "wrong"
        for text in finding.to_json().values():
            assert text.isprintable()
            assert not text.startswith("::")
            assert len(text) <= 1100


def test_every_expectation_has_its_document() -> None:
    for path in DOCUMENTS.glob("*/*.expected.json"):
        assert path.with_name(path.name.replace(".expected", "")).exists()


def test_documents_of_every_kind_are_there() -> None:
    for directory in ("good", "bad"):
        kinds = {path.name.split(".")[0] for path in (DOCUMENTS / directory).glob("*.json")}
        assert kinds >= set(validation.KINDS)


def test_most_rules_are_broken_by_some_document() -> None:
    broken = {row["rule"] for path in DOCUMENTS.glob("*/*.expected.json") for row in json.loads(path.read_text())}
    # The caps would need documents of many megabytes, and the other three guard what no schema here has.
    assert set(validation.RULES) - broken == {
        "json-too-large",
        "json-too-many-values",
        "document-invalid",
        "schema-other",
        "findings-truncated",
    }
    assert broken <= set(validation.RULES)
