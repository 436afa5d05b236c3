"""The entry point: signals, and the last word on errors and exit codes."""

from __future__ import annotations

import gc
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from manifestctl.errors import InterruptedRun, ManifestctlError

if TYPE_CHECKING:
    from types import FrameType

_BUG = 70


def main() -> NoReturn:
    """Run the command line and exit. No traceback reaches a user, unless MANIFESTCTL_DEBUG asks for it."""
    # Start-up makes many objects and hardly any garbage; looking for it costs 5 % of the time.
    gc.set_threshold(100_000, 20, 100)
    # A C locale must not make the first "→" an error.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        from manifestctl.cli.app import app_for

        app_for(sys.argv[1:])()
    except SystemExit as leaving:
        _exit(leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None))
    except InterruptedRun as error:
        _die(error.signum)
    except ManifestctlError as error:
        _say(f"error: {error.message}", f"  hint: {error.hint}" if error.hint else "")
        _exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - the last line of defence
        _report_bug(error)
        _exit(_BUG)
    _exit(0)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    del frame
    from manifestctl.cli.session import CANCEL

    # A second signal is not caught any more.
    signal.signal(signum, signal.SIG_DFL)
    CANCEL.set(signum)
    raise InterruptedRun(signum)


def _die(signum: int) -> NoReturn:
    """End by the signal itself, so that shells and CI see both the status and the cause."""
    name = "interrupted" if signum == signal.SIGINT else "terminated"
    _say(f"error: {name}; running it again is safe")
    sys.stdout.flush()
    if os.name != "posix":
        os._exit(128 + signum)
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    os._exit(128 + signum)


def _report_bug(error: Exception) -> None:
    if os.environ.get("MANIFESTCTL_DEBUG"):
        import traceback

        traceback.print_exc()
    import traceback

    from manifestctl import __version__
    from manifestctl.text import outside

    frames = traceback.extract_tb(error.__traceback__)
    place = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "unknown"  # noqa: PTH119 - no pathlib here
    _say(
        f"error: this is a bug in manifestctl {__version__}: {type(error).__name__} at {place}: {outside(str(error), 300)}",
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


def _exit(code: int) -> NoReturn:
    """Leave at once: without waiting for threads that hang on a socket, and without taking the interpreter apart.

    The latter takes a fifth as long as the whole start-up; everything that matters is flushed and closed by now.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # Nobody reads any more; the work is done all the same.
            continue
    os._exit(code)
