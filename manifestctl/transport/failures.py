"""What went wrong, in one clear error: network failures and registries' error responses.

OCI distribution-spec "Error Codes": ``{"errors": [{"code", "message", "detail"}]}``; bodies that are something else
(HTML from a proxy, plain text) are normal.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.model.permission import Denial
from manifestctl.text import outside
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.known_answers import FROM_AWS, known_error, log_in, overload, read_only, refused

if TYPE_CHECKING:
    import httpx

    from manifestctl.transport.message import Response

E = TypeVar("E", bound=BaseException)

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504, 507, 522, 523, 524})
"""Statuses that may be different a moment later."""
_TRANSIENT_CODES = frozenset({"TOOMANYREQUESTS", "UNAVAILABLE", "BLOB_UPLOAD_INVALID"})
_ABSENT_CODES = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
# Those that a registry of Amazon's stands on. What another one names is no advice to follow.
_STATED_SERVICES = frozenset({"ecr", "ecr-public", "sts", "s3", "kms"})
_UNKNOWN_CODES = frozenset({"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"})
_DIGEST = re.compile(r"sha(?:256|384|512):[0-9a-f]{64,128}")
# As words of a sentence; a part of a repository's name does not count.
_IMMUTABLE = re.compile(r"(?<![\w/.-])(?:immutable|immutability)(?![\w/-])|cannot be overwritten")
_QUOTA = re.compile(
    r"(?<![\w/.-])quotas?(?![\w/-])|limitexceeded|(?<!rate )(?<!request )(?<!requests )limit exceeded"
    r"|exceeded a service limit"
)
# A quota of requests in a time is over when the time is.
_RATE = re.compile(r"\brate\b|\brequests\b|\bper (?:second|minute|hour|day)\b")
_TLS_WANTED = re.compile(r"http request (?:was sent )?to (?:an )?https (?:server|port)")
_NOT_TLS = re.compile(r"WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG", re.IGNORECASE)
_CLIENT_REFUSED = re.compile(
    r"CERTIFICATE_REQUIRED|ALERT_(?:BAD_CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE)|certificate required", re.IGNORECASE
)
_NO_SUCH_NAME = re.compile(r"name or service|name resolution|nodename|no address|not known", re.IGNORECASE)
# X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_NOT_VALID_NOW, _OTHER_NAME = frozenset({9, 10}), frozenset({62, 64})


def registry_errors(body: bytes) -> list[tuple[str, str]]:
    """Return the (code, message) pairs of an error body, redacted and escaped; empty if it has none."""
    return [(outside(code, 80), outside(message, 1024)) for code, message in _errors(body)]


def _errors(body: bytes) -> list[tuple[str, str]]:
    """Return the (code, message) pairs as they came: to look into, not to show."""
    try:
        errors = json.loads(body).get("errors") or []
        pairs = [(error.get("code"), error.get("message") or error.get("detail") or "") for error in errors]
    except (ValueError, AttributeError, TypeError, RecursionError):
        return []
    return [(str(code or ""), str(message)) for code, message in pairs]


def answer(response: Response) -> str:
    """Return what the registry said on one line: ``403 DENIED "requested access is denied"``."""
    errors = registry_errors(response.body)
    if errors:
        said = "; ".join(dict.fromkeys(f'{code} "{message}"' if message else code for code, message in errors))
        return f"{response.status} {said[:1100]}"
    if _is_html(response):
        return f"{response.status}, with an HTML page rather than a registry's answer"
    text = response.body.decode("utf-8", "replace").strip()
    return f'{response.status} "{outside(text, 300)}"' if text else str(response.status)


def failure(
    response: Response, doing: str, *, retry_after: float | None = None, writing: bool = False
) -> ManifestctlError:
    """Return the error for a response that is not a success.

    ``doing`` names the operation and the image: ``reading example.com/web:1``. ``writing`` says that a 5xx leaves it
    unknown whether the write took effect.
    """
    status = response.status
    codes = {code.upper() for code, _ in registry_errors(response.body)}
    text = response.body.decode("utf-8", "replace")
    # In JSON an apostrophe or a slash may be written as an escape.
    said = "\n".join(message for _, message in _errors(response.body)) or text
    message = f"{doing} failed: {_who(response)} said {answer(response)}{_as_whom(response)}"
    found = _denial(said, message) or known_error(response, said, message, writing=writing)
    text = text[:4096].lower()
    if found is None and writing:
        found = _conflict(status, text, message) or _missing(codes, response.body, message)
    if found is not None:
        return found
    if _is_transient(status, codes, text):
        return UnreachableError(
            message,
            hint=overload(response) if status == 429 else "The registry is failing; running again later is safe.",
            transient=True,
            retry_after=retry_after,
            outcome_unknown=writing and status >= 500,
        )
    if status in (401, 403) or codes & {"DENIED", "UNAUTHORIZED"}:
        return DeniedError(message, hint=_denied_hint(response, text))
    if status == 404 or codes & _UNKNOWN_CODES:
        return NotFoundError(message, repository_unknown="NAME_UNKNOWN" in codes)
    return _other(response, text, message)


def _denial(said: str, message: str) -> DeniedError | None:
    denial = Denial.parse(said)
    if denial is None or denial.service not in _STATED_SERVICES:
        return None
    return DeniedError(message, hint=denial.hint, statement=denial.statement)


def _missing(codes: set[str], body: bytes, message: str) -> MissingContentError | None:
    if not codes & _ABSENT_CODES:
        return None
    digests = frozenset(_DIGEST.findall(body.decode("utf-8", "replace").lower()))
    return MissingContentError(message, hint=_MISSING_HINT, digests=digests)


def _who(response: Response) -> str:
    return f"{response.away}, to which the registry leads," if response.away else "the registry"


def _as_whom(response: Response) -> str:
    if response.credentials == ANONYMOUS.source:
        return " (asked without credentials)"
    if response.credentials.startswith(FROM_AWS):
        return f" ({response.credentials})"
    return f" (credentials: {response.credentials})" if response.credentials else ""


def _conflict(status: int, text: str, message: str) -> ConflictError | None:
    if status in (400, 403, 405, 409, 412) and _IMMUTABLE.search(text):
        return ConflictError(
            message, hint="The tag is immutable there and holds something else; publish under a new tag."
        )
    if status == 412:
        return ConflictError(message, hint="Somebody else wrote the tag in between; look at what it holds now.")
    return None


def _is_transient(status: int, codes: set[str], text: str) -> bool:
    if "DENIED" in codes or (_QUOTA.search(text) and not _RATE.search(text)):
        return False
    return status in TRANSIENT or bool(codes & _TRANSIENT_CODES)


def _other(response: Response, text: str, message: str) -> ManifestctlError:
    if _QUOTA.search(text):
        return DeniedError(message, hint=_QUOTA_HINT)
    if read_only(response) and not _is_html(response):
        return DeniedError(message, hint=_READ_ONLY_HINT)
    if _TLS_WANTED.search(text):
        return UnreachableError(message, hint="The registry speaks TLS on this port; pass --tls HOST for it.")
    if _is_html(response):
        return UnreachableError(message, hint=_HTML_HINT)
    if 300 <= response.status < 400:
        return UnreachableError(message, hint="The redirect could not be followed.")
    return UnreachableError(
        message, hint="The registry does not accept this request; see its answer, or run again with -v."
    )


_QUOTA_HINT = "A quota or limit of the registry is reached; trying again will not help."
_MISSING_HINT = (
    "What it names is not in this repository: push that first (attestations count too); 'create --copy' brings it."
)
_READ_ONLY_HINT = (
    "This registry does not accept writes: it is read-only, a mirror or a pull-through cache. Push to the registry "
    "behind it."
)
# As a URL it would be redacted.
_PROXY_USER = (
    "The proxy wants a user and a password that it knows: write them into HTTPS_PROXY before the host, as "
    "USER:PASSWORD@HOST:PORT."
)
_HTML_HINT = "A proxy or another web server answered; check the host and the proxy variables."


def _is_html(response: Response) -> bool:
    return "html" in response.headers.get("content-type", "").lower() or response.body.lstrip()[:1] == b"<"


def _denied_hint(response: Response, text: str) -> str:
    if _QUOTA.search(text):
        return _QUOTA_HINT
    if _is_html(response):
        return _HTML_HINT
    if response.away:
        return (
            "That host, not the registry, refused; it is never sent the registry's credentials. Running again is safe."
        )
    return log_in(response) if response.credentials in ("", ANONYMOUS.source) else refused(response)


def network_failure(error: httpx.TransportError, doing: str, url: httpx.URL, *, writing: bool) -> UnreachableError:
    """Return the error for an exchange that ended without a whole response. The host of ``url`` is named in it."""
    import httpx

    host = outside(url.netloc.decode("ascii", "replace"), 300)
    before = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.UnsupportedProtocol)
    words, hint, transient = _certificate_words(error, host) or _network_words(error, host, url.scheme)
    return UnreachableError(
        f"{doing} failed: {words}", hint=hint, transient=transient, outcome_unknown=writing and not before
    )


_Words = tuple[str, str, bool]
"""What happened, the next step, and whether trying again may help."""


def _certificate_words(error: httpx.TransportError, host: str) -> _Words | None:
    certificate = _caused_by(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        words = f"the certificate of {host} is not trusted: {outside(certificate.verify_message, 200)}"
        if certificate.verify_code in _NOT_VALID_NOW:
            return words, "The registry needs a new certificate, or this machine's clock is wrong.", False
        if certificate.verify_code in _OTHER_NAME:
            return words, "Use the registry's name as its certificate has it, or check who answers there.", False
        return words, f"If its authority is your own, pass --ca-file FILE (or put it into certs.d/{host}).", False
    if _CLIENT_REFUSED.search(str(error)):
        words = f"{host} did not accept this client: {outside(str(error), 200)}"
        return words, "If it asks for a client certificate, pass --client-cert and --client-key.", False
    return None


def _network_words(error: httpx.TransportError, host: str, scheme: str) -> _Words:
    import httpx

    text = outside(str(error), 200)
    if isinstance(error, httpx.ProxyError):
        # A proxy that answers CONNECT with 5xx could not reach the host; with anything else it does not want to.
        words = f"the proxy did not connect to {host}: {text}"
        hint = _PROXY_USER if text.startswith("407") else "Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY."
        return words, hint, text.startswith("5")
    if isinstance(error, httpx.ConnectTimeout):
        words = f"{host} did not accept a connection in time"
        return words, "Check the host name, the network and the proxy variables.", True
    if isinstance(error, httpx.ConnectError):
        return _connect_words(error, host, text)
    if isinstance(error, httpx.TimeoutException):
        return f"{host} did not answer in time", "Run again, or give it longer with --timeout.", True
    hint = "Running again is safe."
    if scheme == "http" and isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
        hint = f"Running again is safe. If it speaks TLS on this port, pass --tls {host}."
    # httpx reads where a redirect leads, though it is told not to follow.
    if text.startswith("Invalid URL in location"):
        return f"{host} redirects to what is not a URL that can be asked", "The redirect could not be followed.", False
    wrong_request = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    return f"the connection to {host} broke: {text or type(error).__name__}", hint, not wrong_request


def _connect_words(error: httpx.ConnectError, host: str, text: str) -> _Words:
    if _NOT_TLS.search(text):
        return f"{host} does not speak TLS on this port", f"If it is on plain HTTP, pass --plain-http {host}.", False
    if "EOF" in text and "SSL" in text:
        hint = f"Running again is safe. If it is on plain HTTP, pass --plain-http {host}."
        return f"{host} broke off when TLS was to begin", hint, True
    if _caused_by(error, socket.gaierror) or _NO_SUCH_NAME.search(text):
        return f"the host name of {host} is not known", "Check the spelling of the registry's name, and DNS.", True
    hint = "Check the host, the port, the network and the proxy variables."
    return f"no connection to {host}: {text}", hint, True


def _caused_by(error: BaseException | None, kind: type[E]) -> E | None:
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, kind):
            return error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
