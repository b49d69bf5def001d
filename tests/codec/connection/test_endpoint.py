"""Opening: CONNECTING, and what the endpoint is made with."""

from __future__ import annotations

import asyncio
import re
from typing import Any, List

import pytest

import picows_codec.http.upgrade as upgrade_room
from picows_codec import (
    ServerHandshake,
    WSDisconnectKind,
    WSEndpoint,
    WSHandshakeError,
    WSHandshakeTimeout,
    WSListener,
    WSOptions,
    WSState,
    WSStateError,
    WSTransport,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from picows_codec.testing.clock import FakeLoop
from tests.support import frames
from tests.support.chunking import Feeding, every_feeding
from tests.support.connection import (
    Connection,
    Log,
    Recorder,
    both_roles,
    both_ways_of_reading,
    failure_of,
)
from tests.support.frames import BINARY, CLOSE, PING, PONG, TEXT

# Success


@both_roles
@every_feeding
@both_ways_of_reading
def test_opens(role: str, feeding: Feeding, buffered: bool) -> None:
    connection = Connection(role, open=False, transport_options={"buffered": buffered})
    connection.start()
    ws = connection.ws
    assert ws.state is WSState.CONNECTING
    assert connection.endpoint.listener is None
    connection.feed(*feeding(connection.opening_bytes()))
    assert ws.state is WSState.OPEN
    assert connection.listener.events == [("connected",)]
    assert connection.listener.transport is ws
    assert connection.listener._transport is ws
    assert connection.endpoint.listener is connection.listener
    assert connection.endpoint.transport is ws
    assert connection.opened.result() == (ws, connection.listener)
    assert ws.underlying_transport is connection.transport
    assert ws.disconnect_cause is None
    assert ws.close_handshake is None
    assert not ws.is_disconnected
    assert ws.is_client_side == (role == "client")


@both_roles
@every_feeding
@both_ways_of_reading
def test_frames_right_behind_the_handshake(role: str, feeding: Feeding, buffered: bool) -> None:
    connection = Connection(role, open=False, transport_options={"buffered": buffered})
    connection.start()
    tail = connection.build(TEXT, b"early") + connection.build(TEXT, b"x" * 1000)
    connection.feed(*feeding(connection.opening_bytes() + tail))
    assert connection.listener.events == [
        ("connected",),
        (TEXT, b"early", True),
        (TEXT, b"x" * 1000, True),
    ]


def test_request_of_the_client() -> None:
    connection = Connection("client", open=False)
    connection.start()
    assert connection.transport.written.startswith(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    assert len(connection.transport.writes) == 1
    connection.open()
    assert len(connection.transport.writes) == 1


def test_answer_of_the_server() -> None:
    connection = Connection("server", open=False)
    connection.start()
    assert connection.transport.written == b""
    connection.open()
    assert connection.transport.written.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")


def test_answer_and_first_frames_of_the_server_are_one_write() -> None:
    listener = Recorder()
    listener.act("on_ws_connected", lambda transport: transport.send(TEXT, b"hello"))
    listener.act("on_ws_frame", lambda transport, frame: transport.send(TEXT, frame))
    connection = Connection("server", listener, open=False)
    connection.start()
    connection.open(tail=connection.build(PING, b"p") + connection.build(TEXT, b"one"))
    assert len(connection.transport.writes) == 1
    assert [(frame.opcode, frame.payload) for frame in connection.sent()] == [
        (TEXT, b"hello"),
        (PONG, b"p"),
        (TEXT, b"one"),
    ]


def test_a_long_answer_of_the_server_comes_before_the_first_frame() -> None:
    def route(request: Any) -> Any:
        response = WSUpgradeResponse.create_101_response({"X-Long": "x" * 200_000})
        return WSUpgradeResponseWithListener(response, listener)

    listener = Recorder()
    listener.act("on_ws_connected", lambda transport: transport.send(TEXT, b"hello"))
    connection = Connection("server", listener, open=False, factory=route)
    connection.start()
    connection.open()
    assert b"x" * 200_000 in connection.transport.written
    assert [frame.payload for frame in connection.sent()] == [b"hello"]


@both_roles
def test_what_the_handshake_agreed_on(role: str) -> None:
    connection = Connection(role)
    assert connection.ws.request.path == "/"
    assert connection.ws.response.status == 101
    assert connection.ws.subprotocol is None
    assert connection.ws.is_secure is False


def test_subprotocol() -> None:
    def route(request: Any) -> Any:
        response = WSUpgradeResponse.create_101_response(subprotocol=request.subprotocols[1])
        return WSUpgradeResponseWithListener(response, Recorder())

    connection = Connection(
        "server",
        factory=route,
        peer_headers=[("Sec-WebSocket-Protocol", "a, b")],
    )
    assert connection.ws.subprotocol == "b"


@both_roles
def test_secure(role: str) -> None:
    assert Connection(role, transport_options={"secure": True}).ws.is_secure is True


@both_roles
def test_watermarks_are_handed_to_the_transport(role: str) -> None:
    connection = Connection(role, write_high_watermark=5000, write_low_watermark=100)
    assert connection.transport.watermarks == (100, 5000)


@both_roles
def test_the_state_while_connecting(role: str) -> None:
    connection = Connection(role, open=False)
    connection.start()
    ws = connection.ws
    assert ws.state is WSState.CONNECTING
    assert ws.request is ws.response is ws.subprotocol is None
    for method in (
        lambda: ws.send(TEXT, b"x"),
        ws.send_ping,
        ws.send_pong,
        ws.send_close,
        lambda: ws.send_reuse_external_bytearray(TEXT, bytearray(20), 14),
    ):
        with pytest.raises(WSStateError, match="not open yet"):
            method()
    with pytest.raises(WSStateError, match="not open yet"):
        connection.loop.run(ws.measure_roundtrip_time())
    connection.open()
    ws.send(TEXT, b"x")


# The listener


@both_roles
@pytest.mark.parametrize("wrong", ["a listener", 5, WSListener, object()])
def test_factory_that_returns_no_listener(role: str, wrong: object) -> None:
    connection = Connection(role, open=False, factory=lambda *_: wrong)
    connection.start()
    connection.open()
    error = failure_of(connection)
    assert isinstance(error, TypeError)
    assert "must return a WSListener" in str(error)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE
    assert connection.cause.exception is error
    if role == "server":
        assert connection.transport.written.startswith(b"HTTP/1.1 500 ")
    assert "listener factory failed" in connection.log.lines[0]


async def make_listener() -> WSListener:
    return WSListener()


async def make_coroutine() -> Any:
    return make_listener()


@pytest.mark.parametrize(
    ("role", "factory", "text"),
    [
        ("client", lambda *_: WSListener, "not type: .*; call the class$"),
        ("server", lambda *_: WSListener, "not type: .*; call the class$"),
        ("client", lambda *_: make_listener(), "not coroutine: .*; nobody awaits it$"),
        ("server", lambda *_: make_coroutine(), "not coroutine: .*; nobody awaits it$"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_factory_that_stops_before_a_listener(role: str, factory: Any, text: str) -> None:
    connection = Connection(role, open=False, factory=factory)
    connection.start()
    connection.open()
    error = failure_of(connection)
    assert isinstance(error, TypeError)
    assert re.search(text, str(error))


@both_roles
@pytest.mark.parametrize("error", [LookupError("as asked for"), StopIteration("as asked for")])
def test_factory_that_raises(role: str, error: Exception) -> None:
    def factory(*_: Any) -> Any:
        raise error

    connection = Connection(role, open=False, factory=factory)
    connection.start()
    connection.open()
    found = failure_of(connection)
    assert error in (found, found.__cause__)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE
    assert connection.cause.exception is error
    if role == "server":
        assert connection.transport.written.startswith(b"HTTP/1.1 500 ")
        assert connection.transport.eof_written
        connection.feed_eof()
    assert connection.transport.lost
    assert connection.ws.state is WSState.CLOSED


@both_roles
def test_an_error_of_another_handshake_is_the_factorys(role: str) -> None:
    """A gateway's factory may have asked its upstream, which is not this connection's peer."""

    def factory(*_: Any) -> Any:
        raise WSHandshakeError("the upstream refused")

    connection = Connection(role, open=False, factory=factory)
    connection.start()
    connection.open()
    assert "listener factory failed" in connection.log.lines[0]


def test_an_error_of_the_library_is_not_logged_as_the_factorys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = upgrade_room.CIMultiDict

    def fail_once(*args: Any) -> Any:
        monkeypatch.setattr(upgrade_room, "CIMultiDict", real)
        raise OSError(24, "Too many open files")

    connection = Connection("server", open=False, factory=lambda *_: None)
    connection.start()
    monkeypatch.setattr(upgrade_room, "CIMultiDict", fail_once)
    connection.open()
    assert "because of an error in picows" in connection.log.lines[0]
    assert connection.transport.written.startswith(b"HTTP/1.1 500 ")


@both_roles
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_factory_that_is_interrupted(role: str, kind: Any) -> None:
    def factory(*_: Any) -> Any:
        raise kind

    connection = Connection(role, open=False, factory=factory)
    connection.start()
    if kind is asyncio.CancelledError:
        connection.open()
    else:
        with pytest.raises(kind):
            connection.open()
    connection.loop.run_ready()
    assert connection.transport.lost
    assert connection.opened.done()
    assert connection.cause is not None
    assert connection.listener.events == []


@both_roles
def test_on_ws_connected_that_raises(role: str) -> None:
    def handler(transport: WSTransport) -> None:
        raise error

    error = LookupError("as asked for")
    listener = Recorder().act("on_ws_connected", handler)
    connection = Connection(role, listener, open=False)
    connection.start()
    connection.open(tail=connection.build(TEXT, b"never seen"))
    assert failure_of(connection) is error
    assert listener.events == [("connected",)]
    (close,) = connection.sent()
    assert (close.opcode, close.payload[:2]) == (CLOSE, frames.close_payload(1011))
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LISTENER_EXCEPTION
    assert connection.cause.exception is error
    connection.feed_eof()
    assert listener.events == [("connected",), ("disconnected",)]


@both_roles
def test_on_ws_connected_that_raises_and_may(role: str) -> None:
    def handler(transport: WSTransport) -> None:
        raise LookupError("as asked for")

    listener = Recorder().act("on_ws_connected", handler)
    connection = Connection(role, listener, open=False, disconnect_on_exception=False)
    connection.start()
    connection.open()
    assert connection.opened.result() == (connection.ws, listener)
    assert connection.ws.state is WSState.OPEN
    assert "on_ws_connected" in connection.log.lines[0]
    assert "as asked for" in connection.log.lines[0]


@both_roles
@pytest.mark.parametrize("error", [KeyboardInterrupt(), asyncio.CancelledError(), StopIteration()])
def test_on_ws_connected_that_ends_otherwise(role: str, error: BaseException) -> None:
    def handler(transport: WSTransport) -> None:
        raise error

    listener = Recorder().act("on_ws_connected", handler)
    connection = Connection(role, listener, open=False)
    connection.start()
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            connection.open()
    else:
        connection.open()
    connection.loop.run_ready()
    if isinstance(error, StopIteration):
        connection.feed_eof()
    assert connection.opened.done()
    with pytest.raises(Exception):  # noqa: B017, PT011
        connection.opened.result()
    assert listener.events == [("connected",), ("disconnected",)]


@both_roles
def test_listener_without_callbacks_that_can_be_looked_up(role: str) -> None:
    class Listener(Recorder):
        @property
        def on_ws_frame(self) -> Any:
            raise LookupError("as asked for")

    connection = Connection(role, Listener(), open=False)
    connection.start()
    connection.open(tail=connection.build(TEXT, b"never seen"))
    assert isinstance(failure_of(connection), LookupError)
    connection.feed_eof()
    assert connection.transport.lost
    assert connection.listener.events == []


@both_roles
def test_disconnect_in_on_ws_connected(role: str) -> None:
    listener = Recorder()
    listener.act("on_ws_connected", lambda transport: transport.disconnect(code=1001))
    connection = Connection(role, listener, open=False)
    connection.start()
    connection.open(tail=connection.build(TEXT, b"never seen"))
    assert connection.opened.result() == (connection.ws, listener)
    (close,) = connection.sent()
    assert close.payload == frames.close_payload(1001)
    connection.receive_close(1001)
    if role == "client":
        connection.feed_eof()
    assert listener.events == [("connected",), ("disconnected",)]
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LOCAL_CLOSE


@both_roles
def test_abort_in_on_ws_connected(role: str) -> None:
    listener = Recorder()
    listener.act("on_ws_connected", lambda transport: transport.disconnect(graceful=False))
    connection = Connection(role, listener, open=False)
    connection.start()
    connection.open(tail=connection.build(TEXT, b"never seen"))
    assert connection.opened.done()
    assert connection.transport.aborted
    assert listener.events == [("connected",), ("disconnected",)]
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LOCAL_ABORT


# Arguments


@pytest.mark.parametrize("wrong", [None, "options", object()])
def test_wrong_arguments(wrong: Any) -> None:
    options = WSOptions()
    handshake = ServerHandshake(lambda request: None, options=options)
    loop = FakeLoop()
    for arguments in [(wrong, handshake), (options, wrong)]:
        with pytest.raises(TypeError):
            WSEndpoint(*arguments, loop, Log())
    with pytest.raises(TypeError):
        WSEndpoint(options, handshake, loop)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        WSEndpoint(options, handshake, loop, Log(), None)  # type: ignore[misc]


def test_clock() -> None:
    now: List[float] = [50.0]
    connection = Connection(
        "server", open=False, websocket_handshake_timeout=2.0, clock=lambda: now[0]
    )
    connection.start()
    # The loop's time alone does not count.
    connection.loop.advance(3.0)
    assert not connection.transport.lost
    for _ in range(30):
        now[0] += 0.1
        connection.loop.advance(0.1)
    assert connection.ws.state >= WSState.CLOSING


def test_a_large_answer_has_time_until_close_timeout() -> None:
    def route(request: Any) -> Any:
        return WSUpgradeResponse.create_ok_response(b"x" * 100_000)

    connection = Connection("server", open=False, factory=route, close_timeout=4.0)
    connection.start()
    connection.transport.room = 50_000
    connection.feed(frames.upgrade_request())
    connection.loop.advance(3.9)
    assert not connection.transport.aborted
    connection.loop.advance(0.2)
    assert connection.transport.aborted
    assert connection.transport.lost


def test_client_does_not_wait_for_ever() -> None:
    connection = Connection("client", open=False, websocket_handshake_timeout=2.0)
    connection.start()
    connection.feed(b"HTTP/1.1 101")
    connection.loop.advance(2.1)
    error = failure_of(connection)
    assert isinstance(error, WSHandshakeTimeout)
    assert error.raw_header == b"HTTP/1.1 101"
    assert connection.transport.lost
    assert not connection.loop.timers


# Misuse of the endpoint


class Forgetful(WSEndpoint):
    def __init__(self) -> None:
        pass


def test_an_endpoint_that_was_not_initialised() -> None:
    for endpoint in (Forgetful(), WSEndpoint.__new__(WSEndpoint)):
        with pytest.raises(WSStateError, match=r"super\(\).__init__\(\)"):
            endpoint.connection_made(None)  # type: ignore[arg-type]
        endpoint.data_received(b"x")
        endpoint.get_buffer(-1)[:1] = b"x"
        endpoint.buffer_updated(1)
        assert endpoint.eof_received() is False
        endpoint.pause_writing()
        endpoint.resume_writing()
        endpoint.connection_lost(None)
        assert endpoint.transport is None


def test_bytes_without_a_buffer() -> None:
    connection = Connection("server", open=False, shared_reads=False)
    connection.start()
    with pytest.raises(WSStateError, match="buffer_updated without get_buffer"):
        connection.endpoint.buffer_updated(1)
    connection.open()
    connection.receive(TEXT, b"still heard")
    assert connection.listener.frames == [(TEXT, b"still heard", True)]


@pytest.mark.parametrize("shared_reads", [True, False])
@pytest.mark.parametrize("size", [-1, 0, 10**9])
def test_more_bytes_than_the_buffer_holds(shared_reads: bool, size: int) -> None:
    connection = Connection("server", shared_reads=shared_reads)
    # That of the thread is as large as the largest that a test before this one asked for.
    room = len(connection.endpoint.get_buffer(-1))
    assert room >= 131_072
    with pytest.raises(ValueError, match=f"cannot have been received into a buffer of {room}"):
        connection.endpoint.buffer_updated(size)
    connection.feed(connection.build(BINARY, bytes(1000))[:500])
    room = len(connection.endpoint.get_buffer(-1))
    with pytest.raises(ValueError, match=f"into a buffer of {room}"):
        connection.endpoint.buffer_updated(room + 1)
