"""A transport without a network, as asyncio's transports behave."""

from __future__ import annotations

import asyncio
from typing import Any, List, Optional

__all__ = ["InjectedFault", "MemoryTransport"]


class InjectedFault(Exception):
    """What a transport raises where a test told it to fail."""


class MemoryTransport(asyncio.Transport):
    """The transport of a protocol over ``loop``; the test is the network.

    ``writes`` records every write that was accepted, ``calls`` the name of every method that the
    protocol called. ``fail_at``: the call (counting from 1) that raises; the transport then breaks
    as a real one would: sooner or later ``connection_lost`` is called. ``room``: how many bytes
    the kernel takes before the write queue begins to fill; None for any number.
    """

    def __init__(
        self,
        loop: Any,
        protocol: Any,
        *,
        fail_at: Optional[int] = None,
        room: Optional[int] = None,
        secure: bool = False,
        can_half_close: bool = True,
        buffered: bool = True,
    ) -> None:
        super().__init__()
        self.writes: List[bytes] = []
        self.calls: List[str] = []
        self.fatal_errors: List[BaseException] = []
        self.room = room
        self.aborted = False
        self.eof_written = False
        self.lost = False
        self._loop = loop
        self._protocol = protocol
        self._fail_at = fail_at
        self._secure = secure
        self._can_half_close = can_half_close
        self._buffered = buffered
        self._queue = 0
        self._arrived = b""
        self._eof_arrived = False
        self._high, self._low = 65536, 16384
        self._protocol_paused = False
        self._reading = True
        self._closing = False
        self._doomed = False

    # For the test

    def start(self) -> None:
        """Call ``connection_made``, as a loop would."""
        self._guarded(self._protocol.connection_made, self)

    def feed(self, data: bytes) -> None:
        """Bytes arrive. While reading is paused they wait, as in the kernel."""
        if self._closing:
            return
        self._arrived += data
        self._deliver()

    @property
    def undelivered(self) -> int:
        """Bytes that wait because reading is paused."""
        return len(self._arrived)

    def _deliver(self) -> None:
        while self._arrived and self._reading and not self._closing:
            if not self._buffered:
                data, self._arrived = self._arrived, b""
                self._guarded(self._protocol.data_received, data)
                return
            buffer = memoryview(self._protocol.get_buffer(-1))
            size = min(len(buffer), len(self._arrived))
            buffer[:size] = self._arrived[:size]
            del buffer
            self._arrived = self._arrived[size:]
            self._guarded(self._protocol.buffer_updated, size)
        if self._eof_arrived and not self._arrived and not self._closing:
            self._eof_arrived = False
            if not self._guarded(self._protocol.eof_received):
                self._close()

    def fail_next(self, n: int = 1) -> None:
        """The n-th call from now raises."""
        self._fail_at = len(self.calls) + n

    def feed_eof(self) -> None:
        """The peer half-closes."""
        if not self._closing:
            self._eof_arrived = True
            self._deliver()

    def drain(self, size: Optional[int] = None) -> None:
        """The kernel takes ``size`` bytes of the queue, or all of it."""
        if self._doomed:
            return
        self._queue -= self._queue if size is None else min(size, self._queue)
        if self._protocol_paused and self._queue <= self._low:
            self._protocol_paused = False
            self._guarded(self._protocol.resume_writing)
        if self._closing and not self._queue:
            self._doom(None)

    def lose(self, exc: Optional[BaseException] = None) -> None:
        """The connection breaks; what was queued is gone."""
        self._closing = True
        self._doom(exc)

    @property
    def written(self) -> bytes:
        """All that was written."""
        return b"".join(self.writes)

    @property
    def watermarks(self) -> Any:
        """Low and high, in bytes."""
        return self._low, self._high

    # For the protocol

    def write(self, data: Any) -> None:
        """Take bytes, and pause the protocol if too many wait."""
        self._count("write")
        if self.eof_written:
            raise RuntimeError("write() after write_eof()")
        if self._doomed:
            return
        self.writes.append(bytes(data))
        taken = len(data)
        if self.room is not None:
            taken = 0 if self._queue else min(taken, self.room)
            self.room -= taken
        self._queue += len(data) - taken
        if self._queue > self._high and not self._protocol_paused:
            self._protocol_paused = True
            self._protocol.pause_writing()

    def write_eof(self) -> None:
        """Half-close."""
        self._count("write_eof")
        if not self._closing:
            self.eof_written = True

    def can_write_eof(self) -> bool:
        """Whether it can be half-closed."""
        self._count("can_write_eof")
        return self._can_half_close

    def close(self) -> None:
        """End when the queue is empty."""
        self._count("close")
        self._close()

    def abort(self) -> None:
        """End now."""
        # abort() always works, even if it also raises.
        self.aborted = True
        self._closing = True
        self._queue = 0
        self._doom(None)
        self._count("abort")

    def is_closing(self) -> bool:
        """Whether it ends or has ended."""
        self._count("is_closing")
        return self._closing

    def is_reading(self) -> bool:
        """Whether ``feed`` has an effect."""
        self._count("is_reading")
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        """Take nothing until ``resume_reading``."""
        self._reading = False

    def resume_reading(self) -> None:
        """Take bytes again."""
        self._reading = True
        if self._arrived or self._eof_arrived:
            self._loop.call_soon(self._deliver)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``sslcontext`` is something if it is secure; nothing else is known."""
        self._count("get_extra_info")
        return "a context" if self._secure and name == "sslcontext" else default

    def set_write_buffer_limits(
        self, high: Optional[int] = None, low: Optional[int] = None
    ) -> None:
        """Set the watermarks in bytes."""
        self._count("set_write_buffer_limits")
        self._high = 65536 if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        """Bytes in the queue."""
        self._count("get_write_buffer_size")
        return self._queue

    def _count(self, name: str) -> None:
        self.calls.append(name)
        if len(self.calls) == self._fail_at:
            raise InjectedFault(name)

    def _close(self) -> None:
        self._closing = True
        if not self._queue:
            self._doom(None)

    def _doom(self, exc: Optional[BaseException]) -> None:
        if not self._doomed:
            self._doomed = True
            self._loop.call_soon(self._lose, exc)

    def _lose(self, exc: Optional[BaseException]) -> None:
        protocol, self._protocol = self._protocol, None
        self._arrived = b""
        self.lost = True
        protocol.connection_lost(exc)

    def _guarded(self, method: Any, *args: Any) -> Any:
        """Call the protocol; what it raises breaks the connection, as in asyncio."""
        try:
            return method(*args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:  # noqa: BLE001
            self.fatal_errors.append(exc)
            self._closing = True
            self._queue = 0
            self._doom(exc)
            return None
