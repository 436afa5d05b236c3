"""`tags`: the tags of a repository, each with the digest that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import NotFoundError
from manifestctl.parallel import Pool
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.location import Location
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import OpenStore


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag and what it holds; ``descriptor`` is None if the tag went away while it was being looked at."""

    tag: str
    descriptor: Descriptor | None


def list_tags(repository: Location, open_store: OpenStore, runtime: Runtime, concurrency: int = 16) -> list[Tagged]:
    """List the tags in the registry's order. Raises `NotFoundError` if the repository does not exist."""
    store = open_store(repository)

    def look(tag: str) -> Tagged:
        try:
            return Tagged(tag, store.resolve(tag))
        except NotFoundError:
            return Tagged(tag, None)

    names = store.tags()
    with Pool(concurrency, runtime.cancel) as pool:
        return pool.map(look, names)
