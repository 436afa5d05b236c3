"""A scripted OCI Distribution registry on a real socket. OCI distribution-spec 1.1.

::

    with FakeRegistry(auth=BearerAuth(users={"ci": "secret"})) as registry:
        amd64 = registry.put_image("team/web", "1.4-amd64", "linux/amd64")
        registry.faults.add(status(503, retry_after=0), method="PUT", path="/manifests/")
        ...
        assert registry.tag("team/web", "1.4") == expected
        assert registry.count("GET", "/manifests/") == 3
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.support import images
from tests.support.fake_auth import READ, WRITE, Auth, NoAuth
from tests.support.fake_content import Repository, StoredManifest
from tests.support.fake_uploads import Uploads
from tests.support.http_message import Request, Response, json_response, registry_error
from tests.support.http_server import HttpServer
from tests.support.images import digest_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping, Sequence

    from tests.support.images import Content, Index

_ROUTE = re.compile(
    r"/v2/(?P<name>.+?)/(?:manifests/(?P<reference>[^/]+)|blobs/uploads/(?P<upload>[^/]*)|blobs/(?P<digest>[^/]+)"
    r"|tags/(?P<tags>list))"
)
_READING = ("GET", "HEAD")


class FakeRegistry(HttpServer):
    """The registry. Repositories exist as soon as something is in them.

    - ``auth``: `NoAuth`, `BasicAuth`, `BearerAuth`.
    - ``strict_children``: a manifest is refused if a blob or child that it names is not in its repository.
    - ``create_on_push=False``: a push to a repository that does not exist is 404 NAME_UNKNOWN, as on ECR.
    - ``unknown_repository``: the error code when a manifest of an absent repository is read.
    - ``immutable_tags``: a PUT to a tag that exists is 400 TAG_INVALID, even with the same content, as on ECR.
    - ``heeds_conditions``: If-Match and If-None-Match of a manifest PUT are checked, else they are ignored.
    - ``digest_headers=False``: no Docker-Content-Digest anywhere.
    - ``page_size``: the most tags on one page, whatever ``n`` says.
    """

    def __init__(
        self,
        *,
        auth: Auth | None = None,
        tls: ssl.SSLContext | None = None,
        strict_children: bool = False,
        create_on_push: bool = True,
        unknown_repository: str = "MANIFEST_UNKNOWN",
        immutable_tags: bool = False,
        heeds_conditions: bool = False,
        digest_headers: bool = True,
        page_size: int = 1000,
        manifest_limit: int = 4 * 1024 * 1024,
    ) -> None:
        """Make a registry that is not listening yet."""
        super().__init__(tls=tls)
        self.auth: Auth = auth or NoAuth()
        self.repositories: dict[str, Repository] = {}
        self.strict_children = strict_children
        self.create_on_push = create_on_push
        self.unknown_repository = unknown_repository
        self.immutable_tags = immutable_tags
        self.heeds_conditions = heeds_conditions
        self.digest_headers = digest_headers
        self.page_size = page_size
        self.manifest_limit = manifest_limit
        self._uploads = Uploads()
        self._content = threading.RLock()

    # Filling it.

    def repository(self, name: str) -> Repository:
        """Return a repository, made if need be; tests may change what is in it."""
        with self._content:
            return self.repositories.setdefault(name, Repository())

    def put(self, repository: str, tag: str | None, content: Content, *, blobs: bool = True) -> str:
        """Store an image or a list with all that belongs to it; return its digest. ``blobs=False`` leaves blobs out."""
        held = self.repository(repository)
        for part in images.walk(content):
            held.put(StoredManifest(part.manifest, part.media_type))
            if blobs:
                held.blobs.update(part.blobs)
        held.put(StoredManifest(content.manifest, content.media_type), tag)
        return content.digest

    def put_image(
        self,
        repository: str,
        tag: str | None,
        platform: str | None = "linux/amd64",
        *,
        docker: bool = False,
        layers: int = 1,
        seed: str = "",
        labels: Mapping[str, str] | None = None,
        annotations: Mapping[str, str] | None = None,
        created: str | None = images.CREATED,
        config: Mapping[str, object] | bytes | None = None,
        manifest: Mapping[str, object] | None = None,
    ) -> str:
        """Make an image (see `images.image`) and store it; return its digest."""
        made = images.image(
            platform,
            docker=docker,
            layers=layers,
            seed=seed,
            labels=labels,
            annotations=annotations,
            created=created,
            config=config,
            manifest=manifest,
        )
        return self.put(repository, tag, made)

    def put_index(
        self,
        repository: str,
        tag: str | None,
        children: Sequence[Content | Mapping[str, object]],
        *,
        docker: bool = False,
        annotations: Mapping[str, str] | None = None,
        fields: Mapping[str, object] | None = None,
    ) -> str:
        """Make a list (see `images.index`) and store it with the children given as content; return its digest."""
        made = images.index(children, docker=docker, annotations=annotations, fields=fields)
        return self.put(repository, tag, made)

    def put_buildx(
        self, repository: str, tag: str | None, platforms: Sequence[str], *, attestations: bool = True, seed: str = ""
    ) -> Index:
        """Store what ``docker buildx build --push`` leaves for these platforms; return the index."""
        made = images.buildx_index([images.image(name, seed=seed) for name in platforms], attestations=attestations)
        self.put(repository, tag, made)
        return made

    def put_blob(self, repository: str, data: bytes, digest: str | None = None) -> str:
        """Store a blob, under a digest that may be false; return the digest."""
        key = digest or digest_of(data)
        self.repository(repository).blobs[key] = data
        return key

    def put_raw_manifest(self, repository: str, tag_or_digest: str | None, data: bytes, media_type: str) -> str:
        """Store any bytes as a manifest, under a tag or a digest that may be false; return the bytes' own digest."""
        self.repository(repository).put(StoredManifest(data, media_type), tag_or_digest)
        return digest_of(data)

    # Questions.

    def reference(self, repository: str, tag: str | None = None) -> str:
        """Return ``127.0.0.1:PORT/repository[:tag]``, or ``…@digest`` if the tag is a digest."""
        mark = "" if tag is None else "@" if ":" in tag else ":"
        return f"{self.host}/{repository}{mark}{tag or ''}"

    def tag(self, repository: str, name: str) -> str | None:
        """Return the digest that a tag has, or None."""
        with self._content:
            held = self.repositories.get(repository)
            return held.tags.get(name) if held else None

    def tags(self, repository: str) -> dict[str, str]:
        """Return all tags of a repository with their digests."""
        with self._content:
            held = self.repositories.get(repository)
            return dict(held.tags) if held else {}

    def manifest(self, repository: str, tag_or_digest: str) -> StoredManifest | None:
        """Return a stored manifest, or None."""
        with self._content:
            held = self.repositories.get(repository)
            return held.find(tag_or_digest) if held else None

    def document(self, repository: str, tag_or_digest: str) -> Any:
        """Return a stored manifest as parsed JSON; it must be there."""
        stored = self.manifest(repository, tag_or_digest)
        assert stored is not None, f"{repository} has no {tag_or_digest}"
        return json.loads(stored.data)

    @property
    def manifest_puts(self) -> list[tuple[str, str]]:
        """Repository and reference of the manifest PUTs that were answered 201, in order."""
        found = self.find("PUT", "/manifests/")
        routes = [_ROUTE.fullmatch(recorded.path) for recorded in found if recorded.status == 201]
        return [(route["name"], route["reference"]) for route in routes if route]

    # Answering.

    def authorize(self, request: Request) -> Response | None:
        """Ask for credentials, except on the token endpoint."""
        if self.auth.owns(request.path) or not request.path.startswith("/v2"):
            return None
        route = _ROUTE.fullmatch(request.path)
        actions = READ if request.method in _READING else WRITE
        return self.auth.authorize(request, self.url, route["name"] if route else "", actions)

    def answer(self, request: Request) -> Response:
        """Answer as a registry that works."""
        if self.auth.owns(request.path):
            return self.auth.token(request)
        if request.path in ("/v2", "/v2/"):
            return json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})
        route = _ROUTE.fullmatch(request.path)
        if route is None:
            return Response(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
        _ = request.body  # read before the lock, so that a slow client holds up nobody else
        with self._content:
            response = self._route(request, route)
        if not self.digest_headers:
            response.header("Docker-Content-Digest", None)
        return response

    def _route(self, request: Request, route: re.Match[str]) -> Response:
        name = route["name"]
        if request.method not in _READING and not self.create_on_push and name not in self.repositories:
            message = f"The repository with name '{name}' does not exist in the registry"
            return registry_error(404, "NAME_UNKNOWN", message)
        if route["reference"]:
            if request.method == "PUT":
                return self._put_manifest(request, name, route["reference"])
            return self._get_manifest(request, name, route["reference"])
        if route["upload"] is not None:
            return self._upload(request, name, route["upload"])
        if route["digest"]:
            return self._get_blob(request, name, route["digest"])
        return self._list_tags(request, name)

    def _get_manifest(self, request: Request, name: str, reference: str) -> Response:
        if request.method not in _READING:
            return registry_error(405, "UNSUPPORTED", "The operation is unsupported.")
        held = self.repositories.get(name)
        if held is None:
            return registry_error(404, self.unknown_repository, "manifest unknown", detail={"name": name})
        stored = held.find(reference)
        if stored is None:
            return registry_error(404, "MANIFEST_UNKNOWN", "manifest unknown", detail={"Tag": reference})
        # Under a digest that is false the registry claims it all the same.
        digest = reference if ":" in reference else stored.digest
        headers = {"Content-Type": stored.media_type, "Docker-Content-Digest": digest, "Etag": f'"{digest}"'}
        return Response(200, stored.data, headers)

    def _put_manifest(self, request: Request, name: str, reference: str) -> Response:
        data, media_type = request.body, request.headers.get("content-type", "")
        if len(data) > self.manifest_limit:
            return registry_error(413, "MANIFEST_INVALID", "manifest is too large")
        refusal = self._refusal(request, name, reference)
        if refusal is not None:
            return refusal
        stored = StoredManifest(data, media_type)
        self.repository(name).put(stored, reference)
        headers = {"Location": f"/v2/{name}/manifests/{stored.digest}", "Docker-Content-Digest": stored.digest}
        return Response(201, b"", headers)

    def _refusal(self, request: Request, name: str, reference: str) -> Response | None:
        """Return why a manifest is not taken, or None."""
        held = self.repositories.get(name) or Repository()
        current = held.tags.get(reference)
        if ":" in reference and reference != digest_of(request.body):
            return registry_error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        if self.heeds_conditions and not _condition_holds(request, current):
            return registry_error(412, "PRECONDITION_FAILED", "the tag is not as the condition says")
        if self.immutable_tags and current is not None:
            message = (
                f"The image tag '{reference}' already exists in the '{name}' repository and cannot be overwritten"
                " because the repository is immutable."
            )
            return registry_error(400, "TAG_INVALID", message)
        return _invalid(request) or (self._children_missing(held, request.body) if self.strict_children else None)

    @staticmethod
    def _children_missing(held: Repository, data: bytes) -> Response | None:
        missing = held.missing(data)
        if not missing:
            return None
        return registry_error(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry", detail=missing[0])

    def _get_blob(self, request: Request, name: str, digest: str) -> Response:
        if request.method not in _READING:
            return registry_error(405, "UNSUPPORTED", "The operation is unsupported.")
        held = self.repositories.get(name)
        if held is None or digest not in held.blobs:
            return registry_error(404, "BLOB_UNKNOWN", "blob unknown to registry", detail=digest)
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        return Response(200, held.blobs[digest], headers)

    def _upload(self, request: Request, name: str, number: str) -> Response:
        held = self.repository(name)
        if number:
            return self._uploads.go_on(request, name, number, held)
        if request.method != "POST":
            return registry_error(405, "UNSUPPORTED", "The operation is unsupported.")
        return self._uploads.start(request, name, held, self.repositories.get(request.parameter("from") or ""))

    def _list_tags(self, request: Request, name: str) -> Response:
        held = self.repositories.get(name)
        if held is None:
            return registry_error(404, "NAME_UNKNOWN", "repository name not known to registry", detail={"name": name})
        last = request.parameter("last") or ""
        wanted = min(int(request.parameter("n") or self.page_size), self.page_size)
        rest = [tag for tag in sorted(held.tags) if tag > last]
        headers = {}
        if len(rest) > wanted > 0:
            headers["Link"] = f'</v2/{name}/tags/list?last={quote(rest[wanted - 1])}&n={wanted}>; rel="next"'
        return json_response({"name": name, "tags": rest[:wanted]}, headers=headers)


def _invalid(request: Request) -> Response | None:
    """Refuse what is not a JSON object, and a Content-Type that is not the document's own ``mediaType``."""
    try:
        document = json.loads(request.body)
    except ValueError as error:
        return registry_error(400, "MANIFEST_INVALID", "manifest invalid", detail=str(error))
    declared = document.get("mediaType") if isinstance(document, dict) else None
    sent = request.headers.get("content-type", "")
    if not isinstance(document, dict) or not sent or (declared is not None and declared != sent):
        return registry_error(400, "MANIFEST_INVALID", "manifest invalid", detail=f"{declared} sent as {sent}")
    return None


def _condition_holds(request: Request, current: str | None) -> bool:
    match, none_match = request.headers.get("if-match"), request.headers.get("if-none-match")
    if match is not None and (current is None or current not in match.replace('"', "").split(", ")):
        return False
    return none_match is None or current is None or (none_match != "*" and current not in none_match)
