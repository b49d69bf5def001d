"""Release a client of nats-py with all that it has."""

# ruff: noqa: SLF001 - nothing public gives what a client leaves behind
from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from picows_server.backplane.cancellation import end, within

__all__ = ["release"]

# Seconds for the library's own closing, which sends what it holds back.
_SECONDS = 1.0


async def release(client: Any) -> None:
    """Close a client, whose tasks have ended and whose socket is closed when this returns.

    The library's own closing stops in the middle if the socket fails, or takes no more. Nothing
    public ends what is then left: tasks of subscriptions, failures nobody asks for, the socket.
    """
    tasks = [
        task
        for task in (client._reading_task, client._flusher_task, client._ping_interval_task)
        if task is not None
    ]
    try:
        with suppress(Exception):  # whatever it says, it is over
            await within(_SECONDS, client.close())
        if tasks:  # one of them may be closing the client, too
            await asyncio.wait(tasks, timeout=_SECONDS)
    finally:
        for subscription in client._subs.values():
            subscription._stop_processing()
        writer = getattr(client._transport, "_io_writer", None)  # a WebSocket has none
        if writer is not None:
            writer.transport.abort()
        for task in tasks:
            await end(task)
