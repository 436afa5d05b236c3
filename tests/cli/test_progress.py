"""Progress: lines in logs, a sign of life while nothing arrives, bars on a terminal."""

from __future__ import annotations

import io
import os
import re
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from manifestctl.cli.log import Log
from manifestctl.cli.options import Common, LogFormat
from manifestctl.cli.progress import Bars, Lines, showing
from manifestctl.cli.session import Session
from manifestctl.events import BlobMoved, BlobStarted, BytesMoved, Noted
from tests.support import images
from tests.support.archives import legacy_save, saved, write_archive
from tests.support.running import LIMIT, start

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.fake_registry import FakeRegistry

ESCAPE = "\x1b["
PLAIN = ({"NO_COLOR": "1"}, {"CI": "true"}, {"TERM": "dumb"})


class Terminal(io.StringIO):
    """A terminal that keeps what is drawn; the event is set as soon as something is."""

    def __init__(self) -> None:
        super().__init__()
        self.written = threading.Event()

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        written = super().write(text)
        self.written.set()
        return written


def log(stream: io.StringIO, *, quiet: bool = False) -> Log:
    return Log(stream, quiet=quiet, verbose=False, as_json=False, colour=False)


def plain(text: str) -> str:
    """Return what is drawn without the sequences that draw it."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_line_for_each_blob_once_it_is_there() -> None:
    stream = io.StringIO()
    with Lines(log(stream)) as lines:
        lines.event(BlobStarted("sha256:aa", 2048))
        lines.event(BytesMoved("sha256:aa", 1024))
        assert stream.getvalue() == ""
        lines.event(BytesMoved("sha256:aa", 1024))
        lines.event(BlobMoved("sha256:aa", 2048, "sent"))
        lines.event(BlobMoved("sha256:bb", 10, "exists"))
        lines.event(Noted("of no blob"))
    assert stream.getvalue() == "sha256:aa sent (2.0 KiB)\nsha256:bb exists (10 B)\n"


def test_how_far_those_are_that_are_under_way() -> None:
    stream = io.StringIO()
    lines = Lines(log(stream))
    lines.say_how_far()
    assert stream.getvalue() == ""
    lines.event(BlobStarted("sha256:aa", 1000))
    lines.event(BlobStarted("sha256:bb", 1000))
    lines.event(BytesMoved("sha256:aa", 300))
    lines.say_how_far()
    assert stream.getvalue() == "still sending: 300 B of 2.0 KiB in sha256:aa, sha256:bb\n"
    lines.event(BlobMoved("sha256:bb", 1000, "exists"))
    # What is sent again is counted again, but nothing has more bytes than it has.
    lines.event(BytesMoved("sha256:aa", 900))
    lines.say_how_far()
    assert stream.getvalue().endswith("\nstill sending: 1000 B of 1000 B in sha256:aa\n")


def test_what_is_done_with_what_is_under_way() -> None:
    stream = io.StringIO()
    lines = Lines(log(stream))
    lines.event(BlobStarted("web:1", 1 << 30, "exporting"))
    lines.event(BytesMoved("web:1", 3 << 20))
    lines.say_how_far()
    assert stream.getvalue() == "still exporting: 3.0 MiB of 1.0 GiB in web:1\n"
    # Nobody knows how much comes out of a pipe.
    lines.event(BlobStarted("docker-archive:/dev/stdin", None, "copying"))
    lines.event(BytesMoved("docker-archive:/dev/stdin", 2048))
    lines.event(BytesMoved("of nothing that was begun", 1))
    lines.event(BlobMoved("web:1", 4 << 20, "exported"))
    lines.say_how_far()
    assert stream.getvalue().splitlines()[1:] == [
        "web:1 exported (4.0 MiB)",
        "still copying: 2.0 KiB in docker-archive:/dev/stdin",
    ]


def test_a_sign_of_life_comes_by_itself() -> None:
    stream = Terminal()
    with Lines(log(stream), interval=0.001) as lines:
        lines.event(BlobStarted("sha256:aa", 1000))
        assert stream.written.wait(LIMIT)
        lines.event(BlobMoved("sha256:aa", 1000, "sent"))
    lines._thread.join(LIMIT)
    assert not lines._thread.is_alive()
    assert stream.getvalue().startswith("still sending: 0 B of 1000 B in sha256:aa\n")


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.usefixtures("_terminal")
def test_a_bar_for_each_blob_and_one_for_all() -> None:
    stream = Terminal()
    with Bars(log(stream), stream) as bars:
        bars.event(BlobStarted("sha256:aa", 2048))
        bars.event(BytesMoved("sha256:aa", 1024))
        bars.event(BytesMoved("sha256:aa", 4096))
        bars.event(BlobMoved("sha256:aa", 2048, "packed"))
        bars.event(BlobMoved("sha256:bb", 1024, "exists"))
        bars.event(BytesMoved("sha256:cc", 7))
        bars.event(Noted("of no blob"))
    last = rows(stream)
    assert last.keys() == {"all", "sha256:aa", "sha256:bb"}
    assert last["sha256:aa"][2:4] == ["2.0/2.0", "KiB"]
    assert last["sha256:aa"][-1] == "packed"
    assert last["sha256:bb"][-1] == "exists"
    assert last["all"][2:4] == ["3.0/3.0", "KiB"]


def rows(stream: Terminal) -> dict[str, list[str]]:
    """Return the words of each bar as it was drawn last, by its name."""
    lines = plain(stream.getvalue()).replace("\r", "\n").split("\n")
    return {words[0]: words for line in lines if (words := line.split())}


@pytest.mark.usefixtures("_terminal")
@pytest.mark.parametrize(("guessed", "shown"), [(2048, "1.0/2.0"), (None, "1.0/?")])
def test_a_bar_for_what_is_brought_here(guessed: int | None, shown: str) -> None:
    stream = Terminal()
    with Bars(log(stream), stream) as bars:
        bars.event(BlobStarted("web:1", guessed, "exporting"))
        bars.event(BytesMoved("web:1", 1024))
        bars._progress.refresh()
        assert [shown in rows(stream)[name] for name in ("all", "web:1")] == [True, True]
        assert rows(stream)["web:1"][-1] == "exporting"
        # What the engine said was about right.
        bars.event(BytesMoved("web:1", 1000))
        bars.event(BlobMoved("web:1", 2024, "exported"))
        bars.event(BlobStarted("sha256:aa", 10))
    last = rows(stream)
    assert last["web:1"][-1] == "exported"
    assert ["2.0/2.0" in last[name] for name in ("all", "web:1")] == [True, True]


@pytest.mark.usefixtures("_terminal")
def test_more_blobs_than_rows_make_room_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "4")
    stream = Terminal()
    with Bars(log(stream), stream) as bars:
        for name in ("sha256:aa", "sha256:bb", "sha256:cc"):
            bars.event(BlobStarted(name, 10))
        bars.event(BlobMoved("sha256:aa", 10, "sent"))
    frame = plain(stream.getvalue()).replace("\r", "\n").split("\n")[-4:]
    assert [line.split()[0] for line in frame if line.strip()] == ["all", "sha256:bb", "sha256:cc"]


@pytest.mark.usefixtures("_terminal")
def test_the_log_goes_above_the_bars_as_it_is() -> None:
    stream = Terminal()
    said = log(stream)
    long = "[bold]a note[/bold] " + "x" * 200
    with Bars(said, stream) as bars:
        bars.event(BlobStarted("sha256:aa", 2048))
        said.note(long)
    said.note("after that")
    text = stream.getvalue()
    assert f"{long}\n" in text
    assert text.endswith("after that\n")
    # The bars are drawn again below it, and the cursor comes back.
    assert "sha256:aa" in text[text.index(long) :]
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


@pytest.mark.usefixtures("_terminal")
def test_bars_end_with_an_error_too() -> None:
    stream = Terminal()
    said = log(stream)
    with pytest.raises(OSError, match="gone"), Bars(said, stream):
        raise OSError("gone")
    said.note("after that")
    assert stream.getvalue().endswith("after that\n")
    assert "\x1b[?25h" in stream.getvalue()


def session(environ: dict[str, str], **common: bool | LogFormat) -> Session:
    return Session("push", Common(**common), environ)  # type: ignore[arg-type]


@pytest.mark.usefixtures("_terminal")
@pytest.mark.parametrize(
    ("common", "environ", "drawn"),
    [
        ({}, {}, True),
        *(({}, environ, False) for environ in PLAIN),
        ({"verbose": True}, {}, False),
        ({"log_format": LogFormat.json}, {}, False),
    ],
)
def test_where_bars_are_drawn(
    monkeypatch: pytest.MonkeyPatch, common: dict[str, bool | LogFormat], environ: dict[str, str], drawn: bool
) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    run = session(environ, **common)
    with showing(run):
        run.log.event(BlobMoved("sha256:aa", 10, "sent"))
    assert (ESCAPE in stream.getvalue()) == drawn
    assert "sha256:aa" in stream.getvalue()


def test_quiet_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    run = session({}, quiet=True)
    with showing(run):
        run.log.event(BlobMoved("sha256:aa", 10, "sent"))
    assert stream.getvalue() == ""


def test_nobody_watches_any_more_afterwards() -> None:
    said = log(io.StringIO())
    seen: list[object] = []
    event = BlobMoved("sha256:aa", 10, "sent")
    with said.watched(seen.append):
        said.event(event)
    said.event(event)
    assert seen == [event]


def on_a_terminal(*arguments: str | Path, environ: dict[str, str]) -> tuple[int, bytes, str]:
    """Run a command line whose stderr is a terminal; returns its status, stdout, and what the terminal got."""
    import pty

    ours, theirs = pty.openpty()
    # The terminal must be read while the command runs, for it holds little.
    got: list[bytes] = []
    reader = threading.Thread(target=_read, args=(ours, got))
    with start(*arguments, environ={"TERM": "xterm", "COLUMNS": "120"} | environ, stderr=theirs) as process:
        os.close(theirs)
        reader.start()
        out, _ = process.communicate(timeout=LIMIT)
        reader.join(LIMIT)
    return process.returncode, out, b"".join(got).decode()


def _read(descriptor: int, got: list[bytes]) -> None:
    with closing(os.fdopen(descriptor, "rb", buffering=0)) as terminal:
        try:
            while data := terminal.read(65536):
                got.append(data)
        except OSError:
            # What Linux says when nobody has the other end any more.
            return


@pytest.mark.skipif(os.name != "posix", reason="terminals as POSIX has them")
def test_a_push_on_a_terminal(registry: FakeRegistry, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "i.tar", legacy_save(saved(images.image("linux/amd64", layers=2), "web:1")))
    target = registry.reference("web", "1")
    status, out, drawn = on_a_terminal("push", archive, target, environ={})
    assert (status, out.decode()) == (0, f"{registry.reference('web')}@{registry.tag('web', '1')}\n")
    assert ESCAPE in drawn
    assert plain(drawn).count("packed") >= 2
    last = plain(drawn).splitlines()[-1]
    assert re.fullmatch(rf"{re.escape(target)} created \(sha256:[0-9a-f]+\), read back", last)
    status, _, drawn = on_a_terminal("push", archive, target, environ={"NO_COLOR": "1"})
    assert status == 0
    assert ESCAPE not in drawn
