"""A loop with a clock of its own, and two wires whose peer the harness controls.

:class:`MemoryTransport` is an asyncio transport over nothing; :class:`SocketWire` is the codec's
own transport over a pair of sockets in this process. Both have the same interface for the harness.
Everything happens at once, or when the harness calls for it.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Any, Callable, Dict, List, Optional

from fuzz.harness import check

try:
    from picows_codec import stream
except ImportError:  # no readiness-driven sockets on this platform
    stream = None  # type: ignore[assignment]

__all__ = ["MemoryLoop", "MemoryTransport", "SocketWire", "stream"]

KERNEL_BUFFER = 32768
MOST_ITERATIONS = 10000


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
        self._watched: Dict[int, Dict[int, Callable[[], object]]] = {}
        # Moves what the peer reads; returns whether there was anything.
        self.peer: Callable[[], bool] = lambda: False
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
        """Call in the next iteration."""
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
        """Futures report an exception here that nobody retrieved."""
        self.reported.append(context)

    @property
    def timers(self) -> int:
        """How many timers are set."""
        return sum(not handle.cancelled for handle in self._timers)

    @property
    def watched(self) -> int:
        """How many descriptors are watched."""
        return len(self._watched)

    def add_reader(self, fd: int, callback: Callable[..., object], *arguments: object) -> None:
        """Call when the descriptor is readable."""
        self._watched.setdefault(fd, {})[select.POLLIN] = lambda: callback(*arguments)

    def add_writer(self, fd: int, callback: Callable[..., object], *arguments: object) -> None:
        """Call when the descriptor is writable."""
        self._watched.setdefault(fd, {})[select.POLLOUT] = lambda: callback(*arguments)

    def remove_reader(self, fd: int) -> bool:
        """Undo it."""
        return self._unwatch(fd, select.POLLIN)

    def remove_writer(self, fd: int) -> bool:
        """Undo it."""
        return self._unwatch(fd, select.POLLOUT)

    def _unwatch(self, fd: int, event: int) -> bool:
        events = self._watched.get(fd, {})
        was_there = events.pop(event, None) is not None
        if not events:
            self._watched.pop(fd, None)
        return was_there

    def run_ready(self) -> None:
        """Run what is ready, until nothing is."""
        for _ in range(MOST_ITERATIONS):
            ready, self._ready = self._ready, []
            for handle in ready:
                handle.run()
            if not (ready or self._serve_descriptors() or self.peer()):
                return
        check(False, "the loop never comes to rest")

    def _serve_descriptors(self) -> bool:
        if not self._watched:
            return False
        poll = select.poll()
        for fd, events in self._watched.items():
            poll.register(fd, sum(events))
        ready = poll.poll(0)
        for fd, event in ready:
            broken = event & (select.POLLHUP | select.POLLERR)
            for wanted in (select.POLLIN, select.POLLOUT):
                callback = self._watched.get(fd, {}).get(wanted)
                if callback is not None and (event & wanted or broken):
                    callback()
        return bool(ready)

    def advance(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due."""
        end = self._now + seconds
        self.run_ready()
        while True:
            due = [timer for timer in self._timers if not timer.cancelled and timer.when <= end]
            if not due:
                break
            first = min(due, key=lambda timer: timer.when)
            self._now = max(self._now, first.when)
            first.run()
            self.run_ready()
        self._timers = [timer for timer in self._timers if not timer.cancelled]
        self._now = end


class MemoryTransport:
    """An asyncio transport over nothing. ``written`` is all that the endpoint ever wrote."""

    def __init__(
        self, loop: MemoryLoop, endpoint: Any, *, is_secure: bool, is_buffered: bool
    ) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._is_secure = is_secure
        self._is_buffered = is_buffered
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
        endpoint.connection_made(self)

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

    def is_reading(self) -> bool:
        """Whether bytes of the peer still reach the endpoint."""
        return not self._is_closing and not self.is_lost

    def deliver(self, data: bytes) -> int:
        """Bytes of the peer arrive; how many of them the network took."""
        if not self._is_buffered:
            self._endpoint.data_received(data)
            return len(data)
        position = 0
        while position < len(data) and self.is_reading():
            room = self._endpoint.get_buffer(-1)
            size = min(len(room), len(data) - position)
            check(size > 0, "no room to receive into")
            room[:size] = data[position : position + size]
            self._endpoint.buffer_updated(size)
            position += size
        return len(data)

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
        if self.is_reading() and not self._endpoint.eof_received():
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

    def close_all(self) -> None:
        """Nothing to close."""


class SocketWire:
    """The codec's own transport; the peer is the other end of a pair of sockets."""

    def __init__(self, loop: MemoryLoop, endpoint: Any, *, with_poller: bool) -> None:
        self._loop = loop
        self._ours, self._peer = socket.socketpair()
        for sock in (self._ours, self._peer):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)
        self.peer_reads = True
        self.written = bytearray()
        self._poller = stream.Poller(loop) if with_poller else None
        loop.peer = self._read_as_peer
        self._transport = stream.attach(loop, self._ours, endpoint, poller=self._poller)

    def is_reading(self) -> bool:
        """Whether bytes of the peer still reach the endpoint."""
        return not self._transport.is_closing() and self._peer.fileno() >= 0

    @property
    def is_aborted(self) -> bool:
        """Whether something that was written may be missing: from outside, close() looks alike."""
        return bool(self._transport.is_closing())

    @property
    def is_lost(self) -> bool:
        """Whether connection_lost() was called."""
        return self._transport.get_protocol() is None

    def deliver(self, data: bytes) -> int:
        """Bytes of the peer arrive; how many of them the network took."""
        position = 0
        while position < len(data) and self.is_reading():
            try:
                position += self._peer.send(data[position:])
            except BlockingIOError:
                pass
            except OSError:  # the other end is closed
                break
            self._loop.run_ready()
        return position

    def _read_as_peer(self) -> bool:
        return self.peer_reads and self._receive(KERNEL_BUFFER) > 0

    def _receive(self, size: int) -> int:
        if self._peer.fileno() < 0:
            return 0
        try:
            received = self._peer.recv(size)
        except OSError:  # nothing there, or a reset
            return 0
        self.written += received
        return len(received)

    def drain(self, size: int) -> None:
        """The peer reads something."""
        if size:
            self._receive(size)
        self._loop.run_ready()

    def end_of_stream(self) -> None:
        """The peer half-closes."""
        try:
            self._peer.shutdown(socket.SHUT_WR)
        except OSError:  # it is closed already
            return
        self._loop.run_ready()

    def lose(self, error: Optional[Exception]) -> None:
        """The peer is gone."""
        self._peer.close()
        self._loop.run_ready()

    def close_all(self) -> None:
        """Close the harness's end and see that ours is closed."""
        self._peer.close()
        self._transport = None
        if self._poller is not None:
            check(not len(self._poller), "the poller still watches a socket")
            self._poller.close()
        check(self._ours.fileno() < 0, "the socket was not closed")
        check(not self._loop.watched, "a descriptor is still watched")
