"""The connections of one server, from the accepted socket to the last callback."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import weakref
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Set, Tuple

from picows_codec import (
    ServerHandshake,
    WSListener,
    WSOptions,
    WSState,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    encode_close_payload,
)
from picows_codec.readiness import has_readers
from picows_codec.socket_address import format_address
from picows_codec.tls import describe_tls_failure, is_file_failure
from picows_codec.totals import Totals
from picows_server.backend import Backend
from picows_server.limits import LimitWatch
from picows_server.logs import Logger, fields_of_failure
from picows_server.origins import is_upgrade
from picows_server.protocol import ProtocolOwner, ServerProtocol
from picows_server.response_date import response_date
from picows_server.routing import FOR_SERVE, Route, RouteResult, is_handler_error
from picows_server.slices import in_slices
from picows_server.tls_deadline import TlsDeadline

if TYPE_CHECKING:
    from picows_server.access_log import AccessLog

__all__ = ["Connections"]

# Loop iterations after which a transport that gave up has closed its socket; asyncio, aiofastnet
# and uvloop need two or three.
_CLOSING_ITERATIONS = 16

# Seconds after which a client that was refused by a full server may try again.
_RETRY_AFTER = 5


class Connections(ProtocolOwner):
    """Every connection of one server; room for new ones, and the ways to end them.

    ``released`` is called when a connection has opened or ended, because there may be room for
    another one then, and when a task of one has ended.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        backend: Backend,
        route: Route,
        options: WSOptions,
        logger: Logger,
        released: Callable[[], None],
        subprotocols: Sequence[str] = (),
        server: object = None,
        max_connections: Optional[int],
        max_pending_handshakes: Optional[int],
        refuses_when_full: bool = False,
        access_log: Optional[AccessLog] = None,
    ) -> None:
        #: What all connections have done so far.
        self.totals = Totals()
        self._loop = loop
        self._route = route
        self._refuses_when_full = refuses_when_full
        self._access_log = access_log
        if refuses_when_full and max_connections is not None:
            self._route = functools.partial(_route_with_limit, self._is_full, route)
        self._options = options
        self._subprotocols = tuple(subprotocols)
        # Weak, because a request lives as long as its connection, and requests cannot be collected.
        self._server = None if server is None else weakref.ref(server)
        self._logger = logger
        # Loops that only report completion receive into a buffer ahead of time.
        self._shared_reads = has_readers(loop)
        self._backend = backend
        self._released = released
        self._max_connections = max_connections
        self._max_pending_handshakes = max_pending_handshakes
        # A connection is in the first while a task makes its transport (TLS handshake), then in the
        # second from connection_made to connection_lost.
        self._connecting: Dict[ServerProtocol, TlsDeadline] = {}
        self._connected: Set[ServerProtocol] = set()
        # The sockets of those that have no transport yet.
        self._arriving_sockets: Set[socket.socket] = set()
        # Those that decide about requests. A task may outlive its connection, to clean up.
        self._tasks: Set[asyncio.Task[Any]] = set()
        # The connections of the second that have not been open. A refused one counts until it has
        # ended, so that many of them cannot pass the limit. One that is sent a file does not, or
        # slow clients of files would keep others out.
        self._upgrading: Set[ServerProtocol] = set()
        # Those that are sent a response in parts: a file, for example.
        self._responding: Set[ServerProtocol] = set()
        #: Called with each connection that has finished its opening handshake, while draining.
        self.opened: Optional[Callable[[ServerProtocol], None]] = None
        waiting = "further connections wait in the kernel's backlog"
        self._connections_watch = LimitWatch(
            loop,
            logger,
            "max_connections",
            max_connections,
            "further upgrades are answered 503" if refuses_when_full else waiting,
        )
        self._pending_watch = LimitWatch(
            loop, logger, "max_pending_handshakes", max_pending_handshakes, waiting
        )

    def __len__(self) -> int:
        return len(self._connecting) + len(self._connected)

    @property
    def pending_handshakes(self) -> int:
        """Connections in their opening handshake (TLS, then HTTP), or refused but not ended."""
        return len(self._connecting) + len(self._upgrading)

    def has_room(self) -> bool:
        """Whether both limits let another connection in.

        A server that refuses when it is full accepts beyond ``max_connections``, to send the
        refusal.
        """
        if (
            self._max_connections is not None
            and not self._refuses_when_full
            and len(self) >= self._max_connections
        ):
            return False
        return (
            self._max_pending_handshakes is None
            or self.pending_handshakes < self._max_pending_handshakes
        )

    def add(self, sock: socket.socket, peer: object) -> None:
        """Serve a socket that was just accepted, from the address ``peer``."""
        protocol = ServerProtocol(
            self,
            self._options,
            ServerHandshake(
                self._route, self._options, self._subprotocols, self._server, response_date
            ),
            self._loop,
            self._logger,
            shared_reads=self._shared_reads,
            remote_address=peer,
            totals=self.totals,
        )
        if self._access_log is not None:
            protocol.keep_record()
        began = self._loop.time()
        try:
            connecting = self._backend.connect(sock, protocol)
        except Exception as error:  # noqa: BLE001 - whatever the backend raises
            self._log_failure(peer, error, began)
            self._discard(protocol, sock, 0)
            return
        if connecting is not None:
            task = self._loop.create_task(connecting)
            deadline = TlsDeadline(self._loop, task, self._options.websocket_handshake_timeout)
            self._connecting[protocol] = deadline
            self._arriving_sockets.add(sock)
            done = functools.partial(self._connecting_done, protocol, sock, peer, began, deadline)
            task.add_done_callback(done)
        self._look_at_limits()

    def stop_watching_limits(self) -> None:
        """Log no more about limits: the server is closed."""
        self._connections_watch.stop()
        self._pending_watch.stop()

    def close_all(self, code: int, reason: Optional[str], *, half_open: bool = False) -> None:
        """Start the closing handshake everywhere; endpoints bound it by ``close_timeout``.

        With ``half_open`` those whose opening handshake is not finished are aborted, unless their
        response has begun.
        """
        encode_close_payload(code, reason)  # raises, even if there is no connection
        if half_open:
            self._drop_arriving()

        def close(protocol: ServerProtocol) -> None:
            # It is asked in its turn, because its opening handshake may have ended meanwhile.
            transport = None if protocol in self._connecting else protocol.transport
            if transport is not None and transport.state != WSState.CONNECTING:
                transport.disconnect(code=code, reason=reason)
            elif half_open and protocol not in self._responding:
                self._abort(protocol)

        in_slices(self._loop, self.all_members(), close)

    def close_one(
        self,
        protocol: ServerProtocol,
        code: int,
        reason: Optional[str],
        *,
        waits_for_reader: bool,
    ) -> bool:
        """Start the closing handshake; returns False in the opening handshake, which goes on.

        With ``waits_for_reader`` what is queued before the CLOSE may take longer than
        ``close_timeout``: nothing but :meth:`abort_all` ends the connection then.
        """
        transport = protocol.transport
        if transport is None or transport.state == WSState.CONNECTING:
            return False
        was_open = transport.state == WSState.OPEN
        transport.disconnect(code=code, reason=reason)
        if waits_for_reader and was_open and transport.write_queue_size:
            # Within a callback of the connection, everything waits until it returns.
            self._loop.call_soon(_wait_for_reader, protocol, transport)
        return True

    def all_members(self) -> List[ServerProtocol]:
        """All connections, half-open ones included."""
        return [*self._connecting, *self._connected]

    def descriptors(self) -> List[int]:
        """The numbers of their sockets."""
        found = {sock.fileno() for sock in self._arriving_sockets}
        for protocol in self._connected:
            below = None if protocol.transport is None else protocol.transport.underlying_transport
            sock = None if below is None else below.get_extra_info("socket")
            if sock is not None:
                found.add(sock.fileno())
        return [number for number in found if number >= 0]

    def half_open(self) -> Set[ServerProtocol]:
        """Those that may not have finished their opening handshake."""
        return {*self._connecting, *self._upgrading}

    def abort_all(self, *, at_once: bool = False) -> None:
        """Abort everything; ``at_once`` if the loop may not run any longer."""
        self._drop_arriving()
        protocols = self.all_members()
        if at_once:
            for protocol in protocols:
                self._abort(protocol)
        else:
            in_slices(self._loop, protocols, self._abort)

    def _drop_arriving(self) -> None:
        """Give up what is not a connection yet."""

    def _abort(self, protocol: ServerProtocol) -> None:
        deadline = self._connecting.get(protocol)
        if deadline is not None:
            deadline.task.cancel()
        elif protocol.transport is not None:
            protocol.transport.disconnect(graceful=False)

    def connection_made(self, protocol: ServerProtocol) -> None:
        deadline = self._connecting.pop(protocol, None)
        if deadline is not None:
            deadline.stop()
        self._connected.add(protocol)
        self._upgrading.add(protocol)
        protocol.opened.add_done_callback(functools.partial(self._opened, protocol))

    def connection_lost(self, protocol: ServerProtocol) -> None:
        if self._backend.closes_lost_transports and protocol.transport is not None:
            below = protocol.transport.underlying_transport
            if below is not None:
                below.close()
        self._connected.discard(protocol)
        self._upgrading.discard(protocol)
        self._responding.discard(protocol)
        self._look_at_limits()
        self._released()

    def connection_recorded(self, protocol: ServerProtocol) -> None:
        if self._access_log is not None:
            self._access_log.write(protocol)

    def response_begun(self, protocol: ServerProtocol) -> None:
        self._responding.add(protocol)
        # Nothing else bounds how many a server serves that refuses upgrades when it is full.
        if protocol in self._upgrading and not (self._refuses_when_full and self._is_full()):
            self._upgrading.discard(protocol)
            self._look_at_limits()
            self._released()

    def task_started(self, task: asyncio.Task[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    @property
    def is_idle(self) -> bool:
        """Whether there is neither a connection nor a task."""
        return not (self._connecting or self._connected or self._tasks)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and is_handler_error(task.exception()):
            # Behind the traceback
            self._loop.call_soon(
                self._logger.error, "the listener factory failed because %s", FOR_SERVE
            )
        self._released()

    def _look_at_limits(self) -> None:
        if self._refuses_when_full:
            self._connections_watch.look(len(self._connected) - len(self._upgrading))
        else:
            self._connections_watch.look(len(self))
        self._pending_watch.look(self.pending_handshakes)

    def _is_full(self) -> bool:
        """Whether ``max_connections`` connections are open, or may be when tasks have decided."""
        limit = self._max_connections
        if limit is None or len(self._connected) < limit:
            return False
        if len(self._connected) - len(self._upgrading) + len(self._tasks) >= limit:
            return True  # as nearly always here, so that a flood of upgrades finds no walk
        # Some of those that are upgrading may have opened in this iteration of the loop.
        half_open = sum(protocol.listener is None for protocol in self._upgrading)
        return len(self._connected) - half_open + len(self._tasks) >= limit

    def _opened(
        self, protocol: ServerProtocol, opened: asyncio.Future[Tuple[WSTransport, WSListener]]
    ) -> None:
        # Retrieve the exception, which the endpoint has logged, so that asyncio does not report it.
        if not opened.cancelled() and opened.exception() is None:
            self._upgrading.discard(protocol)
            self._look_at_limits()
            self._released()
            if self.opened is not None:
                self.opened(protocol)

    def _connecting_done(
        self,
        protocol: ServerProtocol,
        sock: socket.socket,
        peer: object,
        began: float,
        deadline: TlsDeadline,
        task: asyncio.Task[object],
    ) -> None:
        deadline.stop()
        error = deadline.error if task.cancelled() else task.exception()
        if error is not None:
            self._log_failure(peer, error, began)
        elif not task.cancelled():
            self._connecting.pop(protocol, None)
            self._arriving_sockets.discard(sock)
            return
        if protocol.transport is not None:
            # The cancellation may have come after the end of the handshake, before its task's end.
            protocol.transport.disconnect(graceful=False)
        self._discard(protocol, sock, _CLOSING_ITERATIONS)

    def _discard(self, protocol: ServerProtocol, sock: socket.socket, iterations: int) -> None:
        # A transport that gives up still watches its socket. If the socket were closed earlier, its
        # number would stay in the selector. If no transport has it, nobody else closes it.
        if iterations and sock.fileno() >= 0:
            self._loop.call_soon(self._discard, protocol, sock, iterations - 1)
            return
        self._arriving_sockets.discard(sock)
        sock.close()
        protocol.give_up()
        self._connecting.pop(protocol, None)
        self._look_at_limits()
        self._released()

    def _log_failure(self, peer: object, error: BaseException, began: float) -> None:
        """Log the only line of a connection that ends here: it never gets to the access log."""
        name = format_address(peer)
        fields = fields_of_failure(name, self._loop.time() - began)
        # No traceback for errors that a peer can cause. An ssl.SSLError is an OSError.
        if isinstance(error, (OSError, asyncio.TimeoutError)):
            self._logger.log(
                logging.WARNING if is_file_failure(error) else logging.INFO,
                "%s: the TLS handshake failed: %s"
                if self._backend.has_tls
                else "%s: the connection was lost before it was served: %s",
                name,
                describe_tls_failure(error),
                extra=fields,
            )
        else:
            self._logger.error(
                "%s: the connection could not be served", name, exc_info=error, extra=fields
            )


def _wait_for_reader(protocol: ServerProtocol, transport: WSTransport) -> None:
    """Let the peer take its time, if it has not read what was queued before the CLOSE."""
    if transport.state != WSState.CLOSED and transport.write_queue_size:
        protocol.drop_deadline()


def _route_with_limit(
    is_full: Callable[[], bool], route: Route, request: WSUpgradeRequest
) -> RouteResult:
    """Refuse upgrades while the server is full; other requests reach the route."""
    if is_full() and is_upgrade(request):
        return WSUpgradeResponse.create_error_response(
            503,
            "The server has no room for another connection.\n",
            {"Retry-After": str(_RETRY_AFTER)},
        )
    return route(request)
