"""One endpoint over a memory transport and a fake loop: the test is the network and the clock."""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, List, Optional, Tuple

import pytest

from picows_codec import WSDisconnectKind, WSFrame, WSListener, WSTransport
from picows_codec.testing.memory_connection import MemoryConnection
from tests.support import frames
from tests.support.frames import Frame

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

    def debug(
        self, message: str, *args: object, exc_info: object = None, extra: object = None
    ) -> None:
        text = f"debug: {message % args}"
        self.lines.append(f"{text}: {exc_info!r}" if exc_info is not None else text)

    def info(
        self, message: str, *args: object, exc_info: object = None, extra: object = None
    ) -> None:
        self.lines.append(f"info: {message % args}")

    def error(
        self, message: str, *args: object, exc_info: object = None, extra: object = None
    ) -> None:
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


class Connection(MemoryConnection):
    """An endpoint with its listener, transport, loop and log.

    Opens at once, unless ``open`` is False; what was written for that is then forgotten. ``room``
    bytes are taken by the kernel after that. ``transport_options`` go to :class:`MemoryTransport`,
    all other keywords to :class:`MemoryConnection`.
    """

    def __init__(
        self,
        role: str,
        listener: Optional[WSListener] = None,
        *,
        open: bool = True,  # noqa: A002
        factory: Optional[Callable[..., Any]] = None,
        room: Optional[int] = None,
        **options: Any,
    ) -> None:
        self.log = Log()
        self.listener: Any = listener if listener is not None else Recorder()
        made = self.listener
        super().__init__(role, factory or (lambda *_: made), logger=self.log, **options)
        # A test that opens a connection step by step looks at the future.
        self.opened: Any = None if open else self.endpoint.opened
        if open:
            self.start()
            self.open()
            self.transport.room = room

    @property
    def transport(self) -> Any:
        """The transport below the endpoint."""
        return self.network

    def receive(self, opcode: int, payload: bytes = b"", **options: Any) -> None:
        """A frame of the peer arrives."""
        self.feed(self.build(opcode, payload, **options))

    def sent(self) -> List[Frame]:
        """The frames that were written since the last look, without their masking keys."""
        return self.new_frames()


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
