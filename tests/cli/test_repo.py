"""`manifestctl repo`: what goes to stdout, what to stderr, and what it says when something is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.aws import FakeAws
from tests.support.png import png
from tests.support.running import Ran, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
WEB, PRIVATE = "public.ecr.aws/acme/web", f"{HOST}/web"
PAGE = "https://gallery.ecr.aws/acme/web"
LOGO = "https://images.example/logo.png"


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        yield fake


def call(aws: FakeAws, *words: str | Path) -> Ran:
    ran = run("repo", *words, environ=aws.environ())
    assert not [secret for secret in aws.secrets if secret in ran.err + ran.text]
    return ran


def document(aws: FakeAws, *words: str | Path) -> Any:
    """Run a command, and return its JSON result, which must be right and tell the status of the process."""
    ran = call(aws, *words, "--output", "json")
    found = ran.document
    assert found["exit_code"] == ran.status
    return found


def held(aws: FakeAws, **fields: Any) -> None:
    base = {"description": "The web", "aboutText": "# About\n\nIt::serves\x1b[2J", "architectures": ["ARM 64"]}
    aws.add_repository("web").catalog = base | fields


# create


def test_create_prints_the_uri_alone(aws: FakeAws) -> None:
    ran = call(aws, "create", WEB)
    assert (ran.status, ran.text) == (0, f"{WEB}\n")
    assert ran.err == f"{WEB} created; its page is {PAGE}\n"
    again = call(aws, "create", WEB, "--output", "digest")
    assert (again.status, again.text) == (0, f"{WEB}\n")
    assert again.err == f"{WEB} exists already, and was left as it is; its page is {PAGE}\n"
    assert call(aws, "create", WEB, "-q").err == ""


def test_create_with_everything(aws: FakeAws, tmp_path: Path) -> None:
    about, usage, logo = tmp_path / "about.md", tmp_path / "usage.md", tmp_path / "logo.png"
    about.write_text("# About")
    usage.write_text("docker run")
    logo.write_bytes(png(100, 60))
    options: list[str | Path] = [
        "--description",
        "The web",
        "--about-file",
        about,
        "--usage-file",
        usage,
        "--logo-file",
        logo,
    ]
    options += ["--os", "linux", "--arch", "amd64", "--arch", "arm64", "--tag", "team=web", "--tag", "a=b=c"]
    assert call(aws, "create", "web", *options).text == f"{WEB}\n"
    there = aws.registry.repositories["web"]
    assert there.catalog is not None
    assert there.catalog.pop("logoUrl")
    assert there.catalog == {
        "description": "The web",
        "aboutText": "# About",
        "usageText": "docker run",
        "operatingSystems": ["Linux"],
        "architectures": ["x86-64", "ARM 64"],
        "marketplaceCertified": False,
    }
    assert (there.tags, there.logo) == ({"team": "web", "a": "b=c"}, png(100, 60))


def test_create_a_private_one(aws: FakeAws) -> None:
    options = ["--immutable-except", "dev-*", "--immutable-except", "ci-*", "--scan-on-push", "--kms-key", "alias/k"]
    ran = call(aws, "create", PRIVATE, *options, "--tag", "team=web")
    assert (ran.text, ran.err) == (f"{PRIVATE}\n", f"{PRIVATE} created\n")
    there = aws.private.find("web", "123456789012", "eu-west-1")
    assert there is not None
    assert (there.mutability, there.exclusions) == ("IMMUTABLE_WITH_EXCLUSION", ["dev-*", "ci-*"])
    assert (there.scan_on_push, there.encryption["kmsKey"], there.tags) == (True, "alias/k", {"team": "web"})


def test_create_as_json(aws: FakeAws) -> None:
    made = document(aws, "create", WEB, "--description", "The web")
    assert (made["status"], made["uri"], made["page"], made["differences"]) == ("created", WEB, PAGE, [])
    assert made["arn"] == "arn:aws:ecr-public::123456789012:repository/web"
    again = document(aws, "create", WEB, "--description", "Another")
    assert again["status"] == "unchanged"
    [difference] = again["differences"]
    assert (difference["option"], difference["found"], difference["asked"]) == ("--description", "The web", "Another")
    assert document(aws, "create", PRIVATE)["page"] is None


def test_create_says_what_differs_and_how_to_change_it(aws: FakeAws) -> None:
    held(aws)
    ran = call(aws, "create", WEB, "--description", "Line\nBreak", "--tag", "team=web")
    assert (ran.status, ran.text) == (0, f"{WEB}\n")
    warnings = ran.err.splitlines()[1:]
    assert warnings[0] == (
        r"warning: --description: there is 'The web', and 'Line\nBreak' was asked for. "
        f"'manifestctl repo catalog {WEB} --description …' changes it."
    )
    assert warnings[1].startswith("warning: --tag: there is nothing, and 'team=web' was asked for. 'aws ecr-public ")
    assert aws.registry.repositories["web"].tags == {}


def test_create_says_what_could_not_be_compared(aws: FakeAws) -> None:
    held(aws)
    aws.deny("ecr-public:GetRepositoryCatalogData")
    ran = call(aws, "create", WEB, "--description", "x")
    assert (ran.status, ran.text) == (0, f"{WEB}\n")
    assert "warning: its catalog data could not be read: " in ran.err
    assert '"Action": "ecr-public:GetRepositoryCatalogData"' in ran.err
    [unread] = document(aws, "create", WEB, "--description", "x")["unread"]
    assert unread["what"] == "catalog data"
    assert unread["statement"]["Action"] == "ecr-public:GetRepositoryCatalogData"


def test_a_name_for_which_the_gallery_has_no_badge(aws: FakeAws) -> None:
    ran = call(aws, "create", WEB, "--arch", "amd64,arm64", "--os", "linux")
    assert ran.err.startswith("'amd64,arm64' is shown on the page, but the Gallery does not search by it\n")
    assert ran.err.count("Gallery") == 1


@pytest.mark.parametrize(
    ("setting", "status", "said"),
    [
        (lambda aws: aws.quota("CreateRepository"), 4, "LimitExceededException"),
        (lambda aws: aws.deny("ecr-public:CreateRepository"), 4, "ecr-public:CreateRepository"),
        (lambda aws: aws.fail("CreateRepository", "InvalidParameterException", "no"), 2, "InvalidParameterException"),
        (lambda aws: aws.keys.clear(), 4, "UnrecognizedClientException"),
    ],
)
def test_what_aws_refuses(aws: FakeAws, setting: Any, status: int, said: str) -> None:
    setting(aws)
    ran = call(aws, "create", "web")
    assert (ran.status, ran.out) == (status, b"")
    assert ran.err.startswith("error: creating web failed: AWS said ")
    assert said in ran.err
    assert aws.operations == ["CreateRepository"]
    failed = document(aws, "create", "web")
    assert (failed["ok"], failed["error"]["message"] in ran.err) == (False, True)


def test_without_credentials(aws: FakeAws) -> None:
    environ = {name: value for name, value in aws.environ().items() if "KEY" not in name}
    ran = run("repo", "describe", WEB, environ=environ)
    assert (ran.status, aws.calls) == (4, [])
    assert "no AWS credentials were found" in ran.err


# What is typed wrong.


BIG = "x" * 1025


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "public.ecr.aws/acme/web:1"], "a repository has no tag"),
        (["describe", f"{HOST}/{HOST}/web"], "stands inside the repository's name"),
        (["catalog", "ghcr.io/acme/web"], "ghcr.io is not a registry of Amazon ECR"),
        (["create", "we__b"], "one separator at a time"),
        (["create", "web", "--immutable"], "--immutable: for private repositories alone, and web is one of ECR Public"),
        (["create", "web", "--kms-key", "k"], "--kms-key: for private repositories alone"),
        (["create", PRIVATE, "--os", "linux"], "--os: for public repositories alone"),
        (["create", PRIVATE, "--description", ""], "--description: for public repositories alone"),
        (["catalog", PRIVATE], f"{PRIVATE} is private"),
        (["create", "web", "--description", BIG], "--description: it has 1,025 characters, more than the 1,024"),
        (["create", "web", "--os", ""], "--os: it is empty"),
        (["create", "web", "--arch", "x" * 51], "--arch: 'xxx"),
        (["create", "web", "--tag", "team"], "--tag 'team' is not KEY=VALUE"),
        (["create", "web", "--tag", "=x"], "\n  hint: Write team=web.\n"),
        (["create", "web", "--tag", "a=1", "--tag", "a=2"], "--tag: the key 'a' is given twice"),
        (["create", PRIVATE, "--immutable-except", "a/b"], "--immutable-except: 'a/b' is not a wildcard"),
        (["create", PRIVATE, "--kms-key", ""], "--kms-key: '' is not a KMS key"),
        (["create", "web", "--no-aws"], "--no-aws leaves nothing to be done"),
        (["catalog", "web", "--about-file", "/nonexistent.md"], "--about-file: cannot read Markdown file /nonexistent"),
        (
            ["catalog", "web", "--usage-file", "/dev/null"],
            "--usage-file: cannot read Markdown file /dev/null: it is no",
        ),
        (["catalog", "web", "--logo-file", __file__], "test_repo.py is not a PNG file"),
        (["catalog", "web", "--tag", "a=b"], "no such option: --tag"),
        (["frobnicate"], "no such command 'frobnicate'"),
        (["create"], "missing argument 'NAME'"),
        ([], "missing command"),
    ],
)
def test_what_is_typed_wrong_costs_no_call(aws: FakeAws, words: list[str], said: str) -> None:
    ran = call(aws, *words)
    assert (ran.status, ran.out) == (2, b"")
    assert said in ran.err
    assert ran.err.startswith("error: ")
    assert "\n  hint: " in ran.err or ":" in said
    assert aws.calls == []


def test_markdown_that_is_too_long(aws: FakeAws, tmp_path: Path) -> None:
    (tmp_path / "long.md").write_text("x" * 25_601)
    ran = call(aws, "catalog", "web", "--about-file", tmp_path / "long.md")
    assert (ran.status, aws.calls) == (2, [])
    assert f"error: --about-file: {tmp_path}/long.md has 25,601 characters, more than the 25,600" in ran.err


def test_options_before_the_command(aws: FakeAws) -> None:
    aws.add_repository("web")
    ran = run("--output", "json", "repo", "describe", "web", environ=aws.environ())
    assert ran.document["uri"] == WEB


# describe


def test_describe_a_public_one(aws: FakeAws) -> None:
    held(aws, usageText="docker run", logoUrl=LOGO)
    aws.registry.repositories["web"].tags = {"team": "web", "a": "1"}
    ran = call(aws, "describe", "web")
    assert (ran.status, ran.err) == (0, "")
    lines = ran.text.splitlines()
    created = aws.registry.repositories["web"].created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert lines == [
        WEB,
        "  arn            arn:aws:ecr-public::123456789012:repository/web",
        f"  created        {created}",
        "  tags           a=1, team=web",
        f"  page           {PAGE}",
        "  description    The web",
        "  systems        none",
        "  architectures  ARM 64",
        f"  logo           {LOGO}",
        "  about          23 characters",
        "  usage          10 characters",
    ]


def test_describe_a_private_one(aws: FakeAws) -> None:
    aws.add_private_repository(
        "web", mutability="IMMUTABLE_WITH_EXCLUSION", exclusions=["dev-*"], encryption={"encryptionType": "KMS"}
    )
    lines = call(aws, "describe", PRIVATE).text.splitlines()
    assert lines[0] == PRIVATE
    assert lines[3:] == [
        "  tags          none",
        "  mutability    IMMUTABLE_WITH_EXCLUSION, except dev-*",
        "  scan on push  no",
        "  encryption    KMS",
    ]
    found = document(aws, "describe", PRIVATE)
    assert (found["service"], found["catalog"], found["page"], found["tags"]) == ("ecr", None, None, {})
    assert found["settings"]["exclusions"] == ["dev-*"]
    assert found["settings"]["kms_key"] is None


def test_describe_as_json(aws: FakeAws) -> None:
    held(aws)
    aws.registry.repositories["web"].tags = {"team": "web"}
    found = document(aws, "describe", WEB)
    assert (found["service"], found["tags"], found["settings"]) == ("ecr-public", {"team": "web"}, None)
    assert found["catalog"] == {
        "description": "The web",
        "about": "# About\n\nIt::serves\x1b[2J",
        "usage": None,
        "operating_systems": [],
        "architectures": ["ARM 64"],
        "logo_url": None,
    }


def test_describe_says_what_could_not_be_read(aws: FakeAws) -> None:
    held(aws)
    aws.deny("ecr-public:ListTagsForResource")
    aws.deny("ecr-public:GetRepositoryCatalogData", explicit=True)
    ran = call(aws, "describe", WEB)
    assert ran.status == 0
    assert "  tags     unknown\n" in ran.text
    assert "  catalog  unknown\n" in ran.text
    assert "warning: its tags could not be read: reading the tags of public.ecr.aws/acme/web failed: " in ran.err
    assert '"Action": "ecr-public:ListTagsForResource"' in ran.err
    assert "forbids it explicitly" in ran.err
    found = document(aws, "describe", WEB)
    assert (found["ok"], found["tags"], found["catalog"]) == (True, None, None)
    assert [item["what"] for item in found["unread"]] == ["catalog data", "tags"]
    # No statement can allow what is forbidden.
    assert ["statement" in item for item in found["unread"]] == [False, True]
    assert found["unread"][1]["statement"]["Action"] == "ecr-public:ListTagsForResource"


@pytest.mark.parametrize(("name", "status"), [(WEB, 3), (PRIVATE, 3), ("public.ecr.aws/initech/web", 2)])
def test_describe_what_is_not_there(aws: FakeAws, name: str, status: int) -> None:
    ran = call(aws, "describe", name)
    assert (ran.status, ran.out) == (status, b"")
    assert f"the repository {name} does not exist" in ran.err or "its own: acme" in ran.err
    assert document(aws, "describe", name)["error"]["hint"]


# catalog


def test_catalog_shows_the_markdown_harmlessly(aws: FakeAws) -> None:
    held(aws, usageText="::set-output\r\nrun\n")
    ran = call(aws, "catalog", WEB)
    assert (ran.status, ran.err) == (0, "")
    assert ran.text.splitlines() == [
        WEB,
        f"  page           {PAGE}",
        "  description    The web",
        "  systems        none",
        "  architectures  ARM 64",
        "  logo           none",
        "about:",
        "    # About",
        "",
        r"    It::serves\x1b[2J",
        "usage:",
        r"    \x3a:set-output",
        "    run",
    ]


def test_catalog_of_a_repository_that_has_none(aws: FakeAws) -> None:
    aws.add_repository("web")
    assert call(aws, "catalog", WEB).text.endswith("  logo           none\nabout:\n    none\nusage:\n    none\n")
    found = document(aws, "catalog", WEB)
    assert (found["status"], found["changed"], found["catalog"]["about"]) == (None, [], None)


def test_catalog_changes_what_is_given(aws: FakeAws, tmp_path: Path) -> None:
    held(aws)
    (tmp_path / "usage.md").write_text("docker run")
    words: list[str | Path] = [
        "catalog",
        WEB,
        "--usage-file",
        tmp_path / "usage.md",
        "--arch",
        "amd64",
        "--os",
        "linux",
    ]
    ran = call(aws, *words)
    assert ran.status == 0
    assert ran.err == f"{WEB}: changed: usage, operating systems, architectures\n"
    assert "  architectures  x86-64\n" in ran.text
    assert "  description    The web\n" in ran.text
    again = call(aws, *words)
    assert again.err == f"{WEB}: unchanged, for all of it was so already\n"
    assert aws.operations.count("PutRepositoryCatalogData") == 1
    found = document(aws, *words[:2], "--description", "Another")
    assert (found["status"], found["changed"]) == ("updated", ["description"])
    assert (found["catalog"]["description"], found["catalog"]["usage"]) == ("Another", "docker run")
    assert document(aws, *words[:2], "--description", "Another")["status"] == "unchanged"


def test_catalog_does_not_lose_a_logo(aws: FakeAws, tmp_path: Path) -> None:
    held(aws, logoUrl=LOGO)
    ran = call(aws, "catalog", WEB, "--description", "Another")
    assert (ran.status, ran.out) == (2, b"")
    assert f"hint: Give it again with --logo-file FILE; it is at {LOGO}\n" in ran.err
    assert "PutRepositoryCatalogData" not in aws.operations
    (tmp_path / "logo.png").write_bytes(png(60, 60))
    ran = call(aws, "catalog", WEB, "--description", "Another", "--logo-file", tmp_path / "logo.png")
    assert ran.err == f"{WEB}: changed: description, logo\n"
    assert aws.registry.repositories["web"].logo == png(60, 60)
