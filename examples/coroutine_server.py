"""An echo server with a coroutine for each connection: python coroutine_server.py"""

from __future__ import annotations

import asyncio
from typing import Optional

from picows_server import WSConnection, WSUpgradeRequest, WSUpgradeResponse, serve


async def check(request: WSUpgradeRequest) -> Optional[WSUpgradeResponse]:
    """Look at a request before it is accepted; None accepts it."""
    if request.path == "/secret":
        return WSUpgradeResponse.create_error_response(401)
    return None


async def echo(connection: WSConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def main() -> None:
    async with serve(echo, "ws://127.0.0.1:9001", process_request=check) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
