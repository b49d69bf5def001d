"""Measures kernels, parser and handshake without sockets; prints a table, writes JSON.

python -m bench.micro.kernels [--only NAME ...] [--seconds S] [--core N] [--output FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

from rich.box import SIMPLE_HEAD
from rich.table import Table

from bench.machine import machine_facts
from bench.peers.catalogue import OURS
from bench.peers.install import Installation, NotAvailable, Ours, python_environment
from bench.report import new_console

__all__ = ["main"]

ROOT = Path(__file__).resolve().parents[2]


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.micro.kernels", description=__doc__)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="mask, key, header, utf8, parser, handshake or endpoint; may be repeated",
    )
    parser.add_argument(
        "--seconds", type=float, default=0.3, help="for each figure (default: %(default)s)"
    )
    parser.add_argument("--core", type=int, default=1, help="to run on (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "kernels.json")
    parser.add_argument("--work", type=Path, default=ROOT / ".venv-bench")
    parser.add_argument("--python", type=Path, help="interpreter that has the codec")
    parser.add_argument("--python-path", default="", help="its PYTHONPATH")
    return parser.parse_args()


def main() -> None:
    """Install the codec, run the worker, print its figures."""
    arguments = parse_arguments()
    console = new_console()
    ours = Ours(arguments.python, arguments.python_path)
    installation = Installation(arguments.work.resolve(), ours)
    try:
        installed = installation.install(OURS.library)
        python = Path(installed.client[0])
        path = installed.environment["PYTHONPATH"]
        extension = installation.compile_extension(
            python, path, Path(__file__).parent, "kernels_loops"
        )
    except NotAvailable as error:
        sys.exit(str(error))
    environment = python_environment(
        installation.work, {"PYTHONPATH": os.pathsep.join([path, str(extension)])}
    )
    command = [str(python), "-m", "bench.micro.kernels_worker", str(arguments.seconds)]
    os.sched_setaffinity(0, {arguments.core})
    with subprocess.Popen(
        [*command, *arguments.only], env=environment, stdout=subprocess.PIPE, encoding="utf-8"
    ) as worker:
        facts, *figures = [json.loads(line) for line in show_progress(worker.stdout)]
    if worker.returncode:
        sys.exit(worker.returncode)
    console.print(f"codec {facts['codec']}, Python {facts['python']}, {facts['simd']} kernels")
    console.print(table_of(figures))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine_facts(), "versions": facts, "figures": figures}
    arguments.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def show_progress(lines: Any) -> Any:
    """Pass lines on, and show how many there were."""
    for number, line in enumerate(lines):
        if sys.stderr.isatty():
            print(f"\r{number} figures", end="", file=sys.stderr, flush=True)
        yield line
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr, flush=True)


def table_of(figures: List[Dict[str, Any]]) -> Table:
    """Return the figures as a table."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("", "", "ns", "best ns", "GB/s", "M/s"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for one in figures:
        size = one["size"]
        table.add_row(
            one["name"],
            one["detail"],
            f"{one['ns']:,.1f}",
            f"{one['best_ns']:,.1f}",
            f"{size / one['ns']:.2f}" if size else "",
            f"{1e3 / one['ns']:.2f}",
        )
    return table


if __name__ == "__main__":
    main()
