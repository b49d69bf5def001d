"""Percentiles of latencies."""

from __future__ import annotations

import pytest

from picows_client.cli.percentiles import percentile, progress_bar, table_of


@pytest.mark.parametrize(
    ("count", "percent", "value"),
    [
        (1, 0.0, 1),
        (1, 99.9, 1),
        (2, 50.0, 1),
        (10, 90.0, 9),
        (100, 99.0, 99),
        (100, 99.9, 100),
        (1000, 99.9, 999),
        (1001, 99.9, 1000),
        (1000, 100.0, 1000),
    ],
)
def test_nearest_rank(count: int, percent: float, value: int) -> None:
    assert percentile(range(1, count + 1), percent) == value


def test_table() -> None:
    names, values = zip(*(line.split()[:2] for line in table_of([0.003, 0.001, 0.002])))
    assert names == ("min", "p50", "p90", "p99", "p99.9", "max")
    assert values == ("1.000", "2.000", "3.000", "3.000", "3.000", "3.000")


def test_progress_bar() -> None:
    assert progress_bar(0, 3) == f"[{'.' * 40}] 0/3"
    assert progress_bar(1, 2) == f"[{'#' * 20}{'.' * 20}] 1/2"
    assert progress_bar(3, 3) == f"[{'#' * 40}] 3/3"
