"""Uploads: which requests they make, what survives, and when a registry is given a blob another way."""

from __future__ import annotations

import secrets
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import DeniedError, IntegrityError, ManifestctlError, NotFoundError, UnreachableError
from manifestctl.events import Retried
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.stores.base import Blob
from manifestctl.transport.profiles import Profile
from manifestctl.transport.throttle import Pacer
from tests.support.actions import after_serving, digest_header, error, header, reset, respond, status
from tests.support.fake_auth import BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.http_message import Response
from tests.support.reach import Reach, reach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.stores.registry import RegistryStore
    from tests.support.faults import Action, Exchange
    from tests.support.http_message import Request

WEB = "team/web"
DATA = secrets.token_bytes(300_000)
BLOB = Blob.of(DATA, "application/octet-stream")
DIGEST = str(BLOB.descriptor.digest)
UPLOADS = r"/blobs/uploads/"


class Pieces:
    """Content that is produced on the way; ``passes`` counts how often."""

    name = "layer x of y"

    def __init__(self, data: bytes = DATA, fault: Exception | None = None) -> None:
        self.data = data
        self.fault = fault
        self.passes = 0
        self.made: Descriptor | None = None

    def open(self) -> Iterator[bytes]:
        self.passes += 1
        self.made = None
        for start in range(0, len(self.data), 70_000):
            yield self.data[start : start + 70_000]
        if self.fault is not None:
            raise self.fault
        self.made = Descriptor("application/octet-stream", Digest.of(self.data), len(self.data))

    def descriptor(self) -> Descriptor:
        if self.made is None:
            raise UnreachableError("not all of it was taken", transient=True)
        return self.made


@pytest.fixture
def reached(registry: FakeRegistry) -> Iterator[Reach]:
    with reach(registry) as made:
        yield made


@pytest.fixture
def store(reached: Reach) -> RegistryStore:
    return reached.store(WEB)


def held(registry: FakeRegistry) -> dict[str, bytes]:
    return registry.repository(WEB).blobs


def methods(registry: FakeRegistry) -> list[str]:
    return [recorded.method for recorded in registry.requests]


# Content that is known


def test_a_known_blob_is_one_post_and_one_put(store: RegistryStore, registry: FakeRegistry) -> None:
    assert store.write_blob(BLOB) is True
    assert methods(registry) == ["HEAD", "POST", "PUT"]
    put = registry.find("PUT")[0]
    # The state of the session comes back as it was given, and the digest after it.
    assert [key for key, _ in put.parameters] == ["_state", "digest"]
    assert dict(put.parameters)["digest"] == DIGEST
    assert put.headers["content-length"] == str(len(DATA))
    assert put.headers["content-type"] == "application/octet-stream"
    assert held(registry) == {DIGEST: DATA}
    assert store.write_blob(BLOB) is False
    assert methods(registry)[3:] == ["HEAD"]


def test_a_blob_that_was_looked_for_is_not_looked_for_again(store: RegistryStore, registry: FakeRegistry) -> None:
    assert store.has(BLOB.descriptor) is False
    assert store.write_blob(BLOB) is True
    assert methods(registry) == ["HEAD", "POST", "PUT"]
    # What was written may be gone the next time.
    assert store.write_blob(BLOB) is False
    del held(registry)[DIGEST]
    assert store.write_blob(BLOB) is True
    assert methods(registry)[3:] == ["HEAD", "HEAD", "POST", "PUT"]


def test_a_blob_that_came_meanwhile_is_not_sent(store: RegistryStore, registry: FakeRegistry) -> None:
    assert store.has(BLOB.descriptor) is False
    registry.put_blob(WEB, DATA)
    assert store.has(BLOB.descriptor) is True
    assert store.write_blob(BLOB) is False
    assert methods(registry) == ["HEAD"] * 3


def test_a_blob_that_could_not_be_written_is_still_absent(store: RegistryStore, registry: FakeRegistry) -> None:
    registry.faults.add(error(403, "DENIED", "not you"), method="PUT")
    with pytest.raises(DeniedError):
        store.write_blob(BLOB)
    assert store.write_blob(BLOB) is True
    assert registry.count("HEAD") == 1


@pytest.mark.parametrize(
    "action",
    [
        reset(),
        status(500),
        status(503),
        error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload"),
        status(404),
        error(400, "BLOB_UPLOAD_INVALID", "invalid"),
        error(400, "DIGEST_INVALID", "it arrived spoilt"),
        error(429, "TOOMANYREQUESTS", "slowly"),
    ],
    ids=["reset", "500", "503", "session unknown", "404", "session invalid", "spoilt", "429"],
)
def test_a_broken_upload_begins_again_from_the_blob(
    store: RegistryStore, reached: Reach, registry: FakeRegistry, action: Action
) -> None:
    registry.faults.add(action, method="PUT", times=2)
    assert store.write_blob(BLOB) is True
    assert held(registry) == {DIGEST: DATA}
    assert registry.count("POST") == registry.count("PUT") == 3
    assert len(reached.world.heard(Retried)) == 2
    # Each session is a new one.
    assert len({put.path for put in registry.find("PUT")}) == 3


def test_an_upload_whose_answer_was_lost_is_not_sent_again(store: RegistryStore, registry: FakeRegistry) -> None:
    registry.faults.add(after_serving(reset()), method="PUT")
    assert store.write_blob(BLOB) is True
    assert methods(registry) == ["HEAD", "POST", "PUT", "HEAD"]


def test_a_blob_of_which_nothing_was_sent_is_not_looked_for_again(store: RegistryStore, registry: FakeRegistry) -> None:
    registry.faults.add(status(503), method="POST", times=2)
    assert store.write_blob(BLOB) is True
    assert methods(registry) == ["HEAD", "POST", "POST", "POST", "PUT"]


@pytest.mark.parametrize(
    ("action", "kind", "tries"),
    [
        (error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload"), UnreachableError, 5),
        (status(502), UnreachableError, 5),
        (error(404, "NAME_UNKNOWN", "no such repository"), NotFoundError, 1),
        (error(403, "DENIED", "not you"), DeniedError, 1),
        (error(400, "LIMIT", "quota exceeded"), DeniedError, 1),
        (status(413), DeniedError, 1),
    ],
)
def test_what_does_not_get_better_ends(
    store: RegistryStore, registry: FakeRegistry, action: Action, kind: type[ManifestctlError], tries: int
) -> None:
    registry.faults.add(action, method="PUT", times=FOREVER)
    with pytest.raises(kind, match=f"{WEB}@{DIGEST}") as caught:
        store.write_blob(BLOB)
    assert registry.count("PUT") == tries
    assert caught.value.hint
    assert held(registry) == {}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_session_without_a_place(store: RegistryStore, registry: FakeRegistry, streamed: bool) -> None:
    registry.faults.add(header("Location", None), method="POST", times=FOREVER)
    with pytest.raises(UnreachableError, match="202, but not where"):
        store.write_stream(Pieces()) if streamed else store.write_blob(BLOB)
    assert registry.count("POST") == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_a_registry_that_stored_something_else(store: RegistryStore, registry: FakeRegistry, streamed: bool) -> None:
    registry.faults.add(digest_header(str(Digest.of(b"else"))), method="PUT")
    with pytest.raises(IntegrityError, match="it stored sha256:"):
        store.write_stream(Pieces()) if streamed else store.write_blob(BLOB)


def test_a_place_without_a_query_gets_one(store: RegistryStore, registry: FakeRegistry) -> None:
    place = f"{registry.url}/v2/{WEB}/blobs/uploads/bare"
    registry.faults.add(respond(lambda: Response(202, b"", {"Location": place})), method="POST")
    registry.faults.add(status(201), method="PUT")
    store.write_blob(BLOB)
    assert registry.find("PUT")[0].query == f"digest={DIGEST.replace(':', '%3A')}"


# Content that is made on the way


def test_a_stream_is_one_post_one_patch_and_a_closing_put(store: RegistryStore, registry: FakeRegistry) -> None:
    pieces = Pieces()
    assert store.write_stream(pieces) == BLOB.descriptor
    assert methods(registry) == ["POST", "PATCH", "PUT"]
    patch, put = registry.requests[1:]
    assert "content-range" not in patch.headers
    assert "content-length" not in patch.headers
    assert (patch.body_size, put.body_size) == (len(DATA), 0)
    assert dict(put.parameters)["digest"] == DIGEST
    assert pieces.passes == 1
    assert held(registry) == {DIGEST: DATA}


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize(
    "action",
    [reset(), status(500), status(503), error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload"), status(404)],
    ids=["reset", "500", "503", "session unknown", "404"],
)
def test_a_broken_stream_begins_again(
    store: RegistryStore, registry: FakeRegistry, action: Action, method: str
) -> None:
    registry.faults.add(action, method=method)
    pieces = Pieces()
    assert store.write_stream(pieces) == BLOB.descriptor
    assert held(registry) == {DIGEST: DATA}
    assert pieces.passes == 2
    assert registry.count("PATCH") == 2


@pytest.mark.parametrize("answer", [reset(), status(500), error(404, "BLOB_UPLOAD_UNKNOWN", "gone")])
def test_a_stream_whose_last_answer_was_lost_is_not_made_again(
    store: RegistryStore, registry: FakeRegistry, answer: Action
) -> None:
    # ECR may end the session with the PATCH and refuse the PUT, while the blob is there.
    registry.faults.add(after_serving(answer), method="PUT")
    pieces = Pieces()
    assert store.write_stream(pieces) == BLOB.descriptor
    assert methods(registry) == ["POST", "PATCH", "PUT", "HEAD"]
    assert pieces.passes == 1


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("code", [400, 405, 411, 413, 416, 501])
def test_registries_that_do_not_take_streams_get_it_whole(
    store: RegistryStore, reached: Reach, registry: FakeRegistry, method: str, code: int
) -> None:
    registry.faults.add(status(code), method=method, times=FOREVER, when=_streams)
    pieces = Pieces()
    assert store.write_stream(pieces) == BLOB.descriptor
    assert held(registry) == {DIGEST: DATA}
    assert pieces.passes == 2
    whole = registry.find("PUT")[-1]
    assert whole.headers["content-length"] == str(len(DATA))
    assert reached.world.heard(Retried) == []
    # It is not tried with the next one.
    patches = registry.count("PATCH")
    store.write_stream(Pieces(DATA[1:]))
    assert registry.count("PATCH") == patches == 1


def _streams(request: Request) -> bool:
    return request.method == "PATCH" or request.headers.get("content-length") == "0"


@pytest.mark.parametrize("code", [404, 500])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_what_may_be_a_refusal_is_taken_for_one_the_second_time(
    store: RegistryStore, registry: FakeRegistry, method: str, code: int
) -> None:
    registry.faults.add(status(code), method=method, times=FOREVER, when=_streams)
    pieces = Pieces()
    assert store.write_stream(pieces) == BLOB.descriptor
    assert pieces.passes == 3
    assert registry.count("PATCH") == 2
    assert held(registry) == {DIGEST: DATA}


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (error(403, "DENIED", "not you"), DeniedError),
        (error(400, "LIMIT", "quota exceeded"), DeniedError),
        (error(404, "NAME_UNKNOWN", "no such repository"), NotFoundError),
    ],
)
def test_a_stream_that_is_denied_is_not_tried_another_way(
    store: RegistryStore, registry: FakeRegistry, action: Action, kind: type[ManifestctlError]
) -> None:
    registry.faults.add(action, method="PATCH", times=FOREVER)
    with pytest.raises(kind, match="uploading layer x of y to"):
        store.write_stream(Pieces())
    assert [request.method for request in registry.find(path_regex="/blobs/")] == ["POST", "PATCH"]


def test_a_profile_without_streams_spools_first(store: RegistryStore, registry: FakeRegistry) -> None:
    store.client.profile = Profile(streamed_uploads=False)
    pieces = Pieces()
    assert store.write_stream(pieces) == BLOB.descriptor
    assert methods(registry) == ["HEAD", "POST", "PUT"]
    assert pieces.passes == 1
    # What is there already is made, but not sent.
    assert store.write_stream(Pieces()) == BLOB.descriptor
    assert methods(registry)[3:] == ["HEAD"]


@pytest.mark.parametrize("streams", [True, False])
def test_what_fails_while_it_is_made_is_nobody_elses_fault(
    store: RegistryStore, registry: FakeRegistry, streams: bool
) -> None:
    store.client.profile = Profile(streamed_uploads=streams)
    with pytest.raises(IntegrityError, match="not the layer"):
        store.write_stream(Pieces(fault=IntegrityError("not the layer")))
    assert held(registry) == {}
    assert registry.count("PUT") == 0


def test_a_patch_that_does_not_say_where_to_go_on(store: RegistryStore, registry: FakeRegistry) -> None:
    registry.faults.add(header("Location", None), method="PATCH")
    assert store.write_stream(Pieces()) == BLOB.descriptor
    assert held(registry) == {DIGEST: DATA}


def test_a_token_that_ends_in_the_middle_is_renewed_and_all_is_sent_again() -> None:
    with FakeRegistry(auth=BearerAuth()) as registry, reach(registry) as reached:
        store = reached.store(WEB)
        auth = registry.auth
        assert isinstance(auth, BearerAuth)
        pieces = Pieces()
        registry.faults.add(_revoking(auth), method="POST", path=UPLOADS)
        assert store.write_stream(pieces) == BLOB.descriptor
        assert [patch.status for patch in registry.find("PATCH")] == [401, 202]
        assert held(registry) == {DIGEST: DATA}
        assert pieces.passes == 2
        assert [post.status for post in registry.find("POST", UPLOADS)] == [401, 202]


def _revoking(auth: BearerAuth) -> Action:
    def action(exchange: Exchange) -> Response:
        response = exchange.serve()
        auth.revoke_all()
        return response

    return action


def test_closing_an_upload_is_paced(store: RegistryStore, reached: Reach, registry: FakeRegistry) -> None:
    store.client.blob_pacer = Pacer(2.0, 1, reached.world.runtime)
    for number in range(3):
        store.write_stream(Pieces(bytes([number])))
    store.write_blob(BLOB)
    assert reached.world.slept == [0.5, 0.5, 0.5]
    assert registry.count("PUT") == 4


# Mounting


@pytest.fixture
def other(reached: Reach, registry: FakeRegistry) -> RegistryStore:
    registry.put_blob("team/other", DATA)
    return reached.store("team/other")


def test_a_blob_is_mounted(store: RegistryStore, other: RegistryStore, registry: FakeRegistry) -> None:
    assert store.mount(BLOB.descriptor, other) is True
    post = registry.requests[0]
    assert dict(post.parameters) == {"mount": DIGEST, "from": "team/other"}
    assert post.body_size == 0
    # Some registries say so and have not.
    assert methods(registry) == ["POST", "HEAD"]
    assert held(registry) == {DIGEST: DATA}


@pytest.mark.parametrize(
    "action",
    [
        status(201),
        error(401, "UNAUTHORIZED", "no pull there"),
        error(403, "DENIED", "no pull there"),
        error(404, "BLOB_UNKNOWN", "no"),
        status(405),
        status(500),
        reset(),
    ],
    ids=["a lie", "401", "403", "404", "405", "500", "reset"],
)
def test_where_mounting_does_not_work_the_blob_is_sent(
    store: RegistryStore, other: RegistryStore, registry: FakeRegistry, action: Action
) -> None:
    registry.faults.add(action, method="POST", path="mount=|uploads/$", times=FOREVER, when=_mounts)
    assert store.mount(BLOB.descriptor, other) is False
    assert store.write_blob(BLOB) is True


def _mounts(request: Request) -> bool:
    return request.parameter("mount") is not None


@pytest.mark.parametrize(
    ("action", "asked"),
    [
        (error(401, "UNAUTHORIZED", "no pull there"), 1),
        (error(403, "DENIED", "no pull there"), 1),
        (status(400), 1),
        (status(405), 1),
        (status(501), 1),
        # These may be about the one blob, or pass.
        (error(404, "BLOB_UNKNOWN", "no"), 3),
        (status(429), 3),
        (status(503), 3),
        (status(201), 3),
    ],
    ids=["401", "403", "400", "405", "501", "404", "429", "503", "a lie"],
)
def test_a_refused_mount_is_not_asked_for_again(
    store: RegistryStore, other: RegistryStore, reached: Reach, registry: FakeRegistry, action: Action, asked: int
) -> None:
    registry.put_blob("team/third", DATA)
    registry.faults.add(
        action, method="POST", times=FOREVER, when=lambda request: request.parameter("from") == "team/other"
    )
    for number in range(3):
        blob = Blob.of(bytes([number]), "application/octet-stream")
        assert store.mount(blob.descriptor, other) is False
        assert store.write_blob(blob) is True
    assert len([post for post in registry.find("POST") if post.parameters]) == asked
    # What one repository refuses another may give.
    assert store.mount(BLOB.descriptor, reached.store("team/third")) is True


def test_a_mount_that_cannot_be_verified_is_none(
    store: RegistryStore, other: RegistryStore, registry: FakeRegistry
) -> None:
    registry.faults.add(reset(), method="HEAD")
    assert store.mount(BLOB.descriptor, other) is False
    # It was mounted all the same, and that is found.
    assert store.write_blob(BLOB) is False


def test_a_mount_that_nobody_answers_is_not_asked_for_again(
    store: RegistryStore, other: RegistryStore, reached: Reach, registry: FakeRegistry
) -> None:
    registry.faults.add(reset(), method="POST", times=FOREVER, when=_mounts)
    for _ in range(3):
        assert store.mount(BLOB.descriptor, other) is False
    assert registry.count("POST") == 5
    assert len(reached.world.heard(Retried)) == 4


def test_the_first_mount_is_waited_for(store: RegistryStore, other: RegistryStore, registry: FakeRegistry) -> None:
    begun, refused = threading.Barrier(8), threading.Event()
    asked: list[Request] = []

    def refusing(exchange: Exchange) -> Response:
        asked.append(exchange.request)
        assert refused.wait(5)
        return Response(403)

    def mount(data: bytes) -> bool:
        begun.wait(5)
        return store.mount(Blob.of(data, "application/octet-stream").descriptor, other)

    registry.faults.add(refusing, method="POST", times=FOREVER, when=_mounts)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(store.mount, BLOB.descriptor, other)
        others = [pool.submit(mount, bytes([number])) for number in range(7)]
        begun.wait(5)
        refused.set()
        assert [mounted.result(5) for mounted in (first, *others)] == [False] * 8
    assert len(asked) == 1


def test_a_session_instead_of_a_mount_is_used(store: RegistryStore, reached: Reach, registry: FakeRegistry) -> None:
    absent = reached.store("team/absent")
    for number in range(3):
        blob = Blob.of(bytes([number]), "application/octet-stream")
        assert store.mount(blob.descriptor, absent) is False
        assert store.write_blob(blob) is True
    assert methods(registry) == ["POST", "HEAD", "PUT"] * 3
    # Each session that was opened was closed.
    assert [recorded.status for recorded in registry.find("POST|PUT")] == [202, 201] * 3


def test_a_session_instead_of_a_mount_that_is_gone(
    store: RegistryStore, reached: Reach, registry: FakeRegistry
) -> None:
    assert store.mount(BLOB.descriptor, reached.store("team/absent")) is False
    registry.faults.add(error(404, "BLOB_UPLOAD_UNKNOWN", "no such upload"), method="PUT")
    assert store.write_blob(BLOB) is True
    assert methods(registry) == ["POST", "HEAD", "PUT", "HEAD", "POST", "PUT"]
    assert held(registry) == {DIGEST: DATA}


def test_a_session_instead_of_a_mount_without_a_place(
    store: RegistryStore, reached: Reach, registry: FakeRegistry
) -> None:
    registry.faults.add(header("Location", None), method="POST", when=_mounts)
    assert store.mount(BLOB.descriptor, reached.store("team/absent")) is False
    assert store.write_blob(BLOB) is True
    assert registry.count("POST") == 2


def test_nothing_is_asked_where_nothing_can_be_mounted(
    store: RegistryStore, other: RegistryStore, registry: FakeRegistry
) -> None:
    with reach(registry) as elsewhere:
        assert store.mount(BLOB.descriptor, elsewhere.store("team/other")) is False
    store.client.profile = Profile(blob_mount=False)
    assert store.mount(BLOB.descriptor, other) is False
    assert registry.requests == []


# Memory

_CHILD = """
import os, sys
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.location import parse_location
from manifestctl.runtime import Runtime
from manifestctl.stores.locate import Stores
from manifestctl.verbs.pack import PackedLayer

CHUNK = os.urandom(1 << 20)
COUNT = int(sys.argv[2])
LAYER = Descriptor("application/vnd.oci.image.layer.v1.tar", Digest("sha256", "0" * 64), COUNT << 20)

with Stores.of_system(Runtime.of_system({})) as stores:
    store = stores(parse_location(sys.argv[1]), write=True)
    layer = PackedLayer("the layer", LAYER, lambda: iter([CHUNK] * COUNT), (sys.argv[3], None), media_type="x/y")
    assert store.write_stream(layer).size >= LAYER.size
# What getrusage says may be of the process that started this one.
[peak] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak) // 1024)
"""


class _Sink(BaseHTTPRequestHandler):
    """A registry that takes every upload and keeps nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base calls it so
        del format, args

    def do_POST(self) -> None:
        self._answer(202)

    def do_PATCH(self) -> None:
        while (size := int(self.rfile.readline(), 16)) > 0:
            self.rfile.read(size + 2)
        self.rfile.readline()
        self._answer(202)

    def do_PUT(self) -> None:
        self._answer(201)

    def _answer(self, code: int) -> None:
        self.send_response(code)
        self.send_header("Location", "/v2/sink/blobs/uploads/one")
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def sink() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Sink) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}/sink"
        server.shutdown()
        thread.join()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("kind", ["gzip", "none"])
def test_memory_does_not_grow_with_a_layer(sink: str, kind: str) -> None:
    """The peak of a process of its own that sends a layer, in MiB."""
    peaks = []
    for size in ("1", "128"):
        command = [sys.executable, "-c", _CHILD, sink, size, kind]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
        peaks.append(int(done.stdout))
    assert peaks[1] - peaks[0] < 24
    assert peaks[1] < 120
