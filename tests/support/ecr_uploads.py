"""Blob uploads through a front of ECR: numbers instead of state, absolute places, one part or all at once."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.support.ecr_backend import passed_on
from tests.support.http_message import Response, registry_error

if TYPE_CHECKING:
    from tests.support.ecr_common import EcrFront, Place
    from tests.support.http_message import Request

_OCTETS = {"Content-Type": "application/octet-stream"}


@dataclass(slots=True)
class Session:
    """An upload; ``location`` is the backend's."""

    repository: str
    location: str
    patches: int = 0
    size: int = 0


class Uploads:
    """Answers requests for uploads; ``held`` has the open ones by number."""

    def __init__(self, front: EcrFront) -> None:
        """Take the front that asks."""
        self._front = front
        self.held: dict[str, Session] = {}

    def answer(self, request: Request, number: str, place: Place) -> Response:
        """Answer a request that was authorised, for a repository that is there."""
        if not number:
            return self._open(request, place)
        session = self.held.get(number)
        if session is None or session.repository != place.backend:
            return registry_error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if request.method == "GET":
            return self._accepted(request, number, place, 204)
        if request.method == "DELETE":
            return self._cancel(number, session)
        if session.size + len(request.body) > self._front.layer_limit:
            return self._too_large(number, place)
        if request.method == "PATCH":
            return self._append(request, number, session, place)
        return self._front.too_fast("CompleteLayerUpload") or self._complete(request, number, session, place)

    def _open(self, request: Request, place: Place) -> Response:
        if request.method != "POST":
            return registry_error(405, "UNSUPPORTED", "The operation is unsupported.")
        if request.parameter("mount"):
            self._front.mounts_tried += 1
            mounted = self._front.mount(request, place)
            if mounted is not None:
                return mounted
        # A blob that comes with the POST itself is not taken: the answer is a session, as for any other.
        backend = self._front.backend
        answer = backend.request("POST", backend.path(place.backend, "blobs/uploads/"))
        assert answer.status == 202, f"the backend answered {answer.status}: {answer.body!r}"
        number = str(uuid.uuid4())
        self.held[number] = Session(place.backend, answer.headers["location"])
        return self._accepted(request, number, place)

    def _cancel(self, number: str, session: Session) -> Response:
        self._front.backend.request("DELETE", session.location)
        del self.held[number]
        self._front.cancelled_uploads += 1
        return Response(204)

    def _too_large(self, number: str, place: Place) -> Response:
        text = (
            f"Adding this part to the layer with upload id '{number}' in the repository with name '{place.name}' in"
            f" registry with id '{place.registry}' exceeds the maximum allowed size of a layer which is"
            f" '{self._front.layer_limit}'"
        )
        return registry_error(403, "DENIED", text)

    def _append(self, request: Request, number: str, session: Session, place: Place) -> Response:
        session.patches += 1
        if session.patches > 1:
            self._front.chunked_uploads += 1
            return registry_error(400, "BLOB_UPLOAD_INVALID", "blob upload invalid")
        answer = self._front.backend.request("PATCH", session.location, request.body, _OCTETS)
        if answer.status != 202:
            return passed_on(answer, "PATCH")
        session.location, session.size = answer.headers["location"], session.size + len(request.body)
        return self._accepted(request, number, place)

    def _complete(self, request: Request, number: str, session: Session, place: Place) -> Response:
        digest = request.parameter("digest") or ""
        target = f"{session.location}{'&' if '?' in session.location else '?'}digest={quote(digest)}"
        answer = self._front.backend.request("PUT", target, request.body, _OCTETS)
        del self.held[number]
        response = passed_on(answer, "PUT")
        if answer.status == 201:
            response.header("Location", f"{self._front.origin(request)}/v2/{place.seen}/blobs/{digest}")
        return response

    def _accepted(self, request: Request, number: str, place: Place, status: int = 202) -> Response:
        headers = {
            "Location": f"{self._front.origin(request)}/v2/{place.seen}/blobs/uploads/{number}",
            "Docker-Upload-UUID": number,
            "Range": f"0-{max(0, self.held[number].size - 1)}",
        }
        return Response(status, b"", headers)
