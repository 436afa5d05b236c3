"""Moving blobs and manifests: mounts that work, fail and lie, streams that hold nothing whole, foreign layers, depth."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import DocumentError, IntegrityError
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.model.media_types import OCI_LAYER_GZIP
from manifestctl.parallel import Pool
from manifestctl.stores.base import Content
from manifestctl.stores.locate import Stores
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.copy import CopyRequest, copy
from manifestctl.verbs.transfer import Moved, Transfer
from tests.support import images
from tests.support.actions import error, false_created, status, unauthorized
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.pushing import basic_authorization
from tests.support.world import World
from tests.verbs.copying import SOURCE, TARGET, copied, done, holds, hows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifestctl.stores.base import Blob

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
MANY = images.image("linux/amd64", layers=24)


@contextmanager
def transfer(registry: FakeRegistry, world: World, **more: Any) -> Iterator[Transfer]:
    """Give a way from one repository to the other."""
    with Stores.of_system(world.runtime) as stores, Pool(4, world.cancel) as pool:
        source = stores(parse_location(registry.reference(SOURCE)))
        target = stores(parse_location(registry.reference(TARGET)), write=True)
        yield Transfer(source, target, pool, world.runtime.observe, **more)


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
        assert Transfer(source, target, pool, world.runtime.observe).blob(source.descriptor) == "sent"
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
    assert (result.exit_code, result.published) == (3, "false")
    assert image.layers[1] not in registry.repository(TARGET).blobs.values()


def test_a_layer_of_another_size_than_its_manifest_says(registry: FakeRegistry) -> None:
    image = images.image("linux/amd64")
    entry = images.descriptor(image.layers[0], OCI_LAYER_GZIP) | {"size": 3}
    false = images.image("linux/amd64", manifest={"layers": [entry]})
    registry.put(SOURCE, "1", false)
    result = copied(registry.reference(SOURCE, "1"), registry.reference(TARGET))
    assert isinstance(result.error, IntegrityError)


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
