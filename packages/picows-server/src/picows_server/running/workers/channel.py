"""The pipe between the supervisor and one worker: Python objects in frames of a pair of sockets."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import socket
import struct
from typing import Callable, Iterator

__all__ = ["Channel", "receive_blocking", "send_blocking"]

_LENGTH = struct.Struct("!I")
_READ_SIZE = 1 << 16


class Channel:
    """One end of the pipe, on a loop with ``add_reader``.

    ``received`` gets each message. ``ended`` is called once, when the other end is closed, which is
    also how a process learns that the other one has died. Both ends trust each other, because they
    are processes of one user that run the same code: messages are pickled.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        received: Callable[[object], None],
        ended: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._received = received
        self._ended = ended
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._is_open = True
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self.receive)

    def send(self, message: object) -> None:
        """Send a message; it waits in memory if the other process does not read."""
        if self._is_open:
            self._outgoing += _frame(message)
            self._flush()

    def offer(self, message: object) -> bool:
        """Send a message unless an earlier one still waits; False if it was left out."""
        if self._outgoing or not self._is_open:
            return False
        self.send(message)
        return True

    def receive(self) -> None:
        """Take what has arrived; the loop does that by itself."""
        while self._is_open:
            try:
                data = self._sock.recv(_READ_SIZE)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # the other process died with messages unread
                data = b""
            if not data:
                self._take_frames()
                self._end()
                return
            self._incoming += data
        self._take_frames()

    def finish(self, seconds: float) -> None:
        """Close this end when the rest has been sent, or the other does not take it in time."""
        if self._is_open and self._outgoing:
            self._sock.settimeout(seconds)
            with contextlib.suppress(OSError):
                self._sock.sendall(self._outgoing)
        self.close()

    def close(self) -> None:
        """Close this end; nothing is called afterwards."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()

    def _take_frames(self) -> None:
        for message in _frames(self._incoming):
            if not self._is_open:
                return
            self._received(message)

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._outgoing)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            # The reader sees the end, too, and what was sent before it.
            self._outgoing.clear()
            self._loop.remove_writer(self._sock.fileno())
            return
        del self._outgoing[:sent]
        if self._outgoing:
            self._loop.add_writer(self._sock.fileno(), self._flush)
        else:
            self._loop.remove_writer(self._sock.fileno())

    def _end(self) -> None:
        if self._is_open:
            self.close()
            self._ended()


def receive_blocking(sock: socket.socket) -> object:
    """Receive the one message that comes before the loop runs.

    Raises :class:`EOFError` if the other process has died.
    """
    sock.setblocking(True)
    (size,) = _LENGTH.unpack(_exactly(sock, _LENGTH.size))
    return pickle.loads(_exactly(sock, size))  # noqa: S301 - from the process that started this one


def send_blocking(sock: socket.socket, message: object) -> None:
    """Send a message without a loop; raises :class:`OSError` if the other process has died."""
    sock.setblocking(True)
    sock.sendall(_frame(message))


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            raise EOFError("the other end of the pipe is closed")
        data += chunk
    return bytes(data)


def _frame(message: object) -> bytes:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(data)) + data


def _frames(buffer: bytearray) -> Iterator[object]:
    while len(buffer) >= _LENGTH.size:
        (size,) = _LENGTH.unpack_from(buffer)
        end = _LENGTH.size + size
        if len(buffer) < end:
            return
        data = bytes(buffer[_LENGTH.size : end])
        del buffer[:end]
        yield pickle.loads(data)  # noqa: S301 - from a worker that this process started
