"""The running server: its life from the first accepted connection to the last closed one."""

from __future__ import annotations

import asyncio
from asyncio.trsock import TransportSocket
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Sequence, Tuple, Union

from picows_codec import WSCloseCode, WSOptions, WSStateError
from picows_codec.readiness import has_readers
from picows_server.accept import Acceptor, AwaitingAcceptor, ReadinessAcceptor
from picows_server.backend import Backend
from picows_server.connections import Connections
from picows_server.hosting import HostedApplication
from picows_server.listen import ListeningSockets
from picows_server.logs import Logger
from picows_server.routing import Route
from picows_server.url import ServerURL

if TYPE_CHECKING:
    from picows_codec.coroutines.connection import WSConnection
    from picows_server.handlers import Handlers

__all__ = ["WSServer"]


class WSServer(asyncio.AbstractServer):
    """A WebSocket server, made by :func:`ws_create_server`; behaves like ``asyncio.Server``.

    ``async with server:`` closes it at the end and waits until it is closed. All methods belong
    to the thread of the server's event loop.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        url: ServerURL,
        listening: ListeningSockets,
        backend: Backend,
        route: Route,
        options: WSOptions,
        subprotocols: Sequence[str],
        logger: Logger,
        backlog: int,
        max_connections: Optional[int],
        max_pending_handshakes: Optional[int],
        refuses_when_full: bool,
        make_connections: Callable[..., Connections] = Connections,
    ) -> None:
        self._loop = loop
        self._url = url
        self._listening = listening
        self._backend = backend
        self._close_timeout = options.close_timeout
        self._logger = logger
        self._backlog = backlog
        #: Checks without arguments, also coroutine functions, by name. While one of them is false
        #: or raises, :func:`ready` responds with 503.
        self.ready_checks: Dict[str, Callable[[], object]] = {}
        self._connections = make_connections(
            loop=loop,
            server=self,
            backend=backend,
            route=route,
            options=options,
            subprotocols=subprotocols,
            logger=logger,
            released=self._connection_released,
            max_connections=max_connections,
            max_pending_handshakes=max_pending_handshakes,
            refuses_when_full=refuses_when_full,
        )
        self._acceptor: Optional[Acceptor] = None
        # The tasks of ``serve``, or of an application.
        self._handlers: Union[Handlers, HostedApplication, None] = None
        self._application: Optional[HostedApplication] = None
        self._stopping: Optional[asyncio.Task[None]] = None
        self._is_closing = False
        self._is_closed = asyncio.Event()
        self._abort_timer: Optional[asyncio.TimerHandle] = None
        self._forever: Optional[asyncio.Future[None]] = None
        # Kept, because the sockets cannot be asked after close().
        self._urls = tuple(url.with_port(port) for port in self._ports())

    def __repr__(self) -> str:
        state = "closed" if self._is_closing else "serving" if self.is_serving() else "idle"
        return f"<{type(self).__name__} {' '.join(self._urls)} {state}>"

    @property
    def url(self) -> str:
        """The URL that clients call, with the port that was chosen if port 0 was asked for.

        It has the host of the URL given, so 0.0.0.0 stays 0.0.0.0. With ``unix_path`` it is the
        URL given: that is what clients put into their upgrade request.
        """
        return self._urls[0]

    @property
    def urls(self) -> Tuple[str, ...]:
        """The URLs of all listening sockets; more than one if ``sock`` had several ports."""
        return self._urls

    @property
    def sockets(self) -> Tuple[TransportSocket, ...]:
        """The listening sockets, to look at; none after :meth:`close`."""
        if self._is_closing:
            return ()
        return tuple(TransportSocket(sock) for sock in self._listening.sockets)

    @property
    def backend(self) -> str:
        """What carries the connections: ``"stream"``, ``"aiofastnet"`` or ``"loop"``.

        With a mapping of TLS contexts ``"aiofastnet"`` if it carries those of one of them.
        """
        return self._backend.name

    @property
    def logger(self) -> Logger:
        """The logger of the server."""
        return self._logger

    @property
    def is_draining(self) -> bool:
        """Whether clients should go elsewhere, because the server ends: :func:`ready` says so."""
        return self._is_closing

    @property
    def connections(self) -> int:
        """How many connections there are, in whatever state, half-open ones included."""
        return len(self._connections)

    @property
    def pending_handshakes(self) -> int:
        """How many connections are in their opening handshake, or refused but not ended."""
        return self._connections.pending_handshakes

    @property
    def open_connections(self) -> List[WSConnection]:
        """The open connections that handlers of :func:`serve` have, for example for `broadcast`.

        None on a server of :func:`ws_create_server`, where listeners have the connections.
        """
        return [] if self._handlers is None else self._handlers.open_connections

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the server belongs to."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return self._acceptor is not None

    async def start_serving(self) -> None:
        """Begin to accept connections, if ``ws_create_server`` was told not to.

        Raises :class:`WSStateError` after :meth:`close`.
        """
        self._start_serving()

    async def serve_forever(self) -> None:
        """Serve until cancelled; that closes the server and waits until it is closed.

        A second cancellation, while the connections are being closed, aborts them. This raises
        :class:`asyncio.CancelledError` also if :meth:`close` was called. It raises
        :class:`WSStateError` after :meth:`close`, and while another task is in this method.
        """
        if self._forever is not None:
            raise WSStateError(f"{self!r} is already being served by another serve_forever()")
        self._start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        finally:
            self._forever = None
            if not self._is_closing:
                self.close()
            await self._wait_or_abort()

    async def __aexit__(self, *error: object) -> None:
        """Close the server and wait until it is closed; a cancellation drops all connections."""
        self.close()
        await self._wait_or_abort()

    async def _wait_or_abort(self) -> None:
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self._give_up_clients(at_once=True)  # the program may be about to end
            raise

    def close(self, *, close_clients: bool = True) -> None:
        """Stop accepting and close every connection; :meth:`wait_closed` waits for the end.

        Listening sockets are closed at once and unfinished opening handshakes dropped. The loop
        goes on while there are many connections: it closes some in each iteration. Open
        connections get a CLOSE with code 1001 (going away, RFC 6455, 7.4.1) and are aborted
        ``close_timeout`` seconds later if they are still there. The code is 1012 (service restart)
        for those of an ASGI application, which learns the same.

        Handlers of :func:`serve` see the end of their connections at once, and are cancelled
        ``close_timeout`` seconds later.

        With ``close_clients=False`` connections stay open until they end, or until
        :meth:`close_clients` or :meth:`abort_clients` ends them.
        """
        if not self._is_closing:
            self._is_closing = True
            self._stop_serving()
        if close_clients and self._abort_timer is None:
            application = self._application
            self._close_clients(
                WSCloseCode.GOING_AWAY if application is None else application.close_code,
                None,
                half_open=True,
            )
            if self._close_timeout is not None:
                self._abort_timer = self._loop.call_later(
                    self._close_timeout, self._give_up_clients
                )
        self._connection_released()

    def close_clients(
        self, code: int = WSCloseCode.GOING_AWAY, reason: Optional[str] = None
    ) -> None:
        """Start the closing handshake on every open connection; the server goes on.

        A connection whose peer does not answer within ``close_timeout`` is aborted.

        Raises :class:`WSInvalidCloseError` for a code or reason that may not be sent.
        """
        self._close_clients(code, reason, half_open=False)

    def _close_clients(self, code: int, reason: Optional[str], *, half_open: bool) -> None:
        self._connections.close_all(code, reason, half_open=half_open)
        if self._handlers is not None:
            self._handlers.leave(code, reason)

    def abort_clients(self) -> None:
        """Drop every connection without a closing handshake."""
        self._connections.abort_all()

    def _give_up_clients(self, *, at_once: bool = False) -> None:
        self._connections.abort_all(at_once=at_once)
        if self._handlers is not None:
            self._handlers.cancel()

    def use_handlers(self, handlers: Handlers) -> None:
        """Wait for the tasks of ``serve`` when the server is closed, and cancel the late ones."""
        self._handlers = handlers
        handlers.notify(self._connection_released)

    def use_application(self, application: Optional[HostedApplication]) -> None:
        """Stop the application, which was started, when the last connection and task have ended."""
        self._handlers = self._application = application
        if application is not None:
            application.notify(self._connection_released)

    async def wait_closed(self) -> None:
        """Wait until :meth:`close` was called and the last connection and its task have ended.

        With :func:`serve` that includes the handlers, with an ASGI application its shutdown.
        """
        await self._is_closed.wait()

    def _start_serving(self) -> None:
        if self._is_closing:
            raise WSStateError(f"{self!r} is closed")
        if self._acceptor is not None:
            return
        self._listening.listen(self._backlog)
        acceptor_type = ReadinessAcceptor if has_readers(self._loop) else AwaitingAcceptor
        self._acceptor = acceptor_type(
            self._loop,
            self._listening.sockets,
            self._connections.add,
            self._connections.has_room,
            self._logger,
        )
        self._acceptor.start()
        self._logger.info("serving %s", ", ".join(self._urls))

    def _stop_serving(self) -> None:
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None
            self._logger.info("not serving %s any more", ", ".join(self._urls))
        self._listening.close()
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()

    def _connection_released(self) -> None:
        if self._acceptor is not None:
            self._acceptor.wake()
        elif (
            self._is_closing
            and self._connections.is_idle
            and (self._handlers is None or self._handlers.is_idle)
        ):
            # Later, because the transport that just lost its connection is still in a method.
            self._loop.call_soon(self._finish)

    def _finish(self) -> None:
        if self._application is not None:
            self._stopping = self._loop.create_task(self._stop(self._application))
            self._application = None
        elif self._stopping is None:
            self._finished()

    async def _stop(self, application: HostedApplication) -> None:
        try:
            await application.stop()
        finally:
            self._finished()

    def _finished(self) -> None:
        if self._abort_timer is not None:
            self._abort_timer.cancel()
            self._abort_timer = None
        self._connections.stop_watching_limits()
        self._backend.close()
        self._is_closed.set()

    def _ports(self) -> Tuple[int, ...]:
        names = (sock.getsockname() for sock in self._listening.sockets)
        # The name of a Unix socket is its path.
        ports = (name[1] if isinstance(name, tuple) else self._url.port for name in names)
        return tuple(dict.fromkeys(ports))
