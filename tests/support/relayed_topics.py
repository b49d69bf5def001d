"""Topics of two processes over an engine in memory."""

from __future__ import annotations

import asyncio
from typing import Any, Awaitable, Callable, List

from picows_server.topics import Topics
from tests.support.backplanes import FakeBackplane, FakeEngine
from tests.support.connection import Connection


def texts(connection: Connection) -> List[str]:
    return [frame.payload.decode() for frame in connection.sent()]


def numbered(topic: str, payload: bytes, position: Any) -> str:
    return f"{position.offset}:{payload.decode()}"


class Gateways:
    """Two processes with one engine, and connections of each."""

    def __init__(self, **options: Any) -> None:
        self.engine = FakeEngine()
        self.gaps: List[List[str]] = []
        self.backplane = FakeBackplane(self.engine)
        self.topics = Topics(self.backplane, on_gap=self.gaps.append, **options)
        self.others = Topics(FakeBackplane(self.engine))
        for each in (self.topics, self.others):
            each.configure("h", history=3, envelope=numbered)
        self.links = [Connection("server") for _ in range(2)]
        self.other_links = [Connection("server") for _ in range(2)]

    def subscribe(self, topic: str) -> None:
        for topics, links in ((self.topics, self.links), (self.others, self.other_links)):
            for link in links:
                assert topics.subscribe(link.ws, topic)

    def received(self) -> List[List[str]]:
        self.engine.run()
        return [texts(link) for link in (*self.links, *self.other_links)]


def with_gateways(test: Callable[[Gateways], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        gateways = Gateways(**options)
        async with gateways.topics, gateways.others:
            await test(gateways)

    asyncio.run(main())
