"""Frames per second of a market-data consumer, compiled and in Python.

    pip install ./examples/trading
    python examples/trading/run.py [SECONDS]

A process of its own sends quotes as fast as they are read. Two listeners consume them for SECONDS
(default: 3) each; both count every frame and parse the last one of each read only, because a quote
replaces all that came before it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from time import perf_counter
from typing import Any, List, Tuple

from market_data import Consumer, Feed

from picows_client import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from picows_server import ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

WARM_UP = 0.2  # seconds


class PythonConsumer(WSListener):
    """What market_data.Consumer does."""

    def __init__(self) -> None:
        self.frames = 0
        self.parsed = 0
        self.broken = 0
        self.quote: Tuple[int, float, float, float, float] = (0, 0.0, 0.0, 0.0, 0.0)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.frames += 1
        if not frame.last_in_buffer or frame.opcode is not WSMsgType.TEXT or not frame.fin:
            return
        try:
            fields = json.loads(frame.get_payload_as_bytes())
            update = int(fields["u"])
            bid, bid_size, ask, ask_size = (float(fields[name]) for name in "bBaA")
        except (ValueError, KeyError):
            self.broken += 1
        else:
            self.quote = (update, bid, bid_size, ask, ask_size)
            self.parsed += 1


def quotes() -> List[bytes]:
    """A morning's quotes."""
    made = []
    for number in range(5000):
        bid = 25.35 + (number * 7919 % 1000) / 10000
        fields = {
            "u": 400900217 + number,
            "s": "BNBUSDT",
            "b": f"{bid:.4f}",
            "B": f"{1 + number % 97 / 10:.2f}",
            "a": f"{bid + 0.0013:.4f}",
            "A": f"{1 + number % 89 / 10:.2f}",
        }
        made.append(json.dumps(fields, separators=(",", ":")).encode())
    return made


async def serve() -> None:
    """Print the feed's URL; serve until standard input ends."""
    made = quotes()
    async with ws_create_server("ws://127.0.0.1:0", lambda: Feed(made)) as server:
        print(server.url, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def consume(url: str, listener_class: Any, seconds: float) -> Tuple[float, Any]:
    """Consume the feed for a while; return frames per second, and the listener."""
    async with ws_connect(url, listener_class) as (transport, listener):
        await asyncio.sleep(WARM_UP)
        frames, start = listener.frames, perf_counter()
        await asyncio.sleep(seconds)
        rate = (listener.frames - frames) / (perf_counter() - start)
        transport.disconnect(graceful=False)  # a feed at full speed has much on its way
    return rate, listener


async def compare(url: str, seconds: float) -> None:
    """Print the table."""
    print(f"{'consumer':<12}{'frames/s':>14}{'of these parsed':>18}{'last bid':>12}{'offer':>12}")
    rates = []
    for name, listener_class in (("compiled", Consumer), ("Python", PythonConsumer)):
        rate, listener = await consume(url, listener_class, seconds)
        share = f"1 in {listener.frames / max(listener.parsed, 1):,.0f}"
        _, bid, _, ask, _ = listener.quote
        print(f"{name:<12}{rate:>14,.0f}{share:>18}{bid:>12.4f}{ask:>12.4f}")
        rates.append(rate)
    print(f"compiled / Python: {rates[0] / rates[1]:.1f}")


def main(seconds: float) -> None:
    """Start the feed in another process, and compare."""
    command = [sys.executable, __file__, "feed"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as feed:
        assert feed.stdin is not None
        assert feed.stdout is not None
        run(compare(feed.stdout.readline().strip(), seconds))
        feed.stdin.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["feed"]:
        run(serve())
    else:
        main(float(sys.argv[1]) if len(sys.argv) > 1 else 3)
