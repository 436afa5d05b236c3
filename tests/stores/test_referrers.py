"""Listing referrers: the API page by page, the fallback tag, and answers that are neither."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import DeniedError, DocumentError, ManifestctlError, UnreachableError
from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.model.media_types import OCI_INDEX
from manifestctl.stores.base import ReferrerStore
from manifestctl.stores.locate import Stores
from manifestctl.stores.referrers import fallback_tag, tagged
from tests.support import images
from tests.support.actions import error, huge, proxy_page, respond, status, wrong_bytes
from tests.support.faults import FOREVER
from tests.support.http_message import Response
from tests.support.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from manifestctl.model.descriptor import Descriptor
    from tests.support.fake_registry import FakeRegistry

REPOSITORY = "team/web"
SUBJECT = Digest.of(b"the image")
FOUND = [images.image("linux/amd64", seed=str(number)) for number in range(4)]
API = f"/v2/{REPOSITORY}/referrers/{SUBJECT}"


def page(made: list[images.Image], link: str = "", media_type: str = OCI_INDEX) -> Response:
    headers = {"Content-Type": media_type} | ({"Link": f'<{link}>; rel="next"'} if link else {})
    return Response(200, images.index([one.descriptor(artifactType="a/b") for one in made]).manifest, headers)


def answer(registry: FakeRegistry, *pages: Response) -> None:
    """Answer the API with these, one after the other."""
    waiting = iter(pages)
    registry.faults.add(respond(lambda: next(waiting)), method="GET", path="/referrers/", times=len(pages))


def ask(registry: FakeRegistry) -> list[Descriptor]:
    with Stores.of_system(World().runtime) as stores:
        store = stores(parse_location(registry.reference(REPOSITORY)))
        assert isinstance(store, ReferrerStore)
        return store.referrers(SUBJECT)


def digests(found: list[Descriptor]) -> list[str]:
    return [str(descriptor.digest) for descriptor in found]


def test_by_the_api(registry: FakeRegistry) -> None:
    answer(registry, page(FOUND))
    found = ask(registry)
    assert digests(found) == [one.digest for one in FOUND]
    assert {descriptor.artifact_type for descriptor in found} == {"a/b"}
    assert [request.path for request in registry.find()] == [API]


def test_none_is_an_empty_list_and_the_end(registry: FakeRegistry) -> None:
    answer(registry, page([]))
    assert ask(registry) == []
    assert len(registry.find()) == 1


@pytest.mark.parametrize("link", [f"{API}?n=2&last=x", "?n=2&last=x", f"http://HOST{API}?n=2&last=x"])
def test_page_by_page(registry: FakeRegistry, link: str) -> None:
    answer(registry, page(FOUND[:2], link.replace("HOST", registry.host)), page(FOUND[1:]))
    assert digests(ask(registry)) == [one.digest for one in FOUND]
    assert [(request.path, request.query) for request in registry.find()] == [(API, ""), (API, "n=2&last=x")]


@pytest.mark.parametrize(
    "action",
    [status(404), status(400), status(405), status(406), status(501), proxy_page(), error(404, "UNSUPPORTED", "no")],
    ids=["404", "400", "405", "406", "501", "a page", "unsupported"],
)
@pytest.mark.parametrize("is_there", [True, False])
def test_without_the_api_the_tag_says(registry: FakeRegistry, action: Any, is_there: bool) -> None:
    registry.faults.add(action, path="/referrers/")
    if is_there:
        registry.put_index(REPOSITORY, fallback_tag(SUBJECT), list(FOUND))
    assert digests(ask(registry)) == [one.digest for one in FOUND if is_there]


@pytest.mark.parametrize(
    ("pages", "kind", "message"),
    [
        ([page(FOUND, API), page(FOUND, API)], UnreachableError, "does not end after 2 pages"),
        ([page(FOUND, "http://elsewhere.example/next")], UnreachableError, "another host"),
        ([page(FOUND, "?2"), Response(404, b"", {})], UnreachableError, "after 1 page the registry said 404"),
        ([page(FOUND, "?2"), page(FOUND, media_type="text/html")], UnreachableError, "after 1 page"),
        ([Response(200, b"{", {"Content-Type": OCI_INDEX})], DocumentError, "not JSON"),
        ([Response(200, FOUND[0].manifest, {"Content-Type": OCI_INDEX})], DocumentError, "the referrers of"),
    ],
    ids=["a circle", "another host", "404", "a page of its own", "no JSON", "a manifest"],
)
def test_answers_that_cannot_be_used(
    registry: FakeRegistry, pages: list[Response], kind: type[ManifestctlError], message: str
) -> None:
    answer(registry, *pages)
    with pytest.raises(kind, match=message):
        ask(registry)


def test_a_list_that_is_too_large(registry: FakeRegistry) -> None:
    registry.faults.add(huge(mebibytes=5, headers={"Content-Type": OCI_INDEX}), path="/referrers/")
    with pytest.raises(DocumentError, match="the list is larger than 4194304 bytes"):
        ask(registry)


def test_what_passes_is_asked_again(registry: FakeRegistry) -> None:
    registry.faults.add(status(503), path="/referrers/", times=2)
    answer(registry, page(FOUND))
    assert len(ask(registry)) == len(FOUND)


@pytest.mark.parametrize(
    "action",
    [
        error(403, "DENIED", "User: x is not authorized to perform: ecr:BatchGetImage on resource: y"),
        error(401, "UNAUTHORIZED", "authentication required"),
        status(401),
        status(403),
        proxy_page(403),
        error(400, "DENIED", "Your Authorization Token is invalid."),
    ],
    ids=["403", "401", "bare 401", "bare 403", "a proxy", "400"],
)
@pytest.mark.parametrize("pages", [0, 1])
def test_a_denial_is_no_empty_list(registry: FakeRegistry, action: Any, pages: int) -> None:
    """Whatever is under the tag, nobody knows what the API would have named."""
    registry.put_index(REPOSITORY, fallback_tag(SUBJECT), list(FOUND))
    answer(registry, *[page(FOUND[:2], "?2")] * pages)
    registry.faults.add(action, path="/referrers/", times=FOREVER)
    with pytest.raises(
        DeniedError, match=rf"^listing the referrers of .*{SUBJECT} failed: the registry said 40"
    ) as caught:
        ask(registry)
    assert caught.value.hint
    assert registry.count("GET", "/manifests/") == 0


@pytest.mark.parametrize("action", [status(302), status(409), status(410)], ids=["302", "409", "410"])
def test_what_does_not_say_that_there_is_no_api_is_no_empty_list(registry: FakeRegistry, action: Any) -> None:
    registry.faults.add(action, path="/referrers/", times=FOREVER)
    with pytest.raises(ManifestctlError, match=f"listing the referrers of .*{SUBJECT} failed"):
        ask(registry)


def test_a_denial_of_the_tag_is_no_empty_list(registry: FakeRegistry) -> None:
    registry.faults.add(error(403, "DENIED", "no"), path="/manifests/", times=FOREVER)
    with pytest.raises(DeniedError):
        ask(registry)


def test_a_tag_that_is_no_list(registry: FakeRegistry) -> None:
    registry.put(REPOSITORY, fallback_tag(SUBJECT), FOUND[0])
    with pytest.raises(
        DocumentError, match=f"the referrers of {registry.host}/{REPOSITORY}@{SUBJECT}: it is not an index"
    ):
        ask(registry)


def test_a_damaged_tag(registry: FakeRegistry) -> None:
    registry.put_index(REPOSITORY, fallback_tag(SUBJECT), list(FOUND))
    registry.faults.add(wrong_bytes(), path="/manifests/", times=FOREVER)
    with pytest.raises(ManifestctlError):
        ask(registry)


def test_the_names_of_fallback_tags() -> None:
    assert fallback_tag(SUBJECT) == f"sha256-{SUBJECT.encoded}"
    long = Digest("sha512", "a" * 128)
    assert fallback_tag(long) == f"sha512-{'a' * 64}"


def test_in_a_layout(tmp_path: Path) -> None:
    images.write_layout(tmp_path, {fallback_tag(SUBJECT): images.index(list(FOUND))})
    with Stores.of_system(World().runtime) as stores:
        store = stores(parse_location(f"oci:{tmp_path}"))
        assert digests(tagged(store, SUBJECT)) == [one.digest for one in FOUND]
        assert tagged(store, Digest.of(b"another")) == []
