"""Measure ``manifestctl create`` side by side with its peers, over a proxy that adds a round-trip time.

    python bench/create.py                         the whole comparison
    python bench/create.py --tools manifestctl,oras --children 2 --rtt 80 --repeat 15
    python bench/create.py --only-path             one run's requests on a time line
    python bench/create.py --memory                peak memory with a list of 1,000 children

README.md beside this file explains the model and the columns.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Run as a script, Python looks for modules in bench/ and not in the tree that it belongs to.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.children import PLATFORMS, push_children, push_many  # noqa: E402
from bench.ground import Ground  # noqa: E402
from bench.report import Cell, Result, as_json, table, time_line, verdicts  # noqa: E402
from bench.tools import MANIFESTCTL, Tool, all_tools  # noqa: E402

if TYPE_CHECKING:
    from bench.children import Child

MANY_CHILDREN = 1000
MEMORY_BUDGET_MIB = 150
REPEAT = 3
# A tool that takes longer than this, in seconds, is not run again under the same conditions, unless --repeat says so.
LONG_RUN = 5.5
# Round trip in milliseconds, children, runs. Short runs vary more, in proportion, and their budgets are closer. The
# other cells are long, with peers that work serially, and no budget speaks of them.
DEFAULT_CELLS = ((20.0, 2, 5), (20.0, 8, 3), (20.0, 32, 2), (80.0, 2, 3))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    beside = Path(sys.executable).parent / MANIFESTCTL
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--manifestctl", default=str(beside), metavar="PATH", help="console script (default: %(default)s)"
    )
    parser.add_argument("--tools", help="comma-separated names (default: every one that is on PATH)")
    parser.add_argument("--children", type=_numbers, metavar="N,…", help="numbers of children, 1 to 32")
    parser.add_argument("--rtt", type=_numbers, metavar="MS,…", help="round-trip times in milliseconds")
    parser.add_argument("--auth", choices=("none", "bearer", "both"), default="both", help="default: both")
    parser.add_argument("--repeat", type=int, metavar="N", help="runs of each tool in each cell")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the samples there too")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a budget is missed or a tool fails")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--only-path", action="store_true", help="print the time line of one run of each tool named")
    mode.add_argument("--memory", action="store_true", help=f"measure peak memory with {MANY_CHILDREN:,} children")
    options = parser.parse_args(arguments)
    if options.children and not all(1 <= number <= len(PLATFORMS) for number in options.children):
        parser.error(f"--children takes numbers from 1 to {len(PLATFORMS)}")
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat takes a number above 0")
    return options


def _numbers(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(",")]
    if min(numbers) < 0:
        raise argparse.ArgumentTypeError("negative")
    return numbers


def cells(options: argparse.Namespace) -> list[Cell]:
    """Return the conditions asked for."""
    wanted = list(DEFAULT_CELLS)
    if options.children or options.rtt:
        rtts, numbers = options.rtt or (20, 80), options.children or (2, 8, 32)
        wanted = [(float(rtt), number, REPEAT) for rtt in rtts for number in numbers]
    auths = {"none": (False,), "bearer": (True,), "both": (False, True)}[options.auth]
    return [
        Cell(rtt, number, bearer, options.repeat or repeat, insist=options.repeat is not None)
        for rtt, number, repeat in wanted
        for bearer in auths
    ]


def choose(options: argparse.Namespace, fallback: tuple[str, ...] = ()) -> list[Tool]:
    """Return the tools to measure, and name those that are absent. Exits if a name is unknown or none is left."""
    tools = all_tools(options.manifestctl)
    wanted = options.tools.split(",") if options.tools else list(fallback or [tool.name for tool in tools])
    if unknown := set(wanted) - {tool.name for tool in tools}:
        sys.exit(f"unknown tool: {', '.join(sorted(unknown))}; known: {', '.join(tool.name for tool in tools)}")
    chosen = [tool for tool in tools if tool.name in wanted]
    absent = [tool for tool in chosen if tool.find() is None]
    if absent:
        say("absent: " + ", ".join(f"{tool.name} ({tool.program})" for tool in absent))
    chosen = [tool for tool in chosen if tool not in absent]
    if not chosen:
        sys.exit("none of the tools is here")
    return chosen


def say(text: str = "") -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def measure_cell(ground: Ground, tools: list[Tool], children: list[Child], cell: Cell) -> Result:
    """Measure all tools under one set of conditions, in turns, each round beginning with another tool."""
    result = Result(cell)
    for turn in range(cell.repeat):
        start = turn % len(tools)
        for tool in tools[start:] + tools[:start]:
            earlier = result.samples.get(tool.name)
            if tool.name in result.failures or (earlier and not cell.insist and earlier[0].timing.seconds > LONG_RUN):
                continue
            try:
                sample = ground.publish(tool, children[: cell.children], rtt=cell.rtt / 1000, bearer=cell.bearer)
            except RuntimeError as error:
                result.failures[tool.name] = str(error)
                result.samples.pop(tool.name, None)
            else:
                result.samples.setdefault(tool.name, []).append(sample)
    return result


def warm_up(ground: Ground, tools: list[Tool], children: list[Child]) -> list[Tool]:
    """Run every tool once without delay, so that its files are in memory; return those that work."""
    working = []
    for tool in tools:
        try:
            for bearer in (False, True):
                ground.publish(tool, children[:2], rtt=0, bearer=bearer)
        except RuntimeError as error:
            say(f"left out: {tool.name}: {error}")
        else:
            working.append(tool)
    return working


def describe_proxy(ground: Ground, rtts: list[float]) -> None:
    """Say how far the delays that the proxy makes are from those that were asked for."""
    for rtt in rtts:
        first, second = (seconds * 1000 for seconds in ground.round_trips(rtt / 1000))
        say(f"proxy at {rtt:g} ms: {first:.1f} ms for the first request of a connection, {second:.1f} ms for the next")


def compare(options: argparse.Namespace) -> int:
    """Measure and print everything; return the exit code."""
    tools = choose(options)
    wanted = cells(options)
    with Ground() as ground:
        children = push_children(ground.client, max(2, *(cell.children for cell in wanted)))
        say(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        describe_proxy(ground, sorted({cell.rtt for cell in wanted}))
        working = warm_up(ground, tools, children)
        results = []
        for cell in wanted if working else []:
            results.append(measure_cell(ground, working, children, cell))
            say(f"\n{table(results[-1])}")
    judged = verdicts(results)
    if judged:
        say("\nbudgets")
        say("\n".join(f"  {line}" for _, line in judged))
    if options.json:
        options.json.write_text(json.dumps([as_json(result) for result in results], indent=1) + "\n")
    failed = len(working) < len(tools) or any(result.failures for result in results)
    return int(options.strict and (failed or not all(kept for kept, _ in judged)))


def show_paths(options: argparse.Namespace) -> int:
    """Print the time line of one run of each tool named, under each set of conditions."""
    tools = choose(options, (MANIFESTCTL,))
    wanted = cells(options) if options.children or options.rtt else [c for c in cells(options) if c.children == 2]
    with Ground() as ground:
        children = push_children(ground.client, max(2, *(cell.children for cell in wanted)))
        working = warm_up(ground, tools, children)
        for cell in wanted:
            for tool in working:
                sample = ground.publish(tool, children[: cell.children], rtt=cell.rtt / 1000, bearer=cell.bearer)
                say(f"\n{time_line(f'{tool.name}, {cell}', sample, cell.rtt)}")
    return int(options.strict and len(working) < len(tools))


def measure_memory(options: argparse.Namespace) -> int:
    """Measure the peak memory of publishing a list of very many children."""
    kept = True
    tools = choose(options, (MANIFESTCTL,))
    with Ground() as ground:
        children = push_many(ground.client, MANY_CHILDREN)
        for tool in tools:
            peak = ground.root / "peak"
            wrapper = (sys.executable, "-I", "-S", str(Path(__file__).with_name("peak_rss.py")), str(peak))
            try:
                sample = ground.publish(tool, children, rtt=0.02, bearer=False, wrapper=wrapper)
            except RuntimeError as error:
                say(f"{tool.name}: failed: {error}")
                kept = False
                continue
            mebibytes = int(peak.read_text()) / 1024
            say(
                f"{tool.name}: {mebibytes:.0f} MiB at the peak, {sample.timing.seconds:.1f} s, "
                f"{sample.requests} requests, {sample.connections} connections, {len(children):,} children"
            )
            if tool.name == MANIFESTCTL:
                kept = kept and mebibytes <= MEMORY_BUDGET_MIB
                say(f"{'kept' if kept else 'MISSED'}: at most {MEMORY_BUDGET_MIB} MiB")
    return int(options.strict and not kept)


def main() -> int:
    """Do what the command line asks for."""
    options = parse(sys.argv[1:])
    if options.only_path:
        return show_paths(options)
    if options.memory:
        return measure_memory(options)
    return compare(options)


if __name__ == "__main__":
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
