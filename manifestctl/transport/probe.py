"""How far the way to a host can be gone: its name, a connection, TLS, the first answer.

An ordinary run is told of the first thing that fails, in the words of its last request. Here each step is taken by
itself, with the settings, the TLS contexts and the proxies of a run.
"""

from __future__ import annotations

import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any, Literal

from manifestctl.errors import ManifestctlError, UnreachableError
from manifestctl.files import reason
from manifestctl.text import outside
from manifestctl.transport.addresses import join_host, split_host
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from manifestctl.transport.message import Response

Step = Literal["proxy", "tls", "registry"]
_SECURE = "https"


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (no brackets) and port of a server."""

    scheme: str
    host: str
    port: int

    @classmethod
    def parse(cls, url: str) -> Origin:
        """Take ``scheme://[user:password@]host[:port]`` apart; the user is dropped."""
        scheme, _, rest = url.partition("://")
        host, port = split_host(rest.rpartition("@")[2].rstrip("/")) or (rest, None)
        return cls(scheme, host, port or (443 if scheme == _SECURE else 80))

    @property
    def secure(self) -> bool:
        """Tell whether it speaks TLS."""
        return self.scheme == _SECURE

    @property
    def place(self) -> str:
        """``host:port``."""
        return join_host(self.host, self.port)

    def __str__(self) -> str:
        """Return ``scheme://host:port``."""
        return f"{self.scheme}://{self.place}"


@dataclass(frozen=True, slots=True)
class Address:
    """An address and a port that a name stands for, as the system's sockets take it."""

    family: int
    place: tuple[Any, ...]

    def __str__(self) -> str:
        """Return the address alone, as hosts are written: one of IPv6 in brackets."""
        return join_host(str(self.place[0]), None)


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection that was made and closed: to where, in how many seconds, and what failed before it, in words."""

    address: Address
    seconds: float
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Encryption:
    """How a connection was encrypted: ``TLSv1.3``, and until when (seconds since the epoch) its certificate is valid.

    ``expires`` is None if nobody looked at the certificate.
    """

    version: str
    expires: float | None


@dataclass(frozen=True, slots=True)
class Greeting:
    """A registry's first answer, and how it was encrypted; None for plain HTTP."""

    response: Response
    encryption: Encryption | None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stood in the way of the first answer, and at which step."""

    step: Step
    error: ManifestctlError


def look_up(host: str, port: int, timeout: float) -> list[Address]:
    """Return the addresses of a host, each once. Raises `UnreachableError`, also if that takes too long."""
    found: list[Any] = []
    failures: list[Exception] = []

    def ask() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failures.append(error)

    # The system's resolver knows no time-out of ours.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    if found:
        return list(dict.fromkeys(Address(family, tuple(place)) for family, _, _, _, place in found))
    raise _unknown(host, failures[0] if failures else None, timeout)


def connect(addresses: list[Address], timeout: float, clock: Callable[[], float]) -> Connected:
    """Connect to the first address that takes a connection, and close it.

    ``timeout`` is for each address. Raises `UnreachableError` if none does.
    """
    failures: list[str] = []
    for address in addresses:
        started = clock()
        try:
            with socket.socket(address.family, socket.SOCK_STREAM) as trying:
                trying.settimeout(timeout)
                trying.connect(address.place)
        except OSError as error:
            why = f"no answer in {timeout:.0f} s" if isinstance(error, TimeoutError) else reason(error)
            failures.append(f"{address}: {outside(why, 100)}")
            continue
        return Connected(address, clock() - started, tuple(failures))
    port = addresses[0].place[1]
    raise UnreachableError(
        f"no connection to port {port}: {'; '.join(failures)}",
        hint="Check the port, the firewall and the network; where only a proxy leads out, set HTTPS_PROXY.",
        transient=True,
    )


def encryption_of(response: httpx.Response) -> Encryption | None:
    """Return how the connection of a response is encrypted, while it is open; None if it is not."""
    stream = response.extensions.get("network_stream")
    secured = stream.get_extra_info("ssl_object") if stream is not None else None
    if secured is None:
        return None
    certificate: Mapping[str, Any] = secured.getpeercert() or {}
    end = certificate.get("notAfter")
    return Encryption(str(secured.version()), float(ssl.cert_time_to_seconds(end)) if end else None)


def failed_step(error: UnreachableError, origin: Origin, *, proxied: bool) -> Step:
    """Tell at which step a request failed after the first connection, to the host or its proxy, could be made."""
    import httpx

    causes = list(_causes(error))
    if any(isinstance(cause, httpx.ProxyError) for cause in causes):
        return "proxy"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "tls"
    if any(isinstance(cause, httpx.ConnectError | httpx.ConnectTimeout) for cause in causes):
        return "proxy" if proxied else "tls" if origin.secure else "registry"
    return "registry"


def _causes(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _unknown(host: str, error: Exception | None, timeout: float) -> UnreachableError:
    name = outside(host, 300)
    if error is None or getattr(error, "errno", None) == socket.EAI_AGAIN:
        why = f"in {timeout:.0f} s" if error is None else "now"
        return UnreachableError(
            f"the name {name} cannot be looked up: no name server answers {why}",
            hint="Check the network and the name servers (/etc/resolv.conf).",
            transient=True,
        )
    return UnreachableError(
        f"the host name {name} is not known", hint="Check the spelling of the registry's name, and DNS.", transient=True
    )
