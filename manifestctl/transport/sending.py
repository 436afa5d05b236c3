"""Single exchanges over the HTTP library, with an end to answers that trickle in, and no look at where they lead.

httpx and httpcore time each read by itself, so that a server which sends a byte now and then, or ``100 Continue`` again
and again, holds a run for as long as it likes. And httpx reads where a redirect leads though it is told not to follow
it, and fails in many ways if that is no URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import httpcore
import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator

# How many time-outs of a read one piece of an answer may take: who is slow to begin gets as long to end.
_WHOLE = 2
_LOCATION = "location"


class Patience(float):
    """The seconds that one read may take, with an end to what is read: a piece of an answer, its head or a chunk.

    It is handed down in the place of a plain number, as which it also works where nobody knows what it is.
    """

    __slots__ = ("_clock", "_until")
    _clock: Callable[[], float]
    _until: float | None

    def __new__(cls, seconds: float, clock: Callable[[], float]) -> Self:
        """Begin with a piece that nobody waits for yet."""
        patience = super().__new__(cls, seconds)
        patience._clock = clock
        patience._until = None
        return patience

    def anew(self) -> None:
        """Hear that the next piece is another one: it is waited for from its first read on."""
        self._until = None

    def left(self) -> float:
        """Return what the next read may take. Raises `httpcore.ReadTimeout` if the piece had its time."""
        now = self._clock()
        if self._until is None:
            self._until = now + _WHOLE * self
        if now >= self._until:
            raise httpcore.ReadTimeout("the answer came too slowly")
        return min(float(self), self._until - now)


class PatientStream(httpcore.NetworkStream):
    """A connection that heeds `Patience`."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        """Wrap a connection."""
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, in the time that is left."""
        return self._stream.read(max_bytes, timeout.left() if isinstance(timeout, Patience) else timeout)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write; what is read afterwards answers this, and what was read before was a proxy's."""
        if isinstance(timeout, Patience):
            timeout.anew()
        self._stream.write(buffer, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on encrypted."""
        return PatientStream(self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Return what the connection itself says."""
        return self._stream.get_extra_info(info)


class _PatientBackend(httpcore.NetworkBackend):
    def __init__(self, ordinary: httpcore.NetworkBackend) -> None:
        self._ordinary = ordinary

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        return PatientStream(self._ordinary.connect_tcp(host, port, timeout, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return PatientStream(self._ordinary.connect_unix_socket(path, timeout, socket_options))


class Transport(httpx.HTTPTransport):
    """The transport of every client of a run: its connections heed `Patience`, and httpx sees no redirects."""

    def __init__(self, **options: Any) -> None:
        """Take the options of `httpx.HTTPTransport`; the environment is not heeded."""
        super().__init__(trust_env=False, **options)
        # Neither httpx nor httpcore has a public place for it; where it is not, a read's own time-out is left.
        ordinary = getattr(self._pool, "_network_backend", None)
        if ordinary is not None:
            self._pool._network_backend = _PatientBackend(ordinary)  # noqa: SLF001 - see above

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; where its answer leads is put aside."""
        response = super().handle_request(request)
        if _LOCATION in response.headers:
            response.extensions = {**response.extensions, _LOCATION: response.headers.pop(_LOCATION)}
        return response


def send(client: httpx.Client, request: httpx.Request, clock: Callable[[], float]) -> httpx.Response:
    """Send a request over a client whose transport is a `Transport`; its answer comes back with the body unread.

    No redirect is followed and no challenge answered. ``clock`` returns seconds. Raises `httpx.TransportError`.
    """
    timeouts = request.extensions["timeout"]
    patience = Patience(timeouts["read"], clock)
    request.extensions = {**request.extensions, "timeout": {**timeouts, "read": patience, "write": patience}}
    response = client.send(request, stream=True, auth=None, follow_redirects=False)
    if _LOCATION in response.extensions:
        response.headers[_LOCATION] = response.extensions[_LOCATION]
    return response


def pieces(response: httpx.Response) -> Iterator[bytes]:
    """Yield the body of an answer of `send` as it comes. Raises `httpx.TransportError`."""
    patience = response.request.extensions["timeout"]["read"]
    patience.anew()
    for piece in response.iter_raw():
        yield piece
        patience.anew()
