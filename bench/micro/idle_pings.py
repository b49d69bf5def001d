"""Measures what idle connections cost a server: memory, and the CPU of pings (Linux).

    python -m bench.micro.idle_pings [--connections N ...] [--intervals S ...] [--seconds S]
    python -m bench.micro.idle_pings --memory-transport [--connections N ...]

A server process has N connections over loopback from a client in another process, and pings each
of them every so many seconds (0: never). They were opened at an even rate during one interval, so
their deadlines are spread evenly. After one more interval the server's CPU time of ``--seconds`` is
divided by the pings that the client got meanwhile. A process needs a descriptor for each
connection: see ``ulimit -n``. The memory is what the process grew by, per connection, while they
were opened. At the end the server closes all of them; what counts there is for how long an
iteration of its loop held up others.

With ``--memory-transport`` the connections of one process share a fake clock, so that there may be
any number of them. Then it is the time of the codec alone: looks, pings, and the parsing of pongs.
Needs the three wheels.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import subprocess
import sys
from contextlib import suppress
from time import process_time
from typing import Any, Coroutine, Dict, List

from bench.processes import allow_many_files
from picows_client import ws_connect
from picows_codec import WSAutoPingStrategy, WSFrame, WSListener, WSMsgType, WSTransport
from picows_codec.testing.clock import FakeLoop
from picows_codec.testing.memory_connection import MemoryConnection
from picows_codec.testing.memory_transport import MemoryTransport
from picows_server import WSServer, ws_create_server

__all__ = ["main"]

COUNTS = (1000, 9000, 18_000)
MEMORY_COUNTS = (*COUNTS, 200_000)
PINGS = 5.0  # seconds between them
FIRST = 500  # connections that are open before the memory is first looked at
GROUP = 0.005  # seconds between groups of connections that are opened
PONG = bytes([0x8A, 0x88, 0, 0, 0, 0])  # masked with zeros, so the payload follows as it is
PING_SIZE = 2 + 8


def options(interval: float) -> Dict[str, Any]:
    """The options of the server's connections."""
    if not interval:
        return {}
    return {
        "enable_auto_ping": True,
        "auto_ping_idle_timeout": interval,
        "auto_ping_strategy": WSAutoPingStrategy.PING_WHEN_IDLE,
    }


def figures() -> Dict[str, float]:
    """CPU time and resident memory of this process."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as file:
        resident = next(int(line.split()[1]) * 1024 for line in file if line.startswith("Rss:"))
    return {"cpu": process_time(), "resident": resident}


def say(value: Dict[str, float]) -> None:
    """Tell the parent process."""
    print(json.dumps(value), flush=True)


async def next_line() -> str:
    """Wait for the parent process; returns nothing when it is gone."""
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def serve(interval: float) -> None:
    """Serve, and print figures whenever the parent process asks."""
    server = await ws_create_server("ws://127.0.0.1:0/", WSListener, **options(interval))
    async with server:
        say({"port": server.sockets[0].getsockname()[1]})
        while await next_line() == "figures\n":
            say(figures())
        say({"longest": await longest_iteration(close(server))})


async def close(server: WSServer) -> None:
    """Close all connections."""
    server.close()
    await server.wait_closed()


async def longest_iteration(work: Coroutine[Any, Any, None]) -> float:
    """Return the CPU seconds of the loop's longest iteration during some work."""
    task = asyncio.ensure_future(work)
    longest, last = 0.0, process_time()
    while not task.done():
        await asyncio.sleep(0)
        now = process_time()
        longest, last = max(longest, now - last), now
    return longest


class Pinged(WSListener):
    """A client's: counts and answers the pings of all connections."""

    count = 0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.PING:
            Pinged.count += 1
            transport.send_pong(frame)


async def open_idle(port: int, connections: int, seconds: float) -> None:
    """Open connections at an even rate, and print how many pings came whenever asked."""
    loop = asyncio.get_running_loop()
    url = f"ws://127.0.0.1:{port}/"
    opened: List[Any] = []

    async def open_some(count: int, seconds: float) -> None:
        start, before = loop.time(), len(opened)
        while len(opened) < before + count:
            due = before + min(count, 1 + int(count * (loop.time() - start) / seconds))
            while len(opened) < due:
                opened.append(await ws_connect(url, Pinged, enable_auto_pong=False))
            await asyncio.sleep(GROUP)

    await open_some(FIRST, 0.1)
    say({"open": FIRST})
    await next_line()
    await open_some(connections - FIRST, seconds)
    say({"open": connections})
    while await next_line():
        say({"pings": Pinged.count})


def run(loop_name: str, main_coroutine: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a kind of loop."""
    if loop_name == "uvloop":
        import uvloop  # noqa: PLC0415 - only where it is asked for

        uvloop.install()
    asyncio.run(main_coroutine)


class Part:
    """A process that answers each line by one."""

    def __init__(self, *words: object, module: str = "bench.micro.idle_pings") -> None:
        command = [sys.executable, "-m", module, *map(str, words)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self) -> Dict[str, float]:
        """Return the next line."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a process has ended")
        found: Dict[str, float] = json.loads(line)
        return found

    def ask(self, what: str = "figures") -> Dict[str, float]:
        """Send a line and return the next one."""
        assert self._process.stdin is not None
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return self.read()

    def stop(self) -> None:
        """End it."""
        with suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate("", timeout=20)
        self._process.kill()
        self._process.wait()


def measure(connections: int, interval: float, arguments: argparse.Namespace) -> str:
    """Return a row: of real connections."""
    pause: Any = asyncio.run
    server = Part("--play", "server", "--intervals", interval, "--loop", arguments.loop)
    client = None
    try:
        spread = interval or PINGS
        words = ("--port", int(server.read()["port"]), "--intervals", spread)
        client = Part(
            "--play", "client", *words, "--connections", connections, "--loop", arguments.loop
        )
        client.read()
        first = server.ask()
        client.ask()
        full = server.ask()
        pause(asyncio.sleep(spread))
        before, pings = server.ask(), client.ask()["pings"]
        pause(asyncio.sleep(arguments.seconds))
        after, pings = server.ask(), client.ask()["pings"] - pings
        longest = server.ask("close")["longest"]
    finally:
        if client is not None:
            client.stop()
        server.stop()
    cpu = after["cpu"] - before["cpu"]
    size = (full["resident"] - first["resident"]) / (connections - FIRST)
    row = f"{connections:>9,} {size:>9,.0f} B {longest * 1e3:>9.1f} ms"
    row += f" {cpu / arguments.seconds:>9.2%}"
    if interval:
        row += f" {pings / arguments.seconds:>10,.0f} /s {cpu / max(pings, 1) * 1e6:>10.1f} us"
    return row


class Network(MemoryTransport):
    """The network of a connection: its peer answers pings, which are counted."""

    pings = 0

    def write(self, data: Any) -> None:
        if len(data) == PING_SIZE and data[0] == 0x89:
            Network.pings += 1
            self._loop.call_soon(self.feed, PONG + bytes(data[2:]))


def simulate(connections: int, interval: float) -> str:
    """Return a row: of connections in this process."""
    loop = FakeLoop()
    alive = []
    groups = int(interval * 1000)  # one for each millisecond
    for group in range(groups):
        for _ in range(connections * (group + 1) // groups - connections * group // groups):
            connection = MemoryConnection(
                "server",
                lambda *_: WSListener(),
                logger=logging.getLogger("picows"),
                loop=loop,
                transport_class=Network,
                **options(interval),
            )
            connection.start()
            connection.network.feed(connection.opening_bytes())
            alive.append(connection)
        loop.advance(0.001)
    loop.advance(interval)
    start, before = process_time(), Network.pings
    loop.advance(4 * interval)
    cpu = process_time() - start
    return f"{connections:>9,} {cpu / (Network.pings - before) * 1e6:>10.2f} us"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.micro.idle_pings",
        description="Measure idle connections of a server: memory, and CPU with pings.",
    )
    parser.add_argument("--connections", type=int, nargs="+")
    parser.add_argument("--intervals", type=float, nargs="+", default=[0.0, PINGS])
    parser.add_argument("--seconds", type=float, default=20.0, help="that are measured")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--memory-transport", action="store_true")
    parser.add_argument("--play", choices=["server", "client"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print the tables."""
    arguments = parse_arguments()
    allow_many_files()
    if arguments.play == "server":
        run(arguments.loop, serve(arguments.intervals[0]))
    elif arguments.play == "client":
        run(
            arguments.loop,
            open_idle(arguments.port, arguments.connections[0], arguments.intervals[0]),
        )
    elif arguments.memory_transport:
        print("connections, time of the codec for a ping and its pong", flush=True)
        for count in arguments.connections or MEMORY_COUNTS:
            print(simulate(count, PINGS), flush=True)
    else:
        for interval in arguments.intervals:
            print(
                f"pings every {interval:g} s: " if interval else "no pings: ",
                "connections, memory of one, longest iteration when closing, CPU of a core",
                ", pings, CPU of a ping and its pong" if interval else "",
                sep="",
                flush=True,
            )
            for count in arguments.connections or COUNTS:
                print(measure(count, interval, arguments), flush=True)


if __name__ == "__main__":
    main()
