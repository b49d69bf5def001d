"""picows_server.call: ``async with ws_create_server(...)`` closes the server, whatever happens."""

from __future__ import annotations

import asyncio
from typing import List

import pytest

from picows_server import WSServer, ws_create_server
from tests.support.rawclient import RawClient
from tests.support.servers import ANY_PORT, PLAIN_BACKENDS, Echo, sockname

every_backend = pytest.mark.parametrize("backend", PLAIN_BACKENDS)


@every_backend
async def test_end_of_the_block(backend: str) -> None:
    echo = Echo()
    async with ws_create_server(ANY_PORT, lambda: echo, backend=backend) as server:
        assert isinstance(server, WSServer)
        client = await RawClient.open(sockname(server))
        closing = asyncio.ensure_future(client.read_close())
        closing.add_done_callback(lambda _: client.write_close(1001))
    assert await closing == 1001
    assert (echo.events[0], echo.events[-1]) == ("connected", "disconnected")
    assert not server.is_serving()
    await client.close()


async def test_await_first_as_before() -> None:
    async with await ws_create_server(ANY_PORT, Echo) as server:
        assert server.is_serving()
    assert not server.is_serving()


@every_backend
async def test_cancelled(backend: str) -> None:
    """Clients get 1001 and listeners are told before the task ends."""
    echo = Echo()
    servers: List[WSServer] = []
    is_serving = asyncio.Event()

    async def serve() -> None:
        async with ws_create_server(ANY_PORT, lambda: echo, backend=backend) as server:
            servers.append(server)
            is_serving.set()
            await server.serve_forever()

    task = asyncio.ensure_future(serve())
    await is_serving.wait()
    async with await RawClient.open(sockname(servers[0])) as client:
        task.cancel()
        assert await client.read_close() == 1001
        client.write_close(1001)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert echo.events[-1] == "disconnected"


@every_backend
async def test_cancelled_twice(backend: str) -> None:
    """The second time nobody waits for clients."""
    echo = Echo()
    servers: List[WSServer] = []
    is_serving = asyncio.Event()

    async def serve() -> None:
        async with ws_create_server(
            ANY_PORT, lambda: echo, backend=backend, close_timeout=None
        ) as server:
            servers.append(server)
            is_serving.set()
            await asyncio.sleep(60)

    task = asyncio.ensure_future(serve())
    await is_serving.wait()
    async with await RawClient.open(sockname(servers[0])) as client:
        task.cancel()
        assert await client.read_close() == 1001
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await servers[0].wait_closed()
        assert echo.events[-1] == "disconnected"


async def test_wait_for() -> None:
    server = await asyncio.wait_for(ws_create_server(ANY_PORT, Echo), 10)
    server.close()
    await server.wait_closed()
