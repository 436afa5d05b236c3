"""Decoding, recognising, merging and ordering: what `validate` does around the schema and the rules."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import Any

import pytest

from manifestctl.errors import DocumentError, InputError
from manifestctl.model.strict_json import CONFIG_LIMIT, MANIFEST_LIMIT
from manifestctl.validation import (
    KINDS,
    MAX_FINDINGS,
    RULES,
    UNKNOWN,
    Validation,
    recognise,
    validate,
    validate_value,
    warm,
)
from manifestctl.validation.faults import Fault, in_order, merged, name, shown

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DIGEST = "sha256:" + "ab" * 32


def entry(number: int = 0, **more: object) -> dict[str, Any]:
    platform = {"architecture": "amd64", "os": "linux"}
    return {"mediaType": MANIFEST, "digest": f"sha256:{number:064x}", "size": 1, "platform": platform, **more}


def index(*entries: object, **more: object) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": INDEX, "manifests": list(entries), **more}


def rules(result: Validation) -> list[tuple[str, str]]:
    return [(finding.rule, finding.where) for finding in result.findings]


RECOGNISED: list[tuple[dict[str, Any], str]] = [
    ({"mediaType": INDEX}, "oci-index"),
    ({"mediaType": MANIFEST}, "oci-manifest"),
    ({"mediaType": DOCKER_LIST}, "docker-manifest-list"),
    ({"mediaType": DOCKER_MANIFEST, "layers": []}, "docker-manifest"),
    ({"mediaType": DOCKER_MANIFEST, "manifests": []}, "docker-manifest"),
    ({"manifests": []}, "oci-index"),
    ({"manifests": None}, "oci-index"),
    ({"manifests": [], "layers": None}, "oci-index"),
    ({"manifests": [], "config": {}}, "oci-index"),
    ({"layers": []}, "oci-manifest"),
    ({"layers": [], "manifests": None}, "oci-manifest"),
    ({"config": {"digest": DIGEST}}, "oci-manifest"),
    ({"config": {}, "architecture": "amd64", "os": "linux"}, "oci-config"),
    ({"architecture": "amd64"}, "oci-config"),
    ({"rootfs": {}, "config": {}}, "oci-config"),
    ({"rootfs": {}, "mediaType": INDEX}, "oci-index"),
    ({"mediaType": "application/x", "manifests": []}, "oci-index"),
    ({"mediaType": 5, "manifests": []}, "oci-index"),
    ({"mediaType": INDEX, "digest": DIGEST, "size": 1}, "oci-descriptor"),
    ({"mediaType": "application/x", "digest": DIGEST, "size": 1}, "oci-descriptor"),
    ({"mediaType": [], "manifests": []}, "oci-index"),
    ({"digest": DIGEST}, "oci-descriptor"),
    ({"mediaType": INDEX, "digest": DIGEST, "manifests": []}, "oci-index"),
    ({"imageLayoutVersion": "1.0.0"}, "oci-layout"),
    ({"imageLayoutVersion": None}, "oci-layout"),
]


@pytest.mark.parametrize(("document", "kind"), RECOGNISED)
def test_recognise(document: dict[str, Any], kind: str) -> None:
    assert recognise(document) == kind


@pytest.mark.parametrize(
    ("document", "rule"),
    [
        ([], "kind-unknown"),
        ("text", "kind-unknown"),
        (None, "kind-unknown"),
        ({}, "kind-unknown"),
        ({"schemaVersion": 2}, "kind-unknown"),
        ({"mediaType": "application/vnd.oci.image.layer.v1.tar"}, "kind-unknown"),
        ({"manifests": [], "layers": []}, "document-ambiguous"),
        ({"manifests": None, "layers": None}, "document-ambiguous"),
        ({"rootfs": {}, "manifests": []}, "document-ambiguous"),
        ({"digest": DIGEST, "config": {}}, "document-ambiguous"),
        ({"schemaVersion": 1, "fsLayers": []}, "kind-unsupported"),
        ({"mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws"}, "kind-unsupported"),
        ({"mediaType": "application/vnd.docker.distribution.manifest.v1+json"}, "kind-unsupported"),
    ],
)
def test_what_cannot_be_recognised_says_why(document: object, rule: str) -> None:
    with pytest.raises(DocumentError) as caught:
        recognise(document, "list.json")
    assert caught.value.rule == rule
    assert caught.value.message.startswith("list.json: ")
    assert caught.value.hint
    result = validate(json.dumps(document).encode(), "list.json")
    assert (result.kind, rules(result), result.ok) == (UNKNOWN, [(rule, "")], False)
    assert not result.findings[0].message.startswith("list.json")


def test_a_kind_that_was_named_is_not_guessed() -> None:
    result = validate(json.dumps({"manifests": [], "layers": []}).encode(), "x", "oci-layout")
    assert (result.kind, rules(result)) == ("oci-layout", [("schema-required", "/imageLayoutVersion")])


def test_the_media_type_of_another_kind_is_named() -> None:
    [finding] = validate(json.dumps(index()).encode(), "x", "docker-manifest-list").findings
    assert (finding.rule, finding.where, finding.found, finding.expected) == (
        "schema-const",
        "/mediaType",
        INDEX,
        DOCKER_LIST,
    )
    assert finding.hint == "That is the media type of the kind oci-index."


@pytest.mark.parametrize("kind", ["oci", "", "docker"])
def test_an_unknown_kind_is_bad_usage(kind: str) -> None:
    with pytest.raises(InputError, match="not a kind"):
        validate_value({}, kind)
    if kind:
        with pytest.raises(InputError, match="not a kind"):
            validate(b"{}", "x", kind)


@pytest.mark.parametrize(
    ("kind", "document", "limit"),
    [
        (None, index(), MANIFEST_LIMIT),
        ("oci-index", index(), MANIFEST_LIMIT),
        (None, {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}, CONFIG_LIMIT),
    ],
)
def test_documents_have_the_size_cap_of_their_kind(kind: str | None, document: dict[str, Any], limit: int) -> None:
    raw = json.dumps(document).encode()
    assert validate(raw + b" " * (limit - len(raw)), "x", kind).ok
    result = validate(raw + b" " * (limit - len(raw) + 1), "x", kind)
    assert rules(result) == [("json-too-large", "")]
    assert result.findings[0].message.startswith("the document is larger than")


def test_a_composed_list_is_judged_without_bytes() -> None:
    assert validate_value(index(entry()), "oci-index") == Validation("oci-index", ())
    result = validate_value(index(entry(size="1")), "oci-index")
    assert rules(result) == [("schema-type", "/manifests/0/size")]
    assert result.findings[0].hint == "Write 1 without quotes."


def test_a_finding_names_the_entry_that_it_is_about() -> None:
    windows = {"architecture": "amd64", "os": "windows", "os.version": "10.0.1"}
    [finding] = validate_value(index(entry(7, size=-1, platform=windows)), "oci-index").findings
    assert finding.image == f"sha256:{7:064x}"
    assert finding.platform == "windows/amd64:10.0.1"
    assert finding.category == "wrong"


@pytest.mark.parametrize(
    "broken", ["text", None, 5, [], {"digest": 5}, {"platform": []}, {"platform": {"os": "linux"}}]
)
def test_an_entry_that_is_none_is_named_as_far_as_it_goes(broken: object) -> None:
    result = validate_value(index(broken), "oci-index")
    assert not result.ok
    assert {(finding.image, finding.platform) for finding in result.findings} == {("", "")}


@pytest.mark.parametrize("document", [None, [], "text", 5, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_document_that_is_no_object(kind: str, document: object) -> None:
    rule = "schema-null" if document is None else "schema-type"
    result = validate_value(document, kind)
    assert rules(result) == [(rule, "")]
    assert result.findings[0].message.startswith("the document is")


def test_findings_stand_in_document_order() -> None:
    document = {
        "annotations": {"org.opencontainers.image.created": "now"},
        "schemaVersion": 3,
        "manifests": [entry(1, size=-1, Size=2), entry(2, urls=["x"]), {"mediaType": "x"}],
        "layers": [],
    }
    assert rules(validate_value(document, "oci-index")) == [
        ("date-invalid", "/annotations/org.opencontainers.image.created"),
        ("schema-const", "/schemaVersion"),
        ("schema-minimum", "/manifests/0/size"),
        ("json-key-case", "/manifests/0/Size"),
        ("platform-duplicate", "/manifests/1/platform"),
        ("uri-invalid", "/manifests/1/urls/0"),
        ("schema-pattern", "/manifests/2/mediaType"),
        ("schema-required", "/manifests/2/digest"),
        ("schema-required", "/manifests/2/size"),
        ("document-ambiguous", "/layers"),
    ]


def test_one_fault_is_told_once() -> None:
    noted = [
        Fault(("size",), "schema-type", "first"),
        Fault(("size",), "schema-const", "follows from it"),
        Fault(("size",), "integer-token", "follows from it"),
        Fault(("digest",), "schema-required", "its key is misspelt"),
        Fault(("Digest",), "json-key-case", "the misspelt key", expected="digest"),
        Fault(("data",), "data-size", "one thing"),
        Fault(("data",), "data-digest", "another thing"),
        Fault(("data",), "data-digest", "again"),
    ]
    assert [fault.message for fault in merged(noted)] == ["first", "the misspelt key", "one thing", "another thing"]


def test_a_missing_key_stands_at_the_end_of_its_object() -> None:
    document = {"a": {"x": 1}, "b": [0, {"y": 2}]}
    paths: list[tuple[str | int, ...]] = [("b", 1, "y"), ("c",), ("b", 0), ("a", "z"), (), ("a", "x"), ("b",), ("a",)]
    ordered = in_order(document, [Fault(path, "schema-type", "") for path in paths])
    assert [fault.path for fault in ordered] == [
        (),
        ("a",),
        ("a", "x"),
        ("a", "z"),
        ("b",),
        ("b", 0),
        ("b", 1, "y"),
        ("c",),
    ]


@pytest.mark.parametrize("count", [MAX_FINDINGS - 1, MAX_FINDINGS, MAX_FINDINGS + 1, 5 * MAX_FINDINGS])
def test_endless_faults_are_cut(count: int) -> None:
    result = validate_value(index(*[0] * count), "oci-index")
    assert len(result.findings) == min(count, MAX_FINDINGS) + (count > MAX_FINDINGS)
    assert (result.findings[-1].rule == "findings-truncated") is (count > MAX_FINDINGS)
    assert result.findings[0].where == "/manifests/0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (1.5, "1.5"),
        (10**100, "1" + "0" * 39 + "…"),
        ("a\nb", '"a\\nb"'),
        ("x" * 1000, '"' + "x" * 120 + '…"'),
        ("https://u:p@example.com/x?sig=1", '"https://…@example.com/x?…"'),
        ({}, "an object"),
        ([], "an array"),
    ],
)
def test_values_are_shown_short_and_safe(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), "the document"),
        (("size",), "size"),
        (("manifests", 3), "manifests[3]"),
        (("a", 1, 2), "a[1][2]"),
        (("k\x1b",), "k\\x1b"),
    ],
)
def test_places_have_names(path: tuple[str | int, ...], text: str) -> None:
    assert name(path) == text


def test_every_rule_has_a_severity_a_meaning_and_a_next_step() -> None:
    for name_of_rule, rule in RULES.items():
        assert name_of_rule == name_of_rule.lower()
        assert rule.severity in ("error", "warning")
        for text in (rule.meaning, rule.step):
            assert text.endswith((".", "…"))
            assert len(text) > 10


LAZY = """
import sys
from manifestctl import validation
heavy = {"jsonschema", "referencing", "rpds", "attrs", "importlib.resources", "httpx", "rich", "yaml", "boto3"}
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
assert validation.kind_of_media_type("application/vnd.oci.image.index.v1+json") == "oci-index"
assert validation.recognise({"manifests": []}) == "oci-index"
assert not validation.validate(b"{", "x").ok
assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()
import socket
socket.socket = None
validation.warm()
assert "jsonschema" in sys.modules
assert not {"http.client", "urllib.request", "jsonschema.cli", "requests"} & sys.modules.keys()
assert validation.validate(b'{"schemaVersion":2,"manifests":[]}', "x").ok
"""


def test_jsonschema_is_not_imported_before_it_is_needed_and_reads_no_network() -> None:
    subprocess.run([sys.executable, "-c", LAZY], check=True, timeout=60)


def test_warm_runs_beside_a_validation() -> None:
    errors: list[BaseException] = []

    def run(call: Any) -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001 - whatever a thread raises must fail the test
            errors.append(error)

    raw = json.dumps(index(entry())).encode()
    threads = [threading.Thread(target=run, args=(warm,)) for _ in range(2)]
    threads += [threading.Thread(target=run, args=(lambda: validate(raw, "x"),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    assert validate(raw, "x").ok


def test_a_thousand_entries_are_no_burden() -> None:
    entries = [entry(n, platform={"architecture": "amd64", "os": "linux", "os.version": str(n)}) for n in range(1000)]
    result = validate(json.dumps(index(*entries)).encode(), "x")
    assert (result.kind, result.findings) == ("oci-index", ())
