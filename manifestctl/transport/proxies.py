"""Proxies as the environment names them: ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``, in either case.

The rules are those that curl and Go programs share; where the two differ, it is said here.

- The name in lower case goes before the one in upper case; an empty value is none. ``ALL_PROXY`` stands in for both.
- A value without a scheme is an HTTP proxy. SOCKS is not supported.
- ``localhost``, 127.0.0.0/8 and ::1 are never asked through a proxy (as in Go).
- ``NO_PROXY`` holds entries separated by commas or blanks. ``*`` is every host. A name is that host and all below it;
  a leading ``.`` or ``*.`` makes no difference (as in curl; in Go the name itself would then be left out). An address
  is itself, a CIDR block all that is in it. An entry with ``:port`` is for that port alone.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.text import escape
from manifestctl.transport.addresses import is_loopback, join_host, literal, split_host

if TYPE_CHECKING:
    from collections.abc import Mapping

_URL = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://)?(?:(?P<user>[^\s/?#\\\x00-\x1f\x7f]*)@)?(?P<host>[^\s/?#@\\]+)/?"
)
_SCHEMES = ("http", "https")
_SEPARATOR = re.compile(r"[,\s]+")


def proxy_for(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the proxy for a host (no brackets, no port), or None if it is asked directly.

    The URL may hold a password: it is for the HTTP library alone. Raises `InputError` that names the variable, and does
    not show its value, if it cannot be used.
    """
    if is_loopback(host):
        return None
    variable, value = _first(environ, f"{scheme}_proxy", "all_proxy")
    if not value:
        return None
    proxy = _checked(variable, value)
    return None if _excluded(host.strip("[]").lower().removesuffix("."), port, environ) else proxy


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    for name in names:
        for variable in (name, name.upper()):
            if value := environ.get(variable, "").strip():
                return variable, value
    return "", ""


def _checked(variable: str, value: str) -> str:
    match = _URL.fullmatch(value)
    scheme = ((match and match["scheme"]) or "http").lower()
    if scheme.startswith("socks"):
        raise InputError(
            f"{variable} names a SOCKS proxy, which manifestctl does not support",
            hint="Name an HTTP proxy, or exclude the registry with NO_PROXY.",
        )
    split = split_host(match["host"]) if match else None
    # An IPv6 address without brackets is a host, but not in a URL, where its last part could be a port.
    if match is None or split is None or (":" in split[0] and match["host"][0] != "[") or scheme not in _SCHEMES:
        raise InputError(
            f"{variable} is not the URL of a proxy",
            hint="Write http://host:port; special characters in user and password must be percent-encoded.",
        )
    user = f"{match['user']}@" if match["user"] is not None else ""
    return f"{scheme}://{user}{join_host(*split)}"


def _excluded(host: str, port: int, environ: Mapping[str, str]) -> bool:
    variable, value = _first(environ, "no_proxy")
    # All entries are read, so that a wrong one is found whichever host is asked first.
    found = [_matches(entry, host, port, variable) for entry in _SEPARATOR.split(value) if entry]
    return any(found)


def _matches(entry: str, host: str, port: int, variable: str) -> bool:
    if entry == "*":
        return True
    if "/" in entry and "://" not in entry:
        return _in_block(entry, host, variable)
    split = split_host(entry.partition("://")[2].rstrip("/") if "://" in entry else entry.lstrip("*").lstrip("."))
    if split is None:
        raise _bad_entry(entry, variable, "is not a host")
    name, only_port = split[0].removesuffix("."), split[1]
    if only_port is not None and only_port != port:
        return False
    address = literal(host)
    if address is not None:
        return address == literal(name)
    return host == name or host.endswith(f".{name}")


def _in_block(entry: str, host: str, variable: str) -> bool:
    try:
        block = ipaddress.ip_network(entry, strict=False)
    except ValueError:
        raise _bad_entry(entry, variable, "is not a block of addresses") from None
    address = literal(host)
    return address is not None and address in block


def _bad_entry(entry: str, variable: str, why: str) -> InputError:
    return InputError(
        f"{variable}: '{escape(entry, 100)}' {why}",
        hint="Write host names, addresses and CIDR blocks, separated by commas.",
    )
