"""What stands behind a front of ECR, a registry without authentication; and how fast the front lets clients write."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from tests.support.http_message import Response
from tests.support.pushing import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ACCEPT = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)
_KEPT = ("content-type", "docker-content-digest", "etag", "content-range", "accept-ranges", "oci-subject")


class Backend:
    """The registry behind, reached at an origin; connections are kept. ``prefix`` is put before repository names."""

    def __init__(self, origin: str, prefix: str = "") -> None:
        """Take the origin, as ``http://127.0.0.1:PORT``."""
        self.origin = origin
        self.prefix = prefix
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def request(self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        """Send a request; the target is a path, or a URL of the registry."""
        parts = urlsplit(urljoin(self.origin, target))
        place = f"{parts.path}?{parts.query}" if parts.query else parts.path
        sent = {"Content-Length": str(len(body))} if method in ("PUT", "POST", "PATCH") else {}
        with self._connection() as connection:
            connection.request(method, place, body or None, {**sent, **(headers or {})})
            answer = connection.getresponse()
            named = {key.lower(): value for key, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())

    def path(self, repository: str, rest: str) -> str:
        """Return the path of something in a repository."""
        return f"/v2/{self.prefix}{repository}/{rest}"

    def manifest(self, repository: str, reference: str) -> Any:
        """Return a manifest as parsed JSON, or None."""
        answer = self.request("GET", self.path(repository, f"manifests/{reference}"), headers={"Accept": ACCEPT})
        return json.loads(answer.body) if answer.status == 200 else None

    def has(self, repository: str, rest: str) -> bool:
        """Tell whether a manifest or a blob is there."""
        return self.request("HEAD", self.path(repository, rest), headers={"Accept": ACCEPT}).status == 200

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository."""
        answer = self.request("GET", self.path(repository, "tags/list?n=1000"))
        return list(json.loads(answer.body)["tags"] or []) if answer.status == 200 else []

    def close(self) -> None:
        """Close the connections that are kept."""
        with self._lock:
            for connection in self._idle:
                connection.close()
            self._idle.clear()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[http.client.HTTPConnection]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or http.client.HTTPConnection(urlsplit(self.origin).netloc, timeout=20)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)


def passed_on(answer: Answer, method: str) -> Response:
    """Return a backend's answer as a front's: its status and body, and the headers that do not name the backend."""
    headers = {name.title(): value for name, value in answer.headers.items() if name in _KEPT}
    length = int(answer.headers.get("content-length", "0")) if method == "HEAD" else None
    return Response(answer.status, answer.body, headers, length)


class Rate:
    """A bucket that fills at ``limit`` a second and holds ``burst``; ``violations`` counts what came too fast."""

    def __init__(self, limit: float, burst: float, clock: Callable[[], float]) -> None:
        """Begin with a full bucket."""
        self.limit = limit
        self.burst = burst
        self.violations = 0
        self._clock = clock
        self._held = burst
        self._since = clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take one; tell whether there was one."""
        with self._lock:
            now = self._clock()
            self._held = min(self.burst, self._held + (now - self._since) * self.limit)
            self._since = now
            # Clocks that are added to in tenths never quite reach the whole.
            if self._held >= 1 - 1e-9:
                self._held -= 1
                return True
            self.violations += 1
            return False
