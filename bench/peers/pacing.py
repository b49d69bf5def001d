"""A fixed rate of messages, paced by the kernel, and how long after its due time each echo came.

The load is open: a message is due at its time whether or not earlier echoes have arrived, and its
latency begins then, not when the library got round to sending it. Otherwise a client that stalls
would be measured only once for all messages that waited (coordinated omission).

A timer of the kernel (timerfd) that the event loop watches says when messages are due. So every
library is paced alike, on each loop, and more precisely than by the timers of uvloop, which count
milliseconds.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from array import array
from time import monotonic_ns
from typing import Any, Awaitable, Callable, Dict

from bench.peers.common import NUMBER_SIZE, Adapter, Window, fail

__all__ = ["Pacer", "send_when_due"]

MONOTONIC = 1  # CLOCK_MONOTONIC, the clock of monotonic_ns()
ABSOLUTE = 1  # TFD_TIMER_ABSTIME
MOST = 1 << 20  # samples


class TimerSpec(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


class Pacer:
    """Says when messages are due, makes them, and looks at their echoes."""

    def __init__(self, adapter: Adapter) -> None:
        self._rest = adapter.message[NUMBER_SIZE:]
        self._interval = 1_000_000_000 // adapter.arguments.rate
        self._first = 0
        self._sent = 0
        self._echoed = 0
        # Room for all of them, so that nothing is allocated later.
        self._samples = array("q", bytes(8 * MOST))
        self._count = 0
        self._timer = -1
        self.window: Window = adapter.window(lambda: self._echoed)

    def start(self, due: Callable[[int], None]) -> None:
        """Call ``due(count)`` on the loop whenever messages have become due."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._timer = libc.timerfd_create(MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        self._first = monotonic_ns() + self._interval
        spec = TimerSpec(0, self._interval, *divmod(self._first, 1_000_000_000))
        if self._timer < 0 or libc.timerfd_settime(self._timer, ABSOLUTE, ctypes.byref(spec), None):
            fail("there is no timer")

        def expired() -> None:
            due(int.from_bytes(os.read(self._timer, 8), "little"))

        asyncio.get_running_loop().add_reader(self._timer, expired)
        self.window.begin()

    def next_message(self) -> bytes:
        """Make the next message, which has its number in front."""
        number = self._sent
        self._sent = number + 1
        return number.to_bytes(NUMBER_SIZE, "little") + self._rest

    def echoed(self, payload: Any) -> None:
        """Check the next echo, bytes, and note how long after its due time it came."""
        now = monotonic_ns()
        number = self._echoed
        if payload != number.to_bytes(NUMBER_SIZE, "little") + self._rest:
            fail("the echo is not what was sent")
        self._echoed = number + 1
        if self.window.is_open and self._count < MOST:
            self._samples[self._count] = now - self._first - number * self._interval
            self._count += 1

    async def wait(self) -> Window:
        """Wait for the end of the window; its result has the percentiles."""
        await self.window.wait()
        self.window.result.update(self._percentiles())
        return self.window

    def _percentiles(self) -> Dict[str, float]:
        samples = sorted(self._samples[: self._count])
        if not samples:
            return {}
        return {
            "p50_us": samples[len(samples) // 2] * 1e-3,
            "p99_us": samples[len(samples) * 99 // 100] * 1e-3,
            "p999_us": samples[len(samples) * 999 // 1000] * 1e-3,
            "max_us": samples[-1] * 1e-3,
        }


async def send_when_due(pacer: Pacer, send: Callable[[bytes], Awaitable[object]]) -> None:
    """Send by a coroutine, in a task that waits for due messages."""
    loop = asyncio.get_running_loop()
    waiting = 0
    waiter: asyncio.Future[None] = loop.create_future()

    def due(count: int) -> None:
        nonlocal waiting
        waiting += count
        if not waiter.done():
            waiter.set_result(None)

    pacer.start(due)
    while True:
        await waiter
        waiter = loop.create_future()
        while waiting:
            waiting -= 1
            await send(pacer.next_message())
