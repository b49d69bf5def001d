"""picows_server.running.workers.serving_worker: from the first heartbeat to the exit status."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from typing import Any, List

import pytest

from picows_server.draining import DrainPlan
from picows_server.running.settings import RunSettings
from picows_server.running.workers.channel import receive_blocking, send_blocking
from picows_server.running.workers.messages import Abort, Drain, Failed, Heartbeat, Ready
from picows_server.running.workers.serving_worker import serve_worker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")

APPLICATIONS = "tests.support.worker_applications"


def served(first: Any, then: Any, factory: str = "Pid", **settings: Any) -> List[Any]:
    """Run a worker in this process and say ``then`` after ``first``: its messages and status."""
    own, theirs = socket.socketpair()
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    messages: List[Any] = []

    def supervise() -> None:
        try:
            while True:
                messages.append(receive_blocking(theirs))
                if isinstance(messages[-1], first):
                    send_blocking(theirs, then)
        except (EOFError, OSError):
            theirs.close()

    thread = threading.Thread(target=supervise)
    thread.start()
    before = signal.getsignal(signal.SIGTERM)
    try:
        status = serve_worker(
            own,
            1000.0,
            RunSettings(
                "ws://127.0.0.1:1",
                f"{APPLICATIONS}:{factory}",
                drain=DrainPlan(0, 0, 40),
                loop="asyncio",
                **settings,
            ),
            [listening],
        )
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()
        own.close()
        thread.join()
    return [*messages, status]


def test_it_drains() -> None:
    *messages, status = served(Ready, Drain(0.0))
    assert isinstance(messages[0], Heartbeat)
    assert Ready() in messages
    assert status == 0


def test_it_fails() -> None:
    *messages, status = served(Ready, Abort(), lifespan=f"{APPLICATIONS}:failing_lifespan")
    assert status == 1
    (failed,) = [each for each in messages if isinstance(each, Failed)]
    assert "no database" in failed.reason


def test_it_is_told_to_end_while_it_starts() -> None:
    *messages, _ = served(Heartbeat, Abort(), lifespan=f"{APPLICATIONS}:endless_lifespan")
    assert Ready() not in messages
    assert not [each for each in messages if isinstance(each, Failed)]
