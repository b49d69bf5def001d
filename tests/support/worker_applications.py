"""What the workers of tests serve. Workers import it by name."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import asynccontextmanager
from typing import AsyncIterator

from picows_server import WSFrame, WSListener, WSServer, WSTransport
from picows_server.topics import Topics

__all__ = [
    "Obedient",
    "Pid",
    "Subscriber",
    "endless_lifespan",
    "failing_lifespan",
    "failing_loop",
    "topics_lifespan",
]


class Pid(WSListener):
    """Says in which process it is: when it is connected, and after each message."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        transport.send(1, str(os.getpid()).encode())

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode < 8:
            self.on_ws_connected(transport)


class Obedient(Pid):
    """Does as it is told: blocks the loop, uses memory, dies, exits, forks."""

    ballast = b""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        order = frame.get_payload_as_bytes()
        if order == b"block":
            time.sleep(1000)
        elif order == b"exit":
            os._exit(3)
        elif order == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif order == b"fork":
            child = os.fork()
            if not child:
                signal.pause()
                os._exit(0)
            transport.send(1, str(child).encode())
        elif order.startswith(b"use "):
            type(self).ballast = bytes(bytearray(b"x" * int(order[4:])))
            super().on_ws_frame(transport, frame)
        else:
            super().on_ws_frame(transport, frame)


@asynccontextmanager
async def failing_lifespan() -> AsyncIterator[None]:
    raise ValueError("no database")
    yield


def failing_loop() -> asyncio.AbstractEventLoop:
    raise ValueError("no loop")


@asynccontextmanager
async def endless_lifespan() -> AsyncIterator[None]:
    await asyncio.sleep(1000)
    yield


@asynccontextmanager
async def topics_lifespan(server: WSServer) -> AsyncIterator[Topics]:
    topics = Topics()
    topics.configure("price.", retain=True)
    server.topics = topics
    yield topics


class Subscriber(Pid):
    """Is subscribed, and publishes what it receives."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        super().on_ws_connected(transport)
        transport.request.server.state.subscribe(transport, "price.BTC")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode < 8:
            payload = frame.get_payload_as_bytes()
            transport.request.server.state.publish("price.BTC", payload)
