"""Hosts as addresses: taking ``host[:port]`` apart, and telling where an IP literal leads, however oddly it is spelled.

A token realm, a Location or a redirect comes from outside. One that is an IP literal of a private range would turn us
into a door to the local network (a cloud's metadata service, say), so `forbidden_address` is asked before each of them
is followed. C libraries read many spellings of an address (``2130706433``, ``0x7f.1``, ``0177.0.0.1``); so does this.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from urllib.parse import unquote

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_AUTHORITY = re.compile(
    rf"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>{_LABEL}(?:\.{_LABEL})*\.?))(?::(?P<port>[0-9]{{1,5}}))?",
)
_MAX_NAME = 255
_MAX_PORT = 65535
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{0,16}|[0-9]{1,20}")
_PARTS_OF_IPV4 = 4
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
# IETF protocol assignments (RFC 6890). Some versions of Python call them global, and a cloud has its metadata there.
_ASSIGNED_IPV4 = ipaddress.IPv4Network("192.0.0.0/24")
# What /etc/hosts of the usual systems calls this machine.
_THIS_MACHINE = frozenset(
    {
        "localhost",
        "localhost.localdomain",
        "localhost4",
        "localhost4.localdomain4",
        "localhost6",
        "localhost6.localdomain6",
        "ip6-localhost",
        "ip6-loopback",
    }
)
# Addresses of IPv6 that carry one of IPv4 in their last 32 bits: IPv4-compatible (RFC 4291), NAT64 (RFC 6052).
_CARRIERS = (ipaddress.IPv6Network("::/96"), ipaddress.IPv6Network("64:ff9b::/96"))


def split_host(text: str) -> tuple[str, int | None] | None:
    """Take ``host[:port]`` apart: the host in lower case without brackets, and the port; None if it is not one.

    ``[::1]:5000`` and a bare ``::1`` are understood.
    """
    if text.count(":") > 1 and not text.startswith("["):
        return (text.lower(), None) if literal(text) is not None else None
    match = _AUTHORITY.fullmatch(text)
    if match is None or len(text) > _MAX_NAME:
        return None
    port = int(match["port"]) if match["port"] else None
    if port is not None and not 0 < port <= _MAX_PORT:
        return None
    if match["v6"] and not isinstance(literal(match["v6"]), ipaddress.IPv6Address):
        return None
    return (match["v6"] or match["name"]).lower(), port


def join_host(name: str, port: int | None) -> str:
    """Put together what `split_host` took apart; an IPv6 address gets its brackets."""
    name = f"[{name}]" if ":" in name else name
    return name if port is None else f"{name}:{port}"


def literal(host: str) -> Address | None:
    """Return the address that a host (no port) is as it stands in the usual spelling, else None."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_loopback(host: str) -> bool:
    """Tell if a host (no port) is ``localhost``, in 127.0.0.0/8, or ``::1``."""
    address = literal(host.strip("[]"))
    return host.lower() == "localhost" if address is None else address.is_loopback


def forbidden_address(host: str, registry_host: str) -> bool:
    """Tell if what a registry said leads to an address where it has no business. Both hosts may carry a port.

    True for the names of this machine itself, and for IP literals, in any spelling, that are not public (loopback,
    private, link-local, shared, reserved, multicast), unless it is the registry's own host. All loopback addresses are
    one host.
    """
    name, own = _bare(host), _bare(registry_host)
    if name == own:
        return False
    address, home = _address(name), _address(own)
    if address is None or _is_public(address):
        return False
    return address != home and not (home is not None and home.is_loopback and address.is_loopback)


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in _PUBLIC_IPV6:
        return False
    return address not in _ASSIGNED_IPV4 and address.is_global and not address.is_multicast


def _bare(host: str) -> str:
    # Full-width digits and dots are folded as IDNA does it.
    host = unicodedata.normalize("NFKC", unquote(host)).strip().replace("\u3002", ".").lower()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    return host.partition("%")[0].removesuffix(".")


def _address(name: str) -> Address | None:
    if name in _THIS_MACHINE or name.endswith(".localhost"):
        return ipaddress.IPv4Address("127.0.0.1")
    if ":" not in name:
        return _ipv4(name)
    address = literal(name)
    if not isinstance(address, ipaddress.IPv6Address):
        return None
    carried = address.ipv4_mapped or address.sixtofour
    if carried is None and not address.is_loopback and any(address in network for network in _CARRIERS):
        carried = ipaddress.IPv4Address(address.packed[12:])
    return address if carried is None else carried


def _ipv4(name: str) -> ipaddress.IPv4Address | None:
    """Read an IPv4 address as ``inet_aton`` does: one to four numbers, decimal, octal or hexadecimal."""
    parts = name.split(".")
    if len(parts) > _PARTS_OF_IPV4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    try:
        *heads, last = [_number(part) for part in parts]
    except ValueError:
        return None
    if any(head >= 256 for head in heads) or last >= 256 ** (_PARTS_OF_IPV4 + 1 - len(parts)):
        return None
    value = last
    for position, head in enumerate(heads):
        value |= head << (8 * (3 - position))
    return ipaddress.IPv4Address(value)


def _number(text: str) -> int:
    if text[:2] in ("0x", "0X"):
        return int(text[2:] or "0", 16)
    return int(text, 8 if text.startswith("0") else 10)
