"""A listener factory of a server that gives its result later, over the memory transport."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import weakref
from typing import Any, AsyncIterator, Callable, Iterator, List, Optional, Tuple

import pytest

from picows_codec import (
    ServerHandshake,
    WSDisconnectKind,
    WSHandshakeError,
    WSHandshakeTimeout,
    WSInvalidHeaderError,
    WSOptions,
    WSState,
    WSStateError,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
)
from tests.support import frames
from tests.support.connection import Connection, Recorder, failure_of, kind_of
from tests.support.handshakes import KEY, make_server, request_head

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\n"


class Deciding:
    """A factory whose result is there when the test says so."""

    def __init__(self) -> None:
        self.future: Optional[asyncio.Future[Any]] = None
        self.cancelled = 0
        self.entered = 0

    def __call__(self, request: Any) -> Any:
        return self.decide()

    async def decide(self) -> Any:
        self.entered += 1
        self.future = asyncio.get_running_loop().create_future()
        try:
            return await self.future
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def deferred(**options: Any) -> Tuple[Connection, Deciding]:
    """A connection whose request has arrived."""
    deciding = Deciding()
    connection = Connection("server", factory=deciding, open=False, **options)
    connection.start()
    connection.feed(connection.opening_bytes())
    assert deciding.entered == 1
    assert connection.transport.written == b""
    return connection, deciding


def decide(connection: Connection, deciding: Deciding, result: object) -> bytes:
    """Give the result; returns what is sent then."""
    assert deciding.future is not None
    if isinstance(result, BaseException):
        deciding.future.set_exception(result)
    else:
        deciding.future.set_result(result)
    connection.loop.run_ready()
    written: bytes = connection.transport.written
    return written


def test_accepts_later() -> None:
    connection, deciding = deferred()
    assert connection.ws.state is WSState.CONNECTING
    assert not connection.opened.done()
    written = decide(connection, deciding, connection.listener)
    assert written.startswith(SWITCHING)
    assert connection.opened.result() == (connection.ws, connection.listener)
    connection.receive(frames.TEXT, b"a")
    assert connection.listener.events == [("connected",), (1, b"a", True)]


def test_response_and_first_frames_leave_together() -> None:
    connection, deciding = deferred()
    connection.listener.act("on_ws_connected", lambda ws: ws.send(1, b"hello"))
    decide(connection, deciding, connection.listener)
    assert len(connection.transport.writes) == 1
    assert connection.transport.writes[0].endswith(b"\x81\x05hello")


@pytest.mark.parametrize("made", ["coroutine", "future", "task", "object"])
def test_any_awaitable(made: str) -> None:
    listener = Recorder()

    async def result() -> Recorder:
        return listener

    class Awaitable:
        def __await__(self) -> Iterator[Any]:
            return result().__await__()

    def factory(request: Any) -> Any:
        loop = asyncio.get_running_loop()
        if made == "future":
            future = loop.create_future()
            loop.call_soon(future.set_result, listener)
            return future
        if made == "object":
            return Awaitable()
        return loop.create_task(result()) if made == "task" else result()

    connection = Connection("server", listener, factory=factory, open=False)
    connection.loop.call_soon(connection.transport.start)
    connection.loop.run_ready()
    connection.loop.call_soon(connection.transport.feed, connection.opening_bytes())
    connection.loop.run_ready()
    assert connection.transport.written.startswith(SWITCHING)
    assert listener.events == [("connected",)]


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (None, 404),
        (WSUpgradeResponse.create_error_response(401), 401),
        (WSUpgradeResponse.create_ok_response("fine"), 200),
    ],
)
def test_responses(result: Any, status: int) -> None:
    connection, deciding = deferred()
    written = decide(connection, deciding, result)
    assert written.startswith(b"HTTP/1.1 %d " % status)
    assert connection.transport.eof_written
    assert [line for line in connection.log.lines if line.startswith("error")] == []
    connection.feed_eof()
    assert connection.transport.lost
    assert kind_of(connection) is WSDisconnectKind.HANDSHAKE_FAILURE


def test_listener_with_a_response() -> None:
    connection, deciding = deferred(peer_headers=[("Sec-WebSocket-Protocol", "a, b")])
    response = WSUpgradeResponse.create_101_response({"X-A": "1"}, "b")
    written = decide(
        connection, deciding, WSUpgradeResponseWithListener(response, connection.listener)
    )
    assert b"X-A: 1\r\n" in written
    assert connection.ws.subprotocol == "b"


@pytest.mark.parametrize("error", [ValueError("no database"), SystemError()])
def test_exception_is_500(error: Exception) -> None:
    connection, deciding = deferred()
    written = decide(connection, deciding, error)
    assert written.startswith(b"HTTP/1.1 500 ")
    assert b"database" not in written
    assert failure_of(connection) is error
    assert "the listener factory failed" in connection.log.lines[0]
    assert error.__traceback__ is None


@pytest.mark.parametrize("result", [7, "listener", object()])
def test_unusable_result_is_500(result: object) -> None:
    connection, deciding = deferred()
    written = decide(connection, deciding, result)
    assert written.startswith(b"HTTP/1.1 500 ")
    assert isinstance(failure_of(connection), TypeError)


def test_a_result_is_not_deferred_twice() -> None:
    connection, deciding = deferred()
    assert deciding.future is not None
    again = deciding.decide()
    assert decide(connection, deciding, again).startswith(b"HTTP/1.1 500 ")
    again.close()


def test_task_cancelled_by_somebody_else_is_500() -> None:
    connection, deciding = deferred()
    assert deciding.future is not None
    deciding.future.cancel()
    connection.loop.run_ready()
    assert connection.transport.written.startswith(b"HTTP/1.1 500 ")
    assert "cancelled" in str(failure_of(connection))


def feed_and_collect(connection: Connection) -> None:
    connection.feed(connection.opening_bytes())
    gc.collect()


def test_coroutine_that_cannot_be_started() -> None:
    connection = Connection("server", factory=Deciding(), open=False)
    connection.loop.create_task = None  # type: ignore[assignment,method-assign]
    connection.start()
    with pytest.warns(RuntimeWarning, match="never awaited"):
        feed_and_collect(connection)
    assert connection.transport.written.startswith(b"HTTP/1.1 500 ")


# Bytes behind the request


MANY = 64 * 1024  # bytes that are held before reading is paused

fits = pytest.mark.parametrize("fits", [True, False])


@fits
@pytest.mark.parametrize("in_one_read", [True, False])
@pytest.mark.parametrize("shared_reads", [True, False])
def test_bytes_behind_the_request_wait(in_one_read: bool, shared_reads: bool, fits: bool) -> None:
    deciding = Deciding()
    connection = Connection("server", factory=deciding, open=False, shared_reads=shared_reads)
    connection.start()
    payload = b"second" * (50 if fits else MANY)
    first, second = connection.build(1, b"first"), connection.build(2, payload)
    behind = first + second[:-20]
    if in_one_read:
        connection.feed(connection.opening_bytes() + behind)
    else:
        connection.feed(connection.opening_bytes(), behind)
    assert connection.transport.is_reading() is fits
    assert connection.listener.events == []
    decide(connection, deciding, connection.listener)
    assert connection.transport.is_reading()
    connection.feed(second[-20:])
    assert connection.listener.events == [
        ("connected",),
        (1, b"first", True),
        (2, payload, True),
    ]


def test_reading_is_paused_once_enough_is_held() -> None:
    connection, deciding = deferred()
    frame = connection.build(2, b"x" * 1000)
    fed = 0
    while connection.transport.is_reading():
        connection.feed(frame)
        fed += 1
    assert MANY <= fed * len(frame) < MANY + len(frame)
    decide(connection, deciding, connection.listener)
    assert connection.transport.is_reading()
    assert connection.listener.events == [("connected",), *[(2, b"x" * 1000, True)] * fed]


@pytest.mark.parametrize("ends", ["end of stream", "lost"])
def test_a_peer_that_has_sent_frames_leaves(ends: str) -> None:
    """Whoever decides is told, as without the frames, which nobody wants any more."""
    connection, deciding = deferred()
    connection.receive(frames.TEXT, b"early")
    connection.receive(frames.CLOSE, b"")
    assert deciding.cancelled == 0
    if ends == "lost":
        connection.lose(None)
    else:
        connection.feed_eof()
    connection.loop.run_ready()
    assert deciding.cancelled == 1
    assert connection.transport.lost
    assert connection.transport.written == b""
    assert connection.listener.events == []
    assert "before the listener factory had decided" in str(failure_of(connection))


def test_reads_while_nothing_waits() -> None:
    connection, _ = deferred()
    assert connection.transport.is_reading()  # or nobody would see the peer leave


def test_bytes_behind_a_request_that_is_refused_are_dropped() -> None:
    deciding = Deciding()
    connection = Connection("server", factory=deciding, open=False)
    connection.start()
    connection.feed(connection.opening_bytes() * 2)
    written = decide(connection, deciding, None)
    assert written.count(b"HTTP/1.1") == 1
    assert deciding.entered == 1
    assert connection.transport.is_reading()
    connection.feed(b"more")
    connection.feed_eof()
    assert connection.transport.lost


# The peer leaves, time passes


@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
def test_lost_connection_cancels(error: Optional[Exception]) -> None:
    connection, deciding = deferred()
    connection.lose(error)
    assert deciding.cancelled == 1
    assert isinstance(failure_of(connection), WSHandshakeError)
    assert connection.ws.state is WSState.CLOSED
    assert not connection.loop.timers


def test_end_of_stream_cancels() -> None:
    connection, deciding = deferred()
    connection.feed_eof()
    assert deciding.cancelled == 1
    assert connection.transport.written == b""
    assert connection.transport.lost
    assert "before the listener factory had decided" in str(failure_of(connection))


def test_local_abort_cancels() -> None:
    connection, deciding = deferred()
    connection.ws.disconnect()
    connection.loop.run_ready()
    assert deciding.cancelled == 1
    assert kind_of(connection) is WSDisconnectKind.LOCAL_ABORT


def test_deadline() -> None:
    connection, deciding = deferred(websocket_handshake_timeout=3)
    connection.loop.advance(2.5)
    assert deciding.cancelled == 0
    connection.loop.advance(2)
    assert deciding.cancelled == 1
    assert connection.transport.written.startswith(b"HTTP/1.1 503 ")
    error = failure_of(connection)
    assert isinstance(error, WSHandshakeTimeout)
    assert error.status == 503
    assert "websocket_handshake_timeout" in str(error)


@fits
def test_deadline_while_bytes_wait(fits: bool) -> None:
    connection, deciding = deferred(websocket_handshake_timeout=3)
    connection.receive(frames.TEXT, b"early" * (1 if fits else MANY))
    assert connection.transport.is_reading() is fits
    connection.loop.advance(3.5)
    assert deciding.cancelled == 1
    assert connection.transport.is_reading()
    assert connection.transport.written.startswith(b"HTTP/1.1 503 ")
    assert connection.listener.events == []


@pytest.mark.parametrize("ends", ["returns", "raises"])
def test_factory_that_does_not_heed_the_cancellation(ends: str) -> None:
    async def stubborn() -> Recorder:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.get_running_loop().create_future()
        if ends == "raises":
            raise ValueError("cleaning up failed")
        return Recorder()

    connection = Connection("server", factory=lambda request: stubborn(), open=False)
    connection.start()
    connection.feed(connection.opening_bytes())
    connection.lose()
    failed = [line for line in connection.log.lines if line.startswith("error")]
    assert len(failed) == (ends == "raises")
    assert not connection.loop.reports


def test_nothing_is_left(no_collector: None) -> None:
    connection, deciding = deferred()
    decide(connection, deciding, connection.listener)
    gone = weakref.ref(connection.endpoint)
    connection.lose()
    del connection, deciding
    assert gone() is None


def test_handlers_run_in_async_generators_too() -> None:
    async def opening() -> AsyncIterator[Recorder]:
        yield Recorder()

    async def factory() -> Recorder:
        return await opening().__anext__()

    connection = Connection("server", factory=lambda request: factory(), open=False)
    connection.start()
    connection.loop.call_soon(connection.transport.feed, connection.opening_bytes())
    connection.loop.run_ready()
    assert connection.transport.written.startswith(SWITCHING)


# Without an endpoint: the handshake itself


class Awaitable:
    def __await__(self) -> Iterator[None]:
        raise NotImplementedError


def make_deferred(**arguments: Any) -> ServerHandshake:
    server = ServerHandshake(lambda request: Awaitable(), WSOptions(), **arguments)
    data = request_head()
    assert server.feed_data(data) == len(data)
    assert not server.done
    assert isinstance(server.deferred, Awaitable)
    assert repr(server) == "<ServerHandshake deferred>"
    assert server.feed_data(b"behind") == 6
    return server


def test_resolve() -> None:
    server = make_deferred()
    listener = object()
    server.resolve(listener)
    assert server.done
    assert server.accepted
    assert server.deferred is None
    assert server.listener is listener
    with pytest.raises(WSStateError):
        server.resolve(None)


@pytest.mark.parametrize("end", ["feed_eof", "feed_timeout", "fail"])
def test_ends_without_a_result(end: str) -> None:
    server = make_deferred()
    ending: Callable[..., None] = getattr(server, end)
    ending(*[ValueError()] * (end == "fail"))
    assert server.done
    assert not server.accepted
    assert server.error is not None
    assert server.deferred is None
    assert bool(server.to_send) == (end != "feed_eof")
    with pytest.raises(WSStateError):
        server.resolve(None)


def test_not_deferred() -> None:
    with pytest.raises(WSStateError):
        make_server().resolve(None)


# What else a server decides


def test_version_is_checked_before_the_key() -> None:
    server = make_server()
    server.feed_data(request_head(("Sec-WebSocket-Version", "12"), ("Sec-WebSocket-Key", None)))
    assert isinstance(server.error, WSInvalidHeaderError)
    assert server.error.status == 426
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in server.to_send


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [("a", "a"), ("a, b", "b"), ("c, a, b", "b"), ("A, a", "a"), (None, None), ("c", None)],
)
def test_subprotocols_in_the_order_of_the_server(
    offered: Optional[str], chosen: Optional[str]
) -> None:
    server = ServerHandshake(lambda request: object(), WSOptions(), ("b", "a"))
    server.feed_data(request_head(("Sec-WebSocket-Protocol", offered), ("X-Mark", KEY)))
    assert server.accepted == (chosen is not None)
    assert server.subprotocol == chosen
    if chosen is None:
        assert server.to_send.startswith(b"HTTP/1.1 400 ")
        assert isinstance(server.error, WSInvalidHeaderError)
    else:
        assert f"\r\nSec-WebSocket-Protocol: {chosen}\r\n".encode() in server.to_send


def test_subprotocol_of_the_route_goes_first() -> None:
    chosen: List[WSUpgradeResponse] = [
        WSUpgradeResponse.create_101_response({"X-A": "1"}, "c"),
        WSUpgradeResponse.create_101_response({"X-A": "1"}),
    ]
    for response, expected in zip(chosen, ("c", "a")):
        server = ServerHandshake(
            lambda request, response=response: WSUpgradeResponseWithListener(response, object()),  # type: ignore[misc,arg-type]
            WSOptions(),
            ("a",),
        )
        server.feed_data(request_head(("Sec-WebSocket-Protocol", "c, a")))
        assert server.subprotocol == expected
        assert b"\r\nX-A: 1\r\n" in server.to_send


def test_subprotocols_do_not_matter_to_a_refusal() -> None:
    server = ServerHandshake(lambda request: None, WSOptions(), ("a",))
    server.feed_data(request_head())
    assert server.to_send.startswith(b"HTTP/1.1 404 ")
