"""picows_server.loop_lag: how late an event loop calls back, on a loop without real time."""

from __future__ import annotations

import asyncio
import time
from threading import Thread
from typing import Any, List

import pytest

from picows_server.loop_lag import LoopLag
from tests.support.leaks import eventually
from tests.support.servers import serving


class Loop:
    """Calls a timer as late as a test wants."""

    def __init__(self) -> None:
        self.now = 100.0
        self.timers: List[Any] = []

    def time(self) -> float:
        return self.now

    def is_closed(self) -> bool:
        return False

    def call_soon_threadsafe(self, callback: Any) -> None:
        callback()

    def call_at(self, when: float, callback: Any) -> Any:
        timer = Timer(when, callback)
        self.timers.append(timer)
        return timer

    def go_on(self, late: float = 0.0) -> None:
        timer = self.timers.pop()
        assert not self.timers
        if not timer.is_cancelled:
            self.now = timer.when + late
            timer.callback()


class Timer:
    def __init__(self, when: float, callback: Any) -> None:
        self.when = when
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


def lag_of(loop: Any) -> LoopLag:
    return LoopLag(loop)


def test_nothing_is_measured_before_somebody_asks() -> None:
    loop = Loop()
    lag = lag_of(loop)
    assert loop.timers == []
    assert lag.worst() == 0.0
    assert len(loop.timers) == 1
    assert lag.worst() == 0.0
    assert len(loop.timers) == 1


def test_the_worst_of_two_windows() -> None:
    loop = Loop()
    lag = lag_of(loop)
    lag.worst()
    loop.go_on(0.25)
    loop.go_on(0.125)
    assert lag.worst() == 0.25
    for _ in range(28):
        loop.go_on()
    assert lag.worst() == 0.25
    for _ in range(29):
        loop.go_on()
    assert lag.worst() == 0.25
    loop.go_on()
    assert lag.worst() == 0.0


def test_a_loop_that_is_late_now() -> None:
    loop = Loop()
    lag = lag_of(loop)
    lag.worst()
    loop.now += 2.5
    assert lag.worst() == 2.0


def test_it_ends_when_nobody_asks_and_begins_again() -> None:
    loop = Loop()
    lag = lag_of(loop)
    lag.worst()
    loop.go_on(1.0)
    while loop.timers:
        loop.go_on()
    assert loop.now >= 400.0
    loop.now += 1000.0
    assert lag.worst() == 0.0
    loop.go_on(0.5)
    assert lag.worst() == 0.5
    lag.stop()
    loop.go_on()
    assert loop.timers == []
    lag.stop()


def test_a_loop_that_is_closed() -> None:
    """Metrics may be collected by a thread that ends later than the loop."""
    loop = asyncio.new_event_loop()
    loop.close()
    lag = lag_of(loop)
    assert lag.worst() == 0.0
    lag.stop()


async def test_a_blocked_loop_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("picows_server.loop_lag._INTERVAL", 0.01)
    async with serving() as server:
        server.stats()
        await eventually(lambda: server._lag is not None and server._lag._timer is not None)
        time.sleep(0.05)  # noqa: ASYNC251 - it blocks the loop
        assert server.stats().loop_lag > 0.02
        await eventually(lambda: server.stats().loop_lag > 0.02)


async def test_any_thread_asks() -> None:
    found: List[Any] = []
    async with serving() as server:
        thread = Thread(target=lambda: found.append(server.stats()))
        thread.start()
        thread.join()
        assert found[0] == server.stats()
        await eventually(lambda: server._lag is not None and server._lag._timer is not None)
    assert server.stats().loop_lag == 0.0


@pytest.mark.parametrize("is_measured", [False, True])
def test_a_loop_that_has_ended(is_measured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of metrics may ask on: nothing is late where nothing runs."""
    monkeypatch.setattr("picows_server.loop_lag._INTERVAL", 0.0)
    loop = asyncio.new_event_loop()
    lag = LoopLag(loop)
    if is_measured:
        lag.worst()
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert lag.worst() == 0.0
    time.sleep(0.01)
    assert lag.worst() == 0.0
