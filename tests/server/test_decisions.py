"""Whom a server accepts, over sockets: factories that decide later, origins, subprotocols."""

from __future__ import annotations

import asyncio
from typing import Any, List, Optional

import pytest

from picows_server import (
    WSInvalidOptionError,
    WSUpgradeResponse,
    create_ssl_context,
    ws_create_server,
)
from tests.support.certificates import Certificates
from tests.support.leaks import eventually
from tests.support.loops import other_tasks
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    ANY_PORT,
    Echo,
    echo,
    plain_backends,
    serving,
    sockname,
    tls_backends,
)


class Deciding:
    """A coroutine factory that waits until it is told to go on."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, request: Any) -> Any:
        self.asked.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if request.path == "/error":
            raise ValueError("no database")
        return Echo() if request.path == "/" else None


@plain_backends
async def test_accepts_later(backend: str) -> None:
    deciding = Deciding()
    starting = serving(deciding, backend=backend)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(upgrade_request())
        await deciding.asked.wait()
        assert server.pending_handshakes == 1
        client.write_frame(1, b"early")
        deciding.go_on.set()
        assert (await client.read_response()).status == 101
        assert (await client.read_frame()).payload == b"early"
        assert server.pending_handshakes == 0
        await echo(client)


@tls_backends
async def test_accepts_later_over_tls(backend: str, certificates: Certificates) -> None:
    deciding = Deciding()
    url = "wss://127.0.0.1:0"
    tls = create_ssl_context(certificates.server_chain, certificates.server_key)
    async with serving(deciding, url, backend=backend, ssl_context=tls) as server:
        context = certificates.client_context()
        async with await RawClient.connect(sockname(server), context=context) as client:
            client.writer.write(upgrade_request())
            client.write_frame(1, b"early")
            await deciding.asked.wait()
            deciding.go_on.set()
            assert (await client.read_response()).status == 101
            assert (await client.read_frame()).payload == b"early"
            await echo(client)


@tls_backends
async def test_much_that_comes_early_over_tls(backend: str, certificates: Certificates) -> None:
    """All of it is read once the server has decided, though nothing follows."""
    deciding = Deciding()
    url = "wss://127.0.0.1:0"
    tls = create_ssl_context(certificates.server_chain, certificates.server_key)
    async with serving(deciding, url, backend=backend, ssl_context=tls) as server:
        context = certificates.client_context()
        for count in range(10, 3000, 217):
            deciding.asked.clear()
            deciding.go_on.clear()
            async with await RawClient.connect(sockname(server), context=context) as client:
                client.writer.write(upgrade_request())
                for _ in range(count):
                    client.write_frame(1, b"x" * 100)
                await deciding.asked.wait()
                await asyncio.sleep(0.01)
                deciding.go_on.set()
                assert (await client.read_response()).status == 101
                for _ in range(count):
                    assert (await client.read_frame()).payload == b"x" * 100


async def reads(connection: Any) -> None:
    async for _ in connection:
        pass


async def writes(connection: Any) -> None:
    await connection.send("hello")


@pytest.mark.parametrize("handler", [reads, writes])
async def test_a_handler_of_serve(handler: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing tells that it is one before it runs; the log says what to write."""
    async with ws_create_server(ANY_PORT, handler) as server:
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(upgrade_request())
            assert (await client.read_response()).status == 500
        await eventually(lambda: len(caplog.messages) == 2)
    assert caplog.messages[0].endswith("the listener factory failed")
    assert "it is a handler: write serve(handler, url)" in caplog.messages[1]


@plain_backends
@pytest.mark.parametrize(("path", "status"), [("/error", 500), ("/none", 404)])
async def test_refuses_later(backend: str, path: str, status: int) -> None:
    deciding = Deciding()
    deciding.go_on.set()
    starting = serving(deciding, backend=backend)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        assert (await client.upgrade(path)).status == status


@plain_backends
@pytest.mark.parametrize("is_early", [True, False])
@pytest.mark.parametrize("is_reset", [True, False])
async def test_a_peer_that_leaves_cancels(backend: str, is_reset: bool, is_early: bool) -> None:
    """Also one that has sent frames too early."""
    deciding = Deciding()
    async with serving(deciding, backend=backend) as server:
        client = await RawClient.connect(sockname(server))
        client.writer.write(upgrade_request())
        if is_early:
            client.write_frame(1, b"early")
        await deciding.asked.wait()
        if is_reset:
            client.reset()
        await client.close()
        await deciding.cancelled.wait()


@tls_backends
async def test_a_peer_that_leaves_cancels_over_tls(
    backend: str, certificates: Certificates
) -> None:
    deciding = Deciding()
    url = "wss://127.0.0.1:0"
    tls = create_ssl_context(certificates.server_chain, certificates.server_key)
    async with serving(deciding, url, backend=backend, ssl_context=tls) as server:
        context = certificates.client_context()
        client = await RawClient.connect(sockname(server), context=context)
        client.writer.write(upgrade_request())
        client.write_frame(1, b"early")
        await deciding.asked.wait()
        await client.close()
        await deciding.cancelled.wait()


@plain_backends
async def test_deadline(backend: str) -> None:
    deciding = Deciding()
    starting = serving(deciding, backend=backend, websocket_handshake_timeout=0.05)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        assert (await client.upgrade()).status == 503
        assert deciding.cancelled.is_set()


@plain_backends
async def test_close_waits_for_the_task(backend: str) -> None:
    steps: List[str] = []
    asked = asyncio.Event()

    async def factory() -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(50):
                await asyncio.sleep(0)
            steps.append("cleaned up")

    server = await ws_create_server(ANY_PORT, factory, backend=backend)
    async with await RawClient.connect(sockname(server)) as client:
        client.writer.write(upgrade_request())
        await asked.wait()
        server.close()
        await server.wait_closed()
        assert steps == ["cleaned up"]
    assert not other_tasks()


async def test_refuses_when_those_that_are_decided_about_fill_the_server() -> None:
    deciding = Deciding()
    starting = serving(deciding, max_connections=1, when_full="refuse")
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(upgrade_request())
        await deciding.asked.wait()
        async with await RawClient.connect(sockname(server)) as other:
            assert (await other.upgrade()).status == 503
        deciding.go_on.set()
        assert (await client.read_response()).status == 101


@pytest.mark.parametrize(
    ("origin", "status"), [("https://example.com", 101), ("https://evil.org", 403), (None, 403)]
)
async def test_origins(origin: Optional[str], status: int) -> None:
    headers = [] if origin is None else [("Origin", origin)]
    starting = serving(Echo, origins=["https://example.com"])
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        assert (await client.upgrade(headers=headers)).status == status


async def test_a_refused_origin_does_not_reach_the_factory() -> None:
    asked: List[Any] = []
    starting = serving(asked.append, origins=["https://example.com"])
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        assert (await client.upgrade()).status == 403
    assert not asked


async def test_health_checks_need_no_origin() -> None:
    response = WSUpgradeResponse.create_ok_response("fine")
    starting = serving(lambda: response, origins=["https://example.com"])
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await client.read_response()).status == 200


@pytest.mark.parametrize("is_deferred", [True, False])
@pytest.mark.parametrize(("offered", "chosen"), [("v1, v2", "v2"), ("v1", "v1"), ("v3", None)])
async def test_subprotocols(is_deferred: bool, offered: str, chosen: Optional[str]) -> None:
    async def later() -> Echo:
        return Echo()

    factory = later if is_deferred else Echo
    starting = serving(factory, subprotocols=["v2", "v1"])
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        response = await client.upgrade(headers=[("Sec-WebSocket-Protocol", offered)])
        assert response.status == (400 if chosen is None else 101)
        assert response.headers.get("sec-websocket-protocol") == chosen


@pytest.mark.parametrize("names", ["v1", b"v1", 7, [7], None])
async def test_wrong_types_of_subprotocols(names: Any) -> None:
    with pytest.raises(TypeError, match="subprotocol"):
        await ws_create_server(ANY_PORT, Echo, subprotocols=names)


async def test_subprotocol_passed_twice() -> None:
    with pytest.raises(WSInvalidOptionError, match="subprotocols: 'v1' is passed twice"):
        await ws_create_server(ANY_PORT, Echo, subprotocols=["v2", "v1", "v1"])


@pytest.mark.parametrize("names", [["a b"], [""], ["a", "a"]])
async def test_wrong_subprotocols(names: List[str]) -> None:
    with pytest.raises(WSInvalidOptionError, match="subprotocol"):
        await ws_create_server(ANY_PORT, Echo, subprotocols=names)


async def test_wrong_origins() -> None:
    with pytest.raises(WSInvalidOptionError, match="origins"):
        await ws_create_server(ANY_PORT, Echo, origins=["example.com"])
