"""Files that the next step of a pipeline reads: ``--digest-file`` and ``--report``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from manifestctl.errors import InputError
from manifestctl.files import discard_result, reason, write_result
from manifestctl.text import escape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from manifestctl.model.digest import Digest


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """The result files of a run. A digest file appears on success only, a report always."""

    digest_file: Path | None = None
    report: Path | None = None

    def discard_old(self) -> None:
        """Remove what an earlier run left; raises `InputError` if that, or writing later, cannot work."""
        named = {"--digest-file": self.digest_file, "--report": self.report}
        if self.digest_file is not None and self.digest_file == self.report and self.digest_file.name != "stdout":
            raise InputError("--digest-file and --report name the same file")
        for option, path in named.items():
            if path is None:
                continue
            if not path.parent.is_dir():
                raise InputError(f"{option} {escape(str(path))}: there is no directory {escape(str(path.parent))}")
            if path.is_dir():
                raise InputError(f"{option} {escape(str(path))}: it is a directory")
            try:
                discard_result(path)
            except OSError as error:
                raise InputError(f"{option} {escape(str(path))}: cannot be replaced: {reason(error)}") from error

    def write_digest(self, digest: Digest) -> list[str]:
        """Write the digest and a newline; returns what failed, in words."""
        return _write(self.digest_file, f"{digest}\n".encode(), "the digest file")

    def write_report(self, document: Mapping[str, Any]) -> list[str]:
        """Write the report; returns what failed, in words."""
        data = json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        return _write(self.report, data, "the report")


def _write(path: Path | None, data: bytes, what: str) -> list[str]:
    if path is None:
        return []
    try:
        write_result(path, data)
    except OSError as error:
        return [f"{what} {escape(str(path))} could not be written: {reason(error)}"]
    return []
