"""`tags`: the tags of a repository with their digests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import DeniedError, NotFoundError, UnreachableError
from manifestctl.model.location import parse_location
from manifestctl.stores.locate import Stores
from manifestctl.verbs.tags import Tagged, list_tags
from tests.support import images
from tests.support.actions import digest_header, error, header, huge, status, wrong_bytes
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.world import World
from tests.verbs.scene import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.faults import Action


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


STRANGE = ["a:b", "::error::x", "x" * 3_000_000, "", ".", "a/b", "sha256:" + "0" * 64, "\u202eabc"]


@pytest.mark.parametrize("name", STRANGE, ids=range(len(STRANGE)))
def test_a_name_that_is_no_tag_is_listed_and_not_asked_for(registry: FakeRegistry, name: str) -> None:
    digest = registry.put_image(REPOSITORY, "a")
    body = json.dumps({"tags": ["b", name, "a"]}).encode()
    registry.faults.add(status(200, body, content_type="application/json"), path="/tags/list")
    found = tags_of(registry.reference(REPOSITORY))
    assert [(item.tag, item.is_tag) for item in found] == [("b", True), (name, False), ("a", True)]
    assert [item.descriptor and str(item.descriptor.digest) for item in found] == [None, None, digest]
    asked = {recorded.path for recorded in registry.requests}
    assert asked == {f"/v2/{REPOSITORY}/{rest}" for rest in ("tags/list", "manifests/a", "manifests/b")}


@pytest.mark.parametrize(
    ("action", "rule"),
    [(wrong_bytes(b"{}"), "image-integrity"), (huge(mebibytes=5), "document-invalid")],
)
def test_a_tag_that_holds_what_it_should_not_leaves_the_others_listed(
    registry: FakeRegistry, action: Action, rule: str
) -> None:
    registry.put_image(REPOSITORY, "a")
    digest = registry.put_image(REPOSITORY, "b", seed="b")
    registry.faults.add(action, method="GET", path="/manifests/a", times=FOREVER)
    registry.faults.add(header("Docker-Content-Digest", None), method="HEAD", times=FOREVER)
    first, second = tags_of(registry.reference(REPOSITORY))
    assert (first.tag, first.descriptor, first.is_tag) == ("a", None, True)
    assert first.finding is not None
    assert (first.finding.rule, first.finding.where) == (rule, registry.reference(REPOSITORY, "a"))
    assert (second.finding, str(second.descriptor and second.descriptor.digest)) == (None, digest)


def test_in_a_layout_any_name_is_one(tmp_path: Path) -> None:
    image = images.image()
    images.write_layout(tmp_path, {"docker.io/library/web:1.4": image})
    assert shown(tags_of(f"oci:{tmp_path}")) == [("docker.io/library/web:1.4", image.digest)]


def test_a_layout_has_tags_too(tmp_path: Path) -> None:
    made: dict[str, images.Content] = {"b": images.image(), "a": images.index([images.image("linux/arm64")])}
    images.write_layout(tmp_path, made)
    assert shown(tags_of(f"oci:{tmp_path}")) == [(tag, content.digest) for tag, content in made.items()]
