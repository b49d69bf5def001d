"""What the gateways share: command line, and what a publisher publishes when.

A gateway's adapter is run by its library's own interpreter, in two processes::

    python -m bench.peers.gateway_NAME server --url URL [--OPTION VALUE ...]
    python -m bench.peers.gateway_NAME client --url URL [--OPTION VALUE ...]

The first is the gateway: it serves WebSocket connections on a free port, subscribes each of them
to all of ``--topics`` topics, and prints ``{"port": N}``. The second publishes, as an external
process does with that library. It prints ``{"ready": true}`` when it is connected to the engine;
from then on each byte on its standard input allows it ``--burst`` messages. Message k goes to topic
k % topics, and begins with ``#``, the number of its topic, and its number in that topic: the
program ``subscribers`` looks for them. ``--url`` is the engine's, and may be given again where
topics are spread over several. ``adapter versions`` prints what is installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, List, Optional, Sequence, Tuple

__all__ = ["GatewayArguments", "Messages", "main", "parse_gateway", "say", "topic_names"]

HEAD = 19  # characters: "#TTTT NNNNNNNNNNNN "


@dataclass(frozen=True)
class GatewayArguments:
    """The command line."""

    side: str
    url: List[str]
    topics: int
    burst: int
    size: int  # characters of a message
    payloads: str  # file of what follows the numbers
    history: int  # messages of each topic that are kept; 0: none
    deflate: bool  # connections may compress
    variant: str


def parse_gateway(words: Optional[Sequence[str]] = None) -> GatewayArguments:
    """Read the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("side", choices=["server", "client"])
    parser.add_argument("--url", action="append", required=True)
    parser.add_argument("--topics", type=int, default=1)
    parser.add_argument("--burst", type=int, default=1)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--payloads", default="")
    parser.add_argument("--history", type=int, default=0)
    parser.add_argument("--deflate", action="store_true")
    parser.add_argument("--variant", default="")
    return GatewayArguments(**vars(parser.parse_args(words)))


def say(**values: Any) -> None:
    """Write a line of JSON."""
    print(json.dumps(values), flush=True)


def topic_names(arguments: GatewayArguments) -> List[str]:
    """Return the topics."""
    return [f"topic.{number}" for number in range(arguments.topics)]


class Messages:
    """What a publisher publishes, as soon as its standard input allows it."""

    def __init__(self, arguments: GatewayArguments) -> None:
        self._names = topic_names(arguments)
        text = Path(arguments.payloads).read_text(encoding="ascii")
        size = arguments.size - HEAD
        self._tails = [text[start : start + size] for start in range(0, len(text), size)]
        self._burst = arguments.burst
        self._count = 0
        self._allowed = 0
        self._are_allowed = asyncio.Event()
        asyncio.get_running_loop().add_reader(0, self._read)

    def _read(self) -> None:
        got = len(os.read(0, 65536))
        if not got:
            os._exit(0)
        self._allowed += got * self._burst
        self._are_allowed.set()

    async def take(self) -> List[Tuple[str, str]]:
        """Return topic and text of all that are allowed, once there are some."""
        await self._are_allowed.wait()
        self._are_allowed.clear()
        names, tails, first = self._names, self._tails, self._count
        self._count += self._allowed
        self._allowed = 0
        found = []
        for at in range(first, self._count):
            number, topic = divmod(at, len(names))
            found.append((names[topic], f"#{topic:04} {number:012} {tails[at % len(tails)]}"))
        return found


def main(
    distributions: Sequence[str],
    serve: Callable[[GatewayArguments], Any],
    publish: Callable[[GatewayArguments, Messages], Any],
) -> None:
    """Run an adapter's command line: ``serve`` and ``publish`` are coroutines that never return."""
    if sys.argv[1:] == ["versions"]:
        versions = {name: metadata.version(name) for name in distributions}
        say(python=platform.python_version(), **versions)
        return
    arguments = parse_gateway()
    import uvloop  # noqa: PLC0415 - only where something runs

    async def play() -> None:
        if arguments.side == "server":
            await serve(arguments)
        else:
            await publish(arguments, Messages(arguments))

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(play())
