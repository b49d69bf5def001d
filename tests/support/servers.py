"""Servers for tests: which transports there are, and listeners that remember."""

from __future__ import annotations

import logging
from typing import Any, List

import pytest

from picows_server import WSFrame, WSListener, WSServer, WSTransport
from picows_server.backend import HAS_AIOFASTNET, HAS_STREAM

__all__ = [
    "PLAIN_BACKENDS",
    "TLS_BACKENDS",
    "Echo",
    "needs_aiofastnet",
    "needs_stream",
    "quiet_logger",
    "sockname",
]

needs_aiofastnet = pytest.mark.skipif(not HAS_AIOFASTNET, reason="no aiofastnet")
needs_stream = pytest.mark.skipif(not HAS_STREAM, reason="no picows_codec.stream")

TLS_BACKENDS = [pytest.param("aiofastnet", marks=needs_aiofastnet), "loop"]
PLAIN_BACKENDS = [pytest.param("stream", marks=needs_stream), *TLS_BACKENDS]


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
