"""The command line, run in this process for its words, or in one of its own for what only a process has.

::

    ran = run("create", "oci:layout:1", ":amd64", environ={"NO_COLOR": "1"})
    assert (ran.status, ran.out) == (0, b"…")
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from manifestctl.cli.app import COMMANDS
from manifestctl.cli.main import status
from manifestctl.validation import RESULTS, schema_text
from manifestctl.validation.schemas import BASE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 120.0
"""Seconds after which a process of a test is killed."""

GROUPS = {"repo": ("create", "describe", "catalog")}
"""Commands that have commands of their own."""
COMMAND_LINES = [f"{name} {inner}".strip() for name in COMMANDS for inner in GROUPS.get(name, ("",))]
"""Every command as it is written."""

# What measures coverage in processes of their own is passed on.
_PASSED_ON = ("PATH", "COV", "COVERAGE", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command line ended: its status (negative: the signal that ended it), stdout as bytes, stderr as text."""

    status: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """Stdout as text."""
        return self.out.decode()

    @property
    def document(self) -> Any:
        """Stdout as one JSON result, which its schema allows and describes in full."""
        document = json.loads(self.out)
        check_result(document)
        return document


def check_result(document: Any) -> None:
    """Fail unless a JSON result is as the schema of its command says, with no member that is not described there."""
    command = document["schema"].split("/")[1]
    _judge(command).validate(document)


@cache
def _judge(command: str) -> Draft202012Validator:
    documents = [json.loads(schema_text(name)) for name in RESULTS]
    registry = Registry().with_resources([(item["$id"], Resource.from_contents(item)) for item in documents])
    closed = {"$ref": f"{BASE}{command}-result.json", "unevaluatedProperties": False}
    return Draft202012Validator(closed, registry=registry)


def run(*arguments: str | Path, environ: Mapping[str, str] | None = None, stdin: bytes = b"") -> Ran:
    """Run a command line in this process, with this environment and no other."""
    streams = [_stream(stdin), _stream(), _stream()]
    with _world(streams, environment(environ)):
        code = status([str(argument) for argument in arguments])
    for stream in streams[1:]:
        stream.flush()
    out, err = (_content(stream) for stream in streams[1:])
    return Ran(code, out, err.decode())


def run_process(
    *arguments: str | Path,
    environ: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    python: tuple[str, ...] = (),
    cwd: Path | None = None,
) -> Ran:
    """Run a command line in a process of its own; ``python`` are options of the interpreter."""
    with start(*arguments, environ=environ, python=python, cwd=cwd) as process:
        out, err = process.communicate(stdin, timeout=LIMIT)
        return Ran(process.returncode, out, err.decode())


@contextmanager
def start(
    *arguments: str | Path,
    environ: Mapping[str, str] | None = None,
    python: tuple[str, ...] = (),
    cwd: Path | None = None,
    **streams: Any,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command line in a process of its own, with pipes for what ``streams`` does not say; killed in the end."""
    command = [sys.executable, *python, "-m", "manifestctl", *(str(argument) for argument in arguments)]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE) | streams
    process: subprocess.Popen[bytes] = subprocess.Popen(command, env=environment(environ), cwd=cwd, **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a small environment with nothing of the machine's own configuration in it, and ``more``."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    own = {"HOME": "/nonexistent", "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    return kept | own | dict(more or {})


def _stream(content: bytes = b"") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="backslashreplace", write_through=True)


def _content(stream: io.TextIOWrapper) -> bytes:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue()


@contextmanager
def _world(streams: list[io.TextIOWrapper], environ: Mapping[str, str]) -> Iterator[None]:
    before = (sys.stdin, sys.stdout, sys.stderr), dict(os.environ)
    sys.stdin, sys.stdout, sys.stderr = streams
    os.environ.clear()
    os.environ.update(environ)
    try:
        yield
    finally:
        (sys.stdin, sys.stdout, sys.stderr), outer = before
        os.environ.clear()
        os.environ.update(outer)
