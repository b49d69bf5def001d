"""picows_server.server: the life of a WSServer, from serving to the last closed connection."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, AsyncIterator, List, Tuple

import pytest

from picows_server import (
    WSInvalidCloseError,
    WSListener,
    WSServer,
    WSStateError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    create_ssl_context,
    ws_create_server,
)
from picows_server import (
    server as server_module,
)
from picows_server.accept import AwaitingAcceptor
from tests.support.certificates import Certificates
from tests.support.leaks import eventually, leaked_since, open_descriptors
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import PLAIN_BACKENDS, TLS_BACKENDS, Echo, sockname

plain_backends = pytest.mark.parametrize("backend", PLAIN_BACKENDS)
tls_backends = pytest.mark.parametrize("backend", TLS_BACKENDS)

ANY_PORT = "ws://127.0.0.1:0"


@asynccontextmanager
async def serving(
    factory: Any = Echo, url: str = ANY_PORT, **options: Any
) -> AsyncIterator[WSServer]:
    """A server that is closed at the end, without patience for clients."""
    server = await ws_create_server(url, factory, **options)
    try:
        yield server
    finally:
        server.close()
        server.abort_clients()
        await server.wait_closed()


async def echo(client: RawClient, text: bytes = b"hello") -> None:
    client.write_frame(1, text)
    assert (await client.read_frame()).payload == text


def refuses(name: Any) -> bool:
    try:
        socket.create_connection(name).close()
    except ConnectionRefusedError:
        return True
    return False


# Looking at it


async def test_a_serving_server() -> None:
    async with serving() as server:
        assert isinstance(server, asyncio.AbstractServer)
        assert server.get_loop() is asyncio.get_running_loop()
        assert server.is_serving()
        assert server.backend in ("stream", "loop")
        host, port = sockname(server)
        assert server.url == f"ws://{host}:{port}"
        assert server.urls == (server.url,)
        assert repr(server) == f"<WSServer ws://{host}:{port} serving>"
        assert server.connections == server.pending_handshakes == 0
        async with await RawClient.connect(sockname(server)) as client:
            await eventually(lambda: server.pending_handshakes == 1)
            await client.upgrade()
            await eventually(lambda: server.pending_handshakes == 0)
            assert server.connections == 1
            await echo(client)
        await eventually(lambda: server.connections == 0)


async def test_a_closed_server() -> None:
    async with serving() as server:
        url = server.url
    assert server.sockets == ()
    assert not server.is_serving()
    assert server.url == url
    assert repr(server) == f"<WSServer {url} closed>"
    with pytest.raises(WSStateError, match="closed"):
        await server.start_serving()
    with pytest.raises(WSStateError, match="closed"):
        await server.serve_forever()
    server.close()
    await server.wait_closed()


async def test_urls_of_several_sockets() -> None:
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [sock.getsockname()[1] for sock in socks]
    async with serving(url="ws://localhost/chat", sock=socks) as server:
        assert server.urls == tuple(f"ws://localhost:{port}/chat" for port in ports)
        assert server.url == server.urls[0]
        for sock in server.sockets:
            await (await RawClient.open(sock.getsockname(), "/chat")).close()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio only warned about it before")
async def test_sockets_cannot_be_closed_by_accident() -> None:
    async with serving() as server:
        assert not hasattr(server.sockets[0], "close")


# Starting


async def test_start_serving_later() -> None:
    async with serving(start_serving=False) as server:
        assert not server.is_serving()
        assert "idle" in repr(server)
        assert refuses(sockname(server))
        await server.start_serving()
        await server.start_serving()
        assert server.is_serving()
        await (await RawClient.open(sockname(server))).close()


async def test_closed_before_it_served() -> None:
    server = await ws_create_server(ANY_PORT, Echo, start_serving=False)
    name = sockname(server)
    server.close()
    await server.wait_closed()
    assert refuses(name)


async def test_serve_forever_starts_serving() -> None:
    async with serving(start_serving=False) as server:
        task = asyncio.ensure_future(server.serve_forever())
        await asyncio.sleep(0)
        assert server.is_serving()
        with pytest.raises(WSStateError, match="another serve_forever"):
            await server.serve_forever()
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await task


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


# Limits


async def test_max_connections_keeps_others_waiting() -> None:
    async with serving(max_connections=2) as server:
        name = sockname(server)
        clients = [await RawClient.open(name) for _ in range(2)]
        waiting = await RawClient.connect(name)
        upgrade = asyncio.ensure_future(waiting.upgrade())
        await asyncio.sleep(0.05)
        assert not upgrade.done()
        assert server.connections == 2
        await clients.pop().close()
        assert (await upgrade).status == 101
        assert server.connections == 2
        for client in (*clients, waiting):
            await client.close()


@plain_backends
async def test_max_pending_handshakes_keeps_others_waiting(backend: str) -> None:
    async with serving(backend=backend, max_pending_handshakes=3) as server:
        name = sockname(server)
        established = await RawClient.open(name)
        half_open = [await RawClient.connect(name) for _ in range(3)]
        await eventually(lambda: server.pending_handshakes == 3)
        waiting = await RawClient.connect(name)
        upgrade = asyncio.ensure_future(waiting.upgrade())
        await asyncio.sleep(0.05)
        assert not upgrade.done()
        await echo(established)
        await half_open.pop().close()
        assert (await upgrade).status == 101
        await half_open[0].upgrade()
        await (await RawClient.open(name)).close()
        for client in (established, waiting, *half_open):
            await client.close()


@pytest.mark.parametrize("backend", ["auto", *PLAIN_BACKENDS])
async def test_a_full_server_refuses(backend: str) -> None:
    def route(request: WSUpgradeRequest) -> Any:
        if request.path == "/health":
            return WSUpgradeResponse.create_ok_response("fine")
        return Echo()

    async with serving(
        route, backend=backend, max_connections=2, max_pending_handshakes=4, when_full="refuse"
    ) as server:
        name = sockname(server)
        clients = [await RawClient.open(name) for _ in range(2)]
        for _ in range(8):
            async with await RawClient.connect(name) as refused:
                response = await refused.upgrade("/health")
                assert response.status == 503
                assert int(response.headers["retry-after"]) > 0
            async with await RawClient.connect(name) as check:
                check.writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await check.read_response()).status == 200
        await echo(clients[0])
        await clients.pop().close()
        await eventually(lambda: server.connections == 1)
        clients.append(await RawClient.open(name))
        for client in clients:
            await client.close()


@plain_backends
async def test_health_checks_of_balancers(backend: str) -> None:
    def route(request: WSUpgradeRequest) -> Any:
        seen.append((request.method, request.version))
        return WSUpgradeResponse.create_ok_response("fine")

    seen: List[Tuple[str, str]] = []
    async with serving(route, backend=backend) as server:
        for request, body in (
            (b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
            (b"OPTIONS / HTTP/1.0\r\n\r\n", b"fine"),
            (b"\r\nGET /healthz HTTP/1.0\r\n\r\n", b"fine"),
        ):
            async with await RawClient.connect(sockname(server)) as client:
                client.writer.write(request)
                head, _, rest = (await client.read_to_end()).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 OK\r\n")
                assert b"\r\nContent-Length: 4\r\n" in head
                assert rest == body
    assert seen == [("HEAD", "HTTP/1.1"), ("OPTIONS", "HTTP/1.0"), ("GET", "HTTP/1.0")]


async def test_a_full_server_refuses_after_tls(certificates: Certificates) -> None:
    context = create_ssl_context(certificates.server_chain, certificates.server_key)
    async with serving(
        url="wss://127.0.0.1:0/", ssl_context=context, max_connections=1, when_full="refuse"
    ) as server:
        name = sockname(server)
        client = await RawClient.open(name, context=certificates.client_context())
        refused = await RawClient.connect(name, context=certificates.client_context())
        assert (await refused.upgrade()).status == 503
        await refused.close()
        await client.close()


async def test_upgrades_of_one_turn_do_not_pass_the_limit() -> None:
    async with serving(max_connections=3, when_full="refuse") as server:
        clients = [await RawClient.connect(sockname(server)) for _ in range(12)]
        responses = await asyncio.gather(*(client.upgrade() for client in clients))
        statuses = sorted(response.status for response in responses)
        assert statuses == [101] * 3 + [503] * 9
        for client in clients:
            await client.close()


@plain_backends
async def test_a_crowd_gets_in_through_a_narrow_door(backend: str) -> None:
    async with serving(backend=backend, max_pending_handshakes=4) as server:

        async def visit() -> None:
            async with await RawClient.open(sockname(server)) as client:
                await echo(client)

        await asyncio.gather(*(visit() for _ in range(200)))
        await eventually(lambda: server.connections == 0)


async def test_half_open_handshakes_make_room_at_the_deadline() -> None:
    async with serving(max_pending_handshakes=2, websocket_handshake_timeout=0.1) as server:
        slow = [await RawClient.connect(sockname(server)) for _ in range(2)]

        async def trickle(client: RawClient) -> None:
            # A byte now and then does not stretch the deadline.
            for byte in upgrade_request():
                client.writer.write(bytes([byte]))
                await asyncio.sleep(0.02)

        trickling = [asyncio.ensure_future(trickle(client)) for client in slow]
        async with await RawClient.open(sockname(server)) as client:
            await echo(client)
        for client, task in zip(slow, trickling):
            assert (await client.read_response()).status == 408
            task.cancel()
            await client.close()


@plain_backends
async def test_a_peer_that_sends_nothing_is_told_nothing(backend: str) -> None:
    async with serving(
        backend=backend, websocket_handshake_timeout=0.05
    ) as server, await RawClient.connect(sockname(server)) as silent:
        assert await silent.read_to_end() == b""


@tls_backends
async def test_silent_tls_peers_make_room_at_the_deadline(
    backend: str, certificates: Certificates
) -> None:
    async with serving(
        url="wss://127.0.0.1:0",
        ssl_context=certificates.server_context(),
        backend=backend,
        max_pending_handshakes=2,
        websocket_handshake_timeout=0.2,
    ) as server:
        silent = [socket.create_connection(sockname(server)) for _ in range(2)]
        await eventually(lambda: server.pending_handshakes == 2)
        context = certificates.client_context()
        async with await RawClient.open(sockname(server), context=context) as client:
            await echo(client)
        for sock in silent:
            sock.close()


# Peers

NOISE = [
    b"",
    b"\r\n\r\n",
    b"\x00" * 1000,
    b"\xff" * 100_000,
    b"GET / HTTP/1.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 100_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    upgrade_request() + b"\xff" * 1000,
    upgrade_request() + b"\x81\x7f" + b"\xff" * 1000,
    upgrade_request() + b"\x81\x05hello",
]


@plain_backends
@pytest.mark.parametrize("noise", NOISE, ids=range(len(NOISE)))
async def test_no_bytes_of_a_peer_end_the_server(backend: str, noise: bytes) -> None:
    async with serving(backend=backend) as server:
        async with await RawClient.open(sockname(server)) as bystander:
            async with await RawClient.connect(sockname(server)) as client:
                client.writer.write(noise)
                if client.writer.can_write_eof():
                    client.writer.write_eof()
                await client.read_to_end()
            await echo(bystander)
        async with await RawClient.open(sockname(server)) as client:
            await echo(client)


@plain_backends
async def test_peers_that_reset_do_not_end_the_server(backend: str) -> None:
    async with serving(backend=backend) as server:
        for after in range(0, len(upgrade_request()) + 1, 40):
            client = await RawClient.connect(sockname(server))
            client.writer.write(upgrade_request()[:after])
            client.reset()
            await client.close()
        async with await RawClient.open(sockname(server)) as client:
            await echo(client)
            await eventually(lambda: server.connections == 1)


async def test_loop_without_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "has_readers", lambda loop: False)
    async with serving(backend="loop") as server:
        assert isinstance(server._acceptor, AwaitingAcceptor)
        async with await RawClient.open(sockname(server)) as client:
            await echo(client)


@plain_backends
async def test_nothing_is_left_behind(backend: str) -> None:
    before, tasks = open_descriptors(), asyncio.all_tasks()
    for _ in range(3):
        async with serving(backend=backend) as server:
            async with await RawClient.open(sockname(server)) as client:
                await echo(client)
            abandoned = await RawClient.open(sockname(server))
            half_open = socket.create_connection(sockname(server))
        await abandoned.close()
        half_open.close()
    await eventually(lambda: asyncio.all_tasks() == tasks)
    await eventually(lambda: not leaked_since(before))
