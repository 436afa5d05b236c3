"""``manifestctl schema``."""

from __future__ import annotations

from typing import Annotated

import typer

from manifestctl.cli.choices import schemas
from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, run
from manifestctl.errors import InputError
from manifestctl.text import escape


@with_common
def schema(
    ctx: typer.Context,
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]", show_default=False, help="The kind of document; none lists them.", autocompletion=schemas
        ),
    ] = None,
    *,
    common: Common,
) -> None:
    """Print the JSON Schema of a kind of document, or list the kinds."""
    del ctx
    run("schema", common, lambda session: _schema(session, kind))


def _schema(session: Session, kind: str | None) -> None:
    from manifestctl.validation import KINDS, RESULTS, schema_text, schema_title

    names = (*KINDS, *RESULTS)
    if kind is not None:
        if kind not in names:
            raise InputError(
                f"'{escape(kind, 60)}' is not a kind of document", hint="'manifestctl schema' lists the kinds."
            )
        session.emit(schema_text(kind).rstrip("\n"))
    elif session.output is Output.json:
        kinds = [{"kind": name, "title": schema_title(name)} for name in names]
        session.emit_json(session.document((), 0, kinds=kinds, error=None))
    else:
        width = max(len(name) for name in names)
        session.emit("\n".join(f"{name:<{width}}  {schema_title(name)}" for name in names))
