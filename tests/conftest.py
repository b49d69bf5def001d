"""What all tests share: event loops that everything has to work on, certificates, no collector."""

from __future__ import annotations

import functools
import gc
import os
import sys
from typing import Any, Callable, Iterator

import pytest
from hypothesis import settings

from tests.support.certificates import Certificates, issue_certificates
from tests.support.loops import LOOP_KINDS, run

Run = Callable[..., Any]

# How long an example takes tells how busy the machine is. Where CI is set, examples stay the same.
settings.register_profile("without-deadline", settings(), deadline=None)
settings.load_profile("without-deadline")


def pytest_configure(config: pytest.Config) -> None:
    """Ignore what libraries warn of that is not the project's.

    Before Python 3.11 asyncio calls a TLS transport unclosed that its peer has closed. What redis
    imports (cryptography) announces the end of Python 3.8.
    """
    if sys.version_info < (3, 11):
        unclosed = r"unclosed transport <asyncio\.sslproto\._SSLProtocolTransport"
        config.addinivalue_line("filterwarnings", f"ignore:{unclosed}:ResourceWarning")
    if sys.version_info < (3, 9):
        config.addinivalue_line("filterwarnings", r"ignore:Python 3\.8 is no longer supported")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors, because many tests wait."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """The tests themselves stay until the end: the collector need not look at them again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=LOOP_KINDS)
def loop_kind(request: pytest.FixtureRequest) -> str:
    """Runs the test on asyncio's own loop and on uvloop."""
    kind: str = request.param
    return kind


@pytest.fixture(name="run")
def run_fixture(loop_kind: str) -> Run:
    """``run(coroutine_function)`` on a fresh loop of each kind, see :mod:`tests.support.loops`."""
    return functools.partial(run, kind=loop_kind)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority with a server's and a client's certificate."""
    return issue_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def without_collector() -> Iterator[None]:
    """Objects must go without the garbage collector's help."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
