"""When frames leave: corks, bursts, and what is sent in place behind them."""

from __future__ import annotations

from typing import Any, List

import pytest

from picows_codec import (
    WSFrame,
    WSStateError,
    WSTransport,
)
from tests.support import frames
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame

# Cork


@both_roles
def test_cork(role: str) -> None:
    connection = Connection(role)
    before = len(connection.transport.writes)
    with connection.ws.cork():
        for i in range(10):
            connection.ws.send(TEXT, b"%d" % i)
            connection.ws.send_reuse_external_bytearray(BINARY, bytearray(15), 14)
        connection.ws.send_ping()
        assert len(connection.transport.writes) == before
        assert connection.ws.write_queue_size > 0
    assert len(connection.transport.writes) == before + 1
    assert connection.ws.write_queue_size == 0
    opcodes = [frame.opcode for frame in connection.sent()]
    assert opcodes == [TEXT, BINARY] * 10 + [PING]


@both_roles
def test_cork_inside_a_cork(role: str) -> None:
    connection = Connection(role)
    before = len(connection.transport.writes)
    cork = connection.ws.cork()
    with cork:
        connection.ws.send(TEXT, b"1")
        with connection.ws.cork(), cork:
            connection.ws.send(TEXT, b"2")
        connection.ws.send(TEXT, b"3")
        assert len(connection.transport.writes) == before
    assert len(connection.transport.writes) == before + 1
    assert len(connection.sent()) == 3


@both_roles
def test_empty_cork(role: str) -> None:
    connection = Connection(role)
    before = len(connection.transport.writes)
    with connection.ws.cork():
        pass
    assert len(connection.transport.writes) == before


@both_roles
def test_cork_that_is_left_by_an_exception(role: str) -> None:
    def send_and_raise() -> None:
        with connection.ws.cork():
            connection.ws.send(TEXT, b"before")
            raise LookupError

    connection = Connection(role)
    with pytest.raises(LookupError):
        send_and_raise()
    assert connection.sent() == [Frame(TEXT, b"before")]
    connection.ws.send(TEXT, b"after")
    assert connection.sent() == [Frame(TEXT, b"after")]


@both_roles
def test_cork_that_was_never_entered(role: str) -> None:
    """It cannot end somebody else's."""
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(TEXT, b"x")
        with pytest.raises(WSStateError, match="not entered"):
            connection.ws.cork().__exit__(None, None, None)
        assert connection.transport.writes[-1:] != [b"x"]
        assert connection.sent() == []
    assert connection.sent() == [Frame(TEXT, b"x")]


@both_roles
@pytest.mark.parametrize("size", [1000, 16_384, 20_000, 130_000, 131_072, 300_000])
def test_cork_with_more_than_fits(role: str, size: int) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        for i in range(20):
            connection.ws.send(BINARY, bytes([i]) * (size + i))
            connection.ws.send(TEXT, b"%d" % i)
    found = connection.sent()
    assert [frame.payload for frame in found[::2]] == [bytes([i]) * (size + i) for i in range(20)]
    assert [frame.payload for frame in found[1::2]] == [b"%d" % i for i in range(20)]


@both_roles
def test_cork_that_is_filled_to_the_last_byte(role: str) -> None:
    connection = Connection(role)
    head = 4 + (4 if role == "client" else 0)
    for missing in range(-1, 16):
        with connection.ws.cork():
            for _ in range(31):
                connection.ws.send(BINARY, b"x" * (4096 - head))
            connection.ws.send(BINARY, b"y" * (4096 * 2 - head - 4096 - missing))
            connection.ws.send(BINARY, b"z" * 300)
        found = connection.sent()
        assert len(found) == 33
        assert found[-1] == Frame(BINARY, b"z" * 300)


@both_roles
def test_cork_inside_a_callback(role: str) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        with transport.cork():
            transport.send(TEXT, b"a")
            transport.send(TEXT, b"b")

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    before = len(connection.transport.writes)
    connection.feed(connection.build(TEXT) * 3)
    assert len(connection.transport.writes) == before + 1
    assert len(connection.sent()) == 6


@both_roles
def test_cork_around_a_read(role: str) -> None:
    listener = Recorder()
    listener.act("on_ws_frame", lambda transport, frame: transport.send(TEXT, b"reply"))
    connection = Connection(role, listener)
    with connection.ws.cork():
        connection.receive(TEXT)
        connection.receive(PING)
        assert connection.sent() == []
    assert [frame.opcode for frame in connection.sent()] == [TEXT, PONG]


@both_roles
@pytest.mark.parametrize("received", [True, False])
def test_close_inside_a_cork(role: str, received: bool) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(TEXT, b"x")
        connection.ws.disconnect()
        if received:
            connection.receive_close()
    assert [frame.opcode for frame in connection.sent()] == [TEXT, CLOSE]
    if not received:
        connection.receive_close()
    if role == "client":
        connection.feed_eof()
    assert connection.transport.lost
    assert connection.listener.count("disconnected") == 1


@both_roles
def test_failure_inside_a_cork(role: str) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(TEXT, b"x")
        connection.receive(3)
    assert [frame.opcode for frame in connection.sent()] == [TEXT, CLOSE]
    assert connection.transport.eof_written


@both_roles
def test_connection_that_is_lost_inside_a_cork(role: str) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(TEXT, b"x" * 50)
        connection.lose()
    assert connection.sent() == []
    assert connection.cause is not None
    assert connection.cause.unsent_bytes > 50


@both_roles
def test_pause_is_reported_inside_a_cork(role: str) -> None:
    connection = Connection(role, room=0, write_high_watermark=1000)
    with connection.ws.cork():
        connection.ws.send(BINARY, b"x" * 200_000)
        connection.ws.send(BINARY, b"x" * 200_000)
    assert connection.listener.count("paused") == 1


@both_roles
def test_other_connections_inside_a_cork(role: str) -> None:
    first, second = Connection(role), Connection(role)
    with first.ws.cork():
        first.ws.send(TEXT, b"first")
        with second.ws.cork():
            second.ws.send(TEXT, b"second")
        assert second.sent() == [Frame(TEXT, b"second")]
        second.ws.send(TEXT, b"again")
        assert second.sent() == [Frame(TEXT, b"again")]
        first.ws.send(TEXT, b"last")
    assert first.sent() == [Frame(TEXT, b"first"), Frame(TEXT, b"last")]


# Bursts


def written(connection: Connection) -> List[int]:
    """How many frames each write had since the last look, this loop iteration included."""
    counts = []
    for write in connection.transport.writes[connection.seen_writes :]:
        found, rest = frames.parse_all(write)
        assert not rest
        counts.append(len(found))
    connection.seen_writes = len(connection.transport.writes)
    return counts


def bursting(role: str, listener: Any = None, **options: Any) -> Any:
    connection: Any = Connection(role, listener, **options)
    connection.seen_writes = len(connection.transport.writes)
    return connection


@both_roles
def test_a_burst_shares_a_write(role: str) -> None:
    connection = bursting(role)
    for i in range(10):
        connection.ws.send(BINARY, b"%d" % i)
    # What was sent first did not wait.
    assert written(connection) == [1, 1]
    connection.loop.run_ready()
    assert written(connection) == [8]
    assert [frame.payload for frame in connection.sent()] == [b"%d" % i for i in range(10)]
    # The next iteration begins again.
    for i in range(3):
        connection.ws.send(BINARY, b"%d" % i)
    assert written(connection) == [1, 1]
    connection.loop.run_ready()
    assert written(connection) == [1]


@both_roles
def test_a_burst_in_a_callback_of_a_read(role: str) -> None:
    listener = Recorder()

    def answer(transport: WSTransport, frame: Any) -> None:
        for i in range(5):
            transport.send(BINARY, b"%d" % i)
        assert written(connection) == [1]

    connection = bursting(role, listener.act("on_ws_frame", answer))
    for _ in range(2):
        connection.transport.feed(connection.build(TEXT, b"x"))
        assert written(connection) == [4]
        connection.loop.run_ready()
        assert written(connection) == []


@both_roles
def test_frames_of_separate_reads_do_not_wait(role: str) -> None:
    """A read of another connection of the thread ends an iteration, too."""
    connection, other = bursting(role), Connection(role)
    for _ in range(10):
        connection.ws.send(BINARY, b"x")
        assert written(connection) == [1]
        other.transport.feed(other.build(TEXT, b"x"))


@both_roles
def test_a_frame_an_iteration_does_not_wait(role: str) -> None:
    connection = bursting(role)
    for _ in range(10):
        connection.ws.send(BINARY, b"x")
        assert written(connection) == [1]
        connection.loop.run_ready()
        assert written(connection) == []


@both_roles
def test_without_coalesce_writes(role: str) -> None:
    connection = bursting(role, coalesce_writes=False)
    for _ in range(10):
        connection.ws.send(BINARY, b"x")
    assert written(connection) == [1] * 10


@both_roles
def test_a_burst_ends_with_a_cork(role: str) -> None:
    connection = bursting(role)
    for _ in range(5):
        connection.ws.send(BINARY, b"x")
    with connection.ws.cork():
        connection.ws.send(BINARY, b"x")
    assert written(connection) == [1, 1, 4]
    connection.loop.run_ready()
    assert written(connection) == []


@both_roles
@pytest.mark.parametrize("size", [100, 20_000])
def test_a_burst_heeds_the_watermark(role: str, size: int) -> None:
    connection = bursting(role, room=0, write_high_watermark=50_000)
    sent = 0
    while not connection.listener.count("paused"):
        connection.ws.send(BINARY, bytes(size))
        sent += size
        # As much in the queue, as much held back, and what was under way.
        assert sent <= 100_000 + 2 * size
    assert connection.ws.write_queue_size > 50_000


@both_roles
def test_a_burst_before_the_end(role: str) -> None:
    connection = bursting(role)
    for i in range(5):
        connection.ws.send(BINARY, b"%d" % i)
    connection.ws.disconnect()
    assert [frame.opcode for frame in connection.sent()] == [BINARY] * 5 + [CLOSE]
    connection = bursting(role)
    for i in range(5):
        connection.ws.send(BINARY, b"%d" % i)
    connection.feed_eof()
    assert [frame.opcode for frame in connection.sent()] == [BINARY] * 5


@both_roles
def test_a_burst_that_is_dropped_is_counted(role: str) -> None:
    connection = bursting(role)
    for _ in range(5):
        connection.ws.send(BINARY, bytes(100))
    connection.ws.disconnect(graceful=False)
    connection.loop.run_ready()
    assert connection.cause is not None
    assert connection.cause.unsent_bytes == 3 * (106 if role == "client" else 102)


# Sending in place, behind what is held back


@both_roles
@pytest.mark.parametrize("what", ["free", "close"])
def test_send_in_place_behind_what_is_held_back(role: str, what: str) -> None:
    """What is held back may make the queue pass its watermark, and the listener act on that."""
    buffer = bytearray(14 + 300_000)
    kept: List[bytes] = []

    def on_frame(transport: WSTransport, frame: Any) -> None:
        if frame.last_in_buffer:
            transport.send_reuse_external_bytearray(BINARY, buffer, 14)
        else:
            transport.send(BINARY, b"a" * 10_000)

    def on_pause(transport: WSTransport) -> None:
        if what == "close":
            transport.send_close(1000)
        else:
            buffer.clear()
            kept.extend(b"secret" * 1000 for _ in range(100))

    listener = Recorder().act("on_ws_frame", on_frame).act("pause_writing", on_pause)
    connection = Connection(role, listener, room=0)
    connection.feed(connection.build(TEXT, b"x") * 8)
    connection.drain()
    found = connection.sent()
    data = [frame for frame in found if frame.opcode == BINARY]
    assert [len(frame.payload) for frame in data] == [10_000] * 7 + [300_000]
    assert data[-1].payload == bytes(300_000)
    if what == "close":
        assert [frame.opcode for frame in found] == [BINARY] * 8 + [CLOSE]
