"""What the wire log shows of AWS's APIs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.aws.calls import Endpoint
from manifestctl.errors import ManifestctlError
from manifestctl.events import Exchanged
from tests.support.actions import reset
from tests.support.faults import FOREVER

if TYPE_CHECKING:
    from tests.support.aws_run import AwsRun

PUBLIC = Endpoint("ecr-public", "us-east-1")
OPERATION, DOING = "get_authorization_token", "getting a token"


def called(run: AwsRun, profile: str = "") -> list[tuple[int, str]]:
    """Return status and detail of each call that the log shows when a token is asked for."""
    try:
        run.make(tries=2, profile=profile).call(PUBLIC, OPERATION, doing=DOING)
    except ManifestctlError as error:
        run.check_quiet(error)
    run.check_quiet()
    return [(event.status, event.detail) for event in run.world.heard(Exchanged)]


def test_a_call(run: AwsRun) -> None:
    assert called(run) == [(200, "GetAuthorizationToken")]
    [event] = run.world.heard(Exchanged)
    assert (event.method, event.seconds) == ("POST", 0.0)
    # Neither a path nor a query; keys in the URL of an endpoint are nobody's to see.
    assert event.url == run.aws.environ()["AWS_ENDPOINT_URL_ECR_PUBLIC"].rstrip("/")


def test_who_is_named_in_the_url_of_an_endpoint_is_not_shown(run: AwsRun) -> None:
    scheme, _, rest = run.aws.environ()["AWS_ENDPOINT_URL_ECR_PUBLIC"].partition("://")
    run.set(AWS_ENDPOINT_URL_ECR_PUBLIC=f"{scheme}://me:word@{rest}")
    called(run)
    assert {event.url for event in run.world.heard(Exchanged)} == {f"{scheme}://{rest.rstrip('/')}"}


def test_calls_that_get_credentials_are_shown_too(run: AwsRun) -> None:
    role = "[profile release]\nrole_arn = arn:aws:iam::123456789012:role/release\nsource_profile = keys\n"
    run.profiles(role, "[keys]\nKEYS\n")
    assert called(run, "release") == [(200, "AssumeRole"), (200, "GetAuthorizationToken")]


def test_a_refusal(run: AwsRun) -> None:
    run.aws.deny("ecr-public:GetAuthorizationToken")
    assert called(run) == [(400, "GetAuthorizationToken: AccessDeniedException")]


def test_what_is_tried_again_is_shown_each_time(run: AwsRun) -> None:
    run.aws.throttle("GetAuthorizationToken", times=1)
    assert [status for status, _ in called(run)] == [400, 200]


def test_what_is_not_answered(run: AwsRun) -> None:
    run.aws.faults.add(reset(), times=FOREVER)
    assert called(run) == [(0, "GetAuthorizationToken: ConnectionClosedError")] * 2
