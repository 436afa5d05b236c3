"""``manifestctl create``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.cli import checking
from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, emit_bytes, error_member, run
from manifestctl.errors import InputError, InterruptedRun, ManifestctlError, PartialError
from manifestctl.text import escape, plural
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from manifestctl.cli.result_files import ResultFiles
    from manifestctl.model.finding import Finding
    from manifestctl.model.location import Location
    from manifestctl.verbs.create import Created, CreateRequest

_JSON_PUBLISHED: dict[str, bool | str] = {"true": True, "false": False, "unknown": "unknown"}


@with_common
def create(  # noqa: PLR0917 - one parameter for an option
    ctx: typer.Context,
    target: checking.Target,
    images: checking.Images,
    require: checking.Require = None,
    exact: checking.Exact = False,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="TAG", help="One more tag for the list; latest goes last.")
    ] = None,
    set_platform: checking.SetPlatform = None,
    platform: checking.PlatformOption = None,
    depth: checking.Depth = checking.CheckDepth.manifests,
    format: checking.FormatOption = checking.ListFormat.auto,  # noqa: A002
    annotation: checking.Annotations = None,
    entry_annotation: checking.EntryAnnotations = None,
    attestations: checking.AttestationsOption = checking.AttestationPolicy.keep,
    same: checking.Same = None,
    no_overwrite: Annotated[
        bool, typer.Option("--no-overwrite", help="Fail if a tag exists with other content.")
    ] = False,
    expect: Annotated[
        str | None, typer.Option("--expect", metavar="DIGEST", help="Fail if the tag does not hold this now.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Everything but writes; prints the list as it would be.")
    ] = False,
    digest_file: Annotated[
        Path | None, typer.Option("--digest-file", metavar="FILE", help="Write the digest here, on success only.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write the JSON result here, however it ends.")
    ] = None,
    *,
    common: Common,
) -> None:
    """Publish a multi-architecture list: check the images, compose, validate, write, read back.

    Nothing is written unless every check passes. Doing it again changes nothing.
    """
    del ctx
    options = checking.ImageOptions(
        target=target,
        images=images,
        require=require,
        exact=exact,
        set_platform=set_platform,
        platform=platform,
        check=depth,
        format=format,
        attestations=attestations,
        same=same,
        annotation=annotation,
        entry_annotation=entry_annotation,
    )
    extra = _Extra(tuple(tag or ()), no_overwrite, expect, dry_run, digest_file, report)
    run("create", common, lambda session: _create(session, options, extra))


@dataclass(frozen=True, slots=True)
class _Extra:
    """The options of `create` that are not about images."""

    tags: tuple[str, ...]
    no_overwrite: bool
    expect: str | None
    dry_run: bool
    digest_file: Path | None
    report: Path | None


@dataclass(slots=True)
class _Ending:
    """How a run ended: what became of it, or, if it never began, the error that kept it from that."""

    target: str
    created: Created | None = None
    error: ManifestctlError | None = None
    fell_short: bool = False
    document: dict[str, Any] | None = None

    @property
    def exit_code(self) -> int:
        if self.created is not None:
            return self.created.exit_code
        return self.error.exit_code if self.error is not None else 0

    @property
    def findings(self) -> list[Finding]:
        return self.created.findings if self.created is not None else []

    @property
    def published(self) -> str:
        return self.created.published if self.created is not None else "false"


def _create(session: Session, options: checking.ImageOptions, extra: _Extra) -> None:
    from manifestctl.cli.result_files import ResultFiles

    files = ResultFiles(digest_file=extra.digest_file, report=extra.report)
    ending = _Ending(options.target)
    try:
        files.discard_old()
        stores, target = checking.reach(session, options.target, len(options.images) + 1 + len(extra.tags))
        ending.target = str(target)
        with stores:
            request = _request(session, target, options, extra)
            from manifestctl.verbs.create import create as publish

            ending.created = publish(request, stores, session.runtime)
        ending.error = ending.created.error
    except ManifestctlError as error:
        ending.error = error
    except Exception as bug:
        # Whatever it was, the next step of the pipeline is told.
        document = _document(session, _Ending(ending.target, error=session.as_error(bug))) | {"published": "unknown"}
        files.write_report(document)
        if session.output is Output.json:
            session.emit_json(document)
        raise
    _finish(session, files, ending)


def _finish(session: Session, files: ResultFiles, ending: _Ending) -> None:
    """Write everything that is to be written about the end of a run, and leave."""
    failed: list[str] = []
    for write in (_write_report, _write_digest, _write_github, _write_stdout):
        failures = write(session, files, ending)
        if not failures:
            continue
        failed += failures
        _fall_short(ending, failed)
        if write is not _write_report:
            files.write_report_again(_document(session, ending))
    _show(session, ending, failed)
    session.leave(ending.exit_code, ending.error)


def _fall_short(ending: _Ending, failed: list[str]) -> None:
    """Make a failure of a run that did its work but could not say so where it was asked to."""
    if ending.exit_code and not ending.fell_short:
        return
    ending.fell_short, ending.document = True, None
    created = ending.created
    if created is None or created.request.dry_run:
        ending.error = InputError("; ".join(failed))
    else:
        ending.error = PartialError("; ".join(failed), hint="The list itself is published, as its digest says.")
    if created is not None:
        created.error = ending.error


def _request(session: Session, target: Location, options: checking.ImageOptions, extra: _Extra) -> CreateRequest:
    from manifestctl.cli.quantities import given_by
    from manifestctl.model.digest import Digest
    from manifestctl.model.reference import check_tag
    from manifestctl.verbs.create import CreateRequest
    from manifestctl.verbs.publish import Guard

    with given_by("--tag"):
        tags = tuple(check_tag(tag) for tag in extra.tags)
    with given_by("--expect"):
        expect = Digest.parse(extra.expect) if extra.expect is not None else None
    return CreateRequest(
        check=checking.check_request(session, target, options),
        tags=tags,
        guard=Guard(extra.no_overwrite, expect),
        dry_run=extra.dry_run,
    )


def _document(session: Session, ending: _Ending) -> dict[str, Any]:
    """Return the one document of this ending, for everybody who gets one."""
    if ending.document is None:
        ending.document = _make_document(session, ending)
    return ending.document


def _make_document(session: Session, ending: _Ending) -> dict[str, Any]:
    created = ending.created
    composed = created.composed if created is not None else None
    # The digest of a list that nobody can pull would be taken for one that can.
    known = not ending.exit_code or ending.published != "false"
    content = composed.content if composed is not None and known else None
    gathered = created.checked.gathered if created is not None else None
    return session.document(
        ending.findings,
        ending.exit_code,
        target=ending.target,
        reference=str(created.request.check.target.with_digest(content.digest)) if created and content else None,
        digest=str(content.digest) if content is not None else None,
        media_type=content.media_type if content is not None else None,
        status=created.status if created is not None else "failed",
        published=_JSON_PUBLISHED[ending.published],
        tags=[
            {
                "tag": state.tag,
                "old": str(state.old) if state.old else None,
                "new": str(state.now) if state.now else None,
                "moved": _JSON_PUBLISHED[state.moved],
            }
            for state in (created.tags if created is not None else ())
        ],
        images=checking.image_members(created.checked.members, gathered.attestations) if created and gathered else [],
        error=error_member(ending.error),
    )


def _write_report(session: Session, files: ResultFiles, ending: _Ending) -> list[str]:
    return files.write_report(_document(session, ending))


def _write_digest(session: Session, files: ResultFiles, ending: _Ending) -> list[str]:
    del session
    created = ending.created
    if created is None or created.composed is None or not created.ok or created.request.dry_run:
        return []
    return files.write_digest(created.composed.content.digest)


def _write_github(session: Session, files: ResultFiles, ending: _Ending) -> list[str]:
    del files
    if not session.on_github:
        return []
    from manifestctl.cli.github import write_outputs, write_summary

    document = _document(session, ending)
    return write_outputs(session.environ, document) + write_summary(session.environ, document)


def _write_stdout(session: Session, files: ResultFiles, ending: _Ending) -> list[str]:
    del files
    created = ending.created
    try:
        if session.output is Output.json:
            session.emit_json(_document(session, ending))
        elif created is not None and created.composed is not None and not ending.exit_code:
            content = created.composed.content
            if created.request.dry_run:
                emit_bytes(content.raw)
            elif session.output is Output.digest:
                session.emit(str(content.digest))
            else:
                session.emit(str(created.request.check.target.with_digest(content.digest)))
    except InputError as unwritable:
        return [unwritable.message]
    return []


def _show(session: Session, ending: _Ending, failed: list[str]) -> None:
    for finding in ending.findings:
        session.log.finding(finding)
    if session.on_github:
        from manifestctl.cli.github import error_commands

        for line in error_commands(ending.findings, ending.error, warnings=not session.common.quiet):
            session.log.command(line)
    for line in _notes(ending.created):
        session.log.note(line)
    if not ending.fell_short:
        for line in failed:
            session.log.error(line)
    if ending.exit_code:
        _show_failure(session, ending)


def _notes(created: Created | None) -> list[str]:
    """Say what became of each tag; if something failed, the error says it."""
    if created is None or created.composed is None or not created.ok:
        return []
    digest = created.composed.content.digest
    members = created.checked.members
    lines = [f"{plural(len(members), 'image')}: {', '.join(member.platform.shown for member in members)}"]
    store = created.request.check.target.store
    for state in created.tags:
        where = escape(f"{store}:{state.tag}", 300)
        if state.old == digest:
            lines.append(f"{where} unchanged ({digest.short})")
        elif created.request.dry_run:
            change = f"be moved from {state.old}" if state.old else "be created"
            lines.append(f"{where} would {change} ({digest.short})")
        else:
            lines.append(f"{where} {f'moved from {state.old}' if state.old else 'created'} ({digest.short}), read back")
    return lines


def _show_failure(session: Session, ending: _Ending) -> None:
    if ending.error is not None and not isinstance(ending.error, InterruptedRun):
        session.log.failure(ending.error)
    target = escape(ending.target, 300)
    errors = sum(finding.is_error for finding in ending.findings)
    says = {
        "false": f"nothing was published: {target} is as it was",
        "unknown": f"it is not known whether {target} was published; look at it, running this again is safe",
        "true": f"{target} was published, but not everything that was asked for was done",
    }
    said = says[ending.published]
    if ending.created is not None and ending.exit_code != PartialError.exit_code and _is_untouched(ending.created):
        said = f"nothing was published: {target} is as it was, and holds this very list already"
    counted = f"{plural(errors, 'error')}; " if errors else ""
    message = f"{counted}{said}"
    session.log.error(message)


def _is_untouched(created: Created) -> bool:
    """Tell whether the target's own tag holds the list, but not by this run."""
    return created.published == "true" and all(state.moved == "false" for state in created.tags)
