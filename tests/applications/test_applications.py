"""The same contract for each framework, spoken to by websockets and by our client.

Run by ``tox -e asgi``, which installs the frameworks; skipped where one is missing.
"""

from __future__ import annotations

import asyncio
import functools
import os
from typing import Any, Awaitable, Callable, List

import pytest

from picows_client import WSInvalidStatusError, connect

websockets = pytest.importorskip("websockets")
client = pytest.importorskip("websockets.asyncio.client")

FRAMEWORKS = [
    pytest.param(name, id=name)
    for name in ("starlette", "fastapi", "litestar", "quart", "channels")
]
frameworks = pytest.mark.parametrize("framework", FRAMEWORKS)
Test = Callable[[str], Awaitable[None]]


def address_of(start: Any, framework: str, *options: str) -> Any:
    if os.environ.get("PICOWS_APPLICATIONS") != "all":  # where all of them must be there
        pytest.importorskip(framework)
    return start(framework, *options)


def run(test: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    async def within_time() -> None:
        await asyncio.wait_for(test(*arguments), 50)

    asyncio.run(within_time())


@frameworks
def test_echo(start: Any, framework: str) -> None:
    async def by_websockets(address: str) -> None:
        async with client.connect(f"ws://{address}/echo", max_size=None) as ws:
            for message in ("höhe", b"\x00\xff", "x" * 1000000, bytes(1000000)):
                await ws.send(message)
                assert await ws.recv() == message

    async def by_ours(address: str) -> None:
        async with connect(f"ws://{address}/echo") as ws:
            for message in ("höhe", b"\x00\xff", "x" * 1000000, bytes(1000000)):
                await ws.send(message)
                assert await ws.recv() == message

    address = address_of(start, framework).address
    run(by_websockets, address)
    run(by_ours, address)


@pytest.mark.parametrize(
    "options",
    [
        ["--workers", "2"],
        ["--reload"],
        ["--loop", "asyncio", "--http", "h11"],
        ["--root-path", "/here"],
        ["--no-server-header", "--log-level", "trace"],
    ],
    ids=lambda options: options[0],
)
def test_options_of_uvicorn(start: Any, options: List[str]) -> None:
    async def test(address: str) -> None:
        async with connect(f"ws://{address}/echo") as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run(test, address_of(start, "starlette", *options).address)


@frameworks
def test_many_messages_at_once(start: Any, framework: str) -> None:
    async def test(address: str) -> None:
        async with connect(f"ws://{address}/echo") as ws:
            wanted = [f"{number}" for number in range(3000)]

            async def send_all() -> None:
                for text in wanted:
                    await ws.send(text)

            sending = asyncio.get_running_loop().create_task(send_all())
            assert [await ws.recv() for _ in wanted] == wanted
            await sending

    run(test, address_of(start, framework).address)


@frameworks
def test_refusal(start: Any, framework: str) -> None:
    async def test(address: str) -> None:
        with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
            await client.connect(f"ws://{address}/refuse")
        assert caught.value.response.status_code == 403
        with pytest.raises(WSInvalidStatusError, match="403"):
            await connect(f"ws://{address}/refuse")

    run(test, address_of(start, framework).address)


@frameworks
def test_subprotocol(start: Any, framework: str) -> None:
    async def test(address: str) -> None:
        url = f"ws://{address}/subprotocol"
        async with client.connect(url, subprotocols=["one", "two"]) as ws:
            assert ws.subprotocol == "two"
        async with connect(url, subprotocols=["one", "two"]) as ours:
            assert ours.subprotocol == "two"

    run(test, address_of(start, framework).address)


@frameworks
def test_closed_by_the_client(start: Any, framework: str) -> None:
    async def test(address: str) -> None:
        async with client.connect(f"ws://{address}/echo") as ws:
            await ws.close(3007, "bye")
            assert ws.close_code == 3007
        while True:
            async with connect(f"ws://{address}/last") as ours:
                code = await ours.recv()
            if code != "0":
                break
        assert code == ("1" if framework == "quart" else "3007")

    run(test, address_of(start, framework).address)


@frameworks
def test_closed_by_the_server(start: Any, framework: str) -> None:
    async def test(address: str) -> None:
        async with client.connect(f"ws://{address}/close") as ws:
            await ws.send("go")
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 4001
            assert ws.close_reason == (
                "" if framework == "quart" and not ws.close_reason else "enough"
            )

    run(test, address_of(start, framework).address)


@frameworks
def test_an_exception(start: Any, framework: str) -> None:
    async def test(address: str) -> int:
        async with client.connect(f"ws://{address}/fail") as ws:
            await ws.send("go")
            with pytest.raises(websockets.exceptions.ConnectionClosed):
                await ws.recv()
            code: int = ws.close_code
            return code

    codes = []

    async def remember(address: str) -> None:
        codes.append(await test(address))

    application = address_of(start, framework)
    run(remember, application.address)
    # Litestar and Quart close by themselves. For the others the connection just ends.
    assert codes == [{"litestar": 4500, "quart": 1000}.get(framework, 1006)]
    if framework != "litestar":  # which logs only in debug mode
        assert "ValueError: broken" in application.log.read_text()


@frameworks
def test_backpressure(start: Any, framework: str) -> None:
    """A server that must wait: 12 MB for a client that reads slowly at first."""

    async def test(address: str) -> None:
        async with connect(f"ws://{address}/flood", max_queue=2) as ws:
            await ws.send("go")
            await asyncio.sleep(0.3)
            pieces = [message async for message in ws]
            assert pieces == [f"{number:06}" * 10000 for number in range(200)]

    run(test, address_of(start, framework).address)


def test_fastapi_dependencies_and_denials(start: Any) -> None:
    async def test(address: str) -> None:
        async with connect(f"ws://{address}/echo?name=ann") as ws:
            assert ws.response.headers["x-user"] == "ann"
        with pytest.raises(WSInvalidStatusError, match="403"):
            await connect(f"ws://{address}/echo?name=intruder")
        with pytest.raises(websockets.exceptions.InvalidStatus) as caught:
            await client.connect(f"ws://{address}/deny")
        assert caught.value.response.status_code == 404
        assert caught.value.response.body == b"no such room"

    run(test, address_of(start, "fastapi").address)


def test_fastapi_json(start: Any) -> None:
    async def test(address: str) -> None:
        async with connect(f"ws://{address}/json") as ws:
            for number, total in ((1, 1), (2, 3), (3, 6)):
                await ws.send(f'{{"number": {number}}}')
                assert await ws.recv() == f'{{"total":{total}}}'

    run(test, address_of(start, "fastapi").address)


def test_channels_groups(start: Any) -> None:
    async def test(address: str) -> None:
        url = f"ws://{address}/group"
        async with connect(url) as first, connect(url) as second:
            await first.send("hello")
            assert await first.recv() == "hello"
            assert await second.recv() == "hello"

    run(test, address_of(start, "channels").address)


async def _graphql(address: str, query: str) -> Any:
    import json  # noqa: PLC0415

    ws = await client.connect(
        f"ws://{address}/", subprotocols=["graphql-transport-ws"], max_size=None
    )
    assert ws.subprotocol == "graphql-transport-ws"
    await ws.send(json.dumps({"type": "connection_init"}))
    assert json.loads(await ws.recv())["type"] == "connection_ack"
    await ws.send(json.dumps({"id": "1", "type": "subscribe", "payload": {"query": query}}))
    return ws


async def _results(ws: Any) -> Any:
    import json  # noqa: PLC0415

    while True:
        message = json.loads(await ws.recv())
        if message["type"] in ("complete", "error"):
            return
        yield message["payload"]


def test_strawberry(start: Any) -> None:
    async def test(address: str) -> None:
        ws = await _graphql(address, "subscription { count(to: 3) }")
        assert [part["data"]["count"] async for part in _results(ws)] == ["0", "1", "2"]
        await ws.close()
        # large, and more than a peer takes at once
        ws = await _graphql(address, "subscription { count(to: 100, size: 100000) }")
        await asyncio.sleep(0.3)
        sizes = [len(part["data"]["count"]) async for part in _results(ws)]
        assert len(sizes) == 100
        await ws.close()
        # an exception, which the protocol reports
        ws = await _graphql(address, "subscription { fail }")
        parts = [part async for part in _results(ws)]
        assert parts[-1].get("errors")
        await ws.close()
        # a client that leaves: the generator is closed
        ws = await _graphql(address, "subscription { forever }")
        await ws.recv()
        await ws.close()
        while True:
            ws = await _graphql(address, "query { ended }")
            (result,) = [part async for part in _results(ws)]
            await ws.close()
            if result["data"]["ended"]:
                break
        # a message that breaks the protocol: the server closes
        ws = await client.connect(f"ws://{address}/", subprotocols=["graphql-transport-ws"])
        await ws.send("no json")
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            await ws.recv()
        assert ws.close_code == 4400

    run(test, address_of(start, "strawberry").address)


def test_strawberry_without_its_subprotocol(start: Any) -> None:
    async def test(address: str) -> None:
        ws = await client.connect(f"ws://{address}/", subprotocols=["other"])
        with pytest.raises(websockets.exceptions.ConnectionClosed):
            await ws.recv()
        assert ws.close_code == 4406

    run(test, address_of(start, "strawberry").address)


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

    application = address_of(start, "socketio")
    run(test, application.address)


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

    run(test, address_of(start, "socketio").address)
