"""An HTTP proxy that only knows CONNECT and only the places it was told, so that real host names end on loopback."""

from __future__ import annotations

import contextlib
import functools
import selectors
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from tests.support.pushing import basic_authorization

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

_MOST = 128
_PATIENCE = 5.0
_PIECE = 64 * 1024
_LONGEST_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Connect:
    """One request to the proxy; ``target`` is ``host:port`` for CONNECT, else the whole request line."""

    target: str
    status: int
    authorization: str | None = None


class ConnectProxy:
    """The proxy; a context manager that starts and closes it.

    ``places`` maps ``host:port`` to an address. Another target is answered ``unknown_status``, any other method 405.
    With ``user`` and ``password`` it asks for them (407). ``connects`` holds all requests in order.
    """

    def __init__(
        self,
        places: Mapping[str, tuple[str, int]],
        *,
        user: str | None = None,
        password: str = "",
        unknown_status: int = 502,
    ) -> None:
        """Make a proxy that is not listening yet."""
        self.places = dict(places)
        self.user = user
        self.password = password
        self.unknown_status = unknown_status
        self.connects: list[Connect] = []
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(_MOST)
        self._closing = False

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        assert self._listener is not None, "the proxy is not started: use it in a with block"
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """What ``HTTPS_PROXY`` has to be, with user and password if it asks for them."""
        who = "" if self.user is None else f"{self.user}:{self.password}@"
        return f"http://{who}127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        """The ``host:port`` of all tunnels that were made, in order."""
        return [connect.target for connect in list(self.connects) if connect.status == 200]

    def start(self) -> Self:
        """Listen on a free port."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_MOST)
        self._spawn(self._accept)
        return self

    def close(self) -> None:
        """End all tunnels and wait for the threads."""
        with self._lock:
            self._closing = True
        self.drop_connections()
        if self._listener is not None:
            # A thread that waits in accept is not woken by a close on every system.
            with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname(), timeout=1):
                pass
        for thread in list(self._threads):
            thread.join(_PATIENCE)
        if self._listener is not None:
            self._listener.close()

    def drop_connections(self) -> None:
        """End all tunnels; go on listening."""
        with self._lock:
            held = list(self._open)
        for connection in held:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        """Start the proxy."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the proxy."""
        self.close()

    def _spawn(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True, name="connect-proxy")
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        assert self._listener is not None
        while True:
            connection, _ = self._listener.accept()
            if self._closing:
                connection.close()
                return
            self._room.acquire()
            self._spawn(functools.partial(self._serve, connection))

    def _serve(self, client: socket.socket) -> None:
        try:
            with self._held(client):
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._exchange(client)
        except OSError:
            # One of the two ends went away, which is how tunnels end.
            pass
        finally:
            self._room.release()

    @contextlib.contextmanager
    def _held(self, connection: socket.socket) -> Iterator[None]:
        with self._lock:
            if self._closing:
                connection.close()
                raise OSError("the proxy is closing")
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _exchange(self, client: socket.socket) -> None:
        head, rest = _read_head(client)
        if not head:
            return
        line, *headers = head.decode("latin-1").split("\r\n")
        named = {name.lower(): value.strip() for name, _, value in (held.partition(":") for held in headers)}
        authorization = named.get("proxy-authorization")
        method, _, target = line.rpartition(" ")[0].partition(" ")
        status = self._status(method, target, authorization)
        self.connects.append(Connect(target if method == "CONNECT" else line, status, authorization))
        if status != 200:
            challenge = 'Proxy-Authenticate: Basic realm="proxy"\r\n' if status == 407 else ""
            text = f"HTTP/1.1 {status} Refused\r\n{challenge}Content-Length: 0\r\nConnection: close\r\n\r\n"
            client.sendall(text.encode())
            return
        with socket.create_connection(self.places[target], timeout=_PATIENCE) as server, self._held(server):
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            server.sendall(rest)
            _tunnel(client, server)

    def _status(self, method: str, target: str, authorization: str | None) -> int:
        if self.user is not None and authorization != basic_authorization(self.user, self.password):
            return 407
        if method != "CONNECT":
            return 405
        return 200 if target in self.places else self.unknown_status


def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    """Return the head of a request, and what was read beyond it."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _LONGEST_HEAD:
        piece = connection.recv(_PIECE)
        if not piece:
            return b"", b""
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _tunnel(client: socket.socket, server: socket.socket) -> None:
    """Carry bytes both ways until both ends have closed."""
    with selectors.DefaultSelector() as selector:
        selector.register(client, selectors.EVENT_READ, server)
        selector.register(server, selectors.EVENT_READ, client)
        while selector.get_map():
            for key, _ in selector.select():
                source, target = key.fileobj, key.data
                assert isinstance(source, socket.socket)
                piece = source.recv(_PIECE)
                if piece:
                    target.sendall(piece)
                else:
                    selector.unregister(source)
                    target.shutdown(socket.SHUT_WR)
