"""What well-known registries do differently, as data. Everything else follows the specification: `Profile()`.

This is the one module (with the room ``aws``) where host names of registries stand. What is here was read in the
registries' own documentation or seen in their answers; where that is not certain, being wrong costs a round trip.
"""

from __future__ import annotations

import re

from manifestctl.model.reference import DOCKER_HUB
from manifestctl.values import dataclass

TAGS_PAGE = 1000
"""Entries to ask for in one page of ``tags/list``: distribution clamps larger numbers to this, ECR refuses them."""


@dataclass(frozen=True, slots=True)
class KnownChallenge:
    """The Bearer challenge that a registry is known to answer with, so that its 401 need not be provoked.

    ``scope`` is one that it names whichever repository is asked for; empty if it names the repository's.
    """

    realm: str
    service: str
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Pacing:
    """A token bucket for writes: ``rate`` a second, after at most ``burst`` at once."""

    rate: float
    burst: int


@dataclass(frozen=True, slots=True)
class Profile:
    """How one registry differs. The defaults are those of the specification.

    - ``name``: what people call it.
    - ``api_host``: the host that speaks the API, if not the one in references.
    - ``config_keys``: its keys in Docker's and Podman's credential files, the usual one first; empty: its host.
    - ``challenge``: see `KnownChallenge`.
    - ``basic_only``: Basic on every request, with no token service; may be sent without having been asked for.
    - ``password_as_bearer``: base64 of ``user:password`` is itself a Bearer token, so no token need be fetched.
    - ``bad_token_statuses``: besides 401, statuses that with the code DENIED mean a bad or an expired token.
    - ``anonymous_retry``: refuses a bad credential even for what anyone may read, so reading is tried again without.
    - ``blob_mount``: whether asking to mount a blob from another repository can succeed.
    - ``streamed_uploads``: whether it takes a blob of unknown length in one PATCH; if not, it is spooled first.
    - ``head_blob_reliable``: if not, 401 and 403 for HEAD of a blob say nothing; GET decides.
    - ``tags_page``: see `TAGS_PAGE`.
    - ``tags_per_image``: the most tags that one image may have; None if there is no such limit.
    - ``layer_limit``, ``manifest_limit``: the most bytes of a layer and of a manifest; None if no limit is known.
    - ``manifest_pacing``, ``blob_pacing``: for manifest PUTs, and for the PUTs that end a blob's upload.
    - ``amazon``: AWS credentials open it.
    - ``repository_lag``: seconds in which a repository that was just made may not be there yet; 0 where none need be.
    """

    name: str = ""
    api_host: str = ""
    config_keys: tuple[str, ...] = ()
    challenge: KnownChallenge | None = None
    basic_only: bool = False
    password_as_bearer: bool = False
    bad_token_statuses: frozenset[int] = frozenset()
    anonymous_retry: bool = False
    blob_mount: bool = True
    streamed_uploads: bool = True
    head_blob_reliable: bool = True
    tags_page: int = TAGS_PAGE
    tags_per_image: int | None = None
    layer_limit: int | None = None
    manifest_limit: int | None = None
    manifest_pacing: Pacing | None = None
    blob_pacing: Pacing | None = None
    amazon: bool = False
    repository_lag: float = 0.0

    def host(self, registry: str) -> str:
        """Return the host to connect to for the registry of a reference."""
        return self.api_host or registry

    def keys(self, registry: str) -> tuple[str, ...]:
        """Return the keys under which credential files hold the registry's credentials; helpers are given the first."""
        return self.config_keys or (registry,)


SPECIFICATION = Profile()
"""A registry that does what the specification says."""

# Docker's own programs keep the Hub's credentials under the URL of its first API.
_HUB = Profile(
    name="Docker Hub",
    api_host="registry-1.docker.io",
    config_keys=("https://index.docker.io/v1/", DOCKER_HUB, "index.docker.io", "registry-1.docker.io"),
    challenge=KnownChallenge("https://auth.docker.io/token", "registry.docker.io"),
)

_GHCR = Profile(name="GitHub Container Registry", challenge=KnownChallenge("https://ghcr.io/token", "ghcr.io"))

# AWS's service quotas: PutImage and CompleteLayerUpload 10 a second, as a bucket of that size.
_ECR_PACE = Pacing(rate=8.0, burst=10)

# "Eventual consistency" after CreateRepository, as its users report it (aws/aws-cli#2675).
_ECR_LAG = 10.0

# AWS's service quotas: tags per image, of both kinds of repository; it cannot be raised.
_ECR_TAGS = 1000

# So many parts of 10 MiB; fixed as well.
_ECR_PUBLIC_LAYER = 10_000 * 1024 * 1024
_ECR_LAYER = 52_000 * 1024 * 1024
_ECR_MANIFEST = 4_194_304


def _ecr_public(challenge: KnownChallenge | None) -> Profile:
    return Profile(
        name="Amazon ECR Public",
        challenge=challenge,
        # The ECR Public user guide sends the token of GetAuthorizationToken, base64 of "AWS:password", as Bearer.
        password_as_bearer=True,
        # A bad Bearer token, or Basic, is answered 400 DENIED, an expired one 403 DENIED, neither with a challenge
        # (aws/containers-roadmap#2835).
        bad_token_statuses=frozenset({400, 403}),
        # AWS's troubleshooting page: an expired log-in breaks pulls that work without one.
        anonymous_retry=True,
        # It always answers 202, which begins an upload (aws/containers-roadmap#1459).
        blob_mount=False,
        # An anonymous token gets 401 for HEAD where GET works (aws/containers-roadmap#2671).
        head_blob_reliable=False,
        tags_per_image=_ECR_TAGS,
        layer_limit=_ECR_PUBLIC_LAYER,
        manifest_limit=_ECR_MANIFEST,
        manifest_pacing=_ECR_PACE,
        blob_pacing=_ECR_PACE,
        amazon=True,
        repository_lag=_ECR_LAG,
    )


# GetAuthorizationToken's user and password as Basic on every request; there is no token service.
_ECR_PRIVATE = Profile(
    name="Amazon ECR",
    basic_only=True,
    # A token older than twelve hours is answered 403 DENIED without a challenge, HEAD with a bare 400 or 403.
    bad_token_statuses=frozenset({400, 403}),
    tags_per_image=_ECR_TAGS,
    layer_limit=_ECR_LAYER,
    manifest_limit=_ECR_MANIFEST,
    # Completing layers may go at 100 a second, which is not reached.
    manifest_pacing=_ECR_PACE,
    amazon=True,
    repository_lag=_ECR_LAG,
)

# The hosts that AWS's own credential helper recognises.
_PRIVATE_ECR_HOST = re.compile(
    r"(?P<account>\d{12})\.dkr(?P<stack>[.-])ecr(?P<fips>-fips)?\.(?P<region>[a-zA-Z0-9][a-zA-Z0-9_-]*)\."
    r"(?:amazonaws\.(?:com(?:\.cn)?|eu)|on\.(?:aws|amazonwebservices\.com\.cn)|sc2s\.sgov\.gov|c2s\.ic\.gov"
    r"|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)",
    re.ASCII,
)

# It takes no chunked uploads, and answers POST to its token service with 404.
_ARTIFACT_REGISTRY = Profile(name="Google Artifact Registry", streamed_uploads=False)
_ARTIFACT_REGISTRY_HOST = re.compile(r"(?:[a-z0-9-]+\.)?gcr\.io|[a-z0-9-]+-docker\.pkg\.dev", re.ASCII)

ECR_PUBLIC_HOSTS = ("public.ecr.aws", "ecr-public.aws.com")
"""The hosts of ECR Public; the second is its dual-stack name."""

_BY_HOST = {
    DOCKER_HUB: _HUB,
    "index.docker.io": _HUB,
    "registry-1.docker.io": _HUB,
    "ghcr.io": _GHCR,
    ECR_PUBLIC_HOSTS[0]: _ecr_public(KnownChallenge("https://public.ecr.aws/token/", "public.ecr.aws", scope="aws")),
    # Which realm the dual-stack name names is not documented, so it is asked.
    ECR_PUBLIC_HOSTS[1]: _ecr_public(None),
}


@dataclass(frozen=True, slots=True)
class PrivateEcr:
    """What the host name of a private ECR registry says."""

    account: str
    region: str
    fips: bool
    dual_stack: bool


def private_ecr(host: str) -> PrivateEcr | None:
    """Return what a host in lower case says if it is a private registry of Amazon ECR."""
    found = _PRIVATE_ECR_HOST.fullmatch(host)
    if found is None:
        return None
    return PrivateEcr(found["account"], found["region"], found["fips"] is not None, found["stack"] == "-")


def profile_for(registry: str) -> Profile:
    """Return the profile of a registry, given as in references: ``host[:port]``."""
    host = registry.lower()
    known = _BY_HOST.get(host)
    if known is not None:
        return known
    if _ARTIFACT_REGISTRY_HOST.fullmatch(host):
        return _ARTIFACT_REGISTRY
    return _ECR_PRIVATE if private_ecr(host) is not None else SPECIFICATION
