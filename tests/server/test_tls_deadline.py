"""picows_server.tls_deadline: who is too slow for a TLS handshake, and who is not."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import time
from typing import Any, AsyncIterator, List, Optional, Tuple

import pytest

from picows_server import WSListener, WSServer, backend, ws_create_server
from picows_server.protocol import ServerProtocol
from tests.support.certificates import Certificates
from tests.support.leaks import count_instances, eventually
from tests.support.rawclient import upgrade_request
from tests.support.servers import TLS_BACKENDS, sockname
from tests.support.tls_by_hand import TlsByHand

tls_backends = pytest.mark.parametrize("name", TLS_BACKENDS)

LIMIT = 0.2
# Seconds: what goes beyond the limit is what the peer gets once more.
BLOCKED = 1.0


class Texts(logging.Handler):
    """Keeps what is logged about connections, without their life (DEBUG)."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.texts: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if "serving wss:" not in text:
            self.texts.append(text)


@contextlib.asynccontextmanager
async def serving(
    certificates: Certificates, name: str, limit: Optional[float]
) -> AsyncIterator[Tuple[WSServer, List[str]]]:
    logger, log = logging.Logger("picows.test"), Texts()
    logger.addHandler(log)
    server = await ws_create_server(
        "wss://127.0.0.1:0",
        WSListener,
        logger,
        backend=name,
        ssl_context=certificates.server_context(),
        websocket_handshake_timeout=limit,
    )
    try:
        yield server, log.texts
    finally:
        server.close()
        server.abort_clients()
        await server.wait_closed()


def block_the_loop(seconds: float) -> None:
    time.sleep(seconds)


async def accepted(server: WSServer) -> socket.socket:
    """A socket that the server has accepted, and waits for."""
    sock = socket.create_connection(sockname(server))
    await eventually(lambda: server.pending_handshakes == 1)
    for _ in range(10):  # the engine has begun
        await asyncio.sleep(0)
    return sock


def line_about(sock: socket.socket, limit: float) -> str:
    host, port = sock.getsockname()
    return (
        f"{host}:{port}: the TLS handshake failed: SSL handshake is taking longer than "
        f"{limit} seconds: aborting the connection"
    )


@tls_backends
@pytest.mark.parametrize("steps", [1, 2])
async def test_a_peer_of_a_blocked_loop(name: str, steps: int, certificates: Certificates) -> None:
    """What the peer has sent waits in the socket: its first bytes, or its last."""
    async with serving(certificates, name, LIMIT) as (server, log):
        with await accepted(server) as sock:
            peer = TlsByHand(sock, certificates.client_context())
            peer.step()
            if steps == 2:
                await peer.wait()
                peer.step()
            block_the_loop(BLOCKED)
            await peer.shake_hands()
            peer.send(upgrade_request())
            assert (await peer.receive()).startswith(b"HTTP/1.1 101 ")
    assert log == []


@tls_backends
@pytest.mark.parametrize("blocked", [0.0, 2 * LIMIT])
@pytest.mark.parametrize("steps", [0, 1])
async def test_a_silent_peer(
    name: str, blocked: float, steps: int, certificates: Certificates
) -> None:
    async with serving(certificates, name, LIMIT) as (server, log):
        with await accepted(server) as sock:
            peer = TlsByHand(sock, certificates.client_context())
            if steps:
                peer.step()
            block_the_loop(blocked)
            await eventually(lambda: not server.pending_handshakes)
            assert log == [line_about(sock, LIMIT)]
            loop = asyncio.get_running_loop()
            with contextlib.suppress(ConnectionError):
                while await loop.sock_recv(sock, 65536):
                    pass


@tls_backends
async def test_nothing_is_left_of_a_silent_peer(name: str, certificates: Certificates) -> None:
    gc.collect()
    gc.disable()
    try:
        before = count_instances(ServerProtocol)
        async with serving(certificates, name, LIMIT) as (server, log):
            with await accepted(server):
                await eventually(lambda: bool(log))
            await eventually(lambda: count_instances(ServerProtocol) == before)
    finally:
        gc.enable()


@tls_backends
async def test_a_server_that_closes_first(name: str, certificates: Certificates) -> None:
    async with serving(certificates, name, 100.0) as (server, log):
        sock = await accepted(server)
    sock.close()
    assert log == []


@tls_backends
@pytest.mark.parametrize("limit", [None, 1000.0])
async def test_the_engines_own_limit(
    name: str, limit: Any, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is longer than what may be waited for."""
    assert backend.ENGINE_TIMEOUT > 3600.0
    monkeypatch.setattr(backend, "ENGINE_TIMEOUT", LIMIT)
    async with serving(certificates, name, limit) as (server, log):
        with await accepted(server) as sock:
            await eventually(lambda: bool(log))
            assert log == [line_about(sock, LIMIT)]
