"""picows_server.server: a WSServer that is looked at, started, full and attacked."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any, List, Tuple

import pytest

from picows_server import (
    WSServer,
    WSStateError,
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
from tests.support.servers import (
    ANY_PORT,
    PLAIN_BACKENDS,
    Echo,
    echo,
    plain_backends,
    refuses,
    serving,
    sockname,
    tls_backends,
)

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


@plain_backends
async def test_descriptors(backend: str) -> None:
    async with serving(backend=backend) as server:
        (listening,) = server.sockets
        assert server._descriptors() == [listening.fileno()]
        async with await RawClient.open(sockname(server)) as client:
            first, second = server._descriptors()
            assert first == listening.fileno()
            with socket.socket(fileno=os.dup(second)) as copy:
                assert copy.getpeername() == client.writer.get_extra_info("sockname")
        await eventually(lambda: server.connections == 0)
        assert server._descriptors() == [listening.fileno()]
    assert server._descriptors() == []


@tls_backends
async def test_descriptors_of_tls_handshakes(backend: str, certificates: Certificates) -> None:
    context = certificates.server_context()
    async with serving(url="wss://127.0.0.1:0", ssl_context=context, backend=backend) as server:
        (listening,) = server.sockets
        with socket.create_connection(sockname(server)) as client:
            await eventually(lambda: server.pending_handshakes == 1)
            _, begun = server._descriptors()
            with socket.socket(fileno=os.dup(begun)) as copy:
                assert copy.getpeername() == client.getsockname()
        await eventually(lambda: server.connections == 0)
        async with await RawClient.open(
            sockname(server), context=certificates.client_context()
        ) as another:
            await echo(another)
            assert len(server._descriptors()) == 2
        await eventually(lambda: server.connections == 0)
        assert server._descriptors() == [listening.fileno()]


def test_what_is_public() -> None:
    """Whatever else the package does with a server is not for users."""
    names = {name for name in dir(WSServer) if not name.startswith("_")}
    assert names == {
        *("abort_clients", "backend", "close", "close_clients", "connections", "drain"),
        *("get_loop", "is_draining", "is_serving", "logger", "open_connections"),
        *("pending_handshakes", "places", "serve_forever", "sockets", "start_serving", "stats"),
        *("url", "urls", "wait_closed"),
    } | {name for name in dir(asyncio.AbstractServer) if not name.startswith("_")}


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
        # The log tells where they really are.
        places = tuple(f"ws://127.0.0.1:{port}/chat" for port in ports)
        assert server.places == places
        for sock in server.sockets:
            await (await RawClient.open(sock.getsockname(), "/chat")).close()
    assert server.places == places


async def test_places_with_another_scheme() -> None:
    async with serving(start_serving=False) as server:
        server._show_scheme("http")
        assert server.places == (f"http://127.0.0.1:{sockname(server)[1]}",)
        assert server.url.startswith("ws://")


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
