"""One connection of a client: what it sends, how it reads, how it ends."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from typing import TYPE_CHECKING, Any, Deque, Tuple

from bench.soak.listeners import SIZE_WEIGHTS, SIZES
from bench.soak.messages import Contents, numbers_of
from bench.soak.service.application import BURST_SIZE, FIRST_OF_BURSTS, SEED
from picows_client import WSMessage, WSMessageListener, WSMsgType, WSState, WSTransport

if TYPE_CHECKING:
    from bench.soak.service.run import ServiceSoak

__all__ = ["Client"]

# Seconds
THINK_TIME = (0.1, 4.0)
LIFETIME = (5.0, 300.0)
NOT_READING = (0.2, 2.0)

SLOW_READERS = 20  # one connection in so many
BURST = 100  # messages that a slow reader asks for: more than the kernel's buffers hold
SLOW_READINGS = 0.1  # share of a slow reader's messages that ask for a burst
ABORTS = 0.2  # share of the connections that the client ends

CONTENTS = Contents(SEED)


class Client(WSMessageListener):
    """Sends numbered messages and checks what comes back; ``soak`` is told when it ends."""

    def __init__(self, number: int, soak: ServiceSoak) -> None:
        self.number = number
        self.soak = soak
        self.choice = random.Random(number)
        self.sent = 0
        self.received = 0
        self.bursts = FIRST_OF_BURSTS
        self.last_burst = FIRST_OF_BURSTS  # what was asked for ends before this
        self.expected: Deque[Tuple[int, int, WSMsgType]] = deque()
        self.is_paused = False
        self.is_slow = number % SLOW_READERS == 0
        self.loop = asyncio.get_running_loop()
        self.ends_at = self.loop.time() + self.choice.uniform(*LIFETIME)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for is here."""
        return not self.unanswered

    @property
    def unanswered(self) -> int:
        """How many messages have no response yet, or only the beginning of a burst."""
        return len(self.expected) + -(-(self.last_burst - self.bursts) // BURST)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.soak.opened(self)
        self.loop.call_later(self.choice.uniform(0, THINK_TIME[1]), self.act)

    def act(self) -> None:
        """Send a message, ask for a burst, or end the connection."""
        transport = self.transport
        if self.soak.is_quiet or transport.state is not WSState.OPEN:
            return
        if self.loop.time() < self.ends_at or self.is_paused:
            if self.is_slow and self.choice.random() < SLOW_READINGS and not self.is_paused:
                self.stop_reading(transport)
            else:
                self.send_next(transport)
            self.loop.call_later(self.choice.uniform(*THINK_TIME), self.act)
        elif self.choice.random() < ABORTS:
            transport.disconnect(graceful=False)
        else:
            transport.send_close()

    def send_next(self, transport: WSTransport) -> None:
        """Send a message that must come back."""
        size = self.choice.choices(SIZES, SIZE_WEIGHTS)[0]
        opcode = self.choice.choice((WSMsgType.TEXT, WSMsgType.BINARY))
        transport.send(opcode, CONTENTS.make(self.number, self.sent, size))
        self.expected.append((self.sent, size, opcode))
        self.sent += 1

    def stop_reading(self, transport: WSTransport) -> None:
        """Ask for a burst and do not read for a while."""
        transport.send(WSMsgType.TEXT, b"!%d" % BURST)
        self.sent += 1
        self.last_burst += BURST
        self.is_paused = True
        below: Any = transport.underlying_transport
        below.pause_reading()
        self.loop.call_later(self.choice.uniform(*NOT_READING), self.read_on)
        self.soak.tally.counts["slow readings"] += 1

    def read_on(self) -> None:
        """Read again."""
        self.is_paused = False
        below: Any = self.transport.underlying_transport
        if below is not None:
            below.resume_reading()

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        payload = message.get_payload_as_bytes()
        self.received += 1
        counts = self.soak.tally.counts
        counts["messages"] += 1
        counts["bytes"] += len(payload)
        number, size, opcode = self.bursts, BURST_SIZE, WSMsgType.BINARY
        if numbers_of(payload)[1] >= FIRST_OF_BURSTS:
            self.bursts += 1
        elif self.expected:
            number, size, opcode = self.expected.popleft()
        is_right = payload == CONTENTS.make(self.number, number, size) and message.opcode == opcode
        self.soak.tally.check(
            is_right, f"connection {self.number}: expected message {number}, got", payload[:16]
        )

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        cause = transport.disconnect_cause
        self.soak.ended(self, "NONE" if cause is None else cause.kind.name)
