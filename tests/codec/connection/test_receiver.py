"""OPEN: frames in, and what is answered by itself."""

from __future__ import annotations

import gc
from typing import Any, Dict, List, Tuple

import pytest

from picows_codec import (
    WSFrame,
    WSListener,
    WSMessage,
    WSMessageListener,
    WSTransport,
)
from tests.support import frames
from tests.support.chunking import Feeding, every_feeding, in_halves, in_odd_pieces, in_pairs, whole
from tests.support.connection import Connection, Recorder, both_roles, both_ways_of_reading
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Frame,
    mixed_flood,
)

# Frames


@both_roles
@every_feeding
@both_ways_of_reading
@pytest.mark.parametrize("size", [0, 1, 125, 126, 3000])
def test_frames(role: str, feeding: Feeding, buffered: bool, size: int) -> None:
    connection = Connection(role, transport_options={"buffered": buffered})
    payload = bytes(i % 251 for i in range(size))
    stream = connection.build(BINARY, payload) + connection.build(TEXT, b"next")
    for tail in (b"", connection.build(BINARY, b"unfinished")[:-3]):
        connection.listener.events.clear()
        connection.feed(*feeding(stream + tail))
        assert connection.listener.events == [(BINARY, payload, True), (TEXT, b"next", True)]
    assert connection.cause is None
    assert connection.sent() == []


@both_roles
@both_ways_of_reading
@pytest.mark.parametrize("size", [65535, 65536, 300_000, 1_000_000])
@pytest.mark.parametrize("piece", [1000, 100_000, 2_000_000])
def test_large_frames(role: str, buffered: bool, size: int, piece: int) -> None:
    connection = Connection(role, transport_options={"buffered": buffered})
    payload = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    stream = connection.build(BINARY, payload) + connection.build(BINARY, payload[::-1])
    connection.feed(*(stream[i : i + piece] for i in range(0, len(stream), piece)))
    assert [payload for _, payload, _ in connection.listener.frames] == [payload, payload[::-1]]


@both_roles
@both_ways_of_reading
@pytest.mark.parametrize("shared_reads", [True, False])
def test_every_cut(role: str, buffered: bool, shared_reads: bool) -> None:
    connection = Connection(
        role, shared_reads=shared_reads, transport_options={"buffered": buffered}
    )
    stream = connection.build(BINARY, b"x" * 130) + connection.build(TEXT, b"abc")
    for first in range(0, len(stream), 3):
        for second in range(first, len(stream), 7):
            connection.listener.events.clear()
            connection.feed(stream[:first], stream[first:second], stream[second:])
            assert connection.listener.events == [(BINARY, b"x" * 130, True), (TEXT, b"abc", True)]


@both_roles
@pytest.mark.parametrize("shared_reads", [True, False])
def test_reads_of_a_loop_that_fills_in_the_background(role: str, shared_reads: bool) -> None:
    connection = Connection(role, shared_reads=shared_reads)
    stream = connection.build(BINARY, b"a" * 1000) + connection.build(TEXT, b"b")
    connection.feed(stream[:500])
    # Such a loop asks for memory ahead of time, and fills it when other things have happened.
    ahead = connection.endpoint.get_buffer(-1)
    other = Connection(role, shared_reads=shared_reads)
    other.receive(BINARY, b"c" * 1000)
    rest = stream[500:] if not shared_reads else stream[500 : 500 + len(ahead)]
    ahead[: len(rest)] = rest
    connection.endpoint.buffer_updated(len(rest))
    if shared_reads:
        connection.feed(stream[500 + len(rest) :])
    assert [frame[1] for frame in connection.listener.frames] == [b"a" * 1000, b"b"]
    assert [frame[1] for frame in other.listener.frames] == [b"c" * 1000]


@both_roles
def test_memory_lent_in_the_background_outlives_the_connection(role: str) -> None:
    connection = Connection(role, shared_reads=False)
    connection.feed(connection.build(BINARY, b"a" * 1000)[:-10])
    ahead = connection.endpoint.get_buffer(-1)
    connection.receive(BINARY, b"x" * 100)
    connection.lose()
    other = Connection(role)
    other.feed(*in_halves(other.build(BINARY, b"c" * 1000)))
    ahead[:1000] = b"z" * 1000
    assert other.listener.frames == [(BINARY, b"c" * 1000, True)]


@both_roles
def test_idle_connections_hold_no_read_buffer(role: str) -> None:
    first, second = Connection(role), Connection(role)
    lent = []
    for connection in (first, second, first):
        buffer = connection.endpoint.get_buffer(-1)
        lent.append(id(buffer.obj))
        frame = connection.build(TEXT, b"x")
        buffer[: len(frame)] = frame
        del buffer
        connection.endpoint.buffer_updated(len(frame))
    assert len(set(lent)) == 1
    assert len(first.listener.frames) == 2


@both_roles
def test_an_unfinished_frame_is_received_in_place(role: str) -> None:
    connection = Connection(role)
    connection.feed(connection.build(BINARY, b"x" * 1000)[:-300])
    assert len(connection.endpoint.get_buffer(-1)) == 300


@both_roles
def test_data_received_takes_any_buffer(role: str) -> None:
    connection = Connection(role)
    for kind in (bytes, bytearray, memoryview):
        data = kind(connection.build(TEXT, b"abc"))
        connection.endpoint.data_received(data)
        # The caller's bytes are left alone: they are not unmasked in place.
        assert bytes(data) == connection.build(TEXT, b"abc")
    assert len(connection.listener.frames) == 3
    for wrong in (None, "text", 5):
        with pytest.raises(TypeError):
            connection.endpoint.data_received(wrong)


# Several frames in one read


def _odd_frame(connection: Connection, kind: str) -> bytes:
    """What stands among short whole messages."""
    build = connection.build
    if kind == "length in more bytes than needed":
        header = frames.header(BINARY, 200, key=connection.key)
        return header[:2] + b"\0\x7d" + header[4:] + b"x" * 125
    if kind == "wrong mask":
        return frames.build(BINARY, b"x", key=None if connection.key else frames.KEY)
    return {
        "short": build(BINARY, b"x"),
        "empty": build(TEXT, b""),
        "125": build(BINARY, b"x" * 125),
        "126": build(BINARY, b"x" * 126),
        "65535": build(TEXT, b"x" * 65535),
        "65536": build(BINARY, b"x" * 65536),
        "text": build(TEXT, "\u00fc\u20ac".encode()),
        "invalid text": build(TEXT, b"\xc3\x28"),
        "unfinished text": build(TEXT, b"\xe2\x82"),
        "fragments": build(TEXT, b"a", fin=False) + build(CONTINUATION, b"b"),
        "fragment without end": build(TEXT, b"a", fin=False),
        "continuation of nothing": build(CONTINUATION, b"b"),
        "ping": build(PING, b"p"),
        "pong": build(PONG, b"p"),
        "close": build(CLOSE, frames.close_payload(1001)),
        "reserved bit": build(BINARY, b"x", rsv=4),
        "reserved opcode": build(3, b"x"),
    }[kind]


KINDS = [
    "short", "empty", "125", "126", "65535", "65536", "text", "invalid text", "unfinished text",
    "fragments", "fragment without end", "continuation of nothing", "ping", "pong", "close",
    "reserved bit", "reserved opcode", "length in more bytes than needed", "wrong mask",
]  # fmt: skip


@both_roles
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options", [{}, {"max_frame_size": 125}, {"max_message_size": 126}, {"max_frame_size": 65534}]
)
@pytest.mark.parametrize("gathered", [False, True])
def test_in_one_read_as_in_many(
    role: str, kind: str, options: Dict[str, int], gathered: bool
) -> None:
    """Frames are delivered, answered and refused alike, however they arrive."""

    def outcome(feeding: Feeding) -> Tuple[Any, ...]:
        listener = Messages() if gathered else Recorder()
        connection = Connection(role, listener, **options)
        short = [connection.build(BINARY, b"%d" % i) for i in range(4)]
        stream = short[0] + short[1] + _odd_frame(connection, kind) + short[2] + short[3]
        connection.feed(*feeding(stream))
        return listener.events, connection.sent(), repr(connection.cause)

    assert outcome(whole) == outcome(in_pairs)


class Messages(WSMessageListener):
    def __init__(self) -> None:
        super().__init__()
        self.events: List[Tuple[Any, ...]] = []

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.events.append((message.opcode, message.get_payload_as_bytes()))


# Automatic pongs


@both_roles
@every_feeding
def test_pings_are_answered(role: str, feeding: Feeding) -> None:
    connection = Connection(role)
    stream = b"".join(connection.build(PING, payload) for payload in (b"", b"x", b"y" * 125))
    connection.feed(*feeding(stream))
    assert connection.sent() == [Frame(PONG, b""), Frame(PONG, b"x"), Frame(PONG, b"y" * 125)]
    assert connection.listener.frames == []


@both_roles
def test_pings_inside_a_message(role: str) -> None:
    connection = Connection(role)
    connection.feed(
        connection.build(TEXT, b"a", fin=False)
        + connection.build(PING, b"p")
        + connection.build(CONTINUATION, b"b")
    )
    assert connection.sent() == [Frame(PONG, b"p")]
    assert connection.listener.frames == [(TEXT, b"a", False), (CONTINUATION, b"b", True)]


@both_roles
def test_pings_are_delivered_without_automatic_pongs(role: str) -> None:
    connection = Connection(role, enable_auto_pong=False)
    connection.receive(PING, b"x")
    assert connection.listener.frames == [(PING, b"x", True)]
    assert connection.sent() == []


@both_roles
def test_a_flood_of_pings_is_answered_in_few_writes(role: str) -> None:
    connection = Connection(role)
    before = len(connection.transport.writes)
    connection.feed(connection.build(PING, b"x") * 5000)
    assert connection.sent() == [Frame(PONG, b"x")] * 5000
    assert len(connection.transport.writes) - before < 5


@both_roles
@both_ways_of_reading
def test_a_mixed_flood_in_odd_pieces(role: str, buffered: bool) -> None:
    connection = Connection(role, transport_options={"buffered": buffered})
    flood = mixed_flood(300)
    connection.feed(*in_odd_pieces(b"".join(connection.build(*frame) for frame in flood)))
    assert connection.sent() == [Frame(PONG, payload) for code, payload in flood if code == PING]
    assert connection.listener.frames == [
        (code, payload, True) for code, payload in flood if code != PING
    ]


@both_roles
def test_no_pong_after_our_close(role: str) -> None:
    connection = Connection(role)
    connection.ws.send_close()
    connection.sent()
    connection.receive(PING, b"x")
    connection.receive(TEXT, b"still delivered")
    assert connection.sent() == []
    assert connection.listener.frames == [(TEXT, b"still delivered", True)]


@both_roles
def test_one_pong_waits_for_a_peer_that_does_not_read(role: str) -> None:
    connection = Connection(role, room=200, write_high_watermark=1000)
    connection.ws.send(BINARY, b"x" * 2000)
    assert connection.listener.count("paused") == 1
    connection.sent()
    for i in range(1000):
        connection.receive(PING, b"%d" % i)
    assert connection.sent() == []
    connection.drain()
    assert connection.sent() == [Frame(PONG, b"999")]
    assert connection.listener.count("resumed") == 1
    connection.receive(PING, b"again")
    assert connection.sent() == [Frame(PONG, b"again")]


@both_roles
def test_no_pending_pong_after_a_close(role: str) -> None:
    connection = Connection(role, room=0, write_high_watermark=1000)
    connection.ws.send(BINARY, b"x" * 2000)
    connection.receive(PING, b"x")
    connection.ws.send_close()
    connection.sent()
    connection.drain()
    assert connection.sent() == []


@both_roles
def test_unsolicited_pongs_are_delivered(role: str) -> None:
    connection = Connection(role)
    connection.receive(PONG, b"x")
    assert connection.listener.frames == [(PONG, b"x", True)]


# The garbage collector


@both_roles
@both_ways_of_reading
def test_messages_never_start_the_garbage_collector(role: str, buffered: bool) -> None:
    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            transport.send(frame.opcode, frame.get_payload_as_bytes())

    connection = Connection(role, Echo(), transport_options={"buffered": buffered})
    piece = connection.build(BINARY, b"payload") * 10
    connection.feed(piece)
    gc.collect()
    gc.disable()  # so that the count only grows
    try:
        before = gc.get_count()[0]
        for _ in range(100):
            connection.feed(piece)
        assert gc.get_count()[0] - before < 100  # of 1,000 messages
    finally:
        gc.enable()
    assert len(connection.sent()) == 1010
