"""Whether an event loop reports readiness, found out without importing asyncio."""

from __future__ import annotations

from typing import Any

__all__ = ["has_readers"]

# Where asyncio declares add_reader for loops that do not implement it.
_DECLARED = ("asyncio.events", "AbstractEventLoop.add_reader")


def has_readers(loop: Any) -> bool:
    """Whether the loop reports readiness (uvloop, selector loops) or completion (proactor)."""
    method = getattr(type(loop), "add_reader", None)
    found = (getattr(method, "__module__", None), getattr(method, "__qualname__", None))
    return method is not None and found != _DECLARED
