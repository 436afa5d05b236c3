"""`tags`: the tags of a repository, each with the digest that it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from manifestctl.errors import DocumentError, InputError, IntegrityError, NotFoundError
from manifestctl.model.reference import Reference, check_tag
from manifestctl.parallel import Pool
from manifestctl.text import escape
from manifestctl.values import dataclass
from manifestctl.verbs.unreadable import unreadable

if TYPE_CHECKING:
    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.runtime import Runtime
    from manifestctl.stores.base import OpenStore


@dataclass(frozen=True, slots=True)
class Tagged:
    """A tag and what it holds.

    ``descriptor`` is None if the tag went away while it was being looked at, if what it holds is not what it should be,
    which ``finding`` says then, or if the registry lists something as a tag that is none: ``is_tag`` is false.
    """

    tag: str
    descriptor: Descriptor | None
    finding: Finding | None = None
    is_tag: bool = True


def list_tags(repository: Location, open_store: OpenStore, runtime: Runtime, concurrency: int = 16) -> list[Tagged]:
    """List the tags in the registry's order. Raises `NotFoundError` if the repository does not exist."""
    store = open_store(repository)

    def look(tag: str) -> Tagged:
        # In a layout any text may be a name; in a registry it would become a part of a URL.
        if isinstance(repository, Reference) and not _is_tag(tag):
            return Tagged(tag, None, is_tag=False)
        try:
            return Tagged(tag, store.resolve(tag))
        except NotFoundError:
            return Tagged(tag, None)
        except (DocumentError, IntegrityError) as error:
            name = escape(str(repository.with_tag(tag)), 300)
            return Tagged(tag, None, unreadable(error, where=name, repository=store.name))

    names = store.tags()
    with Pool(concurrency, runtime.cancel) as pool:
        return pool.map(look, names)


def _is_tag(text: str) -> bool:
    try:
        check_tag(text)
    except InputError:
        return False
    return True
