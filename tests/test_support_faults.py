"""The fault script breaks what it says, and nothing else."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from tests.support import actions, images
from tests.support.blob_host import BlobHost
from tests.support.certificates import make_certificates
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.pushing import Client

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.faults import Action

REPOSITORY = "team/web"
MANIFEST = f"/v2/{REPOSITORY}/manifests/v1"
CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)


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


def test_a_fault_fits_by_method_path_and_count(registry: FakeRegistry, client: Client) -> None:
    fault = registry.faults.add(actions.status(503, retry_after=7), method="GET", path="/v1$", times=2, after=1)
    answers = [client.request("GET", MANIFEST) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["retry-after"] == "7"
    assert fault.hits == 2
    assert client.request("HEAD", MANIFEST).status == 200
    assert registry.connections == 1


@pytest.mark.parametrize(
    ("action", "status", "headers", "body"),
    [
        (actions.status(404, content_type=None), 404, {"content-length": "0"}, b""),
        (
            actions.status(429, retry_after=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)),
            429,
            {"retry-after": "Wed, 02 Jan 2030 03:04:05 GMT"},
            b"",
        ),
        (actions.error(429, "TOOMANYREQUESTS", "Rate exceeded"), 429, {}, b"Rate exceeded"),
        (actions.hostile_error(403), 403, {"content-type": "application/json"}, b"::add-mask::"),
        (actions.proxy_page(), 200, {"content-type": "text/html; charset=utf-8"}, b"<!DOCTYPE html>"),
        (actions.unauthorized('Basic realm="x"'), 401, {"www-authenticate": 'Basic realm="x"'}, b""),
        (actions.content_type("text/html"), 200, {"content-type": "text/html"}, b"schemaVersion"),
        (actions.digest_header("sha256:0"), 200, {"docker-content-digest": "sha256:0"}, b"schemaVersion"),
        (actions.wrong_bytes(b"other"), 200, {"content-length": "5"}, b"other"),
        (actions.slow(pieces=3, delay=0.001), 200, {}, b"schemaVersion"),
        (actions.redirect("http://127.0.0.1:1", 302), 302, {"location": f"http://127.0.0.1:1{MANIFEST}"}, b""),
        (actions.redirect(lambda request: request.target, query="a=b"), 307, {"location": f"{MANIFEST}?a=b"}, b""),
    ],
)
def test_answers_that_a_script_gives(
    registry: FakeRegistry, client: Client, action: Action, status: int, headers: dict[str, str], body: bytes
) -> None:
    registry.faults.add(action)
    answer = client.request("GET", MANIFEST)
    assert answer.status == status
    assert headers.items() <= answer.headers.items()
    assert body in answer.body
    assert client.request("GET", MANIFEST).status == 200
    assert registry.connections == 1


@pytest.mark.parametrize("name", ["Content-Type", "Docker-Content-Digest"])
def test_headers_can_be_left_out(registry: FakeRegistry, client: Client, name: str) -> None:
    registry.faults.add(actions.header(name, None))
    assert name.lower() not in client.request("GET", MANIFEST).headers
    assert name.lower() in client.request("GET", MANIFEST).headers


def test_wrong_bytes_keep_length_and_digest_header(registry: FakeRegistry, client: Client) -> None:
    registry.faults.add(actions.wrong_bytes())
    false, right = client.request("GET", MANIFEST), client.request("GET", MANIFEST)
    assert false.headers == right.headers
    assert false.body != right.body


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (actions.reset(), ConnectionResetError),
        (actions.close(), http.client.RemoteDisconnected),
        (actions.truncated(), http.client.IncompleteRead),
        (actions.truncated(0), http.client.IncompleteRead),
        (actions.after_serving(actions.reset()), ConnectionResetError),
    ],
)
def test_connections_that_break(registry: FakeRegistry, client: Client, action: Action, error: type[Exception]) -> None:
    registry.faults.add(action)
    with pytest.raises(error):
        client.request("GET", MANIFEST)
    with Client(registry.url) as fresh:
        assert fresh.request("GET", MANIFEST).status == 200


def test_idle_connections_can_be_dropped(registry: FakeRegistry, client: Client) -> None:
    assert client.request("GET", MANIFEST).status == 200
    registry.drop_connections()
    with pytest.raises(CLOSED):
        client.request("GET", MANIFEST)
    with Client(registry.url) as fresh:
        assert fresh.request("GET", MANIFEST).status == 200


def test_a_stall_ends_with_the_server() -> None:
    stalled = FakeRegistry().start()
    fault = stalled.faults.add(actions.stall(), times=FOREVER)
    outcome: list[BaseException] = []

    def wait() -> None:
        with Client(stalled.url) as client:
            try:
                client.request("GET", "/v2/")
            except CLOSED as error:
                outcome.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    while fault.hits == 0:
        waiter.join(0.001)
    stalled.close()
    waiter.join(5)
    assert len(outcome) == 1
    assert stalled.open_connections == 0


@pytest.mark.parametrize("declared", [True, False])
def test_a_huge_body_stops_when_the_client_goes(*, registry: FakeRegistry, declared: bool) -> None:
    registry.faults.add(actions.huge(401, 400, declared=declared))
    with socket.create_connection(("127.0.0.1", registry.port)) as raw:
        raw.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
        assert raw.recv(15).startswith(b"HTTP/1.1 401")
    registry.close()
    assert registry.find()[0].sent < 100 * 1024 * 1024


def test_a_gzip_bomb_is_small_on_the_wire(registry: FakeRegistry, client: Client) -> None:
    registry.faults.add(actions.gzip_bomb(2))
    answer = client.request("GET", MANIFEST)
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.body) < 64 * 1024
    assert len(zlib.decompress(answer.body, wbits=31)) == 2 * 1024 * 1024


NEW = images.image("linux/arm64", seed="new")
LIE = images.image("linux/s390x", seed="lie")


@pytest.mark.parametrize(
    ("action", "status", "holds", "reads"),
    [
        (actions.false_created(), 201, "old", ["old", "old"]),
        (actions.store_instead(LIE.manifest, LIE.media_type), 201, LIE.digest, [LIE.digest, LIE.digest]),
        (actions.lag(1), 201, NEW.digest, ["old", NEW.digest]),
        (actions.lag(1, missing=True), 201, NEW.digest, [None, NEW.digest]),
        (actions.after_serving(actions.status(500)), 500, NEW.digest, [NEW.digest, NEW.digest]),
        (actions.status(500), 500, "old", ["old", "old"]),
    ],
)
def test_puts_whose_outcome_is_not_what_was_said(
    registry: FakeRegistry, client: Client, action: Action, status: int, holds: str, reads: list[str | None]
) -> None:
    old = registry.tag(REPOSITORY, "v1")
    registry.faults.add(action, method="PUT")
    answer = client.request("PUT", MANIFEST, NEW.manifest, Content_Type=NEW.media_type)
    assert answer.status == status
    if status == 201:
        assert answer.headers["docker-content-digest"] == NEW.digest
    assert registry.tag(REPOSITORY, "v1") == (old if holds == "old" else holds)
    seen = [client.request("GET", MANIFEST).headers.get("docker-content-digest") for _ in reads]
    assert seen == [old if digest == "old" else digest for digest in reads]


def test_another_host_serves_the_content_or_asks_for_a_password(registry: FakeRegistry) -> None:
    with BlobHost(registry) as host, BlobHost(registry, challenge='Bearer realm="{origin}/token"') as thief:
        with Client(host.url, authorization="Bearer x") as client:
            assert client.request("GET", MANIFEST).status == 200
        with Client(thief.url) as client:
            refused = client.request("GET", MANIFEST)
            assert refused.headers["www-authenticate"] == f'Bearer realm="{thief.url}/token"'
            assert client.request("GET", "/token").status == 200
    assert (host.authorizations, thief.authorizations) == (["Bearer x"], [])


def test_https_with_client_certificates(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    trusting = certificates.client_context()
    with FakeRegistry(tls=certificates.server_context(ask_client=True)) as guarded:
        with Client(guarded.url, context=trusting) as client, pytest.raises((ssl.SSLError, *CLOSED)):
            client.request("GET", "/v2/")
        trusting.load_cert_chain(certificates.client, certificates.client_key)
        with Client(guarded.url, context=trusting) as client:
            assert client.request("GET", "/v2/").status == 200
        with Client(guarded.url) as client, pytest.raises(ssl.SSLCertVerificationError):
            client.request("GET", "/v2/")
    assert guarded.tls_failures == 2
