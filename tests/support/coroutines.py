"""A coroutine connection over a memory transport and a fake loop."""

from __future__ import annotations

import asyncio
from typing import Any, Coroutine, List, Optional, TypeVar

from picows_codec import WSConnection
from picows_codec.coroutines.inbox import Inbox, QueueMarks
from tests.support.connection import Connection
from tests.support.frames import TEXT

__all__ = ["CoroutineConnection"]

T = TypeVar("T")


class CoroutineConnection(Connection):
    """A :class:`Connection` with ``awaited``, its :class:`WSConnection`."""

    def __init__(
        self,
        role: str = "server",
        *,
        marks: Optional[QueueMarks] = None,
        open: bool = True,  # noqa: A002
        **options: Any,
    ) -> None:
        super().__init__(role, Inbox(marks or QueueMarks()), open=open, **options)
        if open:
            self.awaited = WSConnection(self.listener)

    def texts(self, *texts: str) -> None:
        """Text messages arrive, all in one read."""
        self.feed(b"".join(self.build(TEXT, text.encode()) for text in texts))

    def start_task(self, coro: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Make a task, and run it until it waits."""
        task: asyncio.Task[T] = self.loop.create_task(coro)
        self.loop.run_ready()
        return task

    def cancel(self, task: asyncio.Task[Any]) -> None:
        """Cancel a task, and let it end."""
        task.cancel()
        self.loop.run_ready()
        assert task.cancelled()

    def do(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine that needs nothing of the network."""
        result: T = self.loop.run(coro)
        return result

    async def iterate(self) -> List[Any]:
        """Receive by ``async for`` until that ends."""
        return [message async for message in self.awaited]
