"""What a shell completes where only a few words are taken: kinds of documents, and names of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def kinds(incomplete: str) -> list[str]:
    """Return the kinds of documents that can be validated."""
    from manifestctl.validation import KINDS

    return _beginning(incomplete, KINDS)


def schemas(incomplete: str) -> list[str]:
    """Return the kinds of documents that have a schema."""
    from manifestctl.validation import KINDS, RESULTS

    return _beginning(incomplete, (*KINDS, *RESULTS))


def rules(incomplete: str) -> list[str]:
    """Return the rules that findings can name."""
    from manifestctl.validation import RULES as DOCUMENT_RULES
    from manifestctl.verbs.rules import RULES

    return _beginning(incomplete, sorted({*RULES, *DOCUMENT_RULES}))


def _beginning(incomplete: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(incomplete)]
