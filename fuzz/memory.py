"""A loop with a clock of its own, and a transport whose peer is a byte string.

Both do what asyncio's do as far as an endpoint can tell, at once or when they are told to.
"""

from __future__ import annotations

import asyncio
from typing import Any, Callable, Dict, List, Optional

from fuzz.harness import check

__all__ = ["MemoryLoop", "MemoryTransport"]


class _Handle:
    """A callback that is due at some time."""

    def __init__(self, when: float, callback: Callable[..., object], arguments: Any) -> None:
        self.when = when
        self._call = lambda: callback(*arguments)
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def run(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self._call()


class MemoryLoop:
    """As much of an event loop as an endpoint and a future need. Time passes in ``advance``."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._ready: List[_Handle] = []
        self._timers: List[_Handle] = []
        self.reported: List[Dict[str, Any]] = []

    def time(self) -> float:
        """Seconds."""
        return self._now

    def get_debug(self) -> bool:
        """Futures ask this."""
        return False

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)  # type: ignore[arg-type]

    def call_soon(
        self, callback: Callable[..., object], *arguments: object, context: object = None
    ) -> _Handle:
        """Call in the next turn."""
        handle = _Handle(self._now, callback, arguments)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *arguments: object
    ) -> _Handle:
        """Call after ``delay`` seconds."""
        check(delay >= 0, "a timer in the past", delay)
        handle = _Handle(self._now + delay, callback, arguments)
        self._timers.append(handle)
        return handle

    def call_exception_handler(self, context: Dict[str, Any]) -> None:
        """Futures report here an exception that nobody looked at."""
        self.reported.append(context)

    @property
    def timers(self) -> int:
        """How many timers are set."""
        return sum(not handle.cancelled for handle in self._timers)

    def turn(self) -> None:
        """Run what is ready now."""
        while self._ready:
            ready, self._ready = self._ready, []
            for handle in ready:
                handle.run()

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due."""
        end = self._now + seconds
        self.turn()
        while True:
            due = [timer for timer in self._timers if not timer.cancelled and timer.when <= end]
            if not due:
                break
            first = min(due, key=lambda timer: timer.when)
            self._now = max(self._now, first.when)
            first.run()
            self.turn()
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        self._now = end


class MemoryTransport:
    """An asyncio transport over nothing. ``written`` is all that the endpoint ever wrote."""

    def __init__(self, loop: MemoryLoop, endpoint: Any, *, is_secure: bool) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._is_secure = is_secure
        self._high, self._low = 65536, 16384
        self._paused = False
        self._queued = 0
        self.peer_reads = True
        self.written = bytearray()
        self.has_ended_writing = False
        self.is_aborted = False
        self.is_lost = False
        self._is_closing = False
        self._loss_is_due = False

    # What an endpoint calls

    def write(self, data: bytes) -> None:
        """Take the data; what the peer does not read is queued."""
        check(type(data) is bytes and data, "wrote", data)
        check(not self.has_ended_writing, "wrote after write_eof()")
        check(not self.is_lost, "wrote after connection_lost()")
        if self.is_aborted:
            return
        self.written += data
        if not self.peer_reads:
            self._queued += len(data)
            if self._queued > self._high and not self._paused:
                self._paused = True
                self._endpoint.pause_writing()

    def write_eof(self) -> None:
        """Half-close."""
        check(not self.is_lost, "write_eof() after connection_lost()")
        self.has_ended_writing = True

    def can_write_eof(self) -> bool:
        """TLS cannot half-close."""
        return not self._is_secure

    def close(self) -> None:
        """End, once the queue is empty."""
        self._is_closing = True
        if not self._queued:
            self._lose_soon(None)

    def abort(self) -> None:
        """End now."""
        self._is_closing = True
        self.is_aborted = True
        self._queued = 0
        self._lose_soon(None)

    def is_closing(self) -> bool:
        """Whether close() or abort() was called."""
        return self._is_closing

    def get_extra_info(self, name: str, default: object = None) -> object:
        """Only tells TLS from plain."""
        return self if name == "sslcontext" and self._is_secure else default

    def get_write_buffer_size(self) -> int:
        """Bytes queued."""
        return self._queued

    def set_write_buffer_limits(
        self, high: Optional[int] = None, low: Optional[int] = None
    ) -> None:
        """Watermarks in bytes."""
        check(high is not None and low is not None and 0 <= low <= high, "limits", high, low)
        self._high, self._low = high or 0, low or 0

    # What the harness calls

    @property
    def is_reading(self) -> bool:
        """Whether bytes of the peer still reach the endpoint."""
        return not self._is_closing and not self.is_lost

    def drain(self, size: int) -> None:
        """The peer reads some of what is queued."""
        self._queued = max(0, self._queued - size)
        if self._paused and self._queued <= self._low and not self.is_lost:
            self._paused = False
            self._endpoint.resume_writing()
        if self._is_closing and not self._queued:
            self._lose_soon(None)

    def end_of_stream(self) -> None:
        """The peer half-closes."""
        if self.is_reading and not self._endpoint.eof_received():
            self.close()

    def lose(self, error: Optional[Exception]) -> None:
        """The connection breaks."""
        self._is_closing = True
        self._queued = 0
        self._lose_soon(error)

    def _lose_soon(self, error: Optional[Exception]) -> None:
        if not self._loss_is_due:
            self._loss_is_due = True
            self._loop.call_soon(self._lost, error)

    def _lost(self, error: Optional[Exception]) -> None:
        self.is_lost = True
        endpoint, self._endpoint = self._endpoint, None
        endpoint.connection_lost(error)
