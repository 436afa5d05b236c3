"""``manifestctl tags``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, run
from manifestctl.errors import exit_code
from manifestctl.events import Warned
from manifestctl.text import escape, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.model.location import Location
    from manifestctl.verbs.tags import Tagged

_WIDEST = 64


@with_common
def tags(
    ctx: typer.Context,
    repository: Annotated[
        str, typer.Argument(metavar="REPOSITORY", show_default=False, help="registry/repository or oci:DIR.")
    ],
    *,
    common: Common,
) -> None:
    """List the tags of a repository with their digests."""
    del ctx
    run("tags", common, lambda session: _tags(session, repository))


def _tags(session: Session, text: str) -> None:
    from manifestctl.errors import InputError
    from manifestctl.model.location import parse_location
    from manifestctl.verbs.tags import list_tags

    location = parse_location(text)
    if location.tag is not None or location.digest is not None:
        raise InputError(f"{location}: tags are those of a repository", hint=f"Write {location.store}.")
    policy = session.policy()
    with session.open_stores() as stores:
        tagged = session.apart(lambda: list_tags(location, stores, session.runtime, session.common.concurrency))
    _warn(session, tagged, location)
    findings = policy.apply(item.finding for item in tagged if item.finding is not None)
    code = exit_code(finding.category for finding in findings if finding.is_error)
    if session.output is Output.json:
        members = {"repository": location.store, "tags": [_member(item) for item in tagged], "error": None}
        session.emit_json(session.document(findings, code, **members))
    elif session.output is Output.digest:
        session.emit("\n".join(dict.fromkeys(str(item.descriptor.digest) for item in tagged if item.descriptor)))
    else:
        session.emit("\n".join(_lines(tagged)))
    session.log.findings(findings)
    session.leave(code)


def _warn(session: Session, tagged: Sequence[Tagged], location: Location) -> None:
    """Say that some names are no tags, which have no digest either, but have not gone away."""
    strange = [item.tag for item in tagged if not item.is_tag]
    if strange:
        which = plural(len(strange), "name that is not a tag", "names that are not tags")
        first = escape(strange[0], 80)
        session.log.event(Warned(f"{escape(location.store, 300)} lists {which}, as '{first}'"))


def _member(item: Tagged) -> dict[str, object]:
    descriptor = item.descriptor
    return {
        "tag": item.tag,
        "digest": str(descriptor.digest) if descriptor else None,
        "media_type": descriptor.media_type if descriptor else None,
        "size": descriptor.size if descriptor else None,
    }


def _lines(tagged: Sequence[Tagged]) -> list[str]:
    shown = [escape(item.tag, 128) for item in tagged]
    # One long tag does not push all digests out of sight.
    width = min(max(map(len, shown), default=0), _WIDEST)
    return [f"{tag:<{width}}  {_held(item)}" for tag, item in zip(shown, tagged, strict=True)]


def _held(item: Tagged) -> str:
    if item.descriptor is not None:
        return str(item.descriptor.digest)
    if item.finding is not None:
        return f"unreadable [{item.finding.rule}]"
    return "gone" if item.is_tag else "not a tag"
