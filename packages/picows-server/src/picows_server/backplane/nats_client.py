# ruff: noqa: SLF001 - this room is for what is private in nats-py
"""What a backplane needs of a client of nats-py, and nothing public gives."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Callable, List

from picows_server.backplane.cancellation import end, finish, within

__all__ = ["confirm", "guard_closing", "release", "send", "watch"]

# Seconds for the library's own closing, which sends what it holds back.
_SECONDS = 1.0


async def send(client: Any, commands: List[bytes]) -> None:
    """Send commands of the protocol in one piece; ``Client.publish`` makes and sends one.

    Called per burst of what is published; watched by the bench of backplanes.

    :raises ConnectionError: the client is closed.
    """
    if client.is_closed:
        raise ConnectionError("the connection is closed")
    await client._send_command(b"".join(commands))
    await client._flush_pending()


async def confirm(client: Any, seconds: float) -> None:
    """Return when the server has processed what was sent before.

    :raises ConnectionError: the library does not read or write any more.
    """
    await client.flush(seconds)
    # Without these tasks flush() returns without an answer of the server.
    if client._reading_task.done() or client._flusher_task.done():
        raise ConnectionError("the client library has stopped")


def guard_closing(client: Any) -> None:
    """Drop what the library's own closing raises, because it runs in tasks that nobody awaits.

    To be called before the client connects.
    """
    close = client._close

    async def closing(*arguments: Any, **options: Any) -> None:
        with suppress(Exception):  # the socket has failed, which is why it closes
            await close(*arguments, **options)

    client._close = closing


def watch(client: Any, ended: Callable[[Any], None]) -> None:
    """Call ``ended`` when a connected client does not read or write any more.

    The library itself does not tell if its closing fails, or if it cannot read what came.
    """
    for task in (client._reading_task, client._flusher_task):
        task.add_done_callback(ended)


async def release(client: Any) -> None:
    """Close a client; when this returns, its tasks have ended and its socket is about to be closed.

    The library's own closing stops in the middle if the socket fails, or takes no more. Then the
    socket is left, and failures of tasks that nobody asks for. If this is cancelled, it is done all
    the same.
    """
    await finish(_release(client))


async def _release(client: Any) -> None:
    found = (client._reading_task, client._flusher_task, client._ping_interval_task)
    tasks = asyncio.gather(*[task for task in found if task is not None], return_exceptions=True)
    with suppress(Exception):  # whatever it says, it is over
        await within(_SECONDS, client.close())
    # One of them may be closing the client, too.
    await asyncio.wait([tasks], timeout=_SECONDS)
    transport = client._transport
    writer = getattr(transport, "_io_writer", None)
    if writer is not None:
        # asyncio's transport raises if it was closing, and its last bytes have left meanwhile.
        with suppress(AttributeError):
            writer.transport.abort()
    session = getattr(transport, "_client", None)  # of aiohttp, for a WebSocket
    if session is not None:
        if transport._ws is not None:
            with suppress(Exception):
                await within(_SECONDS, transport._ws.close())
        await session.close()
    await end(tasks)
