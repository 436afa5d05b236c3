"""Publishing a list under its tags, and proving that it is there.

Each tag is read before it is written and read back afterwards. What a tag holds already is left alone. If the outcome
of a write is unknown, the tag is read again, and the result says what it holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import (
    ConflictError,
    InputError,
    InterruptedRun,
    ManifestctlError,
    MissingContentError,
    NotFoundError,
    UnreachableError,
)
from manifestctl.events import Noted
from manifestctl.model import media_types
from manifestctl.model.published import Published
from manifestctl.stores.base import OnlyIf
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.model.digest import Digest
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, Store

READ_BACK_DEADLINE = 15.0
"""Seconds that a registry may lag behind its own answer."""
CHILDREN_DEADLINE = 10.0
"""Seconds that a registry may lag behind images that were just seen in it."""
_FIRST_DELAY = 0.2
_LONGEST_DELAY = 3.0


@dataclass(slots=True)
class TagState:
    """One tag of a run: what it held before, and what became of it. What has no tag is named by its digest instead.

    ``moved`` is `Published.YES` if it was written and read back, ``NO`` if it was not touched or holds something else,
    ``UNKNOWN`` if nobody can tell. ``now`` is what it holds as far as is known.
    """

    tag: str
    old: Digest | None = None
    now: Digest | None = None
    moved: Published = Published.NO

    @property
    def is_digest(self) -> bool:
        """Tell whether this is no tag but a digest."""
        return ":" in self.tag

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

    Raises `ConflictError`, `DeniedError`, `UnreachableError`, `IntegrityError`, `MissingContentError`, and for content
    or tags that the store does not take `DocumentError` and `InputError`. Whether the tag was written all the same is
    said in the state and, where it is not known, in the message.
    """
    Publication(store, content, state, guard, runtime).run()


def state_without_tag(store: Store, content: Content) -> TagState:
    """Look for the content by its digest; returns the state with which `publish_tag` writes it without a tag.

    Raises `DeniedError`, `UnreachableError`.
    """
    name = str(content.digest)
    try:
        there = str(store.resolve(name).digest) == name
    except NotFoundError:
        there = False
    held = content.digest if there else None
    return TagState(name, held, held)


@dataclass(frozen=True, slots=True)
class Publication:
    """One content on its way to one tag, or to its digest alone, in two steps. Both raise as `publish_tag`."""

    store: Store
    content: Content
    state: TagState
    guard: Guard
    runtime: Runtime

    @property
    def where(self) -> str:
        """The tag or digest in its repository, fit to be shown."""
        separator = "@" if self.state.is_digest else ":"
        return escape(f"{self.store.name}{separator}{self.state.tag}", 400)

    def run(self) -> None:
        """Write it, unless it is there, and prove that it is."""
        if self.write():
            self.prove()

    def write(self) -> bool:
        """Write it, unless it is there; returns whether that is still to be proved."""
        state = self.state
        self.guard.check(state, self.content, self.where)
        if state.holds(self.content):
            return False
        if self.guard.any:
            state.old = state.now = read_tag(self.store, state.tag)
            self.guard.check(state, self.content, self.where)
            if state.holds(self.content):
                return False
        # From here on a signal leaves it open whether the tag was written.
        self.runtime.cancel.check()
        try:
            self._write()
        except InterruptedRun:
            raise
        except ConflictError as error:
            self._resolve(error, 0.0)
            # Somebody else wrote the same; a registry whose tags are immutable refuses even that.
            state.moved = Published.NO
            return False
        except ManifestctlError as error:
            if not error.outcome_unknown:
                state.moved = Published.NO
                raise
            self._resolve(error, READ_BACK_DEADLINE)
        return True

    def prove(self) -> None:
        """Read back what was written."""
        state = self.state

        def attempt() -> bool:
            there = self._moved_on()
            if not there:
                self.runtime.observe(Noted(f"{self.where} does not show the new content yet; asking again"))
            return there

        try:
            until(attempt, (), READ_BACK_DEADLINE, self.runtime)
        except InterruptedRun:
            raise
        except ManifestctlError as error:
            state.moved = Published.YES if state.now == self.content.digest else Published.UNKNOWN
            accepted = f"the registry accepted {self.where} as {self.content.digest}"
            error.message = f"{accepted}, but reading it back failed: {error.message}"
            error.hint = error.hint or "Look at what the tag holds; running this again is safe."
            raise
        if state.now != self.content.digest:
            state.moved = Published.NO
            raise self._not_there()
        state.moved = Published.YES

    def _write(self) -> None:
        tag = None if self.state.is_digest else self.state.tag

        def attempt() -> bool:
            self.state.moved = Published.UNKNOWN
            try:
                self.store.write_manifest(self.content, tag, self.guard.condition())
            except MissingContentError:
                self.state.moved = Published.NO
                told = f"{self.where} is refused: the registry does not see all of its content yet; asking again"
                self.runtime.observe(Noted(told))
                raise
            return True

        # The content was seen a moment ago; a registry that says it is not there may be behind itself.
        until(attempt, MissingContentError, CHILDREN_DEADLINE, self.runtime)

    def _resolve(self, error: ManifestctlError, seconds: float) -> None:
        """Find out whether the tag holds the content although writing it failed; raises the error if it does not.

        A registry may be behind itself, so that what was there before is believed only after some seconds; a conflict
        is about what is there now.
        """
        self.state.moved = Published.UNKNOWN if error.outcome_unknown else Published.NO
        try:
            until(self._moved_on, (), seconds, self.runtime)
        except InterruptedRun:
            raise
        except ManifestctlError:
            what = "it" if self.state.is_digest else "the tag"
            if error.outcome_unknown:
                error.message += f"; whether it was written is not known, for {what} cannot be read either"
            raise error from None
        if self.state.now == self.content.digest:
            return
        self.state.moved = Published.NO
        held = "it was looked for again: it is not there"
        if not self.state.is_digest:
            held = f"the tag was read again: it holds {self.state.now or 'nothing'}"
        error.message += f"; {held}, so this was not published"
        raise error

    def _moved_on(self) -> bool:
        """Read the tag, and tell whether it holds something else than before; ``state.now`` says what.

        Raises `ConflictError` if it is the content, but the store says that it is a document of another kind.
        """
        held = read_content(self.store, self.state.tag)
        self.state.now = held.digest if held is not None else None
        if held is None or held.digest != self.content.digest:
            return self.state.now not in (None, self.state.old)
        if held.media_type not in media_types.GENERIC and held.media_type != self.content.media_type:
            raise ConflictError(
                f"it is there, but served as {escape(held.media_type, 120)} instead of {self.content.media_type}",
                hint="Clients would take it for something else; the registry or a proxy before it changes its answers.",
            )
        return True

    def _not_there(self) -> ManifestctlError:
        now, after = self.state.now, f"after {READ_BACK_DEADLINE:.0f} s"
        what = "it" if self.state.is_digest else "the tag"
        if now is None:
            return UnreachableError(
                f"the registry accepted {self.where}, but {after} {what} still does not exist",
                hint=f"The registry may not have stored it; look for {what}, and run this again.",
            )
        still = f"{after} the tag still" if now == self.state.old else "the tag"
        return ConflictError(
            f"the registry accepted {self.where} as {self.content.digest}, but {still} holds {now}",
            hint="Somebody else may have written the tag at the same time, or the registry did not store it.",
        )


def until(
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
