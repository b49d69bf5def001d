"""picows_client.backoff: the pauses between attempts to connect."""

from __future__ import annotations

from typing import Any, Dict, Type

import pytest

from picows_client import WSInvalidOptionError
from picows_client.backoff import WSBackoff


def test_first_pause() -> None:
    assert WSBackoff().pause(1) == 0.0
    assert WSBackoff(first=0.25).pause(1) == 0.25


@pytest.mark.parametrize(
    ("failures", "most"),
    [(2, 0.5), (3, 1.0), (4, 2.0), (7, 16.0), (8, 30.0), (9, 30.0), (5000, 30.0)],
)
def test_pauses_are_drawn_evenly(failures: int, most: float) -> None:
    pauses = sorted(WSBackoff().pause(failures) for _ in range(2000))
    assert 0.0 <= pauses[0] < pauses[-1] <= most
    for tenth in range(10):  # each tenth of the range has about a tenth of the pauses
        count = sum(tenth / 10 <= pause / most <= (tenth + 1) / 10 for pause in pauses)
        assert 100 <= count <= 300


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [(0.0, 0.0, 1.0), (7.0, 7.0, 8.0), (300.0, 300.0, 301.0), (1e9, 300.0, 301.0)],
)
def test_wait_that_the_server_wants(retry_after: float, least: float, most: float) -> None:
    for failures in (1, 2, 3):
        pauses = {WSBackoff().pause(failures, retry_after) for _ in range(200)}
        assert least <= min(pauses)
        assert max(pauses) <= most
        assert len(pauses) > 100  # those that were refused together do not come back together


@pytest.mark.parametrize(
    ("values", "error", "text"),
    [
        ({"first": -1}, WSInvalidOptionError, r"first=-1: a number of seconds of at least 0"),
        ({"longest": float("inf")}, WSInvalidOptionError, r"longest=inf"),
        ({"stable_after": float("nan")}, WSInvalidOptionError, r"stable_after=nan"),
        ({"base": 0}, WSInvalidOptionError, r"base=0 must be above 0"),
        ({"base": 5, "longest": 4}, WSInvalidOptionError, r"longest=4 at least base"),
        ({"base": "1"}, TypeError, r"base must be a number of seconds, not str"),
        ({"first": True}, TypeError, r"first must be a number of seconds, not bool"),
    ],
)
def test_wrong_values(values: Dict[str, Any], error: Type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        WSBackoff(**values)
