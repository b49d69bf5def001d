"""examples/bot.py: how long it is, and what it does when its exchange fails."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import groupby
from typing import Any, Callable, Dict, List, Optional

from picows_server import WSConnection, serve
from tests.examples.conftest import ROOT, TIMEOUT, Examples
from tests.examples.test_examples import needs_sigint

Run = Callable[..., Any]

BOT = ROOT / "examples" / "bot.py"


def test_length() -> None:
    lines = BOT.read_text(encoding="utf-8").splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 60
    assert max(map(len, lines)) <= 100
    assert ";" not in "".join(line.partition("#")[0] for line in lines)


class Exchange:
    """Takes one order after another in another way, over as many connections as that needs."""

    def __init__(self) -> None:
        self.tasks = ["reply", "drop", "fall silent", "be late", "drop", "reply"]
        self.subscriptions: List[Any] = []
        self.pings = 0
        self.orders: List[Dict[str, Any]] = []
        self.late: Optional[Dict[str, Any]] = None
        self.is_done = asyncio.Event()
        self.causes: List[str] = []

    async def trade(self, ws: WSConnection) -> None:
        prices: Optional[asyncio.Task[None]] = None
        try:
            async for message in ws:
                event = json.loads(message)
                if event["op"] == "ping":
                    self.pings += 1
                    await ws.send('{"type": "pong"}')
                elif event["op"] == "subscribe":
                    self.subscriptions.append(event["symbols"])
                    prices = asyncio.ensure_future(send_prices(ws))
                elif prices is None:  # it is silent, but replies
                    await reply(ws, event)
                elif not self.tasks:
                    self.is_done.set()
                elif await self.take(ws, event) == "fall silent":
                    prices.cancel()
                    prices = None
        finally:
            if prices is not None:
                prices.cancel()
            self.causes.append(str(ws.transport.disconnect_cause))

    async def take(self, ws: WSConnection, order: Dict[str, Any]) -> str:
        self.orders.append(order)
        task = self.tasks.pop(0)
        if self.late is not None:  # the bot has given up, as its next order shows
            await reply(ws, self.late)
            self.late = None
        if task == "drop":
            ws.transport.disconnect(graceful=False)
        elif task == "be late":
            self.late = order
        else:
            await reply(ws, order)
        return task


async def send_prices(ws: WSConnection) -> None:
    while True:
        await ws.send('{"type": "price", "symbol": "BTC", "price": 99.5}')
        await asyncio.sleep(0.02)


async def reply(ws: WSConnection, order: Dict[str, Any]) -> None:
    await ws.send(json.dumps({"type": "reply", "id": order["id"], "status": "filled"}))


@needs_sigint
def test_exchange_that_fails(examples: Examples, run: Run) -> None:
    """It drops the bot, goes silent, and answers an order late; Ctrl-C closes in order."""
    exchange: Any = None

    async def main() -> List[str]:
        nonlocal exchange
        exchange = Exchange()
        async with serve(exchange.trade, "ws://127.0.0.1:0") as server:
            with examples.start(BOT, server.url) as bot:
                await asyncio.wait_for(exchange.is_done.wait(), TIMEOUT)
                bot.interrupt()
                # It wants an empty stderr and status 0.
                return await asyncio.get_running_loop().run_in_executor(None, bot.finish)

    lines = run(main)
    statuses = iter([status for status, _ in groupby(re.findall(r"order: (.*)", "\n".join(lines)))])
    for expected in (
        "filled",
        "unknown: the connection was lost",
        "filled",  # also while no prices come
        "unknown: no reply in time",
        "unknown: the connection was lost",  # not the reply that came late
        "filled",
    ):
        assert expected in statuses  # an iterator: in this order
    assert "no price in time" in lines
    assert sum("<WSLink CONNECTED" in line for line in lines) >= 4
    assert lines[-1].startswith("<WSLink CLOSED")
    assert exchange.subscriptions[:4] == [["BTC", "ETH"]] * 4
    assert exchange.pings >= len(exchange.orders)
    assert [order["price"] for order in exchange.orders] == [99.5] * 6
    numbers = [order["id"] for order in exchange.orders]
    assert sorted(set(numbers)) == numbers
    assert exchange.causes[-1] == "the peer closed: 1000"


@needs_sigint
def test_exchange_of_the_examples(examples: Examples) -> None:
    with examples.start(ROOT / "examples" / "exchange.py", "ws://127.0.0.1:0") as exchange:
        url = exchange.read_line().partition("Listening on ")[2]
        with examples.start(BOT, url) as bot:
            while not re.match("order: (filled|rejected)", line := bot.read_line()):
                assert line, "the bot has ended"
            bot.interrupt()
            assert bot.finish()[-1].startswith("<WSLink CLOSED")
        exchange.interrupt()
        assert exchange.finish() == ["Stopped"]
