"""Listeners that several test files use."""

from __future__ import annotations

from typing import List

from picows_codec import WSFrame, WSListener, WSMessage, WSMessageListener, WSTransport
from tests.support.connection import Recorder
from tests.support.frames import TEXT

__all__ = ["CALLBACKS", "Counter", "Gatherer", "OwnPings"]

# Of WSListener, all of them.
CALLBACKS = [
    "on_ws_connected",
    "on_ws_frame",
    "on_ws_disconnected",
    "pause_writing",
    "resume_writing",
    "send_user_specific_ping",
    "is_user_specific_pong",
]


class Counter(WSListener):
    """Keeps nothing."""

    def __init__(self) -> None:
        self.frames = 0
        self.ends = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames += 1

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.ends += 1


class Gatherer(WSMessageListener):
    """Keeps the sizes of messages."""

    def __init__(self) -> None:
        self.messages: List[int] = []

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.messages.append(len(message))


class OwnPings(Recorder):
    """Pings with TEXT frames, and takes "pong" for the pong."""

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        transport.send(TEXT, b"ping")
        self._event("send_user_specific_ping", transport)

    def is_user_specific_pong(self, frame: WSFrame) -> bool:
        self._event("is_user_specific_pong", self.transport)
        return frame.get_payload_as_bytes() == b"pong"
