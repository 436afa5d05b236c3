"""The ground on which pushes are measured: the image, a fresh registry for every run, homes, and what went up."""

from __future__ import annotations

import json
import math
import os
import re
import resource
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bench.local_image import MIB, TAG, make_image
from bench.measure import Timing, run
from bench.push_tools import LAYOUT, REPOSITORY, PushJob
from manifestctl.model.media_types import ACCEPT
from tests.support.pushing import Client
from tests.support.real_registry import RealRegistry

if TYPE_CHECKING:
    from bench.local_image import LocalImage
    from bench.measure import Watch
    from bench.push_tools import Pusher

_ANSWERED = re.compile(r'msg="response completed.*? http\.request\.method=([A-Z]+) .*? http\.request\.uri="?([^" ]+)')
_UPLOAD = re.compile(r"/blobs/uploads/[^?]+")


@dataclass(frozen=True, slots=True)
class PushRun:
    """One push: how it went, the processor seconds that the tool took, and what the registry was asked.

    ``sent`` counts the blobs that were uploaded.
    """

    timing: Timing
    processor: float
    requests: int
    sent: int


class PushGround:
    """The image and homes for the tools, gone on exit. Use it as a context manager."""

    def __init__(self, engine: str = "") -> None:
        """Prepare; ``engine`` is the address of a dockerd, if ``docker push`` is to be measured."""
        self._engine = engine
        self._homes: dict[str, tuple[Path, dict[str, str]]] = {}
        self._registries = 0

    def __enter__(self) -> Self:
        """Make the directory."""
        self._temporary = tempfile.TemporaryDirectory(prefix="manifestctl-bench-")
        self.root = Path(self._temporary.name)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove it."""
        self._temporary.cleanup()

    def image(self, source: str, mebibytes: int) -> LocalImage:
        """Make an image out of this machine's files, of which a tool is given so many MiB from that kind of source."""
        image = make_image(self.root / f"image-{source}", mebibytes)
        while source == LAYOUT and image.packed < mebibytes * MIB:
            # How small a machine's files get is not known before. A little over, for it differs from file to file.
            shutil.rmtree(image.layout.parent)
            larger = image.unpacked / image.packed * mebibytes * 1.05
            image = make_image(self.root / f"image-{source}", math.ceil(larger))
        return image

    def prepare(self, tool: Pusher, image: LocalImage) -> None:
        """Bring the image into a tool's own storage, if it has one. Raises `RuntimeError`."""
        if tool.prepare is None or tool.needs_engine:
            return
        home, environment = self._home(tool)
        job = PushJob(image, "", home, self._engine)
        self._checked(run(tool.prepare(self._program(tool), job), environment, home))

    def push(
        self,
        tool: Pusher,
        source: str,
        image: LocalImage,
        *,
        times: int = 2,
        wrapper: tuple[str, ...] = (),
        watch: Watch | None = None,
    ) -> list[PushRun]:
        """Let a tool push an image into a registry that is empty, and again; look each time whether it is there.

        Raises `RuntimeError` if it is not, or not in compressed layers.
        """
        home, environment = self._home(tool)
        self._registries += 1
        place = self.root / f"registry-{self._registries}"
        try:
            with RealRegistry(place) as registry, Client(registry.url) as client:
                job = PushJob(image, registry.host, home, self._engine)
                if tool.needs_engine and tool.prepare is not None:
                    self._checked(run(tool.prepare(self._program(tool), job), environment, home))
                command = [*wrapper, *tool.commands[source](self._program(tool), job)]
                # What earlier runs left to be written would be written during this one.
                os.sync()
                pushed = []
                for _ in range(times):
                    before, used = _answered(registry), _processor()
                    timing = self._checked(run([command], environment, home, watch))
                    used, asked = _processor() - used, _answered(registry) - before
                    _verify(client, image)
                    pushed.append(PushRun(timing, used, asked.total(), _sent(asked)))
                return pushed
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def version(self, program: str, runs: int) -> list[float]:
        """Return how many seconds ``--version`` takes, each time."""
        home, environment = self._home_of("version")
        return [self._checked(run([[program, "--version"]], environment, home)).seconds for _ in range(runs)]

    def _checked(self, timing: Timing) -> Timing:
        if timing.exit_code:
            errors = [line for line in timing.output.splitlines() if line.startswith("error: ")]
            raise RuntimeError(f"exit code {timing.exit_code}: {errors[0][:300] if errors else timing.last_line}")
        return timing

    def _program(self, tool: Pusher) -> str:
        program = tool.find()
        if program is None:
            raise RuntimeError(f"{tool.program} is not on PATH")
        return program

    def _home(self, tool: Pusher) -> tuple[Path, dict[str, str]]:
        return self._home_of(tool.name.replace(" ", "-"))

    def _home_of(self, name: str) -> tuple[Path, dict[str, str]]:
        if name not in self._homes:
            home = self.root / "homes" / name
            (home / "tmp").mkdir(parents=True)
            (home / "config.json").write_text("{}")
            (home / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
            environment = {
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(home),
                "TMPDIR": str(home / "tmp"),
                "XDG_RUNTIME_DIR": str(home),
                "LANG": "C.UTF-8",
                "DOCKER_CONFIG": str(home),
                "REGISTRY_AUTH_FILE": str(home / "config.json"),
            }
            self._homes[name] = home, environment
        return self._homes[name]


def _verify(client: Client, image: LocalImage) -> None:
    """Raise `RuntimeError` unless the registry holds the image, all of it, in compressed layers."""
    manifest = _document(client, f"manifests/{TAG}")
    layers = manifest.get("layers", [])
    config = _document(client, f"blobs/{manifest['config']['digest']}")
    if config["rootfs"]["diff_ids"] != image.diff_ids or len(layers) != len(image.layers):
        raise RuntimeError("it ended with 0, but its tag does not hold the image that was to be pushed")
    if not all(layer["mediaType"].endswith("gzip") for layer in layers):
        raise RuntimeError("it ended with 0, but left the layers uncompressed")
    heads = [client.request("HEAD", f"/v2/{REPOSITORY}/blobs/{layer['digest']}") for layer in layers]
    if [int(answer.headers.get("content-length", -1)) for answer in heads] != [layer["size"] for layer in layers]:
        raise RuntimeError("it ended with 0, but layers are not in the registry")


def _sent(asked: Counter[tuple[str, str]]) -> int:
    return sum(count for (method, path), count in asked.items() if method == "PUT" and _UPLOAD.search(path))


def _document(client: Client, path: str) -> dict[str, Any]:
    answer = client.request("GET", f"/v2/{REPOSITORY}/{path}", Accept=ACCEPT)
    if answer.status != 200:
        raise RuntimeError(f"it ended with 0, but the registry answers {answer.status} to {path}")
    document: dict[str, Any] = json.loads(answer.body)
    return document


def _answered(registry: RealRegistry) -> Counter[tuple[str, str]]:
    """Count the requests in the registry's log, by method and path."""
    return Counter(match.groups() for match in _ANSWERED.finditer(registry.log))  # type: ignore[misc]


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
