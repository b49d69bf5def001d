"""FakeLoop: what is due happens in its order, and only when a test says so."""

from __future__ import annotations

import asyncio
import contextvars
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


VARIABLE: Any = contextvars.ContextVar("VARIABLE", default="none")


def test_contexts() -> None:
    """Those of the callers, or those that are passed; what a callback sets stays in its own."""
    loop = FakeLoop()
    given = contextvars.copy_context()
    given.run(VARIABLE.set, "given")
    seen: List[str] = []

    def note() -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("changed")

    async def work() -> None:
        await asyncio.sleep(0)
        note()

    def ask() -> None:
        VARIABLE.set("caller's")
        loop.call_soon(note)
        loop.call_soon_threadsafe(note)
        loop.call_later(1, note)
        loop.call_at(loop.time() + 1, note)
        loop.create_task(work())

    contextvars.copy_context().run(ask)
    loop.advance(1)
    assert seen == ["caller's"] * 5
    assert VARIABLE.get() == "none"
    seen.clear()
    calls: Any = [
        loop.call_soon,
        loop.call_soon_threadsafe,
        lambda *args, **options: loop.call_later(1, *args, **options),
        lambda *args, **options: loop.call_at(loop.time(), *args, **options),
    ]
    for call in calls:
        call(note, context=given.copy())
    loop.create_task(work(), context=given.copy())
    loop.advance(1)
    assert seen == ["given"] * 5
    loop.call_soon(note, context=given)
    loop.run_ready()
    assert given[VARIABLE] == "changed"


def test_exceptions_are_raised() -> None:
    loop = FakeLoop()
    loop.call_soon(int, "x")
    with pytest.raises(ValueError, match="invalid literal"):
        loop.run_ready()
    loop.call_exception_handler({"message": "m"})
    assert loop.reports == [{"message": "m"}]


def test_inside_of_a_task() -> None:
    """Tasks of the fake loop run while one of the real loop does."""

    async def current() -> Any:
        return asyncio.current_task()

    async def main() -> None:
        own = asyncio.current_task()
        loop = FakeLoop()
        task = loop.create_task(current())
        loop.run_ready()
        assert task.result() is task
        with loop.running():
            assert asyncio.current_task() is None
            task = loop.create_task(current())
            loop.run_ready()  # nested once more
            assert task.result() is task
        assert asyncio.current_task() is own

    asyncio.run(main())


@pytest.mark.parametrize("seconds", [-1, float("nan")])
def test_time_does_not_go_back(seconds: float) -> None:
    loop = FakeLoop()
    before = loop.time()
    with pytest.raises(ValueError, match="time does not pass by"):
        loop.advance(seconds)
    assert loop.time() == before
