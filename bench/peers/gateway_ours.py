"""``Topics`` over a backplane: Redis, several of them, or NATS."""

from __future__ import annotations

import asyncio
from typing import List

from bench.peers.gateway_common import (
    GatewayArguments,
    Messages,
    main,
    say,
    topic_names,
)
from picows_server import WSListener, WSTransport, ws_create_server
from picows_server.backplane import Backplane, NatsBackplane, RedisBackplane
from picows_server.topics import Topics

DISTRIBUTIONS = ("picows-codec", "picows-server", "redis", "hiredis", "nats-py", "uvloop")


def new_topics(arguments: GatewayArguments) -> Topics:
    """Make the topics, with an engine for each URL."""
    engines: List[Backplane] = [
        NatsBackplane(url) if url.startswith("nats") else RedisBackplane(url)
        for url in arguments.url
    ]
    topics = Topics(engines[0] if len(engines) == 1 else engines)
    if arguments.history:
        topics.configure("", history=arguments.history)
    return topics


async def serve(arguments: GatewayArguments) -> None:
    """Serve subscribers."""
    topics = new_topics(arguments)
    names = topic_names(arguments)

    class Subscriber(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            for name in names:
                topics.subscribe(transport, name)

    async with topics, ws_create_server(
        "ws://127.0.0.1:0/",
        Subscriber,
        compression="deflate" if arguments.deflate else None,
    ) as server:
        say(port=server.sockets[0].getsockname()[1])
        await asyncio.Event().wait()


async def publish(arguments: GatewayArguments, messages: Messages) -> None:
    """Publish."""
    async with new_topics(arguments) as topics:
        say(ready=True)
        while True:
            for name, text in await messages.take():
                topics.publish(name, text)


if __name__ == "__main__":
    main(DISTRIBUTIONS, serve, publish)
