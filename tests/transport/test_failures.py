"""Responses and broken connections become one error that says what happened, to what, and what to do next."""

from __future__ import annotations

import json
import socket
import ssl
from typing import Any

import httpx
import pytest

from manifestctl.errors import (
    ConflictError,
    DeniedError,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.failures import TRANSIENT, answer, failure, network_failure, registry_errors
from manifestctl.transport.message import Response
from tests.support.actions import HOSTILE_TEXT, PROXY_PAGE

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def said(status: int, *errors: tuple[str, str], **fields: Any) -> Response:
    body = json.dumps({"errors": [{"code": code, "message": message} for code, message in errors]}).encode()
    return Response(status, {"content-type": "application/json"}, body, **fields)


def plain(status: int, body: bytes = b"", kind: str = "text/plain", **fields: Any) -> Response:
    return Response(status, {"content-type": kind}, body, **fields)


@pytest.mark.parametrize(
    ("body", "pairs"),
    [
        (b"", []),
        (b"not json", []),
        (b"\xff\xfe", []),
        (b"[]", []),
        (b"null", []),
        (b'"errors"', []),
        (b"{}", []),
        (b'{"errors": null}', []),
        (b'{"errors": {}}', []),
        (b'{"errors": 3}', []),
        (b'{"errors": "text"}', []),
        (b'{"errors": [null]}', []),
        (b'{"errors": ["text"]}', []),
        (b'{"errors": {"code": "DENIED"}}', []),
        (b"[" * 100_000, []),
        (b'{"errors": [{"code": ' + b"9" * 5000 + b"}]}", []),
        (b'{"errors": [{}]}', [("", "")]),
        (b'{"errors": [{"code": 7, "message": ["x"]}]}', [("7", "['x']")]),
        (b'{"errors": [{"code": "DENIED", "message": "no"}]}', [("DENIED", "no")]),
        (b'{"errors": [{"code": "X", "message": "", "detail": "why"}]}', [("X", "why")]),
        (b'{"errors": [{"code": "A\\n::b", "message": "x\\u001b[2J"}]}', [("A\\n::b", "x\\x1b[2J")]),
        (b'{"errors": [{"code": "A", "message": "1"}, {"code": "B"}]}', [("A", "1"), ("B", "")]),
    ],
)
def test_error_bodies_are_read_as_far_as_they_go(body: bytes, pairs: list[tuple[str, str]]) -> None:
    assert registry_errors(body) == pairs


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (said(403, ("DENIED", "requested access is denied")), '403 DENIED "requested access is denied"'),
        (said(400, ("A", "x"), ("A", "x"), ("B", "")), '400 A "x"; B'),
        (plain(404, b"404 page not found\n"), '404 "404 page not found"'),
        (plain(500), "500"),
        (plain(500, b" \n "), "500"),
        (plain(200, PROXY_PAGE, "text/html"), "200, with an HTML page rather than a registry's answer"),
        (plain(403, PROXY_PAGE, ""), "403, with an HTML page rather than a registry's answer"),
        (plain(500, b"\xff\xfe"), '500 "��"'),
        (plain(500, b"see https://cdn.example/x?sig=secret"), '500 "see https://cdn.example/x?…"'),
        (plain(500, b"Authorization: Bearer abcdefghijkl"), None),
    ],
)
def test_what_the_registry_said_is_one_line(response: Response, text: str | None) -> None:
    shown = answer(response)
    assert "abcdefghijkl" not in shown
    if text is not None:
        assert shown == text


def test_long_answers_are_cut() -> None:
    assert len(answer(said(400, *((f"CODE{number}", "x" * 2000) for number in range(50))))) < 1200
    assert len(answer(plain(400, b"x" * 60_000))) < 400


def of(kind: type[ManifestctlError], **attributes: object) -> tuple[type[ManifestctlError], dict[str, object]]:
    return kind, attributes


UNKNOWN_REPOSITORY = "The repository with name 'web' does not exist in the registry with id '1'"
ECR_IMMUTABLE = "The image tag '1' already exists in the 'web' repository and cannot be overwritten because the repository is immutable."
ECR_MISSING = f"Images with digests '[{DIGEST}, {OTHER}]' required for pushing image into repository do not exist"
ECR_DENIED = "User: arn:aws:iam::1:user/x is not authorized to perform: ecr-public:PutImage on resource: arn"


@pytest.mark.parametrize(
    ("response", "writing", "expected"),
    [
        # Who is asking.
        (said(401, ("UNAUTHORIZED", "authentication required")), False, of(DeniedError)),
        (said(403, ("DENIED", ECR_DENIED)), True, of(DeniedError)),
        (said(400, ("DENIED", "Your Authorization Token is invalid.")), False, of(DeniedError)),
        (said(429, ("DENIED", "no")), False, of(DeniedError)),
        (said(503, ("DENIED", "no")), True, of(DeniedError)),
        (plain(403), False, of(DeniedError)),
        # What is not there.
        (said(404, ("MANIFEST_UNKNOWN", "manifest unknown")), False, of(NotFoundError, repository_unknown=False)),
        (said(404, ("NAME_UNKNOWN", UNKNOWN_REPOSITORY)), True, of(NotFoundError, repository_unknown=True)),
        (said(404, ("name_unknown", UNKNOWN_REPOSITORY)), False, of(NotFoundError, repository_unknown=True)),
        (said(400, ("NAME_UNKNOWN", "x")), False, of(NotFoundError, repository_unknown=True)),
        (plain(404, b"404 page not found"), False, of(NotFoundError, repository_unknown=False)),
        (said(404, ("BLOB_UNKNOWN", DIGEST)), False, of(NotFoundError)),
        # What a list names and is not there.
        (said(400, ("MANIFEST_BLOB_UNKNOWN", ECR_MISSING)), True, of(MissingContentError, digests={DIGEST, OTHER})),
        (said(404, ("BLOB_UNKNOWN", "blob unknown")), True, of(MissingContentError, digests=frozenset())),
        # What may not be overwritten.
        (said(400, ("TAG_INVALID", ECR_IMMUTABLE)), True, of(ConflictError)),
        (plain(412, b"Failed to process request due to 'web:1' configured as immutable."), True, of(ConflictError)),
        (said(403, ("DENIED", "Tag immutability is enabled")), True, of(ConflictError)),
        (plain(412, b"precondition"), True, of(ConflictError)),
        (said(400, ("TAG_INVALID", "manifest tag did not match URI")), True, of(UnreachableError, transient=False)),
        (said(403, ("DENIED", "access to team/immutable-infra is denied")), True, of(DeniedError)),
        (said(404, ("NAME_UNKNOWN", "no repository immutable")), False, of(NotFoundError)),
        # What passes.
        *(
            (plain(status), False, of(UnreachableError, transient=True, outcome_unknown=False))
            for status in sorted(TRANSIENT)
        ),
        *((plain(status), True, of(UnreachableError, outcome_unknown=status >= 500)) for status in sorted(TRANSIENT)),
        (said(400, ("TOOMANYREQUESTS", "Rate exceeded")), False, of(UnreachableError, transient=True)),
        (said(403, ("toomanyrequests", "Rate exceeded")), False, of(UnreachableError, transient=True)),
        (said(400, ("UNAVAILABLE", "service unavailable")), True, of(UnreachableError, transient=True)),
        (said(400, ("BLOB_UPLOAD_INVALID", "upload invalid")), True, of(UnreachableError, transient=True)),
        (said(429, ("TOOMANYREQUESTS", "rate limit exceeded")), False, of(UnreachableError, transient=True)),
        (
            said(429, ("X", "Quota exceeded for quota metric 'Requests per minute'")),
            False,
            of(UnreachableError, transient=True),
        ),
        (said(503, ("UNKNOWN", "team/quota-service is not ready")), True, of(UnreachableError, transient=True)),
        (plain(503, PROXY_PAGE, "text/html"), False, of(UnreachableError, transient=True)),
        # What does not.
        (plain(501), False, of(UnreachableError, transient=False, outcome_unknown=False)),
        (plain(505), True, of(UnreachableError, transient=False)),
        (said(403, ("DENIED", "Quota exceeded when processing 1 GiB of storage resource")), True, of(DeniedError)),
        (said(507, ("X", "storage quota reached")), True, of(DeniedError)),
        (said(429, ("LimitExceededException", "too many images")), True, of(DeniedError)),
        (said(400, ("MANIFEST_INVALID", "manifest invalid")), True, of(UnreachableError, transient=False)),
        (said(405, ("UNSUPPORTED", "Invalid JSON syntax")), True, of(UnreachableError, transient=False)),
        (plain(413), True, of(UnreachableError, transient=False)),
        (plain(200, PROXY_PAGE, "text/html"), False, of(UnreachableError, transient=False)),
        (plain(307), False, of(UnreachableError, transient=False)),
    ],
)
def test_each_answer_has_its_error(
    response: Response, writing: bool, expected: tuple[type[ManifestctlError], dict[str, object]]
) -> None:
    kind, attributes = expected
    error = failure(response, "reading r/web:1", retry_after=3.0, writing=writing)
    assert type(error) is kind
    assert {name: getattr(error, name) for name in attributes} == attributes
    assert error.message.startswith("reading r/web:1 failed: the registry said ")
    assert str(response.status) in error.message
    if isinstance(error, UnreachableError):
        assert error.retry_after == (3.0 if error.transient else None)


@pytest.mark.parametrize(
    ("response", "hint"),
    [
        (plain(401), "No credentials were found for this registry; log in"),
        (plain(401, credentials=ANONYMOUS.source), "No credentials were found"),
        (plain(403, credentials="config.json"), "The credentials were refused or lack this permission"),
        (plain(403, PROXY_PAGE, "text/html", credentials="config.json"), "A proxy or another web server answered"),
        (plain(403, credentials="", away="cdn.example"), "That host, not the registry, refused"),
        (said(403, ("DENIED", "Quota exceeded")), "A quota or limit of the registry is reached"),
        (said(507, ("X", "quota exceeded")), "A quota or limit of the registry is reached"),
        (plain(429), "wait a little, or log in"),
        (plain(429, credentials=ANONYMOUS.source), "wait a little, or log in"),
        (plain(429, credentials="config.json"), "wait a little."),
        (plain(503), "running again later is safe"),
        (plain(302), "The redirect could not be followed."),
        (plain(400), "or run again with -v"),
        (plain(200, PROXY_PAGE, "text/html"), "check the host and the proxy variables"),
        (plain(400, b"Client sent an HTTP request to an HTTPS server.\n"), "pass --tls HOST"),
        (
            plain(400, b"<html><h1>400</h1>The plain HTTP request was sent to HTTPS port</html>", "text/html"),
            "pass --tls HOST",
        ),
    ],
)
def test_the_hint_is_the_next_step(response: Response, hint: str) -> None:
    assert hint in failure(response, "reading r/web:1").hint


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (plain(403), "failed: the registry said 403"),
        (plain(403, credentials="config.json"), "failed: the registry said 403 (credentials: config.json)"),
        (plain(403, credentials=ANONYMOUS.source), "failed: the registry said 403 (asked without credentials)"),
        (plain(403, away="cdn.example"), "failed: cdn.example, to which the registry leads, said 403"),
    ],
)
def test_it_is_said_who_refused_whom(response: Response, text: str) -> None:
    assert failure(response, "reading r/web:1").message == f"reading r/web:1 {text}"


@pytest.mark.parametrize("response", [said(403, ("DENIED", HOSTILE_TEXT)), plain(500, HOSTILE_TEXT.encode())])
def test_hostile_words_are_harmless(response: Response) -> None:
    message = failure(response, "reading r/web:1").message
    assert message.isprintable()
    assert "##[" not in message
    assert len(message.splitlines()) == 1


URL = httpx.URL("https://registry.example:8443/v2/")


def chained(error: httpx.TransportError, *causes: BaseException) -> httpx.TransportError:
    inner: BaseException = error
    for cause in causes:
        inner.__cause__ = cause
        inner = cause
    return error


def certificate(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, f"[SSL: CERTIFICATE_VERIFY_FAILED] {message}")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("error", "words", "hint", "transient", "unknown"),
    [
        (httpx.ConnectTimeout("timed out"), "did not accept a connection in time", "proxy variables", True, False),
        (httpx.ConnectError("[Errno 111] Connection refused"), "no connection to", "the port", True, False),
        (httpx.ReadTimeout("timed out"), "did not answer in time", "--timeout", True, True),
        (httpx.WriteTimeout("timed out"), "did not answer in time", "--timeout", True, True),
        (httpx.ReadError("[Errno 104] reset by peer"), "broke: [Errno 104] reset by peer", "safe", True, True),
        (httpx.ReadError(""), "broke: ReadError", "safe", True, True),
        (httpx.WriteError("broken pipe"), "broke: broken pipe", "safe", True, True),
        (httpx.RemoteProtocolError("Server disconnected"), "broke: Server disconnected", "safe.", True, True),
        (httpx.LocalProtocolError("Too little data"), "broke: Too little data", "safe", False, True),
        (httpx.UnsupportedProtocol("ftp"), "broke: ftp", "safe", False, False),
        (httpx.ProxyError("503 Service Unavailable"), "the proxy did not connect", "HTTPS_PROXY", True, False),
        (httpx.ProxyError("407 Proxy Authentication Required"), "proxy did not connect", "HTTPS_PROXY", False, False),
        (httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong"), "not speak TLS", "--plain-http reg", False, False),
        (httpx.ConnectError("[SSL: HTTP_REQUEST] http request"), "not speak TLS", "--plain-http reg", False, False),
        (httpx.ConnectError("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF"), "broke off", "--plain-http reg", True, False),
        (httpx.ConnectError("[SSL] record layer failure"), "no connection", "the host", True, False),
        (httpx.ConnectError("[SSL: RECORD_LAYER_FAILURE] x"), "not speak TLS", "--plain-http reg", False, False),
        (httpx.ConnectError("[Errno -2] Name or service not known"), "is not known", "spelling", True, False),
        (httpx.ConnectError("[Errno 8] nodename nor servname provided"), "is not known", "DNS", True, False),
        (
            chained(httpx.ConnectError("[Errno -5] in words of a language"), socket.gaierror(-5, "x")),
            "the host name of registry.example:8443 is not known",
            "DNS",
            True,
            False,
        ),
        (
            httpx.ReadError("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required"),
            "did not accept this client",
            "--client-cert",
            False,
            True,
        ),
        (
            httpx.ConnectError("[SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] ssl/tls alert handshake failure"),
            "did not accept this client",
            "--client-cert",
            False,
            False,
        ),
        (
            chained(httpx.ConnectError("x"), OSError("y"), certificate(19, "self-signed certificate in chain")),
            "the certificate of registry.example:8443 is not trusted: self-signed certificate in chain",
            "--ca-file FILE (or put it into certs.d/registry.example:8443)",
            False,
            False,
        ),
        (
            chained(httpx.ConnectError("x"), certificate(10, "certificate has expired")),
            "certificate has expired",
            "clock",
            False,
            False,
        ),
        (
            chained(httpx.ConnectError("x"), certificate(62, "Hostname mismatch")),
            "Hostname mismatch",
            "as its certificate has it",
            False,
            False,
        ),
    ],
)
def test_each_broken_exchange_has_its_words(
    error: httpx.TransportError, words: str, hint: str, transient: bool, unknown: bool
) -> None:
    found = network_failure(error, "writing r/web:1", URL, writing=True)
    assert found.message.startswith("writing r/web:1 failed: ")
    assert words in found.message
    assert hint in found.hint
    assert (found.transient, found.outcome_unknown) == (transient, unknown)
    assert "registry.example:8443" in found.message
    assert not network_failure(error, "reading r/web:1", URL, writing=False).outcome_unknown


@pytest.mark.parametrize("error", [httpx.RemoteProtocolError("illegal status line"), httpx.ReadError("reset")])
def test_a_broken_answer_to_plain_http_may_be_tls(error: httpx.TransportError) -> None:
    found = network_failure(error, "reading r/a:1", httpx.URL("http://localhost:5000"), writing=False)
    assert "pass --tls localhost:5000" in found.hint


def test_what_the_network_says_is_harmless() -> None:
    found = network_failure(httpx.ReadError(HOSTILE_TEXT), "reading r/a:1", URL, writing=False)
    assert found.message.isprintable()


def test_causes_that_go_in_a_circle_end() -> None:
    error = httpx.ConnectError("x")
    error.__cause__ = error
    assert network_failure(error, "reading r/a:1", URL, writing=False).transient
