"""Tasks that are over when their caller goes on: deadlines and cancellation.

A deadline by ``task.cancel()`` on the caller itself cannot be told from a cancellation from
outside before Python 3.11, and ``asyncio.wait_for`` loses results before 3.12. Here the work runs
in a task of its own, so that neither happens.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Coroutine, Iterable, Optional, TypeVar

from picows_codec.deadlines import until_second_look

__all__ = ["DeadlinePassed", "run_with_deadline", "settle", "undisturbed"]

T = TypeVar("T")


class DeadlinePassed(asyncio.TimeoutError):
    """Of :func:`run_with_deadline`; the system's ETIMEDOUT is a TimeoutError as well."""


async def settle(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel ``tasks`` and return when all of them are over, whatever became of them.

    A cancellation of the caller meanwhile is raised, but only then.
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
    cancellation. It is over in every case; a result that nobody waits for any more is given to
    ``discard``.
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
        # The exception's traceback holds this frame: without this, each holds the other.
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
