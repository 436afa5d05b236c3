"""Private ECR's API as moto has built it: a second opinion on what `repo` sends and reads, beside the tests' own AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.support.moto_server import PROGRAM, MotoServer
from tests.support.real import require_real
from tests.support.running import Ran, run

if TYPE_CHECKING:
    from collections.abc import Iterator

REGISTRY = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def moto() -> Iterator[MotoServer]:
    require_real(PROGRAM)
    with MotoServer() as server:
        yield server


def call(moto: MotoServer, *words: str) -> Ran:
    return run("repo", *words, environ=moto.environ)


def held(moto: MotoServer, name: str) -> dict[str, Any]:
    """Return what moto has of a repository."""
    client = boto3.client(
        "ecr",
        region_name="eu-west-1",
        endpoint_url=moto.url,
        aws_access_key_id="AKIAOTHER",
        aws_secret_access_key="any",
    )
    [found] = client.describe_repositories(repositoryNames=[name])["repositories"]
    tags = client.list_tags_for_resource(resourceArn=found["repositoryArn"])["tags"]
    return {**found, "tags": {tag["Key"]: tag["Value"] for tag in tags}}


def test_a_repository_is_made_as_it_was_asked_for(moto: MotoServer) -> None:
    name = f"{REGISTRY}/team/web"
    made = call(moto, "create", name, "--immutable", "--scan-on-push", "--tag", "team=web", "--tag", "env=prod")
    assert (made.status, made.text) == (0, f"{name}\n"), made.err
    found = held(moto, "team/web")
    assert found["repositoryUri"] == name
    assert found["imageTagMutability"] == "IMMUTABLE"
    assert found["imageScanningConfiguration"] == {"scanOnPush": True}
    assert found["tags"] == {"team": "web", "env": "prod"}


def test_one_that_is_there_is_left_as_it_is(moto: MotoServer) -> None:
    name = f"{REGISTRY}/team/api"
    assert call(moto, "create", name).status == 0
    again = call(moto, "create", name, "--immutable", "--output", "json")
    assert again.status == 0, again.err
    assert again.document["status"] == "unchanged"
    assert again.document["differences"] != []
    assert held(moto, "team/api")["imageTagMutability"] == "MUTABLE"


def test_it_is_described(moto: MotoServer) -> None:
    name = f"{REGISTRY}/team/described"
    assert call(moto, "create", name, "--tag", "a=b").status == 0
    described = call(moto, "describe", name, "--output", "json")
    assert described.status == 0, described.err
    found = held(moto, "team/described")
    assert described.document["arn"] == found["repositoryArn"]
    assert described.document["tags"] == {"a": "b"}


def test_one_that_is_not_there(moto: MotoServer) -> None:
    ran = call(moto, "describe", f"{REGISTRY}/team/absent")
    assert ran.status == 3
    assert "team/absent does not exist" in ran.err
