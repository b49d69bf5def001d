"""What all tests share: the event loops that everything has to work on."""

from __future__ import annotations

import functools
from typing import Any, Callable

import pytest

from tests.support.loops import LOOP_KINDS, run

Run = Callable[..., Any]


@pytest.fixture(params=LOOP_KINDS)
def loop_kind(request: pytest.FixtureRequest) -> str:
    """Runs the test on asyncio's own loop and on uvloop."""
    kind: str = request.param
    return kind


@pytest.fixture(name="run")
def run_fixture(loop_kind: str) -> Run:
    """``run(coroutine_function)`` on a fresh loop of each kind, see :mod:`tests.support.loops`."""
    return functools.partial(run, kind=loop_kind)
