"""picows_server.draining: servers that are drained, and what becomes of their connections."""

from __future__ import annotations

import asyncio
import logging
import socket
from pathlib import Path
from typing import Any, List, Optional

import pytest

from picows_server import (
    WSConnection,
    WSConnectionClosed,
    WSInvalidCloseError,
    WSListener,
    WSServer,
    WSTransport,
    files,
    ready,
    serve,
    ws_create_server,
)
from picows_server.asgi import asgi_listener
from picows_server.draining import DrainPlan
from tests.support.certificates import Certificates
from tests.support.judge import ask
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    ANY_PORT,
    Echo,
    echo,
    plain_backends,
    refuses,
    sockname,
    tls_backends,
)

LONG = 3600.0


@pytest.mark.parametrize(
    ("code", "reason"), [(1006, None), (1015, None), (999, None), (1012, "x" * 124)]
)
async def test_codes_and_reasons_that_may_not_be_sent(code: int, reason: Optional[str]) -> None:
    async with ws_create_server(ANY_PORT, Echo) as server:
        with pytest.raises(WSInvalidCloseError):
            await server.drain(code=code, reason=reason)
        assert not server.is_draining
        assert server.is_serving()


def start(server: WSServer, **plan: Any) -> asyncio.Task[None]:
    return asyncio.ensure_future(server.drain(**{"grace": 0, "spread": 0, **plan}))


@plain_backends
async def test_readiness_and_accepting_during_grace(backend: str) -> None:
    server = await ws_create_server(ANY_PORT, {"/ws": Echo, "/readyz": ready}, backend=backend)
    name = sockname(server)
    assert (await ask(name, "/readyz")).status == 200
    draining = start(server, grace=LONG, timeout=LONG)
    await eventually(lambda: server.is_draining)
    assert "draining" in repr(server)
    assert (await ask(name, "/readyz")).status == 503
    async with await RawClient.open(name, "/ws") as client:
        await echo(client)
        hurried = start(server)
        assert await client.read_close() == 1012
        assert refuses(name)
        assert not draining.done()
        client.write_close(1012)
        await draining
        await hurried
        assert await client.read_to_end() == b""
    assert server.connections == 0
    assert not server.is_serving()
    assert "closed" in repr(server)
    await server.drain()


async def test_the_log_has_the_order_of_events(caplog: pytest.LogCaptureFixture) -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.open(sockname(server)) as client:
        with caplog.at_level(logging.INFO, "picows"):
            draining = start(server, grace=0.01, spread=0.02)
            assert await client.read_close() == 1012
            client.write_close(1012)
            await draining
    assert caplog.messages == [
        "draining: connections are accepted for another 0.01 seconds",
        f"not serving {server.url} any more",
        "1 connections get a CLOSE within 0.02 seconds",
    ]


async def test_what_the_log_has_without_grace_and_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    with caplog.at_level(logging.INFO, "picows"):
        await server.drain(grace=0)
    assert caplog.messages == ["draining", f"not serving {server.url} any more"]


@plain_backends
async def test_what_was_queued_is_delivered(backend: str) -> None:
    """A reader that is slower than close_timeout has until the end of timeout."""
    size = 8_000_000

    class Flood(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(2, bytes(size))

    server = await ws_create_server(
        ANY_PORT, Flood, backend=backend, close_timeout=0.05, max_write_queue_size=2 * size
    )
    async with await RawClient.open(sockname(server)) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        draining = start(server, timeout=LONG, reason="restart")
        await asyncio.sleep(0.2)
        assert not draining.done()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        frame = await client.read_frame()
        assert len(frame.payload) == size
        assert (await client.read_frame()).payload == b"\x03\xf4restart"
        client.write_close(1012)
        await draining


@tls_backends
async def test_over_tls(backend: str, certificates: Certificates) -> None:
    server = await ws_create_server(
        "wss://127.0.0.1:0", Echo, ssl_context=certificates.server_context(), backend=backend
    )
    context = certificates.client_context()
    async with await RawClient.open(sockname(server), context=context) as client:
        silent = socket.create_connection(sockname(server))
        await eventually(lambda: server.pending_handshakes == 1)
        draining = start(server)
        assert await client.read_close() == 1012
        client.write_close(1012)
        await eventually(lambda: server.connections == 1)
        assert not draining.done()  # a TLS handshake has begun
        silent.close()
        await draining


@plain_backends
async def test_after_timeout_the_rest_is_aborted(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = await ws_create_server(ANY_PORT, Echo, backend=backend, close_timeout=None)
    async with await RawClient.open(sockname(server)) as client:
        with caplog.at_level(logging.WARNING, "picows"):
            await server.drain(grace=0, spread=0, timeout=0.1)
        assert await client.read_close() == 1012
        assert await client.read_to_end() == b""
    assert "draining has not ended within 0.1 seconds" in caplog.text


async def test_a_client_that_does_not_answer_is_aborted_after_close_timeout() -> None:
    server = await ws_create_server(ANY_PORT, Echo, close_timeout=0.05)
    async with await RawClient.open(sockname(server)) as client:
        await server.drain(grace=0, spread=0, timeout=LONG)
        assert await client.read_close() == 1012


@pytest.mark.parametrize("callback", ["on_ws_connected", "on_ws_frame"])
async def test_a_drain_that_begins_in_a_callback_has_the_close_timeout(callback: str) -> None:
    class Ending(Echo):
        def end(self, transport: WSTransport, *_: object) -> None:
            transport.send(1, b"last words")
            server._start_draining(DrainPlan(0, 0, LONG))

    setattr(Ending, callback, Ending.end)
    server = await ws_create_server(ANY_PORT, Ending, close_timeout=0.1)
    async with await RawClient.open(sockname(server)) as client:
        if callback == "on_ws_frame":
            client.write_frame(1, b"go")
        assert (await client.read_frame()).payload == b"last words"
        assert await client.read_close() == 1012
        assert await client.read_to_end() == b""  # although it does not answer
        await server.wait_closed()


async def test_without_timeout_close_timeout_is_for_slow_readers_too() -> None:
    class Flood(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(2, bytes(8_000_000))

    server = await ws_create_server(ANY_PORT, Flood, close_timeout=0.05)
    with socket.create_connection(sockname(server)) as client:
        client.sendall(upgrade_request())
        await eventually(lambda: server.connections and not server.pending_handshakes)
        await server.drain(grace=0, spread=0, timeout=None)


async def test_connections_that_are_closing_already() -> None:
    """They end as they would have, with the code that was sent."""
    transports: List[WSTransport] = []

    class Kept(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transports.append(transport)

    server = await ws_create_server(ANY_PORT, Kept)
    async with await RawClient.open(sockname(server)) as client:
        transports[0].disconnect(code=4000)
        draining = start(server)
        assert await client.read_close() == 4000
        client.write_close(4000)
        await draining
        assert await client.read_to_end() == b""


async def test_what_waits_in_the_queue_is_accepted() -> None:
    server = await ws_create_server(ANY_PORT, Echo, start_serving=False)
    server._listening.listen(16)
    name = sockname(server)
    clients = [socket.create_connection(name) for _ in range(10)]
    await server.start_serving()
    draining = start(server)  # before the loop looks at the listening socket
    server_side = asyncio.ensure_future(server.wait_closed())
    await eventually(lambda: not server.is_serving())
    assert server.connections == 10
    for client in clients:
        client.sendall(upgrade_request())
    await eventually(lambda: not server.pending_handshakes)
    for client in clients:
        client.settimeout(10)
        received = b""
        while b"\x88\x02\x03\xf4" not in received:
            data = client.recv(4096)
            assert data, received
            received += data
        assert received.startswith(b"HTTP/1.1 101 ")
        client.close()
    await draining
    await server_side


async def test_what_waits_in_the_queue_is_left_to_others() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    shared = socket.socket(fileno=socket.dup(server._listening.sockets[0].fileno()))
    with shared, socket.create_connection(sockname(server)) as client:
        stopped: List[bool] = []
        server._start_draining(
            DrainPlan(0, 0, 60),
            leaves_waiting=True,
            stopped_accepting=lambda: stopped.append(server.is_serving()),
        )
        await server.wait_closed()
        assert stopped == [False]
        shared.setblocking(True)
        accepted, _ = shared.accept()
        accepted.close()
        client.settimeout(10)
        assert client.recv(1) == b""


async def test_a_handshake_that_ends_after_its_turn() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.connect(sockname(server)) as client:
        await eventually(lambda: server.connections == 1)
        draining = start(server)
        await eventually(lambda: not server.is_serving())
        assert (await client.upgrade()).status == 101
        assert await client.read_close() == 1012
        client.write_close(1012)
        await draining


async def test_a_factory_that_decides_late() -> None:
    may_decide = asyncio.Event()

    async def factory() -> Echo:
        await may_decide.wait()
        return Echo()

    server = await ws_create_server(ANY_PORT, factory)
    async with await RawClient.connect(sockname(server)) as client:
        client.writer.write(upgrade_request())
        await eventually(lambda: server.pending_handshakes == 1)
        draining = start(server)
        await eventually(lambda: not server.is_serving())
        may_decide.set()
        assert (await client.read_response()).status == 101
        assert await client.read_close() == 1012
        client.write_close(1012)
        await draining


async def test_a_download_goes_on(tmp_path: Path) -> None:
    content = bytes(5_000_000)
    (tmp_path / "large").write_bytes(content)
    server = await ws_create_server(
        ANY_PORT, {"/": files(tmp_path)}, websocket_handshake_timeout=0.1
    )
    async with await RawClient.connect(sockname(server)) as client:
        client.writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        draining = start(server)
        await eventually(lambda: not server.is_serving())
        assert not draining.done()
        assert await client.reader.readexactly(len(content)) == content
        await draining


async def test_a_download_is_aborted_at_timeout(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(5_000_000))
    server = await ws_create_server(ANY_PORT, {"/": files(tmp_path)})
    with socket.create_connection(sockname(server)) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually(lambda: server.connections)
        await server.drain(grace=0, spread=0, timeout=0.2)
    assert server.connections == 0


async def test_handlers_learn_it_and_are_cancelled_at_timeout() -> None:
    events: List[object] = []

    async def handler(connection: WSConnection) -> None:
        try:
            await connection.recv()
        except WSConnectionClosed as error:
            events.append(error.sent.code if error.sent is not None else None)
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            events.append("cancelled")
            raise

    server = await serve(handler, ANY_PORT)
    async with await RawClient.open(sockname(server)) as client:
        draining = start(server, timeout=0.2)
        assert await client.read_close() == 1012
        client.write_close(1012)
        await client.read_to_end()
        await draining
    assert events == [1012, "cancelled"]


async def test_asgi_applications_learn_it_and_stop_last() -> None:
    events: List[object] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            events.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
            return
        await receive()
        await send({"type": "websocket.accept"})
        event = await receive()
        events.append((event["type"], event["code"]))

    server = await ws_create_server(ANY_PORT, {"/": Echo, "/app": asgi_listener(app)})
    async with await RawClient.open(sockname(server), "/app") as client:
        draining = start(server, code=1001, reason="bye")
        assert (await client.read_frame()).payload == b"\x03\xe9bye"
        client.write_close(1001)
        await draining
    assert events == [("websocket.disconnect", 1012), "lifespan.shutdown"]


async def test_cancellation_ends_the_wait_only() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.open(sockname(server)) as client:
        draining = start(server)
        assert await client.read_close() == 1012
        draining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await draining
        assert server.is_draining
        assert server.connections == 1
        client.write_close(1012)
        await server.wait_closed()


async def test_close_during_a_drain() -> None:
    server = await ws_create_server(ANY_PORT, Echo, close_timeout=0.1)
    async with await RawClient.open(sockname(server)) as client:
        draining = start(server, grace=LONG / 4, spread=LONG / 4, timeout=LONG)
        await eventually(lambda: server.is_draining)
        server.close()
        assert await client.read_close() == 1001
        await draining


async def test_abort_during_a_drain() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.open(sockname(server)) as client:
        draining = start(server, spread=LONG / 2, timeout=LONG)
        await eventually(lambda: not server.is_serving())
        server.abort_clients()
        assert await client.read_to_end() == b""
        await draining


async def test_drain_after_close() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.open(sockname(server)) as client:
        server.close(close_clients=False)
        draining = start(server, grace=LONG / 2, timeout=LONG)
        assert await client.read_close() == 1012
        client.write_close(1012)
        await draining
    await server.drain()
    await server.wait_closed()


async def test_drain_of_a_server_that_is_being_closed() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    async with await RawClient.open(sockname(server)) as client:
        server.close()
        draining = start(server)
        assert await client.read_close() == 1001
        client.write_close(1001)
        await draining


async def test_drain_within_async_with() -> None:
    async with ws_create_server(ANY_PORT, Echo) as server:
        client = await RawClient.open(sockname(server))
        serving = asyncio.ensure_future(server.serve_forever())
        draining = start(server)
        assert await client.read_close() == 1012
        client.write_close(1012)
        await draining
        with pytest.raises(asyncio.CancelledError):
            await serving
    await client.close()


async def test_end_now() -> None:
    """CLOSE to everybody, and nobody's answer is waited for."""
    cancelled: List[bool] = []

    async def handler(connection: WSConnection) -> None:
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    server = await serve(handler, ANY_PORT, close_timeout=None)
    async with await RawClient.open(sockname(server)) as client:
        server._end_now(1012, "now")
        await server.wait_closed()
        assert (await client.read_frame()).payload == b"\x03\xf4now"
        assert await client.read_to_end() == b""
    assert cancelled == [True]
