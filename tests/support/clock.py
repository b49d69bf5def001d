"""Time that passes when a test says so: a clock, and an event loop that is driven by it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from typing import Any, Callable, Coroutine, Deque, Dict, List, Optional, Tuple

__all__ = ["FakeClock", "FakeHandle", "FakeLoop"]


class FakeClock:
    """A callable that returns ``now`` (seconds)."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeHandle:
    """A callback that waits, in the loop's queue or for its time."""

    def __init__(self, callback: Callable[..., Any], args: Tuple[Any, ...], when: float) -> None:
        self._callback: Optional[Callable[..., Any]] = callback
        self._args = args
        self._when = when

    def when(self) -> float:
        return self._when

    def cancel(self) -> None:
        self._callback = None
        self._args = ()

    def cancelled(self) -> bool:
        return self._callback is None

    def run(self) -> None:
        callback, args = self._callback, self._args
        self.cancel()
        try:
            if callback is not None:
                callback(*args)
        finally:
            del callback, args  # an exception that is kept keeps this frame, too


class FakeLoop(asyncio.AbstractEventLoop):
    """An event loop without I/O: callbacks run in ``run_ready`` and ``advance`` only.

    The exception of a callback is raised by the call that ran it, not only logged.
    """

    def __init__(self, clock: Optional[FakeClock] = None) -> None:
        self.clock = clock or FakeClock()
        self.reports: List[Dict[str, Any]] = []
        self._ready: Deque[FakeHandle] = deque()
        self._timers: List[Tuple[float, int, FakeHandle]] = []
        self._order = itertools.count()

    # What the library uses

    def time(self) -> float:
        return self.clock.now

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> FakeHandle:
        handle = FakeHandle(callback, args, self.clock.now)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> FakeHandle:
        handle = FakeHandle(callback, args, self.clock.now + delay)
        heapq.heappush(self._timers, (handle.when(), next(self._order), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    # What asyncio's futures and tasks use

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: Dict[str, Any]) -> None:
        self.reports.append(context)

    def create_task(self, coro: Coroutine[Any, Any, Any], **_: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        return asyncio.Task(coro, loop=self)

    # What tests use

    @property
    def timers(self) -> List[FakeHandle]:
        """The timers that are set, soonest first."""
        return [timer[2] for timer in sorted(self._timers) if not timer[2].cancelled()]

    def run_ready(self) -> None:
        """Run what is due now, and what that makes due."""
        while self._ready:
            self._run(self._ready.popleft())

    def advance(self, seconds: float) -> None:
        """Let time pass, timer by timer."""
        end = self.clock.now + seconds
        self.run_ready()
        while self._timers and self._timers[0][0] <= end:
            when, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled():
                self.clock.now = max(self.clock.now, when)
                self._run(handle)
                self.run_ready()
        self.clock.now = end
        self.run_ready()

    def _run(self, handle: FakeHandle) -> None:
        outer = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            handle.run()
        finally:
            asyncio._set_running_loop(outer)

    def run(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine that needs no time to pass, and return its result."""
        task = self.create_task(coro)
        self.run_ready()
        assert task.done(), "the coroutine waits for something"
        return task.result()
