"""Clients of other libraries behind one face."""

from __future__ import annotations

import contextlib
import ssl
from typing import (
    Any,
    AsyncIterator,
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Union,
)

import aiohttp
import websockets
from websockets.asyncio.client import ClientConnection, connect

__all__ = ["CLIENTS", "Closed", "Refused", "TheirClient"]

MAX_SIZE = 32 * 1024 * 1024  # bytes of a message
SUBPROTOCOLS = ["interop.v2", "interop.v1"]


class Closed(NamedTuple):
    """The code and reason with which a connection ended."""

    code: Optional[int]
    reason: str


class Refused(Exception):
    """The server answered with this status instead of 101."""


class TheirClient:
    """An open connection."""

    async def send(self, message: Union[str, bytes]) -> None:
        raise NotImplementedError

    async def send_fragments(self, fragments: List[Union[str, bytes]]) -> None:
        raise NotImplementedError

    async def receive(self) -> Union[str, bytes, Closed]:
        """The next message, or how the connection ended."""
        raise NotImplementedError

    async def ping(self) -> None:
        """Ping and wait for the pong."""
        raise NotImplementedError

    async def close(self, code: int, reason: str) -> None:
        """Complete a closing handshake."""
        raise NotImplementedError

    @property
    def subprotocol(self) -> Optional[str]:
        raise NotImplementedError

    def header(self, name: str) -> Optional[str]:
        """A header of the upgrade response."""
        raise NotImplementedError


class _WebsocketsClient(TheirClient):
    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, message: Union[str, bytes]) -> None:
        await self._connection.send(message)

    async def send_fragments(self, fragments: List[Union[str, bytes]]) -> None:
        await self._connection.send(fragments)

    async def receive(self) -> Union[str, bytes, Closed]:
        try:
            return await self._connection.recv()
        except websockets.ConnectionClosed:
            protocol = self._connection.protocol
            return Closed(protocol.close_code, protocol.close_reason or "")

    async def ping(self) -> None:
        await (await self._connection.ping(b"are you there?"))

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)

    @property
    def subprotocol(self) -> Optional[str]:
        return self._connection.subprotocol

    def header(self, name: str) -> Optional[str]:
        assert self._connection.response is not None
        return self._connection.response.headers.get(name)


@contextlib.asynccontextmanager
async def _connect_websockets(
    url: str, context: Optional[ssl.SSLContext]
) -> AsyncIterator[TheirClient]:
    try:
        # It offers permessage-deflate, which is declined by not being answered.
        async with connect(
            url,
            ssl=context,
            subprotocols=SUBPROTOCOLS,  # type: ignore[arg-type]
            max_size=MAX_SIZE,
        ) as connection:
            yield _WebsocketsClient(connection)
    except websockets.InvalidStatus as error:
        raise Refused(error.response.status_code) from error


class _AiohttpClient(TheirClient):
    def __init__(self, connection: aiohttp.ClientWebSocketResponse) -> None:
        self._connection = connection

    async def send(self, message: Union[str, bytes]) -> None:
        if isinstance(message, str):
            await self._connection.send_str(message)
        else:
            await self._connection.send_bytes(message)

    async def receive(self) -> Union[str, bytes, Closed]:
        message = await self._connection.receive()
        if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            data: Union[str, bytes] = message.data
            return data
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return Closed(self._connection.close_code, message.extra or "")

    async def ping(self) -> None:
        await self._connection.ping(b"are you there?")
        pong = await self._connection.receive()
        assert (pong.type, pong.data) == (aiohttp.WSMsgType.PONG, b"are you there?")

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code=code, message=reason.encode())

    @property
    def subprotocol(self) -> Optional[str]:
        return self._connection.protocol

    def header(self, name: str) -> Optional[str]:
        headers = self._connection._response.headers
        return headers.get(name)


@contextlib.asynccontextmanager
async def _connect_aiohttp(
    url: str, context: Optional[ssl.SSLContext]
) -> AsyncIterator[TheirClient]:
    try:
        async with aiohttp.ClientSession() as session, session.ws_connect(
            url,
            ssl=context if context is not None else True,
            protocols=SUBPROTOCOLS,
            autoping=False,  # it would hide pongs; nothing here pings it
            max_msg_size=MAX_SIZE,
            compress=15,  # offers permessage-deflate, too
        ) as connection:
            yield _AiohttpClient(connection)
    except aiohttp.WSServerHandshakeError as error:
        raise Refused(error.status) from error


Connect = Callable[..., Any]

CLIENTS: Dict[str, Connect] = {"websockets": _connect_websockets, "aiohttp": _connect_aiohttp}
