"""Docker's credential helpers: programs ``docker-credential-NAME`` that keep registries' credentials.

The protocol: run with ``get`` or ``erase``, the server's name on stdin, or with ``store``, JSON ``{"ServerURL",
"Username", "Secret"}`` on stdin; ``get`` has the same JSON on stdout; on failure status 1 and the message on stdout. A
helper may hang, print without end, or print the secret where a message should be; none of that may stop a run for
longer than `TIMEOUT` seconds, fill the memory, or reach a log.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import threading
from typing import IO, TYPE_CHECKING, Final, Literal

from manifestctl.errors import DeniedError, DocumentError, InputError
from manifestctl.files import reason
from manifestctl.model.strict_json import load
from manifestctl.text import escape, of_program
from manifestctl.transport.credential_files import value_of
from manifestctl.transport.credentials import Credential, MissingHelperError
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
# So many characters of a secret would tell something of it.
_TELLING = 8
_SLICE = 0.05
# A daemon that the helper started may hold its stdout open; what the helper said is there already.
_GRACE = 1.0
_NOT_FOUND = "credentials not found"
# What helpers say that make credentials themselves: ecr-login, acr-env.
_NOT_IMPLEMENTED = "not implemented"
_TOKEN_USER = "<token>"  # noqa: S105 - the name that stands for one

_Verb = Literal["get", "store", "erase"]
_FAILED: Final[dict[_Verb, tuple[str, str]]] = {
    "get": (
        "no credentials for {}",
        "Repair it or log in again with the tool that it belongs to, or take it out of that file.",
    ),
    "store": (
        "the credentials for {} cannot be stored",
        "Repair it; or take it out of that file, which then stores them itself; or pass --authfile FILE.",
    ),
    "erase": (
        "the credentials for {} cannot be erased",
        "Repair it, or erase them with the tool that it belongs to.",
    ),
}

_MISSING_HINT = "Install it, or take it out of that file and log in again."


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

    Raises `InputError` for a name that is none, `MissingHelperError` for a helper that is not installed, `DeniedError`
    for one that fails, takes too long, or answers with something else than a credential.
    """
    output = _Run(helper, runtime, "get").output(helper.server)
    if output.status != 0:
        if output.text.lower().startswith(_NOT_FOUND):
            return None
        raise _failed(helper, "get", _said(output))
    return _credential(output.stdout, output.text, helper)


def store(helper: NamedHelper, username: str, secret: str, runtime: Runtime) -> bool:
    """Give a helper a user and a secret to keep; False if it keeps none because it makes its own.

    Raises `InputError` for a name that is none, `DeniedError` for a helper that is not installed or fails.
    """
    given = {"ServerURL": helper.server, "Username": username, "Secret": secret}
    output = _Run(helper, runtime, "store").output(json.dumps(given))
    if output.status == 0:
        return True
    if output.text.lower() == _NOT_IMPLEMENTED:
        return False
    said = _said(output)
    raise _failed(helper, "store", f"status {output.status}" if _shows(said, secret) else said)


def erase(helper: NamedHelper, runtime: Runtime) -> bool:
    """Let a helper forget its server; False if it says that it had nothing. Raises as `store` does."""
    output = _Run(helper, runtime, "erase").output(helper.server)
    if output.status == 0:
        return True
    if output.text.lower().startswith((_NOT_FOUND, _NOT_IMPLEMENTED)):
        return False
    raise _failed(helper, "erase", _said(output))


def _credential(raw: bytes, text: str, helper: NamedHelper) -> Credential | None:
    try:
        document = load(raw, "its answer", OUTPUT_LIMIT)
    except DocumentError:
        # The cause is dropped: it would hold the answer, and so the secret.
        said = f"its answer is not JSON ({len(raw)} bytes)"
        # One word may be a bare secret; a sentence is a message.
        line = of_program(text) if " " in text else ""
        raise _failed(helper, "get", f"{said}: {line}" if line else said) from None
    fields = document if isinstance(document, dict) else {}
    username, secret = value_of(fields, "Username"), value_of(fields, "Secret")
    if not isinstance(username, str) or not isinstance(secret, str):
        raise _failed(helper, "get", "its answer has no Username and Secret")
    source = f"{PREFIX}{helper.program} ({helper.source})"
    if username == _TOKEN_USER:
        return Credential(source, identity_token=secret) if secret else None
    credential = Credential(source, username, secret)
    return None if credential.anonymous else credential


def _said(output: _Output) -> str:
    return of_program(output.text) or of_program(output.stderr.decode("utf-8", "replace")) or f"status {output.status}"


def _shows(said: str, secret: str) -> bool:
    """Tell whether what a helper said repeats a part of a secret, wherever it is cut off."""
    parts = (said[start : start + _TELLING] for start in range(max(1, len(said) - _TELLING + 1)))
    return any(part in secret for part in parts) or any(line in said for line in secret.splitlines() if line)


def _failed(helper: NamedHelper, verb: _Verb, why: str) -> DeniedError:
    what, hint = _FAILED[verb]
    begin = what.format(escape(helper.server, 200))
    return DeniedError(f"{begin}: {PREFIX}{helper.program} failed: {why} ({helper.source})", hint=hint)


@dataclass(frozen=True, slots=True)
class _Output:
    status: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace").strip()


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


class _Feed(threading.Thread):
    """Writes to a pipe and closes it, so that we never wait for a helper that does not read."""

    def __init__(self, pipe: IO[bytes], data: bytes) -> None:
        super().__init__(daemon=True)
        self._pipe = pipe
        self._data = data
        self.start()

    def run(self) -> None:
        # It may have ended without reading.
        with contextlib.suppress(OSError), self._pipe as pipe:
            pipe.write(self._data)


class _Run:
    """One run of a helper, in a process group of its own, so that it can be ended with all that it started."""

    def __init__(self, helper: NamedHelper, runtime: Runtime, verb: _Verb) -> None:
        self._helper = helper
        self._runtime = runtime
        self._verb = verb

    def output(self, given: str) -> _Output:
        process = self._start(self._find())
        assert process.stdin  # noqa: S101 - for mypy, as those below: all three are pipes
        assert process.stdout  # noqa: S101
        assert process.stderr  # noqa: S101
        stdout, stderr = _Drain(process.stdout), _Drain(process.stderr)
        try:
            _Feed(process.stdin, given.encode())
            status = self._wait(process, stdout)
            if status != 0:
                stderr.join(_GRACE)
            return _Output(status, bytes(stdout.data), bytes(stderr.data))
        finally:
            if process.poll() is None:
                _kill(process)

    def _find(self) -> str:
        if not _NAME.fullmatch(self._helper.program):
            named = escape(self._helper.program, 100)
            raise InputError(
                f"{self._helper.source} names '{named}', which is not the name of a credential helper",
                hint=f"It must be what follows '{PREFIX}' in the program's name.",
            )
        program = PREFIX + self._helper.program
        # A helper in the current directory is not what the user installed.
        found = shutil.which(program, path=self._runtime.environ.get("PATH", os.defpath))
        if found is None or not os.path.isabs(found):  # noqa: PTH117 - which() gives text
            raise self._missing()
        return found

    def _start(self, program: str) -> subprocess.Popen[bytes]:
        import subprocess

        pipe = subprocess.PIPE
        try:
            return subprocess.Popen(  # noqa: S603 - the user's own configuration names it
                [program, self._verb],
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                env=dict(self._runtime.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise self._failed(f"it cannot be started: {reason(error)}") from error

    def _missing(self) -> DeniedError:
        absent = "not installed where PATH finds it"
        if self._verb != "get":
            return self._failed(f"it is {absent}")
        named = f"{escape(self._helper.server, 200)} by {self._helper.source}"
        return MissingHelperError(f"{PREFIX}{self._helper.program}, named for {named}, is {absent}", hint=_MISSING_HINT)

    def _failed(self, why: str) -> DeniedError:
        return _failed(self._helper, self._verb, why)

    def _wait(self, process: subprocess.Popen[bytes], stdout: _Drain) -> int:
        import subprocess

        deadline = self._runtime.monotonic() + TIMEOUT
        while True:
            stdout.join(_SLICE)
            if stdout.overflow:
                raise self._failed(f"it wrote more than {OUTPUT_LIMIT} bytes")
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(_SLICE)
                stdout.join(_GRACE)
                return status
            self._runtime.cancel.check()
            if self._runtime.monotonic() >= deadline:
                raise self._failed(f"it did not answer within {TIMEOUT:.0f} seconds")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:  # pragma: no cover - Windows alone
            process.kill()
    process.wait()
