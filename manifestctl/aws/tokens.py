"""Authorization tokens of Amazon ECR: what ``GetAuthorizationToken`` gives, as a `Credential` with an end."""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeGuard

from manifestctl.aws.calls import Aws, Endpoint
from manifestctl.errors import UnreachableError
from manifestctl.transport.credentials import Credential
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.aws.hosts import EcrHost

MARGIN = 3600.0
"""Seconds before its end from which a token is not used any more."""
_CHANGEABLE_LIFETIME = 3600.0
_LIFETIME = 12 * 3600.0
_ORIGIN_LIMIT = 300


@dataclass(frozen=True, slots=True)
class Token:
    """User and password for a registry. ``origin`` says in words which credentials it was got with.

    ``expires`` is when the registry stops taking it, ``fresh_until`` when another one is to be got, both in seconds
    since the epoch.
    """

    username: str
    password: str = field(repr=False)
    origin: str
    expires: float
    fresh_until: float

    def credential(self, *, cached: bool = False) -> Credential:
        """Return it as what a registry is shown."""
        kept = ", from the token cache" if cached else ""
        source = f"AWS credentials: {self.origin}{kept}"
        return Credential(source, self.username, self.password, cached=cached, issued=not cached)


def fetch_token(host: EcrHost, aws: Aws) -> Token:
    """Get a token for a registry: one call to AWS.

    ECR Public is asked in its own region, a private registry in that of its host name. Raises as `Aws.call` does.
    """
    doing = f"getting a token for {host.host}"
    answer = aws.call(endpoint_of(host), "get_authorization_token", doing=doing) or {}
    # ECR Public answers with one object, ECR with a list of them.
    data: Any = answer.get("authorizationData")
    data = data[0] if isinstance(data, list) and data else data
    try:
        username, _, password = b64decode(data["authorizationToken"], validate=True).decode().partition(":")
        expires = data["expiresAt"].timestamp()
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error):
        # Neither cause nor context: they would hold the token.
        username = password = ""
        expires = 0.0
    if not username or not password:
        raise UnreachableError(f"{doing} failed: AWS's answer holds no token", hint="A proxy may have answered.")
    now = aws.runtime.now()
    # Such a machine may be given another role, and a program another user; nothing that is looked at would show that.
    longest = _CHANGEABLE_LIFETIME if aws.is_changeable() else _LIFETIME - MARGIN
    return Token(username, password, aws.origin(), expires, min(expires - MARGIN, now + longest))


def endpoint_of(host: EcrHost) -> Endpoint:
    """Return the API that stands behind a registry."""
    return Endpoint(host.service, host.region, fips=host.fips, dual_stack=host.dual_stack)


def as_json(token: Token) -> dict[str, Any]:
    """Return a token as the cache keeps it. It holds the secret."""
    return {
        "username": token.username,
        "password": token.password,
        "origin": token.origin,
        "expires": token.expires,
        "fresh_until": token.fresh_until,
    }


def of_json(document: object) -> Token | None:
    """Read a token that `as_json` wrote; None for anything else."""
    if not isinstance(document, dict):
        return None
    username, password, origin = (document.get(name) for name in ("username", "password", "origin"))
    expires, fresh_until = (document.get(name) for name in ("expires", "fresh_until"))
    if not (_is_word(username) and _is_word(password) and isinstance(origin, str) and origin.isprintable()):
        return None
    if not (_is_time(expires) and _is_time(fresh_until)) or len(origin) > _ORIGIN_LIMIT:
        return None
    return Token(username, password, origin, expires, fresh_until)


def _is_word(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable()


def _is_time(value: object) -> TypeGuard[float]:
    return isinstance(value, float | int) and not isinstance(value, bool)
