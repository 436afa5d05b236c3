"""Which manifests refer to a manifest. OCI distribution-spec "Listing Referrers", "Referrers Tag Schema"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, NotFoundError
from manifestctl.model import media_types
from manifestctl.model.manifest import Index
from manifestctl.stores.base import Content
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.stores.base import Store
    from manifestctl.transport.message import Response

_NO_API = frozenset({400, 404, 405, 501})


def fallback_tag(subject: Digest) -> str:
    """Return the tag under which the tag scheme lists the referrers of a digest."""
    return f"{subject.algorithm[:32]}-{subject.encoded[:64]}"


def listed(store: Store, subject: Digest, ask: Callable[[], Response]) -> list[Descriptor]:
    """Return the referrers that the API names, or, where there is no API, those under the fallback tag.

    ``ask`` sends the request of the API and returns any answer.
    """
    response = ask()
    if response.status in _NO_API:
        return tagged(store, subject)
    content_type = media_types.essence(response.headers.get("content-type", ""))
    if not response.ok or content_type != media_types.OCI_INDEX:
        # Some registries answer unknown paths with a page of their own.
        return tagged(store, subject)
    return _entries(Content.of(response.body, content_type), store, subject)


def tagged(store: Store, subject: Digest) -> list[Descriptor]:
    """Return the referrers that are listed under the fallback tag; empty if there is none."""
    try:
        return _entries(store.read_manifest(fallback_tag(subject)), store, subject)
    except NotFoundError:
        return []


def _entries(content: Content, store: Store, subject: Digest) -> list[Descriptor]:
    what = f"the referrers of {escape(store.name, 300)}@{subject}"
    manifest = content.parse(what)
    if not isinstance(manifest, Index):
        raise DocumentError(f"{what}: it is not an index", rule="not-an-image")
    return list(manifest.entries)
