"""Django Channels with the in-memory layer."""

from __future__ import annotations

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="for tests",
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
)
django.setup()

from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application
from django.urls import path

last = {"code": 0}


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)

    async def disconnect(self, code):
        last["code"] = code


class LastCode(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept()
        await self.send(text_data=str(last["code"]))
        await self.close()


class Forget(LastCode):
    async def connect(self):
        last["code"] = 0
        await super().connect()


class Refuse(AsyncWebsocketConsumer):
    async def connect(self):
        await self.close()


class Subprotocol(AsyncWebsocketConsumer):
    async def connect(self):
        await self.accept(subprotocol=self.scope["subprotocols"][-1])


class Close(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.close(4001, "enough")


class Fail(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        raise ValueError("broken")


class Flood(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        for number in range(200):
            await self.send(text_data=f"{number:06}" * 10000)
        await self.close()


class Group(AsyncWebsocketConsumer):
    async def connect(self):
        await self.channel_layer.group_add("all", self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard("all", self.channel_name)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("all", {"type": "said", "text": text_data})

    async def said(self, event):
        await self.send(text_data=event["text"])


app = ProtocolTypeRouter(
    {
        "http": get_asgi_application(),
        "websocket": URLRouter(
            [
                path("echo", Echo.as_asgi()),
                path("last", LastCode.as_asgi()),
                path("forget", Forget.as_asgi()),
                path("refuse", Refuse.as_asgi()),
                path("subprotocol", Subprotocol.as_asgi()),
                path("close", Close.as_asgi()),
                path("fail", Fail.as_asgi()),
                path("flood", Flood.as_asgi()),
                path("group", Group.as_asgi()),
            ]
        ),
    }
)
