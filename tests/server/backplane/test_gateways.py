from __future__ import annotations

import asyncio
from pathlib import Path
from typing import List, Set

import pytest

from picows_client import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from tests.support.engines import Engine
from tests.support.gateway import GAP, WITHOUT_HISTORY
from tests.support.gateway_processes import Gateway
from tests.support.receivers import until

GATEWAYS, CONNECTIONS, SECONDS = 3, 300, 12.0


class Subscriber(WSListener):
    def __init__(self) -> None:
        self.positioned: List[bytes] = []
        self.plain: List[bytes] = []

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is not WSMsgType.BINARY:
            return  # the gateway ends
        payload = frame.get_payload_as_bytes()
        (self.positioned if b" " in payload else self.plain).append(payload)


async def disturb(engine: Engine) -> None:
    """All that happens to an engine, one after the other."""
    loop = asyncio.get_running_loop()
    if engine.name != "nats":
        for kind in ("pubsub", "normal"):
            command = ("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
            await loop.run_in_executor(None, engine.command, *command)
            await asyncio.sleep(1)
    engine.kill()
    await asyncio.sleep(0.7)
    await loop.run_in_executor(None, engine.start)
    await asyncio.sleep(1.5)
    engine.pause()
    await asyncio.sleep(1.5)
    engine.resume()


async def complete(subscribers: List[Subscriber], total: int) -> None:
    """Every subscriber gets all that was published, once, in one order."""
    await until(lambda: all(len(each.positioned) >= total for each in subscribers))
    first = subscribers[0].positioned
    assert [int(each.split(b" ")[0]) for each in first] == list(range(1, total + 1))
    assert {each.split(b" ")[2] for each in first} == {
        b"g%d:%d" % (number, count)
        for number in range(GATEWAYS)
        for count in range(1, total // GATEWAYS + 1)
    }
    assert all(each.positioned == first for each in subscribers)


def check_holes(received: List[bytes], published: int) -> None:
    """Where messages of a publisher are missing, a gap was told."""
    last = {b"g%d" % number: 0 for number in range(GATEWAYS)}
    told: Set[bytes] = set()  # publishers of which some may be missing
    for each in received:
        if each == GAP:
            told.update(last)
            continue
        publisher, _, count = each.partition(b":")
        assert int(count) == last[publisher] + 1 or publisher in told, (each, last)
        last[publisher] = int(count)
        told.discard(publisher)
    assert all(count == published or publisher in told for publisher, count in last.items())


async def all_told(gateway: Gateway, subscribers: List[Subscriber], published: int) -> None:
    """Without history nobody receives twice, and whatever is missing was told."""
    gateway.go_on()
    gaps = (await gateway.said())["gaps"]
    assert gaps
    assert all(names == [WITHOUT_HISTORY] for names in gaps)
    # What was sent again may be on its way to some of them.
    await until(lambda: all(each.plain == subscribers[0].plain for each in subscribers))
    messages = [each for each in subscribers[0].plain if each != GAP]
    assert len(set(messages)) == len(messages)
    check_holes(subscribers[0].plain, published)


async def served(engine: Engine, gateways: List[Gateway]) -> None:
    for number in range(GATEWAYS):
        gateways.append(await Gateway.start(engine, f"g{number}", SECONDS))  # noqa: PERF401
    transports, subscribers = [], []
    for number in range(CONNECTIONS):
        url = f"ws://127.0.0.1:{gateways[number % GATEWAYS].port}"
        transport, subscriber = await ws_connect(url, Subscriber)
        transports.append(transport)
        subscribers.append(subscriber)
    await asyncio.sleep(0.5)  # subscribed at the engine
    for gateway in gateways:
        gateway.go_on()
    await asyncio.sleep(1)
    await disturb(engine)
    total = sum([(await gateway.said())["published"] for gateway in gateways])
    if engine.name != "nats":
        await complete(subscribers, total)
    await asyncio.sleep(1)
    for number, gateway in enumerate(gateways):
        await all_told(gateway, subscribers[number::GATEWAYS], total // GATEWAYS)
    for transport in transports:
        transport.disconnect()
        await transport.wait_disconnected()
    for gateway in gateways:
        await gateway.process.wait()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ["valkey", "redis", "nats"])
def test_three_gateways_and_a_bad_engine(name: str, tmp_path: Path) -> None:
    persists = () if name == "nats" else ("--appendonly", "yes", "--appendfsync", "always")
    engine = Engine(name, tmp_path, *persists).start()
    gateways: List[Gateway] = []
    try:
        asyncio.run(served(engine, gateways))
    finally:
        for gateway in gateways:
            gateway.kill()
        engine.kill()
