"""One connection of an ASGI application: its events, and the messages that it sends.

What is done for each message is compiled: ``picows_codec.coroutines.events``.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from picows_codec import (
    WSDisconnectKind,
    WSFrame,
    WSMsgType,
    WSState,
    WSStateError,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.connection.endpoint import WSEndpoint
from picows_codec.coroutines.events import EventListener
from picows_codec.deferred_response import DeferredResponse, SentResponse
from picows_server.asgi.refusal import StreamedResponse, checked_fields
from picows_server.asgi.scope import client_text, path_text, websocket_scope
from picows_server.logs import Logger, log_fields
from picows_server.response_date import response_date

__all__ = ["ASGIApplication", "ASGIConnection", "ASGIHost", "ClientDisconnected", "Event"]

Event = Dict[str, Any]
ASGIApplication = Callable[..., Any]

# The WSTransport of an endpoint, also where a subclass has another ``transport``: uvicorn's has.
_transport_of: Any = vars(WSEndpoint)["transport"].__get__

# Reading goes on beyond the first message that waits, for a pong or a CLOSE behind it, while less
# than this waits: messages; bytes and characters.
_MOST_MESSAGES = 32
_MOST_BYTES = 4 * 1024 * 1024

# The codec decides about these; a Sec-WebSocket-Protocol is taken as the choice of a subprotocol.
_NOT_IN_101 = {
    b"connection",
    b"content-length",
    b"sec-websocket-accept",
    b"sec-websocket-extensions",
    b"sec-websocket-protocol",
    b"sec-websocket-version",
    b"transfer-encoding",
    b"upgrade",
}


class ClientDisconnected(OSError):
    """``send`` was called, and the client is gone.

    An application need not catch it: nothing is logged.
    """


class ASGIHost:
    """Who serves an application: what its connections ask of it."""

    app: ASGIApplication
    asgi_version = "3.0"
    root_path = ""
    logger: Logger
    close_timeout: Optional[float] = None  # seconds; None: no limit

    def lifespan_state(self) -> Optional[Dict[str, Any]]:
        """The state of the lifespan, of which a connection gets a copy; or None."""
        raise NotImplementedError

    def response_headers(self) -> Sequence[Tuple[bytes, bytes]]:
        """Headers of every response that accepts, as they are now."""
        return ()

    def response_date(self) -> Optional[bytes]:
        """The Date of every other response; None: they have none."""
        return response_date()

    def start_application(self, connection: ASGIConnection) -> asyncio.Task[Any]:
        """Run ``connection.run()`` as a task."""
        raise NotImplementedError

    def application_accepted(self, connection: ASGIConnection) -> None:
        """The connection is open."""

    def application_ended(self, connection: ASGIConnection) -> None:
        """The task has ended."""

    def application_left(self, connection: ASGIConnection) -> None:
        """The connection is closed, or is being closed by the application."""

    def begin_closing(self) -> bool:
        """A CLOSE was sent. Whether ``close_timeout`` is to be watched; if not, the codec does."""
        return False


class _Opening(DeferredResponse):
    """The response that the application decides about."""

    __slots__ = ("connection",)

    def __init__(self, connection: ASGIConnection) -> None:
        super().__init__()
        self.connection = connection

    def begin(self, endpoint: Any) -> None:
        self.connection.begin(endpoint)

    def resume_writing(self) -> None:
        self.connection.resume_writing()

    def lost(self) -> None:
        self.connection.lost_before_response()


class ASGIConnection(EventListener):
    """The listener of one connection, whose application runs as a task of its own."""

    def __init__(self, host: ASGIHost, request: WSUpgradeRequest) -> None:
        self.host = host
        self.request = request
        self.opening: Optional[DeferredResponse] = _Opening(self)
        self.task: Optional[asyncio.Task[Any]] = None
        self.close_timer: Optional[asyncio.TimerHandle] = None
        self.is_open = False
        self.is_ended = False
        self._endpoint: Any = None
        self._response: Optional[StreamedResponse] = None
        self._is_closed_by_us = False
        self._awaits_pong = False
        self._has_room = True
        self._below: Any = None
        self._write_waiters: List[asyncio.Future[None]] = []

    # The opening handshake

    def begin(self, endpoint: Any) -> None:
        """The request is valid: start the application."""
        host = self.host
        self._endpoint = endpoint
        self._loop: asyncio.AbstractEventLoop = asyncio.get_event_loop()
        self.scope = websocket_scope(
            self.request,
            is_secure=endpoint.is_secure,
            root_path=host.root_path,
            asgi_version=host.asgi_version,
            state=host.lifespan_state(),
        )
        self.scope["picows.transport"] = _transport_of(endpoint)
        self.begin_events(self._loop)
        self.put_event({"type": "websocket.connect"})
        self.task = task = host.start_application(self)
        task.set_name(f"websocket {path_text(self.scope)}")
        task.add_done_callback(self._app_ended)

    async def run(self) -> Any:
        """The application; the task of this connection."""
        if self.task is None:  # an eager task, within begin(): nobody waits for a decision yet
            await asyncio.sleep(0)
        return await self.host.app(self.scope, self.receive, self.send)

    def lost_before_response(self) -> None:
        """The client has left, or the server has been too slow."""
        self.opening = None
        self._finish({"type": "websocket.disconnect", "code": 1006})

    def _accept(self, message: Any) -> None:
        subprotocol = message.get("subprotocol")
        headers = []
        fields = [*self.host.response_headers(), *(message.get("headers") or ())]
        for name, value in checked_fields(fields):
            if name not in _NOT_IN_101:
                headers.append((name.decode("ascii"), value.decode("utf-8", "surrogateescape")))
            elif name == b"sec-websocket-protocol" and not subprotocol:
                subprotocol = value.decode("ascii")
        if subprotocol and subprotocol not in self.scope["subprotocols"]:
            # RFC 6455, 4.1: a client that gets a subprotocol which it did not ask for must fail.
            self.host.logger.warning(
                '%s - "WebSocket %s" subprotocol %r was not offered by the client: not sent',
                client_text(self.scope),
                path_text(self.scope),
                subprotocol,
                extra=self._log_fields(),
            )
            subprotocol = None
        response = WSUpgradeResponse.create_101_response(headers, subprotocol or None)
        self._log_access("[accepted]")
        self._decide(WSUpgradeResponseWithListener(response, self))
        if not self.is_open:
            raise ClientDisconnected("the client is gone")

    def _refuse(self, response: WSUpgradeResponse) -> None:
        self._log_access(str(response.status))
        self._decide(response)
        self._finish({"type": "websocket.disconnect", "code": 1006})

    def _decide(self, result: object) -> None:
        opening, self.opening = self.opening, None
        if opening is not None:
            opening.decide(result)

    def _log_access(self, outcome: str) -> None:
        if not self.host.logger.isEnabledFor(logging.INFO):
            return  # the fields would be kept for nothing as long as the connection
        self.host.logger.info(
            '%s - "WebSocket %s" %s',
            client_text(self.scope),
            path_text(self.scope),
            outcome,
            extra=self._log_fields(),
        )

    def _log_fields(self) -> Dict[str, Any]:
        if self._endpoint is None:
            return log_fields(client_text(self.scope), self.scope["path"])
        fields: Dict[str, Any] = self._endpoint.log_fields()
        return fields

    def _write(self, data: bytes) -> None:
        """Write a part of a response that the codec does not know."""
        if data and self._endpoint is not None:
            self._has_room = self._endpoint.send_response(data)

    def _go_on_with_response(self, data: bytes) -> None:
        self._write(data)
        if self._response is not None and self._response.is_complete:
            self._decide(SentResponse(self._response.status, self._response.reason))
            self._finish({"type": "websocket.disconnect", "code": 1006})

    # What the connection calls

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The application has accepted."""
        self.is_open = True
        self._endpoint = None
        self._below = transport.underlying_transport
        self.allow_messages(True)
        self.host.application_accepted(self)

    def close_received(self, transport: WSTransport) -> None:
        """The peer closes the connection: the application learns it at once."""
        handshake = transport.close_handshake
        if handshake is not None and handshake.recv is not None:
            self._finish(_closed_by(handshake.recv))

    def delivery_stopped(self, transport: WSTransport) -> None:
        """If the peer has broken a rule, the application learns it at once."""
        cause = transport.disconnect_cause
        if cause is not None and cause.kind is not WSDisconnectKind.LOCAL_CLOSE:
            self._finish(_end_of(transport))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection is closed."""
        self.is_open = False
        self._below = None
        if self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = None
        self._finish(_end_of(transport))

    def resume_writing(self) -> None:
        """``send`` goes on."""
        self._has_room = True
        self._wake_writers()

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        """An automatic ping: read on, whatever waits, because the pong comes behind it."""
        transport.send_ping()
        self.read_for_pong()

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        """Whether the frame is a pong."""
        if frame.opcode != WSMsgType.PONG:
            return False
        self.stop_reading_for_pong()
        return True

    # Pausing

    def read_for_pong(self) -> None:
        """A ping was sent: its pong, or the peer's CLOSE, must not be left unread."""
        self._awaits_pong = True
        if self.reads_are_paused:
            self.forget_pause()
            self.resume_reading()

    def stop_reading_for_pong(self) -> None:
        """The pong is there: messages that wait keep the connection from reading again."""
        self._awaits_pong = False
        self.pause_if_needed()

    def pause_reading(self) -> bool:
        """An event waits: leave the next ones in the socket."""
        below = self._below
        if below is None or ((self._awaits_pong or self.only_sends) and self._may_read_on()):
            return False
        if self.transport.is_secure:
            # aiofastnet leaves what it has decrypted where it is if it is paused within a read.
            self._loop.call_soon(self._pause_after_read)
        elif not below.is_closing():
            below.pause_reading()
        return True

    def _may_read_on(self) -> bool:
        return self.queued_events < _MOST_MESSAGES and self.queued_size < _MOST_BYTES

    def _pause_after_read(self) -> None:
        below = self._below
        if self.reads_are_paused and below is not None and not below.is_closing():
            below.pause_reading()

    def resume_reading(self) -> None:
        """No event waits, or the application only sends."""
        below = self._below
        if below is not None and not below.is_closing() and not below.is_reading():
            below.resume_reading()

    # What the application sends

    async def send_otherwise(self, message: Any) -> None:
        """What cannot be sent at once, or is no message."""
        kind = message["type"]
        while self.writing_is_paused():
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._write_waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter.cancelled() and waiter in self._write_waiters:
                    self._write_waiters.remove(waiter)  # the peer may not read for hours
        if self._response is not None and not self._response.is_complete:
            self._send_response_part(self._response, kind, message)
            await self._drain_response()
        elif self._is_closed_by_us or self._response is not None:
            raise RuntimeError(
                f"Unexpected ASGI message '{kind}', after sending 'websocket.close' or response"
                " already completed."
            )
        elif self.opening is not None:
            self._send_first(kind, message)
        elif kind not in ("websocket.send", "websocket.close"):
            if not self.is_open:  # accept, of a connection that was lost
                raise ClientDisconnected("the client is gone")
            raise RuntimeError(
                f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{kind}'."
            )
        elif kind == "websocket.close":
            self._close(message)
        else:
            self._send_data(message)

    def _send_first(self, kind: str, message: Any) -> None:
        if kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._is_closed_by_us = True
            self._refuse(WSUpgradeResponse.create_error_response(403))
        elif kind == "websocket.http.response.start":
            response = StreamedResponse(message, self.host.response_date())
            self._response = response
            self._log_access(str(response.status))
            self._write(response.start())
        else:
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' or"
                f" 'websocket.http.response.start' but got '{kind}'."
            )

    def _send_response_part(self, response: StreamedResponse, kind: str, message: Any) -> None:
        if kind != "websocket.http.response.body":
            raise RuntimeError(
                f"Expected ASGI message 'websocket.http.response.body' but got '{kind}'."
            )
        if self.is_ended:
            raise ClientDisconnected("the client is gone")
        self._go_on_with_response(response.body(message))

    async def _drain_response(self) -> None:
        while not self.is_ended and not self._has_room:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._write_waiters.append(waiter)
            await waiter

    def _send_data(self, message: Any) -> None:
        if self.is_ended or self.transport is None:
            raise ClientDisconnected("the client is gone")
        data, text = message.get("bytes"), message.get("text")
        if data is None and text is None:
            raise RuntimeError("ASGI message 'websocket.send' has neither 'bytes' nor 'text'.")
        try:
            if data is not None:
                self.transport.send(WSMsgType.BINARY, data)
            else:
                self.transport.send(WSMsgType.TEXT, text)
        except WSStateError:  # the peer has ended its stream, and does not read what waits
            self._finish({"type": "websocket.disconnect", "code": 1005})
            raise ClientDisconnected("the client is gone") from None

    def _close(self, message: Any) -> None:
        code = message.get("code", 1000)
        reason = message.get("reason") or ""
        if not self.is_open:
            raise ClientDisconnected("the client is gone")
        if self.is_ended:
            self._is_closed_by_us = True
            return
        self.leave(code, reason, code)
        self._is_closed_by_us = True

    # Ending

    def leave(self, code: int, reason: str, event_code: int) -> None:
        """Start the closing handshake; the application gets ``event_code``.

        :raises WSInvalidCloseError: a code or reason that may not be sent.
        """
        transport: Optional[WSTransport] = self.transport
        if transport is None or self.is_ended:
            return
        transport.disconnect(code=code, reason=reason)
        event: Event = {"type": "websocket.disconnect", "code": event_code}
        if event_code != 1012:
            event["reason"] = reason
        self._finish(event)
        if transport.state != WSState.CLOSED and self.host.begin_closing():
            self._watch_close()

    def fail(self, code: int, reason: str) -> None:
        """The peer does not do its part: send CLOSE, and nothing after it (RFC 6455, 7.1.7)."""
        transport: Optional[WSTransport] = self.transport
        self.leave(code, reason, code)
        below: Any = None if transport is None else transport.underlying_transport
        if transport is None or below is None or below.is_closing():
            return
        _flush(transport)
        if transport.is_secure or not below.can_write_eof():
            below.close()
            return
        try:
            below.write_eof()  # close() could lose the CLOSE to a reset
        except OSError:  # the peer has reset the connection, which nobody has noticed yet
            below.close()

    def shut_down(self, code: int, reason: str = "") -> None:
        """The server stops: the application gets 1012, the peer ``code``.

        A peer that the application has not accepted gets a 500, and the application 1006.
        """
        if self.opening is not None and self._response is None:
            self._decide(_internal_server_error())
            self._finish({"type": "websocket.disconnect", "code": 1006})
        elif self._response is not None and not self._response.is_complete:
            self._finish({"type": "websocket.disconnect", "code": 1006})
        elif not self.is_ended:
            self.leave(code, reason, 1012)

    def hang_up(self) -> None:
        """Close the connection when what was sent has left, without a CLOSE frame."""
        transport: Optional[WSTransport] = self.transport
        if transport is None or not self.is_open:
            return
        _flush(transport)
        below = transport.underlying_transport
        if below is not None and not below.is_closing():
            below.close()
            self._watch_close()

    def _watch_close(self) -> None:
        delay = self.host.close_timeout
        if delay is not None and self.close_timer is None:
            self.close_timer = self._loop.call_later(delay, self._close_is_late)

    def _close_is_late(self) -> None:
        self.close_timer = None
        if self.transport is not None:
            self.transport.disconnect(graceful=False)

    def _finish(self, event: Event) -> None:
        """Nothing is sent or received any more; messages that wait come before ``event``."""
        if self.is_ended:
            return
        self.is_ended = True
        self.end_events(event)
        self._wake_writers()
        self.host.application_left(self)

    def _wake_writers(self) -> None:
        waiters, self._write_waiters = self._write_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _app_ended(self, task: asyncio.Task[Any]) -> None:
        self.task = None
        try:
            self._follow_application(task)
        finally:
            self._endpoint = None
            self.host.application_ended(self)

    def _follow_application(self, task: asyncio.Task[Any]) -> None:
        """End the connection as its application has ended."""
        logger = self.host.logger
        error = _error_of(task)
        if isinstance(error, ClientDisconnected) and self.is_ended:
            error = None
        elif error is not None:
            logger.error(
                "Exception in ASGI application\n", exc_info=error, extra=self._log_fields()
            )
        elif task.result() is not None:
            logger.error(
                "ASGI callable should return None, but returned '%s'.",
                task.result(),
                extra=self._log_fields(),
            )
        if self.opening is not None and self._response is None:
            if error is None:
                logger.error(
                    "ASGI callable returned without completing handshake.",
                    extra=self._log_fields(),
                )
            self._decide(_internal_server_error())
            self._finish({"type": "websocket.disconnect", "code": 1006})
        elif self._response is not None and not self._response.is_complete:
            if not self.is_ended:  # its time was over, and the client has got another response
                if error is None and self._response.lacks_data:
                    logger.error(
                        "ASGI callable returned without completing response.",
                        extra=self._log_fields(),
                    )
                self._go_on_with_response(self._response.end())
        elif not self._is_closed_by_us and not self.is_ended:
            self._finish({"type": "websocket.disconnect", "code": 1006})
            self.hang_up()


def _error_of(task: asyncio.Task[Any]) -> Optional[BaseException]:
    try:
        return task.exception()
    except asyncio.CancelledError as cancelled:  # with the task's traceback, from Python 3.11 on
        own = cancelled.__traceback__
        return cancelled.with_traceback(own.tb_next if own is not None else None)


def _flush(transport: WSTransport) -> None:
    """Send what was held back until the end of this loop iteration."""
    with transport.cork():
        pass


def _internal_server_error() -> WSUpgradeResponse:
    return WSUpgradeResponse.create_error_response(500, b"Internal Server Error")


def _end_of(transport: WSTransport) -> Event:
    """The event that tells the application how a connection has ended."""
    event: Event = {"type": "websocket.disconnect", "code": 1005}
    cause = transport.disconnect_cause
    if cause is None:
        return event
    if cause.kind is WSDisconnectKind.CONNECTION_LOST or cause.close is None:
        return event
    # The peer's CLOSE, or the one that a violation was answered with
    return _closed_by(cause.close)


def _closed_by(close: Any) -> Event:
    return {
        "type": "websocket.disconnect",
        "code": 1005 if close.code is None else int(close.code),
        "reason": close.reason or "",
    }
