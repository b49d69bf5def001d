"""A connection that is opened again whenever it has ended."""

from __future__ import annotations

import asyncio
from enum import Enum
from types import TracebackType
from typing import (
    TYPE_CHECKING,
    Any,
    Awaitable,
    Callable,
    Generic,
    List,
    Optional,
    Tuple,
    Type,
    TypeVar,
)

from picows_client.call import end_in_order
from picows_client.logs import Logger
from picows_client.redial import Redial, RedialRules
from picows_client.tasks import settle
from picows_codec import WSListener, WSMsgType, WSStateError, WSTransport
from picows_codec.log_text import one_line

__all__ = ["WSLink", "WSLinkState"]

ListenerT = TypeVar("ListenerT", bound=WSListener)


class WSLinkState(Enum):
    """What a :class:`WSLink` is doing."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting for the next attempt"
    CLOSED = "closed"


class WSLink(Generic[ListenerT]):
    """What :func:`ws_keep_connected` returns; ``async with`` starts and ends it.

    All of it is for the event loop's thread.
    """

    def __init__(
        self,
        attempt: Callable[[WSLink[ListenerT]], Awaitable[Tuple[WSTransport, ListenerT]]],
        rules: RedialRules,
        logger: Logger,
        on_change: Optional[Callable[[WSLink[ListenerT]], object]],
    ) -> None:
        self._attempt = attempt
        self._rules = rules
        self._logger = logger
        self._on_change = on_change
        self._state = self._told_state = WSLinkState.CLOSED
        self._listener: Optional[ListenerT] = None
        self._redial: Optional[Redial[Tuple[WSTransport, ListenerT]]] = None
        self._task: Optional[asyncio.Task[None]] = None
        self._error: Optional[BaseException] = None  # that ended the link
        self._traceback: Optional[TracebackType] = None  # of that error
        self._is_error_told = False
        self._is_closing = False
        self._waiters: List[asyncio.Future[None]] = []

    # State

    @property
    def state(self) -> WSLinkState:
        """What the link is doing; CLOSED before and after ``async with``, and after an error."""
        return self._state

    @property
    def transport(self) -> Optional[WSTransport]:
        """The transport of the current connection, or None. It is set in ``on_ws_connected``."""
        transport: Optional[WSTransport] = None
        if self._listener is not None:
            transport = self._listener.transport
        return None if transport is None or transport.is_disconnected else transport

    @property
    def listener(self) -> Optional[ListenerT]:
        """The listener of the current connection, or None."""
        return None if self.transport is None else self._listener

    @property
    def attempts(self) -> int:
        """Attempts to connect since the last connection that was stable, with the one under way."""
        return 0 if self._redial is None else self._redial.attempts

    @property
    def last_error(self) -> Optional[BaseException]:
        """Why the last attempt failed or the last connection ended, or None.

        The end of a connection is a :class:`WSConnectionClosed`, whose ``cause`` tells more.
        """
        return None if self._redial is None else self._redial.last_error

    # What a caller does with it

    def send(self, opcode: WSMsgType, message: Any = b"") -> None:
        """Send one message on the current connection: see :meth:`WSTransport.send`. Not awaited.

        Nothing is kept for a later connection, and nothing is sent again: whoever sends knows
        whether an order that is a minute old should still go out.

        :raises WSStateError: there is no connection now.
        """
        transport = self.transport
        if transport is None:
            raise WSStateError(
                f"there is no connection now (the link is {self._state.value}); nothing was sent"
            )
        transport.send(opcode, message)

    async def wait_connected(self) -> WSTransport:
        """Return the transport once there is a connection.

        :raises BaseException: the error that ended the link.
        :raises WSStateError: the link was closed, or has not been entered yet.
        """
        while True:
            transport = self.transport
            if self._state is WSLinkState.CONNECTED and transport is not None:
                return transport
            if self._state is WSLinkState.CLOSED:
                self._raise_error()
                self._check_entered()
                raise WSStateError("the link was closed: call ws_keep_connected for another one")
            await self._wait_for_change()

    async def wait_closed(self) -> None:
        """Return when :meth:`close` has ended the link.

        :raises BaseException: the error that ended the link.
        :raises WSStateError: the link has not been entered yet.
        """
        self._check_entered()
        while self._state is not WSLinkState.CLOSED:
            await self._wait_for_change()
        self._raise_error()

    def _check_entered(self) -> None:
        if self._task is None:
            raise WSStateError(
                "the link has not been entered: write async with ws_keep_connected(...) as link"
            )

    if not TYPE_CHECKING:

        def __await__(self) -> None:
            raise TypeError(
                "a link is not awaited: write async with ws_keep_connected(...) as link, then await"
                " link.wait_connected()"
            )

    def close(self) -> None:
        """End the link, and the connection by a closing handshake, as leaving the block does.

        A second call does not wait for the peer.
        """
        if self._task is not None:
            self._is_closing = True
            self._task.cancel()

    async def __aenter__(self) -> WSLink[ListenerT]:
        if self._task is not None:
            raise WSStateError("a link is entered once: call ws_keep_connected again")
        self._redial = Redial(
            lambda: self._attempt(self), self._rules, self._logger, self._on_pause
        )
        self._state = WSLinkState.CONNECTING
        self._task = asyncio.get_running_loop().create_task(self._run(self._redial))
        # A wrong URL or option is an error here, where the caller's traceback shows the call.
        try:
            await asyncio.sleep(0)
        except BaseException:  # the block is not entered, so nobody leaves it
            await self._end(self._task)
            raise
        if self._task.done():
            self._raise_error()
        return self

    async def __aexit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        if self._task is not None:
            await self._end(self._task)
        if exc_type is None and not self._is_error_told:
            self._raise_error()

    async def _end(self, task: asyncio.Task[None]) -> None:
        """Close, unless it closes already, and wait; if that is cancelled, drop the connection."""
        if not self._is_closing:
            self.close()
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            await settle({task})
            raise

    # Its task

    async def _run(self, redial: Redial[Tuple[WSTransport, ListenerT]]) -> None:
        try:
            while True:
                transport, listener = await redial.connect()
                self._listener = listener
                try:
                    self._check_goes_on()
                    self._change(WSLinkState.CONNECTED)
                    await transport.wait_disconnected()
                except asyncio.CancelledError:
                    # Mostly by close(), but it may be by whoever cancels all tasks: asyncio.run.
                    self._is_closing = True
                    await end_in_order(transport)
                    raise
                except BaseException:  # on_change raised KeyboardInterrupt or SystemExit
                    transport.disconnect(graceful=False)
                    raise
                redial.lost(transport)
        except asyncio.CancelledError as error:
            if self._is_cancelled_within():
                wrapper = WSStateError("the link was cancelled, but not by close()")
                wrapper.__cause__ = error
                self._fail(wrapper)
        except (KeyboardInterrupt, SystemExit):  # the loop raises them
            raise
        except BaseException as error:  # noqa: BLE001 - whoever waits, or leaves the block, gets it
            self._fail(error)
        finally:
            self._listener = None  # with its transport; both may be large
            redial.release()  # a reference cycle otherwise
            self._change(WSLinkState.CLOSED)

    def _is_cancelled_within(self) -> bool:
        """Tell whether an attempt awaited what was cancelled, a future of the url function's."""
        if self._is_closing or self._state is WSLinkState.WAITING:
            return False
        cancelling: Any = getattr(self._task, "cancelling", None)  # from Python 3.11 on
        return cancelling is None or not cancelling()

    def _fail(self, error: BaseException) -> None:
        self._error, self._traceback = error, error.__traceback__
        self._logger.error("the link has ended: %s", one_line(error))

    def _check_goes_on(self) -> None:
        """Raise CancelledError if close() was called, but a caller's function has swallowed it."""
        if self._is_closing:
            raise asyncio.CancelledError

    def _on_pause(self, seconds: Optional[float]) -> None:
        self._check_goes_on()
        self._change(WSLinkState.CONNECTING if seconds is None else WSLinkState.WAITING)

    def _note_listener(self, listener: ListenerT) -> None:
        """Take the listener of a connection that is about to open."""
        self._listener = listener

    def _change(self, state: WSLinkState) -> None:
        if state is self._told_state:
            return
        self._state = self._told_state = state
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._on_change is None:
            return
        try:
            self._on_change(self)
        except (Exception, asyncio.CancelledError):  # this task's own does not come from there
            self._logger.exception("on_change raised an exception")

    async def _wait_for_change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _raise_error(self) -> None:
        if self._error is not None:
            self._is_error_told = True
            # Without the frames of those who were told before.
            raise self._error.with_traceback(self._traceback)

    def __repr__(self) -> str:
        error = self._error or self.last_error
        more = ""
        if self.transport is not None:
            more = f" over {self.transport!r}"
        elif error is not None:
            more = f", last_error: {type(error).__name__}: {one_line(error)}"
        return f"<WSLink {self._state.name}, attempts={self.attempts}{more}>"
