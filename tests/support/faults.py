"""The fault script of a test server: which requests go wrong, and how.

::

    registry.faults.add(status(503, retry_after=1), method="PUT", path="/manifests/", times=2)
    registry.faults.add(reset(), path="/blobs/", times=FOREVER)

An action gets the `Exchange` and returns the response; `Exchange.serve` gives the ordinary one, so that actions can
change it, delay it, or do what was asked and answer something else.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tests.support.http_message import Request, Response

FOREVER: Final = None
"""As ``times``: the fault never wears off."""


class Server(Protocol):
    """What an action may use of its server."""

    faults: Faults
    released: threading.Event

    @property
    def url(self) -> str:
        """The server's origin."""

    def answer(self, request: Request) -> Response:
        """Answer a request in the ordinary way."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request that a fault applies to, the way to its ordinary answer, and the server."""

    request: Request
    serve: Callable[[], Response]
    server: Server

    def answer(self, method: str, body: bytes = b"", content_type: str | None = None) -> Response:
        """Return the ordinary answer to another request for the same path; it is not recorded."""
        return self.server.answer(self.request.variant(method, body, content_type))


Action = Callable[[Exchange], Response]
"""What a fault does with a request."""


@dataclass(slots=True, eq=False)
class Fault:
    """One line of the script; ``hits`` counts the requests that it was applied to."""

    action: Action
    method: str | None
    path: re.Pattern[str]
    times: int | None
    after: int
    before_auth: bool
    when: Callable[[Request], bool] | None
    hits: int = 0

    def fits(self, request: Request, *, before_auth: bool) -> bool:
        """Tell whether this fault is about such a request."""
        return (
            self.before_auth == before_auth
            and (self.times is None or self.hits < self.times)
            and (self.method is None or re.fullmatch(self.method, request.method) is not None)
            and self.path.search(request.path) is not None
            and (self.when is None or self.when(request))
        )


class Faults:
    """The script: the first fault that fits a request and has not worn off is applied to it."""

    def __init__(self) -> None:
        """Begin with no faults."""
        self._faults: list[Fault] = []
        self._lock = threading.Lock()

    def add(
        self,
        action: Action,
        *,
        method: str | None = None,
        path: str = "",
        times: int | None = 1,
        after: int = 0,
        before_auth: bool = False,
        when: Callable[[Request], bool] | None = None,
    ) -> Fault:
        """Add a fault behind those already there.

        ``method`` is a regular expression that must match the whole method (``"GET|HEAD"``), ``path`` one that is
        searched for in the path. The first ``after`` requests that fit pass unharmed; then it is applied ``times``
        times. Requests that lack authorisation are refused before faults are looked up, except those added with
        ``before_auth``.
        """
        fault = Fault(action, method, re.compile(path), times, after, before_auth, when)
        with self._lock:
            self._faults.append(fault)
        return fault

    def add_first(self, fault: Fault) -> None:
        """Add a fault before all others."""
        with self._lock:
            self._faults.insert(0, fault)

    def remove(self, fault: Fault) -> None:
        """Remove one fault."""
        with self._lock:
            self._faults.remove(fault)

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._faults.clear()

    def take(self, request: Request, *, before_auth: bool) -> Action | None:
        """Return the action for a request and count it, or None."""
        with self._lock:
            for fault in self._faults:
                if not fault.fits(request, before_auth=before_auth):
                    continue
                if fault.after > 0:
                    fault.after -= 1
                    return None
                fault.hits += 1
                return fault.action
        return None
