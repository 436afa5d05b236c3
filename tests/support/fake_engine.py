"""A scripted Docker or Podman engine on a real Unix socket: what it lists, says about and exports of its images.

Three flavours behave as the real ones do, their traps included: a graph driver's engine knows platforms only by
inspecting; the containerd image store answers for the host's image of several when it is asked the old way; Podman
answers for the host's image whenever it is asked about a list, and keeps lists out of the API that it shares with Docker.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import socket
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from manifestctl.model.media_types import OCI_INDEX
from tests.support import images
from tests.support.http_message import Response, json_response
from tests.support.http_server import HttpServer
from tests.support.images import Image, Index, digest_of, dump, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.http_message import Request
    from tests.support.images import JSON, Content

Flavour = Literal["graph-driver", "containerd", "podman"]

CREATED = 1_714_979_289
HOST = {"architecture": "amd64", "os": "linux"}
"""The platform that the engine itself runs on."""
_VERSIONED = re.compile(r"/v(?P<version>[0-9.]+)/(?P<path>.*)")
_SNAPSHOTTER = [["driver-type", "io.containerd.snapshotter.v1"]]


@dataclass(slots=True)
class Held:
    """An image in the engine; ``summary`` replaces members of what the list of images says about it."""

    id: str
    content: Content
    names: list[str]
    missing: frozenset[str] = frozenset()
    summary: JSON = field(default_factory=dict)

    @property
    def children(self) -> list[Image]:
        """The images in it, attestations too."""
        return [part for part in walk(self.content) if isinstance(part, Image)]


class FakeEngine(HttpServer):
    """An engine that speaks an API up to ``version``; a context manager that starts and stops it.

    It listens on a Unix socket at `path`, or with ``tcp`` on a port of loopback. ``libpod`` is the version of Podman's own
    API, in that flavour.
    """

    def __init__(
        self,
        flavour: Flavour = "graph-driver",
        version: str = "1.51",
        *,
        minimum: str = "1.24",
        libpod: str = "4.3.1",
        tcp: bool = False,
    ) -> None:
        """Make an engine without images that is not listening yet."""
        super().__init__()
        self.flavour = flavour
        self.version = version
        self.minimum = minimum
        self.held: list[Held] = []
        self._libpod = libpod
        self._tcp = tcp
        # The path of a socket has little room, and pytest's directories are deep.
        self._directory = Path(tempfile.mkdtemp(prefix="engine-"))

    @property
    def path(self) -> Path:
        """The socket."""
        return self._directory / "engine.sock"

    @property
    def address(self) -> str:
        """What ``DOCKER_HOST`` would hold."""
        return f"tcp://{self.host}" if self._tcp else f"unix://{self.path}"

    def add(self, content: Content, *names: str, missing: Iterable[Image] = (), **summary: object) -> str:
        """Add an image; returns its id. The content of the ``missing`` images of a list is not there."""
        made = digest_of(content.manifest)
        if isinstance(content, Image) and self.flavour != "containerd":
            made = content.config_digest
        absent = frozenset(image.digest for image in missing)
        self.held.append(Held(made, content, list(names), absent, dict(summary)))
        return made

    def asked(self) -> list[str]:
        """Return the paths of all requests, with their queries."""
        return [recorded.path + (f"?{recorded.query}" if recorded.query else "") for recorded in self.find()]

    # Life: as the base has it, on another kind of socket.

    def close(self) -> None:
        """Close all connections and wait for the threads."""
        super().close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def _listening(self) -> socket.socket:
        if self._tcp:
            return super()._listening()
        listener = _UnixListener(socket.AF_UNIX)
        listener.bind(str(self.path))
        listener.listen(64)
        return listener

    def _wake(self) -> None:
        if self._tcp:
            super()._wake()
            return
        with socket.socket(socket.AF_UNIX) as waking:
            waking.connect(str(self.path))

    # Answers.

    def answer(self, request: Request) -> Response:
        """Answer as the flavour does."""
        response = self._answer(request)
        response.headers["Api-Version"] = self.version
        if self.flavour == "podman":
            response.headers["Libpod-Api-Version"] = self._libpod
        return response

    def _answer(self, request: Request) -> Response:
        if request.path == "/_ping":
            return Response(200, b"OK", {"Content-Type": "text/plain; charset=utf-8"})
        match = _VERSIONED.fullmatch(request.path)
        if match is None or request.method != "GET":
            return _error(404, "page not found")
        path = match["path"]
        if path.startswith("libpod/"):
            return self._libpod_answer(path.removeprefix("libpod/"), request)
        version = _number(match["version"])
        if version > _number(self.version):
            return _error(400, f"client version {match['version']} is too new. Maximum supported is {self.version}")
        if version < _number(self.minimum):
            return _error(400, f"client version {match['version']} is too old. Minimum supported is {self.minimum}")
        return self._docker_answer(path, request, version)

    def _docker_answer(self, path: str, request: Request, version: tuple[int, ...]) -> Response:
        if path == "images/json":
            listed = [held for held in self.held if not self._is_podman_list(held)]
            manifests = request.parameter("manifests") == "1" and version >= (1, 47)
            return json_response([self._summary(held, version, manifests=manifests) for held in listed])
        if path == "info":
            status = _SNAPSHOTTER if self.flavour == "containerd" else [["Backing Filesystem", "extfs"]]
            return json_response({"ID": "fake", "DriverStatus": status})
        if path == "images/get":
            return self._export(request, version)
        match = re.fullmatch(r"images/(?P<name>.+)/json", path)
        held = self._resolve(match["name"]) if match else None
        if held is None:
            return _error(404, f"No such image: {path}")
        return json_response(self._inspect(held))

    def _libpod_answer(self, path: str, request: Request) -> Response:
        if path == "images/json":
            return json_response([self._summary(held, (1, 41), manifests=False) for held in self.held])
        match = re.fullmatch(r"(?P<kind>images|manifests)/(?P<id>[0-9a-f]{64})/(?P<what>json|exists|get)", path)
        held = self._resolve(match["id"]) if match else None
        if match is None or held is None:
            return _error(404, "image not known")
        if match["what"] == "get":
            return self._export_as_oci(held, request)
        if match["kind"] == "images":
            own = self._of_host(held)
            return json_response(self._inspect(own)) if own else _error(404, "no image found for architecture amd64")
        if not isinstance(held.content, Index):
            return _error(500, "image is not a manifest list")
        return Response(204) if match["what"] == "exists" else json_response(json.loads(held.content.manifest))

    def _resolve(self, name: str) -> Held | None:
        """Find an image as engines do: by its name, its id or the beginning of one."""
        plain = name.removeprefix("sha256:")
        return next(
            (held for held in self.held if name in held.names or held.id.removeprefix("sha256:").startswith(plain)),
            None,
        )

    def _is_podman_list(self, held: Held) -> bool:
        return self.flavour == "podman" and isinstance(held.content, Index)

    def _of_host(self, held: Held) -> Held | None:
        """Return an image, or of a list of Podman's the image for the host."""
        if not isinstance(held.content, Index):
            return held
        own = {child.config_digest for child in held.children if child.platform == HOST}
        return next((other for other in self.held if other.id in own), None)

    def _id(self, held: Held) -> str:
        return held.id.removeprefix("sha256:") if self.flavour == "podman" else held.id

    def _summary(self, held: Held, version: tuple[int, ...], *, manifests: bool) -> JSON:
        digests = [f"{name.rpartition(':')[0]}@{digest_of(held.content.manifest)}" for name in held.names]
        summary: JSON = {
            "Id": self._id(held),
            "RepoTags": held.names,
            "RepoDigests": digests if self.flavour != "graph-driver" else [],
            "Created": CREATED,
            "Size": sum(len(data) for child in held.children for data in child.blobs.values()),
            "Labels": None,
        }
        if self.flavour == "podman":
            summary |= {"Digest": digest_of(held.content.manifest), "Names": held.names}
        if self.flavour == "containerd" and version >= (1, 48):
            summary["Descriptor"] = held.content.descriptor()
        if self.flavour == "containerd" and manifests:
            summary["Manifests"] = [self._manifest(held, child) for child in held.children]
        return summary | held.summary

    def _manifest(self, held: Held, child: Image) -> JSON:
        content = sum(len(data) for data in (child.manifest, *child.blobs.values()))
        attests = child.platform == images.UNKNOWN
        entry: JSON = {
            "ID": child.digest,
            "Descriptor": child.descriptor(),
            "Available": child.digest not in held.missing,
            "Size": {"Content": content, "Total": content},
            "Kind": "attestation" if attests else "image",
        }
        if attests:
            listed = {entry["digest"]: entry for entry in json.loads(held.content.manifest)["manifests"]}
            return entry | {"AttestationData": {"For": listed[child.digest]["annotations"][images.REFERENCE_DIGEST]}}
        unpacked = {"Unpacked": content * 3}
        return entry | {"ImageData": {"Platform": child.platform, "Size": unpacked, "Containers": []}}

    def _inspect(self, held: Held) -> JSON:
        child = next((child for child in held.children if child.platform == HOST), held.children[0])
        platform = child.platform
        inspected: JSON = {
            "Id": self._id(held),
            "RepoTags": held.names,
            "Architecture": platform.get("architecture", ""),
            "Os": platform.get("os", ""),
            "Config": {"Labels": None},
            "RootFS": {"Type": "layers", "Layers": []},
        }
        if self.flavour == "podman":
            return inspected | {"ManifestType": child.media_type}
        return inspected | {"Variant": platform.get("variant", ""), "OsVersion": platform.get("os.version", "")}

    def _export(self, request: Request, version: tuple[int, ...]) -> Response:
        name = request.parameter("names") or ""
        held = self._resolve(name)
        if held is None:
            return _error(500 if self.flavour == "podman" else 404, f"No such image: {name}")
        types = getattr(held.content, "layer_media_types", ())
        if self.flavour == "podman" and any("zstd" in kind for kind in types):
            return _error(500, "Error during manifest conversion: zstd compression is not supported for docker images")
        platform = request.parameter("platform") if version >= (1, 48) else None
        data = self.archive(held, json.loads(platform) if platform else None)
        return Response(200, iter([data[:1000], data[1000:]]), {"Content-Type": "application/x-tar"})

    def _export_as_oci(self, held: Held, request: Request) -> Response:
        """Answer as Podman does, which compresses layers anew, and always with gzip."""
        assert request.parameter("format") == "oci-archive"
        assert isinstance(held.content, Image)
        return Response(200, oci_archive(images.repacked(held.content, "gzip")), {"Content-Type": "application/x-tar"})

    def archive(self, held: Held, platform: JSON | None = None) -> bytes:
        """Return the archive that the engine makes of an image."""
        if self.flavour == "containerd":
            chosen = [child for child in held.children if platform is None or child.platform == platform]
            return oci_archive(held.content if platform is None else chosen[0], held.missing)
        own = self._of_host(held)
        assert own is not None
        assert isinstance(own.content, Image)
        return docker_archive(own.content)


class _UnixConnection(socket.socket):
    """A connection on which what is TCP's own is passed over."""

    def setsockopt(self, level: int, *arguments: Any) -> None:
        if level != socket.IPPROTO_TCP:
            super().setsockopt(level, *arguments)


class _UnixListener(socket.socket):
    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        return _UnixConnection(fileno=connection.detach()), address


def docker_archive(image: Image, *names: str) -> bytes:
    """Return what ``docker save`` writes of an image: ``manifest.json``, the config, and the layers as plain tars."""
    layers = {f"{digest_of(data).removeprefix('sha256:')}/layer.tar": gzip.decompress(data) for data in image.layers}
    config = f"{image.config_digest.removeprefix('sha256:')}.json"
    entry = {"Config": config, "RepoTags": list(names) or None, "Layers": list(layers)}
    return tar({config: image.config, **layers, "manifest.json": dump([entry])})


def oci_archive(content: Content, missing: frozenset[str] = frozenset()) -> bytes:
    """Return what the containerd image store exports: a layout, without the content of the images that are missing."""
    files = {"oci-layout": dump({"imageLayoutVersion": "1.0.0"})}
    for part in walk(content):
        if part.digest not in missing:
            blobs = {part.digest: part.manifest, **part.blobs}
            files |= {f"blobs/sha256/{digest.removeprefix('sha256:')}": data for digest, data in blobs.items()}
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [content.descriptor()]}
    return tar(files | {"index.json": dump(index)})


def tar(files: dict[str, bytes]) -> bytes:
    """Return a tar of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def replaced(
    body: Callable[[], bytes], content_type: str = "application/json", status: int = 200
) -> Callable[[Any], Response]:
    """Return an action that answers with this body, and the headers that every answer of an engine has."""

    def action(exchange: Any) -> Response:
        response: Response = exchange.serve()
        response.status, response.body, response.length = status, body(), None
        response.header("Content-Type", content_type)
        return response

    return action


def _error(status: int, message: str) -> Response:
    return json_response({"message": message}, status)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
