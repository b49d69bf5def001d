"""picows_server.running.workers.control: heartbeats, and what the supervisor says."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from contextlib import contextmanager
from typing import Any, Iterator, List, Tuple

import pytest

from picows_server import ws_create_server
from picows_server.running.workers.channel import Channel
from picows_server.running.workers.control import WorkerControl
from picows_server.running.workers.messages import (
    Abort,
    Drain,
    Failed,
    Heartbeat,
    Leaving,
    Ready,
    StoppedAccepting,
)
from tests.support.leaks import eventually
from tests.support.servers import ANY_PORT, Echo, quiet_logger

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="workers need POSIX")


class FakeCommands:
    def __init__(self) -> None:
        self.told: List[Any] = []

    def drain(self, grace: Any, *, leaves_waiting: bool) -> None:
        self.told.append(("drain", grace, leaves_waiting))

    def abort(self, status: int) -> None:
        self.told.append(("abort", status))


@contextmanager
def controlled(interval: float = 1000.0) -> Iterator[Tuple[WorkerControl, Channel, List[Any]]]:
    """A worker's control, and the supervisor's end of its pipe with what has arrived."""
    own, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    heard: List[Any] = []
    supervisor = Channel(loop, theirs, heard.append, lambda: heard.append("end"))
    control = WorkerControl(loop, own, interval)
    try:
        yield control, supervisor, heard
    finally:
        control.close()
        supervisor.close()


async def test_heartbeats_come_before_there_is_a_server() -> None:
    commands: Any = FakeCommands()
    with controlled(0.01) as (control, _, heard):
        control.bind(commands)
        await eventually(lambda: len(heard) >= 3)
        assert all(isinstance(each, Heartbeat) for each in heard)
        assert (heard[0].connections, heard[0].stats) == (0, None)


async def test_what_the_supervisor_hears() -> None:
    async with ws_create_server(ANY_PORT, Echo, quiet_logger()) as server:
        with controlled() as (control, _, heard):
            control.started(server)
            control.draining()
            control.stopped_accepting()
            control.failed("Traceback")
            control.stopped()
            control.close()
            await eventually(lambda: "end" in heard)
            kinds = [type(each) for each in heard]
            assert kinds == [Heartbeat, Ready, StoppedAccepting, Failed, Heartbeat, str]
            assert heard[0].stats == server.stats()


async def test_what_the_supervisor_says() -> None:
    commands: Any = FakeCommands()
    with controlled() as (control, supervisor, _):
        control.bind(commands)
        supervisor.send(Drain(2.5))
        supervisor.send(Drain(0.0, leaves_waiting=True))
        supervisor.send("something newer")
        supervisor.send(Abort())
        await eventually(lambda: len(commands.told) == 3)
        assert commands.told == [("drain", 2.5, False), ("drain", 0.0, True), ("abort", 0)]


async def test_there_is_no_heartbeat_before_the_application_is_imported() -> None:
    """The supervisor bounds that time by start_timeout, not by worker_timeout."""
    commands: Any = FakeCommands()
    with controlled() as (control, supervisor, heard):
        supervisor.send(Abort())  # nobody can be told yet
        control.failed("it cannot be imported")
        await eventually(lambda: heard == [Failed("it cannot be imported")])
        control.bind(commands)
        await eventually(lambda: len(heard) == 2)
        assert isinstance(heard[1], Heartbeat)
        assert commands.told == []


async def test_somebody_else_sends_sigterm() -> None:
    with controlled() as (_, _, heard):
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: Leaving() in heard)


async def test_the_supervisor_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    exits: List[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    with controlled() as (_, supervisor, _):
        supervisor.close()
        await eventually(lambda: exits == [1])
