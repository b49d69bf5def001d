"""Keeps a connection to an engine: opens it, and again whenever it is lost, without end."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, Awaitable, Callable, Optional, Protocol

from picows_server.backplane.cancellation import end
from picows_server.backplane.counting import EngineCounts
from picows_server.backplane.interface import BackplaneError

__all__ = ["EngineConnection", "KeptConnection"]

_LOGGER = logging.getLogger("picows.server.backplane")

# Seconds: the second pause is drawn up to the first of these, each further one up to twice as much.
_BASE = 0.1
_LONGEST = 5.0
# A connection that was open for so long was good: pauses begin anew.
_GOOD_AFTER = 5.0


class EngineConnection(Protocol):
    """An open connection."""

    async def lost(self) -> str:
        """Return why, once it is lost."""

    async def close(self) -> None:
        """Release it; can be repeated."""


class KeptConnection:
    """One connection, and those that follow it.

    :param dial: opens one; raises :class:`BackplaneError` if it cannot.
    :param on_open: called with each open one.
    :param on_lost: called with the cause when it is lost, or when the first attempt has failed.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[Any]],
        on_open: Callable[[Any], None],
        on_lost: Callable[[str], None],
        counts: EngineCounts,
    ) -> None:
        self._dial = dial
        self._on_open = on_open
        self._on_lost = on_lost
        self._counts = counts
        self._task: Optional[asyncio.Task[None]] = None
        self._connection: Optional[EngineConnection] = None

    async def start(self) -> None:
        """Open the first one; raises what ``dial`` raises."""
        connection = await self._dial()
        self._connection = connection
        self._on_open(connection)
        self._task = asyncio.get_running_loop().create_task(self._keep(connection))

    def start_soon(self) -> None:
        """Open the first one like those after it: again and again, until it can be opened."""
        self._task = asyncio.get_running_loop().create_task(self._keep(None))

    def cancel(self) -> None:
        """Open no more, and call nobody."""
        if self._task is not None:
            self._task.cancel()

    async def stop(self) -> None:
        """Open no more, and close what is open."""
        task, self._task = self._task, None
        try:
            if task is not None:
                await end(task)
        finally:
            connection, self._connection = self._connection, None
            if connection is not None:
                await connection.close()

    async def _keep(self, connection: Optional[EngineConnection]) -> None:
        clock = asyncio.get_running_loop().time
        failures = 0
        if connection is None:
            connection = await self._redial(failures)
            self._connection = connection
            self._on_open(connection)
        while True:
            opened = clock()
            cause = await connection.lost()
            self._on_lost(cause)
            await connection.close()
            self._connection = None
            if clock() - opened >= _GOOD_AFTER:
                failures = 0
            connection = await self._redial(failures)
            failures += 1
            self._connection = connection
            self._counts.reconnects += 1
            self._on_open(connection)

    async def _redial(self, failures: int) -> EngineConnection:
        while True:
            if failures:
                longest = min(_LONGEST, _BASE * 2.0 ** min(failures, 10))
                # Processes that lost the same engine do not come back together.
                await asyncio.sleep(random.uniform(0.0, longest))  # noqa: S311
            try:
                connection: EngineConnection = await self._dial()
            except BackplaneError:
                pass
            except Exception:  # whatever a client library makes of what it reads
                _LOGGER.exception("the engine cannot be used; another attempt follows")
            else:
                return connection
            failures += 1
            self._counts.failed_attempts += 1
