"""One end of a TLS connection whose test decides when each step is done."""

from __future__ import annotations

import asyncio
import socket
import ssl

__all__ = ["TlsByHand"]


class TlsByHand:
    """TLS over ``sock``, which becomes non-blocking; what a step has to send leaves in it."""

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool = False
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side,
            None if server_side else "localhost",
        )

    def step(self) -> bool:
        """Go on with the handshake as far as possible; returns whether it is done."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            is_done = False
        else:
            is_done = True
        self._sock.send(self._outgoing.read() or b"")
        return is_done

    async def wait(self) -> None:
        """Wait for bytes of the other end."""
        data = await asyncio.get_running_loop().sock_recv(self._sock, 65536)
        assert data, "the other end closed the connection"
        self._incoming.write(data)

    async def shake_hands(self) -> None:
        """Do what is left of the handshake."""
        while not self.step():
            await self.wait()

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self._sock.send(self._outgoing.read())

    async def receive(self) -> bytes:
        """Read what has come, or comes next."""
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                await self.wait()
