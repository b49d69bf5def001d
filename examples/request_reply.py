"""Request and reply: who waits for which message, for how long, and what if the connection ends.

    python examples/request_reply.py

The server in this program replies in any order, to one request never, and then ends the connection.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any, Dict

from picows_client import (
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSStateError,
    WSTransport,
    ws_connect,
)
from picows_server import WSConnection, serve

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]


class ConnectionLostError(Exception):
    """The connection ended first: nobody knows whether the server has done what was asked."""


class Client(WSMessageListener):
    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.in_flight: Dict[int, asyncio.Future[Any]] = {}

    async def request(self, what: str, timeout: float) -> Any:
        """Return the result. Raises WSStateError if nothing was sent, else asyncio.TimeoutError or
        ConnectionLostError, after which the request may have had its effect."""
        number = next(self.numbers)
        self.transport.send(WSMsgType.TEXT, json.dumps({"id": number, "what": what}))
        # No reply can come before this coroutine waits.
        self.in_flight[number] = asyncio.get_running_loop().create_future()
        try:
            return await asyncio.wait_for(self.in_flight[number], timeout)
        finally:
            # Also after a cancellation. A reply that comes later finds nobody, and is ignored.
            self.in_flight.pop(number, None)

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        reply = json.loads(message.get_payload_as_bytes())
        future = self.in_flight.pop(reply["id"], None)
        if future is not None and not future.done():
            future.set_result(reply["result"])

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        in_flight, self.in_flight = self.in_flight, {}
        for future in in_flight.values():
            if not future.done():
                future.set_exception(ConnectionLostError(str(transport.disconnect_cause)))


async def reply_to(ws: WSConnection, number: int, what: str) -> None:
    """The server's end of one request."""
    if what == "restart":
        await ws.close(1012, "back in a moment")
    elif what != "nothing":
        await asyncio.sleep(0.1 if what == "slow" else 0.0)
        await ws.send(json.dumps({"id": number, "result": f"{what} is done"}))


async def serve_requests(ws: WSConnection) -> None:
    replies = []
    async for message in ws:
        request = json.loads(message)
        replies.append(asyncio.create_task(reply_to(ws, request["id"], request["what"])))
    await asyncio.gather(*replies, return_exceptions=True)


async def use(client: Client) -> None:
    async def ask(what: str, timeout: float = 10.0) -> None:
        try:
            print(await client.request(what, timeout))
        except asyncio.TimeoutError:
            print(f"{what}: no reply in time")
        except ConnectionLostError as error:
            print(f"{what}: {error}")
        except WSStateError:
            print(f"{what}: nothing was sent")

    await asyncio.gather(ask("slow"), ask("quick"))
    await ask("nothing", timeout=0.05)
    await asyncio.gather(ask("nothing"), ask("restart"))
    await ask("quick")
    print(f"{len(client.in_flight)} requests are in flight")


async def main() -> None:
    async with serve(serve_requests, "ws://127.0.0.1:0") as server:
        _, client = await ws_connect(server.url, Client)
        await use(client)


if __name__ == "__main__":
    run(main())
