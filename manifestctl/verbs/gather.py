"""Reading the images of a list: every manifest and config, in parallel, each checked against its digest.

Nothing stops at the first fault: what cannot be read becomes a finding, and the rest is read all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from manifestctl.errors import (
    DeniedError,
    DocumentError,
    IntegrityError,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.model import media_types
from manifestctl.model.manifest import ImageConfig, Index, Manifest, parse_config
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.text import escape
from manifestctl.verbs.rules import RULES, found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.parallel import Future, Pool
    from manifestctl.stores.base import Store

_MAX_DEPTH = 3
# What an image (and not the run) may fail by; anything else ends the run.
_OF_ONE_IMAGE = (DeniedError, DocumentError, IntegrityError, MissingContentError, NotFoundError, UnreachableError)
_RULE_OF_CATEGORY = {
    "missing": "image-missing",
    "denied": "image-denied",
    "unreachable": "image-unreachable",
    "integrity": "image-integrity",
    "wrong": "document-invalid",
}
_HINTS = {
    "image-missing": "Push the image first, or check the tag's spelling.",
    "config-missing": "The image was not pushed whole; push it again.",
}


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """An image as the user gave it, and the platform declared for it, if any."""

    given: str
    location: Location
    declared: Platform | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """An image that was read. ``entry`` is how a list described it, or its own descriptor if it was given itself."""

    request: ImageRequest
    repository: str
    entry: Descriptor
    manifest: Manifest
    config_raw: bytes = field(repr=False)
    config: ImageConfig
    listed: bool = False

    @property
    def name(self) -> str:
        """The image in messages: as it was given, with its digest if it came out of a list."""
        given = escape(self.request.given, 300)
        return f"{given} ({self.manifest.digest.short})" if self.listed else given

    @property
    def platform(self) -> Platform:
        """The platform: what the config says, completed by what the list or the user declared."""
        said = self.config.platform
        for declared in (self.entry.platform, self.request.declared):
            if declared is not None and not declared.unknown:
                said = said.filled_from(declared)
        return said


@dataclass(frozen=True, slots=True)
class Attestation:
    """A buildx attestation that came out of a list: its entry there, and its manifest."""

    request: ImageRequest
    repository: str
    entry: Descriptor


@dataclass(slots=True)
class Gathered:
    """All that was read, in the order of the command line, and what could not be."""

    members: list[Member] = field(default_factory=list)
    attestations: list[Attestation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    repository_unknown: NotFoundError | None = None


@dataclass(frozen=True, slots=True)
class _Job:
    request: ImageRequest
    store: Store
    name: str | Descriptor
    entry: Descriptor | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class _Read:
    """What reading one job gave: an image, a list to go into, an attestation, or a finding."""

    member: Member | None = None
    index: Index | None = None
    attestation: Attestation | None = None
    finding: Finding | None = None
    error: ManifestctlError | None = None


Reads = list[tuple[_Job, "Future[_Read]"]]
"""Reads that are under way."""


def start(requests: Sequence[ImageRequest], stores: Sequence[Store], pool: Pool) -> Reads:
    """Begin to read the images; ``stores`` are those of the requests."""
    jobs = [_Job(request, store, request.location.selector) for request, store in zip(requests, stores, strict=True)]
    return [(job, pool.submit(_read, job)) for job in jobs]


def gather(reads: Reads, pool: Pool, platforms: Sequence[Platform] = ()) -> Gathered:
    """Wait for the images, and read those in lists that were given as images: only ``platforms``, if any are given.

    Raises only what ends the run; everything about one image becomes a finding.
    """
    gathered = Gathered()
    _collect(reads, pool, platforms, gathered)
    return gathered


def _collect(reads: Reads, pool: Pool, platforms: Sequence[Platform], gathered: Gathered) -> None:
    # Lists are gone into before anything is waited for, so that all their images are on their way at once.
    opened = [(job, read.result(), read) for job, read in reads]
    inner = {
        id(future): [(deeper, pool.submit(_read, deeper)) for deeper in _inside(job, result.index, platforms, gathered)]
        for job, result, future in opened
        if result.index is not None
    }
    for _, result, future in opened:
        if result.member is not None:
            gathered.members.append(result.member)
        if result.attestation is not None:
            gathered.attestations.append(result.attestation)
        if result.finding is not None:
            gathered.findings.append(result.finding)
        if isinstance(result.error, NotFoundError) and result.error.repository_unknown:
            gathered.repository_unknown = result.error
        if result.index is not None:
            _collect(inner[id(future)], pool, platforms, gathered)


def _inside(job: _Job, index: Index, platforms: Sequence[Platform], gathered: Gathered) -> list[_Job]:
    """Return the jobs for a list's entries: the images that are wanted, and the attestations of these."""
    given = escape(job.request.given, 300)
    about = {"where": given, "image": given, "repository": job.store.name}
    if job.depth >= _MAX_DEPTH:
        gathered.findings.append(
            found("list-too-deep", f"{given}: lists are nested deeper than {_MAX_DEPTH} levels", **about)
        )
        return []
    images = [entry for entry in index.entries if not entry.is_attestation]
    wanted = {str(entry.digest) for entry in images if _is_wanted(entry, platforms)}
    if not wanted and platforms:
        names = ", ".join(str(platform) for platform in platforms)
        gathered.findings.append(
            found(
                "platform-not-listed",
                f"{given}: this list has no image for {names}",
                hint="'manifestctl inspect' shows which platforms it has.",
                found=", ".join(entry.platform.shown for entry in images if entry.platform) or "none",
                expected=names,
                **about,
            )
        )
    # An attestation goes with its image; one whose image is not in the list at all is judged later.
    left_out = {str(entry.digest) for entry in images} - wanted
    kept = [entry for entry in index.entries if not {entry.attests, str(entry.digest)} & left_out]
    return [_Job(job.request, job.store, entry, entry, job.depth + 1) for entry in kept]


def _is_wanted(entry: Descriptor, platforms: Sequence[Platform]) -> bool:
    if not platforms or entry.media_type in media_types.INDEXES or entry.platform is None:
        return True
    return any(entry.platform.satisfies(platform) for platform in platforms)


def _read(job: _Job) -> _Read:
    try:
        return _read_job(job)
    except _OF_ONE_IMAGE as error:
        return _Read(finding=_finding(job, error), error=error)


def _read_job(job: _Job) -> _Read:
    content = job.store.read_manifest(job.name)
    given = escape(job.request.given, 300)
    what = given if job.entry is None else f"{given} ({job.entry.digest.short})"
    if job.entry is not None and job.entry.is_attestation:
        return _Read(attestation=Attestation(job.request, job.store.name, job.entry))
    manifest = content.parse(what)
    if isinstance(manifest, Index):
        return _Read(index=manifest)
    _check_is_image(manifest, what)
    try:
        raw = job.store.read_blob(manifest.config, CONFIG_LIMIT)
    except NotFoundError as error:
        missing = DocumentError(error.message, hint=_HINTS["config-missing"], rule="config-missing")
        return _Read(finding=_finding(job, missing), error=missing)
    try:
        config = parse_config(raw, f"the config of {what}")
    except DocumentError as error:
        error.rule = "config-unreadable"
        raise
    entry = job.entry or manifest.descriptor
    return _Read(member=Member(job.request, job.store.name, entry, manifest, raw, config, listed=job.entry is not None))


def _check_is_image(manifest: Manifest, what: str) -> None:
    if manifest.config.media_type in media_types.CONFIGS and not manifest.artifact_type:
        return
    kind = manifest.artifact_type or manifest.config.media_type
    raise DocumentError(
        f"{what}: it is not an image that runs, but an artifact of type {escape(kind, 120)}",
        hint="A list for container runtimes holds images; leave this out.",
        rule="not-an-image",
    )


def _finding(job: _Job, error: ManifestctlError) -> Finding:
    given = escape(job.request.given, 300)
    rule = category_rule(error)
    declared = job.entry.platform if job.entry is not None else job.request.declared
    message = error.message if given in error.message else f"{given}: {error.message}"
    return found(
        rule,
        message,
        where=given,
        hint=error.hint or _HINTS.get(rule, ""),
        image=given if job.entry is None else f"{given} ({job.entry.digest})",
        platform=declared.shown if declared is not None else "",
        repository=job.store.name,
    )


def category_rule(error: ManifestctlError) -> str:
    """Return the rule that an error about one image breaks."""
    if isinstance(error, DocumentError) and error.rule in RULES:
        return error.rule
    return _RULE_OF_CATEGORY.get(error.category, "document-invalid")
