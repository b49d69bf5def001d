"""Engines are processes beside the test: on a busy machine they may take long."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Callable, List

import pytest

from tests.support.loops import run

LIMIT = 240.0  # seconds


def pytest_collection_modifyitems(items: List[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(LIMIT + 60.0))


@pytest.fixture(name="run")
def run_fixture(loop_kind: str) -> Callable[..., Any]:
    """As that of all tests, with more time."""
    return functools.partial(run, kind=loop_kind, limit=LIMIT)
