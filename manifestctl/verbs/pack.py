"""Layers that are compressed while they are sent: hashed unpacked, compressed, hashed packed, in one pass."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from manifestctl.compression import compressor
from manifestctl.errors import IntegrityError, UnreachableError
from manifestctl.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from manifestctl.compression import Format
    from manifestctl.model.descriptor import Descriptor

# What a descriptor may say about the bytes themselves, which are others once they are packed.
_OF_THE_BYTES = frozenset({"data", "urls"})

_DAMAGED = "The archive is damaged, or config and layers are of different images; save the image again."


class PackedLayer:
    """An uncompressed layer, as the compressed one that it becomes; see `Produced`.

    ``read`` gives the unpacked bytes from their beginning whenever it is called, and verifies that they are what
    ``layer`` says. ``diff_id`` is given if the config names them by another algorithm; it is verified on the way too.
    """

    def __init__(
        self,
        name: str,
        layer: Descriptor,
        read: Callable[[], Iterator[bytes]],
        pack: tuple[Format, int | None],
        *,
        media_type: str,
        diff_id: Digest | None = None,
    ) -> None:
        """Choose the layer and how to compress it; nothing is read yet."""
        self._name = name
        self._layer = layer
        self._read = read
        self._media_type = media_type
        self._pack = pack
        self._diff_id = diff_id
        self._made: Descriptor | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self._name

    def open(self) -> Iterator[bytes]:
        """Read, verify and compress the layer from its beginning."""
        self._made = None
        packer = compressor(*self._pack)
        packed_hasher, size = hashlib.sha256(), 0
        for packed in self._packed(packer.update, packer.finish):
            packed_hasher.update(packed)
            size += len(packed)
            yield packed
        digest = Digest("sha256", packed_hasher.hexdigest())
        extra = {key: value for key, value in self._layer.extra.items() if key not in _OF_THE_BYTES}
        self._made = replace(self._layer, media_type=self._media_type, digest=digest, size=size, extra=extra)

    def descriptor(self) -> Descriptor:
        """Describe the compressed layer; raises `UnreachableError` if it was not read to its end."""
        if self._made is None:
            raise UnreachableError(f"sending {self._name} failed: not all of it was taken", transient=True)
        return self._made

    def _packed(self, update: Callable[[bytes], bytes], finish: Callable[[], bytes]) -> Iterator[bytes]:
        hasher = self._diff_id.hasher() if self._diff_id is not None else None
        try:
            for chunk in self._read():
                if hasher is not None:
                    hasher.update(chunk)
                if packed := update(chunk):
                    yield packed
        except IntegrityError as error:
            # A plain layer is named by what the config says of it.
            error.hint = error.hint or _DAMAGED
            raise
        if hasher is not None and self._diff_id is not None and hasher.hexdigest() != self._diff_id.encoded:
            raise IntegrityError(
                f"{self._name}: its tar does not hash to {self._diff_id}, as the image's config says", hint=_DAMAGED
            )
        if packed := finish():
            yield packed
