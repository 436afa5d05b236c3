"""Files that the next step of a pipeline reads: ``--digest-file`` and ``--report``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifestctl.cli.session import json_bytes
from manifestctl.errors import InputError
from manifestctl.files import discard_result, reason, write_result
from manifestctl.text import escape
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from manifestctl.model.digest import Digest

_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,6})")


@dataclass(slots=True)
class ResultFiles:
    """The result files of a run. A digest file appears on success only, a report always."""

    digest_file: Path | None = None
    report: Path | None = None

    def discard_old(self) -> None:
        """Remove what an earlier run left; raises `InputError` if that, or writing later, cannot work."""
        report, self.report = self.report, None
        _prepare(report, "--report")
        self.report = report
        _prepare(self.digest_file, "--digest-file")
        if self.digest_file is None or report is None or not _is_file(report):
            return
        if os.path.realpath(self.digest_file) == os.path.realpath(report):
            # Not even the report can be written: the digest would be expected there.
            self.report = None
            raise InputError("--digest-file and --report name the same file", hint="Give each a file of its own.")

    def write_digest(self, digest: Digest) -> list[str]:
        """Write the digest and a newline; returns what failed, in words."""
        return _write(self.digest_file, f"{digest}\n".encode(), "the digest file")

    def write_report(self, document: Mapping[str, Any]) -> list[str]:
        """Write the report; returns what failed, in words."""
        return _write(self.report, json_bytes(document), "the report")

    def write_report_again(self, document: Mapping[str, Any]) -> None:
        """Replace a report that the end of the run has overtaken, if it is a file; what went down a pipe is gone."""
        if self.report is not None and _is_file(self.report):
            self.write_report(document)


def _prepare(path: Path | None, option: str) -> None:
    """Remove a file that is there, and find what would keep another from being written."""
    if path is None or _descriptor(path) is not None:
        return
    named = f"{option} {escape(str(path), 300)}"
    try:
        if path.is_dir():
            raise InputError(f"{named}: it is a directory", hint="Name a file in it.")
        if not path.parent.is_dir():
            raise InputError(f"{named}: there is no directory {escape(str(path.parent), 300)}", hint="Make it first.")
        if _is_file(path) and not os.access(Path(os.path.realpath(path)).parent, os.W_OK):
            raise InputError(f"{named}: its directory cannot be written to", hint="Name a file somewhere else.")
        discard_result(path)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "not a path"
        raise InputError(f"{named}: it cannot be used: {why}") from error


def _is_file(path: Path) -> bool:
    """Tell whether the path is, or will be, a regular file."""
    return _descriptor(path) is None and (path.is_file() or not path.exists())


def _descriptor(path: Path) -> int | None:
    """Return the number of the open file that a path stands for.

    ``/dev/stdout`` may lead to a regular file, which must neither be removed nor replaced nor written from its start.
    """
    match = _DESCRIPTOR.fullmatch(str(path))
    return int(match[1]) if match else _STREAMS.get(str(path))


def _write(path: Path | None, data: bytes, what: str) -> list[str]:
    if path is None:
        return []
    try:
        descriptor = _descriptor(path)
        if descriptor is None:
            write_result(path, data)
        else:
            with os.fdopen(os.dup(descriptor), "wb") as file:
                file.write(data)
    except OSError as error:
        return [f"{what} {escape(str(path), 300)} could not be written: {reason(error)}"]
    return []
