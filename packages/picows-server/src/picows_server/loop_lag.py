"""How late an event loop calls back, measured while somebody wants to know."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf
from typing import Optional

__all__ = ["LoopLag"]

# Seconds from one look to the next: rare enough to cost nothing, and a loop that is blocked for
# longer than that is seen for sure.
_INTERVAL = 0.5
# Looks whose worst counts, and once more as many.
_WINDOW = 30
# Looks after the last question: longer than anybody waits who asks again and again.
_PATIENCE = 600


class LoopLag:
    """A timer of a loop that notes how late it comes; it ends when nobody has asked for minutes.

    Any thread may ask.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: Optional[asyncio.TimerHandle] = None
        self._is_measuring = False
        self._due = inf
        self._looks = 0
        self._unasked = 0
        self._worst = 0.0
        self._worst_before = 0.0

    def worst(self) -> float:
        """Seconds of the worst delay in the last one or two windows; measures from now on."""
        self._unasked = 0
        if self._loop.is_closed():
            return 0.0  # what is due there never comes
        if not self._is_measuring:
            self._is_measuring = True
            self._worst = self._worst_before = 0.0
            self._due = inf
            # Threadsafe, because a registry of metrics may be collected in a thread of its own.
            with suppress(RuntimeError):  # its thread has just closed it
                self._loop.call_soon_threadsafe(self._begin)
        # The third: a loop that is blocked right now, or asks in the first callback after that.
        return max(self._worst, self._worst_before, self._loop.time() - self._due)

    def stop(self) -> None:
        """Measure no more."""
        self._is_measuring = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self) -> None:
        if self._is_measuring and self._timer is None:
            self._looks = 0
            self._wait()

    def _wait(self) -> None:
        self._due = self._loop.time() + _INTERVAL
        self._timer = self._loop.call_at(self._due, self._look)

    def _look(self) -> None:
        self._worst = max(self._worst, self._loop.time() - self._due)
        self._looks += 1
        if self._looks == _WINDOW:
            self._looks = 0
            self._worst_before, self._worst = self._worst, 0.0
        self._unasked += 1
        if self._unasked == _PATIENCE:
            self._timer = None
            self._is_measuring = False
        else:
            self._wait()
