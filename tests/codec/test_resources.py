"""What a hostile peer can make a connection hold: never more than the options say."""

from __future__ import annotations

import tracemalloc
from typing import Any, Iterator

import pytest

from picows_codec import (
    WSAutoPingStrategy,
    WSDisconnectKind,
    WSState,
    WSTransport,
)
from tests.support import frames
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame
from tests.support.listeners import Counter, Gatherer

# Bytes that a connection may take besides what its options allow it.
SLACK = 64 * 1024
# The write buffer of a thread, which may be on its way into the queue (bytes).
WRITE_BUFFER = 128 * 1024


class Memory:
    """What Python's allocator handed out since ``start`` (bytes)."""

    def start(self) -> None:
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]

    @property
    def now(self) -> int:
        return tracemalloc.get_traced_memory()[0] - self._before

    @property
    def peak(self) -> int:
        return tracemalloc.get_traced_memory()[1] - self._before


@pytest.fixture
def memory() -> Iterator[Memory]:
    yield Memory()
    tracemalloc.stop()


def check_failed(connection: Connection, code: int) -> None:
    close = connection.sent()[-1]
    assert (close.opcode, close.payload[:2]) == (CLOSE, frames.close_payload(code))
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PROTOCOL_ERROR


# Small and many


@both_roles
def test_a_million_tiny_frames(role: str, memory: Memory) -> None:
    connection = Connection(role, Counter())
    piece = connection.build(TEXT, b"x") * 10_000
    connection.feed(piece)
    memory.start()
    for _ in range(99):
        connection.feed(piece)
    assert connection.listener.frames == 1_000_000
    assert memory.peak < SLACK
    assert connection.ws.state is WSState.OPEN


@both_roles
def test_tiny_frames_in_tiny_reads(role: str, memory: Memory) -> None:
    """Three bytes at a time: every header is cut."""
    connection = Connection(role, Counter())
    stream = connection.build(TEXT, b"x") * 3000
    connection.feed(stream[:3])
    memory.start()
    for start in range(3, len(stream), 3):
        connection.feed(stream[start : start + 3])
    assert connection.listener.frames == 3000
    assert memory.peak < SLACK


@both_roles
@pytest.mark.parametrize("listener", [Counter, Gatherer])
def test_endless_empty_fragments(role: str, listener: Any, memory: Memory) -> None:
    """With the default limit."""
    connection = Connection(role, listener())
    piece = connection.build(CONTINUATION, fin=False) * 1000
    connection.feed(connection.build(TEXT, fin=False))
    memory.start()
    fed = 1
    while connection.ws.state is WSState.OPEN:
        connection.feed(piece)
        fed += 1000
    assert memory.peak < SLACK
    assert 131072 < fed <= 131072 + 1000
    if listener is Counter:
        assert connection.listener.frames == 131072
    check_failed(connection, 1008)


@both_roles
@pytest.mark.parametrize("size", [1, 1000, 60_000])
def test_endless_fragments(role: str, size: int, memory: Memory) -> None:
    connection = Connection(role, Gatherer(), max_message_size=300_000)
    piece = connection.build(CONTINUATION, b"x" * size, fin=False)
    piece *= max(1, 10_000 // size)
    connection.feed(connection.build(TEXT, fin=False))
    memory.start()
    while connection.ws.state is WSState.OPEN:
        connection.feed(piece)
        # Twice the message, as it is gathered.
        assert memory.now < 2 * 300_000 + SLACK
    assert memory.peak < 3 * 300_000 + SLACK  # the old and the new block, while it grows
    assert connection.listener.messages == []
    check_failed(connection, 1008 if size == 1 else 1009)
    connection.feed_eof()
    assert memory.now < SLACK


# Unfinished


@both_roles
def test_a_frame_that_is_never_finished(role: str, memory: Memory) -> None:
    connection = Connection(role, Counter(), max_frame_size=1_000_000)
    memory.start()
    connection.feed(frames.header(BINARY, 1_000_000, key=connection.key))
    for _ in range(99):
        connection.feed(bytes(10_000))
    assert memory.peak < 1_000_000 + SLACK
    connection.lose()
    assert memory.now < SLACK
    assert connection.listener.frames == 0
    assert connection.listener.ends == 1


@both_roles
def test_a_frame_that_trickles_for_ever(role: str) -> None:
    """Bytes that never become a frame do not answer a periodic ping."""
    connection = Connection(
        role,
        enable_auto_ping=True,
        auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
        auto_ping_idle_timeout=10.0,
        auto_ping_reply_timeout=10.0,
    )
    connection.feed(frames.header(BINARY, 1_000_000, key=connection.key))
    for _ in range(60):
        connection.feed(b"x")
        connection.loop.advance(0.5)
    assert [frame.opcode for frame in connection.sent()] == [PING, CLOSE]
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT
    assert connection.listener.events == [("connected",), ("disconnected",)]


@both_roles
def test_a_peer_that_falls_silent_in_a_frame(role: str) -> None:
    connection = Connection(role, enable_auto_ping=True)
    connection.feed(connection.build(BINARY, bytes(1000))[:-1])
    connection.loop.advance(60.0)
    assert [frame.opcode for frame in connection.sent()] == [PING, CLOSE]
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PING_TIMEOUT


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_bytes_do_not_stretch_the_closing_handshake(role: str, graceful: bool) -> None:
    connection = Connection(role, Counter(), close_timeout=5.0)
    if graceful:
        connection.ws.disconnect()
    else:
        connection.ws.send_close()
    for _ in range(49):
        connection.loop.advance(0.1)
        connection.feed(connection.build(BINARY, b"x" * 100) * 10)
    assert not connection.transport.lost
    connection.loop.advance(0.2)
    assert connection.transport.aborted
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.CLOSE_TIMEOUT
    assert connection.listener.frames == (0 if graceful else 490)


# Unread


@both_roles
def test_a_flood_of_pings_by_a_peer_that_does_not_read(role: str, memory: Memory) -> None:
    connection = Connection(role, Counter(), room=0)
    piece = connection.build(PING, b"p" * 125) * 1000
    connection.feed(piece)
    memory.start()
    for _ in range(20):
        connection.feed(piece)
        assert connection.ws.write_queue_size <= 65536 + WRITE_BUFFER
    # What the transport in this test remembers of the writes is its own.
    assert memory.peak < 65536 + WRITE_BUFFER + SLACK
    assert connection.ws.state is WSState.OPEN
    connection.feed(connection.build(PING, b"the latest"))
    connection.sent()
    connection.drain()
    assert connection.sent() == [Frame(PONG, b"the latest")]


@both_roles
def test_a_flood_of_pings_ends(role: str) -> None:
    connection = Connection(role, Counter(), room=0)
    piece = connection.build(PING, b"p" * 125) * 1000
    for _ in range(119):
        connection.feed(piece)
        connection.loop.advance(0.5)
    assert connection.ws.state is WSState.OPEN
    connection.loop.advance(0.6)
    assert connection.transport.aborted
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.SLOW_CONSUMER
    assert "stall_timeout (60.0 seconds)" in str(connection.cause)
    assert connection.cause.unsent_bytes > 65536
    assert connection.listener.ends == 1


@both_roles
@pytest.mark.parametrize("own_ping", [True, False])
def test_an_automatic_ping_behind_a_message_above_the_cap(role: str, own_ping: bool) -> None:
    class Pinging(Recorder):
        def send_user_specific_ping(self, transport: WSTransport) -> None:
            transport.send(TEXT, b"ping")

    connection = Connection(
        role,
        Pinging() if own_ping else None,
        room=0,
        enable_auto_ping=True,
        write_high_watermark=1000,
        max_write_queue_size=10_000,
    )
    connection.ws.send(BINARY, bytes(20_000))
    connection.loop.advance(10.1)
    assert connection.ws.state is WSState.OPEN
    connection.drain()
    assert [frame.opcode for frame in connection.sent()] == [BINARY, TEXT if own_ping else PING]
    # The caller's own frames are still bounded.
    connection.ws.send(BINARY, bytes(20_000))
    connection.ws.send(TEXT, b"one more")
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.SLOW_CONSUMER


@both_roles
def test_an_unread_connection_ends_with_periodic_pings(role: str) -> None:
    connection = Connection(
        role,
        room=0,
        enable_auto_ping=True,
        auto_ping_strategy=WSAutoPingStrategy.PING_PERIODICALLY,
    )
    for _ in range(150):
        connection.receive(PING, b"p" * 125)
        connection.loop.advance(0.5)
    # The ping never left: that nothing is read is what ends the connection.
    assert connection.transport.lost
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.SLOW_CONSUMER


@both_roles
@pytest.mark.parametrize("size", [10, 1000, 70_000])
def test_an_echo_to_a_peer_that_does_not_read(role: str, size: int) -> None:
    listener = Recorder()
    listener.act("on_ws_frame", lambda transport, frame: transport.send(frame.opcode, frame))
    connection = Connection(role, listener, room=0, max_write_queue_size=200_000)
    piece = connection.build(BINARY, b"x" * size) * (1 + 10_000 // size)
    queue = 0
    while connection.ws.state is WSState.OPEN:
        queue = max(queue, connection.ws.write_queue_size)
        connection.feed(piece)
    assert queue <= 200_000
    assert connection.transport.aborted
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.SLOW_CONSUMER
    assert connection.cause.unsent_bytes <= 200_000 + size + 14
    assert listener.count("paused") == 1
    assert listener.count("disconnected") == 1
    assert connection.transport.fatal_errors == []


@both_roles
@pytest.mark.parametrize("graceful", [True, False])
def test_a_close_behind_a_message_above_the_cap(role: str, graceful: bool) -> None:
    """One message may be larger than the queue; that is no reason to lose it at the end."""
    connection = Connection(role, room=0, write_high_watermark=1000, max_write_queue_size=10_000)
    connection.ws.send(BINARY, b"x" * 20_000)
    if graceful:
        connection.ws.disconnect()
    else:
        connection.receive_close()
    assert connection.ws.state is WSState.CLOSING
    assert not connection.transport.aborted
    connection.drain()
    assert connection.sent() == [
        Frame(BINARY, b"x" * 20_000),
        Frame(CLOSE, frames.close_payload(1000)),
    ]
    assert connection.cause is not None
    assert connection.cause.kind is (
        WSDisconnectKind.LOCAL_CLOSE if graceful else WSDisconnectKind.PEER_CLOSE
    )
    connection.lose()
