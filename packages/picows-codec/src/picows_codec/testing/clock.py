"""Time that passes when a test says so: a clock, and an event loop that is driven by it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import sys
from asyncio.events import _get_running_loop, _set_running_loop
from collections import deque
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import (
    Any,
    Callable,
    Coroutine,
    Deque,
    Dict,
    Iterator,
    List,
    Optional,
    Tuple,
    cast,
)

__all__ = ["FakeClock", "FakeHandle", "FakeLoop"]


class FakeClock:
    """A callable that returns ``now`` (seconds)."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeHandle:
    """A callback that waits, in the loop's queue or for its time."""

    def __init__(
        self,
        callback: Callable[..., Any],
        args: Tuple[Any, ...],
        when: float,
        context: Optional[Context] = None,
    ) -> None:
        self._callback: Optional[Callable[..., Any]] = callback
        self._args = args
        self._when = when
        self._context: Optional[Context] = copy_context() if context is None else context

    def when(self) -> float:
        """Return the time at which it is due."""
        return self._when

    def cancel(self) -> None:
        """Never run it."""
        self._callback = None
        self._args = ()
        self._context = None

    def cancelled(self) -> bool:
        """Whether it was cancelled, or has run."""
        return self._callback is None

    def run(self) -> None:
        """Run it now."""
        callback, args, context = self._callback, self._args, self._context
        self.cancel()
        try:
            if callback is not None and context is not None:
                context.run(callback, *args)
        finally:
            del callback, args, context  # an exception that is kept keeps this frame, too


class FakeLoop:
    """An event loop without I/O: callbacks run in ``run_ready`` and ``advance`` only.

    The exception of a callback is raised by the call that ran it, not only logged. Futures, tasks,
    ``asyncio.sleep`` and the like work; sockets, threads and processes do not. A callback runs in
    the context that it was given, or in a copy of its caller's, as on asyncio's loops.
    """

    def __init__(self, clock: Optional[FakeClock] = None) -> None:
        self.clock = clock or FakeClock()
        self.reports: List[Dict[str, Any]] = []
        self._ready: Deque[FakeHandle] = deque()
        self._timers: List[Tuple[float, int, FakeHandle]] = []
        self._order = itertools.count()

    # What the library uses

    def time(self) -> float:
        """The clock's seconds."""
        return self.clock.now

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> FakeHandle:
        """Run a callback in the next ``run_ready``."""
        handle = FakeHandle(callback, args, self.clock.now, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> FakeHandle:
        """Run a callback when so many seconds have passed."""
        return self.call_at(self.clock.now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return asyncio.Future(loop=cast("Any", self))

    # What asyncio and listeners use

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> FakeHandle:
        """Run a callback at a time of the clock."""
        handle = FakeHandle(callback, args, when, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[..., Any], *args: Any, context: Any = None
    ) -> FakeHandle:
        """Run a callback in the next ``run_ready``."""
        return self.call_soon(callback, *args, context=context)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Any],
        *,
        name: Optional[str] = None,
        context: Optional[Context] = None,
        **_: Any,
    ) -> asyncio.Task[Any]:
        """Return a task that begins in the next ``run_ready``.

        Before Python 3.11 it runs in a copy of ``context``.
        """
        make: Any = asyncio.Task
        if context is None:
            task = make(coro, loop=self, name=name)
        elif sys.version_info >= (3, 11):
            task = make(coro, loop=self, name=name, context=context)
        else:
            task = context.run(make, coro, loop=self, name=name)
        return cast("asyncio.Task[Any]", task)

    def get_debug(self) -> bool:
        """False."""
        return False

    def is_running(self) -> bool:
        """Whether one of its callbacks runs."""
        running: Any = _get_running_loop()
        return running is self

    def is_closed(self) -> bool:
        """False: nothing of it needs to be closed."""
        return False

    def call_exception_handler(self, context: Dict[str, Any]) -> None:
        """Keep what asyncio reports in ``reports``."""
        self.reports.append(context)

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
        """Let time pass, timer by timer.

        :raises ValueError: a number of seconds of at least 0 is wanted.
        """
        if not seconds >= 0:
            raise ValueError(f"time does not pass by {seconds!r} seconds")
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

    @contextmanager
    def running(self) -> Iterator[None]:
        """``asyncio.get_running_loop()`` returns this loop within the block."""
        outer = _get_running_loop()
        task = _swapped_task(outer, None)
        _set_running_loop(cast("Any", self))
        try:
            yield
        finally:
            _set_running_loop(outer)
            _swapped_task(outer, task)

    def _run(self, handle: FakeHandle) -> None:
        with self.running():
            handle.run()

    def run(self, coro: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine that needs no time to pass, and return its result."""
        task = self.create_task(coro)
        self.run_ready()
        if not task.done():
            task.cancel()
            self.run_ready()
            raise TimeoutError("the coroutine waits for something that has not happened")
        return task.result()


def _swapped_task(loop: Optional[asyncio.AbstractEventLoop], task: Any) -> Any:
    """Make ``task`` the current one of a loop, and return the one before.

    From Python 3.14 on a thread has one current task, not one for each loop: while there is one, no
    task of another loop can run.
    """
    if sys.hexversion < 0x030E0000 or loop is None:
        return None
    swap: Any = asyncio.tasks._swap_current_task  # type: ignore[attr-defined]  # noqa: SLF001
    return swap(loop, task)
