"""The schemas themselves: valid, described, closed against Python's `$`, and the same to any other validator."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from manifestctl.errors import InputError
from manifestctl.validation import KINDS, RULES, kind_of_media_type, schema_text, schema_title, schemas
from manifestctl.validation.checker import schema_faults

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ROOT / "fixtures" / "documents"
# Beside a $ref nothing may stand that is a rule, because `schemas.schema` lets it win over what the $ref names.
ANNOTATIONS = {"$ref", "title", "description", "examples", "$comment"}
ASSERTIONS = {"type", "const", "pattern", "minimum", "maximum", "minItems", "required"}
STRUCTURE = {"properties", "items", "additionalProperties", "if", "then", "$defs"}
NOTES = {"$schema", "$id", "title", "description", "examples", "format", "contentEncoding", "$ref"}


def raw(kind: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(schema_text(kind))
    return document


def subschemas(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for key in ("properties", "$defs"):
        for name, value in schema.get(key, {}).items():
            yield from subschemas(value, f"{path}/{key}/{name}")
    for key in ("items", "additionalProperties", "if", "then"):
        if isinstance(schema.get(key), dict):
            yield from subschemas(schema[key], f"{path}/{key}")


EVERYWHERE = {f"{kind}{path}": schema for kind in KINDS for path, schema in subschemas(raw(kind)) if path}
WITH_PATTERN = {place: schema for place, schema in EVERYWHERE.items() if "pattern" in schema}


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_valid_and_says_what_it_is(kind: str) -> None:
    document = raw(kind)
    Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == f"{schemas.BASE}{kind}.json"
    assert document["title"] == schema_title(kind)
    assert len(document["description"]) > 40


def test_there_is_a_schema_for_each_kind_and_no_other() -> None:
    assert {path.stem for path in (ROOT / "schemas").glob("*.json")} >= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_property_is_described(kind: str) -> None:
    for path, schema in subschemas(raw(kind)):
        for name, value in schema.get("properties", {}).items():
            assert len(value.get("description", "")) > 5, f"{path}/properties/{name}"
        if "items" in schema:
            assert len(schema["items"].get("description", "")) > 5, f"{path}/items"


@pytest.mark.parametrize("schema", WITH_PATTERN.values(), ids=WITH_PATTERN)
def test_patterns_are_closed_at_both_ends(schema: dict[str, Any]) -> None:
    pattern = schema["pattern"]
    assert pattern.startswith("^")
    assert pattern.endswith(r"$(?!\n)")
    assert schema["examples"]
    for example in schema["examples"]:
        assert re.search(pattern, example)
        assert not re.search(pattern, f"\n{example}".replace("=", ""))


@pytest.mark.parametrize("name", ["mediaType", "digest"])
def test_a_final_newline_is_not_overlooked(name: str) -> None:
    schema = raw("oci-descriptor")["$defs"][name]
    for example in schema["examples"]:
        assert not re.search(schema["pattern"], f"{example}\n")


@pytest.mark.parametrize("schema", EVERYWHERE.values(), ids=EVERYWHERE)
def test_only_keywords_are_used_whose_errors_have_words(schema: dict[str, Any]) -> None:
    assert set(schema) <= ASSERTIONS | STRUCTURE | NOTES
    if "$ref" in schema:
        assert set(schema) <= ANNOTATIONS
    # The type is judged first, so that a value of the wrong type gets that one finding.
    asserted = [key for key in schema if key in ASSERTIONS - {"required"}]
    assert "type" not in asserted or asserted[0] == "type"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_closed_to_unknown_fields(kind: str) -> None:
    for path, schema in subschemas(raw(kind)):
        assert schema.get("additionalProperties", True), path


def test_the_largest_size_is_exact() -> None:
    assert raw("oci-descriptor")["$defs"]["size"]["maximum"] == 2**63 - 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_evaluated_has_no_references_left(kind: str) -> None:
    text = json.dumps(schemas.schema(kind))
    assert "$ref" not in text
    assert "$defs" not in text
    Draft202012Validator.check_schema(schemas.schema(kind))


def test_a_description_hidden_by_its_place_is_kept() -> None:
    digest = schemas.schema("oci-index")["properties"]["manifests"]["items"]["properties"]["digest"]
    assert digest["description"].startswith("Digest of the content")
    assert digest["$comment"].startswith("A digest is written")


def other_validator(kind: str) -> Draft202012Validator:
    resources = [(raw(name)["$id"], Resource.from_contents(raw(name))) for name in KINDS]
    return Draft202012Validator(raw(kind), registry=Registry().with_resources(resources))


def documents() -> list[Any]:
    paths = [path for path in sorted(DOCUMENTS.glob("*/*.json")) if not path.stem.endswith(".expected")]
    return [
        pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in paths if path.name.split(".")[0] in KINDS
    ]


@pytest.mark.parametrize("path", documents())
def test_any_validator_finds_the_same_places_with_the_shipped_text(path: Path) -> None:
    kind, document = path.name.split(".")[0], json.loads(path.read_bytes())
    theirs = {tuple(error.absolute_path) for error in other_validator(kind).iter_errors(document)}
    faults = list(schema_faults(kind, document))
    ours = {fault.path[:-1] if fault.rule == "schema-required" else fault.path for fault in faults}
    assert ours == theirs
    assert {fault.rule for fault in faults} <= set(RULES)


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [
        ("application/vnd.oci.image.index.v1+json", "oci-index"),
        ("application/vnd.oci.image.manifest.v1+json; charset=utf-8", "oci-manifest"),
        ("application/vnd.oci.image.config.v1+json", "oci-config"),
        ("application/vnd.oci.descriptor.v1+json", "oci-descriptor"),
        ("application/vnd.oci.layout.header.v1+json", "oci-layout"),
        ("Application/vnd.docker.distribution.manifest.list.v2+JSON", "docker-manifest-list"),
        ("application/vnd.docker.distribution.manifest.v2+json", "docker-manifest"),
        ("application/vnd.docker.container.image.v1+json", "oci-config"),
        ("application/vnd.oci.image.layer.v1.tar+gzip", None),
        ("application/json", None),
        ("", None),
    ],
)
def test_kind_of_media_type(media_type: str, kind: str | None) -> None:
    assert kind_of_media_type(media_type) == kind


def test_the_text_is_the_file_in_the_checkout() -> None:
    for kind in KINDS:
        assert schema_text(kind) == (ROOT / "schemas" / f"{kind}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["oci-image", "", "../kinds", "OCI-INDEX"])
def test_an_unknown_kind_names_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match="not a kind of document") as caught:
        schema_text(name)
    assert "oci-index" in caught.value.hint


PACKAGED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from manifestctl.validation import schema_text, schemas, validate
assert Path(str(schemas.directory())) == Path(sys.argv[1]) / "manifestctl" / "validation" / "schemas"
assert "no" in schema_text("oci-layout")
assert validate(b'{"imageLayoutVersion":"1.0.0"}', "x").ok
"""


def test_the_packaged_schemas_come_first(tmp_path: Path) -> None:
    package = tmp_path / "manifestctl"
    for source in sorted((ROOT / "manifestctl").rglob("*.py")):
        target = package / source.relative_to(ROOT / "manifestctl")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    shipped = package / "validation" / "schemas"
    shipped.mkdir()
    for source in (ROOT / "schemas").glob("*.json"):
        (shipped / source.name).write_bytes(source.read_bytes())
    subprocess.run([sys.executable, "-c", PACKAGED, str(tmp_path)], check=True, timeout=60, cwd=tmp_path)
