"""The client libraries of the engines alone: the loop that one writes by hand.

Connections are served by ``picows_server``, and messages sent to them by ``broadcast``, as
``Topics`` does: what differs is the way through the engine. ``--variant pipeline``: the publisher
collects the messages of a burst in a pipeline of redis-py; without it awaits each.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, Dict, List

import nats
import redis.asyncio

from bench.peers.gateway_common import (
    GatewayArguments,
    Messages,
    main,
    say,
    topic_names,
)
from picows_server import (
    WSListener,
    WSMsgType,
    WSPreparedMessage,
    WSTransport,
    broadcast,
    ws_create_server,
)

DISTRIBUTIONS = ("redis", "hiredis", "nats-py", "picows-codec", "picows-server", "uvloop")


async def serve(arguments: GatewayArguments) -> None:
    """Serve subscribers."""
    names = topic_names(arguments)
    rooms: Dict[str, List[WSTransport]] = defaultdict(list)

    class Subscriber(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            for name in names:
                rooms[name].append(transport)

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            for name in names:
                rooms[name].remove(transport)

    async with ws_create_server(
        "ws://127.0.0.1:0/",
        Subscriber,
        compression="deflate" if arguments.deflate else None,
    ) as server:
        port = server.sockets[0].getsockname()[1]
        if arguments.url[0].startswith("nats"):
            await listen_to_nats(arguments, names, rooms, port)
        else:
            await listen_to_redis(arguments, names, rooms, port)


async def listen_to_redis(
    arguments: GatewayArguments, names: List[str], rooms: Dict[str, Any], port: int
) -> None:
    """Send what channels have to those who are subscribed."""
    client = redis.asyncio.from_url(arguments.url[0])
    subscription = client.pubsub(ignore_subscribe_messages=True)
    await subscription.subscribe(*names)
    say(port=port)
    channels = {name.encode(): rooms[name] for name in names}
    async for message in subscription.listen():
        text = WSPreparedMessage(WSMsgType.TEXT, message["data"])
        broadcast(channels[message["channel"]], text)


async def listen_to_nats(
    arguments: GatewayArguments, names: List[str], rooms: Dict[str, Any], port: int
) -> None:
    """Send what subjects have to those who are subscribed."""
    client = await nats.connect(arguments.url[0])

    async def on_message(message: Any) -> None:
        broadcast(rooms[message.subject], WSPreparedMessage(WSMsgType.TEXT, message.data))

    for name in names:
        await client.subscribe(name, cb=on_message)
    await client.flush()
    say(port=port)
    await asyncio.Event().wait()


async def publish(arguments: GatewayArguments, messages: Messages) -> None:
    """Publish."""
    if arguments.url[0].startswith("nats"):
        connection = await nats.connect(arguments.url[0])
        say(ready=True)
        while True:
            for name, text in await messages.take():
                await connection.publish(name, text.encode())
    client = redis.asyncio.from_url(arguments.url[0])
    await client.ping()
    say(ready=True)
    while True:
        burst = await messages.take()
        if arguments.variant == "pipeline":
            pipeline = client.pipeline(transaction=False)
            for name, text in burst:
                pipeline.publish(name, text)
            await pipeline.execute()
        else:
            for name, text in burst:
                await client.publish(name, text)


if __name__ == "__main__":
    main(DISTRIBUTIONS, serve, publish)
