"""``async for ws in connect(...)``: one coroutine connection after another."""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Awaitable, Callable, Dict, Union

from picows_client.logs import Logger, resolve_logger
from picows_client.redial import Redial, RedialRules
from picows_codec.coroutines.connection import WSConnection

__all__ = ["connections"]


async def connections(
    attempt: Callable[[], Awaitable[WSConnection]],
    rules: Dict[str, Any],
    logger_name: Union[str, Logger, None],
) -> AsyncIterator[WSConnection]:
    """Yield open connections; each is closed before the next is opened, and when the loop ends."""
    redial = Redial(attempt, RedialRules.of(**rules), resolve_logger(logger_name))
    while True:
        connection = await redial.connect()
        # Whoever iterates may go on for long after the connection has ended.
        ended = asyncio.ensure_future(_time_of_end(connection))
        try:
            yield connection
        finally:
            await connection.__aexit__(None, None, None)
        redial.lost(connection.transport, await ended)


async def _time_of_end(connection: WSConnection) -> float:
    await connection.wait_closed()
    return asyncio.get_running_loop().time()
