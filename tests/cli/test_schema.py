"""`manifestctl schema`, and the schemas of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from manifestctl.validation import KINDS, RESULTS, schema_title
from tests.support.running import COMMAND_LINES, check_result, run

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"


@pytest.mark.parametrize("kind", [*KINDS, *RESULTS])
def test_a_schema_is_printed_as_it_is_shipped(kind: str) -> None:
    ran = run("schema", kind)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == (SCHEMAS / f"{kind}.json").read_bytes()


def test_the_kinds_are_listed() -> None:
    lines = run("schema").text.splitlines()
    assert [line.split()[0] for line in lines] == [*KINDS, *RESULTS]
    assert f"oci-index             {schema_title('oci-index')}" in lines
    assert [kind["kind"] for kind in run("schema", "--output", "json").document["kinds"]] == [*KINDS, *RESULTS]


def test_every_schema_that_is_shipped_can_be_printed() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.json")} == {*KINDS, *RESULTS}


def test_every_command_that_prints_json_has_a_schema() -> None:
    names = {f"{command.replace(' ', '-')}-result" for command in COMMAND_LINES}
    assert names - {"completion-result"} == set(RESULTS) - {"result"}


@pytest.mark.parametrize("kind", ["nope", "", "../schemas/oci-index", "oci-index\n", "x" * 5000])
def test_a_kind_that_there_is_not(kind: str) -> None:
    ran = run("schema", kind)
    assert (ran.status, ran.out) == (2, b"")
    assert "is not a kind of document" in ran.err
    assert ran.err.count("\n") == 2


def subschemas(value: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, dict):
        yield path, value
        for key, item in value.items():
            yield from subschemas(item, f"{path}/{key}")
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from subschemas(item, f"{path}/{number}")


@pytest.mark.parametrize("name", RESULTS)
def test_the_schemas_of_results_are_valid_and_described(name: str) -> None:
    document = json.loads((SCHEMAS / f"{name}.json").read_bytes())
    Draft202012Validator.check_schema(document)
    assert document["$id"] == f"https://manifestctl.dev/schemas/{name}.json"
    assert document["title"] == schema_title(name)
    assert len(document["description"]) > 40
    for path, schema in subschemas(document):
        if "/if" in path:
            continue
        for property_name, value in schema.get("properties", {}).items():
            if "/then" not in path and "/else" not in path:
                assert len(value.get("description", "")) > 5, f"{path}/{property_name}"
        pattern = schema.get("pattern")
        assert pattern is None or (isinstance(pattern, str) and pattern.endswith(r"$(?!\n)"))


RESULT = {
    "schema": "manifestctl/tags/v1",
    "ok": True,
    "exit_code": 0,
    "findings": [],
    "requests": {"sent": 0, "retried": 0, "bytes_in": 0, "bytes_out": 0},
    "error": None,
    "repository": "oci:x",
    "tags": [],
}
ERROR = {"message": "no", "hint": ""}


def test_a_result_that_is_right() -> None:
    check_result(RESULT)


@pytest.mark.parametrize(
    "change",
    [
        {"ok": False},
        {"exit_code": 1},
        {"exit_code": 42},
        {"error": ERROR},
        {"findings": [{}]},
        {"requests": {}},
        {"tags": [{"tag": "1"}]},
        {"unheard": 1},
        {"repository": None},
    ],
    ids=str,
)
def test_a_result_that_is_wrong(change: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        check_result(RESULT | change)


def test_an_error_may_come_before_there_is_a_result() -> None:
    left = {key: value for key, value in RESULT.items() if key not in ("repository", "tags")}
    check_result(left | {"ok": False, "exit_code": 2, "error": ERROR})
