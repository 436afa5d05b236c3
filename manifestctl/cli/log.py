"""What people read while a run goes on: stderr, as text or as one JSON object a line."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from typing import IO, TYPE_CHECKING, Protocol

from manifestctl.errors import NotFoundError
from manifestctl.events import Exchanged, Noted, Retried, Warned
from manifestctl.text import outside, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from manifestctl.errors import ManifestctlError
    from manifestctl.events import Event
    from manifestctl.model.finding import Finding

_COLOURS = {"error": "31", "warning": "33", "hint": "36"}
_FAILED = " failed: "
_MOST_NAMED = 5
_NO_REPOSITORY = "Check the repository's name, and whose credentials these are: some registries show it to nobody else."
_NOT_THERE = "Check the name and its spelling; 'manifestctl tags REPOSITORY' lists the tags that there are."


def wants_colour(stream: IO[str], environ: Mapping[str, str]) -> bool:
    """Tell whether a stream is a terminal on which colour is welcome."""
    plain = environ.get("NO_COLOR") or environ.get("CI") or environ.get("TERM") == "dumb"
    return stream.isatty() and not plain


def next_step(error: ManifestctlError) -> str:
    """Return an error's next step; what is not there has one, whoever looked for it."""
    if error.hint or not isinstance(error, NotFoundError):
        return error.hint
    return _NO_REPOSITORY if error.repository_unknown else _NOT_THERE


def gathered(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Return severity, message and next step of each finding, for people to read.

    Those that say the same of several things are one; a next step that the one behind it has too is left to that.
    """
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.severity, _said(finding), finding.hint), []).append(finding)
    lines = [(severity, _line(said, group), hint) for (severity, said, hint), group in groups.items()]
    behind = [*(hint for _, _, hint in lines[1:]), ""]
    return [
        (severity, line, "" if hint == after else hint)
        for (severity, line, hint), after in zip(lines, behind, strict=False)
    ]


def _said(finding: Finding) -> str:
    return finding.message.removeprefix(f"{finding.where}: ")


def _line(said: str, group: list[Finding]) -> str:
    rules = " ".join(dict.fromkeys(f"[{finding.rule}]" for finding in group))
    named = list(dict.fromkeys(_name(finding, said) for finding in group if not _is_named(finding, said)))
    more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    where = f"{', '.join(named[:_MOST_NAMED])}{more}: " if named else ""
    return f"{where}{said} {rules}"


def _name(finding: Finding, said: str) -> str:
    unsaid = finding.platform if finding.platform not in said else ""
    return f"{finding.where} ({unsaid})" if unsaid else finding.where


def _is_named(finding: Finding, said: str) -> bool:
    if finding.message != said:
        return False
    # ":1" is no part of what names ":123".
    return not finding.where or re.search(rf"{re.escape(finding.where)}(?![\w.-]*\w)", said) is not None


class Sink(Protocol):
    """What a log is written to: a text stream, or what does as much of one."""

    def write(self, text: str, /) -> object:
        """Write text."""

    def flush(self) -> object:
        """Make it visible."""


class Log:
    """Writes events, findings and errors to a stream, one line each; thread-safe. A closed stream is not an error."""

    def __init__(self, stream: IO[str], *, quiet: bool, verbose: bool, as_json: bool, colour: bool) -> None:
        """Choose what is shown and how."""
        self._stream: Sink = stream
        self._quiet = quiet
        self._verbose = verbose
        self._as_json = as_json
        self._colour = colour
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self._watchers: list[Callable[[Event], None]] = []

    def event(self, event: Event) -> None:
        """Show an event; a warning that was shown already is not shown again."""
        for watcher in self._watchers:
            watcher(event)
        if isinstance(event, Exchanged):
            if self._verbose:
                detail = f" ({event.detail})" if event.detail else ""
                line = f"{event.method} {event.url} → {event.status} in {event.seconds * 1000:.0f} ms{detail}"
                self._write("http", line, status=event.status, milliseconds=round(event.seconds * 1000))
        elif isinstance(event, Noted):
            self.note(event.message)
        elif self._quiet:
            return
        elif isinstance(event, Retried):
            again = f"trying again in {event.delay:.1f} s (try {event.attempt} of {event.attempts})"
            # An error's message begins with what was being done.
            what = event.reason if _FAILED in event.reason else f"{event.operation}: {event.reason}"
            self._write("retry", f"{what}; {again}", attempt=event.attempt)
        elif isinstance(event, Warned) and event.message not in self._warned:
            self._warned.add(event.message)
            self._write("warning", event.message)

    @contextlib.contextmanager
    def watched(self, watcher: Callable[[Event], None]) -> Iterator[None]:
        """Let somebody else see all events too while the block runs."""
        self._watchers.append(watcher)
        try:
            yield
        finally:
            self._watchers.remove(watcher)

    @contextlib.contextmanager
    def through(self, stream: Sink) -> Iterator[None]:
        """Write to another stream while the block runs: one that knows what else is on the screen."""
        with self._lock:
            before, self._stream = self._stream, stream
        try:
            yield
        finally:
            with self._lock:
                self._stream = before

    def note(self, message: str) -> None:
        """Show a step of the run, unless quiet."""
        if not self._quiet:
            self._write("note", message)

    def findings(self, findings: Iterable[Finding]) -> None:
        """Show findings and their next steps; warnings not when quiet. Programs get each by itself."""
        shown = [finding for finding in findings if finding.is_error or not self._quiet]
        if self._as_json:
            for finding in shown:
                self._write(finding.severity, _line(_said(finding), [finding]), rule=finding.rule)
                self.hint(finding.hint)
            return
        for severity, message, hint in gathered(shown):
            self._write(severity, message)
            self.hint(hint)

    def error(self, message: str, hint: str = "") -> None:
        """Show an error and its next step."""
        self._write("error", message)
        self.hint(hint)

    def failure(self, error: ManifestctlError) -> None:
        """Show an error that was raised."""
        self.error(error.message, next_step(error))

    def hint(self, hint: str) -> None:
        """Show a next step, if there is one."""
        if hint:
            self._write("hint", hint)

    def command(self, line: str) -> None:
        """Write a line that is a command to a CI runner, which has no place in a log of JSON."""
        if not self._as_json:
            with self._lock:
                self._put(redact(line))

    def _write(self, level: str, message: str, **more: object) -> None:
        # Everything that comes from outside was redacted where it came in; this is the second lock on the door.
        message = outside(message, 8192)
        with self._lock:
            if self._as_json:
                self._put(json.dumps({"level": level, "message": message, **more}, ensure_ascii=False))
                return
            name = {"note": "", "retry": "retry: ", "http": "http: ", "hint": "  hint: "}.get(level, f"{level}: ")
            if self._colour and level in _COLOURS:
                name = f"\x1b[{_COLOURS[level]}m{name}\x1b[0m"
            self._put(name + message)

    def _put(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more; the work goes on.
            self._stream = _Nowhere()


class _Nowhere:
    """A sink that forgets what it is given."""

    def write(self, text: str, /) -> None:
        pass

    def flush(self) -> None:
        pass
