"""Which transport carries a connection: our own stream, aiofastnet's or the loop's.

After a failure in here :mod:`picows_client.teardown` closes the socket, because a transport that
gives up closes it only in a later iteration of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
import sys
from typing import Any, ContextManager, Dict, Optional, Sequence, Union
from weakref import WeakSet

from picows_client.dialogue import TransportDialogue
from picows_client.logs import Logger
from picows_client.protocol import ClientProtocol
from picows_client.tasks import undisturbed
from picows_client.tls import ClientTls, naming_failures
from picows_codec import WSInvalidOptionError
from picows_codec.readiness import has_readers
from picows_codec.tls import ENGINE_TIMEOUT, ContextCheck, FastnetLoop, log_loop_tls

try:
    from picows_codec.stream import attach
except ImportError:  # pragma: no cover - no readiness-driven sockets on this platform
    HAS_STREAM = False
else:
    HAS_STREAM = True

try:
    import aiofastnet
except ImportError:  # pragma: no cover - needs Python 3.9
    HAS_AIOFASTNET = False
else:
    HAS_AIOFASTNET = True

__all__ = ["Backend", "check_backend_name", "choose_backend"]

AnyProtocol = Union[ClientProtocol, TransportDialogue]

_NAMES = ("auto", "stream", "aiofastnet", "loop")

_CHECK = ContextCheck(ssl.SSLContext)

# Contexts for which the log has said that aiofastnet does not carry them.
_NOTED: WeakSet[ssl.SSLContext] = WeakSet()


class Backend:
    """Puts a transport under a protocol and calls its ``connection_made``."""

    name = ""
    # Whether connect() never waits for anything.
    connects_at_once = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def connect(
        self, sock: socket.socket, protocol: AnyProtocol, tls: Optional[ClientTls]
    ) -> None:
        """Make a transport over ``sock``, which belongs to it from then on."""
        raise NotImplementedError

    async def start_tls(
        self, outer: TransportDialogue, protocol: AnyProtocol, tls: ClientTls
    ) -> None:
        """Make a transport that does TLS inside the one of ``outer``."""
        outer.check_open()
        # Not the protocol itself, which could get bytes, or be told of the end, before it begins.
        inner = TransportDialogue(self._loop)
        with naming_failures(tls):
            inner.connection_made(await self._start_tls(outer.transport, inner, tls))
        inner.hand_over(protocol)

    async def _start_tls(
        self, transport: asyncio.Transport, protocol: asyncio.BaseProtocol, tls: ClientTls
    ) -> asyncio.Transport:
        raise NotImplementedError


class StreamBackend(Backend):
    """``picows_codec.stream``: plain sockets, without a Python call per read."""

    name = "stream"
    connects_at_once = True

    async def connect(
        self, sock: socket.socket, protocol: AnyProtocol, tls: Optional[ClientTls]
    ) -> None:
        if not isinstance(protocol, ClientProtocol):  # pragma: no cover - it always is one
            raise TypeError("picows_codec.stream serves endpoints only")
        attach(self._loop, sock, protocol)


class FastnetBackend(Backend):
    """aiofastnet's transports; its default buffers (half a megabyte) fit a client."""

    name = "aiofastnet"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        # With a proactor aiofastnet checks the loop's type.
        self._adapted: Any = FastnetLoop(loop) if has_readers(loop) else loop

    async def connect(
        self, sock: socket.socket, protocol: AnyProtocol, tls: Optional[ClientTls]
    ) -> None:
        arguments: Dict[str, Any] = {}
        if tls is not None:
            _CHECK.check(tls.context)
            arguments = {
                "ssl": tls.context,
                "server_hostname": tls.server_name,
                "ssl_handshake_timeout": ENGINE_TIMEOUT,
                "ssl_shutdown_timeout": tls.shutdown_timeout,
            }
        with naming_failures(tls), self._guarding(sock, tls):
            await aiofastnet.create_connection(
                self._adapted, lambda: protocol, sock=sock, **arguments
            )

    async def _start_tls(
        self, transport: asyncio.Transport, protocol: asyncio.BaseProtocol, tls: ClientTls
    ) -> asyncio.Transport:
        _CHECK.check(tls.context)
        with self._guarding(transport.get_extra_info("socket"), tls):
            return await aiofastnet.start_tls(
                self._adapted,
                transport,
                protocol,
                tls.context,
                server_hostname=tls.server_name,
                ssl_handshake_timeout=ENGINE_TIMEOUT,
                ssl_shutdown_timeout=tls.shutdown_timeout,
            )

    def _guarding(self, sock: Any, tls: Optional[ClientTls]) -> ContextManager[None]:
        if tls is None or not isinstance(self._adapted, FastnetLoop):
            return contextlib.nullcontext()
        task: Any = asyncio.current_task()
        why_not = functools.partial(_CHECK.why_not, tls.context)
        return self._adapted.guarding(sock.fileno(), why_not, task.cancel)


class LoopBackend(Backend):
    """The event loop's own transports."""

    name = "loop"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._takes_numbers = type(loop).__module__.partition(".")[0] == "uvloop"

    async def connect(
        self, sock: socket.socket, protocol: AnyProtocol, tls: Optional[ClientTls]
    ) -> None:
        if not self._takes_numbers:
            await self._connect(sock, protocol, tls)
            return
        # uvloop gets a duplicate, because it closes the descriptor, but not the socket object if
        # the peer resets at once. The number could be another connection's when that is closed.
        given = sock.dup()
        try:
            await self._connect(given, protocol, tls)
        except BaseException:
            given.detach()
            raise
        sock.close()

    async def _connect(
        self, sock: socket.socket, protocol: AnyProtocol, tls: Optional[ClientTls]
    ) -> None:
        is_unix = sock.family == getattr(socket, "AF_UNIX", None)
        create = self._loop.create_unix_connection if is_unix else self._loop.create_connection
        if tls is not None:
            with naming_failures(tls):
                await create(lambda: protocol, sock=sock, ssl=tls.context, **_loop_arguments(tls))
        else:
            # It takes two loop iterations. A cancellation between them must wait, because uvloop
            # would not tell the protocol, and before 0.23 would close the descriptor twice.
            await undisturbed(create(lambda: protocol, sock=sock))

    async def _start_tls(
        self, transport: asyncio.Transport, protocol: asyncio.BaseProtocol, tls: ClientTls
    ) -> asyncio.Transport:
        try:
            inner = await self._loop.start_tls(
                transport, protocol, tls.context, **_loop_arguments(tls)
            )
        except TypeError as error:  # pragma: no cover - of some versions of asyncio only
            if isinstance(error.__context__, OSError):
                # asyncio 3.11 and newer raises a wrong error if a handshake inside TLS fails.
                raise error.__context__ from None
            raise WSInvalidOptionError(
                "TLS inside TLS (a wss:// URL through an https:// proxy) needs aiofastnet, uvloop"
                " or Python 3.11"
            ) from error
        if inner is None:  # pragma: no cover - of some versions of asyncio only
            raise ConnectionResetError("the connection was lost during the TLS handshake")
        return inner


def _loop_arguments(tls: ClientTls) -> Dict[str, Any]:
    arguments: Dict[str, Any] = {
        "server_hostname": tls.server_name,
        "ssl_handshake_timeout": ENGINE_TIMEOUT,
    }
    if sys.version_info >= (3, 11):
        arguments["ssl_shutdown_timeout"] = tls.shutdown_timeout
    return arguments


def check_backend_name(name: str) -> None:
    """Raise TypeError or WSInvalidOptionError unless there is a backend of this name."""
    if not isinstance(name, str):
        raise TypeError(f"backend must be a str, not {type(name).__name__}")
    if name not in _NAMES:
        choice = ", ".join(map(repr, _NAMES))
        raise WSInvalidOptionError(f"backend must be one of {choice}, not {name!r}")


def choose_backend(
    name: str,
    loop: asyncio.AbstractEventLoop,
    contexts: Sequence[ssl.SSLContext],
    logger: Logger,
) -> Backend:
    """Make the backend called ``name``, or for ``"auto"`` the fastest that can serve.

    ``contexts`` are those of the connection: the server's, an ``https://`` proxy's, or none.
    ``logger`` logs, once for each context, that ``"auto"`` had to take the loop's TLS.

    Raises :class:`WSInvalidOptionError` with the reason if the named backend cannot serve.
    """
    check_backend_name(name)
    why_not_stream = _why_not_stream(loop, bool(contexts))
    if name == "auto":
        if why_not_stream is None:
            name = "stream"
        elif contexts and HAS_AIOFASTNET and _are_carried(contexts, logger):
            name = "aiofastnet"
        else:
            name = "loop"
    if name == "loop":
        return LoopBackend(loop)
    if name == "stream":
        if why_not_stream is not None:
            raise WSInvalidOptionError(f"backend='stream' is not available: {why_not_stream}")
        return StreamBackend(loop)
    if not HAS_AIOFASTNET:
        raise WSInvalidOptionError(
            "backend='aiofastnet' is not available: the package is not installed (it needs"
            " Python 3.9 or newer)"
        )
    for context in contexts:
        _CHECK.check(context)
    return FastnetBackend(loop)


def _are_carried(contexts: Sequence[ssl.SSLContext], logger: Logger) -> bool:
    for context in contexts:
        reason = _CHECK.why_not(context)
        if reason is not None:
            if context not in _NOTED:
                _NOTED.add(context)
                log_loop_tls(logger, reason)
            return False
    return True


def _why_not_stream(loop: asyncio.AbstractEventLoop, needs_tls: bool) -> Optional[str]:
    if needs_tls:
        return "it carries plain sockets, not TLS"
    if not HAS_STREAM:
        return "picows_codec.stream does not exist on this platform"
    if not has_readers(loop):
        return f"{type(loop).__name__} cannot watch sockets (no add_reader)"
    return None
