"""Talk over a socket or a transport before it has the connection's own protocol.

Bytes beyond the end that a read asks for stay in the dialogue, because they belong to the
connection.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Optional, Union

from picows_client.protocol import ClientProtocol

__all__ = ["Dialogue", "SocketDialogue", "TransportDialogue"]

# Bytes; a proxy's response is rarely longer.
_READ_SIZE = 4096


class Dialogue:
    """Ordered bytes in both directions; subclasses say how they travel."""

    def __init__(self) -> None:
        self._received = bytearray()

    @property
    def unread_size(self) -> int:
        """Bytes that arrived and that nobody has read."""
        return len(self._received)

    @property
    def unread(self) -> bytes:
        """The bytes that arrived and that nobody has read; they stay unread."""
        return bytes(self._received)

    async def send(self, data: bytes) -> None:
        """Send all of ``data``. Raises :class:`OSError`."""
        raise NotImplementedError

    async def read_until(self, end: bytes, limit: int) -> Optional[bytes]:
        """Read up to and including ``end``, or return None if it is not within ``limit`` bytes.

        Raises :class:`EOFError` if the peer ends before, or :class:`OSError`.
        """
        searched = 0
        while True:
            found = self._received.find(end, searched, limit)
            if found >= 0:
                return self._take(found + len(end))
            if len(self._received) >= limit:
                return None
            searched = max(0, len(self._received) - len(end) + 1)
            await self.receive()

    async def receive(self) -> None:
        """Wait for the next bytes, which are then unread. Raises EOFError or OSError."""
        raise NotImplementedError

    def _take(self, size: int) -> bytes:
        data = bytes(self._received[:size])
        del self._received[:size]
        return data


class SocketDialogue(Dialogue):
    """A connected, non-blocking socket, which stays the caller's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        super().__init__()
        self._loop = loop
        self._sock = sock

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def receive(self) -> None:
        data = await self._loop.sock_recv(self._sock, _READ_SIZE)
        if not data:
            raise EOFError
        self._received += data


class TransportDialogue(Dialogue, asyncio.Protocol):
    """The first protocol of an asyncio transport, which can hand it over to another one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._transport: Optional[asyncio.Transport] = None
        self._waiter: Optional[asyncio.Future[None]] = None
        self._ended = False
        self._error: Optional[BaseException] = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport; RuntimeError before ``connection_made``."""
        if self._transport is None:
            raise RuntimeError("there is no transport yet")
        return self._transport

    def check_open(self) -> None:
        """Raise :class:`OSError` if the connection has ended, because no later protocol is told."""
        if self._ended:
            raise self._error or ConnectionResetError("the peer closed the connection")

    def hand_over(self, protocol: Union[ClientProtocol, TransportDialogue]) -> None:
        """Give ``protocol`` the transport and the unread bytes. Raises OSError."""
        self.check_open()
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if self._received:
            protocol.data_received(self._take(self.unread_size))

    def abort(self) -> None:
        """Drop the connection, if there is one."""
        if self._transport is not None:
            self._transport.abort()

    async def send(self, data: bytes) -> None:
        # A request of a few hundred bytes; no wait, because the response shows that it has left.
        self.transport.write(data)

    async def receive(self) -> None:
        before = len(self._received)
        while len(self._received) == before:
            if self._ended:
                raise self._error or EOFError
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._received += data
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        self._ended = True
        self._error = exc
        if self._transport is not None:
            # Before Python 3.11 asyncio's TLS transports warn unless they are told to close.
            self._transport.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
