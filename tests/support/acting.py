"""A listener that does something in one of its callbacks, and what it may do."""

from __future__ import annotations

from typing import Any, Callable, Dict, List

from picows_codec import WSFrame, WSListener, WSTransport
from tests.support.frames import BINARY, TEXT

__all__ = ["ACTING_CALLBACKS", "ACTIONS", "Acting", "AsAskedFor", "raises"]

ACTING_CALLBACKS = ["on_ws_connected", "on_ws_frame", "on_ws_disconnected", "pause_writing"]


class AsAskedFor(Exception):
    pass


class Acting(WSListener):
    """Does something in one of its callbacks, once."""

    def __init__(self, callback: str, action: Callable[[WSTransport], Any]) -> None:
        self._callback = callback
        self._action = action
        self.events: List[str] = []

    def _event(self, name: str) -> None:
        self.events.append(name)
        if name == self._callback and self.events.count(name) == 1:
            self._action(self.transport)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._event("on_ws_connected")

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self._event("on_ws_frame")
        if frame.opcode == BINARY:
            transport.send(BINARY, bytes(10_000))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._event("on_ws_disconnected")

    def pause_writing(self) -> None:
        self._event("pause_writing")


def raises(transport: WSTransport) -> None:
    raise AsAskedFor


def sends_and_raises(transport: WSTransport) -> None:
    transport.send(TEXT, b"x")
    raise AsAskedFor


ACTIONS: Dict[str, Callable[[WSTransport], Any]] = {
    "raises": raises,
    "sends and raises": sends_and_raises,
    "sends": lambda transport: transport.send(TEXT, b"x"),
    "closes": lambda transport: transport.send_close(4000),
    "disconnects": lambda transport: transport.disconnect(),
    "aborts": lambda transport: transport.disconnect(graceful=False),
}
