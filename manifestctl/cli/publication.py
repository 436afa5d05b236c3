"""The end of a command that publishes: result files, GitHub, stdout, last words, in this order, whatever happened."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

from manifestctl.cli.options import Output
from manifestctl.cli.session import Session, emit_bytes, error_member
from manifestctl.errors import InputError, InterruptedRun, ManifestctlError, PartialError
from manifestctl.model.location import presentable
from manifestctl.model.published import Published
from manifestctl.text import escape, plural
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from manifestctl.cli.result_files import ResultFiles
    from manifestctl.model.digest import Digest
    from manifestctl.model.finding import Finding
    from manifestctl.verbs.publish import TagState


class Outcome(Protocol):
    """What became of a run that publishes: the results of the verbs."""

    error: ManifestctlError | None
    tags: list[TagState]

    @property
    def exit_code(self) -> int:
        """The exit status."""

    @property
    def published(self) -> Published:
        """Whether the main thing is there now."""


O = TypeVar("O", bound=Outcome)  # noqa: E741 - the outcome of one command


@dataclass(frozen=True, slots=True)
class Telling(Generic[O]):
    """How one command speaks of its outcome.

    ``members`` are its own members of the JSON document, ``result`` what goes to stdout on success as text, ``notes``
    what was done, in lines for people, ``digest`` what the digest file holds; ``thing`` is what it publishes, in one
    word. ``beside`` are the tags that it writes before those of the thing itself, for what is in it.
    """

    thing: str
    members: Callable[[O | None], dict[str, Any]]
    result: Callable[[O], str | bytes]
    notes: Callable[[O], list[str]]
    digest: Callable[[O], Digest | None]
    findings: Callable[[O], Sequence[Finding]] = lambda _: ()
    beside: Callable[[O], Sequence[TagState]] = lambda _: ()


@dataclass(slots=True)
class Ending(Generic[O]):
    """How a run ended: what became of it, or, if it never began, the error that kept it from that."""

    session: Session
    files: ResultFiles
    telling: Telling[O]
    target: str
    outcome: O | None = None
    error: ManifestctlError | None = None
    fell_short: bool = False
    document: dict[str, Any] | None = field(default=None)

    @property
    def exit_code(self) -> int:
        """The exit status."""
        if self.outcome is not None:
            return self.outcome.exit_code
        return self.error.exit_code if self.error is not None else 0

    @property
    def published(self) -> Published:
        """Whether the main thing is there now."""
        return self.outcome.published if self.outcome is not None else Published.NO

    @property
    def findings(self) -> Sequence[Finding]:
        """What was found."""
        return self.telling.findings(self.outcome) if self.outcome is not None else ()

    def told(self) -> dict[str, Any]:
        """Return the one document of this ending, for everybody who gets one."""
        if self.document is None:
            self.document = self.session.document(
                self.findings,
                self.exit_code,
                target=presentable(self.target),
                **self.telling.members(self.outcome),
                published=self.published.value,
                error=error_member(self.error),
            )
        return self.document

    def act(self, begin: Callable[[Ending[O]], O]) -> NoReturn:
        """Run the command and end it; a bug is told to the next step of the pipeline too."""
        try:
            self.files.discard_old()
            self.outcome = begin(self)
            self.error = self.outcome.error
        except ManifestctlError as error:
            self.error = error
        except Exception as bug:
            self.error, self.outcome = self.session.as_error(bug), None
            document = self.told() | {"published": "unknown"}
            self.files.write_report(document)
            if self.session.output is Output.json:
                self.session.emit_json(document)
            raise
        self._finish()

    def _finish(self) -> NoReturn:
        failed: list[str] = []
        for write in (self._write_report, self._write_digest, self._write_github, self._write_stdout):
            failures = write()
            if not failures:
                continue
            failed += failures
            self._fall_short(failed)
            if write != self._write_report:
                self.files.write_report_again(self.told())
        self._show(failed)
        self.session.leave(self.exit_code, self.error)

    def _fall_short(self, failed: list[str]) -> None:
        """Make a failure of a run that did its work but could not say so where it was asked to."""
        if self.exit_code and not self.fell_short:
            return
        self.fell_short, self.document = True, None
        if self.outcome is None or self.telling.digest(self.outcome) is None:
            self.error = InputError("; ".join(failed))
        else:
            hint = f"The {self.telling.thing} itself is published, as its digest says."
            self.error = PartialError("; ".join(failed), hint=hint)
        if self.outcome is not None:
            self.outcome.error = self.error

    def _write_report(self) -> list[str]:
        return self.files.write_report(self.told())

    def _write_digest(self) -> list[str]:
        digest = self.telling.digest(self.outcome) if self.outcome is not None and not self.exit_code else None
        return self.files.write_digest(digest) if digest is not None else []

    def _write_github(self) -> list[str]:
        if not self.session.on_github:
            return []
        from manifestctl.cli.github import write_outputs, write_summary

        return write_outputs(self.session.environ, self.told()) + write_summary(self.session.environ, self.told())

    def _write_stdout(self) -> list[str]:
        try:
            if self.session.output is Output.json:
                self.session.emit_json(self.told())
            elif self.outcome is not None and not self.exit_code:
                result = self.telling.result(self.outcome)
                if isinstance(result, bytes):
                    emit_bytes(result)
                elif self.session.output is Output.digest:
                    self.session.emit(str(self.telling.digest(self.outcome)))
                else:
                    self.session.emit(result)
        except InputError as unwritable:
            return [unwritable.message]
        return []

    def _show(self, failed: list[str]) -> None:
        log = self.session.log
        log.findings(self.findings)
        if self.session.on_github:
            from manifestctl.cli.github import error_commands

            for line in error_commands(self.findings, self.error, warnings=not self.session.common.quiet):
                log.command(line)
        if self.outcome is not None:
            for line in self.telling.notes(self.outcome):
                log.note(line)
        if not self.fell_short:
            for line in failed:
                log.error(line)
        if self.exit_code:
            self._show_failure()

    def _show_failure(self) -> None:
        from manifestctl.verbs.outcome import moves

        if self.error is not None and not isinstance(self.error, InterruptedRun):
            self.session.log.failure(self.error)
        target = escape(presentable(self.target), 300)
        errors = sum(finding.is_error for finding in self.findings)
        counted = f"{plural(errors, 'error')}; " if errors else ""
        published = Published.YES if isinstance(self.error, PartialError) else self.published
        beside = moves(self.telling.beside(self.outcome)) if self.outcome is not None else ""
        unknown = f"it is not known whether {target} was published; look at it, running this again is safe"
        nothing = f"the {self.telling.thing} was not published" if beside else "nothing was published"
        said = {
            Published.NO: f"{nothing}: {target} is as it was" if target else nothing,
            Published.UNKNOWN: unknown,
            Published.YES: f"{target} was published, but not everything that was asked for was done",
        }[published]
        untouched = self._is_untouched()
        if untouched:
            said = f"{nothing}: {target} is as it was, and holds this very {self.telling.thing} already"
        if beside and (untouched or published is not Published.YES):
            said += f"; but tags of its images moved: {beside}"
        message = f"{counted}{said}"
        self.session.log.error(message)

    def _is_untouched(self) -> bool:
        """Tell whether the target's own tag holds what was to be published, but not by this run."""
        if self.outcome is None or not self.published or isinstance(self.error, PartialError):
            return False
        return bool(self.outcome.tags) and all(state.moved is Published.NO for state in self.outcome.tags)


def tag_members(states: Sequence[TagState]) -> list[dict[str, Any]]:
    """Return tags as documents list them."""
    return [
        {
            "tag": state.tag,
            "old": str(state.old) if state.old else None,
            "new": str(state.now) if state.now else None,
            "moved": state.moved.value,
        }
        for state in states
    ]


def tag_notes(store: str, states: Sequence[TagState], digest: Digest, *, dry_run: bool = False) -> list[str]:
    """Say what became of each tag."""
    lines = []
    for state in states:
        where = escape(f"{store}:{state.tag}", 300)
        if state.old == digest:
            lines.append(f"{where} unchanged ({digest.short})")
        elif dry_run:
            change = f"be moved from {state.old}" if state.old else "be created"
            lines.append(f"{where} would {change} ({digest.short})")
        else:
            lines.append(f"{where} {f'moved from {state.old}' if state.old else 'created'} ({digest.short}), read back")
    return lines
