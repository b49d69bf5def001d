"""A gateway with topics over an engine, as a process that tests start and kill.

Arguments: port, URL of the engine, name, seconds of publishing. It says "up" when it serves, and at
the end how much it has published and which gaps it was told. Whoever connects to ``/follow`` says
first where it was, or nothing, and gets the topic with history from there. All others are told of
gaps.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, List, Optional, Sequence

from picows_server import (
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    ws_create_server,
)
from picows_server.backplane import NatsBackplane, Position, RedisBackplane
from picows_server.topics import Topics

__all__ = ["GAP", "WITHOUT_HISTORY", "WITH_HISTORY"]

#: What connections without history are sent when messages may be lost.
GAP = b"gap"
WITH_HISTORY = "history.a"
WITHOUT_HISTORY = "plain.a"


def envelope(topic: str, payload: bytes, position: Optional[Position]) -> bytes:
    if position is None:
        return payload
    return b"%d %b %b" % (position.offset, position.epoch.encode("ascii"), payload)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


class Client(WSListener):
    """Gets all topics; on ``/follow`` that with history, from where it was."""

    def __init__(self, topics: Topics, names: Sequence[str], *, follows: bool) -> None:
        self._topics = topics
        self._names = () if follows else names
        self._task: Optional[asyncio.Future[None]] = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        for each in self._names:
            self._topics.subscribe(transport, each)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.TEXT:
            offset, _, epoch = frame.get_payload_as_utf8_text().partition(" ")
            since = Position(int(offset), epoch) if offset else None
            self._task = asyncio.ensure_future(self._follow(transport, since))

    async def _follow(self, transport: WSTransport, since: Optional[Position]) -> None:
        found = await self._topics.subscribe_from(transport, WITH_HISTORY, since)
        is_complete = since is None or found.recovered
        transport.send(WSMsgType.TEXT, b"complete" if is_complete else b"lost")


async def main(port: int, url: str, name: str, seconds: float) -> None:
    gaps: List[List[str]] = []

    def on_gap(names: Sequence[str]) -> None:
        gaps.append(list(names))
        for each in topics.subscribers(WITHOUT_HISTORY):
            each.send(WSMsgType.BINARY, GAP)

    make: Any = NatsBackplane if url.startswith("nats") else RedisBackplane
    topics = Topics(make(url, probe_interval=0.5), on_gap=on_gap)
    names = [WITHOUT_HISTORY]
    if make is RedisBackplane:
        topics.configure("history.", history=100_000, envelope=envelope)
        names.append(WITH_HISTORY)

    def client(request: WSUpgradeRequest) -> Client:
        return Client(topics, names, follows=request.path == "/follow")

    await topics.start()
    async with ws_create_server(f"ws://127.0.0.1:{port}", client):
        say("up")
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        published = 0
        for _ in range(int(seconds / 0.2)):
            published += 1
            for each in names:
                topics.publish(each, b"%b:%d" % (name.encode(), published), WSMsgType.BINARY)
            await asyncio.sleep(0.2)
        say(json.dumps({"published": published}))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        say(json.dumps({"gaps": gaps}))
    await topics.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])))
