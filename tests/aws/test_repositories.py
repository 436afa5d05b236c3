"""Repositories by AWS's APIs: what is asked, how often, of whom; and whose an alias is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manifestctl.aws import repository_settings as limits
from manifestctl.aws.catalog import Catalog
from manifestctl.aws.public_repositories import read_catalog, write_catalog
from manifestctl.aws.repositories import create, create_missing, find, read_tags
from manifestctl.aws.repository_names import RepositoryName
from manifestctl.aws.repository_settings import (
    PrivateOptions,
    PrivateSettings,
    check_filters,
    check_kms_key,
    check_tags,
    tag_parameters,
)
from manifestctl.errors import DeniedError, InputError, NotFoundError, UnreachableError
from manifestctl.events import Noted, Retried, Warned
from manifestctl.model.reference import Reference
from tests.support.actions import reset
from tests.support.aws import calls_of
from tests.support.aws_models import operation_model

if TYPE_CHECKING:
    from tests.support.aws_run import AwsRun

PRIVATE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
WEB = "public.ecr.aws/acme/web"
OTHER = "210987654321"


def make_missing(run: AwsRun, text: str) -> bool:
    return create_missing(Reference.parse(text), run.make(), run.world.runtime)


def found(run: AwsRun, text: str) -> str:
    return find(RepositoryName.parse(text), run.make()).uri


# A repository that is missing.


def test_a_missing_public_repository_is_made_with_defaults(run: AwsRun) -> None:
    assert make_missing(run, f"{WEB}:1")
    assert run.aws.operations == ["DescribeRegistries", "CreateRepository"]
    assert run.aws.calls[-1].parameters == {"repositoryName": "web"}
    assert {call.region for call in run.aws.calls} == {"us-east-1"}
    assert run.world.said == [Noted(f"created the repository {WEB}")]
    assert "web" in run.aws.registry.repositories


def test_a_missing_private_repository_is_made_in_its_region(run: AwsRun) -> None:
    assert make_missing(run, "123456789012.dkr.ecr.ap-south-1.amazonaws.com/team/web:1")
    [call] = run.aws.calls
    assert (call.operation, call.region) == ("CreateRepository", "ap-south-1")
    assert call.parameters == {"registryId": "123456789012", "repositoryName": "team/web"}
    assert run.world.heard(Noted)[0].message.endswith(".ap-south-1.amazonaws.com/team/web")


@pytest.mark.parametrize("text", [WEB, f"{PRIVATE}/web"])
def test_one_that_is_there_already_is_success(run: AwsRun, text: str) -> None:
    run.aws.add_repository("web")
    run.aws.add_private_repository("web")
    assert not make_missing(run, text)
    assert run.world.said == [Noted(f"AWS says that the repository {text} exists already")]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{PRIVATE}/{PRIVATE}/web", "stands inside"),
        ("public.ecr.aws/web", "no alias"),
        ("public.ecr.aws/acme/we__b", "one separator at a time"),
    ],
)
def test_a_name_that_aws_refuses_is_not_asked_for(run: AwsRun, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_missing(run, text)
    assert run.aws.calls == []


# Aliases.


def test_an_alias_of_somebody_else_is_found_out_before_anything_is_made(run: AwsRun) -> None:
    run.aws.add_alias("initech", account=OTHER, primary=True)
    run.aws.add_alias("acme-labs")
    with pytest.raises(InputError) as caught:
        make_missing(run, "public.ecr.aws/initech/web:1")
    assert run.aws.operations == ["DescribeRegistries"]
    assert caught.value.message == (
        "public.ecr.aws/initech/web: 'initech' is not an alias of the AWS account 123456789012, whose credentials these"
        " are; its own: acme, acme-labs"
    )
    assert caught.value.hint.startswith(f"Write {WEB}, or use the credentials of the account that has 'initech'")


def test_many_aliases_are_not_all_named(run: AwsRun) -> None:
    for number in range(14):
        run.aws.add_alias(f"more{number:02}")
    with pytest.raises(InputError, match=r"its own: acme, more00, .*more08 and 5 more$"):
        make_missing(run, "public.ecr.aws/initech/web")


def test_another_alias_of_ours_will_do(run: AwsRun) -> None:
    run.aws.add_alias("acme-labs")
    assert make_missing(run, "public.ecr.aws/acme-labs/web")
    # AWS names it by the primary one.
    assert run.world.said == [Noted(f"created the repository {WEB}")]
    assert found(run, "public.ecr.aws/acme-labs/web") == WEB


@pytest.mark.parametrize("status", ["PENDING", "REJECTED"])
def test_an_alias_that_is_not_active(run: AwsRun, status: str) -> None:
    run.aws.add_alias("wanted", status=status)
    with pytest.raises(InputError, match=f"the alias 'wanted' of the AWS account 123456789012 is {status}, not ACTIVE"):
        make_missing(run, "public.ecr.aws/wanted/web")
    assert "CreateRepository" not in run.aws.operations


def test_an_account_that_has_no_alias_yet(run: AwsRun) -> None:
    run.aws.registry.aliases.clear()
    with pytest.raises(InputError, match="it has no other") as caught:
        make_missing(run, WEB)
    assert "'manifestctl repo create web' makes its first repository" in caught.value.hint
    made = create(RepositoryName.parse("web"), {}, run.make(), run.world.runtime)
    assert made is not None
    assert made.uri == f"public.ecr.aws/{run.aws.alias}/web"
    assert run.world.heard(Warned) == []


def test_who_may_not_ask_for_aliases_is_not_asked_for_it(run: AwsRun) -> None:
    run.aws.deny("ecr-public:DescribeRegistries")
    assert make_missing(run, WEB)
    assert run.world.said == [Noted(f"created the repository {WEB}")]


def test_a_repository_made_under_another_alias_than_was_named_ends_the_run(run: AwsRun) -> None:
    run.aws.deny("ecr-public:DescribeRegistries", explicit=True)
    with pytest.raises(InputError) as caught:
        make_missing(run, "public.ecr.aws/initech/web")
    assert caught.value.message.startswith(f"{WEB} was made, and not public.ecr.aws/initech/web: whether 'initech' is")
    assert caught.value.hint.startswith(f"Write {WEB}: that repository was left.")
    # The second time it is there, and still not where it was wanted.
    with pytest.raises(InputError, match=f"the repository of this account is {WEB}, and whether") as caught:
        make_missing(run, "public.ecr.aws/initech/web")
    assert caught.value.hint.startswith(f"Write {WEB}, or allow ecr-public:DescribeRegistries")


def test_a_repository_that_is_there_and_of_which_nothing_may_be_asked(run: AwsRun) -> None:
    run.aws.add_repository("web")
    run.aws.deny("ecr-public:Describe*")
    assert not make_missing(run, "public.ecr.aws/initech/web")


@pytest.mark.parametrize("text", ["acme/web", "acme-labs/web"])
def test_a_bare_name_that_begins_with_an_alias_of_ours(run: AwsRun, text: str) -> None:
    run.aws.add_alias("acme-labs")
    with pytest.raises(InputError) as caught:
        create(RepositoryName.parse(text), {}, run.make(), run.world.runtime)
    assert f"would be made as public.ecr.aws/acme/{text}" in caught.value.message
    assert caught.value.hint == f"Write public.ecr.aws/{text}; or public.ecr.aws/acme/{text} if that is what is meant."
    assert run.aws.operations == ["DescribeRegistries"]


def test_a_bare_name_that_begins_with_an_alias_of_nobody_we_know(run: AwsRun) -> None:
    for name in ("team/web", "acme"):
        made = create(RepositoryName.parse(name), {}, run.make(), run.world.runtime)
        assert made is not None
        assert made.uri == f"public.ecr.aws/acme/{name}"
    # A name of one part needs no asking.
    assert run.aws.operations == ["DescribeRegistries", "CreateRepository", "CreateRepository"]
    assert run.world.heard(Warned) == []


def test_a_bare_name_that_begins_with_an_alias_which_may_not_be_asked_for_is_told_afterwards(run: AwsRun) -> None:
    run.aws.deny("ecr-public:DescribeRegistries")
    for name in ("acme/web", "team/web"):
        assert create(RepositoryName.parse(name), {}, run.make(), run.world.runtime) is not None
    [warned] = run.world.heard(Warned)
    assert warned.message == "public.ecr.aws/acme/acme/web was made: 'acme/web' was taken for a name without an alias"


def test_a_failure_to_ask_for_aliases_is_no_denial(run: AwsRun) -> None:
    run.aws.fail("DescribeRegistries", "ServerException", "no", status=500)
    with pytest.raises(UnreachableError, match=f"looking up the aliases of this account for {WEB} failed"):
        create(RepositoryName.parse(WEB), {}, run.make(tries=1), run.world.runtime)
    assert run.aws.operations == ["DescribeRegistries"]


# Creating.


def test_a_quota_is_not_tried_again(run: AwsRun) -> None:
    failure = run.aws.quota("CreateRepository")
    with pytest.raises(DeniedError, match=f"creating {WEB} failed.*LimitExceededException"):
        make_missing(run, WEB)
    assert failure.hits == 1
    assert run.world.slept == []


def test_throttling_is_tried_again(run: AwsRun) -> None:
    run.aws.throttle("CreateRepository", times=2)
    assert make_missing(run, f"{PRIVATE}/web")
    assert run.aws.operations == ["CreateRepository"] * 3
    assert len(run.world.heard(Retried)) == 2


def test_a_lost_answer_is_success_in_the_end(run: AwsRun) -> None:
    run.aws.faults.add(reset(), when=calls_of("CreateRepository"))
    assert make_missing(run, WEB)
    assert len(run.world.heard(Retried)) == 1


def test_a_denial_names_the_permission_and_the_statement(run: AwsRun) -> None:
    run.aws.deny("ecr-public:CreateRepository")
    with pytest.raises(DeniedError) as caught:
        make_missing(run, WEB)
    assert '"Resource": "arn:aws:ecr-public::123456789012:repository/web"' in caught.value.statement
    assert '"Action": "ecr-public:CreateRepository"' in caught.value.statement


def test_settings_and_tags_of_a_private_repository(run: AwsRun) -> None:
    asked = PrivateOptions(True, ("dev-*", "latest"), True, "alias/images")
    name = RepositoryName.parse(f"{PRIVATE}/web")
    made = create(name, {**asked.parameters(), **tag_parameters({"team": "web"})}, run.make(), run.world.runtime)
    assert made is not None
    assert made.settings == PrivateSettings(
        "IMMUTABLE_WITH_EXCLUSION", ("dev-*", "latest"), True, "KMS", "alias/images"
    )
    assert made.arn == "arn:aws:ecr:eu-west-1:123456789012:repository/web"
    assert made.page == ""
    assert find(name, run.make()) == made
    assert read_tags(name, made, run.make()) == {"team": "web"}


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        (PrivateOptions(), {}),
        (PrivateOptions(immutable=True), {"imageTagMutability": "IMMUTABLE"}),
        (
            PrivateOptions(immutable_except=("dev-*",)),
            {
                "imageTagMutability": "IMMUTABLE_WITH_EXCLUSION",
                "imageTagMutabilityExclusionFilters": [{"filterType": "WILDCARD", "filter": "dev-*"}],
            },
        ),
        (PrivateOptions(scan_on_push=True), {"imageScanningConfiguration": {"scanOnPush": True}}),
        (PrivateOptions(kms_key="k"), {"encryptionConfiguration": {"encryptionType": "KMS", "kmsKey": "k"}}),
    ],
)
def test_parameters_of_private_options(options: PrivateOptions, parameters: dict[str, object]) -> None:
    assert options.parameters() == parameters


def test_an_answer_that_says_little() -> None:
    assert PrivateSettings.of({}) == PrivateSettings("MUTABLE", (), False, "AES256", "")
    name = RepositoryName.parse("web")
    sparse = limits.Repository.of({}, name)
    assert (sparse.uri, sparse.arn, sparse.created, sparse.settings) == ("web", "", "", None)


# Finding.


def test_a_public_repository_is_found_by_one_call(run: AwsRun) -> None:
    run.aws.add_repository("web")
    name = RepositoryName.parse(WEB)
    repository = find(name, run.make())
    assert run.aws.operations == ["DescribeRepositories"]
    assert (repository.uri, repository.page) == (WEB, "https://gallery.ecr.aws/acme/web")
    assert repository.created.endswith("Z")
    assert found(run, "web") == WEB
    assert found(run, "ecr-public.aws.com/acme/web") == WEB


@pytest.mark.parametrize("text", [WEB, "web", f"{PRIVATE}/web"])
def test_one_that_there_is_not(run: AwsRun, text: str) -> None:
    with pytest.raises(NotFoundError, match=f"the repository {text} does not exist") as caught:
        found(run, text)
    assert caught.value.repository_unknown
    assert f"'manifestctl repo create {text}'" in caught.value.hint


@pytest.mark.parametrize("there", [True, False])
def test_our_own_is_not_taken_for_somebody_elses(run: AwsRun, there: bool) -> None:
    if there:
        run.aws.add_repository("web")
    with pytest.raises(InputError, match="'initech' is not an alias of the AWS account"):
        found(run, "public.ecr.aws/initech/web")


def test_what_cannot_be_told_apart_is_not_touched(run: AwsRun) -> None:
    run.aws.add_repository("web")
    run.aws.deny("ecr-public:DescribeRegistries")
    with pytest.raises(InputError, match="could not be asked") as caught:
        found(run, "public.ecr.aws/initech/web")
    assert caught.value.hint == f"Write {WEB}, or allow ecr-public:DescribeRegistries."
    with pytest.raises(NotFoundError):
        found(run, "public.ecr.aws/initech/other")


def test_another_accounts_private_repository_is_asked_for_there(run: AwsRun) -> None:
    run.aws.add_private_repository("web", account=OTHER)
    find(RepositoryName.parse(f"{OTHER}.dkr.ecr.eu-west-1.amazonaws.com/web"), run.make())
    assert run.aws.calls[-1].parameters["registryId"] == OTHER


def test_catalog_data_is_written_whole_and_read_back(run: AwsRun) -> None:
    run.aws.add_repository("web")
    name, aws = RepositoryName.parse(WEB), run.make()
    assert read_catalog(name, aws) == Catalog()
    full = Catalog("The web", "# About", "docker run", ("Linux",), ("ARM 64",), b"\x89PNG")
    now = write_catalog(name, full, aws)
    assert (now.description, now.usage, now.architectures) == ("The web", "docker run", ("ARM 64",))
    assert now.logo_url
    assert read_catalog(name, aws) == now
    assert run.aws.registry.repositories["web"].logo == b"\x89PNG"


# Limits.


def test_the_limits_are_those_of_the_model() -> None:
    request = operation_model("ecr-public", "CreateRepository").input_shape.members["tags"].member.members
    assert request["Key"].metadata["max"] == limits.LONGEST_TAG_KEY
    assert request["Value"].metadata["max"] == limits.LONGEST_TAG_VALUE
    private = operation_model("ecr", "CreateRepository").input_shape.members
    assert private["imageTagMutabilityExclusionFilters"].metadata["max"] == limits.MOST_FILTERS
    assert private["encryptionConfiguration"].members["kmsKey"].metadata["max"] == limits.LONGEST_KMS_KEY


def test_tags() -> None:
    assert check_tags([("a", "1"), ("b", ""), ("k" * 128, "v" * 256)]) == {"a": "1", "b": "", "k" * 128: "v" * 256}
    assert len(check_tags((str(number), "") for number in range(50))) == 50


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("a", "1"), ("a", "2")], "the key 'a' is given twice"),
        ([("", "1")], "has 0 characters, and a key has 1 to 128"),
        ([("k" * 129, "1")], "has 129 characters, and a key has 1 to 128"),
        ([("a", "v" * 257)], "the value of 'a' has 257 characters, more than the 256"),
        ([("aws:team", "1")], "such keys are AWS's own"),
        ([("AWS:team", "1")], "such keys are AWS's own"),
        ([("a", "\udcff")], "'a' or its value is not UTF-8"),
        ([(str(number), "") for number in range(51)], "51 tags are more than the 50"),
    ],
)
def test_tags_that_aws_refuses(pairs: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_tags(pairs)


def test_filters() -> None:
    assert check_filters(["dev-*", "latest", "dev-*"]) == ("dev-*", "latest")
    assert check_filters(["x" * 128]) == ("x" * 128,)


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        ([""], "'' is not a wildcard"),
        (["dev/*"], "'dev/\\*' is not a wildcard"),
        (["dev-*\n"], "is not a wildcard"),
        (["x" * 129], "is not a wildcard"),
        (list("abcdef"), "6 wildcards are more than the 5"),
    ],
)
def test_filters_that_aws_refuses(filters: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_filters(filters)


@pytest.mark.parametrize("key", ["alias/images", "1234abcd-12ab", "k" * 2048])
def test_kms_keys(key: str) -> None:
    assert check_kms_key(key) == key


@pytest.mark.parametrize("key", ["", "k" * 2049, "a key", "key\n", "\udcff"])
def test_what_is_no_kms_key(key: str) -> None:
    with pytest.raises(InputError, match="is not a KMS key"):
        check_kms_key(key)
