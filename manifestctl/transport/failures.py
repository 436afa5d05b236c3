"""What went wrong, in one clear error: network failures and registries' error responses.

OCI distribution-spec "Error Codes": ``{"errors": [{"code", "message", "detail"}]}``; bodies that are something else (HTML
from a proxy, plain text) are normal.
"""

from __future__ import annotations

import json
import re
import ssl
from typing import TYPE_CHECKING

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.text import outside
from manifestctl.transport.credentials import ANONYMOUS

if TYPE_CHECKING:
    import httpx

    from manifestctl.transport.message import Response

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504, 507, 522, 523, 524})
_TRANSIENT_CODES = frozenset({"TOOMANYREQUESTS", "UNAVAILABLE"})
_PERMANENT_WORDS = ("quota", "immutable", "limit exceeded", "limitexceeded")
_IMMUTABLE = ("immutable",)
_ABSENT_CODES = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
_DIGEST = re.compile(r"sha(?:256|384|512):[0-9a-f]{64,128}")


def registry_errors(body: bytes) -> list[tuple[str, str]]:
    """Return the (code, message) pairs of an error body, redacted and escaped; empty if it has none."""
    try:
        errors = json.loads(body).get("errors") or []
        pairs = [(error.get("code"), error.get("message") or error.get("detail") or "") for error in errors]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []
    return [(outside(str(code or ""), 80), outside(str(message), 1024)) for code, message in pairs]


def answer(response: Response) -> str:
    """Return what the registry said on one line: ``403 DENIED "requested access is denied"``."""
    errors = registry_errors(response.body)
    if errors:
        said = "; ".join(dict.fromkeys(f'{code} "{message}"' if message else code for code, message in errors))
        return f"{response.status} {said[:1100]}"
    kind = response.headers.get("content-type", "")
    text = response.body.decode("utf-8", "replace").strip()
    if not text:
        return str(response.status)
    if "html" in kind or text[:1] == "<":
        return f"{response.status}, with an HTML page rather than a registry's answer"
    return f'{response.status} "{outside(text, 300)}"'


def failure(
    response: Response, doing: str, *, retry_after: float | None = None, writing: bool = False
) -> ManifestctlError:
    """Return the error for a response that is not a success.

    ``doing`` names the operation and the image: ``reading example.com/web:1``. ``writing`` says that a 5xx leaves it
    unknown whether the write took effect.
    """
    status = response.status
    codes = {code.upper() for code, _ in registry_errors(response.body)}
    text = response.body[:4096].decode("utf-8", "replace").lower()
    message = f"{doing} failed: the registry said {answer(response)}"
    if response.credentials:
        anonymous = response.credentials == ANONYMOUS.source
        message += " (asked without credentials)" if anonymous else f" (credentials: {response.credentials})"
    if "TAG_INVALID" in codes or (status in (400, 403, 409, 412, 405) and any(word in text for word in _IMMUTABLE)):
        return ConflictError(
            message, hint="The tag is immutable there and holds something else; publish under a new tag."
        )
    if status == 412:
        return ConflictError(message, hint="Somebody else wrote the tag in between; look at what it holds now.")
    if writing and codes & _ABSENT_CODES:
        digests = frozenset(_DIGEST.findall(response.body.decode("utf-8", "replace")))
        return MissingContentError(message, digests=digests)
    permanent = any(word in text for word in _PERMANENT_WORDS)
    if (status in TRANSIENT or codes & _TRANSIENT_CODES) and not (permanent or "DENIED" in codes):
        return UnreachableError(
            message,
            hint=_overload_hint(status, response.credentials),
            transient=True,
            retry_after=retry_after,
            outcome_unknown=writing and status >= 500,
        )
    if status in (401, 403) or codes & {"DENIED", "UNAUTHORIZED"}:
        return DeniedError(message, hint=_denied_hint(response))
    if status == 404 or codes & {"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"}:
        return NotFoundError(message, repository_unknown="NAME_UNKNOWN" in codes)
    return _other(response, message, permanent=permanent, html="HTML page" in message)


def _other(response: Response, message: str, *, permanent: bool, html: bool) -> ManifestctlError:
    if permanent:
        return DeniedError(message, hint="A quota or limit of the registry is reached; trying again will not help.")
    if html:
        return UnreachableError(
            message, hint="A proxy or another web server answered; check the host and the proxy variables."
        )
    if 300 <= response.status < 400:
        return UnreachableError(message, hint="The redirect could not be followed.")
    return UnreachableError(
        message, hint="The registry does not accept this request; see its answer, or run again with -v."
    )


def _overload_hint(status: int, credentials: str) -> str:
    if status == 429:
        anonymous = credentials in ("", ANONYMOUS.source)
        return "The registry limits requests; wait a little" + (
            ", or log in: limits are higher then." if anonymous else "."
        )
    return "The registry is failing; running again later is safe."


def _denied_hint(response: Response) -> str:
    if response.credentials in ("", ANONYMOUS.source):
        return "No credentials were found for this registry; log in with 'docker login' or 'podman login', or pass --authfile."
    return "The credentials were refused or lack this permission; log in again, or use an account that has it."


def network_failure(error: httpx.TransportError, doing: str, host: str, *, writing: bool) -> UnreachableError:
    """Return the error for an exchange that ended without a whole response. ``host`` is named in it."""
    import httpx

    host = outside(host, 300)
    certificate = _certificate_error(error)
    if certificate is not None:
        return UnreachableError(
            f"{doing} failed: the certificate of {host} is not trusted: {outside(certificate.verify_message, 200)}",
            hint=f"If its authority is your own, pass --ca-file FILE (or put it into certs.d/{host}).",
        )
    before = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.UnsupportedProtocol)
    words, hint = _network_words(error, host)
    return UnreachableError(
        f"{doing} failed: {words}",
        hint=hint,
        transient=not isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
        and "--plain-http" not in hint,
        outcome_unknown=writing and not before,
    )


def _network_words(error: httpx.TransportError, host: str) -> tuple[str, str]:
    import httpx

    text = str(error)
    if isinstance(error, httpx.ProxyError):
        return (
            f"the proxy did not connect to {host}: {outside(text, 200)}",
            "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY.",
        )
    if isinstance(error, httpx.ConnectTimeout):
        return (
            f"{host} did not accept a connection in time",
            "Check the host name, the network and the proxy variables.",
        )
    if isinstance(error, httpx.ConnectError):
        if "WRONG_VERSION_NUMBER" in text.upper() or "HTTP_REQUEST" in text.upper():
            return f"{host} does not speak TLS on this port", f"If it is on plain HTTP, pass --plain-http {host}."
        if "Name or service" in text or "Temporary failure in name" in text or "nodename" in text:
            return f"the host name {host} is not known", "Check the spelling of the registry's name, and DNS."
        return (
            f"no connection to {host}: {outside(text, 200)}",
            "Check the host, the port, the network and the proxy variables.",
        )
    if isinstance(error, httpx.TimeoutException):
        return f"{host} did not answer in time", "Run again, or give it longer with --timeout."
    return f"the connection to {host} broke: {outside(text, 200) or type(error).__name__}", "Running again is safe."


def _certificate_error(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, ssl.SSLCertVerificationError):
            return error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
