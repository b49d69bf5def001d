"""Channels with channels_redis, under uvicorn; published by an external process.

``--variant pubsub`` is the channel layer by pub/sub, else it is the original one.
"""

from __future__ import annotations

from typing import Any, Dict

import django
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.layers import get_channel_layer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings
from django.urls import path

from bench.peers.gateway_common import (
    GatewayArguments,
    Messages,
    main,
    say,
    topic_names,
)
from bench.peers.gateway_uvicorn import serve_by_uvicorn

DISTRIBUTIONS = (
    *("channels", "channels-redis", "django", "redis", "hiredis", "uvicorn", "websockets"),
    *("httptools", "uvloop"),
)


def configure(arguments: GatewayArguments) -> None:
    """Do what a project's settings do."""
    kind = "pubsub.RedisPubSubChannelLayer" if arguments.variant else "core.RedisChannelLayer"
    layer = {"BACKEND": f"channels_redis.{kind}", "CONFIG": {"hosts": [arguments.url[0]]}}
    settings.configure(CHANNEL_LAYERS={"default": layer}, ALLOWED_HOSTS=["*"])
    django.setup()


async def serve(arguments: GatewayArguments) -> None:
    """Serve subscribers, each of them in a group for each topic."""
    configure(arguments)
    names = topic_names(arguments)

    class Subscriber(AsyncWebsocketConsumer):  # type: ignore[misc]
        async def connect(self) -> None:
            for name in names:
                await self.channel_layer.group_add(name, self.channel_name)
            await self.accept()

        async def disconnect(self, code: int) -> None:
            for name in names:
                await self.channel_layer.group_discard(name, self.channel_name)

        async def topic_message(self, event: Dict[str, Any]) -> None:
            await self.send(text_data=event["text"])

    routes = URLRouter([path("", Subscriber.as_asgi())])
    await serve_by_uvicorn(ProtocolTypeRouter({"websocket": routes}), deflate=arguments.deflate)


async def publish(arguments: GatewayArguments, messages: Messages) -> None:
    """Publish."""
    configure(arguments)
    layer = get_channel_layer()
    say(ready=True)
    while True:
        for name, text in await messages.take():
            await layer.group_send(name, {"type": "topic.message", "text": text})


if __name__ == "__main__":
    main(DISTRIBUTIONS, serve, publish)
