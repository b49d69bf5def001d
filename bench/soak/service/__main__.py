"""The command line of the soak of a service."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict

from bench.soak.messages import Tally
from bench.soak.process import allow_descriptors, check_remains, descriptors, watched_log
from bench.soak.service import __doc__ as package_doc
from bench.soak.service.clients import THINK_TIME
from bench.soak.service.run import ServiceSoak

OUTPUT = Path(__file__).resolve().parents[2] / "results" / "soak.json"
SPARE = 500  # descriptors beyond the connections


async def soak_once(arguments: argparse.Namespace, folder: Path) -> Dict[str, Any]:
    """Run, check what is left afterwards, and return the report."""
    tally = Tally()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: tally.check(False, "the loop reports", context))
    await loop.run_in_executor(None, time.sleep, 0)  # the executor has its descriptors now
    before = descriptors()
    seconds = arguments.minutes * 60
    soak = ServiceSoak(arguments.connections, seconds, arguments.period * 60, folder, tally)
    started = time.monotonic()
    # Clients may warn of a service that is stopped.
    with watched_log(tally, lambda record: soak.is_stopped and record.levelno == logging.WARNING):
        await soak.run()
    remains = await check_remains(tally, before, THINK_TIME[1])
    soak.check_memory()
    return {
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "connections": arguments.connections,
        "minutes": arguments.minutes,
        "period_minutes": arguments.period,
        "seconds": round(time.monotonic() - started, 1),
        "counts": dict(sorted(tally.counts.items())),
        "memory": soak.series.figures(),
        "descriptors_left": remains.descriptors,
        "tasks_left": remains.tasks,
        "events": soak.events,
        "violations": tally.violations[:100],
        "violation_count": len(tally.violations),
        "series": soak.series.points(),
    }


def print_report(report: Dict[str, Any]) -> None:
    """Print the figures."""
    print(f"{report['connections']:,} connections at a time, {report['seconds']:,.0f} seconds:")
    for name, number in report["counts"].items():
        print(f"  {number:15,}  {name}")
    for name, found in report["memory"].items():
        print(
            f"  {name}: median {found['median']}, highest {found['highest']},"
            f" {found['slope_mb_per_hour']:+} an hour, {found['growth']:+.1%} from the second"
            " quarter to the last"
        )
    for violation in report["violations"][:20]:
        print(f"  VIOLATION  {violation}")


def main() -> None:
    """Run it and report."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak.service", description=(package_doc or "").split("\n\n", 1)[0]
    )
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--hours", type=float, default=2.0, help="default: %(default)s")
    how_long.add_argument("--minutes", type=float, help="instead of hours")
    parser.add_argument("--connections", type=int, default=5000, help="default: %(default)s")
    parser.add_argument(
        "--period",
        type=float,
        help="minutes with one rolling restart and one drain (default: 10, or the whole time)",
    )
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="uvloop")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="JSON (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.minutes is None:
        arguments.minutes = arguments.hours * 60
    if arguments.period is None:
        arguments.period = min(10.0, arguments.minutes)
    allow_descriptors(arguments.connections + SPARE)
    if arguments.loop == "uvloop":
        import uvloop  # noqa: PLC0415  an extra

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        with tempfile.TemporaryDirectory() as folder:
            report = loop.run_until_complete(soak_once(arguments, Path(folder)))
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    print_report(report)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    found = report["violation_count"]
    sys.exit(f"{found} violations" if found else 0)


if __name__ == "__main__":
    main()
