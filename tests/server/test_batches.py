"""Batches, prepared messages and broadcast over sockets: every backend, with and without TLS."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import Any, List, Optional, Set, Tuple

import pytest

from picows_client import ws_connect
from picows_server import (
    WSBatchListener,
    WSDisconnectKind,
    WSListener,
    WSMsgType,
    WSPreparedMessage,
    WSServer,
    WSTransport,
    broadcast,
    create_ssl_context,
)
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.servers import PLAIN_BACKENDS, TLS_BACKENDS, serving, sockname

COUNT = 2000
BACKENDS: List[Any] = [
    *((backend, False) for backend in ("auto", "loop")),
    pytest.param("stream", False, marks=PLAIN_BACKENDS[0].marks),  # type: ignore[union-attr]
    pytest.param("aiofastnet", False, marks=TLS_BACKENDS[0].marks),  # type: ignore[union-attr]
    pytest.param("aiofastnet", True, marks=TLS_BACKENDS[0].marks),  # type: ignore[union-attr]
    ("loop", True),
]
every_backend = pytest.mark.parametrize(("backend", "secure"), BACKENDS)


def contexts(
    certificates: Certificates, secure: bool
) -> Tuple[Optional[ssl.SSLContext], Optional[ssl.SSLContext]]:
    """TLS of the server and of its clients, or neither."""
    if not secure:
        return None, None
    server = create_ssl_context(certificates.server_chain, certificates.server_key)
    return server, certificates.client_context()


class EchoBatches(WSBatchListener):
    def on_ws_batch(self, transport: WSTransport, messages: List[Any]) -> None:
        texts = [message for message in messages if isinstance(message, str)]
        transport.send_many(WSMsgType.TEXT, texts)
        transport.send_many(
            WSMsgType.BINARY, [message for message in messages if not isinstance(message, str)]
        )


class Collector(WSBatchListener):
    def __init__(self) -> None:
        self.messages: List[Any] = []

    def on_ws_batch(self, transport: WSTransport, messages: List[Any]) -> None:
        self.messages += messages


class Room:
    """Who is connected, and how those who left did."""

    def __init__(self) -> None:
        self.transports: Set[WSTransport] = set()
        self.causes: List[Any] = []

    def __len__(self) -> int:
        return len(self.transports)


class Member(WSListener):
    def __init__(self, room: Room) -> None:
        self.room = room

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.room.transports.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.room.transports.discard(transport)
        self.room.causes.append(transport.disconnect_cause)


def any_port(secure: bool) -> str:
    return f"{'wss' if secure else 'ws'}://127.0.0.1:0"


def url_of(server: WSServer, secure: bool) -> str:
    return f"{'wss' if secure else 'ws'}://localhost:{sockname(server)[1]}/"


@every_backend
async def test_batches_both_ways(backend: str, secure: bool, certificates: Certificates) -> None:
    """Small messages, and some that need several reads."""
    server_context, client_context = contexts(certificates, secure)
    texts = [f"{i} \u00fc" * (i % 5) for i in range(COUNT)]
    binaries = [i.to_bytes(4, "big") * (50_000 if i % 500 == 250 else 10) for i in range(COUNT)]
    async with serving(
        EchoBatches, any_port(secure), ssl_context=server_context, backend=backend
    ) as server:
        transport, listener = await ws_connect(
            url_of(server, secure), Collector, ssl_context=client_context, backend=backend
        )
        transport.send_many(WSMsgType.TEXT, texts)
        transport.send_many(WSMsgType.BINARY, binaries)
        await eventually(lambda: len(listener.messages) == 2 * COUNT)
        transport.disconnect()
        await transport.wait_disconnected()
    assert [message for message in listener.messages if isinstance(message, str)] == texts
    assert [message for message in listener.messages if isinstance(message, bytes)] == binaries


@every_backend
@pytest.mark.parametrize("size", [10, 20_000, 1_000_000])
async def test_broadcast(backend: str, secure: bool, size: int, certificates: Certificates) -> None:
    room = Room()
    server_context, client_context = contexts(certificates, secure)
    async with serving(
        partial(Member, room),
        any_port(secure),
        ssl_context=server_context,
        backend=backend,
        max_write_queue_size=64 * 1024 * 1024,
    ) as server:
        made = [
            await ws_connect(
                url_of(server, secure), Collector, ssl_context=client_context, backend=backend
            )
            for _ in range(5)
        ]
        await eventually(lambda: len(room) == 5)
        message = WSPreparedMessage(WSMsgType.BINARY, bytes(range(250)) * (size // 250 + 1))
        for i in range(5):
            assert broadcast(room.transports, message) == 5
            assert broadcast(room.transports, str(i)) == 5
        expected = [part for i in range(5) for part in (message.payload, str(i))]
        await eventually(lambda: all(len(one.messages) == 10 for _, one in made))
        assert all(listener.messages == expected for _, listener in made)
        made[0][0].disconnect()
        await eventually(lambda: len(room) == 4)
        assert broadcast(room.transports, "x") == 4
        for transport, _ in made[1:]:
            transport.disconnect()
            await transport.wait_disconnected()


@every_backend
async def test_one_that_does_not_read(
    backend: str, secure: bool, certificates: Certificates
) -> None:
    """It meets its limit; the others get everything."""
    room = Room()
    server_context, client_context = contexts(certificates, secure)
    message = WSPreparedMessage(WSMsgType.BINARY, bytes(100_000))
    async with serving(
        partial(Member, room),
        any_port(secure),
        ssl_context=server_context,
        backend=backend,
        write_high_watermark=100_000,
        max_write_queue_size=500_000,
    ) as server, await RawClient.open(sockname(server), context=client_context) as deaf:
        assert deaf is not None
        await eventually(lambda: len(room) == 1)
        transport, listener = await ws_connect(
            url_of(server, secure), Collector, ssl_context=client_context, backend=backend
        )
        await eventually(lambda: len(room) == 2)
        sent = 0
        while len(room) == 2:
            assert sent < 2000
            count = broadcast(room.transports, message)
            sent += 1
            await eventually(lambda: len(listener.messages) == sent)  # noqa: B023
            await asyncio.sleep(0)
            assert count in (1, 2)
        assert [cause.kind for cause in room.causes] == [WSDisconnectKind.SLOW_CONSUMER]
        assert broadcast(room.transports, message) == 1
        transport.disconnect()
        await transport.wait_disconnected()
        deaf.reset()  # older asyncio does not close TLS whose reading is paused
