"""CNCF Distribution as Debian packages it (``docker-registry``), started for a test on a free port."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Self

from tests.support.token_server import ISSUER, SERVICE, TokenServer

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.support.certificates import Certificates

PROGRAM = "docker-registry"
USER = "tester"
PASSWORD = "correct horse"
# The bcrypt hash of PASSWORD, of the lowest cost.
_HTPASSWD = f"{USER}:$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n"
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:([0-9]+)")
_START_LIMIT = 20.0


class RealRegistry:
    """A registry with its storage in ``directory``; a context manager that starts and stops it.

    - ``certificates``: it speaks HTTPS with them.
    - ``basic``: it asks for `USER` and `PASSWORD`.
    - ``tokens``: it asks for tokens of this `TokenServer`, which must be started.
    """

    def __init__(
        self,
        directory: Path,
        *,
        certificates: Certificates | None = None,
        basic: bool = False,
        tokens: TokenServer | None = None,
    ) -> None:
        """Make a registry that is not running yet."""
        self.directory = directory
        self._certificates = certificates
        self._basic = basic
        self._tokens = tokens
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The origin."""
        return f"{'https' if self._certificates else 'http'}://{self.host}"

    def reference(self, repository: str, tag: str) -> str:
        """Return ``127.0.0.1:PORT/repository:tag``, or ``…@digest`` if the tag is a digest."""
        return f"{self.host}/{repository}{'@' if ':' in tag else ':'}{tag}"

    def config(self) -> dict[str, object]:
        """Return the configuration; JSON is YAML too."""
        http: dict[str, object] = {"addr": "127.0.0.1:0", "secret": "only for tests"}
        if self._certificates:
            http["tls"] = {
                "certificate": str(self._certificates.server),
                "key": str(self._certificates.server_key),
            }
        made: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(self.directory / "data")}, "delete": {"enabled": True}},
            "http": http,
        }
        return made | ({"auth": auth} if (auth := self._auth()) else {})

    def _auth(self) -> dict[str, object]:
        if self._basic:
            return {"htpasswd": {"realm": "test registry", "path": str(self.directory / "htpasswd")}}
        if self._tokens:
            return {
                "token": {
                    "realm": self._tokens.realm,
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(self._tokens.certificates.authority),
                }
            }
        return {}

    def __enter__(self) -> Self:
        """Start the registry and wait until it listens."""
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "htpasswd").write_text(_HTPASSWD)
        config = self.directory / "config.yml"
        config.write_text(json.dumps(self.config()))
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(shutil.which(PROGRAM)), "serve", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            self.port = self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the registry."""
        self.stop()

    def stop(self) -> None:
        """End the process."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._process = None

    @property
    def log(self) -> str:
        """What the registry has logged."""
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / "log").read_text(errors="replace")
        return ""

    def _wait(self) -> int:
        """Return the port, which the registry names in its log once it listens."""
        deadline = time.monotonic() + _START_LIMIT
        while time.monotonic() < deadline:
            found = _LISTENING.search(self.log)
            if found:
                return int(found[1])
            if self._process is None or self._process.poll() is not None:
                break
            time.sleep(0.01)
        raise AssertionError(f"{PROGRAM} did not start:\n{self.log}")
