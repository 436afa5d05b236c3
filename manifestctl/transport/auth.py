"""Answers to one registry's challenges. Distribution's "Token Authentication"; RFC 7235, RFC 7617, RFC 6750.

One token is fetched for all repositories that share a credential, with every permission the run needs. If that is denied or
turns out to be too little, one token is fetched for each repository. Many threads may ask at once: one fetches, the others
wait for it.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from manifestctl.errors import DeniedError, UnreachableError
from manifestctl.text import outside
from manifestctl.transport.challenge import BASIC, BEARER, Challenge, Scope, check_realm, choose, merge, parse
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.failures import failure
from manifestctl.transport.message import BODY_LIMIT, Body, Request, Response

if TYPE_CHECKING:
    from manifestctl.transport.client import Exchanger
    from manifestctl.transport.credentials import Credential, CredentialSource
    from manifestctl.transport.profiles import Profile

_DEFAULT_LIFETIME = 60.0
_CLIENT_ID = "manifestctl"
_NO_POST = frozenset({404, 405})


@dataclass(frozen=True, slots=True)
class Authorization:
    """The value of an Authorization header and whose it is.

    ``expires`` is in seconds of the run's monotonic clock, ``joint`` says that it was asked for several repositories.
    """

    value: str = field(repr=False)
    source: str
    expires: float = float("inf")
    joint: bool = False


class Authorizer:
    """Knows, for one registry, which Authorization each repository's requests carry."""

    def __init__(
        self, registry: str, origin: str, profile: Profile, source: CredentialSource, exchanger: Exchanger
    ) -> None:
        """Bind to a registry by its name (for credentials) and its origin (for requests)."""
        self._registry = registry
        self._plain_http = origin.startswith("http:")
        self._profile = profile
        self._source = source
        self._exchanger = exchanger
        self._wanted: dict[str, Scope] = {}
        self._held: dict[str, Authorization] = {}
        self._challenge = _known_challenge(profile)
        self._lock = threading.RLock()

    def want(self, repository: str, *, write: bool) -> None:
        """Say, before the first request, what the run will need of a repository."""
        scope = Scope.push(repository) if write else Scope.pull(repository)
        with self._lock:
            held = self._wanted.get(repository, scope)
            self._wanted[repository] = merge((held, scope))[0]

    def authorization(self, repository: str) -> Authorization | None:
        """Return what to send now: a token that is still good, one fetched now if it can be, or None."""
        held = self._held.get(repository)
        if held is None and self._challenge is None:
            return None
        if held is not None and self._good(held):
            return held
        with self._lock:
            held = self._held.get(repository)
            if held is not None and self._good(held):
                return held
            if self._challenge is not None:
                self._obtain(repository, self._challenge, joint=True)
            return self._held.get(repository)

    def answer(self, repository: str, headers: list[str], used: Authorization | None) -> bool:
        """Answer a 401; returns whether the request should be sent again. ``headers`` are its WWW-Authenticate."""
        with self._lock:
            if self._renewed_meanwhile(repository, used):
                return True
            challenge = choose(parse(headers))
            if challenge is None:
                return False
            self._challenge = challenge
            small = used is not None and used.joint and challenge.error != "invalid_token"
            self._obtain(repository, challenge, joint=not small)
            return self._held.get(repository) not in (None, used)

    def replace(self, repository: str, used: Authorization | None) -> bool:
        """Fetch a new token after a registry said, without a challenge, that ``used`` is bad; returns whether there is one."""
        with self._lock:
            if self._renewed_meanwhile(repository, used):
                return True
            if self._challenge is None:
                return False
            self._held.pop(repository, None)
            self._obtain(repository, self._challenge, joint=True)
            return self._held.get(repository) not in (None, used)

    def _good(self, held: Authorization) -> bool:
        return self._exchanger.runtime.monotonic() < held.expires

    def _renewed_meanwhile(self, repository: str, used: Authorization | None) -> bool:
        held = self._held.get(repository)
        return held is not None and held != used and self._good(held)

    def _obtain(self, repository: str, challenge: Challenge, *, joint: bool) -> None:
        credential = self._source.credential(self._registry, repository)
        if challenge.scheme == BASIC:
            if credential is not None and credential.username:
                self._held[repository] = Authorization(f"Basic {credential.basic}", credential.source)
            return
        if credential is not None and credential.registry_token:
            self._held[repository] = Authorization(f"Bearer {credential.registry_token}", credential.source)
            return
        if credential is not None and credential.username and self._profile.password_as_bearer:
            self._held[repository] = Authorization(f"Bearer {credential.basic}", credential.source)
            return
        check_realm(challenge.realm, self._registry, plain_http=self._plain_http)
        together = self._sharing(repository, credential) if joint else [repository]
        response = self._ask(challenge, together, credential)
        if len(together) > 1 and response.status in (400, 401, 403):
            together = [repository]
            response = self._ask(challenge, together, credential)
        token = self._token(response, challenge, joint=len(together) > 1)
        self._held.update(dict.fromkeys(together, token))

    def _sharing(self, repository: str, credential: Credential | None) -> list[str]:
        """Return the repositories that the credential opens, the one that is asked for now first."""
        others = (other for other in self._wanted if other != repository)
        return [
            repository,
            *(other for other in others if self._source.credential(self._registry, other) == credential),
        ]

    def _ask(self, challenge: Challenge, repositories: list[str], credential: Credential | None) -> Response:
        scopes = self._scopes(challenge, repositories)
        source = (credential or ANONYMOUS).source
        if credential is not None and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": challenge.service,
                "client_id": _CLIENT_ID,
                "scope": " ".join(scopes),
                "refresh_token": credential.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            request = Request("POST", challenge.realm, headers=headers, body=Body.of(urlencode(form).encode()))
            response = self._fetch(request, Authorization("", source))
            if response.status not in _NO_POST or not credential.password:
                return response
        query = [("service", challenge.service)] if challenge.service else []
        query += [("scope", scope) for scope in scopes]
        url = challenge.realm + ("&" if "?" in challenge.realm else "?") + urlencode(query)
        value = f"Basic {credential.basic}" if credential is not None and credential.username else ""
        return self._fetch(Request("GET", url), Authorization(value, source))

    def _scopes(self, challenge: Challenge, repositories: list[str]) -> list[str]:
        """Return the scopes to ask for; what the challenge demanded comes first, as some servers heed only one."""
        demanded = [Scope.parse(text) for text in challenge.scopes]
        others = [text for text, scope in zip(challenge.scopes, demanded, strict=True) if scope is None]
        wanted = (self._wanted[name] for name in repositories if name in self._wanted)
        return others + [str(scope) for scope in merge((*filter(None, demanded), *wanted))]

    def _fetch(self, request: Request, authorization: Authorization) -> Response:
        raw = self._exchanger.open(request, request.path, authorization if authorization.value else None)
        body, truncated = self._exchanger.read(raw, request, BODY_LIMIT)
        headers = {key.lower(): value for key, value in raw.headers.items()}
        return Response(raw.status_code, headers, body, "", authorization.source, truncated)

    def _token(self, response: Response, challenge: Challenge, *, joint: bool) -> Authorization:
        doing = f"getting a token for {self._registry} from {outside(_host(challenge.realm), 100)}"
        if not response.ok:
            error = failure(response, doing)
            if response.status == 400 or isinstance(error, DeniedError):
                hint = "The user name, password or token is wrong, or has expired; log in again."
                raise DeniedError(error.message, hint=error.hint if response.credentials == ANONYMOUS.source else hint)
            raise error
        try:
            answer = json.loads(response.body)
            token = answer.get("token") or answer.get("access_token")
            lifetime = float(answer.get("expires_in") or 0)
        except (ValueError, AttributeError, TypeError, RecursionError):
            token, lifetime = None, 0.0
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise UnreachableError(
                f"{doing} failed: the answer holds no token", hint="A proxy may have answered in its place."
            )
        if not 0 < lifetime < float("inf"):
            lifetime = _DEFAULT_LIFETIME
        # Renewed a little before its end, so that it does not expire on the way.
        expires = self._exchanger.runtime.monotonic() + lifetime - min(10.0, lifetime / 4)
        return Authorization(f"Bearer {token}", response.credentials, expires, joint)


def _known_challenge(profile: Profile) -> Challenge | None:
    if profile.basic_only:
        return Challenge(BASIC)
    known = profile.challenge
    return Challenge(BEARER, {"realm": known.realm, "service": known.service, "scope": known.scope}) if known else None


def _host(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]
