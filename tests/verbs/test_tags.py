"""`tags`: the tags of a repository with their digests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import DeniedError, NotFoundError, UnreachableError
from manifestctl.model.location import parse_location
from manifestctl.stores.locate import Stores
from manifestctl.verbs.tags import Tagged, list_tags
from tests.support import images
from tests.support.actions import digest_header, error, status
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.world import World
from tests.verbs.scene import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


def tags_of(base: str, concurrency: int = 16) -> list[Tagged]:
    """List the tags of a repository or a directory."""
    world = World()
    with Stores.of_system(world.runtime) as stores:
        return list_tags(parse_location(base), stores, world.runtime, concurrency)


def shown(tagged: list[Tagged]) -> list[tuple[str, str | None]]:
    return [(item.tag, str(item.descriptor.digest) if item.descriptor else None) for item in tagged]


@pytest.mark.parametrize("concurrency", [1, 16])
def test_tags_are_listed_with_digests_in_the_registrys_order(registry: FakeRegistry, concurrency: int) -> None:
    expected = [(f"v{n}", registry.put_image(REPOSITORY, f"v{n}", seed=str(n))) for n in range(7)]
    assert shown(tags_of(registry.reference(REPOSITORY), concurrency)) == expected
    # One page, and one HEAD a tag.
    assert (registry.count("GET"), registry.count("HEAD")) == (1, 7)


def test_pages_are_followed() -> None:
    with FakeRegistry(page_size=2) as registry:
        for number in range(5):
            registry.put_image(REPOSITORY, f"v{number}")
        assert [item.tag for item in tags_of(registry.reference(REPOSITORY))] == [f"v{n}" for n in range(5)]
        assert registry.count("GET", "/tags/list") == 3


def test_a_registry_that_says_no_digest_is_read(registry: FakeRegistry) -> None:
    digest = registry.put_image(REPOSITORY, "a")
    registry.faults.add(digest_header(None), method="HEAD", times=FOREVER)
    assert shown(tags_of(registry.reference(REPOSITORY))) == [("a", digest)]


def test_a_tag_that_went_away_meanwhile_is_listed_without_a_digest(registry: FakeRegistry) -> None:
    digest = registry.put_image(REPOSITORY, "a")
    registry.put_image(REPOSITORY, "b")
    registry.faults.add(error(404, "MANIFEST_UNKNOWN", "gone"), path="/manifests/b", times=FOREVER)
    assert shown(tags_of(registry.reference(REPOSITORY))) == [("a", digest), ("b", None)]


def test_a_repository_without_tags_has_none(registry: FakeRegistry) -> None:
    registry.put_image(REPOSITORY, None)
    assert tags_of(registry.reference(REPOSITORY)) == []


def test_a_repository_that_does_not_exist_is_3(registry: FakeRegistry) -> None:
    with pytest.raises(NotFoundError) as caught:
        tags_of(registry.reference(REPOSITORY))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("answer", "kind"), [(error(403, "DENIED", "no"), DeniedError), (status(500), UnreachableError)]
)
@pytest.mark.parametrize("path", ["/tags/list", "/manifests/a"])
def test_what_cannot_be_read_is_an_error(
    registry: FakeRegistry, answer: object, kind: type[Exception], path: str
) -> None:
    registry.put_image(REPOSITORY, "a")
    registry.faults.add(answer, path=path, times=FOREVER)  # type: ignore[arg-type]  # all of them are actions
    with pytest.raises(kind):
        tags_of(registry.reference(REPOSITORY))


def test_a_layout_has_tags_too(tmp_path: Path) -> None:
    made: dict[str, images.Content] = {"b": images.image(), "a": images.index([images.image("linux/arm64")])}
    images.write_layout(tmp_path, made)
    assert shown(tags_of(f"oci:{tmp_path}")) == [(tag, content.digest) for tag, content in made.items()]
