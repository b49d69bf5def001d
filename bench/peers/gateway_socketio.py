"""python-socketio with its Redis manager, under uvicorn; published by an external process."""

from __future__ import annotations

from typing import Any

import socketio

from bench.peers.gateway_common import (
    GatewayArguments,
    Messages,
    main,
    say,
    topic_names,
)
from bench.peers.gateway_uvicorn import serve_by_uvicorn

DISTRIBUTIONS = (
    *("python-socketio", "redis", "hiredis", "uvicorn", "websockets", "httptools", "uvloop"),
)


async def serve(arguments: GatewayArguments) -> None:
    """Serve subscribers, each of them in a room for each topic."""
    manager = socketio.AsyncRedisManager(arguments.url[0])
    server = socketio.AsyncServer(async_mode="asgi", client_manager=manager)
    names = topic_names(arguments)

    async def on_connect(sid: str, _: Any) -> None:
        for name in names:
            await server.enter_room(sid, name)

    server.on("connect", on_connect)
    await serve_by_uvicorn(socketio.ASGIApp(server), deflate=arguments.deflate)


async def publish(arguments: GatewayArguments, messages: Messages) -> None:
    """Publish."""
    manager = socketio.AsyncRedisManager(arguments.url[0], write_only=True)
    say(ready=True)
    while True:
        for name, text in await messages.take():
            await manager.emit("message", text, room=name)


if __name__ == "__main__":
    main(DISTRIBUTIONS, serve, publish)
