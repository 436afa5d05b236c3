"""Measure ``manifestctl push`` side by side with its peers, into a real registry on this machine.

    python bench/push.py                           the whole comparison
    python bench/push.py --docker                  with docker push, for which an engine is started
    python bench/push.py --tools manifestctl,crane --sources layout --repeat 9
    python bench/push.py --memory                  peak memory and scratch space with a layer of 2 GiB

README.md beside this file explains what is compared and the columns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING

# Run as a script, Python looks for modules in bench/ and not in the tree that it belongs to.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from bench.local_image import MIB, make_large  # noqa: E402
from bench.push_ground import PushGround  # noqa: E402
from bench.push_report import TITLES, PushResult, as_json, table, verdict, verdicts  # noqa: E402
from bench.push_tools import SOURCES, all_pushers  # noqa: E402
from bench.scratch import ScratchWatch  # noqa: E402
from bench.tools import MANIFESTCTL  # noqa: E402
from tests.support.real_engine import RealEngine  # noqa: E402

if TYPE_CHECKING:
    from bench.local_image import LocalImage
    from bench.push_tools import Pusher

IMAGE_MIB = 256
REPEAT = 3
# A tool that takes longer than this, in seconds, is run once, unless --repeat says otherwise.
LONG_RUN = 6.0
STARTUP_RUNS = 7
LARGE_MIB = 2048
MEMORY_BUDGET_MIB = 120
SCRATCH_BUDGET_MIB = 64


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    beside = Path(sys.executable).parent / MANIFESTCTL
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--manifestctl", default=str(beside), metavar="PATH", help="console script (default: %(default)s)"
    )
    parser.add_argument("--tools", help="comma-separated names (default: every one that is on PATH)")
    parser.add_argument("--sources", default=",".join(SOURCES), help="default: %(default)s")
    parser.add_argument("--docker", action="store_true", help="docker push too: starts dockerd, needs root")
    parser.add_argument(
        "--mib", type=int, default=IMAGE_MIB, metavar="N", help="size of what is pushed (default: %(default)s)"
    )
    parser.add_argument("--repeat", type=int, metavar="N", help=f"runs of each tool (default: {REPEAT})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the runs there too")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a budget is missed or manifestctl fails")
    parser.add_argument("--memory", action="store_true", help="measure peak memory and scratch space")
    options = parser.parse_args(arguments)
    if unknown := set(options.sources.split(",")) - set(SOURCES):
        parser.error(f"--sources takes {', '.join(SOURCES)}, not {', '.join(sorted(unknown))}")
    if options.repeat is not None and options.repeat < 1:
        parser.error("--repeat takes a number above 0")
    return options


def choose(options: argparse.Namespace, fallback: tuple[str, ...] = ()) -> list[Pusher]:
    """Return the tools to measure, and name those that are absent. Exits if a name is unknown or none is left."""
    tools = all_pushers(options.manifestctl)
    wanted = options.tools.split(",") if options.tools else list(fallback or [tool.name for tool in tools])
    if unknown := set(wanted) - {tool.name for tool in tools}:
        sys.exit(f"unknown tool: {', '.join(sorted(unknown))}; known: {', '.join(tool.name for tool in tools)}")
    chosen = [tool for tool in tools if tool.name in wanted and (options.docker or not tool.needs_engine)]
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


def describe(image: LocalImage) -> str:
    """Say how large an image is."""
    layers = f"{len(image.layers)} layers" if len(image.layers) > 1 else "1 layer"
    return f"{layers}, {image.unpacked / MIB:.0f} MiB unpacked, {image.packed / MIB:.0f} MiB gzip'd"


def warm_up(ground: PushGround, tools: list[Pusher], source: str, result: PushResult) -> list[Pusher]:
    """Run every tool that can push from a kind of source once, so that its files are in memory.

    Returns those that could; ``result`` is told why the others could not.
    """
    small = make_large(ground.root / f"small-{source}", 1)
    working = []
    for tool in tools:
        if source not in tool.commands:
            continue
        try:
            ground.prepare(tool, small)
            ground.push(tool, source, small, times=1)
        except RuntimeError as error:
            result.failures[tool.name] = str(error)
        else:
            working.append(tool)
    return working


def measure(ground: PushGround, tools: list[Pusher], image: LocalImage, source: str, repeat: int | None) -> PushResult:
    """Measure all tools with one kind of source, in turns, each round beginning with another tool."""
    result = PushResult(source)
    working = warm_up(ground, tools, source, result)
    for tool in working:
        ground.prepare(tool, image)
    for turn in range(repeat or REPEAT):
        start = turn % max(1, len(working))
        for tool in working[start:] + working[:start]:
            earlier = result.seconds(tool.name)
            if tool.name in result.failures or (repeat is None and earlier and earlier[0] > LONG_RUN):
                continue
            try:
                runs = ground.push(tool, source, image)
            except RuntimeError as error:
                result.failures[tool.name] = str(error)
                result.runs.pop(tool.name, None)
            else:
                result.runs.setdefault(tool.name, []).append(runs)
    return result


def compare(options: argparse.Namespace) -> int:
    """Measure and print everything; return the exit code."""
    tools = choose(options)
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(RealEngine("dockerd")).address if any(tool.needs_engine for tool in tools) else ""
        ground = stack.enter_context(PushGround(engine))
        say(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
        startup = statistics.median(ground.version(options.manifestctl, STARTUP_RUNS))
        say(f"manifestctl --version: {startup:.2f} s")
        results = []
        for source in options.sources.split(","):
            image = ground.image(source, options.mib)
            results.append(measure(ground, tools, image, source, options.repeat))
            say(f"\n{TITLES[source]}: {describe(image)}\n{table(results[-1])}")
    judged = verdicts(results, startup)
    if judged:
        say("\nbudgets")
        say("\n".join(f"  {line}" for _, line in judged))
    if options.json:
        options.json.write_text(json.dumps([as_json(result) for result in results], indent=1) + "\n")
    failed = any(MANIFESTCTL in result.failures for result in results)
    return int(options.strict and (failed or not all(kept for kept, _ in judged)))


def weigh(options: argparse.Namespace) -> int:
    """Measure peak memory and scratch space with one very large layer; return the exit code."""
    judged = []
    failed = False
    with PushGround() as ground:
        image = make_large(ground.root / "large", LARGE_MIB)
        say(describe(image))
        for tool in choose(options, (MANIFESTCTL,)):
            ground.prepare(tool, image)
            for source in (source for source in options.sources.split(",") if source in tool.commands):
                peak = ground.root / "peak"
                wrapper = (sys.executable, "-I", "-S", str(Path(__file__).with_name("peak_rss.py")), str(peak))
                try:
                    with ScratchWatch() as scratch:
                        [run] = ground.push(tool, source, image, times=1, wrapper=wrapper, watch=scratch.begin)
                except RuntimeError as error:
                    say(f"{tool.name}, {source}: failed: {error}")
                    failed = failed or tool.name == MANIFESTCTL
                    continue
                memory, space = int(peak.read_text()) / 1024, scratch.peak / MIB
                say(
                    f"{tool.name}, {source}: {memory:.0f} MiB of memory and {space:.0f} MiB of scratch space "
                    f"at the peak, {run.timing.seconds:.1f} s"
                )
                if tool.name == MANIFESTCTL:
                    what = f"{source}, a layer of {LARGE_MIB} MiB"
                    figures = f"{memory:.0f} MiB of memory, at most {MEMORY_BUDGET_MIB}"
                    judged.append(verdict(memory <= MEMORY_BUDGET_MIB, figures, what))
                    figures = f"{space:.0f} MiB of scratch space, at most {SCRATCH_BUDGET_MIB}"
                    judged.append(verdict(space <= SCRATCH_BUDGET_MIB, figures, what))
    say("\nbudgets")
    say("\n".join(f"  {line}" for _, line in judged))
    return int(options.strict and (failed or not all(kept for kept, _ in judged)))


def main() -> int:
    """Do what the command line asks for."""
    options = parse(sys.argv[1:])
    return weigh(options) if options.memory else compare(options)


if __name__ == "__main__":
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
