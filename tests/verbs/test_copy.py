"""`copy` as a whole: tags and their guards, narrowing, reruns, what is sent and in which order, and what fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    DocumentError,
    InputError,
    IntegrityError,
    ManifestctlError,
    NotFoundError,
    PartialError,
    UnreachableError,
)
from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.model.media_types import OCI_INDEX, OCI_MANIFEST
from manifestctl.model.published import Published
from manifestctl.verbs.copy import Copied, CopyRequest
from manifestctl.verbs.publish import Guard
from tests.support import images
from tests.support.actions import content_type, error, false_created, status, wrong_bytes
from tests.support.archives import oci_archive, write_archive
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.pushing import basic_authorization
from tests.support.world import World
from tests.verbs.copying import SOURCE, TARGET, copied, done, holds, hows, layout_tags, writes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLATFORMS = ("linux/amd64", "linux/arm64")
LIST = images.buildx_index([images.image(name, layers=2) for name in PLATFORMS])
IMAGE = images.image("linux/amd64", layers=3)
OTHER = images.image("linux/riscv64", seed="other")
SHA = "sha256:" + "0" * 64


@pytest.fixture
def source(registry: FakeRegistry) -> FakeRegistry:
    registry.put(SOURCE, "1.4", LIST)
    registry.put(SOURCE, "image", IMAGE)
    return registry


@pytest.fixture
def elsewhere() -> Iterator[FakeRegistry]:
    with FakeRegistry(strict_children=True) as server:
        yield server


def to(registry: FakeRegistry, tag: str | None = None) -> str:
    return registry.reference(TARGET, tag)


# What is there afterwards.


@pytest.mark.parametrize(("tag", "content"), [("1.4", LIST), ("image", IMAGE)])
def test_across_registries_everything_is_streamed(
    source: FakeRegistry, elsewhere: FakeRegistry, tag: str, content: images.Content
) -> None:
    result = copied(source.reference(SOURCE, tag), to(elsewhere, "1"))
    assert (done(result), result.status, result.published) == (content.digest, "created", Published.YES)
    assert elsewhere.tags(TARGET) == {"1": content.digest}
    assert holds(elsewhere, TARGET, content)
    blobs = {digest for part in images.walk(content) for digest in part.blobs}
    assert hows(result.moved) == {"sent": len(blobs)}
    assert {str(digest) for digest in result.moved.manifests} == {
        part.digest for part in images.walk(content) if part.digest != content.digest
    }
    assert writes(source) == []


def test_within_a_registry_blobs_are_mounted(source: FakeRegistry) -> None:
    source.strict_children = True
    result = copied(source.reference(SOURCE, "1.4"), to(source))
    assert done(result) == LIST.digest
    assert holds(source, TARGET, LIST)
    assert set(hows(result.moved)) == {"mounted"}
    assert source.count("GET", "/blobs/") == 0
    mounts = source.find("POST", "/blobs/uploads/")
    assert len(mounts) == len(result.moved.blobs)
    assert all((dict(mount.parameters)["from"], mount.status) == (SOURCE, 201) for mount in mounts)


def test_children_come_before_their_list_and_nothing_comes_twice(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    done(copied(source.reference(SOURCE, "1.4"), to(elsewhere), tags=("2", "latest", "3")))
    references = [reference for _, reference in elsewhere.manifest_puts]
    assert sorted(references[:4]) == sorted(child.digest for child in LIST.children)
    assert references[4:] == ["1.4", "2", "3", "latest"]
    reads = [request.path for request in source.find("GET")]
    assert len(reads) == len(set(reads))
    uploads = [dict(request.parameters)["digest"] for request in elsewhere.find("PUT", "/blobs/uploads/")]
    assert len(uploads) == len(set(uploads))


def test_a_rerun_sends_nothing(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    options: dict[str, Any] = {"tags": ("2",), "referrers": True}
    done(copied(source.reference(SOURCE, "1.4"), to(elsewhere), **options))
    before = len(writes(elsewhere))
    elsewhere.immutable_tags = True
    result = copied(source.reference(SOURCE, "1.4"), to(elsewhere), **options)
    assert (done(result), result.status, result.published) == (LIST.digest, "unchanged", Published.YES)
    assert len(writes(elsewhere)) == before
    assert (result.moved.manifests, set(hows(result.moved))) == ([], {"exists"})


def test_a_further_tag_moves_no_content(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    done(copied(source.reference(SOURCE, "1.4"), to(elsewhere)))
    before = len(writes(elsewhere))
    result = copied(source.reference(SOURCE, "1.4"), to(elsewhere), tags=("5",))
    assert (done(result), result.status) == (LIST.digest, "updated")
    assert writes(elsewhere)[before:] == [f"PUT {TARGET}/manifests/5"]


def test_what_a_killed_copy_left_is_not_sent_again(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    amd64, arm64, *_ = LIST.children
    elsewhere.put(TARGET, None, amd64)
    elsewhere.put_blob(TARGET, arm64.layers[0] if isinstance(arm64, images.Image) else b"")
    result = copied(source.reference(SOURCE, "1.4"), to(elsewhere))
    assert done(result) == LIST.digest
    assert holds(elsewhere, TARGET, LIST)
    assert hows(result.moved)["exists"] == 1 + len(amd64.blobs)
    assert Digest.parse(amd64.digest) not in result.moved.manifests
    uploads = {dict(request.parameters)["digest"] for request in elsewhere.find("PUT", "/blobs/uploads/")}
    assert uploads.isdisjoint(amd64.blobs)
    # Neither is it read again.
    assert source.count("GET", f"/manifests/{amd64.digest}") == 0


def test_a_copy_that_failed_is_finished_by_running_it_again(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    elsewhere.faults.add(status(403), method="PUT", path=f"/manifests/{LIST.children[-1].digest}")
    first = copied(source.reference(SOURCE, "1.4"), to(elsewhere))
    assert isinstance(first.error, DeniedError)
    assert (first.exit_code, first.status, first.published, elsewhere.tags(TARGET)) == (4, "failed", Published.NO, {})
    again = copied(source.reference(SOURCE, "1.4"), to(elsewhere))
    assert done(again) == LIST.digest
    assert set(hows(again.moved)) == {"exists"}
    assert again.moved.manifests == [Digest.parse(LIST.children[-1].digest)]


# Tags.

NAMED = [
    ("r.example/a/b:1", "r.example/c:2", "2"),
    ("r.example/a/b:1", "r.example/c", "1"),
    ("r.example/a/b", "r.example/c", "latest"),
    (f"r.example/a/b:1@{SHA}", "r.example/c", "1"),
    (f"r.example/a/b@{SHA}", "r.example/c", None),
    (f"r.example/a/b@{SHA}", "r.example/c:7", "7"),
    ("oci:dir:1", "r.example/c", "1"),
    ("oci:dir", "oci:other", "latest"),
    ("oci-archive:web.tar:web:1.4", "r.example/c", "1.4"),
    ("oci-archive:web.tar:reg.example:5000/web:1.4", "r.example/c", "1.4"),
    ("oci-archive:web.tar:reg.example:5000/web", "r.example/c", "latest"),
    ("oci-archive:web.tar:web", "r.example/c", "web"),
    (f"oci-archive:web.tar:{SHA}", "r.example/c", "latest"),
    ("oci-archive:web.tar", "r.example/c", "latest"),
    ("oci-archive:web.tar:1.4", "r.example/c", "1.4"),
    ("oci-archive:web.tar:a/web", "r.example/c", "latest"),
]


@pytest.mark.parametrize(("source_name", "target", "tag"), NAMED)
def test_a_target_without_a_tag_takes_the_sources(source_name: str, target: str, tag: str | None) -> None:
    assert CopyRequest(parse_location(source_name), parse_location(target)).tag == tag


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        (f"r.example/c@{SHA}", {}, "is a tag, not a digest"),
        ("r.example/c", {"tags": ("no tag",)}, "'no tag' is not a tag"),
        ("r.example/c", {"guard": Guard(no_overwrite=True, expect=Digest.parse(SHA))}, "both given"),
        ("r.example/c", {"guard": Guard(expect=Digest.parse(SHA))}, "--expect is about the target's own tag"),
    ],
)
def test_what_makes_no_sense_is_refused(target: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CopyRequest(parse_location(f"r.example/a@{SHA}"), parse_location(target), **options)


def test_by_digest_alone(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    name = source.reference(SOURCE, LIST.digest)
    result = copied(name, to(elsewhere))
    assert (done(result), result.status, result.published) == (LIST.digest, "created", Published.YES)
    assert holds(elsewhere, TARGET, LIST)
    assert elsewhere.tags(TARGET) == {}
    before = len(writes(elsewhere))
    again = copied(name, to(elsewhere))
    assert (done(again), again.status, again.published) == (LIST.digest, "unchanged", Published.YES)
    assert len(writes(elsewhere)) == before


def test_by_digest_alone_it_is_read_back(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    elsewhere.faults.add(false_created(), method="PUT", path=f"/manifests/{IMAGE.digest}")
    result = copied(source.reference(SOURCE, IMAGE.digest), to(elsewhere))
    assert isinstance(result.error, UnreachableError)
    assert (result.status, result.published) == ("failed", Published.NO)


def test_by_digest_alone_what_is_denied_is_not_there(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    elsewhere.faults.add(error(403, "DENIED", "no"), method="PUT", path=f"/manifests/{IMAGE.digest}")
    result = copied(source.reference(SOURCE, IMAGE.digest), to(elsewhere))
    assert (result.exit_code, result.status, result.published) == (4, "failed", Published.NO)


def test_by_digest_alone_an_answer_that_is_lost_for_good(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    def last_word(exchange: Any) -> Any:
        exchange.serve()
        elsewhere.faults.add(status(503), times=FOREVER)
        return status(500)(exchange)

    elsewhere.faults.add(last_word, method="PUT", path=f"/manifests/{IMAGE.digest}")
    result = copied(source.reference(SOURCE, IMAGE.digest), to(elsewhere))
    assert (result.exit_code, result.published) == (5, Published.UNKNOWN)
    assert "for it cannot be read either" in str(result.error)


@pytest.mark.parametrize("tags", [(), ("1", "2")])
@pytest.mark.parametrize("own", ["1.4", "latest"])
def test_what_is_expected_is_about_the_targets_own_tag(
    source: FakeRegistry, elsewhere: FakeRegistry, own: str, tags: tuple[str, ...]
) -> None:
    old = elsewhere.put(TARGET, own, OTHER)
    result = copied(source.reference(SOURCE, "1.4"), to(elsewhere, own), tags=tags, expect=old)
    assert (done(result), elsewhere.tag(TARGET, own)) == (LIST.digest, LIST.digest)
    refused = copied(source.reference(SOURCE, "image"), to(elsewhere, own), tags=tags, expect=old)
    assert isinstance(refused.error, ConflictError)
    assert (refused.exit_code, elsewhere.tag(TARGET, own)) == (7, LIST.digest)


@pytest.mark.parametrize("existing", ["1.4", "2"])
def test_no_overwrite_is_found_before_anything_moves(
    source: FakeRegistry, elsewhere: FakeRegistry, existing: str
) -> None:
    elsewhere.put(TARGET, existing, OTHER)
    result = copied(source.reference(SOURCE, "1.4"), to(elsewhere), tags=("2",), no_overwrite=True)
    assert isinstance(result.error, ConflictError)
    assert (result.exit_code, result.status, result.published, writes(elsewhere)) == (7, "failed", Published.NO, [])


def test_a_further_tag_that_fails_is_10(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    elsewhere.faults.add(error(403, "DENIED", "no"), method="PUT", path="/manifests/2$")
    result = copied(source.reference(SOURCE, "1.4"), to(elsewhere), tags=("2", "3"))
    assert isinstance(result.error, PartialError)
    assert (result.exit_code, result.published, result.status) == (10, Published.YES, "failed")
    assert elsewhere.tags(TARGET) == {"1.4": LIST.digest}


def test_what_is_not_stored_is_not_believed(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    elsewhere.faults.add(false_created(), method="PUT", path="/manifests/1.4$")
    result = copied(source.reference(SOURCE, "1.4"), to(elsewhere))
    assert (result.exit_code, result.published) == (5, Published.NO)


# Narrowing.


def test_platforms_narrow_the_list(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    amd64, _, proof, _ = LIST.children
    result = copied(source.reference(SOURCE, "1.4"), to(elsewhere), only="linux/amd64")
    digest = done(result)
    assert digest != LIST.digest
    entries = elsewhere.document(TARGET, "1.4")["manifests"]
    assert [entry["digest"] for entry in entries] == [amd64.digest, proof.digest]
    held = elsewhere.repository(TARGET)
    assert set(held.manifests) == {amd64.digest, proof.digest, digest}
    assert set(held.blobs) == {*amd64.blobs, *proof.blobs}
    again = copied(source.reference(SOURCE, "1.4"), to(elsewhere), only="linux/amd64")
    assert (done(again), again.status) == (digest, "unchanged")


@pytest.mark.parametrize(("attestations", "count"), [("keep", 4), ("drop", 2), ("require", 4)])
def test_attestations(source: FakeRegistry, elsewhere: FakeRegistry, attestations: str, count: int) -> None:
    digest = done(copied(source.reference(SOURCE, "1.4"), to(elsewhere), attestations=attestations))
    assert len(elsewhere.document(TARGET, "1.4")["manifests"]) == count
    assert (digest == LIST.digest) == (count == len(LIST.children))


@pytest.mark.parametrize(
    ("tag", "options", "error_is"),
    [
        ("image", {"only": "linux/amd64"}, (InputError, "is one image, not a list")),
        ("image", {"attestations": "require"}, (DocumentError, "has no attestation")),
        (
            "1.4",
            {"only": "linux/s390x"},
            (NotFoundError, "no image for linux/s390x; there is: linux/amd64, linux/arm64"),
        ),
        ("1.4", {"only": "linux/amd64,linux/s390x"}, (NotFoundError, "no image for linux/s390x")),
        (
            "bare",
            {"attestations": "require"},
            (DocumentError, "there is no attestation for linux/amd64, linux/arm64, "),
        ),
        ("absent", {}, (NotFoundError, "absent")),
    ],
)
def test_what_the_source_does_not_have(
    source: FakeRegistry,
    elsewhere: FakeRegistry,
    tag: str,
    options: dict[str, Any],
    error_is: tuple[type[ManifestctlError], str],
) -> None:
    kind, message = error_is
    source.put_buildx(SOURCE, "bare", PLATFORMS, attestations=False)
    result = copied(source.reference(SOURCE, tag), to(elsewhere), **options)
    assert isinstance(result.error, kind)
    assert message in result.error.message
    assert (result.status, result.published, writes(elsewhere)) == ("failed", Published.NO, [])
    assert result.exit_code == kind.exit_code


# Places.


@pytest.mark.parametrize(("tag", "content"), [("1.4", LIST), ("image", IMAGE)])
def test_within_a_repository_only_the_tag_moves(source: FakeRegistry, tag: str, content: images.Content) -> None:
    result = copied(source.reference(SOURCE, tag), source.reference(SOURCE, "2"), referrers=True)
    assert (done(result), result.referrers) == (content.digest, 0)
    assert writes(source) == [f"PUT {SOURCE}/manifests/2"]


def test_into_a_layout_and_out_of_it(source: FakeRegistry, elsewhere: FakeRegistry, tmp_path: Path) -> None:
    layout = f"oci:{tmp_path / 'copy'}"
    assert done(copied(source.reference(SOURCE, "1.4"), layout)) == LIST.digest
    assert layout_tags(tmp_path / "copy") == ["1.4"]
    again = copied(source.reference(SOURCE, "1.4"), layout)
    assert (done(again), again.status) == (LIST.digest, "unchanged")
    result = copied(f"{layout}:1.4", to(elsewhere))
    assert (done(result), set(hows(result.moved))) == (LIST.digest, {"sent"})
    assert holds(elsewhere, TARGET, LIST)


def test_out_of_an_archive(elsewhere: FakeRegistry, tmp_path: Path) -> None:
    write_archive(tmp_path / "web.tar", oci_archive({"1.4": LIST}))
    assert done(copied(f"oci-archive:{tmp_path}/web.tar:1.4", to(elsewhere))) == LIST.digest
    assert elsewhere.tags(TARGET) == {"1.4": LIST.digest}
    assert holds(elsewhere, TARGET, LIST)


def test_an_archive_is_no_target(source: FakeRegistry, tmp_path: Path) -> None:
    result = copied(source.reference(SOURCE, "1.4"), f"oci-archive:{tmp_path}/x.tar")
    assert isinstance(result.error, DeniedError)
    assert source.find() == []


@pytest.mark.parametrize(("tag", "media_type"), [("1.4", OCI_INDEX), ("image", OCI_MANIFEST)])
@pytest.mark.parametrize("served", ["application/json", "text/plain; charset=utf-8", None])
def test_a_source_that_knows_no_media_types(
    source: FakeRegistry, elsewhere: FakeRegistry, tag: str, media_type: str, served: str | None
) -> None:
    source.faults.add(content_type(served), method="GET", path="/manifests/", times=FOREVER)
    digest = done(copied(source.reference(SOURCE, tag), to(elsewhere, "1")))
    held = elsewhere.repository(TARGET).manifests
    assert held[digest].media_type == media_type
    assert {manifest.media_type for manifest in held.values()} <= {OCI_INDEX, OCI_MANIFEST}


# Failures on the way.


def test_a_layer_that_is_not_what_its_digest_says(source: FakeRegistry, elsewhere: FakeRegistry) -> None:
    layer = images.digest_of(IMAGE.layers[1])
    data = source.repository(SOURCE).blobs[layer]
    source.repository(SOURCE).blobs[layer] = bytes(len(data))
    result = copied(source.reference(SOURCE, "image"), to(elsewhere))
    assert isinstance(result.error, IntegrityError)
    assert (result.exit_code, elsewhere.tags(TARGET), result.published) == (6, {}, Published.NO)
    assert layer not in elsewhere.repository(TARGET).blobs


@pytest.mark.parametrize(
    ("place", "action", "code"),
    [
        (("source", "/blobs/"), status(404), 3),
        (("source", "/manifests/sha256"), wrong_bytes(), 6),
        (("source", "/manifests/sha256"), error(403, "DENIED", "no"), 4),
        (("source", "/blobs/"), status(503), 5),
        (("target", "/blobs/uploads/"), status(503), 5),
        (("target", "/blobs/uploads/"), error(403, "DENIED", "no"), 4),
        (("target", "/manifests/"), error(401, "UNAUTHORIZED", "no"), 4),
    ],
)
def test_failures(
    source: FakeRegistry, elsewhere: FakeRegistry, place: tuple[str, str], action: Any, code: int
) -> None:
    faulty = source if place[0] == "source" else elsewhere
    faulty.faults.add(action, method="GET|POST", path=place[1], times=FOREVER)
    result = copied(source.reference(SOURCE, "1.4"), to(elsewhere))
    assert (result.exit_code, result.status, result.published) == (code, "failed", Published.NO)
    assert elsewhere.tags(TARGET) == {}


@pytest.mark.parametrize(
    ("where", "method", "path"),
    [("source", "GET", "/blobs/"), ("target", "PUT", "/blobs/uploads/"), ("target", "PUT", "/manifests/")],
)
def test_what_passes_is_tried_again(
    source: FakeRegistry, elsewhere: FakeRegistry, where: str, method: str, path: str
) -> None:
    faulty = source if where == "source" else elsewhere
    faulty.faults.add(status(503), method=method, path=path, times=3)
    assert done(copied(source.reference(SOURCE, "1.4"), to(elsewhere))) == LIST.digest
    assert holds(elsewhere, TARGET, LIST)


# Authentication.


def test_the_scopes_are_known_before_the_first_request() -> None:
    auth = BearerAuth(users={"ci": "secret"}, permissions={SOURCE: ["pull"], TARGET: ["pull", "push"]})
    with FakeRegistry(auth=auth) as registry:
        registry.put(SOURCE, "1.4", LIST)
        authorization = basic_authorization("ci", "secret").removeprefix("Basic ")
        world = World({"DOCKER_AUTH_CONFIG": f'{{"auths":{{"{registry.host}":{{"auth":"{authorization}"}}}}}}'})
        result = copied(registry.reference(SOURCE, "1.4"), to(registry), world=world)
        assert done(result) == LIST.digest
        assert set(hows(result.moved)) == {"mounted"}
        [asked] = auth.requests
        assert sorted(asked.scopes) == [f"repository:{SOURCE}:pull", f"repository:{TARGET}:pull,push"]


def test_the_result_before_anything_happened() -> None:
    request = CopyRequest(parse_location("r.example/a:1"), parse_location("r.example/b"))
    result = Copied(request)
    assert (result.exit_code, result.published, result.status) == (0, Published.NO, "failed")
    assert json.dumps(request.all_tags) == '["1"]'


@pytest.mark.parametrize("source", ["docker-archive:web.tar", "docker-daemon:web:1"])
def test_what_is_not_compressed_is_for_push(source: str) -> None:
    with pytest.raises(InputError, match="not compressed") as raised:
        CopyRequest(parse_location(source), parse_location("oci:out:1"))
    assert "push" in raised.value.hint
