"""Moving blobs and manifests: mounts that work, fail and lie, streams that hold nothing whole, foreign layers, depth."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import DeniedError, DocumentError, IntegrityError, MissingContentError
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved, Noted, Warned
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.model.media_types import OCI_LAYER_GZIP
from manifestctl.model.published import Published
from manifestctl.parallel import Pool
from manifestctl.stores.base import Content
from manifestctl.stores.locate import Stores
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.copy import CopyRequest, copy
from manifestctl.verbs.publish import CHILDREN_DEADLINE
from manifestctl.verbs.push import push
from manifestctl.verbs.push_request import PushRequest
from manifestctl.verbs.transfer import Moved, Transfer
from tests.support import images
from tests.support.actions import error, false_created, status, unauthorized
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.http_message import Request
from tests.support.pushing import basic_authorization
from tests.support.world import World
from tests.verbs.copying import SOURCE, TARGET, copied, done, holds, hows, writes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifestctl.stores.base import Blob
    from tests.support.faults import Exchange
    from tests.support.http_message import Response

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
MANY = images.image("linux/amd64", layers=24)


@contextmanager
def transfer(registry: FakeRegistry, world: World, **more: Any) -> Iterator[Transfer]:
    """Give a way from one repository to the other."""
    with Stores.of_system(world.runtime) as stores, Pool(4, world.cancel) as pool:
        source = stores(parse_location(registry.reference(SOURCE)))
        target = stores(parse_location(registry.reference(TARGET)), write=True)
        yield Transfer(source, target, pool, world.runtime, **more)


def descriptor(image: images.Content) -> Descriptor:
    return Descriptor.from_json(image.descriptor(), "a test", "")


# Mounting.


@pytest.mark.parametrize(
    "answer",
    [
        status(202, headers={"Location": "/v2/somewhere/else"}),
        status(400),
        unauthorized(None),
        error(403, "DENIED", "no"),
        status(404),
        status(405),
        status(503),
    ],
    ids=["202", "400", "401", "403", "404", "405", "503"],
)
@pytest.mark.parametrize("concurrency", [1, 16])
def test_what_cannot_be_mounted_is_streamed(registry: FakeRegistry, answer: Any, concurrency: int) -> None:
    registry.put(SOURCE, "1", MANY)
    registry.strict_children = True
    registry.faults.add(
        answer,
        method="POST",
        path="/blobs/uploads/",
        times=FOREVER,
        when=lambda request: bool(request.parameter("mount")),
    )
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET), concurrency=concurrency)
    assert done(result) == MANY.digest
    assert hows(result.moved) == {"sent": len(MANY.blobs)}
    assert holds(registry, TARGET, MANY)


def mounts(registry: FakeRegistry) -> int:
    """Count how often a mount was asked for."""
    return len([request for request in registry.find("POST") if request.parameters])


@pytest.mark.parametrize("answer", [error(403, "DENIED", "no"), status(405)], ids=["403", "405"])
@pytest.mark.parametrize("concurrency", [1, 16])
def test_a_refused_mount_is_asked_for_once(registry: FakeRegistry, answer: Any, concurrency: int) -> None:
    registry.put(SOURCE, "1", MANY)
    registry.faults.add(answer, method="POST", times=FOREVER, when=lambda request: bool(request.parameter("mount")))
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET), concurrency=concurrency)
    assert done(result) == MANY.digest
    assert hows(result.moved) == {"sent": len(MANY.blobs)}
    assert mounts(registry) == 1
    assert registry.count("POST") == 1 + len(MANY.blobs)


def test_a_mount_that_fails_in_passing_stops_no_other(registry: FakeRegistry) -> None:
    registry.put(SOURCE, "1", MANY)
    registry.faults.add(status(503), method="POST", when=lambda request: bool(request.parameter("mount")))
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))
    assert done(result) == MANY.digest
    assert hows(result.moved) == {"mounted": len(MANY.blobs) - 1, "sent": 1}


def test_a_session_that_is_opened_instead_of_a_mount_is_used(registry: FakeRegistry) -> None:
    def session(exchange: Exchange) -> Response:
        head = dataclasses.replace(exchange.request.recorded, query="")
        return exchange.server.answer(Request(head, io.BytesIO(), io.BytesIO()))

    registry.put(SOURCE, "1", MANY)
    registry.faults.add(session, method="POST", times=FOREVER, when=lambda request: bool(request.parameter("mount")))
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))
    assert done(result) == MANY.digest
    assert hows(result.moved) == {"sent": len(MANY.blobs)}
    assert holds(registry, TARGET, MANY)
    # One session for each blob, and each of them ended by its PUT.
    assert mounts(registry) == registry.count("POST") == registry.count("PUT", "/blobs/uploads/") == len(MANY.blobs)


def test_a_token_that_is_too_narrow_to_mount_is_enough_to_upload() -> None:
    auth = BearerAuth(users={"ci": "secret"}, permissions={SOURCE: ["pull"], TARGET: ["pull", "push"]})
    with FakeRegistry(auth=auth) as registry:
        image = images.image("linux/amd64", layers=3)
        registry.put(SOURCE, "1", image)
        challenge = f'Bearer realm="{registry.url}/token",service="fake",scope="repository:{SOURCE}:pull"'
        registry.faults.add(
            unauthorized(challenge + ',error="insufficient_scope"'),
            method="POST",
            times=FOREVER,
            when=lambda request: bool(request.parameter("mount")),
        )
        authorization = basic_authorization("ci", "secret").removeprefix("Basic ")
        world = World({"DOCKER_AUTH_CONFIG": f'{{"auths":{{"{registry.host}":{{"auth":"{authorization}"}}}}}}'})
        result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET), world=world)
        assert done(result) == image.digest
        assert hows(result.moved) == {"sent": len(image.blobs)}


def test_a_mount_that_is_a_lie_is_found_out(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64", layers=2)
    registry.put(SOURCE, "1", image)
    registry.strict_children = True
    layer = images.digest_of(image.layers[0])
    registry.faults.add(
        false_created(), method="POST", path="/blobs/uploads/", when=lambda request: request.parameter("mount") == layer
    )
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))
    assert done(result) == image.digest
    assert hows(result.moved) == {"mounted": 2, "sent": 1}
    assert holds(registry, TARGET, image)


def test_a_mount_costs_two_requests(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64", layers=5)
    registry.put(SOURCE, "1", image)
    done(copied(registry.reference(SOURCE, "1"), registry.reference(TARGET)))
    # The tag before and after, the source, its PUT; and POST and HEAD for each blob.
    assert len(registry.find()) == 4 + 2 * len(image.blobs)


def test_between_registries_nothing_is_mounted(registry: FakeRegistry, tmp_path: Path) -> None:
    image = images.image("linux/amd64")
    images.write_layout(tmp_path, {"1": image})
    done(copied(f"oci:{tmp_path}:1", registry.reference(TARGET)))
    assert all("mount" not in dict(request.parameters) for request in registry.find("POST"))
    # HEAD, POST and PUT for each blob.
    assert len(registry.find()) == 3 + 3 * len(image.blobs)


# Streams.


class _Source:
    """A store of one blob of any size, which is made while it is read; it remembers how far it is ahead of its reader."""

    name = "a source"

    def __init__(self, pieces: int, piece: bytes) -> None:
        self.pieces, self.piece = pieces, piece
        self.given = 0
        hasher = hashlib.sha256()
        for _ in range(pieces):
            hasher.update(piece)
        self.descriptor = Descriptor(OCI_LAYER_GZIP, Digest("sha256", hasher.hexdigest()), pieces * len(piece))

    @contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        assert descriptor == self.descriptor
        yield self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        for _ in range(self.pieces):
            self.given += 1
            yield self.piece


class _Target:
    """A store that reads what it is given piece by piece, twice, and keeps nothing."""

    name = "a target"

    def __init__(self, source: _Source) -> None:
        self.source = source
        self.most_ahead = self.read = 0

    def write_blob(self, blob: Blob) -> bool:
        for _ in range(2):
            self.source.given = self.read = 0
            for chunk in blob.open():
                self.read += 1
                self.most_ahead = max(self.most_ahead, self.source.given - self.read)
                assert len(chunk) == len(self.source.piece)
        return True


def test_a_layer_is_never_held_whole_and_can_be_sent_again() -> None:
    source: Any = _Source(1000, bytes(64))
    target: Any = _Target(source)
    world = World()
    with Pool(1, world.cancel) as pool:
        assert Transfer(source, target, pool, world.runtime).blob(source.descriptor) == "sent"
    assert (target.read, target.most_ahead) == (1000, 0)
    name, size = source.descriptor.digest.short, source.descriptor.size
    assert world.events[0] == BlobStarted(name, size)
    assert world.events[-1] == BlobMoved(name, size, "sent")
    assert sum(event.count for event in world.heard(BytesMoved)) == 2 * size


def test_what_was_read_already_is_not_read_again(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    registry.put(SOURCE, None, image, blobs=False)
    registry.put_blob(SOURCE, image.layers[0])
    registry.faults.add(status(405), method="POST", path="mount", times=FOREVER)
    world = World()
    content = Content.of(image.manifest, image.media_type)
    with transfer(
        registry, world, known={content.digest: content}, small={Digest.of(image.config): image.config}
    ) as way:
        way.entries([descriptor(image)])
    assert holds(registry, TARGET, image)
    assert registry.count("GET", f"{SOURCE}/manifests/") == 0
    assert registry.count("GET", f"{SOURCE}/blobs/{image.config_digest}") == 0


def test_the_largest_begin_first(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64", layers=3)
    sizes = [1, 3000, 200]
    blobs = [bytes(size) for size in sizes]
    layers = [images.descriptor(blob, OCI_LAYER_GZIP) for blob in blobs]
    image = images.image("linux/amd64", manifest={"layers": layers})
    registry.put(SOURCE, "1", image)
    for blob in blobs:
        registry.put_blob(SOURCE, blob)
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET), concurrency=1)
    done(result)
    mounts = [dict(request.parameters)["mount"] for request in registry.find("POST")]
    assert mounts == [images.digest_of(blob) for blob in sorted([*blobs, image.config], key=lambda blob: -len(blob))]


# Foreign layers.


def foreign(blob: bytes = b"a layer of Windows") -> images.Image:
    entry = images.descriptor(blob, FOREIGN, urls=["https://example.com/layer"])
    return images.image("windows/amd64:10.0.20348.1", docker=True, manifest={"layers": [entry]})


@pytest.mark.parametrize("is_there", [True, False])
def test_foreign_layers_are_copied_if_the_source_has_them(registry: FakeRegistry, is_there: bool) -> None:
    blob = b"a layer of Windows"
    registry.put(SOURCE, "1", foreign(blob))
    if is_there:
        registry.put_blob(SOURCE, blob)
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))
    assert done(result) == foreign(blob).digest
    assert (images.digest_of(blob) in registry.repository(TARGET).blobs) == is_there
    assert (Digest.of(blob) in result.moved.blobs) == is_there


def test_any_other_layer_must_be_there(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64", layers=2)
    registry.put(SOURCE, "1", image)
    del registry.repository(SOURCE).blobs[images.digest_of(image.layers[1])]
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))
    assert (result.exit_code, result.published) == (3, Published.NO)
    assert image.layers[1] not in registry.repository(TARGET).blobs.values()


def test_a_layer_of_another_size_than_its_manifest_says(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    entry = images.descriptor(image.layers[0], OCI_LAYER_GZIP) | {"size": 3}
    false = images.image("linux/amd64", manifest={"layers": [entry]})
    registry.put(SOURCE, "1", false)
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))
    assert isinstance(result.error, IntegrityError)


# What fails.


@pytest.mark.parametrize(
    ("answer", "code", "posts"),
    [
        (error(403, "DENIED", "no push for you"), 4, 4),
        (error(400, "LIMIT", "quota exceeded"), 4, 4),
        (status(503), 5, 20),
    ],
    ids=["403", "quota", "503"],
)
def test_after_a_refused_upload_no_other_begins(
    registry: FakeRegistry, tmp_path: Path, answer: Any, code: int, posts: int
) -> None:
    images.write_layout(tmp_path, {"1": MANY})
    registry.faults.add(answer, method="POST", times=FOREVER)
    settings = TransportSettings(concurrency=4)
    result = copied(f"oci:{tmp_path}:1", registry.reference(TARGET), settings=settings, concurrency=4)
    assert (result.exit_code, result.published) == (code, Published.NO)
    # Only what was under way: a thread, an upload; with five tries of each where trying again may help.
    assert 1 <= registry.count("HEAD", "/blobs/") <= 4
    assert 1 <= registry.count("POST") <= posts
    registry.faults.clear()
    assert done(copied(f"oci:{tmp_path}:1", registry.reference(TARGET))) == MANY.digest


def test_after_a_source_that_is_gone_no_other_upload_begins(registry: FakeRegistry) -> None:
    registry.put(SOURCE, "1", MANY)
    with FakeRegistry() as elsewhere:
        registry.faults.add(error(403, "DENIED", "no"), method="GET", path="/blobs/", times=FOREVER)
        result = copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET), concurrency=4)
        assert isinstance(result.error, DeniedError)
        assert elsewhere.count("POST") <= 4


TWINS = images.index([images.image(name) for name in ("linux/amd64", "linux/arm64")])
UNSEEN = error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")


@pytest.mark.parametrize("times", [1, 3])
def test_a_registry_that_does_not_see_its_own_blobs_yet_is_waited_for(registry: FakeRegistry, times: int) -> None:
    registry.put(SOURCE, "1", TWINS)
    child = TWINS.children[1].digest
    registry.faults.add(UNSEEN, method="PUT", path=f"/manifests/{child}", times=times)
    world = World()
    assert done(copied(registry.reference(SOURCE, "1"), registry.reference(TARGET), world=world)) == TWINS.digest
    assert holds(registry, TARGET, TWINS)
    assert registry.count("PUT", f"/manifests/{child}") == times + 1
    assert len(world.slept) == times
    told = [event.message for event in world.heard(Noted)]
    where = f"{registry.reference(TARGET)}@{child}"
    assert told == [f"{where} is refused: the registry does not see all of its content yet; asking again"] * times


def test_a_registry_that_never_sees_its_blobs_is_waited_for_once(registry: FakeRegistry) -> None:
    registry.put(SOURCE, "1", TWINS)
    registry.faults.add(UNSEEN, method="PUT", path="/manifests/sha256:", times=FOREVER)
    world = World()
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET), world=world, concurrency=1)
    assert isinstance(result.error, MissingContentError)
    assert (result.exit_code, result.published, registry.tags(TARGET)) == (1, Published.NO, {})
    assert sum(world.slept) == pytest.approx(CHILDREN_DEADLINE)
    assert registry.count("PUT", f"/manifests/{TWINS.children[1].digest}") == 0


# What is there, but not whole.

SHARED = images.buildx_index([images.image(name, layers=3) for name in ("linux/amd64", "linux/arm64")])
ALONE = images.image("linux/amd64", layers=3)


def gaps(world: World) -> list[str]:
    """Return what was said of things that were there without all that they name."""
    return [event.message for event in world.heard(Warned) if "not all that it names" in event.message]


def lose(registry: FakeRegistry, *lost: str) -> None:
    """Delete manifests and blobs of the target by their digests, as a registry's clean-up does."""
    held = registry.repository(TARGET)
    for digest in lost:
        assert held.manifests.pop(digest, None) or held.blobs.pop(digest, None)


def first_layer(image: images.Content) -> str:
    assert isinstance(image, images.Image)
    return images.digest_of(image.layers[0])


@pytest.fixture
def elsewhere() -> Iterator[FakeRegistry]:
    with FakeRegistry(strict_children=True) as server:
        yield server


@pytest.mark.parametrize("tag", ["1", "another"])
@pytest.mark.parametrize("at_home", [True, False], ids=["one registry", "two registries"])
def test_a_layer_that_a_list_in_the_target_has_lost_is_brought_again(
    registry: FakeRegistry, elsewhere: FakeRegistry, at_home: bool, tag: str
) -> None:
    registry.put(SOURCE, "1", SHARED)
    mirror = registry if at_home else elsewhere
    done(copied(registry.reference(SOURCE, "1"), mirror.reference(TARGET)))
    before = len(writes(mirror))
    lose(mirror, first_layer(SHARED.children[1]))
    world = World()
    result = copied(registry.reference(SOURCE, "1"), mirror.reference(TARGET, tag), world=world)
    assert done(result) == SHARED.digest
    assert holds(mirror, TARGET, SHARED)
    blobs = {digest for part in images.walk(SHARED) for digest in part.blobs}
    assert hows(result.moved) == {"exists": len(blobs) - 1, ("mounted" if at_home else "sent"): 1}
    # No manifest is written again, and of blobs only the one that is missing.
    manifests = [request for request in writes(mirror)[before:] if "/manifests/" in request]
    assert manifests == ([] if tag == "1" else [f"PUT {TARGET}/manifests/{tag}"])
    assert len(writes(mirror)) == before + len(manifests) + (1 if at_home else 2)
    name = f"{mirror.reference(TARGET)}@{SHARED.digest}"
    said = [f"{name} was there, but not all that it names: 1 blob had to be brought again"]
    assert gaps(world) == (said if tag == "1" else [])


@pytest.mark.parametrize("named", ["1", SHARED.digest], ids=["by tag", "by digest"])
def test_images_that_a_list_in_the_target_has_lost_are_brought_again(
    registry: FakeRegistry, elsewhere: FakeRegistry, named: str
) -> None:
    registry.put(SOURCE, "1", SHARED)
    source = registry.reference(SOURCE, named)
    done(copied(source, elsewhere.reference(TARGET)))
    lost = [SHARED.children[0].digest, first_layer(SHARED.children[0]), SHARED.children[3].digest]
    lose(elsewhere, *lost)
    world = World()
    result = copied(source, elsewhere.reference(TARGET), world=world)
    assert (done(result), result.published) == (SHARED.digest, Published.YES)
    assert holds(elsewhere, TARGET, SHARED)
    assert {str(digest) for digest in result.moved.manifests} == {lost[0], lost[2]}
    [said] = gaps(world)
    assert said.endswith(": 2 manifests, 1 blob had to be brought again")
    again = copied(source, elsewhere.reference(TARGET), world=(world := World()))
    assert (again.status, again.moved.manifests, set(hows(again.moved)), gaps(world)) == (
        "unchanged",
        [],
        {"exists"},
        [],
    )


@pytest.mark.parametrize("named", ["1", ALONE.digest], ids=["by tag", "by digest"])
def test_a_layer_that_an_image_in_the_target_has_lost_is_brought_again(
    registry: FakeRegistry, elsewhere: FakeRegistry, named: str
) -> None:
    registry.put(SOURCE, "1", ALONE)
    source = registry.reference(SOURCE, named)
    done(copied(source, elsewhere.reference(TARGET)))
    lose(elsewhere, first_layer(ALONE))
    world = World()
    result = copied(source, elsewhere.reference(TARGET), world=world)
    assert (done(result), hows(result.moved)) == (ALONE.digest, {"exists": len(ALONE.blobs) - 1, "sent": 1})
    assert holds(elsewhere, TARGET, ALONE)
    assert len(gaps(world)) == 1


def test_what_is_lost_in_both_places_is_an_error(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    registry.put(SOURCE, "1", SHARED)
    done(copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET)))
    layer = first_layer(SHARED.children[0])
    lose(elsewhere, layer)
    del registry.repository(SOURCE).blobs[layer]
    result = copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET))
    assert (result.exit_code, result.status) == (3, "failed")
    assert layer in str(result.error)


def test_a_blob_of_the_target_of_another_size_is_found(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    registry.put(SOURCE, "1", SHARED)
    done(copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET)))
    elsewhere.put_blob(TARGET, b"cut", first_layer(SHARED.children[0]))
    result = copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET))
    assert isinstance(result.error, IntegrityError)
    assert TARGET in result.error.message


def test_that_everything_is_there_costs_a_request_each(registry: FakeRegistry, elsewhere: FakeRegistry) -> None:
    registry.put(SOURCE, "1", SHARED)
    done(copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET)))
    registry.reset()
    elsewhere.reset()
    world = World()
    done(copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET), world=world))
    blobs = {digest for part in images.walk(SHARED) for digest in part.blobs}
    # The list from the source; the tag, each manifest and each blob of the target.
    assert (len(registry.find()), len(elsewhere.find())) == (1, 1 + len(SHARED.children) + len(blobs))
    assert elsewhere.count("HEAD", "/blobs/") == len(blobs)
    assert world.heard(BlobMoved) == []


@pytest.mark.parametrize("lost", [False, True])
def test_a_foreign_layer_of_the_target(registry: FakeRegistry, elsewhere: FakeRegistry, lost: bool) -> None:
    blob = b"a layer of Windows"
    registry.put(SOURCE, "1", images.index([foreign(blob)]))
    registry.put_blob(SOURCE, blob)
    done(copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET)))
    if lost:
        lose(elsewhere, images.digest_of(blob))
        del registry.repository(SOURCE).blobs[images.digest_of(blob)]
    result = copied(registry.reference(SOURCE, "1"), elsewhere.reference(TARGET))
    assert done(result)
    assert result.moved.blobs.get(Digest.of(blob)) == (None if lost else "exists")


def test_a_layer_that_a_pushed_list_has_lost_is_sent_under_another_tag(registry: FakeRegistry, tmp_path: Path) -> None:
    images.write_layout(tmp_path, {"1": SHARED})
    for tag in ("1", "2"):
        world, target = World(), parse_location(registry.reference(TARGET, tag))
        with Stores.of_system(world.runtime) as stores:
            request = PushRequest(parse_location(f"oci:{tmp_path}:1"), target, everything=True)
            assert push(request, stores, world.runtime).error is None
        assert holds(registry, TARGET, SHARED)
        lose(registry, first_layer(SHARED.children[0]))


# Lists.


def nested(levels: int) -> images.Content:
    made: images.Content = images.image("linux/amd64")
    for level in range(levels):
        made = images.index([made], annotations={"level": str(level)})
    return made


@pytest.mark.parametrize("levels", [2, 3])
def test_lists_in_lists_are_copied_whole(registry: FakeRegistry, levels: int) -> None:
    registry.put(SOURCE, "1", nested(levels))
    registry.strict_children = True
    assert done(copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))) == nested(levels).digest
    assert holds(registry, TARGET, nested(levels))


def test_lists_that_are_nested_too_deep(registry: FakeRegistry) -> None:
    registry.put(SOURCE, "1", nested(5))
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))
    assert isinstance(result.error, DocumentError)
    assert (result.error.rule, result.exit_code) == ("list-too-deep", 1)
    assert registry.count("PUT") == 0


def test_what_stands_in_a_list_twice_is_read_once(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    twice = images.index([image, image.descriptor(annotations={"again": "yes"})])
    registry.put(SOURCE, "1", twice)
    assert done(copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))) == twice.digest
    assert registry.count("GET", f"{SOURCE}/manifests/{image.digest}") == 1
    assert registry.count("PUT", f"{TARGET}/manifests/{image.digest}") == 1


def test_layers_that_images_share_are_sent_once(registry: FakeRegistry) -> None:
    base = images.image("linux/amd64")
    same = [
        images.image(name, manifest={"layers": [images.descriptor(base.layers[0], OCI_LAYER_GZIP)]})
        for name in ("linux/arm64", "linux/s390x")
    ]
    registry.put(SOURCE, "1", images.index([base, *same]))
    done(copied(registry.reference(SOURCE, "1"), registry.reference(TARGET)))
    shared = images.digest_of(base.layers[0])
    mounts = [dict(request.parameters)["mount"] for request in registry.find("POST")]
    assert mounts.count(shared) == 1


def test_what_a_run_wrote_it_does_not_look_for_again(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    registry.put(SOURCE, "1", image)
    moved = Moved()
    with transfer(registry, World(), moved=moved) as way:
        way.entries([descriptor(image)])
        before = len(registry.find())
        way.entries([descriptor(image)])
        assert len(registry.find()) == before
    assert moved.manifests == [Digest.parse(image.digest)]


def test_a_manifest_of_the_target_that_is_damaged_is_found(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    registry.put(SOURCE, "1", images.index([image]))
    registry.put_raw_manifest(TARGET, image.digest, b"{}", image.media_type)
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))
    assert isinstance(result.error, IntegrityError)
    assert TARGET in result.error.message


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_are_under_way_than_allowed(registry: FakeRegistry, concurrency: int) -> None:
    registry.put(SOURCE, "1", MANY)
    settings = TransportSettings(concurrency=concurrency)
    world = World()
    with Stores.of_system(world.runtime, settings) as stores:
        request = CopyRequest(
            parse_location(registry.reference(SOURCE, "1")),
            parse_location(registry.reference(TARGET)),
            concurrency=concurrency,
        )
        assert copy(request, stores, world.runtime).error is None
    assert registry.used_connections <= concurrency + 1
