"""Exchange: a server for bot.py that does what exchanges do at night.

    python examples/exchange.py [URL]

It sends prices, replies to orders and answers application pings. Every few seconds it is late with
a reply, stops sending prices, or drops a connection.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from typing import Any

from picows_server import WSConnection, serve

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


async def send_prices(ws: WSConnection, symbol: str) -> None:
    price = 100.0
    while random.random() < 0.95:  # else it falls silent
        price += random.uniform(-0.1, 0.1)
        await send(ws, type="price", symbol=symbol, price=round(price, 2))
        await asyncio.sleep(0.1)


async def reply(ws: WSConnection, number: int) -> None:
    await asyncio.sleep(random.choice([0.0, 0.0, 0.0, 0.0, 0.7]))
    await send(ws, type="reply", id=number, status=random.choice(["filled", "rejected"]))


async def send(ws: WSConnection, **event: Any) -> None:
    await ws.send(json.dumps(event))


async def trade(ws: WSConnection) -> None:
    tasks = set()
    try:
        async for message in ws:
            event = json.loads(message)
            if event["op"] == "subscribe":
                for symbol in event["symbols"]:
                    tasks.add(asyncio.create_task(send_prices(ws, symbol)))
            elif event["op"] == "order":
                tasks.add(asyncio.create_task(reply(ws, event["id"])))
                if random.random() < 0.1:
                    ws.transport.disconnect(graceful=False)
            else:
                await send(ws, type="pong")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def main(url: str) -> None:
    async with serve(trade, url) as server:
        print(f"Listening on {server.url}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    try:
        run(main(sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:9001"))
    except KeyboardInterrupt:
        print("Stopped")
