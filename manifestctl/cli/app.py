"""The Typer application. Only the command that was asked for is imported."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated

import typer

from manifestctl import __version__
from manifestctl.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Sequence

# Command → the module of `manifestctl.cli` that has it, as a function of the name in the third column.
_COMMANDS = {
    "create": ("create", "create"),
    "check": ("check", "check"),
    "inspect": ("inspect", "inspect"),
    "tags": ("tags", "tags"),
    "validate": ("validate", "validate"),
    "schema": ("schema", "schema"),
    "completion": ("completion", "completion"),
}


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """Return the application with the commands that the arguments may mean; all of them if they name none."""
    app = typer.Typer(
        name="manifestctl",
        help="Publish multi-architecture container images safely.",
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(_root)
    named = [name for name in _COMMANDS if name in arguments]
    for name in named or _COMMANDS:
        module, function = _COMMANDS[name]
        command = getattr(importlib.import_module(f"manifestctl.cli.{module}"), function)
        app.command(name)(command)
    return app


def _version(value: bool) -> None:
    if value:
        typer.echo(f"manifestctl {__version__}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    output: Annotated[Output | None, typer.Option("--output", help="As after the command.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="As after the command.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="As after the command.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Publish multi-architecture container images safely."""
    del version
    ctx.obj = {"output": output, "verbose": verbose, "quiet": quiet}
