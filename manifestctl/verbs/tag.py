"""`tag`: more tags for what is there; no content moves."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from manifestctl.errors import (
    InputError,
    ManifestctlError,
    exit_code,
)
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest, parse_config
from manifestctl.model.reference import DEFAULT_TAG, check_tag
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import Pool
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs.publish import Guard, TagState, read_tag
from manifestctl.verbs.tagging import at_once, check_quota, publish_tags
from manifestctl.verbs.template import check_template, child_tags
from manifestctl.verbs.transfer import typed

if TYPE_CHECKING:
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.location import Location
    from manifestctl.model.platforms import Platform
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, OpenStore, Store

MOST_TAGS = 10_000
"""More tags in one run than this are taken for a mistake, whatever the registry would take."""


@dataclass(frozen=True, slots=True)
class TagRequest:
    """Which image gets which tags. With ``each`` its children get tags by a template too.

    The guard is for each of the new tags; what it expects, for those of the image itself.
    """

    target: Location
    tags: tuple[str, ...] = ()
    each: str | None = None
    guard: Guard = Guard()
    concurrency: int = 16

    def __post_init__(self) -> None:
        """Refuse tags that are none, and too many of them; raises `InputError`."""
        for tag in self.tags:
            check_tag(tag)
        if len(set(self.tags)) > MOST_TAGS:
            raise InputError(f"{len(set(self.tags))} tags are more than the {MOST_TAGS} that one run may give")
        if not self.tags and self.each is None:
            raise InputError("there is no new tag", hint="Write manifestctl tag TARGET NEWTAG…")
        if self.each is not None:
            check_template(self.each)
        self.guard.refuse_both()

    @property
    def own_tag(self) -> str:
        """The tag by which the image is named; ``""`` if it is named by its digest alone."""
        return self.target.tag or ("" if self.target.digest else DEFAULT_TAG)

    def guard_of(self, state: TagState) -> Guard:
        """Return when a tag may be overwritten."""
        return self.guard.for_tag(own=state.tag in self.tags)


@dataclass(slots=True)
class Retagged:
    """What became of each tag; filled as the run goes on."""

    request: TagRequest
    content: Content | None = None
    tags: list[TagState] = field(default_factory=list)
    error: ManifestctlError | None = None

    @property
    def exit_code(self) -> int:
        """The exit status."""
        return exit_code(codes=[self.error.exit_code] if self.error is not None else [])


def tag(request: TagRequest, open_store: OpenStore, runtime: Runtime) -> Retagged:
    """Give the tags; returns what became of each, also when some failed."""
    done = Retagged(request)
    try:
        store = open_store(request.target, write=True)
        check_quota(store, [request.own_tag, *request.tags])
        with Pool(request.concurrency, runtime.cancel) as pool:
            _run(done, store, pool, runtime)
    except ManifestctlError as error:
        done.error = error
    return done


def _run(done: Retagged, store: Store, pool: Pool, runtime: Runtime) -> None:
    request = done.request
    content = store.read_manifest(request.target.selector)
    done.content = typed(content, content.parse(escape(str(request.target), 300)))
    wanted = dict.fromkeys(request.tags, done.content)
    if request.each is not None:
        wanted = _child_tags(request, store, done.content, pool) | wanted
    done.tags = [TagState(name) for name in wanted]
    for state, old in zip(done.tags, pool.map(lambda state: read_tag(store, state.tag), done.tags), strict=True):
        state.old = state.now = old
    # All of them are looked at before any is moved.
    for state in done.tags:
        where = escape(f"{store.name}:{state.tag}", 400)
        request.guard_of(state).check(state, wanted[state.tag], where)
    publish_tags(store, wanted, at_once(done.tags), request.guard_of, pool, runtime=runtime)


def _child_tags(request: TagRequest, store: Store, content: Content, pool: Pool) -> dict[str, Content]:
    what = escape(str(request.target), 300)
    manifest = content.parse(what)
    if not isinstance(manifest, Index):
        raise InputError(f"{what} is not a list, so it has no children to tag", hint="Leave out --each.")
    entries = dict.fromkeys(entry for entry in manifest.entries if _may_run(entry))
    children = pool.map(lambda entry: _child(store, entry), entries)
    tags = child_tags(
        request.each or "",
        request.own_tag,
        [child for child in children if child is not None],
        taken=(request.own_tag, *request.tags),
    )
    if not tags:
        raise InputError(f"{what} has no image in it that could be tagged", hint="Leave out --each.")
    check_quota(store, tags, {name: child.digest for name, child in tags.items()})
    return tags


def _may_run(entry: Descriptor) -> bool:
    return not entry.is_attestation and entry.media_type not in media_types.INDEXES


def _child(store: Store, entry: Descriptor) -> tuple[Platform, Content] | None:
    """Read an image of a list; None if it is something else. Where the list says no platform, its config does."""
    content = store.read_manifest(entry)
    what = f"{escape(store.name, 300)}@{entry.digest}"
    manifest = content.parse(what)
    content = typed(content, manifest)
    if entry.platform is not None:
        return entry.platform, content
    if not isinstance(manifest, Manifest) or manifest.config.media_type not in media_types.CONFIGS:
        return None
    return parse_config(store.read_blob(manifest.config, CONFIG_LIMIT), f"the config of {what}").platform, content
