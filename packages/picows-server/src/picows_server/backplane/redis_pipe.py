"""One connection to Redis: commands sent ahead of their replies, or a subscription's messages."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Callable, Deque

from picows_server.backplane.interface import BackplaneError

__all__ = ["RedisPipe", "RedisSubscription"]

# Bytes that are handed to the connection at once.
_WRITE_BYTES = 262_144


class _Link:
    """Reads in one task and writes in another, until either fails."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._pending: Deque[bytes] = deque()
        self._has_pending = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._tasks = [loop.create_task(self._write()), loop.create_task(self._read())]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    def write(self, command: bytes) -> None:
        """Send; what is written in one iteration of the loop leaves together."""
        self._pending.append(command)
        self._has_pending.set()

    async def lost(self) -> str:
        """Return why, once it is lost."""
        return await asyncio.shield(self._lost)

    def lose(self, cause: str) -> None:
        """Give the connection up."""
        if not self._lost.done():
            self._lost.set_result(cause)

    @property
    def is_lost(self) -> bool:
        return self._lost.done()

    async def close(self) -> None:
        """Release it; can be repeated."""
        self.lose("it was closed")
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        with suppress(Exception):  # whatever it says, it is over
            await self._connection.disconnect(nowait=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        self.lose("it was closed" if error is None else str(error) or type(error).__name__)

    async def _write(self) -> None:
        while True:
            await self._has_pending.wait()
            self._has_pending.clear()
            while self._pending:
                pieces, size = [], 0
                while self._pending and size < _WRITE_BYTES:
                    piece = self._pending.popleft()
                    pieces.append(piece)
                    size += len(piece)
                await self._connection.send_packed_command(b"".join(pieces), check_health=False)

    async def _read(self) -> None:
        raise NotImplementedError


class RedisPipe(_Link):
    """Commands and their replies, in the same order."""

    def __init__(self, connection: Any, error: Any) -> None:
        super().__init__(connection)
        self._error = error
        self._replies: Deque[Callable[[Any], None]] = deque()

    def send(self, command: bytes, on_reply: Callable[[Any], None]) -> None:
        """Send a command.

        :param on_reply: called with the reply, an error of the engine included; not if the
            connection is lost before.
        """
        self._replies.append(on_reply)
        self.write(command)

    async def ask(self, command: bytes) -> Any:
        """Return the reply of a command.

        :raises BackplaneError: the engine refuses, or the connection is lost.
        """
        reply = await self.reply(command)
        if isinstance(reply, self._error):
            raise BackplaneError(f"the engine refuses: {reply}")
        return reply

    async def reply(self, command: bytes) -> Any:
        """Return the reply of a command, which may be an error of the engine.

        :raises BackplaneError: the connection is lost.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def on_reply(reply: Any) -> None:
            if not future.done():
                future.set_result(reply)

        self.send(command, on_reply)
        await asyncio.wait([future, self._lost], return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise BackplaneError(f"the connection to the engine is lost: {self._lost.result()}")
        return future.result()

    async def _read(self) -> None:
        read, replies, error = self._connection.read_response, self._replies, self._error
        while True:
            try:
                reply = await read()
            except error as refusal:
                reply = refusal
            if self.is_lost:
                return
            replies.popleft()(reply)


class RedisSubscription(_Link):
    """Messages of channels.

    :param error: what the connection raises if the engine refuses.
    :param on_message: called with channel and data.
    :param on_subscribed: called with each channel whose subscription is confirmed.
    :param on_moved: called with a channel that the server has ended, because another one of its
        cluster has it now, or because it was asked to.
    :param on_refused: called with an error; returns whether the connection is of use after it.
    """

    def __init__(
        self,
        connection: Any,
        error: Any,
        on_message: Callable[[bytes, bytes], None],
        on_subscribed: Callable[[bytes], None],
        on_moved: Callable[[bytes], None],
        on_refused: Callable[[Any], bool],
    ) -> None:
        self._error = error
        self._on_message = on_message
        self._on_subscribed = on_subscribed
        self._on_moved = on_moved
        self._on_refused = on_refused
        super().__init__(connection)

    async def _read(self) -> None:
        read, on_message, error = self._connection.read_response, self._on_message, self._error
        while True:
            try:
                kind, channel, data = await read()
            except error as refusal:
                if not self.is_lost and self._on_refused(refusal):
                    continue
                raise
            if self.is_lost:
                return
            if kind in {b"message", b"smessage"}:
                on_message(channel, data)
            elif kind in {b"subscribe", b"ssubscribe"}:
                self._on_subscribed(channel)
            elif kind == b"sunsubscribe":
                self._on_moved(channel)
