"""FakeLoop: what is due happens in its order, and only when a test says so."""

from __future__ import annotations

import asyncio
from typing import Any, List

import pytest

from picows_codec.testing import FakeClock, FakeLoop


def test_order() -> None:
    loop = FakeLoop(FakeClock(5.0))
    seen: List[Any] = []
    loop.call_later(2, seen.append, "later")
    loop.call_at(6.0, seen.append, "sooner")
    loop.call_later(2, seen.append, "as late").cancel()
    handle = loop.call_soon(lambda: loop.call_soon_threadsafe(seen.append, "now"))
    assert handle.when() == 5.0
    assert seen == []
    loop.run_ready()
    assert seen == ["now"]
    assert [timer.when() for timer in loop.timers] == [6.0, 7.0]
    loop.advance(1.5)
    assert seen == ["now", "sooner"]
    assert loop.time() == 6.5
    loop.advance(1)
    assert seen == ["now", "sooner", "later"]


def test_coroutines_of_asyncio() -> None:
    loop = FakeLoop()

    async def main() -> str:
        assert loop.is_running()
        assert asyncio.get_running_loop() is loop
        queue: Any = asyncio.Queue()
        await asyncio.gather(queue.put(1), asyncio.sleep(0))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(loop.create_future(), 5)
        return "done"

    task = loop.create_task(main(), name="main")
    loop.advance(4.9)
    assert not task.done()
    loop.advance(0.2)
    assert task.result() == "done"
    assert not loop.is_running()
    assert not loop.is_closed()
    assert not loop.get_debug()
    assert not loop.timers


def test_run() -> None:
    loop = FakeLoop()

    async def value() -> int:
        await asyncio.sleep(0)
        return 3

    assert loop.run(value()) == 3
    with pytest.raises(TimeoutError):
        loop.run(asyncio.sleep(1))


def test_exceptions_are_raised() -> None:
    loop = FakeLoop()
    loop.call_soon(int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        loop.run_ready()
    loop.call_exception_handler({"message": "m"})
    assert loop.reports == [{"message": "m"}]
