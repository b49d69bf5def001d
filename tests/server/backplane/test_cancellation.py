from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import Any

import pytest

from picows_server.backplane.cancellation import end, finish, within


async def stubborn(times: int, outcome: Any) -> Any:
    """Swallow so many cancellations, then return or raise."""
    for _ in range(times):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def test_results(run: Any) -> None:
    async def main() -> None:
        assert await within(60.0, stubborn(0, 5)) == 5
        with pytest.raises(ValueError, match="as asked for"):
            await within(60.0, stubborn(0, ValueError("as asked for")))
        assert await within(60.0, asyncio.gather(stubborn(0, 1), stubborn(0, 2))) == [1, 2]

    run(main)


@pytest.mark.parametrize("outcome", [5, ValueError("as asked for")])
def test_not_in_time(run: Any, outcome: Any) -> None:
    async def main() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await within(0.01, asyncio.sleep(3600))
        with pytest.raises(asyncio.TimeoutError):
            await within(0.01, stubborn(2, outcome))
        gc.collect()

    run(main)


@pytest.mark.parametrize("outcome", [5, ValueError("as asked for")])
@pytest.mark.parametrize("times", [1, 3])
def test_cancelled(run: Any, times: int, outcome: Any) -> None:
    """What it waits for has ended then, and nothing is reported."""

    async def main() -> None:
        inner = asyncio.ensure_future(stubborn(times, outcome))
        waiting = asyncio.ensure_future(within(60.0, inner))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert inner.done()
        del inner
        gc.collect()

    run(main)


def test_cancelled_when_it_is_done(run: Any) -> None:
    """asyncio.wait_for() returns then, before Python 3.12."""

    async def main() -> None:
        async def cancel() -> int:
            await asyncio.sleep(0)
            waiting.cancel()
            return 5

        waiting = asyncio.ensure_future(within(60.0, cancel()))
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(main)


def test_cancelled_again_and_again(run: Any) -> None:
    async def main() -> None:
        inner = asyncio.ensure_future(stubborn(3, 5))
        await asyncio.sleep(0)
        ending = asyncio.ensure_future(end(inner))
        for _ in range(2):
            await asyncio.sleep(0)
            ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert inner.result() == 5
        await end(inner)

    run(main)


@pytest.mark.parametrize("outcome", [5, ValueError("as asked for")], ids=repr)
def test_what_has_to_be_finished(run: Any, outcome: Any) -> None:
    async def main() -> None:
        assert await finish(stubborn(0, 5)) == 5
        with pytest.raises(ValueError, match="as asked for"):
            await finish(stubborn(0, ValueError("as asked for")))
        inner = asyncio.ensure_future(stubborn(1, outcome))
        finishing = asyncio.ensure_future(finish(inner))
        for _ in range(3):
            await asyncio.sleep(0)
            finishing.cancel()
        await asyncio.sleep(0)
        assert not inner.done()
        assert not finishing.done()
        inner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await finishing
        assert inner.done()
        del inner
        gc.collect()

    run(main)
