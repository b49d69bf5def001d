"""An event loop with real sockets on which nobody waits: time jumps to the next timer."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any, List, Optional

__all__ = ["SkippingLoop", "run_skipping"]

# Seconds in which the kernel hands over what one socket of this process has sent to another.
_GRACE = 0.002


class _SkippingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Adds to ``skipped`` what it was to wait where nothing was ready."""

    skipped = 0.0

    def select(self, timeout: Optional[float] = None) -> List[Any]:
        if timeout is None:
            return super().select(None)
        ready: List[Any] = super().select(min(timeout, _GRACE))
        if not ready and timeout > _GRACE:
            self.skipped += timeout
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """Its clock is real time and what it has skipped."""

    def __init__(self) -> None:
        self._skipping = _SkippingSelector()
        super().__init__(self._skipping)

    def time(self) -> float:
        return super().time() + self._skipping.skipped


def run_skipping(main: Any) -> Any:
    """Run ``main()`` on a fresh loop of this kind. Fails if tasks are left over."""
    loop = SkippingLoop()
    try:
        asyncio.set_event_loop(loop)
        result = loop.run_until_complete(main())
        left_over = asyncio.all_tasks(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    assert not left_over, f"tasks are left over: {left_over}"
    return result
