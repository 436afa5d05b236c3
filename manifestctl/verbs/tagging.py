"""Many tags of a run: in which order they are written, and what is said if some of them fail."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from manifestctl.errors import InputError, InterruptedRun, ManifestctlError, PartialError, exit_code
from manifestctl.model.published import Published
from manifestctl.parallel import HOPELESS
from manifestctl.stores.base import TagQuota
from manifestctl.text import escape
from manifestctl.verbs.publish import Guard, Publication, TagState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from manifestctl.parallel import Pool
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import Content, Store

_MOST_NAMED = 20


def in_order(states: Sequence[TagState]) -> list[list[TagState]]:
    """Return waves in which one tag is written after the other."""
    return [[state] for state in states]


def at_once(states: Sequence[TagState]) -> list[list[TagState]]:
    """Return waves in which all tags are written at once, but for ``latest``, which comes last."""
    early = [state for state in states if state.tag != "latest"]
    late = [state for state in states if state.tag == "latest"]
    return [wave for wave in (early, late) if wave]


def publish_tags(
    store: Store,
    wanted: Mapping[str, Content],
    waves: Sequence[Sequence[TagState]],
    guard: Callable[[TagState], Guard],
    pool: Pool,
    *,
    runtime: Runtime,
    main: bool = True,
) -> None:
    """Write what is wanted under each tag, the tags of a wave in parallel, and no wave after one with a failure.

    The tags of a wave are read back once all are written: some registries fail to read a manifest while it is given
    another tag. After a denial, or a registry that does not answer, no other tag is begun: it would fare the same.
    Raises as `publish_tag` if nothing was published, and `PartialError` with that error as its cause if something was;
    its message says what each tag held and holds. Tags that are not the ``main`` thing of a run publish nothing yet.
    """
    errors: dict[str, ManifestctlError] = {}
    written: list[Publication] = []

    def write(state: TagState) -> None:
        publication = Publication(store, wanted[state.tag], state, guard(state), runtime)
        if attempt(state, publication.write):
            written.append(publication)

    def attempt(state: TagState, step: Callable[[], object]) -> object:
        try:
            return step()
        except InterruptedRun:
            raise
        except ManifestctlError as error:
            errors[state.tag] = error
            if isinstance(error, HOPELESS):
                raise
            return None

    for number, wave in enumerate(waves):
        with contextlib.suppress(*HOPELESS):
            pool.map(write, wave, stop=HOPELESS)
        with contextlib.suppress(*HOPELESS):
            pool.map(lambda publication: attempt(publication.state, publication.prove), written)
        written.clear()
        if errors:
            states = [state for wave in waves for state in wave]
            begun = number > 0 or any(state.moved and state.tag not in errors for state in states)
            raise _failure(errors, _listed(states, wanted, errors) if begun else "", main=main)


def _failure(errors: Mapping[str, ManifestctlError], listed: str, *, main: bool) -> ManifestctlError:
    worst = exit_code(codes=[error.exit_code for error in errors.values()])
    decisive = next(error for error in errors.values() if error.exit_code == worst)
    if not listed:
        return decisive
    message = f"{decisive.message}; the tags now: {listed}"
    if main:
        partial = PartialError(message, hint=decisive.hint)
        partial.__cause__ = decisive
        return partial
    decisive.message = message
    return decisive


def _listed(states: Sequence[TagState], wanted: Mapping[str, Content], errors: Mapping[str, ManifestctlError]) -> str:
    """Say which tags hold what they should and which do not, with old and new digests; what is wrong comes first."""
    right = [state for state in states if state.now == wanted[state.tag].digest]
    failed = [state for state in states if state.tag in errors]
    untried = [state for state in states if state not in right and state not in failed]
    words = [
        *(_failed(state) for state in failed),
        *(f"{state.tag} was not tried and holds {state.old or 'nothing'}" for state in untried),
        *(_right(state) for state in right if state not in failed),
    ]
    more = f"; and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
    return "; ".join(words[:_MOST_NAMED]) + more


def _failed(state: TagState) -> str:
    old = state.old or "nothing"
    if state.moved is Published.UNKNOWN:
        return f"{state.tag} held {old}, and what it holds now is not known"
    if state.moved:
        return f"{state.tag} moved from {old} to {state.now}"
    held = f" held {old} and" if state.now != state.old else ""
    return f"{state.tag} did not move: it{held} holds {state.now or 'nothing'}"


def _right(state: TagState) -> str:
    if state.moved:
        return f"{state.tag} moved from {state.old or 'nothing'} to {state.now}"
    return f"{state.tag} holds {state.now} as before"


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
