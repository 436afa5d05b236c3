"""Amazon ECR Public and ECR from end to end: AWS credentials in the environment, and nothing else.

boto3, TLS, the proxy, the registry behind the front and the readers are real; the front behaves as ECR does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import images
from tests.support.ecr_world import EcrWorld
from tests.support.real import require_real
from tests.support.running import Ran, run_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.real_registry import RealRegistry
    from tests.support.tools import Tools

ARCHITECTURES = ("amd64", "arm64")


@pytest.fixture(scope="module")
def world(real_registry: RealRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EcrWorld]:
    with EcrWorld(tmp_path_factory.mktemp("world"), backend=real_registry.url) as made:
        yield made


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("images") / "layout"
    images.write_layout(directory, {name: images.image(f"linux/{name}", layers=2) for name in ARCHITECTURES})
    return directory


def call(world: EcrWorld, *words: str) -> Ran:
    """Run a command in a process of its own; what it calls AWS for is in `world.aws.calls`."""
    return run_process(*words, "--ca-file", str(world.ca_file), environ=world.environ)


def done(world: EcrWorld, *words: str) -> str:
    """Run a command that must succeed; returns its stdout."""
    ran = call(world, *words)
    assert ran.status == 0, ran.err
    return ran.text.strip()


def operations(world: EcrWorld) -> list[str]:
    return [made.operation for made in world.aws.calls]


def through(world: EcrWorld, tools: Tools, *words: str) -> Any:
    """Let skopeo read through the proxy, with the log-in that was stored."""
    stored = world.home / ".docker" / "config.json"
    environ = {"HTTPS_PROXY": world.proxy.url, "SSL_CERT_FILE": str(world.ca_file), "REGISTRY_AUTH_FILE": str(stored)}
    return json.loads(tools.run("skopeo", *words, environ=environ).stdout)


@pytest.mark.parametrize("kind", ["public", "private"])
def test_from_credentials_to_a_list_that_others_read(world: EcrWorld, layout: Path, tools: Tools, kind: str) -> None:
    require_real("docker-registry", "skopeo")
    name = {"public": f"{world.host}/acme/web", "private": f"{world.private_host}/team/web"}[kind]
    registry = name.partition("/")[0]
    assert done(world, "repo", "create", name) == name
    before = len(world.aws.calls)
    for architecture in ARCHITECTURES:
        pushed = done(world, "push", f"oci:{layout}:{architecture}", f"{name}:1-{architecture}")
        assert pushed.startswith(f"{name}@sha256:")
    published = done(
        world, "create", f"{name}:1", ":1-amd64", ":1-arm64", "--require", "linux/amd64,linux/arm64", "--tag", "latest"
    )
    # One token for all three runs: the first keeps it for the others.
    assert operations(world)[before:] == ["GetAuthorizationToken"]
    done(world, "login", registry)
    for tag in ("1", "latest"):
        read = through(world, tools, "inspect", "--raw", f"docker://{name}:{tag}")
        assert [entry["platform"]["architecture"] for entry in read["manifests"]] == list(ARCHITECTURES)
    assert through(world, tools, "inspect", f"docker://{published}")["Digest"] == published.partition("@")[2]
    done(world, "logout", registry)
    stored = json.loads((world.home / ".docker" / "config.json").read_text())
    assert registry not in stored.get("auths", {})
    again = call(world, "create", f"{name}:1", ":1-amd64", ":1-arm64", "--output", "json")
    assert again.status == 0, again.err
    assert json.loads(again.text)["status"] == "unchanged"


def test_a_missing_repository_is_made_on_the_way(world: EcrWorld, layout: Path) -> None:
    require_real("docker-registry")
    name = f"{world.host}/acme/made/on-the-way"
    before = len(world.aws.calls)
    assert done(world, "push", f"oci:{layout}:amd64", f"{name}:1", "--create-repository").startswith(f"{name}@")
    assert operations(world)[before:].count("CreateRepository") == 1
    before = len(world.aws.calls)
    done(world, "push", f"oci:{layout}:amd64", f"{name}:2", "--create-repository")
    assert operations(world)[before:] == []
