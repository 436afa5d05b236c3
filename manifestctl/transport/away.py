"""Where the answers of a registry lead, by redirect or Location: home, to other hosts, or where nobody should go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import DeniedError, UnreachableError
from manifestctl.text import outside

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from manifestctl.transport.message import Request

_NOT_TOLD_HTTPS = (
    "If the registry is behind a proxy that ends TLS, let the proxy send X-Forwarded-Proto and Host as they are "
    "outside, or set the registry's external URL to https."
)


def as_at_home(url: httpx.URL, home: httpx.URL) -> httpx.URL:
    """Return a URL as the registry's own if it is on its host and port; ``home`` is where the registry is.

    A registry on https may believe that it is on http: so it does behind a proxy that ends TLS and does not say so.
    """
    secure = url.copy_with(scheme=home.scheme) if (url.scheme, home.scheme) == ("http", "https") else url
    return secure if secure.netloc == home.netloc else url


def check_away(request: Request, url: httpx.URL, home: httpx.URL, shown: Callable[[str, int], str] = outside) -> None:
    """Raise `UnreachableError` or `DeniedError` for a URL that is not the registry's own and must not be asked.

    ``shown`` makes what a server said fit for a message, at a length.
    """
    from manifestctl.transport.addresses import forbidden_address

    host, own = url.netloc.decode("ascii", "replace"), home.netloc.decode("ascii", "replace")
    doing = f"{request.doing or request.method} failed: {own}"
    if url.scheme != "https" and (url.scheme, home.scheme) != ("http", "http"):
        raise UnreachableError(
            f"{doing} leads to {shown(str(url), 200)}, which is not https",
            hint=_NOT_TOLD_HTTPS if url.scheme == "http" else "",
        )
    if forbidden_address(host, own):
        raise DeniedError(
            f"{doing} leads to {outside(host, 100)}, an address inside a private network",
            hint="Redirects from a registry into the local network are refused.",
        )
