"""The log of a connection, over the wire on every backend: client and server."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Any, List

import pytest

from picows_client import ws_connect
from picows_server import WSDisconnectKind, WSMessageListener, WSTransport, ws_create_server
from tests.support.leaks import eventually
from tests.support.servers import PLAIN_BACKENDS, Echo


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: List[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def verbose_logger() -> Any:
    logger, handler = logging.Logger("picows.test", logging.DEBUG), _Lines()
    logger.addHandler(handler)
    return logger, handler.lines


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
async def test_lines_of_both_sides(backend: str) -> None:
    server_logger, of_server = verbose_logger()
    client_logger, of_client = verbose_logger()
    made: List[Echo] = []

    def factory(request: object) -> Echo:
        made.append(Echo())
        return made[-1]

    async with ws_create_server(
        "ws://127.0.0.1:0", factory, backend=backend, logger_name=server_logger
    ) as server:
        (host, port) = server.sockets[0].getsockname()
        transport, _ = await ws_connect(
            server.url + "/feed?token=secret", Echo, backend=backend, logger_name=client_logger
        )
        name = f"{host}:{port}"
        url = f"ws://{name}/feed"
        assert repr(transport) == f"<WSTransport client OPEN {url} peer {name}>"
        server.close_clients(1012, "service restart")
        await transport.wait_disconnected()
        assert str(transport.disconnect_cause) == "the peer closed: 1012 (service restart)"
        await eventually(lambda: made[0].events[-1] == "disconnected")
        peer = made[0].transport
        assert isinstance(peer, WSTransport)
        assert str(peer.disconnect_cause) == "this side closed: 1012 (service restart)"
        await eventually(lambda: "ended" in of_server[-1])
    assert of_client == [
        f"{name}: open: <WSTransport client OPEN {url} peer {name}>",
        f"{name}: received CLOSE 1012 (service restart)",
        f"{name}: sent CLOSE 1012",
        f"{name}: the connection ended: the peer closed: 1012 (service restart)",
    ]
    client = "{}:{}".format(*transport.local_address)
    assert [line for line in of_server if "serving" not in line] == [
        f"{client}: open: <WSTransport server OPEN /feed peer {client}>",
        f"{client}: sent CLOSE 1012 (service restart)",
        f"{client}: received CLOSE 1012",
        f"{client}: the connection ended: this side closed: 1012 (service restart)",
    ]


class Fails(WSMessageListener):
    def on_ws_message(self, transport: WSTransport, message: object) -> None:
        raise ValueError("as asked for")


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
async def test_wait_disconnected_raises_nothing_of_the_listener(backend: str) -> None:
    logger, lines = verbose_logger()
    async with ws_create_server("ws://127.0.0.1:0", Echo, backend=backend) as server:
        transport, _ = await ws_connect(server.url, Fails, backend=backend, logger_name=logger)
        transport.send(1, b"x")
        await asyncio.wait_for(transport.wait_disconnected(), 10)
    cause = transport.disconnect_cause
    assert cause is not None
    assert cause.kind is WSDisconnectKind.LISTENER_EXCEPTION
    assert isinstance(cause.exception, ValueError)
    name = "{}:{}".format(*transport.remote_address)
    assert f"{name}: the listener's on_ws_message raised an exception" in lines


@pytest.mark.parametrize("backend", PLAIN_BACKENDS)
async def test_a_peer_that_is_gone_before_it_is_served_has_a_name(backend: str) -> None:
    logger, lines = verbose_logger()
    async with ws_create_server(
        "ws://127.0.0.1:0", Echo, backend=backend, logger_name=logger
    ) as server:
        client = socket.create_connection(server.sockets[0].getsockname())
        host, port = client.getsockname()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        await eventually(lambda: any(line.startswith(f"{host}:{port}: ") for line in lines))
    assert not [line for line in lines if "unknown address" in line]
