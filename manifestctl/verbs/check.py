"""`check`: everything that `create` checks, and no write."""

from __future__ import annotations

import re
from dataclasses import field, replace
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import DocumentError, InputError, ManifestctlError, NotFoundError, exit_code
from manifestctl.model import media_types
from manifestctl.model.location import parse_child
from manifestctl.parallel import Pool
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs import rules
from manifestctl.verbs.checks import Requirements, distinct, dropped_annotations, judge, same_repository
from manifestctl.verbs.compose import Composed, Wording, compose
from manifestctl.verbs.gather import Gathered, ImageRequest, Member, gather, start
from manifestctl.verbs.rules import Policy
from manifestctl.verbs.unreadable import OF_ONE_IMAGE, category_rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import OpenStore, Store
    from manifestctl.verbs.gather import Attestation

Depth = Literal["manifests", "blobs"]

_ENTRY = re.compile(r"/manifests/(\d+)")


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What to check: the target, the images, and what they must satisfy.

    ``platforms`` narrows lists that are given as images. ``depth`` is ``manifests`` (manifests and configs) or
    ``blobs`` (every layer too). ``concurrency`` is how many requests may be under way at once.
    """

    target: Location
    images: tuple[ImageRequest, ...]
    needs: Requirements = field(default_factory=Requirements)
    wording: Wording = field(default_factory=Wording)
    platforms: tuple[Platform, ...] = ()
    depth: Depth = "manifests"
    policy: Policy = field(default_factory=Policy)
    concurrency: int = 16

    def __post_init__(self) -> None:
        """Refuse what makes no sense; raises `InputError`."""
        if self.needs.exact and not self.needs.required:
            raise InputError("--exact is given without --require", hint="Name the platforms that must be there.")
        if self.target.digest is not None:
            raise InputError(
                f"{escape(str(self.target), 300)}: the target of a list is a tag, not a digest",
                hint=f"Write {escape(str(self.target.with_tag(self.target.tag)), 300)}; "
                "--expect DIGEST says what it must hold now.",
            )


@dataclass(slots=True)
class Checked:
    """What a check found. ``composed`` is the list as it would be, if there are images for one."""

    request: CheckRequest
    gathered: Gathered = field(default_factory=Gathered)
    findings: list[Finding] = field(default_factory=list)
    composed: Composed | None = None
    error: ManifestctlError | None = None

    @property
    def ok(self) -> bool:
        """Tell whether nothing stops a publish."""
        return self.error is None and not any(finding.is_error for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """The exit status for what was found."""
        codes = [self.error.exit_code] if self.error is not None else []
        return exit_code((finding.category for finding in self.findings if finding.is_error), codes)

    @property
    def members(self) -> list[Member]:
        """The images, each once."""
        return distinct(self.gathered.members)


def image_requests(
    target: Location, images: Sequence[str], declared: Mapping[str, Platform] | None = None
) -> tuple[ImageRequest, ...]:
    """Parse images as a user gives them, relative to the target or in full, with platforms declared for some of them.

    A declaration may spell its image otherwise than the list of images does. Raises `InputError` for a malformed image,
    a declaration for an image that is not among them, or two that differ for one image.
    """
    located = [(given, parse_child(given, target)) for given in images]
    said: dict[Location, Platform] = {}
    for image, platform in (declared or {}).items():
        location = next((at for given, at in located if given == image), None) or parse_child(image, target)
        if all(location != other for _, other in located):
            raise InputError(
                f"--set-platform names '{escape(image, 300)}', which is not one of the images",
                hint="Write the image as it is written in the command.",
            )
        if said.setdefault(location, platform) != platform:
            raise InputError(
                f"--set-platform declares '{escape(image, 300)}' as {said[location]} and as {platform}",
                hint="An image is for one platform.",
            )
    return tuple(ImageRequest(given, location, said.get(location)) for given, location in located)


def check(request: CheckRequest, open_store: OpenStore, runtime: Runtime) -> Checked:
    """Read and judge the images; returns what was found, also when it could not be finished."""
    checked = Checked(request)
    try:
        stores = [open_store(image.location) for image in request.images]
        with Pool(request.concurrency, runtime.cancel) as pool:
            composed = examine(checked, stores, pool)
            checked.findings += list_findings(checked, composed) + schema_findings(checked)
    except ManifestctlError as error:
        checked.error = error
    checked.findings = request.policy.apply(checked.findings)
    return checked


def examine(checked: Checked, stores: Sequence[Store], pool: Pool, *, copies: bool = False) -> Composed:
    """Read the images, judge them, and compose their list; findings go into ``checked``, no policy applied yet.

    With ``copies`` images may live elsewhere. Raises `NotFoundError` if the registry says that the target's repository
    does not exist.
    """
    request = checked.request
    reads = start(request.images, stores, pool)
    # While the requests are under way there is nothing better to do than to load what comes next.
    loading = pool.submit(_load_validation, None)
    wants_attestations = request.needs.attestations != "drop"
    gathered = checked.gathered = gather(reads, pool, request.platforms, attestations=wants_attestations)
    loading.result()
    checked.findings += judge(request.target, request.images, gathered, request.needs, copies=copies)
    _check_repository(checked)
    checked.findings += dropped_annotations(gathered, request.wording.annotations)
    digests = {str(member.manifest.digest) for member in gathered.members}
    kept = [item for item in gathered.attestations if not item.subject or item.subject in digests]
    composed = checked.composed = compose(gathered.members, kept, request.wording)
    checked.findings += composed.findings
    if request.depth == "blobs":
        checked.findings += _blobs(checked.members, kept, {store.name: store for store in stores}, pool)
    return composed


def _check_repository(checked: Checked) -> None:
    """Raise `NotFoundError` if the target's repository does not exist, in place of a finding for each image in it."""
    request = checked.request
    for image in request.images:
        error = checked.gathered.unknown_repositories.get(image.location.store)
        if error is not None and same_repository(image.location, request.target):
            repository, store = (escape(place.store, 300) for place in (request.target, image.location))
            checked.findings = [
                finding
                for finding in checked.findings
                if (finding.rule, finding.repository) != ("image-missing", store)
            ]
            raise NotFoundError(
                error.message,
                hint=f"{error.hint or f'Create the repository {repository}.'} Push the images into it first; those "
                "elsewhere are brought by 'create --copy'.",
                repository_unknown=True,
            )


def _blobs(
    members: Sequence[Member], attestations: Sequence[Attestation], stores: Mapping[str, Store], pool: Pool
) -> list[Finding]:
    """Look for every layer, each once in a repository, and say of every image that needs it if it is not there.

    Layers that may not be distributed need not be there. The configs of images were read already.
    """
    needed: list[tuple[Member | Attestation, Descriptor]] = [
        (member, layer) for member in members for layer in member.manifest.layers
    ]
    needed += [
        (attestation, blob)
        for attestation in attestations
        if attestation.manifest is not None
        for blob in (attestation.manifest.config, *attestation.manifest.layers)
    ]
    needed = [(owner, blob) for owner, blob in needed if not media_types.is_foreign(blob.media_type)]
    places = list(dict.fromkeys((owner.repository, blob.digest, blob.size) for owner, blob in needed))
    blobs = {(owner.repository, blob.digest, blob.size): blob for owner, blob in needed}
    looks = pool.map(lambda place: _look(stores[place[0]], blobs[place]), places)
    faults = dict(zip(places, looks, strict=True))
    return [
        _blob_finding(owner, blob, fault)
        for owner, blob in needed
        if (fault := faults[owner.repository, blob.digest, blob.size]) is not None
    ]


def _look(store: Store, blob: Descriptor) -> ManifestctlError | None:
    """Return what is wrong with a blob, if anything."""
    try:
        if store.has(blob):
            return None
    except OF_ONE_IMAGE as error:
        return error
    return DocumentError(f"{blob.digest} is not in {escape(store.name, 300)}", rule="layer-missing")


def _blob_finding(owner: Member | Attestation, blob: Descriptor, fault: ManifestctlError) -> Finding:
    rule = category_rule(fault)
    return rules.found(
        rule,
        f"{owner.name}: its layer {fault.message}" if rule == "layer-missing" else f"{owner.name}: {fault.message}",
        where=f"{owner.name} layer {blob.digest}",
        hint=fault.hint or "The image was not pushed whole; push it again.",
        image=owner.name,
        platform=owner.platform.shown if isinstance(owner, Member) else "",
        repository=owner.repository,
        found="nothing" if rule == "layer-missing" else "something else",
        expected=f"{blob.size} bytes",
        statement=fault.statement,
    )


def schema_findings(checked: Checked) -> list[Finding]:
    """Check the images' manifests and configs against their JSON Schemas.

    What is found is a warning: images that run everywhere have such faults.
    """
    from manifestctl.validation import kind_of_media_type, validate

    findings = []
    for member in checked.members:
        documents = (
            (member.manifest.raw, member.manifest.media_type, f"the manifest of {member.name}"),
            (member.config_raw, media_types.OCI_CONFIG, f"the config of {member.name}"),
        )
        for raw, media_type, what in documents:
            for finding in validate(raw, what, kind_of_media_type(media_type)).findings:
                place = f"{what}: {finding.where or '/'}"
                findings.append(replace(_of_member(finding, member), severity="warning", where=place))
    return findings


def list_findings(checked: Checked, composed: Composed) -> list[Finding]:
    """Check the composed list against its JSON Schema and the rules of documents; errors stop a publish."""
    from manifestctl.validation import kind_of_media_type, validate

    members = {member.manifest.digest: member for member in checked.members}
    findings = []
    for finding in validate(
        composed.content.raw, "the composed list", kind_of_media_type(composed.content.media_type)
    ).findings:
        entry = _ENTRY.match(finding.where)
        member = members.get(composed.entries[int(entry[1])].digest) if entry else None
        # Equal platforms were found before, with the names of the images.
        if finding.rule != "platform-duplicate":
            findings.append(_of_member(finding, member) if member is not None else finding)
    return findings


def _of_member(finding: Finding, member: Member) -> Finding:
    repository = escape(member.repository, 300)
    return replace(finding, image=member.name, platform=member.platform.shown, repository=repository)


def _load_validation(nothing: None) -> None:
    del nothing
    from manifestctl import validation

    validation.warm()
