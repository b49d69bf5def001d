"""Order book: updates decoded in place by msgspec and applied to a book; a gap starts it anew.

    pip install msgspec
    python examples/order_book.py

The server in this program leaves out an update on its first connection.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any, Dict, List, Tuple

import msgspec

from picows_client import WSMessage, WSMessageListener, WSTransport, ws_keep_connected
from picows_server import WSConnection, serve

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

Levels = List[Tuple[float, float]]  # price and size


class Update(msgspec.Struct):
    """What the exchange sends: a snapshot, then what has changed; a size of 0 removes a level."""

    number: int
    bids: Levels
    asks: Levels
    is_snapshot: bool = False


class Book(WSMessageListener):
    def __init__(self, last: int) -> None:
        self.decode = msgspec.json.Decoder(Update).decode  # made once: it is compiled for the type
        self.bids: Dict[float, float] = {}
        self.asks: Dict[float, float] = {}
        self.number = 0
        self.last = last
        self.is_complete = asyncio.Event()

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        update = self.decode(message)  # reads where the message was received: no bytes, no str
        if update.is_snapshot:
            self.bids.clear()
            self.asks.clear()
        elif update.number != self.number + 1:
            print(f"update {update.number} follows {self.number}: the book is wrong, start anew")
            # Not before the peer has answered: what is on its way belongs to the wrong book.
            transport.disconnect(graceful=False)
            return
        self.number = update.number
        for levels, changes in ((self.bids, update.bids), (self.asks, update.asks)):
            for price, size in changes:
                if size:
                    levels[price] = size
                else:
                    levels.pop(price, None)
        if self.number == self.last:
            self.is_complete.set()


async def send_updates(ws: WSConnection, connection: int) -> None:
    """The server's end."""

    async def send(**update: Any) -> None:
        await ws.send(msgspec.json.encode(update).decode())

    bids: Levels = [(100.0, 1.0), (99.5, 2.0)]
    await send(number=10, is_snapshot=True, bids=bids, asks=[(100.5, 3.0)])
    await send(number=11, bids=[(99.5, 0.0), (100.2, 5.0)], asks=[])
    if connection > 1:
        await send(number=12, bids=[], asks=[(100.5, 1.0), (100.4, 2.0)])
    await send(number=13, bids=[(100.0, 4.0)], asks=[])
    await ws.wait_closed()


async def main() -> None:
    numbers = itertools.count(1)
    book = Book(last=13)
    serving = serve(lambda ws: send_updates(ws, next(numbers)), "ws://127.0.0.1:0")
    async with serving as server, ws_keep_connected(server.url, book):
        await book.is_complete.wait()
    print(f"bids {sorted(book.bids.items(), reverse=True)}, asks {sorted(book.asks.items())}")


if __name__ == "__main__":
    run(main())
