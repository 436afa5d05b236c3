"""What the bench says: tables, ratios, budgets and time lines, as text and as JSON values."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.tools import MANIFESTCTL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.measure import Sample


@dataclass(frozen=True, slots=True)
class Cell:
    """One set of conditions, under which all tools are measured side by side.

    ``rtt`` is in milliseconds. Each tool is run ``repeat`` times; with ``insist`` those too that take long.
    """

    rtt: float
    children: int
    bearer: bool
    repeat: int
    insist: bool

    def __str__(self) -> str:
        """Return it as a heading."""
        auth = "bearer auth" if self.bearer else "no auth"
        return f"{self.rtt:g} ms round trip, {self.children} children, {auth}"


@dataclass(slots=True)
class Result:
    """The samples of one cell, by tool, and why a tool has none."""

    cell: Cell
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, tool: str) -> float:
        """Return a tool's median wall time in seconds."""
        return statistics.median(sample.timing.seconds for sample in self.samples[tool])

    def ratio(self, tool: str) -> float | None:
        """Return manifestctl's median as a fraction of a tool's; None if either was not measured."""
        if not self.samples.get(MANIFESTCTL) or not self.samples.get(tool):
            return None
        return self.median(MANIFESTCTL) / self.median(tool)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that manifestctl may take, as a fraction of a peer's time, at a round trip of ``rtt`` milliseconds."""

    rtt: float
    children: int
    peers: tuple[str, ...]
    ratio: float


EVERY_PEER = ("docker manifest", "podman", "buildah", "crane", "regctl", "oras", "buildx", "manifest-tool")
BUDGETS = (
    Budget(20, 2, ("docker manifest", "crane"), 0.9),
    Budget(20, 8, ("crane", "buildx"), 0.45),
    Budget(20, 32, ("crane", "buildx"), 0.2),
    Budget(80, 2, EVERY_PEER, 1.0),
)

COLUMNS = ("tool", "runs", "median", "min", "max", "ratio", "requests", "connections", "tls", "401", "tokens")


def table(result: Result) -> str:
    """Return one cell's table, the fastest tool first."""
    rows: list[tuple[str, ...]] = [COLUMNS]
    for tool in sorted(result.samples, key=result.median):
        samples = result.samples[tool]
        times = [sample.timing.seconds for sample in samples]
        ratio = result.ratio(tool)
        rows.append(
            (
                tool,
                str(len(samples)),
                *(f"{seconds * 1000:.0f} ms" for seconds in (statistics.median(times), min(times), max(times))),
                "-" if ratio is None or tool == MANIFESTCTL else f"{ratio:.2f}",
                _spread(sample.requests for sample in samples),
                _spread(sample.connections for sample in samples),
                _spread(sample.foreign for sample in samples),
                _spread(sample.challenges for sample in samples),
                _spread(sample.tokens for sample in samples),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    lines = [str(result.cell)]
    for tool, *figures in rows:
        padded = (figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True))
        lines.append("  ".join(("", tool.ljust(widths[0]), *padded)))
    lines += [f"  {tool}: failed: {reason}" for tool, reason in result.failures.items()]
    return "\n".join(lines)


def _spread(counts: Iterable[int]) -> str:
    seen = sorted(counts)
    return str(seen[0]) if seen[0] == seen[-1] else f"{seen[0]}-{seen[-1]}"


def verdicts(results: list[Result]) -> list[tuple[bool, str]]:
    """Return, for each budget and peer that was measured, whether it is kept, and a line that says so."""
    lines = []
    for result in results:
        for budget in BUDGETS:
            if (budget.rtt, budget.children) != (result.cell.rtt, result.cell.children):
                continue
            for peer in budget.peers:
                if (ratio := result.ratio(peer)) is not None:
                    kept = ratio <= budget.ratio
                    word = "kept  " if kept else "MISSED"
                    lines.append((kept, f"{word} {ratio:.2f} of {peer}, at most {budget.ratio:g}: {result.cell}"))
    return lines


def as_json(result: Result) -> dict[str, object]:
    """Return one cell as a JSON value; times are in seconds."""
    cell = result.cell
    return {
        "rtt_ms": cell.rtt,
        "children": cell.children,
        "auth": "bearer" if cell.bearer else "none",
        "tools": {
            tool: {
                "seconds": [round(sample.timing.seconds, 4) for sample in samples],
                "median": round(result.median(tool), 4),
                "ratio": result.ratio(tool),
                "requests": [sample.requests for sample in samples],
                "connections": [sample.connections for sample in samples],
                "tls_attempts": [sample.foreign for sample in samples],
                "challenges": [sample.challenges for sample in samples],
                "token_requests": [sample.tokens for sample in samples],
            }
            for tool, samples in result.samples.items()
        },
        "failures": result.failures,
    }


def time_line(title: str, sample: Sample, rtt: float) -> str:
    """Return what one run did and when, in milliseconds since its process started; ``rtt`` is in milliseconds."""
    start = sample.timing.started
    end = (sample.timing.ended - start) * 1000
    rows: list[tuple[float, str]] = []
    for connection in sample.log.connections:
        opened = (connection.opened - start) * 1000
        what = f"connection {connection.number} to {connection.proxy}{', not HTTP' if connection.foreign else ''}"
        rows.append((opened, f"{opened:7.1f}  {'':7}  {what}"))
    for exchange in sample.log.exchanges:
        sent, answered = (exchange.sent - start) * 1000, (exchange.answered - start) * 1000
        until = f"{answered:7.1f}" if exchange.answered else "      -"
        what = f"    on {exchange.connection}: {exchange.method} {_short(exchange.target)} {exchange.status or ''}"
        rows.append((sent, f"{sent:7.1f}  {until}  {what}"))
    lines = [f"{title}: {end:.1f} ms", f"{'from':>7}  {'to':>7}  what"]
    lines += [line for _, line in sorted(rows)]
    if sample.log.exchanges:
        connected = min(at for at, _ in rows)
        asked = (min(exchange.sent for exchange in sample.log.exchanges) - start) * 1000
        answered = (max(exchange.answered for exchange in sample.log.exchanges) - start) * 1000
        trips = f" or {(answered - connected) / rtt:.1f} round trips" if rtt else ""
        lines.append(
            f"first connection at {connected:.1f} ms, first request at {asked:.1f} ms; from the first connection to "
            f"the last answer {answered - connected:.1f} ms{trips}; then {end - answered:.1f} ms to the exit"
        )
    return "\n".join(lines)


def _short(target: str) -> str:
    return re.sub(r"(sha256[:-][0-9a-f]{8})[0-9a-f]+", r"\1…", target)[:110]
