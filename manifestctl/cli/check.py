"""``manifestctl check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from manifestctl.cli import checking
from manifestctl.cli.log import gathered
from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, error_member, run
from manifestctl.text import escape, plural, size

if TYPE_CHECKING:
    from manifestctl.verbs.check import Checked


@with_common
def check(  # noqa: PLR0917 - one parameter for an option
    ctx: typer.Context,
    target: checking.Target,
    images: checking.Images,
    require: checking.Require = None,
    exact: checking.Exact = False,
    set_platform: checking.SetPlatform = None,
    platform: checking.PlatformOption = None,
    depth: checking.Depth = checking.CheckDepth.manifests,
    format: checking.FormatOption = checking.ListFormat.auto,  # noqa: A002
    attestations: checking.AttestationsOption = checking.AttestationPolicy.keep,
    same: checking.Same = None,
    *,
    common: Common,
) -> None:
    """Check the images of a list as create would, and write nothing."""
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
    )
    run("check", common, lambda session: _check(session, options))


def _check(session: Session, options: checking.ImageOptions) -> None:
    stores, target = checking.reach(session, options.target, len(options.images))
    with stores:
        request = checking.check_request(session, target, options)
        from manifestctl.verbs.check import check as judge

        checked = judge(request, stores, session.runtime)
    if session.output is Output.json:
        session.emit_json(_document(session, checked))
    elif session.output is Output.digest:
        session.emit(str(checked.composed.content.digest) if checked.ok and checked.composed else "")
    else:
        session.emit("\n".join(_lines(checked)))
    if session.output is not Output.text:
        session.log.findings(checked.findings)
    if checked.error is not None:
        session.log.failure(checked.error)
    session.leave(checked.exit_code, checked.error)


def _document(session: Session, checked: Checked) -> dict[str, object]:
    composed = checked.composed
    return session.document(
        checked.findings,
        checked.exit_code,
        target=str(checked.request.target),
        digest=str(composed.content.digest) if composed and checked.ok else None,
        media_type=composed.content.media_type if composed and checked.ok else None,
        images=checking.image_members(checked.members, checked.gathered.attestations),
        error=error_member(checked.error),
    )


def _lines(checked: Checked) -> list[str]:
    lines = [
        f"ok       {member.platform.shown}  {escape(member.request.given, 300)}  {member.manifest.digest}  "
        f"{size(member.manifest.size)}"
        for member in checked.members
    ]
    for severity, message, hint in gathered(checked.findings):
        lines.append(f"{severity + ':':<8} {escape(message, 8192)}")
        if hint:
            lines.append(f"         hint: {escape(hint, 8192)}")
    errors = sum(finding.is_error for finding in checked.findings)
    warnings = len(checked.findings) - errors
    verdict = "can be published" if checked.ok else "must not be published"
    if checked.error is not None:
        verdict = "could not be checked to the end"
    found = f"{plural(errors, 'error')}, {plural(warnings, 'warning')}"
    target = escape(str(checked.request.target), 300)
    return [*lines, f"{target}: {plural(len(checked.members), 'image')}, {found}; {verdict}"]
