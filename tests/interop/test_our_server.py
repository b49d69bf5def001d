"""picows_server against clients of other libraries."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any, AsyncIterator, Callable, Dict, List, Optional
from urllib.parse import unquote

import pytest

from picows_server import (
    WSCloseCode,
    WSCloseInfo,
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSServer,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)
from tests.interop.conftest import LARGE, SIZES, TEXTS, Setting
from tests.interop.endings import cause_of, closing_of
from tests.interop.node_ws import connect_ws
from tests.interop.their_clients import CLIENTS, Closed, Refused, TheirClient
from tests.support.leaks import eventually

Run = Callable[..., Any]

LIBRARIES: Dict[str, Callable[..., Any]] = {**CLIENTS, "ws": connect_ws}


class FrameEcho(WSListener):
    """Echoes data frames as they come; the library does the rest."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode < WSMsgType.CLOSE:
            transport.send(frame.opcode, frame, frame.fin)


class QuickStartEcho(WSListener):
    """Echoes everything, CLOSE frames too, as the quick start does."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.opcode, frame.get_payload_as_bytes(), frame.fin)
        if frame.opcode == WSMsgType.CLOSE:
            transport.disconnect()


class MessageEcho(WSMessageListener):
    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        transport.send(message.opcode, message)


class Splitter(WSMessageListener):
    """Sends every message back in single bytes, the first and the last frame empty."""

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        payload = message.get_payload_as_bytes()
        transport.send(message.opcode, None, fin=False)
        for position in range(len(payload)):
            transport.send(WSMsgType.CONTINUATION, payload[position : position + 1], fin=False)
        transport.send(WSMsgType.CONTINUATION, None)


class Closer(WSListener):
    def __init__(self, code: int, reason: str) -> None:
        self.code = code
        self.reason = reason

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(WSMsgType.TEXT, "last words")
        transport.disconnect(code=self.code, reason=self.reason)


LISTENERS = {
    "/echo": FrameEcho,
    "/quick-start": QuickStartEcho,
    "/messages": MessageEcho,
    "/fragments": Splitter,
}


class Session:
    """Our server, and the ends of the connections that it has or had."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.server: WSServer
        self.client: TheirClient
        self.listeners: List[WSListener] = []

    @property
    def transport(self) -> WSTransport:
        """Our end of the only connection."""
        (listener,) = self.listeners
        return listener.transport

    def route(self, request: WSUpgradeRequest) -> Any:
        what, _, argument = request.path.strip("/").partition("/")
        if what == "close":
            code, _, reason = argument.partition("/")
            listener: WSListener = Closer(int(code), unquote(reason))
        elif request.path in LISTENERS:
            listener = LISTENERS[request.path]()
        else:
            return WSUpgradeResponse.create_error_response(403, "not here\n")
        self.listeners.append(listener)
        subprotocol: Optional[str] = None
        if "interop.v1" in request.subprotocols:
            subprotocol = "interop.v1"
        response = WSUpgradeResponse.create_101_response(
            {"X-Peer": "picows"}, subprotocol=subprotocol
        )
        return WSUpgradeResponseWithListener(response, listener)


Open = Callable[..., "contextlib.AbstractAsyncContextManager[Session]"]


@pytest.fixture(params=sorted(LIBRARIES))
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def connected(library: str, setting: Setting) -> Open:
    """``async with connected(path, **options)``: a session."""

    @contextlib.asynccontextmanager
    async def connect(path: str = "/echo", **options: Any) -> AsyncIterator[Session]:
        session = Session(f"{setting.scheme}://localhost:0")
        async with await ws_create_server(
            session.url, session.route, **setting.our_server, **options
        ) as server:
            session.server = server
            session.url = server.url
            async with LIBRARIES[library](server.url + path, setting.client_context) as client:
                session.client = client
                yield session

    return connect


@pytest.mark.parametrize("path", ["/echo", "/quick-start", "/messages"])
def test_text(run: Run, connected: Open, path: str) -> None:
    async def main() -> None:
        async with connected(path) as session:
            for text in TEXTS:
                await session.client.send(text)
                assert await session.client.receive() == text

    run(main)


@pytest.mark.parametrize("path", ["/echo", "/quick-start", "/messages"])
def test_binary(run: Run, connected: Open, path: str) -> None:
    async def main() -> None:
        async with connected(path) as session:
            for size in SIZES:
                payload = os.urandom(size)
                await session.client.send(payload)
                assert await session.client.receive() == payload

    run(main)


def test_large_message(run: Run, connected: Open) -> None:
    async def main() -> None:
        payload = os.urandom(LARGE)
        async with connected() as session:
            sending = asyncio.ensure_future(session.client.send(payload))
            assert await session.client.receive() == payload
            await sending

    run(main)


def test_many_messages_at_once(run: Run, connected: Open) -> None:
    async def main() -> None:
        payloads = [os.urandom(number * 7 % 2000) for number in range(500)]
        async with connected() as session:
            for payload in payloads:
                await session.client.send(payload)
            for payload in payloads:
                assert await session.client.receive() == payload

    run(main)


@pytest.mark.parametrize("library", ["websockets", "ws"], indirect=True)  # aiohttp cannot send them
@pytest.mark.parametrize("path", ["/echo", "/messages"])
def test_received_in_fragments(run: Run, connected: Open, path: str) -> None:
    async def main() -> None:
        async with connected(path) as session:
            await session.client.send_fragments(["żółw", "", ", 漢字", ", 🐢" * 1000])
            assert await session.client.receive() == "żółw, 漢字" + ", 🐢" * 1000
            await session.client.send_fragments([b"\x00" * 70_000, b"\xff", b""])
            assert await session.client.receive() == b"\x00" * 70_000 + b"\xff"

    run(main)


def test_sent_in_fragments(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected("/fragments") as session:
            await session.client.send("żółw, 漢字, 🐢")
            assert await session.client.receive() == "żółw, 漢字, 🐢"
            await session.client.send(b"\x00\xff" * 50)
            assert await session.client.receive() == b"\x00\xff" * 50

    run(main)


def test_their_ping(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected() as session:
            for _ in range(3):
                await asyncio.wait_for(session.client.ping(), 10)

    run(main)


# They answer without receiving.
@pytest.mark.parametrize("library", ["websockets", "ws"], indirect=True)
def test_our_ping(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected() as session:
            times = await asyncio.wait_for(session.transport.measure_roundtrip_time(3), 10)
            assert len(times) == 3
            assert all(0 < time < 10 for time in times)

    run(main)


@pytest.mark.parametrize("library", ["websockets", "ws"], indirect=True)
def test_automatic_pings_are_answered(run: Run, connected: Open) -> None:
    async def main() -> None:
        options = {"auto_ping_idle_timeout": 0.05, "auto_ping_reply_timeout": 5.0}
        async with connected(enable_auto_ping=True, **options) as session:
            await asyncio.sleep(0.3)
            await session.client.send("still here")
            assert await session.client.receive() == "still here"

    run(main)


@pytest.mark.parametrize("path", ["/echo", "/quick-start"])
@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "going"), (1008, "żółw"), (3000, "r" * 123), (4999, "")]
)
def test_their_close(run: Run, connected: Open, path: str, code: int, reason: str) -> None:
    async def main() -> None:
        async with connected(path) as session:
            transport = session.transport
            await session.client.close(code, reason)
            await asyncio.wait_for(transport.wait_disconnected(), 10)
            cause = cause_of(transport)
            assert cause.kind is WSDisconnectKind.PEER_CLOSE
            assert cause.unsent_bytes == 0
            closing = closing_of(transport)
            assert closing.received == WSCloseInfo(code, reason)
            assert closing.sent.code == code
            assert closing.received_first

    run(main)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "gone"), (4001, "żółw")])
def test_our_close(run: Run, connected: Open, code: int, reason: str) -> None:
    async def main() -> None:
        async with connected(f"/close/{code}/{reason}") as session:
            assert await session.client.receive() == "last words"
            assert await session.client.receive() == Closed(code, reason)
            transport = session.transport
            await asyncio.wait_for(transport.wait_disconnected(), 10)
            assert cause_of(transport).kind is WSDisconnectKind.LOCAL_CLOSE
            closing = closing_of(transport)
            assert closing.sent == WSCloseInfo(code, reason)
            # websockets and ws echo the code, aiohttp answers 1000: RFC 6455, 5.5.1 leaves it open.
            assert closing.received.code in (code, WSCloseCode.NORMAL_CLOSURE)

    run(main)


def test_server_is_closed(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected() as session:
            await session.client.send("before")
            assert await session.client.receive() == "before"
            session.server.close()
            assert await session.client.receive() == Closed(1001, "")
            await asyncio.wait_for(session.server.wait_closed(), 10)

    run(main)


def test_subprotocol_and_headers(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected() as session:
            assert session.client.subprotocol == "interop.v1"
            assert session.transport.subprotocol == "interop.v1"
            assert session.client.header("X-Peer") == "picows"
            # Compression was offered and is not answered (RFC 6455, 9.1).
            offered = session.transport.request.headers["Sec-WebSocket-Extensions"]
            assert "permessage-deflate" in offered
            assert session.client.header("Sec-WebSocket-Extensions") is None

    run(main)


def test_refusal(run: Run, connected: Open) -> None:
    async def main() -> None:
        with pytest.raises(Refused, match="403"):
            async with connected("/elsewhere"):
                pytest.fail("a refused connection was opened")

    run(main)


def test_many_clients(run: Run, connected: Open, library: str, setting: Setting) -> None:
    async def main() -> None:
        async with connected() as session:

            async def visit(number: int) -> None:
                url = f"{session.url}/echo"
                async with LIBRARIES[library](url, setting.client_context) as client:
                    for message in (f"client {number}", bytes([number]) * 1000):
                        await client.send(message)
                        assert await client.receive() == message

            await asyncio.gather(*map(visit, range(20)))
            await eventually(lambda: session.server.connections == 1)

    run(main)
