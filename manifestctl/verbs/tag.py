"""`tag`: more tags for what is there; no content moves."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from manifestctl.errors import InputError, ManifestctlError, PartialError, exit_code
from manifestctl.model.manifest import Index
from manifestctl.model.reference import check_tag
from manifestctl.parallel import Pool
from manifestctl.text import escape, plural
from manifestctl.values import dataclass
from manifestctl.verbs.publish import Guard, TagState, publish_tag, read_tag

if TYPE_CHECKING:
    from manifestctl.model.location import Location
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, OpenStore, Store

MOST_TAGS = 1000
"""Tags that an image may have on Amazon ECR; more in one run are refused before anything moves."""


@dataclass(frozen=True, slots=True)
class TagRequest:
    """Which image gets which tags. With ``each`` its children get tags by a template too."""

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
            raise InputError(
                f"{len(set(self.tags))} tags are more than the {MOST_TAGS} that an image may have",
                hint="Amazon ECR's quota is 1,000 tags an image, and it cannot be raised.",
            )
        if not self.tags and self.each is None:
            raise InputError("there is no new tag", hint="Write manifestctl tag TARGET NEWTAG…")


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
        with Pool(request.concurrency, runtime.cancel) as pool:
            _run(done, store, pool, runtime)
    except ManifestctlError as error:
        done.error = error
    return done


def _run(done: Retagged, store: Store, pool: Pool, runtime: Runtime) -> None:
    request = done.request
    done.content = store.read_manifest(request.target.selector)
    wanted = dict.fromkeys(request.tags, done.content)
    if request.each is not None:
        wanted = child_tags(store, done.content, request.target, request.each, pool) | wanted
    done.contents = wanted
    done.tags = [TagState(name) for name in wanted]
    for state, old in zip(done.tags, pool.map(lambda state: read_tag(store, state.tag), done.tags), strict=True):
        state.old = state.now = old
    # All of them are looked at before any is moved.
    for state in done.tags:
        request.guard.check(state, wanted[state.tag], f"{store.name}:{state.tag}")

    def move(state: TagState) -> ManifestctlError | None:
        try:
            publish_tag(store, wanted[state.tag], state, request.guard, runtime)
        except ManifestctlError as error:
            return error
        return None

    last = [state for state in done.tags if state.tag == "latest"]
    errors = [error for error in pool.map(move, [s for s in done.tags if s not in last]) if error is not None]
    if not errors:
        errors = [error for error in map(move, last) if error is not None]
    if errors:
        raise _failed(done, errors)


def _failed(done: Retagged, errors: list[ManifestctlError]) -> ManifestctlError:
    right = [state for state in done.tags if state.now == done.contents[state.tag].digest]
    moved = [state for state in done.tags if state.moved == "true"]
    if not moved:
        return errors[0]
    wrong = ", ".join(state.tag for state in done.tags if state not in right)
    return PartialError(
        f"{errors[0].message}; {plural(len(moved), 'tag')} moved, {plural(len(right) - len(moved), 'tag')} "
        f"right already, not moved: {wrong}",
        hint=errors[0].hint or "Running it again moves what is left.",
    )


def child_tags(store: Store, content: Content, target: Location, template: str, pool: Pool) -> dict[str, Content]:
    """Return the tag that the template gives each image of a list, with the image.

    Raises `InputError` if it is not a list, or if two images would get one tag.
    """
    manifest = content.parse(escape(str(target), 300))
    if not isinstance(manifest, Index):
        raise InputError(f"{target} is not a list, so it has no children to tag", hint="Leave out --each.")
    entries = [entry for entry in manifest.entries if not entry.is_attestation and entry.platform is not None]
    contents = pool.map(store.read_manifest, entries)
    tags: dict[str, Content] = {}
    for entry, child in zip(entries, contents, strict=True):
        if entry.platform is None:
            continue
        name = filled(template, target.tag or "", entry.platform)
        if name in tags and tags[name].digest != child.digest:
            raise InputError(
                f"the template '{escape(template, 200)}' gives two images the tag {name}",
                hint="Use {os}, {arch} and {variant} so that every platform gets a tag of its own.",
            )
        tags[name] = child
    return tags


def filled(template: str, tag_name: str, platform: object) -> str:
    """Fill ``{tag}``, ``{os}``, ``{arch}``, ``{variant}`` and ``{platform}`` in; raises `InputError`.

    ``{platform}`` is the platform with ``-`` for ``/``.
    """
    from manifestctl.model.platforms import Platform

    assert isinstance(platform, Platform)  # noqa: S101 - for the type checker; callers have one
    values = {
        "tag": tag_name,
        "os": platform.os,
        "arch": platform.architecture,
        "variant": platform.variant,
        "platform": "-".join(part for part in (platform.os, platform.architecture, platform.variant) if part),
    }
    try:
        return check_tag(template.format_map(values))
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise InputError(
            f"'{escape(template, 200)}' is not a template",
            hint="It may have {tag}, {os}, {arch}, {variant} and {platform} in it.",
        ) from error
