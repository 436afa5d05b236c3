"""`check`: everything that `create` checks, and no write."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import InputError, IntegrityError, ManifestctlError, NotFoundError, exit_code
from manifestctl.model import media_types
from manifestctl.model.location import parse_child
from manifestctl.parallel import Pool
from manifestctl.text import escape
from manifestctl.verbs import rules
from manifestctl.verbs.checks import Requirements, distinct, judge
from manifestctl.verbs.compose import Composed, Wording, compose
from manifestctl.verbs.gather import Gathered, ImageRequest, gather, start
from manifestctl.verbs.rules import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import OpenStore, Store
    from manifestctl.verbs.gather import Member

Depth = Literal["manifests", "blobs"]


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """What to check: the target, the images, and what they must satisfy.

    ``platforms`` narrows lists that are given as images. ``depth`` is ``manifests`` (manifests and configs) or ``blobs``
    (every layer too). ``concurrency`` is how many requests may be under way at once.
    """

    target: Location
    images: tuple[ImageRequest, ...]
    needs: Requirements = Requirements()
    wording: Wording = Wording()
    platforms: tuple[Platform, ...] = ()
    depth: Depth = "manifests"
    policy: Policy = Policy()
    concurrency: int = 16

    def __post_init__(self) -> None:
        """Refuse what makes no sense; raises `InputError`."""
        if self.needs.exact and not self.needs.required:
            raise InputError("--exact is given without --require", hint="Name the platforms that must be there.")
        if self.target.digest is not None:
            raise InputError(
                f"{self.target}: the target of a list is a tag, not a digest",
                hint=f"Write {self.target.with_tag(self.target.tag)}; --expect DIGEST says what it must hold now.",
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

    Raises `InputError` for a malformed image, or a declaration for an image that is not among them.
    """
    left = dict(declared or {})
    requests = []
    for given in images:
        location = parse_child(given, target)
        said = left.pop(given, None) or left.pop(str(location), None)
        requests.append(ImageRequest(given, location, said))
    for image in left:
        raise InputError(
            f"--set-platform names '{escape(image, 300)}', which is not one of the images",
            hint="Write the image as it is written in the command.",
        )
    return tuple(requests)


def check(request: CheckRequest, open_store: OpenStore, runtime: Runtime) -> Checked:
    """Read and judge the images; returns what was found, also when it could not be finished."""
    checked = Checked(request)
    try:
        stores = [open_store(image.location) for image in request.images]
        with Pool(request.concurrency, runtime.cancel) as pool:
            examine(checked, stores, pool)
            checked.findings += schema_findings(checked)
    except ManifestctlError as error:
        checked.error = error
    checked.findings = request.policy.apply(checked.findings)
    return checked


def examine(checked: Checked, stores: Sequence[Store], pool: Pool) -> None:
    """Read the images and judge them; findings go into ``checked``, the user's policy not applied yet."""
    request = checked.request
    reads = start(request.images, stores, pool)
    # While the requests are under way there is nothing better to do than to load what comes next.
    loading = pool.submit(_load_validation, None)
    gathered = checked.gathered = gather(reads, pool, request.platforms)
    loading.result()
    if gathered.repository_unknown is not None and all(
        image.location.store == request.target.store for image in request.images
    ):
        checked.findings += gathered.findings
        raise NotFoundError(
            gathered.repository_unknown.message,
            hint=f"Create the repository {request.target.store} and push the images into it first.",
            repository_unknown=True,
        )
    checked.findings += judge(request.target, request.images, gathered, request.needs)
    attestations = gathered.attestations if request.needs.attestations != "drop" else []
    digests = {str(member.manifest.digest) for member in gathered.members}
    kept = [item for item in attestations if not item.entry.attests or item.entry.attests in digests]
    checked.composed = compose(gathered.members, kept, request.wording)
    checked.findings += checked.composed.findings
    if request.depth == "blobs":
        checked.findings += _layers(checked.members, {store.name: store for store in stores}, pool)


def _layers(members: Sequence[Member], stores: Mapping[str, Store], pool: Pool) -> list[Finding]:
    """Look for every layer, each once for a repository. Layers that may not be distributed need not be there."""
    wanted: dict[tuple[str, str], tuple[Member, Descriptor]] = {}
    for member in members:
        for layer in member.manifest.layers:
            if not media_types.is_foreign(layer.media_type):
                wanted.setdefault((member.repository, str(layer.digest)), (member, layer))

    def look(item: tuple[Member, Descriptor]) -> Finding | None:
        member, layer = item
        return _layer(member, layer, stores[member.repository])

    return [finding for finding in pool.map(look, wanted.values()) if finding is not None]


def _layer(member: Member, layer: Descriptor, store: Store) -> Finding | None:
    about = {"where": f"{member.name} layer {layer.digest}", "image": member.name, "repository": store.name}
    try:
        if store.has(layer):
            return None
    except IntegrityError as error:
        return rules.found("image-integrity", error.message, hint=error.hint, **about)
    except ManifestctlError as error:
        rule = {"denied": "image-denied", "unreachable": "image-unreachable"}.get(error.category)
        if rule is None:
            raise
        return rules.found(rule, error.message, hint=error.hint, **about)
    return rules.found(
        "layer-missing",
        f"{member.name}: its layer {layer.digest} is not in {store.name}",
        hint="The image was not pushed whole; push it again.",
        platform=member.platform.shown,
        found="nothing",
        expected=f"{layer.size} bytes",
        **about,
    )


def schema_findings(checked: Checked) -> list[Finding]:
    """Check the images' manifests and configs against their JSON Schemas: warnings, for images that run have faults too."""
    from dataclasses import replace

    from manifestctl.validation import kind_of_media_type, validate

    findings = []
    for member in checked.members:
        documents = (
            (member.manifest.raw, member.manifest.media_type, f"the manifest of {member.name}"),
            (member.config_raw, media_types.OCI_CONFIG, f"the config of {member.name}"),
        )
        for raw, media_type, what in documents:
            for finding in validate(raw, what, kind_of_media_type(media_type)).findings:
                findings.append(  # noqa: PERF401 - a comprehension of this would not be read
                    replace(
                        finding,
                        severity="warning",
                        where=f"{what}: {finding.where or '/'}",
                        image=member.name,
                        platform=member.platform.shown,
                        repository=member.repository,
                    )
                )
    return findings


def list_findings(composed: Composed) -> list[Finding]:
    """Check the composed list against its JSON Schema and the rules of documents; errors stop a publish."""
    from manifestctl.validation import kind_of_media_type, validate

    content = composed.content
    return list(validate(content.raw, "the composed list", kind_of_media_type(content.media_type)).findings)


def _load_validation(nothing: None) -> None:
    del nothing
    from manifestctl import validation

    validation.warm()
