"""Count the objects and descriptors that must not be left, and wait until they are gone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import time
from collections import Counter
from typing import Callable, List, Type

import pytest

__all__ = ["count_instances", "eventually", "leaked_since", "open_descriptors"]


def open_descriptors() -> Counter[str]:
    """The sockets, pipes and pollers that this process has open.

    Files are left out: a loop opens ``/dev/null`` once, for itself. Skips the test where there is
    no ``/proc``.
    """
    if sys.platform != "linux":
        pytest.skip("descriptors are counted on Linux")
    targets = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the descriptor of this very listing
            targets.append(os.readlink(f"/proc/self/fd/{name}"))
    return Counter(target for target in targets if not target.startswith("/"))


def leaked_since(before: Counter[str]) -> List[str]:
    """What is open now and was not among ``before``, an earlier :func:`open_descriptors`."""
    return sorted((open_descriptors() - before).elements())


def count_instances(cls: Type[object]) -> int:
    """How many objects of this class exist. Collects nothing: cycles would be counted."""
    return sum(type(found) is cls for found in gc.get_objects())


async def eventually(condition: Callable[[], object], timeout: float = 10.0) -> None:
    """Wait until the condition holds; an AssertionError if it does not in time (seconds)."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        await asyncio.sleep(0.005)
