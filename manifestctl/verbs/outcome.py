"""What the tags of a run say of how it ended: one reading for `create`, `push` and `copy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.stores.base import Content
    from manifestctl.verbs.publish import Published, TagState

Change = Literal["created", "updated", "unchanged"]


def first_published(tags: Sequence[TagState], content: Content | None) -> Published:
    """Tell whether the first tag holds the content now; as long as there is neither, nothing is published."""
    if not tags or content is None:
        return "false"
    return "true" if tags[0].now == content.digest else tags[0].moved


def change(tags: Sequence[TagState]) -> Change:
    """Say in one word what became of the tags; there must be one. The first says whether it is new."""
    if all(state.moved == "false" for state in tags):
        return "unchanged"
    return "created" if tags[0].old is None else "updated"
