"""Round trips per second and their latencies, over plain TCP and over TLS, on this machine.

    python examples/demo.py [SECONDS]

A client sends a message, waits for its echo from a server in another process, and sends the next
one. Each line of the table takes SECONDS (default: 2). ``make demo`` sets everything up.
"""

from __future__ import annotations

import asyncio
import os
import platform
import ssl
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from typing import Iterator, List, NamedTuple, Sequence, Tuple

import trustme

from picows_client import (
    WSDisconnectKind,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    __version__,
    ws_connect,
)
from picows_server import create_ssl_context, ws_create_server

try:
    from uvloop import run
except ImportError:  # uvloop is optional: asyncio's own loop serves, too
    from asyncio import run  # type: ignore[assignment]

SIZES = (64, 256, 8 * 1024, 100 * 1000)  # bytes of payload
WARM_UP = 0.2  # seconds of each measurement that are not counted
SERVER_START_TIMEOUT = 10.0  # seconds
COLUMNS = "{:<10}{:>10}{:>15}{:>15}{:>15}{:>15}{:>15}"


# The server's process


class EchoListener(WSListener):
    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.BINARY:
            transport.send(frame.opcode, frame)


async def serve(certificate: str) -> None:
    """Print the URLs of a plain and of a TLS server; serve until standard input ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_parent() -> None:
        sys.stdin.read()
        loop.call_soon_threadsafe(stop.set)

    context = create_ssl_context(certificate)
    async with ws_create_server("ws://localhost:0", EchoListener) as plain, ws_create_server(
        "wss://localhost:0", EchoListener, ssl_context=context
    ) as secure:
        threading.Thread(target=wait_for_parent, daemon=True).start()
        print(plain.url, secure.url, flush=True)
        await stop.wait()


@contextmanager
def echo_server(certificate: Path) -> Iterator[Sequence[str]]:
    """Run the server in a process of its own; yields its URLs."""
    command = [sys.executable, __file__, "--serve", str(certificate)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii"
    ) as process:
        watchdog = threading.Timer(SERVER_START_TIMEOUT, process.kill)
        watchdog.start()
        assert process.stdout is not None
        urls = process.stdout.readline().split()
        watchdog.cancel()
        if not urls:
            raise RuntimeError("the server did not start")
        yield urls
        # Leaving closes its standard input, which ends it, and waits for that.


# The client


class Result(NamedTuple):
    """Of one measurement; times are in nanoseconds."""

    per_second: float
    percentiles: Tuple[int, int, int, int]

    @classmethod
    def of(cls, samples: List[int], duration: int) -> Result:
        ordered = sorted(samples)
        last = len(ordered) - 1
        p50, p90, p99 = (ordered[last * percent // 100] for percent in (50, 90, 99))
        return cls(len(ordered) * 1e9 / duration, (p50, p90, p99, ordered[last]))


class Pinger(WSListener):
    """Keeps one message in flight and notes how long each took there and back."""

    def __init__(self, size: int, seconds: float, progress: ProgressBar) -> None:
        self.payload = os.urandom(size)
        self.samples: List[int] = []
        self.progress = progress
        self.counts_from = perf_counter_ns() + int(WARM_UP * 1e9)
        self.ends_at = self.counts_from + int(seconds * 1e9)
        self.sent_at = self.ended_at = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.send_next(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = perf_counter_ns()
        if frame.opcode is not WSMsgType.BINARY:
            return
        if self.sent_at >= self.counts_from:
            self.samples.append(now - self.sent_at)
        elif frame.get_payload_as_bytes() != self.payload:
            raise RuntimeError("the echo is not what was sent")
        self.progress.show(now)
        if now < self.ends_at or not self.samples:
            self.send_next(transport)
        else:
            self.ended_at = now
            transport.disconnect()

    def send_next(self, transport: WSTransport) -> None:
        self.sent_at = perf_counter_ns()
        transport.send(WSMsgType.BINARY, self.payload)


class ProgressBar:
    """On a terminal only, below the table; drawn between two messages, so that none waits."""

    WIDTH = 40
    INTERVAL = 100_000_000  # nanoseconds

    def __init__(self, seconds: float) -> None:
        self.is_on = sys.stderr.isatty()
        self.starts_at = self.next_at = perf_counter_ns()
        self.duration = seconds * 1e9

    def show(self, now: int) -> None:
        if self.is_on and now >= self.next_at:
            self.next_at = now + self.INTERVAL
            done = min((now - self.starts_at) / self.duration, 1.0)
            full = round(done * self.WIDTH)
            bar = "#" * full + "." * (self.WIDTH - full)
            print(f"\r[{bar}] {done:4.0%}", end="", file=sys.stderr, flush=True)

    def hide(self) -> None:
        if self.is_on:
            print(f"\r{' ' * (self.WIDTH + 7)}\r", end="", file=sys.stderr, flush=True)


async def measure(urls: Sequence[str], authority: Path, seconds: float) -> None:
    context = ssl.create_default_context(cafile=str(authority))
    loop = type(asyncio.get_running_loop())
    print(
        f"picows {__version__}, {platform.python_implementation()} {platform.python_version()},"
        f" {loop.__module__.partition('.')[0]}, {platform.system()} {platform.machine()}\n"
        "one connection, one message at a time, client and server on this machine\n"
    )
    print(COLUMNS.format("", "payload", "round trips/s", "p50", "p90", "p99", "max"))
    progress = ProgressBar(len(urls) * len(SIZES) * (seconds + WARM_UP))
    try:
        for name, url in zip(("plain TCP", "TLS"), urls):
            for size in SIZES:
                result = await measure_one(url, context, size, seconds, progress)
                times = (f"{time / 1000:,.1f} us" for time in result.percentiles)
                progress.hide()
                print(
                    COLUMNS.format(name, f"{size:,} B", f"{result.per_second:,.0f}", *times),
                    flush=True,
                )
    finally:
        progress.hide()


async def measure_one(
    url: str, context: ssl.SSLContext, size: int, seconds: float, progress: ProgressBar
) -> Result:
    async with ws_connect(
        url,
        Pinger(size, seconds, progress),
        ssl_context=context if url.startswith("wss:") else None,
    ) as (transport, pinger):
        await transport.wait_disconnected()
    cause = transport.disconnect_cause
    if not cause or cause.kind is not WSDisconnectKind.LOCAL_CLOSE:
        raise RuntimeError(f"the measurement over {url} ended early: {cause}")
    return Result.of(pinger.samples, pinger.ended_at - pinger.counts_from)


def main(seconds: float) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        authority, certificate = Path(temporary, "authority.pem"), Path(temporary, "server.pem")
        issuer = trustme.CA()
        issuer.cert_pem.write_to_path(str(authority))
        issued = issuer.issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(str(certificate))
        with echo_server(certificate) as urls:
            run(measure(urls, authority, seconds))


if __name__ == "__main__":
    try:
        if sys.argv[1:2] == ["--serve"]:
            run(serve(sys.argv[2]))
        else:
            main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
    except KeyboardInterrupt:
        sys.exit(130)
