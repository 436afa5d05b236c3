"""A plain client that fills a registry which the tests do not hold in memory."""

from __future__ import annotations

import base64
import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin, urlsplit

from tests.support.images import walk

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from types import TracebackType

    from tests.support.images import Content


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers with lower-case names, and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


def basic_authorization(user: str, password: str) -> str:
    """Return the value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Client:
    """One keep-alive connection to an origin; it retries nothing, follows nothing and answers no challenge."""

    def __init__(self, url: str, *, context: ssl.SSLContext | None = None, authorization: str | None = None) -> None:
        """Take the origin; ``authorization`` is sent with every request."""
        parts = urlsplit(url)
        self._url = url
        self._headers = {"Authorization": authorization} if authorization else {}
        if parts.scheme == "https":
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=20, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.netloc, timeout=20)

    def __enter__(self) -> Self:
        """Enter the block; the connection is made by the first request."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._connection.close()

    def request(self, method: str, target: str, body: bytes = b"", /, **headers: str) -> Answer:
        """Send a request; in the names of headers an underscore stands for a hyphen."""
        named: Mapping[str, str] = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, target, body or None, {**self._headers, **named})
        response = self._connection.getresponse()
        return Answer(response.status, {key.lower(): value for key, value in response.getheaders()}, response.read())

    def push(self, repository: str, tag: str | None, content: Content) -> str:
        """Upload an image or a list with all that belongs to it; return its digest."""
        for part in walk(content):
            for digest, data in part.blobs.items():
                self._push_blob(repository, digest, data)
            self._push_manifest(repository, part.digest, part)
        if tag is not None:
            self._push_manifest(repository, tag, content)
        return content.digest

    def _push_blob(self, repository: str, digest: str, data: bytes) -> None:
        opened = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        self._expect(opened, 202)
        parts = urlsplit(urljoin(self._url, opened.headers["location"]))
        target = f"{parts.path}?{parts.query}{'&' if parts.query else ''}digest={digest}"
        self._expect(self.request("PUT", target, data, Content_Type="application/octet-stream"), 201)

    def _push_manifest(self, repository: str, reference: str, content: Content) -> None:
        target = f"/v2/{repository}/manifests/{reference}"
        self._expect(self.request("PUT", target, content.manifest, Content_Type=content.media_type), 201)

    @staticmethod
    def _expect(answer: Answer, status: int) -> None:
        if answer.status != status:
            raise AssertionError(f"the registry answered {answer.status}: {answer.body[:500]!r}")
