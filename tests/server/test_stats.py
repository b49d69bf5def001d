"""picows_server.stats: what a server counts, over every backend, with and without TLS."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import fields
from typing import Any, List, Optional

import pytest

from picows_server import (
    WSBatchListener,
    WSConnection,
    WSDisconnectKind,
    WSListener,
    WSMsgType,
    WSPreparedMessage,
    WSServer,
    WSServerStats,
    WSTransport,
    WSUpgradeResponse,
    broadcast,
    create_ssl_context,
    health,
    serve,
)
from picows_server.asgi import asgi_listener
from tests.support.certificates import Certificates
from tests.support.judge import ask
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.servers import (
    Echo,
    echo,
    plain_backends,
    quiet_logger,
    serving,
    sockname,
    tls_backends,
)


async def check_traffic(context: Any = None, **options: Any) -> None:
    async with serving(logger_name=quiet_logger(), **options) as server:
        assert server.stats() == WSServerStats(closed=dict.fromkeys(WSDisconnectKind, 0))
        async with await RawClient.open(sockname(server), context=context) as client:
            await eventually(lambda: server.stats().connections == 1)
            before = server.stats()
            assert before.opened == 1
            for text in (b"a", b"bb", b"c" * 50_000):
                await echo(client, text)
            client.write_frame(1, b"d", fin=False)
            client.write_frame(9, b"ping")
            client.write_frame(0, b"e")
            for opcode in (1, 10, 0):
                assert (await client.read_frame()).opcode == opcode
            stats = server.stats()
            assert (stats.frames_received, stats.messages_received) == (6, 4)
            assert (stats.frames_sent, stats.messages_sent) == (6, 4)
            received = 7 + 8 + 50_008 + 7 + 10 + 7
            assert stats.bytes_received - before.bytes_received == received
            assert stats.bytes_sent - before.bytes_sent == received - 6 * 4
            client.write_close(1000)
            assert await client.read_close() == 1000
        await eventually(lambda: server.stats().connections == 0)
        stats = server.stats()
        assert stats.closed[WSDisconnectKind.PEER_CLOSE] == 1
        assert sum(stats.closed.values()) == 1
        assert stats.opened == 1
        assert stats.write_queue_bytes == 0
    assert server.stats().opened == 1


@plain_backends
async def test_traffic(backend: str) -> None:
    await check_traffic(backend=backend)


@tls_backends
async def test_traffic_over_tls(backend: str, certificates: Certificates) -> None:
    """Bytes are those inside of TLS."""
    await check_traffic(
        certificates.client_context(),
        url="wss://127.0.0.1:0",
        ssl_context=create_ssl_context(certificates.server_chain, certificates.server_key),
        backend=backend,
    )


@tls_backends
async def test_a_failed_tls_handshake(backend: str, certificates: Certificates) -> None:
    async with serving(
        url="wss://127.0.0.1:0",
        ssl_context=create_ssl_context(certificates.server_chain, certificates.server_key),
        backend=backend,
        logger_name=quiet_logger(),
    ) as server:
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await eventually(lambda: any(server.stats().closed.values()))
        assert server.stats().closed[WSDisconnectKind.HANDSHAKE_FAILURE] == 1
        assert server.stats().opened == 0


class Silent(WSListener):
    """Sends what it is told, to a peer that does not read."""

    made: Optional[WSTransport] = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        type(self).made = transport


async def check_slow_consumer(context: Any = None, **options: Any) -> None:
    async with serving(
        Silent,
        max_write_queue_size=300_000,
        write_high_watermark=100_000,
        logger_name=quiet_logger(),
        **options,
    ) as server:
        client = await RawClient.open(sockname(server), context=context)
        await eventually(lambda: server.stats().connections)
        transport = Silent.made
        assert transport is not None
        while transport.write_queue_size <= 100_000 and not transport.is_disconnected:
            transport.send(WSMsgType.BINARY, bytes(20_000))
        for _ in range(3):
            transport.send(WSMsgType.BINARY, bytes(20_000))
        stats = server.stats()
        assert stats.write_queue_bytes > 100_000
        assert stats.write_queue_bytes_highest >= stats.write_queue_bytes
        assert stats.slow_consumers == 0
        while not transport.is_disconnected and server.stats().slow_consumers == 0:
            transport.send(WSMsgType.BINARY, bytes(100_000))
        await eventually(lambda: server.stats().connections == 0)
        stats = server.stats()
        assert stats.slow_consumers == 1
        assert stats.closed[WSDisconnectKind.SLOW_CONSUMER] == 1
        assert stats.write_queue_bytes == 0
        assert stats.write_queue_bytes_highest > 200_000
        await client.close()


@plain_backends
async def test_a_slow_consumer(backend: str) -> None:
    await check_slow_consumer(backend=backend)


@tls_backends
async def test_a_slow_consumer_over_tls(backend: str, certificates: Certificates) -> None:
    await check_slow_consumer(
        certificates.client_context(),
        url="wss://127.0.0.1:0",
        ssl_context=create_ssl_context(certificates.server_chain, certificates.server_key),
        backend=backend,
    )


@plain_backends
async def test_a_queue_that_drains(backend: str) -> None:
    async with serving(
        Silent, write_high_watermark=100_000, backend=backend, logger_name=quiet_logger()
    ) as server, await RawClient.open(sockname(server)) as client:
        await eventually(lambda: server.stats().connections)
        transport = Silent.made
        assert transport is not None
        count = 0
        while transport.write_queue_size <= 100_000:
            transport.send(WSMsgType.BINARY, bytes(20_000))
            count += 1
        assert server.stats().write_queue_bytes > 100_000
        await client.reader.readexactly(count * 20_004)
        await eventually(lambda: server.stats().write_queue_bytes == 0)
        assert server.stats().write_queue_bytes_highest > 100_000


async def test_pending_and_refused() -> None:
    def route(request: Any) -> Any:
        status = int(request.path[1:])
        return WSUpgradeResponse.create_error_response(status, "no")

    async with serving(route, logger_name=quiet_logger()) as server:
        async with await RawClient.connect(sockname(server)):
            await eventually(lambda: server.stats().pending_handshakes == 1)
        for status in (401, 403, 403, 404, 429, 503):
            async with await RawClient.connect(sockname(server)) as client:
                assert (await client.upgrade(f"/{status}")).status == status
        await eventually(lambda: server.stats().pending_handshakes == 0)
        stats = server.stats()
        assert stats.refused == {401: 1, 403: 2, 404: 1, 429: 1, 503: 1}
        assert (stats.opened, stats.responses) == (0, {})
        assert sum(stats.closed.values()) == stats.closed[WSDisconnectKind.HANDSHAKE_FAILURE] == 1


async def test_refused_by_the_server_itself() -> None:
    async with serving(
        {"/ws": Echo, "/healthz": health},
        origins=["https://example.com"],
        logger_name=quiet_logger(),
    ) as server:
        assert (await ask(sockname(server), "/healthz")).status == 200
        for path, headers, status in (
            ("/ws", [("Origin", "https://example.org")], 403),
            ("/nothing", [("Origin", "https://example.com")], 404),
        ):
            async with await RawClient.connect(sockname(server)) as client:
                assert (await client.upgrade(path, headers)).status == status
        assert server.stats().refused == {403: 1, 404: 1}
        assert server.stats().responses == {200: 1}


async def test_full() -> None:
    async with serving(max_connections=1, when_full="refuse", logger_name=quiet_logger()) as server:
        first = await RawClient.open(sockname(server))
        async with first, await RawClient.connect(sockname(server)) as client:
            assert (await client.upgrade()).status == 503
        assert server.stats().refused == {503: 1}


async def test_proxies() -> None:
    async with serving(
        proxy_protocol=True, trusted_proxies=["127.0.0.1"], logger_name=quiet_logger()
    ) as server:
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert (await client.read_response()).status == 400
        async with await RawClient.connect(sockname(server)):
            pass
        await eventually(lambda: server.stats().refused == {400: 2})
        assert server.stats().opened == 0


async def test_batches_prepared_and_broadcast() -> None:
    transports: List[WSTransport] = []

    class Batches(WSBatchListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transports.append(transport)

        def on_ws_batch(self, transport: WSTransport, messages: List[Any]) -> None:
            transport.send_many(WSMsgType.TEXT, messages)

    async with serving(Batches, logger_name=quiet_logger()) as server:
        client = await RawClient.open(sockname(server))
        async with client:
            for _ in range(100):
                client.write_frame(1, b"x")
            for _ in range(100):
                await client.read_frame()
            assert server.stats().messages_received == 100
            assert server.stats().messages_sent == 100
            transports[0].send_prepared(WSPreparedMessage(WSMsgType.TEXT, b"y"))
            assert broadcast(transports * 3, "z") == 3
            assert server.stats().messages_sent == 104


async def test_coroutines_and_asgi() -> None:
    async def handler(connection: WSConnection) -> None:
        async for message in connection:
            await connection.send([message, message])  # fragments

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            await send({"type": "websocket.send", "text": event["text"]})

    async def check(server: WSServer, frames: int) -> None:
        async with await RawClient.open(sockname(server)) as client:
            client.write_frame(1, b"a")
            client.write_frame(1, b"b")
            for _ in range(frames):
                await client.read_frame()
            stats = server.stats()
            assert (stats.messages_received, stats.messages_sent) == (2, 2)
            assert (stats.frames_received, stats.frames_sent) == (2, frames)

    async with serve(handler, "ws://127.0.0.1:0", quiet_logger()) as server:
        await check(server, 4)
    async with serving(
        asgi_listener(application, lifespan="off"), logger_name=quiet_logger()
    ) as server:
        await check(server, 2)


async def test_violations_and_causes() -> None:
    async with serving(logger_name=quiet_logger()) as server:
        async with await RawClient.open(sockname(server)) as client:
            client.write_frame(3)
            assert await client.read_close() == 1002
        async with await RawClient.open(sockname(server)) as client:
            client.write_frame(1, b"\xff")
            assert await client.read_close() == 1007
        async with await RawClient.open(sockname(server)) as client:
            client.reset()
        async with await RawClient.open(sockname(server)) as client:
            server.close_clients()
            assert await client.read_close() == 1001
            client.write_close(1001)
        await eventually(lambda: server.stats().connections == 0)
        stats = server.stats()
        assert stats.violations == {"reserved_opcode": 1, "invalid_utf8": 1}
        assert stats.opened == 4
        assert stats.closed[WSDisconnectKind.PROTOCOL_ERROR] == 2
        assert stats.closed[WSDisconnectKind.CONNECTION_LOST] == 1
        assert stats.closed[WSDisconnectKind.LOCAL_CLOSE] == 1


async def test_servers_of_a_loop_count_for_themselves() -> None:
    async with serving() as first, serving() as second:
        async with await RawClient.open(sockname(first)) as client:
            await echo(client)
        assert first.stats().messages_received == 1
        assert second.stats().messages_received == 0
        assert second.stats().opened == 0


async def test_everybody_is_counted_once() -> None:
    async with serving(collect_stats=True) as server:

        async def one() -> None:
            async with await RawClient.open(sockname(server)) as client:
                for _ in range(5):
                    await echo(client)

        await asyncio.gather(*[one() for _ in range(20)])
        await eventually(lambda: server.stats().connections == 0)
        assert server.stats().opened == 20
        assert server.stats().messages_received == server.stats().messages_sent == 100


# The object


def some(factor: int) -> WSServerStats:
    return WSServerStats(
        connections=factor,
        opened=2 * factor,
        closed={WSDisconnectKind.PEER_CLOSE: factor},
        refused={400 + factor: 1, 404: factor},
        bytes_sent=10 * factor,
        write_queue_bytes=factor,
        write_queue_bytes_highest=factor,
        violations={"masked": factor},
        loop_lag=factor / 2,
    )


def test_sums() -> None:
    total = some(1) + some(2)
    assert total == sum([some(1), some(2)])
    assert total == WSServerStats(
        connections=3,
        opened=6,
        closed={WSDisconnectKind.PEER_CLOSE: 3},
        refused={401: 1, 402: 1, 404: 3},
        bytes_sent=30,
        write_queue_bytes=3,
        write_queue_bytes_highest=2,
        violations={"masked": 3},
        loop_lag=1.0,
    )
    assert some(1) == some(1)  # nobody has changed one of them
    with pytest.raises(TypeError):
        some(1) + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        1 + some(1)  # type: ignore[operator]


def test_of_a_server_that_has_ended() -> None:
    ended = some(3).of_ended()
    assert (ended.connections, ended.write_queue_bytes, ended.loop_lag) == (0, 0, 0.0)
    assert isinstance(ended.loop_lag, float)
    assert (ended.opened, ended.write_queue_bytes_highest) == (6, 3)


def test_it_is_frozen_and_can_be_pickled() -> None:
    stats = some(2)
    assert pickle.loads(pickle.dumps(stats)) == stats
    with pytest.raises(AttributeError):
        stats.opened = 1  # type: ignore[misc]
    assert all(each.default is not None for each in fields(stats) if each.name != "topics")
