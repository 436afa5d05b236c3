"""The servers and builders that the other tests rely on do what they say."""

from __future__ import annotations

import contextlib
import json
import socket
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.model.media_types import OCI_INDEX, OCI_MANIFEST
from tests.support import images
from tests.support.fake_registry import FakeRegistry
from tests.support.http_server import HttpServer
from tests.support.network_guard import guard_network, is_loopback
from tests.support.pushing import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.http_message import Request, Response

REPOSITORY = "team/web"
MANIFEST = f"/v2/{REPOSITORY}/manifests/v1"


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    """A registry with one image."""
    with FakeRegistry() as made:
        made.put_image(REPOSITORY, "v1")
        yield made


@pytest.fixture
def client(registry: FakeRegistry) -> Iterator[Client]:
    """A connection to the registry."""
    with Client(registry.url) as made:
        yield made


def test_manifests_are_read_by_tag_and_digest_on_one_connection(registry: FakeRegistry, client: Client) -> None:
    digest = registry.tag(REPOSITORY, "v1")
    stored = registry.manifest(REPOSITORY, "v1")
    assert stored is not None
    for name in ("v1", digest):
        got = client.request("GET", f"/v2/{REPOSITORY}/manifests/{name}")
        head = client.request("HEAD", f"/v2/{REPOSITORY}/manifests/{name}")
        assert (got.status, got.body, got.headers["content-type"]) == (200, stored.data, stored.media_type)
        assert head.body == b""
        assert head.headers == got.headers | {"docker-content-digest": digest}
    assert registry.count("GET|HEAD", "/manifests/") == 4
    assert (registry.connections, registry.used_connections) == (1, 1)
    registry.reset()
    assert (registry.count(), registry.connections) == (0, 0)


def test_a_manifest_put_stores_the_bytes_and_is_recorded(registry: FakeRegistry, client: Client) -> None:
    made = images.image("linux/arm64", docker=True, seed="new")
    answer = client.request("PUT", MANIFEST, made.manifest, Content_Type=made.media_type)
    assert (answer.status, answer.headers["docker-content-digest"]) == (201, made.digest)
    assert registry.tag(REPOSITORY, "v1") == made.digest
    (recorded,) = registry.find("PUT")
    assert (recorded.body, recorded.body_size, recorded.status) == (made.manifest, len(made.manifest), 201)
    assert registry.manifest_puts == [(REPOSITORY, "v1")]
    assert registry.document(REPOSITORY, "v1")["mediaType"] == made.media_type


@pytest.mark.parametrize(
    ("body", "media_type", "reference", "status", "code"),
    [
        (b"{", "application/json", "v2", 400, "MANIFEST_INVALID"),
        (b"[]", "application/json", "v2", 400, "MANIFEST_INVALID"),
        (images.image().manifest, "application/json", "v2", 400, "MANIFEST_INVALID"),
        (b"{}", "application/json", images.digest_of(b"other"), 400, "DIGEST_INVALID"),
        (images.image(seed="absent").manifest, OCI_MANIFEST, "v2", 400, "MANIFEST_BLOB_UNKNOWN"),
        (images.index([images.image()]).manifest, OCI_INDEX, "v2", 400, "MANIFEST_BLOB_UNKNOWN"),
        (b" " * 2000, "application/json", "v2", 413, "MANIFEST_INVALID"),
    ],
)
def test_manifests_that_are_refused(body: bytes, media_type: str, reference: str, status: int, code: str) -> None:
    with FakeRegistry(strict_children=True, manifest_limit=1000) as strict, Client(strict.url) as client:
        answer = client.request("PUT", f"/v2/a/manifests/{reference}", body, Content_Type=media_type)
        assert (answer.status, json.loads(answer.body)["errors"][0]["code"]) == (status, code)
        assert strict.tags("a") == {}


def test_repositories_can_be_required_and_tags_immutable() -> None:
    made = images.image()
    with FakeRegistry(create_on_push=False, immutable_tags=True) as strict, Client(strict.url) as client:
        absent = client.request("PUT", "/v2/a/manifests/v1", made.manifest, Content_Type=made.media_type)
        strict.put("a", "v1", made)
        again = client.request("PUT", "/v2/a/manifests/v1", made.manifest, Content_Type=made.media_type)
    assert (absent.status, b"NAME_UNKNOWN" in absent.body) == (404, True)
    assert (again.status, b"repository is immutable" in again.body) == (400, True)


def test_conditions_are_heeded_when_asked() -> None:
    made = images.image()
    with FakeRegistry(heeds_conditions=True) as heeding, Client(heeding.url) as client:

        def put(**condition: str) -> int:
            return client.request(
                "PUT", "/v2/a/manifests/v1", made.manifest, Content_Type=made.media_type, **condition
            ).status

        assert put(If_Match='"sha256:0"') == 412
        assert put(If_None_Match="*") == 201
        assert put(If_None_Match="*") == 412
        assert put(If_Match=f'"{made.digest}"') == 201


def test_images_are_pushed_over_http_and_blobs_mounted() -> None:
    made = images.buildx_index([images.image("linux/amd64"), images.image("linux/arm64")])
    blob = next(iter(images.image("linux/amd64").blobs))
    with FakeRegistry(strict_children=True) as strict, Client(strict.url) as client:
        client.push("a", "v1", made)
        assert strict.tag("a", "v1") == made.digest
        assert client.request("POST", f"/v2/b/blobs/uploads/?mount={blob}&from=a").status == 201
        assert client.request("POST", f"/v2/b/blobs/uploads/?mount={blob}&from=c").status == 202
        assert client.request("GET", f"/v2/b/blobs/{blob}").body == strict.repositories["a"].blobs[blob]


def test_a_blob_is_streamed_in_a_patch_and_needs_its_state(registry: FakeRegistry, client: Client) -> None:
    location = client.request("POST", f"/v2/{REPOSITORY}/blobs/uploads/").headers["location"]
    digest = images.digest_of(b"onetwo")
    assert client.request("PATCH", location.partition("?")[0], b"one").status == 400
    assert client.request("PATCH", location, b"one").status == 202
    assert client.request("PATCH", location, b"x", Content_Range="7-7").status == 416
    assert client.request("PUT", f"{location}&digest={digest}", b"two").status == 201
    assert registry.repositories[REPOSITORY].blobs[digest] == b"onetwo"


def test_tags_are_paged_by_a_relative_link(registry: FakeRegistry, client: Client) -> None:
    registry.page_size = 2
    for tag in ("v3", "v2", "v4"):
        registry.put_image(REPOSITORY, tag)
    pages, target = [], f"/v2/{REPOSITORY}/tags/list?n=100"
    while target:
        answer = client.request("GET", target)
        pages.append(json.loads(answer.body)["tags"])
        target = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert pages == [["v1", "v2"], ["v3", "v4"]]


def test_false_content_can_be_put_in(registry: FakeRegistry, client: Client) -> None:
    false = images.digest_of(b"right")
    registry.put_blob(REPOSITORY, b"wrong", false)
    registry.put_raw_manifest(REPOSITORY, false, b"no json", "text/plain")
    registry.put_raw_manifest(REPOSITORY, "raw", b"\xff", "text/plain")
    for path in (f"blobs/{false}", f"manifests/{false}"):
        assert client.request("GET", f"/v2/{REPOSITORY}/{path}").headers["docker-content-digest"] == false
    assert client.request("GET", f"/v2/{REPOSITORY}/manifests/raw").body == b"\xff"


def test_a_broken_server_fails_its_test() -> None:
    class Broken(HttpServer):
        def answer(self, request: Request) -> Response:
            raise KeyError(request.path)

    with pytest.raises(AssertionError, match="KeyError: '/x'"), Broken() as broken, Client(broken.url) as client:
        assert client.request("GET", "/x").status == 500


@pytest.mark.parametrize("docker", [False, True])
def test_an_image_names_its_blobs_by_true_digests(*, docker: bool) -> None:
    made = images.image("linux/arm/v7", docker=docker, layers=2, labels={"a": "b"}, annotations={"c": "d"})
    document = json.loads(made.manifest)
    named = [document["config"], *document["layers"]]
    assert {entry["digest"] for entry in named} == set(made.blobs)
    assert all(len(made.blobs[entry["digest"]]) == entry["size"] for entry in named)
    config = json.loads(made.config)
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm", "v7")
    unpacked = [images.digest_of(zlib.decompress(data, wbits=31)) for data in made.layers]
    assert config["rootfs"]["diff_ids"] == unpacked
    assert made == images.image("linux/arm/v7", docker=docker, layers=2, labels={"a": "b"}, annotations={"c": "d"})


@pytest.mark.parametrize(
    ("options", "absent", "present"),
    [
        ({"platform": None}, {"os", "architecture"}, {"rootfs"}),
        ({"created": None}, {"created"}, {"os"}),
        ({"config": {"rootfs": None, "extra": 1}}, {"rootfs"}, {"extra"}),
        ({"platform": "windows/amd64:10.0.1"}, set(), {"os.version"}),
    ],
)
def test_configs_can_say_less_and_more(options: dict[str, Any], absent: set[str], present: set[str]) -> None:
    fields = set(json.loads(images.image(**options).config))
    assert absent.isdisjoint(fields)
    assert present <= fields


@pytest.mark.parametrize("artifact", [False, True])
def test_a_buildx_index_has_an_attestation_for_each_image(*, artifact: bool) -> None:
    subjects = [images.image("linux/amd64"), images.image("linux/arm64")]
    made = images.buildx_index(subjects, artifact=artifact)
    entries = json.loads(made.manifest)["manifests"]
    assert [entry["digest"] for entry in entries[:2]] == [subject.digest for subject in subjects]
    assert [entry["annotations"][images.REFERENCE_DIGEST] for entry in entries[2:]] == [s.digest for s in subjects]
    assert all(entry["platform"] == images.UNKNOWN for entry in entries[2:])
    assert ("subject" in json.loads(made.children[2].manifest)) == artifact
    assert len(json.loads(images.buildx_index(subjects, attestations=False).manifest)["manifests"]) == 2


def test_a_layout_names_its_content_by_tags(tmp_path: Path) -> None:
    made = images.index([images.image("linux/amd64", docker=True)], docker=True)
    images.write_layout(tmp_path, {"v1": made})
    (entry,) = json.loads((tmp_path / "index.json").read_bytes())["manifests"]
    assert (entry["digest"], entry["annotations"]) == (made.digest, {images.REF_NAME: "v1"})
    for path in (tmp_path / "blobs" / "sha256").iterdir():
        assert images.digest_of(path.read_bytes()) == f"sha256:{path.name}"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("a.localhost", True),
        ("192.0.2.1", False),
        ("a", False),
    ],
)
def test_what_is_loopback(host: str, here: bool) -> None:
    assert is_loopback(host) == here


def test_the_guard_keeps_connections_at_home(registry: FakeRegistry) -> None:
    blocked, undo = guard_network()
    try:
        with contextlib.closing(socket.create_connection(("localhost", registry.port), timeout=5)):
            pass
        with socket.socket() as raw:
            with pytest.raises(ConnectionRefusedError):
                raw.connect(("192.0.2.1", 9))
            with pytest.raises(ConnectionRefusedError):
                raw.connect_ex(("192.0.2.2", 9))
        for name in ("registry.elsewhere", "registry.invalid"):
            with pytest.raises(socket.gaierror):
                socket.create_connection((name, 9))
    finally:
        undo()
    assert blocked == ["192.0.2.1:9", "192.0.2.2:9", "registry.elsewhere"]
