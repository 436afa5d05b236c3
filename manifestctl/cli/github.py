"""What GitHub Actions reads: outputs, the step's summary, and commands in the log. Outside text is made harmless."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING, Any

from manifestctl.cli.log import gathered, next_step
from manifestctl.cli.session import json_bytes
from manifestctl.files import reason
from manifestctl.text import escape, markdown, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from manifestctl.errors import ManifestctlError
    from manifestctl.model.finding import Finding

_OUTPUTS = ("reference", "digest", "status", "published")
_MOST_FINDINGS = 50
_LONGEST = 4096


def write_outputs(environ: Mapping[str, str], document: Mapping[str, Any]) -> list[str]:
    """Append the outputs ``reference``, ``digest``, ``status``, ``published`` and ``json``; returns what failed."""
    values = {name: document.get(name) for name in _OUTPUTS}
    texts = {name: _plain(value) for name, value in values.items()}
    # The next step may print it.
    texts["json"] = json_bytes(document, indent=None).decode("ascii").rstrip("\n")
    # With a delimiter that nobody can guess, no value can end early and go on as another output.
    delimiter = f"manifestctl-{secrets.token_hex(16)}"
    lines = [f"{name}<<{delimiter}\n{text}\n{delimiter}\n" for name, text in texts.items()]
    return _append(environ, "GITHUB_OUTPUT", "".join(lines))


def write_summary(environ: Mapping[str, str], document: Mapping[str, Any]) -> list[str]:
    """Append a Markdown table of images and tags to the step's summary; returns what failed."""
    title = (
        f"### manifestctl: {markdown(str(document.get('target') or ''))} {markdown(str(document.get('status') or ''))}"
    )
    lines = [title, "", f"Digest: {markdown(str(document.get('digest') or 'none'))}", ""]
    images = document.get("images") or []
    if images:
        lines += ["| Platform | Image | Digest | Size |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {markdown(image['platform'])} | {markdown(image['reference'])} | {markdown(image['digest'])} "
            f"| {markdown(size(image['size']))} |"
            for image in images
        ]
        lines.append("")
    tags = [*(document.get("tags") or ()), *(document.get("children") or ())]
    if tags:
        lines += ["| Tag | Before | Now |", "| --- | --- | --- |"]
        lines += [
            f"| {markdown(tag['tag'])} | {markdown(tag['old'] or 'nothing')} | {markdown(tag['new'] or 'nothing')} |"
            for tag in tags
        ]
        lines.append("")
    findings = document.get("findings") or []
    lines += [f"- {markdown(f['severity'])}: {markdown(f['message'])}" for f in findings[:_MOST_FINDINGS]]
    if len(findings) > _MOST_FINDINGS:
        lines.append(f"- and {len(findings) - _MOST_FINDINGS} more")
    if document.get("error"):
        lines.append(f"- error: {markdown(document['error']['message'])}")
    return _append(environ, "GITHUB_STEP_SUMMARY", "\n".join(lines) + "\n")


def error_commands(findings: Iterable[Finding], error: ManifestctlError | None, *, warnings: bool = True) -> list[str]:
    """Return ``::error::`` and, if wanted, ``::warning::`` commands for the log, each with its next step."""
    shown = [finding for finding in findings if warnings or finding.is_error]
    # Each stands alone on GitHub's page, so that none leaves its next step to another.
    hints = dict.fromkeys(finding.hint for finding in shown)
    lines = [
        f"::{severity}::{_command_data(message, hint)}"
        for hint in hints
        for severity, message, _ in gathered(finding for finding in shown if finding.hint == hint)
    ]
    if error is not None:
        # Findings may be many, the error is what ended the run.
        lines = [f"::error::{_command_data(error.message, next_step(error))}", *lines]
    return lines[:_MOST_FINDINGS]


def _command_data(text: str, hint: str) -> str:
    return escape(f"{text}. {hint}" if hint else text, _LONGEST).replace("%", "%25")


def _plain(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _append(environ: Mapping[str, str], variable: str, text: str) -> list[str]:
    path = environ.get(variable)
    if not path:
        return []
    try:
        with open(path, "a", encoding="utf-8", errors="backslashreplace", opener=_open) as file:
            file.write(text)
    except OSError as error:
        return [f"{variable} could not be written: {reason(error)}"]
    return []


def _open(path: str, flags: int) -> int:
    # What nobody reads is an error then; without O_NONBLOCK opening it would wait, when all else is done.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if os.name == "posix":
        os.set_blocking(descriptor, True)
    return descriptor
