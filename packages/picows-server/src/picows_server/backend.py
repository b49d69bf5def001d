"""Which transport carries a connection: our own stream, aiofastnet's or the loop's."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from typing import TYPE_CHECKING, Any, Coroutine, Dict, Optional

from picows_codec import WSInvalidOptionError

try:
    from picows_codec.stream import Poller, attach
except ImportError:  # no readiness-driven sockets on this platform
    HAS_STREAM = False
else:
    HAS_STREAM = True

try:
    from aiofastnet import connect_accepted_socket
except ImportError:  # needs Python 3.9
    HAS_AIOFASTNET = False
else:
    HAS_AIOFASTNET = True

if TYPE_CHECKING:
    from picows_server.connections import ServerProtocol

__all__ = ["Backend", "TlsSettings", "choose_backend", "has_readers"]

# aiofastnet gives every connection two static buffers of half a megabyte altogether. Four TLS
# records each (16 KiB and room for their headers) let a server hold many connections: only pages
# that were used are resident. More than four make large messages no faster, two make them slower.
_TLS_BUFFER_SIZE = 4 * (16 * 1024 + 64)


class TlsSettings:
    """TLS of a server: its context, and how long a handshake and a shutdown may take.

    ``handshake_timeout`` and ``shutdown_timeout`` are in seconds; None leaves them to the
    backend, which waits for a minute and for half of one.
    """

    __slots__ = ("context", "handshake_timeout", "shutdown_timeout")

    def __init__(
        self,
        context: ssl.SSLContext,
        handshake_timeout: Optional[float],
        shutdown_timeout: Optional[float],
    ) -> None:
        self.context = context
        self.handshake_timeout = handshake_timeout
        self.shutdown_timeout = shutdown_timeout


class Backend:
    """Puts a transport between an accepted socket and a protocol. One object per server."""

    name = ""
    # Whether a transport wants close() even after it has called connection_lost.
    closes_lost_transports = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def connect(
        self, sock: socket.socket, protocol: ServerProtocol
    ) -> Optional[Coroutine[Any, Any, object]]:
        """Call ``connection_made`` of ``protocol``, at once or in the returned coroutine.

        The transport owns ``sock`` from then on. A coroutine that fails, or is cancelled,
        closes whatever transport it had made; the socket is the caller's to close.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what the connections shared; none of them is left."""


class StreamBackend(Backend):
    """``picows_codec.stream``, on Linux with one epoll descriptor for all of them."""

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


class _FastnetLoop:
    """The loop as aiofastnet's transports see it.

    A peer that hangs up is nothing to report: aiofastnet (1.2) reports a connection that ends
    during the TLS handshake to the loop's exception handler, as the class ConnectionResetError
    where an exception is expected. Every port scan would be an error with a traceback.

    With a poller one event of the loop serves all connections that are ready.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, poller: Optional[Poller]) -> None:
        self._loop = loop
        if poller is not None:
            self.add_reader = poller.add_reader
            self.remove_reader = poller.remove_reader
            self.add_writer = poller.add_writer
            self.remove_writer = poller.remove_writer

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._loop, name)
        # The next look-up finds it here, without this detour.
        setattr(self, name, value)
        return value

    def call_exception_handler(self, context: Dict[str, Any]) -> None:
        if context.get("exception") is not ConnectionResetError:
            self._loop.call_exception_handler(context)


class FastnetBackend(Backend):
    """aiofastnet's transports, plain or TLS."""

    name = "aiofastnet"

    def __init__(self, loop: asyncio.AbstractEventLoop, tls: Optional[TlsSettings]) -> None:
        self._poller: Optional[Poller] = None
        adapted: Any = loop
        if has_readers(loop):  # with a proactor aiofastnet looks at the loop's type
            self._poller = Poller(loop) if sys.platform == "linux" else None
            adapted = _FastnetLoop(loop, self._poller)
        super().__init__(adapted)
        self._arguments: Dict[str, Any] = {}
        if tls is not None:
            self._arguments = {
                "ssl": tls.context,
                "ssl_handshake_timeout": tls.handshake_timeout,
                "ssl_shutdown_timeout": tls.shutdown_timeout,
                "ssl_incoming_bio_size": _TLS_BUFFER_SIZE,
                "ssl_outgoing_bio_size": _TLS_BUFFER_SIZE,
            }

    def connect(self, sock: socket.socket, protocol: ServerProtocol) -> Coroutine[Any, Any, object]:
        return connect_accepted_socket(self._loop, lambda: protocol, sock, **self._arguments)

    def close(self) -> None:
        if self._poller is not None:
            self._poller.close()
            self._poller = None


class LoopBackend(Backend):
    """The event loop's own transports, plain or TLS."""

    name = "loop"
    # asyncio's TLS transports emit a ResourceWarning otherwise, whoever ended the connection.
    closes_lost_transports = sys.version_info < (3, 11)

    def __init__(self, loop: asyncio.AbstractEventLoop, tls: Optional[TlsSettings]) -> None:
        super().__init__(loop)
        self._arguments: Dict[str, Any] = {}
        if tls is not None:
            self._arguments = {
                "ssl": tls.context,
                "ssl_handshake_timeout": tls.handshake_timeout,
            }
            if sys.version_info >= (3, 11):
                self._arguments["ssl_shutdown_timeout"] = tls.shutdown_timeout

    def connect(self, sock: socket.socket, protocol: ServerProtocol) -> Coroutine[Any, Any, object]:
        return self._loop.connect_accepted_socket(lambda: protocol, sock, **self._arguments)


def has_readers(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the loop reports readiness (uvloop, selector loops) or completion (proactor)."""
    return type(loop).add_reader is not asyncio.AbstractEventLoop.add_reader


def choose_backend(
    name: str, loop: asyncio.AbstractEventLoop, tls: Optional[TlsSettings]
) -> Backend:
    """Make the backend called ``name``, or with ``"auto"`` the fastest that serves here.

    Raises :class:`WSInvalidOptionError` with the reason where that one cannot serve.
    """
    if not isinstance(name, str):
        raise TypeError(f"backend must be a str, not {type(name).__name__}")
    if name == "auto":
        if _why_not_stream(loop, tls) is None:
            name = "stream"
        else:
            name = "aiofastnet" if tls is not None and HAS_AIOFASTNET else "loop"
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
        return FastnetBackend(loop, tls)
    if name == "loop":
        return LoopBackend(loop, tls)
    raise WSInvalidOptionError(
        f"backend must be 'auto', 'stream', 'aiofastnet' or 'loop', not {name!r}"
    )


def _why_not_stream(loop: asyncio.AbstractEventLoop, tls: Optional[TlsSettings]) -> Optional[str]:
    if tls is not None:
        return "it carries plain sockets, not TLS"
    if not HAS_STREAM:
        return "picows_codec.stream does not exist on this platform"
    if not has_readers(loop):
        return f"{type(loop).__name__} cannot watch sockets (no add_reader)"
    return None
