"""Whether an event loop reports readiness, found out without importing asyncio."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

__all__ = ["has_readers"]

# Where asyncio declares add_reader for loops that do not implement it.
_DECLARED = ("asyncio.events", "AbstractEventLoop.add_reader")


def has_readers(loop: Any) -> bool:
    """Whether the loop reports readiness (uvloop, selector loops) or completion (proactor)."""
    loop_type: Any = type(loop)  # mypy takes the type of an Any for unhashable
    return _implements_readers(loop_type)


@lru_cache(maxsize=8)  # asked several times for each connection
def _implements_readers(loop_type: type) -> bool:
    method = getattr(loop_type, "add_reader", None)
    found = (getattr(method, "__module__", None), getattr(method, "__qualname__", None))
    return method is not None and found != _DECLARED
