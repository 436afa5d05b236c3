"""A threaded HTTP/1.1 server with keep-alive on a real loopback socket, which tests script and question."""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
import traceback
from typing import TYPE_CHECKING, BinaryIO, cast

from tests.support.faults import Exchange, Faults
from tests.support.http_message import BadRequestError, HangUp, Recorded, Request, Response, read_request
from tests.support.loopback import LoopbackServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from types import TracebackType

_REASONS = {200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 401: "Unauthorized", 404: "Not Found"}
_BUFFER = 64 * 1024


class HttpServer(LoopbackServer):
    """A server whose answers a subclass gives in `answer`; a context manager that starts and closes it.

    ``faults`` is its fault script. ``requests`` holds all requests in the order in which they came. Whatever goes wrong
    in the server's own code is an `AssertionError` when the block is left, so that a broken script fails its test.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        """Make a server that is not listening yet; with ``tls`` it speaks HTTPS."""
        super().__init__()
        self.faults = Faults()
        self.requests: list[Recorded] = []
        self.tls_failures = 0
        self.released = threading.Event()
        self._tls = tls
        self._errors: list[str] = []

    # What subclasses say.

    def authorize(self, request: Request) -> Response | None:
        """Return a refusal, or None if the request may be answered."""
        del request
        return None

    def answer(self, request: Request) -> Response:
        """Return the ordinary answer to a request."""
        raise NotImplementedError

    # What tests ask.

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The origin, ``http://127.0.0.1:PORT`` or ``https://…``."""
        return f"{'https' if self._tls else 'http'}://{self.host}"

    def find(self, method: str | None = None, path_regex: str | None = None) -> list[Recorded]:
        """Return the recorded requests whose method fully matches and whose path is found by the expressions."""
        with self._lock:
            found = list(self.requests)
        return [
            recorded
            for recorded in found
            if (method is None or re.fullmatch(method, recorded.method))
            and (path_regex is None or re.search(path_regex, recorded.path))
        ]

    def count(self, method: str | None = None, path_regex: str | None = None) -> int:
        """Return how many recorded requests match; see `find`."""
        return len(self.find(method, path_regex))

    @property
    def used_connections(self) -> int:
        """The number of connections on which at least one recorded request came."""
        return len({recorded.connection_id for recorded in self.find()})

    @property
    def open_connections(self) -> int:
        """The number of connections that are open now."""
        with self._lock:
            return len(self._open)

    def reset(self) -> None:
        """Forget the recorded requests and the number of connections; open ones stay open."""
        with self._lock:
            self.requests.clear()
            self.connections = 0

    def release(self) -> None:
        """Let all stalled and slow responses end now."""
        self.released.set()

    # Life.

    def close(self) -> None:
        """Close all connections and wait for the threads."""
        self.released.set()
        super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the server; raise `AssertionError` if its own code failed and nothing else did."""
        super().__exit__(kind, error, trace)
        if self._errors and kind is None:
            raise AssertionError("the test server failed:\n" + "\n".join(self._errors))

    # Connections.

    def serve(self, connection: socket.socket, number: int) -> None:
        """Answer the requests of a connection, to the first that is not HTTP."""
        with contextlib.suppress(BadRequestError, ValueError):
            if self._tls is not None:
                connection = self._shake_hands(connection, number, self._tls)
            with connection.makefile("rb", _BUFFER) as reader, connection.makefile("wb", _BUFFER) as writer:
                streams = cast("BinaryIO", reader), cast("BinaryIO", writer)
                while self._exchange(connection, *streams, number):
                    pass

    def _shake_hands(self, connection: socket.socket, number: int, tls: ssl.SSLContext) -> socket.socket:
        secured = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        # Known before the handshake, so that closing the server ends one that hangs.
        with self._lock:
            self._open[number] = secured
        try:
            secured.do_handshake()
        except OSError:
            self.tls_failures += 1
            secured.close()
            raise
        return secured

    def _exchange(self, connection: socket.socket, reader: BinaryIO, writer: BinaryIO, number: int) -> bool:
        request = read_request(reader, writer, number)
        if request is None:
            return False
        with self._lock:
            self.requests.append(request.recorded)
        try:
            response = self._respond(request)
        except HangUp as wish:
            if wish.reset:
                _reset(connection, writer)
            else:
                _ = request.body  # unread bytes would turn the close into a reset
            return False
        _ = request.body
        request.recorded.status = response.status
        _send(writer, request, response)
        if response.end == "reset":
            _reset(connection, writer)
        return response.end == "keep" and request.headers.get("connection", "").lower() != "close"

    def _respond(self, request: Request) -> Response:
        def answered() -> Response:
            return self._scripted(request, before_auth=False, ordinary=lambda: self.answer(request))

        def authorized() -> Response:
            return self.authorize(request) or answered()

        try:
            return self._scripted(request, before_auth=True, ordinary=authorized)
        except (HangUp, OSError, BadRequestError):
            raise
        except Exception:  # noqa: BLE001 - a fault of the script is reported, not lost with its thread
            report = f"{request.method} {request.target}\n{traceback.format_exc()}"
            self._errors.append(report)
            return Response(500, report.encode(), {"Content-Type": "text/plain"})

    def _scripted(self, request: Request, *, before_auth: bool, ordinary: Callable[[], Response]) -> Response:
        action = self.faults.take(request, before_auth=before_auth)
        return action(Exchange(request, ordinary, self)) if action else ordinary()


def _send(writer: BinaryIO, request: Request, response: Response) -> None:
    """Send a response; a HEAD gets the head that a GET would get."""
    body = response.body
    length = response.length if response.length is not None else len(body) if isinstance(body, bytes) else None
    bodiless = response.status in (204, 304) or response.status < 200
    headers = dict(response.headers)
    chunked = length is None and not bodiless
    if chunked:
        headers["Transfer-Encoding"] = "chunked"
    elif not bodiless:
        headers["Content-Length"] = str(length)
    if response.end != "keep" and response.length is None:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Status')}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
    if request.method != "HEAD" and not bodiless:
        _send_body(writer, request.recorded, [body] if isinstance(body, bytes) else body, chunked=chunked)
    writer.flush()


def _send_body(writer: BinaryIO, recorded: Recorded, pieces: Iterable[bytes], *, chunked: bool) -> None:
    for piece in pieces:
        if piece:
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            # A body that is written in one piece goes out together with its head.
            recorded.sent += len(piece)
        if not isinstance(pieces, list):
            writer.flush()
    if chunked:
        writer.write(b"0\r\n\r\n")


def _reset(connection: socket.socket, writer: BinaryIO) -> None:
    with contextlib.suppress(OSError):
        writer.flush()
    # Lingering for no time makes the close a reset.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
