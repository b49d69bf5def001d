"""Measures what several workers cost: messages per second of their CPU time (Linux).

    python -m bench.micro.workers [--workers N ...] [--rounds N] [--seconds S]
        [--connections N] [--window N] [--apart] [--server c]

A service (``python -m picows_server``) echoes messages of 256 bytes to the C client, which keeps
``--window`` messages under way on each of ``--connections`` connections for each worker. The kernel
shares them out among the workers.
With ``--server c`` they are processes of the C server instead, one for each worker: what of the
result is the machine's and not the service's.
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
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional

from bench.peers.install import Installation, Ours
from bench.processes import allow_many_files
from bench.service import ROOT, Service, free_port
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


class Programs(NamedTuple):
    """The C programs."""

    client: str
    server: str


class Running(NamedTuple):
    """Servers on one port."""

    port: str
    pids: List[int]
    supervisor: Optional[int]
    processes: Callable[[], List[int]]

    def supervisor_cpu(self) -> float:
        """Return the seconds of CPU that it has used, if there is one."""
        return 0.0 if self.supervisor is None else cpu_of(self.supervisor)


def pin(pids: Iterable[int], core: int) -> None:
    """Have all threads of these processes run on one core."""
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), {core})


@contextmanager
def running_service(workers: int) -> Iterator[Running]:
    """A service of ours."""
    with tempfile.TemporaryDirectory() as folder:
        options = ("--drain-grace", "0", "--drain-spread", "0")
        application = "bench.micro.workers:Echo"
        with Service(application, workers, Path(folder) / "log", options=options) as service:
            service.start()
            pids = service.wait_ready()
            yield Running(service.url.rpartition(":")[2], pids, service.pid, service.processes)


@contextmanager
def running_c(program: str, workers: int) -> Iterator[Running]:
    """As many processes of the C server, on one port."""
    port = str(free_port())
    command = [program, "echo", "--port", port, "--size", str(SIZE), "--reuse-port", "1"]
    with ExitStack() as stack:
        pids = []
        for _ in range(workers):
            process = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert process.stdout is not None
            process.stdout.readline()  # it listens
            pids.append(process.pid)
        yield Running(port, pids, None, lambda: pids)


def measure(workers: int, programs: Programs, arguments: argparse.Namespace) -> Dict[str, float]:
    """Measure once."""
    if arguments.server == "c":
        started = running_c(programs.server, workers)
    else:
        started = running_service(workers)
    with started as running:
        connections = arguments.connections * workers
        words = ["--port", running.port, "--size", SIZE]
        words += ["--connections", connections, "--seconds", arguments.seconds]
        words += ["--window", arguments.window]
        for pid in running.pids:
            words += ["--watch", pid]
        if arguments.apart:
            pin(running.processes(), 0)
        before = [cpu_of(pid) for pid in running.pids]
        supervisor = running.supervisor_cpu()
        command = [*(["taskset", "--cpu-list", "1"] if arguments.apart else []), programs.client]
        output = subprocess.check_output([*command, "echo", *map(str, words)])
        shares = [cpu_of(pid) - early for pid, early in zip(running.pids, before)]
        supervisor = running.supervisor_cpu() - supervisor
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
    parser.add_argument(
        "--server", choices=("service", "c"), default="service", help="default: %(default)s"
    )
    parser.add_argument("--work", type=Path, default=ROOT / ".venv-bench")
    arguments = parser.parse_args()
    allow_many_files()
    installation = Installation(arguments.work.resolve(), Ours(None, ""))
    programs = Programs(*(str(installation.native(name)) for name in ("client", "server")))
    rounds: Dict[int, List[Dict[str, float]]] = {count: [] for count in arguments.workers}
    for _ in range(arguments.rounds):
        for count in arguments.workers:
            rounds[count].append(measure(count, programs, arguments))
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
