"""Recordings that tests make: connections in memory with a recorder as their tap."""

from __future__ import annotations

from typing import Any, List

from picows_codec import WSFrame, WSListener, WSTransport

__all__ = ["Collector"]


class Collector(WSListener):
    """Notes callbacks and frames; sends nothing."""

    def __init__(self) -> None:
        self.events: List[Any] = []

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.events.append(("connected", transport.request.path, transport.subprotocol))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.events.append((int(frame.opcode), frame.get_payload_as_bytes(), frame.fin))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.events.append("disconnected")
