"""picows_codec.connection.handshaking: what never opens; what opens is in the other files."""

from __future__ import annotations

from typing import Any

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSHandshakeError,
    WSHandshakeTimeout,
    WSInvalidMessageError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSState,
    WSUpgradeResponse,
)
from tests.support import frames
from tests.support.chunking import Feeding, byte_by_byte, every_feeding
from tests.support.connection import Connection, Recorder, both_roles, failure_of
from tests.support.frames import TEXT

# Failure


@every_feeding
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 426),
        (b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_refused_request(feeding: Feeding, request_bytes: bytes, status: int) -> None:
    connection = Connection("server", open=False)
    connection.start()
    tail = connection.build(TEXT, b"never seen")
    connection.feed(*feeding(request_bytes + tail))
    error = failure_of(connection)
    assert isinstance(error, WSHandshakeError)
    assert error.status == status
    answer = connection.transport.written
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1") == 1
    assert connection.transport.eof_written
    assert not connection.transport.lost
    assert connection.ws.state is WSState.CLOSING
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE
    connection.feed(b"more", b"and more")
    connection.feed_eof()
    assert connection.transport.lost
    assert connection.listener.events == []


@pytest.mark.parametrize("is_deferred", [True, False])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("result", ["text", b"", 0, (200, "text"), Recorder, {}])
def test_a_result_that_is_no_response(result: object, method: bytes, is_deferred: bool) -> None:
    """A mistake in a handler of plain HTTP is not taken for one of the client's."""

    async def later() -> object:
        return result

    factory: Any = (lambda request: later()) if is_deferred else (lambda request: result)
    connection = Connection("server", factory=factory, open=False)
    connection.start()
    connection.loop.call_soon(connection.transport.feed, method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.loop.run_ready()
    assert connection.transport.written.startswith(b"HTTP/1.1 500 ")
    error = failure_of(connection)
    assert isinstance(error, TypeError)
    assert f"a WSListener or a WSUpgradeResponse, not {type(result).__name__}" in str(error)


@pytest.mark.parametrize(
    ("result", "status"),
    [(None, 404), (WSUpgradeResponse.create_error_response(503, b"later"), 503)],
)
def test_request_turned_down_by_the_route(result: Any, status: int) -> None:
    connection = Connection("server", open=False, factory=lambda request: result)
    connection.start()
    connection.open()
    assert isinstance(failure_of(connection), WSHandshakeError)
    assert connection.transport.written.startswith(b"HTTP/1.1 %d " % status)
    connection.feed_eof()
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE


def test_refused_peer_is_waited_for_one_second() -> None:
    connection = Connection("server", open=False)
    connection.start()
    connection.feed(b"nonsense\r\n\r\n")
    connection.loop.advance(0.9)
    assert not connection.transport.lost
    connection.loop.advance(0.2)
    assert connection.transport.aborted
    assert connection.transport.lost


@pytest.mark.parametrize("options", [{"secure": True}, {"can_half_close": False}])
def test_refused_peer_where_half_closing_is_impossible(options: Any) -> None:
    connection = Connection("server", open=False, transport_options=options)
    connection.start()
    connection.feed(b"nonsense\r\n\r\n")
    assert connection.transport.written.startswith(b"HTTP/1.1 400 ")
    assert "write_eof" not in connection.transport.calls
    assert connection.transport.lost


@every_feeding
@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", WSInvalidUpgradeError),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", WSInvalidStatusError),
        (b"nonsense\r\n\r\n", WSInvalidMessageError),
    ],
)
def test_refused_response(feeding: Feeding, response: bytes, kind: Any) -> None:
    connection = Connection("client", open=False)
    connection.start()
    request = connection.transport.written
    connection.feed(*feeding(response + connection.build(TEXT, b"never seen")))
    assert type(failure_of(connection)) is kind
    assert connection.transport.written == request
    assert connection.transport.lost
    assert connection.ws.state is WSState.CLOSED
    assert connection.listener.events == []
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE


def test_response_whose_body_ends_with_the_connection() -> None:
    connection = Connection("client", open=False)
    connection.start()
    connection.feed(b"HTTP/1.1 500 Oops\r\n\r\nall of", b" it")
    assert not connection.transport.lost
    connection.feed_eof()
    error = failure_of(connection)
    assert isinstance(error, WSInvalidStatusError)
    assert (error.status, error.raw_body) == (500, b"all of it")
    assert connection.transport.lost


# The connection ends before it is open


@both_roles
@pytest.mark.parametrize("part", [0, 1, 20])
@pytest.mark.parametrize("how", ["eof", "lost", "reset"])
def test_end_while_connecting(role: str, part: int, how: str) -> None:
    connection = Connection(role, open=False)
    connection.start()
    connection.feed(connection.opening_bytes()[:part])
    if how == "eof":
        connection.feed_eof()
    else:
        connection.lose(ConnectionResetError("reset") if how == "reset" else None)
    error = failure_of(connection)
    assert isinstance(error, WSHandshakeError)
    if how == "reset":
        assert isinstance(error.__cause__, ConnectionResetError)
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE
    assert connection.cause.exception is error
    assert connection.listener.events == []
    assert connection.ws.state is WSState.CLOSED
    if role == "server" and how == "eof":
        assert connection.transport.written.startswith(b"HTTP/1.1 400 " if part else b"")


@both_roles
def test_lost_before_connection_made(role: str) -> None:
    connection = Connection(role, open=False)
    connection.endpoint.connection_lost(None)
    assert isinstance(failure_of(connection), WSHandshakeError)
    assert connection.ws.state is WSState.CLOSED


@both_roles
def test_disconnect_while_connecting(role: str) -> None:
    connection = Connection(role, open=False)
    connection.start()
    connection.ws.disconnect()
    assert connection.transport.aborted
    connection.feed(b"nothing", b"of this")
    connection.loop.run_ready()
    assert isinstance(failure_of(connection), WSHandshakeError)
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.LOCAL_ABORT
    assert connection.listener.events == []


def test_server_does_not_wait_for_ever() -> None:
    connection = Connection("server", open=False, websocket_handshake_timeout=2.0)
    connection.start()
    for byte in byte_by_byte(frames.upgrade_request())[:15]:
        connection.feed(byte)
        connection.loop.advance(0.1)
    assert not connection.transport.written
    connection.loop.advance(1.0)
    assert connection.transport.written.startswith(b"HTTP/1.1 408 ")
    error = failure_of(connection)
    assert isinstance(error, WSHandshakeTimeout)
    assert isinstance(error, TimeoutError)
    assert connection.cause is not None
    assert connection.cause.exception is error
    connection.loop.advance(2.0)
    assert connection.transport.lost
    assert not connection.loop.timers


@pytest.mark.parametrize("handshake_timeout", [2.0, None])
def test_client_whose_request_nobody_takes(handshake_timeout: Any) -> None:
    connection = Connection(
        "client", open=False, websocket_handshake_timeout=handshake_timeout, close_timeout=3.0
    )
    connection.transport.room = 0
    connection.start()
    if handshake_timeout is None:
        connection.feed(b"no HTTP\r\n\r\n")
    else:
        connection.loop.advance(2.2)
    assert connection.transport.is_closing()
    connection.loop.advance(2.7)
    assert not connection.transport.lost
    connection.loop.advance(0.4)
    assert connection.transport.aborted
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.HANDSHAKE_FAILURE
    assert not connection.loop.timers


def test_server_that_was_sent_nothing_answers_nothing() -> None:
    connection = Connection("server", open=False, websocket_handshake_timeout=2.0)
    connection.start()
    connection.loop.advance(4.0)
    assert connection.transport.written == b""
    assert connection.transport.lost


def test_server_that_waits_for_ever() -> None:
    connection = Connection("server", open=False, websocket_handshake_timeout=None)
    connection.start()
    assert not connection.loop.timers
    connection.loop.advance(1000.0)
    connection.open()
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_an_open_connection_has_no_timer(role: str) -> None:
    connection = Connection(role)
    assert not connection.loop.timers
    connection.loop.advance(1000.0)
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_opened_may_be_asked_for_late(role: str) -> None:
    connection = Connection(role, open=False)
    early = connection.opened
    connection.start()
    connection.open()
    assert early.result() == (connection.ws, connection.listener)
    assert connection.endpoint.opened.result() == (connection.ws, connection.listener)


@both_roles
def test_opened_may_be_cancelled(role: str) -> None:
    connection = Connection(role, open=False)
    connection.opened.cancel()
    connection.start()
    connection.open()
    assert connection.ws.state is WSState.OPEN
