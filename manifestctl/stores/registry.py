"""One repository of an OCI Distribution registry, as a store. OCI distribution-spec 1.1.

Manifests are checked against their digest whoever sent them. Each method is one operation for retries: it is made again
as a whole, with the same bytes.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, TypeVar
from urllib.parse import quote

from manifestctl.errors import DocumentError, InputError, IntegrityError, UnreachableError
from manifestctl.events import Warned
from manifestctl.model import media_types
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest
from manifestctl.model.strict_json import MANIFEST_LIMIT
from manifestctl.once import Once
from manifestctl.stores.base import Blob, Content, check_content, check_digest, check_size, checked, described
from manifestctl.stores.manifest_headers import DIGEST_HEADER, check_header, conditions, warning
from manifestctl.stores.manifest_writes import ManifestWrite
from manifestctl.stores.missing import MissingRepository
from manifestctl.stores.pages import TAGS_LIMIT, all_tags, next_link
from manifestctl.stores.quotas import check_layers, check_manifest
from manifestctl.text import outside
from manifestctl.transport.failures import TRANSIENT, failure
from manifestctl.transport.message import BODY_LIMIT, Body, Request, Response
from manifestctl.transport.retry import retry_after

T = TypeVar("T")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from manifestctl.model.reference import Reference
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import OnlyIf, Produced, Store
    from manifestctl.stores.uploads import Uploads
    from manifestctl.transport.client import RegistryClient
    from manifestctl.transport.retry import Retries

_ACCEPT = {"Accept": media_types.ACCEPT}


class RegistryStore:
    """A store in a registry's repository."""

    def __init__(
        self,
        reference: Reference,
        client: RegistryClient,
        retries: Retries,
        runtime: Runtime,
        *,
        make_repository: Callable[[], None] | None = None,
    ) -> None:
        """Bind to a repository; nothing is sent yet. ``make_repository`` is called if a write finds it missing."""
        self._name = reference.store
        self.repository = reference.repository
        self.client = client
        self._retries = retries
        self._runtime = runtime
        self._missing = MissingRepository(self._name, make_repository, client.profile.repository_lag, runtime)
        self._heads_fail = self._streams_fail = False
        # Blobs that were looked for in vain, until they are written.
        self._absent: set[Digest] = set()
        # One for all threads: it remembers which mounts are refused.
        self._made = Once()

    @property
    def _uploads(self) -> Uploads:
        return self._made.get("uploads", self._make_uploads)

    def _make_uploads(self) -> Uploads:
        from manifestctl.stores.uploads import Uploads

        return Uploads(self._name, self.repository, self.client, self._retries, self._runtime)

    @property
    def name(self) -> str:
        """``registry/repository``."""
        return self._name

    @property
    def tags_per_image(self) -> int | None:
        """The most tags that an image may have here; None if there is no such limit."""
        return self.client.profile.tags_per_image

    @property
    def manifest_limit(self) -> int | None:
        """The most bytes of a manifest or list; None if there is no such limit."""
        return self.client.profile.manifest_limit

    @property
    def layer_limit(self) -> int | None:
        """The most bytes of a layer; None if there is no such limit."""
        return self.client.profile.layer_limit

    def resolve(self, name: str) -> Descriptor:
        """Say what a tag or digest is, by HEAD; where the answer lacks something, by GET."""
        what = described(name, self.name)
        response = self._run(f"HEAD manifest of {what}", lambda: self._head(name, what))
        if response is not None and response.length is not None:
            with contextlib.suppress(InputError):
                digest = Digest.parse(response.headers.get(DIGEST_HEADER, ""))
                # One that is asked for by its digest and called by another is read, and found out.
                if ":" not in name or str(digest) == name:
                    media_type = media_types.essence(response.headers.get("content-type", ""))
                    return Descriptor(media_type, digest, response.length)
        content = self.read_manifest(name)
        return Descriptor(content.media_type, content.digest, len(content.raw))

    def read_manifest(self, name: str | Descriptor) -> Content:
        """Read a manifest or list by tag, digest or descriptor."""
        what = described(name, self.name)
        selector = str(name.digest) if isinstance(name, Descriptor) else name or "latest"
        request = self._manifest("GET", selector, f"reading {what}", limit=MANIFEST_LIMIT)
        response = self._run(f"GET manifest of {what}", lambda: self._ok(request))
        if response.truncated:
            raise DocumentError(f"{what}: is larger than {MANIFEST_LIMIT} bytes", rule="json-too-large")
        said = warning(response)
        if said:
            self._runtime.observe(Warned(f"{self.client.origin.partition('://')[2]} warns: {said}"))
        media_type = media_types.essence(response.headers.get("content-type", ""))
        if media_type in media_types.GENERIC:
            self._runtime.observe(
                Warned(f"{what} was served as '{media_type}'; what it says itself decides what it is")
            )
        raw = response.body
        digest = Digest.of(raw)
        if isinstance(name, Descriptor):
            check_content(raw, name, what)
            digest = name.digest
        elif ":" in selector:
            digest = Digest.parse(selector)
            check_digest(raw, digest, what)
        else:
            check_header(response, raw, what)
        return Content(raw, media_type, digest)

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Read a small blob whole."""
        what = described(descriptor, self.name)
        if descriptor.size > limit:
            raise IntegrityError(
                f"{what}: it has {descriptor.size} bytes, by its descriptor, which is more than the {limit} it may have"
            )
        request = self._blob("GET", descriptor, f"reading blob {what}", limit=descriptor.size + 1)
        response = self._run(f"GET blob {what}", lambda: self._ok(request))
        if response.truncated:
            raise IntegrityError(f"{what}: it is larger than the {descriptor.size} bytes that its descriptor says")
        check_content(response.body, descriptor, what)
        return response.body

    @contextlib.contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob. What breaks off in the middle raises `UnreachableError`; the caller starts again."""
        what = described(descriptor, self.name)
        request = self._blob("GET", descriptor, f"reading blob {what}")
        with self.client.stream(request) as stream:
            if not stream.response.ok:
                self._fail(stream.response, request)
            yield checked(stream.chunks, descriptor, what)

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there, by HEAD; where a registry refuses that, by the beginning of a GET."""
        what = described(descriptor, self.name)
        there = self._run(f"HEAD blob {what}", lambda: self._has(descriptor, what))
        (self._absent.discard if there else self._absent.add)(descriptor.digest)
        return there

    def write_blob(self, blob: Blob) -> bool:
        """Write a blob unless it is there already: one POST and one PUT."""
        # What was looked for before is not looked for again.
        if blob.descriptor.digest not in self._absent and self.has(blob.descriptor):
            return False
        check_layers(self, [blob.descriptor])
        self._missing.writing(lambda: self._uploads.whole(blob))
        self._absent.discard(blob.descriptor.digest)
        return True

    def write_stream(self, produced: Produced) -> Descriptor:
        """Write content that is produced on the way, in one pass; from a spool where the registry refuses that."""
        from manifestctl.stores.uploads import StreamingRefusedError

        if self.client.profile.streamed_uploads and not self._streams_fail:
            try:
                return self._missing.writing(lambda: self._uploads.streamed(produced))
            except StreamingRefusedError:
                self._streams_fail = True
        from manifestctl.spool import Spool

        with Spool(self._runtime.environ, produced.name) as spool:
            for chunk in produced.open():
                spool.write(chunk)
            descriptor = produced.descriptor()
            self.write_blob(Blob(descriptor, lambda: spool.chunks(0, descriptor.size)))
        return descriptor

    def mount(self, descriptor: Descriptor, source: Store) -> bool:
        """Take a blob over from another repository of this registry, where that works."""
        if not isinstance(source, RegistryStore) or source.client is not self.client:
            return False
        return self.client.profile.blob_mount and self._uploads.mount(descriptor, source.repository)

    def referrers(self, digest: Digest) -> list[Descriptor]:
        """List the manifests whose subject this is, by the API or by the tag scheme."""
        from manifestctl.stores.referrers import listed

        doing = f"listing the referrers of {self.name}@{digest}"

        def ask(path: str) -> tuple[Response, str | None]:
            request = self._request("GET", path, doing, limit=MANIFEST_LIMIT)
            response = self._run(f"GET referrers of {digest}", lambda: self._any(request))
            return response, self._following(response, request)

        return listed(self, digest, ask)

    def write_manifest(self, content: Content, tag: str | None = None, only_if: OnlyIf | None = None) -> None:
        """PUT a manifest or list under a tag, or by its digest.

        ``only_if`` becomes If-Match or If-None-Match, for registries that heed them. Before a retry the tag is read: if
        it holds these bytes already, that is success.
        """
        what = f"{self.name}{f':{tag}' if tag else f'@{content.digest}'}"
        selector = tag or str(content.digest)
        check_manifest(self, len(content.raw), what)
        headers = {"Content-Type": content.media_type, **conditions(only_if)}
        request = self._manifest("PUT", selector, f"writing {what}", headers, body=Body.of(content.raw))

        def put() -> None:
            if self.client.manifest_pacer is not None:
                self.client.manifest_pacer.wait()
            self._ok(request)

        write = ManifestWrite(put, lambda: self._holds(selector, content, what))
        write.run(lambda attempt: self._missing.writing(lambda: self._run(f"PUT manifest of {what}", attempt)))

    def tags(self) -> list[str]:
        """List the tags, page by page."""
        doing = f"listing tags of {self.name}"

        def ask(path: str) -> tuple[Response, str | None]:
            request = self._request("GET", path, doing, limit=TAGS_LIMIT)
            response = self._run(f"GET tags of {self.name}", functools.partial(self._ok, request))
            return response, self._following(response, request)

        return all_tags(ask, f"tags/list?n={self.client.profile.tags_page}", self.name)

    def _request(
        self,
        method: str,
        path: str,
        doing: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: Body | None = None,
        limit: int = BODY_LIMIT,
    ) -> Request:
        if "://" not in path and not path.startswith("/"):
            path = f"/v2/{self.repository}/{path}"
        writes = method not in ("GET", "HEAD")
        return Request(method, path, self.repository, headers or {}, body, limit, doing, writes)

    def _manifest(
        self,
        method: str,
        selector: str,
        doing: str,
        headers: Mapping[str, str] | None = None,
        *,
        body: Body | None = None,
        limit: int = BODY_LIMIT,
    ) -> Request:
        path = f"manifests/{quote(selector, safe=':')}"
        return self._request(method, path, doing, _ACCEPT if headers is None else headers, body=body, limit=limit)

    def _blob(self, method: str, descriptor: Descriptor, doing: str, *, limit: int = BODY_LIMIT) -> Request:
        return self._request(method, f"blobs/{descriptor.digest}", doing, limit=limit)

    def _run(self, operation: str, call: Callable[[], T]) -> T:
        return self._retries.run(operation, call)

    def _ok(self, request: Request) -> Response:
        response = self.client.send(request)
        if not response.ok:
            self._fail(response, request)
        return response

    def _any(self, request: Request) -> Response:
        """Send; an error that may pass is raised, any other is an answer like another."""
        response = self.client.send(request)
        if response.status in TRANSIENT:
            self._fail(response, request)
        return response

    def _following(self, response: Response, request: Request) -> str | None:
        """Return the path of the page after this one; None if it is the last."""
        target = next_link(response.headers.get("link", ""))
        following = None if target is None else self.client.below(request, target)
        if target is not None and following is None:
            raise UnreachableError(f"{request.doing} failed: the next page is on another host, {outside(target, 200)}")
        return following

    def _fail(self, response: Response, request: Request) -> NoReturn:
        wait = retry_after(response.headers.get("retry-after"), self._runtime.now())
        raise failure(response, request.doing, retry_after=wait, writing=request.writes)

    def _head(self, name: str, what: str) -> Response | None:
        response = self._any(self._manifest("HEAD", name, f"looking for {what}"))
        # The answer to HEAD has no body that would say why; GET is asked for that.
        return response if response.ok else None

    def _has(self, descriptor: Descriptor, what: str) -> bool:
        request = self._blob("HEAD", descriptor, f"looking for blob {what}")
        response = None if self._heads_fail else self.client.send(request)
        reliable = self.client.profile.head_blob_reliable
        if response is None or (response.status in (401, 403, 405) and not reliable):
            # ECR Public answers 401 to an anonymous HEAD of a blob that it gives to GET.
            self._heads_fail = True
            with self.client.stream(replace(request, method="GET")) as stream:
                response = stream.response
        if response.status == 404:
            return False
        if not response.ok:
            self._fail(response, request)
        if response.length is not None:
            check_size(response.length, descriptor, what)
        return True

    def _holds(self, selector: str, content: Content, what: str) -> bool:
        request = self._manifest("GET", selector, f"reading {what}", limit=MANIFEST_LIMIT)
        response = self.client.send(request)
        return response.ok and response.body == content.raw
