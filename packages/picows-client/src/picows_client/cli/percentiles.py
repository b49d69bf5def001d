"""Latencies as a table of percentiles, and how far their measurement is."""

from __future__ import annotations

import math
from typing import List, Sequence

__all__ = ["percentile", "progress_bar", "table_of"]

_ROWS = (("min", 0.0), ("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9), ("max", 100.0))
_BAR_WIDTH = 40


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of all values do not exceed (nearest rank).

    :param ordered: at least one value, in rising order.
    """
    # Rounded, because 99.9 / 100 * 1000 is a little more than 999.
    rank = math.ceil(round(percent / 100 * len(ordered), 9))
    return ordered[max(rank, 1) - 1]


def table_of(seconds: Sequence[float]) -> List[str]:
    """Return a line for each percentile, in milliseconds."""
    ordered = sorted(seconds)
    return [f"{name:<6}{percentile(ordered, percent) * 1e3:>12.3f} ms" for name, percent in _ROWS]


def progress_bar(done: int, total: int) -> str:
    """Return one line."""
    filled = _BAR_WIDTH * done // total
    return f"[{'#' * filled}{'.' * (_BAR_WIDTH - filled)}] {done}/{total}"
