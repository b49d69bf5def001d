"""What all tests share: the event loops that everything has to work on."""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable

import pytest

from tests.support.loops import LOOP_KINDS, run

Run = Callable[..., Any]


def pytest_configure(config: pytest.Config) -> None:
    """Before Python 3.11 asyncio calls a TLS transport unclosed that its peer has closed."""
    if sys.version_info < (3, 11):
        unclosed = r"unclosed transport <asyncio\.sslproto\._SSLProtocolTransport"
        config.addinivalue_line("filterwarnings", f"ignore:{unclosed}:ResourceWarning")


@pytest.fixture(params=LOOP_KINDS)
def loop_kind(request: pytest.FixtureRequest) -> str:
    """Runs the test on asyncio's own loop and on uvloop."""
    kind: str = request.param
    return kind


@pytest.fixture(name="run")
def run_fixture(loop_kind: str) -> Run:
    """``run(coroutine_function)`` on a fresh loop of each kind, see :mod:`tests.support.loops`."""
    return functools.partial(run, kind=loop_kind)
