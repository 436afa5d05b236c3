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
    from manifestctl.transport.profiles import Profile

FROM_AWS = "AWS credentials"
"""How the source of a credential begins that AWS gave for this very run."""

_AWS_LEFT_OUT = (
    "AWS credentials were left out: leave out --no-aws (or MANIFESTCTL_AWS=0), or log in with 'manifestctl login "
    "{registry}'."
)
_NO_AWS_CREDENTIALS = (
    "No AWS credentials were used: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or let the job "
    "assume a role; 'manifestctl doctor' shows what is found."
)
_PERHAPS_ABSENT = (
    "The credentials are good, but not for this: the repository may not exist, its name may be misspelt, or the "
    "account may lack the right to it. Some registries want a repository, or its project, to be made before the first "
    "push."
)
_MANIFEST = r"invalid parameter at 'imagemanifest' failed to satisfy constraint: "
_ABSENT = r"the repository with name '(?P<name>[^']{0,400})' does not exist in the registry with id"


@dataclass(frozen=True, slots=True)
class Known:
    """One answer: its words (an expression, without regard to case), the error it becomes, and the next step.

    A next step that depends on more is made of the response and what was found of the words. In it ``{registry}`` is
    where it came from. ``writing``: it is meant if something was to be written.
    """

    words: str
    kind: type[ManifestctlError]
    step: str | Callable[[Response, re.Match[str]], str]
    writing: bool = False


def _bad_token(response: Response, _: re.Match[str]) -> str:
    if response.credentials.startswith(FROM_AWS):
        return (
            "A fresh AWS token was refused too: check this machine's clock, and which identity the credentials belong "
            "to; 'manifestctl doctor' shows both."
        )
    return (
        "This log-in is not, or no longer, valid there: a token lasts 12 hours, and one of 'aws ecr' does not open ECR "
        "Public, nor the reverse. Log in again with 'manifestctl login {registry}', or take the stale log-in away "
        "with 'manifestctl logout {registry}'."
    )


def _absent_repository(response: Response, found: re.Match[str]) -> str:
    """Say how to make a repository; or that its name has the registry's host in it."""
    request = response.request
    name = (request.repository if request is not None else "") or found["name"]
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
    owner = "the alias" if profile.password_as_bearer else "the account and the region"
    if request is not None and not request.writes:
        # It may be read before it is to be written, for all that is known here.
        return (
            f"Check the spelling of the name, and {owner}; if it is yours and was never made, "
            f"'manifestctl repo create {{registry}}/{escape(name, 300)}' makes it."
        )
    return (
        f"Make it with 'manifestctl repo create {{registry}}/{escape(name, 300)}', or pass --create-repository; if it "
        f"should be there, check the spelling of the name, and {owner}."
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
    Known(
        r"permission_denied: \w{1,20}_package|installation not allowed to (?:create|write) organization package",
        DeniedError,
        "The credentials are good, but have no right to this package: a workflow needs 'permissions: packages: write', "
        "and its repository the role Write in the package's settings (Manage Actions access); a personal token needs "
        "the scope write:packages.",
    ),
    Known(r"\(or it may not exist\)", DeniedError, _PERHAPS_ABSENT),
)
"""Read in this order; the first whose words are found is meant."""


def known_error(response: Response, said: str, message: str, *, writing: bool) -> ManifestctlError | None:
    """Return the error for an answer that is known by its words; None for any other.

    ``said`` is what the registry said, as it came; ``message`` what the error shall say.
    """
    for known in KNOWN:
        found = re.search(known.words, said, re.IGNORECASE) if writing or not known.writing else None
        if found is not None:
            step = known.step if isinstance(known.step, str) else known.step(response, found)
            hint = step.replace("{registry}", response.registry or "REGISTRY")
            if issubclass(known.kind, NotFoundError):
                return known.kind(message, hint=hint, repository_unknown=True)
            return known.kind(message, hint=hint)
    return None


def hint_without_credentials(response: Response) -> str:
    """Return the next step when no credentials were sent."""
    if profile_for(response.registry).amazon:
        left_out = _AWS_LEFT_OUT.replace("{registry}", response.registry)
        return left_out if response.without_aws else _NO_AWS_CREDENTIALS
    if not response.credentials:
        return (
            "The registry refuses this and asks for no credentials (it sends no WWW-Authenticate header, on /v2/ "
            "neither), so none were looked for; see whether a proxy in front of it removes that header."
        )
    if response.by_token:
        return (
            "Without credentials the registry does not show this: the repository may not exist, or its name may be "
            "misspelt; if it is private, log in with 'manifestctl login', 'docker login' or 'podman login', or pass "
            "--authfile."
        )
    return (
        "No credentials were found for this registry; log in with 'manifestctl login', 'docker login' or 'podman "
        "login', or pass --authfile."
    )


def layer_action(profile: Profile) -> str:
    """Return the permission without which a registry of Amazon's does not say whether a layer is there."""
    return f"{'ecr-public' if profile.password_as_bearer else 'ecr'}:BatchCheckLayerAvailability"


def hint_when_refused(response: Response) -> str:
    """Return the next step for who was refused, for reasons that the registry keeps to itself."""
    profile, request = profile_for(response.registry), response.request
    if not profile.amazon and response.by_token:
        return _PERHAPS_ABSENT
    if not profile.amazon:
        return "The credentials were refused or lack this permission; log in again, or use an account that has it."
    if request is not None and request.method == "HEAD" and "/blobs/" in request.path:
        return (
            f"To look for a layer takes {layer_action(profile)}, which may be missing: an answer to HEAD names no "
            "permission. "
            "'manifestctl doctor' shows whose the credentials are."
        )
    return (
        "The credentials were refused, or lack a permission that is not named; 'manifestctl doctor' shows whose they "
        f"are. A stale log-in goes with 'manifestctl logout {response.registry}'."
    )


def hint_when_limited(response: Response) -> str:
    """Return the next step where the registry limits requests."""
    if response.credentials not in ("", ANONYMOUS.source):
        return "The registry limits requests; wait a little."
    if profile_for(response.registry).amazon:
        return "The registry limits requests without credentials; wait a little, or log in: give it AWS credentials."
    return "The registry limits requests; wait a little, or log in: limits are higher then."
