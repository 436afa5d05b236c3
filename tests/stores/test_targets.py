"""What a name tells of a place that is to be written, before anything is sent to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from manifestctl.aws.settings import AwsSettings
from manifestctl.errors import InputError
from manifestctl.events import Noted
from manifestctl.model.location import parse_location
from manifestctl.stores.locate import Stores
from tests.support.world import World

if TYPE_CHECKING:
    from pathlib import Path

PRIVATE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
MAKING = AwsSettings(create_repositories=True)


def opened(text: str, world: World, aws: AwsSettings | None = None, *, write: bool = True) -> None:
    with Stores.of_system(world.runtime, aws=aws) as stores:
        for _ in range(2):
            stores(parse_location(text), write=write)


@pytest.mark.parametrize("aws", [None, AwsSettings(), AwsSettings("never"), MAKING])
@pytest.mark.parametrize(
    ("text", "said", "step"),
    [
        ("public.ecr.aws/web:1", "there is no alias", "Write public.ecr.aws/ALIAS/web."),
        ("public.ecr.aws/acme/public.ecr.aws/acme/web:1", "stands inside the", "once: public.ecr.aws/acme/web"),
        ("ecr-public.aws.com/acme/we__b:1", "one separator at a time", "Write we_b"),
        (f"{PRIVATE}/{PRIVATE}/web:1", "stands inside the repository's name", f"once: {PRIVATE}/web"),
    ],
)
def test_names_that_cannot_exist(text: str, said: str, step: str, aws: AwsSettings | None) -> None:
    world = World()
    with pytest.raises(InputError, match=said) as caught:
        opened(text, world, aws)
    assert step in caught.value.hint
    # Whoever reads is told by the registry that there is nothing.
    opened(text, world, aws, write=False)
    assert world.said == []


@pytest.mark.parametrize(
    "text", ["public.ecr.aws/acme/web:1", f"{PRIVATE}/web:1", f"{PRIVATE}/public.ecr.aws/acme/web:1"]
)
def test_names_that_can(text: str) -> None:
    world = World()
    opened(text, world, MAKING)
    assert world.said == []


@pytest.mark.parametrize(
    "host", ["12345.dkr.ecr.eu-west-1.amazonaws.com", f"{PRIVATE}:443", "public.ecr.aws.com", "gallery.ecr.aws"]
)
def test_a_repository_is_to_be_made_at_a_host_that_is_misspelt(host: str) -> None:
    world = World()
    with pytest.raises(InputError, match="is not a host of Amazon ECR, though it is written like one") as caught:
        opened(f"{host}/web:1", world, MAKING)
    assert "12 digits" in caught.value.hint
    # It may be another registry, or an address inside a network, which can be written.
    opened(f"{host}/web:1", world)
    opened(f"{host}/web:1", world, MAKING, write=False)
    assert world.said == []


@pytest.mark.parametrize("write", [True, False])
@pytest.mark.parametrize("aws", [AwsSettings(), MAKING, None])
def test_where_no_repository_is_made_it_is_said_once(tmp_path: Path, aws: AwsSettings | None, write: bool) -> None:
    for store in ("registry.example/team/web", f"oci:{tmp_path}"):
        world = World()
        opened(f"{store}:1", world, aws, write=write)
        said = Noted(f"--create-repository does nothing for {store}: it is not in Amazon ECR")
        assert world.said == ([said] if aws is MAKING and write else [])
