"""One run of one command: the world handed to the library, the stores, and the way out."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from manifestctl.cli.log import Log, wants_colour
from manifestctl.cli.options import LogFormat, Output, settings
from manifestctl.errors import InterruptedRun, ManifestctlError
from manifestctl.runtime import Cancel, Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from manifestctl.cli.options import Common
    from manifestctl.model.finding import Finding
    from manifestctl.stores.locate import Stores
    from manifestctl.verbs.rules import Policy

CANCEL = Cancel()
"""Set by the signal handlers of `manifestctl.cli.main`."""


@dataclass(slots=True)
class Session:
    """What a command needs besides its own arguments. ``environ`` is the process's environment."""

    command: str
    common: Common
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    log: Log = field(init=False)
    runtime: Runtime = field(init=False)
    stores: Stores | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Set up the log and the runtime."""
        common = self.common
        self.log = Log(
            sys.stderr,
            quiet=common.quiet,
            verbose=common.verbose,
            as_json=common.log_format is LogFormat.json,
            colour=wants_colour(sys.stderr, self.environ),
        )
        self.runtime = Runtime.of_system(self.environ, cancel=CANCEL, observe=self.log.event)

    @property
    def output(self) -> Output:
        """What goes to stdout."""
        return self.common.output or Output.text

    @property
    def on_github(self) -> bool:
        """Tell whether a GitHub runner reads our output."""
        return bool(self.environ.get("GITHUB_OUTPUT") or self.environ.get("GITHUB_STEP_SUMMARY"))

    def open_stores(self) -> Stores:
        """Return the stores of this run; the caller closes them. Raises `InputError` for options that make no sense."""
        from manifestctl.stores.locate import Stores

        transport = settings(self.common, self.environ)
        for host in transport.tls_skip_verify:
            self.log.event(_insecure(host))
        self.stores = Stores.of_system(self.runtime, transport)
        return self.stores

    def policy(self) -> Policy:
        """Return what the user allows and denies; raises `InputError` for rules that do not exist."""
        from manifestctl.verbs.rules import RULES, Policy, check_rule_names

        if not (self.common.allow or self.common.deny):
            return Policy()
        from manifestctl.validation import RULES as DOCUMENT_RULES

        known = {*RULES, *DOCUMENT_RULES}
        return Policy(check_rule_names(self.common.allow or (), known), check_rule_names(self.common.deny or (), known))

    def document(self, findings: Iterable[Finding], exit_code: int, **members: Any) -> dict[str, Any]:
        """Return the JSON result of this command: what all have, then its own members."""
        requests = self.stores.meter.counts() if self.stores is not None else _NO_REQUESTS
        return {
            "schema": f"manifestctl/{self.command}/v1",
            "ok": exit_code == 0,
            "exit_code": exit_code,
            "findings": [finding.to_json() for finding in findings],
            "requests": dict(requests),
            **members,
        }

    def emit(self, text: str) -> None:
        """Write the result to stdout; a reader that went away is no error once the work is done."""
        if not text:
            return
        emit_bytes(text.encode("utf-8", "surrogateescape") + b"\n")

    def emit_json(self, document: Mapping[str, Any]) -> None:
        """Write the result as a JSON document to stdout."""
        self.emit(json.dumps(document, indent=2, ensure_ascii=False))

    def leave(self, exit_code: int, error: ManifestctlError | None = None) -> NoReturn:
        """End the command; an interrupted one is ended by the signal itself, once all is flushed."""
        if isinstance(error, InterruptedRun):
            raise error
        raise SystemExit(exit_code)


_NO_REQUESTS = {"sent": 0, "retried": 0, "bytes_in": 0, "bytes_out": 0}


def emit_bytes(data: bytes) -> None:
    """Write bytes to stdout as they are."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What Python does at its end would complain about the same pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run(command: str, common: Common, body: Callable[[Session], None]) -> NoReturn:
    """Run a command's body; an error that it lets through becomes a message, a document and an exit status."""
    session = Session(command, common)
    try:
        body(session)
    except InterruptedRun:
        raise
    except ManifestctlError as error:
        if session.output is Output.json:
            members = {"error": error_member(error)}
            session.emit_json(session.document((), error.exit_code, **members))
        session.log.error(error.message, error.hint)
        session.leave(error.exit_code, error)
    session.leave(0)


def error_member(error: ManifestctlError | None) -> dict[str, str] | None:
    """Return an error as JSON results carry it."""
    return {"message": error.message, "hint": error.hint} if error is not None else None


def _insecure(host: str) -> Any:
    from manifestctl.events import Warned

    return Warned(f"--tls-skip-verify: whoever answers for {host} is believed, and can read the credentials sent to it")
