"""Amazon ECR Public before a registry: its challenge, tokens, refusals and rates.

::

    with FakeRegistry() as backend, FakeAws() as aws, EcrPublicFront(aws, backend.url, tls=…) as front:
        aws.add_repository("web")  # public.ecr.aws/acme/web, which the backend holds as acme/web

Most tests want `tests.support.ecr_world.EcrWorld`, which brings all of it under the real host names.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from tests.support.aws_public import HOST
from tests.support.aws_tokens import USER
from tests.support.ecr_common import READING, ROUTE, EcrFront, Place, token_refusal
from tests.support.ecr_private import EcrPrivateFront
from tests.support.http_message import Response, json_response, registry_error

if TYPE_CHECKING:
    from tests.support.aws import FakeAws
    from tests.support.aws_tokens import IssuedToken, State
    from tests.support.http_message import Request

DUAL_STACK = "ecr-public.aws.com"
STORAGE = "d0123456789abc.cloudfront.net"
HOSTS = (HOST, DUAL_STACK, STORAGE)
_ANONYMOUS = "anonymous"


class EcrPublicFront(EcrFront):
    """ECR Public. Repositories are ``ALIAS/NAME``; the backend has them under the owner's primary alias.

    A token is what GetAuthorizationToken gave (as it is, Bearer), or what ``/token/`` gave for it. ``anonymous_tokens``
    and ``granted_tokens`` count what ``/token/`` gave out.
    """

    service = "ecr-public"
    storage_host = re.compile(re.escape(STORAGE))

    def __init__(self, aws: FakeAws, backend: str, **options: Any) -> None:
        """Make a front that is not listening yet; the options are those of `EcrFront`."""
        super().__init__(aws, backend, **options)
        self.anonymous_tokens = 0
        self.granted_tokens = 0
        # By what /token/ gave out: the authorization token for which it did.
        self._granted: dict[str, str] = {}

    @property
    def secrets(self) -> list[str]:
        """All tokens that ``/token/`` gave out."""
        return list(self._granted)

    # Tokens.

    def authorize(self, request: Request) -> Response | None:
        """Ask for a token; refuse Basic and bad tokens without asking."""
        if not request.path.startswith("/v2") or self.from_storage(request):
            return None
        if "authorization" not in request.headers:
            return _challenge(request)
        bearer = request.bearer or ""
        if self._granted.get(bearer) == _ANONYMOUS:
            return None if _anonymous_may(request) else _challenge(request)
        return token_refusal(self._lookup(bearer)[0])

    def holder(self, request: Request) -> IssuedToken | None:
        """Return the token of a request, or None for an anonymous one."""
        return self._lookup(request.bearer or "")[1]

    def answer(self, request: Request) -> Response:
        """Give tokens, or answer as a registry."""
        if request.path.rstrip("/") == "/token" and not self.from_storage(request):
            return self._token(request)
        return super().answer(request)

    def _lookup(self, bearer: str) -> tuple[State, IssuedToken | None]:
        return self.aws.lookup("ecr-public", authorization=self._granted.get(bearer, bearer))

    def _token(self, request: Request) -> Response:
        if request.method != "GET":
            return Response(405, b"", {"Allow": "GET"})
        if "authorization" not in request.headers:
            self.anonymous_tokens += 1
            return self._grant(_ANONYMOUS)
        user, password = request.basic or ("", "")
        state, token = self.aws.lookup("ecr-public", password=password)
        refusal = token_refusal(state if user == USER else "unknown")
        if refusal is not None or token is None:
            return refusal or registry_error(400, "DENIED", "Not Authorized")
        self.granted_tokens += 1
        return self._grant(token.authorization)

    def _grant(self, standing_for: str) -> Response:
        value = secrets.token_urlsafe(600)
        self._granted[value] = standing_for
        return json_response({"token": value})

    # A registry's ways.

    def place(self, request: Request, name: str) -> Place:
        """Find the repository of an alias."""
        alias, _, rest = name.partition("/")
        owner = self.aws.public.owner(alias)
        if owner is None:
            return Place(name, rest, alias, "", f"arn:aws:ecr-public:::repository/{rest}", name, None)
        arn = f"arn:aws:ecr-public::{owner.account}:repository/{rest}"
        primary = owner.primary
        backend = f"{primary.name if primary else alias}/{rest}"
        return Place(name, rest, alias, owner.account, arn, backend, owner.repositories.get(rest))

    def reading_action(self, request: Request, route: re.Match[str]) -> str | None:
        """Reads need no permission, except to look for a blob with a token."""
        return "BatchCheckLayerAvailability" if route["digest"] and request.method == "HEAD" else None

    def storage(self, request: Request) -> str | None:
        """Blobs are read from a content network."""
        return STORAGE if request.headers.get("host") in (HOST, DUAL_STACK) else None


def _anonymous_may(request: Request) -> bool:
    """Tell whether an anonymous token is enough: for reads, but not to look for a blob."""
    route = ROUTE.fullmatch(request.path)
    looks_for_blob = route is not None and route["digest"] is not None and request.method == "HEAD"
    return request.method in READING and not looks_for_blob


def _challenge(request: Request) -> Response:
    realm = f"https://{DUAL_STACK if request.headers.get('host') == DUAL_STACK else HOST}/token/"
    challenge = f'Bearer realm="{realm}",service="{HOST}",scope="aws"'
    return registry_error(401, "DENIED", "Not Authorized", headers={"WWW-Authenticate": challenge})


__all__ = ["DUAL_STACK", "HOST", "HOSTS", "STORAGE", "EcrPrivateFront", "EcrPublicFront"]
