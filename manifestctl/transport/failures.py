"""What went wrong, in one clear error: network failures and registries' error responses."""

from __future__ import annotations

import re
import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

from manifestctl.errors import DeniedError, ManifestctlError, MissingContentError, NotFoundError, UnreachableError
from manifestctl.files import EXHAUSTED_HINT, is_exhausted, reason
from manifestctl.model.permission import Denial
from manifestctl.text import outside
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.error_body import ErrorBody, read_errors
from manifestctl.transport.known_answers import FROM_AWS, hint_when_limited, known_error
from manifestctl.transport.profiles import profile_for
from manifestctl.transport.refusals import HTML_HINT, conflict, denied_hint, is_quota, refusal
from manifestctl.transport.way import passage

if TYPE_CHECKING:
    import httpx

    from manifestctl.transport.message import Response

E = TypeVar("E", bound=BaseException)

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504, 507, 522, 523, 524})
"""Statuses that may be different a moment later."""
_TRANSIENT_CODES = frozenset({"TOOMANYREQUESTS", "UNAVAILABLE", "BLOB_UPLOAD_INVALID"})
_ABSENT_CODES = frozenset({"MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"})
# What a registry of Amazon's asks for, and the place of its layers. More than that is no advice to follow.
_STATED_SERVICES = frozenset({"ecr", "ecr-public"})
_STATED_ACTIONS = frozenset({"sts:GetServiceBearerToken", "s3:GetObject"})
_DENIED_CODES = frozenset({"DENIED", "UNAUTHORIZED"})
_UNKNOWN_CODES = frozenset({"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"})
_TLS_WANTED = re.compile(r"http request (?:was sent )?to (?:an )?https (?:server|port)")
_NOT_TLS = re.compile(r"WRONG_VERSION_NUMBER|HTTP_REQUEST|RECORD_LAYER_FAILURE|PACKET_LENGTH_TOO_LONG", re.IGNORECASE)
_BROKE_OFF_TLS = re.compile(r"SSL.*EOF")
_CLIENT_REFUSED = re.compile(
    r"CERTIFICATE_REQUIRED|ALERT_(?:BAD_CERTIFICATE|UNKNOWN_CA|HANDSHAKE_FAILURE)|certificate required", re.IGNORECASE
)
_NO_SUCH_NAME = re.compile(r"name or service|name resolution|nodename|no address|not known", re.IGNORECASE)
# X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED, _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_NOT_VALID_NOW, _OTHER_NAME = frozenset({9, 10}), frozenset({62, 64})


def registry_errors(body: bytes) -> list[tuple[str, str]]:
    """Return the (code, message) pairs of an error body, redacted and escaped; empty if it has none."""
    return [(outside(error.code, 80), outside(error.message)) for error in read_errors(body)]


def answer(response: Response) -> str:
    """Return what the registry said on one line: ``403 DENIED "requested access is denied"``."""
    return ErrorBody.of(response).shown(response.status)


def failure(
    response: Response, doing: str, *, retry_after: float | None = None, writing: bool = False
) -> ManifestctlError:
    """Return the error for a response that is not a success.

    ``doing`` names the operation and the image: ``reading example.com/web:1``. ``writing`` says that a 5xx leaves it
    unknown whether the write took effect.
    """
    status, said = response.status, ErrorBody.of(response)
    message = f"{doing} failed: {_who(response)} said {said.shown(status)}{_as_whom(response)}"
    found = _denial(response, said, message) or known_error(response, said.words, message, writing=writing)
    if found is None and writing:
        found = conflict(response, said, message) or _missing(said, message)
    if found is not None:
        return found
    if _is_transient(status, said):
        return UnreachableError(
            message,
            hint=hint_when_limited(response) if status == 429 else _FAILING_HINT,
            transient=True,
            retry_after=retry_after,
            outcome_unknown=writing and status >= 500,
        )
    if status in (401, 403) or said.codes & _DENIED_CODES:
        return DeniedError(message, hint=denied_hint(response, said))
    if status == 404 or said.codes & _UNKNOWN_CODES:
        return NotFoundError(message, repository_unknown="NAME_UNKNOWN" in said.codes)
    # Who redirects a write may have heeded it all the same.
    unknown = writing and 300 <= status < 400
    return refusal(response, said, message) or UnreachableError(
        message, hint=_hint(response, said), outcome_unknown=unknown
    )


def _denial(response: Response, said: ErrorBody, message: str) -> DeniedError | None:
    # Any other registry could talk its users into giving rights away.
    denial = Denial.parse(said.words) if profile_for(response.registry).amazon else None
    if denial is None or not (denial.service in _STATED_SERVICES or denial.action in _STATED_ACTIONS):
        return None
    return DeniedError(message, hint=denial.hint, statement=denial.statement)


def _missing(said: ErrorBody, message: str) -> MissingContentError | None:
    if not said.codes & _ABSENT_CODES:
        return None
    return MissingContentError(message, hint=_MISSING_HINT, digests=said.digests)


def _who(response: Response) -> str:
    return f"{response.away}, to which the registry leads," if response.away else "the registry"


def _as_whom(response: Response) -> str:
    if response.credentials == ANONYMOUS.source:
        return " (asked without credentials)"
    if response.credentials.startswith(FROM_AWS):
        return f" ({response.credentials})"
    return f" (credentials: {response.credentials})" if response.credentials else ""


def _is_transient(status: int, said: ErrorBody) -> bool:
    if "DENIED" in said.codes or is_quota(said):
        return False
    return status in TRANSIENT or bool(said.codes & _TRANSIENT_CODES)


def _hint(response: Response, said: ErrorBody) -> str:
    if _TLS_WANTED.search(said.low):
        return "The registry speaks TLS on this port; pass --tls HOST for it."
    if said.html:
        return HTML_HINT
    if 300 <= response.status < 400:
        return "The redirect could not be followed."
    return "The registry does not accept this request; see its answer, or run again with -v."


_FAILING_HINT = "The registry is failing; running again later is safe."
_MISSING_HINT = (
    "What it names is not in this repository: push that first (attestations count too); 'create --copy' brings it."
)
# As a URL it would be redacted.
_PROXY_USER = (
    "The proxy wants a user and a password that it knows: write them into HTTPS_PROXY before the host, as "
    "USER:PASSWORD@HOST:PORT."
)


def network_failure(error: httpx.TransportError, doing: str, url: httpx.URL, *, writing: bool) -> UnreachableError:
    """Return the error for an exchange that ended without a whole response. The host of ``url`` is named in it."""
    import httpx

    host = outside(url.netloc.decode("ascii", "replace"), 300)
    before = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError | httpx.UnsupportedProtocol)
    words, hint, transient = (
        _proxy_words(error, host) or _certificate_words(error, host) or _network_words(error, host, url.scheme)
    )
    return UnreachableError(
        f"{doing} failed: {words}", hint=hint, transient=transient, outcome_unknown=writing and not before
    )


_Words = tuple[str, str, bool]
"""What happened, the next step, and whether trying again may help."""


def _proxy_words(error: httpx.TransportError, host: str) -> _Words | None:
    import httpx

    proxy = passage(error).missed_proxy
    if proxy is None:
        return None
    text = outside(str(error), 200)
    hint = f"Check {proxy.variable}, and that the proxy is up; NO_PROXY={host} would go without it."
    certificate = _caused_by(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        why = f"its certificate is not trusted: {outside(certificate.verify_message, 200)}"
        return f"the proxy {proxy} cannot be used: {why}", "If its authority is your own, pass --ca-file FILE.", False
    if _NOT_TLS.search(text) or _BROKE_OFF_TLS.search(text):
        what = "does not speak TLS on this port" if _NOT_TLS.search(text) else "broke off when TLS was to begin"
        hint = f"Write http:// instead of https:// in {proxy.variable}: most proxies are spoken to in plain HTTP."
        return f"the proxy {proxy} {what}", hint, _NOT_TLS.search(text) is None
    why = text
    if isinstance(error, httpx.ConnectTimeout):
        why = "it did not accept a connection in time"
    elif _caused_by(error, socket.gaierror) or _NO_SUCH_NAME.search(text):
        why = "its host name is not known"
    return f"the proxy {proxy} cannot be reached: {why}", hint, True


def _certificate_words(error: httpx.TransportError, host: str) -> _Words | None:
    certificate = _caused_by(error, ssl.SSLCertVerificationError)
    if certificate is not None:
        words = f"the certificate of {host} is not trusted: {outside(certificate.verify_message, 200)}"
        hint = f"If its authority is your own, pass --ca-file FILE (or put it into certs.d/{host})."
        if certificate.verify_code in _NOT_VALID_NOW:
            hint = "The registry needs a new certificate, or this machine's clock is wrong."
        elif certificate.verify_code in _OTHER_NAME:
            hint = "Use the registry's name as its certificate has it, or check who answers there."
        return words, f"{hint} {passage(error).way.advise()}".rstrip(), False
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
    wrong_request = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    return f"the connection to {host} broke: {text or type(error).__name__}", hint, not wrong_request


def _connect_words(error: httpx.ConnectError, host: str, text: str) -> _Words:
    if _NOT_TLS.search(text):
        return f"{host} does not speak TLS on this port", f"If it is on plain HTTP, pass --plain-http {host}.", False
    if _BROKE_OFF_TLS.search(text):
        hint = f"Running again is safe. If it is on plain HTTP, pass --plain-http {host}."
        return f"{host} broke off when TLS was to begin", hint, True
    if _caused_by(error, socket.gaierror) or _NO_SUCH_NAME.search(text):
        return f"the host name of {host} is not known", "Check the spelling of the registry's name, and DNS.", True
    cause = _caused_by(error, OSError)
    if cause is not None and is_exhausted(cause):
        return f"no connection to {host}: {reason(cause)}", EXHAUSTED_HINT, True
    hint = "Check the host, the port, the network and the proxy variables."
    return f"no connection to {host}: {text}", hint, True


def _caused_by(error: BaseException | None, kind: type[E]) -> E | None:
    seen = 0
    while error is not None and seen < 10:
        if isinstance(error, kind):
            return error
        error, seen = error.__cause__ or error.__context__, seen + 1
    return None
