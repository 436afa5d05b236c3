"""Names of repositories: the forms that are taken, and every way in which AWS would refuse one, before it is asked."""

from __future__ import annotations

import pytest

from manifestctl.aws.repository_names import RepositoryName
from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.model.reference import Reference

PUBLIC = "public.ecr.aws"
PRIVATE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
STACKED = "123456789012.dkr-ecr.eu-west-1.on.aws"
LONG_PUBLIC, LONG_PRIVATE = "a" * 205, "a" * 256


@pytest.mark.parametrize(
    ("text", "alias", "name", "shown"),
    [
        (f"{PUBLIC}/acme/web", "acme", "web", f"{PUBLIC}/acme/web"),
        (f"{PUBLIC}/acme/team/web-1.0_a", "acme", "team/web-1.0_a", f"{PUBLIC}/acme/team/web-1.0_a"),
        ("Public.ECR.aws/acme/web", "acme", "web", f"{PUBLIC}/acme/web"),
        ("ecr-public.aws.com/acme/web", "acme", "web", "ecr-public.aws.com/acme/web"),
        ("web", "", "web", "web"),
        ("web.api", "", "web.api", "web.api"),
        ("team/web", "", "team/web", "team/web"),
        (f"{PUBLIC}/acme/{LONG_PUBLIC}", "acme", LONG_PUBLIC, f"{PUBLIC}/acme/{LONG_PUBLIC}"),
        (f"{PRIVATE}/web", "", "web", f"{PRIVATE}/web"),
        (f"{PRIVATE}/team/we__b--c", "", "team/we__b--c", f"{PRIVATE}/team/we__b--c"),
        (f"{PRIVATE}/{LONG_PRIVATE}", "", LONG_PRIVATE, f"{PRIVATE}/{LONG_PRIVATE}"),
        (f"{STACKED}/web", "", "web", f"{STACKED}/web"),
        # A mirror of public images in a private registry.
        (f"{PRIVATE}/{PUBLIC}/acme/web", "", f"{PUBLIC}/acme/web", f"{PRIVATE}/{PUBLIC}/acme/web"),
    ],
)
def test_forms(text: str, alias: str, name: str, shown: str) -> None:
    parsed = RepositoryName.parse(text)
    assert (parsed.alias, parsed.name, str(parsed)) == (alias, name, shown)
    assert RepositoryName.parse(str(parsed)) == parsed


def test_what_the_host_says() -> None:
    public, private = RepositoryName.parse("web").host, RepositoryName.parse(f"{PRIVATE}/web").host
    assert (public.host, public.service, public.region) == (PUBLIC, "ecr-public", "us-east-1")
    assert (private.service, private.account, private.region) == ("ecr", "123456789012", "eu-west-1")


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ("", "names no repository", "ALIAS/NAME"),
        (PUBLIC, "names no repository", "ALIAS/NAME"),
        (f"{PUBLIC}/", "names no repository", "ALIAS/NAME"),
        (f"{PUBLIC}//web", "names no repository", "ALIAS/NAME"),
        (f"{PUBLIC}/acme/", "names no repository", "ALIAS/NAME"),
        (PRIVATE, "names no repository", "dkr.ecr"),
        (f"{PUBLIC}/web", "no alias", "or web alone"),
        (f"https://{PUBLIC}/acme/web", "it is a URL", f"scheme: {PUBLIC}/acme/web"),
        (f"{PUBLIC}/acme/web:1", "has no tag", f"Write {PUBLIC}/acme/web"),
        ("web:", "has no tag", "Write web"),
        (f"{PUBLIC}/acme/web@sha256:0", "has no digest", f"Write {PUBLIC}/acme/web"),
        ("web:1@sha256:0", "has no digest", "Write web"),
        ("ghcr.io/acme/web", "ghcr.io is not a registry of Amazon ECR", "by their own means"),
        ("localhost/web", "localhost is not a registry", "by their own means"),
        (f"{PUBLIC}:443/acme/web", f"{PUBLIC}:443 is not a registry", "has no port"),
        (f"{PUBLIC}/acme/{PUBLIC}/acme/web", f"host {PUBLIC} stands inside", f"once: {PUBLIC}/acme/web"),
        (f"{PUBLIC}/{PUBLIC}/acme/web", f"host {PUBLIC} stands inside", f"once: {PUBLIC}/acme/web"),
        (f"{PUBLIC}/acme/{PRIVATE}/web", f"host {PRIVATE} stands inside", f"once: {PRIVATE}/web"),
        (f"{PRIVATE}/{PRIVATE}/web", f"host {PRIVATE} stands inside", f"once: {PRIVATE}/web"),
        (f"team/{PRIVATE}/web", f"host {PRIVATE} stands inside", f"once: {PRIVATE}/web"),
        ("Web", "must be lower-case", "Write web"),
        (f"{PUBLIC}/Acme/web", "must be lower-case", f"Write {PUBLIC}/acme/web"),
        (f"{PRIVATE}/Web", "must be lower-case", f"Write {PRIVATE}/web"),
        ("w", "has 1 character, and on ECR Public it has 2 to 205", "length"),
        (f"{PUBLIC}/acme/a{LONG_PUBLIC}", "has 206 characters, and on ECR Public it has 2 to 205", "length"),
        (f"{PRIVATE}/a{LONG_PRIVATE}", "has 257 characters, and on ECR it has 2 to 256", "length"),
        ("we__b", "one separator at a time", "Write we_b"),
        (f"{PUBLIC}/acme/web---api", "one separator at a time", "Write web-api"),
        (f"{PUBLIC}/acme/we..b", "is not a repository name", "'.', '_' or '-'"),
        (f"{PRIVATE}/we..b", "is not a repository name", "any number of '-'"),
        (f"{PRIVATE}/we___b", "is not a repository name", "'__'"),
        ("/web", "is not a repository name", "lower-case"),
        ("web/", "is not a repository name", "lower-case"),
        ("a//b", "is not a repository name", "lower-case"),
        ("-web", "is not a repository name", "lower-case"),
        ("wéb", "is not a repository name", "lower-case"),
        ("web\n", r"'web\n' is not a repository name", "lower-case"),
        (f"{PUBLIC}/a b/web", "'a b' is not an alias", "ALIAS"),
        (f"{PUBLIC}/::x/web", "is not an alias", "ALIAS"),
        ("12345.dkr.ecr.eu-west-1.amazonaws.com/web", "is not a registry of Amazon ECR", "12 digits of its account"),
    ],
)
def test_what_aws_would_refuse(text: str, reason: str, hint: str) -> None:
    with pytest.raises(InputError, match="does not name a repository of Amazon ECR") as caught:
        RepositoryName.parse(text)
    assert reason in caught.value.message
    assert hint in caught.value.hint
    assert "\n" not in caught.value.message + caught.value.hint


def test_of_a_reference() -> None:
    reference = Reference(PUBLIC, "acme/web", "1", Digest.of(b""))
    assert RepositoryName.of(reference) == RepositoryName.parse(f"{PUBLIC}/acme/web")
    # As an image, "web" alone is somewhere else.
    with pytest.raises(InputError, match="no alias") as caught:
        RepositoryName.of(Reference(PUBLIC, "web"))
    assert caught.value.hint == f"Write {PUBLIC}/ALIAS/web."
    with pytest.raises(InputError, match="no alias") as caught:
        RepositoryName.parse(f"{PUBLIC}/web")
    assert caught.value.hint == f"Write {PUBLIC}/ALIAS/web, or web alone for your own alias."


def test_under_another_alias() -> None:
    assert str(RepositoryName.parse("web").under("acme")) == f"{PUBLIC}/acme/web"
