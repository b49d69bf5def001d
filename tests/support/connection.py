"""One endpoint over a memory transport and a fake loop: the test is the network and the clock."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

import pytest

from picows_codec import (
    ClientHandshake,
    ServerHandshake,
    WSDisconnectCause,
    WSDisconnectKind,
    WSEndpoint,
    WSFrame,
    WSListener,
    WSOptions,
    WSTransport,
)
from tests.support import frames
from tests.support.clock import FakeLoop
from tests.support.frames import Frame
from tests.support.memory import MemoryTransport

__all__ = [
    "Connection",
    "Log",
    "Recorder",
    "both_roles",
    "both_ways_of_reading",
    "failure_of",
    "finish_closing",
    "kind_of",
    "pings",
]

both_roles = pytest.mark.parametrize("role", ["client", "server"])
both_ways_of_reading = pytest.mark.parametrize("buffered", [True, False])


class Log:
    """A logger that keeps what it is told as text; DEBUG lines of connections if ``is_verbose``."""

    def __init__(self) -> None:
        self.lines: List[str] = []
        self.is_verbose = False

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802
        return self.is_verbose or level > logging.DEBUG

    def debug(self, message: str, *args: object, exc_info: object = None) -> None:
        text = f"debug: {message % args}"
        self.lines.append(f"{text}: {exc_info!r}" if exc_info is not None else text)

    def info(self, message: str, *args: object, exc_info: object = None) -> None:
        self.lines.append(f"info: {message % args}")

    def error(self, message: str, *args: object, exc_info: object = None) -> None:
        self.lines.append(f"error: {message % args}: {exc_info!r}")


class Recorder(WSListener):
    """A listener that notes every callback in ``events`` and can do something in each.

    ``act(name, handler)`` runs ``handler(transport, *arguments)`` in a callback, after it was
    noted.
    """

    def __init__(self) -> None:
        self.events: List[Tuple[Any, ...]] = []
        self.actions: Dict[str, Callable[..., Any]] = {}

    def act(self, name: str, handler: Callable[..., Any]) -> Recorder:
        self.actions[name] = handler
        return self

    def _event(self, name: str, transport: WSTransport, *arguments: Any) -> Any:
        handler = self.actions.get(name)
        return handler(transport, *arguments) if handler is not None else None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.events.append(("connected",))
        self._event("on_ws_connected", transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.events.append((frame.opcode, frame.get_payload_as_bytes(), frame.fin))
        self._event("on_ws_frame", transport, frame)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.events.append(("disconnected",))
        self._event("on_ws_disconnected", transport)

    def pause_writing(self) -> None:
        self.events.append(("paused",))
        self._event("pause_writing", self.transport)

    def resume_writing(self) -> None:
        self.events.append(("resumed",))
        self._event("resume_writing", self.transport)

    @property
    def frames(self) -> List[Tuple[Any, ...]]:
        """The frames among the events."""
        return [event for event in self.events if len(event) == 3]

    def count(self, name: str) -> int:
        return sum(event == (name,) for event in self.events)


class _Protocol(WSEndpoint, asyncio.BufferedProtocol):
    __slots__ = ()


class Connection:
    """An endpoint with its listener, transport, loop and log.

    Opens at once, unless ``open`` is False; what was written for that is then forgotten. ``room``
    bytes are taken by the kernel after that. ``transport_options`` go to :class:`MemoryTransport`,
    all other keywords to ``WSOptions``.
    """

    def __init__(
        self,
        role: str,
        listener: Optional[WSListener] = None,
        *,
        open: bool = True,  # noqa: A002
        factory: Optional[Callable[..., Any]] = None,
        loop: Optional[FakeLoop] = None,
        clock: Optional[Callable[[], float]] = None,
        shared_reads: bool = True,
        room: Optional[int] = None,
        transport_options: Optional[Dict[str, Any]] = None,
        extra_request: bytes = b"",
        protocol_class: Type[WSEndpoint] = _Protocol,
        transport_class: Type[MemoryTransport] = MemoryTransport,
        **options: Any,
    ) -> None:
        self.role = role
        self.loop = loop or FakeLoop()
        self.log = Log()
        self.listener: Any = listener if listener is not None else Recorder()
        made = self.listener
        options_object = WSOptions(**options)
        if role == "client":
            handshake: Any = ClientHandshake(
                "/",
                "localhost",
                factory or (lambda request, response: made),
                options=options_object,
            )
        else:
            handshake = ServerHandshake(factory or (lambda request: made), options=options_object)
        self.endpoint: Any = protocol_class(
            options_object,
            handshake,
            self.loop,
            self.log,
            clock=clock,
            shared_reads=shared_reads,
        )
        self.ws: WSTransport = self.endpoint.transport
        # A test that opens a connection step by step looks at the future.
        self.opened: Any = None if open else self.endpoint.opened
        self.transport = transport_class(self.loop, self.endpoint, **transport_options or {})
        self._extra_request = extra_request
        self._seen = 0
        if open:
            self.start()
            self.open()
            self.transport.room = room

    def start(self) -> None:
        """Call ``connection_made``."""
        self.transport.start()
        self.loop.run_ready()

    def opening_bytes(self) -> bytes:
        """What the peer sends to complete the opening handshake."""
        if self.role == "server":
            return frames.upgrade_request(extra=self._extra_request)
        request = self.transport.written
        return frames.upgrade_response(request) if request else b""

    def open(self, tail: bytes = b"") -> None:
        """The peer completes the opening handshake; ``tail`` comes in the same read."""
        self._seen = len(self.transport.written)
        self.feed(self.opening_bytes() + tail)
        if self.role == "server" and self.transport.written:
            self._seen = self.transport.written.index(b"\r\n\r\n") + 4

    # The network

    @property
    def key(self) -> Optional[bytes]:
        """The masking key of the peer's frames."""
        return frames.KEY if self.role == "server" else None

    def build(self, opcode: int, payload: bytes = b"", **options: Any) -> bytes:
        """A frame of the peer."""
        options.setdefault("key", self.key)
        return frames.build(opcode, payload, **options)

    def feed(self, *pieces: bytes) -> None:
        """Bytes of the peer arrive, each piece in a read of its own."""
        for piece in pieces:
            self.transport.feed(piece)
        self.loop.run_ready()

    def receive(self, opcode: int, payload: bytes = b"", **options: Any) -> None:
        """A frame of the peer arrives."""
        self.feed(self.build(opcode, payload, **options))

    def receive_close(self, code: int = 1000, reason: bytes = b"") -> None:
        self.receive(frames.CLOSE, frames.close_payload(code, reason))

    def feed_eof(self) -> None:
        self.transport.feed_eof()
        self.loop.run_ready()

    def lose(self, exc: Optional[BaseException] = None) -> None:
        self.transport.lose(exc)
        self.loop.run_ready()

    def drain(self, size: Optional[int] = None) -> None:
        self.transport.drain(size)
        self.loop.run_ready()

    # What came of it

    def sent_bytes(self) -> bytes:
        """The bytes written since the last call. This ends the loop iteration."""
        self.loop.run_ready()
        written = self.transport.written
        new = written[self._seen :]
        self._seen = len(written)
        return new

    def sent(self) -> List[Frame]:
        """The frames that were written since the last look, without their masking keys."""
        found, rest = frames.parse_all(self.sent_bytes())
        assert not rest, rest
        for frame in found:
            assert (frame.key is not None) == (self.role == "client"), frame
        return [Frame(frame.opcode, frame.payload, frame.fin, frame.rsv) for frame in found]

    @property
    def cause(self) -> Optional[WSDisconnectCause]:
        return self.ws.disconnect_cause


def finish_closing(connection: Connection) -> None:
    """The peer does its part when both CLOSE frames were exchanged (RFC 6455, 7.1.1)."""
    if connection.role == "client":
        assert not connection.transport.lost
        connection.feed_eof()
    assert connection.transport.lost
    assert not connection.transport.aborted
    assert not connection.loop.timers


def kind_of(connection: Connection) -> WSDisconnectKind:
    assert connection.cause is not None
    return connection.cause.kind


def failure_of(connection: Connection) -> Any:
    """The exception of ``opened``, which has to be done."""
    assert connection.opened.done()
    return connection.opened.exception()


def pings(connection: Connection) -> List[bytes]:
    """The payloads of the PING frames since the last look; nothing else may have been sent."""
    found = connection.sent()
    assert {frame.opcode for frame in found} <= {frames.PING}
    return [frame.payload for frame in found]
