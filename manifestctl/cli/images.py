"""``manifestctl images``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, run
from manifestctl.text import escape, size

if TYPE_CHECKING:
    from manifestctl.model.platforms import Platform
    from manifestctl.stores.base import LocalImage


@with_common
def images(
    ctx: typer.Context,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE]",
            show_default=False,
            help="oci:DIR, docker-archive:FILE, oci-archive:FILE; absent: the engine.",
        ),
    ] = None,
    platform: Annotated[
        list[str] | None, typer.Option("--platform", metavar="PLATFORMS", help="Only images for these platforms.")
    ] = None,
    *,
    common: Common,
) -> None:
    """List images of this machine: what could be pushed."""
    del ctx
    run("images", common, lambda session: _images(session, source, platform or []))


def _images(session: Session, source: str | None, platform: list[str]) -> None:
    from manifestctl.cli.push import source_location
    from manifestctl.cli.quantities import platforms
    from manifestctl.verbs.images import local_images

    wanted = platforms(platform, "--platform")
    location = source_location(source) if source is not None else None
    with session.open_stores() as stores:
        found = session.apart(lambda: local_images(location, stores, wanted))
    if session.output is Output.json:
        session.emit_json(session.document((), 0, images=[_member(image) for image in found], error=None))
    elif session.output is Output.digest:
        session.emit("\n".join(dict.fromkeys(str(image.id) for image in found)))
    else:
        session.emit("\n".join(_table(found)))


def _member(image: LocalImage) -> dict[str, object]:
    return {
        "names": list(image.names),
        "id": str(image.id),
        "platforms": [str(platform) for platform in _platforms(image)],
        "size": image.size,
        "created": image.created or None,
    }


def _platforms(image: LocalImage) -> list[Platform]:
    # A config that is an artifact's, and an engine that does not say it, give platforms without a name.
    return [platform for platform in image.platforms if platform.os]


def _table(found: list[LocalImage]) -> list[str]:
    rows = [("NAME", "ID", "PLATFORM", "SIZE", "CREATED")]
    for image in found:
        platforms = ", ".join(platform.shown for platform in _platforms(image)) or "unknown"
        short = image.id.encoded[:12]
        for name in image.names or ("<none>",):
            shown = size(image.size) if image.size is not None else "unknown"
            rows.append((escape(name, 300), short, platforms, shown, escape(image.created, 40)))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
