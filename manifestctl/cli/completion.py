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


# A file of fpath is a function that is run at the first TAB; it must complete then, not only define what does.
_AUTOLOADED = """
if [ "${funcstack[1]}" = "_manifestctl" ]; then
  _manifestctl_completion "$@"
fi"""


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> None:
    """Print a completion script; put it where your shell looks for them."""
    from typer._completion_shared import get_completion_script

    script = get_completion_script(prog_name="manifestctl", complete_var="_MANIFESTCTL_COMPLETE", shell=shell.value)
    if shell is Shell.zsh:
        script += _AUTOLOADED
    typer.echo(script)
