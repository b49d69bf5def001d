"""Tiny proxies on loopback, as scripts of a raw peer: HTTP CONNECT, SOCKS4 with 4A, and SOCKS5."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import sys
from typing import Any, Dict, List, Optional, Tuple, Type

import pytest

from tests.support.rawpeer import RawConnection, RawPeer, Request

__all__ = [
    "KINDS",
    "HttpProxy",
    "Proxy",
    "Socks4Proxy",
    "Socks5Proxy",
    "cases",
    "needs_python_socks",
    "proxy_url",
]


class Proxy:
    """A proxy whose ``serve`` is the script of a raw peer.

    ``hosts``: the addresses of names that only the proxy knows. ``secret``: what it wants for
    authentication, in its protocol's form. ``in_pieces``: its answers arrive byte by byte.
    ``asked``: where its clients wanted to go.
    """

    def __init__(
        self,
        hosts: Optional[Dict[str, str]] = None,
        secret: Optional[str] = None,
        in_pieces: bool = False,
    ) -> None:
        self._hosts = hosts or {}
        self._secret = secret
        self._in_pieces = in_pieces
        self.asked: List[Tuple[str, int]] = []

    async def serve(self, client: RawConnection) -> None:
        server = await self.greet(client)
        if server is not None:
            await asyncio.gather(_copy(client, server), _copy(server, client))
            with contextlib.suppress(OSError):
                await server.writer.wait_closed()

    async def greet(self, client: RawConnection) -> Optional[RawConnection]:
        """Find out what the client wants; returns its server, or None after a refusal."""
        raise NotImplementedError

    async def _answer(self, client: RawConnection, data: bytes) -> None:
        for piece in [data[i : i + 1] for i in range(len(data))] if self._in_pieces else [data]:
            client.writer.write(piece)
            await asyncio.sleep(0.001 if self._in_pieces else 0)

    async def _connect(self, host: str, port: int) -> Optional[RawConnection]:
        self.asked.append((host, port))
        address = self._hosts.get(host, host)
        try:
            return RawConnection(*await asyncio.open_connection(address, port))
        except OSError:
            return None


class HttpProxy(Proxy):
    """CONNECT; ``secret`` is the value of Proxy-Authorization."""

    def __init__(
        self,
        hosts: Optional[Dict[str, str]] = None,
        secret: Optional[str] = None,
        in_pieces: bool = False,
    ) -> None:
        super().__init__(hosts, secret, in_pieces)
        self.requests: List[Request] = []

    async def greet(self, client: RawConnection) -> Optional[RawConnection]:
        request = await client.read_request()
        self.requests.append(request)
        if self._secret is not None and request.header("Proxy-Authorization") != self._secret:
            await self._answer(client, b"HTTP/1.1 407 Say Who\r\nContent-Length: 0\r\n\r\n")
            return None
        host, _, port = request.target.rpartition(":")
        server = await self._connect(host.strip("[]"), int(port))
        answer = b"200 Go\r\nVia: test" if server else b"502 No Way\r\nContent-Length: 0"
        await self._answer(client, b"HTTP/1.1 " + answer + b"\r\n\r\n")
        return server


class Socks4Proxy(Proxy):
    """SOCKS4 with 4A; ``secret`` is the user."""

    async def greet(self, client: RawConnection) -> Optional[RawConnection]:
        version, command = await client.reader.readexactly(2)
        assert (version, command) == (4, 1)
        port = int.from_bytes(await client.reader.readexactly(2), "big")
        address = await client.reader.readexactly(4)
        user = await client.reader.readuntil(b"\0")
        host = str(ipaddress.IPv4Address(address))
        if address[:3] == b"\0\0\0":
            host = (await client.reader.readuntil(b"\0"))[:-1].decode()
        if self._secret is not None and user[:-1].decode() != self._secret:
            await self._answer(client, b"\x00\x5d" + bytes(6))
            return None
        server = await self._connect(host, port)
        await self._answer(client, b"\x00" + (b"\x5a" if server else b"\x5b") + bytes(6))
        return server


class Socks5Proxy(Proxy):
    """SOCKS5; ``secret`` is ``user:password``. ``bound`` is the address in its answer."""

    bound = b"\x01" + bytes(6)

    async def greet(self, client: RawConnection) -> Optional[RawConnection]:
        version, count = await client.reader.readexactly(2)
        methods = await client.reader.readexactly(count)
        assert version == 5
        if not await self._authenticate(client, methods):
            return None
        request = await client.reader.readexactly(4)
        assert request[:3] == b"\x05\x01\x00"
        if request[3] == 3:
            (size,) = await client.reader.readexactly(1)
            host = (await client.reader.readexactly(size)).decode()
        else:
            size = {1: 4, 4: 16}[request[3]]
            host = str(ipaddress.ip_address(await client.reader.readexactly(size)))
        port = int.from_bytes(await client.reader.readexactly(2), "big")
        server = await self._connect(host, port)
        await self._answer(client, (b"\x05\x00" if server else b"\x05\x05") + b"\x00" + self.bound)
        return server

    async def _authenticate(self, client: RawConnection, methods: bytes) -> bool:
        if self._secret is None:
            await self._answer(client, b"\x05\x00")
            return True
        if 2 not in methods:
            await self._answer(client, b"\x05\xff")
            return False
        await self._answer(client, b"\x05\x02")
        assert await client.reader.readexactly(1) == b"\x01"
        parts = []
        for _ in range(2):
            (size,) = await client.reader.readexactly(1)
            parts.append((await client.reader.readexactly(size)).decode())
        is_known = ":".join(parts) == self._secret
        await self._answer(client, b"\x01\x00" if is_known else b"\x01\x01")
        return is_known


async def _copy(source: RawConnection, target: RawConnection) -> None:
    with contextlib.suppress(OSError):
        while True:
            data = await source.reader.read(65536)
            if not data:
                break
            target.writer.write(data)
    target.writer.close()


needs_python_socks = pytest.mark.skipif(
    sys.version_info < (3, 9), reason="python-socks needs Python 3.9"
)

KINDS: Dict[str, Type[Proxy]] = {
    "http": HttpProxy,
    "socks4": Socks4Proxy,
    "socks4a": Socks4Proxy,
    "socks5": Socks5Proxy,
    "socks5h": Socks5Proxy,
}


def cases(*all_values: Any) -> List[Any]:
    """Parameters, of which the first begins with the proxy's scheme."""
    parameters = []
    for values in all_values:
        parameter = values if isinstance(values, tuple) else (values,)
        marks = [needs_python_socks] if parameter[0].lower().startswith("socks") else []
        parameters.append(pytest.param(*parameter, marks=marks))
    return parameters


def proxy_url(scheme: str, peer: RawPeer, user: str = "") -> str:
    return f"{scheme}://{user}127.0.0.1:{peer.port}"
