"""``manifestctl completion``."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """A shell that completion scripts can be made for."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> None:
    """Print a completion script; put it where your shell looks for them."""
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="manifestctl", complete_var="_MANIFESTCTL_COMPLETE", shell=shell.value)
    typer.echo(script)
