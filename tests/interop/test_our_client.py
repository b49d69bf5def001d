"""picows_client against servers of other libraries."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any, AsyncIterator, Callable, Dict, List, Tuple, Union

import pytest

from picows_client import (
    WSCloseCode,
    WSCloseInfo,
    WSDisconnectKind,
    WSInvalidStatusError,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSTransport,
    ws_connect,
)
from tests.interop.conftest import LARGE, SIZES, TEXTS, Setting
from tests.interop.endings import cause_of, closing_of
from tests.interop.node_ws import serve_ws
from tests.interop.their_servers import SERVERS, TheirServer
from tests.support.leaks import eventually

Run = Callable[..., Any]

LIBRARIES: Dict[str, Callable[..., Any]] = {**SERVERS, "ws": serve_ws}


class Collector(WSMessageListener):
    """Puts the messages into a queue."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Union[str, bytes]] = asyncio.Queue()

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        is_text = message.opcode is WSMsgType.TEXT
        self.messages.put_nowait(
            message.get_payload_as_utf8_text() if is_text else message.get_payload_as_bytes()
        )

    async def next(self) -> Union[str, bytes]:
        return await asyncio.wait_for(self.messages.get(), 10)


class Session:
    """Their server with a connection of ours."""

    def __init__(self, server: TheirServer, transport: WSTransport, client: Collector) -> None:
        self.server = server
        self.transport = transport
        self.client = client

    async def closes(self) -> List[Tuple[Any, str]]:
        """What their server noted when our connection was closed."""
        await eventually(lambda: self.server.closes)
        return self.server.closes

    async def echo(self, opcode: WSMsgType, message: Union[str, bytes]) -> Union[str, bytes]:
        self.transport.send(opcode, message)
        return await self.client.next()


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
        async with LIBRARIES[library](setting) as server:
            transport, client = await ws_connect(
                server.url + path,
                Collector,
                subprotocols=["interop.v2", "interop.v1"],
                **setting.our_client,
                **options,
            )
            try:
                yield Session(server, transport, client)
            finally:
                transport.disconnect()
                await asyncio.wait_for(transport.wait_disconnected(), 10)
                await eventually(lambda: server.closes)

    return connect


def test_text(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected() as session:
            for text in TEXTS:
                assert await session.echo(WSMsgType.TEXT, text) == text

    run(main)


def test_binary(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected() as session:
            for size in SIZES:
                payload = os.urandom(size)
                assert await session.echo(WSMsgType.BINARY, payload) == payload

    run(main)


def test_large_message(run: Run, connected: Open) -> None:
    async def main() -> None:
        payload = os.urandom(LARGE)
        async with connected() as session:
            assert await session.echo(WSMsgType.BINARY, payload) == payload

    run(main)


def test_many_messages_at_once(run: Run, connected: Open) -> None:
    async def main() -> None:
        payloads = [os.urandom(number * 7 % 2000) for number in range(500)]
        async with connected() as session:
            with session.transport.cork():
                for payload in payloads:
                    session.transport.send(WSMsgType.BINARY, payload)
            for payload in payloads:
                assert await session.client.next() == payload

    run(main)


def test_reused_buffer(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected() as session:
            for size in (3, 300, 100_000):
                payload = os.urandom(size)
                buffer = bytearray(14) + payload
                session.transport.send_reuse_external_bytearray(WSMsgType.BINARY, buffer, 14)
                assert await session.client.next() == payload

    run(main)


def test_sent_in_fragments(run: Run, connected: Open) -> None:
    async def main() -> None:
        text = "żółw, 漢字, 🐢" * 100
        encoded = text.encode()
        async with connected() as session:
            # Cut inside characters, with a ping in between: RFC 6455, 5.4.
            session.transport.send(WSMsgType.TEXT, encoded[:2], fin=False)
            session.transport.send(WSMsgType.CONTINUATION, b"", fin=False)
            session.transport.send_ping(b"hello")
            session.transport.send(WSMsgType.CONTINUATION, encoded[2:1001], fin=False)
            session.transport.send(WSMsgType.CONTINUATION, encoded[1001:])
            assert await session.client.next() == text

    run(main)


@pytest.mark.parametrize("library", ["websockets", "ws"], indirect=True)  # aiohttp cannot send them
def test_received_in_fragments(run: Run, connected: Open) -> None:
    async def main() -> None:
        text = "żółw, 漢字, 🐢" * 100
        async with connected("/fragments") as session:
            assert await session.echo(WSMsgType.TEXT, text) == text

    run(main)


def test_our_ping(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected() as session:
            times = await asyncio.wait_for(session.transport.measure_roundtrip_time(3), 10)
            assert len(times) == 3
            assert all(0 < time < 10 for time in times)

    run(main)


def test_their_ping(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected("/ping") as session:
            assert await session.client.next() == "ponged"

    run(main)


def test_automatic_pings_are_answered(run: Run, connected: Open) -> None:
    async def main() -> None:
        options = {"auto_ping_idle_timeout": 0.05, "auto_ping_reply_timeout": 5.0}
        async with connected(enable_auto_ping=True, **options) as session:
            await asyncio.sleep(0.3)
            assert await session.echo(WSMsgType.TEXT, "still here") == "still here"

    run(main)


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, ""), (1001, "going"), (1008, "żółw"), (3000, "r" * 123), (4999, "")]
)
def test_our_close(run: Run, connected: Open, code: int, reason: str) -> None:
    async def main() -> None:
        async with connected() as session:
            session.transport.disconnect(code=code, reason=reason)
            await asyncio.wait_for(session.transport.wait_disconnected(), 10)
            assert await session.closes() == [(code, reason)]
            cause = cause_of(session.transport)
            assert cause.kind is WSDisconnectKind.LOCAL_CLOSE
            assert cause.unsent_bytes == 0
            closing = closing_of(session.transport)
            assert closing.sent == WSCloseInfo(code, reason)
            # websockets and ws echo the code, aiohttp answers 1000: RFC 6455, 5.5.1 leaves it open.
            assert closing.received.code in (code, WSCloseCode.NORMAL_CLOSURE)
            assert not closing.received_first

    run(main)


def test_our_close_after_much_data(run: Run, connected: Open) -> None:
    async def main() -> None:
        async with connected() as session:
            session.transport.send(WSMsgType.BINARY, os.urandom(LARGE))
            session.transport.disconnect()
            await asyncio.wait_for(session.transport.wait_disconnected(), 10)
            assert cause_of(session.transport).unsent_bytes == 0
            assert await session.closes() == [(1000, "")]

    run(main)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "gone"), (4001, "żółw")])
def test_their_close(run: Run, connected: Open, code: int, reason: str) -> None:
    async def main() -> None:
        async with connected(f"/close/{code}/{reason}") as session:
            await asyncio.wait_for(session.transport.wait_disconnected(), 10)
            assert cause_of(session.transport).kind is WSDisconnectKind.PEER_CLOSE
            closing = closing_of(session.transport)
            assert closing.received == WSCloseInfo(code, reason)
            assert closing.received_first

    run(main)


def test_subprotocol_and_headers(run: Run, connected: Open, library: str) -> None:
    async def main() -> None:
        async with connected(
            "/echo?token=a%20b&more", extra_headers={"X-Client": "picows"}
        ) as session:
            assert session.transport.subprotocol == "interop.v1"
            assert session.transport.response.headers["X-Peer"] == library
            assert session.transport.request.path == "/echo?token=a%20b&more"

    run(main)


def test_refusal(run: Run, library: str, setting: Setting) -> None:
    async def main() -> None:
        async with LIBRARIES[library](setting) as server:
            with pytest.raises(WSInvalidStatusError) as caught:
                await ws_connect(f"{server.url}/elsewhere", Collector, **setting.our_client)
            assert caught.value.status == 403
            assert caught.value.response is not None
            assert caught.value.response.body == b"not here\n"

    run(main)
