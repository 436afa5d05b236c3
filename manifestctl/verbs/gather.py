"""Reading the images of a list: every manifest and config, in parallel, each checked against its digest.

Nothing stops at the first fault: what cannot be read becomes a finding, and the rest is read all the same. Nothing is
read twice, however often it is named.
"""

from __future__ import annotations

from collections import deque
from dataclasses import field, replace
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, ManifestctlError, NotFoundError
from manifestctl.model import media_types
from manifestctl.model.descriptor import ATTESTATION_SUBJECT
from manifestctl.model.manifest import ImageConfig, Index, Manifest, parse_config
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs.reader import Reader
from manifestctl.verbs.rules import found
from manifestctl.verbs.unreadable import OF_ONE_IMAGE, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.parallel import Future, Pool
    from manifestctl.stores.base import Content, Store

_MAX_DEPTH = 3


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
    """A buildx attestation that came out of a list: its entry there, and its manifest if it has the form of one."""

    request: ImageRequest
    repository: str
    entry: Descriptor
    manifest: Manifest | None = None

    @property
    def name(self) -> str:
        """The attestation in messages."""
        return f"the attestation {self.entry.digest.short} in {escape(self.request.given, 300)}"

    @property
    def subject(self) -> str:
        """The digest, as text, of the image that it is about; ``""`` if it is about none."""
        return _subject(self.entry)


@dataclass(slots=True)
class Gathered:
    """All that was read, in the order of the command line, and what could not be.

    ``unread`` holds what could not be read: the entry of a list, or None for something that was given itself.
    ``annotated`` are the lists that have annotations of their own, each with the image as which it was given.
    ``unknown_repositories`` are those of which the registry said that they do not exist, by the name of their store.
    """

    members: list[Member] = field(default_factory=list)
    attestations: list[Attestation] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unread: list[Descriptor | None] = field(default_factory=list)
    annotated: list[tuple[ImageRequest, Index]] = field(default_factory=list)
    unknown_repositories: dict[str, NotFoundError] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Job:
    request: ImageRequest
    store: Store
    reader: Reader
    entry: Descriptor | None = None
    depth: int = 0

    @property
    def given(self) -> str:
        return escape(self.request.given, 300)

    def read_manifest(self) -> Content:
        name = self.entry if self.entry is not None else self.request.location.selector
        return self.reader.manifest(self.store, name)


@dataclass(frozen=True, slots=True)
class _Read:
    """What reading one job gave: an image, a list to go into, an attestation, or a finding."""

    member: Member | None = None
    index: Index | None = None
    attestation: Attestation | None = None
    finding: Finding | None = None
    error: ManifestctlError | None = None


@dataclass(slots=True)
class Reading:
    """A read that is under way, and the reads of what is in it once it turned out to be a list."""

    job: _Job
    future: Future[_Read]
    inner: list[Reading] = field(default_factory=list)

    def flat(self) -> Iterator[Reading]:
        """Yield this one and all in it, in the order of the lists."""
        yield self
        for reading in self.inner:
            yield from reading.flat()


def start(
    requests: Sequence[ImageRequest], stores: Sequence[Store], pool: Pool, reader: Reader | None = None
) -> list[Reading]:
    """Begin to read the images; ``stores`` are those of the requests, ``reader`` bounds what is kept of them."""
    reader = reader or Reader()
    jobs = [_Job(request, store, reader) for request, store in zip(requests, stores, strict=True)]
    return [Reading(job, pool.submit(_read, job)) for job in jobs]


def gather(
    reads: Sequence[Reading], pool: Pool, platforms: Sequence[Platform] = (), *, attestations: bool = True
) -> Gathered:
    """Wait for the images, and read those in lists that were given as images: only ``platforms``, if any are given.

    ``attestations`` of false leaves these unread. Raises only what ends the run; everything about one image becomes a
    finding.
    """
    gathered = Gathered()
    opened: set[tuple[int, Digest]] = set()
    waiting = deque(reads)
    # A list is gone into as soon as it is its turn, while what stands behind it is still on its way.
    while waiting:
        reading = waiting.popleft()
        index = reading.future.result().index
        if index is None or reading.job.depth == _MAX_DEPTH:
            continue
        for entry in _wanted(index, platforms, attestations=attestations):
            if _is_new(reading.job, entry, opened):
                job = replace(reading.job, entry=entry, depth=reading.job.depth + 1)
                reading.inner.append(Reading(job, pool.submit(_read, job)))
        waiting.extend(reading.inner)
    for reading in reads:
        _take(reading, platforms, gathered)
    return gathered


def _is_new(job: _Job, entry: Descriptor, opened: set[tuple[int, Digest]]) -> bool:
    """Tell whether an entry must be read: lists that name each other's lists many times would never end."""
    if entry.media_type not in media_types.INDEXES:
        return True
    place = (id(job.request), entry.digest)
    new = place not in opened
    opened.add(place)
    return new


def _wanted(index: Index, platforms: Sequence[Platform], *, attestations: bool) -> Iterator[Descriptor]:
    """Yield the entries of images that are wanted, and the attestations of these."""
    images = [entry for entry in index.entries if not entry.is_attestation]
    wanted = {str(entry.digest) for entry in images if _is_wanted(entry, platforms)}
    left_out = {str(entry.digest) for entry in images} - wanted
    for entry in index.entries:
        # An attestation whose image is not in the list at all is judged later.
        if attestations and _subject(entry) not in left_out if entry.is_attestation else _is_wanted(entry, platforms):
            yield entry


def _is_wanted(entry: Descriptor, platforms: Sequence[Platform]) -> bool:
    # Where a list says no platform, the image's config will.
    if not platforms or entry.platform is None or entry.media_type in media_types.INDEXES:
        return True
    return any(entry.platform.satisfies(platform) for platform in platforms)


def _subject(entry: Descriptor) -> str:
    return entry.attests or entry.annotations.get(ATTESTATION_SUBJECT, "")


def _take(reading: Reading, platforms: Sequence[Platform], gathered: Gathered) -> None:
    """Take over what one of the given images, and all that is in it, turned out to be."""
    reads = [(inner.job, inner.future.result()) for inner in reading.flat()]
    members = [read.member for _, read in reads if read.member is not None]
    if platforms:
        members = [m for m in members if not m.listed or any(m.platform.satisfies(platform) for platform in platforms)]
    gathered.members += members
    gathered.annotated += [(job.request, read.index) for job, read in reads if read.index and read.index.annotations]
    listed = [entry for _, read in reads if read.index for entry in read.index.entries if not entry.is_attestation]
    left_out = {str(entry.digest) for entry in listed if platforms} - {str(m.manifest.digest) for m in members}
    attestations = [read.attestation for _, read in reads if read.attestation is not None]
    gathered.attestations += [attestation for attestation in attestations if attestation.subject not in left_out]
    faults = [(job, finding) for job, read in reads if (finding := _fault(job, read)) is not None]
    findings = [finding for _, finding in faults]
    gathered.unread += [job.entry for job, _ in faults]
    if reads[0][1].index is not None and not members and not findings:
        findings.append(_nothing_in(reading.job, listed, platforms))
    gathered.findings += findings
    for job, read in reads:
        if isinstance(read.error, NotFoundError) and read.error.repository_unknown:
            gathered.unknown_repositories[job.store.name] = read.error


def _nothing_in(job: _Job, listed: Sequence[Descriptor], platforms: Sequence[Platform]) -> Finding:
    """Return the finding for a list that has none of the images that are wanted, or none at all."""
    wanted = ", ".join(str(platform) for platform in platforms)
    there = dict.fromkeys(entry.platform.shown for entry in listed if entry.platform is not None)
    return found(
        "platform-not-listed" if wanted else "list-empty",
        f"{job.given}: this list has no image" + (f" for {wanted}" if wanted else ""),
        where=job.given,
        hint="'manifestctl inspect' shows what is in it; leave it out, or build it again.",
        image=job.given,
        platform=wanted,
        repository=job.store.name,
        found=", ".join(list(there)[:20]) or "none",
        expected=wanted or "at least one image",
    )


def _fault(job: _Job, read: _Read) -> Finding | None:
    """Return why it is not known what is in something: it could not be read, or lists are nested too deep."""
    if read.index is None or job.depth < _MAX_DEPTH:
        return read.finding
    return found(
        "list-too-deep",
        f"{job.given}: lists are nested deeper than {_MAX_DEPTH} levels",
        where=job.given,
        hint="Name the images in it by their digests.",
        image=job.given,
        repository=job.store.name,
        found="a list in a list in a list in a list",
        expected=f"at most {_MAX_DEPTH} levels of lists",
    )


def _read(job: _Job) -> _Read:
    try:
        return _read_job(job)
    except OF_ONE_IMAGE as error:
        declared = job.request.declared
        finding = unreadable(
            error,
            where=job.given,
            repository=job.store.name,
            entry=job.entry,
            platform=declared.shown if declared is not None else "",
        )
        return _Read(finding=finding, error=error)


def _read_job(job: _Job) -> _Read:
    what = job.given if job.entry is None else f"{job.given} ({job.entry.digest.short})"
    content = job.read_manifest()
    if job.entry is not None and job.entry.is_attestation:
        return _Read(attestation=_attestation(job, job.entry, content, what))
    manifest = content.parse(what)
    if isinstance(manifest, Index):
        job.reader.enter(len(manifest.entries), what)
        return _Read(index=manifest)
    _check_is_image(manifest, what)
    try:
        raw = job.reader.config(job.store, manifest.config)
    except NotFoundError as error:
        raise DocumentError(error.message, rule="config-missing") from error
    config = _config(raw, what)
    entry = job.entry or manifest.descriptor
    return _Read(member=Member(job.request, job.store.name, entry, manifest, raw, config, listed=job.entry is not None))


def _attestation(job: _Job, entry: Descriptor, content: Content, what: str) -> Attestation:
    try:
        manifest = content.parse(what)
    except DocumentError as error:
        if error.rule != "not-an-image":
            raise
        manifest = None
    # What else than a manifest builders may put there one day is not ours to judge.
    return Attestation(job.request, job.store.name, entry, manifest if isinstance(manifest, Manifest) else None)


def _check_is_image(manifest: Manifest, what: str) -> None:
    if manifest.config.media_type in media_types.CONFIGS and not manifest.artifact_type:
        return
    kind = manifest.artifact_type or manifest.config.media_type
    raise DocumentError(
        f"{what}: it is not an image that runs, but an artifact of type {escape(kind, 120)}", rule="not-an-image"
    )


def _config(raw: bytes, what: str) -> ImageConfig:
    try:
        config = parse_config(raw, f"the config of {what}")
    except DocumentError as error:
        error.rule = "config-unreadable"
        raise
    if config.platform.unknown:
        raise DocumentError(
            f"{what}: it is for unknown/unknown, as buildx writes for attestations, so it is no image that runs",
            hint="Name the list that buildx made: its attestations come with it.",
            rule="not-an-image",
        )
    return config
