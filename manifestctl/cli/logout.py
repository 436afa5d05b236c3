"""``manifestctl logout``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from manifestctl.cli.login import registry_named
from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, error_member, run
from manifestctl.text import plural

if TYPE_CHECKING:
    from manifestctl.verbs.logout import LoggedOut


@with_common
def logout(
    ctx: typer.Context,
    registry: Annotated[
        str | None,
        typer.Argument(metavar="[REGISTRY]", show_default=False, help="host or host:port; absent: ECR Public."),
    ] = None,
    *,
    common: Common,
) -> None:
    """Remove what is stored for a registry, and its kept tokens."""
    del ctx
    run("logout", common, lambda session: _logout(session, registry))


def _logout(session: Session, text: str | None) -> None:
    from manifestctl.verbs.logout import logout as log_out

    registry = registry_named(session, text)
    done = session.apart(lambda: log_out(registry, session.runtime, session.common.authfile))
    _show(session, done)
    session.leave(done.error.exit_code if done.error is not None else 0, done.error)


def _show(session: Session, done: LoggedOut) -> None:
    code = done.error.exit_code if done.error is not None else 0
    if session.output is Output.json:
        session.emit_json(
            session.document(
                (),
                code,
                registry=done.registry,
                removed=list(done.places),
                tokens=done.tokens,
                error=error_member(done.error),
            )
        )
    removed = [f"{plural(done.tokens, 'kept token')}"] if done.tokens else []
    removed += [f"what was stored in {place}" for place in done.places]
    if removed:
        session.log.note(f"logged out of {done.registry}: removed {' and '.join(removed)}")
    elif done.error is None:
        asked = f"; {done.helper} is asked for credentials, and has none that it would erase" if done.helper else ""
        session.log.note(f"not logged in to {done.registry}: nothing was stored for it{asked}")
    if done.error is not None:
        session.log.failure(done.error)
