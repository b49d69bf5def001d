"""Connect to the first of several addresses that accepts (RFC 8305, "happy eyeballs")."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Awaitable, Callable, List, Sequence, Set

from picows_client.resolve import AddressInfo
from picows_client.tasks import settle

__all__ = ["first_connected"]

# Seconds that an address has for itself before the next one is tried too (RFC 8305, 5).
_NEXT_ADDRESS_DELAY = 0.25


async def first_connected(
    addresses: Sequence[AddressInfo], connect: Callable[[AddressInfo], Awaitable[socket.socket]]
) -> socket.socket:
    """Call ``connect`` with one address after another until one of them accepts.

    The next address is tried when the last one has failed or has had a quarter of a second. Sockets
    that connect too late are closed.

    Raises the :class:`OSError` of the address if there is only one, else one with all their errors.
    """
    if len(addresses) == 1:
        return await connect(addresses[0])
    return await _Race(connect).run(addresses)


class _Race:
    def __init__(self, connect: Callable[[AddressInfo], Awaitable[socket.socket]]) -> None:
        self._connect = connect
        self._running: Set[asyncio.Task[None]] = set()
        self._connected: List[socket.socket] = []
        self._failures: List[OSError] = []

    async def run(self, addresses: Sequence[AddressInfo]) -> socket.socket:
        try:
            await self._until_connected(addresses)
            await settle(self._running)
            return self._connected.pop(0)
        finally:
            try:
                await settle(self._running)
            finally:
                for sock in self._connected:
                    sock.close()
                # A reference cycle: an error's traceback refers to this object.
                self._failures.clear()

    async def _until_connected(self, addresses: Sequence[AddressInfo]) -> None:
        loop = asyncio.get_running_loop()
        waiting = deque(addresses)
        while not self._connected:
            if waiting:
                self._running.add(loop.create_task(self._attempt(waiting.popleft())))
            elif not self._running:
                raise _combined(self._failures)
            done, self._running = await asyncio.wait(
                self._running,
                timeout=_NEXT_ADDRESS_DELAY if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                task.result()

    async def _attempt(self, address: AddressInfo) -> None:
        try:
            self._connected.append(await self._connect(address))
        except OSError as error:
            self._failures.append(error)


def _combined(failures: Sequence[OSError]) -> OSError:
    message = "; ".join(error.strerror or str(error) for error in failures)
    numbers = {error.errno for error in failures}
    number = numbers.pop()
    # OSError picks the subclass that fits the number, if they agree on one.
    combined = OSError(message) if numbers or number is None else OSError(number, message)
    combined.__cause__ = failures[0]
    return combined
