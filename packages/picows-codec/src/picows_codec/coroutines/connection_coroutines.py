"""The methods of a coroutine connection that are awaited seldom.

They are in Python because to ``inspect``, frameworks and debuggers Cython's coroutines are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable, List

from picows_codec.coroutines.ending import connection_closed
from picows_codec.errors import WSConnectionError, WSStateError

if TYPE_CHECKING:
    from asyncio import Future

    from picows_codec.coroutines.connection import WSConnection
    from picows_codec.transport import WSTransport

__all__: List[str] = []


async def close_connection(connection: WSConnection, code: int, reason: str) -> None:
    """Close, and wait for the end."""
    connection.leave(code, reason)
    await connection.transport.wait_disconnected()


async def leave_block(connection: WSConnection, *, failed: bool) -> None:
    """Close when ``async with`` is left; a second cancellation does not wait for the peer."""
    transport = connection.transport
    connection.leave(1011 if failed and not transport.is_client_side else 1000)
    try:
        await transport.wait_disconnected()
    except BaseException:
        transport.disconnect(graceful=False)
        raise


async def enter_block(connection: WSConnection) -> WSConnection:
    """Return the connection, for ``async with``."""
    return connection


async def ping_peer(
    transport: WSTransport, start: Callable[[], Future[float]], note: Callable[[float], object]
) -> float:
    """Ping by ``start``, and return the seconds until the pong, which are noted."""
    try:
        seconds = await start()
    except (WSConnectionError, WSStateError) as error:
        if transport.disconnect_cause is None:
            raise
        raise connection_closed(transport) from error
    note(seconds)
    return seconds
