"""``manifestctl doctor``."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manifestctl.cli.log import wants_colour
from manifestctl.cli.options import Common, Output, with_defaults
from manifestctl.cli.session import Session, run
from manifestctl.text import escape, outside, plural

if TYPE_CHECKING:
    from manifestctl.verbs.doctor import Diagnosis, DoctorRequest
    from manifestctl.verbs.doctor_checks import Check

_MARKS = {"ok": "✔", "failed": "✘", "warning": "!", "skipped": "–"}  # noqa: RUF001 - it is a dash
_PLAIN_MARKS = {"ok": "+", "failed": "x", "warning": "!", "skipped": "-"}
_COLOURS = {"ok": "32", "failed": "31", "warning": "33", "skipped": "2"}
_HOST_ALONE = re.compile(r"(?:[^/:@]*\.[^/:@]*|localhost|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?|[^/:@]+:[0-9]{4,5}")
_STEP = "→ "


# A doctor answers soon.
@with_defaults(retries=2, timeout="10s")
def doctor(
    ctx: typer.Context,
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET]", show_default=False, help="Where you would push to, or a registry; absent: ECR Public."
        ),
    ] = None,
    *,
    common: Common,
) -> None:
    """Find what would stop a push, without writing: network, clock, credentials, permissions, repository."""
    del ctx
    run("doctor", common, lambda session: _doctor(session, target))


def _doctor(session: Session, text: str | None) -> None:
    from manifestctl.verbs.doctor import doctor as look

    request = _request(session, text)
    with session.open_stores() as stores:
        diagnosis = look(request, stores, session.runtime)
    if session.output is Output.json:
        session.emit_json(_document(session, diagnosis))
    elif session.output is Output.text:
        session.emit("\n".join(_lines(session, diagnosis)))
    session.leave(diagnosis.exit_code)


def _request(session: Session, text: str | None) -> DoctorRequest:
    from manifestctl.model.location import check_target, parse_location
    from manifestctl.model.reference import Reference
    from manifestctl.verbs.doctor import DoctorRequest

    if text is None:
        return DoctorRequest()
    # No image of Docker's own is called so; it is a registry whose repository was left out.
    if _HOST_ALONE.fullmatch(text):
        return DoctorRequest(registry=Reference.parse(f"{text}/any").registry)
    target = check_target(parse_location(text))
    if isinstance(target, Reference):
        session.say_what_is_meant(target)
    return DoctorRequest(target)


def _document(session: Session, diagnosis: Diagnosis) -> dict[str, Any]:
    return session.document(
        (),
        diagnosis.exit_code,
        target=str(diagnosis.request),
        checks=[_member(check) for check in diagnosis.checks],
        untried=list(diagnosis.untried),
        error=None,
    )


def _member(check: Check) -> dict[str, Any]:
    member = {
        "name": check.name,
        "state": check.state,
        "seen": outside(check.seen, 8192),
        "next_step": outside(check.next_step, 8192),
        "exit_code": check.exit_code,
    }
    return member | ({"statement": json.loads(check.statement)} if check.statement else {})


def _lines(session: Session, diagnosis: Diagnosis) -> list[str]:
    marks = _MARKS if _can_be_written("".join(_MARKS.values()) + _STEP) else _PLAIN_MARKS
    colour = wants_colour(sys.stdout, session.environ)
    width = max(len(check.name) for check in diagnosis.checks)
    lines: list[str] = []
    for check in diagnosis.checks:
        mark = marks[check.state]
        if colour:
            mark = f"\x1b[{_COLOURS[check.state]}m{mark}\x1b[0m"
        lines.append(f"{mark} {check.name:<{width}}  {outside(check.seen, 8192)}")
        lines += [f"{' ' * (width + 4)}{line}" for line in _steps(check, _STEP if marks is _MARKS else "-> ")]
    return [*lines, _verdict(diagnosis)]


def _steps(check: Check, arrow: str) -> list[str]:
    """Return the next step, and on a line of its own, ready to be copied, the statement that it ends with."""
    step = outside(check.next_step, 8192)
    if check.statement and step.endswith(check.statement):
        return [arrow + step.removesuffix(check.statement).rstrip(), check.statement]
    return [arrow + step] if step else []


def _can_be_written(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeError, LookupError):
        return False
    return True


def _verdict(diagnosis: Diagnosis) -> str:
    failed = sum(check.state == "failed" for check in diagnosis.checks)
    warnings = sum(check.state == "warning" for check in diagnosis.checks)
    found = f"{plural(failed, 'failure')}, {plural(warnings, 'warning')}"
    verdict = "a push would be stopped" if failed else _well(diagnosis)
    return f"{escape(str(diagnosis.request), 300)}: {found}; {verdict}"


def _well(diagnosis: Diagnosis) -> str:
    """Return the verdict where nothing failed. It promises no more than was tried."""
    if diagnosis.request.target is None:
        return "nothing stands in the way so far; name a repository to try it"
    rest = f"; not tried: {', '.join(diagnosis.untried)}" if diagnosis.untried else ""
    if any(check.name == "tag" and check.state == "warning" for check in diagnosis.checks):
        return f"nothing but what the tag holds already can be pushed there{rest}"
    return f"nothing that can be tried without writing stands in the way{rest}"
