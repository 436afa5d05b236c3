"""What is asked before a repository can be: a registry's challenge, and a token.

Distribution's "Token Authentication" and "OAuth2 Token Authentication". A redirect of the token service is followed: on
its own origin with the credential, elsewhere without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from manifestctl.text import outside
from manifestctl.transport.away import as_at_home
from manifestctl.transport.challenge import Challenge, Scope, check_realm, choose, merge, parse
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.failures import TRANSIENT, failure
from manifestctl.transport.message import BODY_LIMIT, Authorization, Body, Request, Response
from manifestctl.transport.retry import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

    from manifestctl.transport.client import Exchanger
    from manifestctl.transport.credentials import Credential

GENERAL = "/v2/"
"""What every registry answers, whoever asks. OCI distribution-spec "Determining Support"."""

_CLIENT_ID = "manifestctl"
# What token services without OAuth answer to POST, and what some say that have it and do not like the token.
_NO_POST = frozenset({400, 401, 404, 405})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SEE_OTHER = 303
_MAX_REDIRECTS = 5


class TokenRequests:
    """Asks a registry at its origin, and the token service that it names."""

    def __init__(self, registry: str, origin: str, exchanger: Exchanger) -> None:
        """Bind to a registry by its name (for messages) and its origin."""
        self._registry = registry
        self._origin = origin
        self._exchanger = exchanger

    def challenge(self) -> Challenge | None:
        """Ask where some registries say what they want that do not say it elsewhere; None if that is nothing.

        Raises `UnreachableError` if the registry cannot tell now.
        """
        doing = f"asking {self._registry} how to log in"
        request = Request("GET", self._origin + GENERAL, doing=doing)
        response = self._exchange(request, self._located(request, request.path), Authorization("", ANONYMOUS.source))
        if response.status in TRANSIENT:
            wait = retry_after(response.headers.get("retry-after"), self._exchanger.runtime.now())
            raise failure(response, doing, retry_after=wait)
        return choose(parse([response.headers.get("www-authenticate", "")]))

    def token(self, challenge: Challenge, scopes: list[str], credential: Credential | None) -> Response:
        """Ask for a token with these scopes, for a credential or for nobody; the answer says whose it was.

        Raises `DeniedError` for places where no credential may be sent.
        """
        check_realm(challenge.realm, self._registry, plain_http=self._plain_http)
        source, doing = (credential or ANONYMOUS).source, self.doing(challenge)
        if credential is not None and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": challenge.service,
                "client_id": _CLIENT_ID,
                "scope": " ".join(scopes),
                "refresh_token": credential.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            body = Body.of(urlencode(form).encode())
            request = Request("POST", challenge.realm, headers=headers, body=body, doing=doing)
            response = self._follow(request, Authorization("", source, credential))
            if response.status not in _NO_POST or not credential.password:
                return response
        query = [("service", challenge.service)] if challenge.service else []
        query += [("scope", scope) for scope in scopes]
        url = challenge.realm + ("&" if "?" in challenge.realm else "?") + urlencode(query)
        value = f"Basic {credential.basic}" if credential is not None and credential.username else ""
        return self._follow(Request("GET", url, doing=doing), Authorization(value, source, credential))

    def doing(self, challenge: Challenge) -> str:
        """Return how messages about a token begin."""
        host = challenge.realm.partition("://")[2].partition("/")[0]
        return f"getting a token for {self._registry} from {outside(host, 100)}"

    @property
    def _plain_http(self) -> bool:
        return self._origin.startswith("http:")

    def _follow(self, request: Request, authorization: Authorization) -> Response:
        """Send a request, and again where it is redirected to."""
        url = self._located(request, request.path)
        away = ""
        for _ in range(_MAX_REDIRECTS):
            response = self._exchange(request, url, authorization, away)
            target = self._target(request, url, response)
            if target is None:
                return response
            if (target.scheme, target.netloc) != (url.scheme, url.netloc):
                if request.body is not None:
                    # What it holds is the credential itself.
                    return response
                away = outside(target.netloc.decode("ascii", "replace"), 300)
                authorization = _withheld(authorization, away)
            url = target
        return self._exchange(request, url, authorization, away)

    def _target(self, request: Request, url: httpx.URL, response: Response) -> httpx.URL | None:
        """Return where a response leads, if the same request may be sent there; None if it leads nowhere."""
        location = response.headers.get("location")
        if response.status not in _REDIRECTS or location is None:
            return None
        if response.status == _SEE_OTHER and request.method != "GET":
            # It would be a GET for nobody's token.
            return None
        target = as_at_home(self._exchanger.located(request, str(url), location), url)
        check_realm(str(target), self._registry, plain_http=self._plain_http and url.scheme == "http")
        return target

    def _located(self, request: Request, target: str) -> httpx.URL:
        return self._exchanger.located(request, target, target)

    def _exchange(self, request: Request, url: httpx.URL, authorization: Authorization, away: str = "") -> Response:
        raw = self._exchanger.open(request, url, authorization)
        body, truncated = self._exchanger.read(raw, request, BODY_LIMIT)
        headers = {key.lower(): value for key, value in raw.headers.items()}
        source = authorization.source
        return Response(raw.status_code, headers, body, source, truncated, away, registry=self._registry)


def scopes(challenge: Challenge, repositories: list[str], wanted: Mapping[str, Scope]) -> list[str]:
    """Return the scopes to ask for, that of the first repository first, as some servers heed only one.

    What the challenge demanded for another repository is left out: it stems from another request.
    """
    demanded = [Scope.parse(text) for text in challenge.scopes]
    others = [text for text, scope in zip(challenge.scopes, demanded, strict=True) if scope is None]
    named = [scope for scope in demanded if scope is not None and scope.repository in repositories]
    needed = [wanted.get(name, Scope.pull(name)) for name in repositories if name]
    merged = sorted(merge((*named, *needed)), key=lambda scope: repositories.index(scope.repository))
    return others + [str(scope) for scope in merged]


def _withheld(authorization: Authorization, host: str) -> Authorization:
    """Return what is sent to another host than the token service's: nothing, and why."""
    if not authorization.value:
        return authorization
    return Authorization("", f"{authorization.source}, not sent to {host}")
