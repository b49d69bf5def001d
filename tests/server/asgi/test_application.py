"""picows_server.asgi.application: an application served by ws_create_server itself."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import weakref
from typing import Any, Iterator, List
from unittest import mock

import pytest

from picows_server import WSInvalidOptionError, WSStateError, serve, ws_create_server
from picows_server.asgi import asgi_listener
from tests.support.asgi import Recorder, accept, echo_app, served
from tests.support.certificates import Certificates
from tests.support.rawclient import RawClient
from tests.support.servers import ANY_PORT, plain_backends, quiet_logger, sockname, tls_backends


@plain_backends
async def test_over_every_backend(backend: str) -> None:
    async with served("own", echo_app, backend=backend) as server, await RawClient.open(
        server.sockname
    ) as client:
        client.write_frame(2, bytes(60000))
        assert (await client.read_frame()).payload == bytes(60000)


@tls_backends
async def test_over_tls(backend: str, certificates: Certificates) -> None:
    async with ws_create_server(
        "wss://127.0.0.1:0",
        asgi_listener(echo_app, lifespan="off"),
        quiet_logger(),
        ssl_context=certificates.server_context(),
        backend=backend,
    ) as server, await RawClient.open(
        sockname(server), context=certificates.client_context()
    ) as client:
        for size in (1, 60000):
            client.write_frame(2, bytes(size))
            client.write_frame(2, bytes(size))
        for size in (1, 1, 60000, 60000):
            assert (await client.read_frame()).payload == bytes(size)


async def test_plain_requests_are_404() -> None:
    async with served("own", echo_app) as server, await RawClient.connect(
        server.sockname
    ) as client:
        client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        response = await client.read_response()
    assert response.status == 404
    assert b"uvicorn" in response.body


async def test_lifespan_around_the_server() -> None:
    events: List[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            events.append((await receive())["type"])
            scope["state"]["x"] = 1
            await send({"type": "lifespan.startup.complete"})
            events.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
            return
        assert scope["state"] == {"x": 1}
        await accept(receive, send)
        events.append(str((await receive())["code"]))

    server = await ws_create_server(ANY_PORT, asgi_listener(app), quiet_logger())
    client = await RawClient.open(sockname(server))
    server.close()
    assert await client.read_close() == 1012
    client.write_close(1012)
    await server.wait_closed()
    await client.close()
    assert events == ["lifespan.startup", "1012", "lifespan.shutdown"]


async def test_a_failed_startup_leaves_no_server() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    listener = asgi_listener(app)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no database"):
            await ws_create_server(ANY_PORT, listener, quiet_logger())


async def test_one_server_at_a_time() -> None:
    listener = asgi_listener(echo_app, lifespan="off")
    async with ws_create_server(ANY_PORT, listener, quiet_logger()):
        with pytest.raises(WSStateError, match="another"):
            await ws_create_server(ANY_PORT, listener, quiet_logger())
    async with ws_create_server(ANY_PORT, listener, quiet_logger()) as server:
        await (await RawClient.open(sockname(server))).close()


async def test_applications_that_do_not_end_are_cancelled() -> None:
    cancelled = asyncio.Event()
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with served("own", app, recorder, close_timeout=0.05) as server:
        client = await RawClient.open(server.sockname)
    assert cancelled.is_set()
    assert any("cancelling" in line for line in recorder.lines)
    assert any("CancelledError" in error for error in recorder.errors)
    await client.close()


async def test_automatic_pings_while_messages_wait() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await asyncio.Event().wait()

    options: Any = {
        "enable_auto_ping": True,
        "auto_ping_idle_timeout": 0.05,
        "auto_ping_reply_timeout": 0.3,
        "close_timeout": 0.05,
    }
    async with served("own", app, **options) as server, await RawClient.open(
        server.sockname
    ) as client:
        client.write_frame(1, b"a")
        for _ in range(3):
            frame = await client.read_frame()
            assert frame.opcode == 9
            client.write_frame(10, frame.payload)
            client.write_frame(1, b"a")
        while (await client.read_frame()).opcode == 9:
            pass  # no more pongs: CLOSE


async def test_the_context_is_that_of_the_call() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(variable.get())
        await accept(receive, send)
        await receive()

    variable.set("server's")
    async with served("own", app) as server:
        variable.set("later")
        await (await RawClient.open(server.sockname)).close()
    assert seen == ["server's"]


@plain_backends
async def test_nothing_is_left_for_the_collector(backend: str, without_collector: None) -> None:
    connections: List[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        connections.append(weakref.ref(receive.__self__))
        if scope["path"] == "/refuse":
            return await send({"type": "websocket.close"})
        if scope["path"] == "/respond":
            return await send({"type": "websocket.http.response.start", "status": 404})
        await echo_app(scope, receive, send)
        return None

    async with served("own", app, backend=backend) as server:
        for path in ("/refuse", "/respond"):
            async with await RawClient.connect(server.sockname) as client:
                assert (await client.upgrade(path)).status in (403, 404)
        for code in (1000, 1001):
            async with await RawClient.open(server.sockname) as client:
                client.write_frame(1, b"hello")
                await client.read_frame()
                client.write_close(code)
                await client.read_close()
    for _ in range(5):
        await asyncio.sleep(0)
    assert [each() for each in connections] == [None] * 4


async def test_refusing_when_full() -> None:
    async with served("own", echo_app, max_connections=1, when_full="refuse") as server:
        first = await RawClient.open(server.sockname)
        async with await RawClient.connect(server.sockname) as second:
            assert (await second.upgrade()).status == 503
        await first.close()


def test_wrong_arguments() -> None:
    app: Any = None
    with pytest.raises(TypeError, match="ASGI application"):
        asgi_listener(app)
    root_path: Any = b"/"
    with pytest.raises(TypeError, match="root_path"):
        asgi_listener(echo_app, root_path)
    with pytest.raises(WSInvalidOptionError, match="lifespan"):
        asgi_listener(echo_app, lifespan="maybe")
    for path in ("chat", "/", "/chat/"):
        with pytest.raises(WSInvalidOptionError, match="root_path"):
            asgi_listener(echo_app, path)
    assert "echo_app" in repr(asgi_listener(echo_app, "/chat"))


class Application:
    def __init__(self, debug: bool = False, routes: Any = None, middleware: Any = None) -> None:
        self.arguments = (debug, routes, middleware)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Endpoint:
    def __init__(self, scope: Any, receive: Any, send: Any) -> None: ...

    def __await__(self) -> Iterator[None]:
        yield


class OldApplication:
    async def __call__(self, scope: Any) -> None: ...


def create_app() -> Application:
    return Application()


@functools.wraps(create_app)
async def wrapper(*args: Any) -> None: ...


async def with_keyword(scope: Any, receive: Any, send: Any, *, settings: Any) -> None: ...


async def with_more(settings: Any, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    "app",
    [
        *(Application(), Application().__call__, Endpoint, wrapper, mock.Mock(), mock.AsyncMock()),
        functools.partial(with_more, None),
        functools.partial(with_keyword, settings=None),
    ],
)
def test_what_is_an_application(app: Any) -> None:
    asgi_listener(app)


@pytest.mark.parametrize(
    ("app", "advice"),
    [
        (Application, "is a class: pass an object of it"),
        (create_app, r"asgi_listener\(create_app\(\)\)"),
        (OldApplication(), "ASGI 2 application"),
        (with_more, "must take three arguments"),
    ],
)
def test_what_is_no_application(app: Any, advice: str) -> None:
    with pytest.raises(TypeError, match=advice):
        asgi_listener(app)


@pytest.mark.parametrize(
    ("keyword", "advice"),
    [
        ("config", "picows_server.asgi:UvicornProtocol"),
        ("rootpath", "did you mean 'root_path'"),
        ("compression", "option of ws_create_server"),
    ],
)
def test_keywords_that_it_does_not_have(keyword: str, advice: str) -> None:
    options: Any = {keyword: None}
    with pytest.raises(TypeError, match=advice):
        asgi_listener(echo_app, **options)


async def test_applications_without_asgi_listener() -> None:
    app: Any = echo_app
    with pytest.raises(TypeError, match="asgi_listener"):
        await ws_create_server(ANY_PORT, app)
    with pytest.raises(TypeError, match="asgi_listener"):
        await serve(app, ANY_PORT)
    handler: Any = asgi_listener(echo_app)
    with pytest.raises(TypeError, match=r"ws_create_server\(url, asgi_listener"):
        await serve(handler, ANY_PORT)
