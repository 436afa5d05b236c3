"""`--create-repository` of `push`, `create` and `copy`: what it makes, when, and that it costs nothing where it need not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import images
from tests.support.ecr_world import EcrWorld
from tests.support.running import Ran, run, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.certificates import Certificates
    from tests.support.fake_registry import FakeRegistry

PAIR = {name: images.image(f"linux/{name}") for name in ("amd64", "arm64")}
MADE = ["DescribeRegistries", "CreateRepository"]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Return the certificates of a world, which take their time to be made."""
    return EcrWorld(tmp_path_factory.mktemp("hosts")).certificates


@pytest.fixture
def world(tmp_path: Path, hosts: Certificates) -> Iterator[EcrWorld]:
    with EcrWorld(tmp_path / "world", certificates=hosts) as started:
        yield started


@pytest.fixture
def layout(tmp_path: Path) -> str:
    images.write_layout(tmp_path / "layout", PAIR)
    return f"oci:{tmp_path / 'layout'}"


def call(world: EcrWorld, *words: str, apart: bool = False) -> Ran:
    """Run a command that may make repositories; ``apart`` in a process of its own, with which its threads end."""
    start = run_process if apart else run
    ran = start(*words, "--ca-file", world.ca_file, "--create-repository", environ=world.environ)
    assert not [secret for secret in world.secrets if secret in ran.err + ran.text]
    return ran


def asked(world: EcrWorld) -> list[str]:
    """Return what AWS was asked for besides tokens."""
    return [name for name in world.aws.operations if name != "GetAuthorizationToken"]


def test_push_makes_a_public_repository(world: EcrWorld, layout: str) -> None:
    ran = call(world, "push", f"{layout}:amd64", "public.ecr.aws/acme/web:1")
    assert ran.status == 0, ran.err
    assert asked(world) == MADE
    assert "created the repository public.ecr.aws/acme/web\n" in ran.err
    assert world.registry.tag("acme/web", "1") == PAIR["amd64"].digest


def test_push_makes_a_private_repository(world: EcrWorld, layout: str) -> None:
    ran = call(world, "push", f"{layout}:amd64", f"{world.private_host}/team/web:1")
    assert ran.status == 0, ran.err
    assert asked(world) == ["CreateRepository"]
    assert world.private_registry.tag("team/web", "1") == PAIR["amd64"].digest


def test_push_waits_for_what_was_just_made(world: EcrWorld, layout: str) -> None:
    world.public.just_created_lag = 2
    ran = call(world, "push", f"{layout}:amd64", "public.ecr.aws/acme/web:1")
    assert ran.status == 0, ran.err
    assert asked(world) == MADE


def test_push_to_a_repository_that_is_there_asks_for_a_token_alone(world: EcrWorld, layout: str) -> None:
    world.aws.add_repository("web")
    assert call(world, "push", f"{layout}:amd64", "public.ecr.aws/acme/web:1").status == 0
    assert world.aws.operations == ["GetAuthorizationToken"]


@pytest.mark.parametrize(
    ("target", "status", "said"),
    [
        ("public.ecr.aws/initech/web:1", 2, "'initech' is not an alias of the AWS account 123456789012"),
        ("public.ecr.aws/acme/we__b:1", 2, "one separator at a time"),
    ],
)
def test_what_is_not_ours_to_make(world: EcrWorld, layout: str, target: str, status: int, said: str) -> None:
    ran = call(world, "push", f"{layout}:amd64", target, apart=True)
    assert (ran.status, ran.out) == (status, b"")
    assert said in ran.err
    assert "CreateRepository" not in asked(world)


def test_a_denied_creation_says_what_is_missing(world: EcrWorld, layout: str) -> None:
    world.aws.deny("ecr-public:CreateRepository")
    ran = call(world, "push", f"{layout}:amd64", "public.ecr.aws/acme/web:1", "--output", "json", apart=True)
    assert ran.status == 4
    error = ran.document["error"]
    assert error["statement"]["Action"] == "ecr-public:CreateRepository"
    assert ran.document["published"] is False


def test_copy_makes_a_repository(world: EcrWorld, layout: str) -> None:
    ran = call(world, "copy", f"{layout}:arm64", "public.ecr.aws/acme/copied:1")
    assert ran.status == 0, ran.err
    assert asked(world) == MADE
    assert world.registry.tag("acme/copied", "1") == PAIR["arm64"].digest


@pytest.mark.parametrize("kind", ["public", "private"])
def test_create_with_copy_makes_a_repository_for_images_from_elsewhere(world: EcrWorld, layout: str, kind: str) -> None:
    del layout
    target = {"public": "public.ecr.aws/acme/web:1", "private": f"{world.private_host}/web:1"}[kind]
    source = {"public": "public.ecr.aws/acme/parts", "private": f"{world.private_host}/parts"}[kind]
    held = {"public": world.registry, "private": world.private_registry}[kind]
    world.aws.add_repository("parts")
    world.aws.add_private_repository("parts")
    for name, image in PAIR.items():
        held.put({"public": "acme/parts", "private": "parts"}[kind], name, image)
    words = ("create", target, f"{source}:amd64", f"{source}:arm64", "--copy")
    dry = call(world, *words, "--dry-run")
    assert dry.status == 0, dry.err
    assert asked(world) == []
    ran = call(world, *words)
    assert ran.status == 0, ran.err
    assert asked(world) == {"public": MADE, "private": ["CreateRepository"]}[kind]
    assert held.tag({"public": "acme/web", "private": "web"}[kind], "1") == ran.text.strip().partition("@")[2]
    again = call(world, *words, "--output", "json")
    assert again.document["status"] == "unchanged"


def test_create_without_copy_makes_nothing(world: EcrWorld) -> None:
    ran = call(world, "create", "public.ecr.aws/acme/web:1", ":amd64", ":arm64")
    assert (ran.status, ran.out) == (3, b"")
    assert asked(world) == []
    hint = ran.err.partition("hint: ")[2]
    assert "Push the images into it first" in hint
    assert "'create --copy'" in hint


def test_create_of_images_elsewhere_without_copy_makes_nothing(world: EcrWorld) -> None:
    world.aws.add_repository("parts")
    world.registry.put("acme/parts", "amd64", PAIR["amd64"])
    ran = call(world, "create", "public.ecr.aws/acme/web:1", "public.ecr.aws/acme/parts:amd64")
    assert (ran.status, ran.out) == (1, b"")
    assert "--copy" in ran.err
    assert asked(world) == []


def test_other_registries_and_layouts_need_none(registry: FakeRegistry, layout: str, tmp_path: Path) -> None:
    registry.put("web", "amd64", PAIR["amd64"])
    target = registry.reference("web", "1")
    for words in (
        ("push", f"{layout}:arm64", registry.reference("web", "arm64")),
        ("create", target, ":amd64", ":arm64"),
        ("copy", target, f"oci:{tmp_path / 'copied'}:1"),
        ("create", f"oci:{tmp_path / 'copied'}:2", f"{layout}:amd64", "--copy"),
    ):
        ran = run(*words, "--create-repository")
        assert ran.status == 0, ran.err
        assert ran.err.count("--create-repository does nothing for ") == 1
