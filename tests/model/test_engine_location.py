"""Locations in an engine: what names an image, its tag, and what cannot be done there."""

from __future__ import annotations

import pytest

from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.model.location import EngineLocation, check_target, parse_child, parse_location
from manifestctl.model.platforms import Platform
from manifestctl.model.reference import Reference

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("web", None),
        ("web:1.4", "1.4"),
        ("team/web:1.4", "1.4"),
        ("localhost:5000/web", None),
        ("localhost:5000/web:1.4", "1.4"),
        ("registry.example.com/team/web:latest", "latest"),
        (f"web@{DIGEST}", None),
        (f"web:1.4@{DIGEST}", "1.4"),
        ("0123456789ab", None),
        (DIGEST, None),
        ("sha256:0123456789ab", None),
    ],
)
def test_images(image: str, tag: str | None) -> None:
    location = parse_location(f"docker-daemon:{image}")
    assert isinstance(location, EngineLocation)
    assert location == EngineLocation(image)
    assert location.tag == tag
    assert (location.digest, location.selector) == (None, "")
    assert location.store == str(location) == f"docker-daemon:{image}"
    assert parse_location(str(location)) == location


def test_the_platform_is_no_part_of_the_text() -> None:
    chosen = EngineLocation("web:1", Platform("linux", "arm64"))
    assert str(chosen) == str(EngineLocation("web:1", every=True)) == "docker-daemon:web:1"
    assert chosen != EngineLocation("web:1")


@pytest.mark.parametrize("text", ["", " ", "a b", "new\nline", "a\0b", "\x1b[31m", "\u202eweb", "x" * 5000])
def test_what_names_no_image(text: str) -> None:
    with pytest.raises(InputError, match="names no image") as caught:
        parse_location(f"docker-daemon:{text}")
    assert not set("\n\0\x1b\u202e") & set(caught.value.message)
    assert "manifestctl images" in caught.value.hint


def test_nothing_is_written_to_an_engine() -> None:
    location = EngineLocation("web:1")
    for tag in ("2", None):
        with pytest.raises(InputError, match="docker-daemon:web:1: nothing is written"):
            location.with_tag(tag)
    with pytest.raises(InputError, match="not named by digest"):
        location.with_digest(Digest.parse(DIGEST))
    with pytest.raises(InputError, match="an engine cannot be used here, as the target"):
        check_target(location)


def test_an_image_in_an_engine_is_no_part_of_a_list() -> None:
    with pytest.raises(InputError, match="an image in an engine cannot be used here") as caught:
        parse_child("docker-daemon:web:1", Reference.parse("example.com/web:1"))
    assert caught.value.hint == "Push it first."
