"""The tasks of one server's connections: a handler's coroutine for each."""

from __future__ import annotations

import asyncio
import contextvars
from operator import methodcaller
from typing import Awaitable, Callable, Dict, List, Optional

from picows_codec import WSCloseCode, WSConnectionClosed, WSState
from picows_codec.coroutines.connection import WSConnection
from picows_codec.coroutines.inbox import Inbox
from picows_codec.listener_factory import await_result
from picows_codec.socket_address import format_address
from picows_server.logs import Logger
from picows_server.slices import in_slices

__all__ = ["Handler", "Handlers"]

Handler = Callable[[WSConnection], Awaitable[object]]


class Handlers:
    """The tasks of one server's connections.

    The handler's coroutine is the task: nothing is around it that would cost memory and time. What
    has to be done at its end is done by a callback.
    """

    def __init__(self, handler: Handler, logger: Logger) -> None:
        self._handler = handler
        self._logger = logger
        self._loop = asyncio.get_running_loop()
        # That of ``serve``. The connection's own is whatever the socket's events came in.
        self.context = contextvars.copy_context()
        self._running: Dict[asyncio.Future[object], WSConnection] = {}
        self._callback = self._ended
        self._released: Optional[Callable[[], None]] = None

    def notify(self, released: Callable[[], None]) -> None:
        """Call ``released`` whenever a task has ended."""
        self._released = released

    @property
    def is_idle(self) -> bool:
        """Whether no task is left."""
        return not self._running

    @property
    def open_connections(self) -> List[WSConnection]:
        """The connections that are open."""
        open_state = WSState.OPEN
        return [each for each in self._running.values() if each.state is open_state]

    def start(self, listener: Inbox, context: Optional[contextvars.Context] = None) -> None:
        """Begin to serve a connection that has just opened, in a copy of a context."""
        connection = WSConnection(listener)
        try:
            task = (self.context if context is None else context).run(self._create_task, connection)
        except Exception as error:  # noqa: BLE001 - whatever a handler raises that is no coroutine
            self._failed(connection, error)
            connection.leave(WSCloseCode.INTERNAL_ERROR)
            return
        self._running[task] = connection
        task.add_done_callback(self._callback, context=self.context)

    def leave(self, code: int, reason: Optional[str]) -> None:
        """Begin to close every connection: who waits in ``recv`` or ``send`` learns it at once."""
        in_slices(
            self._loop, self._running.values(), lambda connection: connection.leave(code, reason)
        )

    def leave_one(self, listener: object, code: int, reason: Optional[str]) -> None:
        """This connection is being closed: who waits in ``recv`` or ``send`` has learned it."""

    def cancel(self) -> None:
        """Cancel the tasks that are left."""
        if self._running:
            self._logger.warning(
                "cancelling the handlers that have not ended: %d", len(self._running)
            )
        in_slices(self._loop, self._running, methodcaller("cancel"))

    def _create_task(self, connection: WSConnection) -> asyncio.Task[object]:
        awaitable = self._handler(connection)
        if not asyncio.iscoroutine(awaitable):
            if not hasattr(type(awaitable), "__await__"):
                raise TypeError(
                    "the handler must be a coroutine function (async def); it returned"
                    f" {awaitable!r}"
                )
            awaitable = await_result(awaitable)
        return self._loop.create_task(awaitable)

    def _ended(self, task: asyncio.Future[object]) -> None:
        connection = self._running.pop(task)
        code = WSCloseCode.OK
        if task.cancelled():
            code = WSCloseCode.INTERNAL_ERROR
        else:
            error = task.exception()
            if error is not None and not _is_end_of(connection, error):
                # What is no Exception has ended the loop, too: Ctrl-C, for example.
                if isinstance(error, Exception):
                    self._failed(connection, error)
                code = WSCloseCode.INTERNAL_ERROR
        connection.leave(code)
        if self._released is not None:
            self._released()

    def _failed(self, connection: WSConnection, error: BaseException) -> None:
        self._logger.error(
            "%s: the handler failed",
            format_address(connection.remote_address),
            exc_info=error,
            extra=connection.transport.log_fields(),
        )


def _is_end_of(connection: WSConnection, error: BaseException) -> bool:
    """Whether an error says no more than that this connection has ended."""
    if isinstance(error, WSConnectionClosed):
        # While this one is open, the error is about another connection.
        return connection.state is not WSState.OPEN
    # What asyncio.TaskGroup raises (Python 3.11), and the exceptiongroup package.
    parts = getattr(error, "exceptions", None)
    return (
        isinstance(parts, tuple)
        and len(parts) > 0
        and all(isinstance(part, BaseException) and _is_end_of(connection, part) for part in parts)
    )
