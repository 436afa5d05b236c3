"""The images of a Docker or Podman engine: listing them, finding one, and bringing one here as an archive.

An image is asked for by its id alone. By a bare repository name an engine exports all tags, and by the name of an image
of several platforms it may give the host's.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Self

from manifestctl.errors import DocumentError, InputError, NotFoundError, UnreachableError
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved, Noted
from manifestctl.model.descriptor import platform_json
from manifestctl.model.strict_json import load
from manifestctl.parallel import Pool
from manifestctl.spool import CHUNK, Spool
from manifestctl.stores.base import Foretold
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
from manifestctl.transport.engine import EngineFailedError, connect
from manifestctl.transport.settings import TransportSettings
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from manifestctl.model.digest import Digest
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
_END_OF_TAR = bytes(1024)


@dataclass(frozen=True, slots=True)
class Selected:
    """What is to be exported.

    ``digest`` is what the archive will be asked for: a manifest's or list's (containerd image store), or a config's.
    ``part`` is the one image that was chosen of several, if one was. ``platform`` is the one that the archive's list
    must still be narrowed to, where the engine cannot tell which there are.
    """

    image: EngineImage
    digest: Digest
    part: EnginePart | None = None
    platform: Platform | None = None

    @property
    def foretold(self) -> Foretold:
        """What reading the archive will give."""
        if self.image.kind != "containerd":
            return Foretold(config=self.digest)
        # Whatever the list holds, the archive alone can tell which image in it is meant.
        digest = self.digest if self.platform is None else None
        return Foretold(manifest=digest, attested=self.part is not None and self.part.attested)


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

    def list_images(self, text: str = "") -> list[EngineImage]:
        """List the images with their platforms, in the engine's order, those without a name too.

        With a text, only those that `find` would take it for, and all tags of a repository. Raises `NotFoundError` if
        there is none.
        """
        images = self._summaries()
        wanted = find_images(images, text, every_tag=True) if text else images
        with Pool(self._concurrency, self._runtime.cancel) as pool:
            completed = pool.map(lambda image: self._completed_or_gone(image, images), wanted)
        found = [image for image in completed if image is not None]
        if text and not found:
            raise self._missing(text, images)
        return found

    def find(self, text: str, *, by_name: bool = False) -> EngineImage:
        """Return the image that a name, an id or the beginning of one means, or with ``by_name`` a name alone.

        Raises `NotFoundError`, which says what is there under like names, and `InputError` if several could be meant,
        or an id was given for a name.
        """
        images = self._summaries()
        found = find_images(images, text, by_name=by_name)
        if not found and by_name and find_images(images, text):
            shown = escape(text, 300)
            raise InputError(
                f"'{shown}' is the id of an image in {self.name}, and an id says nothing of where to push it",
                hint=f"Write manifestctl push {shown} registry/repository:tag",
            )
        if not found:
            raise self._missing(text, images)
        if len(found) > 1:
            which = listed(f"{image.label} ({image.id.short})" for image in found)
            raise InputError(f"'{escape(text, 300)}' may mean {plural(len(found), 'image')} of {self.name}: {which}")
        return self._completed(found[0], images)

    def select(self, image: EngineImage, platform: Platform | None = None, *, every: bool = False) -> Selected:
        """Decide what of an image is to be exported; nothing is asked for.

        Of an image of several platforms ``platform`` chooses one; ``every`` takes the whole list. Raises `InputError`
        if neither is given and there are several, `NotFoundError` if there is none of the platform or its content is
        not on this machine.
        """
        part = chosen(image, platform, every=every)
        return Selected(image, image.id if part is None else part.digest, part, None if image.parts else platform)

    def export(self, selected: Selected) -> Spool:
        """Bring an image here; returns the archive, which has that image and no other, and is to be closed.

        Raises `NotFoundError` if it is gone, `UnreachableError` if the engine fails or there is no space.
        """
        image, part = selected.image, selected.part
        # Podman has the images of a list by ids of their own; the containerd image store has the list's alone.
        parameters = {"names": str(selected.digest if image.kind == "podman" else image.id)}
        alone = part is not None
        if part is not None and image.kind == "containerd" and image.is_list:
            alone = self._client.version >= _TAKES_PLATFORM
            if alone:
                parameters["platform"] = json.dumps(platform_json(part.platform))
        size = _export_size(image, part if alone else None)
        try:
            return self._spooled(image, "images/get", parameters, size)
        except EngineFailedError as error:
            if image.kind != "podman":
                raise
            return self._in_oci_format(selected, size, error)

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

    def _missing(self, text: str, images: list[EngineImage]) -> NotFoundError:
        return NotFoundError(f"there is no image '{escape(text, 300)}' in {self.name}", hint=_near(images, text))

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

    def _in_oci_format(self, selected: Selected, size: int | None, refused: EngineFailedError) -> Spool:
        """Bring here what Podman does not export in Docker's format, which has no zstd."""
        self._runtime.observe(Noted(f"{refused.message}; asking for OCI's format instead"))
        path = f"images/{selected.digest.encoded}/get"
        try:
            return self._spooled(selected.image, path, {"format": "oci-archive"}, size, libpod=True)
        except (EngineFailedError, NotFoundError):
            name = selected.digest.encoded[:12] if selected.image.is_list else selected.image.label
            save = f"podman save --format oci-archive -o image.tar {name}"
            refused.hint = f"Run '{save}', then 'manifestctl push image.tar registry/repository:tag'."
            raise refused from None

    def _spooled(
        self, image: EngineImage, path: str, parameters: dict[str, str], size: int | None, *, libpod: bool = False
    ) -> Spool:
        label, observe = image.label, self._runtime.observe
        what = f"exporting {label} from {self.name}"
        spool = Spool(self._runtime.environ, what, size)
        try:
            about = f": about {spelled(size)}" if size is not None else ""
            observe(Noted(f"{what} into a temporary file in {escape(spool.directory)}{about}"))
            observe(BlobStarted(label, size, "exporting"))
            told = 0
            with self._client.stream(path, parameters, what, libpod=libpod) as chunks:
                for chunk in chunks:
                    spool.write(chunk)
                    if spool.size - told >= CHUNK:
                        observe(BytesMoved(label, spool.size - told))
                        told = spool.size
            self._check_end(spool, what)
        except BaseException:
            spool.close()
            raise
        observe(BlobMoved(label, spool.size, "exported"))
        return spool

    def _check_end(self, spool: Spool, doing: str) -> None:
        """Raise `UnreachableError` if the engine failed on the way: it said 200 by then, and ends with its error."""
        tail = spool.read(max(0, spool.size - _TAIL), _TAIL)
        if not tail:
            raise UnreachableError(f"{doing} failed: the archive is empty", hint=self._client.next_step)
        start = tail.rfind(b'{"errorDetail"')
        if start < 0 or tail.endswith(_END_OF_TAR):
            return
        message = "the engine does not say why"
        with contextlib.suppress(DocumentError):
            document = load(tail[start:].strip(), _ANSWER, _TAIL)
            message = outside(str(document.get("error") or ""), 300) or message
        raise UnreachableError(f"{doing} failed on the way: {message}", hint=self._client.next_step)


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


@contextlib.contextmanager
def _understood(doing: str) -> Iterator[None]:
    try:
        yield
    except DocumentError as error:
        raise UnreachableError(f"{doing} failed: {error.message}", hint="What answers may be no engine.") from error
