"""Deadlines and ends of tasks that lose no cancellation, whatever a client library does with it."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, TypeVar

__all__ = ["end", "finish", "within"]

_Result = TypeVar("_Result")

# Seconds until a task is cancelled again that has swallowed it.
_AGAIN = 0.05


async def within(seconds: float, awaitable: Awaitable[_Result]) -> _Result:
    """Return what an awaitable returns, or raise what it raises.

    As ``asyncio.wait_for``, which before Python 3.12 loses a cancellation if the awaitable is done
    in the same iteration of the loop. If this is cancelled, the awaitable has ended when that is
    raised, and what it returned or raised is dropped.

    :raises asyncio.TimeoutError: it was not done in time, and is cancelled.
    """
    task = asyncio.ensure_future(awaitable)
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
    except BaseException:
        await end(task)
        raise
    if not done:
        await end(task)
        raise asyncio.TimeoutError
    return task.result()


async def end(task: asyncio.Future[Any]) -> None:
    """Cancel a task until it has ended; what it raises is dropped.

    Somebody who is cancelled while waiting for that waits on, and is cancelled then.
    """
    is_cancelled = False
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait([task], timeout=_AGAIN)
        except asyncio.CancelledError:
            is_cancelled = True
    if not task.cancelled():
        task.exception()  # or the loop reports that nobody has asked for it
    if is_cancelled:
        raise asyncio.CancelledError


async def finish(awaitable: Awaitable[_Result]) -> _Result:
    """Return what an awaitable returns, or raise what it raises.

    If this is cancelled, the awaitable goes on, and that is raised when it has ended.
    """
    task = asyncio.ensure_future(awaitable)
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            is_cancelled = True
    if is_cancelled:
        if not task.cancelled():
            task.exception()  # or the loop reports that nobody has asked for it
        raise asyncio.CancelledError
    return task.result()
