"""The other host that a registry redirects to: a content store with rules of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.http_message import Request, Response
from tests.support.http_server import HttpServer

if TYPE_CHECKING:
    import ssl

    from tests.support.fake_registry import FakeRegistry


class BlobHost(HttpServer):
    """Serves a registry's manifests and blobs under the same paths, without asking the registry's credentials.

    With ``challenge`` it answers everything 401 with that WWW-Authenticate header, as a hostile host would that is
    after the registry's password; ``{origin}`` in it is the host's own origin. ``/token`` gives a token to whoever
    comes, and ``authorizations`` holds every Authorization header that came, with any request.
    """

    def __init__(
        self, source: FakeRegistry, *, challenge: str | None = None, tls: ssl.SSLContext | None = None
    ) -> None:
        """Make a host that is not listening yet."""
        super().__init__(tls=tls)
        self.source = source
        self.challenge = challenge

    @property
    def authorizations(self) -> list[str]:
        """Every Authorization header that came."""
        return [recorded.authorization for recorded in self.find() if recorded.authorization is not None]

    def answer(self, request: Request) -> Response:
        """Answer with the registry's content, or with the challenge."""
        if request.path == "/token":
            return Response(200, b'{"token":"from-the-blob-host"}', {"Content-Type": "application/json"})
        if self.challenge is not None:
            challenge = self.challenge.replace("{origin}", self.url)
            return Response(401, b"", {"WWW-Authenticate": challenge})
        return self.source.answer(request)
