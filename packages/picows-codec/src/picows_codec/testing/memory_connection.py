"""One endpoint over a memory transport and a fake loop: the test is the network and the clock."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Tuple, Type, Union

from picows_codec.connection.endpoint import WSEndpoint
from picows_codec.disconnect import WSDisconnectCause
from picows_codec.http.client_handshake import ClientHandshake
from picows_codec.http.server_handshake import ServerHandshake
from picows_codec.options import WSOptions
from picows_codec.testing.clock import FakeLoop
from picows_codec.testing.frames import (
    CLOSE,
    KEY,
    Frame,
    build,
    close_payload,
    parse_all,
    upgrade_request,
    upgrade_response,
)
from picows_codec.testing.memory_transport import MemoryTransport
from picows_codec.totals import Totals
from picows_codec.transport import WSTransport

__all__ = ["HeaderPairs", "MemoryConnection", "MemoryLog", "MemoryProtocol", "pairs_of"]

HeaderPairs = Union[Iterable[Tuple[str, str]], Mapping[str, str]]


def pairs_of(headers: HeaderPairs) -> List[Tuple[str, str]]:
    """Return headers, a mapping or pairs, as a list of pairs."""
    return list(headers.items() if isinstance(headers, Mapping) else headers)


class MemoryLog:
    """A logger that keeps lines, and the exceptions of listeners with their tracebacks."""

    def __init__(self) -> None:
        self.lines: List[str] = []
        self.errors: List[Tuple[BaseException, Any]] = []

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        """True: DEBUG lines are kept, too."""
        return True

    def debug(
        self, message: str, *args: object, exc_info: object = None, extra: object = None
    ) -> None:
        """Keep a line."""
        self.lines.append(message % args)

    info = debug

    def error(
        self,
        message: str,
        *args: object,
        exc_info: Optional[BaseException] = None,
        extra: object = None,
    ) -> None:
        """Keep a line, and the exception."""
        self.lines.append(message % args)
        if exc_info is not None:
            # The endpoint removes the traceback of what it keeps.
            self.errors.append((exc_info, exc_info.__traceback__))


class MemoryProtocol(WSEndpoint, asyncio.BufferedProtocol):
    """The endpoint as asyncio's protocol."""

    __slots__ = ()


class MemoryConnection:
    """An endpoint with its transport and loop, not open yet: see ``start`` and ``open``.

    :param role: ``"client"`` or ``"server"``: which end is the endpoint.
    :param factory: called with request and response (client), or request, for the listener.
    :param loop: where callbacks run; by default a :class:`FakeLoop` of its own.
    :param clock: instead of the loop's time.
    :param target: path and query.
    :param host: the Host header.
    :param headers: those of the endpoint's own request.
    :param subprotocols: those that the endpoint offers or speaks.
    :param peer_headers: further headers of the peer's request or response.
    :param totals: to which the endpoint adds what it does.
    :param transport_options: for :class:`MemoryTransport`.
    :param options: those of the connection.
    """

    def __init__(
        self,
        role: str,
        factory: Callable[..., Any],
        *,
        logger: Any,
        loop: Any = None,
        clock: Optional[Callable[[], float]] = None,
        shared_reads: bool = True,
        target: str = "/",
        host: str = "localhost",
        headers: HeaderPairs = (),
        subprotocols: Iterable[str] = (),
        peer_headers: HeaderPairs = (),
        transport_options: Optional[Dict[str, Any]] = None,
        protocol_class: Type[WSEndpoint] = MemoryProtocol,
        totals: Optional[Totals] = None,
        transport_class: Optional[Type[MemoryTransport]] = None,
        **options: Any,
    ) -> None:
        if clock is not None and (isinstance(clock, type) or not callable(clock)):
            raise TypeError(f"clock must be a FakeClock() or another callable, not {clock!r}")
        self.role = role
        found: Any = FakeLoop() if loop is None else loop
        self.loop = found
        self._target = target
        self._peer_headers = b"".join(
            f"{name}: {value}\r\n".encode() for name, value in pairs_of(peer_headers)
        )
        options_object = WSOptions(**options)
        handshake: Any
        if role == "client":
            handshake = ClientHandshake(
                target, host, factory, options_object, headers, tuple(subprotocols)
            )
        else:
            handshake = ServerHandshake(factory, options_object, tuple(subprotocols))
        self.endpoint: Any = protocol_class(
            options_object,
            handshake,
            self.loop,
            logger,
            clock=clock,
            shared_reads=shared_reads,
            totals=totals,
        )
        transport: Any = self.endpoint.transport
        self.ws: WSTransport = transport
        make_transport = transport_class or MemoryTransport
        self.network = make_transport(self.loop, self.endpoint, **transport_options or {})
        self._seen = 0

    def start(self) -> None:
        """Call ``connection_made``."""
        with self._running():
            self.network.start()
        self.run_ready()

    def opening_bytes(self) -> bytes:
        """What the peer sends to complete the opening handshake."""
        if self.role == "server":
            return upgrade_request(self._target, self._peer_headers)
        request = self.network.written
        return upgrade_response(request, self._peer_headers) if request else b""

    def open(self, tail: bytes = b"") -> None:
        """The peer completes the opening handshake; ``tail`` comes in the same read."""
        self._seen = len(self.network.written)
        self.feed(self.opening_bytes() + tail)
        if self.role == "server" and self.network.written:
            self._seen = self.network.written.index(b"\r\n\r\n") + 4

    # The network

    @property
    def key(self) -> Optional[bytes]:
        """The masking key of the peer's frames."""
        return KEY if self.role == "server" else None

    def build(self, opcode: int, payload: bytes = b"", **options: Any) -> bytes:
        """Return a frame of the peer; ``options`` are those of :func:`build`."""
        options.setdefault("key", self.key)
        return build(opcode, payload, **options)

    def feed(self, *pieces: bytes) -> None:
        """Bytes of the peer arrive, each piece in a read of its own."""
        for piece in pieces:
            with self._running():
                self.network.feed(piece)
        self.run_ready()

    def receive_close(self, code: int = 1000, reason: Union[str, bytes] = b"") -> None:
        """A CLOSE frame of the peer arrives."""
        if isinstance(reason, str):
            reason = reason.encode()
        self.feed(self.build(CLOSE, close_payload(code, reason)))

    def feed_eof(self) -> None:
        """The peer sends no more."""
        with self._running():
            self.network.feed_eof()
        self.run_ready()

    def lose(self, exc: Optional[BaseException] = None) -> None:
        """The connection breaks, with this error or without one."""
        self.network.lose(exc)
        self.run_ready()

    def drain(self, size: Optional[int] = None) -> None:
        """The kernel takes so many bytes of the write queue, or all of it."""
        with self._running():
            self.network.drain(size)
        self.run_ready()

    # What came of it

    def sent_bytes(self) -> bytes:
        """Return the bytes written since the last call. This ends the loop iteration."""
        self.run_ready()
        written = self.network.written
        new = written[self._seen :]
        self._seen = len(written)
        return new

    def new_frames(self) -> List[Frame]:
        """Return the frames written since the last look, without their masking keys."""
        found, rest = parse_all(self.sent_bytes())
        if rest or any((frame.key is not None) != (self.role == "client") for frame in found):
            raise AssertionError(
                f"the connection wrote what is no frame of a {self.role}: {rest!r}"
            )
        return [Frame(frame.opcode, frame.payload, frame.fin, frame.rsv) for frame in found]

    @property
    def cause(self) -> Optional[WSDisconnectCause]:
        """How the connection ended; None while it has not."""
        return self.ws.disconnect_cause

    def _running(self) -> AbstractContextManager[Any]:
        return self.loop.running() if isinstance(self.loop, FakeLoop) else nullcontext()

    def run_ready(self) -> None:
        """Run what is due in a fake loop."""
        if isinstance(self.loop, FakeLoop):
            self.loop.run_ready()
