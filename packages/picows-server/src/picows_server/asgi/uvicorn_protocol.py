"""``UvicornProtocol``: the WebSocket protocol of uvicorn's servers, on this codec."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any, Dict, List, Optional, Sequence, Tuple

from picows_codec import (
    ServerHandshake,
    WSEndpoint,
    WSOptions,
    WSPermessageDeflate,
    WSState,
    WSUpgradeRequest,
)
from picows_codec.option_table import SERVER_DEFAULTS
from picows_codec.readiness import has_readers
from picows_server.asgi.connection import ASGIConnection, ASGIHost
from picows_server.asgi.lean_transport import fit_transport

__all__ = ["UvicornProtocol"]

_SECOND_LOOK = 0.05

_TRACE = 5  # uvicorn's log level

# CLOSE of a server that is restarted (RFC 6455, 7.4.1 and its registry)
_SERVICE_RESTART = 1012


def _make_options(
    max_size: Optional[int],
    compression: Optional[WSPermessageDeflate],
    close_timeout: Optional[float],
) -> WSOptions:
    options: Dict[str, Any] = dict(SERVER_DEFAULTS)
    if max_size is not None and max_size > 0:
        options.update(max_message_size=max_size, max_frame_size=max(max_size, 125))
    return WSOptions(
        **{
            **options,
            "compression": compression,
            # An application may take its time, as long as its client does.
            "websocket_handshake_timeout": None,
            "stall_timeout": None,
            "close_timeout": close_timeout,
            # uvicorn's limits have been checked, or are left to the proxy before it.
            "max_handshake_line_size": 65536,
            "max_handshake_size": 262144,
            "max_handshake_headers": 1024,
        }
    )


_USABLE: Dict[str, Any] = {"compression": None, "close_timeout": None}

# Few servers have more than one configuration.
_options_for = functools.lru_cache(maxsize=64)(_make_options)


class UvicornProtocol(ASGIHost, WSEndpoint, asyncio.BufferedProtocol):
    """uvicorn's ``ws`` setting: ``--ws picows_server.asgi:UvicornProtocol``.

    Options of uvicorn: ``ws_max_size`` (bytes of a message; a larger one fails the connection with
    1009), ``ws_ping_interval`` (seconds; None or 0: no pings), ``ws_ping_timeout`` (seconds to wait
    for the pong, then 1011; None: no limit), ``ws_per_message_deflate``. ``ws_max_queue`` is
    accepted and not needed: a message that waits for the application pauses reading.

    ``close_timeout``: seconds that a peer has to answer our CLOSE; None: no limit. May be set on an
    object or a subclass. ``compression``: parameters of permessage-deflate, which a subclass may
    set; below 256 bytes nothing is compressed, because that takes several times as long as all the
    rest and saves no packet. ``transport``: asyncio's, for uvicorn. All methods belong to the
    thread of the event loop.
    """

    transport: Any = None
    compression = WSPermessageDeflate(min_size=256)
    close_timeout: Optional[float] = 10.0

    def __init_subclass__(cls, **further: Any) -> None:
        """Raise at once for attributes that no connection could use."""
        super().__init_subclass__(**further)
        own = vars(cls)
        for name in ("compression", "close_timeout"):
            if name in own and not hasattr(own[name], "__get__"):
                _make_options(None, **{**_USABLE, name: own[name]})

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: Optional[Dict[str, Any]] = None,
        _loop: Optional[asyncio.AbstractEventLoop] = None,
        **_further: object,
    ) -> None:
        if not config.loaded:
            config.load()
        self.config = config
        self.app = config.loaded_app
        self.asgi_version = config.asgi_version
        self.root_path = config.root_path
        self.server_state = server_state
        self.app_state: Dict[str, Any] = {} if app_state is None else app_state
        self.loop = _loop or asyncio.get_event_loop()
        self.logger = logging.getLogger("uvicorn.error")
        # Seconds; 0: no pings, no limit
        self.ping_interval: float = getattr(config, "ws_ping_interval", None) or 0.0
        self.ping_timeout: float = getattr(config, "ws_ping_timeout", None) or 0.0
        self.ping_timer: Optional[asyncio.TimerHandle] = None
        self.ping_sent_at = 0.0
        self._pong_timer: Optional[asyncio.TimerHandle] = None
        self._ping_waits_for: Optional[asyncio.Future[float]] = None
        self._ping_queue_size = 0
        self._is_second_look = False
        self._connection: Optional[ASGIConnection] = None
        self._is_lost = False
        options = _options_for(
            getattr(config, "ws_max_size", 16 * 1024 * 1024),
            self.compression if getattr(config, "ws_per_message_deflate", True) else None,
            self.close_timeout,
        )
        super().__init__(
            options,
            ServerHandshake(self._route, options, (), None, self.response_date),
            self.loop,
            self.logger,
            shared_reads=has_readers(self.loop),
        )

    def _route(self, request: WSUpgradeRequest) -> Any:
        self._connection = connection = ASGIConnection(self, request)
        return connection.opening

    # What uvicorn's users look at

    @property
    def connections(self) -> Any:
        """The set of uvicorn's open connections."""
        return self.server_state.connections

    @property
    def tasks(self) -> Any:
        """The set of uvicorn's tasks."""
        return self.server_state.tasks

    @property
    def scope(self) -> Any:
        """The scope of the application, or None before the request."""
        return getattr(self._connection, "scope", None)

    @property
    def close_timer(self) -> Optional[asyncio.TimerHandle]:
        """The timer that waits for the peer's answer to our CLOSE, or None."""
        return None if self._connection is None else self._connection.close_timer

    # What uvicorn and its transports call

    def connection_made(self, transport: Any) -> None:
        """Join uvicorn's connections and wait for the request."""
        self.transport = transport
        self.connections.add(self)
        super().connection_made(fit_transport(transport))
        self._trace("WebSocket connection made")

    def connection_lost(self, exc: Optional[Exception]) -> None:
        """Leave uvicorn's connections and tell the application."""
        self.connections.discard(self)
        self.stop_keepalive()
        self._trace("WebSocket connection lost")
        super().connection_lost(exc)
        if self.transport is not None and not self.transport.is_closing():
            self.transport.close()
        self._is_lost = True
        self._drop_connection()

    def shutdown(self) -> None:
        """Tell application and peer that the server stops."""
        connection = self._connection
        self.stop_keepalive()
        if connection is None:
            self.transport.close()
            return
        connection.shut_down(_SERVICE_RESTART)
        if connection.is_open:
            connection.hang_up()
        elif not self.transport.is_closing():
            self.transport.close()

    # What a connection asks of its host

    def lifespan_state(self) -> Optional[Dict[str, Any]]:
        """The state of uvicorn's lifespan."""
        return self.app_state

    def response_headers(self) -> Sequence[Tuple[bytes, bytes]]:
        """Headers of uvicorn, such as Date and Server; another list every second."""
        headers: List[Tuple[bytes, bytes]] = self.server_state.default_headers
        return headers

    def response_date(self) -> Optional[bytes]:
        """The Date of uvicorn, which has none with ``--no-date-header``."""
        for name, value in self.response_headers():
            if name.lower() == b"date":
                return value
        return None

    def start_application(self, connection: ASGIConnection) -> asyncio.Task[Any]:
        """Run the application as one of uvicorn's tasks."""
        task = self.loop.create_task(connection.run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def application_accepted(self, connection: ASGIConnection) -> None:
        """Begin to ping."""
        self.start_keepalive()

    def application_ended(self, connection: ASGIConnection) -> None:
        """Nothing is left for the garbage collector, if the transport is gone, too."""
        self._drop_connection()

    def _drop_connection(self) -> None:
        if self._is_lost and self._connection is not None and self._connection.task is None:
            self._connection = None

    def application_left(self, connection: ASGIConnection) -> None:
        """A missing pong does not matter any more."""
        self.stop_keepalive()

    def begin_closing(self) -> bool:
        """The peer has ``close_timeout`` seconds from now, whatever it was before."""
        self.drop_deadline()
        return True

    def _trace(self, text: str) -> None:
        if self.logger.isEnabledFor(_TRACE):
            peer = self.transport.get_extra_info("peername")
            prefix = f"{peer[0]}:{peer[1]} - " if isinstance(peer, tuple) else ""
            self.logger.log(_TRACE, "%s%s", prefix, text)

    # Pings. Not the codec's, because their limit holds also while messages wait.

    def start_keepalive(self) -> None:
        """The connection is open."""
        if self.ping_interval:
            self.ping_timer = self.loop.call_later(self.ping_interval, self._ping)

    def stop_keepalive(self) -> None:
        """No more pings."""
        for timer in (self.ping_timer, self._pong_timer):
            if timer is not None:
                timer.cancel()
        self.ping_timer = self._pong_timer = None

    def _ping(self) -> None:
        connection = self._connection
        self.ping_timer = None
        if connection is None or not connection.is_open or connection.is_ended:
            return
        if connection.transport.state != WSState.OPEN:  # the peer has ended its stream
            return
        if self._ping_waits_for is None or self._ping_waits_for.done():
            self.ping_sent_at = self.loop.time()
            self._ping_waits_for = pong = self.ping_peer()
            pong.add_done_callback(self._pong_arrived)
            self._note_queue()
            if self.ping_timeout:
                self._is_second_look = False
                self._pong_timer = self.loop.call_later(self.ping_timeout, self._pong_is_late)
                return
        self.ping_timer = self.loop.call_later(self.ping_interval, self._ping)

    def _pong_arrived(self, pong: asyncio.Future[float]) -> None:
        if pong.cancelled() or pong.exception() is not None:
            return
        connection = self._connection
        if self._pong_timer is not None:
            self._pong_timer.cancel()
            self._pong_timer = None
            if connection is not None and not connection.is_ended:
                delay = max(0.0, self.ping_interval - pong.result())
                self.ping_timer = self.loop.call_later(delay, self._ping)

    def _note_queue(self) -> None:
        self._ping_queue_size = self.write_queue_size

    def _pong_is_late(self) -> None:
        connection = self._connection
        self._pong_timer = None
        if connection is None or not connection.is_open or connection.is_ended:
            return
        if 0 < self.write_queue_size < self._ping_queue_size:
            # The peer reads, and the ping may still be behind what it has not read.
            self._note_queue()
            self._pong_timer = self.loop.call_later(self.ping_timeout, self._pong_is_late)
        elif not self._is_second_look:
            # A loop that was blocked has not read what may be there.
            self._is_second_look = True
            self._pong_timer = self.loop.call_later(_SECOND_LOOK, self._pong_is_late)
        else:
            self._trace("WebSocket keepalive ping timeout")
            connection.fail(1011, "keepalive ping timeout")
