"""What the bench of pushing says: tables and budgets, as text and as JSON values."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.push_tools import ARCHIVE, LAYOUT
from bench.tools import MANIFESTCTL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.push_ground import PushRun

AGAIN_SECONDS = 0.3
"""What a push of nothing new may take beyond the start of the program."""

RATIOS = {ARCHIVE: 0.5, LAYOUT: 1.2}
"""The most that a first push may take, as a fraction of the fastest peer's time."""

TITLES = {
    ARCHIVE: "from a docker-save archive (layers to compress)",
    LAYOUT: "from an OCI layout (layers ready)",
}
COLUMNS = (
    "tool",
    "runs",
    "median",
    "min",
    "max",
    "ratio",
    "cpu",
    "again",
    "requests",
    "sent",
    "requests again",
    "sent again",
)


@dataclass(slots=True)
class PushResult:
    """The runs of one kind of source, by tool: of each the first push and the one after; and why a tool has none."""

    source: str
    runs: dict[str, list[list[PushRun]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def seconds(self, tool: str, turn: int = 0) -> list[float]:
        """Return a tool's wall times."""
        return [run[turn].timing.seconds for run in self.runs.get(tool, ())]

    def median(self, tool: str, turn: int = 0) -> float:
        """Return a tool's median wall time."""
        return statistics.median(self.seconds(tool, turn))

    def ratio(self, tool: str) -> float | None:
        """Return manifestctl's median as a fraction of a tool's; None if either was not measured."""
        if not self.runs.get(MANIFESTCTL) or not self.runs.get(tool):
            return None
        return self.median(MANIFESTCTL) / self.median(tool)


def table(result: PushResult) -> str:
    """Return the table of one kind of source, the fastest tool first."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for tool in sorted(result.runs, key=result.median):
        times, ratio = result.seconds(tool), result.ratio(tool)
        processor = statistics.median(first.processor for first, _ in result.runs[tool])
        rows.append(
            (
                tool,
                str(len(times)),
                *(_seconds(value) for value in (statistics.median(times), min(times), max(times))),
                "-" if ratio is None or tool == MANIFESTCTL else f"{ratio:.2f}",
                _seconds(processor),
                _seconds(result.median(tool, 1)),
                *(_spread(count(run[turn]) for run in result.runs[tool]) for turn in (0, 1) for count in _COUNTS),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = []
    for tool, *figures in rows:
        padded = (figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True))
        lines.append("  ".join(("", tool.ljust(widths[0]), *padded)))
    lines += [f"  {tool}: left out: {reason}" for tool, reason in result.failures.items()]
    return "\n".join(lines)


def verdicts(results: list[PushResult], startup: float) -> list[tuple[bool, str]]:
    """Return, for each budget that can be judged, whether it is kept, and a line; ``startup`` is in seconds."""
    lines = []
    for result in results:
        if not result.runs.get(MANIFESTCTL):
            continue
        peers = [tool for tool in result.runs if tool != MANIFESTCTL]
        if peers:
            fastest = min(peers, key=result.median)
            ratio, most = result.median(MANIFESTCTL) / result.median(fastest), RATIOS[result.source]
            lines.append(verdict(ratio <= most, f"{ratio:.2f} of {fastest}, at most {most:g}", TITLES[result.source]))
        over = result.median(MANIFESTCTL, 1) - startup
        what = f"again, {TITLES[result.source]}"
        lines.append(
            verdict(over <= AGAIN_SECONDS, f"{_seconds(over)} over start-up, at most {AGAIN_SECONDS:g} s", what)
        )
        sent = sum(again.sent for _, again in result.runs[MANIFESTCTL])
        lines.append(verdict(sent == 0, f"{sent} blobs sent, at most 0", what))
    return lines


def verdict(kept: bool, figures: str, what: str) -> tuple[bool, str]:
    """Return whether a budget is kept, and the line that says so."""
    return kept, f"{'kept  ' if kept else 'MISSED'} {figures}: {what}"


def as_json(result: PushResult) -> dict[str, object]:
    """Return one kind of source as a JSON value; times are in seconds."""
    return {
        "source": result.source,
        "tools": {
            tool: {
                turn: [
                    {
                        "seconds": round(run[place].timing.seconds, 4),
                        "processor": round(run[place].processor, 4),
                        "requests": run[place].requests,
                        "sent": run[place].sent,
                    }
                    for run in runs
                ]
                for place, turn in enumerate(("first", "again"))
            }
            for tool, runs in result.runs.items()
        },
        "failures": result.failures,
    }


def _requests(run: PushRun) -> int:
    return run.requests


def _sent(run: PushRun) -> int:
    return run.sent


_COUNTS: tuple[Callable[[PushRun], int], ...] = (_requests, _sent)


def _seconds(value: float) -> str:
    return f"{value:.2f} s"


def _spread(counts: Iterable[int]) -> str:
    seen = sorted(counts)
    return str(seen[0]) if seen[0] == seen[-1] else f"{seen[0]}-{seen[-1]}"
