"""Which manifests refer to a manifest. OCI distribution-spec "Listing Referrers", "Referrers Tag Schema"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import DeniedError, DocumentError, NotFoundError, UnreachableError
from manifestctl.model import media_types
from manifestctl.model.manifest import Index
from manifestctl.stores.base import Content
from manifestctl.text import escape, plural
from manifestctl.transport.failures import failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.digest import Digest
    from manifestctl.stores.base import Store
    from manifestctl.transport.message import Response

_MAX_PAGES = 1000
# What registries without this API say: the specification's 404, and what others make of a path that they do not know.
_NO_API = frozenset({400, 404, 405, 406, 501})


def fallback_tag(subject: Digest) -> str:
    """Return the tag under which the tag scheme lists the referrers of a digest."""
    return f"{subject.algorithm[:32]}-{subject.encoded[:64]}"


def listed(store: Store, subject: Digest, ask: Callable[[str], tuple[Response, str | None]]) -> list[Descriptor]:
    """Return the referrers that the API names, or, where there is no API, those under the fallback tag.

    ``ask`` sends the request of the API for a path, and returns any answer, with the path of the next page if there is
    one. What is not an index is no answer of the API: some registries answer unknown paths with a page of their own.
    Raises `DeniedError` where the API is refused: then nobody knows what refers to the digest.
    """
    what = f"the referrers of {escape(store.name, 300)}@{subject}"
    found: dict[Digest, Descriptor] = {}
    seen: set[str] = set()
    path: str | None = f"referrers/{subject}"
    while path is not None and path not in seen and len(seen) < _MAX_PAGES:
        response, following = ask(path)
        content_type = media_types.essence(response.headers.get("content-type", ""))
        if not response.ok or content_type != media_types.OCI_INDEX:
            error = None if response.ok else failure(response, f"listing {what}")
            if isinstance(error, DeniedError):
                raise error
            if seen:
                raise UnreachableError(f"{what}: after {plural(len(seen), 'page')} the registry said {response.status}")
            if error is None or response.status in _NO_API:
                return tagged(store, subject)
            raise error
        if response.truncated:
            raise DocumentError(f"{what}: the list is larger than {len(response.body)} bytes", rule="json-too-large")
        for descriptor in _entries(Content.of(response.body, content_type), what):
            found.setdefault(descriptor.digest, descriptor)
        seen.add(path)
        path = following
    if path is not None:
        raise UnreachableError(f"{what}: the list does not end after {plural(len(seen), 'page')}")
    return list(found.values())


def tagged(store: Store, subject: Digest) -> list[Descriptor]:
    """Return the referrers that are listed under the fallback tag; empty if there is none."""
    try:
        content = store.read_manifest(fallback_tag(subject))
    except NotFoundError:
        return []
    return _entries(content, f"the referrers of {escape(store.name, 300)}@{subject}")


def _entries(content: Content, what: str) -> list[Descriptor]:
    manifest = content.parse(what)
    if not isinstance(manifest, Index):
        raise DocumentError(f"{what}: it is not an index", rule="not-an-image")
    return list(manifest.entries)
