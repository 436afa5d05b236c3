"""The images of a Docker or Podman engine: listing them, finding one, and bringing one here as an archive.

An image is asked for by its id alone. By a bare repository name an engine exports all tags, and by the name of an image
of several platforms it may give the host's.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Self

from manifestctl.errors import DocumentError, InputError, NotFoundError, UnreachableError
from manifestctl.events import Noted
from manifestctl.model.descriptor import platform_json
from manifestctl.model.strict_json import load
from manifestctl.parallel import Pool
from manifestctl.spool import Spool
from manifestctl.stores.engine_choice import chosen, listed
from manifestctl.stores.engine_images import (
    find_images,
    near_names,
    read_summaries,
    with_entries,
    with_inspected,
)
from manifestctl.text import escape, outside, plural
from manifestctl.text import size as spelled
from manifestctl.transport.engine import connect
from manifestctl.transport.settings import TransportSettings
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from manifestctl.model.platforms import Platform
    from manifestctl.runtime import Runtime
    from manifestctl.stores.engine_images import EngineImage, EnginePart, StoreKind
    from manifestctl.transport.engine import EngineClient

# Versions of the API: of the first engine with a containerd image store; in which the list of images says what is in
# each; in which an export takes a platform.
_FIRST_CONTAINERD, _LISTS_MANIFESTS, _TAKES_PLATFORM = (1, 42), (1, 47), (1, 48)
_SNAPSHOTTER = "io.containerd.snapshotter.v1"
_TAIL = 4096
_ANSWER = "its answer"
_AGAIN = "See the engine's log ('journalctl -u docker'); running again is safe."
_END_OF_TAR = bytes(1024)


@dataclass(frozen=True, slots=True)
class Exported:
    """An image as the engine exported it.

    ``spool`` holds the archive, which has that image and no other; it is to be closed. ``selector`` is the digest to
    ask the archive for: a manifest's or list's (containerd image store), or a config's. ``part`` is the one image that
    was chosen of several, if one was. ``platform`` is the one that the archive's list must still be narrowed to, where
    the engine could not tell which there are.
    """

    image: EngineImage
    spool: Spool
    selector: str
    part: EnginePart | None = None
    platform: Platform | None = None


class Engine:
    """An engine that was found; a context manager that closes its connections."""

    def __init__(self, client: EngineClient, runtime: Runtime, concurrency: int) -> None:
        """Take over a client that has settled on a version."""
        self._client = client
        self._runtime = runtime
        self._concurrency = concurrency

    @classmethod
    def connect(cls, runtime: Runtime, settings: TransportSettings | None = None) -> Self:
        """Find the engine that the environment and Docker's configuration name, or a usual one; raises as `connect`."""
        settings = settings or TransportSettings()
        return cls(connect(runtime, settings), runtime, settings.concurrency)

    @property
    def name(self) -> str:
        """What messages call it: ``the Docker engine at unix:///var/run/docker.sock``."""
        return self._client.name

    def list_images(self) -> list[EngineImage]:
        """List the images with their platforms, in the engine's order, those without a name too."""
        images = self._summaries()
        with Pool(self._concurrency, self._runtime.cancel) as pool:
            completed = pool.map(lambda image: self._completed_or_gone(image, images), images)
        return [image for image in completed if image is not None]

    def find(self, text: str) -> EngineImage:
        """Return the image that a name, an id or the beginning of one means.

        Raises `NotFoundError`, which says what is there under like names, and `InputError` if several could be meant.
        """
        images = self._summaries()
        found = find_images(images, text)
        shown = escape(text, 300)
        if not found:
            raise NotFoundError(f"there is no image '{shown}' in {self.name}", hint=_near(images, text))
        if len(found) > 1:
            which = listed(f"{image.label} ({image.id.short})" for image in found)
            raise InputError(f"'{shown}' may mean {plural(len(found), 'image')} of {self.name}: {which}")
        return self._completed(found[0], images)

    def export(self, image: EngineImage, platform: Platform | None = None, *, every: bool = False) -> Exported:
        """Bring an image here, in a temporary file.

        Of an image of several platforms ``platform`` chooses one; ``every`` takes the whole list. Raises `InputError`
        if neither is given and there are several, `NotFoundError` if there is none of the platform or its content is
        not on this machine, `UnreachableError` if the engine fails or there is no space.
        """
        part = chosen(image, platform, every=every)
        wanted = image.id if part is None else part.digest
        # Podman has the images of a list by ids of their own; the containerd image store has the list's alone.
        parameters = {"names": str(wanted if image.kind == "podman" else image.id)}
        alone = part is not None
        if part is not None and image.kind == "containerd" and image.is_list:
            alone = self._client.version >= _TAKES_PLATFORM
            if alone:
                parameters["platform"] = json.dumps(platform_json(part.platform))
        spool = self._spooled(image, parameters, _export_size(image, part if alone else None))
        return Exported(image, spool, str(wanted), part, None if image.parts else platform)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def __enter__(self) -> Self:
        """Enter the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections."""
        self.close()

    def _summaries(self) -> list[EngineImage]:
        client, podman = self._client, bool(self._client.libpod)
        doing = f"listing the images of {self.name}"
        parameters = {"manifests": "1"} if not podman and client.version >= _LISTS_MANIFESTS else {}
        kind: StoreKind = "podman" if podman else self._kind(doing)
        with _understood(doing):
            return read_summaries(client.json("images/json", parameters, doing, libpod=podman), kind, _ANSWER)

    def _kind(self, doing: str) -> StoreKind:
        """Tell how a Docker engine stores images, where the list of images does not say it."""
        if not _FIRST_CONTAINERD <= self._client.version < _LISTS_MANIFESTS:
            return "graph-driver"
        information = self._client.json("info", {}, doing)
        status = information.get("DriverStatus") if isinstance(information, dict) else None
        pairs = status if isinstance(status, list) else []
        return (
            "containerd" if any(isinstance(pair, list) and _SNAPSHOTTER in pair for pair in pairs) else "graph-driver"
        )

    def _completed_or_gone(self, image: EngineImage, images: list[EngineImage]) -> EngineImage | None:
        # An image may be removed while others are looked at.
        with contextlib.suppress(NotFoundError):
            return self._completed(image, images)
        return None

    def _completed(self, image: EngineImage, images: list[EngineImage]) -> EngineImage:
        """Return the image with its platforms, as far as the engine can tell them truly."""
        if image.kind == "containerd":
            return image
        doing = f"inspecting {image.label} of {self.name}"
        if image.kind == "podman":
            return self._of_podman(image, images, doing)
        inspected = self._inspected(image, f"images/{image.id}/json", doing)
        if inspected is None:
            raise UnreachableError(f"{doing} failed: its answer is about another image")
        return inspected

    def _of_podman(self, image: EngineImage, images: list[EngineImage], doing: str) -> EngineImage:
        # Asked about a list, Podman answers for the host's image in it, or that there is none for the host.
        path = f"manifests/{image.id.encoded}"
        if not image.is_list:
            try:
                inspected = self._inspected(image, f"images/{image.id.encoded}/json", doing)
            except NotFoundError:
                # Podman would look in registries for a list that is not here.
                if not self._client.exists(f"{path}/exists", doing):
                    raise
                inspected = None
            if inspected is not None:
                return inspected
        entries = self._client.json(f"{path}/json", {}, doing, libpod=True)
        with _understood(doing):
            return with_entries(image, entries, images, _ANSWER)

    def _inspected(self, image: EngineImage, path: str, doing: str) -> EngineImage | None:
        value = self._client.json(path, {}, doing, libpod=image.kind == "podman")
        with _understood(doing):
            return with_inspected(image, value, _ANSWER)

    def _spooled(self, image: EngineImage, parameters: dict[str, str], size: int | None) -> Spool:
        what = f"exporting {image.label} from {self.name}"
        spool = Spool(self._runtime.environ, what, size)
        try:
            about = f": about {spelled(size)}" if size is not None else ""
            self._runtime.observe(Noted(f"{what} into a temporary file in {escape(spool.directory)}{about}"))
            with self._client.stream("images/get", parameters, what) as chunks:
                for chunk in chunks:
                    spool.write(chunk)
            _check_end(spool, what)
        except BaseException:
            spool.close()
            raise
        self._runtime.observe(Noted(f"exported {image.label}: {spelled(spool.size)}"))
        return spool


def open_engine_image(
    name: str,
    platform: Platform | None,
    runtime: Runtime,
    settings: TransportSettings | None = None,
    *,
    every: bool = False,
) -> Exported:
    """Find an engine and an image in it, and bring that here; raises as `Engine.connect`, `find` and `export`."""
    with Engine.connect(runtime, settings) as engine:
        return engine.export(engine.find(name), platform, every=every)


def _near(images: list[EngineImage], text: str) -> str:
    names = near_names(images, text)
    if names:
        return f"Names like it are {', '.join(escape(name, 200) for name in names)}."
    return "'manifestctl images' lists what is there." if images else "It has no images; build or pull one first."


def _export_size(image: EngineImage, part: EnginePart | None) -> int | None:
    """Return about how many bytes the archive will have; None if the engine does not say."""
    if part is not None:
        return part.size
    if image.kind != "containerd":
        return image.size
    # What the engine calls the image's size has the unpacked layers in it, which are not exported.
    sizes = [part.size for part in image.parts if part.size is not None]
    return sum(sizes) if sizes and len(sizes) == len(image.parts) else None


def _check_end(spool: Spool, doing: str) -> None:
    """Raise `UnreachableError` if the engine failed on the way: it has said 200 by then, and ends with its error."""
    tail = spool.read(max(0, spool.size - _TAIL), _TAIL)
    if not tail:
        raise UnreachableError(f"{doing} failed: the archive is empty", hint=_AGAIN)
    start = tail.rfind(b'{"errorDetail"')
    if start < 0 or tail.endswith(_END_OF_TAR):
        return
    message = ""
    with contextlib.suppress(DocumentError):
        document = load(tail[start:].strip(), _ANSWER, _TAIL)
        message = outside(str(document.get("error") or ""), 300)
    raise UnreachableError(f"{doing} failed on the way: {message or 'the engine does not say why'}", hint=_AGAIN)


@contextlib.contextmanager
def _understood(doing: str) -> Iterator[None]:
    try:
        yield
    except DocumentError as error:
        raise UnreachableError(f"{doing} failed: {error.message}", hint="What answers may be no engine.") from error
