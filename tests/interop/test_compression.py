"""permessage-deflate against websockets and aiohttp, on either side."""

from __future__ import annotations

import asyncio
from typing import Any, Dict, List

import aiohttp
import aiohttp.web
import pytest
import websockets

from picows_client import WSListener, WSMessage, WSMessageListener, WSMsgType, ws_connect
from picows_codec import WSPermessageDeflate
from picows_server import WSFrame, WSTransport, ws_create_server

MESSAGES = [
    b"",
    b"a",
    b'{"id":1,"price":"60000.10"}' * 3,
    b'{"id":2,"price":"60000.20"}' * 3,
    bytes(range(256)) * 8,
    b"text " * 30_000,
]
PARAMETERS: List[Dict[str, Any]] = [
    {},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    {"server_max_window_bits": 9, "client_max_window_bits": 10},
]
every_agreement = pytest.mark.parametrize("parameters", PARAMETERS)


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode < WSMsgType.CLOSE:
            transport.send(frame.opcode, frame, frame.fin)


class Replies(WSMessageListener):
    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.queue.put_nowait(message.get_payload_as_bytes())


async def check_our_client(url: str, parameters: Dict[str, Any]) -> None:
    compression = WSPermessageDeflate(min_size=0, client_compresses=True, **parameters)
    async with ws_connect(url, Replies, compression=compression) as (transport, replies):
        agreed = transport.response.headers["Sec-WebSocket-Extensions"]
        assert agreed.startswith("permessage-deflate")
        for message in MESSAGES * 2:
            transport.send(WSMsgType.BINARY, message)
            assert await asyncio.wait_for(replies.queue.get(), 10) == message


@every_agreement
def test_our_client_and_websockets(parameters: Dict[str, Any]) -> None:
    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def main() -> None:
        async with websockets.serve(echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            await check_our_client(f"ws://127.0.0.1:{port}", parameters)

    asyncio.run(main())


@every_agreement
def test_our_client_and_aiohttp(parameters: Dict[str, Any]) -> None:
    async def echo(request: aiohttp.web.Request) -> aiohttp.web.WebSocketResponse:
        response = aiohttp.web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            await response.send_bytes(message.data)
        return response

    async def main() -> None:
        app = aiohttp.web.Application()
        app.router.add_get("/", echo)
        runner = aiohttp.web.AppRunner(app)
        await runner.setup()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            await check_our_client(f"ws://127.0.0.1:{runner.addresses[0][1]}", parameters)
        finally:
            await runner.cleanup()

    asyncio.run(main())


@every_agreement
@pytest.mark.parametrize("library", ["websockets", "aiohttp"])
def test_our_server(library: str, parameters: Dict[str, Any]) -> None:
    async def main() -> None:
        compression = WSPermessageDeflate(min_size=0, **parameters)
        async with ws_create_server("ws://127.0.0.1:0", Echo, compression=compression) as server:
            url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            if library == "websockets":
                async with websockets.connect(url) as connection:
                    for message in MESSAGES * 2:
                        await connection.send(message)
                        assert await connection.recv() == message
                return
            async with aiohttp.ClientSession() as session, session.ws_connect(
                url, compress=15
            ) as peer:
                assert peer.compress
                for message in MESSAGES * 2:
                    await peer.send_bytes(message)
                    assert await peer.receive_bytes() == message

    asyncio.run(main())
