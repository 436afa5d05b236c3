"""Uploading blobs to a registry. OCI distribution-spec "Pushing blobs", "Mounting a blob from another repository".

Content whose digest and length are known goes as POST and one PUT. Content that is made on the way goes as POST, one
streamed PATCH without Content-Range (several PATCHes, or a Content-Range, are what registries differ on), and a closing
PUT with the digest. Each upload is one operation for retries: a session that broke is not resumed, the blob is sent
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from manifestctl.errors import DeniedError, IntegrityError, ManifestctlError, NotFoundError, UnreachableError
from manifestctl.once import Once
from manifestctl.stores.base import described
from manifestctl.text import outside
from manifestctl.transport.failures import TRANSIENT, failure, registry_errors
from manifestctl.transport.message import Body, Request, Response
from manifestctl.transport.retry import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Blob, Produced
    from manifestctl.transport.client import RegistryClient
    from manifestctl.transport.retry import Retries

    T = TypeVar("T")

_OCTETS = {"Content-Type": "application/octet-stream"}
_CREATED, _NOT_FOUND, _FAILING, _NOT_IMPLEMENTED = 201, 404, 500, 501
# What registries answer that do not take a body of unknown length in one PATCH, or no empty closing PUT.
_NO_STREAMING = frozenset({400, 405, 411, 413, 415, 416, 501})
# What may be a session that is gone or a registry that fails; answered twice, it is taken for the same.
_PERHAPS_NONE = frozenset({_NOT_FOUND, _FAILING})
# What came there was not what was sent.
_SPOILT = frozenset({"DIGEST_INVALID", "SIZE_INVALID"})


class StreamingRefusedError(ManifestctlError):
    """The registry does not take content of unknown length; it is to be produced first and sent whole."""


class Uploads:
    """Uploads into one repository of a registry."""

    def __init__(self, name: str, repository: str, client: RegistryClient, retries: Retries, runtime: Runtime) -> None:
        """Bind to the repository."""
        self._name = name
        self._repository = repository
        self._client = client
        self._retries = retries
        self._runtime = runtime
        self._first_mounts = Once()
        # The repositories from which nothing can be mounted.
        self._unmountable: set[str] = set()
        # Sessions that were opened instead of a mount, until the upload that follows takes them.
        self._sessions: dict[Digest, str] = {}

    def whole(self, blob: Blob) -> None:
        """Upload content whose digest and length are known."""
        what = described(blob.descriptor, self._name)
        doing = f"uploading blob {what}"
        tried: list[bool] = []

        def upload() -> None:
            # The answer to the last try may have been lost, or be wrong.
            if tried and self._is_there(blob.descriptor):
                return
            session = self._sessions.pop(blob.descriptor.digest, "") or self._begin(doing)
            tried.append(True)
            request, response = self._end(session, blob.descriptor, doing, Body(blob.open, blob.descriptor.size))
            if not response.ok:
                raise self._broken(response, request)

        self._run(f"upload of {what}", upload)

    def streamed(self, produced: Produced) -> Descriptor:
        """Upload content that is produced on the way; returns what it turned out to be.

        Raises `StreamingRefusedError` if the registry does not take such uploads.
        """
        doing = f"uploading {produced.name} to {self._name}"
        made: list[Descriptor] = []
        failed: list[int] = []

        def upload() -> Descriptor:
            if made and self._is_there(made[-1]):
                return made[-1]
            request, response = self._stream(produced, doing, made)
            if response.ok:
                return made[-1]
            error = self._broken(response, request)
            failed.append(response.status)
            again = len(failed) == 1 and response.status in _PERHAPS_NONE
            if isinstance(error, UnreachableError) and response.status in _NO_STREAMING | _PERHAPS_NONE and not again:
                raise StreamingRefusedError(error.message)
            raise error

        return self._run(f"upload of {produced.name}", upload)

    def mount(self, descriptor: Descriptor, source: str) -> bool:
        """Ask the registry to take a blob over from another of its repositories; returns whether it did.

        Some say so and do not, so the blob is looked for. An upload session that it opens instead is kept for the
        upload of the blob. Others wait for what it says to the first blob, and after a refusal it is not asked again.
        """
        answers: list[Response | None] = []

        def ask() -> None:
            answers.append(self._asked_to_mount(descriptor, source))

        self._first_mounts.get(source, ask)
        if not answers and source not in self._unmountable:
            ask()
        response = answers[0] if answers else None
        if response is None:
            return False
        if response.status == _CREATED:
            return self._is_mounted(descriptor)
        if response.ok and (location := response.headers.get("location")):
            self._sessions[descriptor.digest] = location
        return False

    def _asked_to_mount(self, descriptor: Descriptor, source: str) -> Response | None:
        """Return what the registry says, or None if nothing comes of it; a refusal is noted."""
        what = described(descriptor, self._name)
        query = urlencode({"mount": str(descriptor.digest), "from": source})
        request = self._request("POST", f"blobs/uploads/?{query}", f"mounting blob {what}", {}, Body.of(b""))
        try:
            response = self._run(f"mount of {what}", lambda: self._client.send(request))
        except (DeniedError, UnreachableError):
            self._unmountable.add(source)
            return None
        if _refuses_all(response.status):
            self._unmountable.add(source)
        return response

    def _is_mounted(self, descriptor: Descriptor) -> bool:
        try:
            return self._is_there(descriptor)
        except (DeniedError, UnreachableError):
            return False

    def _run(self, operation: str, call: Callable[[], T]) -> T:
        return self._retries.run(operation, call)

    def _begin(self, doing: str) -> str:
        request = self._request("POST", "blobs/uploads/", doing, {}, Body.of(b""))
        response = self._client.send(request)
        if not response.ok:
            raise self._failure(response, request)
        location = response.headers.get("location")
        if not location:
            raise UnreachableError(
                f"{doing} failed: the registry said {response.status}, but not where to send it",
                hint="Something between may be dropping headers; look at the proxy variables.",
            )
        return location

    def _stream(self, produced: Produced, doing: str, made: list[Descriptor]) -> tuple[Request, Response]:
        """Make one pass; returns the last request and its answer. ``made`` is told what all of it was."""
        session = self._begin(doing)
        request = self._request("PATCH", session, doing, _OCTETS, Body(produced.open))
        response = self._client.send(request)
        if not response.ok:
            return request, response
        made.append(produced.descriptor())
        return self._end(response.headers.get("location") or session, made[-1], doing, Body.of(b""))

    def _end(self, session: str, descriptor: Descriptor, doing: str, body: Body) -> tuple[Request, Response]:
        # The query holds the state of the upload and must stay as it is.
        url = session + ("&" if "?" in session else "?") + urlencode({"digest": str(descriptor.digest)})
        if self._client.blob_pacer is not None:
            self._client.blob_pacer.wait()
        request = self._request("PUT", url, doing, _OCTETS, body)
        response = self._client.send(request)
        stated = response.headers.get("docker-content-digest")
        if response.ok and stated is not None and stated != str(descriptor.digest):
            raise IntegrityError(
                f"{doing} failed: the registry says that it stored {outside(stated, 100)}, not {descriptor.digest}",
                hint="Something between may be changing what is sent; nothing was published.",
            )
        return request, response

    def _is_there(self, descriptor: Descriptor) -> bool:
        doing = f"looking for blob {described(descriptor, self._name)}"
        path = self._path(f"blobs/{descriptor.digest}")
        response = self._client.send(Request("HEAD", path, self._repository, doing=doing))
        return response.ok and response.length in (None, descriptor.size)

    def _request(self, method: str, path: str, doing: str, headers: dict[str, str], body: Body) -> Request:
        return Request(method, self._path(path), self._repository, headers, body, doing=doing, writes=True)

    def _path(self, path: str) -> str:
        return path if "://" in path or path.startswith("/") else f"/v2/{self._repository}/{path}"

    def _broken(self, response: Response, request: Request) -> ManifestctlError:
        """Return the error for a session's answer: one that is gone is opened again, what was spoilt is sent again."""
        error = self._failure(response, request)
        gone = isinstance(error, NotFoundError) and not error.repository_unknown
        if gone or {code.upper() for code, _ in registry_errors(response.body)} & _SPOILT:
            return UnreachableError(error.message, hint="Running again is safe.", transient=True)
        return error

    def _failure(self, response: Response, request: Request) -> ManifestctlError:
        wait = retry_after(response.headers.get("retry-after"), self._runtime.now())
        error = failure(response, request.doing, retry_after=wait, writing=True)
        if isinstance(error, NotFoundError) and not error.hint:
            error.hint = "Check the repository's name; some registries want it to be made before the first push."
        return error


def _refuses_all(status: int) -> bool:
    """Tell whether an answer to a mount is about mounting, not about one blob, or a registry that fails just now.

    404 may be about the blob, or a repository that is made before the next one is asked for.
    """
    return status == _NOT_IMPLEMENTED or (400 <= status < 500 and status not in TRANSIENT | {_NOT_FOUND})
