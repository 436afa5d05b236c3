"""One repository of an OCI Distribution registry, as a store. OCI distribution-spec 1.1.

Manifests are checked against their digest whoever sent them. Each method is one operation for retries: it is made again
as a whole, with the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import quote, urlencode, urljoin

from manifestctl.errors import DocumentError, InputError, IntegrityError, UnreachableError
from manifestctl.events import Warned
from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.strict_json import MANIFEST_LIMIT
from manifestctl.stores.base import Content, check_content, check_digest, checked, described
from manifestctl.text import escape, outside
from manifestctl.transport.failures import failure
from manifestctl.transport.message import BODY_LIMIT, Body, Request, Response
from manifestctl.transport.retry import retry_after

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from manifestctl.model.reference import Reference
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Blob, OnlyIf
    from manifestctl.transport.client import RegistryClient
    from manifestctl.transport.retry import Retries

_ACCEPT = {"Accept": media_types.ACCEPT}
_TAGS_LIMIT = 16 * 1024 * 1024
_MAX_PAGES = 10_000
_DIGEST_HEADER = "docker-content-digest"


class RegistryStore:
    """A store in a registry's repository."""

    def __init__(self, reference: Reference, client: RegistryClient, retries: Retries, runtime: Runtime) -> None:
        """Bind to a repository; nothing is sent yet."""
        self._name = reference.store
        self._repository = reference.repository
        self._client = client
        self._retries = retries
        self._runtime = runtime

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return self._name

    def resolve(self, name: str) -> Descriptor:
        """Say what a tag or digest is, by HEAD; where the answer lacks something, by GET."""
        what = described(name, self.name)
        response = self._run(f"HEAD manifest of {what}", lambda: self._head(name))
        if response is not None:
            digest, length = response.headers.get(_DIGEST_HEADER, ""), response.headers.get("content-length", "")
            with contextlib.suppress(InputError):
                if length.isascii() and length.isdigit():
                    media_type = media_types.essence(response.headers.get("content-type", ""))
                    return Descriptor(media_type, Digest.parse(digest), int(length))
        content = self.read_manifest(name)
        return Descriptor(content.media_type, content.digest, len(content.raw))

    def read_manifest(self, name: str | Descriptor) -> Content:
        """Read a manifest or list by tag, digest or descriptor."""
        what = described(name, self.name)
        selector = str(name.digest) if isinstance(name, Descriptor) else name or "latest"
        request = self._request("GET", f"manifests/{quote(selector, safe=':')}", _ACCEPT, limit=MANIFEST_LIMIT)
        response = self._run(f"GET manifest of {what}", lambda: self._ok(request, f"reading {what}"))
        if response.truncated:
            raise DocumentError(f"{what}: is larger than {MANIFEST_LIMIT} bytes", rule="json-too-large")
        self._pass_on_warning(response)
        raw = response.body
        digest = Digest.of(raw)
        if isinstance(name, Descriptor):
            check_content(raw, name, what)
            digest = name.digest
        elif ":" in selector:
            digest = Digest.parse(selector)
            check_digest(raw, digest, what)
        else:
            self._check_header(response, raw, what)
        return Content(raw, media_types.essence(response.headers.get("content-type", "")), digest)

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Read a small blob whole."""
        what = described(descriptor, self.name)
        request = self._request("GET", f"blobs/{descriptor.digest}", limit=min(limit, descriptor.size + 1))
        response = self._run(f"GET blob {what}", lambda: self._ok(request, f"reading blob {what}"))
        if response.truncated or len(response.body) > limit:
            raise IntegrityError(f"{what}: it is larger than the {min(limit, descriptor.size)} bytes that it may have")
        check_content(response.body, descriptor, what)
        return response.body

    @contextlib.contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob. What breaks off in the middle raises `UnreachableError`; the caller starts again."""
        what = described(descriptor, self.name)
        with self._client.stream(self._request("GET", f"blobs/{descriptor.digest}")) as stream:
            if not stream.response.ok:
                self._fail(stream.response, f"reading blob {what}")
            yield checked(stream.chunks, descriptor, what)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there, by HEAD; where a registry refuses that, by the beginning of a GET."""
        what = described(descriptor, self.name)
        return self._run(f"HEAD blob {what}", lambda: self._has(descriptor, what))

    def write_blob(self, blob: Blob) -> None:
        """Write a blob unless it is there already: one POST and one PUT."""
        if not self.has(blob.descriptor):
            what = described(blob.descriptor, self.name)
            self._run(f"upload of {what}", lambda: self._upload(blob, what))

    def write_manifest(self, content: Content, tag: str | None = None, only_if: OnlyIf | None = None) -> None:
        """PUT a manifest or list under a tag, or by its digest.

        ``only_if`` becomes If-Match or If-None-Match, for registries that heed them. Before a retry the tag is read: if it
        holds these bytes already, that is success.
        """
        what = f"{self.name}{f':{tag}' if tag else f'@{content.digest}'}"
        selector = tag or str(content.digest)
        request = self._request(
            "PUT",
            f"manifests/{quote(selector, safe=':')}",
            {"Content-Type": content.media_type, **_conditions(only_if)},
            body=Body.of(content.raw),
        )
        tried: list[bool] = []

        def put() -> None:
            if tried and self._holds(selector, content):
                return
            tried.append(True)
            if self._client.manifest_pacer is not None:
                self._client.manifest_pacer.wait()
            response = self._client.send(request)
            if not response.ok:
                self._fail(response, f"writing {what}", writing=True)

        self._run(f"PUT manifest of {what}", put)

    def tags(self) -> list[str]:
        """List the tags, page by page."""
        path = f"tags/list?n={self._client.profile.tags_page}"
        tags: list[str] = []
        for _ in range(_MAX_PAGES):
            request = self._request("GET", path, limit=_TAGS_LIMIT)
            response = self._run(
                f"GET tags of {self.name}", functools.partial(self._ok, request, f"listing tags of {self.name}")
            )
            tags += _page_of_tags(response, self.name)
            following = _next_link(response, request, self._client.origin)
            if following is None:
                return list(dict.fromkeys(tags))
            path = following
        raise UnreachableError(f"listing tags of {self.name} failed: it does not end after {_MAX_PAGES} pages")

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: Body | None = None,
        limit: int = BODY_LIMIT,
    ) -> Request:
        if "://" not in path:
            path = f"/v2/{self._repository}/{path}"
        return Request(method, path, self._repository, headers or {}, body, limit)

    def _run(self, operation: str, call: Callable[[], T]) -> T:
        return self._retries.run(operation, call)

    def _ok(self, request: Request, doing: str) -> Response:
        response = self._client.send(request)
        if not response.ok:
            self._fail(response, doing)
        return response

    def _fail(self, response: Response, doing: str, *, writing: bool = False) -> NoReturn:
        wait = retry_after(response.headers.get("retry-after"), self._runtime.now())
        raise failure(response, doing, retry_after=wait, writing=writing)

    def _head(self, name: str) -> Response | None:
        response = self._client.send(self._request("HEAD", f"manifests/{quote(name, safe=':')}", _ACCEPT))
        # The answer to HEAD has no body that would say why; GET is asked for that.
        return response if response.ok else None

    def _has(self, descriptor: Descriptor, what: str) -> bool:
        response = self._client.send(self._request("HEAD", f"blobs/{descriptor.digest}"))
        if response.status == 404:
            return False
        if response.status in (401, 403, 405) and not self._client.profile.head_blob_reliable:
            # ECR Public answers 401 to an anonymous HEAD of a blob that it gives to GET.
            with self._client.stream(self._request("GET", f"blobs/{descriptor.digest}")) as stream:
                response = stream.response
            if response.status == 404:
                return False
        if not response.ok:
            self._fail(response, f"looking for blob {what}")
        length = response.headers.get("content-length", "")
        if length.isascii() and length.isdigit() and int(length) != descriptor.size:
            raise IntegrityError(
                f"{what}: it has {int(length)} bytes, but its descriptor says {descriptor.size}",
                hint="The manifest that names it is wrong; push the image again.",
            )
        return True

    def _upload(self, blob: Blob, what: str) -> None:
        response = self._client.send(self._request("POST", "blobs/uploads/", body=Body.of(b"")))
        location = response.headers.get("location")
        if not response.ok or not location:
            self._fail(response, f"starting the upload of {what}", writing=True)
        url = urljoin(f"{self._client.origin}/v2/{self._repository}/blobs/uploads/", location)
        url += ("&" if "?" in url else "?") + urlencode({"digest": str(blob.descriptor.digest)})
        body = Body(blob.open, blob.descriptor.size)
        response = self._client.send(self._request("PUT", url, {"Content-Type": "application/octet-stream"}, body=body))
        if not response.ok:
            self._fail(response, f"uploading {what}", writing=True)

    def _holds(self, selector: str, content: Content) -> bool:
        response = self._client.send(
            self._request("GET", f"manifests/{quote(selector, safe=':')}", _ACCEPT, limit=MANIFEST_LIMIT)
        )
        return response.ok and response.body == content.raw

    def _check_header(self, response: Response, raw: bytes, what: str) -> None:
        stated = response.headers.get(_DIGEST_HEADER)
        if stated is None:
            return
        try:
            digest = Digest.parse(stated)
        except InputError:
            return
        if digest.verifiable:
            check_digest(raw, digest, what)

    def _pass_on_warning(self, response: Response) -> None:
        warning = response.headers.get("warning", "")
        if warning.startswith("299 "):
            self._runtime.observe(
                Warned(f"{self._client.origin.partition('://')[2]} warns: {outside(warning[4:], 300)}")
            )


def _conditions(only_if: OnlyIf | None) -> dict[str, str]:
    if only_if is None:
        return {}
    return {"If-Match": f'"{only_if.digest}"'} if only_if.digest else {"If-None-Match": "*"}


def _page_of_tags(response: Response, name: str) -> list[str]:
    from manifestctl.model.strict_json import Fields, load

    what = f"the tag list of {name}"
    if response.truncated:
        raise DocumentError(f"{what}: is larger than {_TAGS_LIMIT} bytes", rule="json-too-large")
    fields = Fields.of(load(response.body, what, _TAGS_LIMIT), what, "", frozenset({"name", "tags"}))
    return list(fields.texts("tags"))


def _next_link(response: Response, request: Request, origin: str) -> str | None:
    """Return the URL of the next page (RFC 8288), which registries give relative to the one that was asked for."""
    link = response.headers.get("link", "")
    target, _, parameters = link.partition(">")
    if not target.strip().startswith("<") or 'rel="next"' not in parameters.replace(" ", "").replace(
        "rel=next", 'rel="next"'
    ):
        return None
    url = urljoin(urljoin(origin, request.path), target.strip()[1:])
    if not url.startswith(f"{origin}/"):
        raise UnreachableError(f"the next page of tags is on another host: {escape(outside(url), 200)}")
    return url
