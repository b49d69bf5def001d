"""picows_server.response_date: the Date of responses, by the clock and over sockets."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from picows_server import WSUpgradeResponse, files, health, ws_create_server
from picows_server.response_date import response_date
from tests.support.judge import ask
from tests.support.rawclient import RawClient
from tests.support.servers import ANY_PORT, Echo, sockname


@pytest.mark.parametrize("day", range(0, 800, 7))
def test_the_format(monkeypatch: pytest.MonkeyPatch, day: int) -> None:
    now = 951782399.999 + day * 86400.5  # from the end of a 29th of February on
    monkeypatch.setattr(time, "time", lambda: now)
    assert response_date().decode() == formatdate(int(now), usegmt=True)


def test_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for now, text in ((59.9, b"00:00:59"), (60.0, b"00:01:00"), (59.0, b"00:00:59")):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        assert response_date() == b"Thu, 01 Jan 1970 " + text + b" GMT"


def failing(request: object) -> Any:
    raise ValueError("as asked for")


async def later(request: object) -> WSUpgradeResponse:
    return WSUpgradeResponse.create_ok_response("later")


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/healthz", 200),
        ("HEAD", "/healthz", 200),
        ("OPTIONS", "/healthz", 204),
        ("POST", "/healthz", 405),
        ("CONNECT", "a:80", 501),
        ("GET", "/later", 200),
        ("GET", "/nothing", 404),
        ("GET", "/ws", 426),
        ("GET", "/failing", 500),
        ("GET", "/files/small", 200),
        ("GET", "/files/large", 200),
        ("HEAD", "/files/large", 200),
        ("GET", "/files/none", 404),
        ("GET", "/" + "x" * 9000, 414),
    ],
)
async def test_every_response_has_one(
    tmp_path: Path, method: str, target: str, status: int
) -> None:
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(bytes(200_000))
    routes: Any = {
        "/healthz": health,
        "/later": later,
        "/ws": Echo,
        "/failing": failing,
        "/files/": files(tmp_path),
    }
    async with ws_create_server(ANY_PORT, routes) as server:
        response = await ask(sockname(server), target, method=method)
        assert response.status == status
        date = parsedate_to_datetime(response.headers["date"])
        assert abs(datetime.now(timezone.utc) - date) < timedelta(minutes=10)


async def test_an_acceptance_has_none() -> None:
    async with ws_create_server(ANY_PORT, Echo) as server, await RawClient.connect(
        sockname(server)
    ) as client:
        response = await client.upgrade()
        assert response.status == 101
        assert "date" not in response.headers


async def test_the_handlers_own_date_is_sent_instead() -> None:
    date = "Tue, 15 Nov 1994 08:12:31 GMT"

    def handler(request: object) -> WSUpgradeResponse:
        return WSUpgradeResponse.create_ok_response("old", {"date": date})

    async with ws_create_server(ANY_PORT, handler) as server:
        assert (await ask(sockname(server))).headers["date"] == date
