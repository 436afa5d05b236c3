"""The ground on which tools are measured: registries, token server, proxies, homes, and one run of a tool on it."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from delay_proxy import LOOPBACK, ProxyLoop
from images import Backend
from measure import TOKEN_PROXY, Sample, run
from registry import Registry, TokenAuth
from token_server import Signer, TokenServer
from tools import Job, prepare_home

if TYPE_CHECKING:
    from images import Child
    from tools import Tool

REPOSITORY = "bench/web"
# Registry and token server by one name, not in digits: crane refuses a realm whose host is a loopback address in digits,
# and oras one whose name leads to such an address, unless it is the registry's own.
HOST = "localhost"


class Ground:
    """Everything that a run needs, started on entry and gone on exit. Use it as a context manager."""

    def __init__(self) -> None:
        """Prepare; nothing runs yet."""
        self._stack = contextlib.ExitStack()
        self._homes: dict[str, tuple[Path, dict[str, str]]] = {}
        self.proxies = ProxyLoop()

    def __enter__(self) -> Self:
        """Start two registries over one directory, one with and one without token authentication, and their proxies."""
        with contextlib.ExitStack() as stack:
            self.root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manifestctl-bench-")))
            stack.enter_context(self.proxies)
            signer = Signer()
            signer.write_certificate(self.root / "certificate.pem")
            tokens = stack.enter_context(TokenServer(signer))
            realm = f"http://{HOST}:{self.proxies.open(TOKEN_PROXY, tokens.port)}/token"
            plain = stack.enter_context(Registry(self.root))
            guarded = stack.enter_context(Registry(self.root, TokenAuth(realm, self.root / "certificate.pem")))
            self.backend = stack.enter_context(Backend(plain.port, REPOSITORY))
            self.registries = {
                bearer: f"{HOST}:{self.proxies.open('registry', registry.port)}"
                for bearer, registry in ((False, plain), (True, guarded))
            }
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of it and remove the directory."""
        self._stack.close()

    def publish(
        self, tool: Tool, children: list[Child], *, rtt: float, bearer: bool, wrapper: tuple[str, ...] = ()
    ) -> Sample:
        """Let a tool publish a list under a tag that is new, and look whether it did. Raises `RuntimeError` if not.

        ``rtt`` is in seconds; ``wrapper`` is put before the tool's command.
        """
        program = tool.find()
        if program is None:
            raise RuntimeError(f"{tool.program} is not on PATH")
        home, environment = self._home(tool.name)
        job = Job(self.registries[bearer], REPOSITORY, f"list-{secrets.token_hex(6)}", children)
        commands = [[*wrapper, *command] for command in tool.commands(program, job, home)]
        self.proxies.begin(rtt)
        timing = run(commands, environment, home)
        sample = Sample(timing, self.proxies.finish())
        if timing.exit_code:
            raise RuntimeError(f"exit code {timing.exit_code}: {timing.last_line}")
        if sorted(self.backend.entries(job.tag)) != sorted(child.digest for child in children):
            raise RuntimeError("it ended with 0, but its tag does not hold the list that was asked for")
        return sample

    def round_trips(self, rtt: float) -> tuple[float, float]:
        """Return how many seconds a first and a second request on one new connection take through the proxy."""
        port = int(self.registries[False].rpartition(":")[2])
        request = f"GET /v2/ HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
        self.proxies.begin(rtt)
        times = [time.monotonic()]
        with socket.create_connection((LOOPBACK, port), timeout=10) as client:
            for _ in range(2):
                client.sendall(request)
                client.recv(1 << 16)
                times.append(time.monotonic())
        self.proxies.finish()
        return times[1] - times[0], times[2] - times[1]

    def _home(self, name: str) -> tuple[Path, dict[str, str]]:
        if name not in self._homes:
            home = self.root / "homes" / name.replace(" ", "-")
            environment = prepare_home(home, os.environ.get("PATH", ""), self.registries[False], self.registries[True])
            self._homes[name] = home, environment
        return self._homes[name]
