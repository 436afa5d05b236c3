"""What Amazon's registries refuse, as somebody reads it: under their real names, through a proxy, with real boto3."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from tests.support.ecr_world import EcrWorld
from tests.support.running import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.running import Ran

PUBLIC = "public.ecr.aws/acme/web"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[EcrWorld]:
    with EcrWorld(tmp_path, rate_limit=None) as made:
        made.aws.add_repository("web")
        made.aws.add_private_repository("web", mutability="IMMUTABLE")
        for registry, name in ((made.registry, "acme/web"), (made.private_registry, "web")):
            registry.put_image(name, "1", "linux/amd64")
            registry.put_image(name, "2", "linux/arm64")
        yield made


def told(world: EcrWorld, *arguments: str, source: str | None = "keys", **environ: str) -> Ran:
    """Run a command with few retries; no secret may be shown."""
    variables = world.environment(source=source) | environ  # type: ignore[arg-type]
    ran = run(*arguments, "--ca-file", world.ca_file, "--retries", "1", "--no-token-cache", environ=variables)
    shown = ran.err + ran.text
    assert [secret for secret in world.secrets if secret in shown] == []
    assert "Traceback" not in ran.err
    assert "bug in manifestctl" not in ran.err
    return ran


def absent(world: EcrWorld) -> Ran:
    return told(world, "tag", "public.ecr.aws/acme/other:1", "3")


def no_credentials(world: EcrWorld) -> Ran:
    return told(world, "tag", f"{PUBLIC}:1", "3", source=None)


def left_out(world: EcrWorld) -> Ran:
    return told(world, "tag", f"{PUBLIC}:1", "3", "--no-aws")


def absent_to_read(world: EcrWorld) -> Ran:
    return told(world, "inspect", "public.ecr.aws/acme/webb:1")


def another_token(world: EcrWorld) -> Ran:
    stored = json.dumps({"auths": {world.private_host: {"identitytoken": "identity-token"}}})
    (world.home / ".docker").mkdir()
    (world.home / ".docker/config.json").write_text(stored)
    return told(world, "tag", f"{world.private_host}/web:1", "3", "--no-aws")


def stale(world: EcrWorld) -> Ran:
    auth = base64.b64encode(b"AWS:stale").decode()
    stored = json.dumps({"auths": {"public.ecr.aws": {"auth": auth}}})
    return told(world, "tag", f"{PUBLIC}:1", "3", "--no-aws", DOCKER_AUTH_CONFIG=stored)


def expired(world: EcrWorld) -> Ran:
    token = world.aws.token("ecr")
    auth = base64.b64encode(f"AWS:{token.password}".encode()).decode()
    world.aws.expire_tokens()
    stored = json.dumps({"auths": {world.private_host: {"auth": auth}}})
    return told(world, "tag", f"{world.private_host}/web:1", "3", "--no-aws", DOCKER_AUTH_CONFIG=stored)


def forbidden(world: EcrWorld) -> Ran:
    world.aws.deny("ecr-public:PutImage", explicit=True, form="scp")
    return told(world, "tag", f"{PUBLIC}:1", "3")


def elsewhere(world: EcrWorld) -> Ran:
    world.aws.add_alias("others", account="999999999999", primary=True)
    world.aws.add_repository("web", account="999999999999")
    world.registry.put_image("others/web", "1", "linux/amd64")
    return told(world, "tag", "public.ecr.aws/others/web:1", "3")


def immutable(world: EcrWorld) -> Ran:
    return told(world, "tag", f"{world.private_host}/web:1", "2")


def too_many_images(world: EcrWorld) -> Ran:
    world.public.images_limit = 0
    return told(world, "create", f"{PUBLIC}:both", ":1", ":2")


def a_host_too_many(world: EcrWorld) -> Ran:
    return told(world, "inspect", f"public.ecr.aws/{PUBLIC}:1")


def a_host_too_many_to_write(world: EcrWorld) -> Ran:
    return told(world, "tag", f"public.ecr.aws/{PUBLIC}:1", "3")


def no_alias(world: EcrWorld) -> Ran:
    return told(world, "create", "public.ecr.aws/web:1", f"{PUBLIC}:1", "--copy")


def half_a_key(world: EcrWorld) -> Ran:
    return told(world, "tag", f"{PUBLIC}:1", "3", source=None, AWS_SECRET_ACCESS_KEY="secret", AWS_ACCESS_KEY_ID="")


def too_large_a_list(world: EcrWorld) -> Ran:
    return told(world, "create", f"{PUBLIC}:both", ":1", ":2", "--annotation", f"a={'x' * 4 * 1024 * 1024}")


def misspelt(world: EcrWorld) -> Ran:
    host = "12345.dkr.ecr.eu-west-1.amazonaws.com"
    return told(world, "create", f"{host}/web:1", f"{PUBLIC}:1", "--copy", "--create-repository")


def made_elsewhere(world: EcrWorld) -> Ran:
    world.aws.deny("ecr-public:DescribeRegistries")
    target = "public.ecr.aws/others/made:1"
    return told(world, "create", target, f"{PUBLIC}:1", "--copy", "--create-repository")


def nobody_we_know(world: EcrWorld) -> Ran:
    return told(world, "tag", f"{PUBLIC}:1", "3", AWS_ACCESS_KEY_ID="AKIAOTHEROTHEROTHER1")


def no_bearer(world: EcrWorld) -> Ran:
    world.aws.deny("sts:GetServiceBearerToken")
    return told(world, "tag", f"{PUBLIC}:1", "3")


SEEN: dict[Callable[[EcrWorld], Ran], tuple[int, str, str]] = {
    absent: (
        3,
        "The repository with name 'other' does not exist",
        "'manifestctl repo create public.ecr.aws/acme/other'",
    ),
    no_credentials: (4, "Not Authorized", "No AWS credentials were used: set AWS_PROFILE"),
    left_out: (4, "Not Authorized", "AWS credentials were left out: leave out --no-aws"),
    absent_to_read: (3, "does not exist", "Check the spelling of the name, and the alias; if it is yours"),
    another_token: (4, "hold none", "They are a token of another kind; log in again: 'manifestctl login 123456789012."),
    stale: (4, "Your Authorization Token is invalid.", "'manifestctl logout public.ecr.aws'"),
    expired: (4, "", "'manifestctl logout 123456789012.dkr.ecr.eu-west-1.amazonaws.com'"),
    forbidden: (4, "with an explicit deny in a service control policy", "no statement elsewhere can allow it"),
    elsewhere: (4, "no resource-based policy allows the ecr-public:", "the policy of that resource must allow it too"),
    immutable: (7, "cannot be overwritten because the repository is immutable", "(imageTagMutability)"),
    too_many_images: (4, "maximum allowed number of images", "The quota of images per repository is reached"),
    a_host_too_many: (3, "NAME_UNKNOWN", "give it once, at the beginning: public.ecr.aws/acme/web."),
    a_host_too_many_to_write: (
        2,
        "stands inside the repository's name",
        "Write the host once: public.ecr.aws/acme/web",
    ),
    no_alias: (2, "there is no alias between", "Write public.ecr.aws/ALIAS/web."),
    half_a_key: (2, "Partial credentials found in env, missing: AWS_ACCESS_KEY_ID", "Set what is missing too"),
    too_large_a_list: (2, f"the list for {PUBLIC}:both: it has 4", "quota of manifest size (4 MiB) cannot be raised"),
    misspelt: (2, "12345.dkr.ecr.eu-west-1.amazonaws.com is not a host of Amazon ECR", "begins with the 12 digits"),
    made_elsewhere: (
        2,
        "public.ecr.aws/acme/made was made, and not",
        "Write public.ecr.aws/acme/made: that repository",
    ),
    nobody_we_know: (4, "UnrecognizedClientException", "AWS does not know this access key"),
    no_bearer: (4, "sts:GetServiceBearerToken", "needs both ecr-public:GetAuthorizationToken and sts:GetServiceBe"),
}


@pytest.mark.parametrize("case", SEEN, ids=lambda case: case.__name__)
def test_what_is_refused_is_told_with_the_next_step(world: EcrWorld, case: Callable[[EcrWorld], Ran]) -> None:
    code, words, hint = SEEN[case]
    ran = case(world)
    assert ran.status == code, ran.err
    assert words in ran.err
    [step] = [line for line in ran.err.splitlines() if line.startswith("  hint: ") and hint in line]
    assert step


def test_the_statement_can_be_pasted(world: EcrWorld) -> None:
    denied = world.public.deny("PutImage")
    ran = told(world, "tag", f"{PUBLIC}:1", "3", "--output", "json")
    arn = "arn:aws:ecr-public::123456789012:repository/web"
    statement = {"Effect": "Allow", "Action": "ecr-public:PutImage", "Resource": arn}
    assert ran.status == 4
    assert ran.document["error"]["statement"] == statement
    assert json.dumps(statement) in ran.err
    # A permission that is missing is no reason for another token, nor for another try.
    assert (denied.hits, world.aws.operations) == (1, ["GetAuthorizationToken"])
