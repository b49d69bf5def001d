"""Bot: prices in, orders out, on one connection that is kept open until Ctrl-C or SIGTERM.

python examples/exchange.py  # drops the connection, falls silent and is late with replies
python examples/bot.py ws://127.0.0.1:9001
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from contextlib import suppress
from typing import Any, Dict

import picows_client as ws

PING_EVERY, STALE_AFTER, ORDER_TIMEOUT = 0.25, 1.0, 0.5  # seconds; an exchange says what it wants


class Bot(ws.WSMessageListener):
    def __init__(self) -> None:
        self.prices: Dict[str, float] = {}
        self.priced_at = 0.0
        self.numbers = itertools.count(time.time_ns())  # no number of an earlier run again
        self.replies: Dict[int, asyncio.Future[str]] = {}  # to orders in flight, by their ids

    def on_ws_connected(self, transport: ws.WSTransport) -> None:
        self.prices.clear()  # nobody should trade at the prices of an earlier connection
        self.priced_at = asyncio.get_running_loop().time()  # which tests can advance
        transport.send(ws.WSMsgType.TEXT, '{"op": "subscribe", "symbols": ["BTC", "ETH"]}')

    def on_ws_message(self, transport: ws.WSTransport, message: ws.WSMessage) -> None:
        event = json.loads(message.get_payload_as_bytes())
        if event["type"] == "price":
            self.prices[event["symbol"]] = event["price"]
            self.priced_at = asyncio.get_running_loop().time()
        elif event["type"] == "reply" and event["id"] in self.replies:  # else it is too late
            self.replies.pop(event["id"]).set_result(event["status"])

    def on_ws_disconnected(self, transport: ws.WSTransport) -> None:
        while self.replies:
            self.replies.popitem()[1].set_result("unknown: the connection was lost")

    async def order(self, link: ws.WSLink[Bot], **terms: Any) -> str:
        number = next(self.numbers)
        order = {"op": "order", "id": number, **terms}
        link.send(ws.WSMsgType.TEXT, json.dumps(order))  # raises if there is no connection
        reply = self.replies[number] = asyncio.get_running_loop().create_future()
        await asyncio.wait({reply}, timeout=ORDER_TIMEOUT)
        self.replies.pop(number, None)
        return reply.result() if reply.done() else "unknown: no reply in time"


async def main(url: str = "ws://127.0.0.1:9001") -> None:
    bot = Bot()
    async with ws.ws_keep_connected(url, bot, on_change=print) as link:
        while True:
            transport = await link.wait_connected()
            if asyncio.get_running_loop().time() - bot.priced_at > STALE_AFTER:
                print("no price in time")
                transport.disconnect(graceful=False)  # the link connects again
            with suppress(ws.WSStateError, KeyError):  # no connection, or no price yet
                link.send(ws.WSMsgType.TEXT, '{"op": "ping"}')
                price = bot.prices["BTC"]
                print("order:", await bot.order(link, symbol="BTC", side="buy", price=price))
            await asyncio.sleep(PING_EVERY)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # does what Ctrl-C does
    with suppress(KeyboardInterrupt):
        asyncio.run(main(*sys.argv[1:]))
