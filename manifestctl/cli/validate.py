"""``manifestctl validate``."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestctl.cli.choices import kinds
from manifestctl.cli.options import Common, Output, with_common
from manifestctl.cli.session import Session, error_member, run
from manifestctl.errors import InputError, InterruptedRun, ManifestctlError, exit_code
from manifestctl.files import open_regular, read_regular
from manifestctl.text import escape, plural
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from manifestctl.model.location import Location
    from manifestctl.stores.locate import Stores
    from manifestctl.verbs.validate import Judged

_LIMIT = 64 * 1024 * 1024
_HEAD = 512
_NO_FILE = "Name a file that exists, or a reference with its registry, e.g. registry.example.com/web:1.4."
_SCHEMES = ("oci:", "oci-archive:", "docker-archive:", "docker-daemon:")


@with_common
def validate(
    ctx: typer.Context,
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            show_default=False,
            help="Files, - for stdin, layout directories, archives as oci-archive:FILE or docker-archive:FILE, "
            "or references.",
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="KIND", help="The kind of document; without it, it is recognised.", autocompletion=kinds
        ),
    ] = None,
    *,
    common: Common,
) -> None:
    """Validate documents against their JSON Schemas."""
    del ctx
    run("validate", common, lambda session: _validate(session, files, kind))


@dataclass(frozen=True, slots=True)
class _Unread:
    """Something that could not be read, so that nothing can be said about what is in it."""

    name: str
    error: ManifestctlError


def _validate(session: Session, files: Sequence[str], kind: str | None) -> None:
    from manifestctl.validation import KINDS

    if kind is not None and kind not in KINDS:
        raise InputError(f"'{escape(kind, 60)}' is not a kind of document", hint=f"Kinds are {', '.join(KINDS)}.")
    policy = session.policy()
    judged: list[Judged] = []
    unread: list[_Unread] = []
    with contextlib.ExitStack() as opened:

        def judge(text: str) -> list[Judged]:
            found = _judge(session, opened, text, kind)
            return [replace(item, findings=tuple(policy.apply(item.findings))) for item in found]

        for text in files:
            try:
                judged += session.apart(partial(judge, text))
            except InterruptedRun:
                raise
            except ManifestctlError as error:
                unread.append(_Unread(escape(text, 300), error))
    _show(session, judged, unread)


def _show(session: Session, judged: Sequence[Judged], unread: Sequence[_Unread]) -> None:
    """Print what was found in everything that could be read, and then what could not be."""
    findings = [replace(finding, image=finding.image or item.name) for item in judged for finding in item.findings]
    # What could not be checked outranks what was found.
    code = exit_code(codes=[item.error.exit_code for item in unread])
    code = code or exit_code(finding.category for finding in findings if finding.is_error)
    if session.output is Output.json:
        documents = [
            {"name": item.name, "kind": item.kind, "ok": item.ok, "findings": [f.to_json() for f in item.findings]}
            for item in judged
        ]
        error = error_member(unread[0].error if unread else None)
        session.emit_json(session.document(findings, code, documents=documents, error=error))
    elif session.output is Output.text:
        session.emit("\n".join(line for item in judged for line in _lines(item)))
    if session.output is not Output.text:
        session.log.findings(findings)
    for item in unread:
        session.log.failure(item.error)
    session.leave(code, next((item.error for item in unread), None))


def _lines(item: Judged) -> list[str]:
    errors = sum(finding.is_error for finding in item.findings)
    warnings = len(item.findings) - errors
    counted = [plural(errors, "error")] * bool(errors) + [plural(warnings, "warning")] * bool(warnings)
    verdict = ", ".join(counted) if errors else " with ".join(["valid", *counted])
    lines = [f"{escape(item.name, 300)}: {item.kind}: {verdict}"]
    for finding in item.findings:
        message = escape(finding.message, 8192)
        lines.append(f"  {finding.severity}: {escape(finding.where) or '/'}: {message} [{finding.rule}]")
        if finding.hint:
            lines.append(f"    hint: {escape(finding.hint, 8192)}")
    return lines


def _judge(session: Session, opened: contextlib.ExitStack, text: str, kind: str | None) -> list[Judged]:
    from manifestctl.verbs.validate import judge_bytes

    if text == "-":
        raw = sys.stdin.buffer.read(_LIMIT + 1)
        return [_with_hint(judge_bytes(raw, "stdin", kind), _archive_hint(raw[:_HEAD], "FILE"))]
    location = _location(text, Path(text))
    if location is None:
        return [_judge_file(text, kind)]
    if kind is not None:
        raise InputError(
            f"{escape(text, 300)}: --as is for files, and this is {_called(location)}",
            hint="Leave --as out: what it holds says what it is.",
        )
    stores = session.stores or opened.enter_context(session.open_stores())
    return _judge_location(session, location, stores)


def _judge_file(text: str, kind: str | None) -> Judged:
    from manifestctl.verbs.validate import judge_bytes

    path, hint = Path(text), ""
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            hint = _archive_hint(file.read(_HEAD), text)
    except FileNotFoundError:
        hint = _NO_FILE
    except (OSError, ValueError):
        # What is wrong is said below.
        pass
    try:
        raw = read_regular(path, _LIMIT, "the document")
    except InputError as error:
        error.hint = hint
        raise
    return _with_hint(judge_bytes(raw, escape(text, 300), kind), hint)


def _archive_hint(head: bytes, name: str) -> str:
    """Return the next step for who takes an archive of images for a document; ``""`` if these bytes begin none."""
    from manifestctl.compression import detect
    from manifestctl.stores.tar_header import Header

    if detect(head) == "none" and Header.parse(head) is None:
        return ""
    shown = escape(name, 300)
    return f"To validate an archive, write docker-archive:{shown} or oci-archive:{shown}."


def _with_hint(judged: Judged, hint: str) -> Judged:
    findings = tuple(replace(finding, hint=hint) for finding in judged.findings)
    return replace(judged, findings=findings) if hint else judged


def _judge_location(session: Session, location: Location, stores: Stores) -> list[Judged]:
    from manifestctl.model.location import LayoutLocation
    from manifestctl.verbs.validate import judge_layout, judge_location

    concurrency = session.common.concurrency
    if isinstance(location, LayoutLocation) and location.tag is None and location.digest is None:
        files = _layout_files(Path(location.path))
        return judge_layout(location, stores, files, session.runtime, concurrency=concurrency)
    session.say_what_is_meant(location)
    return judge_location(location, stores, session.runtime, concurrency=concurrency)


def _location(text: str, path: Path) -> Location | None:
    """Tell where images are from a file. A reference must name its registry: any word could be a short one."""
    from manifestctl.model.location import LayoutLocation, parse_location

    if text.startswith(_SCHEMES):
        return parse_location(text)
    if path.is_dir():
        return LayoutLocation(text)
    first, slash, _ = text.partition("/")
    looks = bool(slash) and (first == "localhost" or ":" in first or "." in first.strip("."))
    if path.exists() or not looks or text.startswith((".", "/")):
        return None
    return parse_location(text)


def _called(location: Location) -> str:
    from manifestctl.model.location import ArchiveLocation, EngineLocation, LayoutLocation

    names = {LayoutLocation: "a layout", ArchiveLocation: "an archive", EngineLocation: "an image in an engine"}
    return names.get(type(location), "a reference")


def _layout_files(directory: Path) -> Iterator[tuple[str, bytes, str]]:
    from manifestctl.stores.layout_index import check_inside

    if not (directory / "oci-layout").exists():
        raise InputError(
            f"{escape(str(directory))} is not an OCI layout: it has no file oci-layout",
            hint="Name the files in it one by one, or a directory with oci-layout and index.json.",
        )
    for name, kind in (("oci-layout", "oci-layout"), ("index.json", "oci-index")):
        path = directory / name
        shown = escape(str(path), 300)
        check_inside(path, directory, shown)
        yield shown, read_regular(path, _LIMIT, "the document"), kind
