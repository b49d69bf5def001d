"""picows_server.proxies.trust: the options of a server about proxies."""

from __future__ import annotations

import logging
from typing import Any, List

import pytest

from picows_server import WSInvalidOptionError, WSTransport, serve, ws_create_server
from tests.support.judge import ask
from tests.support.rawclient import RawClient
from tests.support.servers import ANY_PORT, Echo, plain_backends, serving, sockname

TRUSTED = {"trusted_proxies": ["127.0.0.1"]}
X = {**TRUSTED, "forwarded_header": "X-Forwarded-For"}
LINE = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n"


class Noting(Echo):
    def __init__(self, seen: List[Any], request: Any) -> None:
        super().__init__()
        self.seen = seen
        seen.append(request.remote_address)

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.seen += [transport.remote_address, transport.request.remote_address]
        self.seen.append(repr(transport))

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.seen.append(transport.remote_address)


@plain_backends
@pytest.mark.parametrize("is_later", [True, False])
async def test_the_clients_address(backend: str, is_later: bool) -> None:
    seen: List[Any] = []

    async def later(request: Any) -> Noting:
        return Noting(seen, request)

    def at_once(request: Any) -> Noting:
        return Noting(seen, request)

    async with serving(later if is_later else at_once, backend=backend, **X) as server:
        headers = [("X-Forwarded-For", "1.1.1.1, 203.0.113.9:80")]
        async with await RawClient.open(sockname(server), headers=headers):
            pass
    description = seen.pop(3)
    assert seen == [("203.0.113.9", 80)] * 4
    assert "203.0.113.9:80" in description


async def test_the_log_names_the_client(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with serving({"/a": Echo}, **X) as server:
            headers = [("X-Forwarded-For", "203.0.113.9")]
            assert (await ask(sockname(server), "/b", headers=headers)).status == 404
            assert (await ask(sockname(server), "/a", headers=headers)).status == 426
    assert caplog.text.count("203.0.113.9:0: 'GET' without an upgrade failed: ") == 2


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For"])
async def test_what_cannot_be_read(name: str, caplog: pytest.LogCaptureFixture) -> None:
    options: Any = {**TRUSTED, "forwarded_header": name}
    asked: List[Any] = []
    with caplog.at_level(logging.INFO):
        async with serving(asked.append, **options) as server:
            response = await ask(sockname(server), headers=[(name, "zqxj,zqxj")])
    assert response.status == 400
    assert b"zqxj" not in response.body
    assert not asked
    assert f"400 Bad Request: header {name}: " in caplog.text
    assert "zqxj" not in caplog.text


async def test_a_stranger_is_not_believed() -> None:
    seen: List[Any] = []
    options: Any = {**X, "trusted_proxies": ["10.0.0.0/8"]}
    async with serving(lambda request: Noting(seen, request), **options) as server:
        for value in ("10.0.0.1", "nonsense"):
            headers = [("X-Forwarded-For", value)]
            async with await RawClient.open(sockname(server), headers=headers) as client:
                assert client.writer.get_extra_info("sockname") in seen
    hosts = {each[0] for each in seen if isinstance(each, tuple)}
    assert hosts == {"127.0.0.1"}


async def test_a_client_that_is_not_told() -> None:
    seen: List[Any] = []
    headers = [("X-Forwarded-For", "unknown")]
    async with serving(lambda request: Noting(seen, request), **X) as server:
        await (await RawClient.open(sockname(server), headers=headers)).close()
    assert seen[:2] == [None, None]


async def test_both() -> None:
    """The header is believed if the PROXY protocol names a trusted proxy."""
    seen: List[Any] = []
    options: Any = {**X, "proxy_protocol": True, "trusted_proxies": ["127.0.0.1", "203.0.113.9"]}
    starting = serving(lambda request: Noting(seen, request), **options)
    async with starting as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(LINE)
        headers = [("X-Forwarded-For", "198.51.100.1")]
        assert (await client.upgrade(headers=headers)).status == 101
    assert seen[0] == ("198.51.100.1", 0)


async def test_serve() -> None:
    seen: List[Any] = []

    async def handler(connection: Any) -> None:
        seen.append(connection.request.remote_address)

    async with serve(handler, ANY_PORT, **X) as server:
        headers = [("X-Forwarded-For", "203.0.113.9")]
        async with await RawClient.open(sockname(server), headers=headers) as client:
            assert await client.read_close() == 1000
    assert seen == [("203.0.113.9", 0)]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"trusted_proxies": ["127.0.0.1"]}, "trusted_proxies needs proxy_protocol or forwarded"),
        ({"trusted_proxies": []}, "trusted_proxies needs proxy_protocol or forwarded_header"),
        ({"proxy_protocol": True}, "proxy_protocol needs trusted_proxies"),
        ({"forwarded_header": "Forwarded"}, "forwarded_header needs trusted_proxies"),
        ({"trusted_proxies": [], "proxy_protocol": True}, "proxy_protocol needs trusted_proxies"),
        ({"trusted_proxies": ["x"], "proxy_protocol": True}, "trusted_proxies"),
        ({"trusted_proxies": ["127.0.0.1"], "forwarded_header": "Via"}, "Via"),
    ],
)
async def test_options_that_do_not_fit(options: Any, text: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=text):
        await ws_create_server(ANY_PORT, Echo, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"trusted_proxies": "127.0.0.1", "proxy_protocol": True},
        {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": 1},
        {"trusted_proxies": ["127.0.0.1"], "forwarded_header": True},
    ],
)
async def test_options_of_wrong_types(options: Any) -> None:
    with pytest.raises(TypeError):
        await ws_create_server(ANY_PORT, Echo, **options)
