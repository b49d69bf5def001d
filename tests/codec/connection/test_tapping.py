"""What a tap is given of a connection, and what becomes of one that fails."""

from __future__ import annotations

import gc
import time
import weakref
from pathlib import Path
from typing import Any, Optional

import pytest

from picows_codec import WSDirection, WSDisconnectKind, WSOptions, WSPreparedMessage, broadcast
from picows_codec.tap import WSTap
from tests.support import frames
from tests.support.connection import Connection, Recorder, both_roles, both_ways_of_reading
from tests.support.extensions import compile_extension
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT
from tests.support.taps import Ends, Factory, Tap

RECEIVED, SENT = WSDirection.RECEIVED, WSDirection.SENT


@both_roles
@both_ways_of_reading
def test_it_sees_all_bytes(role: str, buffered: bool) -> None:
    tap = Tap()
    before = time.time_ns()
    connection = Connection(role, tap=tap, transport_options={"buffered": buffered})
    handshake = connection.transport.written
    assert tap.bytes_of(SENT) == handshake
    assert tap.bytes_of(RECEIVED).startswith(b"GET " if role == "server" else b"HTTP/1.1 101")
    fed = [
        connection.build(TEXT, b"hello") + connection.build(PING, b"p"),
        connection.build(BINARY, frames.pattern(200_000)),
        connection.build(TEXT, b"a", fin=False),
        connection.build(CONTINUATION, b"b"),
    ]
    start = len(tap.bytes_of(RECEIVED))
    connection.feed(*fed)
    assert tap.bytes_of(RECEIVED)[start:] == b"".join(fed)  # masked, as it came
    connection.ws.send(TEXT, b"x")
    with connection.ws.cork():
        connection.ws.send(BINARY, frames.pattern(70_000))
        connection.ws.send(BINARY, bytearray(b"y" * 300_000))
    connection.ws.send_many(BINARY, [b"1", b"2"])
    connection.ws.send_prepared(WSPreparedMessage(TEXT, "z"))
    assert broadcast([connection.ws], b"all") == 1
    buffer = bytearray(14 + 9)
    connection.ws.send_reuse_external_bytearray(BINARY, buffer, 14)
    connection.loop.run_ready()
    connection.receive_close()
    assert tap.bytes_of(SENT) == connection.transport.written
    assert tap.times == sorted(tap.times)
    assert before <= tap.times[0] <= time.time_ns()


@both_roles
def test_a_block_of_a_large_frame_is_seen_once(role: str) -> None:
    tap = Tap()
    connection = Connection(role, tap=tap)
    tap.seen.clear()
    stream = connection.build(BINARY, frames.pattern(300_000)) + connection.build(TEXT, b"next")
    connection.feed(*(stream[at : at + 7001] for at in range(0, len(stream), 7001)))
    assert tap.bytes_of(RECEIVED) == stream
    assert connection.listener.frames[-1] == (TEXT, b"next", True)


@both_roles
def test_views_stay_valid(role: str) -> None:
    """A tap may keep what it was given, slices too."""
    tap = Tap()
    connection = Connection(role, tap=tap)
    first = connection.build(TEXT, b"first" * 20)
    connection.feed(first)
    kept = tap.views[-1][2:]
    for _ in range(10):
        connection.receive(TEXT, b"other" * 20)
    assert bytes(kept) == first[2:]


def test_bytes_behind_a_request_are_seen_once() -> None:
    """A factory decides later; what comes meanwhile waits, but was seen."""
    tap = Tap()
    connection: Any = None

    async def factory(request: Any) -> Any:
        return connection_listener

    connection_listener = Recorder()
    connection = Connection("server", factory=factory, open=False, tap=tap)
    connection.start()
    frame = frames.build(TEXT, b"early", key=frames.KEY)
    connection.transport.feed(frames.upgrade_request() + frame)
    connection.loop.run_ready()
    assert connection_listener.frames == [(TEXT, b"early", True)]
    assert tap.bytes_of(RECEIVED) == frames.upgrade_request() + frame
    connection.receive(TEXT, b"later")
    assert tap.bytes_of(RECEIVED).endswith(frames.build(TEXT, b"later", key=frames.KEY))


def test_an_interrupt_behind_a_request() -> None:
    """A callback that raises it does not cost the tap the end."""

    class Interrupts(Recorder):
        def on_ws_frame(self, transport: Any, frame: Any) -> None:
            raise KeyboardInterrupt

    async def factory(request: Any) -> Any:
        return Interrupts()

    taps = Factory(Ends)
    connection = Connection("server", factory=factory, open=False, tap=taps)
    connection.start()
    frame = frames.build(TEXT, b"early", key=frames.KEY)
    connection.transport.feed(frames.upgrade_request() + frame)
    with pytest.raises(KeyboardInterrupt):
        connection.loop.run_ready()
    connection.lose()
    connection.loop.run_ready()
    (tap,) = taps.made
    assert len(tap.causes) == 1


@both_roles
def test_a_refused_handshake(role: str) -> None:
    tap = Tap()
    connection = Connection(role, open=False, tap=tap)
    connection.start()
    refusal = (
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
        if role == "client"
        else b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    )
    connection.feed(refusal)
    assert tap.bytes_of(RECEIVED) == refusal
    assert tap.bytes_of(SENT) == connection.transport.written
    if role == "server":
        assert tap.bytes_of(SENT).startswith(b"HTTP/1.1 426")


@both_roles
@pytest.mark.parametrize("secure", [False, True])
def test_a_factory(role: str, secure: bool) -> None:
    factory = Factory(Ends)
    for _ in range(2):
        connection = Connection(role, tap=factory, transport_options={"secure": secure})
        connection.lose()
        connection.loop.run_ready()
    scheme = "wss" if secure else "ws"
    host = "localhost" if role == "client" else "unknown address"
    assert factory.asked == [(role, f"{scheme}://{host}/")] * 2
    assert all(tap.seen for tap in factory.made)
    for tap in factory.made:
        (cause,) = tap.causes
        assert cause.kind is WSDisconnectKind.CONNECTION_LOST


def test_on_end_is_only_for_taps_of_their_own() -> None:
    tap = Ends()
    Connection("server", tap=tap).lose()
    assert not tap.causes


@both_roles
def test_a_factory_may_decline(role: str) -> None:
    factory = Factory(lambda: None)
    connection = Connection(role, tap=factory)
    connection.receive(TEXT, b"x")
    assert connection.listener.frames
    assert len(factory.asked) == 1


class Raises:
    """Raises at the n-th call."""

    def __init__(self, at: int, error: Optional[BaseException] = None) -> None:
        self.at = at
        self.calls = 0
        self.error = error or LookupError("as asked for")

    def __call__(self, *_: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise self.error


@both_roles
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_tap_that_fails_is_dropped(role: str, at: int) -> None:
    tap = Raises(at)
    connection = Connection(role, tap=tap)
    connection.receive(TEXT, b"x")
    connection.ws.send(TEXT, b"y")
    connection.receive(TEXT, b"z")
    assert [frame.payload for frame in connection.sent()] == [b"y"]
    assert len(connection.listener.frames) == 2
    assert tap.calls == at
    (line,) = connection.log.lines
    assert "the tap failed, and is used no more" in line
    assert "LookupError('as asked for')" in line


@pytest.mark.parametrize("make", [lambda: 3, lambda: int("x")])
def test_a_factory_that_fails(make: Any) -> None:
    connection = Connection("server", tap=Factory(make))
    connection.receive(TEXT, b"x")
    assert connection.listener.frames
    (line,) = connection.log.lines
    assert "the tap failed" in line


def test_an_end_that_fails() -> None:
    class RaisesAtEnd(Ends):
        def on_end(self, cause: Any) -> None:
            raise LookupError("at the end")

    connection = Connection("server", tap=Factory(RaisesAtEnd))
    connection.lose()
    (line,) = connection.log.lines
    assert "LookupError('at the end')" in line


@both_roles
def test_an_interrupt_reaches_the_loop(role: str) -> None:
    """It does not stop the read in the middle."""
    connection = Connection(role, tap=Raises(3, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        connection.receive(TEXT, b"x")
    assert connection.listener.frames == [(TEXT, b"x", True)]
    assert not connection.transport.aborted


@both_roles
@pytest.mark.parametrize("direction", [RECEIVED, SENT])
def test_a_tap_cannot_send(role: str, direction: WSDirection) -> None:
    connection: Any = None

    def tap(each: WSDirection, data: memoryview, time_ns: int) -> None:
        if connection is not None and each is direction:
            connection.ws.send(TEXT, b"from the tap")

    connection = Connection(role, tap=tap)
    if direction is RECEIVED:
        connection.receive(TEXT, b"x")
    else:
        connection.ws.send(TEXT, b"y")
    assert b"from the tap" not in [frame.payload for frame in connection.sent()]
    (line,) = connection.log.lines
    assert "WSStateError" in line
    connection.ws.send(TEXT, b"goes on")
    assert [frame.payload for frame in connection.sent()] == [b"goes on"]


@both_roles
def test_a_tap_may_disconnect(role: str) -> None:
    connection: Any = None

    def tap(each: WSDirection, data: memoryview, time_ns: int) -> None:
        if connection is not None and each is RECEIVED:
            connection.ws.disconnect()

    connection = Connection(role, tap=tap)
    connection.receive(TEXT, b"x")
    assert [frame.opcode for frame in connection.sent()] == [CLOSE]
    assert not connection.log.lines


@both_roles
def test_nothing_is_left(role: str, without_collector: None) -> None:
    tap = Tap()
    connection = Connection(role, tap=tap)
    connection.receive(TEXT, b"x")
    endpoint = weakref.ref(connection.endpoint)
    dead = weakref.ref(tap)
    connection.lose()
    del connection
    del tap
    assert endpoint() is None
    assert dead() is None
    gc.collect()


@pytest.mark.parametrize("value", [3, "tap", Tap, object()])
def test_wrong_taps(value: Any) -> None:
    with pytest.raises(TypeError, match="tap must be None, a callable, a WSTap or an object with"):
        WSOptions(tap=value)


def test_a_tap_that_does_nothing() -> None:
    connection = Connection("server", tap=WSTap())
    connection.receive(TEXT, b"x")
    assert connection.listener.frames
    connection.lose()


COMPILED = """
from libc.stdint cimport int64_t, uint8_t
from picows_codec.tap cimport WS_RECEIVED, WSTap

cdef class Counter(WSTap):
    cdef public Py_ssize_t received, sent
    cdef public object cause
    cdef public int64_t latest

    cdef int on_bytes(
            self, int direction, const uint8_t* data, Py_ssize_t size, int64_t time_ns) except -1:
        if size and data[0] == 0:
            raise ValueError("a null byte")
        if direction == WS_RECEIVED:
            self.received += size
        else:
            self.sent += size
        self.latest = time_ns
        return 0

    cdef int on_end(self, object cause) except -1:
        self.cause = cause
        return 0
"""


def test_compiled(tmp_path: Path) -> None:
    module = compile_extension("compiled_tap", COMPILED, tmp_path)
    tap = module.Counter()
    connection = Connection("client", tap=tap)
    assert tap.sent == len(connection.transport.written)
    received = tap.received
    connection.receive(TEXT, b"12345")
    assert tap.received == received + 7
    assert abs(time.time_ns() - tap.latest) < 60e9
    connection.lose()
    assert tap.cause.kind is WSDisconnectKind.CONNECTION_LOST
    connection = Connection("client", tap=Factory(module.Counter))
    connection.feed(b"\0\0")
    (line,) = [line for line in connection.log.lines if "the tap failed" in line]
    assert "ValueError('a null byte')" in line


async def awaited_tap(direction: object, data: memoryview, time_ns: int) -> None:
    pass


class AwaitedTap:
    async def __call__(self, direction: object, data: memoryview, time_ns: int) -> None:
        pass


@pytest.mark.parametrize("tap", [awaited_tap, AwaitedTap()])
def test_a_coroutine_function_is_refused(tap: object) -> None:
    with pytest.raises(TypeError, match="tap must not be a coroutine function"):
        WSOptions(tap=tap)  # type: ignore[arg-type]
