"""The log: one line an event, harmless whatever is in it, and never in the way."""

from __future__ import annotations

import io
import json
import threading
import tracemalloc
from dataclasses import replace

import pytest

from manifestctl.cli.log import Log, gathered, next_step, wants_colour
from manifestctl.errors import InputError, ManifestctlError, NotFoundError
from manifestctl.events import Exchanged, Noted, Retried, Warned
from manifestctl.model.finding import Finding
from tests.support.actions import HOSTILE_TEXT

EXCHANGE = Exchanged("GET", "http://r/v2/", 200, 0.0123, 0, "content-type: text/plain")
RETRY = Retried("GET manifest of r/a:1", "503", 2, 5, 1.25)
ERROR = Finding("error", "image-missing", "missing", ":a", "it is not there", "Push it.")
WARNING = Finding("warning", "image-duplicate", "wrong", ":a", ":a was given twice")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def log(stream: io.StringIO, **options: bool) -> Log:
    return Log(stream, **(dict.fromkeys(("quiet", "verbose", "as_json", "colour"), False) | options))


def lines(**options: bool) -> list[str]:
    """Return what is written of one event of each kind."""
    stream = io.StringIO()
    writer = log(stream, **options)
    for event in (EXCHANGE, RETRY, Warned("careful"), Warned("careful"), Noted("a step")):
        writer.event(event)
    writer.note("another step")
    writer.findings([ERROR, WARNING])
    writer.failure(InputError("it broke", hint="Mend it."))
    return stream.getvalue().splitlines()


def test_the_log_as_text() -> None:
    assert lines() == [
        "retry: GET manifest of r/a:1: 503; trying again in 1.2 s (try 2 of 5)",
        "warning: careful",
        "a step",
        "another step",
        "error: :a: it is not there [image-missing]",
        "  hint: Push it.",
        "warning: :a was given twice [image-duplicate]",
        "error: it broke",
        "  hint: Mend it.",
    ]


def test_quiet_has_errors_only() -> None:
    assert [line for line in lines(quiet=True) if not line.startswith(("error: ", "  hint: "))] == []
    assert len(lines(quiet=True)) == 4


def test_verbose_adds_the_wire() -> None:
    assert lines(verbose=True)[0] == "http: GET http://r/v2/ → 200 in 12 ms (content-type: text/plain)"
    assert lines(verbose=True)[1:] == lines()


def test_the_log_as_json() -> None:
    written = [json.loads(line) for line in lines(as_json=True, verbose=True)]
    assert written[0] == {
        "level": "http",
        "message": "GET http://r/v2/ → 200 in 12 ms (content-type: text/plain)",
        "status": 200,
        "milliseconds": 12,
    }
    assert [line["level"] for line in written] == [
        "http", "retry", "warning", "note", "note", "error", "hint", "warning", "error", "hint",
    ]  # fmt: skip
    assert written[1]["attempt"] == 2
    assert written[5]["rule"] == "image-missing"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("503", "GET manifest of r/a:1: 503"),
        ("reading r/a:1 failed: the registry said 503", "reading r/a:1 failed: the registry said 503"),
    ],
)
def test_what_is_tried_again_is_named_once(reason: str, said: str) -> None:
    stream = io.StringIO()
    log(stream).event(Retried("GET manifest of r/a:1", reason, 2, 5, 1.25))
    assert stream.getvalue() == f"retry: {said}; trying again in 1.2 s (try 2 of 5)\n"


def finding(where: str, message: str, hint: str = "Push it.", rule: str = "image-missing") -> Finding:
    return Finding("error", rule, "missing", where, message, hint)


def test_findings_that_say_the_same_are_one_line() -> None:
    denied = [finding(where, f"{where}: no token", "Ask.") for where in (":a", ":b", ":a")]
    others = [finding(":1", "no token for user:123", "Ask.", "target-denied"), finding(":c", "r/w:c is gone")]
    assert gathered([*denied, *others]) == [
        ("error", ":a, :b: no token [image-missing]", ""),
        # A name that is a part of another one is not named by it.
        ("error", ":1: no token for user:123 [target-denied]", "Ask."),
        ("error", "r/w:c is gone [image-missing]", "Push it."),
    ]
    assert gathered([]) == []


def test_different_rules_and_many_names() -> None:
    alike = [finding(f":{number}", "no token", rule="image-denied") for number in range(7)]
    assert gathered([*alike, finding(":t", "no token", rule="target-denied")]) == [
        ("error", ":0, :1, :2, :3, :4 and 3 more: no token [image-denied] [target-denied]", "Push it."),
    ]


def test_what_is_named_in_front_stays_there() -> None:
    twice = finding(":a", ":a: it is the same image as :a", rule="image-duplicate")
    assert gathered([twice]) == [("error", ":a: it is the same image as :a [image-duplicate]", "Push it.")]


def test_a_platform_that_is_known_is_named() -> None:
    gone = finding(":arm64", ":arm64: it is not there")
    wrong = replace(gone, message=":arm64: it is linux/arm64", platform="linux/arm64")
    assert [message for _, message, _ in gathered([replace(gone, platform="linux/arm64"), wrong])] == [
        ":arm64 (linux/arm64): it is not there [image-missing]",
        ":arm64: it is linux/arm64 [image-missing]",
    ]


def test_a_next_step_stands_once_behind_those_that_have_it() -> None:
    found = [finding(":a", ":a is gone"), finding(":b", ":b is gone"), finding(":c", "c is bad", ""), ERROR]
    assert [hint for _, _, hint in gathered(found)] == ["", "Push it.", "", "Push it."]


def test_programs_get_each_finding_by_itself() -> None:
    stream = io.StringIO()
    log(stream, as_json=True).findings([finding(":a", ":a: no token"), finding(":b", ":b: no token")])
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == [
        ":a: no token [image-missing]", "Push it.", ":b: no token [image-missing]", "Push it.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (NotFoundError("gone"), "Check the name and its spelling; 'manifestctl tags REPOSITORY' lists the tags"),
        (NotFoundError("gone", repository_unknown=True), "Check the repository's name, and whose credentials"),
        (NotFoundError("gone", hint="Push it."), "Push it."),
        (InputError("wrong", hint="Mend it."), "Mend it."),
        (InputError("wrong"), ""),
    ],
)
def test_the_next_step_of_an_error(error: ManifestctlError, step: str) -> None:
    assert next_step(error).startswith(step)
    assert bool(next_step(error)) == bool(step)
    stream = io.StringIO()
    log(stream).failure(error)
    assert stream.getvalue().endswith(f"  hint: {next_step(error)}\n" if step else "error: wrong\n")


def test_colour() -> None:
    stream = io.StringIO()
    log(stream, colour=True).error("it broke", "Mend it.")
    assert stream.getvalue() == "\x1b[31merror: \x1b[0mit broke\n\x1b[36m  hint: \x1b[0mMend it.\n"


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, True),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1"}, False),
        ({"CI": "true"}, False),
        ({"TERM": "dumb"}, False),
        ({"TERM": "xterm"}, True),
    ],
)
def test_colour_is_for_terminals_that_want_it(environ: dict[str, str], wanted: bool) -> None:
    assert wants_colour(Terminal(), environ) == wanted
    assert not wants_colour(io.StringIO(), environ)


@pytest.mark.parametrize("as_json", [True, False])
def test_outside_text_is_harmless(as_json: bool) -> None:
    stream = io.StringIO()
    writer = log(stream, as_json=as_json)
    writer.event(Warned(HOSTILE_TEXT))
    writer.note(f"::error::{HOSTILE_TEXT}")
    writer.error("Authorization: Bearer abcdefghijklmnop", "https://user:secret@r/v2/?sig=abc")
    text = stream.getvalue()
    assert text.count("\n") == 4
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
    for forbidden in ("\x1b", "\x07", "\r", "\u202e", "##[", "abcdefghijklmnop", "secret@", "sig="):
        assert forbidden not in text


def test_commands_to_a_runner_have_no_place_in_json() -> None:
    text, structured = io.StringIO(), io.StringIO()
    log(text).command("::error::x")
    log(structured, as_json=True).command("::error::x")
    assert (text.getvalue(), structured.getvalue()) == ("::error::x\n", "")


def test_a_closed_stream_is_not_an_error() -> None:
    stream = io.StringIO()
    writer = log(stream)
    stream.close()
    writer.note("nobody reads this")
    writer.note("nor this")


def test_what_nobody_reads_is_not_kept() -> None:
    stream = io.StringIO()
    writer = log(stream)
    stream.close()
    tracemalloc.start()
    try:
        for number in range(300):
            writer.note(f"{number} {'x' * 8000}")
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_lines_of_several_threads_do_not_mix() -> None:
    stream = io.StringIO()
    writer = log(stream)

    def write(name: str) -> None:
        for _ in range(50):
            writer.note(name * 50)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = stream.getvalue().splitlines()
    assert len(written) == 200
    assert set(written) == {name * 50 for name in "abcd"}
