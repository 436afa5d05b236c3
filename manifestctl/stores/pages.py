"""Answers that come page by page: lists of tags, and where the next page is. OCI distribution-spec "Listing Tags"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, UnreachableError
from manifestctl.text import size

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.transport.message import Response

TAGS_LIMIT = 16 * 1024 * 1024
"""The most bytes that one page of a list of tags may have."""
MAX_TAGS = 500_000
"""The most tags that a list may have over all its pages."""
MAX_BYTES = 64 * 1024 * 1024
"""The most bytes that all pages of a list may have together."""
_MAX_PAGES = 10_000
_LINK = re.compile(r"""<([^<>]*)>((?:\s*;\s*[^\s;,="]+(?:\s*=\s*(?:"[^"]*"|[^\s;,"]*))?)*)""")
_REL = re.compile(r"""(?:^|;)\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))""", re.IGNORECASE)


def all_tags(ask: Callable[[str], tuple[Response, str | None]], path: str, name: str) -> list[str]:
    """Return the tags on all pages, each once; ``ask`` gives the page at a path and the path of the next one.

    ``path`` is that of the first page, ``name`` the repository's. A page that only repeats what was listed before is
    the last, whatever it says; an empty one need not be. Raises `DocumentError` if the list is too large,
    `UnreachableError` if it does not end, and what ``ask`` raises.
    """
    tags: dict[str, None] = {}
    asked: set[str] = set()
    taken = 0
    following: str | None = path
    while following is not None:
        if following in asked or len(asked) == _MAX_PAGES:
            raise UnreachableError(
                f"listing tags of {name} failed: it does not end after {len(asked)} pages",
                hint="The registry's pages name each other in a circle; tell its operator.",
            )
        asked.add(following)
        response, following = ask(following)
        page = _page_of_tags(response, name)
        known = len(tags)
        tags |= dict.fromkeys(page)
        taken += len(response.body)
        if len(tags) > MAX_TAGS or taken > MAX_BYTES:
            raise DocumentError(
                f"the tag list of {name}: has more than {MAX_TAGS} tags, or more than {size(MAX_BYTES)}",
                hint="Remove tags that nobody needs, or ask the registry's operator why it lists so many.",
                rule="json-too-large",
            )
        if page and len(tags) == known:
            break
    return list(tags)


def _page_of_tags(response: Response, name: str) -> list[str]:
    from manifestctl.model.strict_json import Fields, load

    what = f"the tag list of {name}"
    if response.truncated:
        raise DocumentError(f"{what}: is larger than {TAGS_LIMIT} bytes", rule="json-too-large")
    fields = Fields.of(load(response.body, what, TAGS_LIMIT), what, "", frozenset({"name", "tags"}))
    return list(fields.texts("tags"))


def next_link(header: str) -> str | None:
    """Return where the next page is (RFC 8288), which is mostly relative to the page that was asked for."""
    for target, parameters in _LINK.findall(header):
        relations = _REL.search(parameters)
        if relations is not None and "next" in (relations[1] or relations[2]).lower().split():
            return str(target)
    return None
