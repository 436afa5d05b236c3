"""Answers that come page by page: lists of tags, and where the next page is. OCI distribution-spec "Listing Tags"."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError

if TYPE_CHECKING:
    from manifestctl.transport.message import Response

TAGS_LIMIT = 16 * 1024 * 1024
"""The most bytes that one page of a list of tags may have."""
_LINK = re.compile(r"""<([^<>]*)>((?:\s*;\s*[^\s;,="]+(?:\s*=\s*(?:"[^"]*"|[^\s;,"]*))?)*)""")
_REL = re.compile(r"""(?:^|;)\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))""", re.IGNORECASE)


def page_of_tags(response: Response, name: str) -> list[str]:
    """Return the tags on one page of a list; ``name`` is the repository's. Raises `DocumentError`."""
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
