"""Measures what several workers cost: messages per second of their CPU time (Linux).

    python -m bench.micro.workers [--workers N ...] [--rounds N] [--seconds S]
        [--connections N] [--window N]

A service (``python -m picows_server``) echoes messages of 256 bytes to the C client, which keeps
``--window`` messages under way on each of ``--connections`` connections for each worker. The kernel
shares them out among the workers.
What counts is the messages per second of CPU time of all workers together, by the scheduler's
statistics: the client uses the same cores, so the time by the clock says little. The supervisor's
CPU time is not in it, but printed. A round measures every number of workers once; the ratio to the
first number is taken in each round, and its median printed with the lowest and the highest. The
work directory of ``bench.run`` has the C client.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Dict, Iterable, List

from bench.peers.install import Installation, Ours
from bench.processes import allow_many_files
from bench.service import ROOT, Service
from picows_server import WSFrame, WSListener, WSMsgType, WSTransport

__all__ = ["Echo", "main"]

TICK = os.sysconf("SC_CLK_TCK")
SIZE = 256


class Echo(WSListener):
    """What the workers serve."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.opcode is WSMsgType.BINARY:
            transport.send(WSMsgType.BINARY, frame)


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has used, in ticks of the kernel."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / TICK


def pin(pids: Iterable[int], core: int) -> None:
    """Have all threads of these processes run on one core."""
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})


def measure(workers: int, client: str, arguments: argparse.Namespace) -> Dict[str, float]:
    """Measure once."""
    with tempfile.TemporaryDirectory() as folder:
        application = "bench.micro.workers:Echo"
        options = ("--drain-grace", "0", "--drain-spread", "0")
        with Service(application, workers, Path(folder) / "log", options=options) as service:
            service.start()
            pids = service.wait_ready()
            connections = arguments.connections * workers
            words = ["--port", service.url.rpartition(":")[2], "--size", SIZE]
            words += ["--connections", connections, "--seconds", arguments.seconds]
            words += ["--window", arguments.window]
            for pid in pids:
                words += ["--watch", pid]
            if arguments.apart:
                pin(service.processes(), 0)
            before = [cpu_of(pid) for pid in (*pids, service.pid)]
            command = [*(["taskset", "--cpu-list", "1"] if arguments.apart else []), client, "echo"]
            output = subprocess.check_output([*command, *map(str, words)])
            after = [cpu_of(pid) for pid in (*pids, service.pid)]
    *shares, supervisor = (late - early for early, late in zip(before, after))
    found: Dict[str, float] = json.loads(output)
    found["rate"] = found["count"] / found["watched_cpu"]
    found["least"] = min(shares) / sum(shares)
    found["supervisor"] = supervisor
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.micro.workers",
        description="Measure messages per second of the CPU time of several workers.",
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=3.0, help="default: %(default)s")
    parser.add_argument(
        "--connections", type=int, default=200, help="for each worker (default: %(default)s)"
    )
    parser.add_argument(
        "--apart", action="store_true", help="all workers on core 0, the client on core 1"
    )
    parser.add_argument("--window", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--work", type=Path, default=ROOT / ".venv-bench")
    arguments = parser.parse_args()
    allow_many_files()
    client = str(Installation(arguments.work.resolve(), Ours(None, "")).native("client"))
    rounds: Dict[int, List[Dict[str, float]]] = {count: [] for count in arguments.workers}
    for _ in range(arguments.rounds):
        for count in arguments.workers:
            rounds[count].append(measure(count, client, arguments))
    first = rounds[arguments.workers[0]]
    print("workers, messages/s of their CPU, CPU of a message, messages/s, least busy, ratio")
    for count, found in rounds.items():
        ratios = sorted(own["rate"] / base["rate"] for own, base in zip(found, first))
        rate = median(one["rate"] for one in found)
        pace = median(one["count"] / one["seconds"] for one in found)
        print(
            f"{count:>7} {rate:>12,.0f} {1e6 / rate:>8.2f} us {pace:>10,.0f}"
            f" {median(one['least'] for one in found):>6.0%} {median(ratios):>8.3f}"
            f" ({ratios[0]:.3f} to {ratios[-1]:.3f})"
            f"  supervisor {median(one['supervisor'] for one in found):.2f} s"
        )


if __name__ == "__main__":
    main()
