"""Measures what an echo costs uvicorn's protocol, and ours, over a transport that is only memory.

    python -m bench.micro.asgi [--rounds N] [--core N]

User-space CPU time of one echo on uvloop: a frame is fed to the protocol, a plain application gets
the message and sends it back, and what the protocol writes feeds the next frame. The rounds
alternate; the ratio is the median of the rounds. Part of every figure is what the loop, the task
and the application cost with any protocol: "nothing" is a protocol that hands over the same event
and writes the same bytes.

Needs the wheels of codec and server, uvicorn, websockets and uvloop.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import statistics
import zlib
from typing import Any, Callable, Dict, List, Tuple

import uvloop
from rich.box import SIMPLE_HEAD
from rich.table import Table
from uvicorn.config import Config
from uvicorn.server import ServerState

from bench.peers.adapter_asgi import app
from bench.report import new_console

__all__ = ["main"]

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\nSec-WebSocket-Version: 13\r\n"
)
OFFER = b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
KEY = b"\x01\x02\x03\x04"
WARMUP = 500  # echoes
ECHOES = 10000
FRAMES = 64  # different ones, if they are compressed

NOTHING = "nothing"
PROTOCOLS = {
    "uvicorn": "auto",
    "ours": "picows_server.asgi:UvicornProtocol",
}
# Size in bytes; whether permessage-deflate is negotiated; whether the client compresses.
CASES = (
    (64, False, False),
    (64, True, False),
    (64, True, True),
    (8192, False, False),
    (8192, True, False),
    (8192, True, True),
)


class Nothing:
    """No protocol: the floor of every figure."""

    def __init__(self, config: Any, server_state: Any, app_state: Any) -> None:
        self._app = config.loaded_app
        self._loop = asyncio.get_running_loop()
        self._waiter: Any = None
        self._events: List[Any] = []

    def connection_made(self, transport: Any) -> None:
        """Take the transport."""
        self._write = transport.write

    def data_received(self, data: bytes) -> None:
        """Start the application, or hand over an event."""
        if self._waiter is None:
            self._events.append({"type": "websocket.connect"})
            scope = {"type": "websocket"}
            self._task = self._loop.create_task(self._app(scope, self.receive, self.send))
            return
        self._waiter.set_result({"type": "websocket.receive", "text": "x"})

    async def receive(self) -> Any:
        """Wait for an event."""
        if self._events:
            return self._events.pop()
        self._waiter = self._loop.create_future()
        return await self._waiter

    async def send(self, message: Any) -> None:
        """Write something."""
        self._write(b"x")


class MemoryTransport:
    """What is written feeds the next frame, in the next iteration of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._feed: Any = None
        self._frames: List[bytes] = []
        self._left = 0
        self._done: Any = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Addresses, and nothing else."""
        known = {"peername": ("192.0.2.1", 4711), "sockname": ("192.0.2.2", 80)}
        return known.get(name, default)

    def write(self, data: bytes) -> None:
        """An echo is complete."""
        if self._feed is None:
            return
        self._left -= 1
        if self._left > 0:
            self._loop.call_soon(self._feed, self._frames[self._left % FRAMES])
        elif not self._done.done():
            self._done.set_result(None)

    def is_closing(self) -> bool:
        """Never."""
        return False

    def close(self) -> None:
        """Nothing."""

    pause_reading = resume_reading = close

    async def play(self, feed: Callable[[bytes], None], frames: List[bytes], count: int) -> None:
        """Have so many messages echoed."""
        self._feed, self._frames, self._left = feed, frames, count
        self._done = self._loop.create_future()
        feed(frames[0])
        await self._done
        self._feed = None


def frames_of(size: int, compressed: bool) -> List[bytes]:
    """Return masked text frames, as a client sends them."""
    text = (b'{"event": "trade", "price": 93576.01, "symbol": "BTCUSDT"}' * (size // 50 + 1))[:size]
    compressor = zlib.compressobj(wbits=-12)
    frames = []
    for _ in range(FRAMES):
        payload = text
        if compressed:
            payload = (compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
        length = len(payload)
        head = bytes([0xC1 if compressed else 0x81])
        head += bytes([0x80 | length]) if length < 126 else b"\xfe" + length.to_bytes(2, "big")
        masked = bytes(byte ^ KEY[index & 3] for index, byte in enumerate(payload))
        frames.append(head + KEY + masked)
    # With context takeover they can be played once; a repetition begins where it is refused.
    return frames if not compressed else [frames[0]] * FRAMES


async def measure(protocol: str, size: int, deflates: bool, compressed: bool) -> float:
    """Return the microseconds of one echo."""
    loop = asyncio.get_running_loop()
    config = Config(
        app,
        ws=PROTOCOLS.get(protocol, Nothing),
        lifespan="off",
        log_level="critical",
        ws_ping_interval=None,
    )
    config.load()
    made = config.ws_protocol_class(config=config, server_state=ServerState(), app_state={})  # type: ignore[call-arg, misc]
    transport = MemoryTransport(loop)
    made.connection_made(transport)  # type: ignore[arg-type]
    feed = made.data_received  # type: ignore[attr-defined]
    feed(REQUEST + (OFFER if deflates else b"") + b"\r\n")
    for _ in range(20):
        await asyncio.sleep(0)
    frames = frames_of(size, compressed)
    await transport.play(feed, frames, WARMUP)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    await transport.play(feed, frames, ECHOES)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_utime - before) / ECHOES * 1e6


def measure_rounds(rounds: int, case: Tuple[int, bool, bool]) -> Dict[str, List[float]]:
    """Measure all protocols, one after the other, so many times."""
    figures: Dict[str, List[float]] = {name: [] for name in (NOTHING, *PROTOCOLS)}
    for _ in range(rounds):
        for name, values in figures.items():
            values.append(asyncio.run(measure(name, *case)))
    return figures


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.asgi")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--core", type=int, help="stay on this core")
    arguments = parser.parse_args()
    if arguments.core is not None:
        os.sched_setaffinity(0, {arguments.core})
    uvloop.install()
    table = Table(box=SIMPLE_HEAD, title="User-space CPU of an echo, microseconds")
    for heading in ("message", NOTHING, *PROTOCOLS, "uvicorn / ours"):
        table.add_column(heading, justify="left" if heading == "message" else "right")
    for case in CASES:
        size, deflates, compressed = case
        figures = measure_rounds(arguments.rounds, case)
        ratios = [one / other for one, other in zip(figures["uvicorn"], figures["ours"])]
        label = f"{size} B"
        if deflates:
            label += ", compressed" if compressed else ", deflate negotiated"
        table.add_row(
            label,
            *(f"{statistics.median(values):.2f}" for values in figures.values()),
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
        )
    new_console().print(table)


if __name__ == "__main__":
    main()
