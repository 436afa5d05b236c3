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

from bench.children import REPOSITORY, entries
from bench.delay_proxy import LOOPBACK, ProxyLoop
from bench.measure import TOKEN_PROXY, Sample, run
from bench.tools import Job, Login, prepare_home
from tests.support.certificates import make_certificates
from tests.support.pushing import Client
from tests.support.real_registry import RealRegistry
from tests.support.token_server import TokenServer

if TYPE_CHECKING:
    from bench.children import Child
    from bench.tools import Tool

# Registry and token server by one name, not in digits: crane refuses a realm whose host is a loopback address in
# digits, and oras one whose name leads to such an address, unless it is the registry's own.
HOST = "localhost"
USER = "bench"


class DistantTokenServer(TokenServer):
    """A token server that clients reach through a proxy."""

    proxy_port = 0

    @property
    def realm(self) -> str:
        """Return the URL that the registry's challenge names."""
        return f"http://{HOST}:{self.proxy_port}/token"


class Ground:
    """Everything that a run needs, started on entry and gone on exit. Use it as a context manager."""

    def __init__(self) -> None:
        """Prepare; nothing runs yet."""
        self._stack = contextlib.ExitStack()
        self._homes: dict[str, tuple[Path, dict[str, str]]] = {}
        self._password = secrets.token_hex(12)
        self.proxies = ProxyLoop()

    def __enter__(self) -> Self:
        """Start two registries over one directory, one with and one without token authentication, and their proxies."""
        with contextlib.ExitStack() as stack:
            self.root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manifestctl-bench-")))
            stack.enter_context(self.proxies)
            certificates = make_certificates(self.root / "certificates")
            tokens = stack.enter_context(DistantTokenServer(certificates, {USER: self._password}))
            # The second is what buildx, which POSTs, reads.
            tokens.auth.token_fields = ("token", "access_token")
            tokens.proxy_port = self.proxies.open(TOKEN_PROXY, tokens.port)
            plain = stack.enter_context(RealRegistry(self.root / "plain"))
            (self.root / "guarded").mkdir()
            (self.root / "guarded" / "data").symlink_to(self.root / "plain" / "data")
            guarded = stack.enter_context(RealRegistry(self.root / "guarded", tokens=tokens))
            self.client = stack.enter_context(Client(plain.url))
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
        if sorted(entries(self.client, job.tag)) != sorted(child.digest for child in children):
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
            plain, guarded = self.registries[False], self.registries[True]
            login = Login(guarded, USER, self._password)
            self._homes[name] = home, prepare_home(home, os.environ.get("PATH", ""), login, (plain, guarded))
        return self._homes[name]
