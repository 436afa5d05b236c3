"""Blob uploads of a fake registry: monolithic, streamed, mounted. OCI distribution-spec "Pushing blobs"."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.http_message import Response, registry_error
from tests.support.images import digest_of

if TYPE_CHECKING:
    from tests.support.fake_content import Repository
    from tests.support.http_message import Request


@dataclass(slots=True)
class Upload:
    """One session. ``state`` must come back with every request, as distribution wants it."""

    repository: str
    state: str
    data: bytes = b""


class Uploads:
    """All sessions of a registry. Not locked: the registry holds its lock around every call."""

    def __init__(self) -> None:
        """Begin with no session."""
        self.sessions: dict[str, Upload] = {}

    def start(self, request: Request, name: str, repository: Repository, source: Repository | None) -> Response:
        """Answer a POST: mount the blob, store it at once, or open a session."""
        digest, mounted = request.parameter("digest"), request.parameter("mount")
        if mounted and source is not None and mounted in source.blobs:
            repository.blobs[mounted] = source.blobs[mounted]
            return _created(name, mounted)
        if digest:
            return _store(name, repository, digest, request.body)
        number = secrets.token_hex(8)
        self.sessions[number] = Upload(name, secrets.token_hex(16))
        return self._accepted(name, number)

    def go_on(self, request: Request, name: str, number: str, repository: Repository) -> Response:
        """Answer a PATCH, PUT, GET or DELETE of a session."""
        upload = self.sessions.get(number)
        if upload is None or upload.repository != name:
            return registry_error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if request.parameter("_state") != upload.state:
            return registry_error(400, "BLOB_UPLOAD_INVALID", "blob upload invalid: no _state")
        if request.method == "PATCH":
            return self._append(request, name, number, upload)
        if request.method == "PUT":
            del self.sessions[number]
            return _store(name, repository, request.parameter("digest") or "", upload.data + request.body)
        if request.method == "DELETE":
            del self.sessions[number]
            return Response(204)
        return self._accepted(name, number, 204)

    def _append(self, request: Request, name: str, number: str, upload: Upload) -> Response:
        placed = request.headers.get("content-range")
        start = re.fullmatch(r"([0-9]+)-[0-9]+", placed) if placed is not None else None
        if placed is not None and (start is None or int(start[1]) != len(upload.data)):
            return registry_error(416, "BLOB_UPLOAD_INVALID", "chunk is out of order")
        upload.data += request.body
        return self._accepted(name, number)

    def _accepted(self, name: str, number: str, status: int = 202) -> Response:
        upload = self.sessions[number]
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{number}?_state={upload.state}",
            "Range": f"0-{max(0, len(upload.data) - 1)}",
            "Docker-Upload-UUID": number,
        }
        return Response(status, b"", headers)


def _store(name: str, repository: Repository, digest: str, data: bytes) -> Response:
    if digest_of(data) != digest:
        return registry_error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
    repository.blobs[digest] = data
    return _created(name, digest)


def _created(name: str, digest: str) -> Response:
    return Response(201, b"", {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})
