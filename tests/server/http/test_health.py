"""picows_server.http.health: what a load balancer is told."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any, List

import pytest

from picows_server import health, ready
from picows_server.server import WSServer
from tests.support.judge import Judged, ask
from tests.support.leaks import eventually
from tests.support.rawclient import RawClient
from tests.support.servers import Echo, serving, sockname

ROUTES = {"/ws": Echo, "/healthz": health, "/readyz": ready}


async def ask_ready(server: WSServer) -> Judged:
    response = await ask(sockname(server), "/readyz")
    assert response.headers["cache-control"] == "no-store"
    return response


async def test_health() -> None:
    async with serving(ROUTES) as server:
        response = await ask(sockname(server), "/healthz")
        assert (response.status, response.body) == (200, b"ok\n")
        assert response.headers["cache-control"] == "no-store"
        assert (await ask(sockname(server), "/healthz", method="HEAD")).status == 200


async def test_ready() -> None:
    async with serving(ROUTES) as server:
        assert not server.is_draining
        response = await ask_ready(server)
        assert (response.status, response.body) == (200, b"ready\n")


async def test_draining(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(ROUTES) as server:
        monkeypatch.setattr(WSServer, "is_draining", True)
        response = await ask_ready(server)
        assert (response.status, response.body) == (503, b"not ready: draining\n")
        assert (await ask(sockname(server), "/healthz")).status == 200


async def test_a_closed_server_drains() -> None:
    async with serving(ROUTES) as server:
        server.close()
        assert server.is_draining


async def test_checks(caplog: pytest.LogCaptureFixture) -> None:
    state: List[Any] = [True]

    def plain() -> Any:
        return state[0]

    async def later() -> Any:
        await asyncio.sleep(0)
        return state[0]

    def raises() -> bool:
        raise ValueError("no\ndatabase")

    async def raises_later() -> bool:
        await asyncio.sleep(0)
        raise ValueError("no cache")

    async with serving(ROUTES) as server:
        server.ready_checks["plain"] = plain
        server.ready_checks["later"] = later
        assert (await ask_ready(server)).status == 200
        state[0] = 0
        response = await ask_ready(server)
        assert (response.status, response.body) == (503, b"not ready: plain\nnot ready: later\n")
        state[0] = 1
        server.ready_checks["raises"] = raises
        with caplog.at_level(logging.WARNING):
            assert (await ask_ready(server)).body == b"not ready: raises\n"
            del server.ready_checks["raises"]
            server.ready_checks["raises later"] = raises_later
            assert (await ask_ready(server)).body == b"not ready: raises later\n"
        del server.ready_checks["raises later"]
        assert (await ask_ready(server)).status == 200
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "the readiness check 'raises' failed: ValueError('no\\ndatabase')",
        "the readiness check 'raises later' failed: ValueError('no cache')",
    ]


HANGING = "the readiness check 'hangs' has not ended: its client has left, or time is over"


async def test_a_check_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    async def hangs() -> bool:
        await asyncio.Event().wait()
        return True

    async with serving(ROUTES, websocket_handshake_timeout=0.05) as server:
        server.ready_checks["hangs"] = hangs
        assert (await ask(sockname(server), "/readyz")).status == 503
    assert HANGING in caplog.text


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task does not know who was cancelled")
async def test_a_check_of_something_that_was_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    connecting = asyncio.get_running_loop().create_future()
    connecting.cancel()

    async def database() -> bool:
        await connecting
        return True

    async with serving(ROUTES) as server:
        server.ready_checks["database"] = database
        server.ready_checks["future"] = lambda: connecting
        response = await ask_ready(server)
    assert (response.status, response.body) == (503, b"not ready: database\nnot ready: future\n")
    assert "the readiness check 'database' failed: CancelledError(" in caplog.text
    assert HANGING not in caplog.text


async def test_a_probe_that_is_less_patient_than_a_check(caplog: pytest.LogCaptureFixture) -> None:
    has_begun = asyncio.Event()

    async def hangs() -> bool:
        has_begun.set()
        await asyncio.Event().wait()
        return True

    async with serving(ROUTES) as server:
        server.ready_checks["hangs"] = hangs
        async with await RawClient.connect(sockname(server)) as client:
            client.writer.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n")
            await has_begun.wait()
        await eventually(lambda: HANGING in caplog.text)


async def test_checks_behind_one_that_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """They are not asked, so no coroutine is left that nobody has awaited."""
    asked: List[str] = []

    async def hangs() -> bool:
        asked.append("hangs")
        await asyncio.Event().wait()
        return True

    async def later() -> bool:
        asked.append("later")
        return True

    def behind() -> Any:
        asked.append("behind")
        return later()

    async with serving(ROUTES, websocket_handshake_timeout=0.05) as server:
        server.ready_checks["hangs"] = hangs
        server.ready_checks["behind"] = behind
        assert (await ask(sockname(server), "/readyz")).status == 503
    assert asked == ["hangs"]


async def test_in_a_function_for_all_paths() -> None:
    async def route(request: Any) -> Any:
        return health(request) if request.path == "/healthz" else ready(request)

    def plain_route(request: Any) -> Any:
        return health(request) if request.path == "/healthz" else ready(request)

    for each in (route, plain_route):
        async with serving(each) as server:
            assert (await ask(sockname(server), "/healthz")).status == 200
            assert (await ask(sockname(server), "/readyz")).status == 200
