"""Whether bytes go on to move: stalls of frames, messages and queues; data_timeout."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from picows_codec import (
    WSAutoPingStrategy,
    WSDataTimeout,
    WSDisconnectKind,
    WSState,
)
from tests.support import frames
from tests.support.connection import Connection, both_roles
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame
from tests.support.listeners import Counter, Gatherer, OwnPings

# Stalls


@both_roles
@pytest.mark.parametrize("size", [100, 1000, 1_000_000])
@pytest.mark.parametrize("arrived", [1, 3, 50])
def test_a_frame_that_stalls(role: str, size: int, arrived: int) -> None:
    connection = Connection(role, Counter())
    connection.feed(connection.build(BINARY, bytes(size))[:arrived])
    connection.loop.advance(59.9)
    assert connection.ws.state is WSState.OPEN
    connection.loop.advance(0.2)
    assert connection.sent() == [Frame(CLOSE, frames.close_payload(1008, b"unfinished frame"))]
    connection.loop.advance(1.1)
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PROTOCOL_ERROR
    assert "stall_timeout (60.0 seconds)" in str(connection.cause)
    assert connection.listener.ends == 1
    assert not connection.loop.timers


@both_roles
def test_a_message_that_stalls(role: str) -> None:
    """Of one that is gathered; who gets frames keeps nothing of them."""
    for listener, ends in ((Gatherer(), True), (Counter(), False)):
        connection = Connection(role, listener)
        for _ in range(10):
            connection.receive(BINARY if not _ else CONTINUATION, b"x", fin=False)
            connection.loop.advance(45.0)
        assert connection.ws.state is WSState.OPEN
        connection.receive(PING, b"of no help")
        connection.sent()
        connection.loop.advance(80.0)
        assert (connection.ws.state is not WSState.OPEN) == ends
        if ends:
            expected = frames.close_payload(1008, b"unfinished message")
            assert connection.sent() == [Frame(CLOSE, expected)]
    # Messages that end and begin are others.
    connection = Connection(role, Gatherer())
    connection.receive(BINARY, b"x", fin=False)
    for _ in range(20):
        connection.loop.advance(40.0)
        connection.feed(
            connection.build(CONTINUATION, b"x"), connection.build(BINARY, b"x", fin=False)
        )
    assert connection.ws.state is WSState.OPEN
    connection.receive(CONTINUATION, b"x")
    connection.loop.advance(200.0)
    assert connection.ws.state is WSState.OPEN
    assert not connection.loop.timers


@both_roles
def test_a_large_fragment_is_no_stalled_message(role: str) -> None:
    connection = Connection(role, Gatherer(), stall_timeout=5.0)
    connection.receive(BINARY, b"x", fin=False)
    stream = connection.build(CONTINUATION, bytes(1_000_000))
    for start in range(0, len(stream), 70_000):
        connection.feed(stream[start : start + 70_000])
        connection.loop.advance(4.9)
    assert connection.ws.state is WSState.OPEN
    assert connection.listener.messages == [1_000_001]


@both_roles
def test_bytes_that_trickle_do_not_stretch_stall_timeout(role: str) -> None:
    connection = Connection(role, stall_timeout=5.0)
    connection.feed(frames.header(BINARY, 1_000_000, key=connection.key))
    for _ in range(51):
        connection.feed(bytes(1000))
        connection.loop.advance(0.1)
    assert [frame.opcode for frame in connection.sent()] == [CLOSE]


@both_roles
def test_a_slow_frame_that_goes_on_is_not_stalled(role: str) -> None:
    connection = Connection(role, Counter(), stall_timeout=5.0)
    stream = connection.build(BINARY, bytes(1_000_000))
    for start in range(0, len(stream), 70_000):
        connection.feed(stream[start : start + 70_000])
        connection.loop.advance(4.9)
    assert connection.ws.state is WSState.OPEN
    assert connection.listener.frames == 1


@both_roles
def test_frames_in_pieces_are_not_stalled(role: str) -> None:
    """There is an unfinished frame at every look, but never the same."""
    connection = Connection(role, Counter(), stall_timeout=5.0)
    stream = connection.build(BINARY, b"x" * 1000)
    connection.feed(stream[:500])
    for count in range(1, 100):
        connection.loop.advance(2.0)
        connection.feed(stream[500:] + stream[: count % len(stream) or 1])
        assert connection.listener.frames == count
        connection.loop.advance(2.0)
        connection.feed(stream[count % len(stream) or 1 : 500])
    assert connection.ws.state is WSState.OPEN
    # And nothing is watched where nothing is under way.
    connection.feed(stream[500:])
    connection.loop.advance(10.0)
    assert not connection.loop.timers


@both_roles
def test_a_frame_that_is_not_read_here_is_not_stalled(role: str) -> None:
    connection = Connection(role, Counter(), stall_timeout=5.0)
    stream = connection.build(BINARY, bytes(1000))
    connection.feed(stream[:500])
    connection.ws.underlying_transport.pause_reading()
    connection.loop.advance(60.0)
    connection.ws.underlying_transport.resume_reading()
    connection.feed(stream[500:])
    assert connection.listener.frames == 1
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_without_stall_timeout(role: str) -> None:
    connection = Connection(role, Counter(), stall_timeout=None, room=0)
    connection.ws.send(BINARY, bytes(100_000))
    connection.feed(connection.build(BINARY, bytes(1000))[:500])
    connection.loop.advance(1e6)
    assert connection.ws.state is WSState.OPEN
    assert not connection.loop.timers


@both_roles
def test_stalls_and_pings_share_a_deadline(role: str) -> None:
    connection = Connection(
        role,
        stall_timeout=30.0,
        enable_auto_ping=True,
        auto_ping_idle_timeout=4.0,
        auto_ping_reply_timeout=4.0,
    )
    connection.feed(frames.header(BINARY, 1_000_000, key=connection.key))
    pings = 0
    for _ in range(290):
        connection.feed(b"x")
        connection.loop.advance(0.1)
        pings += len(connection.sent())
    assert pings == 0
    assert connection.ws.state is WSState.OPEN
    connection.loop.advance(1.1)
    assert connection.sent()[-1] == Frame(CLOSE, frames.close_payload(1008, b"unfinished frame"))
    # A finished frame leaves the pings as they were.
    connection = Connection(role, Counter(), enable_auto_ping=True, auto_ping_idle_timeout=50.0)
    stream = connection.build(BINARY, bytes(1000))
    connection.feed(stream[:500])
    connection.loop.advance(1.0)
    connection.feed(stream[500:])
    connection.loop.advance(48.9)
    assert connection.sent() == []
    connection.loop.advance(13.0)
    assert [frame.opcode for frame in connection.sent()] == [PING]


@both_roles
@pytest.mark.parametrize("step", [0, 1000, 70_000])
def test_a_queue_that_stalls(role: str, step: int) -> None:
    """A peer that takes too little within stall_timeout is cut off; one that takes enough is not,
    however long it needs."""
    connection = Connection(role, room=0, stall_timeout=5.0)
    connection.ws.send(BINARY, bytes(2_000_000))
    for _ in range(12):
        connection.drain(step)
        connection.loop.advance(2.0)
    if step == 70_000:
        assert connection.ws.state is WSState.OPEN
        connection.drain()
        connection.loop.advance(10.0)
        assert connection.ws.state is WSState.OPEN
        assert not connection.loop.timers
        return
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.SLOW_CONSUMER
    assert connection.cause.unsent_bytes > 1_900_000


@both_roles
def test_progress_of_a_queue_that_is_not_seen(role: str) -> None:
    """Below the loop's TLS is a queue that it does not count: what the peer confirmed tells."""
    acknowledged = 0

    class Socket:
        def getsockopt(self, *names: int) -> bytes:
            assert names == (6, 11, 128)
            return bytes(120) + acknowledged.to_bytes(8, sys.byteorder)

    connection = Connection(role, room=0, stall_timeout=5.0)
    connection.transport.get_extra_info = lambda name, default=None: (
        Socket() if name == "socket" else default
    )
    connection.ws.send(BINARY, bytes(2_000_000))
    for _ in range(12):
        acknowledged += 70_000
        connection.loop.advance(2.0)
    assert connection.ws.state is WSState.OPEN
    for _ in range(6):
        connection.loop.advance(2.0)
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.SLOW_CONSUMER


@both_roles
def test_pauses_that_come_and_go_are_no_stall(role: str) -> None:
    connection = Connection(
        role, room=0, stall_timeout=5.0, write_high_watermark=1000, write_low_watermark=0
    )
    for _ in range(50):
        connection.ws.send(BINARY, bytes(2000))  # paused
        connection.loop.advance(2.0)
        connection.drain()  # and resumed
    assert connection.ws.state is WSState.OPEN


# data_timeout

DATA = 8.0


def fed(role: str, listener: Any = None, **options: Any) -> Connection:
    return Connection(role, listener, data_timeout=DATA, **options)


def check_data_timeout(connection: Connection) -> None:
    (frame,) = [each for each in connection.sent() if each.opcode == CLOSE]
    assert frame.payload == frames.close_payload(1011, b"data timeout")
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.DATA_TIMEOUT
    assert isinstance(connection.cause.exception, WSDataTimeout)
    assert "data_timeout (8.0 seconds)" in str(connection.cause)


@both_roles
@pytest.mark.parametrize("gathers", [False, True])
def test_data_timeout(role: str, gathers: bool) -> None:
    connection = fed(role, Gatherer() if gathers else None)
    connection.loop.advance(DATA - 0.1)
    assert connection.ws.state is WSState.OPEN
    connection.loop.advance(0.2)
    check_data_timeout(connection)


@both_roles
@pytest.mark.parametrize("gathers", [False, True])
@pytest.mark.parametrize("pings", [False, True])
@pytest.mark.parametrize("size", [0, 10, 70_000])
@pytest.mark.parametrize("kind", ["TEXT", "BINARY", "fragments", "pieces"])
def test_data_frames_keep_the_connection(
    role: str, gathers: bool, pings: bool, size: int, kind: str
) -> None:
    connection = fed(
        role,
        Gatherer() if gathers else None,
        enable_auto_ping=pings,
        auto_ping_idle_timeout=1.0,
        auto_ping_reply_timeout=1000.0,
    )
    if kind == "fragments":
        connection.receive(BINARY, b"x", fin=False)
    for _ in range(10):
        connection.loop.advance(DATA - 0.1)
        if kind == "pieces":
            stream = connection.build(BINARY, b"x" * size)
            connection.feed(stream[:1], stream[1:])
        elif kind == "fragments":
            connection.receive(0, b"x" * size, fin=False)
        else:
            connection.receive(TEXT if kind == "TEXT" else BINARY, b"x" * size)
        assert connection.ws.state is WSState.OPEN
    connection.sent()
    connection.loop.advance(1.25 * DATA + 0.1)
    check_data_timeout(connection)


@both_roles
@pytest.mark.parametrize("gathers", [False, True])
def test_control_frames_are_no_data(role: str, gathers: bool) -> None:
    connection = fed(role, Gatherer() if gathers else None, enable_auto_ping=True)
    connection.ws.send_ping()
    for _ in range(9):
        connection.receive(PING, b"x")
        connection.receive(PONG, b"x")
        connection.loop.advance(1.0)
    connection.loop.advance(2.0)
    check_data_timeout(connection)


@both_roles
@pytest.mark.parametrize("with_data", [False, True])
@pytest.mark.parametrize("data_first", [False, True])
def test_pongs_of_the_listener_are_no_data(role: str, with_data: bool, data_first: bool) -> None:
    connection = fed(
        role,
        OwnPings(),
        enable_auto_ping=True,
        auto_ping_idle_timeout=1.0,
        auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
    )
    for _ in range(100):
        connection.loop.advance(0.2)
        if with_data and data_first:
            connection.receive(TEXT, b"data")
        if connection.sent():
            connection.receive(TEXT, b"pong")
        if with_data and not data_first:
            connection.receive(TEXT, b"data")
    if with_data:
        assert connection.ws.state is WSState.OPEN
    else:
        assert connection.cause is not None
        assert connection.cause.kind is WSDisconnectKind.DATA_TIMEOUT


@both_roles
def test_a_slow_frame_is_data(role: str) -> None:
    connection = fed(role, stall_timeout=None)
    stream = connection.build(BINARY, bytes(300_000))
    for start in range(0, len(stream), 10_000):
        connection.feed(stream[start : start + 10_000])
        connection.loop.advance(DATA / 2)
    assert connection.listener.frames == [(BINARY, bytes(300_000), True)]
    connection.feed(stream[:1000])
    connection.loop.advance(1.25 * DATA + 0.1)
    check_data_timeout(connection)


@both_roles
def test_data_that_this_side_does_not_read(role: str) -> None:
    connection = fed(role)
    below = connection.ws.underlying_transport
    connection.loop.advance(DATA - 1.0)
    below.pause_reading()
    connection.loop.advance(10 * DATA)
    below.resume_reading()
    connection.loop.advance(DATA - 0.1)
    assert connection.ws.state is WSState.OPEN
    connection.receive(TEXT, b"waited")
    connection.loop.advance(DATA - 0.1)
    assert connection.ws.state is WSState.OPEN
    connection.loop.advance(DATA / 2 + 0.3)
    check_data_timeout(connection)


@both_roles
def test_data_while_the_loop_was_blocked(role: str) -> None:
    connection = fed(role)
    connection.loop.advance(DATA - 0.1)
    connection.loop.clock.now += 100.0
    connection.loop.advance(4.9)
    connection.receive(TEXT, b"x")
    connection.loop.advance(DATA - 0.1)
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_data_timeout_in_a_closing_handshake(role: str) -> None:
    connection = fed(role, close_timeout=100.0)
    connection.ws.send_close()
    connection.loop.advance(99.0)
    assert connection.ws.state is WSState.CLOSING


@both_roles
def test_no_data_timeout_no_timer(role: str) -> None:
    connection = Connection(role)
    assert not connection.loop.timers
