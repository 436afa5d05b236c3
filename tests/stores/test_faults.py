"""What goes wrong on real sockets: each fault, on each operation of a store, ends in the right bytes or one clear error."""

from __future__ import annotations

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    IntegrityError,
    ManifestctlError,
    UnreachableError,
)
from manifestctl.events import Exchanged
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.published import Published
from manifestctl.stores.base import Blob, Content
from manifestctl.transport.credentials import Credential
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.publish import Guard, TagState, publish_tag
from tests.support import images
from tests.support.actions import (
    HOSTILE_TEXT,
    after_serving,
    close,
    digest_header,
    error,
    false_created,
    gzip_bomb,
    hostile_error,
    huge,
    lag,
    proxy_page,
    redirect,
    reset,
    slow,
    stall,
    status,
    store_instead,
    truncated,
    unauthorized,
    wrong_bytes,
)
from tests.support.blob_host import BlobHost
from tests.support.fake_auth import BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.reach import Reach, reach
from tests.support.world import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from manifestctl.stores.registry import RegistryStore
    from tests.support.faults import Action

WEB = "team/web"
CI = Credential("the test's file", "ci", "pass-word-of-ci")
IMAGE, OTHER = images.image("linux/amd64"), images.image("linux/arm64")
CONTENT = Content.of(OTHER.manifest, OTHER.media_type)
DATA = bytes(range(256)) * 64
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))
NOW = datetime.fromtimestamp(EPOCH, UTC)
MEBIBYTE = 1024 * 1024


@pytest.fixture
def filled(registry: FakeRegistry) -> FakeRegistry:
    registry.put(WEB, "1", IMAGE)
    registry.put_blob(WEB, DATA)
    registry.reset()
    return registry


@pytest.fixture
def reached(filled: FakeRegistry) -> Iterator[Reach]:
    with reach(filled) as made:
        yield made


@dataclass(frozen=True)
class Operation:
    """One thing to do with a store, the requests it makes, and what it must give."""

    name: str
    method: str
    path: str
    run: Callable[[RegistryStore], object]
    result: object

    def __str__(self) -> str:
        return self.name


def stream(store: RegistryStore) -> bytes:
    with store.open_blob(BLOB) as chunks:
        return b"".join(chunks)


MANIFEST = Operation("manifest", "GET", "/manifests/", lambda store: store.read_manifest("1").raw, IMAGE.manifest)
PINNED = Operation("pinned", "GET", "/manifests/", lambda store: store.read_manifest(IMAGE.digest).raw, IMAGE.manifest)
RESOLVE = Operation("resolve", "HEAD", "/manifests/", lambda store: str(store.resolve("1").digest), IMAGE.digest)
READ_BLOB = Operation("blob", "GET", "/blobs/", lambda store: store.read_blob(BLOB, 2 * len(DATA)), DATA)
HAS = Operation("has", "HEAD", "/blobs/", lambda store: store.has(BLOB), True)
TAGS = Operation("tags", "GET", "/tags/", lambda store: store.tags(), ["1"])
STREAM = Operation("stream", "GET", "/blobs/", stream, DATA)
WRITE = Operation("write", "PUT", "/manifests/", lambda store: store.write_manifest(CONTENT, "2"), None)
UPLOAD = Operation(
    "upload",
    "PUT|POST",
    "/uploads/",
    lambda store: store.write_blob(Blob.of(b"new", "application/octet-stream")) is not None,
    True,
)

READS = [MANIFEST, PINNED, RESOLVE, READ_BLOB, HAS, TAGS]
WITH_BODY = [MANIFEST, PINNED, READ_BLOB, TAGS]
ALL = [*READS, WRITE, UPLOAD]
every = pytest.mark.parametrize("operation", ALL, ids=str)
every_read = pytest.mark.parametrize("operation", READS, ids=str)
every_body = pytest.mark.parametrize("operation", WITH_BODY, ids=str)


def failing(reached: Reach, operation: Operation) -> ManifestctlError:
    """Run an operation that must fail; whatever it says is one harmless line that names the repository."""
    with pytest.raises(ManifestctlError) as raised:
        operation.run(reached.store(WEB, write=True))
    problem = raised.value
    reached.check_quiet(problem)
    assert problem.message.isprintable()
    assert not problem.message.lstrip().startswith("::")
    assert f"{reached.host}/{WEB}" in problem.message
    return problem


# What passes.


@pytest.mark.parametrize(
    ("action", "operation"),
    [
        *((status(code), MANIFEST) for code in (408, 429, 500, 502, 503, 504, 507, 522, 523, 524)),
        *((action, MANIFEST) for action in (error(429, "TOOMANYREQUESTS", "rate limit exceeded"), proxy_page(502))),
        *((action, operation) for action in (status(503), reset(), close()) for operation in ALL),
    ],
)
def test_what_passes_is_tried_again(filled: FakeRegistry, reached: Reach, action: Action, operation: Operation) -> None:
    fault = filled.faults.add(action, method=operation.method, path=operation.path, times=2)
    assert operation.run(reached.store(WEB, write=True)) == operation.result
    assert fault.hits == 2
    assert reached.retried == 2
    assert reached.meter.counts()["retried"] == 2


@every
@pytest.mark.parametrize("action", [status(503), reset()])
def test_what_does_not_pass_ends_after_five_tries(
    filled: FakeRegistry, reached: Reach, operation: Operation, action: Action
) -> None:
    fault = filled.faults.add(action, method=operation.method, path=operation.path, times=FOREVER)
    problem = failing(reached, operation)
    assert type(problem) is UnreachableError
    assert fault.hits == 5
    assert "safe" in problem.hint


@pytest.mark.parametrize(
    ("action", "operation"),
    [
        *((action, operation) for action in (status(501), proxy_page(403), status(418)) for operation in ALL),
        # Of what HEAD is refused with only the status is seen.
        *((error(503, "DENIED", "no"), operation) for operation in ALL if operation.method != "HEAD"),
    ],
)
def test_what_never_passes_is_not_tried_again(
    filled: FakeRegistry, reached: Reach, action: Action, operation: Operation
) -> None:
    filled.faults.add(action, method=operation.method, path=operation.path, times=FOREVER)
    if operation is RESOLVE:
        assert operation.run(reached.store(WEB)) == operation.result
        return
    failing(reached, operation)
    assert reached.retried == 0
    assert reached.world.slept == []
    assert filled.count(path_regex=operation.path) <= 2


@every
@pytest.mark.parametrize(
    ("after", "slept"), [(7, 7.0), ("12", 12.0), (NOW + timedelta(seconds=25), 25.0), (NOW - timedelta(hours=1), None)]
)
def test_the_registry_says_how_long_to_wait(
    filled: FakeRegistry, reached: Reach, operation: Operation, after: object, slept: float | None
) -> None:
    filled.faults.add(status(429, retry_after=after), method=operation.method, path=operation.path)  # type: ignore[arg-type]
    assert operation.run(reached.store(WEB, write=True)) == operation.result
    assert len(reached.world.slept) == 1
    assert reached.world.slept[0] == slept if slept is not None else reached.world.slept[0] < 1.0


@every
@pytest.mark.parametrize("after", [301, 10**9, NOW + timedelta(days=1)])
def test_a_wait_past_the_deadline_fails_at_once(
    filled: FakeRegistry, reached: Reach, operation: Operation, after: object
) -> None:
    filled.faults.add(status(429, retry_after=after), method=operation.method, path=operation.path)  # type: ignore[arg-type]
    problem = failing(reached, operation)
    assert "which is past the deadline of 300 s" in problem.message
    assert "log in" in problem.hint
    assert reached.world.slept == []


@pytest.mark.parametrize("operation", [MANIFEST, RESOLVE, HAS, WRITE], ids=str)
def test_a_registry_that_stalls_is_asked_again(filled: FakeRegistry, operation: Operation) -> None:
    fault = filled.faults.add(stall(), method=operation.method, path=operation.path)
    with reach(filled, settings=TransportSettings(read_timeout=0.05, retries=50)) as reached:
        assert operation.run(reached.store(WEB, write=True)) == operation.result
        assert fault.hits == 1
        assert reached.retried >= 1
        filled.release()
    assert "did not answer in time" in reached.world.heard(Exchanged)[0].detail


def test_a_registry_that_goes_on_stalling(filled: FakeRegistry) -> None:
    filled.faults.add(stall(), times=FOREVER)
    with reach(filled, settings=TransportSettings(read_timeout=0.02, retries=2)) as reached:
        problem = failing(reached, MANIFEST)
        filled.release()
    assert "did not answer in time" in problem.message
    assert "--timeout" in problem.hint


# Bodies that are not what they should be.


@every_body
@pytest.mark.parametrize("by_reset", [True, False])
@pytest.mark.parametrize("keep", [0, 1, None])
def test_a_body_that_breaks_off_is_read_again(
    filled: FakeRegistry, reached: Reach, operation: Operation, keep: int | None, by_reset: bool
) -> None:
    filled.faults.add(truncated(keep, by_reset=by_reset), method="GET", path=operation.path, times=2)
    assert operation.run(reached.store(WEB)) == operation.result
    assert reached.retried == 2


@every_body
def test_a_body_that_always_breaks_off(filled: FakeRegistry, reached: Reach, operation: Operation) -> None:
    filled.faults.add(truncated(), method="GET", path=operation.path, times=FOREVER)
    problem = failing(reached, operation)
    assert type(problem) is UnreachableError
    assert f"the connection to {reached.host} broke" in problem.message


def test_a_stream_that_breaks_off_is_an_error_that_passes(filled: FakeRegistry, reached: Reach) -> None:
    filled.faults.add(truncated(), path="/blobs/")
    problem = failing(reached, STREAM)
    assert isinstance(problem, UnreachableError)
    assert problem.transient
    assert stream(reached.store(WEB)) == DATA


@pytest.mark.parametrize("operation", [MANIFEST, PINNED, READ_BLOB, STREAM], ids=str)
def test_wrong_bytes_are_an_integrity_error_whoever_sent_them(
    filled: FakeRegistry, reached: Reach, operation: Operation
) -> None:
    with BlobHost(filled) as other:
        other.faults.add(wrong_bytes(), times=FOREVER)
        filled.faults.add(redirect(other.url), path=operation.path)
        filled.faults.add(wrong_bytes(), path=operation.path, times=FOREVER)
        for _ in range(2):
            problem = failing(reached, operation)
            assert type(problem) is IntegrityError
            assert reached.retried == 0
        assert other.count() == 1


def test_a_header_that_lies_about_a_tag(filled: FakeRegistry, reached: Reach) -> None:
    filled.faults.add(digest_header(OTHER.digest), method="GET")
    assert type(failing(reached, MANIFEST)) is IntegrityError


@every_body
def test_a_slow_body_is_read_whole(filled: FakeRegistry, reached: Reach, operation: Operation) -> None:
    filled.faults.add(slow(pieces=8, delay=0.001), path=operation.path)
    assert operation.run(reached.store(WEB)) == operation.result
    assert reached.retried == 0


# Bodies that are too large.


@pytest.fixture
def memory() -> Iterator[Callable[[], int]]:
    """Give a function that says how many bytes were in use at most since the test began."""
    tracemalloc.start()
    try:
        yield lambda: tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


BEARER = 'Bearer realm="{url}/token",service="fake.registry"'


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("code", [401, 307, 403, 404, 500, 400])
def test_what_is_not_content_is_not_read_whole(
    filled: FakeRegistry, memory: Callable[[], int], code: int, declared: bool
) -> None:
    auth = BearerAuth(users={"ci": CI.password})
    with FakeRegistry(auth=auth) as registry, BlobHost(filled) as other:
        registry.put(WEB, "1", IMAGE)
        headers = {401: {"WWW-Authenticate": BEARER.replace("{url}", registry.url)}}
        headers[307] = {"Location": f"{other.url}/v2/{WEB}/manifests/1"}
        body = huge(code, 400, declared=declared, headers=headers.get(code))
        registry.faults.add(body, path="/v2/", before_auth=True)
        with reach(registry, credentials=[CI]) as reached:
            # A 403 to who has sent nothing is followed up on /v2/.
            if code in (401, 307, 403, 500):
                assert reached.store(WEB).read_manifest("1").raw == IMAGE.manifest
            else:
                failing(reached, MANIFEST)
            assert reached.meter.counts()["bytes_in"] < MEBIBYTE
        registry.drop_connections()
    assert memory() < 8 * MEBIBYTE
    # The sockets of both sides hold some of it; the rest was never sent.
    assert max(recorded.sent for recorded in registry.requests) < 32 * MEBIBYTE


def test_a_token_is_not_read_without_end(memory: Callable[[], int]) -> None:
    with FakeRegistry(auth=BearerAuth(users={"ci": CI.password})) as registry:
        registry.faults.add(huge(200, 400), path="/token")
        with reach(registry, credentials=[CI]) as reached, pytest.raises(UnreachableError, match="holds no token"):
            reached.store(WEB).read_manifest("1")
        registry.drop_connections()
    assert memory() < 8 * MEBIBYTE


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("operation", "limit"), [(MANIFEST, 4), (PINNED, 4), (READ_BLOB, 1), (TAGS, 16), (STREAM, 1)], ids=str
)
def test_content_is_read_up_to_its_limit(
    filled: FakeRegistry, reached: Reach, operation: Operation, limit: int, declared: bool
) -> None:
    filled.faults.add(huge(200, 400, declared=declared), path=operation.path)
    problem = failing(reached, operation)
    assert "larger than" in problem.message or "more than" in problem.message
    assert reached.meter.counts()["bytes_in"] <= (limit + 1) * MEBIBYTE
    assert reached.retried == 0


@every_body
def test_a_packed_answer_is_not_unpacked(
    filled: FakeRegistry, reached: Reach, memory: Callable[[], int], operation: Operation
) -> None:
    filled.faults.add(gzip_bomb(64), path=operation.path, times=FOREVER)
    problem = failing(reached, operation)
    assert type(problem) is UnreachableError
    assert "packed as 'gzip', which was not asked for" in problem.message
    assert reached.meter.counts()["bytes_in"] == 0
    assert reached.retried == 0
    assert memory() < 16 * MEBIBYTE


def test_a_packed_stream_is_not_unpacked(filled: FakeRegistry, reached: Reach) -> None:
    filled.faults.add(gzip_bomb(1), path="/blobs/")
    assert "packed as 'gzip'" in failing(reached, STREAM).message


# Words that try something.


@every
@pytest.mark.parametrize("code", [400, 401, 403, 404, 409, 501])
def test_hostile_words_are_harmless(filled: FakeRegistry, reached: Reach, operation: Operation, code: int) -> None:
    filled.faults.add(hostile_error(code, "X\n::error::y"), path=operation.path, times=FOREVER)
    if operation is HAS and code == 404:
        assert not operation.run(reached.store(WEB))
        return
    problem = failing(reached, operation)
    if operation.method != "HEAD" or operation is RESOLVE:
        assert "::add-mask::secret\\r\\n" in problem.message
    assert "##[" not in problem.message


@every
def test_hostile_words_of_what_passes_are_harmless_in_events(
    filled: FakeRegistry, reached: Reach, operation: Operation
) -> None:
    filled.faults.add(hostile_error(503, "UNAVAILABLE"), method=operation.method, path=operation.path)
    assert operation.run(reached.store(WEB, write=True)) == operation.result
    reached.check_quiet()
    assert HOSTILE_TEXT not in repr(reached.world.events)


@every
def test_a_page_of_a_proxy_says_so(filled: FakeRegistry, reached: Reach, operation: Operation) -> None:
    filled.faults.add(proxy_page(403), path=operation.path, times=FOREVER)
    problem = failing(reached, operation)
    assert isinstance(problem, DeniedError)
    if operation is not HAS:
        assert "an HTML page rather than a registry's answer" in problem.message
    assert "proxy variables" in problem.hint


@pytest.mark.parametrize("operation", [PINNED, READ_BLOB, TAGS], ids=str)
def test_a_page_of_a_proxy_with_status_200_is_not_taken(
    filled: FakeRegistry, reached: Reach, operation: Operation
) -> None:
    filled.faults.add(proxy_page(200), path=operation.path, times=FOREVER)
    failing(reached, operation)


# Other hosts.


@pytest.mark.parametrize("operation", [MANIFEST, READ_BLOB, HAS, STREAM, TAGS], ids=str)
@pytest.mark.parametrize(
    "challenge", ['Basic realm="x"', 'Bearer realm="{origin}/token",service="s"', 'Bearer realm="{url}/token"']
)
def test_a_host_that_a_redirect_leads_to_gets_no_credentials(operation: Operation, challenge: str) -> None:
    auth = BearerAuth(users={"ci": CI.password})
    with FakeRegistry(auth=auth) as registry:
        registry.put(WEB, "1", IMAGE)
        registry.put_blob(WEB, DATA)
        with BlobHost(registry, challenge=challenge.replace("{url}", registry.url)) as other:
            registry.faults.add(redirect(other.url), path=operation.path, times=FOREVER)
            with reach(registry, credentials=[CI]) as reached:
                problem = failing(reached, operation)
                reached.check_quiet(problem, secrets=auth.secrets)
            assert other.authorizations == []
            assert other.count() == 1
            assert other.count(path_regex="/token") == 0
    assert isinstance(problem, DeniedError)
    assert f"{other_host(problem)}, to which the registry leads, said 401" in problem.message
    assert len(auth.requests) == 1


def other_host(problem: ManifestctlError) -> str:
    return problem.message.partition(" failed: ")[2].partition(",")[0]


def test_a_host_that_leads_back_to_the_registry_gets_no_credentials() -> None:
    with FakeRegistry(auth=BasicAuth("ci", CI.password)) as registry:
        registry.put(WEB, "1", IMAGE)
        with BlobHost(registry) as other:
            registry.faults.add(redirect(other.url), path="/manifests/1")
            other.faults.add(redirect(registry.url))
            with reach(registry, credentials=[CI]) as reached:
                assert reached.store(WEB).read_manifest("1").raw == IMAGE.manifest
            assert other.authorizations == []


# Tokens.


@every
@pytest.mark.parametrize("uses", [1, 2, 3])
def test_a_token_that_expires_in_the_middle_is_renewed(operation: Operation, uses: int) -> None:
    auth = BearerAuth(users={"ci": CI.password}, uses=uses)
    with FakeRegistry(auth=auth) as registry, reach(registry, credentials=[CI]) as reached:
        registry.put(WEB, "1", IMAGE)
        registry.put_blob(WEB, DATA)
        store = reached.store(WEB, write=True)
        for _ in range(4):
            assert operation.run(store) in (operation.result, ["1", "2"])
        reached.check_quiet(secrets=auth.secrets)
        assert reached.retried == 0


@every
def test_an_endless_401_is_denied(operation: Operation) -> None:
    auth = BearerAuth(users={"ci": CI.password})
    with FakeRegistry(auth=auth) as registry, reach(registry, credentials=[CI]) as reached:
        challenge = BEARER.replace("{url}", registry.url)
        registry.faults.add(unauthorized(challenge), path="/v2/", times=FOREVER, before_auth=True)
        problem = failing(reached, operation)
        reached.check_quiet(problem, secrets=auth.secrets)
        assert registry.count() <= 12
    assert isinstance(problem, DeniedError)


# Load.


def test_many_refusals_at_once_slow_the_run_down_and_it_gets_through(filled: FakeRegistry) -> None:
    filled.faults.add(status(429, retry_after=1), times=10)
    with reach(filled, settings=TransportSettings(retries=20)) as reached, ThreadPoolExecutor(16) as pool:
        store = reached.store(WEB)
        assert set(pool.map(lambda _: store.read_manifest("1").raw, range(40))) == {IMAGE.manifest}
        assert reached.throttle.places < 16
        assert reached.retried == 10


def test_no_more_requests_are_under_way_than_places(filled: FakeRegistry) -> None:
    lock, busy, most = threading.Lock(), 0, 0

    def counted(exchange: object) -> object:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        threading.Event().wait(0.002)
        with lock:
            busy -= 1
        return exchange.serve()  # type: ignore[attr-defined]

    filled.faults.add(counted, times=FOREVER)  # type: ignore[arg-type]
    with reach(filled, settings=TransportSettings(concurrency=3)) as reached, ThreadPoolExecutor(12) as pool:
        store = reached.store(WEB)
        list(pool.map(lambda _: store.read_manifest("1"), range(24)))
    assert 1 < most <= 3
    assert filled.connections <= 4


# Publishing over all this.


def publish(reached: Reach, tag: str = "1") -> TagState:
    state = TagState(tag, old=Digest.parse(IMAGE.digest) if tag == "1" else None)
    publish_tag(reached.store(WEB, write=True), CONTENT, state, Guard(), reached.world.runtime)
    return state


def publishing_fails(reached: Reach, kind: type[ManifestctlError]) -> ManifestctlError:
    with pytest.raises(ManifestctlError) as raised:
        publish(reached)
    assert type(raised.value) is kind
    reached.check_quiet(raised.value)
    return raised.value


def test_a_registry_that_says_created_and_stores_nothing_is_found_out(filled: FakeRegistry, reached: Reach) -> None:
    filled.faults.add(false_created(), method="PUT")
    problem = publishing_fails(reached, ConflictError)
    assert f"the tag still holds {IMAGE.digest}" in problem.message
    assert sum(reached.world.slept) > 10.0


def test_a_registry_that_stores_something_else_is_found_out(filled: FakeRegistry, reached: Reach) -> None:
    third = images.image("linux/s390x")
    filled.faults.add(store_instead(third.manifest, third.media_type), method="PUT")
    problem = publishing_fails(reached, ConflictError)
    assert f"the tag holds {third.digest}" in problem.message


@pytest.mark.parametrize("missing", [False, True])
def test_a_registry_that_lags_does_not_fail(filled: FakeRegistry, reached: Reach, missing: bool) -> None:
    filled.faults.add(lag(3, missing=missing), method="PUT")
    assert publish(reached).moved == Published.YES
    assert filled.tag(WEB, "1") == OTHER.digest


@pytest.mark.parametrize("action", [status(502), reset()])
def test_a_lost_answer_does_not_fail(filled: FakeRegistry, reached: Reach, action: Action) -> None:
    filled.faults.add(after_serving(action), method="PUT")
    assert publish(reached).moved == Published.YES
    assert filled.count("PUT") == 1


def test_a_write_that_never_happened_says_what_the_tag_holds(filled: FakeRegistry, reached: Reach) -> None:
    filled.faults.add(reset(), method="PUT", times=FOREVER)
    problem = publishing_fails(reached, UnreachableError)
    assert f"it holds {IMAGE.digest}, so this was not published" in problem.message


def test_a_write_that_nobody_can_ask_about_is_unknown(filled: FakeRegistry, reached: Reach) -> None:
    filled.faults.add(after_serving(reset()), method="PUT")
    filled.faults.add(status(403), method="GET", times=FOREVER)
    with pytest.raises(ManifestctlError) as raised:
        publish(reached)
    assert isinstance(raised.value, UnreachableError | DeniedError)
    assert filled.tag(WEB, "1") == OTHER.digest
