"""How a fake registry asks for credentials: not at all, Basic, or Bearer with a token endpoint of its own.

Docker's "Token Authentication Specification" and "OAuth2 Token Authentication"; RFC 6750 for the errors.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol
from urllib.parse import parse_qsl

from tests.support.http_message import Response, json_response, registry_error

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from tests.support.http_message import Request

READ = frozenset({"pull"})
WRITE = frozenset({"pull", "push"})
EVERYTHING = ("*", "*")


@dataclass(frozen=True, slots=True)
class Scope:
    """``type:name:actions`` as a token request asks for it; a text without that form is a ``name`` alone."""

    type: str
    name: str
    actions: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> Scope:
        """Parse one scope."""
        kind, colon, rest = text.partition(":")
        name, second, actions = rest.rpartition(":")
        if not colon or not second:
            return cls("", text, frozenset())
        return cls(kind, name, frozenset(actions.split(",")))


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """One request to the token endpoint and its outcome.

    ``scopes`` are the scopes asked for, as sent and in order; ``granted`` those that the token has. ``grant_type`` is
    empty for a GET; ``user`` is empty for an anonymous request.
    """

    method: str
    user: str
    service: str | None
    scopes: tuple[str, ...]
    grant_type: str
    status: int
    granted: tuple[Scope, ...] = ()


@dataclass(slots=True)
class IssuedToken:
    """A token that the endpoint gave out; ``uses`` counts the requests it authorised."""

    value: str
    user: str
    granted: tuple[Scope, ...]
    uses: int = 0
    revoked: bool = False

    def allows(self, repository: str, actions: frozenset[str]) -> bool:
        """Tell whether the token has these actions on a repository."""
        return any(
            (scope.type, scope.name) in (("repository", repository), EVERYTHING) and actions <= scope.actions
            for scope in self.granted
        )


class Auth(Protocol):
    """A way to ask for credentials."""

    def authorize(self, request: Request, origin: str, repository: str, actions: frozenset[str]) -> Response | None:
        """Return a refusal, or None. ``repository`` is empty for ``/v2/`` itself."""

    def owns(self, path: str) -> bool:
        """Tell whether this path is the token endpoint."""

    def token(self, request: Request) -> Response:
        """Answer a request to the token endpoint."""

    @property
    def secrets(self) -> list[str]:
        """Everything that must never be shown: passwords, tokens."""


@dataclass(slots=True)
class NoAuth:
    """Everyone may do everything."""

    def authorize(self, request: Request, origin: str, repository: str, actions: frozenset[str]) -> Response | None:
        """Let everyone in."""
        del request, origin, repository, actions
        return None

    def owns(self, path: str) -> bool:
        """There is no token endpoint."""
        del path
        return False

    def token(self, request: Request) -> Response:
        """Nobody comes here."""
        raise NotImplementedError(request.path)

    @property
    def secrets(self) -> list[str]:
        """There are none."""
        return []


@dataclass(slots=True)
class BasicAuth:
    """User name and password on every request."""

    user: str = "user"
    password: str = "basic-pass-word"
    challenge: str = 'Basic realm="fake registry"'

    def authorize(self, request: Request, origin: str, repository: str, actions: frozenset[str]) -> Response | None:
        """Refuse whoever does not know the password."""
        del origin, repository, actions
        if request.basic == (self.user, self.password):
            return None
        return _unauthorized(self.challenge)

    def owns(self, path: str) -> bool:
        """There is no token endpoint."""
        del path
        return False

    def token(self, request: Request) -> Response:
        """Nobody comes here."""
        raise NotImplementedError(request.path)

    @property
    def secrets(self) -> list[str]:
        """The password."""
        return [self.password]


@dataclass(slots=True)
class BearerAuth:
    """Tokens from an endpoint on the same server.

    - ``users``: passwords by user. ``anonymous``: the actions that a token without a user gets; by default pull and
      push if there are no users, and nothing (401 from the endpoint) if there are.
    - ``permissions``: by repository, the most that any token gets; whatever is asked beyond is left out silently.
    - ``identity_tokens``: user by refresh token, for POST. ``post_status``: answer every POST with this instead.
    - ``first_scope_only``: only the first ``scope`` parameter counts. ``joint_status``: 401 or 403 for a request that
      names more than one repository.
    - ``token_fields``: where the answer has the token. ``expires_in``: what it says about the life of one, None to say
      nothing. ``uses``: how many requests a token authorises before it is refused as invalid.
    - ``realm``: the URL in the challenge instead of this server's own; ``realm_path`` is the endpoint's path on it.
      ``challenge_scope``: instead of the scope that the request needs.
    - ``refusal="denied"``: a token that is not valid, or Basic, gets 400 DENIED and no challenge, as on ECR Public.
    - ``denied_status``: for a valid token that lacks the scope: 401 with a challenge, or 403 without.
    - ``mint``: makes a token's text out of user and scopes.

    ``requests`` and ``tokens`` hold what happened. Two servers may share one object: then they share their tokens.
    """

    users: Mapping[str, str] = field(default_factory=dict)
    anonymous: Collection[str] | None = None
    permissions: Mapping[str, Collection[str]] = field(default_factory=dict)
    identity_tokens: Mapping[str, str] = field(default_factory=dict)
    post_status: int | None = None
    first_scope_only: bool = False
    joint_status: int | None = None
    token_fields: tuple[str, ...] = ("token",)
    expires_in: int | None = 300
    uses: int | None = None
    realm: str | None = None
    realm_path: str = "/token"
    service: str | None = "fake.registry"
    challenge_scope: str | None = None
    refusal: Literal["challenge", "denied"] = "challenge"
    denied_status: Literal[401, 403] = 401
    mint: Callable[[str, tuple[Scope, ...]], str] | None = None
    requests: list[TokenRequest] = field(default_factory=list)
    tokens: list[IssuedToken] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def ecr_public(cls, password: str = "ecr-pass-word", *, uses: int | None = None) -> BearerAuth:
        """Return the ways of ECR Public: user AWS, scope ``aws``, 400 DENIED for a bad token, anonymous pulls."""
        return cls(
            users={"AWS": password},
            anonymous=READ,
            challenge_scope="aws",
            service="public.ecr.aws",
            realm_path="/token/",
            refusal="denied",
            uses=uses,
        )

    @property
    def secrets(self) -> list[str]:
        """Passwords, identity tokens and all tokens given out so far."""
        return [*self.users.values(), *self.identity_tokens, *(token.value for token in self.tokens)]

    def revoke_all(self) -> None:
        """Make every token given out so far invalid."""
        with self._lock:
            for token in self.tokens:
                token.revoked = True

    # On the registry.

    def authorize(self, request: Request, origin: str, repository: str, actions: frozenset[str]) -> Response | None:
        """Refuse a request without a token that allows it."""
        header = request.headers.get("authorization")
        if header is None:
            return self._challenge(origin, repository, actions)
        value = request.bearer
        with self._lock:
            token = next((token for token in self.tokens if token.value == value), None)
            if token is not None and token.uses == self.uses:
                token.revoked = True
            if token is not None and not token.revoked and (not repository or token.allows(repository, actions)):
                token.uses += 1
                return None
        if token is not None and not token.revoked:
            return self._insufficient(origin, repository, actions)
        if self.refusal == "denied":
            return registry_error(400, "DENIED", "Your Authorization Token is invalid.")
        return self._challenge(origin, repository, actions, "invalid_token")

    def _insufficient(self, origin: str, repository: str, actions: frozenset[str]) -> Response:
        if self.denied_status == 403:
            return registry_error(403, "DENIED", "requested access to the resource is denied")
        return self._challenge(origin, repository, actions, "insufficient_scope")

    def _challenge(self, origin: str, repository: str, actions: frozenset[str], error: str = "") -> Response:
        scope = self.challenge_scope
        if scope is None and repository:
            scope = f"repository:{repository}:{','.join(sorted(actions))}"
        values = {
            "realm": self.realm or origin + self.realm_path,
            "service": self.service,
            "scope": scope,
            "error": error,
        }
        return _unauthorized("Bearer " + ",".join(f'{key}="{value}"' for key, value in values.items() if value))

    # On the token endpoint.

    def owns(self, path: str) -> bool:
        """Tell whether this path is the token endpoint."""
        return path.rstrip("/") == self.realm_path.rstrip("/")

    def token(self, request: Request) -> Response:
        """Answer a request to the endpoint."""
        if request.method == "POST":
            return self._post(request)
        user = ""
        if "authorization" in request.headers:
            name, password = request.basic or ("", "")
            if self.users.get(name) != password:
                return self._refuse(request, name, request.parameter("service"), tuple(request.parameters("scope")))
            user = name
        return self._grant(request, user, request.parameter("service"), tuple(request.parameters("scope")))

    def _post(self, request: Request) -> Response:
        form = dict(parse_qsl(request.body.decode(), keep_blank_values=True))
        scopes = tuple(form.get("scope", "").split())
        kind = form.get("grant_type", "")
        if self.post_status is not None:
            return self._refuse(request, "", form.get("service"), scopes, kind, status=self.post_status)
        if kind == "refresh_token":
            user = self.identity_tokens.get(form.get("refresh_token", ""), "")
        else:
            user = form.get("username", "")
            user = user if user in self.users and self.users[user] == form.get("password") else ""
        if not user or not form.get("client_id"):
            return self._refuse(request, user, form.get("service"), scopes, kind)
        return self._grant(request, user, form.get("service"), scopes, kind)

    def _refuse(
        self,
        request: Request,
        user: str,
        service: str | None,
        scopes: tuple[str, ...],
        kind: str = "",
        *,
        status: int = 401,
    ) -> Response:
        with self._lock:
            self.requests.append(TokenRequest(request.method, user, service, scopes, kind, status))
        if status in (404, 405):
            return Response(status, b"404 page not found\n", {"Content-Type": "text/plain"})
        return registry_error(status, "UNAUTHORIZED", "incorrect username or password")

    def _grant(
        self, request: Request, user: str, service: str | None, scopes: tuple[str, ...], kind: str = ""
    ) -> Response:
        asked = [Scope.parse(text) for text in scopes]
        if self.joint_status and len({scope.name for scope in asked}) > 1:
            return self._refuse(request, user, service, scopes, kind, status=self.joint_status)
        allowed = WRITE if user or (self.anonymous is None and not self.users) else frozenset(self.anonymous or ())
        if not allowed:
            return self._refuse(request, user, service, scopes, kind)
        granted = tuple(self._limited(scope, allowed) for scope in (asked[:1] if self.first_scope_only else asked))
        value = self.mint(user, granted) if self.mint else f"fake-token-{secrets.token_hex(16)}"
        with self._lock:
            self.tokens.append(IssuedToken(value, user, granted))
            self.requests.append(TokenRequest(request.method, user, service, scopes, kind, 200, granted))
        lifetime = {} if self.expires_in is None else {"expires_in": self.expires_in}
        return json_response(dict.fromkeys(self.token_fields, value) | lifetime)

    def _limited(self, scope: Scope, allowed: frozenset[str]) -> Scope:
        most = frozenset(self.permissions.get(scope.name, WRITE))
        if not scope.type and scope.name == self.challenge_scope:
            # Not in the grammar: such a registry gives all that the user may do.
            return Scope(*EVERYTHING, allowed)
        return Scope(scope.type, scope.name, scope.actions & allowed & most)


def _unauthorized(challenge: str) -> Response:
    return registry_error(401, "UNAUTHORIZED", "authentication required", headers={"WWW-Authenticate": challenge})
