"""A listener that remembers, and an exchange that shows that a connection works."""

from __future__ import annotations

import asyncio
import functools
from typing import Any, List, Tuple

import pytest

from picows_codec import WSFrame, WSListener, WSMsgType, WSTransport
from tests.support.rawpeer import RawConnection, Request
from tests.support.servers import PLAIN_BACKENDS, TLS_BACKENDS

__all__ = [
    "Recorder",
    "check_echo",
    "close_at_once",
    "hold",
    "plain_choices",
    "refuse",
    "serve_echo",
    "tls_choices",
]

# What a caller may pass as ``backend``.
plain_choices = pytest.mark.parametrize("backend", ["auto", *PLAIN_BACKENDS])
tls_choices = pytest.mark.parametrize("backend", ["auto", *TLS_BACKENDS])


class Recorder(WSListener):
    """Remembers what happens to its connection."""

    def __init__(self) -> None:
        self.events: List[str] = []
        self.frames: List[Tuple[int, bytes]] = []

    @functools.cached_property
    def got_frame(self) -> asyncio.Event:
        """Made within the loop, as Python 3.8 wants it."""
        return asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.events.append("connected")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames.append((frame.opcode, frame.get_payload_as_bytes()))
        self.got_frame.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.events.append("disconnected")


async def serve_echo(peer: RawConnection) -> Request:
    """Script of a raw peer: accept the upgrade, and echo until the connection is closed."""
    request = await peer.accept_upgrade()
    await peer.echo_until_close()
    return request


async def close_at_once(peer: RawConnection) -> None:
    await peer.accept_upgrade()
    peer.write_frame(8, b"\x03\xf4restart")
    await peer.read_frame()


async def hold(peer: RawConnection) -> Any:
    """Accept, and answer the CLOSE frame whose payload is returned."""
    await peer.accept_upgrade()
    frame = await peer.read_frame()
    peer.write_frame(8, frame.payload)
    return frame.payload


async def refuse(peer: RawConnection) -> None:
    await peer.read_request()
    peer.respond("404 Not Found", [("Content-Length", "0")])


async def check_echo(transport: WSTransport, listener: Recorder) -> None:
    """Send a message, get it back, and close in order."""
    transport.send(WSMsgType.TEXT, b"Hello")
    await listener.got_frame.wait()
    assert listener.frames == [(WSMsgType.TEXT, b"Hello")]
    transport.disconnect()
    await transport.wait_disconnected()
    assert listener.events == ["connected", "disconnected"]
