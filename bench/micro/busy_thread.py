"""Measures what a busy Python thread in a server's process costs, with compression and without.

python -m bench.micro.busy_thread [--rounds N] [--seconds S]

zlib, zlib-ng and ISA-L release the GIL in each of their calls. A thread that runs Python code may
take it then, and keeps it for the switch interval (5 ms, see sys.setswitchinterval). Here a client
sends messages to an echo server in another process, one after the other and in bursts; the server
has such a thread or not. A round measures everything once. Needs the three wheels.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from time import perf_counter
from typing import Any, Coroutine, Dict, Iterator, List, Tuple, TypeVar

from bench.micro.messages import choose_library, json_message
from picows_client import ws_connect
from picows_codec import WSFrame, WSListener, WSMsgType, WSPermessageDeflate, WSTransport
from picows_server import ws_create_server

__all__ = ["main"]

T = TypeVar("T")

SIZES = (262, 4096)
BURST = 100
# Switch intervals in seconds; None: no busy thread.
THREADS = {"none": None, "5 ms": 0.005, "0.1 ms": 0.0001}


@dataclass(frozen=True)
class Figures:
    """Of one library, size and thread: round trips per second, their times, echoes in bursts."""

    rate: float
    median: float  # seconds
    worst: float  # the slowest of a hundred
    burst_rate: float


class Echo(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        transport.send(frame.opcode, frame)


class Asking(WSListener):
    """Sends ``burst`` messages, and the same again when all have come back."""

    def __init__(self, message: bytes, burst: int) -> None:
        self.message = message
        self.burst = burst
        self.missing = 0
        self.times: List[float] = []

    def ask(self, transport: WSTransport) -> None:
        self.missing = self.burst
        self.start = perf_counter()
        with transport.cork():
            for _ in range(self.burst):
                transport.send(WSMsgType.TEXT, self.message)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.missing -= 1
        if not self.missing:
            self.times.append(perf_counter() - self.start)
            self.ask(transport)


def parameters_of(library: str) -> WSPermessageDeflate | None:
    return None if library == "none" else WSPermessageDeflate(client_compresses=True)


async def serve(library: str, thread: str) -> None:
    """Print the port, and serve until standard input ends."""
    interval = THREADS[thread]
    if interval is not None:
        sys.setswitchinterval(interval)
        threading.Thread(target=_work, daemon=True).start()
    server = await ws_create_server(
        "ws://127.0.0.1:0", lambda _: Echo(), compression=parameters_of(library)
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


def _work() -> None:
    number = 0
    while True:
        number = (number * 31 + 7) % 1000003


async def ask(url: str, library: str, size: int, seconds: float) -> Figures:
    found: List[List[float]] = []
    for burst in (1, BURST):
        make = partial(Asking, json_message(size), burst)
        transport, listener = await ws_connect(url, make, compression=parameters_of(library))
        listener.ask(transport)
        await asyncio.sleep(seconds / 5)
        listener.times.clear()
        await asyncio.sleep(seconds)
        found.append(sorted(listener.times) or [seconds])
        transport.disconnect(False)
        await transport.wait_disconnected()
    alone, bursts = found
    return Figures(
        rate=len(alone) / sum(alone),
        median=statistics.median(alone),
        worst=alone[int(len(alone) * 0.99)],
        burst_rate=BURST * len(bursts) / sum(bursts),
    )


def measure(library: str, size: int, thread: str, seconds: float) -> Figures:
    """Start a server and ask it."""
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.micro.busy_thread", "--serve", library, thread],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="ascii",
    )
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())
        return _run(ask(f"ws://127.0.0.1:{port}", library, size, seconds))
    finally:
        server.communicate("")


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    loop = asyncio.new_event_loop()
    if find_spec("uvloop") is not None:
        loop.close()
        loop = import_module("uvloop").new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def cases() -> Iterator[Tuple[int, str, str]]:
    """Yield size, library and thread of each row."""
    libraries = ["none", "zlib"]
    libraries += ["zlib-ng"] if find_spec("zlib_ng") else []
    libraries += ["ISA-L"] if find_spec("isal") and find_spec("zlib_ng") else []
    for size in SIZES:
        for library in libraries:
            for thread in THREADS:
                yield size, library, thread


def main() -> None:
    """Measure, and print a Markdown table: medians over the rounds, of ratios within a round."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.busy_thread")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each figure")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        choose_library(arguments.serve[0])
        _run(serve(*arguments.serve))
        return
    figures: Dict[Tuple[int, str, str], List[Figures]] = {case: [] for case in cases()}
    for _ in range(arguments.rounds):
        for (size, library, thread), found in figures.items():
            found.append(measure(library, size, thread, arguments.seconds))
    print("| bytes | library | busy thread | round trip: median | 99 % | trips/s | echoes/s |")
    print("|---|---|---|---|---|---|---|")
    for (size, library, thread), found in figures.items():
        alone = figures[size, library, "none"]
        median, worst = (
            statistics.median(getattr(one, name) for one in found) for name in ("median", "worst")
        )
        rates = " | ".join(_rate(found, alone, name) for name in ("rate", "burst_rate"))
        print(
            f"| {size} | {library} | {thread} | {median * 1e6:,.0f} us | {worst * 1e6:,.0f} us |"
            f" {rates} |"
        )


def _rate(found: List[Figures], alone: List[Figures], name: str) -> str:
    """The median; and of what it is without a thread, in the same round."""
    rates = [getattr(one, name) for one in found]
    ratios = [rate / getattr(one, name) for rate, one in zip(rates, alone)]
    return f"{statistics.median(rates):,.0f} ({statistics.median(ratios):.2f})"


if __name__ == "__main__":
    main()
