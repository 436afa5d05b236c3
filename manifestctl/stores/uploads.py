"""Uploading blobs to a registry. OCI distribution-spec "Pushing blobs", "Mounting a blob from another repository".

Content whose digest and length are known goes as POST and one PUT. Content that is made on the way goes as POST, one
streamed PATCH without Content-Range (several PATCHes, or a Content-Range, are what registries differ on), and a closing
PUT with the digest. Each upload is one operation for retries: a session that broke is not resumed, the blob is sent
again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlencode

from manifestctl.errors import IntegrityError, ManifestctlError, NotFoundError, UnreachableError
from manifestctl.stores.base import described
from manifestctl.text import outside
from manifestctl.transport.failures import failure
from manifestctl.transport.message import Body, Request, Response
from manifestctl.transport.retry import retry_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Blob, Produced
    from manifestctl.transport.client import RegistryClient
    from manifestctl.transport.retry import Retries

    T = TypeVar("T")

_OCTETS = {"Content-Type": "application/octet-stream"}
_CREATED = 201
# What registries answer that do not take a body of unknown length in one PATCH.
_NO_STREAMING = frozenset({400, 404, 405, 411, 413, 415, 416, 501})


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

    def whole(self, blob: Blob) -> None:
        """Upload content whose digest and length are known."""
        what = described(blob.descriptor, self._name)
        doing = f"uploading blob {what}"

        def upload() -> None:
            session = self._begin(doing)
            self._end(session, blob.descriptor, doing, Body(blob.open, blob.descriptor.size))

        self._run(f"upload of {what}", upload)

    def streamed(self, produced: Produced) -> Descriptor:
        """Upload content that is produced on the way; returns what it turned out to be.

        Raises `StreamingRefusedError` if the registry does not take such uploads.
        """
        doing = f"uploading {produced.name} to {self._name}"

        def upload() -> Descriptor:
            session = self._begin(doing)
            request = self._request("PATCH", session, doing, _OCTETS, Body(produced.open))
            response = self._client.send(request)
            if response.status in _NO_STREAMING:
                raise StreamingRefusedError(f"{doing} failed: the registry said {response.status} to a streamed upload")
            self._check(response, request)
            descriptor = produced.descriptor()
            self._end(self._location(response, doing), descriptor, doing, Body.of(b""))
            return descriptor

        return self._run(f"upload of {produced.name}", upload)

    def mount(self, descriptor: Descriptor, source: str) -> bool:
        """Ask the registry to take a blob over from another of its repositories; returns whether it did.

        An upload session that it opens instead is left to expire: what is sent then is sent as any other blob.
        """
        what = described(descriptor, self._name)
        query = urlencode({"mount": str(descriptor.digest), "from": source})
        request = self._request("POST", f"blobs/uploads/?{query}", f"mounting blob {what}", {}, Body.of(b""))
        try:
            response = self._run(f"mount of {what}", lambda: self._client.send(request))
        except (NotFoundError, UnreachableError):
            return False
        return response.status == _CREATED

    def _run(self, operation: str, call: Callable[[], T]) -> T:
        return self._retries.run(operation, call)

    def _begin(self, doing: str) -> str:
        request = self._request("POST", "blobs/uploads/", doing, {}, Body.of(b""))
        response = self._client.send(request)
        self._check(response, request)
        return self._location(response, doing)

    def _end(self, session: str, descriptor: Descriptor, doing: str, body: Body) -> None:
        # The query holds the state of the upload and must stay as it is.
        url = session + ("&" if "?" in session else "?") + urlencode({"digest": str(descriptor.digest)})
        if self._client.blob_pacer is not None:
            self._client.blob_pacer.wait()
        request = self._request("PUT", url, doing, _OCTETS, body)
        response = self._client.send(request)
        self._check(response, request)
        stated = response.headers.get("docker-content-digest")
        if stated is not None and stated != str(descriptor.digest):
            raise IntegrityError(
                f"{doing} failed: the registry says that it stored {outside(stated, 100)}, not {descriptor.digest}",
                hint="Something between may be changing what is sent; nothing was published.",
            )

    def _location(self, response: Response, doing: str) -> str:
        location = response.headers.get("location")
        if not location:
            raise UnreachableError(
                f"{doing} failed: the registry said {response.status}, but not where to send it",
                hint="Something between may be dropping headers; look at the proxy variables.",
            )
        return location

    def _request(self, method: str, path: str, doing: str, headers: dict[str, str], body: Body) -> Request:
        if "://" not in path and not path.startswith("/"):
            path = f"/v2/{self._repository}/{path}"
        return Request(method, path, self._repository, headers, body, doing=doing, writes=True)

    def _check(self, response: Response, request: Request) -> None:
        if not response.ok:
            self._fail(response, request)

    def _fail(self, response: Response, request: Request) -> NoReturn:
        wait = retry_after(response.headers.get("retry-after"), self._runtime.now())
        raise failure(response, request.doing, retry_after=wait, writing=True)
