"""Reading the manifests and configs that lists name: each once, and no more of them than memory has room for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError
from manifestctl.model.strict_json import CONFIG_LIMIT, MANIFEST_LIMIT
from manifestctl.once import Once
from manifestctl.stores.base import described
from manifestctl.text import escape
from manifestctl.text import size as spelled

if TYPE_CHECKING:
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.stores.base import Content, Store

MAX_BYTES = 256 * 1024 * 1024
"""Bytes of all manifests and configs of a run together: twice what a list of ten thousand usual images has."""
MAX_ENTRIES = 100_000
"""Entries of all lists of a run together, of those that are gone into."""


class Reader:
    """Reads for one run, with any number of threads.

    What is too much raises `DocumentError`, before it is asked for; what a store raises is raised for all who ask.
    """

    def __init__(self, max_bytes: int = MAX_BYTES, max_entries: int = MAX_ENTRIES) -> None:
        """Begin with nothing read."""
        self._once = Once()
        self._lock = threading.Lock()
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self._bytes = self._entries = 0

    def manifest(self, store: Store, name: str | Descriptor) -> Content:
        """Return a manifest or list by tag, digest or descriptor."""

        def read() -> Content:
            if not isinstance(name, str):
                self._take(min(name.size, MANIFEST_LIMIT), described(name, store.name))
            content = store.read_manifest(name)
            if isinstance(name, str):
                self._take(len(content.raw), described(name, store.name))
            return content

        key = name if isinstance(name, str) else (name.digest, name.size, name.media_type)
        return self._once.get((store.name, key), read)

    def config(self, store: Store, config: Descriptor) -> bytes:
        """Return an image's config."""

        def read() -> bytes:
            self._take(min(config.size, CONFIG_LIMIT), described(config, store.name))
            return store.read_blob(config, CONFIG_LIMIT)

        return self._once.get((store.name, "config", config.digest, config.size), read)

    def enter(self, count: int, what: str) -> None:
        """Count the entries of a list before it is gone into; raises `DocumentError` if they are too many."""
        with self._lock:
            if self._entries + count <= self._max_entries:
                self._entries += count
                return
        raise DocumentError(
            f"{what}: it has {count} entries, with which all lists together would have more than {self._max_entries}",
            hint="No list needs so many; name the images that you mean by their digests.",
        )

    def _take(self, size: int, what: str) -> None:
        with self._lock:
            if self._bytes + size <= self._max_bytes:
                self._bytes += size
                return
        raise DocumentError(
            f"{escape(what, 500)}: it is not read, for all manifests and configs together would have more than "
            f"{spelled(self._max_bytes)}",
            hint="Name fewer images at once, and look at what makes their manifests and configs so large.",
        )
