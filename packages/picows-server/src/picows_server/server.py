"""The running server: its life from the first accepted connection to the last closed one."""

from __future__ import annotations

import asyncio
from asyncio.trsock import TransportSocket
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from picows_codec import WSCloseCode, WSDisconnectKind, WSOptions, WSStateError
from picows_codec.readiness import has_readers
from picows_server.accept import Acceptor, AwaitingAcceptor, ReadinessAcceptor
from picows_server.backend import Backend
from picows_server.connections import Connections
from picows_server.hosting import HostedApplication
from picows_server.listen import ListeningSockets
from picows_server.logs import Logger
from picows_server.loop_lag import LoopLag
from picows_server.routing import Route
from picows_server.url import ServerURL

if TYPE_CHECKING:
    from picows_codec.coroutines.connection import WSConnection
    from picows_server.access_log import AccessLog
    from picows_server.draining import Drain, DrainPlan
    from picows_server.handlers import Handlers
    from picows_server.protocol import ServerProtocol
    from picows_server.stats import WSServerStats
    from picows_server.topics.topics import Topics

__all__ = ["WSServer"]

_HANDSHAKE_FAILURE = WSDisconnectKind.HANDSHAKE_FAILURE


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
        access_log: Optional[AccessLog] = None,
        make_connections: Callable[..., Connections] = Connections,
        application: Optional[HostedApplication] = None,
    ) -> None:
        self._loop = loop
        self._url = url
        self._listening = listening
        self._backend = backend
        self._options = options
        self._logger = logger
        self._backlog = backlog
        #: Checks without arguments, also coroutine functions, by name. While one of them is false
        #: or raises, :func:`ready` responds with 503.
        self.ready_checks: Dict[str, Callable[[], object]] = {}
        #: Whatever the program keeps for its handlers (``request.server.state``). With
        #: :func:`run` it is the value of ``lifespan``; None until somebody sets it.
        self.state: Any = None
        #: A ``picows_server.topics.Topics`` whose numbers are to be among those of :meth:`stats`
        #: and :func:`metrics`. Set it at one server only if several share it.
        self.topics: Optional[Topics] = None
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
            access_log=access_log,
        )
        self._acceptor: Optional[Acceptor] = None
        # The tasks of ``serve``, or of an application.
        self._handlers: Union[Handlers, HostedApplication, None] = None
        # One that has to be started, and one that has been.
        self._unstarted = application
        self._starting = asyncio.Lock()
        self._application: Optional[HostedApplication] = None
        self._stopping: Optional[asyncio.Task[None]] = None
        self._is_closing = False
        self._drain: Optional[Drain] = None
        self._is_closed = asyncio.Event()
        self._abort_timer: Optional[asyncio.TimerHandle] = None
        self._forever: Optional[asyncio.Future[None]] = None
        # Not by the first who asks, which may be two threads.
        self._lag = LoopLag(loop)
        # Kept, because the sockets cannot be asked after close().
        self._urls = tuple(url.with_port(port) for port in self._ports())
        self._places = listening.places(url)

    def __repr__(self) -> str:
        state = "closed" if self._is_closing else "serving" if self.is_serving() else "idle"
        if self._drain is not None and not self._is_closed.is_set():
            state = "draining"
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
    def places(self) -> Tuple[str, ...]:
        """Where the server listens, as its log says it: URLs, or ``unix:/path``.

        With ``sock`` they have the sockets' own hosts.
        """
        return self._places

    def _show_scheme(self, scheme: str) -> None:
        """Write :attr:`places` with this scheme, for a server that opens no connection."""
        self._places = self._listening.places(replace(self._url, scheme=scheme))

    @property
    def sockets(self) -> Tuple[TransportSocket, ...]:
        """The listening sockets, to look at; none after :meth:`close`."""
        if self._is_closing:
            return ()
        return tuple(TransportSocket(sock) for sock in self._listening.sockets)

    def _descriptors(self) -> List[int]:
        """The numbers of the sockets, both those that listen and those of connections."""
        listening = (sock.fileno() for sock in self._listening.sockets)
        return [*(each for each in listening if each >= 0), *self._connections.descriptors()]

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
        return self._is_closing or self._drain is not None

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

    def stats(self) -> WSServerStats:
        """What the server has done so far, and what it has now, in a new object.

        It takes a few microseconds, however many connections there are, because each adds to the
        totals what it does: at the end of a read, so that a callback may miss what is delivered in
        the same read. The first call starts to measure the event loop's lag, with a timer of half a
        second that ends five minutes after the last call. Any thread may call.
        """
        from picows_server.stats import WSServerStats  # noqa: PLC0415

        values = self._connections.totals.values()
        topics = self.topics
        ended = sum(values["closed"].values()) - values["closed"][_HANDSHAKE_FAILURE]
        return WSServerStats(
            connections=values["opened"] - ended,
            pending_handshakes=self.pending_handshakes,
            loop_lag=0.0 if self._is_closed.is_set() else self._lag.worst(),
            topics=None if topics is None else topics.stats(),
            **values,
        )

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop that the server belongs to."""
        return self._loop

    def is_serving(self) -> bool:
        """Whether new connections are accepted."""
        return self._acceptor is not None

    async def start_serving(self) -> None:
        """Begin to accept connections, if ``ws_create_server`` was told not to.

        An ASGI application is started first. Raises what its startup raises, and
        :class:`WSStateError` after :meth:`close`.
        """
        async with self._starting:
            if self._unstarted is not None and not self._is_closing:
                await self._start_application(self._unstarted)
        self._start_serving()

    async def serve_forever(self) -> None:
        """Serve until cancelled; that closes the server and waits until it is closed.

        A second cancellation, while the connections are being closed, aborts them. This raises
        :class:`asyncio.CancelledError` also if :meth:`close` was called. It raises
        :class:`WSStateError` after :meth:`close`, and while another task is in this method.
        """
        if self._forever is not None:
            raise WSStateError(f"{self!r} is already being served by another serve_forever()")
        self._forever = self._loop.create_future()
        try:
            await self.start_serving()
        except BaseException:
            self._forever = None
            raise
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
        if the server has an ASGI application, which learns the same.

        Handlers of :func:`serve` see the end of their connections at once, and are cancelled
        ``close_timeout`` seconds later.

        A response that is being sent, such as a file, goes on for ``close_timeout`` seconds.

        With ``close_clients=False`` connections stay open until they end, or until
        :meth:`close_clients`, :meth:`drain` or :meth:`abort_clients` ends them.
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
            if self._options.close_timeout is not None:
                self._abort_timer = self._loop.call_later(
                    self._options.close_timeout, self._give_up_clients
                )
        self._connection_released()

    async def drain(
        self,
        *,
        grace: float = 5.0,
        spread: float = 30.0,
        timeout: Optional[float] = 60.0,
        code: int = WSCloseCode.SERVICE_RESTART,
        reason: Optional[str] = None,
    ) -> None:
        """Close the server without all clients coming back in the same second; wait for the end.

        All times are in seconds and at least 0.

        ``grace``: from now on :func:`ready` responds with 503, and for so long connections are
        still accepted, so that load balancers can look elsewhere first. Then the listening sockets
        are closed. What waits in their queues is accepted before, because closing resets it.

        ``spread``: then every connection gets a CLOSE with ``code`` (1012: service restart) and
        ``reason`` (at most 123 bytes of UTF-8), at a time that is random and uniform within
        ``spread``. What was queued before is delivered. What a client sends until it sees the CLOSE
        is dropped, as after ``disconnect()``: let the application acknowledge what may not be lost.
        Opening handshakes that have begun are finished; a connection that opens later than its time
        is closed at once. Responses that are being sent go on.

        ``timeout``: counted from now; whoever is left then is aborted, and handlers of
        :func:`serve` and ASGI applications are cancelled. None: no limit. A client that does not
        answer the CLOSE is aborted after ``close_timeout``, unless there is a ``timeout`` and it
        has not read yet what was queued.

        Another call while this one waits hurries: connections are no longer accepted, everybody
        gets the CLOSE now, and the arguments of the first call stay in force otherwise.
        Cancelling the call ends the wait only. :meth:`close` and :meth:`abort_clients` end the rest
        sooner. On a server that is closed already, this closes the connections that
        ``close(close_clients=False)`` has left, or waits.

        Raises :class:`WSInvalidOptionError` for times that are negative, or if ``grace`` and
        ``spread`` do not end within ``timeout``; :class:`WSInvalidCloseError` for a code or reason
        that may not be sent.
        """
        from picows_server.draining import DrainPlan  # noqa: PLC0415 - in memory already

        self._start_draining(DrainPlan(grace, spread, timeout, code, reason))
        await self.wait_closed()

    def _start_draining(
        self,
        plan: DrainPlan,
        *,
        leaves_waiting: bool = False,
        stopped_accepting: Optional[Callable[[], object]] = None,
    ) -> None:
        """Begin what :meth:`drain` waits for, or hurry if it has begun.

        ``leaves_waiting``: accept nothing of the queues, because others have the same sockets.
        ``stopped_accepting`` is called when the listening sockets are closed.
        """
        from picows_server.draining import Drain  # noqa: PLC0415 - in memory already

        if self._is_closed.is_set():
            return
        if self._drain is not None:
            self._drain.hurry()
            return

        def end_accepting() -> None:
            if self._acceptor is not None and not leaves_waiting:
                self._acceptor.accept_waiting()
            self.close(close_clients=False)
            if stopped_accepting is not None:
                stopped_accepting()

        self._drain = Drain(
            self._loop,
            plan,
            self._logger,
            end_accepting=end_accepting,
            members=self._connections.all_members,
            half_open=self._connections.half_open,
            leave=partial(self._leave_one, plan.timeout is not None),
            give_up=self._give_up_clients,
        )
        self._connections.opened = self._drain.opened
        self._drain.start(is_accepting=self._acceptor is not None)

    def _leave_one(
        self, waits_for_reader: bool, protocol: ServerProtocol, code: int, reason: Optional[str]
    ) -> None:
        listener = protocol.listener
        is_leaving = self._connections.close_one(
            protocol, code, reason, waits_for_reader=waits_for_reader
        )
        if is_leaving and self._handlers is not None:
            self._handlers.leave_one(listener, code, reason)

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

    def _end_now(self, code: int, reason: Optional[str] = None) -> None:
        """Close, with a CLOSE whose answer nobody waits for, and cancel the tasks."""
        self.close(close_clients=False)
        self.close_clients(code, reason)
        self._give_up_clients()

    def _give_up_clients(self, *, at_once: bool = False) -> None:
        self._connections.abort_all(at_once=at_once)
        if self._handlers is not None:
            self._handlers.cancel()

    def _use_handlers(self, handlers: Handlers) -> None:
        """Wait for the tasks of ``serve`` when the server is closed, and cancel the late ones."""
        self._handlers = handlers
        handlers.notify(self._connection_released)

    async def _start_application(self, application: HostedApplication) -> None:
        """It is stopped when the last connection and task have ended."""
        await application.start(self._logger, self._options)
        self._unstarted = None
        if self._is_closing:  # meanwhile
            await application.stop()
            return
        self._handlers = self._application = application
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
        self._logger.info("serving %s", ", ".join(self._places))

    def _stop_serving(self) -> None:
        if self._acceptor is not None:
            self._acceptor.stop()
            self._acceptor = None
            self._logger.info("not serving %s any more", ", ".join(self._places))
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
        if self._drain is not None:
            self._drain.stop()
            self._connections.opened = None
        self._connections.stop_watching_limits()
        self._lag.stop()
        self._backend.close()
        self._is_closed.set()

    def _ports(self) -> Tuple[int, ...]:
        names = (sock.getsockname() for sock in self._listening.sockets)
        # The name of a Unix socket is its path.
        ports = (name[1] if isinstance(name, tuple) else self._url.port for name in names)
        return tuple(dict.fromkeys(ports))
