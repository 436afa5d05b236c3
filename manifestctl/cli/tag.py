"""``manifestctl tag``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.cli import publishing
from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.publication import tag_members
from manifestctl.cli.session import Session, error_member, run
from manifestctl.errors import InterruptedRun, ManifestctlError, PartialError, UnreachableError
from manifestctl.model.published import Published
from manifestctl.text import escape, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.verbs.tag import Retagged, TagRequest


@with_common
def tag(  # noqa: PLR0917 - one parameter for an option
    ctx: typer.Context,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", show_default=False, help="An image or a list that is there.")
    ],
    new: Annotated[
        list[str] | None, typer.Argument(metavar="[NEWTAG...]", show_default=False, help="Its new tags.")
    ] = None,
    each: Annotated[
        str | None,
        typer.Option(
            "--each",
            metavar="TEMPLATE",
            help="Tag the images of a list too; {tag}, {os}, {arch}, {variant}, {platform}.",
        ),
    ] = None,
    no_overwrite: publishing.NoOverwrite = False,
    expect: publishing.Expect = None,
    *,
    common: Common,
) -> None:
    """Give more tags to what is there; no content moves."""
    del ctx
    guarded = {"no_overwrite": no_overwrite, "expect": expect}
    run("tag", common, lambda session: _tag(session, target, new or (), each, guarded))


def _tag(session: Session, text: str, new: Sequence[str], each: str | None, guarded: dict[str, Any]) -> None:
    from manifestctl.verbs.tag import tag as move

    request = _request(session, text, new, each, guarded)
    with session.open_stores() as stores:
        stores.reach(request.target, 1 + len(request.tags))
        done = move(request, stores, session.runtime)
    _show(session, done)
    session.leave(done.exit_code, done.error)


def _request(session: Session, text: str, new: Sequence[str], each: str | None, guarded: dict[str, Any]) -> TagRequest:
    from manifestctl.model.location import check_target, parse_location
    from manifestctl.verbs.tag import TagRequest

    target = check_target(parse_location(text))
    session.say_what_is_meant(target)
    return TagRequest(target, tuple(new), each, publishing.guard(**guarded), session.common.concurrency)


def _show(session: Session, done: Retagged) -> None:
    target, content = done.request.target, done.content
    reference = str(target.with_digest(content.digest)) if content is not None else None
    if session.output is Output.json:
        session.emit_json(
            session.document(
                (),
                done.exit_code,
                target=str(target),
                reference=reference,
                digest=str(content.digest) if content is not None else None,
                tags=tag_members(done.tags),
                error=error_member(done.error),
            )
        )
    elif not done.exit_code and content is not None:
        session.emit(str(content.digest) if session.output is Output.digest else str(reference))
    moved = [state for state in done.tags if state.moved]
    for state in moved:
        before = f"moved from {state.old}" if state.old else "created"
        session.log.note(f"{escape(f'{target.store}:{state.tag}', 300)} {before}, read back")
    if not done.exit_code:
        right = len(done.tags) - len(moved)
        session.log.note(f"{plural(len(moved), 'tag')} moved, {plural(right, 'tag')} right already")
    if done.error is not None:
        _show_failure(session, done, len(moved))


def _show_failure(session: Session, done: Retagged, moved: int) -> None:
    if done.error is not None and not isinstance(done.error, InterruptedRun):
        session.log.failure(done.error)
    unknown = [state.tag for state in done.tags if state.moved is Published.UNKNOWN]
    if unknown:
        named = escape(", ".join(unknown), 1000)
        said = f"it is not known whether {named} moved; look at it, running this again is safe"
    elif moved:
        rest = "running this again moves the others" if _passes(done.error) else "the others did not"
        said = f"{plural(moved, 'tag')} of {len(done.tags)} moved; {rest}"
    else:
        said = "no tag was moved"
    session.log.error(said)


def _passes(error: ManifestctlError | None) -> bool:
    """Tell whether what ended a run may be over when it is run again: a quota or a rule will not be."""
    reason = error.__cause__ if isinstance(error, PartialError) else error
    return isinstance(reason, InterruptedRun) or (isinstance(reason, UnreachableError) and reason.transient)
