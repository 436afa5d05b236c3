"""The loop over HTTP: where requests go, what they carry, how much of an answer is read, and what is observed of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from manifestctl.errors import DeniedError, IntegrityError, InterruptedRun, ManifestctlError, UnreachableError
from manifestctl.events import Exchanged
from manifestctl.transport.credentials import Credential
from manifestctl.transport.message import BODY_LIMIT, Body, Request, Response
from manifestctl.transport.meter import Meter
from manifestctl.transport.settings import TransportSettings
from tests.support.actions import close, gzip_bomb, header, hold, redirect, reset, status
from tests.support.fake_auth import BasicAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.http_message import Request as Received
from tests.support.http_message import Response as Answer
from tests.support.http_server import HttpServer
from tests.support.reach import Reach, reach

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.certificates import Certificates

PATIENCE = 5.0
USER = Credential("the test's file", "ci", "pass-word-of-ci")


class Echo(HttpServer):
    """Answers 200 with the request's target; below ``/pieces/N`` with N bytes, in chunks."""

    def answer(self, request: Received) -> Answer:
        _ = request.body
        if request.path.startswith("/pieces/"):
            count = int(request.path.rpartition("/")[2])
            pieces = (b"x" * min(8192, count - at) for at in range(0, count, 8192))
            return Answer(200, pieces, {"Content-Type": "text/plain"})
        return Answer(200, request.target.encode(), {"Content-Type": "text/plain", "Set-Cookie": "session=1; Path=/"})


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Echo]:
    with Echo() as server:
        yield server


def get(path: str, **fields: object) -> Request:
    return Request("GET", path, "team/web", doing="reading team/web:1", **fields)  # type: ignore[arg-type]


def failing(reached: Reach, request: Request) -> ManifestctlError:
    with pytest.raises(ManifestctlError) as raised:
        reached.client.send(request)
    assert "\n" not in raised.value.message
    return raised.value


# What is sent.


@pytest.mark.parametrize(
    "target",
    [
        "/v2/team/web/manifests/1",
        "/v2/team/web/manifests/sha256:abc",
        "/v2/x?_state=a%2Fb%3D%3D&uuid=1",
        "/v2/x?_state=a+b/c==&digest=sha256%3Aab",
        "/v2/x?",
        "/v2/x?next=https://elsewhere.example/",
    ],
)
def test_a_target_is_asked_for_as_it_is(echo: Echo, target: str) -> None:
    with reach(echo) as reached:
        assert reached.client.send(get(target)).body.decode() == target.removesuffix("?")
        assert reached.client.send(get(echo.url + target)).body.decode() == target.removesuffix("?")


def test_every_request_says_who_asks_and_wants_bytes_as_they_are(echo: Echo) -> None:
    with reach(echo) as reached:
        reached.client.send(get("/a", headers={"Accept": "application/json"}))
    sent = echo.requests[0].headers
    assert sent["accept-encoding"] == "identity"
    assert sent["accept"] == "application/json"
    assert sent["user-agent"].startswith("manifestctl/")
    assert sent["host"] == echo.host
    assert "authorization" not in sent


def test_cookies_are_not_sent_back(echo: Echo) -> None:
    with reach(echo) as reached:
        for path in ("/a", "/b", "/b"):
            assert "set-cookie" in reached.client.send(get(path)).headers
    assert [recorded.headers.get("cookie") for recorded in echo.requests] == [None] * 3


@pytest.mark.parametrize(
    ("body", "length", "coding"),
    [(Body.of(b"hello"), "5", None), (Body.of(b""), "0", None), (Body(lambda: iter((b"he", b"llo"))), None, "chunked")],
)
def test_a_body_goes_with_its_length_if_that_is_known(
    echo: Echo, body: Body, length: str | None, coding: str | None
) -> None:
    with reach(echo) as reached:
        reached.client.send(Request("PUT", "/a", "team/web", body=body))
        sent = sum(len(chunk) for chunk in body.open())
        assert reached.meter.counts() == {"sent": 1, "retried": 0, "bytes_in": 2, "bytes_out": sent}
    recorded = echo.requests[0]
    assert recorded.body_size == sent
    assert (recorded.headers.get("content-length"), recorded.headers.get("transfer-encoding")) == (length, coding)


@pytest.mark.parametrize(
    ("length", "words"), [(5, "has 4 bytes, not the 5 bytes it should"), (3, "has more than the 3 bytes it should")]
)
def test_a_body_of_another_length_than_it_says_is_an_error(echo: Echo, length: int, words: str) -> None:
    with reach(echo) as reached:
        body = Body(lambda: iter((b"he", b"ll")), length)
        error = failing(reached, Request("PUT", "/a", body=body, doing="writing it"))
    assert isinstance(error, IntegrityError)
    assert error.message == f"writing it failed: what was to be sent {words}"


def test_connections_are_used_again(echo: Echo) -> None:
    echo.faults.add(status(404, b"x" * 1000), path="/b")
    echo.faults.add(redirect(lambda _: "/c"), path="/a")
    with reach(echo) as reached:
        for request in (get("/a"), get("/b"), Request("HEAD", "/d"), Request("PUT", "/e", body=Body.of(b"x"))):
            reached.client.send(request)
    assert echo.count() == 5
    assert echo.used_connections == 1


def test_a_connection_that_the_server_closed_is_made_anew(echo: Echo) -> None:
    with reach(echo) as reached:
        reached.client.send(get("/a"))
        echo.drop_connections()
        while echo.open_connections:
            threading.Event().wait(0.001)
        assert reached.client.send(get("/b")).ok
        assert reached.retried == 0


# What is read.


@pytest.mark.parametrize(
    ("limit", "length", "cut"), [(20_000, 20_000, False), (20_000, 20_001, True), (1, 70_000, True)]
)
def test_no_more_is_read_than_the_limit(echo: Echo, limit: int, length: int, cut: bool) -> None:
    with reach(echo) as reached:
        response = reached.client.send(get(f"/pieces/{length}", limit=limit))
    assert (len(response.body), response.truncated) == (min(limit, length), cut)


def test_what_is_an_error_has_a_limit_of_its_own(echo: Echo) -> None:
    echo.faults.add(status(500, b"x" * (BODY_LIMIT + 1)))
    with reach(echo) as reached:
        response = reached.client.send(get("/a", limit=4 * BODY_LIMIT))
    assert (len(response.body), response.truncated) == (BODY_LIMIT, True)


def test_an_answer_that_takes_longer_than_all_retries_may_is_given_up(echo: Echo) -> None:
    with reach(echo) as reached:

        def pieces() -> Iterator[bytes]:
            yield b"first"
            while not reached.meter.counts()["bytes_in"]:
                threading.Event().wait(0.001)
            reached.world.advance(301.0)
            yield b"second"

        echo.faults.add(lambda _: Answer(200, pieces()))
        error = failing(reached, get("/a"))
    assert error.message == "reading team/web:1 failed: the answer came too slowly"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "br", "deflate, gzip", "x\x1b"])
def test_a_packed_answer_is_refused_unread(echo: Echo, encoding: str) -> None:
    echo.faults.add(header("Content-Encoding", encoding))
    with reach(echo) as reached:
        error = failing(reached, get("/a"))
        assert reached.meter.counts()["bytes_in"] == 0
    assert isinstance(error, UnreachableError)
    assert not error.transient
    assert "which was not asked for" in error.message
    assert error.message.isprintable()
    assert "proxy" in error.hint


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_an_answer_that_says_it_is_not_packed_is_taken(echo: Echo, encoding: str) -> None:
    echo.faults.add(header("Content-Encoding", encoding))
    with reach(echo) as reached:
        assert reached.client.send(get("/a")).body == b"/a"


def test_of_a_packed_error_the_status_counts(echo: Echo) -> None:
    echo.faults.add(lambda exchange: Answer(403, gzip_bomb(1)(exchange).body, {"Content-Encoding": "gzip"}))
    with reach(echo) as reached:
        response = reached.client.send(get("/a"))
    assert (response.status, response.body) == (403, b"")


def test_head_may_speak_of_a_packed_form(echo: Echo) -> None:
    echo.faults.add(header("Content-Encoding", "gzip"))
    with reach(echo) as reached:
        response = reached.client.send(Request("HEAD", "/abc"))
    assert response.ok
    assert response.length is None


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ({"content-length": "12"}, 12),
        ({"content-length": "12", "content-encoding": "identity"}, 12),
        ({"content-length": "12", "content-encoding": "gzip"}, None),
        ({"content-length": "-1"}, None),
        ({"content-length": "٣"}, None),
        ({"content-length": "1, 1"}, None),
        ({}, None),
    ],
)
def test_the_length_of_a_response(headers: dict[str, str], length: int | None) -> None:
    assert Response(200, headers, b"").length == length


def test_a_stream_gives_the_body_as_it_comes(echo: Echo) -> None:
    go_on = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"first"
        go_on.wait(PATIENCE)
        yield b"second"

    echo.faults.add(lambda _: Answer(200, pieces()))
    with reach(echo) as reached, reached.client.stream(get("/a")) as stream:
        assert stream.response.ok
        assert next(stream.chunks) == b"first"
        go_on.set()
        assert list(stream.chunks) == [b"second"]


def test_a_stream_of_an_error_has_its_body_and_no_chunks(echo: Echo) -> None:
    echo.faults.add(status(404, b"not here"))
    with reach(echo) as reached, reached.client.stream(get("/a")) as stream:
        assert (stream.response.status, stream.response.body) == (404, b"not here")
        assert list(stream.chunks) == []


def test_a_stream_that_is_left_early_frees_its_connection(echo: Echo) -> None:
    with reach(echo) as reached:
        with reached.client.stream(get("/pieces/1000000")) as stream:
            next(stream.chunks)
        assert reached.meter.counts()["bytes_in"] < 1_000_000
        assert reached.client.send(get("/a")).ok


# Redirects.


@pytest.mark.parametrize("code", [301, 302, 307, 308])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
def test_redirects_are_followed_with_the_same_method_and_body(echo: Echo, other: Echo, code: int, method: str) -> None:
    echo.faults.add(redirect(other.url, code, query="X-Amz-Signature=a%2Fb"))
    body = Body.of(b"content") if method == "PUT" else None
    with reach(echo) as reached:
        response = reached.client.send(Request(method, "/v2/a", "a", {"X-Kept": "1"}, body))
    assert response.ok
    assert response.away == other.host
    recorded = other.requests[0]
    assert (recorded.method, recorded.path, recorded.query) == (method, "/v2/a", "X-Amz-Signature=a%2Fb")
    assert recorded.headers["x-kept"] == "1"
    assert recorded.body == (b"content" if body else b"")


@pytest.mark.parametrize(("method", "then"), [("PUT", "GET"), ("GET", "GET"), ("HEAD", "HEAD")])
def test_see_other_is_asked_by_get(echo: Echo, other: Echo, method: str, then: str) -> None:
    echo.faults.add(redirect(other.url, 303))
    with reach(echo) as reached:
        assert reached.client.send(Request(method, "/a", body=Body.of(b"x") if method == "PUT" else None)).ok
    assert (other.requests[0].method, other.requests[0].body) == (then, b"")


@pytest.mark.parametrize(
    ("location", "path"),
    [("/b?x=1", "/b?x=1"), ("b", "/v2/b"), ("../c", "/c"), ("?n=2", "/v2/a?n=2"), ("//{host}/d", "/d"), ("", "/v2/a")],
)
def test_a_location_may_be_relative(echo: Echo, location: str, path: str) -> None:
    echo.faults.add(redirect(lambda _: location.replace("{host}", echo.host)))
    with reach(echo) as reached:
        response = reached.client.send(get("/v2/a"))
    assert response.body.decode() == path
    assert response.away == ""


def test_a_relative_location_is_relative_to_the_last_url(echo: Echo, other: Echo) -> None:
    echo.faults.add(redirect(other.url))
    other.faults.add(redirect(lambda _: "/second"))
    other.faults.add(status(202, headers={"Location": "third?_state=1"}))
    with reach(echo) as reached:
        response = reached.client.send(get("/v2/a"))
    assert response.headers["location"] == f"{other.url}/third?_state=1"


def test_a_location_that_is_no_url_is_kept_as_it_is(echo: Echo) -> None:
    echo.faults.add(status(202, headers={"Location": "http://[bad/"}))
    with reach(echo) as reached:
        assert reached.client.send(get("/v2/a")).headers["location"] == "http://[bad/"


@pytest.mark.parametrize("code", [300, 304, 399])
def test_other_3xx_are_answers(echo: Echo, code: int) -> None:
    echo.faults.add(status(code, headers={"Location": "/b"}))
    with reach(echo) as reached:
        assert reached.client.send(get("/a")).status == code
    assert echo.count() == 1


def test_a_redirect_without_a_location_is_an_answer(echo: Echo) -> None:
    echo.faults.add(status(307))
    with reach(echo) as reached:
        assert reached.client.send(get("/a")).status == 307


def test_redirects_in_a_circle_end(echo: Echo) -> None:
    echo.faults.add(redirect(lambda request: request.target), times=FOREVER)
    with reach(echo) as reached:
        assert reached.client.send(get("/a")).status == 307
    assert echo.count() == 6


@pytest.mark.parametrize(
    ("location", "kind", "words"),
    [
        ("http://10.0.0.1/x", DeniedError, "leads to 10.0.0.1, an address inside a private network"),
        ("http://169.254.169.254/latest/meta-data", DeniedError, "169.254.169.254"),
        ("http://[fd00::1]/x", DeniedError, "[fd00::1]"),
        ("http://2852039166/x", DeniedError, "private network"),
        ("http://0xa9fea9fe/x", DeniedError, "private network"),
        ("http://user:pass@10.0.0.1/x", DeniedError, "leads to 10.0.0.1"),
        ("ftp://cdn.example/x", UnreachableError, "which is not https"),
        ("file:///etc/passwd", UnreachableError, "is not a URL that can be asked"),
        ("http:///x", UnreachableError, "is not a URL that can be asked"),
        ("http://[bad/x", UnreachableError, "is not a URL that can be asked"),
        ("http://a..b.invalid/", UnreachableError, "is not a URL that can be asked"),
        ("http://" + "a" * 64 + ".invalid/", UnreachableError, "is not a URL that can be asked"),
        ("http://xn--/", UnreachableError, "is not a URL that can be asked"),
        ("mailto:x", UnreachableError, "the answer leads to 'mailto:x', which is not a URL that can be asked"),
        ("a:b", UnreachableError, "is not a URL that can be asked"),
        ("http://cdn.invalid:99999/", UnreachableError, "is not a URL that can be asked"),
        ("http://cdn.invalid:port/", UnreachableError, "is not a URL that can be asked"),
        ("http://cdn.invalid/?sig=secret", UnreachableError, "the host name of cdn.invalid is not known"),
    ],
)
def test_redirects_that_lead_astray_are_refused(
    echo: Echo, location: str, kind: type[ManifestctlError], words: str
) -> None:
    echo.faults.add(redirect(lambda _: location))
    with reach(echo) as reached:
        error = failing(reached, get("/a"))
        reached.check_quiet(error, secrets=["sig=secret", "pass@"])
    assert type(error) is kind
    assert error.message.startswith("reading team/web:1 failed: ")
    assert words in error.message
    assert echo.count() == 1


def test_a_registry_on_https_may_not_redirect_to_http(certificates: Certificates, echo: Echo) -> None:
    with Echo(tls=certificates.server_context()) as secure:
        secure.faults.add(redirect(echo.url))
        settings = TransportSettings(ca_file=certificates.authority)
        with reach(secure, settings=settings) as reached:
            error = failing(reached, get("/a"))
    assert "which is not https" in error.message
    assert echo.count() == 0


@pytest.mark.parametrize(
    "path", ["http://10.0.0.1/upload", "ftp://127.0.0.1/x", "http://[bad/", "http://127.0.0.1:port/", "http://xn--/"]
)
def test_a_url_that_the_registry_gave_is_judged_like_a_redirect(echo: Echo, path: str) -> None:
    with reach(echo) as reached:
        failing(reached, get(path))
        assert reached.meter.counts()["sent"] == 0


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/v2/a/tags/list?last=x&n=2", "/v2/a/tags/list?last=x&n=2"),
        ("list?last=x", "/v2/a/tags/list?last=x"),
        ("?last=x%2Fy", "/v2/a/tags/list?last=x%2Fy"),
        ("{url}/v2/b", "/v2/b"),
        ("https://{host}/v2/b", "/v2/b"),
        ("//{host}/v2/b", "/v2/b"),
        ("http://127.0.0.1:1/v2/b", None),
        ("http://evil.example/v2/b", None),
        ("//evil.example/v2/b", None),
        ("http://{host}@evil.example/v2/b", None),
        ("http://127.0.0.1.evil.example/v2/b", None),
    ],
)
def test_what_is_below_the_registry_is_told_from_what_is_not(echo: Echo, target: str, path: str | None) -> None:
    with reach(echo) as reached:
        target = target.replace("{url}", echo.url).replace("{host}", echo.host)
        assert reached.client.below(get("/v2/a/tags/list?n=2"), target) == path


# Credentials stay home.


@pytest.mark.parametrize("spelling", ["http://{host}/b", "HTTP://{host}/b", "http://x:y@{host}/b", "//{host}/b"])
def test_home_is_home_however_it_is_spelled(spelling: str) -> None:
    with FakeRegistry(auth=BasicAuth("ci", "pass-word-of-ci")) as registry:
        registry.faults.add(redirect(lambda _: spelling.replace("{host}", registry.host)), path="/a")
        with reach(registry, credentials=[USER]) as reached:
            assert reached.client.send(get("/v2/team/web/manifests/a")).status == 404
            reached.check_quiet()
    values = {recorded.authorization for recorded in registry.find(path_regex="/b")}
    assert f"Basic {USER.basic}" in values
    assert values <= {f"Basic {USER.basic}", None}


def test_an_origin_with_the_usual_port_is_the_one_without() -> None:
    with reach("http://registry.invalid:80") as reached:
        assert reached.client.below(get("/v2/a"), "http://registry.invalid/v2/b") == "/v2/b"
    with reach("https://registry.invalid") as reached:
        assert reached.client.below(get("/v2/a"), "https://REGISTRY.invalid:443/v2/b") == "/v2/b"
        assert reached.client.below(get("/v2/a"), "https://registry.invalid:80/v2/b") is None


def test_a_user_name_in_a_location_is_not_sent(echo: Echo, other: Echo) -> None:
    echo.faults.add(redirect(lambda _: f"http://user:pass-word@{other.host}/x"))
    with reach(echo) as reached:
        reached.client.send(get("/a"))
        reached.check_quiet(secrets=["pass-word"])
    assert [recorded.authorization for recorded in other.requests] == [None]


# What is observed.


def test_every_exchange_is_observed_without_its_secrets(echo: Echo) -> None:
    echo.faults.add(header("Warning", '299 - "old"\x1b'), path="/a")
    with reach(echo) as reached:
        reached.client.send(Request("PUT", "/a?_state=secret", body=Body.of(b"12345")))
        reached.check_quiet(secrets=["secret"])
        event = reached.world.heard(Exchanged)[0]
    assert (event.method, event.url, event.status, event.sent) == ("PUT", f"{echo.url}/a?…", 200, 5)
    assert event.detail == 'content-type: text/plain, content-length: 16, warning: 299 - "old"\\x1b'


@pytest.mark.parametrize("action", [reset(), close()])
def test_an_exchange_without_an_answer_is_observed_too(echo: Echo, action: object) -> None:
    echo.faults.add(action)  # type: ignore[arg-type]
    with reach(echo) as reached:
        error = failing(reached, get("/a?_state=secret"))
        reached.check_quiet(error, secrets=["_state=secret"])
        event = reached.world.heard(Exchanged)[0]
        assert reached.meter.counts()["sent"] == 1
    assert (event.url, event.status, event.detail) == (f"{echo.url}/a?…", 0, error.message)


def test_the_time_of_an_exchange_is_that_until_its_answer(echo: Echo) -> None:
    with reach(echo) as reached:
        echo.faults.add(hold(lambda: reached.world.advance(1.5)))
        reached.client.send(get("/a"))
        assert reached.world.heard(Exchanged)[0].seconds == pytest.approx(1.5)


def test_nothing_is_sent_after_the_run_was_cancelled(echo: Echo) -> None:
    with reach(echo) as reached:
        reached.world.cancel.set(15)
        with pytest.raises(InterruptedRun):
            reached.client.send(get("/a"))
    assert echo.count() == 0


def test_an_error_names_the_host_if_nothing_else_is_known(echo: Echo) -> None:
    echo.faults.add(close())
    with reach(echo) as reached:
        error = failing(reached, Request("GET", "/a"))
    assert error.message.startswith(f"GET {echo.host} failed: the connection to {echo.host} broke")


# Pace.


def test_too_many_requests_halve_the_pace_and_others_win_it_back(echo: Echo) -> None:
    echo.faults.add(status(429), times=2)
    with reach(echo) as reached:
        reached.client.send(get("/a"))
        assert reached.throttle.places == 8
        with reached.client.stream(get("/a")):
            pass
        assert reached.throttle.places == 4
        for _ in range(8):
            reached.client.send(get("/a"))
        assert reached.throttle.places == 5
        for _ in range(8):
            with reached.client.stream(get("/a")):
                pass
        assert reached.throttle.places == 6


def test_a_body_may_be_read_from_the_same_registry_with_one_place_left(echo: Echo) -> None:
    with reach(echo, settings=TransportSettings(concurrency=1)) as reached:

        def copied() -> Iterator[bytes]:
            with reached.client.stream(get("/pieces/100")) as stream:
                yield from stream.chunks

        assert reached.client.send(Request("PUT", "/copy", body=Body(copied, 100))).ok
    assert echo.find("PUT")[0].body == b"x" * 100


# Counts.


def test_counts_add_up_over_threads_and_copies_are_their_own() -> None:
    meter = Meter()
    before = meter.counts()

    def count() -> None:
        for _ in range(200):
            meter.sent()
            meter.retried()
            meter.received(3)
            meter.sent_bytes(2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert meter.counts() == {"sent": 800, "retried": 800, "bytes_in": 2400, "bytes_out": 1600}
    assert before == {"sent": 0, "retried": 0, "bytes_in": 0, "bytes_out": 0}
