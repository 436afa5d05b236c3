"""An image in the Docker or Podman engine, as a store: exported once, when it is first read, and an archive then."""

from __future__ import annotations

import contextlib
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NoReturn

from manifestctl.errors import InputError
from manifestctl.model.digest import Digest
from manifestctl.stores.archive import ArchiveStore, read_only
from manifestctl.stores.archive_file import indexed_archive
from manifestctl.stores.base import LocalImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from manifestctl.model.descriptor import Descriptor
    from manifestctl.model.location import EngineLocation
    from manifestctl.runtime import Runtime
    from manifestctl.spool import Spool
    from manifestctl.stores.base import Blob, Content, Foretold, OnlyIf
    from manifestctl.stores.engine import Engine, Selected
    from manifestctl.stores.engine_images import EngineImage
    from manifestctl.transport.settings import TransportSettings

_SHA = ("sha256:", "sha512:")


class EngineStore:
    """A read-only store of one image in the engine."""

    def __init__(self, location: EngineLocation, runtime: Runtime, settings: TransportSettings) -> None:
        """Bind to a name or an id; the engine is not asked yet."""
        self._location = location
        self._runtime = runtime
        self._settings = settings
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._selected: Selected | None = None
        self._archive: ArchiveStore | None = None
        self._spool: Spool | None = None

    @property
    def name(self) -> str:
        """``docker-daemon:NAME``."""
        return self._location.store

    def close(self) -> None:
        """Close the archive, which is gone then, and the connections to the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        if self._archive is not None:
            self._archive.close()
        if self._spool is not None:
            # Before anything is read, the archive does not have it yet.
            self._spool.close()

    def images(self, name: str = "") -> list[LocalImage]:
        """List the images of the engine, or those that a name or an id means; nothing is exported."""
        from manifestctl.stores.engine import Engine

        with Engine.connect(self._runtime, self._settings) as engine:
            return [_local(image) for image in engine.list_images(name)]

    def foretell(self) -> Foretold:
        """Find the image, and say what it is; nothing is exported."""
        with self._lock:
            return self._found()[1].foretold

    def resolve(self, name: str) -> Descriptor:
        """Say what the image is, or what a digest in it is."""
        return self._exported().resolve(self._asked(name))

    def read_manifest(self, name: str | Descriptor) -> Content:
        """Read the image's manifest, or one in its list by digest or descriptor."""
        archive = self._exported()
        return archive.read_manifest(self._asked(name) if isinstance(name, str) else name)

    def read_blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Read a small blob whole."""
        return self._exported().read_blob(descriptor, limit)

    @contextlib.contextmanager
    def open_blob(self, descriptor: Descriptor) -> Iterator[Iterator[bytes]]:
        """Stream a blob."""
        with self._exported().open_blob(descriptor) as chunks:
            yield chunks

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether a blob is there."""
        return self._exported().has(descriptor)

    def write_blob(self, blob: Blob) -> NoReturn:
        """Refuse: raises `DeniedError`."""
        del blob
        raise read_only(self.name)

    def write_manifest(self, content: Content, tag: str | None = None, only_if: OnlyIf | None = None) -> NoReturn:
        """Refuse: raises `DeniedError`."""
        del content, tag, only_if
        raise read_only(self.name)

    def tags(self) -> list[str]:
        """List the names that the exported image has."""
        return self._exported().tags()

    def _asked(self, name: str) -> str:
        """Return what to ask the archive for: it has one image, whatever that was called in the engine."""
        with contextlib.suppress(InputError):
            if name.startswith(_SHA):
                return str(Digest.parse(name))
        assert self._selected is not None  # noqa: S101 - whoever asks the archive has exported it
        return str(self._selected.digest)

    def _found(self) -> tuple[Engine, Selected]:
        """Find the image, once."""
        from manifestctl.stores.engine import Engine

        location = self._location
        if self._engine is None:
            self._engine = Engine.connect(self._runtime, self._settings)
        if self._selected is None:
            image = self._engine.find(location.image, by_name=location.by_name)
            self._selected = self._engine.select(image, location.platform, every=location.every)
        return self._engine, self._selected

    def _exported(self) -> ArchiveStore:
        with self._lock:
            if self._archive is None:
                engine, selected = self._found()
                spool = self._spool = engine.export(selected)
                self._archive = ArchiveStore(
                    self.name,
                    lambda: indexed_archive(spool, self.name),
                    self._runtime.cancel,
                    prefer_saved=selected.image.kind != "containerd",
                )
            return self._archive


def _local(image: EngineImage) -> LocalImage:
    return LocalImage(image.names, image.id, image.platforms, image.size, _date(image.created))


def _date(seconds: int | None) -> str:
    """Return a time since 1970 as RFC 3339 writes it; ``""`` if there is none, or none that a calendar has."""
    if seconds is None:
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return ""
