"""What the demo's client does: one function for each line of the table."""

from __future__ import annotations

import json
import os
from itertools import cycle
from random import Random
from ssl import SSLContext
from time import perf_counter_ns
from typing import Awaitable, Callable, Dict, List, Optional, Sequence

from picows_client import (
    WSBatchListener,
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSMsgType,
    WSPermessageDeflate,
    WSTransport,
    connect,
    ws_connect,
)

WARM_UP = 0.2  # seconds of each line that are not counted
SIZE = 256  # bytes
BURST = 1000  # messages
BURST_SIZE = 64  # bytes of each
QUOTES = 4096  # of JSON; far more than a compressor remembers


class Window:
    """Which round trips count, how long they took, and when it is enough."""

    def __init__(self, seconds: float, on_progress: Callable[[], None]) -> None:
        self._on_progress = on_progress
        self._samples: List[int] = []  # nanoseconds
        self._counts_from = perf_counter_ns() + int(WARM_UP * 1e9)
        self._ends_at = self._counts_from + int(seconds * 1e9)
        self._duration = 0
        self.messages_at_once = 1

    def add(self, sent_at: int) -> bool:
        """Note a round trip that is complete now; returns whether there shall be another one."""
        now = perf_counter_ns()
        if sent_at >= self._counts_from:
            self._samples.append(now - sent_at)
            self._duration = now - self._counts_from
        self._on_progress()
        return now < self._ends_at or not self._samples

    @property
    def per_second(self) -> float:
        """Messages that came back."""
        return len(self._samples) * self.messages_at_once * 1e9 / self._duration

    def percentile(self, percent: int) -> float:
        """Microseconds of a round trip."""
        ordered = sorted(self._samples)
        return ordered[(len(ordered) - 1) * percent // 100] / 1000


class Pinger(WSListener):
    """Keeps one message in flight."""

    def __init__(self, opcode: WSMsgType, payloads: Sequence[bytes], window: Window) -> None:
        self._opcode = opcode
        self._payloads = cycle(payloads)
        self._window = window
        self._sent = b""
        self._sent_at = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.send_next(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is not self._opcode:
            return
        expect(frame.get_payload_as_bytes() == self._sent)
        if self._window.add(self._sent_at):
            self.send_next(transport)
        else:
            transport.disconnect()

    def send_next(self, transport: WSTransport) -> None:
        self._sent = next(self._payloads)
        self._sent_at = perf_counter_ns()
        transport.send(self._opcode, self._sent)


class CountingPinger(Pinger):
    """Notes what the opening handshake has sent; needs ``collect_stats=True``."""

    handshake_bytes = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.handshake_bytes = transport.stats().bytes_sent
        super().on_ws_connected(transport)


class BurstPinger(WSBatchListener):
    """Sends many messages in one write; the next ones leave when all of them are back."""

    def __init__(self, payloads: List[bytes], window: Window) -> None:
        self._payloads = payloads
        self._window = window
        self._received: List[bytes] = []
        self._sent_at = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.send_next(transport)

    def on_ws_batch(self, transport: WSTransport, messages: List[bytes]) -> None:
        self._received += messages
        if len(self._received) < len(self._payloads):
            return
        expect(self._received == self._payloads)
        self._received = []
        if self._window.add(self._sent_at):
            self.send_next(transport)
        else:
            transport.disconnect()

    def send_next(self, transport: WSTransport) -> None:
        self._sent_at = perf_counter_ns()
        transport.send_many(WSMsgType.BINARY, self._payloads)


def expect(is_right: bool) -> None:
    if not is_right:
        raise RuntimeError("an echo is not what was sent")


async def finished(transport: WSTransport) -> None:
    """Wait until a listener has done its work. Raises RuntimeError if something else ended it."""
    await transport.wait_disconnected()
    cause = transport.disconnect_cause
    if not cause or cause.kind is not WSDisconnectKind.LOCAL_CLOSE:
        raise RuntimeError(f"the connection ended early: {cause}")


async def plain(url: str, context: Optional[SSLContext], window: Window) -> str:
    pinger = Pinger(WSMsgType.BINARY, [os.urandom(SIZE)], window)
    async with ws_connect(url, pinger, ssl_context=context) as (transport, _):
        await finished(transport)
    return f"{SIZE} B there and back, callbacks"


async def encrypted(url: str, context: Optional[SSLContext], window: Window) -> str:
    await plain(url, context, window)
    return "the same over TLS"


async def coroutines(url: str, _context: Optional[SSLContext], window: Window) -> str:
    payload = os.urandom(SIZE)
    async with connect(url) as ws:
        goes_on = True
        while goes_on:
            sent_at = perf_counter_ns()
            await ws.send(payload)
            expect(await ws.recv() == payload)
            goes_on = window.add(sent_at)
    return "the same with await"


async def compressed(url: str, _context: Optional[SSLContext], window: Window) -> str:
    payloads = quotes()
    pinger = CountingPinger(WSMsgType.TEXT, payloads, window)
    deflate = WSPermessageDeflate(client_compresses=True)
    connection = ws_connect(url, pinger, compression=deflate, collect_stats=True)
    async with connection as (transport, _):
        await finished(transport)
        stats = transport.stats()
    size = (stats.bytes_sent - pinger.handshake_bytes) // stats.messages_sent
    return f"{len(payloads[0])} B of JSON, {size} B on the wire"


def quotes() -> List[bytes]:
    """Messages as an exchange sends them."""
    chance = Random(1)
    messages = []
    bid, clock = 64_000.0, 1_700_000_000_000_000
    for update in range(730_000_000, 730_000_000 + QUOTES):
        bid += chance.gauss(0.0, 1.0)
        clock += chance.randrange(100_000)
        fields = {
            "channel": "book_ticker",
            "symbol": "BTC-USDT",
            "update": update,
            "bid": {"price": f"{bid:.2f}", "size": f"{chance.uniform(1.0, 9.0):.4f}"},
            "ask": {"price": f"{bid + 0.01:.2f}", "size": f"{chance.uniform(1.0, 9.0):.4f}"},
            "exchange_time": clock,
            "gateway_time": clock + chance.randrange(1000),
        }
        messages.append(json.dumps(fields).encode())
    return messages


async def burst(url: str, _context: Optional[SSLContext], window: Window) -> str:
    payloads = [number.to_bytes(4, "big") + os.urandom(BURST_SIZE - 4) for number in range(BURST)]
    window.messages_at_once = BURST
    async with ws_connect(url, BurstPinger(payloads, window)) as (transport, _):
        await finished(transport)
    return f"{BURST:,} of {BURST_SIZE} B; times are for all"


Scene = Callable[[str, Optional[SSLContext], Window], Awaitable[str]]
SCENES: Dict[str, Scene] = {
    "plain": plain,
    "TLS": encrypted,
    "coroutines": coroutines,
    "compressed": compressed,
    "burst": burst,
}
