"""`create`: check, compose, validate, PUT, read back. No tag moves until everything before it went well."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Literal

from manifestctl.errors import InterruptedRun, ManifestctlError, MissingContentError, PartialError, exit_code
from manifestctl.model.reference import DEFAULT_TAG, check_tag
from manifestctl.parallel import Pool
from manifestctl.stores.quotas import check_manifest
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs import rules
from manifestctl.verbs.check import Checked, CheckRequest, examine, list_findings, schema_findings
from manifestctl.verbs.gather import Member
from manifestctl.verbs.outcome import change, first_published, moves
from manifestctl.verbs.publish import Guard, TagState, order_tags, read_tag
from manifestctl.verbs.tagging import check_quota, in_order, publish_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.errors import Category
    from manifestctl.model.digest import Digest
    from manifestctl.model.finding import Finding
    from manifestctl.model.published import Published
    from manifestctl.parallel import Future
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, OpenStore, Store
    from manifestctl.verbs.compose import Composed
    from manifestctl.verbs.gather import Attestation
    from manifestctl.verbs.transfer import Moved

Status = Literal["created", "updated", "unchanged", "dry-run", "failed"]

# What a tag that cannot be looked at, or holds what it should not, breaks.
_TAG_RULES: dict[Category, str] = {
    "conflict": "tag-unexpected",
    "denied": "target-denied",
    "unreachable": "target-unreachable",
    "integrity": "target-integrity",
}


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """What to publish: what to check, further tags, and when a tag may be overwritten.

    With ``copy``, images that live elsewhere are brought into the target's repository. ``tag_children`` is a template
    by which each image gets a tag of its own, before the list does.
    """

    check: CheckRequest
    tags: tuple[str, ...] = ()
    guard: Guard = field(default_factory=Guard)
    dry_run: bool = False
    copy: bool = False
    tag_children: str | None = None

    def __post_init__(self) -> None:
        """Refuse tags that are none; raises `InputError`."""
        for tag in self.tags:
            check_tag(tag)
        self.guard.refuse_both()
        if self.tag_children is not None:
            from manifestctl.verbs.template import check_template

            check_template(self.tag_children)


@dataclass(slots=True)
class Created:
    """What became of a `create`. It is filled as the run goes on, so that it tells the truth at any moment.

    ``children`` are the tags of the images themselves, ``wanted`` says which image each is for. ``moved`` is what was
    copied, if anything was to be.
    """

    request: CreateRequest
    checked: Checked
    tags: list[TagState] = field(default_factory=list)
    children: list[TagState] = field(default_factory=list)
    wanted: dict[str, Content] = field(default_factory=dict)
    moved: Moved | None = None
    error: ManifestctlError | None = None
    finished: bool = False

    @property
    def composed(self) -> Composed | None:
        """The list, if there are images for one."""
        return self.checked.composed

    @property
    def findings(self) -> list[Finding]:
        """Everything that was found."""
        return self.checked.findings

    @property
    def ok(self) -> bool:
        """Tell whether everything that was asked for was done."""
        return self.exit_code == 0

    @property
    def exit_code(self) -> int:
        """The exit status."""
        if isinstance(self.error, PartialError):
            return self.error.exit_code
        codes = [self.error.exit_code] if self.error is not None else []
        return exit_code((finding.category for finding in self.findings if finding.is_error), codes)

    @property
    def published(self) -> Published:
        """Tell whether the first tag holds the list now: the target's own, unless that is ``latest`` and comes last."""
        return first_published(self.tags, self.composed.content if self.composed is not None else None)

    @property
    def status(self) -> Status:
        """Say in one word how it ended."""
        if not (self.finished and self.ok):
            return "failed"
        if self.request.dry_run:
            return "dry-run"
        return change((*self.tags, *self.children))


def create(request: CreateRequest, open_store: OpenStore, runtime: Runtime) -> Created:
    """Check the images, compose their list, and publish it under the target's tag and the further ones.

    Returns what became of it, also when it failed: then ``error`` or the error findings say why, and ``tags`` what each
    tag holds.
    """
    created = Created(request, Checked(request.check))
    try:
        _run(created, open_store, runtime)
    except ManifestctlError as error:
        created.error = error
    return created


def _run(created: Created, open_store: OpenStore, runtime: Runtime) -> None:
    request, checked = created.request, created.checked
    target = request.check.target
    store = open_store(target, write=not request.dry_run)
    stores = [open_store(image.location) for image in request.check.images]
    names = order_tags(target.tag or DEFAULT_TAG, request.tags)
    check_quota(store, names)
    with Pool(request.check.concurrency, runtime.cancel) as pool:
        reads = [(name, pool.submit(lambda name: read_tag(store, name), name)) for name in names]
        try:
            composed = examine(checked, stores, pool, copies=request.copy)
            created.tags = [TagState(name) for name in names]
            for state, (_, read) in zip(created.tags, reads, strict=True):
                _look_at_tag(created, state, composed.content, read, store)
            _look_at_children(created, store, pool)
            # A registry's quota says more than the limit of documents.
            check_manifest(store, len(composed.content.raw), f"the list for {escape(str(target), 300)}")
            checked.findings += list_findings(checked, composed)
        finally:
            checked.findings = request.check.policy.apply(checked.findings)
        later = None if request.check.policy.deny else pool.submit(schema_findings, checked)
        if later is None:
            checked.findings += request.check.policy.apply(schema_findings(checked))
        if created.ok and not request.dry_run:
            _prepare(created, stores, store, pool, runtime)
            _publish(created, composed.content, store, pool, runtime)
        if later is not None:
            checked.findings += request.check.policy.apply(later.result())
    created.finished = True


def _look_at_children(created: Created, store: Store, pool: Pool) -> None:
    """Find out which tags the images get, and look at these tags as at the list's own."""
    if created.request.tag_children is None:
        return
    from manifestctl.verbs.children import tags_of_children

    names = [state.tag for state in created.tags]
    wanted = created.wanted = tags_of_children(created.checked, created.request.tag_children, names, store)
    created.children = [TagState(name) for name in wanted]
    reads = [pool.submit(lambda name: read_tag(store, name), name) for name in wanted]
    for state, read in zip(created.children, reads, strict=True):
        _look_at_tag(created, state, wanted[state.tag], read, store)


def _look_at_tag(
    created: Created, state: TagState, content: Content, read: Future[Digest | None], store: Store
) -> None:
    """Note what a tag holds; one that may not be overwritten or cannot be read is a finding."""
    where = f"{store.name}:{state.tag}"
    guard = _guard(created, state)
    try:
        state.old = state.now = read.result()
        guard.check(state, content, where)
    except ManifestctlError as error:
        if error.category not in _TAG_RULES:
            raise
        overwrites = error.category == "conflict" and guard.no_overwrite
        created.checked.findings.append(
            rules.found(
                "tag-exists" if overwrites else _TAG_RULES[error.category],
                error.message,
                where=escape(where, 300),
                hint=error.hint,
                repository=store.name,
                found=str(state.old or "nothing") if error.category == "conflict" else "",
                expected="nothing" if overwrites else str(guard.expect or ""),
                statement=error.statement,
            )
        )


def _guard(created: Created, state: TagState) -> Guard:
    own = created.request.check.target.tag or DEFAULT_TAG
    return created.request.guard.for_tag(own=state.tag == own)


def _prepare(created: Created, stores: Sequence[Store], store: Store, pool: Pool, runtime: Runtime) -> None:
    """Bring the images that live elsewhere, and tag the images; all that comes before the list itself."""
    if created.request.copy and created.composed is not None:
        from manifestctl.verbs.children import bring
        from manifestctl.verbs.transfer import Moved

        created.moved = Moved()
        there = any(state.holds(created.composed.content) for state in created.tags)
        bring(created.checked, stores, store, created.moved, pool, runtime=runtime, there=there)
    if created.children:
        from manifestctl.verbs.children import tag_children

        tag_children(store, created.wanted, created.children, created.request.guard, pool, runtime=runtime)


def _publish(created: Created, content: Content, store: Store, pool: Pool, runtime: Runtime) -> None:
    try:
        wanted = dict.fromkeys((state.tag for state in created.tags), content)
        waves = in_order(created.tags)
        publish_tags(store, wanted, waves, lambda state: _guard(created, state), pool, runtime=runtime)
    except ManifestctlError as error:
        cause = error.__cause__ if isinstance(error, PartialError) else error
        if isinstance(cause, MissingContentError):
            created.checked.findings += _unknown_children(created, cause)
        moved = moves(created.children)
        if moved and not isinstance(error, PartialError | InterruptedRun):
            error.message += f"; tags of its images had moved by then: {moved}"
        raise


def _unknown_children(created: Created, error: MissingContentError) -> list[Finding]:
    """Map digests that the registry says it does not have back to the images and attestations that they are."""
    items: list[Member | Attestation] = [*created.checked.members, *created.checked.gathered.attestations]
    unknown = {str(item.entry.digest): item for item in items if str(item.entry.digest) in error.digests}
    return [
        rules.found(
            "image-missing",
            f"{item.name}: the registry says that it is not there, although it was just read",
            where=escape(item.request.given, 300),
            hint="Somebody may have deleted it, or the registry is behind itself; push it again and run this again.",
            image=f"{escape(item.request.given, 300)} ({digest})",
            platform=item.platform.shown if isinstance(item, Member) else "",
            repository=item.repository,
            found="nothing",
            expected=digest,
        )
        for digest, item in unknown.items()
    ]
