"""The command line of the soak."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from bench.soak import __doc__ as package_doc
from bench.soak.kinds import KINDS
from bench.soak.listeners import THINK_TIME
from bench.soak.messages import Tally
from bench.soak.process import (
    allow_descriptors,
    check_remains,
    descriptors,
    memory,
    watched_log,
)
from bench.soak.run import Soak


async def soak_once(connections: int, seconds: float, seed: int) -> Tally:
    """Run and check what is left afterwards."""
    soak = Soak(connections, seconds, seed, KINDS)
    before = descriptors()
    with watched_log(soak.tally):
        await soak.run()
    await check_remains(soak.tally, before, THINK_TIME[1])
    return soak.tally


def main() -> None:
    """Run it and report."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak", description=(package_doc or "").split("\n\n", 1)[0]
    )
    parser.add_argument("--connections", type=int, default=2000, help="at a time (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of churn (%(default)s)")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--seed", type=int, default=1, help="of all choices (%(default)s)")
    arguments = parser.parse_args()
    allow_descriptors(2 * arguments.connections + 200)
    if arguments.loop == "uvloop":
        import uvloop  # noqa: PLC0415  an extra

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    started = time.monotonic()
    at_start = memory()
    try:
        tally = loop.run_until_complete(
            soak_once(arguments.connections, arguments.seconds, arguments.seed)
        )
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    counts = tally.counts
    print(f"{arguments.connections:,} connections, {time.monotonic() - started:.0f} seconds:")
    for kind in KINDS:
        print(f"  {counts[kind]:10,}  {kind}")
    print(f"  {counts['closed in order']:10,}  of these had to be complete in both directions")
    rate = counts["messages"] / arguments.seconds
    print(
        f"  {counts['messages']:10,}  messages there and back, {rate:,.0f} a second,"
        f" {counts['bytes'] / 1e6:,.0f} MB\n"
        f"  {memory():10.0f}  MB of memory at the end, {at_start:.0f} at the start"
    )
    for violation in tally.violations[:20]:
        print(f"  VIOLATION  {violation}")
    sys.exit(f"{len(tally.violations)} violations" if tally.violations else 0)


if __name__ == "__main__":
    main()
