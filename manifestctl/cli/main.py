"""The entry point: signals, standard streams, and the last word on errors and exit codes."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from typing import IO, TYPE_CHECKING, NoReturn

from manifestctl.errors import InterruptedRun, ManifestctlError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from manifestctl.runtime import Cancel

_BUG = 70
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GRACE, _TICK = 1.5, 0.25


def main() -> NoReturn:
    """Run the command line and exit. No traceback reaches a user, unless MANIFESTCTL_DEBUG asks for it."""
    # Start-up makes many objects and hardly any garbage; looking for it costs 5 % of the time.
    gc.set_threshold(100_000, 20, 100)
    try:
        _listen()
        _mend_streams()
        _exit(status(sys.argv[1:]))
    except InterruptedRun as error:
        _die(error.signum)


def status(arguments: Sequence[str]) -> int:
    """Run one command line in this process and return its exit status. Raises `InterruptedRun` alone."""
    try:
        from manifestctl.cli.app import invoke

        return invoke(arguments)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):
            # Typer makes a failure of a reader that went away while help was printed.
            return 0
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except InterruptedRun:
        raise
    except ManifestctlError as error:
        _say(f"error: {error.message}", f"  hint: {error.hint}" if error.hint else "")
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the last line of defence
        if (cancel := _cancel()) is not None:
            # An interruption in the middle of a lock can come out as something else.
            cancel.check()
        _report_bug(error)
        return _BUG


def _mend_streams() -> None:
    """Make standard streams usable, whatever was made of them before this process began."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream: IO[str] | None = getattr(sys, name)
        if stream is None:
            # It was closed. Were it left so, the next socket would get its number and be written to.
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - open for good
        elif mode == "w" and hasattr(stream, "reconfigure"):
            # A C locale must not make the first "→" an error.
            stream.reconfigure(errors="backslashreplace")


def _listen() -> None:
    """Catch the signals that end a run, and hear them soon."""
    for signum in _SIGNALS:
        signal.signal(signum, _interrupt)
    if hasattr(signal, "setitimer"):
        # A signal that comes just before this thread begins to wait does not wake it; the next tick does.
        signal.signal(signal.SIGALRM, _tick)
        signal.setitimer(signal.ITIMER_REAL, _TICK, _TICK)


def _tick(signum: int, frame: FrameType | None) -> None:
    del signum, frame


def _interrupt(signum: int, frame: FrameType | None) -> None:
    del frame
    # A second signal is not caught any more.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    # Whatever other threads stumble over from now on is of no interest.
    sys.unraisablehook = threading.excepthook = _forget
    if hasattr(signal, "setitimer"):
        # The exception below may be lost in a place where exceptions are ignored, or a report may be for a pipe that
        # nobody reads.
        signal.signal(signal.SIGALRM, lambda *_: _die(signum))
        signal.setitimer(signal.ITIMER_REAL, _GRACE, _TICK)
    if (cancel := _cancel()) is not None:
        cancel.set(signum)
    raise InterruptedRun(signum)


def _cancel() -> Cancel | None:
    """Return what stops the run's threads, if there is a run yet."""
    # Imported by name it could be the very module whose import is interrupted.
    return getattr(sys.modules.get("manifestctl.cli.session"), "CANCEL", None)


def _forget(what: object) -> None:
    del what


def _die(signum: int) -> NoReturn:
    """End by the signal itself, so that shells and CI see both the status and the cause."""
    name = "interrupted" if signum == signal.SIGINT else "terminated"
    _say(f"error: {name}; running it again is safe")
    _flush()
    if os.name == "posix":
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)
    os._exit(128 + signum)


def _report_bug(error: Exception) -> None:
    import traceback

    from manifestctl import __version__
    from manifestctl.text import outside

    if os.environ.get("MANIFESTCTL_DEBUG"):
        _say(traceback.format_exc().rstrip("\n"))
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "unknown"  # noqa: PTH119 - no pathlib here
    what = f"{type(error).__name__} at {place}: {outside(str(error), 300)}"
    _say(
        f"error: this is a bug in manifestctl {__version__}: {what}",
        "  hint: please report it with this line and the command; MANIFESTCTL_DEBUG=1 shows where it happened.",
    )


def _say(*lines: str) -> None:
    try:
        for line in lines:
            if line:
                sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        return


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more; the work is done all the same.
            continue


def _exit(code: int) -> NoReturn:
    """Leave at once: without waiting for threads that hang on a socket, and without taking the interpreter apart.

    The latter takes a fifth as long as the whole start-up; everything that matters is flushed and closed by now.
    """
    _flush()
    if hasattr(signal, "setitimer"):
        # Nothing waits any more. What runs at the exit of a process, a profiler or a coverage tool, may hold a lock
        # that a signal's handler would want again.
        signal.setitimer(signal.ITIMER_REAL, 0)
    os._exit(code)
