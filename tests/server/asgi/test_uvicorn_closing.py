"""picows_server.asgi.uvicorn_protocol: pings, and how connections end."""

from __future__ import annotations

import asyncio
import errno
import logging
from typing import Any, List, Optional

import pytest

from picows_server.asgi import UvicornProtocol
from tests.support.asgi import MockTransport, Recorder, accept, echo_app
from tests.support.rawclient import upgrade_request
from tests.support.uvicorn_mock import FullTransport, Mock, masked

pytest.importorskip("uvicorn")


async def test_shutdown_of_an_open_connection() -> None:
    events = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        events.append(await receive())

    mock = Mock(app)
    await mock.open()
    mock.protocol.shutdown()
    assert mock.transport.take() == b"\x88\x02\x03\xf4"
    assert mock.transport.calls == ["close"]
    await mock.settle()
    assert events == [{"type": "websocket.disconnect", "code": 1012}]
    await mock.end()


async def test_shutdown_before_accept() -> None:
    events = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        events.append(await receive())

    mock = Mock(app)
    mock.protocol.data_received(upgrade_request())
    await mock.settle()
    mock.protocol.shutdown()
    response = mock.transport.take()
    assert response.startswith(b"HTTP/1.1 500 ")
    assert response.endswith(b"Internal Server Error")
    await mock.settle()
    assert events == [{"type": "websocket.disconnect", "code": 1006}]
    assert "close" in mock.transport.calls
    await mock.end()


async def test_shutdown_before_a_request() -> None:
    mock = Mock(echo_app)
    mock.protocol.shutdown()
    assert mock.transport.calls == ["close"]
    assert mock.transport.take() == b""
    await mock.end()


async def test_shutdown_after_our_close() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await send({"type": "websocket.close", "code": 4000})

    mock = Mock(app)
    await mock.open()
    assert mock.transport.calls == []
    mock.protocol.shutdown()
    assert mock.transport.take() == b""
    assert mock.transport.calls == ["close"]
    await mock.end()


async def test_our_close_waits_for_the_peer() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await receive()
        await send({"type": "websocket.close"})

    mock = Mock(app)
    await mock.open()
    assert mock.protocol.close_timeout == 10.0
    assert mock.protocol.close_timer is None
    mock.protocol.data_received(masked(1, b"go"))
    await mock.settle()
    assert mock.transport.take() == b"\x88\x02\x03\xe8"
    assert mock.transport.calls == []
    assert mock.protocol.close_timer is not None
    mock.protocol.data_received(masked(1, b"dropped"))
    assert mock.transport.calls == []
    await mock.end()
    assert mock.protocol.close_timer is None
    mock = Mock(app)
    await mock.open()
    mock.protocol.close_timeout = 0.01
    mock.protocol.data_received(masked(1, b"go"))
    while "close" not in mock.transport.calls:
        await asyncio.sleep(0.005)
    await mock.end()
    assert mock.protocol.close_timer is None


async def test_close_timeout_may_be_longer_than_that_of_the_class() -> None:
    class Hasty(UvicornProtocol):
        close_timeout = 0.01

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await receive()
        await send({"type": "websocket.close"})

    for timeout in (30.0, None):
        mock = Mock(app, Hasty)
        await mock.open()
        mock.protocol.close_timeout = timeout
        mock.protocol.data_received(masked(1, b"go"))
        await mock.settle()
        timer = mock.protocol.close_timer
        if timeout is None:
            assert timer is None
        else:
            assert timer is not None
            assert timer.when() > mock.protocol.loop.time() + 20.0
        await asyncio.sleep(0.05)  # much more than that of the class
        assert mock.transport.calls == []
        mock.protocol.data_received(masked(8, b"\x03\xe8"))
        assert mock.transport.calls == ["close"]
        await mock.end()


async def test_attributes_of_pings() -> None:
    mock = Mock(echo_app)
    await mock.open()
    assert mock.protocol.ping_timer is None
    assert mock.protocol.ping_sent_at == 0.0
    await mock.end()
    mock = Mock(echo_app, ws_ping_interval=0)
    await mock.open()
    assert mock.protocol.ping_timer is None
    await mock.end()
    mock = Mock(echo_app, ws_ping_interval=30.0)
    await mock.open()
    assert mock.protocol.ping_timer is not None
    assert mock.protocol.ping_sent_at == 0.0
    await mock.end()
    assert mock.protocol.ping_timer is None


async def test_a_peer_that_does_not_pong() -> None:
    events = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        events.append(await receive())

    mock = Mock(app, ws_ping_interval=0.01, ws_ping_timeout=0.01)
    mock.protocol.data_received(upgrade_request())
    while not events:
        await asyncio.sleep(0.005)
    assert mock.protocol.ping_sent_at > 0.0
    assert events == [
        {"type": "websocket.disconnect", "code": 1011, "reason": "keepalive ping timeout"}
    ]
    written = mock.transport.take().partition(b"\r\n\r\n")[2]
    assert written.startswith(b"\x89\x00")
    assert written.endswith(b"\x88\x18\x03\xf3keepalive ping timeout")
    await mock.end()


@pytest.mark.parametrize("kind", [MockTransport, FullTransport])
async def test_what_is_held_back_leaves_before_the_end(kind: Any) -> None:
    """Several frames of one loop iteration leave together, at its end."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await asyncio.sleep(0)
        for text in ("a", "b"):
            await send({"type": "websocket.send", "text": text})
        receive.__self__.fail(1011, "late")

    mock = Mock(app, transport=kind())
    mock.protocol.data_received(upgrade_request())
    await mock.settle()
    assert mock.transport.take().endswith(b"\x81\x01a\x81\x01b\x88\x06\x03\xf3late")
    await mock.end()


async def test_a_reset_that_nobody_has_noticed() -> None:
    """The socket is not connected any more when the peer's time is over."""

    class Reset(FullTransport):
        def write_eof(self) -> None:
            raise OSError(errno.ENOTCONN, "not connected")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await asyncio.sleep(0)
        receive.__self__.fail(1011, "late")

    mock = Mock(app, transport=Reset())
    mock.protocol.data_received(upgrade_request())
    await mock.settle()
    assert mock.transport.calls == ["close"]
    await mock.end()


async def test_a_peer_that_has_ended_its_stream() -> None:
    """What waits for it keeps the transport, while nothing more can be sent."""
    events: List[Any] = []
    errors: List[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    may_go_on = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await accept(receive, send)
        await may_go_on.wait()
        try:
            await send({"type": "websocket.send", "text": "late"})
        finally:
            events.append(await receive())

    recorder = Recorder()
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(recorder)
    mock = Mock(app, transport=FullTransport(), ws_ping_interval=0.5)
    await mock.open()
    assert mock.protocol.eof_received() is False
    while mock.protocol.ping_timer is not None:
        await asyncio.sleep(0.005)
    may_go_on.set()
    await mock.settle()
    assert events == [{"type": "websocket.disconnect", "code": 1005}]
    assert mock.state.tasks == set()
    await mock.end()
    logger.removeHandler(recorder)
    assert recorder.errors == []
    assert errors == []


async def silent_app(scope: Any, receive: Any, send: Any) -> None:
    await accept(receive, send)
    await asyncio.Event().wait()


async def with_a_message_before_a_ping(timeout: float) -> Mock:
    """An open connection with a message that waits; a ping is due soon."""
    while True:
        mock = Mock(silent_app, ws_ping_interval=0.05, ws_ping_timeout=timeout)
        await mock.open()
        mock.protocol.data_received(masked(1, b"a"))
        if not mock.protocol.ping_sent_at:
            assert mock.transport.calls == ["pause"]
            return mock
        await mock.cancel()  # on a busy machine the ping has left already


@pytest.mark.parametrize("timeout", [None, 30.0])
async def test_one_ping_after_another(timeout: Optional[float]) -> None:
    """Each waits for the pong to the one before."""
    mock = Mock(silent_app, ws_ping_interval=0.01, ws_ping_timeout=timeout)
    mock.protocol.data_received(upgrade_request())
    for _ in range(3):
        while not mock.transport.written.endswith(b"\x89\x00"):
            await asyncio.sleep(0.002)
        await asyncio.sleep(0.03)  # more than the interval
        assert mock.transport.take().endswith(b"\x89\x00")
        assert mock.transport.take() == b""
        mock.protocol.data_received(masked(10, b""))
    await mock.cancel()
    assert mock.protocol.ping_timer is None


async def test_a_ping_behind_what_the_peer_has_not_read() -> None:
    """As long as it reads, the pong is not late."""

    class Slow(FullTransport):
        queued = 1000
        reads = True

        def get_write_buffer_size(self) -> int:
            self.queued -= self.reads
            return self.queued

    transport = Slow()
    mock = Mock(silent_app, ws_ping_interval=0.01, ws_ping_timeout=0.01, transport=transport)
    mock.protocol.data_received(upgrade_request())
    while transport.queued > 980:
        await asyncio.sleep(0.002)
    assert transport.calls == []
    assert transport.take().count(b"\x89\x00") == 1
    transport.reads = False
    while "close" not in transport.calls:
        await asyncio.sleep(0.002)
    assert b"keepalive ping timeout" in transport.take()
    await mock.cancel()


async def test_pings_while_messages_wait() -> None:
    """Only the pause of a queue keeps us from reading: the pong is read all the same."""
    mock = await with_a_message_before_a_ping(30.0)
    while not mock.protocol.ping_sent_at:
        await asyncio.sleep(0.002)
    assert mock.transport.calls == ["pause", "resume"]
    mock.protocol.data_received(masked(10, b""))
    assert mock.transport.calls == ["pause", "resume", "pause"]
    await mock.cancel()


async def test_pings_without_pong_while_messages_wait() -> None:
    """The limit of a ping holds."""
    mock = await with_a_message_before_a_ping(0.05)
    while "close" not in mock.transport.calls:
        await asyncio.sleep(0.01)
    assert mock.transport.calls[:2] == ["pause", "resume"]
    assert b"keepalive ping timeout" in mock.transport.take()
    await mock.cancel()


async def test_reading_for_a_pong_has_an_end() -> None:
    mock = Mock(silent_app, ws_ping_interval=0.01, ws_ping_timeout=30.0)
    await mock.open()
    while not mock.protocol.ping_sent_at:
        await asyncio.sleep(0.002)
    for _ in range(100):
        mock.protocol.data_received(masked(1, b"a"))
    assert mock.transport.calls == ["pause"]
    await mock.cancel()


async def test_what_is_traced() -> None:
    logger = logging.getLogger("uvicorn.error")
    recorder = Recorder()
    logger.addHandler(recorder)
    level = logger.level
    logger.setLevel(5)
    try:
        mock = Mock(echo_app)
        await mock.open()
        await mock.end()
    finally:
        logger.setLevel(level)
        logger.removeHandler(recorder)
    assert "192.0.2.1:4711 - WebSocket connection made" in recorder.lines
    assert "192.0.2.1:4711 - WebSocket connection lost" in recorder.lines
