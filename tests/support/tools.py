"""Debian's skopeo, podman and buildah, each with a home, configuration and storage of its own under one directory.

They make images to publish and read what was published. The machine's own images and credentials are not seen; of its
files only root's cache of blob locations in /var/lib/containers/cache is written, which has no option.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LIMIT = 120.0
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}
# `podman manifest inspect` has no option for plain HTTP.
_REGISTRIES = 'unqualified-search-registries = []\n\n[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n'
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs, run in ``directory``. Make one with `isolated_tools`.

    Every call returns the finished process with stdout and stderr as text; a status other than 0 is an `AssertionError`
    with both, unless ``check=False``.
    """

    directory: Path
    runtime: Path

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment of the programs."""
        home = self.directory / "home"
        return {
            "PATH": _PATH,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_DATA_HOME": str(home / ".local" / "share"),
            "XDG_RUNTIME_DIR": str(self.runtime),
            "REGISTRY_AUTH_FILE": str(self.auth_file),
            "CONTAINERS_REGISTRIES_CONF": str(home / ".config" / "containers" / "registries.conf"),
            "CONTAINERS_CONF": str(home / ".config" / "containers" / "containers.conf"),
            "TMPDIR": str(self.directory / "tmp"),
            "LC_ALL": "C.UTF-8",
        }

    @property
    def auth_file(self) -> Path:
        """The credentials file of all three, in Podman's form; `login` writes it."""
        # podman manifest inspect looks nowhere else.
        return self.runtime / "containers" / "auth.json"

    def run(
        self,
        program: str,
        *arguments: str,
        check: bool = True,
        text: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program with ``text`` on its standard input, and with more or other variables than it has here."""
        command = [str(shutil.which(program, path=_PATH) or program), *arguments]
        done = subprocess.run(
            command,
            input=text or "",
            capture_output=True,
            text=True,
            env={**self.environment, **(environ or {})},
            cwd=self.directory,
            timeout=_LIMIT,
            check=False,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}\nexit {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    # skopeo

    def skopeo(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run skopeo."""
        return self.run("skopeo", *arguments, check=check)

    def skopeo_raw(self, reference: str, *options: str) -> str:
        """Return what ``skopeo inspect --raw`` reads from ``registry/repository:tag``, over plain HTTP too."""
        return self.skopeo("inspect", "--raw", "--tls-verify=false", *options, f"docker://{reference}").stdout

    def skopeo_copy(self, source: str, target: str, *options: str) -> None:
        """Copy between transports (``docker://…``, ``oci:DIR:TAG``); for a list ``--all`` copies all its images."""
        tls = ("--src-tls-verify=false", "--dest-tls-verify=false")
        self.skopeo("copy", "--quiet", *tls, *options, source, target)

    # podman

    def podman(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run podman on a storage of its own."""
        return self.run("podman", *self._storage("podman"), "--cgroup-manager=cgroupfs", *arguments, check=check)

    def podman_manifest(self, reference: str) -> Any:
        """Return what ``podman manifest inspect`` reads of a list."""
        return json.loads(self.podman("manifest", "inspect", reference).stdout)

    # buildah

    def buildah(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run buildah on a storage of its own."""
        return self.run("buildah", *self._storage("buildah"), *arguments, check=check)

    def build_and_push(
        self,
        reference: str,
        *,
        arch: str = "amd64",
        variant: str = "",
        form: Literal["oci", "docker"] = "oci",
        files: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        """Build an image from scratch and push it to ``registry/repository:tag``; return the manifest's digest."""
        container = self.buildah("from", "--arch", arch, *(("--variant", variant) if variant else ()), "scratch")
        name = container.stdout.strip()
        for path, content in (files or {"/hello.txt": f"hello from {arch}\n"}).items():
            source = self.directory / "tmp" / "content"
            source.write_text(content)
            self.buildah("copy", "--quiet", name, str(source), path)
        options = [f"--label={key}={value}" for key, value in (labels or {}).items()]
        options += [f"--variant={variant}"] if variant else []
        self.buildah("config", f"--arch={arch}", "--os=linux", "--cmd=/hello", *options, name)
        image = self.buildah("commit", "--quiet", "--rm", "--format", form, name).stdout.strip()
        digest_file = self.directory / "tmp" / "digest"
        tls = ("--tls-verify=false", "--quiet", f"--digestfile={digest_file}")
        self.buildah("push", *tls, "--format", form, image, f"docker://{reference}")
        return digest_file.read_text().strip()

    def login(self, host: str, user: str, password: str) -> None:
        """Write the credentials of a registry into the credentials file, as ``podman login`` does."""
        self.run("skopeo", "login", "--tls-verify=false", "--username", user, "--password-stdin", host, text=password)

    def _storage(self, program: str) -> tuple[str, ...]:
        at = self.directory / program
        return (f"--root={at}", f"--runroot={self.runtime / program}", "--storage-driver=vfs")


@contextlib.contextmanager
def isolated_tools(directory: Path) -> Iterator[Tools]:
    """Lay out a directory for the programs, and another with a short name, which is removed in the end."""
    # podman refuses a runroot of more than 50 characters, which pytest's directories have.
    runtime = Path(tempfile.mkdtemp(prefix="tools-"))
    try:
        yield _lay_out(directory, runtime)
    finally:
        shutil.rmtree(runtime, ignore_errors=True)


def _lay_out(directory: Path, runtime: Path) -> Tools:
    tools = Tools(directory, runtime)
    config = directory / "home" / ".config" / "containers"
    for made in (config, directory / "tmp", tools.auth_file.parent):
        made.mkdir(parents=True, exist_ok=True)
    (config / "policy.json").write_text(json.dumps(_POLICY))
    (config / "registries.conf").write_text(_REGISTRIES)
    (config / "containers.conf").write_text('[engine]\nevents_logger = "none"\n')
    # buildah refuses to start if the file that the environment names is absent.
    tools.auth_file.write_text('{"auths": {}}\n')
    return tools
