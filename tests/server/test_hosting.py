"""picows_server.hosting: an application that a server starts and stops."""

from __future__ import annotations

from typing import Any, List

import pytest

from picows_server import WSServer, WSUpgradeRequest, ws_create_server
from picows_server.hosting import HostedApplication
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
    server: WSServer = await ws_create_server(
        ANY_PORT, application, quiet_logger(), start_serving=False
    )
    server.close()
    server.close()
    await server.wait_closed()
    assert application.events == ["start", "stop"]


def test_a_factory_without_a_response() -> None:
    request: Any = None
    with pytest.raises(NotImplementedError):
        HostedApplication()(request)
