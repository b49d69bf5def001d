"""What the workers of the service serve: echoes, bursts, and a journal of each connection's end."""

from __future__ import annotations

import os
from typing import List

from bench.soak.messages import Contents, numbers_of
from picows_codec import (
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSState,
    WSTransport,
    WSUpgradeRequest,
)

__all__ = ["BURST_SIZE", "FIRST_OF_BURSTS", "JOURNAL", "SEED", "new_listener"]

JOURNAL = "BENCH_SOAK_JOURNAL"  # the variable with the name of the file
SEED = 1
BURST_SIZE = 16_000
FIRST_OF_BURSTS = 1 << 31  # the number of the first message that is no echo

CONTENTS = Contents(SEED)
DESCRIPTORS: List[int] = []  # of the journal, once it is open


def new_listener(request: WSUpgradeRequest) -> Served:
    """The listener of the connection whose number is the path."""
    return Served(int(request.path[1:]))


def note(*values: object) -> None:
    """Append a line to the journal, which all workers share: one write for each."""
    if not DESCRIPTORS:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        DESCRIPTORS.append(os.open(os.environ[JOURNAL], flags, 0o600))
    os.write(DESCRIPTORS[0], (" ".join(map(str, values)) + "\n").encode())


class Served(WSMessageListener):
    """Checks the numbers and echoes. ``!COUNT`` has so many messages sent."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.received = 0
        self.sent = 0
        self.bursts = FIRST_OF_BURSTS
        self.gaps = 0

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        payload = message.get_payload_as_bytes()
        self.received += 1
        if payload.startswith(b"!"):
            for _ in range(int(payload[1:])):
                content = CONTENTS.make(self.number, self.bursts, BURST_SIZE)
                self.send(transport, WSMsgType.BINARY, content)
                self.bursts += 1
            return
        # The orders have no number, but are counted.
        self.gaps += numbers_of(payload) != (self.number, self.received - 1)
        self.send(transport, message.opcode, payload)

    def send(self, transport: WSTransport, opcode: WSMsgType, payload: bytes) -> None:
        """Send unless CLOSE was sent before."""
        if transport.state is WSState.OPEN:
            transport.send(opcode, payload)
            self.sent += 1

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        cause = transport.disconnect_cause
        kind = "NONE" if cause is None else cause.kind.name
        note(self.number, self.received, self.sent, self.gaps, kind)
