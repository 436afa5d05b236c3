"""The end of a command line that cannot be parsed.

The next steps of a pipeline read result files and documents all the same; what an earlier run left must not mislead
them.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from manifestctl.cli.options import Common, LogFormat, Output
from manifestctl.cli.session import Session
from manifestctl.validation import RESULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from manifestctl.cli.publication import Ending
    from manifestctl.errors import InputError


def tells(command: str) -> bool:
    """Tell whether a command, by its name in documents, has a document."""
    return f"{command}-result" in RESULTS


def end_unparsed(command: str, error: InputError, arguments: Sequence[str]) -> NoReturn:
    """End a command, by its name in documents, as it ends for bad usage; raises `SystemExit`."""
    output, log_format = _common(arguments, "--output"), _common(arguments, "--log-format")
    common = Common(
        output=Output.json if output == Output.json else None,
        log_format=LogFormat.json if log_format == LogFormat.json else LogFormat.text,
    )
    session = Session(command, common)
    telling = getattr(importlib.import_module(f"manifestctl.cli.{command.partition('-')[0]}"), "TELLING", None)
    if telling is None:
        session.fail(error)
    from manifestctl.cli.publication import Ending
    from manifestctl.cli.result_files import ResultFiles

    def refuse(ending: Ending[Any]) -> NoReturn:
        del ending
        raise error

    files = ResultFiles(digest_file=_path(arguments, "--digest-file"), report=_path(arguments, "--report"))
    Ending(session, files, telling, "").act(refuse)


def _path(arguments: Sequence[str], option: str) -> Path | None:
    given = _given(arguments, option)
    return Path(given) if given else None


def _common(arguments: Sequence[str], option: str) -> str:
    """Return the value of an option that all commands have, which a variable can give too."""
    return _given(arguments, option) or os.environ.get("MANIFESTCTL_" + option.strip("-").replace("-", "_").upper(), "")


def _given(arguments: Sequence[str], option: str) -> str:
    """Return the value that an option has on the command line, empty if it is not there."""
    value = ""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        if argument == "--":
            break
        if argument == option:
            value = following
        elif argument.startswith(f"{option}="):
            value = argument.partition("=")[2]
    return value
