"""How each tool pushes one image: from a ``docker save`` archive, from an OCI layout, or out of its own storage."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.local_image import NAME, TAG
from bench.tools import MANIFESTCTL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from bench.local_image import LocalImage

Command = list[str]
ARCHIVE, LAYOUT = "archive", "layout"
SOURCES = (ARCHIVE, LAYOUT)
REPOSITORY = "bench/image"


@dataclass(frozen=True, slots=True)
class PushJob:
    """An image to push to ``HOST:PORT``; ``home`` is the tool's own directory, ``engine`` the address of a dockerd."""

    image: LocalImage
    registry: str
    home: Path
    engine: str = ""

    @property
    def target(self) -> str:
        """Return the full reference to push to."""
        return f"{self.registry}/{REPOSITORY}:{TAG}"


@dataclass(frozen=True, slots=True)
class Pusher:
    """A tool: its name here, its program, and the command for each kind of source that it can push from.

    ``prepare`` returns commands that are run before, and are not measured: they bring the archive into its storage.
    """

    name: str
    program: str
    commands: Mapping[str, Callable[[str, PushJob], Command]]
    prepare: Callable[[str, PushJob], list[Command]] | None = field(default=None)
    needs_engine: bool = False

    def find(self) -> str | None:
        """Return the program's path, or None if it is absent."""
        return shutil.which(self.program)


def _manifestctl(source: Callable[[PushJob], str]) -> Callable[[str, PushJob], Command]:
    return lambda program, job: [program, "push", source(job), job.target]


def _skopeo(source: Callable[[PushJob], str]) -> Callable[[str, PushJob], Command]:
    options = ["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"]
    return lambda program, job: [program, *options, source(job), f"docker://{job.target}"]


def _docker_archive(job: PushJob) -> str:
    return f"docker-archive:{job.image.archive}"


def _oci(job: PushJob) -> str:
    return f"oci:{job.image.layout}:{TAG}"


def _regctl(program: str, job: PushJob, *command: str) -> Command:
    return [program, "--host", f"reg={job.registry},tls=disabled", *command]


def _storage(job: PushJob) -> Command:
    return ["--root", str(job.home / "storage"), "--runroot", str(job.home / "run"), "--storage-driver", "vfs"]


def _containers_push(program: str, job: PushJob) -> Command:
    return [program, *_storage(job), "push", "--quiet", "--tls-verify=false", NAME, f"docker://{job.target}"]


def _podman_load(program: str, job: PushJob) -> list[Command]:
    return [[program, *_storage(job), "load", "--quiet", "--input", str(job.image.archive)]]


def _buildah_pull(program: str, job: PushJob) -> list[Command]:
    return [[program, *_storage(job), "pull", "--quiet", f"docker-archive:{job.image.archive}"]]


def _docker_load(program: str, job: PushJob) -> list[Command]:
    docker = [program, "--host", job.engine]
    return [
        [*docker, "load", "--quiet", "--input", str(job.image.archive)],
        [*docker, "tag", NAME, job.target],
    ]


def all_pushers(manifestctl: str) -> list[Pusher]:
    """Return every tool that the bench knows; ``manifestctl`` is the path of our own console script."""
    return [
        Pusher(MANIFESTCTL, manifestctl, {ARCHIVE: _manifestctl(_docker_archive), LAYOUT: _manifestctl(_oci)}),
        Pusher("skopeo", "skopeo", {ARCHIVE: _skopeo(_docker_archive), LAYOUT: _skopeo(_oci)}),
        Pusher(
            "crane",
            "crane",
            {
                ARCHIVE: lambda program, job: [program, "push", str(job.image.archive), job.target],
                LAYOUT: lambda program, job: [program, "push", str(job.image.layout), job.target],
            },
        ),
        Pusher(
            "regctl",
            "regctl",
            {
                ARCHIVE: lambda program, job: _regctl(
                    program, job, "image", "import", job.target, str(job.image.archive)
                ),
                LAYOUT: lambda program, job: _regctl(
                    program, job, "image", "copy", f"ocidir://{job.image.layout}:{TAG}", job.target
                ),
            },
        ),
        Pusher(
            "oras",
            "oras",
            {
                LAYOUT: lambda program, job: [
                    *(program, "copy", "--no-tty", "--from-oci-layout", f"{job.image.layout}:{TAG}"),
                    *("--to-plain-http", job.target),
                ]
            },
        ),
        Pusher("podman", "podman", {ARCHIVE: _containers_push}, _podman_load),
        Pusher("buildah", "buildah", {ARCHIVE: _containers_push}, _buildah_pull),
        Pusher(
            "docker push",
            "docker",
            {ARCHIVE: lambda program, job: [program, "--host", job.engine, "push", "--quiet", job.target]},
            _docker_load,
            needs_engine=True,
        ),
    ]
