"""Manifests, lists and configs: what they say, and every document that two readers could take for two things."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import DocumentError
from manifestctl.model.digest import Digest
from manifestctl.model.manifest import Index, Manifest, parse_config, parse_manifest
from manifestctl.model.media_types import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    DOCKER_SCHEMA_1,
    DOCKER_SCHEMA_1_SIGNED,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_MANIFEST,
)
from manifestctl.model.platforms import Platform
from manifestctl.model.strict_json import CONFIG_LIMIT, MANIFEST_LIMIT
from tests.support.images import buildx_index, image, index

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

IMAGE = image("linux/arm64/v8", layers=2, annotations={"a": "b"})
LIST = index([IMAGE, image("linux/amd64")], annotations={"c": "d"})
CONFIG = json.loads(IMAGE.manifest)["config"]
ENTRY = LIST.descriptor()


def dump(**fields: object) -> bytes:
    return json.dumps({"schemaVersion": 2, **fields}).encode()


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("with_media_type", [True, False])
@pytest.mark.parametrize("generic", [False, True])
def test_a_manifest_keeps_its_bytes_and_says_what_it_is(docker: bool, with_media_type: bool, generic: bool) -> None:
    made = image("linux/arm64/v8", docker=docker, layers=2, with_media_type=with_media_type)
    served = "application/json" if generic else made.media_type
    parsed = parse_manifest(made.manifest, served, "r/x:1")
    assert isinstance(parsed, Manifest)
    assert parsed.raw is made.manifest
    # A document without a type of its own, served without one, is what OCI calls a document of this shape.
    assert parsed.media_type == (OCI_MANIFEST if generic and not with_media_type else made.media_type)
    assert str(parsed.digest) == made.digest
    assert str(parsed.config.digest) == made.config_digest
    assert [layer.size for layer in parsed.layers] == [len(layer) for layer in made.layers]
    assert parsed.size == len(made.config) + sum(map(len, made.layers))
    assert parsed.descriptor.to_json() == {
        "mediaType": parsed.media_type,
        "digest": made.digest,
        "size": len(made.manifest),
    }


@pytest.mark.parametrize("docker", [False, True])
@pytest.mark.parametrize("with_media_type", [True, False])
@pytest.mark.parametrize("indent", [None, 3])
def test_a_list_keeps_its_bytes_and_the_order_of_its_entries(
    docker: bool, with_media_type: bool, indent: int | None
) -> None:
    children = [image(platform, docker=docker) for platform in ("linux/s390x", "linux/amd64", "windows/amd64:10.0.1")]
    made = index(children, docker=docker, indent=indent, with_media_type=with_media_type)
    parsed = parse_manifest(made.manifest, made.media_type, "r/x:1")
    assert isinstance(parsed, Index)
    assert parsed.raw is made.manifest
    assert parsed.media_type == made.media_type
    assert [str(entry.digest) for entry in parsed.entries] == [child.digest for child in children]
    assert [str(entry.platform) for entry in parsed.entries] == ["linux/s390x", "linux/amd64", "windows/amd64:10.0.1"]
    assert str(parsed.descriptor.digest) == made.digest


def test_all_members_are_read() -> None:
    subject = json.loads(LIST.manifest)["manifests"][0]
    made = index([IMAGE], annotations={"a": "b"}, fields={"subject": subject, "artifactType": "application/x"})
    parsed = parse_manifest(made.manifest, OCI_INDEX, "x")
    assert parsed.annotations == {"a": "b"}
    assert parsed.artifact_type == "application/x"
    assert parsed.subject is not None
    assert str(parsed.subject.digest) == IMAGE.digest
    assert parsed.descriptor.artifact_type == "application/x"
    manifest = parse_manifest(IMAGE.manifest, OCI_MANIFEST, "x")
    assert manifest.annotations == {"a": "b"}
    assert manifest.subject is None


def test_what_buildx_makes_is_read() -> None:
    made = buildx_index([image("linux/amd64"), image("linux/arm64")])
    parsed = parse_manifest(made.manifest, OCI_INDEX, "x")
    assert isinstance(parsed, Index)
    assert [entry.is_attestation for entry in parsed.entries] == [False, False, True, True]
    assert [entry.attests for entry in parsed.entries[2:]] == [str(entry.digest) for entry in parsed.entries[:2]]


def test_a_digest_that_was_computed_already_is_taken() -> None:
    digest = Digest.of(IMAGE.manifest, "sha512")
    assert parse_manifest(IMAGE.manifest, OCI_MANIFEST, "x", digest).digest == digest


@pytest.mark.parametrize(
    "served",
    [
        "",
        "application/json",
        "application/json; charset=utf-8",
        "application/octet-stream",
        "text/plain",
        OCI_INDEX.upper(),
    ],
)
def test_a_generic_content_type_lets_the_document_decide(served: str) -> None:
    assert parse_manifest(LIST.manifest, served, "x").media_type == OCI_INDEX


@pytest.mark.parametrize("empty", [{"manifests": []}, {"manifests": [], "config": None, "layers": None}])
def test_an_empty_list_is_a_list_and_null_is_absent(empty: dict[str, Any]) -> None:
    parsed = parse_manifest(dump(**empty), "", "x")
    assert isinstance(parsed, Index)
    assert parsed.entries == ()


GOOD = {"config": CONFIG, "layers": []}
REFUSED: Sequence[tuple[bytes, str, str, str, str]] = [
    # CVE-2021-41190: what one reader takes for an image, another takes for a list.
    (dump(manifests=[], **GOOD), OCI_INDEX, "document-ambiguous", "", "both 'manifests' and 'config' or 'layers'"),
    (dump(manifests=[], config=CONFIG), "", "document-ambiguous", "", "both"),
    (dump(manifests=[ENTRY], layers=[]), OCI_MANIFEST, "document-ambiguous", "", "both"),
    (dump(mediaType=OCI_INDEX, **GOOD), OCI_INDEX, "document-ambiguous", "/mediaType", "members of the other kind"),
    (
        dump(mediaType=DOCKER_MANIFEST, manifests=[]),
        "",
        "document-ambiguous",
        "/mediaType",
        "members of the other kind",
    ),
    (dump(manifests=[]), OCI_MANIFEST, "document-ambiguous", "", "members of the other kind"),
    (dump(**GOOD), DOCKER_LIST, "document-ambiguous", "", "members of the other kind"),
    (dump(Manifests=[ENTRY], **GOOD), OCI_MANIFEST, "json-key-case", "/Manifests", "must be written 'manifests'"),
    (dump(manifests=[], LAYERS=[]), OCI_INDEX, "json-key-case", "/LAYERS", "must be written 'layers'"),
    (
        b'{"schemaVersion":2,"manife\\u017fts":[]}',
        OCI_INDEX,
        "json-key-case",
        "/manife\u017fts",
        "must be written 'manifests'",
    ),
    (b'{"schemaVersion":2,"manifests":[],"manifests":null}', OCI_INDEX, "json-duplicate-key", "", "stands twice"),
    (b'{"schemaVersion":2,"manifests":[],"MANIFESTS":[]}', OCI_INDEX, "json-duplicate-key", "", "Go programs"),
    # Content-Type against mediaType.
    (LIST.manifest, DOCKER_LIST, "media-type-mismatch", "/mediaType", "was served as " + DOCKER_LIST),
    (IMAGE.manifest, OCI_INDEX, "media-type-mismatch", "/mediaType", "was served as " + OCI_INDEX),
    (IMAGE.manifest, "text/html; charset=utf-8", "media-type-mismatch", "/mediaType", "was served as text/html"),
    (IMAGE.manifest, "a\n::error::b", "media-type-mismatch", "/mediaType", "a\\n::error::b"),
    # What is no image.
    (dump(), "", "not-an-image", "", "a document of no known type"),
    (dump(mediaType="application/x"), "", "not-an-image", "/mediaType", "application/x"),
    (dump(mediaType="x\u202e\n"), "", "not-an-image", "/mediaType", "x\\u202e\\n"),
    (dump(**GOOD), "text/html", "not-an-image", "", "text/html"),
    (dump(mediaType=OCI_CONFIG), OCI_CONFIG, "not-an-image", "/mediaType", OCI_CONFIG),
    (b'{"schemaVersion":1,"fsLayers":[]}', "", "not-an-image", "", "schema 1"),
    (b'{"schemaVersion":1,"fsLayers":[]}', DOCKER_MANIFEST, "not-an-image", "", "schema 1"),
    (b"{}", DOCKER_SCHEMA_1, "not-an-image", "", "schema 1"),
    (b"not even JSON", DOCKER_SCHEMA_1_SIGNED + "; charset=utf-8", "not-an-image", "", "schema 1"),
    (b'{"errors":[{"code":"DENIED"}]}', "application/json", "not-an-image", "", "no known type"),
    # Shapes.
    (b"[]", OCI_INDEX, "document-invalid", "", "the document is not a JSON object"),
    (b'"x"', OCI_INDEX, "document-invalid", "", "not a JSON object"),
    (b"null", "", "document-invalid", "", "not a JSON object"),
    (b"", OCI_INDEX, "json-syntax", "", "is not JSON"),
    (b"<html>", "text/html", "json-syntax", "", "a web page"),
    (dump(manifests=None), OCI_INDEX, "document-invalid", "/manifests", "is missing"),
    (dump(), OCI_INDEX, "document-invalid", "/manifests", "is missing"),
    (dump(manifests={}), OCI_INDEX, "document-invalid", "/manifests", "is not an array"),
    (dump(manifests=[None]), OCI_INDEX, "document-invalid", "/manifests/0", "is not a JSON object"),
    (dump(manifests=[ENTRY, {}]), OCI_INDEX, "document-invalid", "/manifests/1/digest", "is missing"),
    (dump(config=CONFIG), OCI_MANIFEST, "document-invalid", "/layers", "is missing"),
    (dump(layers=[]), OCI_MANIFEST, "document-invalid", "/config", "is missing"),
    (dump(), DOCKER_MANIFEST, "document-invalid", "/config", "is missing"),
    (dump(config=[], layers=[]), OCI_MANIFEST, "document-invalid", "/config", "is not a JSON object"),
    (dump(config=CONFIG, layers="x"), OCI_MANIFEST, "document-invalid", "/layers", "is not an array"),
    (dump(**GOOD, subject=[]), OCI_MANIFEST, "document-invalid", "/subject", "is not a JSON object"),
    (dump(**GOOD, annotations={"a": 1}), OCI_MANIFEST, "document-invalid", "/annotations", "object of strings"),
    (dump(**GOOD, artifactType=1), OCI_MANIFEST, "document-invalid", "/artifactType", "is not a string"),
    (dump(mediaType=1, **GOOD), OCI_MANIFEST, "document-invalid", "/mediaType", "is not a string"),
    (dump(**GOOD | {"schemaVersion": 3}), OCI_MANIFEST, "document-invalid", "/schemaVersion", "is not 2"),
    (dump(**GOOD | {"schemaVersion": None}), OCI_MANIFEST, "document-invalid", "/schemaVersion", "is not 2"),
    (dump(**GOOD | {"schemaVersion": "2"}), OCI_MANIFEST, "document-invalid", "/schemaVersion", "is not an integer"),
    (dump(**GOOD | {"schemaVersion": 2.0}), OCI_MANIFEST, "document-invalid", "/schemaVersion", "is not an integer"),
    (b" " * MANIFEST_LIMIT + b"{}", OCI_INDEX, "json-too-large", "", "is larger than 4194304 bytes"),
]


@pytest.mark.parametrize(("raw", "served", "rule", "pointer", "reason"), REFUSED)
def test_what_is_refused_and_why(raw: bytes, served: str, rule: str, pointer: str, reason: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_manifest(raw, served, "r/x:1")
    assert (caught.value.rule, caught.value.pointer) == (rule, pointer)
    assert caught.value.message.startswith("r/x:1: ")
    assert reason in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 1


def test_real_documents_are_read(fixtures: Path) -> None:
    documents = sorted((fixtures / "documents" / "good").glob("*.json"))
    manifests = [path for path in documents if path.name.split(".")[0].endswith(("-index", "-list", "-manifest"))]
    found = [path for path in manifests if ".expected." not in path.name]
    assert len(found) > 20
    for path in found:
        parsed = parse_manifest(path.read_bytes(), "", path.name)
        assert isinstance(parsed, Index if "manifest." not in path.name else Manifest), path.name


def test_a_config_says_platform_labels_and_layers() -> None:
    made = image("windows/arm64/v8:10.0.1", labels={"a": "b", "A": "c"}, config={"os.features": ["win32k"]})
    config = parse_config(made.config, "the config")
    assert config.platform == Platform("windows", "arm64", "v8", "10.0.1", ("win32k",))
    assert config.labels == {"a": "b", "A": "c"}
    assert config.diff_ids == tuple(json.loads(made.config)["rootfs"]["diff_ids"])
    assert config.created == "2024-05-06T07:08:09Z"


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"config":null,"rootfs":null,"os":null,"architecture":null,"created":null,"os.features":null}',
        b'{"config":{},"rootfs":{}}',
        b'{"config":{"Labels":null},"rootfs":{"diff_ids":null},"container_config":{"labels":1},"x":[]}',
    ],
)
def test_a_config_that_says_nothing(raw: bytes) -> None:
    config = parse_config(raw, "x")
    assert config.platform == Platform("", "")
    assert (config.labels, config.diff_ids, config.created) == ({}, (), "")


@pytest.mark.parametrize(
    ("raw", "rule", "pointer"),
    [
        (b"[]", "document-invalid", ""),
        (b'{"os":1}', "document-invalid", "/os"),
        (b'{"architecture":["amd64"]}', "document-invalid", "/architecture"),
        (b'{"variant":8}', "document-invalid", "/variant"),
        (b'{"os.version":10.0}', "document-invalid", "/os.version"),
        (b'{"os.features":{}}', "document-invalid", "/os.features"),
        (b'{"created":0}', "document-invalid", "/created"),
        (b'{"config":[]}', "document-invalid", "/config"),
        (b'{"config":{"Labels":[]}}', "document-invalid", "/config/Labels"),
        (b'{"config":{"Labels":{"a":1}}}', "document-invalid", "/config/Labels"),
        (b'{"rootfs":"x"}', "document-invalid", "/rootfs"),
        (b'{"rootfs":{"diff_ids":[1]}}', "document-invalid", "/rootfs/diff_ids"),
        (b'{"OS":"linux"}', "json-key-case", "/OS"),
        (b'{"Architecture":"amd64"}', "json-key-case", "/Architecture"),
        (b'{"os":"linux","Os":"windows"}', "json-duplicate-key", ""),
        (b'{"config":{"labels":{}}}', "json-key-case", "/config/labels"),
        (b'{"rootfs":{"DIFF_IDS":[]}}', "json-key-case", "/rootfs/DIFF_IDS"),
        (b'{"config":{"Labels":{"a":"1","a":"2"}}}', "json-duplicate-key", ""),
        (b"{", "json-syntax", ""),
        (b" " * CONFIG_LIMIT + b"{}", "json-too-large", ""),
    ],
)
def test_a_config_that_cannot_be_read(raw: bytes, rule: str, pointer: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_config(raw, "the config of x")
    assert (caught.value.rule, caught.value.pointer) == (rule, pointer)
    assert caught.value.message.startswith("the config of x: ")


def test_a_config_may_be_larger_than_a_manifest() -> None:
    assert parse_config(b'{"os":"linux"}' + b" " * MANIFEST_LIMIT, "x").platform.os == "linux"
