"""The wire log: one event an exchange, with nothing secret in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.events import Exchanged
from manifestctl.text import outside

if TYPE_CHECKING:
    import httpx

_SHOWN = ("content-type", "content-length", "docker-content-digest", "retry-after", "warning")


def exchanged(request: httpx.Request, response: httpx.Response, seconds: float) -> Exchanged:
    """Return the event for an exchange; query strings and all but a few headers are left out."""
    detail = ", ".join(f"{name}: {outside(response.headers[name], 200)}" for name in _SHOWN if name in response.headers)
    return _event(request, response.status_code, seconds, detail)


def unanswered(request: httpx.Request, seconds: float, reason: str) -> Exchanged:
    """Return the event for a request to which no response came; ``reason`` is safe text."""
    return _event(request, 0, seconds, reason)


def _event(request: httpx.Request, status: int, seconds: float, detail: str) -> Exchanged:
    sent = int(request.headers.get("content-length", "0"))
    return Exchanged(request.method, outside(str(request.url), 500), status, seconds, sent, detail)
