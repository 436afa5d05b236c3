"""Publishing a list under its tags, and proving that it is there.

Each tag is read before it is written and read back afterwards. What a tag holds already is left alone. If the outcome
of a write is unknown, the tag is read again, and the result says what it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from manifestctl.errors import (
    ConflictError,
    InputError,
    InterruptedRun,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    PartialError,
    UnreachableError,
)
from manifestctl.events import Noted
from manifestctl.model import media_types
from manifestctl.stores.base import OnlyIf
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, Store

READ_BACK_DEADLINE = 15.0
"""Seconds that a registry may lag behind its own answer."""
CHILDREN_DEADLINE = 10.0
"""Seconds that a registry may lag behind images that were just seen in it."""
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 3.0

Published = Literal["true", "false", "unknown"]


@dataclass(slots=True)
class TagState:
    """One tag of a run: what it held before, and what became of it.

    ``moved`` is ``"true"`` if it was written and read back, ``"false"`` if it was not touched or holds something else,
    ``"unknown"`` if nobody can tell. ``now`` is what it holds as far as is known.
    """

    tag: str
    old: Digest | None = None
    now: Digest | None = None
    moved: Published = "false"

    def holds(self, content: Content) -> bool:
        """Tell whether the tag held this content before."""
        return self.old == content.digest


@dataclass(frozen=True, slots=True)
class Guard:
    """When a tag may be overwritten: never if it exists (``no_overwrite``), or only if it holds ``expect``."""

    no_overwrite: bool = False
    expect: Digest | None = None

    def check(self, state: TagState, content: Content, where: str) -> None:
        """Raise `ConflictError` if the tag may not be written; a tag that holds the content already always may."""
        if state.old == content.digest:
            return
        if self.no_overwrite and state.old is not None:
            raise ConflictError(
                f"{where} holds {state.old}, and --no-overwrite was given",
                hint="Publish under a new tag, or leave out --no-overwrite to replace it.",
            )
        if self.expect is not None and state.old != self.expect:
            raise ConflictError(
                f"{where} holds {state.old or 'nothing'}, not {self.expect} as --expect says",
                hint="Somebody else has published in between; look at what it holds now, and decide again.",
            )

    def refuse_both(self) -> None:
        """Raise `InputError` if both are given: no tag could be written."""
        if self.no_overwrite and self.expect is not None:
            raise InputError(
                "--no-overwrite and --expect are both given",
                hint="--no-overwrite wants the tag to be absent, --expect wants it to hold something; choose one.",
            )

    @property
    def any(self) -> bool:
        """Tell whether there is anything to guard."""
        return self.no_overwrite or self.expect is not None

    def for_tag(self, *, own: bool) -> Guard:
        """Return the guard of a tag: what ``--expect`` says is about the target's own tag alone."""
        return self if own or self.expect is None else Guard(no_overwrite=self.no_overwrite)

    def condition(self) -> OnlyIf | None:
        """Return the condition to send with the write."""
        return OnlyIf(None if self.no_overwrite else self.expect) if self.any else None


def read_tag(store: Store, tag: str) -> Digest | None:
    """Return the digest of the bytes that a tag holds, or None if it does not exist."""
    held = read_content(store, tag)
    return held.digest if held is not None else None


def read_content(store: Store, tag: str) -> Content | None:
    """Return the bytes that a tag holds, or None if it does not exist."""
    try:
        return store.read_manifest(tag)
    except NotFoundError:
        return None


def publish_tag(store: Store, content: Content, state: TagState, guard: Guard, runtime: Runtime) -> None:
    """Write the content under the tag, unless it is there, and read it back; the state tells how far it came.

    Raises `ConflictError`, `DeniedError`, `UnreachableError`, `IntegrityError`, `MissingContentError`.
    """
    where = escape(f"{store.name}:{state.tag}", 400)
    guard.check(state, content, where)
    if state.holds(content):
        return
    if guard.any:
        state.old = state.now = read_tag(store, state.tag)
        guard.check(state, content, where)
        if state.holds(content):
            return
    # From here on a signal leaves it open whether the tag was written.
    runtime.cancel.check()
    try:
        _write(store, content, state, guard, runtime)
    except UnreachableError as error:
        if not error.outcome_unknown:
            state.moved = "false"
            raise
        _resolve(store, content, state, error, runtime)
    except ConflictError as error:
        state.moved = "false"
        _resolve(store, content, state, error, runtime)
        # Somebody else wrote the same; a registry whose tags are immutable refuses even that.
        state.moved = "false"
        return
    except InterruptedRun:
        raise
    except ManifestctlError:
        state.moved = "false"
        raise
    _read_back(store, content, state, where, runtime)


def publish_tags(
    store: Store,
    content: Content,
    states: Sequence[TagState],
    guard: Callable[[TagState], Guard],
    runtime: Runtime,
) -> None:
    """Write the content under one tag after the other, and stop at the first that fails.

    Raises as `publish_tag` if that is the first of all, and `PartialError` with the error as its cause if it is a later
    one; its message says what each tag held and holds.
    """
    for state in states:
        try:
            publish_tag(store, content, state, guard(state), runtime)
        except InterruptedRun:
            raise
        except ManifestctlError as error:
            if state is states[0]:
                raise
            raise PartialError(_partial(states, state, error), hint=error.hint) from error


def publish_untagged(store: Store, content: Content, runtime: Runtime) -> bool:
    """Write the content by its digest alone, unless it is there, and read it back; returns whether it was written.

    Raises what `publish_tag` raises.
    """
    name = str(content.digest)
    if _is_there(store, name):
        return False
    runtime.cancel.check()
    _write(store, content, TagState(name), Guard(), runtime, tagged=False)
    if not _until(lambda: read_content(store, name) is not None, (), READ_BACK_DEADLINE, runtime):
        where = escape(f"{store.name}@{name}", 400)
        raise UnreachableError(
            f"the registry accepted {where}, but after {READ_BACK_DEADLINE:.0f} s it still does not exist",
            hint="The registry may not have stored it; run this again.",
        )
    return True


def _is_there(store: Store, name: str) -> bool:
    try:
        return str(store.resolve(name).digest) == name
    except NotFoundError:
        return False


def _partial(states: Sequence[TagState], failed: TagState, error: ManifestctlError) -> str:
    """Say which tags hold the content now and which do not, with old and new digests."""
    place = list(states).index(failed)
    words = [
        f"{state.tag} moved from {state.old or 'nothing'} to {state.now}"
        if state.moved == "true"
        else f"{state.tag} holds {state.now} as before"
        for state in states[:place]
    ]
    old, now = failed.old or "nothing", failed.now or "nothing"
    if failed.moved == "unknown":
        words.append(f"{failed.tag} held {old}, and what it holds now is not known")
    else:
        words.append(f"{failed.tag} did not move: it held {old} and holds {now}")
    words += [f"{state.tag} was not tried and holds {state.old or 'nothing'}" for state in states[place + 1 :]]
    return f"{error.message}; the tags now: {'; '.join(words)}"


def _write(
    store: Store, content: Content, state: TagState, guard: Guard, runtime: Runtime, *, tagged: bool = True
) -> None:
    where = escape(f"{store.name}:{state.tag}" if tagged else f"{store.name}@{state.tag}", 400)

    def attempt() -> bool:
        state.moved = "unknown"
        try:
            store.write_manifest(content, state.tag if tagged else None, guard.condition())
        except MissingContentError:
            state.moved = "false"
            runtime.observe(Noted(f"{where} is refused: the registry does not see all it names yet; asking again"))
            raise
        return True

    # The images were seen a moment ago; a registry that says they are not there may be behind itself.
    _until(attempt, MissingContentError, CHILDREN_DEADLINE, runtime)


def _resolve(store: Store, content: Content, state: TagState, error: ManifestctlError, runtime: Runtime) -> None:
    """Find out whether the tag holds the content although writing it failed; raises the error if it does not.

    A registry may be behind itself, so that what was there before is believed only after a while; a conflict is about
    what is there now.
    """
    seconds = 0.0 if isinstance(error, ConflictError) else READ_BACK_DEADLINE
    try:
        _until(lambda: _moved_on(store, content, state), (), seconds, runtime)
    except InterruptedRun:
        raise
    except ManifestctlError:
        if state.moved == "unknown":
            error.message += "; whether it was written is not known, for the tag cannot be read either"
        raise error from None
    if state.now == content.digest:
        return
    state.moved = "false"
    error.message += f"; the tag was read again: it holds {state.now or 'nothing'}, so this was not published"
    raise error


def _read_back(store: Store, content: Content, state: TagState, where: str, runtime: Runtime) -> None:
    def attempt() -> bool:
        there = _moved_on(store, content, state)
        if not there:
            runtime.observe(Noted(f"{where} does not show the new content yet; asking again"))
        return there

    try:
        _until(attempt, (), READ_BACK_DEADLINE, runtime)
    except InterruptedRun:
        raise
    except ManifestctlError as error:
        state.moved = "true" if state.now == content.digest else "unknown"
        accepted = f"the registry accepted {where} as {content.digest}"
        error.message = f"{accepted}, but reading it back failed: {error.message}"
        error.hint = error.hint or "Look at what the tag holds; running this again is safe."
        raise
    if state.now == content.digest:
        state.moved = "true"
        return
    state.moved = "false"
    _say_not_there(content, state, where)


def _moved_on(store: Store, content: Content, state: TagState) -> bool:
    """Read the tag, and tell whether it holds something else than before; ``state.now`` says what.

    Raises `ConflictError` if it is the content, but the store says that it is a document of another kind.
    """
    held = read_content(store, state.tag)
    state.now = held.digest if held is not None else None
    if held is None or held.digest != content.digest:
        return state.now not in (None, state.old)
    if held.media_type not in media_types.GENERIC and held.media_type != content.media_type:
        raise ConflictError(
            f"it is there, but served as {escape(held.media_type, 120)} instead of {content.media_type}",
            hint="Clients would take it for something else; the registry, or a proxy before it, changes its answers.",
        )
    return True


def _say_not_there(content: Content, state: TagState, where: str) -> NoReturn:
    if state.now is None:
        raise UnreachableError(
            f"the registry accepted {where}, but after {READ_BACK_DEADLINE:.0f} s the tag still does not exist",
            hint="The registry may not have stored it; look at the tag, and run this again.",
        )
    still = f"after {READ_BACK_DEADLINE:.0f} s the tag still" if state.now == state.old else "the tag"
    raise ConflictError(
        f"the registry accepted {where} as {content.digest}, but {still} holds {state.now}",
        hint="Somebody else may have written the tag at the same time, or the registry did not store it.",
    )


def _until(
    attempt: Callable[[], bool],
    again: type[ManifestctlError] | tuple[()],
    seconds: float,
    runtime: Runtime,
) -> bool:
    """Make attempts, with growing pauses, until one returns True or the seconds are over; returns whether one did.

    An attempt that raises ``again`` counts as False, but for the last one, whose error is raised. The last one is made
    when the seconds are over.
    """
    deadline = runtime.monotonic() + seconds
    delay = _FIRST_DELAY
    while True:
        left = deadline - runtime.monotonic()
        try:
            if attempt():
                return True
        except again:
            if left <= 0:
                raise
        if left <= 0:
            return False
        runtime.sleep(min(delay, left))
        delay = min(delay * 2, _LONGEST_DELAY)


def order_tags(tag: str, more: tuple[str, ...]) -> list[str]:
    """Return the tags in the order of writing: the target's own, the others as given, ``latest`` last."""
    tags = list(dict.fromkeys((tag, *more)))
    return [name for name in tags if name != "latest"] + [name for name in tags if name == "latest"]
