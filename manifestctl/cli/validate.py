"""``manifestctl validate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, run
from manifestctl.errors import InputError, exit_code
from manifestctl.text import escape, plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from manifestctl.model.location import Location
    from manifestctl.verbs.validate import Judged

_LIMIT = 64 * 1024 * 1024


@with_common
def validate(
    ctx: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", show_default=False, help="Files, - for stdin, layout directories, or references."
        ),
    ],
    kind: Annotated[
        str | None, typer.Option("--as", metavar="KIND", help="The kind of document; without it, it is recognised.")
    ] = None,
    *,
    common: Common,
) -> None:
    """Validate documents against their JSON Schemas."""
    del ctx
    run("validate", common, lambda session: _validate(session, files, kind))


def _validate(session: Session, files: Sequence[str], kind: str | None) -> None:
    from dataclasses import replace

    policy = session.policy()
    judged = [
        replace(item, findings=tuple(policy.apply(item.findings)))
        for text in files
        for item in _judge(session, text, kind)
    ]
    findings = [replace(finding, image=finding.image or item.name) for item in judged for finding in item.findings]
    code = exit_code(finding.category for finding in findings if finding.is_error)
    if session.output is Output.json:
        documents = [
            {"name": item.name, "kind": item.kind, "ok": item.ok, "findings": [f.to_json() for f in item.findings]}
            for item in judged
        ]
        session.emit_json(session.document(findings, code, documents=documents, error=None))
    elif session.output is Output.text:
        session.emit("\n".join(line for item in judged for line in _lines(item)))
    session.leave(code)


def _lines(item: Judged) -> list[str]:
    errors = sum(finding.is_error for finding in item.findings)
    warnings = len(item.findings) - errors
    counted = [plural(errors, "error")] * bool(errors) + [plural(warnings, "warning")] * bool(warnings)
    verdict = ", ".join(counted) if errors else " with ".join(["valid", *counted])
    lines = [f"{escape(item.name, 300)}: {item.kind}: {verdict}"]
    for finding in item.findings:
        lines.append(f"  {finding.severity}: {escape(finding.where) or '/'}: {finding.message} [{finding.rule}]")
        if finding.hint:
            lines.append(f"    hint: {finding.hint}")
    return lines


def _judge(session: Session, text: str, kind: str | None) -> Iterator[Judged]:
    from manifestctl.files import read_regular
    from manifestctl.model.location import LayoutLocation
    from manifestctl.verbs.validate import judge_bytes, judge_layout, judge_location

    path = Path(text)
    if text == "-":
        yield judge_bytes(sys.stdin.buffer.read(_LIMIT + 1), "stdin", kind)
        return
    location = _location(text, path)
    if location is None:
        yield judge_bytes(read_regular(path, _LIMIT, "the document"), escape(text, 300), kind)
        return
    with session.open_stores() as stores:
        if isinstance(location, LayoutLocation) and location.tag is None and location.digest is None:
            yield from judge_layout(location, stores, _layout_files(Path(location.path)))
        else:
            yield from judge_location(location, stores)


def _location(text: str, path: Path) -> Location | None:
    """Tell a layout or a reference from a file. A reference must name its registry, for any word could be a short one."""
    from manifestctl.model.location import LayoutLocation, parse_location

    if text.startswith("oci:"):
        return parse_location(text)
    if path.is_dir():
        return LayoutLocation(text)
    first, slash, _ = text.partition("/")
    looks = bool(slash) and (first == "localhost" or ":" in first or "." in first.strip("."))
    if path.exists() or not looks or text.startswith((".", "/")):
        return None
    return parse_location(text)


def _layout_files(directory: Path) -> Iterator[tuple[str, bytes, str]]:
    from manifestctl.files import read_regular

    if not (directory / "oci-layout").exists():
        raise InputError(
            f"{escape(str(directory))} is not an OCI layout: it has no file oci-layout",
            hint="Name the files in it one by one, or a directory with oci-layout and index.json.",
        )
    for name, kind in (("oci-layout", "oci-layout"), ("index.json", "oci-index")):
        path = directory / name
        yield escape(str(path), 300), read_regular(path, _LIMIT, "the document"), kind
