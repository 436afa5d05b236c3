"""`copy`: an image or a list into another repository or registry, with its children and, if wished, its referrers."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import (
    DocumentError,
    InputError,
    InterruptedRun,
    ManifestctlError,
    PartialError,
    exit_code,
)
from manifestctl.model.location import ArchiveLocation, EngineLocation
from manifestctl.model.manifest import Index
from manifestctl.model.reference import DEFAULT_TAG, check_tag
from manifestctl.parallel import Pool
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs.edit import narrowed
from manifestctl.verbs.outcome import change, first_published
from manifestctl.verbs.publish import (
    Guard,
    TagState,
    order_tags,
    publish_tag,
    read_tag,
    state_without_tag,
)
from manifestctl.verbs.tagging import check_quota, in_order, publish_tags
from manifestctl.verbs.transfer import Moved, Transfer, typed

if TYPE_CHECKING:
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.model.published import Published
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, OpenStore, Store
    from manifestctl.verbs.checks import Attestations

Status = Literal["created", "updated", "unchanged", "failed"]


@dataclass(frozen=True, slots=True)
class CopyRequest:
    """What to copy, and where to; a target without a tag takes the source's."""

    source: Location
    target: Location
    platforms: tuple[Platform, ...] = ()
    attestations: Attestations = "keep"
    referrers: bool = False
    tags: tuple[str, ...] = ()
    guard: Guard = Guard()
    concurrency: int = 16

    def __post_init__(self) -> None:
        """Refuse what makes no sense; raises `InputError`."""
        for tag in self.tags:
            check_tag(tag)
        if self.target.digest is not None:
            raise InputError(f"{self.target}: the target of a copy is a tag, not a digest")
        if isinstance(self.source, EngineLocation) or (
            isinstance(self.source, ArchiveLocation) and self.source.is_docker
        ):
            raise InputError(
                f"{self.source}: its layers are not compressed, and copy moves content as it is",
                hint="Use 'manifestctl push', which compresses them on the way.",
            )
        self.guard.refuse_both()
        if self.guard.expect is not None and self.tag is None:
            raise InputError(
                f"--expect is about the target's own tag, and {self.target} is given none",
                hint="Write the tag behind the target.",
            )

    @property
    def tag(self) -> str | None:
        """The target's own tag: as given, else the source's; None if the source is named by its digest alone."""
        return self.target.tag or _tag_of(self.source)

    @property
    def all_tags(self) -> list[str]:
        """All tags to write, in the order of writing."""
        wanted = (self.tag, *self.tags) if self.tag else self.tags
        return order_tags(wanted[0], wanted[1:]) if wanted else []

    def guard_of(self, state: TagState) -> Guard:
        """Return when a tag may be overwritten."""
        return self.guard.for_tag(own=state.tag == self.tag)


@dataclass(slots=True)
class Copied:
    """What became of a copy; filled as the run goes on.

    ``untagged`` stands in for ``tags`` of a copy without a tag.
    """

    request: CopyRequest
    content: Content | None = None
    tags: list[TagState] = field(default_factory=list)
    moved: Moved = field(default_factory=Moved)
    referrers: int = 0
    untagged: TagState | None = None
    error: ManifestctlError | None = None

    @property
    def exit_code(self) -> int:
        """The exit status."""
        return exit_code(codes=[self.error.exit_code] if self.error is not None else [])

    @property
    def published(self) -> Published:
        """Tell whether the copy is under the target's own tag now, or there at all if it has none."""
        return first_published(self._states, self.content)

    @property
    def status(self) -> Status:
        """Say in one word how it ended."""
        if self.error is not None or self.content is None:
            return "failed"
        return change(self._states)

    @property
    def _states(self) -> list[TagState]:
        return [self.untagged] if self.untagged is not None else self.tags


def copy(request: CopyRequest, open_store: OpenStore, runtime: Runtime) -> Copied:
    """Copy an image or a list; returns what became of it, also when it failed."""
    copied = Copied(request)
    try:
        source = open_store(request.source)
        target = open_store(request.target, write=True)
        check_quota(target, request.all_tags)
        with Pool(request.concurrency, runtime.cancel) as pool:
            _run(copied, source, target, pool, runtime)
    except ManifestctlError as error:
        copied.error = error
    return copied


def _run(copied: Copied, source: Store, target: Store, pool: Pool, runtime: Runtime) -> None:
    request = copied.request
    names = request.all_tags
    reads = [pool.submit(lambda name: read_tag(target, name), name) for name in names]
    content = _wanted(request, source.read_manifest(request.source.selector))
    copied.content = content
    copied.tags = [TagState(name) for name in names]
    for state, read in zip(copied.tags, reads, strict=True):
        state.old = state.now = read.result()
    for state in copied.tags:
        request.guard_of(state).check(state, content, escape(f"{target.name}:{state.tag}", 400))
    transfer = Transfer(source, target, pool, runtime, copied.moved)
    if copied.tags:
        transfer.image(content, there=any(state.holds(content) for state in copied.tags))
        wanted = dict.fromkeys((state.tag for state in copied.tags), content)
        publish_tags(target, wanted, in_order(copied.tags), request.guard_of, pool, runtime=runtime)
    else:
        _by_digest(copied, content, transfer, runtime)
    manifest = content.parse(escape(str(request.source), 300))
    if manifest.subject is not None:
        from manifestctl.verbs.referrers import list_as_referrer

        list_as_referrer(manifest, target, runtime)
    if request.referrers:
        _referrers(copied, content, transfer, runtime)


def _wanted(request: CopyRequest, content: Content) -> Content:
    """Return the source, or the narrower list that is asked for. What is not narrowed keeps its bytes."""
    what = escape(str(request.source), 300)
    manifest = content.parse(what)
    content = typed(content, manifest)
    if isinstance(manifest, Index):
        if request.platforms or request.attestations != "keep":
            return narrowed(content, manifest, request.platforms, request.attestations, what)
        return content
    if request.platforms:
        raise InputError(f"{what} is one image, not a list", hint="Leave out --platform; it narrows lists.")
    if request.attestations == "require":
        raise DocumentError(
            f"{what} is one image, not a list, so it has no attestation, and --attestations require was given",
            hint="buildx keeps attestations in a list beside the image; name that, or leave the option out.",
            rule="attestation-required",
        )
    return content


def _by_digest(copied: Copied, content: Content, transfer: Transfer, runtime: Runtime) -> None:
    """Write without a tag, unless it is there, and read it back."""
    copied.untagged = state_without_tag(transfer.target, content)
    transfer.image(content, there=copied.untagged.holds(content))
    publish_tag(transfer.target, content, copied.untagged, Guard(), runtime)


def _referrers(copied: Copied, content: Content, transfer: Transfer, runtime: Runtime) -> None:
    from manifestctl.verbs.referrers import copy_referrers

    guard = Guard(no_overwrite=copied.request.guard.no_overwrite)
    try:
        copied.referrers = copy_referrers(content, transfer, guard, runtime)
    except InterruptedRun:
        raise
    except ManifestctlError as error:
        raise PartialError(
            f"the image is copied, but not all that refers to it: {error.message}", hint=error.hint
        ) from error


def _tag_of(source: Location) -> str | None:
    """Return the tag of a source. What archives call their images may be a whole reference, or an id."""
    if source.tag is None:
        return None if source.digest else DEFAULT_TAG
    if not isinstance(source, ArchiveLocation):
        return source.tag
    name = source.tag.rpartition("/")[2]
    _, colon, tag = name.rpartition(":")
    if name.startswith("sha256:") or (not colon and (source.is_docker or "/" in source.tag)):
        return DEFAULT_TAG
    return check_tag(tag)
