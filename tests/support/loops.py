"""Run a coroutine on a chosen event loop; a report that a loop only logs is an error here."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any, Callable, Coroutine, Dict, List, Set, TypeVar

import pytest

__all__ = ["LOOP_KINDS", "new_loop", "other_tasks", "run"]

LOOP_KINDS = ("asyncio", "uvloop")

LIMIT = 50.0  # seconds
CLOSE_TIMEOUT = 5.0

T = TypeVar("T")


def new_loop(kind: str) -> asyncio.AbstractEventLoop:
    """Make a loop of this kind; skips the test where there is no uvloop."""
    if kind == "uvloop":
        uvloop = pytest.importorskip("uvloop")
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.new_event_loop()


def run(
    main: Callable[[], Coroutine[Any, Any, T]], kind: str = "asyncio", limit: float = LIMIT
) -> T:
    """Run ``main()`` on a fresh loop and close it.

    Fails if tasks are left over, or if something was reported to the loop's exception handler.

    :param limit: seconds after which ``main()`` is cancelled, because a uvloop that waits cannot be
        interrupted from outside, by pytest-timeout for one.
    """
    loop = new_loop(kind)
    reports: List[Dict[str, Any]] = []

    def collect(_: asyncio.AbstractEventLoop, report: Dict[str, Any]) -> None:
        reports.append(report)

    loop.set_exception_handler(collect)
    try:
        asyncio.set_event_loop(loop)
        task = loop.create_task(main())
        loop.call_later(limit, task.cancel)
        result = loop.run_until_complete(task)
        left_over = asyncio.all_tasks(loop)
    finally:
        still_open = _close(loop)
    assert not still_open, f"connections are still open: {still_open}"
    assert not left_over, f"tasks are left over: {left_over}"
    assert not reports, f"the loop's exception handler was called: {reports}"
    return result


def other_tasks() -> Set[asyncio.Task[Any]]:
    """The tasks of the running loop that are not done, without the one that asks."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}


def _close(loop: asyncio.AbstractEventLoop) -> List[str]:
    """Close the loop; return what uvloop says about connections that are still open."""
    try:
        left_over = asyncio.all_tasks(loop)
        for task in left_over:
            task.cancel()
        if left_over:
            loop.run_until_complete(asyncio.wait(left_over, timeout=CLOSE_TIMEOUT))
        loop.run_until_complete(loop.shutdown_asyncgens())
        if hasattr(loop, "shutdown_default_executor"):  # Python 3.9
            loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        with warnings.catch_warnings(record=True) as caught:
            # As an error it would end uvloop's closing in the middle, which then waits for ever.
            warnings.simplefilter("always")
            loop.close()
    return [str(each.message) for each in caught]
