"""Descriptors: nothing that an entry says is lost, and what is malformed is refused with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from manifestctl.errors import DocumentError
from manifestctl.model.descriptor import Descriptor, platform_json
from manifestctl.model.digest import Digest
from manifestctl.model.platforms import Platform
from manifestctl.model.strict_json import MAX_INTEGER

DIGEST = "sha256:" + "a" * 64
PLAIN: dict[str, Any] = {"mediaType": "application/x", "digest": DIGEST, "size": 7}


def read(**fields: object) -> Descriptor:
    return Descriptor.from_json(PLAIN | fields, "the list", "/manifests/0")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"size": 0},
        {"size": MAX_INTEGER},
        {"platform": {"architecture": "amd64", "os": "linux"}},
        {"platform": {"architecture": "x86_64", "os": "Linux", "variant": "V1"}},
        {
            "platform": {
                "architecture": "amd64",
                "os": "windows",
                "os.version": "10.0.1",
                "os.features": ["win32k"],
                "variant": "v2",
                "features": ["sse4"],
                "future": {"a": [1]},
            }
        },
        {"artifactType": "application/y"},
        {"annotations": {"b": "2", "a": "1", "A": "3"}},
        {"urls": ["https://x.example/l"], "data": "e30="},
        {"unknown": None, "x-future": {"deep": [1, 2.5, None, True]}},
        {"mediaType": "made/up"},
        {"digest": "blake3:" + "b" * 64},
    ],
)
def test_what_was_read_is_what_is_written(fields: dict[str, Any]) -> None:
    descriptor = read(**fields)
    assert descriptor.to_json() == PLAIN | fields
    again = Descriptor.from_json(descriptor.to_json(), "x", "")
    assert again == descriptor
    assert hash(again) == hash(descriptor)
    assert json.dumps(again.to_json()) == json.dumps(descriptor.to_json())


def test_members_have_one_order_whatever_the_order_they_came_in() -> None:
    fields = PLAIN | {
        "zzz": 1,
        "annotations": {"z": "1", "a": "2"},
        "artifactType": "application/y",
        "platform": {"variant": "v7", "features": [], "os": "linux", "architecture": "arm"},
    }
    written = Descriptor.from_json(dict(reversed(fields.items())), "x", "").to_json()
    assert list(written) == ["mediaType", "digest", "size", "platform", "artifactType", "annotations", "zzz"]
    assert list(written["platform"]) == ["architecture", "os", "variant", "features"]
    assert list(written["annotations"]) == ["z", "a"]


@pytest.mark.parametrize("key", ["platform", "annotations", "artifactType", "urls", "data"])
def test_null_is_absent(key: str) -> None:
    assert read(**{key: None}) == read()
    assert key not in read(**{key: None}).to_json()


@pytest.mark.parametrize(
    ("value", "pointer", "reason"),
    [
        (None, "/manifests/0", "is not a JSON object"),
        ([], "/manifests/0", "is not a JSON object"),
        ("sha256", "/manifests/0", "is not a JSON object"),
        ({}, "/manifests/0/digest", "is missing"),
        (PLAIN | {"digest": None}, "/manifests/0/digest", "is missing"),
        (PLAIN | {"digest": 7}, "/manifests/0/digest", "is not a string"),
        (PLAIN | {"digest": "sha256:abc"}, "/manifests/0/digest", "'sha256:abc' is not a sha256 digest"),
        (PLAIN | {"digest": "sha256:" + "A" * 64}, "/manifests/0/digest", "is not a sha256 digest"),
        (PLAIN | {"digest": DIGEST + "\n"}, "/manifests/0/digest", "is not a"),
        (PLAIN | {"mediaType": None}, "/manifests/0/mediaType", "is missing"),
        (PLAIN | {"mediaType": 1}, "/manifests/0/mediaType", "is not a string"),
        (PLAIN | {"size": None}, "/manifests/0/size", "is missing"),
        (PLAIN | {"size": "7"}, "/manifests/0/size", "is not an integer"),
        (PLAIN | {"size": 7.0}, "/manifests/0/size", "is not an integer"),
        (PLAIN | {"size": True}, "/manifests/0/size", "is not an integer"),
        (PLAIN | {"size": -1}, "/manifests/0/size", "is not an integer"),
        (PLAIN | {"size": MAX_INTEGER + 1}, "/manifests/0/size", "is not an integer"),
        (PLAIN | {"annotations": []}, "/manifests/0/annotations", "is not an object of strings"),
        (PLAIN | {"annotations": {"a": 1}}, "/manifests/0/annotations", "is not an object of strings"),
        (PLAIN | {"annotations": {"a": None}}, "/manifests/0/annotations", "is not an object of strings"),
        (PLAIN | {"artifactType": 1}, "/manifests/0/artifactType", "is not a string"),
        (PLAIN | {"platform": []}, "/manifests/0/platform", "is not a JSON object"),
        (PLAIN | {"platform": {"os": 1}}, "/manifests/0/platform/os", "is not a string"),
        (PLAIN | {"platform": {"os.features": "a"}}, "/manifests/0/platform/os.features", "is not an array"),
        (PLAIN | {"platform": {"os.features": [1]}}, "/manifests/0/platform/os.features", "is not an array of strings"),
        (PLAIN | {"platform": {"OS": "linux"}}, "/manifests/0/platform/OS", "must be written 'os'"),
        (PLAIN | {"DIGEST": DIGEST}, "/manifests/0/DIGEST", "must be written 'digest'"),
        (PLAIN | {"MediaType": "x"}, "/manifests/0/MediaType", "must be written 'mediaType'"),
        (PLAIN | {"\u017fize": 1}, "/manifests/0/\u017fize", "must be written 'size'"),
        (PLAIN | {"annotation\u017f": {}}, "/manifests/0/annotation\u017f", "must be written 'annotations'"),
        (PLAIN | {"URLs": []}, "/manifests/0/URLs", "must be written 'urls'"),
    ],
)
def test_what_is_malformed_is_refused_with_its_place(value: object, pointer: str, reason: str) -> None:
    with pytest.raises(DocumentError) as caught:
        Descriptor.from_json(value, "the list", "/manifests/0")
    assert caught.value.pointer == pointer
    assert caught.value.message.startswith("the list: ")
    assert reason in caught.value.message
    assert "\n" not in caught.value.message


TYPE, SUBJECT = "vnd.docker.reference.type", "vnd.docker.reference.digest"
UNKNOWN = {"architecture": "unknown", "os": "unknown"}


@pytest.mark.parametrize(
    ("fields", "attests", "is_attestation"),
    [
        ({}, "", False),
        ({"annotations": {TYPE: "attestation-manifest", SUBJECT: DIGEST}, "platform": UNKNOWN}, DIGEST, True),
        ({"annotations": {TYPE: "attestation-manifest", SUBJECT: DIGEST}}, DIGEST, True),
        ({"annotations": {TYPE: "attestation-manifest"}, "platform": UNKNOWN}, "nothing", True),
        ({"annotations": {TYPE: "attestation-manifest", SUBJECT: ""}}, "nothing", True),
        # Entries of other types are not images either.
        ({"annotations": {TYPE: "something-new", SUBJECT: DIGEST}}, "", True),
        ({"annotations": {SUBJECT: DIGEST}}, "", False),
        ({"platform": UNKNOWN}, "", True),
        ({"platform": {"architecture": "amd64", "os": "unknown"}}, "", False),
    ],
)
def test_attestations(fields: dict[str, Any], attests: str, is_attestation: bool) -> None:
    descriptor = read(**fields)
    assert descriptor.attests == attests
    assert descriptor.is_attestation is is_attestation


def test_annotating_replaces_in_place_and_leaves_the_original() -> None:
    descriptor = read(annotations={"a": "1", "b": "2"})
    more = descriptor.annotated({"a": "3", "c": "4"})
    assert list(more.annotations.items()) == [("a", "3"), ("b", "2"), ("c", "4")]
    assert descriptor.annotations == {"a": "1", "b": "2"}
    assert more.digest == Digest.parse(DIGEST)


def test_a_platform_as_json_has_the_parts_that_it_has() -> None:
    assert platform_json(Platform("linux", "arm64")) == {"architecture": "arm64", "os": "linux"}
    full = Platform("windows", "amd64", "v2", "10.0.1", ("a", "b"))
    assert list(platform_json(full)) == ["architecture", "os", "os.version", "os.features", "variant"]
    assert platform_json(full)["os.features"] == ["a", "b"]
