"""What Amazon's registries do differently, heeded by the stores: the fronts count what they would not have taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import ConflictError, DeniedError, MissingContentError, NotFoundError
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.stores.base import Blob, Content
from manifestctl.stores.registry import RegistryStore
from tests.support import images
from tests.support.ecr_scene import IMAGE, ONE, PUBLIC, EcrScene, at, ecr_scene, scene_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from manifestctl.stores.locate import Stores
    from tests.support.certificates import Certificates
    from tests.support.ecr_common import EcrFront

CONTENT = Content(IMAGE.manifest, IMAGE.media_type, Digest.of(IMAGE.manifest))
BLOB = Blob.of(b"x" * 200_000, "application/octet-stream")
hosts = pytest.mark.parametrize("host", [PUBLIC, ONE])


class Pieces:
    """Content that is produced on the way."""

    name = "a layer"

    def open(self) -> Iterator[bytes]:
        yield from [b"x" * 70_000] * 3

    def descriptor(self) -> Descriptor:
        return Blob.of(b"".join(self.open()), "application/octet-stream").descriptor


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return scene_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def scene(tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[EcrScene]:
    with ecr_scene(tmp_path, certificates, monkeypatch) as made:
        yield made


def front(scene: EcrScene, host: str) -> EcrFront:
    return scene.ecr.public if host == PUBLIC else scene.ecr.private


def opened(stores: Stores, host: str, name: str = "web") -> RegistryStore:
    store = stores(at(host, name), write=True)
    assert isinstance(store, RegistryStore)
    return store


@hosts
def test_images_are_put_no_faster_than_they_are_taken(scene: EcrScene, host: str) -> None:
    with scene.stores() as stores:
        for number in range(40):
            opened(stores, host).write_manifest(CONTENT, f"t{number}")
    assert front(scene, host).rate_violations == 0
    # After a burst of ten, eight a second.
    assert scene.world.runtime.monotonic() == pytest.approx(30 / 8, abs=0.01)


def test_blobs_are_completed_no_faster_than_they_are_taken(scene: EcrScene) -> None:
    with scene.stores() as stores:
        for number in range(40):
            opened(stores, PUBLIC).write_blob(Blob.of(b"%d" % number, "application/octet-stream"))
    assert scene.ecr.public.rate_violations == 0
    assert scene.world.runtime.monotonic() == pytest.approx(30 / 8, abs=0.01)


@hosts
def test_reads_are_not_paced(scene: EcrScene, host: str) -> None:
    with scene.stores() as stores:
        for _ in range(40):
            assert opened(stores, host).read_manifest("1").raw == IMAGE.manifest
    assert scene.world.slept == []


@hosts
def test_a_blob_goes_in_one_piece_or_one_stream(scene: EcrScene, host: str) -> None:
    with scene.stores() as stores:
        store = opened(stores, host)
        assert store.write_blob(BLOB)
        made = store.write_stream(Pieces())
        assert all(store.has(descriptor) for descriptor in (BLOB.descriptor, made))
        with store.open_blob(BLOB.descriptor) as chunks:
            assert b"".join(chunks) == b"x" * 200_000
    taking = front(scene, host)
    assert (taking.chunked_uploads, taking.open_uploads) == (0, 0)
    assert [request.method for request in taking.find("PATCH|PUT", "/blobs/uploads/")] == ["PUT", "PATCH", "PUT"]


def test_ecr_public_is_not_asked_to_mount(scene: EcrScene) -> None:
    with scene.stores() as stores:
        assert not opened(stores, PUBLIC, "api").mount(layer(), opened(stores, PUBLIC))
    assert scene.ecr.public.mounts_tried == 0


@pytest.mark.parametrize("switched_on", [True, False])
def test_ecr_mounts_what_a_manifest_names_where_the_account_lets_it(scene: EcrScene, switched_on: bool) -> None:
    scene.ecr.private.blob_mounting = switched_on
    with scene.stores() as stores:
        source, target = opened(stores, ONE), opened(stores, ONE, "api")
        assert target.mount(layer(), source) is switched_on
        source.write_blob(BLOB)
        assert not target.mount(BLOB.descriptor, source)
    assert scene.ecr.private.mounts_tried == 2


def layer() -> Descriptor:
    found = IMAGE.layers[0]
    return Descriptor("application/octet-stream", Digest.of(found), len(found))


@hosts
def test_lists_of_tags_are_read_page_by_page(scene: EcrScene, host: str) -> None:
    registry, name = (scene.ecr.registry, "acme/web") if host == PUBLIC else (scene.ecr.private_registry, "web")
    for number in range(1001):
        registry.put(name, f"t{number:04}", IMAGE)
    with scene.stores() as stores:
        assert len(opened(stores, host).tags()) == 1002
    assert front(scene, host).count("GET", "/tags/list") == 2


def test_what_head_does_not_tell_to_nobody_is_asked_by_get(scene: EcrScene) -> None:
    scene.be(scene.ecr.environment(source=None))
    with scene.stores() as stores:
        assert stores(at(PUBLIC)).has(layer())
    assert {request.status for request in scene.ecr.public.find("HEAD")} == {401}


@hosts
@pytest.mark.parametrize("lag", [3, 1000])
def test_a_repository_that_was_just_made_may_not_be_there_yet(scene: EcrScene, host: str, lag: int) -> None:
    aws, name = scene.ecr.aws, "made"
    made = aws.add_repository(name) if host == PUBLIC else aws.add_private_repository(name)
    made.by_api, front(scene, host).just_created_lag = True, lag
    with scene.stores() as stores:
        store = opened(stores, host, name)
        if lag == 3:
            assert store.write_blob(BLOB)
            return
        with pytest.raises(NotFoundError) as caught:
            store.write_manifest(CONTENT, "1")
    assert caught.value.repository_unknown
    assert sum(scene.world.slept) == pytest.approx(10.0)


@hosts
@pytest.mark.parametrize("code", [404, 400])
def test_children_that_are_not_there_are_named(scene: EcrScene, host: str, code: int) -> None:
    absent = images.image("linux/s390x")
    given = images.index([IMAGE, absent])
    front(scene, host).missing_status = code
    content = Content(given.manifest, given.media_type, Digest.of(given.manifest))
    with scene.stores() as stores, pytest.raises(MissingContentError) as caught:
        opened(stores, host).write_manifest(content, "both")
    assert caught.value.digests == {absent.digest}


@hosts
def test_quotas_that_the_registry_knows_of_are_said_once(scene: EcrScene, host: str) -> None:
    front(scene, host).tags_limit, front(scene, host).layer_limit = 1, 1000
    with scene.stores() as stores:
        store = opened(stores, host)
        store.write_manifest(CONTENT, "2")
        with pytest.raises(DeniedError, match="maximum allowed number of tags") as tags:
            store.write_manifest(CONTENT, "3")
        with pytest.raises(DeniedError, match="maximum allowed size of a layer") as layers:
            store.write_blob(BLOB)
    assert "quota of tags per image" in tags.value.hint
    assert "quota of layer size" in layers.value.hint
    assert scene.calls == ["GetAuthorizationToken"]


def test_an_immutable_tag_that_holds_something_else_is_a_conflict(scene: EcrScene) -> None:
    repository = scene.ecr.aws.private.find("web", "123456789012", "eu-west-1")
    assert repository is not None
    repository.mutability = "IMMUTABLE"
    with scene.stores() as stores:
        store = opened(stores, ONE)
        store.write_manifest(CONTENT, "new")
        other = images.image("linux/arm64")
        scene.ecr.private_registry.put("web", "other", other)
        with pytest.raises(ConflictError, match="immutable"):
            store.write_manifest(Content(other.manifest, other.media_type, Digest.of(other.manifest)), "new")
