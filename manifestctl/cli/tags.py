"""``manifestctl tags``."""

from __future__ import annotations

from typing import Annotated

import typer

from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, run
from manifestctl.text import escape


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
    with session.open_stores() as stores:
        tagged = session.apart(lambda: list_tags(location, stores, session.runtime, session.common.concurrency))
    rows = [(item.tag, item.descriptor) for item in tagged]
    if session.output is Output.json:
        session.emit_json(
            session.document(
                (),
                0,
                repository=location.store,
                tags=[
                    {
                        "tag": tag,
                        "digest": str(descriptor.digest) if descriptor else None,
                        "media_type": descriptor.media_type if descriptor else None,
                        "size": descriptor.size if descriptor else None,
                    }
                    for tag, descriptor in rows
                ],
                error=None,
            )
        )
    elif session.output is Output.digest:
        session.emit("\n".join(dict.fromkeys(str(descriptor.digest) for _, descriptor in rows if descriptor)))
    else:
        width = max((len(tag) for tag, _ in rows), default=0)
        session.emit("\n".join(f"{escape(tag, 128):<{width}}  {d.digest if d else 'gone'}" for tag, d in rows))
