"""Which transport carries a connection: our own stream, aiofastnet's or the loop's."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
import sys
from typing import Any, ContextManager, Coroutine, Dict, Iterable, Optional

from picows_codec import WSInvalidOptionError
from picows_codec.readiness import has_readers
from picows_codec.tls import ENGINE_TIMEOUT, ContextCheck, FastnetLoop, log_loop_tls
from picows_server.logs import Logger
from picows_server.protocol import ServerProtocol
from picows_server.session_context import set_session_context

try:
    from picows_codec.stream import Poller, attach
except ImportError:  # pragma: no cover - no readiness-driven sockets on this platform
    HAS_STREAM = False
else:
    HAS_STREAM = True

try:
    from aiofastnet import connect_accepted_socket
except ImportError:  # pragma: no cover - needs Python 3.9
    HAS_AIOFASTNET = False
else:
    HAS_AIOFASTNET = True

__all__ = ["Backend", "ServerTls", "choose_backend"]

# By default aiofastnet gives every connection two static buffers, half a megabyte together. With
# four TLS records each (16 KiB and room for headers) a server can hold many connections; only used
# pages are resident. More than four make large messages no faster, and two make them slower.
_TLS_BUFFER_SIZE = 4 * (16 * 1024 + 64)

_CHECK = ContextCheck(ssl.SSLContext)


class ServerTls:
    """TLS of a server: its context, and how long a shutdown may take.

    ``shutdown_timeout`` is in seconds; None leaves it to the backend, which waits for half a
    minute.
    """

    __slots__ = ("context", "shutdown_timeout")

    def __init__(self, context: ssl.SSLContext, shutdown_timeout: Optional[float]) -> None:
        self.context = context
        self.shutdown_timeout = shutdown_timeout


class Backend:
    """Puts a transport between an accepted socket and a protocol. One object per server."""

    name = ""
    has_tls = False
    # Whether a transport wants close() even after it has called connection_lost.
    closes_lost_transports = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def connect(
        self, sock: socket.socket, protocol: ServerProtocol
    ) -> Optional[Coroutine[Any, Any, object]]:
        """Call ``connection_made`` of ``protocol``, at once or in the returned coroutine.

        The transport owns ``sock`` from then on. A coroutine that fails, or is cancelled,
        closes the transport that it had made; the caller closes the socket.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Release what the connections shared, when all of them have ended."""


class StreamBackend(Backend):
    """``picows_codec.stream``, on Linux with one epoll descriptor for all connections."""

    name = "stream"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._poller = Poller(loop) if sys.platform == "linux" else None

    def connect(self, sock: socket.socket, protocol: ServerProtocol) -> None:
        attach(self._loop, sock, protocol, poller=self._poller)

    def close(self) -> None:
        if self._poller is not None:
            self._poller.close()
            self._poller = None


class LoopBackend(Backend):
    """The event loop's own transports, plain or TLS."""

    name = "loop"
    # asyncio's TLS transports emit a ResourceWarning otherwise, whoever ended the connection.
    closes_lost_transports = sys.version_info < (3, 11)

    def __init__(self, loop: asyncio.AbstractEventLoop, tls: Optional[ServerTls]) -> None:
        super().__init__(loop)
        self.has_tls = tls is not None
        self._arguments: Dict[str, Any] = {}
        if tls is not None:
            self._arguments = {
                "ssl": tls.context,
                "ssl_handshake_timeout": ENGINE_TIMEOUT,
            }
            if sys.version_info >= (3, 11):
                self._arguments["ssl_shutdown_timeout"] = tls.shutdown_timeout

    def connect(self, sock: socket.socket, protocol: ServerProtocol) -> Coroutine[Any, Any, object]:
        return self._loop.connect_accepted_socket(lambda: protocol, sock, **self._arguments)


class FastnetBackend(Backend):
    """aiofastnet's transports, plain or TLS.

    aiofastnet cannot use a context on which a callback is set later. From then on the loop carries
    the connections, and the log says so once.

    The poller is that of ``sibling``, which has another context of the same server.
    """

    name = "aiofastnet"
    closes_lost_transports = LoopBackend.closes_lost_transports

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tls: Optional[ServerTls],
        logger: Logger,
        sibling: Optional[FastnetBackend] = None,
    ) -> None:
        self._poller: Optional[Poller] = None
        adapted: Any = loop
        if sibling is not None:
            adapted = sibling._loop  # noqa: SLF001 - with its poller, which it closes
        elif has_readers(loop):  # with a proactor aiofastnet checks the loop's type
            self._poller = Poller(loop) if sys.platform == "linux" else None
            adapted = FastnetLoop(loop, self._poller)
        super().__init__(adapted)
        self._logger = logger
        self.has_tls = tls is not None
        self._context = None if tls is None else tls.context
        self._why_not = functools.partial(_CHECK.why_not, self._context)
        self._stand_in = LoopBackend(loop, tls)
        self._has_noted = False
        self._arguments: Dict[str, Any] = {}
        if tls is not None:
            set_session_context(tls.context)
            self._arguments = {
                "ssl": tls.context,
                "ssl_handshake_timeout": ENGINE_TIMEOUT,
                "ssl_shutdown_timeout": tls.shutdown_timeout,
                "ssl_incoming_bio_size": _TLS_BUFFER_SIZE,
                "ssl_outgoing_bio_size": _TLS_BUFFER_SIZE,
            }

    def connect(self, sock: socket.socket, protocol: ServerProtocol) -> Coroutine[Any, Any, object]:
        if self._context is not None:
            reason = _CHECK.why_not(self._context)
            if reason is not None:
                if not self._has_noted:
                    self._has_noted = True
                    log_loop_tls(self._logger, reason)
                return self._stand_in.connect(sock, protocol)
            if isinstance(self._loop, FastnetLoop):
                return self._shake_hands(sock, protocol)
        return connect_accepted_socket(self._loop, lambda: protocol, sock, **self._arguments)

    async def _shake_hands(self, sock: socket.socket, protocol: ServerProtocol) -> object:
        with self._guarding(sock):
            return await connect_accepted_socket(
                self._loop, lambda: protocol, sock, **self._arguments
            )

    def _guarding(self, sock: socket.socket) -> ContextManager[None]:
        loop: Any = self._loop
        task: Any = asyncio.current_task()
        guarding: ContextManager[None] = loop.guarding(sock.fileno(), self._why_not, task.cancel)
        return guarding

    def close(self) -> None:
        if self._poller is not None:
            self._poller.close()
            self._poller = None


def choose_backend(
    name: str,
    loop: asyncio.AbstractEventLoop,
    tls: Optional[ServerTls],
    logger: Logger,
    siblings: Iterable[Backend] = (),
) -> Backend:
    """Make the backend called ``name``, or for ``"auto"`` the fastest that can serve.

    ``logger`` logs if that is the loop because aiofastnet cannot use the TLS context. ``siblings``
    were made for other contexts of the same server, and are closed together with this one.

    Raises :class:`WSInvalidOptionError` with the reason if the named backend cannot serve.
    """
    if not isinstance(name, str):
        raise TypeError(f"backend must be a str, not {type(name).__name__}")
    if name == "auto":
        name = _fastest(loop, tls, logger)
    if name == "stream":
        reason = _why_not_stream(loop, tls)
        if reason is not None:
            raise WSInvalidOptionError(f"backend='stream' is not available: {reason}")
        return StreamBackend(loop)
    if name == "aiofastnet":
        if not HAS_AIOFASTNET:
            raise WSInvalidOptionError(
                "backend='aiofastnet' is not available: the package is not installed "
                "(it needs Python 3.9 or newer)"
            )
        if tls is not None:
            _CHECK.check(tls.context)
        sibling = next((each for each in siblings if isinstance(each, FastnetBackend)), None)
        return FastnetBackend(loop, tls, logger, sibling)
    if name == "loop":
        return LoopBackend(loop, tls)
    raise WSInvalidOptionError(
        f"backend must be 'auto', 'stream', 'aiofastnet' or 'loop', not {name!r}"
    )


def _fastest(loop: asyncio.AbstractEventLoop, tls: Optional[ServerTls], logger: Logger) -> str:
    if _why_not_stream(loop, tls) is None:
        return "stream"
    if tls is None or not HAS_AIOFASTNET:
        return "loop"
    reason = _CHECK.why_not(tls.context)
    if reason is None:
        return "aiofastnet"
    log_loop_tls(logger, reason)
    return "loop"


def _why_not_stream(loop: asyncio.AbstractEventLoop, tls: Optional[ServerTls]) -> Optional[str]:
    if tls is not None:
        return "it carries plain sockets, not TLS"
    if not HAS_STREAM:
        return "picows_codec.stream does not exist on this platform"
    if not has_readers(loop):
        return f"{type(loop).__name__} cannot watch sockets (no add_reader)"
    return None
