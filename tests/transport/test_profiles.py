"""Profiles: which registry is known by which name, and what is known of it."""

from __future__ import annotations

import dataclasses

import pytest

from manifestctl.model.reference import Reference
from manifestctl.transport.challenge import check_realm
from manifestctl.transport.profiles import (
    ECR_PUBLIC_HOSTS,
    SPECIFICATION,
    KnownChallenge,
    PrivateEcr,
    private_ecr,
    profile_for,
)

ACCOUNT = "123456789012"
PRIVATE_ECR = [
    f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com",
    f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn",
    f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu",
    f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
    f"{ACCOUNT}.dkr-ecr.us-east-1.on.aws",
    f"{ACCOUNT}.dkr-ecr-fips.us-east-1.on.aws",
    f"{ACCOUNT}.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn",
    f"{ACCOUNT}.DKR.ECR.eu-west-1.amazonaws.com",
]
NOT_ECR = [
    f"1{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com",
    f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
    f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com:8443",
    f"{ACCOUNT}.dkr.ecr.amazonaws.com",
    f"evil.{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com",
    f"{ACCOUNT}xdkr.ecr.eu-west-1.amazonaws.com",
]


@pytest.mark.parametrize("registry", ["registry.example", "localhost:5000", "10.0.0.1", "[::1]:5000", *NOT_ECR])
def test_all_others_follow_the_specification(registry: str) -> None:
    profile = profile_for(registry)
    assert profile is SPECIFICATION
    assert profile.host(registry) == registry
    assert profile.keys(registry) == (registry,)
    assert profile.challenge is None
    assert not profile.bad_token_statuses


@pytest.mark.parametrize("registry", ["docker.io", "index.docker.io", "registry-1.docker.io", "Docker.IO"])
def test_docker_hub(registry: str) -> None:
    profile = profile_for(registry)
    assert profile.host(registry) == "registry-1.docker.io"
    assert profile.keys(registry)[0] == "https://index.docker.io/v1/"
    assert profile.challenge == KnownChallenge("https://auth.docker.io/token", "registry.docker.io")


def test_short_references_are_docker_hubs() -> None:
    assert profile_for(Reference.parse("ubuntu").registry).name == "Docker Hub"


def test_ghcr() -> None:
    profile = profile_for("ghcr.io")
    assert profile.challenge == KnownChallenge("https://ghcr.io/token", "ghcr.io")
    assert profile.host("ghcr.io") == "ghcr.io"


def test_ecr_public() -> None:
    profile = profile_for("public.ecr.aws")
    assert profile.challenge == KnownChallenge("https://public.ecr.aws/token/", "public.ecr.aws", scope="aws")
    assert profile.bad_token_statuses == {400, 403}
    assert profile.password_as_bearer
    assert profile.anonymous_retry
    assert not profile.blob_mount
    assert not profile.head_blob_reliable
    assert not profile.basic_only


def test_ecr_public_has_a_second_name_whose_realm_is_asked_for() -> None:
    first, second = profile_for("public.ecr.aws"), profile_for("ecr-public.aws.com")
    assert second.challenge is None
    assert dataclasses.replace(second, challenge=first.challenge) == first


@pytest.mark.parametrize("registry", PRIVATE_ECR)
def test_private_ecr(registry: str) -> None:
    profile = profile_for(registry)
    assert profile.basic_only
    assert profile.bad_token_statuses == {400, 403}
    assert profile.host(registry) == registry
    assert profile.blob_mount


@pytest.mark.parametrize(
    ("registry", "account", "region", "fips", "dual_stack"),
    [
        (PRIVATE_ECR[0], ACCOUNT, "eu-west-1", False, False),
        (PRIVATE_ECR[1], ACCOUNT, "cn-north-1", False, False),
        (PRIVATE_ECR[3], ACCOUNT, "us-gov-west-1", True, False),
        (PRIVATE_ECR[4], ACCOUNT, "us-east-1", False, True),
        (PRIVATE_ECR[5], ACCOUNT, "us-east-1", True, True),
        (PRIVATE_ECR[6], ACCOUNT, "cn-north-1", False, True),
    ],
)
def test_what_the_host_of_a_private_registry_says(
    registry: str, account: str, region: str, fips: bool, dual_stack: bool
) -> None:
    assert private_ecr(registry) == PrivateEcr(account, region, fips, dual_stack)


@pytest.mark.parametrize("registry", [*NOT_ECR, "", "public.ecr.aws", PRIVATE_ECR[7]])
def test_other_hosts_are_no_private_registry_of_ecrs(registry: str) -> None:
    # Whoever asks has made the host lower case.
    assert private_ecr(registry) is None


@pytest.mark.parametrize(
    ("registry", "amazon"),
    [
        *[(registry, True) for registry in (*ECR_PUBLIC_HOSTS, *PRIVATE_ECR)],
        *[(registry, False) for registry in (*NOT_ECR, "docker.io", "ghcr.io", "gcr.io", "registry.example")],
    ],
)
def test_aws_opens_amazons_registries_whose_repositories_appear_late(registry: str, amazon: bool) -> None:
    profile = profile_for(registry)
    assert profile.amazon is amazon
    assert profile.repository_lag == (10.0 if amazon else 0.0)


@pytest.mark.parametrize("registry", ["public.ecr.aws", "ecr-public.aws.com", PRIVATE_ECR[0]])
def test_manifests_are_paced_within_ecrs_bucket(registry: str) -> None:
    pacing = profile_for(registry).manifest_pacing
    assert pacing is not None
    assert pacing.rate <= 10
    assert pacing.burst <= 10


def test_blobs_are_paced_where_completing_them_is() -> None:
    assert profile_for("public.ecr.aws").blob_pacing is not None
    assert profile_for(PRIVATE_ECR[0]).blob_pacing is None


@pytest.mark.parametrize("registry", ["docker.io", "ghcr.io", "public.ecr.aws"])
def test_known_realms_may_be_asked(registry: str) -> None:
    challenge = profile_for(registry).challenge
    assert challenge is not None
    assert check_realm(challenge.realm, registry, plain_http=False) == challenge.realm


@pytest.mark.parametrize(
    ("registry", "most"),
    [
        ("public.ecr.aws", 1000),
        ("ecr-public.aws.com", 1000),
        (PRIVATE_ECR[0], 1000),
        ("ghcr.io", None),
        ("r.example", None),
    ],
)
def test_how_many_tags_an_image_may_have(registry: str, most: int | None) -> None:
    assert profile_for(registry).tags_per_image == most
