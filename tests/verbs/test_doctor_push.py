"""`doctor`: what a push asks of a repository before it sends anything, and that no more is promised than was tried."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from manifestctl.aws.repository_settings import PrivateSettings
from manifestctl.aws.settings import AwsSettings
from manifestctl.transport.settings import TransportSettings
from tests.support.actions import error, reset, status
from tests.support.connect_proxy import ConnectProxy
from tests.support.ecr_world import EcrWorld
from tests.support.faults import FOREVER
from tests.support.world import World
from tests.verbs.doctoring import Examined, examine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry
    from tests.support.faults import Action

WEB = "public.ecr.aws/acme/web"
PRIVATE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture
def ecr(tmp_path: Path) -> Iterator[EcrWorld]:
    """Return AWS with the repository ``web`` in ECR Public and in ECR."""
    with EcrWorld(tmp_path) as world:
        world.aws.add_repository("web")
        world.aws.add_private_repository("web")
        yield world


def at(ecr: EcrWorld, target: str, *, aws: AwsSettings | None = None) -> Examined:
    return examine(target, environ=ecr.environ, settings=TransportSettings(ca_file=ecr.ca_file, retries=2), aws=aws)


# What may not be read, and may not be looked for.


@pytest.mark.parametrize("action", ["BatchGetImage", "BatchCheckLayerAvailability"])
def test_a_permission_that_a_push_to_a_private_repository_needs(ecr: EcrWorld, action: str) -> None:
    ecr.private.deny(action)
    examined = at(ecr, f"{PRIVATE}/web:1")
    name = "tag" if action == "BatchGetImage" else "layers"
    assert examined.named("failed") == [name]
    assert examined.exit_code == examined[name].exit_code == 4
    assert f"ecr:{action}" in examined[name].next_step
    assert examined["repository"].state == "ok"
    # To HEAD no permission is named.
    assert bool(examined[name].statement) == (name == "tag")


def test_a_permission_that_a_push_to_ecr_public_can_do_without(ecr: EcrWorld) -> None:
    ecr.public.deny("BatchCheckLayerAvailability")
    examined = at(ecr, f"{WEB}:1")
    assert examined.named("warning") == ["layers"]
    assert "so GET is used" in examined["layers"].seen
    assert "ecr-public:BatchCheckLayerAvailability" in examined["layers"].seen
    assert examined["repository"].state == examined["tag"].state == "ok"
    assert examined.exit_code == 0


def test_all_permissions_that_are_missing_are_named_at_once(ecr: EcrWorld) -> None:
    for action in ("InitiateLayerUpload", "BatchGetImage", "BatchCheckLayerAvailability"):
        ecr.private.deny(action)
    examined = at(ecr, f"{PRIVATE}/web:1")
    assert examined.named("failed") == ["repository", "tag", "layers"]
    assert json.loads(examined["tag"].statement)["Action"] == "ecr:BatchGetImage"
    assert "in private repositories BatchGetImage" in examined["repository"].next_step


@pytest.mark.parametrize(
    ("answer", "method", "path", "name", "code"),
    [
        (error(403, "DENIED", "reading is not for you"), "GET", "/manifests/1$", "tag", 4),
        (reset(), "GET", "/manifests/1$", "tag", 5),
        (status(500), "HEAD", "/blobs/", "layers", 5),
        (status(403), "HEAD", "/blobs/", "layers", 4),
    ],
)
def test_what_another_registry_refuses(
    registry: FakeRegistry, answer: Action, method: str, path: str, name: str, code: int
) -> None:
    registry.faults.add(answer, method=method, path=path, times=FOREVER)
    examined = examine(registry.reference("web", "1"))
    assert examined.named("failed") == [name]
    assert examined.exit_code == code


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (error(403, "DENIED", "pushing is not for you"), "needs to be let in"),
        (error(404, "NAME_UNKNOWN", "no such repository"), "needs the repository"),
        (reset(), "needs a repository that takes uploads"),
    ],
)
def test_what_would_be_refused_in_the_same_words_is_not_tried(registry: FakeRegistry, answer: Action, why: str) -> None:
    registry.faults.add(answer, method="POST", times=FOREVER)
    examined = examine(registry.reference("web", "1"))
    assert examined.named("failed") == ["repository"]
    assert examined["tag"].seen == examined["layers"].seen == why
    assert registry.count("HEAD") == 0


# What the tag holds.


def test_what_a_tag_holds(registry: FakeRegistry) -> None:
    digest = registry.put_image("web", "1")
    assert examine(registry.reference("web", "1"))["tag"].seen == f"1 holds {digest}"
    assert examine(registry.reference("web", digest))["tag"].seen == f"{digest} is there"
    absent = f"sha256:{'a' * 64}"
    assert examine(registry.reference("web", absent))["tag"].seen == f"{absent} is not there yet"
    assert examine(registry.reference("web"))["tag"].seen == "latest is not there yet"


@pytest.mark.parametrize(
    ("mutability", "exclusions", "tag", "kept"),
    [
        ("MUTABLE", (), "1", False),
        ("IMMUTABLE", (), "1", True),
        ("IMMUTABLE_WITH_EXCLUSION", ("dev-*", "*-rc"), "1", True),
        ("IMMUTABLE_WITH_EXCLUSION", ("dev-*", "*-rc"), "dev-1", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("dev-*", "*-rc"), "1-rc", False),
        ("MUTABLE_WITH_EXCLUSION", ("v*",), "v1", True),
        ("MUTABLE_WITH_EXCLUSION", ("v*",), "1", False),
    ],
)
def test_a_tag_that_may_not_be_moved(
    ecr: EcrWorld, mutability: str, exclusions: tuple[str, ...], tag: str, kept: bool
) -> None:
    assert PrivateSettings(mutability, exclusions, False, "AES256", "").keeps(tag) == kept
    repository = ecr.aws.private.find("web", "123456789012", "eu-west-1")
    assert repository is not None
    repository.mutability, repository.exclusions = mutability, list(exclusions)
    there = "; once it is, it is immutable" if kept else ""
    assert at(ecr, f"{PRIVATE}/web:{tag}")["tag"].seen == f"{tag} is not there yet{there}"
    digest = ecr.private_registry.put_image("web", tag)
    examined = at(ecr, f"{PRIVATE}/web:{tag}")
    assert examined["tag"].state == ("warning" if kept else "ok")
    assert examined["tag"].seen.startswith(f"{tag} holds {digest}")
    assert (f"immutable ({mutability}): a push of anything else" in examined["tag"].seen) == kept
    # The same image can be pushed again, so it is no failure.
    assert (examined.exit_code, bool(examined["tag"].next_step)) == (0, kept)


def test_a_rule_that_may_not_be_seen(ecr: EcrWorld) -> None:
    ecr.private_registry.put_image("web", "1")
    ecr.aws.deny("ecr:DescribeRepositories")
    examined = at(ecr, f"{PRIVATE}/web:1")
    assert examined["tag"].state == "ok"
    assert "; whether it is immutable is not known: AWS does not tell: " in examined["tag"].seen
    assert examined["quotas"].state == "ok"
    assert examined.exit_code == 0


# A repository that was just made.


@pytest.mark.parametrize("target", ["public.ecr.aws/acme/new", f"{PRIVATE}/new"])
@pytest.mark.parametrize("seen", [True, False])
def test_a_repository_that_was_just_made_is_waited_for(ecr: EcrWorld, target: str, seen: bool) -> None:
    front = ecr.public if target.startswith("public") else ecr.private
    ecr.aws.add_repository("new")
    ecr.aws.add_private_repository("new")
    unknown = error(404, "NAME_UNKNOWN", "The repository with name 'new' does not exist in the registry with id '1'")
    front.faults.add(unknown, method="POST", path="/new/blobs/uploads/", times=3 if seen else FOREVER)
    examined = at(ecr, f"{target}:1")
    check = examined["repository"]
    assert sum(examined.world.slept) == pytest.approx(1.5 if seen else 10)
    assert check.state == ("ok" if seen else "failed")
    if not seen:
        assert check.seen.startswith(f"AWS's API knows {target}, but the registry does not: ")
        assert check.next_step.startswith("If it was just made, run this again in a minute; ")
        assert examined.exit_code == 3


def test_a_repository_that_aws_does_not_know_is_not_waited_for(ecr: EcrWorld) -> None:
    for target in ("public.ecr.aws/acme/new:1", f"{PRIVATE}/new:1"):
        examined = at(ecr, target)
        assert (examined["repository"].exit_code, examined.world.slept) == (3, [])
        assert examined["repository"].next_step.startswith("Make it: ")
    # What is not there has no quotas to be asked for.
    assert ecr.aws.operations.count("DescribeRepositories") == 1


# What is not tried.


def test_what_is_not_tried_is_named(ecr: EcrWorld, registry: FakeRegistry, tmp_path: Path) -> None:
    actions = ("UploadLayerPart", "CompleteLayerUpload", "PutImage")
    for target, untried in (
        (f"{WEB}:1", actions),
        (f"{PRIVATE}/web:1", actions),
        (registry.reference("web", "1"), ("sending a layer", "writing a manifest")),
        (f"oci:{tmp_path / 'layout'}", ()),
    ):
        assert at(ecr, target).diagnosis.untried == untried
    assert examine(registry=registry.host).diagnosis.untried == ()
    assert (registry.manifest_puts, ecr.registry.manifest_puts, ecr.private_registry.manifest_puts) == ([], [], [])


# The region in a host's name.


@pytest.mark.parametrize(
    ("host", "advised"),
    [("123456789012.dkr.ecr.eu-nowhere-9.amazonaws.com", True), ("public.ecr.aws", False), ("r.example", False)],
)
@pytest.mark.parametrize("code", [502, 403])
def test_a_proxy_that_does_not_find_the_host(tmp_path: Path, host: str, advised: bool, code: int) -> None:
    name = "acme/web" if host.startswith("public") else "web"
    world = World({"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"})
    with ConnectProxy({}, unknown_status=code) as proxy:
        world.environ["HTTPS_PROXY"] = proxy.url
        check = examine(f"{host}/{name}:1", world=world, aws=AwsSettings("never"))["proxy"]
    assert f"did not connect to {host}: {code}" in check.seen
    said = "Or there is no such host: check the region (eu-nowhere-9)." in check.next_step
    assert said == (advised and code == 502)


def test_a_host_that_dns_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    world = World({"HOME": str(tmp_path), "NO_PROXY": "*"})
    host = "123456789012.dkr.ecr.eu-nowhere-9.amazonaws.com"
    check = examine(f"{host}/web:1", world=world, aws=AwsSettings("never"))["dns"]
    assert check.state == "failed"
    assert check.next_step.endswith("Or there is no such host: check the region (eu-nowhere-9).")


def test_an_account_without_an_alias_is_told_how_it_gets_one(tmp_path: Path) -> None:
    with EcrWorld(tmp_path, alias=None) as ecr:
        alias = at(ecr, f"{WEB}:1")["alias"]
    assert alias.next_step.startswith("'manifestctl repo create web' makes its first repository, which brings an alias")
