"""What is on its way: bars on a terminal, by rich; elsewhere one line a blob, and a sign of life every 30 seconds."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import IO, TYPE_CHECKING, Self

from manifestctl.events import BlobMoved, BlobStarted, BytesMoved
from manifestctl.text import size
from manifestctl.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from manifestctl.cli.log import Log
    from manifestctl.cli.session import Session
    from manifestctl.events import Event

HEARTBEAT = 30.0
"""Seconds after which a log that says nothing says that work goes on."""


@dataclass(slots=True)
class _Moving:
    """How far something is: ``done`` bytes of ``total``, if anybody knows that."""

    doing: str
    total: int | None
    done: int = 0

    def count(self, more: int) -> None:
        """Count what has gone by; what is sent again is counted again, but nothing has more bytes than it has."""
        self.done += more
        if self.total is not None:
            self.done = min(self.done, self.total)


class Lines:
    """Progress for logs: a line for each blob that has arrived, and a heartbeat while large ones are under way."""

    def __init__(self, log: Log, interval: float = HEARTBEAT) -> None:
        """Write to a log; ``interval`` is in seconds."""
        self._log = log
        self._interval = interval
        self._lock = threading.Lock()
        self._moving: dict[str, _Moving] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def event(self, event: Event) -> None:
        """Take note of an event about a blob."""
        if isinstance(event, BlobStarted):
            with self._lock:
                self._moving[event.name] = _Moving(event.doing, event.size)
        elif isinstance(event, BytesMoved):
            with self._lock:
                if event.name in self._moving:
                    self._moving[event.name].count(event.count)
        elif isinstance(event, BlobMoved):
            with self._lock:
                self._moving.pop(event.name, None)
            self._log.note(f"{event.name} {event.how} ({size(event.size)})")

    def __enter__(self) -> Self:
        """Begin the heartbeat."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the heartbeat."""
        self._ended.set()

    def say_how_far(self) -> None:
        """Say how far the blobs are that are under way, if there are any: a line for each thing that is done."""
        with self._lock:
            lines: dict[str, list[tuple[str, int, int | None]]] = {}
            for name, moving in self._moving.items():
                lines.setdefault(moving.doing, []).append((name, moving.done, moving.total))
        for doing, found in lines.items():
            totals = [total for _, _, total in found if total is not None]
            of = f" of {size(sum(totals))}" if len(totals) == len(found) else ""
            names = ", ".join(name for name, _, _ in found)
            self._log.note(f"still {doing}: {size(sum(done for _, done, _ in found))}{of} in {names}")

    def _beat(self) -> None:
        while not self._ended.wait(self._interval):
            self.say_how_far()


class Bars:
    """Progress for people: a bar for each blob and one for the whole, with bytes, rate and time left.

    What the log says meanwhile goes above the bars.
    """

    def __init__(self, log: Log, stream: IO[str]) -> None:
        """Draw on a terminal, which is the log's too."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        console = Console(file=stream, highlight=False)
        self._progress: Progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[how]}", markup=False),
            console=console,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._whole: TaskID = self._progress.add_task("all", total=None, how="")
        self._tasks: dict[str, TaskID] = {}
        self._moving: dict[str, _Moving] = {}
        self._lock = threading.Lock()
        self._above = log.through(_Above(console))

    def event(self, event: Event) -> None:
        """Move the bars."""
        with self._lock:
            if isinstance(event, BlobStarted):
                self._started(event)
            elif isinstance(event, BytesMoved):
                self._moved(event.name, event.count)
            elif isinstance(event, BlobMoved):
                self._started(BlobStarted(event.name, event.size))
                self._ended(event)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        self._above.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing; what is drawn stays."""
        self._above.__exit__(kind, error, trace)
        self._progress.stop()

    def _started(self, event: BlobStarted) -> None:
        if event.name in self._tasks:
            return
        how = event.doing if event.doing != "sending" else ""
        self._tasks[event.name] = self._progress.add_task(event.name, total=event.size, how=how)
        self._moving[event.name] = _Moving(event.doing, event.size)
        self._draw(event.name)

    def _moved(self, name: str, count: int) -> None:
        if name in self._tasks:
            self._moving[name].count(count)
            self._draw(name)

    def _ended(self, event: BlobMoved) -> None:
        moving = self._moving[event.name]
        # How many bytes go by may have been a guess, or not known at all until now.
        if moving.total is None:
            moving.total = event.size
        moving.done = moving.total
        self._draw(event.name)
        # Of more blobs than the terminal has rows, those that are there make room for the others.
        fits = len(self._tasks) < self._progress.console.size.height - 1
        self._progress.update(self._tasks[event.name], how=event.how, visible=fits)

    def _draw(self, name: str) -> None:
        moving = self._moving.values()
        totals = [one.total for one in moving if one.total is not None]
        # None is passed over, so that a total that was known stays.
        known = sum(totals) if len(totals) == len(moving) else None
        self._progress.update(self._tasks[name], completed=self._moving[name].done, total=self._moving[name].total)
        self._progress.update(self._whole, completed=sum(one.done for one in moving), total=known)


class _Above:
    """A stream whose lines appear above the bars, as they are."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def write(self, text: str, /) -> int:
        self._console.out(text, end="", highlight=False)
        return len(text)

    def flush(self) -> None:
        """Do nothing: the console draws at once."""


@contextlib.contextmanager
def showing(session: Session) -> Iterator[None]:
    """Show the progress of what moves while the block runs: bars on a terminal, lines elsewhere, nothing if quiet."""
    from manifestctl.cli.log import wants_colour
    from manifestctl.cli.options import LogFormat

    if session.common.quiet:
        yield
        return
    # A wire log says more than bars, and would push them down line by line.
    plain = session.common.verbose or session.common.log_format is not LogFormat.text
    bars = not plain and wants_colour(sys.stderr, session.environ)
    shown: Bars | Lines = Bars(session.log, sys.stderr) if bars else Lines(session.log)
    with shown, session.log.watched(shown.event):
        yield
