"""The two listeners of a soak: the server's and the client's."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from typing import TYPE_CHECKING, Deque, Optional, Tuple

from bench.soak.messages import numbers_of
from picows_codec import (
    WSCloseCode,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSStateError,
    WSTransport,
)

if TYPE_CHECKING:
    from bench.soak.run import Soak

# Seconds
THINK_TIME = (0.05, 2.0)
HURRY = (0.0, 0.02)
HURRIED = 25  # one connection in so many

WINDOW = 6  # messages of a connection on their way
SIZES = (0, 1, 100, 109, 110, 1000, 20_000, 65_519, 65_520, 200_000)
SIZE_WEIGHTS = (5, 5, 40, 10, 10, 20, 6, 1, 1, 2)
FLOOD_SIZE = 16_000


class EchoListener(WSMessageListener):
    """The server's side: checks the numbers, echoes, and obeys commands.

    A message that begins with "!" is a command: ``!close``, ``!abort`` or ``!flood COUNT``.
    """

    def __init__(self, number: int, soak: Soak) -> None:
        self.number = number
        self.soak = soak
        self.received = 0
        self.gone = soak.loop.create_future()
        self.transport_kept: Optional[WSTransport] = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport_kept = transport
        self.soak.tally.counts["accepted"] += 1

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        payload = message.get_payload_as_bytes()
        if payload.startswith(b"!"):
            self._obey(transport, payload[1:].decode())
            return
        numbers = numbers_of(payload)
        wanted = (self.number, self.received)
        self.soak.tally.check(numbers == wanted, "server: expected", wanted, "got", numbers)
        self.received += 1
        transport.send(message.opcode, message)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.soak.tally.check(not self.gone.done(), "server: disconnected twice", self.number)
        self.gone.set_result(transport.disconnect_cause.kind)
        self.transport_kept = None

    def _obey(self, transport: WSTransport, order: str) -> None:
        name, _, argument = order.partition(" ")
        if name == "close":
            transport.send_close(WSCloseCode.GOING_AWAY, "as you wish")
        elif name == "abort":
            transport.disconnect(graceful=False)
        elif name == "flood":
            with contextlib.suppress(WSStateError):  # the queue's limit ends it
                for index in range(int(argument)):
                    content = self.soak.contents.make(self.number, index, FLOOD_SIZE)
                    transport.send(WSMsgType.BINARY, content)


class ClientListener(WSMessageListener):
    """The client's side: sends numbered messages and checks that they come back."""

    def __init__(self, number: int, soak: Soak) -> None:
        self.number = number
        self.soak = soak
        self.choice = random.Random(soak.seed * 1_000_003 + number)
        self.think_time = THINK_TIME if number % HURRIED else HURRY
        self.sent = 0
        self.received = 0
        self.expected: Deque[Tuple[int, int, int]] = deque()
        self.is_sending = False
        self.drained: Optional[asyncio.Future[None]] = None
        self.disconnects = 0

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        tally = self.soak.tally
        payload = message.get_payload_as_bytes()
        if not self.expected:
            tally.check(False, "client: nothing was expected, got", numbers_of(payload))
            return
        number, size, opcode = self.expected.popleft()
        is_same = payload == self.soak.contents.make(self.number, number, size)
        tally.check(
            is_same and message.opcode == opcode,
            f"client: expected message {number} of connection {self.number}, {size} bytes, got",
            message,
            payload[:16],
        )
        self.received += 1
        tally.counts["messages"] += 1
        tally.counts["bytes"] += len(payload)
        if self.drained is not None and not self.expected and not self.drained.done():
            self.drained.set_result(None)
        if self.is_sending:
            self.soak.loop.call_later(self.choice.uniform(*self.think_time), self.send)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.disconnects += 1
        self.is_sending = False
        if self.drained is not None and not self.drained.done():
            self.drained.set_result(None)

    def start(self) -> None:
        """Begin to send."""
        self.is_sending = True
        for _ in range(self.choice.randint(1, WINDOW)):
            self.send()

    def send(self) -> None:
        """Send the next message, whole or in fragments."""
        if not self.is_sending:
            return
        size = self.choice.choices(SIZES, SIZE_WEIGHTS)[0]
        opcode = self.choice.choice((WSMsgType.TEXT, WSMsgType.BINARY))
        payload = self.soak.contents.make(self.number, self.sent, size)
        self.expected.append((self.sent, size, opcode))
        self.sent += 1
        if self.choice.random() < 0.8:
            self.transport.send(opcode, payload)
            return
        with self.transport.cork() if self.choice.random() < 0.5 else contextlib.nullcontext():
            middle = self.choice.randint(0, len(payload))
            self.transport.send(opcode, payload[:middle], fin=False)
            self.transport.send_ping(b"between")
            self.transport.send(WSMsgType.CONTINUATION, payload[middle:])
