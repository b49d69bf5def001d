"""Servers of other libraries, all of which do the same; a path says what.

====================== ==========================================================================
``/echo``              sends every message back
``/fragments``         sends every text message back in three fragments (websockets only)
``/ping``              pings, and when the pong is there sends the text "ponged"
``/close/CODE/REASON`` closes at once
anything else          is refused with 403
====================== ==========================================================================

All want the subprotocol "interop.v1", which websockets insists on, and send a header "X-Peer" with
their name.
"""

from __future__ import annotations

import contextlib
import http
from typing import Any, AsyncIterator, Callable, Dict, List, NamedTuple, Optional, Tuple
from urllib.parse import unquote

from aiohttp import WSMsgType, web
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.interop.conftest import Setting

__all__ = ["SERVERS", "TheirServer"]

MAX_SIZE = 32 * 1024 * 1024  # bytes of a message
KNOWN_PATHS = ("echo", "fragments", "ping", "close")


class TheirServer(NamedTuple):
    """``closes`` gets the code and reason that arrived, per connection that was closed."""

    url: str
    closes: List[Tuple[Optional[int], str]]


def _words(path: str) -> List[str]:
    return unquote(path.partition("?")[0]).strip("/").split("/")


@contextlib.asynccontextmanager
async def _serve_websockets(setting: Setting) -> AsyncIterator[TheirServer]:
    closes: List[Tuple[Optional[int], str]] = []

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        what, *arguments = _words(connection.request.path)
        try:
            if what == "close":
                await connection.close(int(arguments[0]), "/".join(arguments[1:]))
            if what == "ping":
                await (await connection.ping(b"are you there?"))
                await connection.send("ponged")
            async for message in connection:
                if what == "fragments":
                    assert isinstance(message, str)
                    third = len(message) // 3
                    await connection.send(
                        [message[:third], message[third : 2 * third], message[2 * third :]]
                    )
                else:
                    await connection.send(message)
        except ConnectionClosed:
            pass
        finally:
            await connection.wait_closed()
            closes.append((connection.protocol.close_code, connection.protocol.close_reason or ""))

    def check_path(connection: ServerConnection, request: Any) -> Any:
        if _words(request.path)[0] not in KNOWN_PATHS:
            return connection.respond(http.HTTPStatus.FORBIDDEN, "not here\n")
        return None

    def name_peer(_connection: ServerConnection, _request: Any, response: Any) -> None:
        response.headers["X-Peer"] = "websockets"

    async with serve(
        handle,
        "localhost",
        0,
        ssl=setting.server_context,
        process_request=check_path,
        process_response=name_peer,
        subprotocols=["interop.v1"],  # type: ignore[list-item]
        max_size=MAX_SIZE,
    ) as server:
        (port,) = {sock.getsockname()[1] for sock in list(server.sockets)[:1]}
        yield TheirServer(f"{setting.scheme}://localhost:{port}", closes)


@contextlib.asynccontextmanager
async def _serve_aiohttp(setting: Setting) -> AsyncIterator[TheirServer]:
    closes: List[Tuple[Optional[int], str]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        what, *arguments = _words(request.path)
        if what not in KNOWN_PATHS:
            return web.Response(status=403, text="not here\n")
        connection = web.WebSocketResponse(
            protocols=["interop.v1"], max_msg_size=MAX_SIZE, autoping=what != "ping"
        )
        connection.headers["X-Peer"] = "aiohttp"
        await connection.prepare(request)
        if what == "close":
            await connection.close(code=int(arguments[0]), message="/".join(arguments[1:]).encode())
        if what == "ping":
            await connection.ping(b"are you there?")
            pong = await connection.receive()
            assert (pong.type, pong.data) == (WSMsgType.PONG, b"are you there?")
            await connection.send_str("ponged")
        while True:
            message = await connection.receive()
            if message.type is WSMsgType.TEXT:
                await connection.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await connection.send_bytes(message.data)
            else:
                break
        reason = message.extra if message.type is WSMsgType.CLOSE else ""
        closes.append((connection.close_code, reason or ""))
        return connection

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "localhost", 0, ssl_context=setting.server_context)
        await site.start()
        port = runner.addresses[0][1]
        yield TheirServer(f"{setting.scheme}://localhost:{port}", closes)
    finally:
        await runner.cleanup()


Serve = Callable[[Setting], contextlib.AbstractAsyncContextManager]  # type: ignore[type-arg]

SERVERS: Dict[str, Serve] = {"websockets": _serve_websockets, "aiohttp": _serve_aiohttp}
