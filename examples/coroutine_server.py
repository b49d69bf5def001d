"""A server with a coroutine for each connection: a room whose members have to log in.

    python examples/coroutine_server.py

Two members in this program talk to each other until the server is closed.
"""

from __future__ import annotations

import asyncio
from typing import Optional, Set

from picows_client import WSInvalidStatusError, connect
from picows_server import (
    WSConnection,
    WSUpgradeRequest,
    WSUpgradeResponse,
    broadcast,
    serve,
)

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

TOKENS = {"Bearer 1234": "Ada", "Bearer 5678": "Grace"}


async def user_of(request: WSUpgradeRequest) -> Optional[str]:
    await asyncio.sleep(0)  # a database would be asked here
    return TOKENS.get(request.headers.get("Authorization", ""))


async def check(request: WSUpgradeRequest) -> Optional[WSUpgradeResponse]:
    """Look at a request before it is accepted; None accepts it."""
    if await user_of(request) is None:
        return WSUpgradeResponse.create_error_response(401, "log in first")
    return None


class Room:
    def __init__(self) -> None:
        self.members: Set[WSConnection] = set()

    async def serve_member(self, ws: WSConnection) -> None:
        """Run as the task of one connection. Its end is the end of the connection."""
        name = await user_of(ws.request)
        self.members.add(ws)
        try:
            async for message in ws:
                broadcast(self.members, f"{name}: {message}")
        finally:
            self.members.discard(ws)
            print(f"server: {name} has left")


async def main() -> None:
    room = Room()
    async with serve(room.serve_member, "ws://127.0.0.1:0", process_request=check) as server:
        print(f"Listening on {server.url}")
        try:
            await connect(server.url)
        except WSInvalidStatusError as error:
            print(f"Without a token: {error.status}")

        ada = await connect(server.url, extra_headers={"Authorization": "Bearer 1234"})
        await ada.send("hello")
        print(f"Ada reads: {await ada.recv()}")
        grace = await connect(server.url, extra_headers={"Authorization": "Bearer 5678"})
        await grace.send("good morning")
        print(f"Grace reads: {await grace.recv()}")
        print(f"Ada reads: {await ada.recv()}")
    # The server is closed, and every handler has ended: each saw the end of its connection.
    for client in (ada, grace):
        async for message in client:
            print(message)  # there is none
        print(f"The server closed with {client.close_code:d}")


if __name__ == "__main__":
    run(main())
