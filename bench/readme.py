"""The figures in the project's README: compare them with a file of results, or write them.

    python -m bench.readme            compare; fail if the README has others
    python -m bench.readme --write    write them

They are ratios of the same rounds, so they need nothing but results/results.json. A bench that
writes that file writes the README, too.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from bench.figures import figure
from bench.results import Results, ScenarioResult

__all__ = ["README", "RESULTS", "updated"]

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
RESULTS = ROOT / "bench" / "results" / "results.json"
BEGIN, END = "<!-- python -m bench.readme --write -->\n", "<!-- end of bench.readme -->\n"
# What ours is compared with, and the name of the library that has its version.
COLUMNS = {"picows": "picows", "websockets": "websockets", "aiohttp": "aiohttp", "c": "C"}


@dataclass(frozen=True)
class Row:
    """A line of the table: one of ours in one scenario."""

    text: str
    scenario: str
    peer: str = "ours"
    picows: str = "picows"  # the variant of it that does the same


COROUTINES = ("ours-coroutine", "picows-websockets")
ROWS: Tuple[Row, ...] = (
    Row("**Client**: round trips, 256 B", "echo-client-256"),
    Row("… with `busy_poll=True`", "echo-client-256", "ours-busy"),
    Row("… over TLS", "echo-client-256-tls"),
    Row("64 B messages in, listener in Python", "inbound-client-64"),
    Row("… in batches", "inbound-client-64", "ours-batch"),
    Row("… listener in Cython", "inbound-client-64", "ours-compiled", "picows-compiled"),
    Row("100 B messages in, `async for`", "inbound-client-100", *COROUTINES),
    Row("… `recv_many`", "inbound-client-100", "ours-many", "picows-websockets"),
    Row("64 B messages out, in `cork()`", "outbound-client-64-cork"),
    Row(
        "compressed JSON of 262 B in, coroutines, by CPU",
        "deflate-in-client-262",
        *COROUTINES,
    ),
    Row("connections opened and closed", "connections-client"),
    Row("… over TLS", "connections-client-tls"),
    Row("**Server**: echoes to 50 clients, 256 B", "echo-server-50-256"),
    Row("… coroutines", "echo-server-50-256", *COROUTINES),
    Row("… over TLS", "echo-server-50-256-tls"),
    Row("… to 500 clients", "echo-server-500-256"),
    Row("… of 100 kB", "echo-server-50-100k"),
    Row("256 B to 1,000 clients, `broadcast`", "broadcast-1000-256", "ours-batch"),
    Row(
        "compressed JSON of 4 KiB out, coroutines, by CPU",
        "deflate-out-server-4k",
        *COROUTINES,
    ),
    Row("connections opened and closed over TLS", "connections-server-tls"),
    Row("bytes of an idle connection", "memory-server"),
    Row("… coroutines", "memory-server", *COROUTINES),
)


def updated(text: str, results: Results) -> str:
    """Return the README with the figures of these results. Raises ValueError without a place."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the README has no lines {BEGIN.strip()} and {END.strip()}")
    return f"{before}{begin}{block(results)}{end}{after}"


def block(results: Results) -> str:
    """Return the table, and where its figures come from."""
    lines = [f"| | per second | {' | '.join(heading(results, column) for column in COLUMNS)} |"]
    lines.append(f"|---|---:|{'---:|' * len(COLUMNS)}")
    for row in ROWS:
        result = results.scenarios.get(row.scenario)
        if result is not None and row.peer in result.rounds:
            bases = [row.picows if column == "picows" else column for column in COLUMNS]
            cells = (cell(result, row.peer, base) for base in bases)
            own = figure(result.median(row.peer), result.scenario.unit)
            lines.append(f"| {row.text} | {own} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", asgi(results), "", origin(results), ""])


def heading(results: Results, column: str) -> str:
    """Return the name of a library, with its version."""
    version = results.versions.get(column, {}).get(column, "")
    return f"{COLUMNS[column]} {version}".strip()


def cell(result: ScenarioResult, peer: str, base: str) -> str:
    """Return how many times as good as the base a peer is; nothing if that was not measured."""
    ratio = result.ratio(peer, base)
    if ratio is None:
        return ""
    return times(1 / ratio.median if result.scenario.lower_is_better else ratio.median)


def times(ratio: float) -> str:
    """Return a ratio with as many digits as mean something."""
    return f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}" if ratio < 20 else f"{ratio:.0f}"


def asgi(results: Results) -> str:
    """Return a sentence about applications, which have a server of their own to compare with."""
    plain = results.scenarios.get("asgi-plain-50-256")
    fastapi = results.scenarios.get("asgi-fastapi-50-256")
    if plain is None or fastapi is None:
        return ""
    version = results.versions.get("asgi", {}).get("uvicorn", "")
    return (
        f"ASGI, echoes to 50 clients next to uvicorn {version}: "
        f"{cell(plain, 'uvicorn-ours', 'uvicorn')} with our protocol in uvicorn, "
        f"{cell(plain, 'asgi', 'uvicorn')} without uvicorn; of FastAPI "
        f"{cell(fastapi, 'uvicorn-ours-fastapi', 'uvicorn-fastapi')} and "
        f"{cell(fastapi, 'asgi-fastapi', 'uvicorn-fastapi')}."
    )


def origin(results: Results) -> str:
    """Return machine, versions and dates in a sentence."""
    machine, ours = results.machine, results.versions.get("ours", {})
    used = [found for row in ROWS if (found := results.scenarios.get(row.scenario))]
    dates = sorted({result.when for result in used})
    rounds = sorted({len(samples) for result in used for samples in result.rounds.values()})
    virtual = "a virtual machine" if machine.get("virtual") else "a machine"
    return (
        f"Measured on {span(dates)} on {virtual} with {machine.get('cores')} cores "
        f"({machine.get('processor')}, {machine.get('kernel')}), "
        f"CPython {ours.get('python')}, uvloop {ours.get('uvloop')}; "
        f"medians of {span(rounds)} rounds."
    )


def span(values: Sequence[object]) -> str:
    """Return the first and the last of sorted values."""
    return f"{values[0]}" if len(values) == 1 else f"{values[0]} to {values[-1]}"


def main(words: Optional[List[str]] = None) -> None:
    """Compare or write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="bring the README up to date")
    arguments = parser.parse_args(words)
    text = README.read_text("utf-8")
    new = updated(text, Results.load(RESULTS))
    if arguments.write:
        README.write_text(new, "utf-8")
    elif new != text:
        sys.exit("the README has other figures than results.json (python -m bench.readme --write)")
    else:
        print("the README has the figures of results.json")


if __name__ == "__main__":
    main()
