"""`tag`: more tags for what is there; no content moves."""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import field
from typing import TYPE_CHECKING

from manifestctl.errors import (
    DeniedError,
    InputError,
    InterruptedRun,
    ManifestctlError,
    PartialError,
    UnreachableError,
    exit_code,
)
from manifestctl.model import media_types
from manifestctl.model.manifest import Index, Manifest, parse_config
from manifestctl.model.platforms import Platform
from manifestctl.model.reference import DEFAULT_TAG, check_tag
from manifestctl.model.strict_json import CONFIG_LIMIT
from manifestctl.parallel import Pool
from manifestctl.stores.base import TagQuota
from manifestctl.text import escape, plural
from manifestctl.values import dataclass
from manifestctl.verbs.publish import Guard, TagState, publish_tag, read_tag
from manifestctl.verbs.transfer import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.location import Location
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, OpenStore, Store

MOST_TAGS = 10_000
"""More tags in one run than this are taken for a mistake, whatever the registry would take."""
_FIELD = re.compile(r"\{(\w*)\}")
_SAMPLE = Platform("linux", "amd64", "v2")
_MOST_NAMED = 20


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
    """What became of each tag; filled as the run goes on. ``contents`` are by tag, for children differ."""

    request: TagRequest
    content: Content | None = None
    tags: list[TagState] = field(default_factory=list)
    contents: dict[str, Content] = field(default_factory=dict)
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
    done.contents = wanted
    done.tags = [TagState(name) for name in wanted]
    for state, old in zip(done.tags, pool.map(lambda state: read_tag(store, state.tag), done.tags), strict=True):
        state.old = state.now = old
    # All of them are looked at before any is moved.
    for state in done.tags:
        where = escape(f"{store.name}:{state.tag}", 400)
        request.guard_of(state).check(state, wanted[state.tag], where)
    errors = move(store, wanted, done.tags, request.guard_of, pool, runtime=runtime)
    if errors:
        raise failed(done.tags, wanted, errors)


def move(
    store: Store,
    wanted: Mapping[str, Content],
    states: Sequence[TagState],
    guard: Callable[[TagState], Guard],
    pool: Pool,
    *,
    runtime: Runtime,
) -> list[ManifestctlError]:
    """Write what is wanted under each tag, in parallel, ``latest`` last and only if all others went well.

    Returns the errors, the one that decides the exit status first. After a denial, or a registry that does not answer,
    no other tag is begun: it would fare the same.
    """
    hopeless = threading.Event()

    def one(state: TagState) -> ManifestctlError | None:
        if hopeless.is_set():
            return None
        try:
            publish_tag(store, wanted[state.tag], state, guard(state), runtime)
        except InterruptedRun:
            raise
        except ManifestctlError as error:
            if isinstance(error, DeniedError | UnreachableError):
                hopeless.set()
            return error
        return None

    early = [state for state in states if state.tag != "latest"]
    errors = [error for error in pool.map(one, early) if error is not None]
    if not errors:
        errors = [error for state in states if state not in early and (error := one(state)) is not None]
    worst = exit_code(codes=[error.exit_code for error in errors])
    return sorted(errors, key=lambda error: error.exit_code != worst)


def failed(
    states: Sequence[TagState], wanted: Mapping[str, Content], errors: Sequence[ManifestctlError]
) -> ManifestctlError:
    """Return the error for tags of which some could not be given: the first, if none was moved, else what is where."""
    right = [state for state in states if state.now == wanted[state.tag].digest]
    moved = [state for state in states if state.moved == "true"]
    if not moved:
        return errors[0]
    wrong = [state.tag for state in states if state not in right]
    more = f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
    return PartialError(
        f"{errors[0].message}; {plural(len(moved), 'tag')} moved, {plural(len(right) - len(moved), 'tag')} "
        f"right already, not moved: {', '.join(wrong[:_MOST_NAMED])}{more}",
        hint=errors[0].hint or "Running it again moves what is left.",
    )


def check_quota(store: Store, tags: Iterable[str], digests: Mapping[str, object] | None = None) -> None:
    """Raise `InputError` if one image would get more tags than it may have in this store.

    ``digests`` says which tag is for which image; without it all are for one.
    """
    most = store.tags_per_image if isinstance(store, TagQuota) else None
    if most is None:
        return
    counts = Counter((digests or {}).get(name) for name in set(tags) if name)
    count = max(counts.values(), default=0)
    if count > most:
        raise InputError(
            f"{count} tags for one image are more than the {most} that it may have in {escape(store.name, 300)}",
            hint="It is the registry's quota of tags per image; delete tags that nobody uses, or give fewer.",
        )


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


def child_tags(
    template: str, tag_name: str, children: Iterable[tuple[Platform, Content]], *, taken: Collection[str]
) -> dict[str, Content]:
    """Return the tag that the template gives each image, with the image.

    Raises `InputError` if two images would get one tag, or one of those that are ``taken``, for they are the list's.
    """
    tags: dict[str, Content] = {}
    for platform, child in children:
        name = filled(template, tag_name, platform)
        if name in taken:
            raise InputError(
                f"the template '{escape(template, 200)}' gives the image for {platform.shown} the tag {name}, "
                "which is the list's",
                hint="Use {arch} and {variant} in it too, as in '{tag}-{arch}{variant}'.",
            )
        if tags.setdefault(name, child).digest != child.digest:
            raise InputError(
                f"the template '{escape(template, 200)}' gives two images the tag {name}",
                hint="Use {os}, {arch} and {variant}, or {platform}, so that every platform gets a tag of its own.",
            )
    return tags


def check_template(template: str) -> None:
    """Raise `InputError` if this cannot be a template of tags."""
    filled(template, "tag", _SAMPLE)


def filled(template: str, tag_name: str, platform: Platform) -> str:
    """Fill ``{tag}``, ``{os}``, ``{arch}``, ``{variant}`` and ``{platform}`` in. Raises `InputError` if that is no tag.

    ``{platform}`` is the whole platform, with the version of Windows if it has one, and with ``-`` between its parts.
    """
    parts = (platform.os, platform.architecture, platform.variant, platform.os_version)
    values = {
        "tag": tag_name,
        "os": platform.os,
        "arch": platform.architecture,
        "variant": platform.variant,
        "platform": "-".join(part for part in parts if part),
    }
    unknown = [name for name in _FIELD.findall(template) if name not in values]
    if unknown:
        raise InputError(
            f"'{escape(template, 200)}' is not a template: it has {{{escape(unknown[0], 40)}}} in it",
            hint="It may have {tag}, {os}, {arch}, {variant} and {platform} in it.",
        )
    if "{tag}" in template and not tag_name:
        raise InputError(
            f"'{escape(template, 200)}' needs a tag, but the list is named by its digest alone",
            hint="Name it by its tag, or write the tag into the template.",
        )
    return check_tag(_FIELD.sub(lambda match: values[match[1]], template))
