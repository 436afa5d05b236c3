"""Calls of AWS's APIs: real botocore against a fake AWS on a socket."""

from __future__ import annotations

import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from botocore.credentials import SSOProvider

from manifestctl.aws.calls import Endpoint, Timeouts
from manifestctl.aws.refusals import NoAwsCredentialsError
from manifestctl.errors import DeniedError, InputError, InterruptedRun, ManifestctlError, UnreachableError
from manifestctl.events import Retried
from tests.support.actions import close, reset, stall, status
from tests.support.connect_proxy import ConnectProxy
from tests.support.faults import FOREVER
from tests.support.privileges import unprivileged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.aws_run import AwsRun
    from tests.support.faults import Action

PUBLIC, PRIVATE = Endpoint("ecr-public", "us-east-1"), Endpoint("ecr", "eu-west-1")
OPERATION = "get_authorization_token"
DOING = "getting a token"
ROLE = "arn:aws:iam::123456789012:role/release"


def failed(run: AwsRun, *, tries: int = 5, profile: str = "", timeouts: Timeouts | None = None) -> ManifestctlError:
    """Return the error that a call ends with."""
    with pytest.raises(ManifestctlError) as caught:
        run.make(tries=tries, profile=profile, timeouts=timeouts).call(PUBLIC, OPERATION, doing=DOING)
    run.check_quiet(caught.value)
    return caught.value


def test_an_answer_is_as_botocore_parses_it(run: AwsRun) -> None:
    made = run.make().call(PUBLIC, "create_repository", {"repositoryName": "web"}, doing="creating web")
    assert made is not None
    assert made["repository"]["repositoryName"] == "web"
    assert isinstance(made["repository"]["createdAt"], datetime)
    assert [(call.service, call.region, call.parameters) for call in run.aws.calls] == [
        ("ecr-public", "us-east-1", {"repositoryName": "web"})
    ]
    assert run.world.said == []


def test_the_region_of_the_endpoint_is_asked_whatever_the_environment_says(run: AwsRun) -> None:
    run.set(AWS_REGION="ap-south-1", AWS_DEFAULT_REGION="sa-east-1")
    aws = run.make()
    for endpoint in (PUBLIC, PRIVATE):
        aws.call(endpoint, OPERATION, doing=DOING)
    assert [(call.service, call.region) for call in run.aws.calls] == [
        ("ecr-public", "us-east-1"),
        ("ecr", "eu-west-1"),
    ]


def test_what_is_expected_is_no_error(run: AwsRun) -> None:
    aws, given = run.make(), {"repositoryName": "web"}
    aws.call(PUBLIC, "create_repository", given, doing="creating web")
    codes = ("RepositoryAlreadyExistsException",)
    assert aws.call(PUBLIC, "create_repository", given, doing="creating web", expected=codes) is None
    with pytest.raises(ManifestctlError, match="RepositoryAlreadyExistsException"):
        aws.call(PUBLIC, "create_repository", given, doing="creating web", expected=("OtherException",))


# Endpoints.


@pytest.fixture(scope="module")
def proxy() -> Iterator[ConnectProxy]:
    with ConnectProxy({}) as server:
        yield server


CN_DUAL_STACK = "ecr.cn-north-1.api.amazonwebservices.com.cn"
FIPS = {"AWS_USE_FIPS_ENDPOINT": "true"}


@pytest.mark.parametrize(
    ("endpoint", "environ", "expected"),
    [
        (PUBLIC, {}, "api.ecr-public.us-east-1.amazonaws.com"),
        (PUBLIC, FIPS, "api.ecr-public.us-east-1.amazonaws.com"),
        (PUBLIC, {"AWS_USE_DUALSTACK_ENDPOINT": "true"}, "ecr-public.us-east-1.api.aws"),
        (Endpoint("ecr-public", "us-east-1", dual_stack=True), {}, "ecr-public.us-east-1.api.aws"),
        (Endpoint("ecr-public", "us-east-1", dual_stack=True), FIPS, "ecr-public.us-east-1.api.aws"),
        (PRIVATE, {}, "api.ecr.eu-west-1.amazonaws.com"),
        (PRIVATE, FIPS, "api.ecr-fips.eu-west-1.amazonaws.com"),
        (Endpoint("ecr", "us-gov-west-1", fips=True), {}, "api.ecr-fips.us-gov-west-1.amazonaws.com"),
        (Endpoint("ecr", "us-east-1", dual_stack=True), {}, "ecr.us-east-1.api.aws"),
        (Endpoint("ecr", "us-east-1", fips=True, dual_stack=True), {}, "ecr-fips.us-east-1.api.aws"),
        (Endpoint("ecr", "cn-north-1"), {}, "api.ecr.cn-north-1.amazonaws.com.cn"),
        (Endpoint("ecr", "cn-north-1", dual_stack=True), {}, CN_DUAL_STACK),
        (Endpoint("ecr", "us-iso-east-1"), {}, "api.ecr.us-iso-east-1.c2s.ic.gov"),
        (Endpoint("ecr", "us-isob-east-1"), {}, "api.ecr.us-isob-east-1.sc2s.sgov.gov"),
        (Endpoint("ecr", "eusc-de-east-1"), {}, "api.ecr.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_the_host_of_each_endpoint(
    run: AwsRun, proxy: ConnectProxy, endpoint: Endpoint, environ: dict[str, str], expected: str
) -> None:
    keys = {name: value for name, value in run.aws.environ().items() if "ENDPOINT_URL" not in name}
    run.be(keys, HTTPS_PROXY=proxy.url, **environ)
    before = len(proxy.connects)
    with pytest.raises(UnreachableError, match=r"proxy"):
        run.make(tries=1).call(endpoint, OPERATION, doing=DOING)
    assert [connect.target for connect in proxy.connects[before:]] == [f"{expected}:443"]


# Retries.


@pytest.mark.parametrize("environ", [{}, {"AWS_MAX_ATTEMPTS": "7", "AWS_RETRY_MODE": "adaptive"}])
def test_a_quota_is_asked_for_once(run: AwsRun, environ: dict[str, str]) -> None:
    run.set(**environ)
    quota = run.aws.quota("GetAuthorizationToken")
    error = failed(run)
    assert isinstance(error, DeniedError)
    assert "LimitExceededException" in error.message
    assert (quota.hits, run.aws.count("POST"), run.world.slept) == (1, 1, [])


def test_what_passes_is_tried_again_and_said(run: AwsRun) -> None:
    run.aws.throttle("GetAuthorizationToken", times=2)
    assert run.make().call(PUBLIC, OPERATION, doing=DOING) is not None
    retried = run.world.heard(Retried)
    assert [(event.operation, event.attempt, event.attempts) for event in retried] == [(DOING, 1, 5), (DOING, 2, 5)]
    assert all("ThrottlingException" in event.reason for event in retried)
    assert run.aws.operations == ["GetAuthorizationToken"] * 3
    assert run.meter.counts()["retried"] == len(run.world.slept) == 2


@pytest.mark.parametrize(
    "action", [status(500), status(503, b"<html>"), reset(), close()], ids=["500", "503", "reset", "close"]
)
@pytest.mark.parametrize("tries", [1, 3])
def test_there_is_one_level_of_retries(run: AwsRun, action: Action, tries: int) -> None:
    fault = run.aws.faults.add(action, times=FOREVER)
    error = failed(run, tries=tries)
    assert isinstance(error, UnreachableError)
    assert error.message.startswith(f"{DOING} failed: ")
    assert fault.hits == run.aws.count() == tries
    assert len(run.world.slept) == len(run.world.heard(Retried)) == tries - 1


@pytest.mark.parametrize("profile", ["release", "web", "sso"])
def test_nor_are_there_others_where_credentials_are_got(run: AwsRun, profile: str) -> None:
    everywhere(run)
    fault = run.aws.faults.add(status(500), times=FOREVER)
    assert isinstance(failed(run, tries=3, profile=profile), UnreachableError)
    assert fault.hits == run.aws.count() == 3
    assert len(run.world.slept) == 2


def test_nor_is_it_waited_longer_there(run: AwsRun) -> None:
    everywhere(run)
    run.aws.faults.add(stall(), times=FOREVER)
    assert isinstance(failed(run, tries=1, profile="release", timeouts=Timeouts(1, 0.2)), UnreachableError)
    assert run.aws.count() == 1
    run.aws.release()


def test_an_api_that_hangs_is_given_up(run: AwsRun) -> None:
    run.aws.faults.add(stall(), times=FOREVER)
    error = failed(run, tries=2, timeouts=Timeouts(1, 0.2))
    assert isinstance(error, UnreachableError)
    assert run.aws.count() == 2
    run.aws.release()


def test_a_cancelled_run_makes_no_call(run: AwsRun) -> None:
    run.world.cancel.set(15)
    with pytest.raises(InterruptedRun):
        run.make().call(PUBLIC, OPERATION, doing=DOING)
    assert run.aws.count() == 0


def test_threads_share_a_session_and_its_credentials(run: AwsRun) -> None:
    run.profiles(f"[profile release]\nrole_arn = {ROLE}\nsource_profile = keys\n", "[keys]\nKEYS\n")
    aws = run.make(profile="release")
    together = threading.Barrier(4)

    def call(endpoint: Endpoint) -> object:
        together.wait(10)
        return aws.call(endpoint, OPERATION, doing=DOING)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(call, [PUBLIC, PRIVATE] * 2))
    assert sorted(run.aws.operations) == ["AssumeRole"] + ["GetAuthorizationToken"] * 4


# Where credentials come from.

CONFIG = f"""
[profile web]
role_arn = {ROLE}
web_identity_token_file = HOME/token
[profile release]
role_arn = {ROLE}
source_profile = keys
[profile sso]
sso_start_url = https://start.example/
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = Publisher
[profile program]
credential_process = /bin/cat HOME/process.json
"""
CREDENTIALS = "[default]\nKEYS\n[keys]\nKEYS\n"
ROLE_LIFETIME = 6 * 3600.0


def everywhere(run: AwsRun) -> None:
    """Lay out a profile of each kind."""
    run.profiles(CONFIG.replace("HOME", str(run.home)), CREDENTIALS)
    (run.home / "token").write_text(run.aws.sources.web_identity)
    process = {"Version": 1, "AccessKeyId": run.aws.key.id, "SecretAccessKey": run.aws.key.secret}
    (run.home / "process.json").write_text(json.dumps(process))
    sso_session(run, run.world.now + 3600)


def sso_session(run: AwsRun, until: float) -> None:
    """Be logged in to IAM Identity Center until then."""
    cache = run.home / ".aws/sso/cache"
    cache.mkdir(parents=True, exist_ok=True)
    # botocore looks for the home once, when it is imported.
    run.monkeypatch.setattr(SSOProvider, "_SSO_TOKEN_CACHE_DIR", str(cache))
    expires = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    name = hashlib.sha1(b"https://start.example/", usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text(
        json.dumps(
            {
                "startUrl": "https://start.example/",
                "region": "eu-west-1",
                "accessToken": run.aws.sources.sso_token,
                "expiresAt": expires,
            }
        )
    )


@pytest.mark.parametrize(
    ("profile", "variable", "origin", "temporary", "changeable"),
    [
        ("", "", "credentials file", False, False),
        ("", "keys", "credentials file, profile keys", False, False),
        ("keys", "web", "credentials file, profile keys", False, False),
        ("release", "", "assumed role, profile release", True, False),
        ("", "web", "web identity, profile web", True, False),
        ("sso", "", "IAM Identity Center, profile sso", True, False),
        ("program", "", "credential_process, profile program", False, True),
    ],
)
def test_where_credentials_come_from(
    run: AwsRun, profile: str, variable: str, origin: str, temporary: bool, changeable: bool
) -> None:
    everywhere(run)
    if variable:
        run.set(AWS_PROFILE=variable)
    aws = run.make(profile=profile)
    aws.call(PUBLIC, OPERATION, doing=DOING)
    assert (aws.origin(), aws.is_changeable()) == (origin, changeable)
    expires = aws.expires()
    assert (expires is not None) is temporary
    if expires is not None:
        assert expires == pytest.approx(run.world.now + ROLE_LIFETIME, abs=60)


@pytest.mark.parametrize(
    ("source", "origin", "changeable"),
    [
        ("keys", "environment variables", False),
        ("container", "container role", True),
        ("instance", "instance role", True),
    ],
)
def test_credentials_of_the_environment_and_of_the_machine(
    run: AwsRun, source: str, origin: str, changeable: bool
) -> None:
    run.be(run.aws.environ(source=source))  # type: ignore[arg-type]
    aws = run.make()
    aws.call(PRIVATE, OPERATION, doing=DOING)
    assert (aws.origin(), aws.is_changeable(), aws.expires() is not None) == (origin, changeable, changeable)


def test_a_profile_that_is_named_beats_the_environment(run: AwsRun) -> None:
    everywhere(run)
    other = run.aws.add_key()
    run.set(AWS_ACCESS_KEY_ID=other.id, AWS_SECRET_ACCESS_KEY=other.secret, AWS_PROFILE="web")
    for profile in ("keys", ""):
        run.make(profile=profile).call(PUBLIC, OPERATION, doing=DOING)
    assert [call.access_key for call in run.aws.calls] == [run.aws.key.id, other.id]


def test_web_identity_needs_no_file_of_awss_and_no_region(run: AwsRun) -> None:
    (run.home / "token").write_text(run.aws.sources.web_identity)
    run.be(run.without_keys(), AWS_WEB_IDENTITY_TOKEN_FILE=str(run.home / "token"), AWS_ROLE_ARN=ROLE)
    aws = run.make()
    aws.obtain(DOING)
    assert run.aws.operations == ["AssumeRoleWithWebIdentity"]
    assert aws.origin() == "web identity"


@pytest.mark.parametrize("name", ["pröfile", "a\u202eb", "x" * 300])
def test_a_profile_may_be_called_anything(run: AwsRun, name: str) -> None:
    run.profiles(credentials=f"[{name}]\nKEYS\n")
    origin = run.make(profile=name).origin()
    assert origin.startswith("credentials file, profile ")
    assert origin.isprintable()
    assert len(origin) <= 210


# Credentials that are not there, or cannot be had.


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIAX"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "AKIAX", "AWS_SECRET_ACCESS_KEY": ""}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_SECRET_ACCESS_KEY": "x"}, "AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": "x", "AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID"),
    ],
)
def test_half_a_key(run: AwsRun, given: dict[str, str], lacking: str) -> None:
    run.be(run.without_keys() | given)
    error = failed(run)
    assert type(error) is InputError
    assert error.message == f"{DOING} failed: Partial credentials found in env, missing: {lacking}"
    assert error.hint == "Set what is missing too, or take the rest away."
    assert run.aws.count() == 0


def test_half_a_key_beside_a_whole_one(run: AwsRun) -> None:
    run.profiles(credentials="[default]\nKEYS\n")
    run.set(AWS_SECRET_ACCESS_KEY="x", AWS_ACCESS_KEY_ID="")
    assert run.make().origin() == "credentials file"


def test_no_credentials(run: AwsRun) -> None:
    run.be(run.without_keys())
    error = failed(run)
    assert isinstance(error, NoAwsCredentialsError)
    assert error.message == f"{DOING} failed: no AWS credentials were found"
    aws = run.make()
    assert (aws.origin(), aws.expires(), aws.is_changeable()) == ("", None, False)
    with pytest.raises(NoAwsCredentialsError):
        aws.obtain(DOING)
    assert (run.aws.count(), run.world.slept) == (0, [])


@pytest.mark.parametrize(
    ("config", "credentials", "profile", "kind", "text"),
    [
        ("[profile x]\nbroken", "", "", InputError, "Unable to parse config file"),
        ("[default]\nx = \udcff", "", "", InputError, "Unable to parse config file"),
        ("", "[default]\naws_access_key_id = x\n", "", InputError, "Partial credentials"),
        ("", CREDENTIALS, "nobody", InputError, "profile (nobody) could not be found"),
        (f"[profile x]\nrole_arn = {ROLE}\n", "", "x", InputError, "source_profile"),
        (f"[profile x]\nrole_arn = {ROLE}\nsource_profile = y\n", "", "x", InputError, "y"),
        (
            "[profile x]\ncredential_process = /bin/echo no json\n",
            "",
            "x",
            DeniedError,
            "source gave none that can be used",
        ),
        ("[profile x]\ncredential_process = /bin/echo []\n", "", "x", DeniedError, "source gave none that can be used"),
        ("[profile x]\ncredential_process = /bin/false\n", "", "x", DeniedError, "custom-process"),
        ("[profile x]\ncredential_process = /nonexistent/x\n", "", "x", InputError, "/nonexistent/x, which cannot be"),
    ],
)
def test_a_configuration_that_gives_none(
    run: AwsRun, config: str, credentials: str, profile: str, kind: type[ManifestctlError], text: str
) -> None:
    run.profiles(credentials=credentials)
    if config:
        (run.home / ".aws").mkdir(exist_ok=True)
        (run.home / ".aws/config").write_bytes(config.encode("utf-8", "surrogateescape"))
    error = failed(run, profile=profile)
    assert type(error) is kind
    assert text in error.message
    assert "\n" not in error.message
    assert error.hint
    assert (run.aws.count(), run.world.slept) == (0, [])


@pytest.mark.parametrize(
    ("variables", "kind", "text"),
    [
        ({"AWS_ACCESS_KEY_ID": "x"}, InputError, "Partial credentials"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent/t", "AWS_ROLE_ARN": ROLE}, InputError, "/nonexistent/t"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://evil.example/"}, DeniedError, "Unsupported host"),
        ({"AWS_PROFILE": "nobody"}, InputError, "nobody"),
    ],
)
def test_variables_that_give_none(
    run: AwsRun, variables: dict[str, str], kind: type[ManifestctlError], text: str
) -> None:
    run.be(run.without_keys(), **variables)
    error = failed(run)
    assert type(error) is kind
    assert text in error.message
    assert (run.aws.count(), run.world.slept) == (0, [])


def test_a_container_that_gives_expired_keys(run: AwsRun) -> None:
    run.be(run.aws.environ(source="container"))
    run.aws.sources.lifetime = -100.0
    error = failed(run)
    assert type(error) is DeniedError
    assert "still expired" in error.message
    assert run.world.slept == []


def test_a_session_of_sso_that_has_ended(run: AwsRun) -> None:
    everywhere(run)
    sso_session(run, run.world.now - 3600)
    error = failed(run, profile="sso")
    assert type(error) is DeniedError
    assert "aws sso login" in error.hint


def test_a_role_that_may_not_be_assumed(run: AwsRun) -> None:
    everywhere(run)
    run.aws.deny("sts:AssumeRole")
    error = failed(run, profile="release")
    assert type(error) is DeniedError
    assert error.message.startswith(f"{DOING} failed: ")
    assert ROLE in error.statement
    assert run.aws.operations == ["AssumeRole"]


@pytest.mark.parametrize("name", ["config", "credentials"])
def test_a_file_that_boto3_passes_over_in_silence(run: AwsRun, name: str) -> None:
    run.profiles(**{name: "[default]\nKEYS\n"})
    path = run.home / ".aws" / name
    path.chmod(0)
    for directory in (*run.home.parents, run.home, path.parent):
        # Below the directory for all tests, only the owner may look.
        if directory.stat().st_mode & 0o005 != 0o005 and len(directory.parts) > 2:
            directory.chmod(0o755)
    with unprivileged():
        error = failed(run)
    assert type(error) is InputError
    assert error.message == f"cannot read AWS's configuration file {path}: Permission denied"


def test_a_directory_in_the_place_of_a_file(run: AwsRun) -> None:
    run.be(run.without_keys(), AWS_SHARED_CREDENTIALS_FILE=str(run.home))
    assert "it is not a regular file" in failed(run).message


def test_a_home_that_may_not_be_looked_into_is_passed_over(run: AwsRun) -> None:
    run.be(run.without_keys(), AWS_CONFIG_FILE="/nonexistent/\udcff", AWS_SHARED_CREDENTIALS_FILE="/dev/null/x")
    assert isinstance(failed(run), NoAwsCredentialsError)


@pytest.mark.parametrize(
    ("endpoint", "variables", "text"),
    [
        (Endpoint("ecr", "eu_west"), {}, "eu_west"),
        (PUBLIC, {"AWS_ENDPOINT_URL_ECR_PUBLIC": "garbage"}, "garbage"),
    ],
)
def test_regions_and_endpoints_that_are_none(
    run: AwsRun, endpoint: Endpoint, variables: dict[str, str], text: str
) -> None:
    run.set(**variables)
    with pytest.raises(InputError, match=text) as caught:
        run.make().call(endpoint, OPERATION, doing=DOING)
    assert "AWS_" in caught.value.hint
    assert run.world.slept == []


@pytest.mark.parametrize("code", ["AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException"])
def test_a_refusal_is_not_tried_again(run: AwsRun, code: str) -> None:
    run.aws.fail("GetAuthorizationToken", code, "no")
    assert isinstance(failed(run), DeniedError)
    assert run.aws.operations == ["GetAuthorizationToken"]


def test_a_wrong_secret_is_in_no_message(run: AwsRun) -> None:
    run.set(AWS_SECRET_ACCESS_KEY="wrong-secret-of-somebody")
    error = failed(run)
    assert "InvalidSignatureException" in error.message
    assert "wrong-secret" not in f"{error.message} {error.hint} {error!r} {error.__cause__!r}"
