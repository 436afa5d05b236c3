"""``manifestctl login``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, run
from manifestctl.errors import InputError
from manifestctl.events import Warned
from manifestctl.files import reason

if TYPE_CHECKING:
    from manifestctl.verbs.login import LoggedIn

_LIMIT = 32 * 1024


@with_common
def login(
    ctx: typer.Context,
    registry: Annotated[
        str | None,
        typer.Argument(metavar="[REGISTRY]", show_default=False, help="host or host:port; absent: ECR Public."),
    ] = None,
    username: Annotated[
        str | None,
        typer.Option(
            "--username", metavar="NAME", help="The user; absent, on ECR: AWS credentials.", show_default=False
        ),
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Read the password from the standard input.")
    ] = False,
    *,
    common: Common,
) -> None:
    """Log in to a registry, for docker, podman, skopeo and others."""
    del ctx
    run("login", common, lambda session: _login(session, registry, username, password_stdin=password_stdin))


def _login(session: Session, text: str | None, username: str | None, *, password_stdin: bool) -> None:
    from manifestctl.verbs.login import LoginRequest
    from manifestctl.verbs.login import login as log_in

    registry = registry_named(session, text)
    request = LoginRequest(registry)
    if username is not None or password_stdin:
        request = LoginRequest(registry, username or "", _password(username, given=password_stdin))
    with session.open_stores() as stores:
        done = session.apart(lambda: log_in(request, stores))
    _show(session, done)


def registry_named(session: Session, text: str | None) -> str:
    """Return the registry that is meant; if it was written otherwise, that is said. Raises `InputError`."""
    from manifestctl.aws.hosts import PUBLIC_HOST
    from manifestctl.verbs.login import parse_registry

    if text is None:
        return PUBLIC_HOST
    registry = parse_registry(text)
    if registry != text:
        session.log.note(f"{text} is taken for the registry {registry}")
    return registry


def _password(username: str | None, *, given: bool) -> str:
    """Read the password that belongs to a user. Raises `InputError`."""
    if not username:
        wrong = "--password-stdin needs a user name" if username is None else "the user name is empty"
        raise InputError(wrong, hint="Pass --username NAME.")
    if not given:
        hint = "Pass --password-stdin, and the password on the standard input: arguments can be seen by others."
        raise InputError("--username needs a password", hint=hint)
    if sys.stdin.isatty():
        hint = "Write --password-stdin < FILE, or let the program that knows the password write it to a pipe."
        raise InputError("--password-stdin reads the standard input, which is a terminal", hint=hint)
    try:
        raw = sys.stdin.buffer.read(_LIMIT + 1)
    except OSError as error:
        raise InputError(f"the password cannot be read from the standard input: {reason(error)}") from error
    return _decoded(raw)


def _decoded(raw: bytes) -> str:
    """Return a password, of one line or many; the line break at its end is not a part of it. Raises `InputError`."""
    wrong, password = "", ""
    try:
        password = raw.decode("utf-8")
    except UnicodeDecodeError:
        wrong = "is not UTF-8"
    if password.endswith("\n"):
        password = password[:-1].removesuffix("\r")
    if len(raw) > _LIMIT:
        wrong = f"is longer than {_LIMIT} bytes"
    elif "\0" in password:
        wrong = "has a NUL in it"
    elif not password and not wrong:
        wrong = "is empty"
    # Raised out here, for the context of the error would hold the password.
    if wrong:
        raise InputError(f"the password on the standard input {wrong}", hint="Check the program or file it comes from.")
    return password


def _show(session: Session, done: LoggedIn) -> None:
    what = "password" if done.expires is None else "token"
    if done.plain:
        others = ", which others may read" if done.shared else ""
        plain = f"the {what} is stored as plain text in {done.place}{others}"
        session.log.event(Warned(f"{plain}; a credential helper (credsStore) would encrypt it"))
    if session.output is Output.json:
        session.emit_json(
            session.document(
                (),
                0,
                registry=done.registry,
                username=done.username,
                stored=done.place,
                expires=done.until,
                error=None,
            )
        )
    by = f", with {done.origin}" if done.expires is not None else ""
    valid = f"; the token is valid until {done.until}" if done.until is not None else ""
    session.log.note(f"logged in to {done.registry} as {done.username}{by}{valid}")
    if not done.plain:
        session.log.note(f"the {what} is stored in {done.place}")
