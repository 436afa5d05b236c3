"""`repo` as the library has it: one result for each way that it can end, and no more calls than are needed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from manifestctl.aws.catalog import Catalog
from manifestctl.aws.repository_names import RepositoryName
from manifestctl.aws.repository_settings import PrivateOptions, PrivateSettings
from manifestctl.errors import DeniedError, InputError, NotFoundError
from manifestctl.verbs.repository import (
    Cataloged,
    Described,
    Made,
    RepositoryRequest,
    change_catalog,
    create_repository,
    describe_repository,
)
from manifestctl.verbs.repository_differences import private_differences
from tests.support.aws_run import AwsRun, running_aws
from tests.support.png import png

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
WEB, PRIVATE = "public.ecr.aws/acme/web", f"{HOST}/web"
FULL = Catalog("The web", "# About", "docker run", ("Linux",), ("x86-64", "ARM 64"))
LOGO = "https://images.example/logo.png"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[AwsRun]:
    with running_aws(monkeypatch, tmp_path) as running:
        yield running


def create(run: AwsRun, text: str = WEB, **options: Any) -> Made:
    run.aws.calls.clear()
    return create_repository(RepositoryRequest(RepositoryName.parse(text), **options), run.make(), run.world.runtime)


def describe(run: AwsRun, text: str = WEB) -> Described:
    run.aws.calls.clear()
    return describe_repository(RepositoryName.parse(text), run.make())


def catalog(run: AwsRun, asked: Catalog | None = None, text: str = WEB) -> Cataloged:
    run.aws.calls.clear()
    return change_catalog(RepositoryName.parse(text), asked or Catalog(), run.make())


def held(run: AwsRun, **fields: Any) -> None:
    """Let there be a repository of ECR Public with this catalog data."""
    base = {"description": "The web", "aboutText": "# About", "architectures": ["x86-64"], "operatingSystems": []}
    run.aws.add_repository("web").catalog = base | fields


# Making one.


def test_a_public_repository_with_all_that_it_can_have(run: AwsRun) -> None:
    made = create(run, catalog=replace(FULL, logo=png(60, 60)), tags={"team": "web"})
    assert (made.status, made.repository.uri, made.differences, made.unread) == ("created", WEB, [], [])
    assert run.aws.operations == ["DescribeRegistries", "CreateRepository"]
    there = run.aws.registry.repositories["web"]
    assert there.catalog is not None
    assert (there.tags, there.logo) == ({"team": "web"}, png(60, 60))
    assert (there.catalog["aboutText"], there.catalog["operatingSystems"]) == ("# About", ["Linux"])


@pytest.mark.parametrize(("text", "uri"), [("web", WEB), (PRIVATE, PRIVATE)])
def test_one_call_is_enough_where_no_alias_is_named(run: AwsRun, text: str, uri: str) -> None:
    assert create(run, text).repository.uri == uri
    assert run.aws.operations == ["CreateRepository"]


def test_a_private_repository_with_all_that_it_can_have(run: AwsRun) -> None:
    made = create(run, PRIVATE, private=PrivateOptions(True, ("dev-*",), True, "alias/k"), tags={"team": "web"})
    assert made.status == "created"
    there = run.aws.private.find("web", "123456789012", "eu-west-1")
    assert there is not None
    assert (there.mutability, there.exclusions, there.scan_on_push) == ("IMMUTABLE_WITH_EXCLUSION", ["dev-*"], True)
    assert there.encryption == {"encryptionType": "KMS", "kmsKey": "alias/k"}
    assert there.tags == {"team": "web"}


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            WEB,
            {"private": PrivateOptions(True, ("x",), True, "k")},
            "--immutable, --immutable-except, --scan-on-push, --k",
        ),
        (
            "web",
            {"private": PrivateOptions(scan_on_push=True)},
            "--scan-on-push: for private repositories alone, and web is",
        ),
        (PRIVATE, {"catalog": Catalog("")}, "--description: for public repositories alone"),
        (
            PRIVATE,
            {"catalog": replace(FULL, logo=b"")},
            "--about-file, --usage-file, --os, --arch, --logo-file: for public",
        ),
    ],
)
def test_options_of_the_other_service(text: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        RepositoryRequest(RepositoryName.parse(text), **options)
    assert said in caught.value.message


# One that is there.


def test_the_same_again_is_unchanged(run: AwsRun) -> None:
    create(run, catalog=FULL, tags={"team": "web"})
    before = run.aws.registry.repositories["web"].catalog
    made = create(run, catalog=FULL, tags={"team": "web"})
    assert (made.status, made.differences) == ("unchanged", [])
    assert made.repository.arn == "arn:aws:ecr-public::123456789012:repository/web"
    assert run.aws.operations == [
        "DescribeRegistries",
        "CreateRepository",
        "DescribeRepositories",
        "GetRepositoryCatalogData",
        "ListTagsForResource",
    ]
    assert run.aws.registry.repositories["web"].catalog == before


@pytest.mark.parametrize(
    ("text", "options", "operations"),
    [
        (WEB, {}, []),
        (WEB, {"catalog": Catalog("x")}, ["GetRepositoryCatalogData"]),
        (WEB, {"tags": {"a": "b"}}, ["ListTagsForResource"]),
        (PRIVATE, {}, []),
        (PRIVATE, {"private": PrivateOptions(scan_on_push=True)}, []),
        (PRIVATE, {"tags": {"a": "b"}}, ["ListTagsForResource"]),
    ],
)
def test_only_what_is_needed_is_read(run: AwsRun, text: str, options: dict[str, Any], operations: list[str]) -> None:
    run.aws.add_repository("web")
    run.aws.add_private_repository("web")
    assert create(run, text, **options).status == "unchanged"
    begun = ["DescribeRegistries"] * (text == WEB) + ["CreateRepository", "DescribeRepositories"]
    assert run.aws.operations == begun + operations


def test_what_differs_is_told_and_left(run: AwsRun) -> None:
    held(run, logoUrl=LOGO)
    run.aws.registry.repositories["web"].tags = {"team": "web", "other": "1"}
    asked = Catalog("Another", "# About", "docker run", ("Linux",), ("x86-64",), b"logo")
    made = create(run, catalog=asked, tags={"team": "api", "stage": "prod"})
    told = [(item.option, item.found, item.asked) for item in made.differences]
    assert told == [
        ("--description", "The web", "Another"),
        ("--usage-file", "", "docker run"),
        ("--os", "", "Linux"),
        ("--logo-file", f"a logo that cannot be compared, at {LOGO}", "a logo of 4 bytes"),
        ("--tag", "team=web", "team=api"),
        ("--tag", "", "stage=prod"),
    ]
    assert made.differences[0].hint == f"'manifestctl repo catalog {WEB} --description …' changes it."
    arn = "arn:aws:ecr-public::123456789012:repository/web"
    assert f"'aws ecr-public --region us-east-1 tag-resource --resource-arn {arn}" in made.differences[-1].hint
    there = run.aws.registry.repositories["web"]
    assert there.catalog is not None
    assert (there.catalog["description"], there.tags["team"]) == ("The web", "web")


def test_what_differs_of_a_private_one(run: AwsRun) -> None:
    run.aws.add_private_repository("web", mutability="IMMUTABLE_WITH_EXCLUSION", exclusions=["dev-*"])
    made = create(run, PRIVATE, private=PrivateOptions(True, ("dev-*", "ci-*"), True, "k"))
    told = [(item.option, item.found, item.asked) for item in made.differences]
    assert told == [
        (
            "--immutable-except",
            "IMMUTABLE_WITH_EXCLUSION dev-*",
            "IMMUTABLE_WITH_EXCLUSION ci-*, dev-*",
        ),
        ("--scan-on-push", "no", "yes"),
        ("--kms-key", "AES256", "k"),
    ]
    assert made.differences[0].hint.startswith(
        "'aws ecr --region eu-west-1 put-image-tag-mutability --repository-name web"
    )
    assert "stays" in made.differences[2].hint


SETTINGS = PrivateSettings("IMMUTABLE", (), True, "KMS", "arn:aws:kms:eu-west-1:123456789012:key/1234-abcd")


@pytest.mark.parametrize(
    ("asked", "options"),
    [
        (PrivateOptions(), []),
        (PrivateOptions(True, (), True, "1234-abcd"), []),
        (PrivateOptions(kms_key=SETTINGS.kms_key), []),
        (PrivateOptions(kms_key="alias/images"), []),
        (PrivateOptions(kms_key="1234-abce"), ["--kms-key"]),
        (PrivateOptions(immutable_except=("x",)), ["--immutable-except"]),
    ],
)
def test_settings_are_compared_as_far_as_they_were_asked_for(asked: PrivateOptions, options: list[str]) -> None:
    found = private_differences(SETTINGS, asked, RepositoryName.parse(PRIVATE))
    assert [item.option for item in found] == options


def test_an_alias_says_nothing_where_no_key_is_used() -> None:
    plain = PrivateSettings("MUTABLE", (), False, "AES256", "")
    found = list(private_differences(plain, PrivateOptions(True, (), False, "alias/k"), RepositoryName.parse(PRIVATE)))
    assert [(item.option, item.found) for item in found] == [("--immutable", "MUTABLE"), ("--kms-key", "AES256")]


@pytest.mark.parametrize(
    ("action", "what", "text"),
    [
        ("ecr-public:DescribeRepositories", ["settings"], WEB),
        ("ecr-public:GetRepositoryCatalogData", ["catalog data"], WEB),
        ("ecr-public:ListTagsForResource", ["tags"], WEB),
        ("ecr:DescribeRepositories", ["settings"], PRIVATE),
        ("ecr:ListTagsForResource", ["tags"], PRIVATE),
    ],
)
def test_what_may_not_be_compared_is_told(run: AwsRun, action: str, what: list[str], text: str) -> None:
    run.aws.add_repository("web")
    run.aws.add_private_repository("web")
    run.aws.deny(action)
    options = {"catalog": Catalog("x")} if text == WEB else {"private": PrivateOptions(True)}
    made = create(run, text, tags={"a": "b"}, **options)
    assert (made.status, made.repository.uri, [item.what for item in made.unread]) == ("unchanged", text, what)
    assert action in made.unread[0].error.statement


def test_without_an_alias_the_uri_must_be_readable(run: AwsRun) -> None:
    run.aws.add_repository("web")
    run.aws.deny("ecr-public:DescribeRepositories")
    with pytest.raises(DeniedError, match="describing web failed"):
        create(run, "web")


def test_an_alias_of_somebody_else(run: AwsRun) -> None:
    run.aws.add_repository("web")
    with pytest.raises(InputError, match="its own: acme"):
        create(run, "public.ecr.aws/initech/web")
    assert run.aws.operations == ["DescribeRegistries"]
    run.aws.deny("ecr-public:DescribeRegistries")
    with pytest.raises(InputError, match=r"whether public\.ecr\.aws/initech/web is the same"):
        create(run, "public.ecr.aws/initech/web")


# Describing one.


def test_what_there_is_of_a_public_one(run: AwsRun) -> None:
    held(run, logoUrl=LOGO)
    run.aws.registry.repositories["web"].tags = {"team": "web", "a": "1"}
    found = describe(run)
    assert run.aws.operations == ["DescribeRepositories", "GetRepositoryCatalogData", "ListTagsForResource"]
    assert found.repository.uri == WEB
    assert found.catalog == Catalog("The web", "# About", None, None, ("x86-64",), logo_url=LOGO)
    assert found.tags is not None
    assert list(found.tags.items()) == [("a", "1"), ("team", "web")]
    assert found.unread == []
    assert describe(run, "web") == found


def test_what_there_is_of_a_private_one(run: AwsRun) -> None:
    run.aws.add_private_repository("web", scan_on_push=True)
    found = describe(run, PRIVATE)
    assert run.aws.operations == ["DescribeRepositories", "ListTagsForResource"]
    assert found.repository.settings == PrivateSettings("MUTABLE", (), True, "AES256", "")
    assert (found.catalog, found.tags) == (None, {})


def test_what_may_not_be_read_does_not_fail_it(run: AwsRun) -> None:
    held(run)
    run.aws.deny("ecr-public:*a*For*")
    run.aws.deny("ecr-public:GetRepositoryCatalogData", explicit=True)
    found = describe(run)
    assert (found.catalog, found.tags) == (None, None)
    assert [item.what for item in found.unread] == ["catalog data", "tags"]
    assert "ecr-public:ListTagsForResource" in found.unread[1].error.hint


@pytest.mark.parametrize(
    ("text", "error"),
    [(WEB, NotFoundError), (PRIVATE, NotFoundError), ("public.ecr.aws/initech/web", InputError)],
)
def test_one_that_there_is_not(run: AwsRun, text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        describe(run, text)


def test_the_description_itself_must_be_readable(run: AwsRun) -> None:
    run.aws.add_repository("web")
    run.aws.deny("ecr-public:DescribeRepositories")
    with pytest.raises(DeniedError):
        describe(run)


# The page on the Gallery.


def test_reading_a_page_costs_two_calls(run: AwsRun) -> None:
    held(run)
    done = catalog(run)
    assert (done.changed, done.catalog.description) == ((), "The web")
    assert run.aws.operations == ["DescribeRepositories", "GetRepositoryCatalogData"]


def test_a_change_keeps_the_rest(run: AwsRun) -> None:
    held(run)
    done = catalog(run, Catalog(usage="docker run", architectures=("ARM 64", "ARM")))
    assert done.changed == ("usage", "architectures")
    assert run.aws.operations == ["DescribeRepositories", "GetRepositoryCatalogData", "PutRepositoryCatalogData"]
    assert run.aws.calls[-1].parameters["catalogData"] == {
        "description": "The web",
        "aboutText": "# About",
        "usageText": "docker run",
        "architectures": ["ARM 64", "ARM"],
    }
    assert done.catalog == Catalog("The web", "# About", "docker run", None, ("ARM 64", "ARM"))
    assert catalog(run).catalog == done.catalog


def test_what_is_so_already_is_not_written(run: AwsRun) -> None:
    held(run, architectures=["x86-64", "ARM 64"], logoUrl=LOGO)
    done = catalog(run, Catalog("The web", architectures=("ARM 64", "x86-64")))
    assert done.changed == ()
    assert "PutRepositoryCatalogData" not in run.aws.operations


def test_the_first_page_of_a_repository(run: AwsRun) -> None:
    run.aws.add_repository("web")
    assert catalog(run).catalog == Catalog()
    assert catalog(run, FULL).catalog == FULL
    assert catalog(run, FULL).changed == ()


def test_a_logo_is_not_lost(run: AwsRun) -> None:
    held(run, logoUrl=LOGO)
    before = run.aws.registry.repositories["web"].catalog
    with pytest.raises(InputError, match=f"{WEB} has a logo, .* could lose it") as caught:
        catalog(run, Catalog("Another"))
    assert caught.value.hint == f"Give it again with --logo-file FILE; it is at {LOGO}"
    assert run.aws.registry.repositories["web"].catalog == before
    done = catalog(run, Catalog("Another", logo=png(60, 60)))
    assert done.changed == ("description", "logo")
    assert run.aws.registry.repositories["web"].logo == png(60, 60)


def test_a_private_repository_has_no_page(run: AwsRun) -> None:
    with pytest.raises(InputError, match="is private"):
        catalog(run, FULL, PRIVATE)
    assert run.aws.calls == []


@pytest.mark.parametrize("action", ["GetRepositoryCatalogData", "PutRepositoryCatalogData"])
def test_a_page_that_may_not_be_read_or_written(run: AwsRun, action: str) -> None:
    held(run)
    run.aws.deny(f"ecr-public:{action}")
    with pytest.raises(DeniedError) as caught:
        catalog(run, Catalog("Another"))
    assert action in caught.value.statement
