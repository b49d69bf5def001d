"""Looks at the ClientHello in a socket, which stays there for the TLS engine."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket

from picows_codec.readiness import has_readers
from picows_server.sni.client_hello import MOST_BYTES, ClientHello

__all__ = ["peek_client_hello"]

# Bytes that are looked at once; a ClientHello rarely has more.
_LOOK = 4096

# A look copies and reads only what is new, but the kernel copies everything again. Whoever sends
# a ClientHello in very many pieces is looked at after pauses, in seconds, which double.
_FREE_LOOKS = 32
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.01, 0.1


async def peek_client_hello(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> ClientHello:
    """Return the ClientHello of a client, when it has arrived. The caller limits the time.

    Nothing is taken from the socket, so any TLS engine can have it, the kernel's TLS included. To
    wait for the rest of a ClientHello SO_RCVLOWAT is raised meanwhile: the socket is
    readable when enough has come, or when the peer hangs up.

    Raises :class:`ClientHelloError` for anything else than a ClientHello, and :class:`OSError`.
    """
    hello = ClientHello()
    seen = looks = 0
    pause = _SHORTEST_PAUSE
    is_readiness_reported = has_readers(loop)
    is_count_set = False
    try:
        while True:
            # Before the look: what is there after it arrived together with the end, or earlier.
            is_over = _has_hung_up(sock)
            size = _look(sock, hello, seen)
            if not hello.wanted:
                return hello
            looks += 1
            is_new = size > seen
            seen = size
            if is_over and not is_new:
                raise ConnectionResetError("the peer closed the connection")
            if seen:
                is_count_set = True
                _set_lowest_count(sock, seen + hello.wanted)
            if looks > _FREE_LOOKS or (seen and not is_new) or not is_readiness_reported:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            if is_readiness_reported:
                await _until_readable(loop, sock)
    finally:
        if is_count_set:
            _set_lowest_count(sock, 1)


def _look(sock: socket.socket, hello: ClientHello, seen: int) -> int:
    """Feed what is new behind ``seen`` bytes, and return how many there are now."""
    try:
        data = sock.recv(min(MOST_BYTES, seen + max(_LOOK, hello.wanted)), socket.MSG_PEEK)
    except (BlockingIOError, InterruptedError):
        return seen
    if not data:
        raise ConnectionResetError("the peer closed the connection")
    hello.feed(data[seen:])
    return len(data)


async def _until_readable(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    readable = loop.create_future()
    descriptor = sock.fileno()
    loop.add_reader(descriptor, _wake, readable)
    try:
        await readable
    finally:
        loop.remove_reader(descriptor)


def _wake(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)


def _set_lowest_count(sock: socket.socket, size: int) -> None:
    # Not everywhere, and for Unix sockets Linux ignores it: then there are pauses.
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)


def _has_hung_up(sock: socket.socket) -> bool:
    """Whether the peer has sent its last byte, which a look at earlier bytes does not show."""
    if not hasattr(select, "poll"):  # pragma: no cover - Windows: its time runs out
        return False
    poll = select.poll()
    # Linux tells of half of an end, too; POLLHUP is told everywhere without being asked for.
    poll.register(sock.fileno(), getattr(select, "POLLRDHUP", 0))
    return bool(poll.poll(0))
