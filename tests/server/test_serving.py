"""picows_server.serving: serve, its arguments, and what it passes on."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import socket
import sys
from pathlib import Path
from typing import Any, AsyncIterator, Awaitable, Callable, Iterator, List

import pytest

from picows_codec.coroutines.connection import WSConnection
from picows_server import (
    WSInvalidOptionError,
    WSInvalidURL,
    WSServer,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    files,
    serve,
)
from tests.support.certificates import Certificates
from tests.support.judge import ask
from tests.support.loops import other_tasks
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.servers import (
    ANY_PORT,
    Echo,
    echo,
    plain_backends,
    refuses,
    sockname,
    tls_backends,
)


async def echo_all(connection: WSConnection) -> None:
    async for message in connection:
        await connection.send(message)


def unauthorized() -> WSUpgradeResponse:
    return WSUpgradeResponse.create_error_response(401, "who are you?")


@plain_backends
async def test_echo(backend: str) -> None:
    async with serve(echo_all, ANY_PORT, backend=backend) as server:
        assert isinstance(server, WSServer)
        async with await RawClient.open(sockname(server)) as client:
            await echo(client)
            assert len(other_tasks()) == 1
    assert not other_tasks()


@tls_backends
async def test_echo_with_tls(backend: str, certificates: Certificates) -> None:
    options: Any = {"ssl_context": certificates.server_context(), "backend": backend}
    async with serve(echo_all, "wss://127.0.0.1:0", **options) as server:
        context = certificates.client_context()
        async with await RawClient.open(sockname(server), context=context) as client:
            await echo(client)
            client.write_close(1000)
            assert await client.read_close() == 1000


async def test_awaited() -> None:
    server = await serve(echo_all, ANY_PORT)
    async with await RawClient.open(sockname(server)) as client:
        await echo(client)
    server.close()
    await server.wait_closed()


async def test_serve_forever() -> None:
    server = await serve(echo_all, ANY_PORT, start_serving=False)
    assert not server.is_serving()
    task = asyncio.ensure_future(server.serve_forever())
    while not server.is_serving():
        await asyncio.sleep(0)
    async with await RawClient.open(sockname(server)) as client:
        await echo(client)
        task.cancel()
        assert await client.read_close() == 1001
        client.write_close(1001)
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
async def test_unix_path(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with serve(echo_all, "ws://localhost", unix_path=path), await RawClient.open(
        path
    ) as client:
        await echo(client)
    assert not os.listdir(tmp_path)


async def test_sockets() -> None:
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    names = [each.getsockname() for each in listening]
    async with serve(echo_all, "ws://127.0.0.1", sock=iter(listening)) as server:
        assert len(server.sockets) == 2
        for name in names:
            async with await RawClient.open(name) as client:
                await echo(client)
    assert all(map(refuses, names))


async def test_sockets_of_a_call_that_fails() -> None:
    for arguments in (("not callable", "ws://localhost"), (echo_all, "no URL")):
        with socket.create_server(("127.0.0.1", 0)) as listening:
            with pytest.raises((TypeError, WSInvalidURL)):
                await serve(*arguments, sock=listening)  # type: ignore[arg-type]
            assert listening.fileno() == -1


async def test_compression() -> None:
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    async with serve(echo_all, ANY_PORT, compression="deflate") as server, await RawClient.connect(
        sockname(server)
    ) as client:
        response = await client.upgrade(headers=offer)
        assert response.headers["sec-websocket-extensions"] == "permessage-deflate"


async def test_subprotocols_and_origins() -> None:
    async def handler(connection: WSConnection) -> None:
        await connection.send(connection.subprotocol or "")

    options: Any = {"subprotocols": ["v2", "v1"], "origins": ["https://example.com"]}
    async with serve(handler, ANY_PORT, **options) as server:
        for origin, offered, status in (
            ("https://example.com", "v1, v2", 101),
            ("https://example.org", "v1, v2", 403),
            ("https://example.com", "v3", 400),
        ):
            headers = [("Origin", origin), ("Sec-WebSocket-Protocol", offered)]
            async with await RawClient.connect(sockname(server)) as client:
                response = await client.upgrade(headers=headers)
                assert response.status == status
                if status == 101:
                    assert response.headers["sec-websocket-protocol"] == "v2"
                    assert (await client.read_frame()).payload == b"v2"


async def test_path() -> None:
    async with serve(echo_all, ANY_PORT + "/chat") as server:
        for path, status in (("/chat?room=1", 101), ("/", 404)):
            async with await RawClient.connect(sockname(server)) as client:
                assert (await client.upgrade(path)).status == status


async def test_full_server_refuses() -> None:
    async with serve(
        echo_all, ANY_PORT, max_connections=1, when_full="refuse"
    ) as server, await RawClient.open(sockname(server)) as client:
        await echo(client)
        async with await RawClient.connect(sockname(server)) as other:
            assert (await other.upgrade()).status == 503


async def test_room_after_a_handler_has_returned() -> None:
    async def handler(connection: WSConnection) -> None:
        await connection.recv()

    async with serve(handler, ANY_PORT, max_connections=1) as server:
        for _ in range(3):
            async with await RawClient.open(sockname(server)) as client:
                client.write_frame(1, b"done")
                assert await client.read_close() == 1000


# process_request


class Checks:
    """Decides by the path."""

    def __call__(self, request: WSUpgradeRequest) -> Any:
        if request.path == "/no":
            return unauthorized()
        if request.path == "/headers":
            return WSUpgradeResponse.create_101_response({"X-A": "1"}, subprotocol="v1")
        if request.path == "/raises":
            raise ValueError("boom")
        if request.path == "/wrong":
            return 7
        if request.path == "/listener":
            response = WSUpgradeResponse.create_101_response({})
            return WSUpgradeResponseWithListener(response, Echo())
        return None

    def method(self, request: WSUpgradeRequest) -> Any:
        return self(request)

    async def later(self, request: WSUpgradeRequest) -> Any:
        await asyncio.sleep(0)
        return self(request)

    def future(self, request: WSUpgradeRequest) -> Any:
        return asyncio.ensure_future(self.later(request))


@pytest.mark.parametrize("way", ["call", "method", "later", "future", "partial"])
async def test_process_request(way: str, caplog: pytest.LogCaptureFixture) -> None:
    checks: Any = Checks()
    process_request = {
        "call": checks,
        "partial": functools.partial(Checks.later, checks),
    }.get(way, getattr(checks, way, None))
    statuses = {"/": 101, "/no": 401, "/headers": 101, "/wrong": 500, "/raises": 500}
    async with serve(echo_all, ANY_PORT, process_request=process_request) as server:
        for path, status in statuses.items():
            async with await RawClient.connect(sockname(server)) as client:
                response = await client.upgrade(path, [("Sec-WebSocket-Protocol", "v0, v1")])
                assert response.status == status
                is_extended = path == "/headers"
                assert response.headers.get("x-a") == ("1" if is_extended else None)
                assert ("sec-websocket-protocol" in response.headers) is is_extended
                if status == 101:
                    await echo(client)
    failed = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert len(failed) == 2
    assert all(each.getMessage().endswith(": process_request failed") for each in failed)
    assert "boom" in caplog.text
    assert "process_request must return a WSUpgradeResponse or None, not 7" in caplog.text


async def test_process_request_that_returns_a_listener(caplog: pytest.LogCaptureFixture) -> None:
    async with serve(
        echo_all, ANY_PORT, process_request=Checks()
    ) as server, await RawClient.connect(sockname(server)) as client:
        assert (await client.upgrade("/listener")).status == 500
    assert "process_request must return a WSUpgradeResponse or None" in caplog.text


async def test_subprotocol_that_was_not_offered(caplog: pytest.LogCaptureFixture) -> None:
    accept = WSUpgradeResponse.create_101_response(subprotocol="v9")
    async with serve(echo_all, ANY_PORT, process_request=lambda request: accept) as server:
        async with await RawClient.connect(sockname(server)) as client:
            assert (await client.upgrade("/", [("Sec-WebSocket-Protocol", "v1")])).status == 500
        async with await RawClient.connect(sockname(server)) as client:  # asks for no upgrade
            client.writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await client.read_response()).status == 426
    (failed,) = (each for each in caplog.records if each.levelno >= logging.ERROR)
    assert failed.getMessage().endswith(": process_request failed")
    assert "process_request chose subprotocol='v9'" in caplog.text


async def test_process_request_that_is_too_slow(caplog: pytest.LogCaptureFixture) -> None:
    async def process_request(request: WSUpgradeRequest) -> None:
        await asyncio.get_running_loop().create_future()

    async with serve(
        echo_all, ANY_PORT, process_request=process_request, websocket_handshake_timeout=0.05
    ) as server, await RawClient.connect(sockname(server)) as client:
        assert (await client.upgrade()).status == 503
    (failed,) = (each for each in caplog.records if each.levelno >= logging.ERROR)
    assert "process_request of serve, did not decide within" in failed.getMessage()
    assert "the listener factory failed" not in caplog.text


@pytest.mark.parametrize(
    ("target", "headers", "text"),
    [
        ("/x%0a?key=secret", [], "404 Not Found: path '/x%0a' is not the server's"),
        ("/chat", [], "403 Forbidden: the request has no Origin header, and origins does not"),
        ("/chat", [("Origin", "http://a\x85b")], r"403 Forbidden: origin 'http://a\\x85b' is not"),
        (
            "/chat",
            [("Origin", "a" * 300)],
            f"403 Forbidden: origin '{'a' * 100}'\\.\\.\\. is not one",
        ),
        ("/chat", [("Origin", "a")] * 2, "403 Forbidden: the request has 2 Origin headers"),
    ],
)
async def test_log_says_why_the_servers_options_refuse(
    target: str, headers: Any, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    options: Any = {"origins": ["https://a.b"]}
    url = ANY_PORT + "/chat"
    async with serve(echo_all, url, **options) as server, await RawClient.connect(
        sockname(server)
    ) as client:
        await client.upgrade(target, headers)
    lines = [each.getMessage() for each in caplog.records if each.name == "picows.server"]
    (line,) = (line for line in lines if "the opening handshake failed" in line)
    assert re.match(rf"127\.0\.0\.1:\d+: the opening handshake failed: {text}", line)


async def test_log_says_that_the_users_code_refuses(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "picows.server")
    async with serve(
        echo_all, ANY_PORT, process_request=lambda request: unauthorized()
    ) as server, await RawClient.connect(sockname(server)) as client:
        assert (await client.upgrade()).status == 401
    (record,) = (each for each in caplog.records if "answered" in each.getMessage())
    assert record.levelno == logging.DEBUG
    assert record.getMessage().endswith("was answered without an upgrade: 401 Unauthorized")


async def test_request_without_an_upgrade() -> None:
    def health(request: WSUpgradeRequest) -> Any:
        if request.path == "/health":
            return WSUpgradeResponse.create_ok_response("fine")
        return None

    async with serve(echo_all, ANY_PORT, process_request=health) as server:
        for path, status in (("/health", 200), ("/", 426)):
            async with await RawClient.connect(sockname(server)) as client:
                client.writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert (await client.read_response()).status == status


@plain_backends
async def test_client_that_leaves_during_process_request(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = asyncio.Event()
    cancelled = asyncio.Event()
    handled: List[WSConnection] = []

    async def process_request(request: WSUpgradeRequest) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def handler(connection: WSConnection) -> None:
        handled.append(connection)

    options: Any = {"backend": backend, "process_request": process_request}
    async with serve(handler, ANY_PORT, **options) as server:
        client = await RawClient.connect(sockname(server))
        client.writer.write(upgrade_request())
        await asked.wait()
        client.reset()
        await cancelled.wait()
        await client.close()
    assert not handled
    assert not other_tasks()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


@plain_backends
async def test_server_that_is_closed_during_process_request(backend: str) -> None:
    asked = asyncio.Event()
    steps: List[str] = []

    async def process_request(request: WSUpgradeRequest) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    options: Any = {"backend": backend, "process_request": process_request}
    async with serve(echo_all, ANY_PORT, **options) as server:
        client = await RawClient.connect(sockname(server))
        client.writer.write(upgrade_request())
        await asked.wait()
    assert steps == ["cleaned up"]
    await client.close()


# Handlers of all kinds


class Application:
    async def __call__(self, connection: WSConnection) -> None:
        await echo_all(connection)

    async def method(self, connection: WSConnection, times: int = 1) -> None:
        await echo_all(connection)

    @staticmethod
    async def static(connection: WSConnection) -> None:
        await echo_all(connection)


class Session:
    """Made for each connection, and awaited."""

    def __init__(self, connection: WSConnection) -> None:
        self._connection = connection

    def __await__(self) -> Any:
        return echo_all(self._connection).__await__()


class WithoutSignature:
    """As many compiled callables are."""

    __signature__ = 7

    async def __call__(self, connection: WSConnection) -> None:
        await echo_all(connection)


async def with_state(state: object, connection: WSConnection) -> None:
    await echo_all(connection)


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def annotated(connection: WSConnection) -> Awaitable[None]:
    return echo_all(connection)


@pytest.mark.parametrize(
    "handler",
    [
        Application(),
        Application().method,
        Application.static,
        Session,
        WithoutSignature(),
        annotated,
        decorated(echo_all),
        functools.partial(with_state, "state"),
        functools.partial(functools.partial(with_state), "state"),
        lambda connection: with_state("state", connection),
    ],
)
async def test_kinds_of_handlers(handler: Any) -> None:
    async with serve(handler, ANY_PORT) as server, await RawClient.open(sockname(server)) as client:
        await echo(client)


def plain(connection: WSConnection):  # type: ignore[no-untyped-def]  # noqa: ANN201
    pass


def plain_and_annotated(connection: WSConnection) -> None:
    pass


def generator(connection: WSConnection) -> Iterator[None]:
    yield


async def async_generator(connection: WSConnection) -> AsyncIterator[None]:
    yield


async def without_arguments() -> None:
    pass


async def of_old_websockets(connection: WSConnection, path: str) -> None:
    pass


class Plain:
    def method(self, connection: WSConnection) -> None:
        pass

    def __call__(self, connection: WSConnection) -> None:
        pass


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (7, "handler must be a coroutine function, not 7"),
        (None, "handler must be a coroutine function, not None"),
        (Echo, r"Echo is a listener: call ws_create_server\(url, listener_factory\)"),
        (Echo(), r"is a listener: call ws_create_server\(url, listener_factory\)"),
        (print, r"must be a coroutine function \(async def\), not <built-in function print>"),
        (dict, r"must be a coroutine function \(async def\), not <class 'dict'>"),
        (plain, r"must be a coroutine function \(async def\).*plain"),
        (plain_and_annotated, r"must be a coroutine function \(async def\)"),
        (Plain().method, r"must be a coroutine function \(async def\).*Plain.method"),
        (Plain(), r"must be a coroutine function \(async def\).*Plain object"),
        (functools.partial(plain), r"must be a coroutine function \(async def\)"),
        (generator, "must be a coroutine function without yield"),
        (async_generator, "must be a coroutine function without yield"),
        (without_arguments, r"must take one argument, the connection.* with \(\)"),
        (of_old_websockets, r"must take one argument, the connection.*, path: 'str'\)"),
    ],
)
async def test_wrong_handlers(handler: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        await serve(handler, ANY_PORT)


async def of_websockets(connection: WSConnection, request: WSUpgradeRequest) -> None:
    pass


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"process_request": 7}, TypeError, "process_request must be a function, also a "),
        (
            {"process_request": of_websockets},
            TypeError,
            "process_request must take one argument, the request",
        ),
        (
            {"max_queue": 0},
            WSInvalidOptionError,
            "max_queue=0 is out of range: a number of messages from 1 is wanted, or None",
        ),
        ({"max_queue": (1, 2)}, WSInvalidOptionError, "the low mark must be from 0 to the high"),
        ({"path": "/a"}, TypeError, "ws://host:port/path; that of a Unix socket is unix_path="),
        ({"close_connections": 3}, TypeError, r"'close_connections': call server.close"),
        ({"max_queue": "9"}, TypeError, "max_queue must be"),
        ({"max_queue_bytes": -1}, WSInvalidOptionError, "max_queue_bytes=-1"),
        ({"start_serving": 7}, TypeError, "start_serving must be a bool"),
        ({"logger_name": 7}, TypeError, "logger_name must be"),
        ({"max_message_size": 0}, WSInvalidOptionError, "max_message_size"),
    ],
)
async def test_wrong_options(options: Any, error: Any, text: str) -> None:
    with pytest.raises(error, match=text):
        await serve(echo_all, ANY_PORT, **options)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("ws://localhost:1", echo_all),
            r"the handler comes first, then the URL: serve\(echo_all, 'ws://localhost:1', \.\.\.\)",
        ),
        (
            (echo_all, "localhost", 8765),
            r"parts of the URL: serve\(echo_all, 'ws://localhost:8765', \.\.\.\)",
        ),
        ((echo_all, None, 8765), r"parts of the URL: serve\(echo_all, 'ws://0.0.0.0:8765', "),
        ((echo_all, "", 8765), r"parts of the URL: serve\(echo_all, 'ws://0.0.0.0:8765', "),
        ((echo_all, "::1", 8765), r"serve\(echo_all, 'ws://\[::1\]:8765', \.\.\.\)"),
    ],
)
async def test_arguments_of_other_libraries(arguments: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        await serve(*arguments)


def test_call() -> None:
    call = serve(echo_all, ANY_PORT)
    assert repr(call) == "<serve(...): await it, or enter it by async with>"
    call.close()


@pytest.mark.parametrize("is_later", [True, False])
async def test_a_file_that_is_sent_in_pieces(is_later: bool, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * 300_000)
    documents = files(tmp_path)

    async def later(request: WSUpgradeRequest) -> Any:
        return documents(request)

    async def handler(connection: WSConnection) -> None:
        await connection.close()

    process = later if is_later else documents
    async with serve(handler, ANY_PORT, process_request=process) as server:
        assert len((await ask(sockname(server), "/large")).body) == 300_000
        assert (await ask(sockname(server), "/nothing")).status == 426
