"""Results as tables: on the terminal, and as Markdown for the repository.

python -m bench.report bench/results/results.json [--base PEER ...] [--markdown FILE]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import List, Optional, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.figures import figure
from bench.goals import GOALS, MEMORY_GOALS, SIZE_GOALS, Goal
from bench.peers.catalogue import PEERS
from bench.results import Ratio, Results, Sample, ScenarioResult

__all__ = ["DEFAULT_BASES", "method_text", "new_console", "print_scenario", "write_markdown"]

DEFAULT_BASES = ("picows", "c")
# Of a latency: field of a sample, heading.
PERCENTILES = {"p50_us": "p50", "p999_us": "p99.9", "max_us": "max"}


METHOD = (
    "Method: server and client are processes on a core each, connected by the loopback interface;"
    " the side that is not under test is a C program on epoll. A round measures all peers, one"
    " after another. Every ratio is the median of the ratios of single rounds (in brackets the"
    " lowest and the highest); figures are medians of the rounds. CPU time is that of the process"
    " under test. Measurements during which other processes used the cores are repeated."
)


def ratio_text(ratio: Optional[Ratio]) -> str:
    """Return the median and the extremes."""
    if ratio is None:
        return ""
    digits = 1 if ratio.median >= 20 else 2
    if ratio.low == ratio.high:
        return f"{ratio.median:.{digits}f}"
    return f"{ratio.median:.{digits}f} ({ratio.low:.{digits}f} to {ratio.high:.{digits}f})"


def headings(result: ScenarioResult, bases: Sequence[str]) -> List[str]:
    """Return the names of the columns."""
    return [
        "",
        result.scenario.unit,
        "spread",
        "CPU us",
        *(["compression"] if result.scenario.deflate else []),
        *(PERCENTILES.values() if result.scenario.rate else []),
        *(f"x {base}" for base in bases),
    ]


def rows(result: ScenarioResult, bases: Sequence[str]) -> List[List[str]]:
    """Return a row for each peer, the best first."""
    scenario = result.scenario
    peers = sorted(result.rounds, key=result.median, reverse=not scenario.lower_is_better)
    table = []
    for peer in peers:
        cpu = result.median_of(peer, lambda sample: sample.cpu_us)
        compression = result.median_of(peer, compression_of)
        compressed = "" if compression is None else f"{compression:.2f}"
        table.append(
            [
                PEERS[peer].label_as(scenario.subject),
                figure(result.median(peer), scenario.unit),
                f"{result.spread(peer):.0%}",
                "" if cpu is None else f"{cpu:.3g}",
                *([compressed] if scenario.deflate else []),
                *(latencies(result, peer) if scenario.rate else []),
                *(ratio_text(result.ratio(peer, base)) for base in bases),
            ]
        )
    return table


def compression_of(sample: Sample) -> Optional[float]:
    """Return how much smaller the messages became."""
    return sample.compression


def latencies(result: ScenarioResult, peer: str) -> List[str]:
    """Return the percentiles of a peer, in microseconds."""
    found = (result.percentile(peer, name) for name in PERCENTILES)
    return ["" if value is None else figure(value, "us") for value in found]


def goal_texts(result: ScenarioResult) -> List[str]:
    """Return the goals of a scenario, each with what came out."""
    texts = []
    for goal in GOALS:
        ratio = result.ratio(goal.peer, goal.base) if goal.scenario == result.name else None
        if ratio is not None:
            reached = "reached" if is_reached(result, goal, ratio) else "MISSED"
            texts.append(
                f"Goal: {goal.peer} {goal.ratio:.3g} x {goal.base}: {ratio.median:.2f}, {reached}"
            )
    for goal in SIZE_GOALS:
        if goal.scenario == result.name:
            ratio = result.ratio(goal.peer, goal.base, compression_of)
            if ratio is not None:
                reached = "reached" if ratio.median >= goal.ratio else "MISSED"
                texts.append(
                    f"Goal: {goal.peer} compresses {goal.ratio:g} x as much as {goal.base}: "
                    f"{ratio.median:.2f}, {reached}"
                )
    if result.name == "memory-server":
        for peer, most in MEMORY_GOALS.items():
            if peer in result.rounds:
                size = result.median(peer)
                reached = "reached" if size <= most else "MISSED"
                texts.append(f"Goal: {peer} at most {most:,} bytes: {size:,.0f}, {reached}")
    return texts


def is_reached(result: ScenarioResult, goal: Goal, ratio: Ratio) -> bool:
    """Whether a ratio is good enough."""
    if result.scenario.lower_is_better:
        return ratio.median <= goal.ratio
    return ratio.median >= goal.ratio


def remarks(result: ScenarioResult) -> List[str]:
    """Return goals, and remarks about the rounds."""
    texts = goal_texts(result)
    if result.repeated:
        texts.append(f"{result.repeated} disturbed measurements were repeated.")
    if result.disturbed:
        reasons = sorted(
            {
                reason
                for samples in result.rounds.values()
                for one in samples
                for reason in one.reasons
            }
        )
        texts.append(
            f"{result.disturbed} measurements count although they stayed disturbed: "
            f"{', '.join(reasons)}."
        )
    texts += [f"{PEERS[peer].label} failed: {why}" for peer, why in result.failures.items()]
    return texts


def new_console() -> Console:
    """Return a console that is wide enough for the tables also where there is no terminal."""
    console = Console()
    return console if console.is_terminal else Console(width=140)


def print_scenario(console: Console, result: ScenarioResult, bases: Sequence[str]) -> None:
    """Print one scenario's table."""
    bases = [base for base in bases if base in result.rounds]
    table = Table(
        title=result.scenario.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD
    )
    for number, heading in enumerate(headings(result, bases)):
        table.add_column(heading, justify="left" if number == 0 else "right", no_wrap=True)
    ours = PEERS["ours"].label_as(result.scenario.subject)
    for row in rows(result, bases):
        table.add_row(*row, style="bold" if row[0] == ours else "")
    console.print(table)
    for remark in remarks(result):
        console.print(remark, style="green" if remark.endswith(" reached") else "yellow")


def method_text(results: Results) -> str:
    """Return machine, versions and method in a few lines."""
    machine = results.machine
    cores = f"{machine.get('cores')} cores ({machine.get('threads_per_core')} threads each)"
    memory = f"{machine.get('memory_gib')} GiB{', virtual' if machine.get('virtual') else ''}"
    lines = [
        f"Machine: {machine.get('processor')}, {cores}, {memory}, {machine.get('kernel')}.",
        "",
        METHOD,
        "",
    ]
    for library, versions in results.versions.items():
        parts = ", ".join(f"{name} {version}" for name, version in versions.items())
        lines.append(f"- {library}: {parts}")
    for library, reason in results.missing.items():
        lines.append(f"- {library} did not take part: {reason}")
    return "\n".join(lines)


def write_markdown(results: Results, path: Path, bases: Sequence[str]) -> None:
    """Write all tables to a file."""
    parts = ["# Results", "", method_text(results), ""]
    for result in results.in_order():
        chosen = [base for base in bases if base in result.rounds]
        names = headings(result, chosen)
        seconds = result.settings.get("seconds")
        rounds = max(map(len, result.rounds.values()), default=0)
        parts += [
            f"## {result.scenario.title}",
            "",
            f"`{result.name}`, {rounds} rounds of {seconds} s, {result.when}: `{result.command}`",
            "",
            f"| {' | '.join(names)} |",
            f"|{'---|' * len(names)}",
            *(f"| {' | '.join(row)} |" for row in rows(result, chosen)),
            "",
            *(f"- {remark}" for remark in remarks(result)),
            "",
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def main() -> None:
    """Print a file of results."""
    parser = argparse.ArgumentParser(description="Print a file of results as tables.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--base", action="append", help="peer to compare with; may be repeated")
    parser.add_argument("--markdown", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    results = Results.load(arguments.results)
    console = new_console()
    bases = arguments.base or DEFAULT_BASES
    for result in results.in_order():
        print_scenario(console, result, bases)
    console.print(method_text(results), highlight=False)
    if arguments.markdown:
        write_markdown(results, arguments.markdown, bases)


if __name__ == "__main__":
    main()
