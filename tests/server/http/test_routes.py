"""picows_server.http.routes: which handler a request reaches, and how the server responds."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Dict, List, Optional

import pytest

from picows_server import (
    WSInvalidOptionError,
    WSListener,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    create_ssl_context,
    ws_create_server,
)
from picows_server.asgi import asgi_listener
from picows_server.hosting import HostedApplication
from picows_server.http.routes import Routes
from tests.support.certificates import Certificates
from tests.support.judge import ask
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    ANY_PORT,
    Echo,
    echo,
    plain_backends,
    quiet_logger,
    serving,
    sockname,
    tls_backends,
)

ALLOW = "GET, HEAD, OPTIONS"


def says(text: str) -> Any:
    return lambda: WSUpgradeResponse.create_ok_response(text)


async def later(request: WSUpgradeRequest) -> WSUpgradeResponse:
    await asyncio.sleep(0)
    return WSUpgradeResponse.create_ok_response(f"later: {request.method}")


ROUTES: Dict[str, Any] = {
    "/": says("root"),
    "/ws": Echo,
    "/page": says("page"),
    "/below/": says("below"),
    "/below/deep/": says("deep"),
    "/below/exact": says("exact"),
    "/later": later,
    "/café": says("coffee"),
    "/a%2Fb": says("a slash"),
}


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/page", b"page"),
        ("/page?a=b", b"page"),
        ("http://localhost/page", b"page"),
        ("/%70age", b"page"),
        ("/caf%C3%A9", b"coffee"),
        ("/below/", b"below"),
        ("/below/x/y", b"below"),
        ("/below/deep/", b"deep"),
        ("/below/deep/x", b"deep"),
        ("/below/deeper", b"below"),
        ("/below/exact", b"exact"),
        ("/below/exact/x", b"below"),
        ("/a%2fb", b"a slash"),
        ("/page/", b"root"),
        ("/other", b"root"),
        ("/page%2F", b"root"),
        ("/below%2Fdeep/x", b"root"),
        ("/below/deep%2fx", b"below"),
        ("/below/%00", b"below"),
        ("/%70age%5c", b"root"),
        ("/%FF", b"root"),
        ("/%", b"root"),
        ("/later", b"later: GET"),
        ("/a%2Fb", b"a slash"),
        ("/a/b", b"root"),
        ("/a%252Fb", b"root"),
        ("/a%252fb", b"root"),
    ],
)
async def test_paths(target: str, body: bytes) -> None:
    async with serving(ROUTES) as server:
        response = await ask(sockname(server), target)
    assert (response.status, response.body) == (200, body)


async def test_no_route(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        async with serving({"/a": says("a")}) as server:
            for target in ("/", "/a/", "/A", "/b", "/%2561"):
                assert (await ask(sockname(server), target)).status == 404
            assert (await ask(sockname(server), "/b", method="POST")).status == 404
            assert (await ask(sockname(server), "/b", method="OPTIONS")).status == 404
    assert "404 Not Found: no route for '/b'" in caplog.text


@plain_backends
async def test_listeners(backend: str) -> None:
    async with serving(ROUTES, backend=backend) as server:
        async with await RawClient.open(sockname(server), "/ws") as client:
            await echo(client)
        response = await ask(sockname(server), "/ws")
        assert response.status == 426
        assert response.headers["upgrade"] == "websocket"
        head = await ask(sockname(server), "/ws", method="HEAD")
        assert head.status == 426
        assert head.headers["content-length"] == response.headers["content-length"]


@tls_backends
async def test_over_tls(backend: str, certificates: Certificates) -> None:
    tls = create_ssl_context(certificates.server_chain, certificates.server_key)
    starting = serving(ROUTES, "wss://127.0.0.1:0", backend=backend, ssl_context=tls)
    async with starting as server:
        context = certificates.client_context()
        response = await ask(sockname(server), "/page", context=context)
        assert (response.status, response.body) == (200, b"page")
        client = await RawClient.open(sockname(server), "/ws", context=context)
        async with client:
            await echo(client)


@pytest.mark.parametrize("path", ["/page", "/ws", "/later", "/below/x"])
async def test_methods(path: str) -> None:
    async with serving(ROUTES) as server:
        options = await ask(sockname(server), path, method="OPTIONS")
        assert (options.status, options.headers["allow"], options.body) == (204, ALLOW, b"")
        assert "content-length" not in options.headers
        for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW"):
            refused = await ask(sockname(server), path, method=method)
            assert (refused.status, refused.headers["allow"]) == (405, ALLOW)


async def test_options_of_the_server() -> None:
    async with serving(ROUTES) as server:
        assert (await ask(sockname(server), "*", method="OPTIONS")).status == 204


@pytest.mark.parametrize(("path", "size"), [("/page", 4), ("/later", 11), ("/nothing", 4)])
async def test_head(path: str, size: int) -> None:
    async with serving(ROUTES) as server:
        response = await ask(sockname(server), path, method="HEAD")
    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-length"] == str(size)


async def test_http_1_0() -> None:
    async with serving(ROUTES) as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(b"GET /page HTTP/1.0\r\n\r\n")
        response = await client.read_response()
        assert (response.status, response.body) == (200, b"page")
        assert response.headers["connection"] == "close"
        assert await client.reader.read() == b""


async def test_a_body_is_refused() -> None:
    async with serving(ROUTES) as server, await RawClient.connect(sockname(server)) as client:
        client.writer.write(b"POST /page HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert (await client.read_response()).status == 400


@pytest.mark.parametrize("is_later", [True, False])
@pytest.mark.parametrize("has_response", [True, False])
async def test_head_of_a_function_that_returns_a_listener(
    is_later: bool, has_response: bool
) -> None:
    def made() -> Any:
        response = WSUpgradeResponse.create_101_response()
        return WSUpgradeResponseWithListener(response, Echo()) if has_response else Echo()

    async def made_later() -> Any:
        return made()

    async with serving({"/ws": made_later if is_later else made}) as server:
        assert (await ask(sockname(server), "/ws", method="HEAD")).status == 426
        assert (await ask(sockname(server), "/ws")).status == 426


async def test_head_of_a_refusal_in_a_pair() -> None:
    pair = WSUpgradeResponseWithListener(WSUpgradeResponse.create_error_response(403, "no"), None)
    async with serving({"/ws": lambda: pair}) as server:
        assert (await ask(sockname(server), "/ws", method="HEAD")).status == 403


async def test_head_of_an_asgi_application() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("it is for upgrades")

    async with serving({"/ws": asgi_listener(application, lifespan="off")}) as server:
        name = sockname(server)
        for method in ("GET", "HEAD"):
            assert (await ask(name, "/ws", method=method)).status == 404
        async with await RawClient.connect(name) as client:
            client.writer.write(upgrade_request("/ws").replace(b"GET ", b"HEAD "))
            assert (await client.reader.read()).startswith(b"HTTP/1.1 426 ")


async def test_handlers_see_their_server() -> None:
    seen: List[Any] = []

    async def handler(request: WSUpgradeRequest) -> None:
        await asyncio.sleep(0)
        seen.append(request.server)

    async with serving({"/": handler}) as server:
        assert (await ask(sockname(server))).status == 404
        assert seen == [server]


async def test_origins_and_limits_stay() -> None:
    starting = serving(ROUTES, origins=["https://a.org"], max_connections=1, when_full="refuse")
    async with starting as server:
        name = sockname(server)
        origin = [("Origin", "https://a.org")]
        async with await RawClient.connect(name) as client:
            assert (await client.upgrade("/ws")).status == 403
        async with await RawClient.open(name, "/ws", origin):
            async with await RawClient.connect(name) as client:
                assert (await client.upgrade("/ws", origin)).status == 503
            assert (await ask(name, "/page")).status == 200


@pytest.mark.parametrize(
    ("routes", "text"),
    [
        ({"ws": Echo}, "must begin with a slash"),
        ({"": Echo}, "must begin with a slash"),
        ({"/a?b": Echo}, "no query"),
        ({"/a b": Echo}, "space"),
        ({"/a#b": Echo}, "fragment"),
        ({"/a\n": Echo}, "'/a"),
        ({"/é": Echo, "/%C3%A9": Echo}, "there twice"),
    ],
)
async def test_paths_that_are_none(routes: Any, text: str) -> None:
    with pytest.raises(WSInvalidOptionError, match=text):
        await ws_create_server(ANY_PORT, routes)


@pytest.mark.parametrize(
    "routes", [{1: Echo}, {"/a": Echo()}, {"/a": "text"}, {"/a": int}, {"/a": lambda a, b: None}]
)
async def test_what_is_no_handler(routes: Any) -> None:
    with pytest.raises(TypeError, match=r"path"):
        await ws_create_server(ANY_PORT, routes)


async def test_a_path_in_the_url_as_well() -> None:
    with pytest.raises(WSInvalidOptionError, match="write paths into the mapping"):
        await ws_create_server("ws://127.0.0.1:0/a", {"/a": Echo})


async def test_no_routes() -> None:
    async with serving({}) as server:
        assert (await ask(sockname(server))).status == 404


class Application(HostedApplication):
    def __init__(self, name: str, events: List[str], failure: Optional[Exception] = None) -> None:
        self.name = name
        self.events = events
        self.failure = failure

    def __call__(self, request: WSUpgradeRequest) -> WSListener:
        return Echo()

    async def start(self, logger: Any, options: Any) -> None:
        if self.failure is not None:
            raise self.failure
        self.events.append(f"start {self.name}")

    async def stop(self) -> None:
        self.events.append(f"stop {self.name}")

    def leave(self, code: int, reason: Optional[str]) -> None:
        self.events.append(f"leave {self.name}")

    def cancel(self) -> None:
        self.events.append(f"cancel {self.name}")


async def test_applications_among_them() -> None:
    events: List[str] = []
    first, second = Application("a", events), Application("b", events)
    routes = {"/a": first, "/again": first, "/b": second, "/page": says("page")}
    async with ws_create_server(ANY_PORT, routes, quiet_logger()) as server:
        assert events == ["start a", "start b"]
        assert server.open_connections == []
        async with await RawClient.open(sockname(server), "/b") as client:
            await echo(client)
        assert (await ask(sockname(server), "/page")).status == 200
    assert events[2:] == ["leave a", "leave b", "stop b", "stop a"]


@pytest.mark.parametrize("is_asgi", [False, True])
async def test_the_code_of_the_end(is_asgi: bool) -> None:
    codes: List[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        codes.append((await receive())["code"])

    routes: Any = {"/page": says("page"), "/ws": Echo}
    if is_asgi:
        routes["/ws"] = asgi_listener(app, lifespan="off")
    starting = ws_create_server(ANY_PORT, routes, quiet_logger())
    async with starting as server, await RawClient.open(sockname(server), "/ws") as client:
        server.close()
        code = await client.read_close()
        client.write_close(code)
        await server.wait_closed()
    assert (code, codes) == ((1012, [1012]) if is_asgi else (1001, []))


async def test_an_application_that_does_not_start() -> None:
    events: List[str] = []
    routes = {"/a": Application("a", events), "/b": Application("b", events, ValueError("no"))}
    with pytest.raises(ValueError, match="no"):
        await ws_create_server(ANY_PORT, routes, quiet_logger())
    assert events == ["start a", "stop a"]


def test_what_the_server_asks_of_applications() -> None:
    events: List[str] = []
    routes = Routes({"/a": Application("a", events)}, quiet_logger())
    assert routes.needs_hosting
    assert routes.is_idle
    routes.notify(lambda: None)
    routes.cancel()
    assert events == ["cancel a"]
    assert not Routes({"/": Echo}, quiet_logger()).needs_hosting
