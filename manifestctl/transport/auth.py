"""Answers to one registry's challenges. Distribution's "Token Authentication"; RFC 7235, RFC 7617, RFC 6750.

One token is fetched for all repositories that share a credential, with every permission the run needs. If that is
denied or turns out to be too little, one token is fetched for each repository. Many threads may ask at once: one
fetches, the others wait for it. A credential that is refused is renewed, or the next source's is tried.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from manifestctl.errors import DeniedError, UnreachableError
from manifestctl.events import Warned
from manifestctl.transport.challenge import BASIC, BEARER, Challenge, Scope, choose, merge, parse
from manifestctl.transport.credentials import ANONYMOUS, MissingHelperError
from manifestctl.transport.known_answers import layer_action
from manifestctl.transport.message import Authorization, Request, Response
from manifestctl.transport.replacements import REFUSED, UNUSABLE, Replacements
from manifestctl.transport.taken import Taken, kind
from manifestctl.transport.token_answers import DENIED, refuses, token
from manifestctl.transport.token_requests import GENERAL, TokenRequests, scopes

if TYPE_CHECKING:
    from manifestctl.transport.client import Exchanger
    from manifestctl.transport.credentials import Chain, Credential
    from manifestctl.transport.profiles import Profile

_MAX_CREDENTIALS: Final = 8
_UNAUTHORIZED, _FORBIDDEN = 401, 403
_FINAL = (b"not authorized to perform", b"maximum allowed", b"exceed")
_TOKEN = b"token"


class Authorizer:
    """Knows, for one registry, which Authorization each repository's requests carry."""

    def __init__(self, registry: str, origin: str, profile: Profile, source: Chain, exchanger: Exchanger) -> None:
        """Bind to a registry by its name (for credentials) and its origin (for requests)."""
        self._registry = registry
        self._profile = profile
        self._source = source
        self._runtime = exchanger.runtime
        self._requests = TokenRequests(registry, origin, exchanger)
        self._wanted: dict[str, Scope] = {}
        self._held: dict[str, Authorization] = {}
        self._refused: dict[str, DeniedError] = {}
        self._taken = Taken()
        self._nobody: set[str] = set()
        self._warned: set[str] = set()
        self._replacements = Replacements(registry, self._warn)
        self._jointly = True
        self._challenge = _known_challenge(profile)
        self._was_asked = False
        self._lock = threading.RLock()

    @property
    def without_aws(self) -> bool:
        """Tell whether AWS credentials would open the registry, had they not been left out."""
        return self._source.without_aws

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

    def accepted(self, request: Request, used: Authorization) -> None:
        """Record that the registry took what was sent: if it refuses it later, it has expired."""
        if self._taken.knows(request, used):
            return
        with self._lock:
            if self._taken.add(request, used) and self._profile.amazon:
                self._warn(
                    f"{self._registry}/{request.repository} does not say to HEAD which layers are there, so GET is "
                    f"used: {layer_action(self._profile)} seems to be missing ({used.source})"
                )
            if self._held.get(request.repository) == used:
                self._replacements.settle(request.repository, helped=True, kind=kind(request))

    def hear(self, headers: list[str]) -> None:
        """Record that a challenge was made, before it is answered.

        With that, requests not yet sent can authenticate without a 401 of their own.
        """
        if self._challenge is None:
            self._challenge = choose(parse(headers))

    def nobody(self) -> Authorization | None:
        """Return what stands for who has nothing to show, if the registry asks for anything at all."""
        return Authorization("", ANONYMOUS.source) if self._challenge is not None else None

    def may_refuse(self, status: int) -> bool:
        """Tell whether a response with this status may mean that something else is to be sent."""
        return status in (_UNAUTHORIZED, _FORBIDDEN) or status in self._profile.bad_token_statuses

    def renewed(
        self, request: Request, used: Authorization | None, status: int, headers: list[str], body: bytes
    ) -> bool:
        """Record such a response; returns whether to send the request again. ``headers`` are its WWW-Authenticate."""
        if used is not None:
            self._replacements.expect(request.repository, kind(request))
        again = self._is_renewed(request, used, status, headers, body.lower())
        if not again and used is not None:
            with self._lock:
                if status == _FORBIDDEN and not body:
                    self._taken.refused_silently(request, used)
                self._replacements.settle(request.repository, helped=False)
        return again

    def _is_renewed(
        self, request: Request, used: Authorization | None, status: int, headers: list[str], text: bytes
    ) -> bool:
        repository = request.repository
        self._was_asked |= request.path == GENERAL
        if status == _UNAUTHORIZED or (used is None and status == _FORBIDDEN):
            return self.answer(repository, headers, used)
        if used is None:
            return False
        if status in self._profile.bad_token_statuses:
            # A denial that names a permission or a quota is final; any other may mean that the token went bad.
            silent = request.method == "HEAD" and not text
            if silent or (b"denied" in text and not any(words in text for words in _FINAL)):
                doubted = _TOKEN not in text and not self._may_be_bad(request, used)
                return self.replace(repository, used, doubted=doubted)
        return status == _FORBIDDEN and self.narrow(repository, used)

    def answer(self, repository: str, headers: list[str], used: Authorization | None) -> bool:
        """Answer a 401, or a 403 to nobody; returns whether to send the request again.

        Some registries make their challenge on ``/v2/`` alone, so it is asked for there if a refusal has none.
        """
        with self._lock:
            if self._renewed_meanwhile(repository, used):
                return True
            challenge = choose(parse(headers)) or (self._general_challenge() if used is None else None)
            if challenge is None:
                return False
            self._challenge = challenge
            return self._anew(repository, used, stale=challenge.error == "invalid_token")

    def replace(self, repository: str, used: Authorization, *, doubted: bool = False) -> bool:
        """Record, without a challenge, that ``used`` is bad; returns whether there is another one to send.

        ``doubted``: it is more likely that it lacks a permission, so only what replaced it meanwhile is sent.
        """
        with self._lock:
            if self._renewed_meanwhile(repository, used):
                return True
            return not doubted and self._anew(repository, used)

    def narrow(self, repository: str, used: Authorization) -> bool:
        """Record that ``used`` is not enough; returns whether there is another one to send.

        That is so after a token that was asked for many repositories: one for this repository alone may have more.
        """
        with self._lock:
            if self._renewed_meanwhile(repository, used):
                return True
            return self._is_short(repository, used) and self._anew(repository, used)

    def _general_challenge(self) -> Challenge | None:
        if self._challenge is None and not self._was_asked:
            challenge = self._requests.challenge()
            self._was_asked = True
            return challenge
        return self._challenge

    def _good(self, held: Authorization) -> bool:
        return self._runtime.monotonic() < held.expires

    def _renewed_meanwhile(self, repository: str, used: Authorization | None) -> bool:
        held = self._held.get(repository)
        return held is not None and held != used and self._good(held)

    def _may_be_bad(self, request: Request, used: Authorization) -> bool:
        """Tell whether a refusal that does not say so may mean that a token went bad.

        Of one that was got in this run it means that only if such requests were taken before.
        """
        credential = used.credential
        new = used.again if used.fetched else credential is not None and credential.issued
        return not new or self._taken.such(request, used)

    def _is_short(self, repository: str, used: Authorization) -> bool:
        return used.joint and not self._taken.anything(repository, used)

    def _anew(self, repository: str, used: Authorization | None, *, stale: bool = False) -> bool:
        """Obtain something else than what was refused; ``stale`` says that it was refused as no longer valid."""
        if used is not None and used.fetched and not stale:
            if self._is_short(repository, used):
                self._jointly = False
            elif used.again and not self._taken.anything(repository, used):
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
            raise refused.again()
        try:
            if challenge.scheme == BASIC:
                self._obtain_basic(repository, again=again)
            else:
                self._obtain_bearer(repository, challenge, again=again)
        except DeniedError as error:
            # Asked for again and again, a wrong password locks its account.
            self._refused[repository] = error.again()
            self._replacements.settle(repository, helped=False)
            raise

    def _obtain_basic(self, repository: str, *, again: bool) -> None:
        credential = self._usable(repository)
        if credential is not None and credential.username:
            value = f"Basic {credential.basic}"
            self._held[repository] = Authorization(value, credential.source, credential, again=again)

    def _usable(self, repository: str, *, bearer: bool = False) -> Credential | None:
        """Return the next credential that holds a password, or (``bearer``) what is itself a Bearer token.

        One that does not, an identity token say, is refused as a wrong password is.
        """
        credential = self._credential(repository)
        while credential is not None and credential.is_token and not (bearer and credential.registry_token):
            if not self._renewed(repository, credential, UNUSABLE):
                raise DeniedError(
                    f"{self._registry} wants a user name and a password, and the credentials ({credential.source}) "
                    "hold none",
                    hint=f"They are a token of another kind; log in again: 'manifestctl login {self._registry}'.",
                )
            credential = self._credential(repository)
        return credential

    def _obtain_bearer(self, repository: str, challenge: Challenge, *, again: bool) -> None:
        for _ in range(_MAX_CREDENTIALS):
            straight_only = self._profile.password_as_bearer
            credential = self._usable(repository, bearer=True) if straight_only else self._credential(repository)
            straight = self._straight_bearer(credential)
            if straight and credential is not None:
                self._held[repository] = Authorization(straight, credential.source, credential, again=again)
                return
            response, together = self._fetch_token(repository, challenge, credential)
            # Another host, to which the service led, was not shown it.
            if response.away or not refuses(response, credential) or not self._renewed(repository, credential):
                break
        value, expires = token(response, self._requests.doing(challenge), self._runtime)
        joint = len(together) > 1
        shown = None if response.away else credential
        held = Authorization(value, response.credentials, shown, expires, fetched=True, joint=joint, again=again)
        self._held.update(dict.fromkeys(together, held))

    def _straight_bearer(self, credential: Credential | None) -> str:
        if credential is None:
            return ""
        if credential.registry_token:
            return f"Bearer {credential.registry_token}"
        return f"Bearer {credential.basic}" if credential.username and self._profile.password_as_bearer else ""

    def _credential(self, repository: str) -> Credential | None:
        if repository in self._nobody:
            return None
        try:
            return self._source.credential(self._registry, repository)
        except MissingHelperError as error:
            if "push" in self._wanted.get(repository, Scope.pull(repository)).actions:
                raise
            self._warn(f"{error.message}; {self._registry} is read without credentials")
            return None

    def _renewed(self, repository: str, refused: Credential | None, how: str = REFUSED) -> bool:
        """Get another credential in the place of a refused one; returns whether there is another."""
        if refused is None:
            return False
        try:
            fresh = self._source.renew(self._registry, repository, refused, worked=self._taken.worked(refused))
        except (DeniedError, UnreachableError):
            self._replacements.add(repository, refused, None, how=how, why="there are others, which cannot be had")
            self._replacements.settle(repository, helped=False)
            raise
        if fresh is not None and not fresh.same(refused):
            self._replacements.add(repository, refused, fresh, how=how)
            return True
        wanted = self._wanted.get(repository, Scope.pull(repository))
        if not self._profile.anonymous_retry or "push" in wanted.actions or repository in self._nobody:
            return False
        self._nobody.add(repository)
        self._replacements.add(repository, refused, None, how=how, why=f"{repository} is read without them")
        return True

    def _warn(self, said: str) -> None:
        if said not in self._warned:
            self._warned.add(said)
            self._runtime.observe(Warned(said))

    def _fetch_token(
        self, repository: str, challenge: Challenge, credential: Credential | None
    ) -> tuple[Response, list[str]]:
        together = self._sharing(repository, credential) if self._jointly else [repository]
        response = self._requests.token(challenge, scopes(challenge, together, self._wanted), credential)
        if len(together) > 1 and response.status in DENIED:
            together = [repository]
            response = self._requests.token(challenge, scopes(challenge, together, self._wanted), credential)
            self._jointly = not response.ok
        return response, together

    def _sharing(self, repository: str, credential: Credential | None) -> list[str]:
        """Return the repositories that the credential opens, the one that is asked for now first."""
        others = (other for other in self._wanted if other != repository)
        return [repository, *(other for other in others if self._credential(other) == credential)]


def _known_challenge(profile: Profile) -> Challenge | None:
    if profile.basic_only:
        return Challenge(BASIC)
    known = profile.challenge
    return Challenge(BEARER, {"realm": known.realm, "service": known.service, "scope": known.scope}) if known else None
