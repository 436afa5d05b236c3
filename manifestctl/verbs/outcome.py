"""What the tags of a run say of how it ended: one reading for `create`, `push` and `copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from manifestctl.model.published import Published

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.stores.base import Content
    from manifestctl.verbs.publish import TagState

Change = Literal["created", "updated", "unchanged"]

_MOST_NAMED = 20


def first_published(tags: Sequence[TagState], content: Content | None) -> Published:
    """Tell whether the first tag holds the content now; as long as there is neither, nothing is published."""
    if not tags or content is None:
        return Published.NO
    return Published.YES if tags[0].now == content.digest else tags[0].moved


def change(tags: Sequence[TagState]) -> Change:
    """Say in one word what became of the tags; there must be one. The first says whether it is new."""
    if all(state.moved is Published.NO for state in tags):
        return "unchanged"
    return "created" if tags[0].old is None else "updated"


def moves(tags: Sequence[TagState]) -> str:
    """Say of each tag that moved, or may have, what it held and what it holds; ``""`` if none did."""
    words = [_move(state) for state in tags if state.moved is not Published.NO]
    more = f"; and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
    return "; ".join(words[:_MOST_NAMED]) + more


def _move(state: TagState) -> str:
    old = state.old or "nothing"
    if state.moved is Published.UNKNOWN:
        return f"{state.tag} held {old}, and what it holds now is not known"
    return f"{state.tag} from {old} to {state.now}"
