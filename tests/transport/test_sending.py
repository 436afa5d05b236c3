"""Answers that trickle in, and redirects to what is no URL: what the HTTP library does not see to by itself."""

from __future__ import annotations

import contextlib
import ssl
from functools import partial
from typing import TYPE_CHECKING, Any

import httpcore
import pytest

from manifestctl.errors import ManifestctlError, UnreachableError
from manifestctl.transport.engine import connect
from manifestctl.transport.message import Body, Request
from manifestctl.transport.sending import Patience, PatientStream, Transport
from manifestctl.transport.settings import TransportSettings
from tests.support.loopback import LoopbackServer
from tests.support.reach import Reach, reach
from tests.support.world import World

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

READ = 60.0
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


class Script(LoopbackServer):
    """Answers every request with the bytes that a script gives, piece by piece, until the other side goes away."""

    def __init__(self, script: Callable[[], Iterable[bytes]]) -> None:
        super().__init__()
        self._script = script
        self.methods: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket, number: int) -> None:
        del number
        with connection.makefile("rb") as reader:
            while first := reader.readline():
                self.methods.append(first.split(b" ")[0].decode())
                length = 0
                while (line := reader.readline()) != b"\r\n":
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                reader.read(length)
                for piece in self._script():
                    connection.sendall(piece)


@contextlib.contextmanager
def scripted(script: Callable[[World], Iterable[bytes]], **settings: Any) -> Iterator[tuple[Reach, Script]]:
    """Reach a server whose script may let time pass."""
    world = World()
    chosen = TransportSettings(retries=1, read_timeout=READ, **settings)
    with Script(lambda: script(world)) as server, reach(server.url, world=world, settings=chosen) as reached:
        yield reached, server


def get(**fields: Any) -> Request:
    return Request("GET", "/v2/web/manifests/1", doing="reading web:1", **fields)


# Answers that trickle in.


def endless_interim(world: World) -> Iterator[bytes]:
    while True:
        world.advance(1)
        yield b"HTTP/1.1 100 Continue\r\n\r\n"


def endless_head(world: World) -> Iterator[bytes]:
    yield OK
    while True:
        world.advance(1)
        yield b"A: b\r\n"


def endless_chunk_size(world: World) -> Iterator[bytes]:
    yield OK + b"Transfer-Encoding: chunked\r\n\r\n5;"
    while True:
        world.advance(1)
        yield b"a"


@pytest.mark.parametrize("script", [endless_interim, endless_head, endless_chunk_size])
def test_who_never_comes_to_an_end_is_not_waited_for(script: Callable[[World], Iterator[bytes]]) -> None:
    with scripted(script) as (reached, _):
        with pytest.raises(UnreachableError, match="did not answer in time") as raised:
            reached.client.send(get())
        assert "--timeout" in raised.value.hint
        assert raised.value.transient
        assert reached.world.runtime.monotonic() >= 2 * READ


@pytest.mark.parametrize("script", [endless_head, endless_chunk_size])
def test_nor_by_who_reads_a_stream(script: Callable[[World], Iterator[bytes]]) -> None:
    with (
        scripted(script) as (reached, _),
        pytest.raises(UnreachableError, match="did not answer in time"),
        reached.client.stream(get()) as stream,
    ):
        list(stream.chunks)


def test_the_engine_is_not_waited_for_either() -> None:
    world = World()
    with Script(lambda: endless_head(world)) as server:
        world.environ["DOCKER_HOST"] = server.url.replace("http", "tcp")
        with pytest.raises(UnreachableError, match="did not answer in time"):
            connect(world.runtime, TransportSettings(read_timeout=READ))


def test_a_write_whose_answer_never_ends_may_have_happened() -> None:
    with scripted(endless_interim) as (reached, _):
        with pytest.raises(UnreachableError) as raised:
            reached.client.send(Request("PUT", "/v2/web/manifests/1", body=Body.of(b"{}"), writes=True))
        assert raised.value.outcome_unknown


def test_a_head_in_pieces_is_read_as_long_as_they_come_soon() -> None:
    def script(world: World) -> Iterator[bytes]:
        for piece in (b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 200 ", b"OK\r\nContent-", b"Length: 2\r\n\r\n"):
            world.advance(25)
            yield piece
        yield b"{}"

    with scripted(script) as (reached, _):
        assert reached.client.send(get()).body == b"{}"


def test_a_long_body_may_take_its_time_if_its_parts_do_not() -> None:
    def script(world: World) -> Iterator[bytes]:
        yield OK + b"Transfer-Encoding: chunked\r\n\r\n"
        for _ in range(20):
            world.advance(READ)
            yield b"1\r\nx\r\n"
        yield b"0\r\n\r\n"

    with scripted(script) as (reached, _), reached.client.stream(get()) as stream:
        assert b"".join(stream.chunks) == b"x" * 20
        assert reached.world.runtime.monotonic() == 20 * READ


class Line(httpcore.NetworkStream):
    """A connection that notes what it is told."""

    def __init__(self) -> None:
        self.timeouts: list[float | None] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self.timeouts.append(timeout)
        return b"x" * max_bytes

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del buffer
        self.timeouts.append(timeout)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return self


def test_what_was_read_before_a_write_does_not_count() -> None:
    world, line = World(), Line()
    # As a proxy's answer to CONNECT does, before hours of upload.
    stream = PatientStream(line).start_tls(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    patience = Patience(10, world.runtime.monotonic)
    stream.read(1, patience)
    world.advance(15)
    stream.read(1, patience)
    assert line.timeouts == [10, 5]
    world.advance(3600)
    stream.write(b"layer", patience)
    stream.read(1, patience)
    assert line.timeouts[2:] == [10, 10]
    world.advance(20)
    with pytest.raises(httpcore.ReadTimeout):
        stream.read(1, patience)
    stream.read(1, 3)
    stream.write(b"", None)
    assert line.timeouts[4:] == [3, None]


def test_where_the_library_is_built_otherwise_each_read_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pool:
        def __init__(self, **_: object) -> None:
            pass

    monkeypatch.setattr(httpcore, "ConnectionPool", Pool)
    transport = Transport(verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    assert vars(transport._pool) == {}
    assert Patience(3, World().runtime.monotonic) == 3.0


# Where an answer leads.

NOWHERE = [
    b"mailto:x",
    b"a:b",
    b"http://[",
    b"http://a:99999/",
    b"http://\xff\xfe.example/",
    b"http://xn--zzzz\xc3\xa9.\xc2\xb7/",
    b"/a\x01b",
    b"/" + b"a" * 70_000,
]


def leading(location: bytes) -> Callable[[World], list[bytes]]:
    return lambda _: [b"HTTP/1.1 307 X\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"]


@pytest.mark.parametrize("location", NOWHERE)
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_is_no_url_is_not_asked(location: bytes, method: str) -> None:
    writes = method == "PUT"
    request = Request(method, "/v2/web/manifests/1", body=Body.of(b"{}") if writes else None, writes=writes)
    with scripted(leading(location)) as (reached, server):
        with pytest.raises(UnreachableError) as raised:
            reached.client.send(request)
        assert server.methods == [method]
    assert raised.value.message.isprintable()
    assert raised.value.outcome_unknown is writes


def test_the_message_says_where_it_leads() -> None:
    with scripted(leading(b"mailto:x")) as (reached, _), pytest.raises(UnreachableError) as raised:
        reached.client.send(get())
    leads = "the answer leads to 'mailto:x', which is not a URL that can be asked"
    assert raised.value.message == f"reading web:1 failed: {leads}"
    assert "proxy" in raised.value.hint


def test_the_engine_leads_nowhere() -> None:
    world = World()
    for location in NOWHERE:
        with Script(partial(leading(location), world)) as server:
            world.environ["DOCKER_HOST"] = server.url.replace("http", "tcp")
            with pytest.raises(UnreachableError):
                connect(world.runtime, TransportSettings())


@pytest.mark.parametrize("location", ["http://10.0.0.1/x", "ftp://127.0.0.1/x", "http://127.0.0.1:1/x"])
def test_a_write_that_cannot_follow_may_have_happened(location: str) -> None:
    with scripted(leading(location.encode())) as (reached, _), pytest.raises(ManifestctlError) as raised:
        reached.client.send(Request("PUT", "/v2/web/manifests/1", body=Body.of(b"{}"), writes=True))
    assert raised.value.outcome_unknown


def test_a_url_that_was_never_asked_wrote_nothing() -> None:
    with scripted(leading(b"mailto:x")) as (reached, _), pytest.raises(ManifestctlError) as raised:
        reached.client.send(Request("PUT", "http://10.0.0.1/upload", body=Body.of(b"{}"), writes=True))
    assert not raised.value.outcome_unknown
