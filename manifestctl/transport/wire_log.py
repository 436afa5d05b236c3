"""The wire log: one event an exchange, with nothing secret in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.events import Exchanged
from manifestctl.text import outside

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    Shown = Callable[[str, int], str]

_SHOWN = ("content-type", "content-length", "docker-content-digest", "retry-after", "warning")


def exchanged(request: httpx.Request, response: httpx.Response, seconds: float, shown: Shown = outside) -> Exchanged:
    """Return the event for an exchange; query strings and all but a few headers are left out.

    ``shown`` makes what a server said fit to be shown, at a length.
    """
    detail = ", ".join(f"{name}: {shown(response.headers[name], 200)}" for name in _SHOWN if name in response.headers)
    return _event(request, response.status_code, seconds, detail, shown)


def unanswered(request: httpx.Request, seconds: float, reason: str, shown: Shown = outside) -> Exchanged:
    """Return the event for a request to which no response came; ``reason`` is safe text."""
    return _event(request, 0, seconds, reason, shown)


def _event(request: httpx.Request, status: int, seconds: float, detail: str, shown: Shown) -> Exchanged:
    sent = int(request.headers.get("content-length", "0"))
    # A redirect may lead to a path of the server's choice.
    return Exchanged(request.method, shown(str(request.url), 500), status, seconds, sent, detail)
