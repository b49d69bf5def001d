"""Tasks that have ended when their caller goes on: deadlines and cancellation.

Before Python 3.11 a deadline that calls ``task.cancel()`` on the caller looks like a cancellation
from outside, and before 3.12 ``asyncio.wait_for`` loses results. Here the work runs in a task of
its own, so that neither happens.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Coroutine, Iterable, Optional, TypeVar

from picows_codec.deadlines import until_second_look

__all__ = ["DeadlinePassed", "run_with_deadline", "settle", "undisturbed"]

T = TypeVar("T")


class DeadlinePassed(asyncio.TimeoutError):
    """Raised by :func:`run_with_deadline`; unlike a TimeoutError, it is never the system's."""


async def settle(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel ``tasks`` and return when all of them have ended, with whatever result.

    If the caller is cancelled meanwhile, the cancellation is raised only then.
    """
    pending = {task for task in tasks if not task.done()}
    for task in pending:
        task.cancel()
    cancelled = False
    while pending:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError:
            cancelled = True
        pending = {task for task in pending if not task.done()}
    if cancelled:
        raise asyncio.CancelledError


async def run_with_deadline(
    work: Coroutine[Any, Any, T],
    timeout: Optional[float],
    discard: Callable[[T], object],
) -> T:
    """Run ``work`` for at most ``timeout`` seconds (None: no limit).

    A loop that was blocked gives the time back, and reads once more in any case.

    Returns its result, or raises its exception, :class:`DeadlinePassed`, or the caller's
    cancellation. The work has ended in every case; ``discard`` gets a result that nobody waits for
    any more.
    """
    loop = asyncio.get_running_loop()
    task = loop.create_task(work)
    try:
        deadline = None if timeout is None else loop.time() + timeout
        await asyncio.wait({task}, timeout=timeout)
        if deadline is not None and not task.done():
            await asyncio.wait({task}, timeout=until_second_look(deadline, loop.time()))
        if task.done():
            return task.result()
        await settle({task})
        if task.cancelled():
            raise DeadlinePassed
        return task.result()
    except asyncio.CancelledError:
        try:
            await settle({task})
        finally:
            if not task.cancelled() and task.exception() is None:
                discard(task.result())
        raise
    finally:
        # A reference cycle otherwise: the exception's traceback refers to this frame.
        del task, work


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work``, which must be short, to its end; only then is a cancellation raised."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if cancelled and not task.cancelled() and task.exception() is None:
        raise asyncio.CancelledError
    return task.result()
