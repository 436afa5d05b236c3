"""moto's server: AWS's APIs as other people have built them again, started for a test on a free port of loopback."""

from __future__ import annotations

import re
import subprocess
import threading
from typing import TYPE_CHECKING, Self

from tests.support.real import find

if TYPE_CHECKING:
    from types import TracebackType

PROGRAM = "moto_server"
_RUNNING = re.compile(r"Running on (http://127\.0\.0\.1:[0-9]+)")
_START_LIMIT = 30.0


class MotoServer:
    """A context manager; ``environ`` leads boto3 there. It takes any key, and knows one account, 123456789012."""

    def __init__(self) -> None:
        """Make a server that is not running yet."""
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.url = ""

    @property
    def environ(self) -> dict[str, str]:
        """The variables that boto3 needs."""
        nowhere = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), "/nonexistent/aws")
        keys = {"AWS_ACCESS_KEY_ID": "AKIAMOTO", "AWS_SECRET_ACCESS_KEY": "any"}
        return nowhere | keys | {"AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true"}

    def __enter__(self) -> Self:
        """Start it, and wait until it listens."""
        program = find(PROGRAM)
        assert program is not None, f"{PROGRAM} is not installed"
        command = [program, "-H", "127.0.0.1", "-p", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        watchdog = threading.Timer(_START_LIMIT, self._process.kill)
        watchdog.start()
        said = []
        for line in self._process.stdout:
            said.append(line)
            if running := _RUNNING.search(line):
                self.url = running[1]
                break
        watchdog.cancel()
        if not self.url:
            self.stop()
            raise AssertionError(f"{PROGRAM} did not start: {''.join(said)}")
        # What it logs later must not fill the pipe.
        self._reader = threading.Thread(target=self._process.stdout.read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()

    def stop(self) -> None:
        """Kill it; it holds nothing that matters."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._reader is not None:
            self._reader.join()
        if self._process.stdout is not None:
            self._process.stdout.close()
