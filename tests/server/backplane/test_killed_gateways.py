"""Gateways that are killed: clients come back, and have everything in the end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, List, Tuple

import pytest

from picows_client import WSBackoff, WSConnectionClosed, connect
from picows_server.backplane import HistoryRule, Position
from tests.support.engines import Engine
from tests.support.gateway import WITH_HISTORY
from tests.support.gateway_processes import Gateway
from tests.support.receivers import started, until

SUBSCRIBERS, SECONDS = 20, 6.0
PERSISTS = ("--appendonly", "yes", "--appendfsync", "always")


class Subscriber:
    """A client that comes back with its position."""

    def __init__(self, port: int) -> None:
        self.url = f"ws://127.0.0.1:{port}/follow"
        self.received: List[Tuple[int, str, bytes]] = []
        self.replies: List[str] = []

    def has(self, gateway: bytes) -> bool:
        """Whether it has messages that a gateway has published."""
        return sum(payload.startswith(gateway) for _, _, payload in self.received) > 1

    async def run(self) -> None:
        async for ws in connect(self.url, backoff=WSBackoff(longest=0.5)):
            try:
                offset, epoch, _ = self.received[-1] if self.received else ("", "", b"")
                await ws.send(f"{offset} {epoch}".strip())
                async for message in ws:
                    if isinstance(message, str):
                        self.replies.append(message)
                    else:
                        position, epoch_now, payload = message.split(b" ")
                        self.received.append((int(position), epoch_now.decode(), payload))
            except WSConnectionClosed:
                continue


async def followed(engine: Engine, gateways: List[Gateway], tasks: List[Any]) -> None:
    gateways += [await Gateway.start(engine, name, SECONDS) for name in ("g0", "g1")]
    stays, dies = gateways
    subscribers = [Subscriber(each.port) for each in (stays, dies) * SUBSCRIBERS]
    tasks += [asyncio.ensure_future(each.run()) for each in subscribers]
    await until(lambda: all(each.replies for each in subscribers))
    stays.go_on()
    dies.go_on()
    for name, killed in (("g2", b"g1"), ("g3", b"g2")):
        await until(lambda killed=killed: subscribers[0].has(killed))
        gateways[-1].kill()
        await asyncio.sleep(0.5)
        gateways.append(await Gateway.start(engine, name, SECONDS, port=dies.port))
        gateways[-1].go_on()
    published = (await stays.said())["published"]
    await gateways[-1].said()
    kept = await history(engine)
    await until(lambda: all(len(each.received) >= len(kept) for each in subscribers))
    for each in subscribers:
        assert [(offset, payload) for offset, _, payload in each.received] == kept
        assert set(each.replies) == {"complete"}
    assert all(len(each.replies) == 1 for each in subscribers[::2])
    assert all(len(each.replies) > 1 for each in subscribers[1::2])
    assert [offset for offset, _ in kept] == list(range(1, len(kept) + 1))
    payloads = [payload for _, payload in kept]
    assert len(set(payloads)) == len(payloads)
    assert [each for each in payloads if each.startswith(b"g0:")] == [
        b"g0:%d" % count for count in range(1, published + 1)
    ]


async def stop(gateways: List[Gateway], tasks: List[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for gateway in gateways:
        gateway.kill()
        await gateway.process.wait()


async def history(engine: Engine) -> List[Tuple[int, bytes]]:
    """All that the engine has of the topic, which is what everybody should have."""
    backplane, _ = await started(engine)
    rule = HistoryRule(100_000)
    now = (await backplane.history(WITH_HISTORY, None, rule)).position
    found = await backplane.history(WITH_HISTORY, Position(0, now.epoch), rule)
    assert found.recovered
    await backplane.close()
    return [(each.position.offset, each.payload) for each in found.publications]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_killed_gateways(name: str, tmp_path: Path) -> None:
    engine = Engine(name, tmp_path, *PERSISTS).start()

    async def main() -> None:
        gateways: List[Gateway] = []
        tasks: List[Any] = []
        try:
            await followed(engine, gateways, tasks)
        finally:
            await stop(gateways, tasks)

    try:
        asyncio.run(main())
    finally:
        engine.kill()
