"""What is on its way: bars on a terminal, by rich; elsewhere one line a blob, and a sign of life every 30 seconds."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import IO, TYPE_CHECKING, Self

from manifestctl.events import BlobMoved, BlobStarted, BytesMoved
from manifestctl.text import size

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


class Lines:
    """Progress for logs: a line for each blob that has arrived, and a heartbeat while large ones are under way."""

    def __init__(self, log: Log, interval: float = HEARTBEAT) -> None:
        """Write to a log; ``interval`` is in seconds."""
        self._log = log
        self._interval = interval
        self._lock = threading.Lock()
        self._moving: dict[str, tuple[int, int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def event(self, event: Event) -> None:
        """Take note of an event about a blob."""
        if isinstance(event, BlobStarted):
            with self._lock:
                self._moving[event.name] = (0, event.size)
        elif isinstance(event, BytesMoved):
            with self._lock:
                done, total = self._moving.get(event.name, (0, 0))
                self._moving[event.name] = (done + event.count, total)
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
        """Say in one line how far the blobs are that are under way, if there are any."""
        with self._lock:
            moving = dict(self._moving)
        if moving:
            # What is sent again is counted again.
            done = sum(min(done, total) for done, total in moving.values())
            total = sum(total for _, total in moving.values())
            self._log.note(f"still sending: {size(done)} of {size(total)} in {', '.join(moving)}")

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
        self._whole: TaskID = self._progress.add_task("all", total=0, how="")
        self._tasks: dict[str, TaskID] = {}
        self._sizes: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._lock = threading.Lock()
        self._above = log.through(_Above(console))

    def event(self, event: Event) -> None:
        """Move the bars."""
        with self._lock:
            if isinstance(event, BlobStarted):
                self._started(event.name, event.size)
            elif isinstance(event, BytesMoved):
                self._moved(event.name, self._done.get(event.name, 0) + event.count)
            elif isinstance(event, BlobMoved):
                self._started(event.name, event.size)
                self._moved(event.name, event.size)
                # Of more blobs than the terminal has rows, those that are there make room for the others.
                fits = len(self._tasks) < self._progress.console.size.height - 1
                self._progress.update(self._tasks[event.name], how=event.how, visible=fits)

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

    def _started(self, name: str, total: int) -> None:
        if name in self._tasks:
            return
        self._tasks[name] = self._progress.add_task(name, total=total, how="")
        self._sizes[name] = total
        self._done[name] = 0
        self._progress.update(self._whole, total=sum(self._sizes.values()))

    def _moved(self, name: str, done: int) -> None:
        if name not in self._tasks:
            return
        # A blob that is sent again is counted again; a bar never shows more than there is.
        self._done[name] = min(done, self._sizes[name])
        self._progress.update(self._tasks[name], completed=self._done[name])
        self._progress.update(self._whole, completed=sum(self._done.values()))


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
