"""`doctor`: credentials, permissions, repositories and quotas, at registries of Amazon ECR and at others."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from manifestctl.aws.settings import AwsSettings
from manifestctl.errors import DeniedError, InputError, InterruptedRun
from manifestctl.transport.settings import TransportSettings
from manifestctl.verbs.doctor_checks import advice, failed, moment, words
from manifestctl.verbs.doctor_network import NAMES
from tests.support.actions import error, header, reset, status
from tests.support.aws_state import ImageRecord
from tests.support.ecr_world import EcrWorld
from tests.support.fake_auth import BasicAuth, BearerAuth
from tests.support.fake_registry import FakeRegistry
from tests.support.faults import FOREVER
from tests.support.real import require_real
from tests.support.real_registry import PASSWORD, USER, RealRegistry
from tests.support.world import World
from tests.verbs.doctoring import Examined, examine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

AWS = ["aws-credentials", "identity", "get-authorization-token", "get-service-bearer-token", "token", "alias"]
PRIVATE = ["aws-credentials", "identity", "get-authorization-token", "token"]
ARN = "arn:aws:iam::123456789012:user/ci"
WEB = "public.ecr.aws/acme/web"
ENVIRONMENT = "AWS credentials: environment variables"
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def ecr(tmp_path: Path) -> Iterator[EcrWorld]:
    """Return AWS with the repository acme/web in ECR Public."""
    with EcrWorld(tmp_path) as world:
        world.aws.add_repository("web")
        yield world


def at(
    ecr: EcrWorld,
    target: str | None = f"{WEB}:1",
    *,
    environ: Mapping[str, str] | None = None,
    aws: AwsSettings | None = None,
    settings: TransportSettings | None = None,
) -> Examined:
    """Run `doctor` in the world of ECR, and see that no secret is told."""
    settings = settings or TransportSettings(ca_file=ecr.ca_file, retries=2)
    examined = examine(target, environ=environ or ecr.environ, aws=aws, settings=settings)
    told = [*examined.texts, *map(repr, examined.world.events), repr(examined.diagnosis)]
    assert [text for text in told if any(secret in text for secret in ecr.secrets)] == []
    return examined


def store(ecr: EcrWorld, password: str, *, user: str = "AWS", host: str = "public.ecr.aws") -> None:
    """Write a log-in into Docker's file."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (ecr.home / ".docker").mkdir(exist_ok=True)
    (ecr.home / ".docker" / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))


def source(ecr: EcrWorld) -> str:
    return f"auths['public.ecr.aws'] in {ecr.home}/.docker/config.json"


# ECR Public


def test_all_is_well(ecr: EcrWorld) -> None:
    examined = at(ecr)
    assert examined.names == [*NAMES, "credentials", *AWS, "repository", "tag", "layers", "quotas"]
    assert examined.named("skipped") == ["dns", "tcp", "credentials"]
    assert examined.named("failed") == examined.named("warning") == []
    assert examined.exit_code == 0
    assert examined["credentials"].seen == "none are stored; AWS credentials are used"
    assert examined["aws-credentials"].seen == "from environment variables"
    assert examined["identity"].seen == f"{ARN} (account 123456789012)"
    assert examined["get-service-bearer-token"].seen == "sts:GetServiceBearerToken is allowed"
    assert examined["token"].seen.startswith("AWS gives one, until ")
    assert examined["token"].seen.endswith((" UTC, in 11 hours", " UTC, in 12 hours"))
    assert examined["alias"].seen == "acme is an alias of this account's public registry"
    assert examined["repository"].seen == (f"{WEB} takes uploads: one was opened and cancelled ({ENVIRONMENT})")
    assert examined["quotas"].seen == "1 is not there yet; an image may have 1,000 tags"


def test_nothing_is_written_and_nothing_asked_twice(ecr: EcrWorld) -> None:
    at(ecr)
    assert sorted(ecr.aws.operations) == [
        "DescribeImages",
        "DescribeRegistries",
        "GetAuthorizationToken",
        "GetCallerIdentity",
    ]
    assert {call.region for call in ecr.aws.calls} == {"us-east-1"}
    # The way; an upload and its end; the tag, and a layer.
    assert [request.method for request in ecr.public.requests] == ["GET", "POST", "DELETE", "GET", "HEAD"]
    assert (ecr.public.open_uploads, ecr.public.cancelled_uploads) == (0, 1)
    assert ecr.registry.manifest_puts == []


@pytest.mark.parametrize("kept", [True, False])
def test_the_token_of_an_earlier_run_is_not_trusted(ecr: EcrWorld, kept: bool) -> None:
    aws = AwsSettings(token_cache=kept)
    directory = ecr.home / ".cache" / "manifestctl" / "tokens"
    at(ecr, aws=aws)
    before = {path: path.read_bytes() for path in directory.glob("*")}
    at(ecr, aws=aws)
    assert ecr.aws.operations.count("GetAuthorizationToken") == 2
    after = {path: path.read_bytes() for path in directory.glob("*")}
    # It takes the place of the one before, for the next run.
    assert len(before) == len(after) == kept
    assert before.keys() == after.keys()
    assert before.values() != after.values() or not kept


def test_a_token_that_is_denied_leaves_the_one_that_is_kept(ecr: EcrWorld) -> None:
    at(ecr)
    (kept,) = (ecr.home / ".cache" / "manifestctl" / "tokens").glob("*")
    before = kept.read_bytes()
    ecr.aws.deny("ecr-public:GetAuthorizationToken")
    assert at(ecr).exit_code == 4
    assert kept.read_bytes() == before


def test_a_registry_alone(ecr: EcrWorld) -> None:
    examined = at(ecr, None)
    assert examined.names == [*NAMES, "credentials", *AWS[:-1], "login"]
    assert examined["login"].seen == f"public.ecr.aws lets us in ({ENVIRONMENT})"
    assert str(examined.diagnosis.request) == "public.ecr.aws"
    assert examined.exit_code == 0
    assert sorted(ecr.aws.operations) == ["GetAuthorizationToken", "GetCallerIdentity"]


@pytest.mark.parametrize(
    ("action", "explicit", "states"),
    [
        ("ecr-public:GetAuthorizationToken", False, ["failed", "skipped", "skipped"]),
        ("sts:GetServiceBearerToken", False, ["ok", "failed", "skipped"]),
        ("sts:GetServiceBearerToken", True, ["ok", "failed", "skipped"]),
    ],
)
def test_a_permission_for_a_token_that_is_missing(
    ecr: EcrWorld, action: str, explicit: bool, states: list[str]
) -> None:
    ecr.aws.deny(action, explicit=explicit)
    examined = at(ecr)
    names = AWS[2:5]
    assert [examined[name].state for name in names] == states
    denied = examined[names[states.index("failed")]]
    assert examined.named("failed") == [denied.name]
    assert denied.seen.startswith(f'AWS said AccessDeniedException "User: {ARN} is not authorized to perform: {action}')
    assert "needs both ecr-public:GetAuthorizationToken and sts:GetServiceBearerToken" in denied.next_step
    if explicit:
        assert denied.statement == ""
        assert "explicitly" in denied.next_step
    else:
        assert json.loads(denied.statement) == {"Effect": "Allow", "Action": action, "Resource": "*"}
        assert denied.next_step.endswith(denied.statement)
    assert examined["token"].seen == f"needs {action}"
    assert examined["repository"].seen == "needs a token"
    # What needs no token is looked at all the same.
    assert examined["alias"].state == examined["quotas"].state == "ok"
    assert examined.exit_code == 4


def test_no_credentials_at_all(ecr: EcrWorld) -> None:
    examined = at(ecr, environ=ecr.environment(source=None))
    assert examined.named("failed") == ["aws-credentials"]
    assert examined["aws-credentials"].seen.startswith("none were found: ")
    assert "AWS_PROFILE" in examined["aws-credentials"].next_step
    assert {examined[name].seen for name in [*AWS[1:], "quotas"]} == {"needs AWS credentials"}
    assert examined["repository"].seen == "needs a token"
    assert examined.exit_code == 4
    assert ecr.aws.calls == []


@pytest.mark.parametrize(
    ("code", "words", "step"),
    [
        ("unknown", "InvalidClientTokenId", "AWS does not know this access key"),
        ("secret", "SignatureDoesNotMatch", "does not belong to the access key"),
        ("expired", "ExpiredToken", "The session has ended"),
    ],
)
def test_keys_that_aws_refuses(ecr: EcrWorld, code: str, words: str, step: str) -> None:
    environ = ecr.environ
    if code == "unknown":
        environ["AWS_ACCESS_KEY_ID"] = "AKIAUNKNOWNUNKNOWN00"
    elif code == "secret":
        environ["AWS_SECRET_ACCESS_KEY"] = "not-that-one"
    else:
        environ = ecr.environment(access_key=ecr.aws.add_key(token="session-token-of-a-role", expired=True))
    examined = at(ecr, environ=environ)
    assert examined.named("failed") == ["identity"]
    assert examined["identity"].seen.startswith(f"AWS said {words}")
    assert step in examined["identity"].next_step
    assert {examined[name].seen for name in [*AWS[2:], "quotas"]} == {"needs AWS credentials that work"}
    assert examined.exit_code == 4


def test_a_clock_that_is_wrong(ecr: EcrWorld) -> None:
    ecr.aws.skew = 1800
    examined = at(ecr)
    assert examined.named("failed") == ["clock", "identity"]
    assert examined["clock"].seen == "this machine's clock is 30 minutes behind the registry's"
    assert "clock is 30 minutes behind AWS's" in examined["identity"].seen
    assert "NTP" in examined["clock"].next_step
    assert examined.exit_code == 4


def test_credentials_that_cannot_be_had(ecr: EcrWorld) -> None:
    config = ecr.home / "config"
    config.write_text("[profile broken]\ncredential_process = false\n")
    environ = ecr.environment(source=None) | {"AWS_CONFIG_FILE": str(config), "AWS_PROFILE": "broken"}
    examined = at(ecr, environ=environ)
    assert examined.named("failed") == ["aws-credentials"]
    assert "custom-process" in examined["aws-credentials"].seen
    assert "AWS credentials are configured, but" in examined["aws-credentials"].next_step
    assert {examined[name].seen for name in AWS[1:]} == {"needs AWS credentials"}
    assert examined.exit_code == 4


def test_a_profile_that_does_not_exist(ecr: EcrWorld) -> None:
    examined = at(ecr, environ=ecr.environment(source=None), aws=AwsSettings(profile="nobody"))
    assert examined.named("failed") == ["aws-credentials"]
    assert "nobody" in examined["aws-credentials"].seen
    assert "--profile" in examined["aws-credentials"].next_step
    assert examined.exit_code == 2


@pytest.mark.parametrize(
    ("seconds", "state", "words"), [(5.5 * 3600, "ok", "in 5 hours"), (1000, "ok", "in 16 minutes")]
)
def test_credentials_that_end(ecr: EcrWorld, seconds: float, state: str, words: str) -> None:
    ecr.aws.sources.lifetime = seconds
    check = at(ecr, environ=ecr.environment(source="container"))["aws-credentials"]
    assert check.state == state
    assert check.seen.startswith("from container role, until ")
    assert words in check.seen


def test_credentials_that_end_very_soon(ecr: EcrWorld) -> None:
    # boto3 would renew what ends within ten minutes.
    ecr.aws.sources.lifetime = 800
    check = at(ecr, environ=ecr.environment(source="container"))["aws-credentials"]
    assert check.state == "warning"
    assert "in 13 minutes" in check.seen
    assert check.next_step


def test_an_identity_that_aws_does_not_tell(ecr: EcrWorld) -> None:
    ecr.aws.deny("sts:GetCallerIdentity")
    examined = at(ecr)
    assert examined["identity"].state == "skipped"
    assert examined["identity"].seen.startswith("AWS does not say: AWS said AccessDenied")
    assert examined["repository"].state == examined["alias"].state == "ok"
    assert examined.exit_code == 0


@pytest.mark.parametrize(
    ("code", "state"), [("InvalidClientTokenId", "warning"), ("ServiceUnavailable", "warning"), ("Strange", "warning")]
)
def test_an_identity_that_no_push_needs(ecr: EcrWorld, code: str, state: str) -> None:
    ecr.aws.fail("GetCallerIdentity", code, "not today", status=503 if code == "ServiceUnavailable" else 403)
    examined = at(ecr)
    assert examined["identity"].state == state
    assert "not today" in examined["identity"].seen
    assert examined["token"].state == examined["repository"].state == "ok"
    assert examined.exit_code == 0


def test_aws_that_is_failing(ecr: EcrWorld) -> None:
    ecr.aws.fail("GetAuthorizationToken", "ServerException", "try later", status=500)
    examined = at(ecr)
    assert examined.named("failed") == ["token"]
    assert examined["token"].exit_code == examined.exit_code == 5
    assert {examined[name].seen for name in [*AWS[2:4], "alias", "quotas"]} == {"needs an answer of AWS"}
    assert examined["repository"].seen == "needs a token"
    # Tried twice, and no more.
    assert ecr.aws.operations.count("GetAuthorizationToken") == 2
    assert "DescribeRegistries" not in ecr.aws.operations


def test_a_quota_of_aws_is_not_tried_again(ecr: EcrWorld) -> None:
    quota = ecr.aws.quota("GetAuthorizationToken")
    examined = at(ecr)
    assert examined.named("failed") == ["token"]
    assert quota.hits == 1
    assert examined.exit_code == 4


def test_an_api_that_is_not_there(ecr: EcrWorld) -> None:
    ecr.aws.faults.add(reset(), times=FOREVER)
    examined = at(ecr, settings=TransportSettings(ca_file=ecr.ca_file, retries=1))
    assert examined["identity"].state == "warning"
    assert examined.named("failed") == ["token"]
    assert examined.exit_code == 5


# The alias, and the repository


def test_a_repository_that_does_not_exist(ecr: EcrWorld) -> None:
    examined = at(ecr, "public.ecr.aws/acme/nothing:1")
    assert examined.named("failed") == ["repository"]
    check = examined["repository"]
    assert check.seen.startswith("public.ecr.aws/acme/nothing does not exist: the registry said 404 NAME_UNKNOWN")
    assert check.next_step == (
        "Make it: 'manifestctl repo create public.ecr.aws/acme/nothing', or push with --create-repository."
    )
    assert examined["quotas"].seen == "needs the repository"
    assert examined.exit_code == 3
    assert examined.world.slept == []


def test_an_alias_that_is_not_ours(ecr: EcrWorld) -> None:
    ecr.aws.add_alias("second")
    examined = at(ecr, "public.ecr.aws/acmee/web:1")
    assert examined.named("failed") == ["alias", "repository"]
    assert examined["alias"].seen == ("acmee is not an alias of this account's public registry (yours: acme, second)")
    assert examined["repository"].next_step == "Correct the alias first."
    assert examined["quotas"].seen == "needs an alias that is ours"
    assert examined.exit_code == 4
    # The repository of that name that is ours is not the one that is meant.
    assert "DescribeImages" not in ecr.aws.operations


def test_an_account_without_an_alias(tmp_path: Path) -> None:
    with EcrWorld(tmp_path, alias=None) as ecr:
        alias = at(ecr)["alias"]
    assert alias.seen.endswith("(it has none until its first repository is made)")


def test_an_alias_that_is_not_active_yet(ecr: EcrWorld) -> None:
    ecr.aws.add_alias("pending", status="PENDING")
    alias = at(ecr, "public.ecr.aws/pending/web:1")["alias"]
    assert alias.state == "failed"
    assert "not active yet" in alias.seen


def test_the_alias_of_another_account_that_lets_us_in(ecr: EcrWorld) -> None:
    key = ecr.aws.add_key("arn:aws:iam::999999999999:user/guest")
    session = {"Location": "https://public.ecr.aws/v2/acme/web/blobs/uploads/1"}
    ecr.public.faults.add(status(202, headers=session), method="POST")
    examined = at(ecr, environ=ecr.environment(access_key=key))
    assert examined["repository"].state == "ok"
    assert examined.named("warning") == ["alias", "layers"]
    assert examined["alias"].seen.startswith("acme is not an alias of this account's public registry")
    assert examined.exit_code == 0


def test_the_alias_of_another_account_that_does_not(ecr: EcrWorld) -> None:
    key = ecr.aws.add_key("arn:aws:iam::999999999999:user/guest")
    examined = at(ecr, environ=ecr.environment(access_key=key))
    assert examined.named("failed") == ["alias", "repository"]
    assert "because no resource-based policy allows" in examined["repository"].seen
    assert examined["repository"].statement
    assert examined.exit_code == 4


def test_aliases_that_may_not_be_seen(ecr: EcrWorld) -> None:
    ecr.aws.deny("ecr-public:DescribeRegistries")
    examined = at(ecr)
    assert examined["alias"].state == "skipped"
    assert "ecr-public:DescribeRegistries" in examined["alias"].seen
    assert (examined["quotas"].state, examined["quotas"].seen) == ("skipped", "needs to know our aliases")
    assert examined["repository"].state == "ok"
    assert examined.exit_code == 0


def test_a_push_that_is_denied(ecr: EcrWorld) -> None:
    ecr.public.deny("InitiateLayerUpload")
    examined = at(ecr)
    assert examined.named("failed") == ["repository"]
    check = examined["repository"]
    assert "is not authorized to perform: ecr-public:InitiateLayerUpload" in check.seen
    assert json.loads(check.statement) == {
        "Effect": "Allow",
        "Action": "ecr-public:InitiateLayerUpload",
        "Resource": "arn:aws:ecr-public::123456789012:repository/web",
    }
    assert check.next_step.startswith("A push needs BatchCheckLayerAvailability, InitiateLayerUpload, ")
    assert check.next_step.endswith(check.statement)
    assert examined.exit_code == 4
    # A permission that is missing is no reason for another token.
    assert ecr.aws.operations.count("GetAuthorizationToken") == 1


def test_a_new_token_that_is_refused(ecr: EcrWorld) -> None:
    refusal = error(400, "DENIED", "Your Authorization Token is invalid.")
    ecr.public.faults.add(refusal, method="POST", times=FOREVER, before_auth=True)
    examined = at(ecr)
    assert examined.named("failed") == ["repository"]
    assert f" ({ENVIRONMENT})" in examined["repository"].seen
    assert examined.exit_code == 4
    assert ecr.aws.operations.count("GetAuthorizationToken") == 1


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("public.ecr.aws/web:1", "there is no alias"),
        ("public.ecr.aws/acme/web__x:1", "one separator"),
        ("public.ecr.aws/acme/public.ecr.aws/acme/web:1", "stands inside"),
    ],
)
def test_names_that_ecr_never_has(ecr: EcrWorld, target: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        at(ecr, target)
    assert ecr.aws.calls == []
    assert ecr.public.requests == []


# Quotas


@pytest.mark.parametrize(
    ("count", "state", "shown"), [(899, "ok", "899"), (900, "warning", "900"), (1000, "warning", "1,000")]
)
def test_tags_of_an_image(ecr: EcrWorld, count: int, state: str, shown: str) -> None:
    tags = [f"v{number}" for number in range(count)]
    ecr.aws.add_repository("web").images[DIGEST] = ImageRecord(DIGEST, tags)
    examined = at(ecr, f"{WEB}:v7")
    assert examined["quotas"].state == state
    assert examined["quotas"].seen == f"the image tagged v7 has {shown} of the 1,000 tags that it may have"
    assert bool(examined["quotas"].next_step) == (state == "warning")
    assert examined.exit_code == 0


@pytest.mark.parametrize(("target", "named"), [(WEB, "tagged latest"), (f"{WEB}@{DIGEST}", DIGEST)])
def test_tags_of_the_image_that_is_meant(ecr: EcrWorld, target: str, named: str) -> None:
    ecr.aws.add_repository("web").images[DIGEST] = ImageRecord(DIGEST, ["latest"])
    assert at(ecr, target)["quotas"].seen == f"the image {named} has 1 of the 1,000 tags that it may have"


def test_quotas_that_may_not_be_seen(ecr: EcrWorld) -> None:
    ecr.aws.deny("ecr-public:DescribeImages")
    examined = at(ecr)
    assert examined["quotas"].state == "skipped"
    assert examined["quotas"].seen.startswith("AWS does not tell: ")
    assert examined.exit_code == 0


# Stored log-ins


def test_a_stored_log_in(ecr: EcrWorld) -> None:
    store(ecr, ecr.aws.token().password)
    examined = at(ecr)
    assert (examined["credentials"].state, examined["credentials"].seen) == ("ok", f"{source(ecr)}, asked before AWS")
    assert examined["repository"].seen.endswith(f"({source(ecr)})")
    assert examined.exit_code == 0


@pytest.mark.parametrize("target", [f"{WEB}:1", None])
def test_a_stored_log_in_that_is_refused(ecr: EcrWorld, target: str | None) -> None:
    store(ecr, "yesterdays-password")
    examined = at(ecr, target)
    check = examined["credentials"]
    assert check.state == "warning"
    assert check.seen == f"{source(ecr)}: the registry refuses it; used instead: {ENVIRONMENT}"
    assert "manifestctl logout public.ecr.aws" in check.next_step
    assert not [text for text in examined.texts if "yesterdays-password" in text]
    assert examined["repository" if target else "login"].state == "ok"
    assert examined.exit_code == 0


def test_a_stored_log_in_that_is_refused_and_nothing_else(ecr: EcrWorld) -> None:
    store(ecr, "yesterdays-password")
    examined = at(ecr, environ=ecr.environment(source=None))
    assert examined.named("failed") == ["aws-credentials", "repository"]
    assert "Your Authorization Token is invalid." in examined["repository"].seen
    assert examined.exit_code == 4


def test_aws_is_no_hindrance_to_a_stored_log_in(ecr: EcrWorld) -> None:
    store(ecr, ecr.aws.token().password)
    examined = at(ecr, environ=ecr.environment(source=None))
    assert examined.named("failed") == []
    assert examined["aws-credentials"].state == "warning"
    assert examined["repository"].state == "ok"
    assert examined.exit_code == 0


def test_a_permission_is_no_hindrance_to_a_stored_log_in(ecr: EcrWorld) -> None:
    store(ecr, ecr.aws.token().password)
    ecr.aws.deny("sts:GetServiceBearerToken")
    examined = at(ecr)
    assert examined["get-service-bearer-token"].state == "warning"
    assert examined["get-service-bearer-token"].statement
    assert examined.exit_code == 0


def test_stored_log_ins_are_left_out(ecr: EcrWorld) -> None:
    store(ecr, "yesterdays-password")
    examined = at(ecr, aws=AwsSettings("always"))
    assert examined["credentials"].seen == "stored ones are not asked (--aws, --profile)"
    assert examined["repository"].seen.endswith(f"({ENVIRONMENT})")
    # The way and an upload; nothing was refused, and nothing is there yet.
    assert [request.status for request in ecr.public.requests] == [401, 202, 204, 404, 404]


@pytest.mark.parametrize("stored", [True, False])
def test_aws_is_left_out(ecr: EcrWorld, stored: bool) -> None:
    if stored:
        store(ecr, ecr.aws.token().password)
    examined = at(ecr, aws=AwsSettings("never"))
    assert {examined[name].seen for name in [*AWS, "quotas"]} == {"AWS is not asked (--no-aws)"}
    assert ecr.aws.calls == []
    assert examined["repository"].state == ("ok" if stored else "skipped")
    assert stored or examined["repository"].seen == "needs credentials"
    # Nobody pushes to ECR without credentials.
    assert examined.named("failed") == ([] if stored else ["credentials"])
    assert examined.exit_code == (0 if stored else 4)
    assert stored or examined["credentials"].next_step.startswith("Leave out --no-aws, or log in: ")


@pytest.mark.parametrize("target", [f"{WEB}:1", None])
def test_a_helper_that_fails_does_not_stand_in_the_way(ecr: EcrWorld, target: str | None) -> None:
    (ecr.home / ".docker").mkdir()
    (ecr.home / ".docker" / "config.json").write_text('{"credsStore": "not-there"}')
    examined = at(ecr, target)
    check = examined["credentials"]
    assert check.state == "warning"
    assert "docker-credential-not-there, named for public.ecr.aws by credsStore in " in check.seen
    assert check.seen.endswith("; AWS credentials are used instead")
    assert check.next_step
    assert examined.exit_code == 0


def test_another_file_after_a_helper_that_fails(ecr: EcrWorld) -> None:
    (ecr.home / ".docker").mkdir()
    (ecr.home / ".docker" / "config.json").write_text('{"credsStore": "not-there"}')
    auth = base64.b64encode(f"AWS:{ecr.aws.token().password}".encode()).decode()
    podman = ecr.home / "own" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text(json.dumps({"auths": {"public.ecr.aws": {"auth": auth}}}))
    examined = at(ecr, environ=ecr.environ | {"XDG_CONFIG_HOME": str(ecr.home / "own")})
    shown = f"auths['public.ecr.aws'] in {podman}"
    assert examined["credentials"].state == "warning"
    assert examined["credentials"].seen.endswith(f"; {shown} is used instead")
    assert examined["repository"].seen.endswith(f"({shown})")


def test_a_file_that_is_malformed(ecr: EcrWorld) -> None:
    (ecr.home / ".docker").mkdir()
    (ecr.home / ".docker" / "config.json").write_text("{")
    examined = at(ecr)
    assert examined.named("failed") == ["credentials"]
    assert "is not JSON" in examined["credentials"].seen
    assert examined["repository"].seen == "needs credentials that can be read"
    # As a push would end: a credential file that cannot be used.
    assert examined.exit_code == 2


# ECR


def test_a_private_registry(ecr: EcrWorld) -> None:
    ecr.aws.add_private_repository("web")
    target = f"{ecr.private_host}/web:1"
    examined = at(ecr, target)
    assert examined.names == [*NAMES, "credentials", *PRIVATE, "repository", "tag", "layers", "quotas"]
    assert examined["get-authorization-token"].seen == "ecr:GetAuthorizationToken is allowed"
    assert examined.named("failed") == examined.named("warning") == []
    assert {call.region for call in ecr.aws.calls} == {"eu-west-1"}
    assert ecr.private.cancelled_uploads == 1
    assert examined.exit_code == 0


def test_a_private_registry_that_lacks_all(ecr: EcrWorld) -> None:
    ecr.aws.deny("ecr:GetAuthorizationToken")
    examined = at(ecr, f"{ecr.private_host}/web:1")
    assert examined.named("failed") == ["get-authorization-token"]
    assert examined["token"].seen == "needs ecr:GetAuthorizationToken"
    assert "both" not in examined["get-authorization-token"].next_step


def test_a_private_repository_that_does_not_exist(ecr: EcrWorld) -> None:
    examined = at(ecr, f"{ecr.private_host}/nothing:1")
    assert examined.named("failed") == ["repository"]
    assert f"manifestctl repo create {ecr.private_host}/nothing" in examined["repository"].next_step
    assert examined.exit_code == 3


def test_the_private_registry_of_another_account(ecr: EcrWorld) -> None:
    key = ecr.aws.add_key("arn:aws:iam::999999999999:user/guest")
    examined = at(ecr, f"{ecr.private_host}/web:1", environ=ecr.environment(access_key=key))
    assert examined["identity"].seen == (
        "arn:aws:iam::999999999999:user/guest (account 999999999999); the registry is account 123456789012's, whose "
        "repository policy must let this one in"
    )


# Other registries


def authfile(tmp_path: Path, host: str, user: str, password: str) -> TransportSettings:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {host: {"username": user, "password": password}}}))
    return TransportSettings(authfile=path, retries=2)


@pytest.mark.parametrize("auth", [BasicAuth, lambda: BearerAuth(users={"user": "open-sesame"})])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize("alone", [True, False])
def test_a_registry_with_a_password(tmp_path: Path, auth: type[BasicAuth], right: bool, alone: bool) -> None:
    with FakeRegistry(auth=auth()) as registry:
        password = getattr(registry.auth, "password", "open-sesame") if right else "wrong-pw"
        settings = authfile(tmp_path, registry.host, "user", password)
        if alone:
            examined = examine(registry=registry.host, settings=settings)
        else:
            examined = examine(registry.reference("web", "1"), settings=settings)
        host = registry.host
    last = examined["login" if alone else "repository"]
    assert examined["credentials"].seen == f"auths['{host}'] in {tmp_path}/auth.json"
    assert examined.names[len(NAMES) :] == ["credentials", last.name, *([] if alone else ["tag", "layers"])]
    assert last.state == ("ok" if right else "failed")
    assert examined.exit_code == (0 if right else 4)
    assert f"auths['{host}'] in {tmp_path}/auth.json" in last.seen
    assert not [text for text in examined.texts if password in text]


def test_a_registry_with_a_password_that_nobody_knows() -> None:
    with FakeRegistry(auth=BasicAuth()) as registry:
        examined = examine(registry.reference("web", "1"))
        host = registry.host
    assert examined.named("failed") == ["repository"]
    assert examined["credentials"].state == "warning"
    assert examined["credentials"].next_step == f"Log in: 'manifestctl login {host}'."
    assert examined.exit_code == 4


def test_a_helper_that_is_not_installed(tmp_path: Path) -> None:
    with FakeRegistry(auth=BasicAuth()) as registry:
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"credHelpers": {registry.host: "not-there"}}))
        examined = examine(registry.reference("web", "1"), settings=TransportSettings(authfile=path))
    assert examined.named("failed") == ["credentials"]
    assert examined["repository"].seen == "needs credentials that can be read"
    assert examined.exit_code == 4


def test_a_helper_that_is_not_installed_stops_nothing_where_nobody_is_asked(
    registry: FakeRegistry, tmp_path: Path
) -> None:
    path = tmp_path / "auth.json"
    path.write_text('{"credsStore": "not-there"}')
    examined = examine(registry.reference("web", "1"), settings=TransportSettings(authfile=path))
    assert examined["credentials"].state == "warning"
    assert examined["credentials"].seen.endswith(" is not installed where PATH finds it; the registry asks for none")
    assert examined["credentials"].next_step.startswith("Install it, or take it out of that file")
    assert examined["repository"].state == "ok"
    assert examined.exit_code == 0


def test_a_helper_that_is_not_installed_gives_way_to_the_next_file(tmp_path: Path) -> None:
    docker, podman = (tmp_path / ".docker" / "config.json", tmp_path / ".config" / "containers" / "auth.json")
    with FakeRegistry(auth=BasicAuth(password="open-sesame")) as registry:
        for path, held in (
            (docker, {"credsStore": "not-there"}),
            (podman, {"auths": {registry.host: {"username": "user", "password": "open-sesame"}}}),
        ):
            path.parent.mkdir(parents=True)
            path.write_text(json.dumps(held))
        examined = examine(registry.reference("web", "1"), environ={"HOME": str(tmp_path)})
        host = registry.host
    assert examined["credentials"].state == "warning"
    assert examined["credentials"].seen.endswith(f"; auths['{host}'] in {podman} is used instead")
    assert examined["repository"].state == "ok"
    assert examined.exit_code == 0


def test_a_registry_that_asks_nobody(registry: FakeRegistry) -> None:
    examined = examine(registry=registry.host)
    assert examined["credentials"].seen == "none were found, and the registry asks for none"
    assert examined["login"].state == "warning"
    assert examined.exit_code == 0


def test_a_registry_that_makes_no_repositories() -> None:
    with FakeRegistry(create_on_push=False) as registry:
        examined = examine(registry.reference("web", "1"))
    check = examined["repository"]
    assert check.exit_code == examined.exit_code == 3
    assert "does not exist: the registry said 404 NAME_UNKNOWN" in check.seen
    assert "manifestctl repo create" not in check.next_step


def test_a_registry_that_is_read_only(registry: FakeRegistry) -> None:
    registry.faults.add(error(405, "UNSUPPORTED", "The operation is unsupported."), method="POST", times=FOREVER)
    examined = examine(registry.reference("web", "1"))
    assert examined.named("failed") == ["repository"]
    assert "read-only" in examined["repository"].next_step
    assert examined.exit_code in (4, 5)


def test_a_push_that_is_denied_elsewhere(registry: FakeRegistry) -> None:
    registry.faults.add(error(403, "DENIED", "pushing is not for you"), method="POST", times=FOREVER)
    examined = examine(registry.reference("web", "1"))
    assert 'said 403 DENIED "pushing is not for you"' in examined["repository"].seen
    assert (examined["repository"].statement, examined.exit_code) == ("", 4)


@pytest.mark.parametrize("answer", [status(405), status(404), reset()])
def test_an_upload_that_cannot_be_cancelled(registry: FakeRegistry, answer: object) -> None:
    registry.faults.add(answer, method="DELETE", times=FOREVER)  # type: ignore[arg-type]
    examined = examine(registry.reference("web", "1"))
    assert "will expire: it cannot be cancelled there" in examined["repository"].seen
    assert examined.exit_code == 0


def test_an_upload_that_is_nowhere(registry: FakeRegistry) -> None:
    registry.faults.add(header("Location", None), method="POST")
    examined = examine(registry.reference("web", "1"))
    assert "cannot be cancelled" in examined["repository"].seen
    assert registry.count("DELETE") == 0


def test_a_connection_that_breaks_at_the_upload(registry: FakeRegistry) -> None:
    registry.faults.add(reset(), method="POST", times=FOREVER)
    examined = examine(registry.reference("web", "1"))
    assert examined.named("failed") == ["repository"]
    assert examined["repository"].exit_code == 5
    assert registry.count("POST") == 2


@pytest.mark.parametrize("right", [True, False])
def test_a_real_registry_keeps_nothing(tmp_path: Path, right: bool) -> None:
    require_real("docker-registry")
    with RealRegistry(tmp_path / "registry", basic=True) as registry:
        settings = authfile(tmp_path, registry.host, USER, PASSWORD if right else "wrong")
        examined = examine(registry.reference("team/web", "1"), settings=settings)
        # This one leaves what it had of the hash; the upload itself is gone with its data and its beginning.
        left = [path for path in (tmp_path / "registry").rglob("_uploads/*/*") if path.name != "hashstates"]
    assert examined["registry"].seen.endswith("asks for a user and a password")
    assert examined["clock"].state == "ok"
    assert examined["repository"].state == ("ok" if right else "failed")
    assert examined.exit_code == (0 if right else 4)
    assert left == []


# The rest


@pytest.mark.parametrize("target", ["docker-archive:image.tar", "docker-daemon:web:1", "oci-archive:image.tar:1"])
def test_nothing_is_pushed_into_an_archive_or_an_engine(target: str) -> None:
    with pytest.raises(InputError, match="as the target"):
        examine(target)


def test_an_interruption_ends_it(registry: FakeRegistry) -> None:
    world = World()
    world.cancel.set(2)
    with pytest.raises(InterruptedRun):
        examine(registry.reference("web", "1"), world=world)
    assert registry.requests == []


def test_an_interruption_is_no_finding() -> None:
    with pytest.raises(InterruptedRun):
        failed("registry", InterruptedRun(15))
    with pytest.raises(InterruptedRun):
        words(InterruptedRun(15))


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        ("Log in. 'manifestctl doctor' shows what is found.", "Log in."),
        ("The identity lacks a permission; 'manifestctl doctor' shows who it is.", "The identity lacks a permission."),
        ("Run 'manifestctl login'.", "Run 'manifestctl login'."),
        ("", ""),
    ],
)
def test_advice_that_was_taken_is_not_given(hint: str, expected: str) -> None:
    assert advice(DeniedError("no", hint=hint)) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (10 * 86400.0, "in 10 days"),
        (3 * 3600.0 + 5, "in 3 hours"),
        (90 * 60.0, "in 90 minutes"),
        (30.0, "in a moment"),
        (-30.0, "just now"),
        (-7200.0, "2 hours ago"),
    ],
)
def test_moments(seconds: float, expected: str) -> None:
    assert moment(1_700_000_000 + seconds, 1_700_000_000).endswith(f" UTC, {expected}")
