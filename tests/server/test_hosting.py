"""picows_server.hosting: an application that a server starts and stops."""

from __future__ import annotations

import asyncio
from typing import Any, List

import pytest

from picows_server import WSServer, WSStateError, WSUpgradeRequest, ws_create_server
from picows_server.hosting import HostedApplication
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.servers import ANY_PORT, Echo, echo, quiet_logger, sockname


class Application(HostedApplication):
    def __init__(self, failure: Any = None) -> None:
        self.events: List[str] = []
        self.failure = failure

    def __call__(self, request: WSUpgradeRequest) -> Echo:
        return Echo()

    async def start(self, logger: Any, options: Any) -> None:
        self.events.append("start")
        if self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        self.events.append("stop")


async def test_it_is_started_before_and_stopped_after() -> None:
    application = Application()
    async with ws_create_server(ANY_PORT, application, quiet_logger()) as server:
        assert application.events == ["start"]
        assert server.open_connections == []
        async with await RawClient.open(sockname(server)) as client:
            await echo(client)
    assert application.events == ["start", "stop"]


async def test_what_start_raises() -> None:
    with pytest.raises(ValueError, match="no"):
        await ws_create_server(ANY_PORT, Application(ValueError("no")), quiet_logger())


async def test_it_is_stopped_once() -> None:
    application = Application()
    server: WSServer = await ws_create_server(ANY_PORT, application, quiet_logger())
    server.close()
    server.close()
    await server.wait_closed()
    assert application.events == ["start", "stop"]


async def idle(application: Application) -> WSServer:
    """A server that is told later to serve it."""
    return await ws_create_server(ANY_PORT, application, quiet_logger(), start_serving=False)


@pytest.mark.parametrize("method", ["start_serving", "serve_forever"])
async def test_it_is_started_when_the_server_is_to_serve(method: str) -> None:
    application = Application()
    async with await idle(application) as server:
        assert application.events == []
        task = asyncio.ensure_future(getattr(server, method)())
        await eventually(server.is_serving)
        await server.start_serving()
        assert application.events == ["start"]
        task.cancel()
    assert application.events == ["start", "stop"]


async def test_one_that_was_never_started_is_not_stopped() -> None:
    application = Application()
    async with await idle(application):
        pass
    assert application.events == []


@pytest.mark.parametrize("method", ["start_serving", "serve_forever"])
async def test_starting_it_once_more(method: str) -> None:
    application = Application(ValueError("no"))
    async with await idle(application) as server:
        for _ in range(2):
            with pytest.raises(ValueError, match="no"):
                await getattr(server, method)()
        assert not server.is_serving()
        application.failure = None
        await server.start_serving()
        await (await RawClient.open(sockname(server))).close()
    assert application.events == ["start", "start", "start", "stop"]


@pytest.mark.parametrize("method", ["start_serving", "serve_forever"])
async def test_the_server_is_closed_while_it_starts(method: str) -> None:
    class Slow(Application):
        async def start(self, logger: Any, options: Any) -> None:
            await super().start(logger, options)
            server.close()
            await server.wait_closed()

    application = Slow()
    server = await idle(application)
    with pytest.raises(WSStateError, match="is closed"):
        await getattr(server, method)()
    assert application.events == ["start", "stop"]


async def test_two_who_want_to_serve() -> None:
    class Slow(Application):
        async def start(self, logger: Any, options: Any) -> None:
            await super().start(logger, options)
            await asyncio.sleep(0.01)
            self.events.append("started")

    application = Slow()
    async with await idle(application) as server:

        async def serve() -> None:
            await server.start_serving()
            assert application.events == ["start", "started"]

        await asyncio.gather(serve(), serve())


def test_a_factory_without_a_response() -> None:
    request: Any = None
    with pytest.raises(NotImplementedError):
        HostedApplication()(request)
