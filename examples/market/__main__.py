"""Serve the market.

    cd examples
    python -m market [--url ws://127.0.0.1:8080] [--backplane redis://127.0.0.1:6379]

README.md beside this file tells what there is to see.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import asynccontextmanager
from typing import AsyncIterator

from picows_server import WSServer, run

from .service import SERVER_OPTIONS, Settings, State, lifespan_of, respond, watch


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m market", description="Serve a market.")
    add = parser.add_argument
    add("--url", default="ws://127.0.0.1:8080", help="where to listen (default: %(default)s)")
    add("--seed", type=int, default=1, help="of the simulation (default: 1)")
    add(
        "--backplane",
        metavar="URL",
        help="share the market with other gateways over this Redis or Valkey; one of them"
        " publishes, and another one when it ends",
    )
    add("--no-publish", action="store_true", help="leave publishing to the others")
    found = parser.parse_args()
    if found.no_publish and found.backplane is None:
        parser.error("--no-publish needs --backplane")
    settings = Settings(found.seed, backplane=found.backplane, publishes=not found.no_publish)

    @asynccontextmanager
    async def lifespan(server: WSServer) -> AsyncIterator[State]:
        async with lifespan_of(settings)(server) as state:
            url = server.url.replace("ws", "http", 1)
            print(f"Open {url} in a browser; Ctrl-C to stop", flush=True)
            yield state

    return run(
        found.url,
        handler=watch,
        process_request=respond,
        lifespan=lifespan,
        drain_grace=0.0,
        drain_spread=1.0,
        drain_timeout=5.0,
        **SERVER_OPTIONS,
    )


if __name__ == "__main__":
    sys.exit(main())
