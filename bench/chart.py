"""The charts for the README: each once for light and once for dark pages.

    python -m bench.chart bench/results/results.json [--output DIR]

One panel per scenario, one bar per peer; the whiskers are the slowest and the fastest round.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.layout_engine import ConstrainedLayoutEngine

from bench.figures import figure
from bench.peers.catalogue import PEERS
from bench.results import Results, ScenarioResult

__all__ = ["CHARTS", "draw_charts"]


@dataclass(frozen=True)
class Chart:
    """A file with a panel for each of its scenarios."""

    name: str
    title: str
    panels: Dict[str, str]  # scenario: heading
    peers: Tuple[str, ...] = ()  # who is shown; by default all who were measured


CHARTS = [
    Chart(
        "echo-client",
        "Echo client: round trips per second on one connection",
        {
            "echo-client-256": "256 B",
            "echo-client-8k": "8 KiB",
            "echo-client-100k": "100 kB",
            "echo-client-256-tls": "256 B, TLS",
        },
    ),
    Chart(
        "echo-server",
        "Echo server: messages per second",
        {
            "echo-server-1-256": "1 connection, 256 B",
            "echo-server-50-256": "50 connections, 256 B",
            "echo-server-500-256": "500 connections, 256 B",
            "echo-server-50-100k": "50 connections, 100 kB",
        },
    ),
    Chart(
        "streams",
        "Streams of 64-byte messages: messages per second",
        {
            "inbound-client-64": "into a client",
            "inbound-server-64": "into a server",
            "outbound-client-64-cork": "out of a client",
            "outbound-server-64-cork": "out of a server",
        },
    ),
    Chart(
        "coroutines",
        "Coroutines: messages per second",
        {
            "inbound-client-100": "100 B into a client",
            "echo-server-50-256": "echo server, 50 connections, 256 B",
        },
        (
            "c",
            "ours",
            "ours-coroutine",
            "ours-many",
            "ours-batch",
            "picows-websockets",
            "websockets",
            "aiohttp",
        ),
    ),
    Chart(
        "compression",
        "permessage-deflate: JSON messages per second of CPU time",
        {
            "deflate-in-client-262": "262 B into a client",
            "deflate-out-server-262": "262 B out of a server",
            "deflate-in-client-4k": "4 KiB into a client",
            "deflate-out-server-4k": "4 KiB out of a server",
        },
    ),
    Chart(
        "asgi",
        "ASGI echo servers: messages per second",
        {
            "asgi-plain-50-256": "plain application, 50 connections, 256 B",
            "asgi-fastapi-50-256": "FastAPI, 50 connections, 256 B",
        },
    ),
    Chart(
        "tail",
        "Latency of echoes in microseconds: p50 (|), p99 (dot), p99.9 (diamond), max (triangle)",
        {"tail-1000": "1,000 messages a second", "tail-10000": "10,000 messages a second"},
    ),
    Chart(
        "broadcast",
        "Broadcast of 256 B to 1,000 connections",
        {
            "broadcast-1000-256": "deliveries per second",
            "broadcast-1000-256-deflate": "compressed, deliveries per second of CPU time",
        },
    ),
    Chart(
        "connections",
        "Connections",
        {
            "connections-client": "opened and closed per second, client",
            "connections-server": "opened and closed per second, server",
            "memory-server": "bytes per idle connection",
            "memory-server-tls": "bytes per idle TLS connection",
        },
    ),
]


# Percentiles of a latency, and how they are marked.
LATENCIES = {"p50_us": "|", "p99_us": "o", "p999_us": "d", "max_us": ">"}


@dataclass(frozen=True)
class Theme:
    """Colours; the background is the page's."""

    name: str
    text: str
    quiet: str  # lines and secondary text
    ours: str
    ours_variant: str
    limit: str  # C
    other: str


THEMES = (
    Theme("light", "#1f2328", "#6e7781", "#0a58ca", "#85b1f2", "#8c959f", "#c7ccd1"),
    Theme("dark", "#e6edf3", "#9198a1", "#4a94ff", "#27508f", "#7d858e", "#454c54"),
)

COLUMNS = 2
BAR_HEIGHT = 0.26  # inches


def colour(peer: str, theme: Theme) -> str:
    """Return the colour of a peer's bar; ours and the limit have colours of their own."""
    if peer == "ours":
        return theme.ours
    if PEERS[peer].library.name == "ours":
        return theme.ours_variant
    return theme.limit if peer == "c" else theme.other


def shown(chart: Chart, result: ScenarioResult) -> List[str]:
    """Return the peers of a panel."""
    return [peer for peer in result.rounds if not chart.peers or peer in chart.peers]


def draw_panel(
    axes: Axes, result: ScenarioResult, names: Sequence[str], heading: str, theme: Theme
) -> None:
    """Draw one scenario, the best on top."""
    scenario = result.scenario
    peers = sorted(names, key=result.median, reverse=scenario.lower_is_better)
    values = [result.median(peer) for peer in peers]
    low = [value - min(result.values(peer)) for peer, value in zip(peers, values)]
    high = [max(result.values(peer)) - value for peer, value in zip(peers, values)]
    axes.barh(
        [PEERS[peer].label_as(scenario.subject) for peer in peers],
        values,
        height=0.72,
        color=[colour(peer, theme) for peer in peers],
        xerr=[low, high],
        error_kw={"ecolor": theme.quiet, "elinewidth": 1, "capsize": 2},
    )
    furthest = max(value + more for value, more in zip(values, high))
    for place, (value, more) in enumerate(zip(values, high)):
        axes.text(
            value + more + furthest * 0.015,
            place,
            figure(value, scenario.unit),
            va="center",
            color=theme.text,
            fontsize=8,
        )
    axes.set_xlim(0, furthest * 1.17)
    axes.set_xticks([])
    style_axes(axes, peers, heading, theme)


def draw_latencies(
    axes: Axes, result: ScenarioResult, names: Sequence[str], heading: str, theme: Theme
) -> None:
    """Draw the percentiles of one scenario on a logarithmic scale, the lowest p99 on top."""
    peers = sorted(names, key=result.median, reverse=True)
    for place, peer in enumerate(peers):
        values = [result.percentile(peer, name) or 0 for name in LATENCIES]
        axes.plot(values, [place] * len(values), color=colour(peer, theme), linewidth=3)
        for value, mark in zip(values, LATENCIES.values()):
            axes.plot([value], [place], mark, color=theme.text, markersize=5)
            axes.text(
                value, place + 0.2, figure(value, "us"), ha="center", color=theme.text, fontsize=7
            )
    axes.set_xscale("log")
    axes.set_yticks(range(len(peers)), [PEERS[peer].label_as("client") for peer in peers])
    axes.set_ylim(-0.5, len(peers) - 0.2)
    style_axes(axes, peers, heading, theme)
    axes.tick_params(axis="x", which="both", labelsize=7, labelcolor=theme.quiet)


def style_axes(axes: Axes, peers: Sequence[str], heading: str, theme: Theme) -> None:
    """Give a panel its heading and colours."""
    for label, peer in zip(axes.get_yticklabels(), peers):
        label.set_color(theme.text)
        label.set_fontweight("bold" if peer == "ours" else "normal")
    axes.set_title(heading, loc="left", fontsize=10, color=theme.text)
    axes.tick_params(length=0, labelsize=8)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(theme.quiet)


def footer(results: Results) -> str:
    """Return machine and method in a line."""
    machine = results.machine
    return (
        f"Median of the rounds; whiskers: slowest and fastest. Loopback, server and client on a "
        f"core each. {machine.get('processor')}, {machine.get('kernel')}, "
        f"Python {results.versions.get('ours', {}).get('python', '')}."
    )


def draw_chart(results: Results, chart: Chart, theme: Theme, folder: Path) -> bool:
    """Draw one file; False if none of its scenarios was measured."""
    panels = [
        (results.scenarios[name], heading)
        for name, heading in chart.panels.items()
        if name in results.scenarios and results.scenarios[name].rounds
    ]
    if not panels:
        return False
    lines = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    heights = [
        max(len(shown(chart, result)) for result, _ in line) * BAR_HEIGHT + 0.55 for line in lines
    ]
    plot, grid = plt.subplots(
        len(lines),
        COLUMNS,
        figsize=(10, sum(heights) + 0.9),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
        layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12),
    )
    for row, line in zip(grid, lines):
        for axes, (result, heading) in zip(row, line):
            draw = draw_latencies if result.scenario.rate else draw_panel
            draw(axes, result, shown(chart, result), heading, theme)
        for axes in row[len(line) :]:
            axes.set_visible(False)
    plot.suptitle(chart.title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=theme.text)
    plot.supxlabel(footer(results), x=0.01, ha="left", fontsize=7, color=theme.quiet)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{chart.name}-{theme.name}.svg"
    # No date, so that a chart changes only with its figures.
    plot.savefig(target, transparent=True, metadata={"Date": None})
    plt.close(plot)
    return True


def draw_charts(results: Results, folder: Path) -> List[str]:
    """Draw all charts that have a measured scenario; returns the names of the files."""
    # Text stays text, and identifiers do not change from run to run.
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": "bench", "font.family": "sans-serif"}
    with mpl.rc_context(settings):
        return [
            f"{chart.name}-{theme.name}.svg"
            for chart in CHARTS
            for theme in THEMES
            if draw_chart(results, chart, theme, folder)
        ]


def main(words: Sequence[str] = ()) -> None:
    """Draw the charts of a file of results."""
    parser = argparse.ArgumentParser(description="Draw the charts of a file of results.")
    parser.add_argument("results", type=Path)
    parser.add_argument("--output", type=Path, help="folder; by default that of the results")
    arguments = parser.parse_args(words or None)
    folder = arguments.output or arguments.results.parent
    for name in draw_charts(Results.load(arguments.results), folder):
        print(folder / name)


if __name__ == "__main__":
    main()
