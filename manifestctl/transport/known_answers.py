"""Answers that registries are known to give in these words, as data: what each means, and the next step.

``docs/errors.md`` has a row for each. Most are Amazon's; they are known by their words and not by the host, for a
mirror or a proxy hands them on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manifestctl.errors import ConflictError, DeniedError, DocumentError, ManifestctlError, NotFoundError
from manifestctl.text import escape
from manifestctl.transport.credentials import ANONYMOUS
from manifestctl.transport.profiles import profile_for
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.transport.message import Response

FROM_AWS = "AWS credentials"
"""How the source of a credential begins that AWS gave for this very run."""

NO_AWS_CREDENTIALS = (
    "No AWS credentials were used: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or let the job "
    "assume a role, and leave out --no-aws; 'manifestctl doctor' shows what is found."
)
_MANIFEST = r"invalid parameter at 'imagemanifest' failed to satisfy constraint: "
_ABSENT = r"the repository with name '(?P<name>[^']{0,400})' does not exist in the registry with id"


@dataclass(frozen=True, slots=True)
class Known:
    """One answer: its words (an expression, without regard to case), the error it becomes, and the next step.

    In the next step ``{registry}`` is where it came from. ``writing``: it is meant if something was to be written.
    """

    words: str
    kind: type[ManifestctlError]
    step: str | Callable[[Response, str], str]
    writing: bool = False


def _bad_token(response: Response, said: str) -> str:
    del said
    if response.credentials.startswith(FROM_AWS):
        return (
            "A new token of AWS's was refused as well: check this machine's clock, and whose the AWS credentials are; "
            "'manifestctl doctor' shows both."
        )
    return (
        "This log-in is not, or no longer, valid there: a token lasts 12 hours, and one of 'aws ecr' does not open ECR "
        "Public, nor the reverse. Log in again with 'manifestctl login {registry}', or take the stale log-in away "
        "with 'docker logout {registry}'."
    )


def _absent_repository(response: Response, said: str) -> str:
    """Say how to make a repository; or that its name has the registry's host in it."""
    request = response.request
    found = re.search(_ABSENT, said, re.IGNORECASE)
    name = (request.repository if request is not None else "") or (found["name"] if found else "")
    profile = profile_for(response.registry)
    for uri in (name, name.partition("/")[2] if profile.password_as_bearer else ""):
        host, _, _ = uri.partition("/")
        if _is_host(host, response.registry):
            return (
                f"The host {escape(host, 300)} stands inside the repository's name; if that is not meant, give it "
                f"once, at the beginning: {escape(uri, 300)}."
            )
    if response.registry and not profile.amazon:
        return "Check the name; behind this registry is Amazon's, where a repository is made before the first push."
    if profile.password_as_bearer and "/" not in name:
        return "A name in ECR Public has the registry's alias before the repository: {registry}/ALIAS/NAME."
    wanted = request is None or request.writes
    return (
        f"Make it with 'manifestctl repo create {{registry}}/{escape(name, 300)}'"
        f"{', or pass --create-repository' if wanted else ''}; if it should be there, check the name, the account and "
        "the region."
    )


def _is_host(name: str, registry: str) -> bool:
    """Tell whether the first part of a repository's name is the host of a registry of Amazon's, or of this one."""
    looks_private = ".dkr.ecr." in name or ".dkr-ecr." in name
    return bool(name) and (name == registry or looks_private or profile_for(name).amazon)


def _quota(name: str, then: str) -> str:
    return f"The quota of {name} is reached, and trying again will not help: {then}."


KNOWN = (
    Known(
        r"the image tag '.{1,300}' already exists in the '.{1,400}' repository and cannot be overwritten",
        ConflictError,
        "The repository has the rule that tags are immutable (imageTagMutability), and this one holds something else: "
        "publish under a new tag, or let the rule except it.",
        writing=True,
    ),
    Known(r"authorization token (?:is invalid|has expired)", DeniedError, _bad_token),
    Known(
        "no basic auth credentials",
        DeniedError,
        "There is a log-in for another host or region only, or the credential helper failed: log in with "
        "'manifestctl login {registry}'.",
    ),
    Known(
        rf"{_MANIFEST}.{{0,80}}(?:less than or equal to|at most|exceed)",
        DeniedError,
        _quota("manifest size (4 MiB)", "publish fewer images or annotations in one list"),
    ),
    Known(
        _MANIFEST,
        DocumentError,
        "The registry checks manifests by rules of its own and does not take this one: leave attestations and other "
        "artifacts out (--attestations drop), or try --format docker.",
    ),
    Known(
        "unsupported manifest type",
        DocumentError,
        "The registry does not take this media type: try --format docker or --format oci, or leave the artifact out.",
    ),
    Known(
        "maximum allowed number of images",
        DeniedError,
        _quota("images per repository", "delete images, or ask AWS to raise it"),
    ),
    Known(
        "maximum allowed number of tags per image",
        DeniedError,
        _quota("tags per image", "take tags away, or push under another repository; it cannot be raised"),
    ),
    Known(
        "maximum allowed size of a layer",
        DeniedError,
        _quota("layer size", "build the image with smaller layers"),
    ),
    Known(_ABSENT, NotFoundError, _absent_repository),
)
"""Read in this order; the first whose words are found is meant."""


def known_error(response: Response, said: str, message: str, *, writing: bool) -> ManifestctlError | None:
    """Return the error for an answer that is known by its words; None for any other.

    ``said`` is what the registry said, as it came; ``message`` what the error shall say.
    """
    for known in KNOWN:
        if (writing or not known.writing) and re.search(known.words, said, re.IGNORECASE):
            step = known.step if isinstance(known.step, str) else known.step(response, said)
            hint = step.replace("{registry}", response.registry or "REGISTRY")
            if issubclass(known.kind, NotFoundError):
                return known.kind(message, hint=hint, repository_unknown=True)
            return known.kind(message, hint=hint)
    return None


def read_only(response: Response) -> bool:
    """Tell whether a registry refuses to be written to at all: it takes neither uploads nor manifests."""
    request = response.request
    if response.status != 405 or request is None:
        return False
    begins = request.method == "POST" and "/blobs/uploads/" in request.path
    return begins or (request.method == "PUT" and "/manifests/" in request.path)


def log_in(response: Response) -> str:
    """Return the next step for who has shown the registry no credentials."""
    if profile_for(response.registry).amazon:
        return NO_AWS_CREDENTIALS
    return (
        "No credentials were found for this registry; log in with 'manifestctl login', 'docker login' or 'podman "
        "login', or pass --authfile."
    )


def refused(response: Response) -> str:
    """Return the next step for who was refused, for reasons that the registry keeps to itself."""
    profile, request = profile_for(response.registry), response.request
    if not profile.amazon:
        return "The credentials were refused or lack this permission; log in again, or use an account that has it."
    if request is not None and request.method == "HEAD" and "/blobs/" in request.path:
        action = f"{'ecr-public' if profile.password_as_bearer else 'ecr'}:BatchCheckLayerAvailability"
        return (
            f"To look for a layer takes {action}, which may be missing: an answer to HEAD names no permission. "
            "'manifestctl doctor' shows whose the credentials are."
        )
    return (
        "The credentials were refused, or lack a permission that is not named; 'manifestctl doctor' shows whose they "
        f"are. A stale log-in goes with 'docker logout {response.registry}'."
    )


def overload(response: Response) -> str:
    """Return the next step where the registry limits requests."""
    if response.credentials not in ("", ANONYMOUS.source):
        return "The registry limits requests; wait a little."
    if profile_for(response.registry).amazon:
        return "The registry limits requests without credentials; wait a little, or log in: give it AWS credentials."
    return "The registry limits requests; wait a little, or log in: limits are higher then."
