"""One run of one command: the world handed to the library, the stores, and the way out."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import field
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from manifestctl.cli.log import Log, next_step, wants_colour
from manifestctl.cli.options import LogFormat, Output, aws_settings, settings
from manifestctl.errors import InputError, InterruptedRun, ManifestctlError, UnreachableError
from manifestctl.events import Warned
from manifestctl.files import EXHAUSTED_HINT, is_exhausted, reason
from manifestctl.runtime import Cancel, Runtime
from manifestctl.text import redact
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from manifestctl.cli.options import Common
    from manifestctl.events import Event
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.stores.locate import Stores
    from manifestctl.verbs.rules import Policy

T = TypeVar("T")

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
    told: bool = field(init=False, default=False)

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
        self.runtime = Runtime.of_system(self.environ, cancel=CANCEL, observe=self._hear)

    def _hear(self, event: Event) -> None:
        # An interrupted run closes its connections; what its threads say about that would mislead.
        with contextlib.suppress(InterruptedRun):
            self.runtime.cancel.check()
            self.log.event(event)

    @property
    def output(self) -> Output:
        """What goes to stdout."""
        return self.common.output or Output.text

    @property
    def on_github(self) -> bool:
        """Tell whether a GitHub runner reads our output."""
        return bool(self.environ.get("GITHUB_OUTPUT") or self.environ.get("GITHUB_STEP_SUMMARY"))

    def open_stores(self, *, create_repositories: bool = False) -> Stores:
        """Return the stores of this run; the caller closes them. Raises `InputError` for options that make no sense.

        With ``create_repositories``, ECR repositories that are to be written and are missing are made.
        """
        from manifestctl.stores.locate import Stores

        transport = settings(self.common, self.environ)
        for host in transport.tls_skip_verify:
            self.log.event(Warned(f"--tls-skip-verify: {_INSECURE.format(host)}"))
        aws = aws_settings(self.common, create_repositories=create_repositories)
        self.stores = Stores.of_system(self.runtime, transport, aws)
        return self.stores

    def apart(self, call: Callable[[], T]) -> T:
        """Make a call on another thread, so that a signal is heard even while it hangs in the system's resolver."""
        from manifestctl.parallel import Pool

        with Pool(1, self.runtime.cancel) as pool:
            return pool.submit(lambda _: call(), None).result()

    def say_what_is_meant(self, location: Location) -> None:
        """Say what a location without tag and digest means."""
        from manifestctl.model.location import ArchiveLocation, EngineLocation, LayoutLocation

        # Of an archive without a name only the one image can be meant, else it is an error that lists them.
        if (
            location.tag is None
            and location.digest is None
            and not isinstance(location, ArchiveLocation | EngineLocation)
        ):
            layout = isinstance(location, LayoutLocation)
            meant = f"the only image in {location}, or its tag latest" if layout else f"{location}:latest"
            self.log.note(f"no tag given: using {meant}")

    def policy(self) -> Policy:
        """Return what the user allows and denies; raises `InputError` for rules that do not exist."""
        from manifestctl.verbs.rules import RULES, Policy, check_rule_names

        if not (self.common.allow or self.common.deny):
            return Policy()
        from manifestctl.validation import RULES as DOCUMENT_RULES

        known = {*RULES, *DOCUMENT_RULES}
        return Policy(check_rule_names(self.common.allow or (), known), check_rule_names(self.common.deny or (), known))

    def as_error(self, bug: Exception) -> ManifestctlError:
        """Return the error that documents show for a bug, of which what is printed for people says more.

        What looks like one may be none: an interruption, or a process that can open nothing more, be it a module.
        """
        try:
            # An interruption in the middle of a lock can come out as something else.
            self.runtime.cancel.check()
        except InterruptedRun as interrupted:
            return interrupted
        if isinstance(bug, OSError) and is_exhausted(bug):
            return UnreachableError(f"this process cannot go on: {reason(bug)}", hint=EXHAUSTED_HINT)
        return ManifestctlError(f"this is a bug in manifestctl: {type(bug).__name__}", hint="See the error output.")

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
        """Write the result to stdout, where a reader that went away is no error. Raises `InputError`."""
        if text:
            emit_bytes(text.encode("utf-8", "surrogateescape") + b"\n")

    def emit_json(self, document: Mapping[str, Any]) -> None:
        """Write the result as a JSON document to stdout. Raises `InputError`."""
        self.told = True
        emit_bytes(json_bytes(document))

    def leave(self, exit_code: int, error: ManifestctlError | None = None) -> NoReturn:
        """End the command; an interrupted one is ended by the signal itself, once all is flushed."""
        self.runtime.cancel.check()
        if isinstance(error, InterruptedRun):
            raise error
        raise SystemExit(exit_code)

    def fail(self, error: ManifestctlError) -> NoReturn:
        """End the command with an error that kept it from its result."""
        self.tell(error)
        if not isinstance(error, InterruptedRun):
            self.log.failure(error)
        self.leave(error.exit_code, error)

    def tell(self, error: ManifestctlError) -> None:
        """Write the document of an error to stdout, if documents are wanted and none was written yet."""
        if self.output is Output.json and not self.told:
            try:
                self.emit_json(self.document((), error.exit_code, error=error_member(error)))
            except InputError as unwritable:
                self.log.failure(unwritable)


_NO_REQUESTS = {"sent": 0, "retried": 0, "bytes_in": 0, "bytes_out": 0}
_INSECURE = "whoever answers for {} is believed, and can read the credentials sent to it"


def json_bytes(document: Mapping[str, Any], indent: int | None = 2) -> bytes:
    """Return a JSON result as it is written: ASCII, indented or on one line, with a newline at its end.

    What came from outside is in it as it is, but spelled so that no terminal and no log heeds it: characters beyond
    ASCII as escapes, and so one of the two "##" with which some CI runners begin a command anywhere in a line ("::"
    begins one at the start of a line alone, where JSON has none). Whoever parses it gets the same values.
    """
    text = json.dumps(document, indent=indent, ensure_ascii=True)
    return text.replace("##", r"#\u0023").replace("\x7f", r"\u007f").encode("ascii") + b"\n"


def emit_bytes(data: bytes) -> None:
    """Write bytes to stdout as they are. Raises `InputError` if they cannot be written."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # What Python does at its end would complain about the same pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        raise InputError(f"the result cannot be written to the standard output: {reason(error)}") from error


def run(command: str, common: Common, body: Callable[[Session], None]) -> NoReturn:
    """Run a command's body; an error that it lets through becomes a message, a document and an exit status."""
    session = Session(command, common)
    try:
        body(session)
        session.leave(0)
    except ManifestctlError as error:
        session.fail(error)
    except Exception as bug:
        meant = session.as_error(bug)
        session.tell(meant)
        if not isinstance(meant, UnreachableError):
            raise
        session.fail(meant)


def error_member(error: ManifestctlError | None) -> dict[str, Any] | None:
    """Return an error as JSON results carry it; a permission that is missing comes with the statement that gives it."""
    if error is None:
        return None
    # What ended a run after something was published has its reason behind it.
    statement = error.statement or getattr(error.__cause__, "statement", "")
    allowing = {"statement": json.loads(statement)} if statement else {}
    # As in the log, this is the second lock on the door: what came from outside was redacted where it came in.
    return {"message": redact(error.message), "hint": redact(next_step(error))} | allowing
