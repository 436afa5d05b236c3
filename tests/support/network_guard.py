"""Keeps tests on this machine: connections elsewhere fail at once and are remembered."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

Blocked = list[str]
_RESERVED = (".invalid", ".test", ".example", ".localhost")


class BlockedConnectionError(ConnectionRefusedError):
    """A test tried to leave this machine."""


def guard_network() -> tuple[Blocked, Callable[[], None]]:
    """Make connections and name look-ups beyond loopback fail in this process until the returned function is called.

    They fail as on a machine without a network: a connection is refused, a name is unknown. Those that were tried are
    in the returned list, so that a fixture can fail the test; names that cannot exist (RFC 2606) fail unlisted.
    """
    blocked: Blocked = []
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(family: int, address: Any) -> None:
        if family in (socket.AF_INET, socket.AF_INET6) and not is_loopback(str(address[0])):
            blocked.append(f"{address[0]}:{address[1]}")
            raise BlockedConnectionError(f"the test tried to connect to {address[0]}:{address[1]}")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        check(self.family, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        check(self.family, address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name is None or _is_address(name) or is_loopback(name):
            return getaddrinfo(host, *arguments, **options)
        if not name.rstrip(".").endswith(_RESERVED):
            blocked.append(name)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    def undo() -> None:
        _install(connect, connect_ex, getaddrinfo)

    _install(guarded_connect, guarded_connect_ex, guarded_getaddrinfo)
    return blocked, undo


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its address or by a name that always means it."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _install(connect: Any, connect_ex: Any, getaddrinfo: Any) -> None:
    socket.socket.connect = connect  # type: ignore[method-assign]
    socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
    socket.getaddrinfo = getaddrinfo
