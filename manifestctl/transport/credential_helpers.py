"""Docker's credential helpers: programs ``docker-credential-NAME`` that are asked for a registry's credential.

The protocol: run with ``get``, the server's name on stdin, JSON ``{"ServerURL", "Username", "Secret"}`` on stdout; on
failure status 1 and the message on stdout. A helper may hang, print without end, or print the secret where a message
should be; none of that may stop a run for longer than `TIMEOUT` seconds, fill the memory, or reach a log.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import threading
from typing import IO, TYPE_CHECKING

from manifestctl.errors import DeniedError, DocumentError, InputError
from manifestctl.files import reason
from manifestctl.model.strict_json import load
from manifestctl.text import escape, outside
from manifestctl.transport.credential_files import value_of
from manifestctl.transport.credentials import Credential
from manifestctl.values import dataclass

if TYPE_CHECKING:
    import subprocess

    from manifestctl.runtime import Runtime
    from manifestctl.transport.credential_files import NamedHelper

TIMEOUT = 10.0
"""Seconds that a helper may take."""
OUTPUT_LIMIT = 256 * 1024
PREFIX = "docker-credential-"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SLICE = 0.05
# A daemon that the helper started may hold its stdout open; what the helper said is there already.
_GRACE = 1.0
_NOT_FOUND = "credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 - the name that stands for one
# A JSON web token, or another base64 of JSON.
_TOKEN_LIKE = re.compile(r"eyJ[A-Za-z0-9+/=._-]+")


class HelperSource:
    """Asks one helper program; a `CredentialSource`. It remembers nothing: wrap it in a `Chain`."""

    def __init__(self, helper: NamedHelper, runtime: Runtime) -> None:
        """Keep which program to ask; it is neither looked for nor run yet."""
        self._helper = helper
        self._runtime = runtime

    def credential(self, registry: str, repository: str) -> Credential | None:
        """Run the helper for its server, whichever repository it is. Raises `DeniedError`, `InputError`."""
        del registry, repository
        return ask(self._helper, self._runtime)

    def renew(self, registry: str, repository: str, rejected: Credential) -> Credential | None:
        """Run the helper again: some give tokens that live for minutes."""
        fresh = self.credential(registry, repository)
        return None if fresh == rejected else fresh


def ask(helper: NamedHelper, runtime: Runtime) -> Credential | None:
    """Run a helper once; None if it says that it has no credentials for the server.

    Raises `InputError` for a name that is none, `DeniedError` for a helper that is not installed, fails, takes too
    long, or answers with something else than a credential.
    """
    if not _NAME.fullmatch(helper.program):
        raise InputError(
            f"{helper.source} names '{escape(helper.program, 100)}', which is not the name of a credential helper",
            hint=f"It must be what follows '{PREFIX}' in the program's name.",
        )
    output = _Run(helper, runtime).output()
    text = output.stdout.decode("utf-8", "replace").strip()
    if output.status != 0:
        if text.lower().startswith(_NOT_FOUND):
            return None
        said = _quotable(text) or _quotable(output.stderr.decode("utf-8", "replace")) or f"status {output.status}"
        raise _failed(helper, said)
    return _credential(output.stdout, text, helper)


def _credential(raw: bytes, text: str, helper: NamedHelper) -> Credential | None:
    try:
        document = load(raw, "its answer", OUTPUT_LIMIT)
    except DocumentError:
        # The cause is dropped: it would hold the answer, and so the secret.
        said = f"its answer is not JSON ({len(raw)} bytes)"
        # One word may be a bare secret; a sentence is a message.
        line = _quotable(text) if " " in text else ""
        raise _failed(helper, f"{said}: {line}" if line else said) from None
    fields = document if isinstance(document, dict) else {}
    username, secret = value_of(fields, "Username"), value_of(fields, "Secret")
    if not isinstance(username, str) or not isinstance(secret, str):
        raise _failed(helper, "its answer has no Username and Secret")
    source = f"{PREFIX}{helper.program} ({helper.source})"
    if username == _TOKEN_USER:
        return Credential(source, identity_token=secret) if secret else None
    credential = Credential(source, username, secret)
    return None if credential.anonymous else credential


def _quotable(text: str) -> str:
    """Return the first line of what a helper said, fit for a message; empty if it could hold a secret."""
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    if "{" in line or 'secret"' in text.lower():
        return ""
    return outside(_TOKEN_LIKE.sub("…", line), 300)


def _failed(helper: NamedHelper, why: str) -> DeniedError:
    return DeniedError(
        f"no credentials for {escape(helper.server, 200)}: {PREFIX}{helper.program} failed: {why} ({helper.source})",
        hint="Repair it or log in again with the tool that it belongs to, or take it out of that file.",
    )


@dataclass(frozen=True, slots=True)
class _Output:
    status: int
    stdout: bytes
    stderr: bytes


class _Drain(threading.Thread):
    """Reads a pipe to its end, so that the helper never waits for us; stops at the limit, where it may wait."""

    def __init__(self, pipe: IO[bytes]) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self.data = bytearray()
        self.overflow = False
        self.start()

    def run(self) -> None:
        with self._pipe as pipe:
            while chunk := os.read(pipe.fileno(), 65536):
                self.data += chunk
                if len(self.data) > OUTPUT_LIMIT:
                    self.overflow = True
                    return


class _Run:
    """One run of a helper, in a process group of its own, so that it can be ended with all that it started."""

    def __init__(self, helper: NamedHelper, runtime: Runtime) -> None:
        self._helper = helper
        self._runtime = runtime

    def output(self) -> _Output:
        process = self._start(self._find())
        assert process.stdin  # noqa: S101 - for mypy, as those below: all three are pipes
        assert process.stdout  # noqa: S101
        assert process.stderr  # noqa: S101
        stdout, stderr = _Drain(process.stdout), _Drain(process.stderr)
        try:
            # It may have ended without reading.
            with contextlib.suppress(OSError), process.stdin as pipe:
                pipe.write(self._helper.server.encode())
            status = self._wait(process, stdout)
            if status != 0:
                stderr.join(_GRACE)
            return _Output(status, bytes(stdout.data), bytes(stderr.data))
        finally:
            if process.poll() is None:
                _kill(process)

    def _find(self) -> str:
        program = PREFIX + self._helper.program
        # A helper in the current directory is not what the user installed.
        found = shutil.which(program, path=self._runtime.environ.get("PATH", os.defpath))
        if found is None or not os.path.isabs(found):  # noqa: PTH117 - which() gives text
            raise _failed(self._helper, "it is not installed where PATH finds it")
        return found

    def _start(self, program: str) -> subprocess.Popen[bytes]:
        import subprocess

        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(  # noqa: S603 - the user's own configuration names it
                [program, "get"],
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=dict(self._runtime.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise _failed(self._helper, f"it cannot be started: {reason(error)}") from error

    def _wait(self, process: subprocess.Popen[bytes], stdout: _Drain) -> int:
        import subprocess

        deadline = self._runtime.monotonic() + TIMEOUT
        while True:
            stdout.join(_SLICE)
            if stdout.overflow:
                raise _failed(self._helper, f"it wrote more than {OUTPUT_LIMIT} bytes")
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(_SLICE)
                stdout.join(_GRACE)
                return status
            self._runtime.cancel.check()
            if self._runtime.monotonic() >= deadline:
                raise _failed(self._helper, f"it did not answer within {TIMEOUT:.0f} seconds")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:  # pragma: no cover - Windows alone
            process.kill()
    process.wait()
