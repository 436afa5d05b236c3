"""`copy`: an image or a whole list into another repository or registry, with its children and, if wished, its referrers."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import InputError, ManifestctlError, NotFoundError, PartialError, exit_code
from manifestctl.model.manifest import Index
from manifestctl.model.reference import DEFAULT_TAG, check_tag
from manifestctl.parallel import Pool
from manifestctl.stores.base import ReferrerStore
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs.edit import narrowed
from manifestctl.verbs.publish import Guard, TagState, order_tags, publish_tags, read_tag
from manifestctl.verbs.referrers import copy_referrers
from manifestctl.verbs.transfer import Moved, Transfer

if TYPE_CHECKING:
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, OpenStore, Store
    from manifestctl.verbs.checks import Attestations
    from manifestctl.verbs.publish import Published

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

    @property
    def tag(self) -> str | None:
        """The target's own tag: as given, else the source's; None if the source is named by its digest alone."""
        return self.target.tag or self.source.tag or (None if self.source.digest else DEFAULT_TAG)


@dataclass(slots=True)
class Copied:
    """What became of a copy; filled as the run goes on."""

    request: CopyRequest
    content: Content | None = None
    tags: list[TagState] = field(default_factory=list)
    moved: Moved = field(default_factory=Moved)
    referrers: int = 0
    written: bool = False
    error: ManifestctlError | None = None

    @property
    def exit_code(self) -> int:
        """The exit status."""
        return exit_code(codes=[self.error.exit_code] if self.error is not None else [])

    @property
    def published(self) -> Published:
        """Tell whether the copy is under the target's own tag now, or there at all if it has none."""
        if self.content is None or not self.tags:
            return "true" if self.written else "false"
        first = self.tags[0]
        return "true" if first.now == self.content.digest else first.moved

    @property
    def status(self) -> Status:
        """Say in one word how it ended."""
        if self.error is not None or self.content is None:
            return "failed"
        if not self.tags:
            return "created" if self.written else "unchanged"
        if all(state.moved == "false" for state in self.tags):
            return "unchanged"
        return "created" if self.tags[0].old is None else "updated"


def copy(request: CopyRequest, open_store: OpenStore, runtime: Runtime) -> Copied:
    """Copy an image or a list; returns what became of it, also when it failed."""
    copied = Copied(request)
    try:
        source = open_store(request.source)
        target = open_store(request.target, write=True)
        with Pool(request.concurrency, runtime.cancel) as pool:
            _run(copied, source, target, pool, runtime)
    except ManifestctlError as error:
        copied.error = error
    return copied


def _run(copied: Copied, source: Store, target: Store, pool: Pool, runtime: Runtime) -> None:
    request = copied.request
    names = order_tags(request.tag, request.tags) if request.tag else list(request.tags)
    reads = [pool.submit(lambda name: read_tag(target, name), name) for name in names]
    content = _wanted(request, source.read_manifest(request.source.selector))
    copied.content = content
    copied.tags = [TagState(name) for name in names]
    for state, read in zip(copied.tags, reads, strict=True):
        state.old = state.now = read.result()
        request.guard.for_tag(own=state is copied.tags[0]).check(state, content, f"{target.name}:{state.tag}")
    transfer = Transfer(source, target, pool, runtime.observe, copied.moved)
    if not (copied.tags and all(state.holds(content) for state in copied.tags)):
        transfer.image(content)
    if not copied.tags:
        copied.written = not _there(target, content)
        target.write_manifest(content)
        target.read_manifest(str(content.digest))
    publish_tags(
        target, content, copied.tags, lambda state: request.guard.for_tag(own=state is copied.tags[0]), runtime
    )
    if request.referrers:
        _referrers(copied, source, target, transfer, runtime)


def _wanted(request: CopyRequest, content: Content) -> Content:
    """Return the source, or the narrower list that is asked for. What is not narrowed keeps its bytes."""
    if not request.platforms and request.attestations == "keep":
        return content
    manifest = content.parse(escape(str(request.source), 300))
    if not isinstance(manifest, Index):
        if request.platforms:
            raise InputError(
                f"{request.source} is one image, not a list", hint="Leave out --platform; it narrows lists."
            )
        return content
    return narrowed(content, manifest, request.platforms, request.attestations, escape(str(request.source), 300))


def _there(target: Store, content: Content) -> bool:
    try:
        return target.resolve(str(content.digest)).digest == content.digest
    except NotFoundError:
        return False


def _referrers(copied: Copied, source: Store, target: Store, transfer: Transfer, runtime: Runtime) -> None:
    if not isinstance(source, ReferrerStore) or copied.content is None:
        return
    try:
        copied.referrers = copy_referrers(copied.content, source, target, transfer, runtime)
    except ManifestctlError as error:
        raise PartialError(
            f"the image is copied, but not all that refers to it: {error.message}", hint=error.hint
        ) from error
