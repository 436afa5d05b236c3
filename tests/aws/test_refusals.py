"""What AWS refuses and boto3 fails by, provoked in real boto3, and what each becomes."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from botocore.credentials import AssumeRoleProvider, SSOProvider
from botocore.exceptions import ClientError
from botocore.tokens import SSOTokenProvider

from manifestctl.aws.boto_failures import FAILURES
from manifestctl.aws.calls import Endpoint, Timeouts
from manifestctl.aws.refusals import REFUSALS, NoAwsCredentialsError, clock_offset, translated, wrong_clock
from manifestctl.errors import (
    DeniedError,
    InputError,
    InterruptedRun,
    ManifestctlError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.text import outside
from tests.support.actions import HOSTILE_TEXT, PROXY_PAGE, close, reset, stall
from tests.support.certificates import make_certificates
from tests.support.faults import FOREVER
from tests.support.http_message import Response
from tests.support.http_server import HttpServer
from tests.support.known_errors import LIMIT, NOW, client_error

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.aws_run import AwsRun
    from tests.support.faults import Action

PUBLIC = Endpoint("ecr-public", "us-east-1")
STS = Endpoint("sts", "us-east-1")
DOING = "getting a token for public.ecr.aws"
ROLE = "arn:aws:iam::123456789012:role/release"
OPERATION = "GetAuthorizationToken"


class Somebody(HttpServer):
    """A server that answers everything in one way."""

    def __init__(self, status: int, body: bytes, kind: str = "text/html", **options: Any) -> None:
        super().__init__(**options)
        self._answer = status, body, {"Content-Type": kind}

    def answer(self, request: Any) -> Response:
        """Answer."""
        status, body, headers = self._answer
        return Response(status, body, dict(headers))


def failed(
    run: AwsRun,
    *,
    endpoint: Endpoint = PUBLIC,
    operation: str = "get_authorization_token",
    profile: str = "",
    timeouts: Timeouts | None = None,
) -> ManifestctlError:
    """Return the error that a call ends with; there is one retry of what may pass."""
    with pytest.raises(ManifestctlError) as caught:
        run.make(tries=2, profile=profile, timeouts=timeouts).call(endpoint, operation, doing=DOING)
    run.check_quiet(caught.value)
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1600
    assert caught.value.hint
    passes = isinstance(caught.value, UnreachableError) and caught.value.transient
    assert len(run.world.slept) == (1 if passes else 0)
    return caught.value


# AWS refuses.


@pytest.mark.parametrize(
    ("code", "said", "status", "kind", "hint"),
    [
        ("AccessDeniedException", "no", 400, DeniedError, "'manifestctl doctor' shows who it is"),
        ("OptInRequired", "no", 403, DeniedError, "not signed up"),
        ("KmsException", "no", 400, DeniedError, "let ECR use it"),
        ("BlockedByOrganizationPolicyException", "no", 400, DeniedError, "ask who runs it"),
        ("IncompleteSignature", "no", 400, DeniedError, "HTTPS_PROXY"),
        ("RequestExpired", "no", 400, DeniedError, "Set this machine's clock"),
        ("LimitExceededException", LIMIT, 400, DeniedError, "trying again will not help"),
        ("TooManyTagsException", "no", 400, DeniedError, "tags of a repository (50)"),
        ("ServiceQuotaExceededException", "no", 402, DeniedError, "trying again will not help"),
        ("InvalidParameterException", "no", 400, InputError, "correct it"),
        ("ValidationException", "no", 400, InputError, "correct it"),
        ("UnknownOperationException", "", 400, InputError, "ECR and ECR Public are two services"),
        ("RepositoryNotFoundException", "no", 400, NotFoundError, "manifestctl repo create"),
        ("RegistryNotFoundException", "no", 400, NotFoundError, "Check the alias"),
        ("ThrottlingException", "Rate exceeded", 400, UnreachableError, "wait a little"),
        ("TooManyRequestsException", "", 429, UnreachableError, "wait a little"),
        ("ServerException", "no", 400, UnreachableError, "running again later is safe"),
        ("ServiceUnavailable", "no", 503, UnreachableError, "running again later is safe"),
        ("RequestTimeoutException", "no", 408, UnreachableError, "running again later is safe"),
        ("PriorRequestNotComplete", "no", 400, UnreachableError, "running again later is safe"),
        ("SomethingNew", "no", 500, UnreachableError, "Running again later is safe"),
        ("SomethingNew", "no", 429, UnreachableError, "Running again later is safe"),
        ("SomethingNew", "no", 403, DeniedError, "'manifestctl doctor' shows who it is"),
        ("SomethingNew", "no", 400, UnreachableError, "see its words"),
        ("SomethingNew", HOSTILE_TEXT, 400, UnreachableError, "see its words"),
    ],
)
def test_each_refusal_has_its_error(code: str, said: str, status: int, kind: type[ManifestctlError], hint: str) -> None:
    error = translated(client_error(code, said, status=status), DOING, NOW, "environment variables")
    assert type(error) is kind
    assert error.message.startswith(f'{DOING} failed: AWS said {code} "')
    assert error.message.endswith('" (credentials: environment variables)')
    assert error.message.isprintable()
    assert hint in error.hint
    if isinstance(error, UnreachableError):
        assert error.transient is ("see its words" not in hint)
    if isinstance(error, NotFoundError):
        assert error.repository_unknown is (code == "RepositoryNotFoundException")


class Signing(HttpServer):
    """Does not take a signature, and says as AWS does what it would have signed."""

    def answer(self, request: Any) -> Response:
        """Answer."""
        said = (
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method.\n\nThe Canonical String for this request should have been\n'POST\n/\n\n"
            f"x-amz-security-token:{request.headers['x-amz-security-token']}\n'\n\nThe String-to-Sign should have "
            "been\n'AWS4-HMAC-SHA256\n20240101T000000Z\n'\n"
        )
        body = json.dumps({"__type": "InvalidSignatureException", "message": said}).encode()
        return Response(400, body, {"Content-Type": "application/x-amz-json-1.1"})


def test_what_aws_would_have_signed_is_not_shown(run: AwsRun) -> None:
    token = "FwoGZXIvYXdzEJr" + "A1b2C3d4/+" * 80
    run.set(AWS_SESSION_TOKEN=token)
    with Signing() as server:
        elsewhere(run, server.url)
        error = failed(run)
    assert "does not match the signature you provided" in error.message
    assert "should have been" not in error.message
    assert "x-amz-security-token" not in error.message
    assert token[:20] not in f"{error.__cause__!r} {vars(error.__cause__)}"
    assert "The secret access key does not belong to the access key" in error.hint


def test_a_refusal_names_the_credentials(run: AwsRun) -> None:
    quota = run.aws.quota(OPERATION)
    error = failed(run)
    assert type(error) is DeniedError
    assert error.message.endswith('" (credentials: environment variables)')
    assert quota.hits == 1


@pytest.mark.parametrize("denied", ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"])
def test_both_permissions_of_a_token_are_named(run: AwsRun, denied: str) -> None:
    run.aws.deny(denied)
    error = failed(run)
    assert isinstance(error, DeniedError)
    needed = "A token for ECR Public needs both ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken."
    assert error.hint.startswith(f"{needed} arn:aws:iam::")
    assert f"lacks {denied} on *" in error.hint
    assert json.loads(error.statement) == {"Effect": "Allow", "Action": denied, "Resource": "*"}
    assert error.hint.endswith(error.statement)


def test_another_permission_is_named_alone(run: AwsRun) -> None:
    run.aws.deny("sts:GetCallerIdentity")
    error = failed(run, endpoint=STS, operation="get_caller_identity")
    assert isinstance(error, DeniedError)
    assert error.hint.startswith(f"{run.aws.key.principal} lacks sts:GetCallerIdentity")


def test_a_key_that_aws_does_not_know(run: AwsRun) -> None:
    run.set(AWS_ACCESS_KEY_ID="AKIAOTHEROTHEROTHER1")
    error = failed(run)
    assert "UnrecognizedClientException" in error.message
    assert "AWS does not know this access key" in error.hint


def test_a_secret_that_is_wrong_is_not_the_clocks_fault(run: AwsRun) -> None:
    run.set(AWS_SECRET_ACCESS_KEY="wrong")
    run.aws.skew = -250.0
    error = failed(run)
    assert "The secret access key does not belong to the access key" in error.hint
    assert "clock" not in error.message


def test_a_session_that_has_ended(run: AwsRun) -> None:
    run.be(run.aws.environ(access_key=run.aws.add_key(token="t0ken", expired=True)))
    assert "aws sso login" in failed(run).hint


@pytest.mark.parametrize(
    ("skew", "words", "told"),
    [
        (1200.0, "Signature expired", "this machine's clock is 20 minutes behind AWS's"),
        (-1200.0, "Signature not yet current", "this machine's clock is 20 minutes ahead of AWS's"),
    ],
)
def test_a_clock_that_is_wrong(run: AwsRun, skew: float, words: str, told: str) -> None:
    run.aws.skew = skew
    error = failed(run)
    assert isinstance(error, DeniedError)
    assert words in error.message
    assert error.message.endswith(told)
    assert error.hint == "Set this machine's clock (NTP), then run this again."


def test_a_session_that_ended_by_another_clock(run: AwsRun) -> None:
    run.be(run.aws.environ(access_key=run.aws.add_key(token="t0ken", expired=True)))
    run.aws.skew = 1200.0
    error = failed(run)
    assert error.message.endswith("20 minutes behind AWS's")
    assert "Set this machine's clock" in error.hint


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        (formatdate(NOW, usegmt=True), 0.0),
        (formatdate(NOW - 600, usegmt=True), 600.0),
        (formatdate(NOW + 600).replace("-0000", ""), -600.0),
        ("", None),
        ("yesterday", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_the_offset_of_the_clock(date: str, offset: float | None) -> None:
    assert clock_offset({"date": date} if date else {}, NOW) == offset


@pytest.mark.parametrize(
    ("offset", "words"), [(360.0, "6 minutes ahead of"), (-7200.0, "2 hours behind"), (-57600 * 60.0, "40 days behind")]
)
def test_the_clock_in_words(offset: float, words: str) -> None:
    assert wrong_clock(offset) == f"this machine's clock is {words} AWS's"


def test_another_region(run: AwsRun) -> None:
    error = failed(run, endpoint=Endpoint("ecr-public", "eu-west-1"))
    assert isinstance(error, InputError)
    assert "UnsupportedCommandException" in error.message
    assert "us-east-1 alone" in error.hint


def test_the_other_service(run: AwsRun) -> None:
    error = failed(run, endpoint=Endpoint("ecr", "eu-west-1"), operation="describe_pull_through_cache_rules")
    assert isinstance(error, InputError)
    assert "ECR and ECR Public are two services" in error.hint


def test_aws_may_say_how_long_to_wait() -> None:
    error = client_error("ThrottlingException", "Rate exceeded")
    assert isinstance(error, ClientError)
    error.response["ResponseMetadata"]["HTTPHeaders"] = {"retry-after": "7"}
    found = translated(error, DOING, NOW)
    assert isinstance(found, UnreachableError)
    assert found.retry_after == 7.0


@pytest.mark.parametrize(
    ("operation", "quota"),
    [("CreateRepository", "repositories in this account"), ("PutImage", "images per repository"), ("X", "A quota of")],
)
def test_the_quota_is_named(operation: str, quota: str) -> None:
    assert quota in translated(client_error("LimitExceededException", LIMIT, operation), DOING, NOW).hint


@pytest.mark.parametrize("response", [{}, {"Error": {}}, {"Error": {"Code": None}}])
def test_a_refusal_that_says_nothing(response: dict[str, Any]) -> None:
    error = translated(ClientError(response, OPERATION), DOING, NOW)
    assert isinstance(error, UnreachableError)
    assert error.message == f"{DOING} failed: the answer is 0, and not AWS's"


@pytest.mark.parametrize("error", [OSError("out of files"), ConnectionResetError("reset")])
def test_what_python_says_of_the_network_passes(error: Exception) -> None:
    found = translated(error, DOING, NOW)
    assert isinstance(found, UnreachableError)
    assert found.message == f"{DOING} failed: {error}"
    assert found.transient


@pytest.mark.parametrize("error", [InterruptedRun(15), TypeError("a bug"), KeyError("a bug")])
def test_interruptions_and_bugs_are_raised_again(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        translated(error, DOING, NOW)
    assert caught.value is error


# Something else answers.


def elsewhere(run: AwsRun, url: str) -> None:
    """Let all of AWS be at another place."""
    run.set(**{name: url for name in run.world.environ if "ENDPOINT_URL" in name})


@pytest.mark.parametrize(
    ("status", "endpoint", "operation"),
    [
        (302, PUBLIC, "get_authorization_token"),
        (403, PUBLIC, "get_authorization_token"),
        (502, PUBLIC, "get_authorization_token"),
        (403, STS, "get_caller_identity"),
        (500, STS, "get_caller_identity"),
    ],
)
def test_a_web_page_in_the_place_of_an_answer(run: AwsRun, status: int, endpoint: Endpoint, operation: str) -> None:
    with Somebody(status, PROXY_PAGE) as server:
        elsewhere(run, server.url)
        error = failed(run, endpoint=endpoint, operation=operation)
    assert isinstance(error, UnreachableError)
    assert error.message.startswith(f"{DOING} failed: the answer is {status}")
    assert "and not AWS's" in error.message
    assert "<" not in error.message
    assert error.transient is (status >= 500)


def test_a_page_that_says_all_is_well(run: AwsRun) -> None:
    with Somebody(200, PROXY_PAGE) as server:
        elsewhere(run, server.url)
        error = failed(run, endpoint=STS, operation="get_caller_identity")
    assert error.message == f"{DOING} failed: the answer is not AWS's, and cannot be read"


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize(
    "body",
    [b"[]", b"null", b"\xff\xfe", b"[" * 100_000],
    ids=["list", "null", "binary", "deep"],
)
def test_an_answer_that_is_none(run: AwsRun, status: int, body: bytes) -> None:
    with Somebody(status, body, "application/x-amz-json-1.1") as server:
        elsewhere(run, server.url)
        error = failed(run)
    assert isinstance(error, UnreachableError)
    assert "the answer is" in error.message
    assert "A proxy or another web server answered" in error.hint


@pytest.mark.parametrize(
    "body",
    [
        b'{"authorizationData": 3}',
        b'{"authorizationData": {"expiresAt": "soon"}}',
        b'{"authorizationData": {"expiresAt": 1e400}}',
    ],
)
def test_an_answer_with_something_else_in_it(run: AwsRun, body: bytes) -> None:
    with Somebody(200, body, "application/x-amz-json-1.1") as server:
        elsewhere(run, server.url)
        assert "the answer is not AWS's, and cannot be read" in failed(run).message


# The network.


@pytest.mark.parametrize(
    ("url", "kind", "words", "hint"),
    [
        ("http://127.0.0.1:1", UnreachableError, "Connection refused", "Check the network"),
        ("http://api.ecr.eu-nowhere-9.invalid", UnreachableError, "Name or service not known", "check the region"),
        ("registry", InputError, "Invalid endpoint: registry", "AWS_* variables"),
        ("http://a b/", InputError, "Invalid endpoint", "AWS_* variables"),
    ],
)
def test_places_where_there_is_nothing(
    run: AwsRun, url: str, kind: type[ManifestctlError], words: str, hint: str
) -> None:
    elsewhere(run, url)
    error = failed(run)
    assert type(error) is kind
    assert words in error.message
    assert hint in error.hint


@pytest.mark.parametrize("action", [reset(), close()], ids=["reset", "close"])
def test_connections_that_break(run: AwsRun, action: Action) -> None:
    run.aws.faults.add(action, times=FOREVER)
    error = failed(run)
    assert "Connection was closed" in error.message
    assert error.hint == "Running again is safe."


def test_an_answer_that_does_not_come(run: AwsRun) -> None:
    run.aws.faults.add(stall(), times=FOREVER)
    error = failed(run, timeouts=Timeouts(1, 0.1))
    assert "Read timeout" in error.message
    assert "--timeout" in error.hint
    run.aws.release()


@pytest.mark.parametrize(
    ("expired", "bundle", "kind", "words", "hint"),
    [
        (False, "", UnreachableError, "CERTIFICATE_VERIFY_FAILED", "AWS_CA_BUNDLE=FILE"),
        (True, "CA", UnreachableError, "certificate has expired", "clock is wrong"),
        (False, "/nonexistent/ca.pem", InputError, "No such file", "names no file of certificates"),
        (False, "EMPTY", InputError, "SSL validation failed", "names no file of certificates"),
    ],
)
def test_certificates(
    run: AwsRun, tmp_path: Path, expired: bool, bundle: str, kind: type[ManifestctlError], words: str, hint: str
) -> None:
    ended = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
    certificates = make_certificates(tmp_path / "certificates", not_after=ended)
    (tmp_path / "empty").touch()
    if bundle:
        files = {"CA": str(certificates.authority), "EMPTY": str(tmp_path / "empty")}
        run.set(AWS_CA_BUNDLE=files.get(bundle, bundle))
    with Somebody(200, b"{}", tls=certificates.server_context()) as server:
        elsewhere(run, server.url)
        error = failed(run)
    assert type(error) is kind
    assert words in error.message
    assert hint in error.hint


def test_what_speaks_no_tls(run: AwsRun) -> None:
    elsewhere(run, run.aws.url.replace("http:", "https:"))
    error = failed(run)
    assert "SSL validation failed" in error.message
    assert "breaks TLS off" in error.hint


@pytest.mark.parametrize(
    ("status", "hint", "passes"),
    [
        (407, "USER:PASSWORD@HOST:PORT", False),
        (403, "does not let this host through", False),
        (502, "Check HTTPS_PROXY and NO_PROXY.", True),
    ],
)
def test_proxies_that_refuse(run: AwsRun, status: int, hint: str, passes: bool) -> None:
    with Somebody(status, PROXY_PAGE) as proxy:
        elsewhere(run, "https://api.ecr-public.example")
        run.set(HTTPS_PROXY=proxy.url.replace("//", "//ci:s3cret@"))
        error = failed(run)
    assert isinstance(error, UnreachableError)
    assert f"Tunnel connection failed: {status}" in error.message
    assert "s3cret" not in error.message
    assert hint in error.hint
    assert error.transient is passes


def test_no_advice_is_taken_for_a_secret() -> None:
    steps = [known.step for known in (*REFUSALS, *FAILURES)]
    assert [outside(step, 8192) for step in steps] == steps


def test_a_proxy_that_is_not_there(run: AwsRun) -> None:
    elsewhere(run, "https://api.ecr-public.example")
    run.set(HTTPS_PROXY="http://127.0.0.1:1")
    error = failed(run)
    assert "Failed to connect to proxy URL" in error.message
    assert "Connection refused" in error.message


# Credentials that cannot be had.


def nobody(run: AwsRun, config: str = "", **variables: str) -> None:
    """Be somebody without a key, with this configuration and these variables."""
    run.profiles(config or " ")
    run.set(**variables)


def test_no_credentials_is_an_error_of_its_own(run: AwsRun) -> None:
    nobody(run)
    error = failed(run)
    assert type(error) is NoAwsCredentialsError
    assert "Set AWS_PROFILE" in error.hint
    assert "'manifestctl doctor' shows what is found" in error.hint


PROCESS = "[profile ci]\ncredential_process = "
KEYS = '"Version": 1, "AccessKeyId": "AKIATESTTESTTESTTEST", "SecretAccessKey": "s3cret", "SessionToken": "t"'


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo 'no such account' >&2; exit 3",
            "Error when retrieving credentials from custom-process: no such account",
        ),
        (f"echo '{{{KEYS}}}' >&2; exit 3", "custom-process: it wrote something that is not shown"),
        ("echo 'no: aws_secret_access_key=s3cret' >&2; exit 3", "custom-process: no: aws_secret_access_key=…"),
        ("printf '\\377' >&2; exit 3", "source gave none that can be used: 'utf-8' codec"),
        ("echo garbage", "source gave none that can be used: Expecting value"),
        ("true", "source gave none that can be used: Expecting value"),
        ("printf '\\377'", "source gave none that can be used: 'utf-8' codec"),
        ("echo '[]'", "source gave none that can be used: AttributeError"),
        ("echo '{}'", "Unsupported version"),
        ("echo '{\"Version\": 1}'", "Missing required key in response: 'AccessKeyId'"),
        (
            f'echo \'{{{KEYS}, "Expiration": "soon"}}\'',
            "source gave none that can be used: Unknown string format: soon",
        ),
        (f'echo \'{{{KEYS}, "Expiration": "2020-01-01T00:00:00Z"}}\'', "refreshed credentials are still expired"),
        (
            'echo \'{"Version": 1, "AccessKeyId": null, "SecretAccessKey": null}\'',
            "source gave none that can be used: TypeError",
        ),
    ],
)
def test_a_credential_process_that_gives_none(run: AwsRun, script: str, words: str) -> None:
    program = run.home / "program"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    nobody(run, f"{PROCESS}{program}\n")
    error = failed(run, profile="ci")
    assert type(error) is DeniedError
    assert words in error.message
    told = [error.message, *map(str, (error.__cause__, error.__context__)), repr(run.world.events)]
    assert "s3cret" not in "".join(told)
    assert "on its own" in error.hint


@pytest.mark.parametrize("command", ["", "'"])
def test_a_credential_process_that_is_no_command(run: AwsRun, command: str) -> None:
    nobody(run, f"{PROCESS}{command}\n")
    error = failed(run, profile="ci")
    assert type(error) is DeniedError
    assert "source gave none that can be used" in error.message


@pytest.mark.parametrize(
    ("mode", "reason"),
    [(None, "No such file or directory"), (0o644, "Permission denied")],
    ids=["absent", "no program"],
)
def test_a_credential_process_that_is_not_there(run: AwsRun, mode: int | None, reason: str) -> None:
    program = run.home / "program"
    if mode is not None:
        program.touch(mode)
    nobody(run, f"{PROCESS}{program}\n")
    error = failed(run, profile="ci")
    assert type(error) is InputError
    assert error.message == f"{DOING} failed: AWS's configuration names {program}, which cannot be used: {reason}"


SSO = "sso_account_id = 123456789012\nsso_role_name = Publisher\n"
SSO_START = "sso_start_url = https://start.example/\nsso_region = eu-west-1\n"
SESSION = f"[profile ci]\nsso_session = me\n{SSO}[sso-session me]\n{SSO_START}"
LEGACY = f"[profile ci]\n{SSO}{SSO_START}"


def sso_token(run: AwsRun, text: str) -> None:
    """Keep what a log-in to IAM Identity Center left behind, for both kinds of profiles."""
    cache = run.home / ".aws/sso/cache"
    cache.mkdir(parents=True, exist_ok=True)
    # botocore looks for the home once, when it is imported.
    run.monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))
    run.monkeypatch.setattr(SSOTokenProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))
    for key in ("me", "https://start.example/"):
        name = hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest()
        if text:
            (cache / f"{name}.json").write_text(text)


@pytest.mark.parametrize("config", [SESSION, LEGACY], ids=["session", "legacy"])
@pytest.mark.parametrize(
    "token",
    [
        "",
        "{}",
        "garbage",
        json.dumps({"accessToken": "sso-access-token", "expiresAt": "2020-01-01T00:00:00Z"}),
        json.dumps({"accessToken": "another", "expiresAt": "2999-01-01T00:00:00Z"}),
    ],
    ids=["nobody logged in", "empty", "garbage", "expired", "refused"],
)
def test_a_log_in_to_identity_center_that_is_not_good(run: AwsRun, config: str, token: str) -> None:
    nobody(run, config)
    sso_token(run, token)
    error = failed(run, profile="ci")
    assert type(error) is DeniedError
    assert "aws sso login" in error.hint


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (f"[profile ci]\n{SSO}", "missing required configuration: sso_start_url, sso_region"),
        (f"[profile ci]\nsso_session = me\n{SSO}", 'sso-session does not exist: "me"'),
        (f"[profile ci]\nrole_arn = {ROLE}\nsource_profile = ci2\n", 'source_profile "ci2" referenced in'),
        (f"[profile ci]\nrole_arn = {ROLE}\ncredential_source = Nowhere\n", 'credential source "Nowhere"'),
        (f"[profile ci]\nrole_arn = {ROLE}\n", "missing: source_profile or credential_source"),
        ("[profile ci]\nlogin_session = x\n", "Missing Dependency"),
    ],
)
def test_configurations_that_are_wrong(run: AwsRun, config: str, words: str) -> None:
    nobody(run, config)
    error = failed(run, profile="ci")
    assert type(error) is InputError
    assert words in error.message


def test_a_variable_that_is_wrong(run: AwsRun) -> None:
    run.set(AWS_STS_REGIONAL_ENDPOINTS="nowhere")
    error = failed(run)
    assert type(error) is InputError
    assert "STS regional endpoints option nowhere is invalid" in error.message
    assert "AWS_* variables" in error.hint


def test_a_role_that_may_not_be_assumed_says_which_call_that_was(run: AwsRun) -> None:
    run.profiles(f"[profile ci]\nrole_arn = {ROLE}\nsource_profile = keys\n", "[keys]\nKEYS\n")
    run.aws.deny("sts:AssumeRole")
    error = failed(run, profile="ci")
    assert error.message.endswith('" to AssumeRole')
    assert isinstance(error, DeniedError)
    assert json.loads(error.statement)["Resource"] == ROLE


def test_keys_in_an_answer_that_breaks_off_are_not_shown(run: AwsRun) -> None:
    run.profiles(f"[profile ci]\nrole_arn = {ROLE}\nsource_profile = keys\n", "[keys]\nKEYS\n")
    cut = b"<AssumeRoleResponse><AssumeRoleResult><Credentials><SecretAccessKey>s3cret-of-the-role</SecretAccessKey>"
    with Somebody(200, cut, "text/xml") as server:
        run.set(AWS_ENDPOINT_URL_STS=server.url)
        error = failed(run, profile="ci")
    assert isinstance(error, UnreachableError)
    assert "the answer is not AWS's, and cannot be read" in error.message
    cause: BaseException | None = error
    while cause is not None:
        assert "s3cret" not in f"{cause!r}{cause}"
        cause = cause.__cause__ or cause.__context__


def test_a_role_that_wants_a_code_where_nobody_can_be_asked(run: AwsRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run.profiles(f"[profile ci]\nrole_arn = {ROLE}\nsource_profile = keys\nmfa_serial = x:mfa\n", "[keys]\nKEYS\n")

    def nobody_there(prompt: str) -> str:
        raise EOFError(prompt)

    # A terminal that runs the tests must not be asked.
    _, *others = AssumeRoleProvider.__init__.__defaults__
    monkeypatch.setattr(AssumeRoleProvider.__init__, "__defaults__", (nobody_there, *others))
    error = failed(run, profile="ci")
    assert type(error) is DeniedError
    assert "wants an MFA code" in error.message


WEB = {"AWS_ROLE_ARN": ROLE, "AWS_ROLE_SESSION_NAME": "build"}


@pytest.mark.parametrize(
    ("code", "said", "hint"),
    [
        ("InvalidIdentityToken", "No OpenIDConnect provider found in your account for x", "identity provider in IAM"),
        ("IDPRejectedClaim", "The claim is wrong", "identity provider in IAM"),
        (
            "ExpiredTokenException",
            "Token expired: current date/time 2 must be before",
            "web identity token has expired",
        ),
        ("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity", "trust policy"),
    ],
)
def test_a_web_identity_that_is_refused(run: AwsRun, code: str, said: str, hint: str) -> None:
    token = run.home / "token"
    token.write_text(run.aws.sources.web_identity)
    nobody(run, AWS_WEB_IDENTITY_TOKEN_FILE=str(token), **WEB)
    run.aws.fail("AssumeRoleWithWebIdentity", code, said)
    error = failed(run)
    assert type(error) is DeniedError
    assert said in error.message
    assert error.message.endswith(" to AssumeRoleWithWebIdentity")
    assert hint in error.hint


@pytest.mark.parametrize("text", [None, "", "x"])
def test_a_web_identity_token_that_is_none(run: AwsRun, text: str | None) -> None:
    token = run.home / "token"
    if text is not None:
        token.write_text(text)
    nobody(run, AWS_WEB_IDENTITY_TOKEN_FILE=str(token), **WEB)
    error = failed(run)
    assert type(error) is InputError
    assert ("which cannot be used: No such file" if text is None else "WebIdentityToken") in error.message


@pytest.mark.parametrize("bad", ["a\nb", "a\rb"])
@pytest.mark.parametrize("variable", ["AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"])
def test_a_key_with_a_line_break_is_not_shown(run: AwsRun, variable: str, bad: str) -> None:
    secret = f"s3ssion{bad}t0ken"
    run.set(**{variable: secret})
    error = failed(run)
    assert type(error) is InputError
    assert "holds a character that cannot be sent" in error.message
    cause: BaseException | None = error
    while cause is not None:
        assert "t0ken" not in f"{cause!r}{cause}"
        cause = cause.__cause__ or cause.__context__


@pytest.mark.parametrize(
    ("variables", "kind", "words"),
    [
        ({"AWS_CONTAINER_AUTHORIZATION_TOKEN": "a\nb"}, DeniedError, "not a legal header value"),
        (
            {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nonexistent/t"},
            InputError,
            "/nonexistent/t, which cannot be used",
        ),
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example/"},
            DeniedError,
            "Unsupported host 'evil.example'",
        ),
    ],
)
def test_a_container_that_is_set_up_wrong(
    run: AwsRun, variables: dict[str, str], kind: type[ManifestctlError], words: str
) -> None:
    run.be(run.aws.environ(source="container"), **variables)
    error = failed(run)
    assert type(error) is kind
    assert words in error.message


def test_a_container_that_refuses(run: AwsRun, monkeypatch: pytest.MonkeyPatch) -> None:
    # botocore waits a second before it asks again.
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.RETRY_ATTEMPTS", 1)
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    monkeypatch.setattr("time.sleep", lambda _: None)
    run.aws.sources.container_token = "wanted"
    run.be(run.aws.environ(source="container"), AWS_CONTAINER_AUTHORIZATION_TOKEN="given")
    error = failed(run)
    assert type(error) is DeniedError
    assert "Received non 200 response 401" in error.message
    assert "given" not in error.message


@pytest.mark.parametrize(
    ("variables", "kind"),
    [
        ({"AWS_EC2_METADATA_DISABLED": "true"}, NoAwsCredentialsError),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1/"}, NoAwsCredentialsError),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "nowhere"}, InputError),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv5"}, InputError),
        ({"AWS_METADATA_SERVICE_TIMEOUT": "soon"}, DeniedError),
    ],
)
def test_an_instance_that_gives_none(run: AwsRun, variables: dict[str, str], kind: type[ManifestctlError]) -> None:
    run.be(run.aws.environ(source="instance"), **variables)
    assert type(failed(run)) is kind
