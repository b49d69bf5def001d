"""Measures: installs the peers, measures them in rounds, prints tables, writes JSON and charts.

    python -m bench.run [--only NAME ...] [--peers NAME ...] [--rounds N] [--seconds S] ...

``--help`` explains the options, README.md what is measured and how.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Sequence, Tuple

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bench.machine import machine_facts
from bench.measure import Bench, Settings
from bench.peers.catalogue import OURS, PEERS, C, Peer, choose_peers
from bench.peers.install import Installation, Installed, NotAvailable, Ours
from bench.processes import Failed, allow_many_files
from bench.quiet import Observer
from bench.readme import README, RESULTS, updated
from bench.report import DEFAULT_BASES, method_text, new_console, print_scenario, write_markdown
from bench.results import Results, Sample, ScenarioResult
from bench.scenarios import Scenario, choose_scenarios

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
MEMORY_ROUNDS = 3  # enough: these hardly differ
FILES_NEEDED = 6000


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description="Measure the wheels next to other libraries."
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="scenario, with * and ? for any letters; may be repeated (default: all)",
    )
    what.add_argument(
        "--peers",
        action="append",
        default=[],
        metavar="NAME[,NAME...]",
        help="who takes part, or 'all' (default: those that each scenario names)",
    )
    what.add_argument("--list", action="store_true", help="list scenarios and peers, and end")
    how = parser.add_argument_group("how")
    how.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    how.add_argument(
        "--seconds", type=float, default=1.0, help="of each measurement (default: %(default)s)"
    )
    how.add_argument(
        "--warmup", type=float, default=0.3, help="seconds before it (default: %(default)s)"
    )
    how.add_argument(
        "--base",
        action="append",
        default=[],
        metavar="PEER",
        help=f"compare with; may be repeated (default: {', '.join(DEFAULT_BASES)})",
    )
    how.add_argument("--server-core", type=int, default=0, help="default: %(default)s")
    how.add_argument("--client-core", type=int, default=1, help="default: %(default)s")
    how.add_argument(
        "--retries",
        type=int,
        default=3,
        help="of a measurement that other load disturbs (default: %(default)s)",
    )
    how.add_argument(
        "--idle-connections", type=int, help="instead of 5,000 for the memory's scenarios"
    )
    where = parser.add_argument_group("where")
    where.add_argument(
        "--work",
        type=Path,
        default=ROOT / ".venv-bench",
        help="environments, programs and logs (default: .venv-bench in the repository)",
    )
    where.add_argument(
        "--output",
        type=Path,
        default=RESULTS,
        help="scenarios of other runs stay in it; tables (.md) and charts go beside it, and of the"
        " default file some figures into the project's README",
    )
    where.add_argument("--no-charts", action="store_true", help="tables only")
    where.add_argument("--renew", action="store_true", help="install the peers' latest releases")
    where.add_argument(
        "--python",
        type=Path,
        metavar="PATH",
        help="interpreter that has our packages, instead of building wheels",
    )
    where.add_argument(
        "--before",
        type=Path,
        metavar="DIR",
        help="checkout of another state of the project: the peers 'before' and 'before-compiled'",
    )
    where.add_argument(
        "--python-path",
        default="",
        metavar="DIRS",
        help="its PYTHONPATH, for a build in place",
    )
    return parser.parse_args()


def main() -> None:
    """Run the bench."""
    arguments = parse_arguments()
    console = new_console()
    if arguments.list:
        list_everything(console)
        return
    try:
        scenarios = choose_scenarios(arguments.only)
        wanted = wanted_peers(arguments.peers)
        bases = [peer.name for peer in choose_peers(arguments.base or DEFAULT_BASES)]
    except ValueError as error:
        sys.exit(str(error))
    bases.sort(key=(arguments.base or list(DEFAULT_BASES)).index)
    settings = Settings(
        seconds=arguments.seconds,
        warmup=arguments.warmup,
        server_core=arguments.server_core,
        client_core=arguments.client_core,
        retries=arguments.retries,
        idle_connections=arguments.idle_connections,
    )
    check_machine(settings, console)
    needed = {peer for scenario in scenarios for peer in peers_of(scenario, wanted)} | {C}
    results = Results.load(arguments.output) if arguments.output.exists() else Results()
    before = arguments.before.resolve() if arguments.before else None
    ours = Ours(arguments.python, arguments.python_path, before)
    installation = Installation(arguments.work.resolve(), ours, renew=arguments.renew)
    installed = install(installation, needed, results, console)
    results.machine = machine_facts()
    cores = (settings.server_core, settings.client_core)
    observer = Observer(installation.native("calibrate"), cores)
    bench = Bench(installation.work, installed, observer, settings)
    plan = [
        (scenario, [peer for peer in peers_of(scenario, wanted) if bench.can_play(scenario, peer)])
        for scenario in scenarios
    ]
    run_plan(bench, plan, arguments, settings, results, console, bases)
    console.print(method_text(results), highlight=False)
    write_markdown(results, arguments.output.with_suffix(".md"), bases)
    if not arguments.no_charts:
        from bench.chart import draw_charts  # noqa: PLC0415 - takes a second, needed last

        draw_charts(results, arguments.output.parent)
    console.print(f"written: {os.path.relpath(arguments.output)}, tables and charts beside it")
    if arguments.output.resolve() == RESULTS:
        README.write_text(updated(README.read_text("utf-8"), results), "utf-8")
        console.print(f"written: {os.path.relpath(README)}")


def run_plan(
    bench: Bench,
    plan: Sequence[Tuple[Scenario, List[Peer]]],
    arguments: argparse.Namespace,
    settings: Settings,
    results: Results,
    console: Console,
    bases: Sequence[str],
) -> None:
    """Measure everything; results are printed and saved scenario by scenario."""
    total = sum(rounds_of(scenario, arguments.rounds) * len(peers) for scenario, peers in plan)
    with progress_bar(console) as progress:
        task = progress.add_task("", total=total)
        for scenario, peers in plan:
            result = ScenarioResult(
                scenario.name,
                command=public_command(),
                when=time.strftime("%Y-%m-%d", time.gmtime()),
                settings={
                    **{
                        name: value
                        for name, value in asdict(settings).items()
                        if name in {"seconds", "warmup", "server_core", "client_core"}
                    },
                    "rounds": rounds_of(scenario, arguments.rounds),
                },
            )
            for number in range(rounds_of(scenario, arguments.rounds)):
                for peer in peers:
                    progress.update(task, description=f"{scenario.name} #{number + 1}: {peer.name}")
                    # Drawn between measurements only: no thread of ours runs during one.
                    progress.refresh()
                    measure(bench, scenario, peer, result)
                    progress.advance(task)
            results.scenarios[scenario.name] = result
            results.save(arguments.output)
            print_scenario(console, result, bases)


def measure(bench: Bench, scenario: Scenario, peer: Peer, result: ScenarioResult) -> None:
    """Add a sample; a peer that fails is out of the scenario, and the report says so."""
    if peer.name in result.failures:
        return
    try:
        sample: Sample = bench.measure(scenario, peer)
    except Failed as error:
        result.failures[peer.name] = str(error)
        result.rounds.pop(peer.name, None)
        print(f"{scenario.name}: {peer.name}: {error}", file=sys.stderr)
    else:
        result.rounds.setdefault(peer.name, []).append(sample)


def rounds_of(scenario: Scenario, rounds: int) -> int:
    """Return how often a scenario is measured."""
    return min(rounds, MEMORY_ROUNDS) if scenario.judge == "memory" else rounds


def wanted_peers(lists: Sequence[str]) -> List[Peer]:
    """Return the peers asked for by name, or none for each scenario's own."""
    names = [name for words in lists for name in words.split(",") if name]
    return choose_peers(list(PEERS) if "all" in names else names)


def peers_of(scenario: Scenario, wanted: Sequence[Peer]) -> List[Peer]:
    """Return who takes part in a scenario."""
    return list(wanted) or choose_peers(scenario.peers)


def install(
    installation: Installation, peers: Iterable[Peer], results: Results, console: Console
) -> Dict[str, Installed]:
    """Install the libraries of the peers; what cannot be had is left out and noted."""
    installed: Dict[str, Installed] = {}
    libraries = {peer.library.name: peer.library for peer in peers}
    for name in sorted(libraries):
        try:
            installed[name] = installation.install(libraries[name])
        except NotAvailable as error:
            if name in {C.library.name, OURS.library.name}:
                sys.exit(f"{name} cannot be built: {error}")
            results.missing[name] = str(error).splitlines()[0]
            console.print(f"{name} does not take part: {error}", style="yellow", highlight=False)
        else:
            results.versions[name] = installed[name].versions
            results.missing.pop(name, None)
    return installed


def check_machine(settings: Settings, console: Console) -> None:
    """End the program if the method cannot work here; warn if it is weak here."""
    if not sys.platform.startswith("linux"):
        sys.exit("the bench needs Linux: epoll, /proc and pinning to cores")
    available = os.sched_getaffinity(0)
    for core in (settings.server_core, settings.client_core):
        if core not in available:
            sys.exit(f"core {core} is not available; there are {sorted(available)}")
    if settings.server_core == settings.client_core:
        console.print("server and client share a core: ratios only", style="yellow")
    if allow_many_files() < FILES_NEEDED:
        console.print(f"fewer than {FILES_NEEDED} open files are allowed", style="yellow")


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """Show the progress, without a thread of its own."""
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=console,
        auto_refresh=False,
        transient=True,
    ) as progress:
        yield progress


def public_command() -> str:
    """Return the command as others can give it: without this machine's paths."""
    words = iter(sys.argv[1:])
    kept = []
    for word in words:
        if word.split("=")[0] in {"--work", "--output", "--python", "--python-path", "--before"}:
            if "=" not in word:
                next(words, None)
        else:
            kept.append(word)
    return shlex.join(["python", "-m", "bench.run", *kept])


def list_everything(console: Console) -> None:
    """Print the names of scenarios and peers."""
    for scenario in choose_scenarios([]):
        console.print(f"{scenario.name:<28}{scenario.title}", highlight=False)
    console.print()
    for peer in PEERS.values():
        console.print(f"{peer.name:<28}{peer.label}", highlight=False)


if __name__ == "__main__":
    main()
