"""The figures in docs/scaling.md and docs/topics.md: write them from a file of results.

    python -m bench.backplane.docs

A bench that writes results/backplane.json writes them, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from bench.backplane.gateways import GATEWAYS
from bench.backplane.results import CaseResult, EngineResults
from bench.figures import figure

__all__ = ["RESULTS", "write_docs"]

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "bench" / "results" / "backplane.json"
SCALING = ROOT / "docs" / "scaling.md"
TOPICS = ROOT / "docs" / "topics.md"
BEGIN, END = "<!-- python -m bench.backplane.docs -->\n", "<!-- end of bench.backplane.docs -->\n"
# Ours, and the bare loop that does the same.
THROUGH: Tuple[Tuple[str, str], ...] = (
    ("ours-redis", "redis-pipeline"),
    ("ours-sharded", "redis-pipeline"),
    ("ours-history", "redis-pipeline"),
    ("ours-nats", "nats-py"),
)
LATE = {"redis-pipeline": "redis-await"}  # who takes its part where single messages are due


def write_docs(results: EngineResults) -> None:
    """Write the figures of these results. Raises ValueError for a document without a place."""
    for file, lines in (
        (SCALING, [*engines(results), "", *fan_out(results), "", origin(results)]),
        (TOPICS, [*topics(results), "", origin(results)]),
    ):
        text = file.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not begin or not end:
            raise ValueError(f"{file.name} has no lines {BEGIN.strip()} and {END.strip()}")
        block = "\n".join(lines)
        file.write_text(f"{before}{begin}\n{block}\n\n{end}{after}", encoding="utf-8")


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> List[str]:
    """Return the lines of a table; nothing without rows."""
    if not rows:
        return []
    head = [f"| {' | '.join(names)} |", f"|---|{'---:|' * (len(names) - 1)}"]
    return [*head, *(f"| {' | '.join(row)} |" for row in rows)]


def rate(result: Optional[CaseResult], name: str) -> str:
    """Return the figure of a gateway, if it was measured."""
    if result is None or name not in result.rounds:
        return ""
    return figure(result.median(name), result.case.unit)


def ratio(result: Optional[CaseResult], name: str, base: str) -> str:
    """Return how much of the base's rate a gateway has."""
    found = None if result is None else result.ratio(name, base)
    return "" if found is None else f"{found.median:.2f}"


def latency(result: Optional[CaseResult], name: str) -> str:
    """Return p50 and p99 in milliseconds."""
    found = [
        None if result is None else result.percentile(name, each) for each in ("p50_us", "p99_us")
    ]
    return " / ".join(f"{each / 1000:.2f}" for each in found if each is not None)


def engines(results: EngineResults) -> List[str]:
    """Return the table of the ways through an engine."""
    cases: Dict[str, CaseResult] = results.cases
    many, one = cases.get("engine-topics"), cases.get("engine-topic")
    late = cases.get("engine-latency")
    rows = []
    for name, base in THROUGH:
        single = LATE.get(base, base)
        row = [rate(many, name), ratio(many, name, base), rate(one, name), ratio(one, name, base)]
        row += [latency(late, name), latency(late, single)]
        if any(row):
            rows.append([GATEWAYS[name].label, *row])
    return table(
        (
            "",
            "100 topics in turn, messages/s per core",
            "x bare loop",
            "one topic, messages/s per core",
            "x bare loop",
            "at 1,000/s: p50 / p99 ms",
            "bare loop",
        ),
        rows,
    )


def fan_out(results: EngineResults) -> List[str]:
    """Return the table of gateways with 100 connections."""
    plain, late = results.cases.get("fan-out"), results.cases.get("fan-out-latency")
    compressed = results.cases.get("fan-out-deflate")
    if plain is None:
        return []
    rows = [
        [
            GATEWAYS[name].label,
            rate(plain, name),
            ratio(plain, name, "ours-redis"),
            rate(compressed, name),
            latency(late, name),
        ]
        for name in sorted(plain.rounds, key=plain.median, reverse=True)
    ]
    return table(
        (
            "to 100 connections",
            "deliveries/s of the gateway's CPU",
            "x Topics, Valkey",
            "compressed",
            "at 20/s: p50 / p99 ms",
        ),
        rows,
    )


def topics(results: EngineResults) -> List[str]:
    """Return the table of what needs no engine."""
    return table(("", "measured"), [[row["what"], row["figure"]] for row in results.topics])


def origin(results: EngineResults) -> str:
    """Return machine, versions and dates in a sentence."""
    machine, ours = results.machine, results.versions.get("backplane", {})
    dates = sorted({result.when for result in results.cases.values()})
    if not dates:
        return ""
    virtual = "a virtual machine" if machine.get("virtual") else "a machine"
    engine = ", ".join(
        f"{name} {ours[name]}" for name in ("redis", "hiredis", "nats-py") if name in ours
    )
    return (
        f"Measured on {' to '.join(dict.fromkeys((dates[0], dates[-1])))} on {virtual} with"
        f" {machine.get('cores')} cores ({machine.get('processor')}), CPython"
        f" {ours.get('python')}; {engine}; medians of rounds."
        " [backplane.md](../bench/results/backplane.md) has all figures."
    )


def main() -> None:
    """Write them."""
    write_docs(EngineResults.load(RESULTS))


if __name__ == "__main__":
    main()
