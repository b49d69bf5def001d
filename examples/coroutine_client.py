"""A client with coroutines: sending, receiving, limits of time, many messages at once, and the end.

    python examples/coroutine_client.py

The server in this program is a coroutine for each connection as well.
"""

from __future__ import annotations

import asyncio

from picows_client import WSConnectionClosed, connect
from picows_server import WSConnection, serve

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

QUOTES = 10_000


async def feed(ws: WSConnection) -> None:
    """The server's end: does what it is told."""
    async for message in ws:
        if message == "subscribe":
            await ws.send_many(f"SYM{number % 100} {number}" for number in range(QUOTES))
        elif message == "restart":
            await ws.close(1012, "back in a moment")
        else:
            await ws.send(f"no such command: {message}")


async def use(url: str) -> None:
    # Automatic pings notice a server that vanished without a CLOSE frame.
    async with connect(url, enable_auto_ping=True) as ws:
        await ws.send("hello")
        print(f"Reply: {await ws.recv()}")
        print(f"Round trip: {await ws.ping() * 1e6:.0f} microseconds")

        try:
            await asyncio.wait_for(ws.recv(), timeout=0.05)
        except asyncio.TimeoutError:
            print("Nothing for a while")  # a message that comes later is not lost

        await ws.send("subscribe")
        latest = {}
        count = calls = 0
        while count < QUOTES:
            messages = await ws.recv_many()  # all that is there, at least one
            latest.update(message.split() for message in messages)
            count += len(messages)
            calls += 1
        print(f"{count} quotes in {calls} calls of recv_many; the last of SYM7: {latest['SYM7']}")

        await ws.send("restart")
        async for message in ws:
            print(message)
        print("The server is done")  # it closed with 1000, 1001 or no code


async def main() -> None:
    async with serve(feed, "ws://127.0.0.1:0") as server:
        try:
            await use(server.url)
        except WSConnectionClosed as error:  # any other end
            print(f"The end: {error} (code {error.code:d})")


if __name__ == "__main__":
    run(main())
