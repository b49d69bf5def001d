"""A server that is only bytes over asyncio streams: a script per connection says what it does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Iterable, List, Optional, Tuple

__all__ = ["Frame", "RawConnection", "RawPeer", "Request", "raw_peer"]

# Seconds that any single read may take before the test fails instead of hanging.
READ_TIMEOUT = 10.0

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


@dataclass(frozen=True)
class Frame:
    """A frame as it was on the wire, its payload unmasked."""

    opcode: int
    payload: bytes
    fin: bool = True
    masked: bool = True


@dataclass(frozen=True)
class Request:
    """An HTTP request; header names are in lower case, and repeated headers are listed."""

    line: str
    headers: Dict[str, List[str]]

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]

    def header(self, name: str) -> Optional[str]:
        """The only value of a header, or None."""
        values = self.headers.get(name.lower(), [])
        assert len(values) <= 1, values
        return values[0] if values else None


class RawConnection:
    """One accepted connection. Every read fails after ``READ_TIMEOUT`` seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read_request(self) -> Request:
        """Read the head of a request."""
        head = await self._timed(self.reader.readuntil(b"\r\n\r\n"))
        line, *fields = head.decode("ascii").split("\r\n")[:-2]
        headers: Dict[str, List[str]] = {}
        for field in fields:
            name, value = field.split(": ", 1)
            headers.setdefault(name.lower(), []).append(value)
        return Request(line, headers)

    def respond(
        self, status: str, headers: Iterable[Tuple[str, str]] = (), body: bytes = b""
    ) -> None:
        """Send an HTTP response; ``status`` is code and reason."""
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers)]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)

    async def accept_upgrade(self, headers: Iterable[Tuple[str, str]] = ()) -> Request:
        """Read an upgrade request and accept it (RFC 6455, 4.2.2), with more headers."""
        request = await self.read_request()
        self.accept(request, headers)
        return request

    def accept(self, request: Request, headers: Iterable[Tuple[str, str]] = ()) -> None:
        """Accept an upgrade request that was read."""
        self.respond("101 Switching Protocols", [*upgrade_headers(request), *headers])

    async def redirect(self, location: str, status: str = "302 Found") -> Request:
        """Read a request and respond with a redirect."""
        request = await self.read_request()
        self.respond(status, [("Location", location), ("Content-Length", "0")])
        return request

    def write_frame(self, opcode: int, payload: bytes = b"", fin: bool = True) -> None:
        """Send an unmasked frame."""
        if len(payload) < 126:
            size = struct.pack("!B", len(payload))
        elif len(payload) < 65536:
            size = struct.pack("!BH", 126, len(payload))
        else:
            size = struct.pack("!BQ", 127, len(payload))
        self.writer.write(bytes([(0x80 if fin else 0) | opcode]) + size + payload)

    async def read_frame(self) -> Frame:
        """Read one frame and unmask it."""
        first, second = await self._timed(self.reader.readexactly(2))
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self._timed(self.reader.readexactly(2)))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self._timed(self.reader.readexactly(8)))
        masked = bool(second & 0x80)
        key = await self._timed(self.reader.readexactly(4)) if masked else bytes(4)
        payload = await self._timed(self.reader.readexactly(size))
        unmasked = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
        return Frame(first & 0x0F, unmasked, bool(first & 0x80), masked)

    async def echo_until_close(self) -> None:
        """Echo data frames; answer the CLOSE frame and close (RFC 6455, 7.1.1)."""
        while True:
            frame = await self.read_frame()
            self.write_frame(frame.opcode, frame.payload, frame.fin)
            if frame.opcode == 8:
                return

    async def read_to_end(self) -> bytes:
        """Read until the peer ends the connection, in order or by a reset."""
        try:
            data: bytes = await self._timed(self.reader.read())
        except OSError:
            return b""
        return data

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    @staticmethod
    async def _timed(awaitable: Any) -> Any:
        try:
            return await asyncio.wait_for(awaitable, READ_TIMEOUT)
        except asyncio.TimeoutError:  # an OSError since Python 3.11
            raise AssertionError(f"nothing arrived in {READ_TIMEOUT} seconds") from None


def upgrade_headers(request: Request) -> List[Tuple[str, str]]:
    """The headers that accept an upgrade request."""
    key = request.header("Sec-WebSocket-Key")
    assert key is not None
    digest = hashlib.sha1((key + _GUID).encode()).digest()
    return [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", base64.b64encode(digest).decode()),
    ]


Script = Callable[[RawConnection], Awaitable[Any]]


class RawPeer:
    """A listening server. ``results`` holds what its scripts returned, in that order."""

    def __init__(self, script: Script, is_secure: bool) -> None:
        self._script = script
        self._is_secure = is_secure
        self._tasks: List[asyncio.Task[None]] = []
        self.port = 0
        self.accepted = 0
        self.results: List[Any] = []

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{'wss' if self._is_secure else 'ws'}://{host}:{self.port}{path}"

    async def finished(self) -> None:
        """Wait until every connection's script is over and every peer is gone."""
        # The kernel may hold connections that the loop has not accepted yet.
        await asyncio.sleep(0.01)
        await asyncio.gather(*self._tasks)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        self._tasks.append(asyncio.ensure_future(self._serve(RawConnection(reader, writer))))

    async def _serve(self, connection: RawConnection) -> None:
        try:
            self.results.append(await self._script(connection))
            if connection.writer.transport.is_closing():
                return
            if connection.writer.can_write_eof():
                connection.writer.write_eof()
            else:
                connection.writer.close()
            await connection.read_to_end()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the peer left in the middle
        except RuntimeError:  # uvloop raises this for a write to a closed transport
            if not connection.writer.transport.is_closing():
                raise
        finally:
            connection.writer.close()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()


@contextlib.asynccontextmanager
async def raw_peer(
    script: Script,
    *,
    context: Optional[ssl.SSLContext] = None,
    host: str = "127.0.0.1",
    unix_path: Optional[str] = None,
    sock: Optional[socket.socket] = None,
) -> AsyncIterator[RawPeer]:
    """Serve ``script(connection)`` to every connection, on a free loopback port by default.

    When a script returns, the server half-closes, and waits for the peer to leave. Leaving the
    context waits for all of that.
    """
    peer = RawPeer(script, context is not None)
    if unix_path is not None:
        server = await asyncio.start_unix_server(peer.accept, unix_path, ssl=context)
    elif sock is not None:
        server = await asyncio.start_server(peer.accept, sock=sock, ssl=context)
    else:
        server = await asyncio.start_server(peer.accept, host, 0, ssl=context)
        peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
        await peer.finished()
    finally:
        server.close()
        for task in peer._tasks:
            task.cancel()
        await asyncio.gather(*peer._tasks, return_exceptions=True)
        await server.wait_closed()
