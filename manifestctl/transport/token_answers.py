"""What a token service answered, as the value of a header. Distribution's "Token Authentication"."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from manifestctl.errors import DeniedError, ManifestctlError, UnreachableError
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.failures import failure
from manifestctl.transport.retry import retry_after

if TYPE_CHECKING:
    from manifestctl.runtime import Runtime
    from manifestctl.transport.credentials import Credential
    from manifestctl.transport.message import Response

REFUSED = frozenset({400, 401})
"""Statuses of an answer to credentials that the service does not take."""
DENIED = REFUSED | {403}
"""These, and that of one to credentials that may not do what was asked for."""

# Of services that know no identity tokens.
_NOT_TAKEN = frozenset({404, 405})
_FORBIDDEN = 403
_DEFAULT_LIFETIME = 60.0


def refuses(response: Response, credential: Credential | None) -> bool:
    """Tell whether a service does not take the credential, so that another one may be better."""
    unknown = credential is not None and credential.is_token and response.status in _NOT_TAKEN
    return unknown or response.status in REFUSED


def token(response: Response, doing: str, runtime: Runtime) -> tuple[str, float]:
    """Return the value of the Authorization header, and when it expires by the run's monotonic clock.

    Raises `DeniedError` or `UnreachableError` for an answer without a token; ``doing`` begins the message.
    """
    if not response.ok:
        wait = retry_after(response.headers.get("retry-after"), runtime.now())
        raise _no_token(response, failure(response, doing, retry_after=wait))
    try:
        answer = json.loads(response.body)
        found, lifetime = answer.get("token") or answer.get("access_token"), _lifetime(answer.get("expires_in"))
    except (ValueError, AttributeError, RecursionError):
        found, lifetime = None, 0.0
    if not isinstance(found, str) or not found or not found.isascii() or not found.isprintable():
        raise UnreachableError(
            f"{doing} failed: the answer holds no token", hint="A proxy may have answered in its place."
        )
    # Renewed a little before its end, so that it does not expire on the way.
    return f"Bearer {found}", runtime.monotonic() + lifetime - min(10.0, lifetime / 4)


def _lifetime(value: object) -> float:
    """Return how many seconds a token lives; what is no such number is the specification's default."""
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return _DEFAULT_LIFETIME
    return seconds if 0 < seconds < float("inf") else _DEFAULT_LIFETIME


def _no_token(response: Response, error: ManifestctlError) -> ManifestctlError:
    """Return the error of a token service as what it means for the registry's user."""
    if isinstance(error, UnreachableError) and error.transient:
        return error
    if response.status in DENIED or isinstance(error, DeniedError):
        unshown = response.credentials == ANONYMOUS.source or bool(response.away)
        return DeniedError(error.message, hint=error.hint if unshown else _hint(response))
    # A token service that is not there says nothing about an image.
    return UnreachableError(
        error.message,
        hint="The registry sends for tokens to a place that gives none; log in with a password, or check its settings.",
    )


def _hint(response: Response) -> str:
    if response.status == _FORBIDDEN:
        return (
            "The account may lack the right to this, the repository may not exist, or its name may be misspelt; or the "
            "user name, password or token is not good any more: log in again."
        )
    return "The user name, password or token is wrong, or has expired; log in again."
