"""Measures what it costs a server to drain many idle connections (Linux).

    python -m bench.micro.draining [--connections N ...] [--spread S] [--rounds N]

A server process has N connections over loopback from a client in another process, and drains:
``server.drain(grace=0, spread=...)``. Each round drains twice. The first time nothing else runs in
the server's loop; its CPU time is divided by the connections. The second time a task looks at the
clock in each iteration of the loop; what counts is the iteration that took the most CPU time, for
so long nobody else is served (and the longest by the clock, which other processes make longer). The
client notes when each connection gets its CLOSE: the share of them that came by any moment differs
from an even rate by at most ``uneven``, the Kolmogorov-Smirnov distance (0: exactly even; random
times alone make 0.01 of 18,000 connections). All must get the CLOSE, with the drain's code.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from statistics import median
from time import perf_counter, process_time
from typing import Any, ClassVar, Coroutine, Dict, List, Sequence, Tuple

from bench.micro.idle_pings import Part, next_line, run, say
from bench.processes import allow_many_files
from picows_client import ws_connect
from picows_codec import WSCloseCode, WSListener, WSTransport
from picows_server import ws_create_server

__all__ = ["main"]

COUNTS = (1000, 9000, 18_000)
OPENED_AT_ONCE = 64
MODULE = "bench.micro.draining"
TIMEOUT = 60.0  # seconds beyond the spread until the server aborts what is left


async def serve(spread: float, is_watched: bool) -> None:
    """Serve, and drain when the parent process says so."""
    server = await ws_create_server("ws://127.0.0.1:0/", WSListener, backlog=4096)
    say({"port": server.sockets[0].getsockname()[1]})
    await next_line()
    connections = server.connections
    start, cpu = perf_counter(), process_time()
    drain = server.drain(grace=0, spread=spread, timeout=spread + TIMEOUT)
    longest = latest = 0.0
    if is_watched:
        longest, latest = await longest_iteration(drain)
    else:
        await drain
    say(
        {
            "connections": connections,
            "cpu": process_time() - cpu,
            "seconds": perf_counter() - start,
            "longest": longest,
            "latest": latest,
            "start": start,
        }
    )
    await next_line()


async def longest_iteration(work: Coroutine[Any, Any, None]) -> Tuple[float, float]:
    """Return seconds of the loop's longest iteration during some work: of CPU, and of the clock."""
    task = asyncio.ensure_future(work)
    longest = latest = 0.0
    cpu, clock = process_time(), perf_counter()
    while not task.done():
        await asyncio.sleep(0)
        cpu_now, now = process_time(), perf_counter()
        longest, latest = max(longest, cpu_now - cpu), max(latest, now - clock)
        cpu, clock = cpu_now, now
    return longest, latest


class Drained(WSListener):
    """A client's: notes when it is told to leave."""

    times: ClassVar[List[float]] = []

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        cause = transport.disconnect_cause
        if cause is not None and cause.code == WSCloseCode.SERVICE_RESTART:
            Drained.times.append(perf_counter())


async def open_idle(port: int, connections: int) -> None:
    """Open connections, wait until all are closed, and print when each was."""
    url = f"ws://127.0.0.1:{port}/"
    opened: List[WSTransport] = []
    while len(opened) < connections:
        count = min(OPENED_AT_ONCE, connections - len(opened))
        pairs = await asyncio.gather(*(ws_connect(url, Drained) for _ in range(count)))
        opened += [transport for transport, _ in pairs]
    print(json.dumps({"open": len(opened)}), flush=True)
    for transport in opened:
        await transport.wait_disconnected()
    print(json.dumps({"times": Drained.times}), flush=True)


def distance(start: float, times: Sequence[float], spread: float) -> float:
    """Return how far the times are from an even rate over ``spread``, from 0 to 1."""
    count = len(times)
    shares = [(moment - start) / spread for moment in sorted(times)]
    return max(
        max(abs(share - index / count), abs(share - (index + 1) / count))
        for index, share in enumerate(shares)
    )


def measure(connections: int, arguments: argparse.Namespace, is_watched: bool) -> Dict[str, float]:
    """Drain once."""
    words: List[Any] = ["--spread", arguments.spread, "--loop", arguments.loop]
    watched = ["--watched"] if is_watched else []
    server = Part("--play", "server", *words, *watched, module=MODULE)
    client = None
    try:
        port = int(server.read()["port"])
        words += ["--port", port, "--connections", connections]
        client = Part("--play", "client", *words, module=MODULE)
        client.read()
        found = server.ask("drain")
        times: Any = client.read()["times"]
    finally:
        if client is not None:
            client.stop()
        server.stop()
    if not found["connections"] == len(times) == connections:
        sys.exit(f"only {len(times)} of {connections} connections got the CLOSE of the drain")
    found["uneven"] = distance(found["start"], times, arguments.spread)
    return found


def row(connections: int, arguments: argparse.Namespace) -> str:
    """Return the medians of some rounds."""
    plain, watched = [], []
    for _ in range(arguments.rounds):
        plain.append(measure(connections, arguments, is_watched=False))
        watched.append(measure(connections, arguments, is_watched=True))
    cpu = median(found["cpu"] for found in plain)
    text = f"{connections:>9,} {median(found['seconds'] for found in plain):>8.1f} s"
    text += f" {cpu:>8.2f} s {cpu / connections * 1e6:>8.1f} us"
    text += f" {median(found['longest'] for found in watched) * 1e3:>8.2f} ms"
    text += f" {median(found['latest'] for found in watched) * 1e3:>8.2f} ms"
    return text + f" {median(found['uneven'] for found in plain):>8.4f}"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.micro.draining",
        description="Measure what it costs a server to drain many idle connections.",
    )
    parser.add_argument("--connections", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--spread", type=float, default=30.0, help="seconds (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--loop", choices=["uvloop", "asyncio"], default="uvloop")
    parser.add_argument("--play", choices=["server", "client"], help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Print the table."""
    arguments = parse_arguments()
    allow_many_files()
    if arguments.play == "server":
        run(arguments.loop, serve(arguments.spread, arguments.watched))
    elif arguments.play == "client":
        run(arguments.loop, open_idle(arguments.port, arguments.connections[0]))
    else:
        print(
            f"spread over {arguments.spread:g} s: connections, time, CPU, CPU of one,"
            " longest iteration by CPU, by the clock, uneven",
            flush=True,
        )
        for count in arguments.connections:
            print(row(count, arguments), flush=True)


if __name__ == "__main__":
    main()
