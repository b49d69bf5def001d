"""picows_client.tasks: deadlines and cancellation, whatever happens at the same time."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable, List

import pytest

from picows_client.tasks import run_with_deadline, settle
from tests.support.loops import other_tasks

Run = Callable[..., Any]


class Work:
    """A coroutine that ends when it is told to, and says how it ended."""

    def __init__(self) -> None:
        self.gate = asyncio.get_event_loop().create_future()
        self.events: List[str] = []

    async def run(self) -> str:
        self.events.append("started")
        try:
            result: str = await self.gate
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        return result

    async def stubborn(self) -> str:
        """Takes one more turn to end, and then has a result."""
        try:
            await self.gate
        except asyncio.CancelledError:
            await asyncio.sleep(0)
        return "result"


def test_result(run: Run) -> None:
    async def main() -> None:
        work = Work()
        work.gate.set_result("result")
        assert await run_with_deadline(work.run(), 10, fail) == "result"
        work = Work()
        work.gate.set_result("result")
        assert await run_with_deadline(work.run(), None, fail) == "result"

    run(main)


def fail(result: object) -> None:
    raise AssertionError(f"{result} was discarded")


def test_exception(run: Run) -> None:
    async def main() -> None:
        work = Work()
        work.gate.set_exception(ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            await run_with_deadline(work.run(), 10, fail)

    run(main)


def test_deadline(run: Run) -> None:
    async def main() -> None:
        work = Work()
        with pytest.raises(asyncio.TimeoutError):
            await run_with_deadline(work.run(), 0.01, fail)
        assert work.events == ["started", "cancelled"]
        assert not other_tasks()

    run(main)


def test_result_at_the_deadline(run: Run) -> None:
    async def main() -> None:
        assert await run_with_deadline(Work().stubborn(), 0.01, fail) == "result"

    run(main)


def test_cancelled(run: Run) -> None:
    async def main() -> None:
        work = Work()
        task = asyncio.ensure_future(run_with_deadline(work.run(), 10, fail))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert work.events == ["started", "cancelled"]
        assert not other_tasks()

    run(main)


def test_cancelled_before_it_starts(run: Run) -> None:
    async def main() -> None:
        work = Work()
        task = asyncio.ensure_future(run_with_deadline(work.run(), 10, fail))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not other_tasks()

    run(main)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_result_of_a_cancelled_call_is_discarded(run: Run, times: int) -> None:
    discarded: List[str] = []

    def discard(result: str) -> None:
        discarded.append(result)

    async def main() -> None:
        work = Work()
        task = asyncio.ensure_future(run_with_deadline(work.stubborn(), 10, discard))
        await asyncio.sleep(0.01)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert discarded == ["result"]

    run(main)


def test_result_and_cancellation_in_one_turn(run: Run) -> None:
    discarded: List[str] = []

    def discard(result: str) -> None:
        discarded.append(result)

    async def main() -> None:
        work = Work()
        task = asyncio.ensure_future(run_with_deadline(work.run(), 10, discard))
        await asyncio.sleep(0.01)
        work.gate.set_result("result")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert discarded == ["result"]

    run(main)


def test_deadline_and_cancellation_in_one_turn(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(run_with_deadline(Work().run(), 0.01, fail))
        await asyncio.sleep(0)
        # Timers that are due in the same turn run in the order of their deadlines.
        loop.call_later(0.01, task.cancel)
        await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main)


def test_settle(run: Run) -> None:
    async def main() -> None:
        works = [Work(), Work()]
        tasks = [asyncio.ensure_future(work.run()) for work in works]
        works[0].gate.set_exception(ZeroDivisionError())
        await asyncio.sleep(0.01)
        await settle(tasks)
        assert isinstance(tasks[0].exception(), ZeroDivisionError)
        assert tasks[1].cancelled()
        await settle(tasks)
        await settle([])

    run(main)


def test_settle_goes_on_when_it_is_cancelled(run: Run) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(Work().stubborn())
        await asyncio.sleep(0)
        settling = asyncio.ensure_future(settle([task]))
        await asyncio.sleep(0)
        settling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await settling
        assert task.result() == "result"

    run(main)


def block_the_loop() -> None:
    time.sleep(0.3)


def test_a_blocked_loop_gives_the_time_back(run: Run) -> None:
    async def blocks() -> str:
        block_the_loop()
        for _ in range(20):
            await asyncio.sleep(0)
        return "result"

    async def main() -> None:
        assert await run_with_deadline(blocks(), 0.1, lambda _: None) == "result"

    run(main)
