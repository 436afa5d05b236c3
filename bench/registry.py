"""Debian's docker-registry (CNCF Distribution), started on loopback for one run of the bench."""

from __future__ import annotations

import http.client
import json
import secrets
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from delay_proxy import LOOPBACK
from token_server import ISSUER, SERVICE

if TYPE_CHECKING:
    from pathlib import Path

START_SECONDS = 20.0
NAMES = ("docker-registry", "registry")


@dataclass(frozen=True, slots=True)
class TokenAuth:
    """Where a registry sends its clients for tokens, and the certificate of who signs them."""

    realm: str
    certificate: Path


class Registry:
    """One registry process; several may share one directory. Use it as a context manager."""

    def __init__(self, root: Path, auth: TokenAuth | None = None) -> None:
        """Prepare its configuration under ``root``, which holds the content in ``root/content``."""
        self.port = _free_port()
        kind = "bearer" if auth else "open"
        self._config = root / f"registry-{kind}.json"
        self._output = root / f"registry-{kind}.log"
        # JSON is YAML, the format that the registry reads.
        self._config.write_text(json.dumps(_configuration(root / "content", self.port, auth)))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it answers. Raises `RuntimeError` if it does not."""
        program = next((found for name in NAMES if (found := shutil.which(name))), None)
        if program is None:
            raise RuntimeError("docker-registry is not on PATH: apt-get install docker-registry")
        with self._output.open("wb") as output:
            self._process = subprocess.Popen([program, "serve", str(self._config)], stdout=output, stderr=output)
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)

    def _wait(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=5)
                connection.request("GET", "/v2/")
                connection.getresponse().read()
            except OSError:
                time.sleep(0.02)
            else:
                return
            finally:
                connection.close()
        raise RuntimeError(f"docker-registry did not start: {self._output.read_text(errors='replace')[-500:]}")


def _configuration(content: Path, port: int, auth: TokenAuth | None) -> dict[str, object]:
    configuration: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(content)},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"{LOOPBACK}:{port}", "secret": secrets.token_hex(16)},
    }
    if auth is not None:
        token = {"realm": auth.realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": str(auth.certificate)}
        configuration["auth"] = {"token": token}
    return configuration


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
