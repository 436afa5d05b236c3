"""Responses and broken connections become one error that says what happened, to what, and what to do next."""

from __future__ import annotations

import errno
import json
import socket
import ssl
from typing import Any

import httpx
import pytest

from manifestctl.aws.tokens import Token
from manifestctl.errors import (
    ConflictError,
    DeniedError,
    DocumentError,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.text import outside
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.failures import TRANSIENT, answer, failure, network_failure, registry_errors
from manifestctl.transport.known_answers import FROM_AWS, KNOWN
from manifestctl.transport.message import Response
from tests.support import known_errors as words
from tests.support.actions import HOSTILE_TEXT, PROXY_PAGE
from tests.support.known_errors import ROLE, WEB, no_policy, not_authorized, response

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def said(status: int, *errors: tuple[str, str], **fields: Any) -> Response:
    body = json.dumps({"errors": [{"code": code, "message": message} for code, message in errors]}).encode()
    return Response(status, {"content-type": "application/json"}, body, **fields)


def plain(status: int, body: bytes = b"", kind: str = "text/plain", **fields: Any) -> Response:
    return Response(status, {"content-type": kind}, body, **fields)


def detailed(detail: object, message: str = "no") -> Response:
    body = json.dumps({"errors": [{"code": "A", "message": message, "detail": detail}]}).encode()
    return Response(400, {"content-type": "application/json"}, body)


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
        (b'{"errors": [{"code": "X", "detail": {"reason": "why"}}]}', [("X", '{"reason": "why"}')]),
        (b'{"errors": [{"code": "X", "message": "no", "detail": "why"}]}', [("X", "no")]),
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
        (detailed("http: request body too large"), '400 A "no" (http: request body too large)'),
        (detailed(4194304), '400 A "no" (4194304)'),
        (detailed("no"), '400 A "no"'),
        (detailed("\n::error::x?sig=secret"), '400 A "no" (\\n::error::x?…)'),
        (detailed("x" * 400), f'400 A "no" ({"x" * 300}…)'),
        (detailed({"name": "web"}), '400 A "no"'),
        (detailed(True), '400 A "no"'),
        (detailed([]), '400 A "no"'),
        (detailed({"digest": DIGEST}), f'400 A "no" ({DIGEST})'),
        (detailed([{"blob": {"digest": OTHER}}, DIGEST, DIGEST]), f'400 A "no" ({OTHER}, {DIGEST})'),
        (detailed([DIGEST, OTHER], f"not {DIGEST}"), f'400 A "not {DIGEST}" ({OTHER})'),
        (plain(404, b"404 page not found\n"), '404 "404 page not found"'),
        (plain(403, b'{"message": "403 Forbidden"}', "application/json"), '403 "{"message": "403 Forbidden"}"'),
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
ECR_IMMUTABLE = words.IMMUTABLE
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
        (plain(412, b"precondition"), True, of(DeniedError)),
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
        (plain(405), True, of(UnreachableError, transient=False)),
        (said(405, ("UNSUPPORTED", words.SCHEMA)), True, of(DocumentError)),
        (said(405, ("UNSUPPORTED", words.TOO_LONG)), True, of(DeniedError)),
        (said(400, ("UNSUPPORTED", 'Unsupported manifest type: "x"')), True, of(DocumentError)),
        (said(429, ("LimitExceededException", words.LIMIT)), True, of(DeniedError)),
        (said(400, ("X", "it would have exceeded a service limit")), True, of(DeniedError)),
        (said(429, ("DENIED", "the maximum allowed number of images which is '1'")), True, of(DeniedError)),
        (said(503, ("TAG_INVALID", words.IMMUTABLE)), True, of(ConflictError)),
        (said(400, ("TAG_INVALID", words.IMMUTABLE)), False, of(UnreachableError, transient=False)),
        (said(500, ("NAME_UNKNOWN", words.absent("web"))), True, of(NotFoundError, repository_unknown=True)),
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
        (plain(401), "asks for no credentials (it sends no WWW-Authenticate header, on /v2/ neither)"),
        (
            plain(401, credentials=ANONYMOUS.source),
            "No credentials were found for this registry; log in with 'manifestctl login'",
        ),
        (plain(401, credentials=ANONYMOUS.source, by_token=True), "if it is private, log in with 'manifestctl login'"),
        (plain(403, credentials="config.json"), "The credentials were refused or lack this permission"),
        (plain(403, credentials="config.json", by_token=True), "The credentials are good, but not for this"),
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


# Amazon's registries.

PRIVATE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
PUT_IMAGE = "ecr-public:PutImage"


def error_of(answered: Response, *, writing: bool = True) -> ManifestctlError:
    return failure(answered, "writing r/web:1", writing=writing)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"errors": [{"code": "DENIED", "message": not_authorized(PUT_IMAGE, WEB, no_policy(PUT_IMAGE))}]}),
        # As Java's libraries may write it.
        json.dumps({"errors": [{"code": "DENIED", "message": not_authorized(PUT_IMAGE, WEB, "")}]}).replace("/", "\\/"),
        json.dumps({"errors": [{"code": "DENIED", "detail": not_authorized(PUT_IMAGE, WEB, "")}]}),
        "denied: " + not_authorized(PUT_IMAGE, WEB, no_policy(PUT_IMAGE)),
        f"<html><p>{not_authorized(PUT_IMAGE, WEB, '')}</p></html>",
        f"<Error><Code>AccessDenied</Code><Message>{not_authorized(PUT_IMAGE, WEB, '')}</Message></Error>",
    ],
    ids=["JSON", "escaped slashes", "detail", "text", "HTML", "XML"],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 503])
def test_a_missing_permission_is_named_whatever_it_is_wrapped_in(text: str, status: int) -> None:
    error = error_of(response(status, body=text.encode()))
    assert isinstance(error, DeniedError)
    assert json.loads(error.statement) == {"Effect": "Allow", "Action": PUT_IMAGE, "Resource": WEB}
    assert error.hint.startswith(f"{ROLE} lacks {PUT_IMAGE} on {WEB}")


def test_a_resource_with_a_long_name_is_named_whole() -> None:
    resource = f"arn:aws:ecr:eu-west-1:123456789012:repository/{'a/' * 900}web"
    error = error_of(response(403, "DENIED", not_authorized("ecr:PutImage", resource, no_policy("ecr:PutImage"))))
    assert isinstance(error, DeniedError)
    assert json.loads(error.statement)["Resource"] == resource
    assert len(error.message) < 1400


def test_nothing_allows_what_is_forbidden() -> None:
    error = error_of(
        response(403, "DENIED", not_authorized(PUT_IMAGE, WEB, "with an explicit deny in a session policy"))
    )
    assert isinstance(error, DeniedError)
    assert (error.statement, "a session policy forbids it explicitly" in error.hint) == ("", True)


@pytest.mark.parametrize(
    "action",
    [
        "iam:CreateAccessKey",
        "ec2:RunInstances",
        "lambda:InvokeFunction",
        "sts:AssumeRole",
        "kms:Decrypt",
        "s3:PutObject",
    ],
)
def test_a_registry_cannot_talk_anyone_into_other_permissions(action: str) -> None:
    error = error_of(response(403, "DENIED", not_authorized(action, "*", no_policy(action))))
    assert isinstance(error, DeniedError)
    assert error.statement == ""
    assert "{" not in error.hint


@pytest.mark.parametrize(
    "action", ["ecr:PutImage", "ecr-public:PutImage", "sts:GetServiceBearerToken", "sts:AssumeRole"]
)
@pytest.mark.parametrize("registry", ["registry.example.com", "public.ecr.aws.example.com", "127.0.0.1:5000", ""])
def test_a_registry_that_is_not_amazons_recommends_no_rights(action: str, registry: str) -> None:
    text = not_authorized(action, "*", no_policy(action))
    error = error_of(response(403, "DENIED", text, registry=registry))
    assert isinstance(error, DeniedError)
    assert (error.statement, action in error.message) == ("", True)
    assert "statement" not in error.hint
    assert "{" not in error.hint


def test_who_redirects_a_write_may_have_heeded_it() -> None:
    assert error_of(response(307)).outcome_unknown
    assert not error_of(response(307), writing=False).outcome_unknown
    assert not error_of(response(400)).outcome_unknown


def test_a_blob_behind_a_vpc_endpoint() -> None:
    action, bucket = "s3:GetObject", "arn:aws:s3:::prod-eu-west-1-starport-layer-bucket/x"
    text = not_authorized(action, bucket, "because no VPC endpoint policy allows the s3:GetObject action")
    body = f"<Error><Message>{text}</Message></Error>".encode()
    private = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
    error = error_of(Response(403, {}, body, away="bucket.example", registry=private), writing=False)
    assert isinstance(error, DeniedError)
    assert "the policy of the VPC endpoint in between must allow it" in error.hint
    assert json.loads(error.statement) == {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": bucket}


def test_all_missing_digests_are_read_however_many() -> None:
    digests = [f"sha256:{number:064x}" for number in range(500)]
    text = f"Images with digests '[{', '.join(digests)}]' required for pushing image into repository with name 'web'"
    error = error_of(response(404, "MANIFEST_BLOB_UNKNOWN", text))
    assert isinstance(error, MissingContentError)
    assert error.digests == set(digests)
    assert len(error.message) < 1400


@pytest.mark.parametrize(
    ("registry", "repository", "method", "hint"),
    [
        (
            "public.ecr.aws",
            "acme/web",
            "PUT",
            "'manifestctl repo create public.ecr.aws/acme/web', or pass --create-rep",
        ),
        ("public.ecr.aws", "acme/web", "GET", "Check the spelling of the name, and the alias; if it is yours"),
        (PRIVATE, "web", "HEAD", "Check the spelling of the name, and the account and the region; if it is yours"),
        (PRIVATE, "team/web", "PUT", f"'manifestctl repo create {PRIVATE}/team/web', or pass --create-repository"),
        ("public.ecr.aws", "web", "PUT", "the registry's alias before the repository: public.ecr.aws/ALIAS/NAME"),
        (PRIVATE, "web", "PUT", f"'manifestctl repo create {PRIVATE}/web'"),
        ("public.ecr.aws", "public.ecr.aws/acme/web", "PUT", "at the beginning: public.ecr.aws/acme/web."),
        ("public.ecr.aws", "acme/public.ecr.aws/acme/web", "PUT", "at the beginning: public.ecr.aws/acme/web."),
        ("public.ecr.aws", f"acme/{PRIVATE}/web", "PUT", f"at the beginning: {PRIVATE}/web."),
        (PRIVATE, f"{PRIVATE}/web", "PUT", f"The host {PRIVATE} stands inside the repository's name"),
        (PRIVATE, "public.ecr.aws/acme/web", "PUT", "The host public.ecr.aws stands inside"),
        (PRIVATE, "1.dkr.ecr.eu-west-1.example/web", "PUT", "The host 1.dkr.ecr.eu-west-1.example stands inside"),
        (PRIVATE, "1.dkr-ecr.eu-west-1.on.example/web", "PUT", "stands inside"),
        (PRIVATE, "docker.io/library/web", "PUT", f"'manifestctl repo create {PRIVATE}/docker.io/library/web'"),
        ("mirror.example", "web", "PUT", "behind this registry is Amazon's"),
        ("mirror.example", "mirror.example/web", "PUT", "The host mirror.example stands inside"),
    ],
)
def test_a_repository_that_is_not_there(registry: str, repository: str, method: str, hint: str) -> None:
    answered = response(
        404, "NAME_UNKNOWN", words.absent("web"), registry=registry, repository=repository, method=method
    )
    error = error_of(answered)
    assert isinstance(error, NotFoundError)
    assert error.repository_unknown
    assert hint in error.hint


def test_a_repository_that_only_the_registry_names() -> None:
    error = error_of(said(404, ("NAME_UNKNOWN", words.absent("team/web"))))
    assert "'manifestctl repo create REGISTRY/team/web', or pass --create-repository" in error.hint


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("config.json", "Log in again with 'manifestctl login public.ecr.aws', or take the stale log-in away"),
        ("AWS credentials: environment variables", "A fresh AWS token was refused too"),
    ],
)
@pytest.mark.parametrize("text", ["Your Authorization Token is invalid.", "Your authorization token has expired. Re"])
def test_a_token_that_is_refused(text: str, source: str, hint: str) -> None:
    error = error_of(response(400, "DENIED", text, credentials=source))
    assert isinstance(error, DeniedError)
    assert hint in error.hint
    assert error.message.endswith(f" (credentials: {source})".replace("credentials: AWS", "AWS"))


def test_tokens_of_aws_are_known_by_where_they_come_from() -> None:
    source = Token("AWS", "x", "environment variables", 0, 0).credential(cached=True).source
    assert source.startswith(FROM_AWS)


@pytest.mark.parametrize(
    ("registry", "credentials", "status", "hint"),
    [
        ("public.ecr.aws", "no credentials", 401, "No AWS credentials were used: set AWS_PROFILE"),
        (PRIVATE, "", 403, "No AWS credentials were used: set AWS_PROFILE"),
        ("public.ecr.aws", "config.json", 403, "'manifestctl logout public.ecr.aws'"),
        ("public.ecr.aws", "no credentials", 429, "give it AWS credentials"),
        ("public.ecr.aws", "config.json", 429, "wait a little."),
        ("public.ecr.aws", "no credentials", 401, "or let the job assume a role; 'manifestctl doctor'"),
        ("registry.example", "no credentials", 401, "'manifestctl login', 'docker login' or 'podman login'"),
        ("registry.example", "config.json", 403, "log in again, or use an account that has it"),
        ("registry.example", "no credentials", 429, "or log in: limits are higher then"),
    ],
)
def test_whose_credentials_are_wanted(registry: str, credentials: str, status: int, hint: str) -> None:
    error = error_of(response(status, "X", "no", registry=registry, credentials=credentials), writing=False)
    assert hint in error.hint
    assert isinstance(error, UnreachableError if status == 429 else DeniedError)


@pytest.mark.parametrize(
    ("registry", "hint"),
    [
        ("public.ecr.aws", "To look for a layer takes ecr-public:BatchCheckLayerAvailability, which may be missing"),
        (PRIVATE, "To look for a layer takes ecr:BatchCheckLayerAvailability, which may be missing"),
        ("registry.example", "log in again, or use an account that has it"),
    ],
)
def test_a_head_that_is_refused_names_no_permission(registry: str, hint: str) -> None:
    answered = response(403, body=b"", method="HEAD", path=f"blobs/sha256:{'a' * 64}", registry=registry)
    assert hint in error_of(answered, writing=False).hint
    # What may be missing for anything else, nobody knows.
    answered = response(403, body=b"", method="HEAD", path="manifests/1.4", registry=registry)
    assert "BatchCheck" not in error_of(answered, writing=False).hint


def test_no_advice_is_taken_for_a_secret() -> None:
    steps = [known.step for known in KNOWN if isinstance(known.step, str)]
    error = network_failure(httpx.ProxyError("407 No"), "asking", httpx.URL("https://r.example/"), writing=False)
    steps.append(error.hint)
    assert "before the host, as USER:PASSWORD@HOST:PORT." in error.hint
    assert [outside(step, 8192) for step in steps] == steps


READ_ONLY = "the registry itself is read-only, a mirror or a pull-through cache"


@pytest.mark.parametrize(
    ("method", "path", "read_only"),
    [
        ("POST", "blobs/uploads/", True),
        ("POST", "blobs/uploads/?mount=x&from=y", True),
        ("PUT", "manifests/1.4", True),
        ("PATCH", "blobs/uploads/1", False),
        ("PUT", "blobs/uploads/1?digest=x", False),
        ("GET", "manifests/1.4", False),
        ("DELETE", "manifests/1.4", False),
    ],
)
def test_a_registry_that_takes_no_writes(method: str, path: str, read_only: bool) -> None:
    text = "The operation is unsupported."
    error = error_of(response(405, "UNSUPPORTED", text, method=method, path=path))
    assert isinstance(error, DeniedError if read_only else UnreachableError)
    assert (READ_ONLY in error.hint) is read_only
    # A web server's page says nothing about a registry.
    page = error_of(response(405, body=PROXY_PAGE, method=method, path=path))
    assert isinstance(page, UnreachableError)
    assert READ_ONLY not in error_of(response(403, "X", "", method=method, path=path)).hint


@pytest.mark.parametrize("filler", ["the image tag '", "User: ", "repository with name '", "sha256:", "\\u0027"])
def test_a_body_made_to_take_long_does_not(filler: str) -> None:
    body = json.dumps({"errors": [{"code": "X", "message": filler * (60_000 // len(filler))}]}).encode()
    assert error_of(response(400, body=body)).message


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
        (httpx.ProxyError("407 Proxy Authentication Required"), "proxy did not connect", "USER:PASSWORD", False, False),
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
            chained(httpx.ConnectError("x"), OSError(errno.EMFILE, "Too many open files")),
            "no connection to registry.example:8443: Too many open files",
            "ulimit -n",
            True,
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
