"""Guards the figures that do not depend on the machine's load: instructions, and idle memory.

    python -m bench.guard [--update] [--tolerance FRACTION]

Compares with ``guard.json``, which was written by ``--update``; ends with an error if a figure of
ours has grown by more than the tolerance. Times are not guarded: they vary too much. Instructions
depend on interpreter and compiler, too, so a file belongs to one of each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any, Dict, List

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.measure import Bench, Settings
from bench.micro.instructions import COUNTED, Counter
from bench.peers.catalogue import OURS, C, choose_peers
from bench.peers.install import Installation, NotAvailable, Ours
from bench.processes import allow_many_files
from bench.quiet import Observer
from bench.report import new_console
from bench.scenarios import SCENARIOS

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[1]
MEMORY = ("memory-server", "memory-server-tls", "memory-client")
CONNECTIONS = 2000  # enough for a stable quotient
# Memory is counted in pages, and its allocator takes more than one at a time.
MEMORY_TOLERANCE = 0.15


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.guard",
        description="Compare instructions per message and memory per connection with a file.",
    )
    parser.add_argument("--update", action="store_true", help="write the file instead")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.05,
        help="growth of instructions that is accepted (default: %(default)s)",
    )
    parser.add_argument("--file", type=Path, default=ROOT / "bench" / "guard.json")
    parser.add_argument("--work", type=Path, default=ROOT / ".venv-bench")
    parser.add_argument("--python", type=Path, help="interpreter that has our packages")
    parser.add_argument("--python-path", default="", help="its PYTHONPATH")
    return parser.parse_args()


def main() -> None:
    """Measure and compare, or write."""
    arguments = parse_arguments()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not on PATH (package valgrind)")
    allow_many_files()
    figures = measure(arguments)
    if arguments.update:
        arguments.file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        return
    expected: Dict[str, Dict[str, float]] = json.loads(arguments.file.read_text(encoding="utf-8"))
    table = Table(box=SIMPLE_HEAD)
    for name in ("", "expected", "measured", ""):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    grown: List[str] = []
    for kind, known in expected.items():
        tolerance = MEMORY_TOLERANCE if kind == "bytes_per_idle_connection" else arguments.tolerance
        for name, before in known.items():
            now = figures[kind].get(name)
            if now is None:
                sys.exit(f"{name} was not measured")
            change = now / before - 1
            if change > tolerance:
                grown.append(name)
            remark = "GROWN" if change > tolerance else "shrunk" if change < -tolerance else ""
            table.add_row(name, f"{before:,.0f}", f"{now:,.0f}", f"{change:+.1%} {remark}")
    new_console().print(table)
    if grown:
        sys.exit(
            f"more than before: {', '.join(grown)}; if meant so: python -m bench.guard --update"
        )


def measure(arguments: argparse.Namespace) -> Dict[str, Dict[str, float]]:
    """Return instructions per message and bytes per connection of ours."""
    installation = Installation(
        arguments.work.resolve(), Ours(arguments.python, arguments.python_path)
    )
    try:
        installed: Dict[str, Any] = {
            peer.library.name: installation.install(peer.library) for peer in (C, OURS)
        }
    except NotAvailable as error:
        sys.exit(str(error))
    counter = Counter(installation.work, installed)
    observer = Observer(installation.native("calibrate"), (0, 1))
    settings = Settings(idle_connections=CONNECTIONS)
    bench = Bench(installation.work, installed, observer, settings)
    instructions = {
        f"{name}: {peer.name}": round(counter.per_message(SCENARIOS[name], peer), 1)
        for name, peers in COUNTED.items()
        for peer in choose_peers(peers)
        if peer.library is OURS.library
    }
    memory = {
        name: round(bench.measure(SCENARIOS[name], OURS).value, 1)
        for name in MEMORY
        if bench.can_play(SCENARIOS[name], OURS)
    }
    return {"instructions_per_message": instructions, "bytes_per_idle_connection": memory}


if __name__ == "__main__":
    main()
