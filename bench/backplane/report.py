"""Results with engines as tables: on the terminal, and as Markdown for the repository.

python -m bench.backplane.report [bench/results/backplane.json]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import List

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.backplane.cases import GOALS
from bench.backplane.gateways import GATEWAYS
from bench.backplane.results import CaseResult, EngineResults
from bench.figures import figure
from bench.report import new_console, ratio_text

__all__ = ["method_text", "print_case", "print_topics", "write_markdown"]

METHOD = (
    "Method: engine, publisher and subscribers share a core, the gateway has one of its own; all"
    " are processes, connected by the loopback interface. The subscribers are a C program on epoll,"
    " which checks that no message is missing. A round measures all gateways, one after another."
    " Every ratio is the median of the ratios of single rounds (in brackets the lowest and the"
    " highest); figures are medians of the rounds. CPU time is user and system time, in"
    " microseconds for each message that is published."
)
TOPICS_TITLE = "Topics in one process"
TOPICS_HEADINGS = ("", "figure", "goal")


def headings(result: CaseResult) -> List[str]:
    """Return the names of the columns."""
    case = result.case
    bases = [f"x {GATEWAYS[base].label}" for base in case.bases if base in result.rounds]
    return [
        "",
        case.unit,
        "spread",
        *(["p99 us"] if case.rate else []),
        *(["compression"] if case.deflate else []),
        *("gateway us", "publisher us", "engine us"),
        *bases,
    ]


def rows(result: CaseResult) -> List[List[str]]:
    """Return a row for each gateway, the best first."""
    case = result.case
    table = []
    for name in sorted(result.rounds, key=result.median, reverse=not case.rate):

        def text(what: str, digits: int = 1, name: str = name) -> str:
            value = result.percentile(name, what)
            return "" if value is None else f"{value:,.{digits}f}"

        table.append(
            [
                GATEWAYS[name].label,
                text("p50_us", 0) if case.rate else figure(result.median(name), case.unit),
                f"{result.spread(name):.0%}",
                *([text("p99_us", 0)] if case.rate else []),
                *([text("compression", 2)] if case.deflate else []),
                *(text(what) for what in ("cpu_us", "publisher_us", "engine_us")),
                *(
                    ratio_text(result.ratio(name, base))
                    for base in case.bases
                    if base in result.rounds
                ),
            ]
        )
    return table


def remarks(result: CaseResult) -> List[str]:
    """Return goals, and remarks about the rounds."""
    texts = []
    for goal in GOALS:
        ratio = result.ratio(goal.gateway, goal.base) if goal.case == result.name else None
        if ratio is not None:
            reached = "reached" if ratio.median >= goal.ratio else "MISSED"
            texts.append(
                f"Goal: {GATEWAYS[goal.gateway].label} {goal.ratio:g} x"
                f" {GATEWAYS[goal.base].label}: {ratio.median:.2f}, {reached}"
            )
    if result.repeated:
        texts.append(f"{result.repeated} disturbed measurements were repeated.")
    if result.disturbed:
        texts.append(
            f"{result.disturbed} measurements count although they stayed disturbed by other load."
        )
    texts += [f"{GATEWAYS[name].label} failed: {why}" for name, why in result.failures.items()]
    return texts


def topics_rows(results: EngineResults) -> List[List[str]]:
    """Return the rows of what ``micro/topics.py`` found."""
    return [[row["what"], row["figure"], row["goal"]] for row in results.topics]


def method_text(results: EngineResults) -> str:
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


def print_table(console: Console, title: str, names: List[str], table: List[List[str]]) -> None:
    """Print one table."""
    shown = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD)
    for number, name in enumerate(names):
        shown.add_column(name, justify="left" if number == 0 else "right")
    for row in table:
        shown.add_row(*row)
    console.print(shown)


def print_topics(console: Console, results: EngineResults) -> None:
    """Print what ``micro/topics.py`` found."""
    print_table(console, TOPICS_TITLE, list(TOPICS_HEADINGS), topics_rows(results))


def print_case(console: Console, result: CaseResult) -> None:
    """Print one case's table."""
    print_table(console, result.case.title, headings(result), rows(result))
    for remark in remarks(result):
        console.print(remark, style="green" if remark.endswith(" reached") else "yellow")


def markdown_table(names: List[str], table: List[List[str]]) -> List[str]:
    """Return the lines of one table."""
    return [
        f"| {' | '.join(names)} |",
        f"|{'---|' * len(names)}",
        *(f"| {' | '.join(row)} |" for row in table),
        "",
    ]


def write_markdown(results: EngineResults, path: Path) -> None:
    """Write all tables to a file."""
    parts = ["# Results with topics and engines", "", method_text(results), ""]
    if results.topics:
        parts += [f"## {TOPICS_TITLE}", ""]
        parts += markdown_table(list(TOPICS_HEADINGS), topics_rows(results))
    for result in results.cases.values():
        rounds = max(map(len, result.rounds.values()), default=0)
        seconds = result.settings["latency_seconds" if result.case.rate else "seconds"]
        parts += [
            f"## {result.case.title}",
            "",
            f"`{result.name}`, {rounds} rounds of {seconds} s, {result.when}: `{result.command}`",
            "",
            *markdown_table(headings(result), rows(result)),
            *(f"- {remark}" for remark in remarks(result)),
            "",
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


def main() -> None:
    """Print a file of results."""
    path = Path(sys.argv[1]) if sys.argv[1:] else Path("bench/results/backplane.json")
    results = EngineResults.load(path)
    console = new_console()
    if results.topics:
        print_topics(console, results)
    for result in results.cases.values():
        print_case(console, result)
    console.print(method_text(results), highlight=False)


if __name__ == "__main__":
    main()
