"""Real engines for tests: Debian's ``dockerd`` and ``podman system service``, with storage of their own, no network."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

_START_LIMIT = 30.0


class RealEngine:
    """An engine in a directory of its own; a context manager that starts and stops it.

    ``program`` is ``dockerd`` or ``podman``.
    """

    def __init__(self, program: str) -> None:
        """Make an engine that is not running yet."""
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        # The path of a socket has little room, and pytest's directories are deep.
        self._directory = Path(tempfile.mkdtemp(prefix="real-"))

    @property
    def path(self) -> Path:
        """The socket."""
        return self._directory / "engine.sock"

    @property
    def address(self) -> str:
        """What ``DOCKER_HOST`` would hold."""
        return f"unix://{self.path}"

    def load(self, archive: bytes) -> None:
        """Load what ``docker save`` wrote."""
        status, body = self.request("POST", "/v1.41/images/load?quiet=1", archive, "application/x-tar")
        assert status == 200, body

    def request(
        self, method: str, target: str, body: bytes = b"", content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Send a request to the engine; returns the status and the body."""
        connection = _Connection(self.path)
        try:
            connection.request(method, target, body, {"Content-Type": content_type})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def podman(self, *arguments: str) -> str:
        """Run podman on the storage of this engine; returns what it prints."""
        done = subprocess.run(
            [*self._podman(), *arguments], check=True, capture_output=True, text=True, env=self._environment
        )
        return done.stdout.strip()

    def __enter__(self) -> Self:
        """Start the engine and wait until it answers."""
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=self._environment
            )
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the engine and remove what it stored."""
        self.stop()

    def stop(self) -> None:
        """End the process and remove its directory."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(5)
            self._process = None
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin",
            "HOME": str(self._directory),
            "LC_ALL": "C.UTF-8",
        }

    def _command(self) -> list[str]:
        if self.program == "podman":
            return [*self._podman(), "system", "service", "--time=0", self.address]
        at = self._directory
        # What configures this machine's own engine is passed over.
        (at / "daemon.json").write_text("{}")
        return [
            "dockerd",
            f"--config-file={at}/daemon.json",
            "--bridge=none",
            "--iptables=false",
            "--ip-forward=false",
            "--storage-driver=vfs",
            f"--data-root={at}/data",
            f"--exec-root={at}/run",
            f"--pidfile={at}/pid",
            f"--host={self.address}",
        ]

    def _podman(self) -> list[str]:
        at = self._directory
        return [
            "podman",
            f"--root={at}/data",
            f"--runroot={at}/run",
            "--storage-driver=vfs",
            "--cgroup-manager=cgroupfs",
        ]

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_LIMIT
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/_ping")[0] == 200:
                    return
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{self.program} did not start:\n{(self._directory / 'log').read_text(errors='replace')}")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
