"""A TCP proxy on loopback that adds a round-trip time, and counts and times the HTTP requests that pass.

The model: client and server are ``rtt`` seconds apart, with unlimited bandwidth.

* A byte written at time t arrives half a round trip later, in either direction. Bytes are in flight side by side: ten
  requests written at once are answered after one round trip, not ten.
* A connection costs a round trip of its own. On loopback the kernel accepts at once, so what the client writes in the
  first ``rtt`` seconds of a connection is held as though it had been written when a distant server's SYN-ACK came
  back: the first request on a new connection is answered 2 round trips after the connect began, each further one in 1.
  A connection that was opened early and has been idle for a round trip costs nothing more, as in a real network.
* The end of a stream travels like a byte.

Not modelled: bandwidth, loss, slow start, TLS, name look-up.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from bench.http_stream import Head, MessageReader

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from bench.http_stream import Body

LOOPBACK = "127.0.0.1"
T = TypeVar("T")


@dataclass(slots=True)
class Exchange:
    """A request and its answer, as the client's side saw them; times are `time.monotonic` seconds.

    ``credential`` is the scheme of the Authorization header, in lower case, or ``""``; ``answered`` is 0 while the
    answer is under way.
    """

    proxy: str
    connection: int
    method: str
    target: str
    credential: str
    sent: float
    status: int = 0
    answered: float = 0.0


@dataclass(slots=True)
class Connection:
    """A connection that a client opened; ``foreign`` if what it said was not HTTP, such as a TLS handshake."""

    proxy: str
    number: int
    opened: float
    foreign: bool = False


@dataclass(slots=True)
class Log:
    """What passed since the last `ProxyLoop.begin`, through all of its proxies."""

    connections: list[Connection] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)


class ProxyLoop:
    """A thread that carries the traffic of any number of proxies. Use it as a context manager.

    One client at a time is measured: `begin` before it starts, `finish` when it is done.
    """

    def __init__(self) -> None:
        """Make the loop; it runs from ``__enter__`` on."""
        # select() waits in microseconds where epoll rounds up to whole milliseconds, which would lengthen every delay.
        self.loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
        self.rtt = 0.0
        self.log = Log()
        self.pairs: set[Pair] = set()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self.loop.run_forever, name="delay-proxy", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection and stop the thread."""
        self._run(self._shut())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def open(self, name: str, backend_port: int) -> int:
        """Listen on a free port for a server that listens on ``backend_port``; return the port."""
        return self._run(self._listen(name, backend_port))

    def begin(self, rtt: float) -> None:
        """Drop what an earlier client left, forget its log, and set the round-trip time in seconds."""
        self._run(self._reset(rtt))

    def finish(self) -> Log:
        """Return what passed since `begin`, and drop the connections."""
        log = self.log
        self._run(self._reset(0.0))
        return log

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    async def _listen(self, name: str, backend_port: int) -> int:
        server = await self.loop.create_server(lambda: Pair(self, name, backend_port).client, LOOPBACK, 0, backlog=512)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _reset(self, rtt: float) -> None:
        for pair in list(self.pairs):
            pair.abort()
        # Aborted transports report their end on the next turns of the loop, which must not land in the new log.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.rtt = rtt
        self.log = Log()

    async def _shut(self) -> None:
        for server in self._servers:
            server.close()
        await self._reset(0.0)


class Pipe:
    """One direction of a connection: holds what was written until it is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop, delivered: Callable[[bytes | None], None]) -> None:
        """``delivered`` is told of each chunk as it arrives, and of the end of the stream as None."""
        self._loop = loop
        self._delivered = delivered
        self._flying: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.sink: asyncio.WriteTransport | None = None
        self.ended = False

    def put(self, due: float, data: bytes | None) -> None:
        """Let ``data`` arrive at time ``due``, which never lies before that of an earlier chunk."""
        self._flying.append((due, data))
        if self._timer is None:
            self._timer = self._loop.call_at(due, self.deliver)

    def deliver(self) -> None:
        """Hand over what is due, and wait for the rest."""
        self._unset()
        now = self._loop.time()
        while self._flying and self._flying[0][0] <= now and self.sink is not None:
            data = self._flying.popleft()[1]
            if not self.sink.is_closing():
                self._hand_over(self.sink, data)
            self.ended = self.ended or data is None
            self._delivered(data)
        if self._flying and self.sink is not None:
            self._timer = self._loop.call_at(self._flying[0][0], self.deliver)

    def drop(self) -> None:
        """Forget what is in flight."""
        self._flying.clear()
        self._unset()

    def _unset(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @staticmethod
    def _hand_over(sink: asyncio.WriteTransport, data: bytes | None) -> None:
        if data is not None:
            sink.write(data)
        elif sink.can_write_eof():
            with contextlib.suppress(OSError, RuntimeError):
                sink.write_eof()


class Pair:
    """A client's connection, the one to the server that belongs to it, and the log entries of what passes."""

    def __init__(self, owner: ProxyLoop, name: str, backend_port: int) -> None:
        """Be ready for a client; the server is connected to when it comes."""
        self.owner = owner
        self.name = name
        self.backend_port = backend_port
        self.client = Side(self.client_connected, self.client_said, self.gone)
        self.server = Side(self.server_connected, self.server_said, self.gone)
        self.upward = Pipe(owner.loop, self.server_heard)
        self.downward = Pipe(owner.loop, self.client_heard)
        self.requests = MessageReader(lambda head: head.stated_body or 0)
        self.responses = MessageReader(self.response_body)
        self.unanswered: deque[Exchange] = deque()
        self.entry = Connection(name, 0, 0.0)
        self.silent = True
        self.log = owner.log
        self.connecting: asyncio.Task[None] | None = None

    def client_connected(self, transport: asyncio.Transport) -> None:
        """Note the connection, and connect to the server."""
        self.owner.pairs.add(self)
        self.log = self.owner.log
        self.entry = Connection(self.name, len(self.log.connections) + 1, self.owner.loop.time())
        self.log.connections.append(self.entry)
        self.downward.sink = transport
        self.connecting = self.owner.loop.create_task(self.connect())

    async def connect(self) -> None:
        """Connect to the server behind the proxy; a failure ends the client's connection."""
        try:
            await self.owner.loop.create_connection(lambda: self.server, LOOPBACK, self.backend_port)
        except OSError:
            self.abort()

    def server_connected(self, transport: asyncio.Transport) -> None:
        """Let through what the client has written meanwhile."""
        self.upward.sink = transport
        self.upward.deliver()

    def client_said(self, data: bytes | None) -> None:
        """Send it on, half a round trip later, counted from when a distant server would have accepted."""
        now = self.owner.loop.time()
        self.upward.put(max(now, self.entry.opened + self.owner.rtt) + self.owner.rtt / 2, data)
        if data is None:
            return
        if self.silent:
            self.silent = False
            self.entry.foreign = not data[:1].isalpha()
        if not self.entry.foreign:
            for part in self.requests.feed(data):
                if isinstance(part, Head):
                    self.note_request(part, now)

    def note_request(self, head: Head, now: float) -> None:
        """Enter a request in the log."""
        method, target, _ = (head.first_line + "  ").split(" ", 2)
        scheme = head.fields.get("authorization", "").partition(" ")[0].lower()
        exchange = Exchange(self.name, self.entry.number, method, target, scheme, now)
        self.log.exchanges.append(exchange)
        self.unanswered.append(exchange)

    def server_said(self, data: bytes | None) -> None:
        """Send it on, half a round trip later."""
        self.downward.put(self.owner.loop.time() + self.owner.rtt / 2, data)

    def server_heard(self, data: bytes | None) -> None:
        """End the pair once both streams have ended."""
        if data is None and self.downward.ended:
            self.close()

    def client_heard(self, data: bytes | None) -> None:
        """Note answers as they arrive, and end the pair once both streams have ended."""
        if data is None and self.upward.ended:
            self.close()
        if self.entry.foreign:
            return
        for part in self.responses.close() if data is None else self.responses.feed(data):
            if part == "end" and self.unanswered and self.unanswered[0].status:
                self.unanswered.popleft().answered = self.owner.loop.time()

    def response_body(self, head: Head) -> Body:
        """Return how long the body of a response is, and note its status (RFC 9112 section 6.3)."""
        status = int(head.first_line.split(" ", 2)[1])
        if 100 <= status < 200 or not self.unanswered:
            return 0
        self.unanswered[0].status = status
        if self.unanswered[0].method == "HEAD" or status in (204, 304):
            return 0
        return "until-close" if head.stated_body is None else head.stated_body

    def gone(self) -> None:
        """End the pair when either side is gone, once what is in flight to the other has arrived."""
        self.owner.loop.call_later(self.owner.rtt / 2 + 0.001, self.abort)

    def close(self) -> None:
        """End both connections, once what was handed to the kernel's side is written."""
        self.owner.pairs.discard(self)
        for pipe in (self.upward, self.downward):
            if pipe.sink is not None:
                pipe.sink.close()

    def abort(self) -> None:
        """End both connections now."""
        self.owner.pairs.discard(self)
        for pipe in (self.upward, self.downward):
            pipe.drop()
            if pipe.sink is not None:
                pipe.sink.abort()


class Side(asyncio.Protocol):
    """One end of a `Pair`: passes on what asyncio tells."""

    def __init__(
        self,
        connected: Callable[[asyncio.Transport], None],
        said: Callable[[bytes | None], None],
        gone: Callable[[], None],
    ) -> None:
        """Take the three things to call."""
        self._connected = connected
        self._said = said
        self._gone = gone

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pass the transport on."""
        self._connected(cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        """Pass data on."""
        self._said(data)

    def eof_received(self) -> bool:
        """Pass the end on, and keep the other direction open."""
        self._said(None)
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        """Pass it on."""
        self._gone()
