"""The transports of a server that has a TLS context for each name."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Coroutine, Dict, Mapping, Optional

from picows_codec import WSInvalidOptionError
from picows_codec.log_text import quoted
from picows_server.backend import Backend, LoopBackend, ServerTls, choose_backend
from picows_server.logs import Logger
from picows_server.protocol import ServerProtocol
from picows_server.sni.client_hello import UNRECOGNIZED_NAME, ClientHelloError, encode_alert
from picows_server.sni.names import checked_contexts, find_by_name
from picows_server.sni.peeking import peek_client_hello

__all__ = ["BackendByName", "choose_backend_by_name"]

# Seconds for which a refused client may read its alert, or the end.
_LINGER = 1.0
_DISCARDED = 65536


class BackendByName(Backend):
    """Chooses by the name that a client sends before TLS starts; ``table`` has one for each."""

    has_tls = True
    closes_lost_transports = LoopBackend.closes_lost_transports

    def __init__(self, loop: asyncio.AbstractEventLoop, table: Mapping[str, Backend]) -> None:
        super().__init__(loop)
        self._table = dict(table)
        names = {backend.name for backend in table.values()}
        # With contexts that need the loop among others, the name is that of the faster one.
        self.name = min(names)

    def connect(self, sock: socket.socket, protocol: ServerProtocol) -> Coroutine[Any, Any, object]:
        return self._connect(sock, protocol)

    async def _connect(self, sock: socket.socket, protocol: ServerProtocol) -> object:
        try:
            hello = await peek_client_hello(self._loop, sock)
        except ClientHelloError as error:
            await self._refuse(sock, error.alert)
            raise ConnectionAbortedError(str(error)) from None
        backend = find_by_name(self._table, hello.server_name)
        if backend is None:
            await self._refuse(sock, UNRECOGNIZED_NAME)
            raise ConnectionAbortedError(
                "the client sends no server name, and ssl_context has no '*'"
                if hello.server_name is None
                else f"ssl_context has no {quoted(hello.server_name)}, the server name sent"
            )
        connecting: Any = backend.connect(sock, protocol)  # a coroutine, because of TLS
        return await connecting

    async def _refuse(self, sock: socket.socket, alert: Optional[int]) -> None:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            if alert is not None:
                sock.send(encode_alert(alert))  # an empty buffer takes it at once
            sock.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(self._discard(sock), _LINGER)

    async def _discard(self, sock: socket.socket) -> None:
        # Closing a socket with unread bytes resets the connection: the alert would be lost.
        while await self._loop.sock_recv(sock, _DISCARDED):  # noqa: ASYNC110 - it is no poll
            await asyncio.sleep(0)  # sock_recv does not wait while there is something to read

    def close(self) -> None:
        for backend in self._table.values():
            backend.close()


def choose_backend_by_name(
    name: str,
    loop: asyncio.AbstractEventLoop,
    contexts: Mapping[str, Any],
    shutdown_timeout: Optional[float],
    logger: Logger,
) -> Backend:
    """Make the backend called ``name`` for each context of a mapping of server names.

    Raises :class:`WSInvalidOptionError` and :class:`TypeError`.
    """
    made: Dict[int, Backend] = {}
    table: Dict[str, Backend] = {}
    try:
        for server_name, context in checked_contexts(contexts).items():
            backend = made.get(id(context))
            if backend is None:
                tls = ServerTls(context, shutdown_timeout)
                try:
                    backend = choose_backend(name, loop, tls, logger, siblings=made.values())
                except WSInvalidOptionError as error:
                    raise WSInvalidOptionError(f"ssl_context[{server_name!r}]: {error}") from None
                made[id(context)] = backend
            table[server_name] = backend
    except BaseException:
        for backend in made.values():
            backend.close()
        raise
    return BackendByName(loop, table)
