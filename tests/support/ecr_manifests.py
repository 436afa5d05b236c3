"""Manifests through a front of ECR: its checks and refusals, and what DescribeImages then knows."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

from tests.support.aws_state import ImageRecord
from tests.support.ecr_backend import ACCEPT, passed_on
from tests.support.http_message import Response, registry_error
from tests.support.images import digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.ecr_common import EcrFront, Place
    from tests.support.http_message import Request

MANIFEST_LIMIT = 4 * 1024 * 1024


class Manifests:
    """Answers requests for manifests."""

    def __init__(self, front: EcrFront) -> None:
        """Take the front that asks."""
        self._front = front
        self._lock = threading.Lock()

    def answer(self, request: Request, reference: str, place: Place) -> Response:
        """Answer a request that was authorised, for a repository that is there."""
        backend = self._front.backend
        path = backend.path(place.backend, f"manifests/{reference}")
        if request.method == "PUT":
            return self._put(request, reference, place, path)
        if request.method not in ("GET", "HEAD"):
            return registry_error(405, "UNSUPPORTED", "The operation is unsupported.")
        answer = backend.request(request.method, path, headers={"Accept": request.headers.get("accept", ACCEPT)})
        if answer.status == 404:
            return registry_error(404, "MANIFEST_UNKNOWN", "Requested image not found")
        return passed_on(answer, request.method)

    def _put(self, request: Request, reference: str, place: Place, path: str) -> Response:
        tag = None if ":" in reference else reference
        refusal = self._front.too_fast("PutImage") or self._refused(request.body, place)
        if refusal is None and tag is not None:
            refusal = self._front.refused_tag(place, tag)
        refusal = refusal or self._too_many(digest_of(request.body), place, tag)
        if refusal is not None:
            return refusal
        media_type = request.headers.get("content-type", "")
        answer = self._front.backend.request("PUT", path, request.body, {"Content-Type": media_type})
        response = passed_on(answer, "PUT")
        if answer.status == 201:
            digest = digest_of(request.body)
            self._record(place, ImageRecord(digest, size=len(request.body), media_type=media_type), tag)
            response.header("Location", f"{self._front.origin(request)}/v2/{place.seen}/manifests/{digest}")
        return response

    def _refused(self, data: bytes, place: Place) -> Response | None:
        """Return why a manifest is not taken, whatever its tag, or None."""
        if len(data) > MANIFEST_LIMIT:
            return _bad(f"Member must have length less than or equal to {MANIFEST_LIMIT}")
        try:
            document = json.loads(data)
        except ValueError:
            return _bad("Invalid JSON syntax")
        try:
            named = list(_named(document))
        except (AttributeError, KeyError, TypeError):
            return _bad("Invalid JSON syntax")
        for what, kind, digests in named:
            missing = [held for held in digests if not self._front.backend.has(place.backend, f"{kind}/{held}")]
            if missing:
                text = (
                    f"{what} with digests '[{', '.join(missing)}]' required for pushing image into repository with name"
                    f" '{place.name}' in the registry with id '{place.registry}' do not exist"
                )
                return registry_error(self._front.missing_status, "MANIFEST_BLOB_UNKNOWN", text)
        return None

    def _too_many(self, digest: str, place: Place, tag: str | None) -> Response | None:
        """Return the quota that is used up, or None."""
        assert place.repository is not None
        images, front = place.repository.images, self._front
        where = f"repository with name '{place.name}' in registry with id '{place.registry}'"
        if digest not in images and len(images) >= front.images_limit:
            text = f"The {where} already has the maximum allowed number of images which is '{front.images_limit}'"
            return registry_error(403, "DENIED", text)
        tags = images[digest].tags if digest in images else []
        if tag is not None and tag not in tags and len(tags) >= front.tags_limit:
            text = (
                f"Adding tag '{tag}' to an image in the {where} exceeds the maximum allowed number of tags per image"
                f" which is '{front.tags_limit}'"
            )
            return registry_error(403, "DENIED", text)
        return None

    def _record(self, place: Place, image: ImageRecord, tag: str | None) -> None:
        assert place.repository is not None
        images = place.repository.images
        with self._lock:
            held = images.setdefault(image.digest, image)
            if tag is None or tag in held.tags:
                return
            for other in images.values():
                other.tags = [name for name in other.tags if name != tag]
            held.tags.append(tag)


def _named(document: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield what a manifest names: ECR's word for it, where a registry has it, the digests."""
    blobs = [document.get("config"), *(document.get("layers") or [])]
    # Layers with addresses of their own need not be pushed.
    kept = [entry["digest"] for entry in blobs if entry and not entry.get("urls")]
    yield "Layers", "blobs", list(dict.fromkeys(kept))
    children = document.get("manifests") or []
    yield "Images", "manifests", list(dict.fromkeys(entry["digest"] for entry in children))


def _bad(constraint: str) -> Response:
    text = f"Invalid parameter at 'ImageManifest' failed to satisfy constraint: '{constraint}'"
    return registry_error(405, "UNSUPPORTED", text)
