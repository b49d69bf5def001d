"""Broadcast: the server sends the messages of one client to all others.

    python examples/broadcast.py

A client that does not read slows nobody down: it misses some messages, or is cut off.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Set

from picows_client import WSMessage, WSMessageListener, ws_connect
from picows_server import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    broadcast,
    ws_create_server,
)

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


class Member(WSListener):
    """The server's end of one connection."""

    def __init__(self, room: Set[Member]) -> None:
        self.room = room
        self.is_behind = False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.room.add(self)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.room.discard(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.TEXT:
            broadcast((member for member in self.room if member.hears(self)), frame)

    def hears(self, speaker: Member) -> bool:
        return self is not speaker and not self.is_behind

    def pause_writing(self) -> None:
        # Its write queue has passed write_high_watermark: it misses messages from now on...
        self.is_behind = True

    def resume_writing(self) -> None:
        # ...until it has read most of what is queued.
        self.is_behind = False


class Guest(WSMessageListener):
    def __init__(self, name: str, expected: int) -> None:
        self.name = name
        self.expected = expected

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        print(f"{self.name} hears {message.get_payload_as_utf8_text()}")
        self.expected -= 1
        if self.expected == 0:
            transport.disconnect()


async def main() -> None:
    room: Set[Member] = set()
    names = ["Ada", "Grace", "Barbara"]
    async with ws_create_server(
        "ws://127.0.0.1:0",
        partial(Member, room),
        write_high_watermark=256 * 1024,  # bytes that a member may be behind
        max_write_queue_size=1024 * 1024,  # bytes at which one is disconnected
    ) as server:
        guests = []
        for name in names:
            transport, _ = await ws_connect(server.url, partial(Guest, name, len(names) - 1))
            guests.append(transport)
        for name, transport in zip(names, guests):
            transport.send(WSMsgType.TEXT, f"{name}: hello everybody")
        await asyncio.gather(*(transport.wait_disconnected() for transport in guests))


if __name__ == "__main__":
    run(main())
