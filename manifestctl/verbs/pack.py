"""Layers that are compressed while they are sent: hashed unpacked, compressed, hashed packed, in one pass."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from manifestctl.compression import compressor
from manifestctl.model.descriptor import Descriptor
from manifestctl.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from manifestctl.compression import Format
    from manifestctl.stores.base import Store


class PackedLayer:
    """An uncompressed layer of a store, as the compressed one that it becomes; see `Produced`.

    ``moved`` is told of the unpacked bytes as they go by. The layer's own digest (its diff_id) is verified on the way.
    """

    def __init__(
        self,
        source: Store,
        layer: Descriptor,
        media_type: str,
        pack: tuple[Format, int | None],
        moved: Callable[[int], None],
    ) -> None:
        """Choose the layer and how to compress it; nothing is read yet."""
        self._source = source
        self._layer = layer
        self._media_type = media_type
        self._pack = pack
        self._moved = moved
        self._made: Descriptor | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"layer {self._layer.digest.short} of {self._source.name}"

    def open(self) -> Iterator[bytes]:
        """Read, verify and compress the layer from its beginning."""
        self._made = None
        packer = compressor(*self._pack)
        hasher, size = hashlib.sha256(), 0
        with self._source.open_blob(self._layer) as chunks:
            for chunk in chunks:
                self._moved(len(chunk))
                packed = packer.update(chunk)
                if packed:
                    hasher.update(packed)
                    size += len(packed)
                    yield packed
        packed = packer.finish()
        hasher.update(packed)
        yield packed
        self._made = Descriptor(self._media_type, Digest("sha256", hasher.hexdigest()), size + len(packed))

    def descriptor(self) -> Descriptor:
        """Describe the compressed layer; only after it was read to its end."""
        if self._made is None:
            raise RuntimeError(f"{self.name} was not read to its end")
        return self._made
