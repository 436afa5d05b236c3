"""What every command costs before it does anything, with and without a token at hand.

    python bench/startup.py                        every command, the median of 9 runs
    python bench/startup.py --repeat 25 --json FILE
    python bench/startup.py --only create,doctor   rows whose command line has one of these words
    python bench/startup.py --manifestctl /path/to/bin/manifestctl

README.md beside this file explains the rows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

# Run as a script, Python looks for modules in bench/ and not in the tree that it belongs to.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.measure import run  # noqa: E402
from tests.support import images  # noqa: E402
from tests.support.ecr_world import EcrWorld  # noqa: E402
from tests.support.fake_registry import FakeRegistry  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

REPEAT = 9
PLATFORMS = ("amd64", "arm64")
VERSION, TYPER = "--version", 'python -c "import typer"'
STARTUP_BUDGET = 1.5
NOTHING, HERE, NEAR, COLD, WARM = (
    "nothing",
    "a layout",
    "a registry on loopback",
    "ECR, no token kept",
    "ECR, token kept",
)


@dataclass(slots=True)
class Row:
    """One command line under one set of conditions, and what its runs took."""

    ground: str
    name: str
    command: list[str]
    prepare: Callable[[], None] | None = None
    seconds: list[float] = field(default_factory=list)
    aws_calls: int = 0
    requests: int = 0

    @property
    def median(self) -> float:
        """Return the median, in seconds."""
        return statistics.median(self.seconds)


class Scene:
    """What the commands work on: a layout, a registry, AWS; a context manager."""

    def __init__(self, program: str, python: str) -> None:
        """Keep the programs; nothing is made yet."""
        self.program = program
        self.python = python
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Start everything, and put two images everywhere."""
        with contextlib.ExitStack() as stack:
            self.root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manifestctl-bench-")))
            self.near = stack.enter_context(FakeRegistry())
            self.world = stack.enter_context(EcrWorld(self.root / "world"))
            self.world.aws.add_repository("web")
            made = {name: images.image(f"linux/{name}") for name in PLATFORMS}
            images.write_layout(self.root / "layout", made)
            for name in PLATFORMS:
                self.near.put_image("web", name, f"linux/{name}")
                self.world.registry.put_image("acme/web", name, f"linux/{name}")
            (self.root / "index.json").write_bytes(images.index(list(made.values())).manifest)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of it and remove the directory."""
        self._stack.close()

    @property
    def environ(self) -> dict[str, str]:
        """What every command runs with."""
        home = {"PATH": os.environ.get("PATH", ""), "HOME": str(self.world.home)}
        return home | {key: value for key, value in self.world.environ.items() if key not in home}

    def rows(self) -> list[Row]:
        """Return what is measured."""
        layout, near, far = f"oci:{self.root}/layout", f"{self.near.host}/web", f"{self.world.host}/acme/web"
        ca = ["--ca-file", str(self.world.ca_file)]
        fresh = ["--no-token-cache"]
        rows = [
            Row(NOTHING, 'python -c ""', [self.python, "-c", ""]),
            Row(NOTHING, TYPER, [self.python, "-c", "import typer"]),
            Row(NOTHING, 'python -c "import boto3"', [self.python, "-c", "import boto3"]),
            self._row(NOTHING, VERSION),
            self._row(NOTHING, "--help"),
            self._row(NOTHING, "create --help"),
            self._row(NOTHING, "completion bash"),
            self._row(NOTHING, "schema oci-index"),
            self._row(HERE, "validate FILE", "validate", str(self.root / "index.json")),
            self._row(HERE, "images", "images", layout),
            self._row(HERE, "tags", "tags", layout),
            self._row(HERE, "inspect", "inspect", f"{layout}:amd64"),
            self._row(HERE, "create", "create", f"{layout}:1", ":amd64", ":arm64"),
            self._row(NEAR, "tags", "tags", near),
            self._row(NEAR, "inspect", "inspect", f"{near}:amd64"),
            self._row(NEAR, "check", "check", f"{near}:1", ":amd64", ":arm64"),
            self._row(NEAR, "create", "create", f"{near}:1", ":amd64", ":arm64"),
            self._row(NEAR, "tag", "tag", f"{near}:amd64", "again"),
            self._row(NEAR, "push", "push", f"{layout}:amd64", f"{near}:pushed"),
            self._row(NEAR, "copy", "copy", f"{near}:amd64", f"{self.near.host}/other:1"),
        ]
        commands = {
            "create": ["create", f"{far}:1", ":amd64", ":arm64"],
            "tag": ["tag", f"{far}:amd64", "again"],
            "push": ["push", f"{layout}:amd64", f"{far}:pushed"],
        }
        alone = {
            "login": ["login", self.world.host],
            "repo describe": ["repo", "describe", far],
            "doctor": ["doctor", f"{far}:1"],
        }
        rows += [self._row(WARM, name, *words, *ca, prepare=self._forget) for name, words in commands.items()]
        for name, words in (commands | alone).items():
            rows.append(self._row(COLD, name, *words, *ca, *fresh, prepare=self._forget))
        return rows

    def measure(self, row: Row, *, count: bool) -> None:
        """Run a row once; ``count``: keep what it took. Exits if the command failed."""
        if row.prepare is not None:
            row.prepare()
        before = self._counts()
        timing = run([row.command], self.environ, self.root)
        if timing.exit_code:
            sys.exit(f"{row.ground}: {row.name}: exit code {timing.exit_code}: {timing.last_line}")
        after = self._counts()
        if count:
            row.seconds.append(timing.seconds)
            row.aws_calls, row.requests = (now - then for now, then in zip(after, before, strict=True))

    def _counts(self) -> tuple[int, int]:
        served = (self.near, self.world.public, self.world.private)
        return len(self.world.aws.calls), sum(len(server.requests) for server in served)

    def _row(self, ground: str, name: str, *words: str, prepare: Callable[[], None] | None = None) -> Row:
        return Row(ground, name, [self.program, *(words or name.split())], prepare)

    def _forget(self) -> None:
        # A log-in that is stored would be what the next command uses.
        (self.world.home / ".docker" / "config.json").unlink(missing_ok=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifestctl", default="manifestctl", help="the program to measure (default: that on PATH)")
    parser.add_argument("--repeat", type=int, default=REPEAT, help=f"runs of each command (default: {REPEAT})")
    parser.add_argument("--only", default="", help="rows whose name has one of these words, with commas")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--strict", action="store_true", help="exit 1 if the budget is missed")
    return parser.parse_args(arguments)


def show(rows: list[Row]) -> float | None:
    """Print the figures; returns how ``--version`` compares with importing typer, if both were measured."""
    ground = ""
    for row in rows:
        if row.ground != ground:
            ground = row.ground
            print(f"\n{ground}\n  {'median':>9}  {'best':>9}  {'AWS':>4}  {'HTTP':>4}")
        best = min(row.seconds)
        print(f"  {row.median * 1000:6.0f} ms  {best * 1000:6.0f} ms  {row.aws_calls:4}  {row.requests:4}  {row.name}")
    medians = {row.name: row.median for row in rows if row.ground == NOTHING}
    return medians[VERSION] / medians[TYPER] if {VERSION, TYPER} <= medians.keys() else None


def main() -> int:
    """Measure and print."""
    options = parse(sys.argv[1:])
    program = shutil.which(options.manifestctl)
    if program is None:
        sys.exit(f"{options.manifestctl} is not on PATH")
    first = Path(program).read_bytes().partition(b"\n")[0].decode(errors="replace")
    python = first.removeprefix("#!") if first.startswith("#!/") and "python" in first else sys.executable
    words = [word for word in options.only.split(",") if word]
    with Scene(program, python) as scene:
        rows = [row for row in scene.rows() if not words or any(word in row.name for word in words)]
        for turn in range(options.repeat + 1):
            # The first turn fills the caches. Rows take turns, so that what disturbs the machine disturbs all of them.
            for row in rows:
                scene.measure(row, count=turn > 0)
    ratio = show(rows)
    if options.json is not None:
        figures = [
            {"ground": row.ground, "name": row.name, "seconds": row.seconds, "aws": row.aws_calls} for row in rows
        ]
        options.json.write_text(json.dumps(figures, indent=2))
    if ratio is None:
        return 0
    kept = ratio <= STARTUP_BUDGET
    print(f"\n{'kept' if kept else 'MISSED'}: --version takes {ratio:.2f} of importing typer, at most {STARTUP_BUDGET}")
    return int(options.strict and not kept)


if __name__ == "__main__":
    sys.exit(main())
