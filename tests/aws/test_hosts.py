"""Which registries are Amazon's, and which API stands behind each; that boto3 finds it is tested with the calls."""

from __future__ import annotations

import pytest

from manifestctl.aws.hosts import PUBLIC_HOST, PUBLIC_REGION, EcrHost, ecr_host, looks_like_ecr
from manifestctl.transport.profiles import ECR_PUBLIC_HOSTS, profile_for

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("registry", "dual_stack"),
    [("public.ecr.aws", False), ("Public.ECR.aws", False), ("ecr-public.aws.com", True)],
)
def test_ecr_public_has_one_region_and_two_names(registry: str, dual_stack: bool) -> None:
    host = ecr_host(registry)
    assert host == EcrHost(registry.lower(), "ecr-public", "us-east-1", dual_stack=dual_stack)
    assert host.is_public
    assert (PUBLIC_HOST, PUBLIC_REGION) == ("public.ecr.aws", "us-east-1")


@pytest.mark.parametrize(
    ("domain", "region", "fips", "dual_stack"),
    [
        ("dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1", False, False),
        ("dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1", True, False),
        ("dkr-ecr.us-east-1.on.aws", "us-east-1", False, True),
        ("dkr-ecr-fips.us-east-1.on.aws", "us-east-1", True, True),
        ("dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1", False, False),
        ("dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1", False, True),
        ("dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", False, False),
        ("dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", False, False),
        ("dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", False, False),
        ("dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", False, False),
        ("dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", False, False),
        ("DKR.ECR.EU-West-1.amazonaws.com", "eu-west-1", False, False),
    ],
)
def test_the_name_of_a_private_registry_says_it_all(domain: str, region: str, fips: bool, dual_stack: bool) -> None:
    registry = f"{ACCOUNT}.{domain}"
    host = ecr_host(registry)
    assert host == EcrHost(registry.lower(), "ecr", region, ACCOUNT, fips, dual_stack)
    assert not host.is_public


@pytest.mark.parametrize(
    "registry",
    [
        "",
        "docker.io",
        "registry.example",
        "public.ecr.aws:443",
        "public.ecr.aws.evil.example",
        "x.public.ecr.aws",
        "gallery.ecr.aws",
        "12345678901.dkr.ecr.eu-west-1.amazonaws.com",
        f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com.evil.example",
        f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com\n",
        f"{ACCOUNT}.dkr.ecr.eu/west.amazonaws.com",
        f"evil.{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com",
        f"{ACCOUNT}.dkr.ecr.amazonaws.com",
    ],
)
def test_all_others_are_not_amazons(registry: str) -> None:
    assert ecr_host(registry) is None
    assert not profile_for(registry).amazon


@pytest.mark.parametrize(
    ("registry", "like"),
    [
        ("12345678901.dkr.ecr.eu-west-1.amazonaws.com", True),
        (f"{ACCOUNT}.DKR.ECR.eu-west-1.amazonaws.com:443", True),
        (f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws.example", True),
        ("public.ecr.aws.com", True),
        ("public-ecr.aws", True),
        ("gallery.ecr.aws", True),
        ("public.ecr.aws", False),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com", False),
        ("secr.laws.example", False),
        ("registry.aws.example", False),
        ("ecr.example", False),
    ],
)
def test_what_only_looks_like_amazons(registry: str, like: bool) -> None:
    assert looks_like_ecr(registry) == like


def test_profiles_say_the_same() -> None:
    assert all(profile_for(registry).amazon for registry in ECR_PUBLIC_HOSTS)
    assert profile_for(f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com").amazon
