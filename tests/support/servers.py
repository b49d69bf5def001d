"""Servers for tests: which transports there are, and listeners that remember."""

from __future__ import annotations

import logging
import socket
from contextlib import asynccontextmanager
from typing import Any, AsyncIterator, List

import pytest

from picows_server import WSFrame, WSListener, WSServer, WSTransport, ws_create_server
from picows_server.backend import HAS_AIOFASTNET, HAS_STREAM
from tests.support.rawclient import RawClient

__all__ = [
    "ANY_PORT",
    "PLAIN_BACKENDS",
    "TLS_BACKENDS",
    "Echo",
    "echo",
    "needs_aiofastnet",
    "needs_stream",
    "plain_backends",
    "quiet_logger",
    "refuses",
    "serving",
    "sockname",
    "tls_backends",
]

needs_aiofastnet = pytest.mark.skipif(not HAS_AIOFASTNET, reason="no aiofastnet")
needs_stream = pytest.mark.skipif(not HAS_STREAM, reason="no picows_codec.stream")

TLS_BACKENDS = [pytest.param("aiofastnet", marks=needs_aiofastnet), "loop"]
PLAIN_BACKENDS = [pytest.param("stream", marks=needs_stream), *TLS_BACKENDS]
plain_backends = pytest.mark.parametrize("backend", PLAIN_BACKENDS)
tls_backends = pytest.mark.parametrize("backend", TLS_BACKENDS)

ANY_PORT = "ws://127.0.0.1:0"


class Echo(WSListener):
    """Sends data frames back. ``events`` has what happened, in order."""

    def __init__(self) -> None:
        self.events: List[str] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.events.append("connected")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.events.append(frame.opcode.name)
        if frame.opcode < 8:
            transport.send(frame.opcode, frame, frame.fin)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.events.append("disconnected")


def sockname(server: WSServer) -> Any:
    """Where clients of a server with one listening socket connect to."""
    (sock,) = server.sockets
    return sock.getsockname()


def quiet_logger() -> logging.Logger:
    """A logger whose records nobody keeps: a kept traceback keeps what its frames refer to."""
    logger = logging.Logger("picows.test")
    logger.addHandler(logging.NullHandler())
    return logger


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
