"""Composing an image's manifest: nothing is lost, nothing changes that need not, and Docker's holds no more than it can."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from manifestctl.errors import InputError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.manifest import Manifest, parse_manifest
from manifestctl.model.media_types import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)
from manifestctl.verbs.image_manifest import compose_manifest, family_of
from tests.support import images

PACKED = Descriptor(OCI_LAYER_GZIP, Digest.of(b"packed"), 6)


def parsed(made: images.Image) -> Manifest:
    manifest = parse_manifest(made.manifest, made.media_type, "x")
    assert isinstance(manifest, Manifest)
    return manifest


OCI = images.image("linux/amd64", annotations={"a": "1"})
DOCKER = images.image("linux/amd64", docker=True)


@pytest.mark.parametrize(("made", "family"), [(OCI, "oci"), (DOCKER, "docker")])
def test_what_does_not_change_keeps_its_bytes(made: images.Image, family: Any) -> None:
    manifest = parsed(made)
    assert family_of(manifest) == family
    for said in ({}, manifest.annotations):
        content = compose_manifest(manifest, manifest.layers, family, said)
        assert (content.raw, content.media_type, str(content.digest)) == (made.manifest, made.media_type, made.digest)


@pytest.mark.parametrize(
    ("made", "family", "types"),
    [
        (DOCKER, "oci", [OCI_MANIFEST, OCI_CONFIG]),
        (images.image(), "docker", [DOCKER_MANIFEST, DOCKER_CONFIG]),
    ],
)
def test_the_other_family(made: images.Image, family: Any, types: list[str]) -> None:
    layer = replace(PACKED, media_type=OCI_LAYER_GZIP if family == "oci" else DOCKER_LAYER_GZIP)
    content = compose_manifest(parsed(made), [layer], family, {})
    document = json.loads(content.raw)
    assert [document["mediaType"], document["config"]["mediaType"]] == types
    assert document["config"]["digest"] == made.config_digest
    assert document["layers"] == [layer.to_json()]
    assert list(document) == ["schemaVersion", "mediaType", "config", "layers"]
    assert content.media_type == types[0]
    assert str(content.digest) == images.digest_of(content.raw)
    # The same again, on every machine.
    assert compose_manifest(parsed(made), [layer], family, {}) == content


def test_everything_else_stays() -> None:
    made = images.image(
        "linux/amd64",
        annotations={"z": "1", "a": "ü"},
        manifest={"x-unknown": {"deep": [1]}, "subject": images.descriptor(b"s", OCI_MANIFEST), "artifactType": "a/b"},
        with_media_type=False,
    )
    document = json.loads(compose_manifest(parsed(made), [PACKED], "oci", {"a": "2"}).raw)
    before = json.loads(made.manifest)
    assert document["mediaType"] == OCI_MANIFEST
    assert list(document)[:2] == ["schemaVersion", "mediaType"]
    assert document["annotations"] == {"z": "1", "a": "2"}
    assert list(document["annotations"]) == ["z", "a"]
    for key in ("x-unknown", "subject", "artifactType", "config"):
        assert document[key] == before[key]


@pytest.mark.parametrize(
    ("made", "layers", "annotations", "words"),
    [
        (OCI, [PACKED], {}, "annotations"),
        (DOCKER, [PACKED], {"a": "b"}, "annotations"),
        (images.image(manifest={"artifactType": "a/b"}), [PACKED], {}, "artifactType"),
        (images.image(manifest={"subject": images.descriptor(b"s", OCI_MANIFEST)}), [PACKED], {}, "subject"),
        (images.image(), [replace(PACKED, annotations={"a": "b"})], {}, "annotations of a layer"),
        (images.image(), [replace(PACKED, extra={"data": "AA=="})], {}, "data of a layer"),
    ],
)
def test_docker_cannot_hold_everything(
    made: images.Image, layers: list[Descriptor], annotations: dict[str, str], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        compose_manifest(parsed(made), layers, "docker", annotations)
    assert "--format oci" in caught.value.hint


def test_docker_keeps_what_a_docker_manifest_had() -> None:
    """Docker's own manifests may have more in a layer than they should; packing another layer is no reason to lose it."""
    layer = replace(PACKED, annotations={"a": "b"}, extra={"urls": ["https://example.com/x"]})
    content = compose_manifest(parsed(DOCKER), [layer], "docker", {})
    assert json.loads(content.raw)["layers"][0]["annotations"] == {"a": "b"}
    converted = compose_manifest(parsed(images.image()), [replace(layer, annotations={})], "docker", {})
    assert json.loads(converted.raw)["layers"][0]["urls"] == ["https://example.com/x"]
