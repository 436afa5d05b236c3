"""`images` as a library: what is refused, and what is counted of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from manifestctl.errors import InputError
from manifestctl.model.location import parse_location
from manifestctl.model.platforms import Platform
from manifestctl.stores.locate import Stores
from manifestctl.verbs.images import local_images
from tests.support import images
from tests.support.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.stores.base import LocalImage

AMD64, ARM64 = (images.image(f"linux/{name}") for name in ("amd64", "arm64"))


def listed(layout: Path, *platforms: str) -> list[LocalImage]:
    """List the images of a layout."""
    with Stores.of_system(World({}).runtime) as stores:
        return local_images(parse_location(f"oci:{layout}"), stores, [Platform.parse(text) for text in platforms])


def test_a_repository_of_a_registry_is_not_on_this_machine() -> None:
    def nothing(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("nothing is opened")

    with pytest.raises(InputError) as caught:
        local_images(parse_location("registry.example.com/web:1"), nothing)
    assert caught.value.hint == "'manifestctl tags registry.example.com/web' lists what is in that repository."


def test_attestations_are_no_images(tmp_path: Path) -> None:
    built = images.buildx_index([AMD64, ARM64])
    images.write_layout(tmp_path, {"1": built})
    (found,) = listed(tmp_path)
    assert (str(found.id), [str(platform) for platform in found.platforms]) == (
        built.digest,
        ["linux/amd64", "linux/arm64"],
    )
    assert found.size == sum(len(data) for image in (AMD64, ARM64) for data in image.blobs.values())
    assert listed(tmp_path, "linux/arm64/v8") == [found]
    assert listed(tmp_path, "linux/arm64/v9") == []


def test_a_list_in_a_list_is_no_image(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"1": images.index([images.index([AMD64]), ARM64])})
    (found,) = listed(tmp_path)
    assert [str(platform) for platform in found.platforms] == ["linux/arm64"]
