"""picows_server.asgi.uvicorn_protocol: what uvicorn, its users and its transports see."""

from __future__ import annotations

import asyncio
import socket
import weakref
from pathlib import Path
from typing import Any, Dict, List

import pytest

from picows_server import WSInvalidOptionError, WSPermessageDeflate
from picows_server.asgi import UvicornProtocol
from tests.support.asgi import Recorder, accept, echo_app, served, uvicorn_config
from tests.support.certificates import Certificates
from tests.support.rawclient import RawClient, upgrade_request
from tests.support.uvicorn_mock import Mock, masked

pytest.importorskip("uvicorn")


async def test_a_lean_transport() -> None:
    mock = Mock(echo_app)
    assert mock.state.connections == {mock.protocol}
    await mock.open()
    assert len(mock.state.tasks) == 1
    mock.protocol.data_received(masked(1, b"hello"))
    await mock.settle()
    assert mock.transport.take() == b"\x81\x05hello"
    mock.protocol.data_received(masked(8, b"\x03\xe8"))
    assert mock.transport.take() == b"\x88\x02\x03\xe8"
    assert mock.transport.calls == ["close"]
    assert mock.protocol.transport is mock.transport
    await mock.end()
    assert mock.state.connections == set()
    assert mock.state.tasks == set()
    assert mock.protocol.transport is mock.transport


async def test_it_is_a_buffered_protocol() -> None:
    mock = Mock(echo_app)
    assert isinstance(mock.protocol, asyncio.BufferedProtocol)
    await mock.open()
    frame = masked(2, b"x")
    mock.protocol.get_buffer(-1)[: len(frame)] = frame
    mock.protocol.buffer_updated(len(frame))
    await mock.settle()
    assert mock.transport.take() == b"\x82\x01x"
    await mock.end()


async def test_reading_is_paused_at_the_first_message_that_waits() -> None:
    events: List[Any] = []
    may_go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await may_go_on.wait()
        for _ in range(4):
            events.append(await receive())
            events.append(list(mock.transport.calls))

    mock = Mock(app)
    await mock.open()
    assert mock.transport.calls == []
    mock.protocol.data_received(masked(1, b"a") + masked(1, b"b"))
    assert mock.transport.calls == ["pause"]
    mock.protocol.data_received(masked(1, b"c"))
    may_go_on.set()
    await mock.settle()
    assert [event["text"] for event in events[::2]] == ["a", "b", "c"]
    assert events[1::2] == [["pause"], ["pause"], ["pause", "resume"]]
    mock.protocol.data_received(masked(1, b"d"))  # somebody waits
    await mock.settle()
    assert mock.transport.calls[:2] == ["pause", "resume"]
    await mock.end()


async def test_send_waits_for_resume_writing() -> None:
    mock = Mock(echo_app)
    await mock.open()
    mock.protocol.pause_writing()
    mock.protocol.data_received(masked(1, b"a"))
    await mock.settle()
    assert mock.transport.take() == b""
    mock.protocol.resume_writing()
    await mock.settle()
    assert mock.transport.take() == b"\x81\x01a"
    mock.protocol.pause_writing()
    mock.protocol.data_received(masked(1, b"b"))
    await mock.settle()
    assert mock.transport.take() == b""
    await mock.end()  # who waits learns of it


async def test_data_that_a_task_brings() -> None:
    """A task cannot run another one within itself."""
    mock = Mock(echo_app)
    await mock.open()

    async def feed() -> None:
        mock.protocol.data_received(masked(1, b"a"))
        assert mock.transport.take() == b""

    await asyncio.get_running_loop().create_task(feed())
    await mock.settle()
    assert mock.transport.take() == b"\x81\x01a"
    await mock.end()


async def test_data_that_the_loop_brings() -> None:
    """The application goes on within the read, and all that it sends leaves in one write."""
    mock = Mock(echo_app)
    await mock.open()
    taken = []

    def feed() -> None:
        mock.protocol.data_received(masked(1, b"a") + masked(1, b"b"))
        taken.append(mock.transport.take())

    asyncio.get_running_loop().call_soon(feed)
    await mock.settle()
    assert taken == [b"\x81\x01a\x81\x01b"]
    assert mock.transport.calls == []
    await mock.end()


async def test_default_headers_are_read_at_accept() -> None:
    may_accept = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await may_accept.wait()
        await accept(receive, send)
        await receive()

    mock = Mock(app)
    mock.protocol.data_received(upgrade_request())
    await mock.settle()
    mock.state.default_headers = [(b"Date", b"today")]
    may_accept.set()
    await mock.settle()
    head = mock.transport.take()
    assert b"date: today\r\n" in head
    assert b"server:" not in head
    await mock.end()


@pytest.mark.parametrize("date", [[(b"Date", b"today")], []])
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_refusals_have_the_date_of_uvicorn(date: Any, is_streamed: bool) -> None:
    """It has none with ``--no-date-header``."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if is_streamed:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"no"})
        else:
            await send({"type": "websocket.close"})

    mock = Mock(app)
    mock.state.default_headers = date
    mock.protocol.data_received(upgrade_request())
    await mock.settle()
    head = mock.transport.take().lower()
    assert head.startswith(b"http/1.1 40")
    assert head.count(b"\r\ndate: today\r\n") == len(date)
    await mock.end()


async def test_an_application_that_only_sends_learns_of_a_close() -> None:
    errors: List[Any] = []
    may_go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await may_go_on.wait()
        for number in range(100):
            try:
                await send({"type": "websocket.send", "text": str(number)})
            except OSError as error:
                errors.append(error)
                return
            await asyncio.sleep(0)

    mock = Mock(app)
    await mock.open()
    mock.protocol.data_received(masked(1, b"unread"))
    assert mock.transport.calls == ["pause"]
    may_go_on.set()
    while "resume" not in mock.transport.calls:
        await asyncio.sleep(0)
    mock.protocol.data_received(masked(1, b"unread"))
    assert mock.transport.calls == ["pause", "resume"]
    mock.protocol.data_received(masked(8, b"\x03\xe8"))
    await mock.settle()
    assert len(errors) == 1
    assert mock.transport.calls == ["pause", "resume", "close"]
    await mock.end()


async def test_reading_for_an_application_that_only_sends_has_an_end() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        while True:
            await send({"type": "websocket.send", "text": "x"})
            await asyncio.sleep(0)

    for payload, most in ((b"a", 32), (bytes(100), 32), (None, 5)):
        mock = Mock(app)
        mock.protocol.data_received(upgrade_request())
        await mock.settle()
        fed = 0
        while mock.transport.calls.count("pause") < 2:
            if payload is None:  # 1 MiB
                mock.protocol.data_received(
                    b"\x82\xff" + (1 << 20).to_bytes(8, "big") + bytes(4 + (1 << 20))
                )
            else:
                mock.protocol.data_received(masked(2, payload))
            fed += 1
            await mock.settle()
        assert most - 2 <= fed <= most
        for task in mock.state.tasks:
            task.cancel()
        await mock.end()


async def test_violations_reach_the_application_at_once() -> None:
    events: List[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        events.append(await receive())
        events.append(await receive())

    mock = Mock(app)
    await mock.open()
    mock.protocol.data_received(masked(1, b"before") + masked(3, b""))
    await mock.settle()
    assert events == [
        {"type": "websocket.receive", "text": "before"},
        {"type": "websocket.disconnect", "code": 1002, "reason": "reserved opcode (RFC 6455, 5.2)"},
    ]
    await mock.end()


async def test_secure_connections_pause_after_the_read() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["scheme"] == "wss"
        await accept(receive, send)
        await asyncio.Event().wait()

    mock = Mock(app, is_secure=True)
    await mock.open()
    mock.protocol.data_received(masked(1, b"a"))
    await mock.settle()
    assert mock.transport.calls == ["pause"]
    for task in mock.state.tasks:
        task.cancel()
    await mock.end()


async def test_nothing_is_left_for_the_collector(without_collector: None) -> None:
    mock = Mock(echo_app)
    await mock.open()
    mock.protocol.data_received(masked(8, b"\x03\xe8"))
    await mock.end()
    await mock.settle()
    gone = weakref.ref(mock.protocol)
    del mock
    assert gone() is None


async def test_older_servers() -> None:
    """Releases before 0.22 pass no state, and some pass on_connection_lost."""
    from uvicorn.server import ServerState  # noqa: PLC0415

    config = uvicorn_config(echo_app)
    protocol: Any = UvicornProtocol(
        config=config, server_state=ServerState(), on_connection_lost=None
    )
    assert protocol.app_state == {}
    protocol.give_up()


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_behind_both_http_protocols(http: str) -> None:
    pytest.importorskip(http)
    async with served("uvicorn", echo_app, http=http) as server, await RawClient.open(
        server.sockname
    ) as client:
        (protocol,) = server.protocols
        assert protocol.scope["type"] == "websocket"
        client.write_frame(1, b"hello")
        assert (await client.read_frame()).payload == b"hello"
        client.write_frame(2, bytes(60000))
        assert (await client.read_frame()).payload == bytes(60000)


async def test_compression_is_an_option() -> None:
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]
    for wanted in (True, False):
        async with served(
            "uvicorn", echo_app, ws_per_message_deflate=wanted
        ) as server, await RawClient.connect(server.sockname) as client:
            response = await client.upgrade("/", offer)
            assert ("sec-websocket-extensions" in response.headers) is wanted


async def test_small_messages_are_not_compressed() -> None:
    offer = [("Sec-WebSocket-Extensions", "permessage-deflate")]

    class Eager(UvicornProtocol):
        compression = WSPermessageDeflate(min_size=0)

    for protocol, size, first_byte in (
        (UvicornProtocol, 255, 0x81),
        (UvicornProtocol, 256, 0xC1),
        (Eager, 200, 0xC1),
    ):
        mock = Mock(echo_app, protocol)
        mock.protocol.data_received(upgrade_request("/", offer))
        await mock.settle()
        assert b"permessage-deflate" in mock.transport.take()
        frame = b"\x81\xfe" + size.to_bytes(2, "big") + bytes(4) + b"a" * size
        mock.protocol.data_received(frame)
        await mock.settle()
        assert mock.transport.take()[0] == first_byte
        await mock.end()


async def test_over_tls(certificates: Certificates) -> None:
    scopes: List[Dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await echo_app(scope, receive, send)

    async with served(
        "uvicorn",
        app,
        ssl_keyfile=str(certificates.server_key),
        ssl_certfile=str(certificates.server_chain),
    ) as server, await RawClient.open(
        server.sockname, context=certificates.client_context()
    ) as client:
        client.write_frame(2, bytes(50000))
        assert (await client.read_frame()).payload == bytes(50000)
        client.write_close(1000)
        assert await client.read_close() == 1000
    assert scopes[0]["scheme"] == "wss"


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets")
async def test_over_a_unix_socket(tmp_path: Path) -> None:
    import uvicorn  # noqa: PLC0415

    scopes: List[Dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await echo_app(scope, receive, send)

    path = str(tmp_path / "s")
    server = uvicorn.Server(uvicorn_config(app, uds=path))
    task = asyncio.get_running_loop().create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    async with await RawClient.open(path) as client:
        client.write_frame(1, b"hello")
        assert (await client.read_frame()).payload == b"hello"
    server.should_exit = True
    await task
    assert scopes[0]["client"] is None
    assert scopes[0]["server"] == (path, None)


async def test_behind_a_proxy() -> None:
    scopes: List[Dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await echo_app(scope, receive, send)

    headers = [("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-Proto", "https")]
    async with served("uvicorn", app) as server, await RawClient.open(
        server.sockname, "/", headers
    ):
        pass
    assert scopes[0]["client"][0] == "203.0.113.7"
    assert scopes[0]["scheme"] in ("wss", "https")  # as the release of uvicorn says


async def test_uvicorn_is_stopped_with_open_connections() -> None:
    events = []
    recorder = Recorder()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        events.append(await receive())

    async with served("uvicorn", app, recorder) as server:
        client = await RawClient.open(server.sockname)
    assert await client.read_close() == 1012
    await client.close()
    assert events == [{"type": "websocket.disconnect", "code": 1012}]
    assert recorder.errors == []


def test_attributes_of_a_subclass_are_checked_at_once() -> None:
    class Mine(UvicornProtocol):
        close_timeout = None
        compression = None

    assert issubclass(Mine, UvicornProtocol)
    with pytest.raises(TypeError, match="close_timeout"):
        type("Wrong", (UvicornProtocol,), {"close_timeout": "5"})
    with pytest.raises(WSInvalidOptionError, match="close_timeout"):
        type("Wrong", (UvicornProtocol,), {"close_timeout": -1})
    with pytest.raises((TypeError, WSInvalidOptionError), match="compression"):
        type("Wrong", (UvicornProtocol,), {"compression": "gzip"})
