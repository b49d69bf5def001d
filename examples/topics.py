"""Topics: clients subscribe to what they want to hear, and whoever is slow gets the latest only.

python examples/topics.py
"""

from __future__ import annotations

from typing import List

from picows_client import connect
from picows_server import WSConnection, serve
from picows_server.topics import Topics, WSTopicError

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


def configured() -> Topics:
    topics = Topics(max_topics_per_connection=3)
    # The last price of each market is sent to new subscribers first. One that does not read gets
    # only the last ones when it reads again.
    topics.configure("price.", when_slow="latest", retain=True)
    # All trades, or the connection ends.
    topics.configure("trades.", when_slow="disconnect")
    return topics


async def main() -> None:
    topics = configured()

    async def handler(ws: WSConnection) -> None:
        """The server's end of one connection: each message names a topic."""
        async for name in ws:
            try:
                topics.subscribe(ws, str(name))
                await ws.send(f"subscribed to {name}")
            except WSTopicError as error:
                await ws.send(f"refused: {error}")

    async with serve(handler, "ws://127.0.0.1:0") as server:
        topics.publish("price.BTC", "BTC 64000")  # kept, though nobody listens yet
        async with connect(server.url) as ada, connect(server.url) as grace:
            for ws, names in (
                (ada, ["price.BTC", "trades.BTC"]),
                (grace, ["trades.BTC", "x" * 300]),
            ):
                for name in names:
                    await ws.send(name)
            answers: List[object] = [await ada.recv() for _ in range(3)]
            answers += [await grace.recv() for _ in range(2)]
            with topics.batch():  # one write for each connection
                topics.publish("price.BTC", "BTC 64100")
                topics.publish("trades.BTC", "0.5 BTC for 64100")
            answers += [await ada.recv(), await ada.recv(), await grace.recv()]
            for answer in answers:
                print(answer)
        print(f"delivered: {topics.stats().rules['trades.'].delivered} trades")


if __name__ == "__main__":
    run(main())
