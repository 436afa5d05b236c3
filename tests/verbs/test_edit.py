"""Narrowing a list: which entries stay, and that everything else stays as it was."""

from __future__ import annotations

import json

import pytest

from manifestctl.errors import DocumentError, NotFoundError
from manifestctl.model.manifest import Index
from manifestctl.model.media_types import DOCKER_LIST, OCI_INDEX
from manifestctl.stores.base import Content
from manifestctl.verbs.edit import narrowed, with_entries
from tests.support import images
from tests.verbs.scene import platforms

AMD64, ARM64, ARM7 = (images.image(name) for name in ("linux/amd64", "linux/arm64/v8", "linux/arm/v7"))
WINDOWS = [images.image(f"windows/amd64:10.0.{build}") for build in ("17763.1", "20348.2")]
ALL = images.buildx_index([AMD64, ARM64, ARM7, *WINDOWS])


def narrow(made: images.Index, only: str = "", attestations: str = "keep") -> Content:
    content = Content.of(made.manifest, made.media_type)
    index = content.parse("it")
    assert isinstance(index, Index)
    return narrowed(content, index, platforms(only), attestations, "it")  # type: ignore[arg-type]


def subjects(content: Content) -> list[str]:
    """Return the digests of the entries, attestations by the image that they are about."""
    entries = json.loads(content.raw)["manifests"]
    return [entry.get("annotations", {}).get(images.REFERENCE_DIGEST, entry["digest"]) for entry in entries]


@pytest.mark.parametrize(
    ("only", "kept"),
    [
        ("linux/amd64", [AMD64]),
        ("linux/arm64", [ARM64]),
        ("linux/arm64,linux/amd64", [AMD64, ARM64]),
        ("linux/arm/v7", [ARM7]),
        ("windows/amd64", WINDOWS),
        ("windows/amd64:10.0.20348.2", WINDOWS[1:]),
    ],
)
def test_images_stay_in_their_order_with_their_attestations(only: str, kept: list[images.Image]) -> None:
    digests = [image.digest for image in kept]
    assert subjects(narrow(ALL, only)) == digests * 2
    assert subjects(narrow(ALL, only, "require")) == digests * 2
    assert subjects(narrow(ALL, only, "drop")) == digests


@pytest.mark.parametrize("made", [ALL, images.index([AMD64], docker=True), images.index([AMD64], indent=7)])
def test_a_list_of_which_nothing_goes_keeps_its_bytes(made: images.Index) -> None:
    assert narrow(made).raw == made.manifest
    assert narrow(images.index([AMD64]), "linux/amd64").raw == images.index([AMD64]).manifest
    assert narrow(images.index([AMD64]), attestations="drop").raw == images.index([AMD64]).manifest


def test_everything_else_stays_as_it_was() -> None:
    entry = AMD64.descriptor(
        annotations={"b": "1", "a": "ü"},
        urls=["https://example.com"],
        inline={"z": [1.5, None], "y": 2**53 + 1},
    )
    fields = {"annotations": {"z": "ä", "a": "b"}, "unknown": {"deep": [True]}, "artifactType": "application/x"}
    made = images.index([entry, ARM64], fields=fields)
    before, after = (json.loads(raw) for raw in (made.manifest, narrow(made, "linux/amd64").raw))
    assert after.pop("manifests") == before.pop("manifests")[:1]
    assert (list(after), after) == (list(before), before)
    assert narrow(made, "linux/amd64").raw == narrow(made, "linux/amd64").raw
    assert "ä" in narrow(made, "linux/amd64").raw.decode()


@pytest.mark.parametrize(("docker", "media_type"), [(True, DOCKER_LIST), (False, OCI_INDEX)])
def test_the_media_type_stays(docker: bool, media_type: str) -> None:
    content = narrow(images.index([AMD64, ARM64], docker=docker), "linux/amd64")
    assert (content.media_type, json.loads(content.raw)["mediaType"]) == (media_type, media_type)
    assert content.digest.matches(content.raw)


def test_a_list_without_a_media_type_gets_none() -> None:
    made = images.index([AMD64, ARM64], with_media_type=False)
    assert "mediaType" not in json.loads(narrow(made, "linux/amd64").raw)


def test_entries_without_a_platform_are_for_none() -> None:
    made = images.index([AMD64, images.image(None, seed="x")])
    assert subjects(narrow(made, "linux/amd64")) == [AMD64.digest]


@pytest.mark.parametrize(
    ("made", "only", "attestations", "message"),
    [
        (ALL, "linux/s390x", "keep", "it: there is no image for linux/s390x; there is: linux/amd64, linux/arm64/v8, "),
        (ALL, "linux/amd64,linux/s390x,linux/386", "keep", "it: there is no image for linux/s390x, linux/386; "),
        (images.index([]), "linux/amd64", "keep", "it: there is no image for linux/amd64; there is: none"),
        (images.index([]), "", "drop", "it: there is no image in it"),
    ],
)
def test_what_is_not_there(made: images.Index, only: str, attestations: str, message: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        narrow(made, only, attestations)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_an_attestation_is_only_required_of_what_is_kept() -> None:
    proof = images.attestation(AMD64)
    made = images.index(
        [
            AMD64,
            ARM64,
            proof.descriptor(
                annotations={images.REFERENCE_DIGEST: AMD64.digest, images.REFERENCE_TYPE: "attestation-manifest"}
            ),
        ]
    )
    assert subjects(narrow(made, "linux/amd64", "require")) == [AMD64.digest] * 2
    with pytest.raises(DocumentError, match=r"^it: there is no attestation for linux/arm64/v8, and ") as caught:
        narrow(made, "", "require")
    # As in `create`, a check failed.
    assert (caught.value.rule, caught.value.exit_code) == ("attestation-required", 1)
    assert caught.value.hint


def test_images_without_an_attestation_are_named_by_their_platforms_or_else_digests() -> None:
    unnamed = images.image(None, seed="x")
    made = images.index([AMD64, *WINDOWS, unnamed])
    there = f"linux/amd64, windows/amd64:10.0.17763.1, windows/amd64:10.0.20348.2, {unnamed.digest[:19]}"
    with pytest.raises(DocumentError, match=there):
        narrow(made, attestations="require")


def test_entries_can_be_put_in_another_order() -> None:
    content = with_entries(Content.of(ALL.manifest, OCI_INDEX), [2, 0], "it")
    assert subjects(content) == [ARM7.digest, AMD64.digest]
