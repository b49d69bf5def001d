"""GraphQL subscriptions and socket.io: protocols over WebSocket, and their applications."""

from __future__ import annotations

import asyncio
import functools
import json
from typing import Any, AsyncIterator

import pytest

from tests.applications.speakers import Speaker, run, speakers

GRAPHQL = ["graphql-transport-ws"]


async def subscribed(speaker: Speaker, address: str, query: str) -> Any:
    """A connection that has subscribed to a query."""
    ws = await speaker.connect(f"ws://{address}/", subprotocols=GRAPHQL)
    assert ws.subprotocol == GRAPHQL[0]
    await ws.send(json.dumps({"type": "connection_init"}))
    assert json.loads(await ws.recv())["type"] == "connection_ack"
    await ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
    return ws


async def results(ws: Any) -> AsyncIterator[Any]:
    """What a subscription brings."""
    while True:
        message = json.loads(await ws.recv())
        if message["type"] in ("complete", "error"):
            return
        yield message["payload"]


@speakers
def test_strawberry(start: Any, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        ws = await subscribed(speaker, address, "subscription { count(to: 3) }")
        assert [part["data"]["count"] async for part in results(ws)] == ["0", "1", "2"]
        await ws.close()
        # large, and more than a peer takes at once
        ws = await subscribed(speaker, address, "subscription { count(to: 100, size: 100000) }")
        await asyncio.sleep(0.1)
        sizes = [len(part["data"]["count"]) async for part in results(ws)]
        assert len(sizes) == 100
        await ws.close()
        # an exception, which the protocol reports
        ws = await subscribed(speaker, address, "subscription { fail }")
        parts = [part async for part in results(ws)]
        assert parts[-1].get("errors")
        await ws.close()

    run(test, start("strawberry").address)


@speakers
def test_strawberry_and_a_client_that_leaves(start: Any, speaker: Speaker) -> None:
    async def ended(address: str) -> int:
        ws = await subscribed(speaker, address, "query { ended }")
        (result,) = [part async for part in results(ws)]
        await ws.close()
        count: int = result["data"]["ended"]
        return count

    async def test(address: str) -> None:
        before = await ended(address)
        ws = await subscribed(speaker, address, "subscription { forever }")
        await ws.recv()
        await ws.close()
        while await ended(address) == before:  # the generator is closed
            pass

    run(test, start("strawberry").address)


@speakers
def test_strawberry_closes_and_refuses(start: Any, speaker: Speaker) -> None:
    async def test(address: str) -> None:
        ws = await speaker.connect(f"ws://{address}/", subprotocols=GRAPHQL)
        await ws.send("no json")
        assert (await speaker.end(ws))[0] == 4400
        ws = await speaker.connect(f"ws://{address}/", subprotocols=["other"])
        assert (await speaker.end(ws))[0] == 4406

    run(test, start("strawberry").address)


@speakers
def test_socketio_by_hand(start: Any, speaker: Speaker) -> None:
    """The packets of Engine.IO and socket.io, as text."""

    async def test(address: str) -> None:
        url = f"ws://{address}/socket.io/?EIO=4&transport=websocket"
        async with speaker.connect(url) as ws:
            assert (await ws.recv()).startswith("0{")  # Engine.IO is open
            await ws.send("40")
            assert (await ws.recv()).startswith("40{")  # socket.io is connected
            for text in ("hello", "x" * 500000):
                await ws.send(f'421["echo","{text}"]')
                assert await ws.recv() == f'431["{text}"]'
        async with speaker.connect(url) as ws:
            assert (await ws.recv()).startswith("0{")
            await ws.send('40{"token":"wrong"}')
            assert (await ws.recv()).startswith("44{")  # refused

    run(test, start("socketio").address)


def test_socketio(start: Any) -> None:
    socketio = pytest.importorskip("socketio")
    pytest.importorskip("aiohttp")

    async def test(address: str) -> None:
        url = f"http://{address}"
        sio = socketio.AsyncClient(reconnection=False)
        pieces: asyncio.Queue[Any] = asyncio.Queue()
        gone = asyncio.Event()
        sio.on("piece", pieces.put)
        sio.on("end", functools.partial(pieces.put, None))
        sio.on("disconnect", lambda *reason: gone.set())
        await sio.connect(url, transports=["websocket"])
        for message in ("hello", b"\x00\xff", "x" * 500000, bytes(500000)):
            assert await sio.call("echo", message) == message
        await sio.emit("flood", "go")
        received = []
        while True:
            piece = await pieces.get()
            if piece is None:
                break
            received.append(piece)
        assert received == [f"{number:06}" * 10000 for number in range(200)]
        await sio.emit("fail", "go")  # logged; the connection stays
        assert await sio.call("echo", "still") == "still"
        await sio.emit("leave", "go")  # the server disconnects
        await gone.wait()
        again = socketio.AsyncClient(reconnection=False)
        await again.connect(url, transports=["websocket"])
        assert await again.call("count_gone", "") >= 1
        await again.disconnect()  # the client does
        refused = socketio.AsyncClient(reconnection=False)
        with pytest.raises(socketio.exceptions.ConnectionError):
            await refused.connect(url, auth={"token": "wrong"}, transports=["websocket"])
        await refused.disconnect()

    run(test, start("socketio").address)


def test_an_upgrade_from_polling(start: Any) -> None:
    """socket.io begins with HTTP, and then goes on over a WebSocket."""
    socketio = pytest.importorskip("socketio")
    pytest.importorskip("aiohttp")

    async def test(address: str) -> None:
        sio = socketio.AsyncClient(reconnection=False)
        await sio.connect(f"http://{address}")
        assert sio.transport() == "websocket"
        assert await sio.call("echo", "hello") == "hello"
        await sio.disconnect()

    run(test, start("socketio").address)
