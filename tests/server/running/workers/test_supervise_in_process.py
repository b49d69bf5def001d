"""picows_server.running.workers.supervise: in this process, whose log tells when to signal it."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, List, Tuple

import pytest

from picows_server import WSInvalidOptionError
from picows_server.draining import DrainPlan
from picows_server.running.settings import RunSettings
from picows_server.running.worker_settings import WorkerSettings
from picows_server.running.workers.supervise import _timing, supervise
from picows_server.running.workers.timing import Timing

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="max_rss reads /proc"),
    pytest.mark.timeout(240),
]

APPLICATIONS = "tests.support.worker_applications"


class Operator(logging.Handler):
    """Sends this process a signal when a line of the log has these words."""

    def __init__(self, *plan: Tuple[str, signal.Signals]) -> None:
        super().__init__()
        self._plan = plan
        self.lines: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())
        for words, number in self._plan:
            if words in self.lines[-1]:
                os.kill(os.getpid(), number)


@contextmanager
def operator(*plan: Tuple[str, signal.Signals]) -> Iterator[Operator]:
    logger = logging.getLogger("picows.server")
    level = logger.level
    handler = Operator(*plan)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _supervised(**options: Any) -> int:
    plan = DrainPlan(0, 0, options.pop("timeout", 40))
    settings = RunSettings(
        "ws://127.0.0.1:0",
        f"{APPLICATIONS}:Pid",
        drain=plan,
        loop="asyncio",
        server_options=options.pop("server_options", {}),
    )
    return supervise(settings, WorkerSettings(**options))


def test_in_this_process() -> None:
    with operator(
        ("all workers are ready", signal.SIGHUP),
        ("all workers have been replaced", signal.SIGTERM),
    ) as log:
        assert _supervised(workers=1, admin_url="http://127.0.0.1:0", max_rss=1 << 40) == 0
    assert "all workers drain; another signal aborts" in log.lines


def test_in_this_process_with_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with operator(
        ("all workers are ready", signal.SIGTTIN),
        ("there are 2 workers", signal.SIGTTOU),
        ("there are 1 workers", signal.SIGTERM),
    ) as log:
        options = {"unix_path": str(path), "backlog": 7}
        assert _supervised(workers=1, timeout=None, max_lifetime=60, server_options=options) == 0
    assert "all workers accept from one socket, because it is a Unix socket" in log.lines
    assert not path.exists()


@pytest.mark.parametrize(
    ("spread", "timeout", "grace"),
    [(0.2, 0.3, 0.1), (0.1 + 0.2, 0.3, 0.0), (1, 60, 2.0), (5, 6, 1)],
)
def test_a_removed_worker_accepts_as_long_as_timeout_allows(
    spread: float, timeout: float, grace: float
) -> None:
    plan = DrainPlan(0, spread, timeout)
    settings = RunSettings("ws://127.0.0.1:0", f"{APPLICATIONS}:Pid", drain=plan)
    timing = _timing(settings, WorkerSettings(), Timing(removal_grace=2.0))
    assert timing.removal_grace == pytest.approx(grace)
    dataclasses.replace(plan, grace=timing.removal_grace)  # as a worker does


def test_max_rss_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picows_server.running.workers.memory._STATM", "/nothing")
    with pytest.raises(WSInvalidOptionError, match="no /proc"):
        _supervised(max_rss=1)
