"""picows_server.running.signals: handlers while serving, and those from before afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from types import SimpleNamespace
from typing import Any, Callable, List, Optional

import pytest

from picows_server.running.service_manager import ServiceManager
from picows_server.running.signals import ProcessSignals, SignalControl
from tests.support.leaks import eventually
from tests.support.servers import quiet_logger

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process")


class LoopOfWindows:
    """The loop, without handlers of signals."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def add_signal_handler(self, number: int, handler: Callable[[], object]) -> None:
        raise NotImplementedError


@pytest.mark.parametrize("is_windows", [False, True])
async def test_handlers(is_windows: bool) -> None:
    def before(*_: object) -> None:
        calls.append("before")

    calls: List[str] = []
    kept = signal.signal(signal.SIGTERM, before)
    interrupt = signal.getsignal(signal.SIGINT)
    try:
        loop: Any = LoopOfWindows() if is_windows else asyncio.get_running_loop()
        signals = ProcessSignals(
            loop,
            {
                "SIGTERM": lambda: calls.append("TERM"),
                "SIGINT": lambda: calls.append("INT"),
                "SIGNOTHING": lambda: calls.append("nothing"),
            },
        )
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        await eventually(lambda: len(calls) == 2)
        assert sorted(calls) == ["INT", "TERM"]
        signals.close()
        signals.close()
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: len(calls) == 3)
        assert calls[2] == "before"
        assert signal.getsignal(signal.SIGTERM) is before
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGTERM, kept)


class Asked:
    """Commands that are only noted."""

    def __init__(self) -> None:
        self.calls: List[Any] = []

    def drain(self, grace: Optional[float] = None) -> None:
        self.calls.append("drain" if grace is None else f"drain {grace:g}")

    def abort(self, status: int) -> None:
        self.calls.append(status)

    def reload_certificates(self) -> None:
        self.calls.append("reload")


async def send(number: int, asked: Asked) -> None:
    count = len(asked.calls)
    os.kill(os.getpid(), number)
    await eventually(lambda: len(asked.calls) > count)


async def test_what_signals_ask_for() -> None:
    control = SignalControl(ServiceManager(quiet_logger(), {}), quiet_logger())
    asked: Any = Asked()
    control.bind(asked)
    try:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            await send(number, asked)
        assert asked.calls == ["reload", "drain", "reload", 130]
    finally:
        control.stopped()
        control.stopped()


@pytest.mark.parametrize(
    ("number", "connections", "call"),
    [
        (signal.SIGINT, 0, "drain 0"),
        (signal.SIGINT, 1, "drain"),
        (signal.SIGTERM, 0, "drain"),
    ],
)
async def test_there_is_no_grace_for_sigint_without_a_connection(
    number: int, connections: int, call: str
) -> None:
    control = SignalControl(ServiceManager(quiet_logger(), {}), quiet_logger())
    asked: Any = Asked()
    server: Any = SimpleNamespace(connections=connections, places=("ws://127.0.0.1:1",))
    control.bind(asked)
    try:
        control.started(server)
        await send(number, asked)
        assert asked.calls == [call]
    finally:
        control.stopped()


async def test_one_that_is_sent_twice_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picows_server.running.signals._SAME", 1000.0)
    control = SignalControl(ServiceManager(quiet_logger(), {}), quiet_logger())
    asked: Any = Asked()
    control.bind(asked)
    try:
        await send(signal.SIGTERM, asked)
        os.kill(os.getpid(), signal.SIGTERM)
        await send(signal.SIGHUP, asked)
        monkeypatch.setattr("picows_server.running.signals._SAME", 0.0)
        await send(signal.SIGTERM, asked)
        assert asked.calls == ["drain", "reload", 143]
    finally:
        control.stopped()
