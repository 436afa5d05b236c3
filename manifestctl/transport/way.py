"""The way of a request to its host, for the words of an error on it: through which proxy, and how far it came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from manifestctl.transport.proxies import Proxy

# The extension by which httpcore tells what it does. Its "connection" is that to the proxy, if there is one.
_TOLD = "trace"
_FAILED = frozenset({"connection.connect_tcp.failed", "connection.start_tls.failed"})


@dataclass(frozen=True, slots=True)
class Way:
    """How requests get to a host: ``proxy`` is None if it is asked directly.

    ``advise`` says what to try if the host's certificate turns out not to be trusted, besides the usual; it may be
    empty.
    """

    proxy: Proxy | None = None
    advise: Callable[[], str] = lambda: ""

    def watch(self, request: httpx.Request) -> None:
        """Follow a request that is about to be sent."""
        request.extensions = {**request.extensions, _TOLD: Passage(self)}


class Passage:
    """One request on its way; called by the HTTP library with each step that it takes."""

    def __init__(self, way: Way) -> None:
        """Begin at the beginning."""
        self.way = way
        self.connected = True

    def __call__(self, step: str, _details: object) -> None:
        """Hear of a step."""
        if step in _FAILED:
            self.connected = False

    @property
    def missed_proxy(self) -> Proxy | None:
        """The proxy, if it is what could not be connected to."""
        return None if self.connected else self.way.proxy


def passage(error: httpx.TransportError) -> Passage:
    """Return how far the request came that ended in an error."""
    try:
        told = error.request.extensions.get(_TOLD)
    except RuntimeError:
        # It is of no request.
        told = None
    return told if isinstance(told, Passage) else Passage(Way())
