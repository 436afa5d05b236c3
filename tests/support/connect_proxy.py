"""An HTTP proxy that only knows CONNECT and only the places it was told, so that real host names end on loopback."""

from __future__ import annotations

import selectors
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.loopback import PATIENCE, LoopbackServer
from tests.support.pushing import basic_authorization

if TYPE_CHECKING:
    from collections.abc import Mapping

_PIECE = 64 * 1024
_LONGEST_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Connect:
    """One request to the proxy; ``target`` is ``host:port`` for CONNECT, else the whole request line."""

    target: str
    status: int
    authorization: str | None = None


class ConnectProxy(LoopbackServer):
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
        super().__init__()
        self.places = dict(places)
        self.user = user
        self.password = password
        self.unknown_status = unknown_status
        self.connects: list[Connect] = []

    @property
    def url(self) -> str:
        """What ``HTTPS_PROXY`` has to be, with user and password if it asks for them."""
        who = "" if self.user is None else f"{self.user}:{self.password}@"
        return f"http://{who}127.0.0.1:{self.port}"

    @property
    def targets(self) -> list[str]:
        """The ``host:port`` of all tunnels that were made, in order."""
        return [connect.target for connect in list(self.connects) if connect.status == 200]

    def serve(self, connection: socket.socket, number: int) -> None:
        """Answer one request, and be the tunnel that it makes."""
        head, rest = _read_head(connection)
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
            connection.sendall(text.encode())
            return
        with socket.create_connection(self.places[target], timeout=PATIENCE) as server, self._held(server, -number):
            server.settimeout(None)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            server.sendall(rest)
            _tunnel(connection, server)

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
