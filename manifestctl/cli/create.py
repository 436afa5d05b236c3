"""``manifestctl create``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.cli import checking
from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, emit_bytes, error_member, run
from manifestctl.errors import ManifestctlError, PartialError
from manifestctl.text import escape, plural

if TYPE_CHECKING:
    from manifestctl.model.location import Location
    from manifestctl.verbs.create import Created, CreateRequest

_JSON_PUBLISHED: dict[str, bool | str] = {"true": True, "false": False, "unknown": "unknown"}


@with_common
def create(
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
    """Publish a multi-architecture list: check, compose, validate, write, read back."""
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


class _Extra:
    """The options of `create` that are not about images."""

    def __init__(
        self,
        tags: tuple[str, ...],
        no_overwrite: bool,
        expect: str | None,
        dry_run: bool,
        digest_file: Path | None,
        report: Path | None,
    ) -> None:
        self.tags = tags
        self.no_overwrite = no_overwrite
        self.expect = expect
        self.dry_run = dry_run
        self.digest_file = digest_file
        self.report = report


def _create(session: Session, options: checking.ImageOptions, extra: _Extra) -> None:
    from manifestctl.cli.result_files import ResultFiles

    files = ResultFiles(digest_file=extra.digest_file, report=extra.report)
    files.discard_old()
    try:
        stores, target = checking.reach(session, options.target, len(options.images) + 1 + len(extra.tags))
        request = _request(session, target, options, extra)
    except ManifestctlError as error:
        files.write_report(session.document((), error.exit_code, error=error_member(error)))
        raise
    from manifestctl.verbs.create import create as publish

    with stores:
        created = publish(request, stores, session.runtime)
    document = _document(session, created)
    failed = _write_results(session, files, created, document)
    if failed and created.exit_code == 0:
        created.error = PartialError("; ".join(failed), hint="The list itself is published, as the digest says.")
        document = _document(session, created)
        files.write_report(document)
    _show(session, created, document)
    session.leave(created.exit_code, created.error)


def _request(session: Session, target: Location, options: checking.ImageOptions, extra: _Extra) -> CreateRequest:
    from manifestctl.model.digest import Digest
    from manifestctl.verbs.create import CreateRequest
    from manifestctl.verbs.publish import Guard

    return CreateRequest(
        check=checking.check_request(session, target, options),
        tags=extra.tags,
        guard=Guard(extra.no_overwrite, Digest.parse(extra.expect) if extra.expect else None),
        dry_run=extra.dry_run,
    )


def _document(session: Session, created: Created) -> dict[str, Any]:
    composed, checked = created.composed, created.checked
    target = created.request.check.target
    content = composed.content if composed is not None else None
    return session.document(
        created.findings,
        created.exit_code,
        target=str(target),
        reference=str(target.with_digest(content.digest)) if content is not None else None,
        digest=str(content.digest) if content is not None else None,
        media_type=content.media_type if content is not None else None,
        status=created.status,
        published=_JSON_PUBLISHED[created.published],
        tags=[
            {
                "tag": state.tag,
                "old": str(state.old) if state.old else None,
                "new": str(state.now) if state.now else None,
                "moved": _JSON_PUBLISHED[state.moved],
            }
            for state in created.tags
        ],
        images=checking.image_members(checked.members, checked.gathered.attestations),
        error=error_member(created.error),
    )


def _write_results(session: Session, files: Any, created: Created, document: dict[str, Any]) -> list[str]:
    """Write the files for the next step of the pipeline; returns what could not be written."""
    failed = files.write_report(document)
    done = created.ok and not created.request.dry_run
    if done and created.composed is not None:
        failed += files.write_digest(created.composed.content.digest)
    if session.on_github:
        from manifestctl.cli.github import write_outputs, write_summary

        failed += write_outputs(session.environ, document) + write_summary(session.environ, document)
    return list(failed)


def _show(session: Session, created: Created, document: dict[str, Any]) -> None:
    composed = created.composed
    if session.output is Output.json:
        session.emit_json(document)
    elif created.ok and composed is not None:
        if created.request.dry_run:
            emit_bytes(composed.content.raw)
        elif session.output is Output.digest:
            session.emit(str(composed.content.digest))
        else:
            session.emit(str(document["reference"]))
    for finding in created.findings:
        session.log.finding(finding)
    if session.on_github:
        from manifestctl.cli.github import error_commands

        for line in error_commands(created.findings, created.error):
            session.log.raw(line)
    for line in _notes(created):
        session.log.note(line)
    if not created.ok:
        _show_failure(session, created)


def _notes(created: Created) -> list[str]:
    if created.composed is None or not created.ok:
        return []
    digest = created.composed.content.digest
    members = created.checked.members
    platforms = ", ".join(member.platform.shown for member in members)
    lines = [f"{plural(len(members), 'image')}: {platforms}"]
    store = created.request.check.target.store
    for state in created.tags:
        where = escape(f"{store}:{state.tag}", 300)
        if created.request.dry_run:
            change = "is this already" if state.old == digest else f"would move from {state.old or 'nothing'}"
            lines.append(f"{where} {change}")
        elif state.moved == "true":
            lines.append(f"{where} {f'moved from {state.old}' if state.old else 'created'} ({digest.short}), read back")
        else:
            lines.append(f"{where} unchanged ({digest.short})")
    return lines


def _show_failure(session: Session, created: Created) -> None:
    target = escape(str(created.request.check.target), 300)
    errors = sum(finding.is_error for finding in created.findings)
    if created.error is not None:
        session.log.error(created.error.message, created.error.hint)
    says = {
        "false": f"nothing was published: {target} is as it was",
        "unknown": f"it is not known whether {target} was published; look at it, running this again is safe",
        "true": f"{target} was published, but not everything that was asked for was done",
    }
    counted = f"{plural(errors, 'error')}; " if errors else ""
    session.log.error(counted + says[created.published])
