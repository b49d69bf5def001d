"""Counts user-space instructions per message with valgrind's callgrind.

    python -m bench.micro.instructions [--only NAME ...] [--peers NAME[,NAME...]] [--output FILE]

A program runs twice, with few and with many messages. The difference, divided by the number of
messages, is what a message costs, because start and end cancel out. The figures do not depend on
how busy or fast the machine is, only on code, compiler, interpreter and the vector instructions
that valgrind knows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.machine import machine_facts
from bench.payloads import payload_options
from bench.peers.catalogue import C, Peer, choose_peers
from bench.peers.install import (
    Installation,
    Installed,
    NotAvailable,
    Ours,
    first_line,
    python_environment,
)
from bench.processes import Failed, Process
from bench.report import new_console
from bench.scenarios import CLIENT, SCENARIOS, SERVER, Scenario, choose_scenarios

__all__ = ["COUNTED", "Counter", "main"]

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 600.0  # seconds for a program under valgrind, which is some fifty times slower


@dataclass(frozen=True)
class Counts:
    """Messages of the two runs."""

    few: int
    many: int


ECHOES = Counts(1000, 3000)
STREAMED = Counts(20_480, 61_440)  # whole bursts of a source
OPENED = Counts(500, 1500)  # connections

# Scenarios and who is counted in them.
COUNTED: Dict[str, Sequence[str]] = {
    "echo-client-256": ("ours", "ours-coroutine", "picows"),
    "echo-server-1-256": ("ours", "ours-compiled", "ours-coroutine", "picows", "picows-compiled"),
    "inbound-client-64": ("ours", "ours-compiled", "ours-batch", "picows", "picows-compiled"),
    "inbound-server-64": ("ours", "ours-compiled", "ours-batch", "picows", "picows-compiled"),
    "outbound-client-64-cork": ("ours", "ours-batch", "picows"),
    "outbound-client-64-plain": ("ours", "picows"),
    "outbound-server-64-cork": ("ours", "ours-batch", "picows"),
    "outbound-server-64-plain": ("ours", "picows"),
    "inbound-client-100": (
        "ours",
        "ours-batch",
        "ours-coroutine",
        "ours-many",
        "picows-websockets",
    ),
    "connections-client": ("ours", "picows"),
    "deflate-in-client-262": ("ours", "picows-websockets"),
    "deflate-out-server-262": ("ours", "picows-websockets"),
}


class Counter:
    """Runs programs under callgrind, pinned as in the bench."""

    def __init__(self, work: Path, installed: Dict[str, Installed]) -> None:
        self._work = work
        self._installed = installed
        self._logs = work / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)

    def per_message(self, scenario: Scenario, peer: Peer) -> float:
        """Return instructions per message of the peer, as the subject of the scenario."""
        counts = counts_of(scenario)
        # Python writes its bytecode files in a first run; that one needs no valgrind.
        self._run(scenario, peer, counts.few, None)
        few = self._total(scenario, peer, counts.few)
        many = self._total(scenario, peer, counts.many)
        return (many - few) / (counts.many - counts.few)

    def _total(self, scenario: Scenario, peer: Peer, messages: int) -> int:
        profile = self._work / "callgrind.out"
        profile.unlink(missing_ok=True)
        self._run(scenario, peer, messages, profile)
        return total_of(profile)

    def _run(self, scenario: Scenario, peer: Peer, messages: int, profile: Optional[Path]) -> None:
        """Move messages; with a profile to write, the subject runs under valgrind."""
        with self._start(scenario, peer, SERVER, messages, profile, None) as server:
            port = int(server.read(TIMEOUT)["port"])
            with self._start(scenario, peer, CLIENT, messages, profile, port) as client:
                judge = client if scenario.judge == CLIENT else server
                judge.read(TIMEOUT)
                if scenario.subject == CLIENT and scenario.judge == SERVER:
                    client.read(TIMEOUT)

    def _start(
        self,
        scenario: Scenario,
        peer: Peer,
        side: str,
        messages: int,
        profile: Optional[Path],
        port: Optional[int],
    ) -> Process:
        player = peer if scenario.subject == side else C
        installed = self._installed[player.library.name]
        command = [*(installed.server if side == SERVER else installed.client)]
        command += [scenario.server_role if side == SERVER else scenario.client_role]
        command += ["--size", str(scenario.size), "--messages", str(messages)]
        command += [] if port is None else ["--port", str(port)]
        command += ["--connections", str(scenario.connections)] if side == CLIENT else []
        command += payload_options(self._work, scenario, peer, player)
        command += player.options()
        if scenario.cork and scenario.subject == side and player.has_cork:
            command.append("--cork")
        if profile is not None and scenario.subject == side:
            command = [
                "valgrind",
                "--tool=callgrind",
                f"--callgrind-out-file={profile}",
                *command,
            ]
        # A fixed seed: the order of a dict's or set's entries decides how often they collide.
        environment = python_environment(
            self._work, {**installed.environment, "PYTHONHASHSEED": "0"}
        )
        core = 0 if side == SERVER else 1
        return Process(command, core, environment, self._logs / f"{side}.log", stop_timeout=TIMEOUT)


def counts_of(scenario: Scenario) -> Counts:
    """Return how many messages, or connections, the two runs of a scenario move."""
    if scenario.client_role == "churn":
        return OPENED
    return ECHOES if "echo" in scenario.name else STREAMED


def total_of(profile: Path) -> int:
    """Return the instructions of a callgrind profile. Raises Failed if there is none."""
    if profile.exists():
        for line in profile.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name in {"totals", "summary"}:
                return int(value.split()[0])
    raise Failed("valgrind left no profile")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.micro.instructions",
        description="Count user-space instructions per message (needs valgrind on PATH).",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help=f"scenario, with * and ?; may be repeated (default: {', '.join(COUNTED)})",
    )
    parser.add_argument("--peers", help="who is counted, separated by commas")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "bench" / "results" / "instructions.json"
    )
    parser.add_argument("--work", type=Path, default=ROOT / ".venv-bench")
    parser.add_argument("--python", type=Path, help="interpreter that has our packages")
    parser.add_argument("--python-path", default="", help="its PYTHONPATH")
    return parser.parse_args()


def main() -> None:
    """Count, print a table, write JSON."""
    arguments = parse_arguments()
    console = new_console()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not on PATH (package valgrind)")
    try:
        chosen = choose_scenarios(arguments.only) if arguments.only else list_counted()
        peers = choose_peers(arguments.peers.split(",")) if arguments.peers else None
    except ValueError as error:
        sys.exit(str(error))
    plan = [
        (scenario, peers or choose_peers(COUNTED.get(scenario.name, ("ours", "picows"))))
        for scenario in chosen
    ]
    ours = Ours(arguments.python, arguments.python_path)
    installation = Installation(arguments.work.resolve(), ours)
    libraries = {C.library, *(peer.library for _, some in plan for peer in some)}
    try:
        installed = {library.name: installation.install(library) for library in libraries}
    except NotAvailable as error:
        sys.exit(str(error))
    counter = Counter(installation.work, installed)
    figures: Dict[str, Dict[str, float]] = {}
    for scenario, some in plan:
        for peer in some:
            console.print(f"{scenario.name}: {peer.name}", style="dim", highlight=False)
            figure = counter.per_message(scenario, peer)
            figures.setdefault(scenario.name, {})[peer.name] = round(figure, 1)
    console.print(table_of(figures))
    content = {
        "machine": machine_facts(),
        "versions": {name: one.versions for name, one in sorted(installed.items())},
        "valgrind": first_line(["valgrind", "--version"]),
        "instructions_per_message": figures,
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def list_counted() -> List[Scenario]:
    """Return the scenarios that are counted by default."""
    return [SCENARIOS[name] for name in COUNTED]


def table_of(figures: Dict[str, Dict[str, float]]) -> Table:
    """Return the figures as a table, with the ratio to picows."""
    table = Table(
        box=SIMPLE_HEAD, title="User-space instructions per message", title_justify="left"
    )
    for name in ("", "", "instructions", "of picows"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for scenario, counted in figures.items():
        base = counted.get("picows")
        for peer, figure in counted.items():
            share = f"{figure / base:.2f}" if base else ""
            table.add_row(scenario, peer, f"{figure:,.0f}", share)
    return table


if __name__ == "__main__":
    main()
