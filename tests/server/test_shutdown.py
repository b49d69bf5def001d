"""picows_server.server: closing a WSServer, and what becomes of its connections."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Callable, List

import pytest

from picows_server import (
    WSConnection,
    WSInvalidCloseError,
    WSListener,
    WSServer,
    WSState,
    WSTransport,
    files,
    serve,
    slices,
    ws_create_server,
)
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    ANY_PORT,
    Echo,
    echo,
    plain_backends,
    refuses,
    serving,
    sockname,
    tls_backends,
)

# Closing


@plain_backends
async def test_cancelled_serve_forever_closes_gracefully(backend: str) -> None:
    server = await ws_create_server(ANY_PORT, Echo, backend=backend)
    name = sockname(server)
    task = asyncio.ensure_future(server.serve_forever())
    async with await RawClient.open(name) as client:
        task.cancel()
        assert await client.read_close() == 1001
        assert refuses(name)
        assert not task.done()
        client.write_close(1001)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await client.read_to_end() == b""
    assert server.connections == 0


async def test_second_cancellation_of_serve_forever_aborts() -> None:
    server = await ws_create_server(ANY_PORT, Echo, close_timeout=None)
    task = asyncio.ensure_future(server.serve_forever())
    async with await RawClient.open(sockname(server)) as client:
        task.cancel()
        assert await client.read_close() == 1001
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await client.read_to_end() == b""
        await server.wait_closed()


async def test_serve_forever_of_a_server_that_lets_its_clients_finish() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    task = asyncio.ensure_future(server.serve_forever())
    async with await RawClient.open(sockname(server)) as client:
        server.close(close_clients=False)
        await asyncio.sleep(0.01)
        await echo(client)
        assert not task.done()
        client.write_close(1000)
        assert await client.read_close() == 1000
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_async_with() -> None:
    async with await ws_create_server(ANY_PORT, Echo) as server:
        client = await RawClient.open(sockname(server))

        async def answer() -> None:
            assert await client.read_close() == 1001
            client.write_close(1001)

        answering = asyncio.ensure_future(answer())
    assert server.connections == 0
    await answering
    await client.close()


@plain_backends
async def test_close_sends_1001_and_aborts_who_does_not_answer(backend: str) -> None:
    listeners: List[Echo] = []

    def factory() -> Echo:
        listeners.append(Echo())
        return listeners[-1]

    server = await ws_create_server(ANY_PORT, factory, backend=backend, close_timeout=0.2)
    polite, rude = [await RawClient.open(sockname(server)) for _ in range(2)]
    server.close()
    for client in (polite, rude):
        assert await client.read_close() == 1001
    polite.write_close(1001)
    assert await polite.read_to_end() == b""
    await eventually(lambda: server.connections == 1)
    rude.write_frame(1, b"I will not leave")
    await server.wait_closed()
    assert server.connections == 0
    assert await rude.read_to_end() == b""
    assert [listener.events for listener in listeners] == [["connected", "disconnected"]] * 2
    await polite.close()
    await rude.close()


@tls_backends
async def test_close_with_tls(backend: str, certificates: Certificates) -> None:
    server = await ws_create_server(
        "wss://127.0.0.1:0",
        Echo,
        ssl_context=certificates.server_context(),
        backend=backend,
        close_timeout=0.3,
    )
    context = certificates.client_context()
    polite, rude = [await RawClient.open(sockname(server), context=context) for _ in range(2)]
    silent = socket.create_connection(sockname(server))
    await eventually(lambda: server.pending_handshakes == 1)
    server.close()
    for client in (polite, rude):
        assert await client.read_close() == 1001
    await eventually(lambda: not server.pending_handshakes)
    assert silent.recv(1) == b""
    polite.write_close(1001)
    await server.wait_closed()
    silent.close()
    await polite.close()
    await rude.close()


async def test_close_aborts_a_peer_that_does_not_read() -> None:
    class Flood(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(2, bytes(8_000_000))

    server = await ws_create_server(ANY_PORT, Flood, close_timeout=0.2)
    client = socket.create_connection(sockname(server))
    client.send(upgrade_request())
    await eventually(lambda: server.connections and not server.pending_handshakes)
    server.close()
    await server.wait_closed()
    client.close()


@plain_backends
async def test_close_drops_half_open_handshakes(backend: str) -> None:
    server = await ws_create_server(ANY_PORT, Echo, backend=backend, close_timeout=None)
    async with await RawClient.connect(sockname(server)) as client:
        client.writer.write(upgrade_request()[:50])
        await eventually(lambda: server.pending_handshakes == 1)
        server.close()
        await server.wait_closed()
        assert await client.read_to_end() == b""


@pytest.fixture
def large(tmp_path: Path) -> bytes:
    """What is in the file named large."""
    content = os.urandom(5_000_000)
    (tmp_path / "large").write_bytes(content)
    return content


async def _open_download(server: WSServer) -> RawClient:
    client = await RawClient.connect(sockname(server))
    client.writer.write(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    head = await client.reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    return client


@plain_backends
async def test_close_lets_a_download_end(backend: str, tmp_path: Path, large: bytes) -> None:
    server = await ws_create_server(
        ANY_PORT, {"/": files(tmp_path)}, backend=backend, close_timeout=None
    )
    async with await _open_download(server) as client:
        server.close()
        assert await client.reader.readexactly(len(large)) == large
        await server.wait_closed()
        assert await client.read_to_end() == b""


async def test_close_aborts_a_download_after_close_timeout(tmp_path: Path, large: bytes) -> None:
    server = await ws_create_server(ANY_PORT, {"/": files(tmp_path)}, close_timeout=0.1)
    async with await _open_download(server) as client:
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        server.close()
        await server.wait_closed()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len(await client.read_to_end()) < len(large)


async def test_close_without_closing_clients() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    name = sockname(server)
    async with await RawClient.open(name) as client, await RawClient.connect(name) as late:
        await eventually(lambda: server.connections == 2)
        server.close(close_clients=False)
        assert refuses(name)
        await echo(client)
        assert (await late.upgrade()).status == 101
        waiting = asyncio.ensure_future(server.wait_closed())
        server.close_clients()
        for each in (client, late):
            assert await each.read_close() == 1001
            assert not waiting.done()
            each.write_close(1001)
        await waiting


async def test_close_after_close_without_closing_clients() -> None:
    async with await ws_create_server(ANY_PORT, Echo) as server:
        client = await RawClient.open(sockname(server))
        server.close(close_clients=False)
        await echo(client)
        client.write_close(1000)
    await client.close()


async def test_wait_closed_waits_for_close_and_for_connections() -> None:
    server = await ws_create_server(ANY_PORT, Echo)
    waiting = [asyncio.ensure_future(server.wait_closed()) for _ in range(2)]
    async with await RawClient.open(sockname(server)) as client:
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in waiting)
        server.close()
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in waiting)
        client.write_close(1000)
        await asyncio.gather(*waiting)
    await server.wait_closed()


async def test_cancelled_wait_closed_leaves_the_server_alone() -> None:
    async with serving() as server:
        waiting = asyncio.ensure_future(server.wait_closed())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await (await RawClient.open(sockname(server))).close()


@plain_backends
@pytest.mark.parametrize("when", ["on_ws_connected", "on_ws_frame", "on_ws_disconnected"])
async def test_closed_by_a_listener(backend: str, when: str) -> None:
    factory = type("Closing", (WSListener,), {when: lambda *_: server.close()})
    server = await ws_create_server(ANY_PORT, factory, backend=backend)
    async with await RawClient.open(sockname(server)) as client:
        if when == "on_ws_frame":
            client.write_frame(1, b"close, please")
        if when != "on_ws_disconnected":
            assert await client.read_close() == 1001
        client.write_close(1001)
        await server.wait_closed()


async def test_close_clients_of_a_server_that_goes_on() -> None:
    async with serving() as server:
        async with await RawClient.open(sockname(server)) as client:
            server.close_clients(1012, "restarting")
            assert (await client.read_frame()).payload == b"\x03\xf4restarting"
            client.write_close(1012)
            assert await client.read_to_end() == b""
        assert server.is_serving()
        async with await RawClient.open(sockname(server)) as client:
            with pytest.raises(WSInvalidCloseError):
                server.close_clients(1006)
            await echo(client)


async def test_abort_clients_of_a_server_that_goes_on() -> None:
    async with serving() as server:
        async with await RawClient.open(sockname(server)) as client:
            server.abort_clients()
            assert await client.read_to_end() == b""
        await (await RawClient.open(sockname(server))).close()


async def test_unix_socket_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serving(url="ws://localhost/chat", unix_path=path) as server:
        assert server.url == "ws://localhost/chat"
        assert sockname(server) == os.fspath(path)
        async with await RawClient.open(sockname(server), "/chat") as client:
            await echo(client)
    assert not path.exists()


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="no SO_REUSEPORT")
async def test_two_servers_share_a_port() -> None:
    async with serving(reuse_port=True) as first:
        async with serving(url=first.url, reuse_port=True) as second:
            assert first.url == second.url
            for _ in range(8):
                async with await RawClient.open(sockname(first)) as client:
                    await echo(client)
        async with await RawClient.open(sockname(first)) as client:
            await echo(client)


# Many connections: the loop goes on while they are closed


async def count_changes(has_changed: Callable[[], int], wanted: int) -> List[int]:
    """Return how many were changed by each iteration of the loop, until all are."""
    seen = [has_changed()]
    while seen[-1] < wanted:
        await asyncio.sleep(0)
        seen.append(has_changed())
    return [after - before for before, after in zip([0, *seen], seen)]


@plain_backends
@pytest.mark.parametrize("how", ["close", "close_clients", "abort_clients"])
async def test_connections_are_closed_in_slices(
    backend: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slices, "SLICE", 2)
    listeners: List[Echo] = []

    def factory() -> Echo:
        listeners.append(Echo())
        return listeners[-1]

    server = await ws_create_server(ANY_PORT, factory, backend=backend)
    async with server:
        clients = [await RawClient.open(sockname(server)) for _ in range(7)]
        getattr(server, how)()

        def not_open() -> int:
            return sum(each.transport.state != WSState.OPEN for each in listeners)

        changes = await count_changes(not_open, 7)
        assert max(changes) <= 2
        for client in clients:
            if how != "abort_clients":
                assert await client.read_close() == 1001
            await client.close()


async def test_handlers_leave_and_are_cancelled_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE", 2)
    cancelled = 0

    async def handler(ws: WSConnection) -> None:
        nonlocal cancelled
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled += 1
            raise

    server = await serve(handler, ANY_PORT, close_timeout=0.01)
    clients = [await RawClient.open(sockname(server)) for _ in range(7)]
    await eventually(lambda: len(server.open_connections) == 7)
    connections = server.open_connections
    server.close()
    changes = await count_changes(
        lambda: sum(each.state is not WSState.OPEN for each in connections), 7
    )
    # Two of the server's walk, two of the handlers'.
    assert max(changes) <= 4
    changes = await count_changes(lambda: cancelled, 7)
    assert max(changes) <= 2
    await server.wait_closed()
    for client in clients:
        await client.close()


async def test_nobody_slips_through_while_others_are_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An opening handshake that ends after close() was called, and before its turn."""
    monkeypatch.setattr(slices, "SLICE", 1)
    server = await ws_create_server(ANY_PORT, Echo, close_timeout=None)
    clients = [await RawClient.open(sockname(server)) for _ in range(5)]
    half_open = [await RawClient.connect(sockname(server)) for _ in range(5)]
    await eventually(lambda: server.connections == 10)
    for client in half_open:
        client.writer.write(upgrade_request())
    server.close()
    for client in clients:
        assert await client.read_close() == 1001
        client.write_close(1001)
    for client in half_open:
        # One whose turn came before its request was aborted, and uvloop would raise.
        if not client.writer.is_closing():
            client.write_close(1001)
    await server.wait_closed()
    for client in (*clients, *half_open):
        await client.close()


async def test_a_cancellation_aborts_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No iteration of the loop may follow."""
    monkeypatch.setattr(slices, "SLICE", 1)
    listeners: List[Echo] = []

    def factory() -> Echo:
        listeners.append(Echo())
        return listeners[-1]

    server = await ws_create_server(ANY_PORT, factory, close_timeout=None)
    clients = [await RawClient.open(sockname(server)) for _ in range(5)]
    task = asyncio.ensure_future(server.serve_forever())
    await asyncio.sleep(0)
    task.cancel()
    for client in clients:
        assert await client.read_close() == 1001
    task.cancel()
    await asyncio.wait({task})
    kinds = [each.transport.disconnect_cause.kind for each in listeners]
    assert len(kinds) == 5
    await server.wait_closed()
    for client in clients:
        await client.close()
