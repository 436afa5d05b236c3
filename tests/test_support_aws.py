"""The fake AWS is one to botocore: signatures, refusals, operations, credentials, tokens."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import boto3
import botocore.loaders
import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, ConnectionClosedError

from tests.support import actions
from tests.support.aws import FakeAws, calls_of
from tests.support.aws_state import ImageRecord
from tests.support.pushing import Answer, Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        yield fake


@pytest.fixture(scope="session")
def loader() -> Any:
    """Return what reads botocore's models, so that they are read once."""
    return botocore.loaders.create_loader()


@pytest.fixture
def client(aws: FakeAws, loader: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Return a maker of boto3's clients in an environment that leads to the fake, and nowhere else."""
    made: list[Any] = []

    def make(
        service: str = "ecr-public",
        region: str | None = None,
        environ: dict[str, str] | None = None,
        *,
        profile: str | None = None,
        checks: bool = True,
    ) -> Any:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
            monkeypatch.delenv(name, raising=False)
        for name, value in (aws.environ() if environ is None else environ).items():
            monkeypatch.setenv(name, value)
        once = Config(retries={"total_max_attempts": 1}, parameter_validation=checks)
        where = region or ("eu-west-1" if service == "ecr" else "us-east-1")
        core = botocore.session.Session(profile=profile)
        core.register_component("data_loader", loader)
        made.append(boto3.Session(botocore_session=core).client(service, region_name=where, config=once))
        return made[-1]

    yield make
    for held in made:
        held.close()


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    """Return code and message of the botocore error that a call ends with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


PROBES = {"ecr-public": "describe_registries", "ecr": "describe_repositories", "sts": "get_caller_identity"}
IN_STS = {
    "UnrecognizedClientException": "InvalidClientTokenId",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "ExpiredTokenException": "ExpiredToken",
}


class TestWhoCalls:
    @pytest.mark.parametrize("service", PROBES)
    def test_the_right_key(self, aws: FakeAws, client: Callable[..., Any], service: str) -> None:
        getattr(client(service), PROBES[service])()
        temporary = aws.add_key(token="a session")
        getattr(client(service, environ=aws.environ(access_key=temporary)), PROBES[service])()
        assert [call.access_key for call in aws.calls] == [aws.key.id, temporary.id]

    @pytest.mark.parametrize("service", PROBES)
    @pytest.mark.parametrize(
        ("change", "code", "message"),
        [
            (
                {"AWS_ACCESS_KEY_ID": "AKIANOBODYNOBODYNOBO"},
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            (
                {"AWS_SESSION_TOKEN": "of another key"},
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            (
                {"AWS_SECRET_ACCESS_KEY": "not-the-secret"},
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided.",
            ),
        ],
    )
    def test_the_wrong_key(
        self, aws: FakeAws, client: Callable[..., Any], service: str, change: dict[str, str], code: str, message: str
    ) -> None:
        found = refusal(getattr(client(service, environ=aws.environ() | change), PROBES[service]))
        assert found[0] == (IN_STS[code] if service == "sts" else code)
        assert found[1].startswith(message)
        assert [call.error for call in aws.calls] == [code]

    @pytest.mark.parametrize("service", PROBES)
    def test_a_session_that_has_ended(self, aws: FakeAws, client: Callable[..., Any], service: str) -> None:
        environ = aws.environ(access_key=aws.add_key(token="a session", expired=True))
        code, message = refusal(getattr(client(service, environ=environ), PROBES[service]))
        assert code == ("ExpiredToken" if service == "sts" else "ExpiredTokenException")
        assert message == "The security token included in the request is expired"

    @pytest.mark.parametrize("service", PROBES)
    @pytest.mark.parametrize(
        ("skew", "message"),
        [
            (
                16 * 60,
                r"Signature expired: (\d{8}T\d{6}Z) is now earlier than (\d{8}T\d{6}Z) \((\d{8}T\d{6}Z) - 15 min\.\)",
            ),
            (-6 * 60, r"Signature not yet current: (\S+) is still later than (\S+) \((\S+) \+ 5 min\.\)"),
        ],
    )
    def test_a_wrong_clock(
        self, aws: FakeAws, client: Callable[..., Any], service: str, skew: float, message: str
    ) -> None:
        made = client(service)
        aws.skew = skew
        with pytest.raises(ClientError) as caught:
            getattr(made, PROBES[service])()
        response = caught.value.response
        assert response["Error"]["Code"] == (
            "SignatureDoesNotMatch" if service == "sts" else "InvalidSignatureException"
        )
        assert re.fullmatch(message, response["Error"]["Message"])
        date = parsedate_to_datetime(response["ResponseMetadata"]["HTTPHeaders"]["date"])
        off = date - datetime.now(UTC)
        assert abs(off - timedelta(seconds=skew)) < timedelta(seconds=60)

    @pytest.mark.parametrize("skew", [14 * 60, -4 * 60])
    def test_a_clock_that_is_right_enough(self, aws: FakeAws, client: Callable[..., Any], skew: float) -> None:
        aws.skew = skew
        assert client().describe_registries()["registries"]

    def test_what_was_signed_is_what_counts(self, aws: FakeAws) -> None:
        target = {"X_Amz_Target": "SpencerFrontendService.CreateRepository"}
        with Client(aws.url) as raw:
            unsigned = raw.request("POST", "/", b"{}", **target)
            assert error_of(unsigned) == "MissingAuthenticationTokenException"
            for body, expected in (
                (b'{"repositoryName":"web"}', ""),
                (b'{"repositoryName":"wab"}', "InvalidSignature"),
            ):
                answer = signed(aws, raw, "ecr-public", body, sent=body if not expected else b'{"repositoryName":"x"}')
                assert error_of(answer).startswith(expected), answer.body
        assert list(aws.registry.repositories) == ["web"]

    def test_a_service_answers_its_own_operations_alone(self, aws: FakeAws) -> None:
        with Client(aws.url) as raw:
            assert error_of(signed(aws, raw, "ecr", b'{"repositoryName":"web"}')) == "UnknownOperationException"


def signed(
    aws: FakeAws, raw: Client, service: str, body: bytes, sent: bytes | None = None, operation: str = "CreateRepository"
) -> Answer:
    """Send an operation of ECR Public, signed for a service and a body that may be others than those sent."""
    request = AWSRequest("POST", aws.url + "/", {"X-Amz-Target": f"SpencerFrontendService.{operation}"}, body)
    credentials = Credentials(aws.key.id, aws.key.secret)
    SigV4Auth(credentials, service, "us-east-1").add_auth(request)
    named = {name.replace("-", "_"): value for name, value in request.headers.items()}
    return raw.request("POST", "/", body if sent is None else sent, **named)


def error_of(answer: Answer) -> str:
    return str(json.loads(answer.body).get("__type", ""))


def no_policy(action: str, resource: str = "*") -> str:
    return (
        f"User: arn:aws:iam::123456789012:user/ci is not authorized to perform: {action} on resource: {resource}"
        f" because no identity-based policy allows the {action} action"
    )


PUBLIC_WEB = "arn:aws:ecr-public::123456789012:repository/web"
PRIVATE_WEB = "arn:aws:ecr:eu-west-1:123456789012:repository/web"


class TestPermissions:
    @pytest.mark.parametrize(
        ("service", "action", "call", "parameters", "resource"),
        [
            ("ecr-public", "ecr-public:GetAuthorizationToken", "get_authorization_token", {}, "*"),
            ("ecr-public", "sts:GetServiceBearerToken", "get_authorization_token", {}, "*"),
            ("ecr-public", "ecr-public:DescribeRegistries", "describe_registries", {}, "*"),
            ("ecr-public", "ecr-public:CreateRepository", "create_repository", {"repositoryName": "web"}, PUBLIC_WEB),
            (
                "ecr-public",
                "ecr-public:TagResource",
                "create_repository",
                {"repositoryName": "web", "tags": [{"Key": "a", "Value": "b"}]},
                PUBLIC_WEB,
            ),
            (
                "ecr-public",
                "ecr-public:ListTagsForResource",
                "list_tags_for_resource",
                {"resourceArn": PUBLIC_WEB},
                PUBLIC_WEB,
            ),
            (
                "ecr-public",
                "ecr-public:DescribeRepositories",
                "describe_repositories",
                {},
                PUBLIC_WEB.replace("/web", "/*"),
            ),
            ("ecr", "ecr:GetAuthorizationToken", "get_authorization_token", {}, "*"),
            ("ecr", "ecr:DescribeRepositories", "describe_repositories", {"repositoryNames": ["web"]}, PRIVATE_WEB),
            ("ecr", "ecr:ListTagsForResource", "list_tags_for_resource", {"resourceArn": PRIVATE_WEB}, PRIVATE_WEB),
        ],
    )
    def test_a_denied_action(
        self,
        aws: FakeAws,
        client: Callable[..., Any],
        service: str,
        action: str,
        call: str,
        parameters: dict[str, Any],
        resource: str,
    ) -> None:
        denial = aws.deny(action)
        assert refusal(getattr(client(service), call), **parameters) == (
            "AccessDeniedException",
            no_policy(action, resource),
        )
        assert denial.hits == 1
        assert aws.registry.repositories == {}

    @pytest.mark.parametrize(
        ("form", "explicit", "reason"),
        [
            ("identity", True, " with an explicit deny in an identity-based policy"),
            ("boundary", False, " because no permissions boundary allows the ecr-public:DescribeRegistries action"),
            ("boundary", True, " with an explicit deny in a permissions boundary"),
            ("scp", True, " with an explicit deny in a service control policy"),
            ("session", False, " because no session policy allows the ecr-public:DescribeRegistries action"),
            ("resource", True, " with an explicit deny in a resource-based policy"),
            ("bare", False, ""),
            ("bare", True, " with an explicit deny"),
        ],
    )
    def test_the_reason(self, aws: FakeAws, client: Callable[..., Any], form: Any, explicit: bool, reason: str) -> None:
        aws.deny("ecr-public:*", form=form, explicit=explicit)
        base = "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: ecr-public:DescribeRegistries"
        code, message = refusal(client().describe_registries)
        assert (code, message) == ("AccessDeniedException", f"{base} on resource: *{reason}")

    def test_a_denial_is_about_its_resource_and_principal_until_it_is_taken_back(
        self, aws: FakeAws, client: Callable[..., Any]
    ) -> None:
        made = client()
        aws.deny("ecr-public:CreateRepository", resource="*/secret-*")
        aws.deny("ecr-public:CreateRepository", principal="*/someone-else")
        made.create_repository(repositoryName="web")
        assert refusal(made.create_repository, repositoryName="secret-web")[0] == "AccessDeniedException"
        aws.allow("ecr-public:CreateRepository")
        made.create_repository(repositoryName="secret-web")

    def test_sts_denies_in_its_own_words(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        aws.deny("sts:GetCallerIdentity", explicit=True)
        code, message = refusal(client("sts").get_caller_identity)
        assert code == "AccessDenied"
        assert message.endswith(
            "sts:GetCallerIdentity on resource: * with an explicit deny in an identity-based policy"
        )


class TestWhatGoesWrong:
    def test_a_quota_is_for_ever(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        quota, made = aws.quota("CreateRepository"), client()
        for _ in range(2):
            code, message = refusal(made.create_repository, repositoryName="web")
            assert (code, "exceeded a service limit" in message) == ("LimitExceededException", True)
        assert (quota.hits, aws.registry.repositories) == (2, {})

    def test_throttling_ends(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        throttled, made = aws.throttle("DescribeRegistries", 2), client()
        for _ in range(2):
            assert refusal(made.describe_registries) == ("ThrottlingException", "Rate exceeded")
        made.describe_registries()
        assert throttled.hits == 2
        assert [call.error for call in aws.calls] == ["ThrottlingException", "ThrottlingException", ""]

    def test_any_error_for_any_operation(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        aws.fail("Get.*", "ServerException", "broken", status=500, times=1)
        assert refusal(client("sts").get_caller_identity) == ("ServerException", "broken")
        assert client("sts").get_caller_identity()["Account"] == "123456789012"

    def test_the_wire_may_be_cut_for_one_operation(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        aws.faults.add(actions.close(), when=calls_of("DescribeRepositories"))
        made = client()
        made.describe_registries()
        with pytest.raises(ConnectionClosedError):
            made.describe_repositories()
        made.describe_repositories()
        assert aws.operations == ["DescribeRegistries", "DescribeRepositories"]

    def test_ecr_public_is_in_one_region(self, client: Callable[..., Any]) -> None:
        made = client(region="eu-west-1")
        assert refusal(made.describe_registries) == (
            "UnsupportedCommandException",
            "The action isn't supported in this Region.",
        )

    def test_what_no_service_has_is_unknown(self, aws: FakeAws) -> None:
        with Client(aws.url) as raw:
            answer = signed(aws, raw, "ecr-public", b"{}", operation="Frobnicate")
            assert (answer.status, error_of(answer)) == (400, "UnknownOperationException")
            answer = signed(aws, raw, "ecr-public", b'{"repositoryName":"web","catalogData":{"logoImageBlob":"?"}}')
            assert error_of(answer) == "SerializationException"

    @pytest.mark.parametrize(
        ("service", "call"), [("ecr-public", "get_registry_catalog_data"), ("ecr", "describe_registry")]
    )
    def test_what_is_not_faked_is_unknown(self, client: Callable[..., Any], service: str, call: str) -> None:
        assert refusal(getattr(client(service), call))[0] == "UnknownOperationException"


class TestEcrPublic:
    def test_repositories(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        made = client()
        created = made.create_repository(repositoryName="web", tags=[{"Key": "team", "Value": "a"}])
        repository = created["repository"]
        assert "catalogData" not in created
        assert repository.pop("createdAt") - datetime.now(UTC) < timedelta(minutes=1)
        assert repository == {
            "repositoryArn": PUBLIC_WEB,
            "registryId": "123456789012",
            "repositoryName": "web",
            "repositoryUri": "public.ecr.aws/acme/web",
        }
        made.tag_resource(resourceArn=PUBLIC_WEB, tags=[{"Key": "tier", "Value": "b"}])
        tags = made.list_tags_for_resource(resourceArn=PUBLIC_WEB)["tags"]
        assert tags == [{"Key": "team", "Value": "a"}, {"Key": "tier", "Value": "b"}]
        with pytest.raises(made.exceptions.RepositoryAlreadyExistsException, match="'web' already exists in the reg"):
            made.create_repository(repositoryName="web")
        with pytest.raises(made.exceptions.RepositoryNotFoundException) as caught:
            made.describe_repositories(repositoryNames=["web", "other"])
        assert caught.value.response["Error"]["Message"] == (
            "The repository with name 'other' does not exist in the registry with id '123456789012'"
        )
        aws.registry.repositories["web"].images["sha256:1"] = ImageRecord("sha256:1")
        with pytest.raises(made.exceptions.RepositoryNotEmptyException):
            made.delete_repository(repositoryName="web")
        made.delete_repository(repositoryName="web", force=True)
        assert made.describe_repositories()["repositories"] == []

    def test_pages(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        for number in range(5):
            aws.add_repository(f"r{number}")
        made = client()
        pages = list(made.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 2}))
        names = [[held["repositoryName"] for held in page["repositories"]] for page in pages]
        assert names == [["r0", "r1"], ["r2", "r3"], ["r4"]]
        for parameters in ({"nextToken": "!"}, {"repositoryNames": ["r0"], "maxResults": 2}):
            assert refusal(made.describe_repositories, **parameters)[0] == "InvalidParameterException"

    @pytest.mark.parametrize(
        ("call", "parameters", "code", "message"),
        [
            ("create_repository", {"repositoryName": "we__b"}, "InvalidParameterException", "'must satisfy regular"),
            (
                "create_repository",
                {"repositoryName": "a" * 206},
                "InvalidParameterException",
                "less than or equal to 205",
            ),
            ("create_repository", {"repositoryName": "a"}, "InvalidParameterException", "valid min length: 2"),
            ("create_repository", {}, "InvalidParameterException", "Missing required parameter"),
            ("create_repository", {"repositoryName": 7}, "InvalidParameterException", "Invalid type"),
            (
                "create_repository",
                {"repositoryName": "web", "catalogData": {"description": "d" * 1025}},
                "InvalidParameterException",
                "'catalogData.description' failed to satisfy constraint: 'Member must have length less than or equal to 1024'",
            ),
            (
                "create_repository",
                {"repositoryName": "web", "catalogData": {"operatingSystems": ["x" * 51]}},
                "InvalidParameterException",
                "'catalogData.operatingSystems.1.member'",
            ),
            (
                "create_repository",
                {"repositoryName": "web", "catalogData": {"logoImageBlob": b"x" * 512_001}},
                "InvalidParameterException",
                "less than or equal to 512000",
            ),
            (
                "create_repository",
                {"repositoryName": "web", "tags": [{"Key": f"k{number}"} for number in range(51)]},
                "TooManyTagsException",
                "maximum number of tags is 50",
            ),
            (
                "create_repository",
                {"repositoryName": "web", "tags": [{"Key": "aws:mine"}]},
                "InvalidTagParameterException",
                "aws:mine",
            ),
            (
                "describe_repositories",
                {"maxResults": 1001},
                "InvalidParameterException",
                "value less than or equal to 1000",
            ),
            ("describe_repositories", {"registryId": "acme"}, "InvalidParameterException", "'registryId'"),
            ("list_tags_for_resource", {"resourceArn": "arn:other"}, "InvalidParameterException", "Invalid ARN"),
        ],
    )
    def test_what_is_refused(
        self,
        aws: FakeAws,
        client: Callable[..., Any],
        call: str,
        parameters: dict[str, Any],
        code: str,
        message: str,
    ) -> None:
        found = refusal(getattr(client(checks=False), call), **parameters)
        assert (found[0], message in found[1]) == (code, True), found
        assert aws.registry.repositories == {}

    def test_catalog_data_are_replaced_as_a_whole(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        made = client()
        aws.add_repository("bare")
        with pytest.raises(made.exceptions.RepositoryCatalogDataNotFoundException):
            made.get_repository_catalog_data(repositoryName="bare")
        given = {"description": "d", "aboutText": "a", "architectures": ["ARM 64"], "logoImageBlob": b"\x89PNG"}
        created = made.create_repository(repositoryName="web", catalogData=given)["catalogData"]
        assert created["logoUrl"].startswith("https://")
        assert "logoImageBlob" not in created
        assert aws.registry.repositories["web"].logo == b"\x89PNG"
        assert made.get_repository_catalog_data(repositoryName="web")["catalogData"] == created
        made.put_repository_catalog_data(repositoryName="web", catalogData={"usageText": "u"})
        assert made.get_repository_catalog_data(repositoryName="web")["catalogData"] == {
            "usageText": "u",
            "architectures": [],
            "operatingSystems": [],
            "marketplaceCertified": False,
        }
        assert aws.registry.repositories["web"].logo is None

    def test_images(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        repository, made = aws.add_repository("web"), client()
        for number, tags in enumerate((["1", "latest"], [])):
            digest = f"sha256:{number:064}"
            repository.images[digest] = ImageRecord(digest, tags, size=number + 7)
        details = made.describe_images(repositoryName="web")["imageDetails"]
        assert [(held["imageSizeInBytes"], held.get("imageTags")) for held in details] == [
            (7, ["1", "latest"]),
            (8, None),
        ]
        one = made.describe_images(repositoryName="web", imageIds=[{"imageTag": "latest"}])["imageDetails"]
        assert [held["imageDigest"] for held in one] == [f"sha256:{0:064}"]
        tags = made.describe_image_tags(repositoryName="web")["imageTagDetails"]
        assert [held["imageTag"] for held in tags] == ["1", "latest"]
        with pytest.raises(
            made.exceptions.ImageNotFoundException, match=r"imageId \{imageDigest:'null', imageTag:'2'\}"
        ):
            made.describe_images(repositoryName="web", imageIds=[{"imageTag": "2"}])

    def test_aliases(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        aws.add_alias("acme-2", status="PENDING")
        registry = client().describe_registries()["registries"][0]
        assert (registry["registryUri"], registry["verified"]) == ("public.ecr.aws/acme", False)
        assert [(held["name"], held["status"], held["primaryRegistryAlias"]) for held in registry["aliases"]] == [
            ("acme", "ACTIVE", True),
            ("acme-2", "PENDING", False),
        ]
        assert aws.public.owner("acme") is aws.registry
        assert aws.public.owner("acme-2") is None

    def test_the_first_repository_brings_an_alias(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        aws.registry.aliases.clear()
        made = client()
        assert made.describe_registries()["registries"][0]["aliases"] == []
        uri = made.create_repository(repositoryName="web")["repository"]["repositoryUri"]
        assert uri == f"public.ecr.aws/{aws.alias}/web"


class TestEcr:
    def test_repositories_by_region(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        made = client("ecr")
        filters = [{"filterType": "WILDCARD", "filter": "latest*"}]
        repository = made.create_repository(
            repositoryName="web",
            imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=filters,
            imageScanningConfiguration={"scanOnPush": True},
            encryptionConfiguration={"encryptionType": "KMS"},
            tags=[{"Key": "team", "Value": "a"}],
        )["repository"]
        assert repository["repositoryArn"] == PRIVATE_WEB
        assert repository["repositoryUri"] == "123456789012.dkr.ecr.eu-west-1.amazonaws.com/web"
        assert repository["imageTagMutabilityExclusionFilters"] == filters
        assert repository["encryptionConfiguration"]["kmsKey"].startswith("arn:aws:kms:eu-west-1:")
        described = made.describe_repositories(repositoryNames=["web"])["repositories"]
        assert [(held["imageTagMutability"], held["imageScanningConfiguration"]) for held in described] == [
            ("IMMUTABLE_WITH_EXCLUSION", {"scanOnPush": True})
        ]
        made.tag_resource(resourceArn=PRIVATE_WEB, tags=[{"Key": "team", "Value": "b"}])
        assert made.list_tags_for_resource(resourceArn=PRIVATE_WEB)["tags"] == [{"Key": "team", "Value": "b"}]
        with pytest.raises(made.exceptions.RepositoryNotFoundException):
            made.list_tags_for_resource(resourceArn=PRIVATE_WEB + "2")
        assert refusal(made.list_tags_for_resource, resourceArn=PUBLIC_WEB)[0] == "InvalidParameterException"
        both = {"repositoryNames": ["web"], "maxResults": 2}
        assert refusal(made.describe_repositories, **both)[0] == "InvalidParameterException"
        with pytest.raises(made.exceptions.RepositoryAlreadyExistsException):
            made.create_repository(repositoryName="web")
        elsewhere = client("ecr", "us-east-1")
        assert elsewhere.describe_repositories()["repositories"] == []
        with pytest.raises(elsewhere.exceptions.RepositoryNotFoundException):
            elsewhere.describe_images(repositoryName="web")
        assert [call.region for call in aws.calls[-2:]] == ["us-east-1", "us-east-1"]

    def test_mutability_is_changed(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        held, made = aws.add_private_repository("web"), client("ecr")
        assert not held.immutable("1")
        made.put_image_tag_mutability(repositoryName="web", imageTagMutability="IMMUTABLE")
        assert held.immutable("1")
        changed = made.put_image_tag_mutability(
            repositoryName="web",
            imageTagMutability="MUTABLE_WITH_EXCLUSION",
            imageTagMutabilityExclusionFilters=[{"filterType": "WILDCARD", "filter": "v*"}],
        )
        assert changed["imageTagMutability"] == "MUTABLE_WITH_EXCLUSION"
        assert (held.immutable("v1"), held.immutable("latest")) == (True, False)
        for parameters in (
            {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION"},
            {
                "imageTagMutability": "MUTABLE",
                "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "v*"}],
            },
            {
                "imageTagMutability": "MUTABLE_WITH_EXCLUSION",
                "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "v/*"}],
            },
            {"imageTagMutability": "SOMETIMES"},
        ):
            code, _ = refusal(made.put_image_tag_mutability, repositoryName="web", **parameters)
            assert code == "InvalidParameterException"

    def test_images(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        aws.add_private_repository("web").images["sha256:1"] = ImageRecord("sha256:1", ["1"])
        found = client("ecr").describe_images(repositoryName="web", imageIds=[{"imageTag": "1"}])
        assert found["imageDetails"][0]["imageTags"] == ["1"]


class TestTokens:
    def test_one_for_ecr_public(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        data = client().get_authorization_token()["authorizationData"]
        token = aws.tokens[0]
        assert data["authorizationToken"] == token.authorization
        left = data["expiresAt"] - datetime.now(UTC)
        assert timedelta(hours=12) - left < timedelta(minutes=1)
        assert (token.kind, token.principal) == ("ecr-public", aws.key.principal)
        assert aws.is_valid(token.password)
        assert not aws.is_valid(token.password, "ecr")

    def test_a_list_for_ecr(self, aws: FakeAws, client: Callable[..., Any]) -> None:
        aws.deny("sts:GetServiceBearerToken")
        (data,) = client("ecr", "us-west-2").get_authorization_token()["authorizationData"]
        assert data["proxyEndpoint"] == "https://123456789012.dkr.ecr.us-west-2.amazonaws.com"
        assert data["authorizationToken"] == aws.token("ecr").authorization

    def test_they_end(self) -> None:
        now = [1_000_000.0]
        with FakeAws(clock=lambda: now[0]) as aws:
            aws.token_lifetime = 60
            token = aws.token()
            assert aws.token() is token
            now[0] += 59
            assert aws.lookup("ecr-public", authorization=token.authorization) == ("valid", token)
            now[0] += 1
            assert aws.lookup("ecr-public", password=token.password) == ("expired", token)
            other = aws.token()
            assert other is not token
            aws.expire_tokens()
            assert not aws.is_valid(other.password)
            last = aws.token()
            aws.revoke_tokens()
            assert aws.lookup("ecr-public", password=last.password) == ("unknown", last)
            assert {token.password, last.authorization, aws.key.secret} <= set(aws.secrets)


class TestSources:
    """Where credentials come from besides the environment."""

    @pytest.mark.parametrize(("source", "session"), [("container", "container"), ("instance", "i-0123456789abcdef0")])
    def test_a_role_of_the_machine(self, aws: FakeAws, client: Callable[..., Any], source: Any, session: str) -> None:
        found = client("sts", environ=aws.environ(source=source)).get_caller_identity()
        assert found["Arn"] == f"arn:aws:sts::123456789012:assumed-role/release/{session}"
        assert aws.sources.handed_out == [source]

    def test_a_container_may_have_to_say_a_word(
        self, aws: FakeAws, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        aws.sources.container_token = "the word"
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the word")
        assert client("sts", environ=aws.environ(source="container")).get_caller_identity()["Account"]
        with Client(aws.url) as raw:
            assert raw.request("GET", "/container-credentials").status == 401

    def test_instance_metadata_want_a_session(self, aws: FakeAws) -> None:
        with Client(aws.url) as raw:
            assert raw.request("GET", "/latest/meta-data/iam/security-credentials/").status == 401
            word = raw.request("PUT", "/latest/api/token").body.decode()
            header = {"X_aws_ec2_metadata_token": word}
            assert raw.request("GET", "/latest/meta-data/iam/security-credentials/", **header).body == b"release"
            assert raw.request("GET", "/latest/meta-data/iam/security-credentials/other", **header).status == 404

    def test_a_role_of_a_web_identity(
        self, aws: FakeAws, client: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        token = tmp_path / "token"
        token.write_text(aws.sources.web_identity)
        monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/deploy")
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        monkeypatch.setenv("AWS_ROLE_SESSION_NAME", "job")
        keyless = {name: value for name, value in aws.environ().items() if "KEY" not in name}
        found = client("sts", environ=keyless).get_caller_identity()
        assert found["Arn"] == "arn:aws:sts::123456789012:assumed-role/deploy/job"
        token.write_text("of another issuer")
        assert refusal(client("sts", environ=keyless).get_caller_identity)[0] == "InvalidIdentityToken"

    def test_a_role_of_a_profile(self, aws: FakeAws, client: Callable[..., Any], tmp_path: Path) -> None:
        config = tmp_path / "config"
        config.write_text(
            f"[profile base]\naws_access_key_id={aws.key.id}\naws_secret_access_key={aws.key.secret}\n"
            "[profile deploy]\nrole_arn=arn:aws:iam::210987654321:role/deploy\nsource_profile=base\n"
            "role_session_name=job\n"
        )
        environ = {name: value for name, value in aws.environ().items() if "KEY" not in name}
        environ["AWS_CONFIG_FILE"] = str(config)
        found = client("sts", environ=environ, profile="deploy").get_caller_identity()
        assert (found["Arn"], found["Account"]) == (
            "arn:aws:sts::210987654321:assumed-role/deploy/job",
            "210987654321",
        )
        aws.deny("sts:AssumeRole")
        code, message = refusal(client("sts", environ=environ, profile="deploy").get_caller_identity)
        assert (code, "sts:AssumeRole on resource: arn:aws:iam::210987654321:role/deploy" in message) == (
            "AccessDenied",
            True,
        )

    def test_a_person_with_sso(self, aws: FakeAws, tmp_path: Path) -> None:
        write_sso(tmp_path, aws.sources.sso_token)
        environ = {name: value for name, value in aws.environ().items() if "KEY" not in name}
        environ |= {"HOME": str(tmp_path), "AWS_CONFIG_FILE": str(tmp_path / ".aws" / "config")}
        # botocore looks for the files of SSO where the home was when it was imported.
        ran = subprocess.run([sys.executable, "-c", PERSON], env=environ, capture_output=True, text=True, check=True)
        first, second = ran.stdout.splitlines()
        assert first.endswith(":assumed-role/AWSReservedSSO_Release_0123456789abcdef/person")
        assert second == "UnauthorizedSSOTokenError"
        assert aws.sources.handed_out == ["sso"]


PERSON = """
import boto3, pathlib
def ask():
    return boto3.Session(profile_name="person").client("sts", region_name="us-east-1").get_caller_identity()["Arn"]
print(ask())
(held,) = pathlib.Path("~/.aws/sso/cache").expanduser().iterdir()
held.write_text(held.read_text().replace("sso-access-token", "an old one"))
try:
    ask()
except Exception as error:
    print(type(error).__name__)
"""


def write_sso(home: Path, access_token: str) -> None:
    """Lay out the files that a log-in with IAM Identity Center leaves."""
    url = "https://acme.example/start"
    name = hashlib.sha1(url.encode()).hexdigest()  # how botocore names the file
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    (home / ".aws" / "config").write_text(
        f"[profile person]\nsso_start_url={url}\nsso_region=us-east-1\nsso_account_id=123456789012\n"
        "sso_role_name=Release\n"
    )
    expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = {"startUrl": url, "region": "us-east-1", "accessToken": access_token, "expiresAt": expires}
    (cache / f"{name}.json").write_text(json.dumps(document))


def test_the_environment_has_no_region_and_no_files(aws: FakeAws) -> None:
    environ = aws.environ()
    assert not {"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_MAX_ATTEMPTS", "AWS_PROFILE"} & set(environ)
    assert environ["AWS_CONFIG_FILE"].startswith("/nonexistent/")
    assert (environ["AWS_ACCESS_KEY_ID"], environ["AWS_SECRET_ACCESS_KEY"]) == (aws.key.id, aws.key.secret)
    assert {name for name in environ if name.startswith("AWS_ENDPOINT")} == {
        f"AWS_ENDPOINT_URL_{service}" for service in ("ECR", "ECR_PUBLIC", "STS", "SSO")
    }
