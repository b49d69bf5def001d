"""Something done to each of many connections, without holding up the loop."""

from __future__ import annotations

import asyncio
from typing import Callable, Iterable, List, TypeVar

__all__ = ["in_slices"]

T = TypeVar("T")

# To close a connection takes some 20 microseconds.
SLICE = 64


def in_slices(
    loop: asyncio.AbstractEventLoop, items: Iterable[T], action: Callable[[T], object]
) -> None:
    """Call ``action`` for each of the present items: some at once, some in each loop iteration.

    Meanwhile items may change or end, and new ones come, which are left out. If the action raises
    an exception, this raises it for the first slice, the loop reports it for others, and the walk
    goes on.
    """
    _go_on(loop, list(items), 0, action)


def _go_on(
    loop: asyncio.AbstractEventLoop,
    items: List[T],
    done: int,
    action: Callable[[T], object],
) -> None:
    try:
        for item in items[done : done + SLICE]:
            done += 1
            action(item)
    finally:
        if done < len(items):
            loop.call_soon(_go_on, loop, items, done, action)
