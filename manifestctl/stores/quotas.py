"""How large one manifest and one layer may be in a store, found out before anything is sent: `SizeQuota`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from manifestctl.errors import DocumentError, InputError
from manifestctl.model.strict_json import MANIFEST_LIMIT
from manifestctl.stores.base import described
from manifestctl.text import size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.stores.base import Store

_MEBIBYTE = 1024 * 1024
_MOST_NAMED = 10
_FIXED = "The registry's quota of {} ({}) cannot be raised."


@runtime_checkable
class SizeQuota(Protocol):
    """A store that knows how many bytes it takes; None where there is no such limit."""

    @property
    def manifest_limit(self) -> int | None:
        """The most bytes of a manifest or list."""

    @property
    def layer_limit(self) -> int | None:
        """The most bytes of a layer."""


def check_manifest(store: Store, count: int, what: str) -> None:
    """Raise `InputError` if a manifest of so many bytes is larger than a store takes; ``what`` names it."""
    most = store.manifest_limit if isinstance(store, SizeQuota) else None
    if most is not None and count > most:
        raise _over_manifest(most, f"{what}: it has {_shown(count, most)}; this registry takes {_shown(most, count)}")


@contextlib.contextmanager
def readable_for(store: Store, what: str) -> Iterator[None]:
    """Let a manifest that is too large to be read be refused as too large for a store, if it is: by `InputError`."""
    try:
        yield
    except DocumentError as error:
        most = store.manifest_limit if isinstance(store, SizeQuota) else None
        if error.rule != "json-too-large" or most is None or most > MANIFEST_LIMIT:
            raise
        raise _over_manifest(most, f"{what}: its manifest is larger than the {size(most)} of this registry") from error


def check_layers(store: Store, layers: Iterable[Descriptor]) -> None:
    """Raise `InputError` if any of these layers is larger than a store takes; all that are, are named."""
    most = store.layer_limit if isinstance(store, SizeQuota) else None
    large = [layer for layer in layers if most is not None and layer.size > most]
    if most is None or not large:
        return
    named = [f"{described(layer, store.name)}: it has {_shown(layer.size, most)}" for layer in large[:_MOST_NAMED]]
    named += [f"and {len(large) - _MOST_NAMED} more"] if len(large) > _MOST_NAMED else []
    limit = _shown(most, min(layer.size for layer in large))
    message = f"{'; '.join(named)}; this registry takes {limit}"
    raise InputError(message, hint=f"{_FIXED.format('layer size', _limit(most))} Build the image with smaller layers.")


def _over_manifest(most: int, message: str) -> InputError:
    hint = f"{_FIXED.format('manifest size', _limit(most))} Publish fewer images or annotations in one list."
    return InputError(message, hint=hint)


def _limit(most: int) -> str:
    return f"{most // _MEBIBYTE:,} MiB" if most % _MEBIBYTE == 0 else f"{most:,} bytes"


def _shown(count: int, other: int) -> str:
    """Return a size for people, exact where it would look like the other one."""
    return f"{count:,} bytes" if size(count) == size(other) else size(count)
