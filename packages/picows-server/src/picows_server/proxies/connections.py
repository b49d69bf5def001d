"""``ProxiedConnections``: connections of which a proxy tells first whose they are."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
from typing import Any, Dict, Optional

from picows_codec import WSUpgradeResponse
from picows_codec.http.upgrade import encode_response_head
from picows_codec.socket_address import SocketAddress, format_address
from picows_server.connections import Connections
from picows_server.logs import fields_of_failure
from picows_server.proxies.header import ProxyHeader, ProxyHeaderError
from picows_server.proxies.networks import TrustedNetworks
from picows_server.response_date import response_date
from picows_server.tls_deadline import TlsDeadline

__all__ = ["ProxiedConnections"]

# Seconds for which a refused peer may read its response.
_LINGER = 1.0
_DISCARDED = 65536


class ProxiedConnections(Connections):
    """The connections of a server with ``proxy_protocol=True``.

    The PROXY protocol's header comes before TLS, so it is read from the socket. Every connection
    must begin with one: "the receiver MUST not try to guess whether the protocol header is present
    or not". It has ``websocket_handshake_timeout`` seconds to arrive.
    """

    def __init__(self, *, proxies: TrustedNetworks, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._proxies = proxies
        # None: nobody wants its result any more, which it may have already.
        self._arriving: Dict[asyncio.Task[SocketAddress], Optional[TlsDeadline]] = {}

    def __len__(self) -> int:
        return super().__len__() + len(self._arriving)

    @property
    def pending_handshakes(self) -> int:
        """Connections before the end of their opening handshake, or refused but not ended."""
        return super().pending_handshakes + len(self._arriving)

    @property
    def is_idle(self) -> bool:
        """Whether there is neither a connection nor a task."""
        return super().is_idle and not self._arriving

    def add(self, sock: socket.socket, peer: object) -> None:
        """Serve a socket that was just accepted, when its header has come."""
        task = self._loop.create_task(self._read_header(sock, peer))
        deadline = TlsDeadline(self._loop, task, self._options.websocket_handshake_timeout)
        self._arriving[task] = deadline
        self._arriving_sockets.add(sock)
        done = functools.partial(self._header_done, sock, peer, self._loop.time())
        task.add_done_callback(done)
        self._look_at_limits()

    def _drop_arriving(self) -> None:
        for task, deadline in self._arriving.items():
            if deadline is not None:
                deadline.stop()
                self._arriving[task] = None
            task.cancel()

    async def _read_header(self, sock: socket.socket, peer: object) -> Any:
        """The address of the client, or of the peer if it speaks for itself."""
        if not self._proxies.hold(peer):
            status = await self._respond(sock, 403, "Connections come through a proxy.\n")
            raise ProxyHeaderError("the peer is not one of trusted_proxies", status)
        header = ProxyHeader()
        try:
            while header.wanted:
                try:
                    data = sock.recv(header.wanted)
                except (BlockingIOError, InterruptedError):
                    data = await self._loop.sock_recv(sock, header.wanted)
                if not data:
                    raise ProxyHeaderError("the connection was closed within the PROXY protocol")
                header.feed(data)
        except ProxyHeaderError as error:
            error.status = await self._respond(
                sock, 400, "The PROXY protocol is wanted before anything else.\n"
            )
            raise
        return peer if header.source is None else header.source

    async def _respond(self, sock: socket.socket, status: int, text: str) -> Optional[int]:
        """Say why the connection is closed, where a peer can read that: the status, else None."""
        if self._backend.has_tls:
            return None
        deadline = self._deadline_of_task()
        if deadline is not None:
            deadline.stop()  # it is refused already, and leaves within _LINGER
        body = text.encode("ascii")
        response = WSUpgradeResponse.create_error_response(status, body)
        data = encode_response_head(response, len(body), response_date()) + body
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            sock.send(data)  # an empty buffer takes it at once
            sock.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(self._discard_rest(sock), _LINGER)
        return status

    def _deadline_of_task(self) -> Optional[TlsDeadline]:
        task: Any = asyncio.current_task()
        return self._arriving.get(task)

    async def _discard_rest(self, sock: socket.socket) -> None:
        # Closing a socket with unread bytes resets the connection: the response would be lost.
        while await self._loop.sock_recv(sock, _DISCARDED):  # noqa: ASYNC110 - it is no poll
            await asyncio.sleep(0)  # sock_recv does not wait while there is something to read

    def _header_done(
        self, sock: socket.socket, peer: object, began: float, task: asyncio.Task[SocketAddress]
    ) -> None:
        deadline = self._arriving.pop(task)
        self._arriving_sockets.discard(sock)
        error = None if task.cancelled() else task.exception()
        if deadline is not None:
            deadline.stop()
            if task.cancelled():
                error = deadline.error
            elif error is None:
                super().add(sock, task.result())
                return
            if error is not None:
                self._log_header(peer, error, began)
        self.totals.failed_before_handshake(getattr(error, "status", None))
        sock.close()
        self._look_at_limits()
        self._released()

    def _log_header(self, peer: object, error: BaseException, began: float) -> None:
        where = format_address(peer)
        fields = fields_of_failure(where, self._loop.time() - began)
        if isinstance(error, ConnectionAbortedError):
            timeout = self._options.websocket_handshake_timeout
            self._logger.info(
                "%s: the PROXY protocol did not come within websocket_handshake_timeout"
                " (%s seconds)",
                where,
                timeout,
                extra=fields,
            )
        elif isinstance(error, (ProxyHeaderError, OSError)):
            self._logger.info("%s: the connection was refused: %s", where, error, extra=fields)
        else:
            self._logger.error(
                "%s: the connection could not be served", where, exc_info=error, extra=fields
            )
