"""Answers to one registry's challenges. Distribution's "Token Authentication"; RFC 7235, RFC 7617, RFC 6750.

One token is fetched for all repositories that share a credential, with every permission the run needs. If that is
denied or turns out to be too little, one token is fetched for each repository. Many threads may ask at once: one
fetches, the others wait for it. A credential that is refused is renewed, or the next source's is tried.
"""

from __future__ import annotations

import threading
from dataclasses import field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from manifestctl.errors import DeniedError, UnreachableError
from manifestctl.events import Warned
from manifestctl.text import outside
from manifestctl.transport.challenge import BASIC, BEARER, Challenge, Scope, check_realm, choose, merge, parse
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.message import BODY_LIMIT, Body, Request, Response
from manifestctl.transport.token_answers import DENIED, REFUSED, token
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.transport.client import Exchanger
    from manifestctl.transport.credentials import Chain, Credential
    from manifestctl.transport.profiles import Profile

_CLIENT_ID = "manifestctl"
# What token services without OAuth answer to POST, and what some say that have it and do not like the token.
_NO_POST = frozenset({400, 401, 404, 405})
_MAX_CREDENTIALS: Final = 8


@dataclass(frozen=True, slots=True)
class Authorization:
    """The value of an Authorization header and whose it is.

    ``expires`` is in seconds of the run's monotonic clock. ``fetched``: it is a token that a service gave for the
    ``credential``, which otherwise was sent itself. ``joint``: it was asked for several repositories. ``again``: it
    stands in the place of one that was refused.
    """

    value: str = field(repr=False)
    source: str
    credential: Credential | None = None
    expires: float = float("inf")
    fetched: bool = False
    joint: bool = False
    again: bool = False


class Authorizer:
    """Knows, for one registry, which Authorization each repository's requests carry."""

    def __init__(self, registry: str, origin: str, profile: Profile, source: Chain, exchanger: Exchanger) -> None:
        """Bind to a registry by its name (for credentials) and its origin (for requests)."""
        self._registry = registry
        self._plain_http = origin.startswith("http:")
        self._profile = profile
        self._source = source
        self._exchanger = exchanger
        self._wanted: dict[str, Scope] = {}
        self._held: dict[str, Authorization] = {}
        self._refused: dict[str, DeniedError] = {}
        self._accepted: set[tuple[str, Authorization]] = set()
        self._worked: set[Credential] = set()
        self._nobody: set[str] = set()
        self._believed: set[str] = set()
        self._warned: set[str] = set()
        self._jointly = True
        self._challenge = _known_challenge(profile)
        self._lock = threading.RLock()

    def want(self, repository: str, *, write: bool) -> None:
        """Say, before the first request, what the run will need of a repository."""
        scope = Scope.push(repository) if write else Scope.pull(repository)
        with self._lock:
            held = self._wanted.get(repository)
            if held is None or not held.includes(scope):
                self._wanted[repository] = merge((*filter(None, (held,)), scope))[0]
                self._held.pop(repository, None)
                self._refused.pop(repository, None)

    def authorization(self, repository: str) -> Authorization | None:
        """Return what to send now: a token that is still good, one fetched now if it can be, or None."""
        held = self._held.get(repository)
        if held is not None and self._good(held):
            return held
        if held is None and self._challenge is None:
            return None
        with self._lock:
            held = self._held.get(repository)
            if (held is None or not self._good(held)) and self._challenge is not None:
                self._obtain(repository, self._challenge)
            return self._held.get(repository)

    def accepted(self, repository: str, used: Authorization) -> None:
        """Hear that the registry took what was sent: if it refuses it later, it has expired."""
        if (repository, used) not in self._accepted:
            with self._lock:
                self._accepted.add((repository, used))
                if used.credential is not None:
                    self._worked.add(used.credential)

    def hear(self, headers: list[str]) -> None:
        """Hear that a challenge was made, before it is answered: who has sent nothing yet need not provoke it again."""
        if self._challenge is None:
            self._challenge = choose(parse(headers))

    def answer(self, repository: str, headers: list[str], used: Authorization | None) -> bool:
        """Answer a 401; returns whether to send the request again. ``headers`` are its WWW-Authenticate."""
        with self._lock:
            if self._renewed_meanwhile(repository, used):
                return True
            challenge = choose(parse(headers))
            if challenge is None:
                return False
            self._challenge = challenge
            return self._anew(repository, used, stale=challenge.error == "invalid_token")

    def replace(self, repository: str, used: Authorization, *, unsaid: bool = False) -> bool:
        """Hear, without a challenge, that ``used`` is bad; returns whether there is another one to send.

        ``unsaid``: that is only what a refusal that does not say so may mean, which is believed once for a repository.
        """
        with self._lock:
            if self._renewed_meanwhile(repository, used):
                return True
            if unsaid and repository in self._believed:
                return False
            self._believed |= {repository} if unsaid else set()
            return self._anew(repository, used)

    def narrow(self, repository: str, used: Authorization) -> bool:
        """Hear that ``used`` is not enough; returns whether there is another one to send.

        That is so after a token that was asked for many repositories: one for this repository alone may have more.
        """
        with self._lock:
            if self._renewed_meanwhile(repository, used):
                return True
            return self._is_short(repository, used) and self._anew(repository, used)

    def _good(self, held: Authorization) -> bool:
        return self._exchanger.runtime.monotonic() < held.expires

    def _renewed_meanwhile(self, repository: str, used: Authorization | None) -> bool:
        held = self._held.get(repository)
        return held is not None and held != used and self._good(held)

    def _is_short(self, repository: str, used: Authorization) -> bool:
        return used.joint and (repository, used) not in self._accepted

    def _anew(self, repository: str, used: Authorization | None, *, stale: bool = False) -> bool:
        """Obtain something else than what was refused; ``stale`` says that it was refused as no longer valid."""
        if used is not None and used.fetched and not stale:
            if self._is_short(repository, used):
                self._jointly = False
            elif used.again and (repository, used) not in self._accepted:
                # It was fetched for this a moment ago; what it lacks is permission.
                return False
        straight = used.credential if used is not None and not used.fetched else None
        if self._challenge is None or (straight is not None and not self._renewed(repository, straight)):
            return False
        self._held.pop(repository, None)
        self._obtain(repository, self._challenge, again=used is not None)
        held = self._held.get(repository)
        return held is not None and (used is None or held.value != used.value)

    def _obtain(self, repository: str, challenge: Challenge, *, again: bool = False) -> None:
        refused = self._refused.get(repository)
        if refused is not None:
            raise DeniedError(refused.message, hint=refused.hint, statement=refused.statement)
        try:
            if challenge.scheme == BASIC:
                self._obtain_basic(repository, again=again)
            else:
                self._obtain_bearer(repository, challenge, again=again)
        except DeniedError as error:
            # Asked for again and again, a wrong password locks its account.
            self._refused[repository] = error
            raise

    def _obtain_basic(self, repository: str, *, again: bool) -> None:
        credential = self._credential(repository)
        if credential is not None and credential.username:
            value = f"Basic {credential.basic}"
            self._held[repository] = Authorization(value, credential.source, credential, again=again)

    def _obtain_bearer(self, repository: str, challenge: Challenge, *, again: bool) -> None:
        for _ in range(_MAX_CREDENTIALS):
            credential = self._credential(repository)
            straight = self._straight_bearer(credential)
            if straight and credential is not None:
                self._held[repository] = Authorization(straight, credential.source, credential, again=again)
                return
            response, together = self._fetch_token(repository, challenge, credential)
            if response.status not in REFUSED or not self._renewed(repository, credential):
                break
        value, expires = token(response, self._doing(challenge), self._exchanger.runtime)
        joint = len(together) > 1
        held = Authorization(value, response.credentials, credential, expires, fetched=True, joint=joint, again=again)
        self._held.update(dict.fromkeys(together, held))

    def _straight_bearer(self, credential: Credential | None) -> str:
        if credential is None:
            return ""
        if credential.registry_token:
            return f"Bearer {credential.registry_token}"
        return f"Bearer {credential.basic}" if credential.username and self._profile.password_as_bearer else ""

    def _credential(self, repository: str) -> Credential | None:
        return None if repository in self._nobody else self._source.credential(self._registry, repository)

    def _renewed(self, repository: str, refused: Credential | None) -> bool:
        """Get another credential in the place of a refused one; returns whether there is another."""
        if refused is None:
            return False
        try:
            fresh = self._source.renew(self._registry, repository, refused, worked=refused in self._worked)
        except (DeniedError, UnreachableError):
            self._warn_of(refused, "there are others, which cannot be had")
            raise
        if fresh is not None and fresh != refused:
            if fresh.source != refused.source:
                self._warn_of(refused, f"used instead: {fresh.source}")
            return True
        wanted = self._wanted.get(repository, Scope.pull(repository))
        if not self._profile.anonymous_retry or "push" in wanted.actions or repository in self._nobody:
            return False
        self._nobody.add(repository)
        self._warn_of(refused, f"{repository} is read without them")
        return True

    def _warn_of(self, refused: Credential, instead: str) -> None:
        said = f"{self._registry} refused the credentials ({refused.source}); {instead}"
        if said not in self._warned:
            self._warned.add(said)
            self._exchanger.runtime.observe(Warned(said))

    def _fetch_token(
        self, repository: str, challenge: Challenge, credential: Credential | None
    ) -> tuple[Response, list[str]]:
        check_realm(challenge.realm, self._registry, plain_http=self._plain_http)
        together = self._sharing(repository, credential) if self._jointly else [repository]
        response = self._ask(challenge, together, credential)
        if len(together) > 1 and response.status in DENIED:
            together = [repository]
            response = self._ask(challenge, together, credential)
            self._jointly = not response.ok
        return response, together

    def _sharing(self, repository: str, credential: Credential | None) -> list[str]:
        """Return the repositories that the credential opens, the one that is asked for now first."""
        others = (other for other in self._wanted if other != repository)
        return [repository, *(other for other in others if self._credential(other) == credential)]

    def _ask(self, challenge: Challenge, repositories: list[str], credential: Credential | None) -> Response:
        scopes = self._scopes(challenge, repositories)
        source = (credential or ANONYMOUS).source
        doing = self._doing(challenge)
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
            response = self._send(request, Authorization("", source))
            if response.status not in _NO_POST or not credential.password:
                return response
        query = [("service", challenge.service)] if challenge.service else []
        query += [("scope", scope) for scope in scopes]
        url = challenge.realm + ("&" if "?" in challenge.realm else "?") + urlencode(query)
        value = f"Basic {credential.basic}" if credential is not None and credential.username else ""
        return self._send(Request("GET", url, doing=doing), Authorization(value, source))

    def _scopes(self, challenge: Challenge, repositories: list[str]) -> list[str]:
        """Return the scopes to ask for, that of the first repository first, as some servers heed only one.

        What the challenge demanded for another repository is left out: it stems from another request.
        """
        demanded = [Scope.parse(text) for text in challenge.scopes]
        others = [text for text, scope in zip(challenge.scopes, demanded, strict=True) if scope is None]
        named = [scope for scope in demanded if scope is not None and scope.repository in repositories]
        wanted = [self._wanted.get(name, Scope.pull(name)) for name in repositories if name]
        merged = sorted(merge((*named, *wanted)), key=lambda scope: repositories.index(scope.repository))
        return others + [str(scope) for scope in merged]

    def _send(self, request: Request, authorization: Authorization) -> Response:
        url = self._exchanger.located(request, request.path, request.path)
        raw = self._exchanger.open(request, url, authorization if authorization.value else None)
        body, truncated = self._exchanger.read(raw, request, BODY_LIMIT)
        headers = {key.lower(): value for key, value in raw.headers.items()}
        return Response(raw.status_code, headers, body, authorization.source, truncated, registry=self._registry)

    def _doing(self, challenge: Challenge) -> str:
        host = challenge.realm.partition("://")[2].partition("/")[0]
        return f"getting a token for {self._registry} from {outside(host, 100)}"


def _known_challenge(profile: Profile) -> Challenge | None:
    if profile.basic_only:
        return Challenge(BASIC)
    known = profile.challenge
    return Challenge(BEARER, {"realm": known.realm, "service": known.service, "scope": known.scope}) if known else None
