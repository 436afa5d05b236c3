"""The tools that are measured: how each publishes a list of images that are in the repository already.

Every tool is used in the way that costs it the least: no copying where a flag can say so, and no TLS probe where one
can be switched off.
"""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.children import Child

Command = list[str]


@dataclass(frozen=True, slots=True)
class Job:
    """A list to publish: ``HOST:PORT`` of the registry, the repository, the list's tag, its children."""

    registry: str
    repository: str
    tag: str
    children: list[Child]

    @property
    def target(self) -> str:
        """Return the full reference of the list."""
        return f"{self.registry}/{self.repository}:{self.tag}"

    @property
    def sources(self) -> list[str]:
        """Return the full references of the children."""
        return [f"{self.registry}/{self.repository}:{child.tag}" for child in self.children]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: its name here, its program, and what to run for a job, given the tool's own directory."""

    name: str
    program: str
    commands: Callable[[str, Job, Path], list[Command]]

    def find(self) -> str | None:
        """Return the program's path, or None if it is absent."""
        return shutil.which(self.program)


def _manifestctl(program: str, job: Job, _home: Path) -> list[Command]:
    return [[program, "create", job.target, *(f":{child.tag}" for child in job.children)]]


def _docker(program: str, job: Job, _home: Path) -> list[Command]:
    return [
        [program, "manifest", "create", "--insecure", job.target, *job.sources],
        [program, "manifest", "push", "--insecure", job.target],
    ]


def _containers(program: str, job: Job, home: Path) -> list[Command]:
    storage = ["--root", str(home / "storage"), "--runroot", str(home / "run"), "--storage-driver", "vfs"]
    sources = [f"docker://{source}" for source in job.sources]
    return [
        [program, *storage, "manifest", "create", "--tls-verify=false", job.target, *sources],
        [
            program,
            *storage,
            "manifest",
            "push",
            "--all=false",
            "--tls-verify=false",
            job.target,
            f"docker://{job.target}",
        ],
    ]


def _crane(program: str, job: Job, _home: Path) -> list[Command]:
    return [
        [program, "index", "append", "-t", job.target, *(part for source in job.sources for part in ("-m", source))]
    ]


def _regctl(program: str, job: Job, _home: Path) -> list[Command]:
    references = [part for source in job.sources for part in ("--ref", source)]
    return [[program, "--host", f"reg={job.registry},tls=disabled", "index", "create", job.target, *references]]


def _oras(program: str, job: Job, _home: Path) -> list[Command]:
    tags = [child.tag for child in job.children]
    return [[program, "manifest", "index", "create", "--plain-http", job.target, *tags]]


def _buildx(program: str, job: Job, _home: Path) -> list[Command]:
    return [[program, "imagetools", "create", "--progress", "none", "-t", job.target, *job.sources]]


def _manifest_tool(program: str, job: Job, home: Path) -> list[Command]:
    manifests = [
        {"image": source, "platform": child.platform} for source, child in zip(job.sources, job.children, strict=True)
    ]
    spec = home / "spec.yaml"
    # JSON is YAML, the format that it reads.
    spec.write_text(json.dumps({"image": job.target, "manifests": manifests}))
    return [[program, "--insecure", "--plain-http", "push", "from-spec", str(spec)]]


MANIFESTCTL = "manifestctl"


def all_tools(manifestctl: str) -> list[Tool]:
    """Return every tool that the bench knows; ``manifestctl`` is the path of our own console script."""
    return [
        Tool(MANIFESTCTL, manifestctl, _manifestctl),
        Tool("docker manifest", "docker", _docker),
        Tool("podman", "podman", _containers),
        Tool("buildah", "buildah", _containers),
        Tool("crane", "crane", _crane),
        Tool("regctl", "regctl", _regctl),
        Tool("oras", "oras", _oras),
        Tool("buildx", "buildx", _buildx),
        Tool("manifest-tool", "manifest-tool", _manifest_tool),
    ]


@dataclass(frozen=True, slots=True)
class Login:
    """A user of a registry."""

    registry: str
    user: str
    password: str


def prepare_home(home: Path, path: str, login: Login, plain_http: tuple[str, ...]) -> dict[str, str]:
    """Write the configuration that a tool finds in its own home directory; return the environment to run it in.

    Every tool has the same credentials for the registry with token authentication, and none for the other.
    """
    home.mkdir(parents=True)
    config = home / "config.json"
    config.touch(mode=0o600)
    authority = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    config.write_text(json.dumps({"auths": {login.registry: {"auth": authority}}}))
    registries = home / "registries.conf"
    # podman 4 heeds --tls-verify=false in "push" and not in "create".
    registries.write_text("".join(f'[[registry]]\nlocation = "{name}"\ninsecure = true\n' for name in plain_http))
    return {
        "PATH": path,
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "LANG": "C.UTF-8",
        "DOCKER_CONFIG": str(home),
        "DOCKER_CLI_EXPERIMENTAL": "enabled",
        "REGISTRY_AUTH_FILE": str(config),
        "CONTAINERS_REGISTRIES_CONF": str(registries),
    }
