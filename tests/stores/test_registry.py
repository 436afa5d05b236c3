"""A registry's repository as a store: the requests each operation makes, and what it believes of the answers."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    DocumentError,
    IntegrityError,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.events import Warned
from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.strict_json import MANIFEST_LIMIT
from manifestctl.stores.base import Blob, Content, OnlyIf
from manifestctl.stores.base import described as described_as
from manifestctl.transport.credentials import Credential
from manifestctl.transport.profiles import Profile
from manifestctl.transport.throttle import Pacer
from tests.support import images
from tests.support.actions import (
    after_serving,
    content_type,
    digest_header,
    error,
    header,
    lag,
    redirect,
    reset,
    respond,
    status,
    wrong_bytes,
)
from tests.support.blob_host import BlobHost
from tests.support.fake_auth import BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.http_message import Response, json_response
from tests.support.reach import Reach, reach
from tests.support.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from manifestctl.stores.registry import RegistryStore
    from tests.support.faults import Action, Exchange

WEB = "team/web"
IMAGE = images.image("linux/amd64")
OTHER = images.image("linux/arm64")
CONTENT = Content.of(OTHER.manifest, OTHER.media_type)
ABSENT = Digest.of(b"absent")
LAYER = images.layer("a file")[0]


@pytest.fixture
def reached(registry: FakeRegistry) -> Iterator[Reach]:
    registry.put(WEB, "1", IMAGE)
    registry.reset()
    with reach(registry) as made:
        yield made


@pytest.fixture
def store(reached: Reach) -> RegistryStore:
    return reached.store(WEB, write=True)


def described(data: bytes = LAYER, *, size: int | None = None) -> Descriptor:
    return Descriptor("application/octet-stream", Digest.of(data), len(data) if size is None else size)


def sent(registry: FakeRegistry) -> list[str]:
    return [f"{recorded.method} {recorded.path.removeprefix('/v2/team/web/')}" for recorded in registry.requests]


def raised(kind: type[ManifestctlError], call: Callable[[], object]) -> ManifestctlError:
    with pytest.raises(ManifestctlError) as found:
        call()
    assert type(found.value) is kind, found.value
    assert len(found.value.message.splitlines()) == 1
    return found.value


# Reading manifests.


@pytest.mark.parametrize("how", ["tag", "digest", "descriptor"])
def test_a_manifest_is_read_with_one_request(registry: FakeRegistry, store: RegistryStore, how: str) -> None:
    digest = Digest.parse(IMAGE.digest)
    names = {"tag": "1", "digest": str(digest), "descriptor": Descriptor(IMAGE.media_type, digest, len(IMAGE.manifest))}
    content = store.read_manifest(names[how])  # type: ignore[arg-type]
    assert content == Content(IMAGE.manifest, IMAGE.media_type, digest)
    assert sent(registry) == [f"GET manifests/{'1' if how == 'tag' else digest}"]
    assert registry.requests[0].headers["accept"] == media_types.ACCEPT


def test_no_name_is_latest(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.put(WEB, "latest", OTHER)
    assert str(store.read_manifest("").digest) == OTHER.digest


@pytest.mark.parametrize(
    ("stated", "known"),
    [
        (f"{media_types.OCI_MANIFEST}; charset=utf-8", media_types.OCI_MANIFEST),
        ("APPLICATION/VND.oci.image.manifest.v1+JSON", media_types.OCI_MANIFEST),
        ("text/plain", "text/plain"),
        (None, ""),
    ],
)
def test_what_the_registry_says_a_manifest_is(
    registry: FakeRegistry, store: RegistryStore, stated: str | None, known: str
) -> None:
    registry.faults.add(content_type(stated))
    assert store.read_manifest("1").media_type == known


@pytest.mark.parametrize("stated", [None, "", "garbage", "sha256:abc", "md5:0123", "blake3:" + "a" * 64])
def test_a_digest_header_that_says_nothing_is_passed_over(
    registry: FakeRegistry, store: RegistryStore, stated: str | None
) -> None:
    registry.faults.add(digest_header(stated))
    assert str(store.read_manifest("1").digest) == IMAGE.digest


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_a_digest_header_may_be_of_another_algorithm(
    registry: FakeRegistry, store: RegistryStore, algorithm: str
) -> None:
    registry.faults.add(digest_header(str(Digest.of(IMAGE.manifest, algorithm))))
    assert str(store.read_manifest("1").digest) == IMAGE.digest
    registry.faults.add(digest_header(str(Digest.of(b"other", algorithm))))
    assert "its bytes hash to" in raised(IntegrityError, lambda: store.read_manifest("1")).message


def test_a_tag_whose_bytes_are_not_what_the_header_says(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.faults.add(digest_header(OTHER.digest))
    problem = raised(IntegrityError, lambda: store.read_manifest("1"))
    assert problem.message == f"{store.name}:1: its bytes hash to {IMAGE.digest}, not to {OTHER.digest}"


@pytest.mark.parametrize("how", ["digest", "descriptor"])
def test_bytes_that_are_not_what_was_asked_for(registry: FakeRegistry, store: RegistryStore, how: str) -> None:
    digest = Digest.parse(IMAGE.digest)
    registry.faults.add(wrong_bytes())
    name = str(digest) if how == "digest" else Descriptor("", digest, len(IMAGE.manifest))
    problem = raised(IntegrityError, lambda: store.read_manifest(name))
    assert f"not to {digest}" in problem.message
    assert registry.count() == 1


def test_a_size_that_is_not_what_the_descriptor_says(store: RegistryStore) -> None:
    wanted = Descriptor("", Digest.parse(IMAGE.digest), len(IMAGE.manifest) + 1)
    assert "but its descriptor says" in raised(IntegrityError, lambda: store.read_manifest(wanted)).message


def test_a_digest_that_cannot_be_computed_is_not_believed(registry: FakeRegistry, store: RegistryStore) -> None:
    name = "blake3:" + "a" * 64
    registry.put_raw_manifest(WEB, name, IMAGE.manifest, IMAGE.media_type)
    assert "cannot be checked" in raised(IntegrityError, lambda: store.read_manifest(name)).message


@pytest.mark.parametrize(("size", "fits"), [(MANIFEST_LIMIT, True), (MANIFEST_LIMIT + 1, False)])
def test_a_manifest_may_be_so_large(registry: FakeRegistry, store: RegistryStore, size: int, fits: bool) -> None:
    registry.put_raw_manifest(WEB, "1", b" " * size, IMAGE.media_type)
    if fits:
        assert len(store.read_manifest("1").raw) == size
    else:
        problem = raised(DocumentError, lambda: store.read_manifest("1"))
        assert isinstance(problem, DocumentError)
        assert problem.rule == "json-too-large"


@pytest.mark.parametrize(
    ("name", "code", "unknown"), [("2", "MANIFEST_UNKNOWN", False), (str(ABSENT), "MANIFEST_UNKNOWN", False)]
)
def test_what_is_not_there(store: RegistryStore, name: str, code: str, unknown: bool) -> None:
    problem = raised(NotFoundError, lambda: store.read_manifest(name))
    mark = "@" if ":" in name else ":"
    assert f"reading {store.name}{mark}{name} failed: the registry said 404 {code}" in problem.message
    assert isinstance(problem, NotFoundError)
    assert problem.repository_unknown is unknown


def test_a_repository_that_is_not_there() -> None:
    with FakeRegistry(unknown_repository="NAME_UNKNOWN") as registry, reach(registry) as reached:
        store = reached.store("no/such")
        problem = raised(NotFoundError, lambda: store.read_manifest("1"))
    assert isinstance(problem, NotFoundError)
    assert problem.repository_unknown


@pytest.mark.parametrize(
    ("value", "warnings"),
    [
        ('299 - "deprecated"', ['127.0.0.1:PORT warns: - "deprecated"']),
        ('299 - "a\x1b[2J"', ['127.0.0.1:PORT warns: - "a\\x1b[2J"']),
        ('199 - "misc"', []),
        ("", []),
    ],
)
def test_warnings_of_the_registry_are_passed_on(
    registry: FakeRegistry, reached: Reach, value: str, warnings: list[str]
) -> None:
    registry.faults.add(header("Warning", value))
    reached.store(WEB).read_manifest("1")
    assert [event.message.replace(registry.host, "127.0.0.1:PORT") for event in reached.world.heard(Warned)] == warnings


def test_a_manifest_may_be_parsed(store: RegistryStore) -> None:
    manifest = store.read_manifest("1").parse("the image")
    assert (manifest.raw, manifest.media_type, str(manifest.digest)) == (IMAGE.manifest, IMAGE.media_type, IMAGE.digest)


@pytest.mark.parametrize(
    ("name", "text"),
    [("1", "r/a:1"), (IMAGE.digest, f"r/a@{IMAGE.digest}"), ("", "r/a"), ("a\n::b", "r/a@a\\n::b")],
)
def test_what_a_manifest_is_called(name: str, text: str) -> None:
    assert described_as(name, "r/a") == text


# Resolving.


@pytest.mark.parametrize("name", ["1", IMAGE.digest])
def test_a_name_is_resolved_by_head(registry: FakeRegistry, store: RegistryStore, name: str) -> None:
    found = store.resolve(name)
    assert (str(found.digest), found.size, found.media_type) == (IMAGE.digest, len(IMAGE.manifest), IMAGE.media_type)
    assert sent(registry) == [f"HEAD manifests/{name}"]


@pytest.mark.parametrize(
    "action",
    [
        digest_header(None),
        digest_header("nonsense"),
        header("Content-Encoding", "gzip"),
        status(405),
        status(403),
        status(400),
        status(501),
    ],
)
def test_where_head_does_not_say_enough_get_is_asked(
    registry: FakeRegistry, store: RegistryStore, action: Action
) -> None:
    registry.faults.add(action, method="HEAD")
    found = store.resolve("1")
    assert (str(found.digest), found.size, found.media_type) == (IMAGE.digest, len(IMAGE.manifest), IMAGE.media_type)
    # Who is refused without a challenge asks for it on /v2/.
    assert [line for line in sent(registry) if line != "GET /v2/"] == ["HEAD manifests/1", "GET manifests/1"]


def test_a_head_that_calls_it_by_another_digest_is_not_believed(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.faults.add(digest_header(OTHER.digest), method="HEAD")
    assert str(store.resolve(IMAGE.digest).digest) == IMAGE.digest


def test_what_cannot_be_resolved_says_why(registry: FakeRegistry, store: RegistryStore) -> None:
    assert "404 MANIFEST_UNKNOWN" in raised(NotFoundError, lambda: store.resolve("2")).message
    assert sent(registry) == ["HEAD manifests/2", "GET manifests/2"]


def test_a_head_that_fails_for_a_moment_is_made_again(registry: FakeRegistry, reached: Reach) -> None:
    registry.faults.add(status(429, retry_after=9), method="HEAD")
    reached.store(WEB).resolve("1")
    assert sent(registry) == ["HEAD manifests/1"] * 2
    assert reached.world.slept == [9.0]


# Reading blobs.


def test_a_blob_is_read_with_one_request(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.put_blob(WEB, LAYER)
    assert store.read_blob(described(), 1 << 20) == LAYER
    assert sent(registry) == [f"GET blobs/{described().digest}"]


@pytest.mark.parametrize(
    ("held", "wanted", "limit", "words"),
    [
        (b"1234567890", described(b"1234567890"), 9, "it has 10 bytes, by its descriptor, which is more than the 9"),
        (b"1234567890", described(b"1234567890", size=9), 100, "it has 10 bytes, but its descriptor says 9"),
        (b"1234567890", described(b"1234567890", size=8), 100, "it is larger than the 8 bytes"),
        (b"1234567890", described(b"1234567890", size=11), 100, "it has 10 bytes, but its descriptor says 11"),
        (b"123456789X", described(b"1234567890"), 100, "its bytes hash to"),
        (b"", described(b"1234567890"), 100, "it has 0 bytes"),
    ],
)
def test_a_blob_that_is_not_what_it_should_be(
    registry: FakeRegistry, store: RegistryStore, held: bytes, wanted: Descriptor, limit: int, words: str
) -> None:
    registry.put_blob(WEB, held, str(wanted.digest))
    problem = raised(IntegrityError, lambda: store.read_blob(wanted, limit))
    assert words in problem.message
    assert problem.message.startswith(f"{store.name}@{wanted.digest}: ")
    assert registry.count() == (0 if "by its descriptor" in words else 1)


def test_an_empty_blob_is_read(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.put_blob(WEB, b"")
    assert store.read_blob(described(b""), 10) == b""


def test_a_blob_that_is_elsewhere_is_read_there(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.put_blob(WEB, LAYER)
    with BlobHost(registry) as other:
        registry.faults.add(redirect(other.url, query="X-Amz-Signature=secret"), path="/blobs/", times=FOREVER)
        assert store.read_blob(described(), 1 << 20) == LAYER
        assert store.has(described())
        with store.open_blob(described()) as chunks:
            assert b"".join(chunks) == LAYER
        assert other.count() == 3


def test_a_blob_is_streamed(registry: FakeRegistry, store: RegistryStore) -> None:
    data = bytes(range(256)) * 4096
    registry.put_blob(WEB, data)
    with store.open_blob(described(data)) as chunks:
        assert b"".join(chunks) == data
    assert registry.count() == 1


@pytest.mark.parametrize(
    ("held", "wanted", "words"),
    [
        (b"1234567890", described(b"1234567890", size=9), "it has more than the 9 bytes"),
        (b"1234567890", described(b"1234567890", size=11), "it has 10 bytes instead of the 11 bytes"),
        (b"123456789X", described(b"1234567890"), "its bytes do not hash to sha256:"),
    ],
)
def test_a_stream_ends_with_an_error_if_it_is_not_the_blob(
    registry: FakeRegistry, store: RegistryStore, held: bytes, wanted: Descriptor, words: str
) -> None:
    registry.put_blob(WEB, held, str(wanted.digest))

    def read() -> None:
        with store.open_blob(wanted) as chunks:
            b"".join(chunks)

    assert words in raised(IntegrityError, read).message


def test_a_stream_of_what_is_not_there(registry: FakeRegistry, store: RegistryStore) -> None:
    def read() -> None:
        with store.open_blob(described(b"absent")):
            pytest.fail("there is nothing to read")

    assert "reading blob" in raised(NotFoundError, read).message
    assert registry.count() == 1


# Whether a blob is there.


def test_whether_a_blob_is_there_is_asked_by_head(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.put_blob(WEB, LAYER)
    assert store.has(described())
    assert not store.has(described(b"absent"))
    assert sent(registry) == [f"HEAD blobs/{described().digest}", f"HEAD blobs/{described(b'absent').digest}"]


def test_a_blob_of_another_size_is_not_the_blob(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.put_blob(WEB, LAYER)
    problem = raised(IntegrityError, lambda: store.has(described(size=7)))
    assert f"it has {len(LAYER)} bytes, but its descriptor says 7" in problem.message
    assert "push the image again" in problem.hint


def test_a_size_that_is_not_said_is_not_judged(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.faults.add(header("Content-Encoding", "gzip"))
    registry.put_blob(WEB, LAYER)
    assert store.has(described(size=7))


@pytest.mark.parametrize(
    ("action", "kind"), [(status(403), DeniedError), (status(405), UnreachableError), (status(400), UnreachableError)]
)
def test_a_head_of_a_blob_that_is_refused(
    registry: FakeRegistry, store: RegistryStore, action: Action, kind: type[ManifestctlError]
) -> None:
    registry.put_blob(WEB, LAYER)
    registry.faults.add(action, times=FOREVER)
    assert "looking for blob" in raised(kind, lambda: store.has(described())).message
    assert registry.count("GET", "/blobs/") == 0


@pytest.mark.parametrize("code", [401, 403, 405])
def test_where_head_says_nothing_the_beginning_of_get_decides(code: int) -> None:
    with FakeRegistry() as registry, reach(registry, profile=Profile(head_blob_reliable=False)) as reached:
        big = b"x" * 5_000_000
        registry.put_blob(WEB, big)
        registry.put_blob(WEB, LAYER)
        registry.faults.add(status(code), method="HEAD", path="/blobs/", times=FOREVER)
        store = reached.store(WEB)
        assert store.has(described(big))
        assert store.has(described())
        assert not store.has(described(b"absent"))
        assert reached.meter.counts()["bytes_in"] < 1_000_000
        raised(IntegrityError, lambda: store.has(described(size=7)))
        registry.faults.add(status(403), method="GET", times=FOREVER)
        raised(DeniedError, lambda: store.has(described()))
        # Having failed once it is not tried again.
        assert [recorded.method for recorded in registry.find(path_regex="/blobs/")] == ["HEAD"] + ["GET"] * 5


def test_an_anonymous_head_that_is_refused_costs_one_token() -> None:
    auth = BearerAuth.ecr_public()
    with FakeRegistry(auth=auth) as registry:
        registry.put_blob(WEB, LAYER)
        registry.put_image(WEB, "1")
        challenge = f'Bearer realm="{registry.url}/token/",service="public.ecr.aws",scope="aws"'
        refused = respond(lambda: Response(401, b"", {"WWW-Authenticate": challenge}))
        registry.faults.add(refused, method="HEAD", path="/blobs/", times=FOREVER)
        with reach(registry, profile=Profile(head_blob_reliable=False)) as reached:
            store = reached.store(WEB)
            store.read_manifest("1")
            for _ in range(4):
                assert store.has(described())
        assert registry.count("HEAD") == 2
    assert len(auth.requests) == 2


def test_where_head_can_be_trusted_it_is_asked_again_and_again() -> None:
    with FakeRegistry() as registry, reach(registry, profile=Profile(head_blob_reliable=False)) as reached:
        registry.put_blob(WEB, LAYER)
        for _ in range(3):
            assert reached.store(WEB).has(described())
        assert registry.count("HEAD") == 3
        assert registry.count("GET") == 0


# Writing blobs.


def test_a_blob_is_written_with_one_post_and_one_put(registry: FakeRegistry, store: RegistryStore) -> None:
    store.write_blob(Blob.of(LAYER, "application/octet-stream"))
    assert registry.repository(WEB).blobs[str(described().digest)] == LAYER
    assert [recorded.method for recorded in registry.requests] == ["HEAD", "POST", "PUT"]
    put = registry.requests[2]
    # The fake refuses an upload whose state was lost.
    assert [name for name, _ in put.parameters] == ["_state", "digest"]
    assert put.headers["content-length"] == str(len(LAYER))
    assert put.headers["content-type"] == "application/octet-stream"
    assert "content-range" not in put.headers


def test_a_blob_that_is_there_is_not_written(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.put_blob(WEB, LAYER)
    store.write_blob(Blob.of(LAYER, "application/octet-stream"))
    assert [recorded.method for recorded in registry.requests] == ["HEAD"]


@pytest.mark.parametrize(
    ("location", "query"),
    [
        ("{path}?_state=a%2Fb%3D%3D&x=+", "_state=a%2Fb%3D%3D&x=+&digest=DIGEST"),
        ("{url}{path}?_state=1", "_state=1&digest=DIGEST"),
        ("{path}", "digest=DIGEST"),
        ("here", "digest=DIGEST"),
        ("?_state=2", "_state=2&digest=DIGEST"),
    ],
)
def test_the_digest_is_appended_to_where_the_registry_says(
    registry: FakeRegistry, store: RegistryStore, location: str, query: str
) -> None:
    path = "/v2/team/web/blobs/uploads/here"
    text = location.replace("{url}", registry.url).replace("{path}", path)
    registry.faults.add(status(202, headers={"Location": text}), method="POST")
    registry.faults.add(status(201), method="PUT")
    store.write_blob(Blob.of(LAYER, "application/octet-stream"))
    put = registry.find("PUT")[0]
    assert put.path == (path.removesuffix("here") if text.startswith("?") else path)
    assert put.query == query.replace("DIGEST", str(described().digest).replace(":", "%3A"))


def test_an_upload_goes_to_another_host_without_credentials() -> None:
    credential = Credential("test", "user", "basic-pass-word")
    with FakeRegistry(auth=BasicAuth()) as registry, FakeRegistry() as other:
        other.faults.add(status(201), method="PUT")
        registry.faults.add(status(202, headers={"Location": f"{other.url}/upload?sig=secret"}), method="POST")
        with reach(registry, credentials=[credential]) as reached:
            reached.store(WEB, write=True).write_blob(Blob.of(LAYER, "application/octet-stream"))
            reached.check_quiet(secrets=["sig=secret"])
        assert other.requests[0].authorization is None
        assert other.requests[0].body == LAYER


@pytest.mark.parametrize(
    ("location", "kind", "words"),
    [
        ("http://10.0.0.1/upload", DeniedError, "private network"),
        ("ftp://upload.example/", UnreachableError, "not https"),
        ("http://[bad/", UnreachableError, "not a URL"),
        (None, UnreachableError, "but not where to send it"),
    ],
)
def test_an_upload_that_leads_astray(
    registry: FakeRegistry, store: RegistryStore, location: str | None, kind: type[ManifestctlError], words: str
) -> None:
    registry.faults.add(status(202, headers={"Location": location} if location else None), method="POST", times=FOREVER)
    problem = raised(kind, lambda: store.write_blob(Blob.of(LAYER, "application/octet-stream")))
    assert words in problem.message
    assert registry.count("PUT") == 0


@pytest.mark.parametrize(
    "action",
    [status(503), reset(), error(400, "BLOB_UPLOAD_INVALID", "blob upload invalid")],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_upload_is_tried_again_as_a_whole(
    registry: FakeRegistry, store: RegistryStore, action: Action, method: str
) -> None:
    opened: list[int] = []

    def content() -> Iterator[bytes]:
        opened.append(1)
        yield LAYER[:5]
        yield LAYER[5:]

    registry.faults.add(action, method=method)
    store.write_blob(Blob(described(), content))
    assert registry.repository(WEB).blobs[str(described().digest)] == LAYER
    assert registry.count("POST") == 2
    assert len(opened) == (2 if method == "PUT" else 1)


def test_an_upload_is_replayed_after_a_challenge_and_a_redirect() -> None:
    auth = BearerAuth(users={"ci": "pass-word"}, uses=2)
    with FakeRegistry(auth=auth) as registry:
        with reach(registry, credentials=[Credential("test", "ci", "pass-word")]) as reached:
            reached.store(WEB, write=True).write_blob(Blob.of(LAYER, "application/octet-stream"))
            reached.check_quiet(secrets=auth.secrets)
        assert registry.repository(WEB).blobs[str(described().digest)] == LAYER
        assert [recorded.status for recorded in registry.find("PUT")] == [401, 201]


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (error(403, "DENIED", "no"), DeniedError),
        (error(404, "NAME_UNKNOWN", "no such repository"), NotFoundError),
        (error(400, "DIGEST_INVALID", "wrong"), UnreachableError),
        (status(413), UnreachableError),
    ],
)
def test_an_upload_that_is_refused(
    registry: FakeRegistry, store: RegistryStore, action: Action, kind: type[ManifestctlError]
) -> None:
    registry.faults.add(action, method="POST|PUT", times=FOREVER)
    problem = raised(kind, lambda: store.write_blob(Blob.of(LAYER, "application/octet-stream")))
    assert f"uploading blob {store.name}@{described().digest} failed" in problem.message


# Writing manifests.


@pytest.mark.parametrize("tag", ["2", None])
def test_a_manifest_is_written_with_one_put(registry: FakeRegistry, store: RegistryStore, tag: str | None) -> None:
    store.write_manifest(CONTENT, tag)
    stored = registry.manifest(WEB, OTHER.digest)
    assert stored is not None
    assert (stored.data, stored.media_type) == (CONTENT.raw, CONTENT.media_type)
    assert sent(registry) == [f"PUT manifests/{tag or CONTENT.digest}"]
    assert not {"if-match", "if-none-match"} & registry.requests[0].headers.keys()


@pytest.mark.parametrize(
    ("only_if", "name", "value"),
    [(OnlyIf(None), "if-none-match", "*"), (OnlyIf(ABSENT), "if-match", f'"{ABSENT}"')],
)
def test_conditions_are_sent(
    registry: FakeRegistry, store: RegistryStore, only_if: OnlyIf, name: str, value: str
) -> None:
    store.write_manifest(CONTENT, "2", only_if)
    assert registry.requests[0].headers[name] == value


@pytest.mark.parametrize(
    ("held", "only_if", "written"),
    [
        ("1", OnlyIf(None), False),
        ("2", OnlyIf(None), True),
        ("1", OnlyIf(Digest.parse(IMAGE.digest)), True),
        ("1", OnlyIf(ABSENT), False),
        ("2", OnlyIf(ABSENT), False),
    ],
)
def test_conditions_that_a_registry_heeds(held: str, only_if: OnlyIf, written: bool) -> None:
    with FakeRegistry(heeds_conditions=True) as registry, reach(registry) as reached:
        registry.put(WEB, "1", IMAGE)
        store = reached.store(WEB, write=True)
        if written:
            store.write_manifest(CONTENT, held, only_if)
        else:
            problem = raised(ConflictError, lambda: store.write_manifest(CONTENT, held, only_if))
            assert "Somebody else wrote the tag" in problem.hint
        assert (registry.tag(WEB, held) == OTHER.digest) is written


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (error(403, "DENIED", "no"), DeniedError),
        (error(404, "NAME_UNKNOWN", "no such repository"), NotFoundError),
        (error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown", detail=str(ABSENT)), MissingContentError),
        (error(400, "MANIFEST_INVALID", "invalid"), DocumentError),
        (error(400, "TAG_INVALID", "the repository is immutable."), ConflictError),
        (status(501), UnreachableError),
        (error(507, "X", "quota exceeded"), DeniedError),
    ],
)
def test_what_is_refused_for_good_is_not_tried_again(
    registry: FakeRegistry, store: RegistryStore, action: Action, kind: type[ManifestctlError]
) -> None:
    registry.faults.add(action, method="PUT", times=FOREVER)
    problem = raised(kind, lambda: store.write_manifest(CONTENT, "2"))
    assert problem.message.startswith(f"writing {store.name}:2 failed: the registry said ")
    assert [line for line in sent(registry) if line != "GET /v2/"] == ["PUT manifests/2"]
    if isinstance(problem, MissingContentError):
        assert problem.digests == {str(ABSENT)}


@pytest.mark.parametrize("failures", [1, 3])
@pytest.mark.parametrize("action", [status(503), status(429, retry_after=0), reset()])
def test_before_it_is_written_again_the_tag_is_read(
    registry: FakeRegistry, store: RegistryStore, action: Action, failures: int
) -> None:
    registry.faults.add(action, method="PUT", times=failures)
    store.write_manifest(CONTENT, "1")
    assert sent(registry) == ["PUT manifests/1"] + ["GET manifests/1", "PUT manifests/1"] * failures
    assert registry.tag(WEB, "1") == OTHER.digest


@pytest.mark.parametrize("then", [status(503), reset(), status(504)])
@pytest.mark.parametrize("tag", ["1", None])
def test_what_was_written_without_an_answer_is_not_written_again(
    registry: FakeRegistry, store: RegistryStore, then: Action, tag: str | None
) -> None:
    registry.faults.add(after_serving(then), method="PUT")
    store.write_manifest(CONTENT, tag)
    name = tag or str(CONTENT.digest)
    assert sent(registry) == [f"PUT manifests/{name}", f"GET manifests/{name}"]


def test_a_condition_that_our_own_write_broke_is_no_conflict() -> None:
    with FakeRegistry(heeds_conditions=True) as registry, reach(registry) as reached:
        registry.faults.add(after_serving(status(503)), method="PUT")
        registry.faults.add(status(404), method="GET")
        reached.store(WEB, write=True).write_manifest(CONTENT, "2", OnlyIf(None))
        assert [recorded.status for recorded in registry.requests] == [503, 404, 412, 200]


def test_a_conflict_with_another_stays_one_after_a_retry() -> None:
    with FakeRegistry(immutable_tags=True) as registry, reach(registry) as reached:
        registry.put(WEB, "1", IMAGE)
        registry.faults.add(status(503), method="PUT")
        store = reached.store(WEB, write=True)
        raised(ConflictError, lambda: store.write_manifest(CONTENT, "1"))
        assert registry.tag(WEB, "1") == IMAGE.digest


@pytest.mark.parametrize("last", [reset(), status(503)])
def test_an_outcome_that_nobody_knows_is_said_to_be_unknown(
    registry: FakeRegistry, reached: Reach, last: Action
) -> None:
    store = reached.store(WEB, write=True)
    registry.faults.add(last, method="PUT", times=FOREVER)
    problem = raised(UnreachableError, lambda: store.write_manifest(CONTENT, "2"))
    assert isinstance(problem, UnreachableError)
    assert problem.outcome_unknown
    assert registry.count("PUT") == reached.settings.retries
    assert reached.retried == reached.settings.retries - 1


def test_an_outcome_stays_unknown_if_the_registry_goes_away(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.faults.add(after_serving(reset()), method="PUT")
    registry.faults.add(reset(), method="GET", times=FOREVER)
    problem = raised(UnreachableError, lambda: store.write_manifest(CONTENT, "2"))
    assert isinstance(problem, UnreachableError)
    assert problem.outcome_unknown


@pytest.mark.parametrize("reading", [error(403, "DENIED", "no"), reset(), status(503)], ids=["denied", "reset", "503"])
def test_a_denial_after_a_lost_answer_is_told_and_does_not_know(
    registry: FakeRegistry, store: RegistryStore, reading: Action
) -> None:
    registry.faults.add(after_serving(status(503)), method="PUT")
    # The tag was read before the second try, and could not be read after it.
    registry.faults.add(status(404), method="GET")
    registry.faults.add(reading, method="GET", path="/manifests/", times=FOREVER)
    registry.faults.add(error(403, "DENIED", "you may not overwrite"), method="PUT", times=FOREVER)
    problem = raised(DeniedError, lambda: store.write_manifest(CONTENT, "2"))
    assert "you may not overwrite" in problem.message
    assert problem.outcome_unknown


def test_a_write_that_never_left_is_known_not_to_have_happened() -> None:
    with reach("http://registry.invalid") as reached:
        problem = raised(UnreachableError, lambda: reached.store(WEB, write=True).write_manifest(CONTENT, "2"))
    assert isinstance(problem, UnreachableError)
    assert not problem.outcome_unknown


def test_a_lag_behind_the_first_write_costs_a_second_one(registry: FakeRegistry, store: RegistryStore) -> None:
    def stored_late(exchange: Exchange) -> Response:
        lag(1)(exchange)
        return Response(503)

    registry.faults.add(stored_late, method="PUT")
    store.write_manifest(CONTENT, "1")
    assert sent(registry) == ["PUT manifests/1", "GET manifests/1", "PUT manifests/1"]


def test_writes_keep_to_the_rate_and_reads_do_not() -> None:
    world = World()
    pacers = {name: Pacer(2.0, 1, world.runtime) for name in ("manifest_pacer", "blob_pacer")}
    with FakeRegistry() as registry, reach(registry, world=world, **pacers) as reached:  # type: ignore[arg-type]
        registry.put(WEB, "1", IMAGE)
        store = reached.store(WEB, write=True)
        for number in range(3):
            store.write_manifest(CONTENT, f"2.{number}")
            store.read_manifest("1")
        assert world.slept == pytest.approx([0.5, 0.5])
        for number in range(3):
            store.write_blob(Blob.of(b"blob %d" % number, "application/octet-stream"))
        assert world.slept == pytest.approx([0.5, 0.5, 0.5, 0.5])


# Tags.


@pytest.mark.parametrize(("count", "page", "pages"), [(0, 10, 1), (10, 10, 1), (11, 10, 2), (25, 10, 3)])
def test_tags_are_listed_page_by_page(count: int, page: int, pages: int) -> None:
    with FakeRegistry(page_size=page) as registry, reach(registry) as reached:
        registry.repository(WEB)
        tags = [f"v{number:03}" for number in range(count)]
        for tag in tags:
            registry.put(WEB, tag, IMAGE)
        assert reached.store(WEB).tags() == tags
        assert registry.count("GET", "/tags/list") == pages
        assert registry.requests[0].query == "n=1000"


def test_the_profile_says_how_many_tags_to_ask_for(registry: FakeRegistry) -> None:
    registry.put(WEB, "1", IMAGE)
    with reach(registry, profile=Profile(tags_page=50)) as reached:
        reached.store(WEB).tags()
    assert registry.requests[0].query == "n=50"


def paged(*pages: tuple[list[str], str]) -> Action:
    """Answer with these pages in turn, each with its Link."""
    left = list(pages)

    def action(exchange: Exchange) -> Response:
        tags, link = left.pop(0)
        link = link.replace("{url}", exchange.server.url).replace("{host}", exchange.server.url.partition("://")[2])
        return json_response({"name": WEB, "tags": tags}, headers={"Link": link} if link else {})

    return action


@pytest.mark.parametrize(
    "link",
    [
        '</v2/team/web/tags/list?n=2&last=b>; rel="next"',
        "</v2/team/web/tags/list?n=2&last=b>; rel=next",
        "</v2/team/web/tags/list?n=2&last=b>;rel=NEXT",
        '</v2/team/web/tags/list?n=2&last=b>; title="more, or less"; rel="last next"',
        '</v2/team/web/tags/list?n=2&last=a>; rel="prev", </v2/team/web/tags/list?n=2&last=b>; rel="next"',
        '<{url}/v2/team/web/tags/list?n=2&last=b>; rel="next"',
        '<https://{host}/v2/team/web/tags/list?n=2&last=b>; rel="next"',
        '<list?n=2&last=b>; rel="next"',
        '<?n=2&last=b>; REL = "next"',
        '  <?n=2&last=b> ; rel="next" ; foo',
    ],
)
def test_the_next_page_is_found(registry: FakeRegistry, store: RegistryStore, link: str) -> None:
    registry.faults.add(paged((["a", "b"], link), (["b", "c"], "")), times=2)
    assert store.tags() == ["a", "b", "c"]
    assert [(recorded.path, recorded.query) for recorded in registry.requests] == [
        ("/v2/team/web/tags/list", "n=1000"),
        ("/v2/team/web/tags/list", "n=2&last=b"),
    ]


@pytest.mark.parametrize(
    "link",
    [
        "",
        "nonsense",
        "</x>",
        '</x>; rel="prev"',
        '</x>; title="next"',
        '</x; rel="next"',
        'x>; rel="next"',
        "<" * 30_000,
    ],
)
def test_without_a_next_page_the_list_ends(registry: FakeRegistry, store: RegistryStore, link: str) -> None:
    registry.faults.add(paged((["a"], link)))
    assert store.tags() == ["a"]


@pytest.mark.parametrize(
    "link", ["http://evil.example/v2/x", "//evil.example/v2/x", "http://127.0.0.1:1/v2/x", "http://10.0.0.1/"]
)
def test_a_next_page_on_another_host_is_refused(link: str) -> None:
    auth = BearerAuth(users={"ci": "pass-word"})
    with FakeRegistry(auth=auth) as registry:
        registry.faults.add(paged((["a"], f'<{link}?last=a&sig=secret>; rel="next"')), path="/tags/")
        with reach(registry, credentials=[Credential("test", "ci", "pass-word")]) as reached:
            problem = raised(UnreachableError, reached.store(WEB).tags)
            reached.check_quiet(problem, secrets=[*auth.secrets, "sig=secret"])
            assert reached.statuses == [401, 200, 200]
    assert "the next page is on another host" in problem.message


NEXT = '</v2/team/web/tags/list?last={}>; rel="next"'


def endless(page: Callable[[int], list[str]], link: str = NEXT) -> Action:
    """Answer with one page after another, each of which names another one."""
    count = itertools.count(1)

    def action(_: Exchange) -> Response:
        number = next(count)
        return json_response({"name": WEB, "tags": page(number)}, headers={"Link": link.format(number)})

    return action


def test_a_page_that_only_repeats_what_is_known_is_the_last(registry: FakeRegistry, store: RegistryStore) -> None:
    """Some registries ignore where a page is to begin, and name another one each time."""
    registry.faults.add(endless(lambda number: [["a", "b"], ["c", "a"]][number == 2]), times=FOREVER)
    assert store.tags() == ["a", "b", "c"]
    assert registry.count("GET", "/tags/list") == 3


def test_an_empty_page_need_not_be_the_last(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.faults.add(paged((["a"], NEXT.format(1)), ([], NEXT.format(2)), (["b"], "")), times=3)
    assert store.tags() == ["a", "b"]


def test_pages_in_a_circle_are_told(registry: FakeRegistry, store: RegistryStore) -> None:
    registry.faults.add(paged((["a"], NEXT.format(1)), (["b"], NEXT.format(2)), ([], NEXT.format(1))), times=3)
    problem = raised(UnreachableError, store.tags)
    assert "does not end after 3 pages" in problem.message
    assert problem.hint


@pytest.mark.parametrize(
    "page", [lambda n: [f"{n}-{i}" for i in range(110_000)], lambda n: [f"{n}" + "x" * (15 << 20)]]
)
def test_all_pages_together_are_bounded(
    registry: FakeRegistry, store: RegistryStore, page: Callable[[int], list[str]]
) -> None:
    """Each page is small enough, and there is always another one: too many tags, or too much text."""
    registry.faults.add(endless(page), times=FOREVER)
    problem = raised(DocumentError, store.tags)
    assert isinstance(problem, DocumentError)
    assert "has more than 500000 tags, or more than 64.0 MiB" in problem.message
    assert problem.rule == "json-too-large"
    assert registry.count("GET", "/tags/list") == 5


@pytest.mark.parametrize(
    ("body", "tags"),
    [
        (b'{"name":"team/web","tags":null}', []),
        (b'{"name":"team/web"}', []),
        (b'{"tags":["a","a"],"child":[]}', ["a"]),
    ],
)
def test_lists_that_are_worded_otherwise(
    registry: FakeRegistry, store: RegistryStore, body: bytes, tags: list[str]
) -> None:
    registry.faults.add(status(200, body))
    assert store.tags() == tags


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html></html>",
        b'{"tags": "a"}',
        b'{"tags": [1]}',
        b'{"tags": [], "TAGS": []}',
        b'{"tags": ["\xff"]}',
        b'{"Tags": []}',
    ],
)
def test_what_is_no_list_of_tags(registry: FakeRegistry, store: RegistryStore, body: bytes) -> None:
    registry.faults.add(status(200, body))
    assert f"the tag list of {store.name}" in raised(DocumentError, store.tags).message


def test_a_list_of_tags_may_not_be_endless(registry: FakeRegistry, store: RegistryStore) -> None:
    body = json.dumps({"tags": ["x" * 1024] * (17 * 1024)}).encode()
    registry.faults.add(status(200, body))
    problem = raised(DocumentError, store.tags)
    assert isinstance(problem, DocumentError)
    assert problem.rule == "json-too-large"


def test_tags_of_a_repository_that_is_not_there(reached: Reach) -> None:
    problem = raised(NotFoundError, reached.store("no/such").tags)
    assert isinstance(problem, NotFoundError)
    assert problem.repository_unknown
    assert f"listing tags of {reached.host}/no/such failed" in problem.message


@pytest.mark.parametrize("kind", [None, "application/json", "text/plain; charset=utf-8"])
def test_a_manifest_that_is_served_as_nothing_in_particular(kind: str | None) -> None:
    image = images.image("linux/amd64")
    with FakeRegistry() as server, reach(server) as reached:
        server.put(WEB, "1", image)
        server.faults.add(content_type(kind), path="/manifests/")
        content = reached.store(WEB).read_manifest("1")
        assert content.parse("it").media_type == image.media_type
        assert len(reached.warnings) == 1
        assert "what it says itself decides" in reached.warnings[0]
