"""A client that is only bytes over asyncio streams: it can be as wrong as a test wants."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import socket
import ssl
import struct
import sys
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Optional, Tuple

from tests.support.rawpeer import RawConnection

__all__ = ["RawClient", "Response", "upgrade_request"]

_KEY = base64.b64encode(b"sixteen byte key").decode()
_ACCEPT = base64.b64encode(
    hashlib.sha1(f"{_KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
).decode()


@dataclass(frozen=True)
class Response:
    """An HTTP response; header names are in lower case."""

    status: int
    headers: Dict[str, str]
    body: bytes


def upgrade_request(path: str = "/", headers: Iterable[Tuple[str, str]] = ()) -> bytes:
    """Write a valid upgrade request (RFC 6455, 4.1), with more headers at the end."""
    lines = [
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {_KEY}",
        "Sec-WebSocket-Version: 13",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class RawClient(RawConnection):
    """One connection to a server. Leaving its context closes it."""

    @classmethod
    async def connect(cls, sockname: Any, *, context: Optional[ssl.SSLContext] = None) -> RawClient:
        """Connect to what a listening socket's ``getsockname()`` says."""
        tls: Dict[str, Any] = {}
        if context is not None:
            tls = {"ssl": context, "server_hostname": "localhost"}
        if isinstance(sockname, tuple):
            return cls(*await asyncio.open_connection(sockname[0], sockname[1], **tls))
        return cls(*await asyncio.open_unix_connection(sockname, **tls))

    @classmethod
    async def open(
        cls,
        sockname: Any,
        path: str = "/",
        headers: Iterable[Tuple[str, str]] = (),
        *,
        context: Optional[ssl.SSLContext] = None,
    ) -> RawClient:
        """Connect and complete the opening handshake."""
        client = await cls.connect(sockname, context=context)
        try:
            response = await client.upgrade(path, headers)
            assert response.status == 101, response
            assert response.headers["sec-websocket-accept"] == _ACCEPT
        except BaseException:
            await client.close()
            raise
        return client

    async def upgrade(self, path: str = "/", headers: Iterable[Tuple[str, str]] = ()) -> Response:
        """Send an upgrade request and read the response, whatever it is."""
        self.writer.write(upgrade_request(path, headers))
        return await self.read_response()

    async def read_response(self) -> Response:
        head = await self._timed(self.reader.readuntil(b"\r\n\r\n"))
        line, *fields = head.decode("ascii").split("\r\n")[:-2]
        pairs = (field.split(": ", 1) for field in fields)
        headers = {name.lower(): value for name, value in pairs}
        size = int(headers.get("content-length", 0))
        body = await self._timed(self.reader.readexactly(size))
        return Response(int(line.split(" ")[1]), headers, body)

    def write_frame(self, opcode: int, payload: bytes = b"", fin: bool = True) -> None:
        """Send a masked frame of less than 64 KiB."""
        size = len(payload)
        lengths = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
        key = os.urandom(4)
        masked = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
        self.writer.write(bytes([(0x80 if fin else 0) | opcode]) + lengths + key + masked)

    def write_close(self, code: int) -> None:
        self.write_frame(8, struct.pack("!H", code))

    async def read_close(self) -> int:
        """Read a CLOSE frame; returns its code."""
        frame = await self.read_frame()
        assert frame.opcode == 8, frame
        return int.from_bytes(frame.payload[:2], "big")

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        """Close the connection, and wait until that is done."""
        if sys.version_info < (3, 9):
            # asyncio's TLS ends when it has read what the peer says to that.
            transport: Any = self.writer.transport
            with contextlib.suppress(AttributeError):  # it has ended already
                transport.resume_reading()
        self.writer.close()
        with contextlib.suppress(OSError):
            await self._timed(self.writer.wait_closed())

    async def __aenter__(self) -> RawClient:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
