"""The Typer application. Only the command that was asked for is imported."""

from __future__ import annotations

import importlib
import os
import re
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from manifestctl import __version__
from manifestctl.cli.options import Output  # noqa: TC001 - Typer evaluates the annotations
from manifestctl.errors import InputError
from manifestctl.text import escape, outside

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME = "manifestctl"
COMPLETE = "_MANIFESTCTL_COMPLETE"
"""The variable in which completion scripts say what they want."""

# Command → the function in the module of that name in `manifestctl.cli`, and its line in the list of commands.
COMMANDS = {
    "create": "Publish a list of images.",
    "check": "Check images as create would.",
    "push": "Push an image from an engine, an archive or a layout.",
    "copy": "Copy an image or a list.",
    "tag": "Add tags to an image or a list.",
    "images": "List images that could be pushed.",
    "inspect": "Show what a list or an image holds.",
    "tags": "List tags with their digests.",
    "repo": "Make and describe ECR repositories.",
    "doctor": "Find what would stop a push.",
    "validate": "Validate documents offline.",
    "login": "Log in to a registry, for other programs too.",
    "logout": "Remove what is stored for a registry.",
    "schema": "Print a JSON Schema.",
    "completion": "Print a shell completion script.",
}
_HELP = ("-h", "--help")
_EPILOG = (
    "Options that all commands share can also be given as variables: MANIFESTCTL_OUTPUT for --output, and so on. "
    "Exit codes: 0 done, 1 a check failed, 2 bad usage, 3 not found, 4 denied, 5 unreachable, 6 integrity, 7 conflict, "
    "10 published, but not everything that was asked for."
)


def invoke(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit status; most commands end by `SystemExit`."""
    completing = COMPLETE in os.environ
    if completing:
        from typer._completion_classes import completion_init

        completion_init()
    command = typer.main.get_command(_app(list(COMMANDS) if completing else _named(arguments)))
    try:
        status = command.main(list(arguments), prog_name=NAME, complete_var=COMPLETE, standalone_mode=False)
    except TyperException as error:
        _end(error, arguments)
        return getattr(error, "exit_code", 2)
    return status if isinstance(status, int) else 0


def _named(arguments: Sequence[str]) -> list[str]:
    """Return the command that the arguments name; all of them if they name none, but for the version."""
    left = iter(arguments)
    for argument in left:
        if argument == "--version":
            return []
        if argument in _HELP:
            break
        if argument == "--output":
            next(left, None)
        elif not argument.startswith("-"):
            return [argument] if argument in COMMANDS else list(COMMANDS)
    return list(COMMANDS)


def _app(commands: Sequence[str]) -> typer.Typer:
    app = typer.Typer(
        name=NAME,
        epilog=_EPILOG,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        no_args_is_help=True,
        context_settings={"help_option_names": list(_HELP), "max_content_width": 100},
    )
    app.callback()(_root)
    for name in commands:
        command = getattr(importlib.import_module(f"manifestctl.cli.{name}"), name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, short_help=COMMANDS[name])
        else:
            app.command(name, short_help=COMMANDS[name])(command)
    return app


def _end(error: TyperException, arguments: Sequence[str]) -> None:
    """Say in one line what is wrong with the arguments, and in another how it should be."""
    text = error.format_message()
    if not arguments:
        typer.echo(text, err=True)
        return
    context: typer.Context | None = getattr(error, "ctx", None)
    text = " ".join(text.split()).replace("valid int range", "whole number")
    message, suggestion = _without_suggestion(text)
    message = message[:1].lower() + message[1:].rstrip(".") + _origin(error, context)
    named = context.command_path if context is not None else " ".join((NAME, *_only(_named(arguments))))
    usage = f"Usage: {' '.join(context.get_usage().split()).removeprefix('Usage: ')}; " if context is not None else ""
    refused = InputError(outside(message), hint=escape(f"{suggestion}{usage}see '{named} -h'."))
    command = "-".join(named.split()[1:])
    from manifestctl.cli.unparsed import end_unparsed, tells

    if tells(command):
        end_unparsed(command, refused, arguments)
    typer.echo(f"error: {refused.message}\n  hint: {refused.hint}", err=True)


def _only(names: list[str]) -> list[str]:
    return names if len(names) == 1 else []


def _without_suggestion(text: str) -> tuple[str, str]:
    """Part a message of Typer's from the suggestion at its end, if there is one."""
    match = re.search(r" (?:Did you mean (?P<one>.*)\?|\(Possible options: (?P<several>.*)\))$", text)
    if match is None:
        return text, ""
    return text[: match.start()], f"Did you mean {match['one'] or match['several']}? "


def _origin(error: TyperException, context: typer.Context | None) -> str:
    """Say where a bad value came from if it does not stand on the command line."""
    parameter: Any = getattr(error, "param", None)
    if context is None or parameter is None:
        return ""
    source = context.get_parameter_source(parameter.name)
    return f" (from the variable {parameter.envvar})" if source is not None and source.name == "ENVIRONMENT" else ""


def _version(value: bool) -> None:
    if value:
        typer.echo(f"{NAME} {__version__}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    output: Annotated[Output | None, typer.Option("--output", help="Same as after the command.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Same as after the command.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Same as after the command.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Publish multi-architecture container images safely."""
    del version
    ctx.obj = {"output": output, "verbose": verbose, "quiet": quiet}
