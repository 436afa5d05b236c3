"""What the fronts of both kinds of Amazon ECR have in common: repositories, permissions, blobs, tag lists."""

from __future__ import annotations

import json
import re
import secrets
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from tests.support.aws_identity import AwsError
from tests.support.ecr_backend import Backend, Rate, passed_on
from tests.support.ecr_manifests import Manifests
from tests.support.ecr_uploads import Uploads
from tests.support.http_message import Response, json_response, registry_error
from tests.support.http_server import HttpServer

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from tests.support.aws import FakeAws
    from tests.support.aws_identity import Denial
    from tests.support.aws_private import PrivateRepository
    from tests.support.aws_public import PublicRepository
    from tests.support.aws_tokens import IssuedToken, State
    from tests.support.http_message import Request

ROUTE = re.compile(
    r"/v2/(?P<name>.+?)/(?:manifests/(?P<reference>[^/]+)|blobs/uploads/(?P<upload>[^/]*)|blobs/(?P<digest>[^/]+)"
    r"|tags/(?P<tags>list))"
)
READING = ("GET", "HEAD")
_PAGE = 1000
_TWO_WAYS = (
    "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the"
    " Authorization header should be specified"
)


@dataclass(frozen=True, slots=True)
class Place:
    """A repository as a request names it.

    ``seen`` is the whole name that the client gave, ``name`` and ``registry`` are what ECR's texts say, ``backend`` is
    what the backend calls it. ``repository`` is None if there is none; ``account`` is its owner's.
    """

    seen: str
    name: str
    registry: str
    account: str
    arn: str
    backend: str
    repository: PublicRepository | PrivateRepository | None


class EcrFront(HttpServer):
    """What ECR Public and ECR have in common. Settings may be changed while it runs.

    - ``just_created_lag``: so many requests to a repository that CreateRepository made find nothing.
    - ``missing_status``: the status for a manifest whose children or blobs are not there.
    - ``layer_limit``, ``images_limit``, ``tags_limit``: quotas.
    - ``redirects``: blobs are read from another host, if the front is reached under its real name.
    - ``rates``: by action, PutImage and CompleteLayerUpload; what is too fast is 429. Empty for no limits.

    ``mounts_tried``, ``chunked_uploads``, ``cancelled_uploads`` and `rate_violations` count what clients did.
    """

    service = ""
    storage_host = re.compile("")

    def __init__(
        self,
        aws: FakeAws,
        backend: str,
        *,
        tls: ssl.SSLContext | None = None,
        prefix: str = "",
        rate_limit: float | None = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make a front that is not listening yet.

        It stands before the registry at the origin ``backend``, which has ``prefix`` before the names of repositories.
        ``rate_limit`` is a second's, with a burst of as many, by ``clock``; None for no limit.
        """
        super().__init__(tls=tls)
        self.aws = aws
        self.backend = Backend(backend, prefix)
        self.just_created_lag = 0
        self.missing_status = 404
        self.layer_limit = 10_000 * 1024 * 1024
        self.images_limit = 100_000
        self.tags_limit = 1000
        self.redirects = True
        self.mounts_tried = 0
        self.chunked_uploads = 0
        self.cancelled_uploads = 0
        self.rates: dict[str, Rate] = {}
        if rate_limit is not None:
            self.rates = {name: Rate(rate_limit, rate_limit, clock) for name in ("PutImage", "CompleteLayerUpload")}
        self.uploads = Uploads(self)
        self._manifests = Manifests(self)
        self._lags: dict[str, int] = {}
        self._signatures: set[str] = set()
        self._state = threading.Lock()

    # What the kinds say.

    def place(self, request: Request, name: str) -> Place:
        """Return what a request's repository is."""
        raise NotImplementedError

    def holder(self, request: Request) -> IssuedToken | None:
        """Return the token of a request that was authorised, or None for an anonymous one."""
        raise NotImplementedError

    def reading_action(self, request: Request, route: re.Match[str]) -> str | None:
        """Return the action of IAM that a read needs, or None."""
        raise NotImplementedError

    def storage(self, request: Request) -> str | None:
        """Return the host from which blobs are read, or None if they come from the front itself."""
        raise NotImplementedError

    def mount(self, request: Request, place: Place) -> Response | None:
        """Answer a mount, or None if nothing is mounted."""
        del request, place
        return None

    def refused_tag(self, place: Place, tag: str) -> Response | None:
        """Return why a tag may not be put, or None."""
        del place, tag
        return None

    # What tests set and ask.

    @property
    def rate_violations(self) -> int:
        """How many requests came too fast."""
        return sum(rate.violations for rate in self.rates.values())

    @property
    def open_uploads(self) -> int:
        """How many upload sessions are open."""
        return len(self.uploads.held)

    def deny(self, action: str, **options: Any) -> Denial:
        """Let IAM refuse an action; ``PutImage`` is this service's. The options are those of `FakeAws.deny`."""
        return self.aws.deny(action if ":" in action else f"{self.service}:{action}", **options)

    def close(self) -> None:
        """Close the server and its connections to the backend."""
        super().close()
        self.backend.close()

    # What the parts use.

    def origin(self, request: Request) -> str:
        """Return the origin under which a request came."""
        return f"{'https' if self._tls else 'http'}://{request.headers.get('host', '')}"

    def from_storage(self, request: Request) -> bool:
        """Tell whether a request is for the other host, where the blobs are."""
        return self.storage_host.fullmatch(request.headers.get("host", "")) is not None

    def too_fast(self, action: str) -> Response | None:
        """Take one of a rate; return the refusal if there was none."""
        rate = self.rates.get(action)
        return None if rate is None or rate.take() else registry_error(429, "TOOMANYREQUESTS", "Rate exceeded")

    # Answering.

    def _respond(self, request: Request) -> Response:
        response = super()._respond(request)
        response.headers.setdefault("Date", formatdate(self.aws.now(), usegmt=True))
        response.headers.setdefault("Docker-Distribution-Api-Version", "registry/2.0")
        return response

    def answer(self, request: Request) -> Response:
        """Answer what was authorised."""
        if self.from_storage(request):
            return self._stored(request)
        if request.path in ("/v2", "/v2/"):
            return json_response({})
        route = ROUTE.fullmatch(request.path)
        if route is None:
            return Response(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})
        place = self.place(request, route["name"])
        return self._denied(request, route, place) or self._absent(place) or self._route(request, route, place)

    def _route(self, request: Request, route: re.Match[str], place: Place) -> Response:
        if route["reference"]:
            return self._manifests.answer(request, route["reference"], place)
        if route["upload"] is not None:
            return self.uploads.answer(request, route["upload"], place)
        if route["digest"]:
            return self._blob(request, route["digest"], place)
        return self._tags(request, place)

    # Permissions and existence.

    def _actions(self, request: Request, route: re.Match[str]) -> list[str]:
        if request.method in READING:
            action = self.reading_action(request, route)
            return [action] if action else []
        if route["reference"]:
            return ["PutImage" if request.method == "PUT" else "BatchDeleteImage"]
        if request.method == "POST":
            return ["InitiateLayerUpload"]
        part = ["UploadLayerPart"] if request.method == "PATCH" or request.body else []
        return part + (["CompleteLayerUpload"] if request.method == "PUT" else [])

    def _denied(self, request: Request, route: re.Match[str], place: Place) -> Response | None:
        token = self.holder(request)
        if token is None:
            return None
        for action in (f"{self.service}:{name}" for name in self._actions(request, route)):
            try:
                self.aws.permissions.check(action, place.arn, token.principal)
            except AwsError as error:
                return registry_error(403, "DENIED", error.message)
            if place.account != token.account and place.repository is not None:
                text = f"User: {token.principal} is not authorized to perform: {action} on resource: {place.arn}"
                text += f" because no resource-based policy allows the {action} action"
                return registry_error(403, "DENIED", text)
        return None

    def _absent(self, place: Place) -> Response | None:
        if place.repository is not None and not self._lagging(place, place.repository):
            return None
        text = f"The repository with name '{place.name}' does not exist in the registry with id '{place.registry}'"
        return registry_error(404, "NAME_UNKNOWN", text)

    def _lagging(self, place: Place, repository: PublicRepository | PrivateRepository) -> bool:
        if not repository.by_api:
            return False
        with self._state:
            left = self._lags.setdefault(place.arn, self.just_created_lag)
            self._lags[place.arn] = max(0, left - 1)
        return left > 0

    # Blobs.

    def _blob(self, request: Request, digest: str, place: Place) -> Response:
        if request.method not in READING:
            return registry_error(405, "UNSUPPORTED", "The operation is unsupported.")
        path = self.backend.path(place.backend, f"blobs/{digest}")
        host = self.storage(request)
        if request.method == "GET" and host and self.redirects and self.backend.has(place.backend, f"blobs/{digest}"):
            signature = secrets.token_hex(32)
            self._signatures.add(signature)
            query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature={signature}"
            return Response(307, b"", {"Location": f"https://{host}{path}?{query}"})
        answer = self.backend.request(request.method, path, headers=_range(request))
        if answer.status == 404:
            return registry_error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return passed_on(answer, request.method)

    def _stored(self, request: Request) -> Response:
        """Answer as the other host: who shows a signature gets the blob, who shows anything else does not."""
        if "authorization" in request.headers:
            return _xml_error(400, "InvalidArgument", _TWO_WAYS)
        if request.parameter("X-Amz-Signature") not in self._signatures:
            return _xml_error(403, "AccessDenied", "Access Denied")
        return passed_on(self.backend.request(request.method, request.path, headers=_range(request)), request.method)

    # Tags.

    def _tags(self, request: Request, place: Place) -> Response:
        if int(request.parameter("n") or "1") > _PAGE:
            constraint = f"Member must have value less than or equal to {_PAGE}"
            text = f"Invalid parameter at 'maxResults' failed to satisfy constraint: '{constraint}'"
            return registry_error(400, "UNSUPPORTED", text)
        path = self.backend.path(place.backend, "tags/list")
        answer = self.backend.request("GET", f"{path}?{request.query}" if request.query else path)
        tags = json.loads(answer.body)["tags"] or [] if answer.status == 200 else []
        response = json_response({"name": place.seen, "tags": tags})
        if "link" in answer.headers:
            response.header("Link", answer.headers["link"].replace(path, f"/v2/{place.seen}/tags/list"))
        return response


def token_refusal(state: State) -> Response | None:
    """Return how a token in such a state is refused, or None: without a challenge."""
    if state == "valid":
        return None
    if state == "expired":
        text = "Your authorization token has expired. Reauthenticate and try again."
        return registry_error(403, "DENIED", text)
    return registry_error(400, "DENIED", "Your Authorization Token is invalid.")


def _range(request: Request) -> dict[str, str]:
    return {"Range": request.headers["range"]} if "range" in request.headers else {}


def _xml_error(status: int, code: str, text: str) -> Response:
    body = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>"
    return Response(status, body.encode(), {"Content-Type": "application/xml"})
