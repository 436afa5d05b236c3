"""Proxies as the environment names them: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, in either case.

The rules are those that curl and Go programs share; where the two differ, it is said here.

- The name in lower case goes before the one in upper case; an empty value is none. ``ALL_PROXY`` stands in for both.
- A value without a scheme is an HTTP proxy. SOCKS is not supported.
- ``localhost``, 127.0.0.0/8 and ::1 are never asked through a proxy (as in Go).
- ``NO_PROXY`` holds entries separated by commas or blanks. ``*`` is every host. A name is that host and all below it;
  a leading ``.`` or ``*.`` makes no difference (as in curl; in Go the name itself would then be left out). An address
  is itself, a CIDR block all that is in it. An entry with ``:port`` is for that port alone. What is none of these is
  passed over, as it is written for another program (``192.168.*``, ``<local>``).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import field
from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.text import outside
from manifestctl.transport.addresses import is_loopback, join_host, literal, split_host
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

_URL = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?:(?P<user>[^\s/?#\\\x00-\x1f\x7f]*)@)?(?P<host>[^\s/?#@\\]+)/?"
)
_PORTS = {"http": 80, "https": 443}
_SEPARATOR = re.compile(r"[,\s]+")
_NO_PROXY = "no_proxy"
_MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that the environment names. ``url`` may hold a password: it is for the HTTP library alone.

    ``place`` is its ``host:port``, ``variable`` what names it.
    """

    url: str = field(repr=False)
    place: str
    variable: str

    def __str__(self) -> str:
        """Return which proxy that is, for people."""
        return f"{self.place} ({self.variable})"


def proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for a host, or None if it is asked directly; see `named_proxy`."""
    found = named_proxy(scheme, host, port, environ)
    return found.url if found is not None else None


def named_proxy(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a host (no brackets, no port), or None if it is asked directly.

    Raises `InputError` that names the variable, and does not show its value, if it cannot be used.
    """
    if is_loopback(host):
        return None
    variable, value = _first(environ, f"{scheme}_proxy", "all_proxy")
    if not value:
        return None
    proxy = _checked(variable, value)
    name = host.strip("[]").lower().removesuffix(".")
    _, excluded = _first(environ, _NO_PROXY)
    return None if any(_matches(entry, name, port) for entry in _entries(excluded)) else proxy


def passed_over(environ: Mapping[str, str]) -> str:
    """Return in words which entries of ``NO_PROXY`` are passed over; empty if there are none."""
    variable, value = _first(environ, _NO_PROXY)
    unknown = [f"'{outside(entry, 100)}'" for entry in _entries(value) if not _is_understood(entry)]
    if not unknown:
        return ""
    more = f" and {len(unknown) - _MOST_NAMED} more" if len(unknown) > _MOST_NAMED else ""
    shown = f"{', '.join(unknown[:_MOST_NAMED])}{more}"
    return f"{variable}: passed over {shown}: not a host name, an address or a CIDR block"


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    for name in names:
        for variable in (name, name.upper()):
            if value := environ.get(variable, "").strip():
                return variable, value
    return "", ""


def _checked(variable: str, value: str) -> Proxy:
    match = _URL.fullmatch(value)
    scheme = ((match and match["scheme"]) or "http").lower()
    if scheme.startswith("socks"):
        raise InputError(
            f"{variable} names a SOCKS proxy, which manifestctl does not support",
            hint="Name an HTTP proxy, or exclude the registry with NO_PROXY.",
        )
    split = split_host(match["host"]) if match else None
    # An IPv6 address without brackets is a host, but not in a URL, where its last part could be a port.
    if match is None or split is None or (":" in split[0] and match["host"][0] != "[") or scheme not in _PORTS:
        raise InputError(
            f"{variable} is not the URL of a proxy",
            hint="Write http://host:port; special characters in user and password must be percent-encoded.",
        )
    user = f"{match['user']}@" if match["user"] is not None else ""
    place = join_host(split[0], split[1] or _PORTS[scheme])
    return Proxy(f"{scheme}://{user}{join_host(*split)}", place, variable)


def _entries(value: str) -> list[str]:
    return [entry for entry in _SEPARATOR.split(value) if entry]


def _is_understood(entry: str) -> bool:
    return entry == "*" or _block(entry) is not None or _host_of(entry) is not None


def _matches(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    address = literal(host)
    block = _block(entry)
    if block is not None:
        return address is not None and address in block
    split = _host_of(entry)
    if split is None or split[1] not in (None, port):
        return False
    name = split[0].removesuffix(".")
    if address is not None:
        return address == literal(name)
    return host == name or host.endswith(f".{name}")


def _block(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False) if "/" in entry else None
    except ValueError:
        return None


def _host_of(entry: str) -> tuple[str, int | None] | None:
    return split_host(entry.partition("://")[2].rstrip("/") if "://" in entry else entry.lstrip("*").lstrip("."))
