"""A deferred response that is sent in parts, over the memory transport."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, List, Optional, Tuple

import pytest

from picows_codec import WSDisconnectKind, WSHandshakeTimeout, WSState, WSThreadError
from picows_codec.deferred_response import DeferredResponse, SentResponse
from picows_codec.http.upgrade import set_remote_address
from tests.support import frames
from tests.support.connection import Connection, Recorder, failure_of, kind_of
from tests.support.threads import Threads

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PART = b"x" * 65536


class Parts(DeferredResponse):
    """Sends what a test says."""

    is_for_upgrades = False

    def __init__(self, first: bytes = b"") -> None:
        super().__init__()
        self.first = first
        self.endpoint: Any = None
        self.events: List[str] = []
        self.failure: Optional[BaseException] = None

    def begin(self, endpoint: Any) -> None:
        self.endpoint = endpoint
        if self.first:
            assert endpoint.send_response(self.first)

    def resume_writing(self) -> None:
        self.events.append("resumed")
        if self.failure is not None:
            raise self.failure

    def lost(self) -> None:
        self.events.append("lost")


def begun(first: bytes = b"", request: bytes = REQUEST, **options: Any) -> Tuple[Connection, Parts]:
    """A connection whose request has arrived."""
    parts = Parts(first)
    connection = Connection("server", factory=lambda request: parts, open=False, **options)
    connection.start()
    connection.feed(request)
    assert parts.endpoint is connection.endpoint
    return connection, parts


def test_parts_leave_at_once() -> None:
    connection, parts = begun(b"head")
    assert connection.transport.written == b"head"
    assert parts.endpoint.send_response(b"body")
    assert connection.transport.written == b"headbody"
    parts.decide(SentResponse(200, "OK"))
    assert connection.transport.eof_written
    assert connection.transport.written == b"headbody"
    assert kind_of(connection) is WSDisconnectKind.HANDSHAKE_FAILURE
    connection.feed_eof()
    assert connection.transport.lost
    assert not connection.loop.timers
    assert parts.events == []


def test_an_empty_part() -> None:
    connection, parts = begun(b"head")
    assert parts.endpoint.send_response(b"")
    assert connection.transport.written == b"head"


def test_watermarks() -> None:
    connection, parts = begun(b"head")
    connection.transport.room = 0
    assert parts.endpoint.send_response(PART)
    assert not parts.endpoint.send_response(b"y")
    assert parts.events == []
    connection.transport.drain()
    assert parts.events == ["resumed"]
    assert parts.endpoint.send_response(b"z")


def test_time_begins_anew_with_each_part() -> None:
    connection, parts = begun(b"head", websocket_handshake_timeout=3, stall_timeout=10)
    connection.loop.advance(8)
    parts.endpoint.send_response(b"a")
    connection.loop.advance(8)
    connection.transport.room = 0
    parts.endpoint.send_response(b"b")
    connection.loop.advance(12)
    assert parts.events == ["lost"]
    assert connection.transport.aborted
    assert connection.transport.written == b"headab"
    error = failure_of(connection)
    assert isinstance(error, WSHandshakeTimeout)
    assert "stall_timeout (10.0 seconds)" in str(error)
    assert [line for line in connection.log.lines if "did not read the response" in line]


def test_a_peer_is_not_blamed_for_a_slow_application() -> None:
    connection, parts = begun(b"head", stall_timeout=10)
    connection.loop.advance(100)
    assert parts.endpoint.send_response(b"a")
    connection.loop.advance(100)
    assert parts.events == []


def test_no_stall_timeout() -> None:
    connection, parts = begun(b"head", stall_timeout=None)
    connection.loop.advance(1000)
    assert parts.endpoint.send_response(b"a")


def test_time_is_up_before_the_first_part() -> None:
    connection, parts = begun(websocket_handshake_timeout=3)
    connection.loop.advance(4)
    assert parts.events == ["lost"]
    assert connection.transport.written.startswith(b"HTTP/1.1 503 ")
    assert not parts.endpoint.send_response(b"late")
    assert b"late" not in connection.transport.written


def test_a_peer_that_sends_no_more() -> None:
    connection, parts = begun(b"head")
    connection.feed_eof()
    assert not connection.transport.lost
    assert parts.endpoint.send_response(b"body")
    parts.decide(SentResponse(200, "OK"))
    assert connection.transport.written == b"headbody"
    connection.loop.advance(2)
    assert connection.transport.lost


def test_a_peer_that_sends_no_more_over_tls() -> None:
    connection, parts = begun(b"head", transport_options={"secure": True})
    connection.feed_eof()
    assert parts.events == ["lost"]
    assert connection.transport.lost
    assert not parts.endpoint.send_response(b"body")
    cut = "the peer closed the connection before the end of the response"
    assert cut in str(failure_of(connection))
    assert any(f"the response was cut off: {cut}" in line for line in connection.log.lines)


def test_a_peer_that_sends_no_more_before_the_first_part() -> None:
    connection, parts = begun()
    connection.feed_eof()
    assert parts.events == ["lost"]
    assert connection.transport.lost


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_a_lost_connection(error: Optional[Exception]) -> None:
    connection, parts = begun(b"head")
    connection.lose(error)
    assert parts.events == ["lost"]
    assert not parts.endpoint.send_response(b"body")
    parts.decide(SentResponse(200, "OK"))
    assert connection.ws.state is WSState.CLOSED


def test_an_abort() -> None:
    connection, parts = begun(b"head")
    parts.endpoint.disconnect(False, b"")
    connection.loop.run_ready()
    assert parts.events == ["lost"]
    assert kind_of(connection) is WSDisconnectKind.LOCAL_ABORT


def test_resume_writing_that_raises() -> None:
    connection, parts = begun(b"head")
    connection.transport.room = 0
    parts.endpoint.send_response(PART + b"y")
    parts.failure = ValueError("no")
    connection.transport.drain()
    connection.loop.run_ready()
    assert parts.events == ["resumed", "lost"]
    assert connection.transport.aborted
    assert failure_of(connection) is parts.failure
    assert parts.failure.__traceback__ is None
    assert "sending the response failed" in connection.log.lines[0]


def test_what_is_queued_at_the_end() -> None:
    """A slow client has as long for the end of a response as for the rest of it."""
    connection, parts = begun(b"head", close_timeout=5, stall_timeout=60)
    connection.transport.room = 0
    assert parts.endpoint.send_response(b"body")
    parts.decide(SentResponse(200, "OK"))
    connection.loop.advance(50)
    assert not connection.transport.aborted
    connection.transport.drain()
    assert connection.transport.written == b"headbody"
    connection.loop.advance(50)
    assert connection.transport.aborted


def test_what_is_queued_at_the_end_over_tls() -> None:
    """TLS transports do not count what they have encrypted."""
    options = {"secure": True, "can_half_close": False}
    connection, parts = begun(b"head", close_timeout=5, stall_timeout=60, transport_options=options)
    connection.transport.room = 0
    assert parts.endpoint.send_response(b"body")
    connection.transport.get_write_buffer_size = lambda: 0  # type: ignore[method-assign]
    parts.decide(SentResponse(200, "OK"))
    connection.loop.advance(50)
    assert not connection.transport.aborted
    connection.loop.advance(20)
    assert connection.transport.aborted


def test_what_is_queued_at_the_end_for_a_peer_that_does_not_read() -> None:
    connection, parts = begun(b"head", close_timeout=100, stall_timeout=10)
    connection.transport.room = 0
    assert parts.endpoint.send_response(b"body")
    parts.decide(SentResponse(200, "OK"))
    connection.loop.advance(11)
    assert connection.transport.aborted


def test_room_that_nobody_waits_for() -> None:
    connection, parts = begun(b"head")
    connection.transport.room = 0
    parts.endpoint.send_response(PART + b"y")
    parts.decide(SentResponse(200, "OK"))
    connection.transport.drain()
    assert parts.events == []


def test_begin_that_raises() -> None:
    class Failing(Parts):
        def begin(self, endpoint: Any) -> None:
            raise ValueError("no")

    connection = Connection("server", factory=lambda request: Failing(), open=False)
    connection.start()
    connection.feed(REQUEST)
    assert connection.transport.written.startswith(b"HTTP/1.1 500 ")


def test_wrong_arguments() -> None:
    connection, parts = begun()
    with pytest.raises(TypeError):
        parts.endpoint.send_response("text")
    with pytest.raises(TypeError):
        parts.endpoint.send_response(None)
    threads = Threads()
    threads.start(lambda: parts.endpoint.send_response(b"a"))
    with pytest.raises(WSThreadError):
        threads.join()
    assert connection.transport.written == b""


# A coroutine may return a deferred response, too.


@pytest.mark.parametrize("repeated", [0, 1, 20_000])
def test_of_a_coroutine(repeated: int) -> None:
    """Frames that came too early wait for a second decision, too."""
    listener = Recorder()
    parts = Parts()

    async def factory() -> Parts:
        return parts

    connection = Connection("server", listener, factory=lambda request: factory(), open=False)
    connection.start()
    early = connection.build(frames.TEXT, b"early")
    request = connection.opening_bytes() + early * repeated
    connection.loop.call_soon(connection.transport.feed, request)
    connection.loop.run_ready()
    assert parts.endpoint is connection.endpoint
    assert connection.transport.is_reading() is (repeated < 20_000)
    connection.loop.call_soon(parts.decide, listener)
    connection.loop.run_ready()
    assert connection.transport.written.startswith(b"HTTP/1.1 101 ")
    assert connection.transport.is_reading()
    assert listener.events == [("connected",), *[(1, b"early", True)] * repeated]


def test_of_a_coroutine_for_a_broken_upgrade() -> None:
    class ForUpgrades(Parts):
        is_for_upgrades = True

    async def factory() -> Parts:
        return ForUpgrades()

    connection = Connection("server", factory=lambda request: factory(), open=False)
    connection.start()
    connection.loop.call_soon(connection.transport.feed, REQUEST)
    connection.loop.run_ready()
    assert connection.transport.written.startswith(b"HTTP/1.1 426 ")


# Where a request comes from may be told by a proxy.


@pytest.mark.parametrize("is_accepted", [True, False])
def test_the_address_of_a_proxys_client(is_accepted: bool) -> None:
    listener = Recorder()

    def factory(request: Any) -> Any:
        set_remote_address(request, ("203.0.113.9", 80))
        return listener if is_accepted else None

    connection = Connection("server", listener, factory=factory, open=False)
    connection.log.is_verbose = True
    connection.start()
    connection.feed(connection.opening_bytes())
    assert connection.ws.remote_address == ("203.0.113.9", 80)
    assert any("203.0.113.9:80: " in line for line in connection.log.lines)


@pytest.mark.parametrize("is_slow", [True, False])
def test_the_address_of_a_proxys_client_while_its_response_is_made(is_slow: bool) -> None:
    parts = Parts()

    def factory(request: Any) -> Any:
        set_remote_address(request, ("203.0.113.9", 80))
        return parts

    connection = Connection("server", factory=factory, open=False, websocket_handshake_timeout=3)
    connection.start()
    connection.feed(REQUEST)
    assert connection.ws.remote_address == ("203.0.113.9", 80)
    if is_slow:
        connection.loop.advance(4)
    else:
        connection.feed_eof()
    (line,) = connection.log.lines
    assert "203.0.113.9:80: 'GET' without an upgrade failed" in line


def test_of_a_coroutine_whose_peer_has_left() -> None:
    """Nobody will begin it, so it must release what it has: an open file, for example."""
    parts = Parts()

    async def factory() -> Parts:
        with contextlib.suppress(asyncio.CancelledError):
            await connection.loop.create_future()
        return parts

    connection = Connection("server", factory=lambda request: factory(), open=False)
    connection.start()
    connection.loop.call_soon(connection.transport.feed, REQUEST)
    connection.loop.run_ready()
    connection.lose(None)
    connection.loop.run_ready()
    assert parts.events == ["lost"]
