"""picows_codec.deflate.inflating: what arrives (RFC 7692, 7.2.2), and hostile peers."""

from __future__ import annotations

import sys
import zlib
from typing import Any, List

import pytest

from picows_codec import WSCloseCode, WSMessageListener, WSMsgType
from tests.support.connection import both_roles
from tests.support.deflate import TAIL, DeflateConnection, Peer, deflated
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT

ALONE = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
both_contexts = pytest.mark.parametrize("answer", ["permessage-deflate", ALONE])


def failed_with(connection: DeflateConnection) -> int:
    assert connection.cause is not None
    (frame,) = connection.sent()
    assert frame.opcode == CLOSE
    return int.from_bytes(frame.payload[:2], "big")


@both_roles
@both_contexts
def test_messages(role: str, answer: str) -> None:
    connection = DeflateConnection(role, answer=answer)
    peer = Peer(alone=answer == ALONE)
    messages = [b"", b"a", b"abc" * 1000, b"", bytes(range(256)) * 2000, b"end"]
    for message in messages:
        connection.feed(connection.compressed(BINARY, peer.deflate(message)))
    assert connection.messages() == messages
    assert connection.cause is None


@both_roles
def test_plain_messages_between(role: str) -> None:
    connection = DeflateConnection(role)
    peer = Peer()
    first, second = peer.deflate(b"one" * 50), peer.deflate(b"one" * 50)
    connection.feed(
        connection.compressed(TEXT, first)
        + connection.build(TEXT, b"plain")
        + connection.build(TEXT, b"pl", fin=False)
        + connection.build(CONTINUATION, b"ain")
        + connection.compressed(TEXT, second)
    )
    assert connection.messages() == [b"one" * 50, b"plain", b"pl", b"ain", b"one" * 50]


@both_roles
@both_contexts
def test_frames_stay_frames(role: str, answer: str) -> None:
    seen: List[Any] = []
    connection = DeflateConnection(role, answer=answer)
    connection.listener.act(
        "on_ws_frame", lambda _, frame: seen.append((frame.rsv1, frame.tail_size, repr(frame)))
    )
    data = deflated(b"hello, " * 30)
    third = len(data) // 3
    connection.feed(
        connection.compressed(TEXT, data[:third], fin=False)
        + connection.build(PING, b"ping")
        + connection.build(CONTINUATION, data[third:-1], fin=False)
        + connection.build(CONTINUATION, data[-1:])
    )
    found = connection.listener.frames
    assert [(opcode, fin) for opcode, _, fin in found] == [
        (WSMsgType.TEXT, False),
        (WSMsgType.CONTINUATION, False),
        (WSMsgType.CONTINUATION, True),
    ]
    assert b"".join(payload for _, payload, _ in found) == b"hello, " * 30
    assert not any(rsv1 for rsv1, _, _ in seen)
    assert all("rsv1" not in text for _, _, text in seen)
    assert [frame.opcode for frame in connection.sent()] == [0xA]


class Messages(WSMessageListener):
    def __init__(self) -> None:
        self.found: List[Any] = []

    def on_ws_message(self, transport: Any, message: Any) -> None:
        self.found.append((message.opcode, message.get_payload_as_bytes()))


@both_roles
def test_message_listener(role: str) -> None:
    listener = Messages()
    connection = DeflateConnection(role, listener)
    peer = Peer()
    one, two = peer.deflate(b"text" * 100), peer.deflate(b"text" * 101)
    connection.feed(connection.compressed(TEXT, one))
    for position in range(len(two)):
        opcode = CONTINUATION if position else BINARY
        connection.feed(
            connection.compressed(
                opcode, two[position : position + 1], fin=position == len(two) - 1
            )
        )
    assert listener.found == [(TEXT, b"text" * 100), (BINARY, b"text" * 101)]


@both_roles
def test_kept_frames_stay_valid(role: str) -> None:
    kept: List[Any] = []
    connection = DeflateConnection(role)
    connection.listener.act("on_ws_frame", lambda _, frame: kept.append(frame))
    peer = Peer()
    messages = [b"%d" % number * 100 for number in range(5)]
    connection.feed(b"".join(connection.compressed(TEXT, peer.deflate(m)) for m in messages))
    assert [frame.get_payload_as_bytes() for frame in kept] == messages


# Text


@both_roles
@both_contexts
def test_text_is_checked_when_inflated(role: str, answer: str) -> None:
    text = "gr\u00fc\u00df\u20ac\U0001f600".encode()
    connection = DeflateConnection(role, answer=answer)
    data = deflated(text)
    connection.feed(connection.compressed(TEXT, data))
    assert connection.messages() == [text]
    connection = DeflateConnection(role, answer=answer)
    parts = [data[:5], data[5:9], data[9:]]
    connection.feed(connection.compressed(TEXT, parts[0], fin=False))
    connection.feed(connection.build(CONTINUATION, parts[1], fin=False))
    connection.feed(connection.build(CONTINUATION, parts[2]))
    assert b"".join(connection.messages()) == text


@both_roles
@pytest.mark.parametrize("payload", [b"\xff", b"abc\xc3", b"\xed\xa0\x80", b"a" * 5000 + b"\x80"])
def test_text_that_is_not_utf8(role: str, payload: bytes) -> None:
    connection = DeflateConnection(role)
    connection.feed(connection.compressed(TEXT, deflated(payload)))
    assert failed_with(connection) == WSCloseCode.INVALID_TEXT
    assert not connection.messages()
    connection = DeflateConnection(role)
    connection.feed(connection.compressed(BINARY, deflated(payload)))
    assert connection.messages() == [payload]


# Limits


@both_roles
@both_contexts
def test_limit_of_a_frame(role: str, answer: str) -> None:
    for size, passes in ((1000, True), (1001, False), (10_000_000, False)):
        connection = DeflateConnection(role, answer=answer, max_frame_size=1000)
        connection.feed(connection.compressed(BINARY, deflated(b"a" * size)[:1000]))
        if passes:
            assert connection.messages() == [b"a" * size]
        else:
            assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG
            assert not connection.messages()


@both_roles
def test_limit_of_a_frame_on_the_wire(role: str) -> None:
    connection = DeflateConnection(role, max_frame_size=1000)
    connection.feed(connection.compressed(BINARY, bytes(1001)))
    assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG


@both_roles
@both_contexts
def test_limit_of_a_message(role: str, answer: str) -> None:
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = stream.compress(b"a" * 600) + stream.flush(zlib.Z_SYNC_FLUSH)
    for size, passes in ((400, True), (401, False)):
        second = stream.copy()
        data = (second.compress(b"a" * size) + second.flush(zlib.Z_SYNC_FLUSH))[:-4]
        connection = DeflateConnection(role, answer=answer, max_message_size=1000)
        connection.feed(connection.compressed(BINARY, first, fin=False))
        connection.feed(connection.build(CONTINUATION, data))
        if passes:
            assert connection.messages() == [b"a" * 600, b"a" * 400]
        else:
            assert connection.messages() == [b"a" * 600]
            assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG


@both_roles
@both_contexts
def test_the_largest_limits(role: str, answer: str) -> None:
    connection = DeflateConnection(
        role, answer=answer, max_frame_size=sys.maxsize, max_message_size=sys.maxsize
    )
    connection.feed(connection.compressed(BINARY, deflated(b"a" * 100_000)))
    assert connection.messages() == [b"a" * 100_000]


@both_roles
def test_the_wire_may_be_longer_than_the_message(role: str) -> None:
    """Stored blocks: what the application gets is within its limit."""
    payload = bytes(range(200)) * 5
    connection = DeflateConnection(role, max_message_size=1000)
    connection.feed(connection.compressed(BINARY, deflated(payload, level=0)))
    assert connection.messages() == [payload]


@both_roles
@both_contexts
def test_a_bomb_costs_at_most_the_limit(role: str, answer: str) -> None:
    import tracemalloc  # noqa: PLC0415

    connection = DeflateConnection(role, answer=answer, max_message_size=1 << 20)
    data = connection.compressed(BINARY, deflated(bytes(300 << 20), level=9))
    tracemalloc.start()
    try:
        connection.feed(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG
    assert peak < 4 << 20


# Streams


def blocks(*pieces: bytes, mode: int = zlib.Z_FULL_FLUSH, level: int = 6) -> bytes:
    stream = zlib.compressobj(level, zlib.DEFLATED, -15)
    return b"".join(stream.compress(piece) + stream.flush(mode) for piece in pieces)


@both_roles
@both_contexts
@pytest.mark.parametrize(
    ("wire", "message"),
    [
        # RFC 7692, 7.2.3: its own examples
        pytest.param("f248cdc9c90700", b"Hello", id="one block"),
        pytest.param("000500faff48656c6c6f00", b"Hello", id="stored block"),
        pytest.param("f348cdc9c9070000", b"Hello", id="final block"),
        pytest.param("f2480500 0000ffff cac9c90700", b"Hello", id="two blocks"),
        pytest.param("00", b"", id="empty"),
        pytest.param("", b"", id="without the tail of nothing"),
        pytest.param("0000 00ffff" * 5 + "00", b"", id="empty stored blocks"),
        pytest.param("f348cdc9c90700", b"Hello", id="final block, and nothing after it"),
        pytest.param("010500faff48656c6c6f00", b"Hello", id="final stored block"),
        pytest.param("f348cdc9c90700 f248cdc9c90700", b"HelloHello", id="after a final block"),
    ],
)
def test_streams(role: str, answer: str, wire: str, message: bytes) -> None:
    connection = DeflateConnection(role, answer=answer)
    for _ in range(3):
        connection.feed(connection.compressed(TEXT, bytes.fromhex(wire)))
    assert connection.cause is None
    assert connection.messages() == [message] * 3


@both_roles
def test_window_after_a_final_block(role: str) -> None:
    """Blocks after a final one may refer to what came before it in the frame."""
    one = zlib.compressobj(6, zlib.DEFLATED, -15)
    text = b"what is said twice is referred to" * 2
    data = one.compress(text) + one.flush(zlib.Z_FINISH)
    two = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, text)
    data += two.compress(text) + two.flush(zlib.Z_SYNC_FLUSH)
    again = two.compress(text) + two.flush(zlib.Z_SYNC_FLUSH)
    connection = DeflateConnection(role)
    connection.feed(connection.compressed(BINARY, data[:-4]))
    connection.feed(connection.compressed(BINARY, again[:-4]))
    assert connection.messages() == [text * 2, text]


@both_roles
@both_contexts
@pytest.mark.parametrize(
    "wire",
    [
        pytest.param("07", id="reserved block type"),
        pytest.param("ffffffff", id="no block"),
        pytest.param("000500ffff48656c6c6f00", id="wrong length of a stored block"),
        pytest.param("f248cdc9c9070000", id="a byte more"),
        pytest.param("f348cdc9c90700 ff", id="trailing byte after a final block"),
        pytest.param("0300" * 2000, id="endless final blocks"),
        pytest.param("4b04040000", id="reference before the beginning"),
    ],
)
def test_broken_streams(role: str, answer: str, wire: str) -> None:
    connection = DeflateConnection(role, answer=answer)
    connection.feed(connection.compressed(BINARY, bytes.fromhex(wire)))
    assert not connection.messages()
    assert failed_with(connection) == WSCloseCode.INVALID_PAYLOAD_DATA
    assert "RFC 7692, 7.2.2" in str(connection.cause)


@both_roles
@pytest.mark.parametrize("wire", ["f248cdc9c907", "f248cdc9c907000000ffff"])
def test_incomplete_messages_without_takeover(role: str, wire: str) -> None:
    """A cut-off message, a tail that was not removed. With context takeover zlib does not tell."""
    connection = DeflateConnection(role, answer=ALONE)
    connection.feed(connection.compressed(BINARY, bytes.fromhex(wire)))
    assert not connection.messages()
    assert failed_with(connection) == WSCloseCode.INVALID_PAYLOAD_DATA


@both_roles
@both_contexts
def test_frames_before_a_broken_one_are_delivered(role: str, answer: str) -> None:
    connection = DeflateConnection(role, answer=answer)
    good = connection.compressed(TEXT, deflated(b"good"))
    bad = connection.compressed(TEXT, b"\xff\xff")
    connection.feed(good + bad + good)
    assert connection.messages() == [b"good"]
    assert failed_with(connection) == WSCloseCode.INVALID_PAYLOAD_DATA


@both_roles
def test_context_of_another_message_without_takeover(role: str) -> None:
    """A peer that promised no context takeover cannot refer to an earlier message."""
    peer = Peer()
    text = b"said before, and long enough to be worth a reference"
    connection = DeflateConnection(role, answer=ALONE)
    connection.feed(connection.compressed(TEXT, peer.deflate(text)))
    connection.feed(connection.compressed(TEXT, peer.deflate(text)))
    assert connection.messages() == [text]
    assert failed_with(connection) == WSCloseCode.INVALID_PAYLOAD_DATA


@both_roles
def test_no_context_of_another_connection(role: str) -> None:
    peer = Peer()
    text = b"said before, and long enough to be worth a reference"
    one = DeflateConnection(role)
    one.feed(one.compressed(TEXT, peer.deflate(text)))
    other = DeflateConnection(role)
    other.feed(other.compressed(TEXT, peer.deflate(text)))
    assert not other.messages()
    assert failed_with(other) == WSCloseCode.INVALID_PAYLOAD_DATA


# RSV1 (RFC 7692, 6)


@both_roles
@pytest.mark.parametrize("opcode", [CONTINUATION, CLOSE, PING])
def test_rsv1_where_it_does_not_belong(role: str, opcode: int) -> None:
    connection = DeflateConnection(role)
    if opcode == CONTINUATION:
        connection.feed(connection.compressed(TEXT, b"\x00", fin=False))
    connection.feed(connection.compressed(opcode, b"", rsv=4))
    assert failed_with(connection) == WSCloseCode.PROTOCOL_ERROR


@both_roles
@pytest.mark.parametrize("rsv", [1, 2, 3, 5, 6, 7])
def test_other_reserved_bits(role: str, rsv: int) -> None:
    connection = DeflateConnection(role)
    connection.feed(connection.compressed(TEXT, b"\x00", rsv=rsv))
    assert failed_with(connection) == WSCloseCode.PROTOCOL_ERROR


@both_roles
def test_rsv1_that_was_not_negotiated(role: str) -> None:
    connection = DeflateConnection("server", answer="other")
    connection.feed(connection.compressed(TEXT, deflated(b"no")))
    assert failed_with(connection) == WSCloseCode.PROTOCOL_ERROR


# Ends


@both_roles
def test_frames_after_disconnect_are_dropped(role: str) -> None:
    connection = DeflateConnection(role)
    connection.ws.disconnect()
    connection.feed(connection.compressed(TEXT, b"\xff\xff"))
    assert not connection.messages()
    assert [frame.opcode for frame in connection.sent()] == [CLOSE]


@both_roles
def test_whole_messages_take_any_chunking(role: str) -> None:
    peer = Peer()
    messages = [b"one" * 100, b"", b"two" * 10_000]
    connection = DeflateConnection(role)
    data = b"".join(connection.compressed(BINARY, peer.deflate(message)) for message in messages)
    connection.feed(*(data[position : position + 1] for position in range(len(data))))
    assert connection.messages() == messages
    assert TAIL not in b"".join(connection.messages())
