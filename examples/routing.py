"""Routing: one server, several paths, subprotocols and refusals.

    python examples/routing.py

The listener factory gets the upgrade request. It returns a listener, a listener and a response, a
response alone, which refuses, or None, which means 404.
"""

from __future__ import annotations

from typing import Optional, Sequence, Union

from picows_client import WSHandshakeError, ws_connect
from picows_server import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

Answer = Union[WSListener, WSUpgradeResponseWithListener, WSUpgradeResponse, None]

SUBPROTOCOLS = ("chat.v2", "chat.v1")


class EchoListener(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode < WSMsgType.CLOSE:
            transport.send(frame.opcode, frame, frame.fin)


class ChatListener(WSListener):
    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, f"welcome, we speak {transport.subprotocol}")


def chat(request: WSUpgradeRequest) -> Answer:
    for name in request.subprotocols:  # in the client's order of preference
        if name in SUBPROTOCOLS:
            response = WSUpgradeResponse.create_101_response(
                extra_headers={"X-Room": "lobby"}, subprotocol=name
            )
            return WSUpgradeResponseWithListener(response, ChatListener())
    wanted = ", ".join(SUBPROTOCOLS)
    return WSUpgradeResponse.create_error_response(400, f"offer one of: {wanted}")


def route(request: WSUpgradeRequest) -> Answer:
    # Browsers send the origin of the page that connects (RFC 6455, 10.2).
    if request.headers.get("Origin") not in (None, "https://example.org"):
        return WSUpgradeResponse.create_error_response(403, "this origin is not welcome")
    path = request.path.partition("?")[0]
    if path == "/echo":
        return EchoListener()
    if path == "/chat":
        return chat(request)
    if path == "/old-chat":
        return WSUpgradeResponse.create_redirect_response(308, "/chat")
    return None


class Visitor(WSListener):
    """Prints the first message and goes."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        if transport.request.path == "/echo":
            transport.send(WSMsgType.TEXT, "is anybody there?")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        room = transport.response.headers.get("X-Room", "-")
        print(f"    {frame.get_payload_as_utf8_text()} (room: {room})")
        transport.disconnect()


async def visit(url: str, subprotocols: Sequence[str] = (), origin: Optional[str] = None) -> None:
    print(f"{url} offering {list(subprotocols)}, origin {origin}")
    headers = {"Origin": origin} if origin else None
    try:
        async with ws_connect(url, Visitor, subprotocols=subprotocols, extra_headers=headers) as (
            transport,
            _,
        ):
            await transport.wait_disconnected()
    except WSHandshakeError as error:
        body = error.response.body if error.response else None
        print(f"    refused with {error.status}: {(body or b'').decode()}")


async def main() -> None:
    async with ws_create_server("ws://127.0.0.1:0", route) as server:
        await visit(f"{server.url}/echo")
        await visit(f"{server.url}/chat", ["chat.v3", "chat.v1"])
        await visit(f"{server.url}/old-chat", ["chat.v2"])
        await visit(f"{server.url}/chat")
        await visit(f"{server.url}/echo", origin="https://elsewhere.example")
        await visit(f"{server.url}/nowhere")


if __name__ == "__main__":
    run(main())
