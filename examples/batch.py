"""Batches: many small messages, handed over and sent together.

    python examples/batch.py

A feed sends ten thousand prices, a hundred with each call of ``send_many``. Its client does not get
them one by one: each call of ``on_ws_batch`` has all that one read has brought.
"""

from __future__ import annotations

from typing import Dict, List

from picows_client import WSBatchListener, WSTransport, ws_connect
from picows_server import WSListener, WSMsgType, ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

SYMBOLS = 100
UPDATES = 100


class Feed(WSListener):
    """The server's end: sends a price of every symbol, again and again."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        for update in range(UPDATES):
            prices = [f"SYM{symbol} {symbol + update / 100:.2f}" for symbol in range(SYMBOLS)]
            transport.send_many(WSMsgType.TEXT, prices)
        transport.disconnect()


class Prices(WSBatchListener):
    def __init__(self) -> None:
        self.latest: Dict[str, str] = {}
        self.messages = 0
        self.batches = 0

    def on_ws_batch(self, transport: WSTransport, messages: List[str]) -> None:
        self.batches += 1
        self.messages += len(messages)
        self.latest.update(message.split() for message in messages)


async def main() -> None:
    async with ws_create_server("ws://127.0.0.1:0", Feed) as server:
        transport, listener = await ws_connect(server.url, Prices)
        await transport.wait_disconnected()
    print(f"{listener.messages} messages in {listener.batches} batches")
    print(f"{len(listener.latest)} symbols; the latest price of SYM7 is {listener.latest['SYM7']}")


if __name__ == "__main__":
    run(main())
