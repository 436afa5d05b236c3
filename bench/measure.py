"""Runs commands and times them, and keeps what the proxy saw meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.delay_proxy import Log

    Watch = Callable[[int], None]

RUN_SECONDS = 120.0
TOKEN_PROXY = "token"


@dataclass(frozen=True, slots=True)
class Timing:
    """How a command, or a few one after the other, went; times are `time.monotonic` seconds."""

    started: float
    ended: float
    exit_code: int
    output: str

    @property
    def seconds(self) -> float:
        """Return the wall time."""
        return self.ended - self.started

    @property
    def last_line(self) -> str:
        """Return the last line of the output, which is where most tools say what went wrong."""
        lines = self.output.strip().splitlines()
        return lines[-1][:300] if lines else "no output"


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of a tool, and what passed through the proxies during it."""

    timing: Timing
    log: Log

    @property
    def requests(self) -> int:
        """Count all HTTP requests, to the registry and to the token server."""
        return len(self.log.exchanges)

    @property
    def connections(self) -> int:
        """Count all connections."""
        return len(self.log.connections)

    @property
    def foreign(self) -> int:
        """Count the connections that did not speak HTTP: attempts at TLS."""
        return sum(connection.foreign for connection in self.log.connections)

    @property
    def challenges(self) -> int:
        """Count the requests answered 401."""
        return sum(exchange.status == 401 for exchange in self.log.exchanges)

    @property
    def tokens(self) -> int:
        """Count the requests to the token server."""
        return sum(exchange.proxy == TOKEN_PROXY for exchange in self.log.exchanges)


def run(commands: list[list[str]], environment: dict[str, str], directory: Path, watch: Watch | None = None) -> Timing:
    """Run commands one after the other until one fails, and time them together; ``watch`` is told each process ID."""
    output = directory / "output.txt"
    started = time.monotonic()
    code = 0
    with output.open("wb") as file:
        for command in commands:
            code = _run_one(command, environment, directory, file.fileno(), watch)
            if code:
                break
    return Timing(started, time.monotonic(), code, output.read_text(errors="replace"))


def _run_one(command: list[str], environment: dict[str, str], directory: Path, output: int, watch: Watch | None) -> int:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        cwd=directory,
        start_new_session=True,
    )
    # wait() with a time-out polls, at intervals of up to 50 ms, which is far too coarse: a timer kills instead.
    watchdog = threading.Timer(RUN_SECONDS, _kill, (process.pid,))
    watchdog.daemon = True
    watchdog.start()
    if watch is not None:
        watch(process.pid)
    try:
        return process.wait()
    finally:
        watchdog.cancel()
        # Also what the command may have left behind, and the command itself after Ctrl-C.
        _kill(process.pid)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
