"""What a user may call an image of this machine, in an engine or an archive: an id, the beginning of one, or a name."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from manifestctl.errors import InputError
from manifestctl.model.reference import DEFAULT_TAG, Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Docker takes fewer digits too. With so many, what is meant as a name is hardly ever taken for an id.
_ID = re.compile(r"(?:sha256:)?([0-9a-f]{4,64})")
_LOCAL = "localhost"


def id_digits(text: str) -> str:
    """Return the hexadecimal digits with which the id begins that was meant; ``""`` if the text can be no id."""
    match = _ID.fullmatch(text)
    return match[1] if match is not None else ""


def references(names: Iterable[str]) -> Iterator[Reference]:
    """Yield those of the names that are references: other programs give images any name."""
    for name in names:
        with contextlib.suppress(InputError):
            yield Reference.parse(name)


def names_host(text: str) -> bool:
    """Tell whether a name begins with the host of a registry, as in ``example.com/web``."""
    first, slash, _ = text.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == _LOCAL)


def podman_store(text: str) -> str:
    """Return the store in which Podman puts what is built or loaded under a name without a host; ``""`` with one."""
    if names_host(text):
        return ""
    return f"{_LOCAL}/{Reference.parse(text).repository.removeprefix('library/')}"


def means(wanted: Reference, name: str, store: str, *, every_tag: bool = False) -> bool:
    """Tell whether a name is the wanted one, in this store; no tag means ``latest``, or any with ``every_tag``."""
    return any(other.store == store and _same(other, wanted, every_tag) for other in references((name,)))


def _same(other: Reference, wanted: Reference, every_tag: bool) -> bool:
    # As Docker has it: where there is a digest the tag says nothing.
    if wanted.digest is not None:
        return other.digest == wanted.digest
    if wanted.tag is None and every_tag:
        return True
    return other.digest is None and (other.tag or DEFAULT_TAG) == (wanted.tag or DEFAULT_TAG)
