"""picows_codec.deflate.inflating: what arrives (RFC 7692, 7.2.2), and hostile peers."""

from __future__ import annotations

import zlib
from typing import Any, Callable, List

import pytest

from picows_codec import (
    WSCloseCode,
    WSDisconnectKind,
    WSMessageListener,
    WSMsgType,
)
from picows_codec.deflate import inflating
from picows_codec.deflate.engine import new_inflater
from tests.support.connection import both_roles, kind_of
from tests.support.deflate import (
    ALONE,
    RANDOM,
    TAIL,
    DeflateConnection,
    Peer,
    both_contexts,
    deflated,
    failed_with,
)
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT

pytestmark = pytest.mark.usefixtures("each_library")


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


@both_roles
def test_window_of_8_bits(role: str) -> None:
    """zlib makes none, but a peer may, and its references are within any larger one."""
    sender = "server" if role == "client" else "client"
    bits = f"permessage-deflate; {sender}_max_window_bits=8"
    connection = DeflateConnection(role, answer=bits)
    peer = Peer(window_bits=9)
    text = b"a" * 100
    for _ in range(5):
        connection.feed(connection.compressed(TEXT, peer.deflate(text)))
    assert connection.messages() == [text] * 5


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


def final(payload: bytes, window: bytes = b"") -> bytes:
    """The payload as a stream that ends, and that may refer to a window."""
    stream = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, window)
    return stream.compress(payload) + stream.flush(zlib.Z_FINISH)


def test_final_blocks_of_the_tests() -> None:
    text = b"what is said twice is referred to" * 2
    assert len(final(text, text)) < len(final(text)) // 2


@both_roles
@both_contexts
def test_window_after_a_final_block(role: str, answer: str) -> None:
    """Blocks after a final one may refer to what came before it in the message (7.2.3.4)."""
    text = b"what is said twice is referred to" * 2
    connection = DeflateConnection(role, answer=answer)
    for between in (b"", final(b"more")):
        window = text + text + (b"more" if between else b"")
        wire = final(text) + final(text, text) + between + final(text, window) + b"\x00"
        connection.feed(connection.compressed(BINARY, wire))
        assert connection.messages()[-1] == window + text
        # Each in a fragment of its own, of which the last may be empty.
        connection.feed(
            connection.compressed(BINARY, final(text), fin=False),
            connection.compressed(CONTINUATION, final(text, text), fin=False),
            connection.compressed(CONTINUATION, b""),
        )
        assert connection.messages()[-3:] == [text, text, b""]


@both_roles
def test_window_of_messages_that_end_with_final_blocks(role: str) -> None:
    """A peer that flushes in this way takes its context over like any other (7.2.3.4)."""
    connection = DeflateConnection(role)
    window = b""
    for number in range(12):
        text = b"message %d " % number + bytes(range(250)) * (30 * number)
        connection.feed(connection.compressed(BINARY, final(text, window) + b"\x00"))
        assert connection.messages()[-1] == text
        window = (window + text)[-32768:]
        # In fragments: the window is what came in all of them.
        one, two = b"first part of %d" % number, b"last part"
        connection.feed(
            connection.compressed(BINARY, final(one, window), fin=False),
            connection.compressed(CONTINUATION, final(two, window + one) + b"\x00"),
        )
        assert connection.messages()[-2:] == [one, two]
        window = (window + one + two)[-32768:]
        # Without a final block: the window is the stream's again.
        stream = zlib.compressobj(6, zlib.DEFLATED, -15, 8, zlib.Z_DEFAULT_STRATEGY, window)
        for wire in (text, one):
            data = stream.compress(wire) + stream.flush(zlib.Z_SYNC_FLUSH)
            connection.feed(connection.compressed(BINARY, data[:-4]))
            assert connection.messages()[-1] == wire
            window = (window + wire)[-32768:]


@both_roles
def test_what_was_said_before_the_first_final_block_is_forgotten(role: str) -> None:
    """zlib does not tell what a stream's window had."""
    peer = Peer()
    text = b"said before, and long enough to be worth a reference"
    connection = DeflateConnection(role)
    connection.feed(connection.compressed(BINARY, peer.deflate(text)))
    connection.feed(connection.compressed(BINARY, final(b"end") + b"\x00"))
    connection.feed(connection.compressed(BINARY, peer.deflate(text)))
    assert connection.messages() == [text, b"end"]
    assert failed_with(connection) == WSCloseCode.INVALID_PAYLOAD_DATA


@both_roles
@both_contexts
def test_number_of_final_blocks(role: str, answer: str) -> None:
    """16 for each frame, and one more for each KiB of it."""
    piece = RANDOM[:1100]
    for wire, passes in (
        (final(b"a") * 16 + b"\x00", True),
        (final(b"a") * 18 + b"\x00", False),
        (final(piece) * 500 + b"\x00", True),
        (final(piece) * 10 + final(b"a") * 40, False),
    ):
        connection = DeflateConnection(role, answer=answer)
        connection.feed(connection.compressed(BINARY, wire))
        if passes:
            assert len(connection.messages()) == 1
            assert connection.cause is None
        else:
            assert failed_with(connection) == WSCloseCode.INVALID_PAYLOAD_DATA


@both_roles
@both_contexts
@pytest.mark.parametrize("size", [65535, 65536, 65537, 131072, 131073, 400_000])
def test_frames_that_are_inflated_in_parts(role: str, answer: str, size: int) -> None:
    """Parts of 64 KiB; a final block may end with one."""
    stored = zlib.compressobj(0, zlib.DEFLATED, -15)
    plain = stored.compress(RANDOM[: size - 1000]) + stored.flush(zlib.Z_SYNC_FLUSH)
    whole = plain[:-4]
    # Empty stored blocks, and a final one that ends with the first part.
    ended = b"\x01" + (60_001).to_bytes(2, "little") + (5534).to_bytes(2, "little")
    ended = b"\x00\x00\x00\xff\xff" * 1106 + ended + RANDOM[:60_001]
    assert len(ended) == 65536
    connection = DeflateConnection(role, answer=answer)
    connection.feed(connection.compressed(BINARY, whole))
    connection.feed(connection.compressed(BINARY, ended + whole))
    assert connection.messages() == [RANDOM[: size - 1000], RANDOM[:60_001] + RANDOM[: size - 1000]]


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
@both_contexts
@pytest.mark.parametrize("wire", ["f248cdc9c907", "f248cdc9c907000000ffff", "000000ffff"])
def test_incomplete_messages(role: str, answer: str, wire: str) -> None:
    """The last byte is missing; the tail was not removed."""
    connection = DeflateConnection(role, answer=answer)
    connection.feed(connection.compressed(BINARY, bytes.fromhex(wire)))
    assert not connection.messages()
    assert failed_with(connection) == WSCloseCode.INVALID_PAYLOAD_DATA


@both_roles
@pytest.mark.parametrize("level", [1, 6])
def test_messages_that_were_cut_off(role: str, level: int) -> None:
    """Anywhere. With context takeover zlib does not always tell."""
    data = deflated(b'{"id":1,"name":"a name","values":[1,2,3,4,5,6,7,8]}' * 3, level=level)
    for size in range(1, len(data)):
        connection = DeflateConnection(role, answer=ALONE)
        connection.feed(connection.compressed(BINARY, data[:size]))
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


# What happens meanwhile


class Interrupted:
    """A stream during whose work something else happens, as in a finalizer."""

    def __init__(self, stream: Any, act: Callable[[], Any]) -> None:
        self._stream = stream
        self._act = act

    def decompress(self, data: bytes, size: int) -> Any:
        found = self._stream.decompress(data, size)
        self._act()
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@both_roles
@both_contexts
@pytest.mark.parametrize("payload", [b"never delivered", b"\xff"])
@pytest.mark.parametrize("is_lost", [False, True])
def test_disconnecting_while_a_message_is_inflated(
    role: str, answer: str, payload: bytes, is_lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector may run, and a finalizer may disconnect."""

    def act() -> None:
        connection.ws.disconnect(not is_lost)
        if is_lost:
            connection.lose()

    monkeypatch.setattr(
        inflating,
        "new_inflater",
        lambda *arguments: Interrupted(new_inflater(*arguments), act),
    )
    connection = DeflateConnection(role, answer=answer)
    connection.feed(connection.compressed(TEXT, deflated(payload)))
    assert not connection.messages()
    assert kind_of(connection) is (
        WSDisconnectKind.LOCAL_ABORT if is_lost else WSDisconnectKind.LOCAL_CLOSE
    )
    assert [frame.opcode for frame in connection.sent()] == ([] if is_lost else [CLOSE])


@both_roles
@both_contexts
def test_sending_while_a_message_is_inflated(
    role: str, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        inflating,
        "new_inflater",
        lambda *arguments: Interrupted(
            new_inflater(*arguments), lambda: connection.ws.send(BINARY, b"meanwhile" * 20)
        ),
    )
    connection = DeflateConnection(role, answer=answer)
    peer = Peer(alone=answer == ALONE)
    for _ in range(3):
        connection.feed(connection.compressed(TEXT, deflated(b"text")))
    assert connection.messages() == [b"text"] * 3
    sent = connection.sent()
    assert [peer.inflate(frame.payload) for frame in sent] == [b"meanwhile" * 20] * len(sent)
    assert len(sent) >= 3


@both_roles
def test_no_memory_to_inflate(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise MemoryError

    monkeypatch.setattr(
        inflating, "new_inflater", lambda *arguments: Interrupted(new_inflater(*arguments), fail)
    )
    connection = DeflateConnection(role)
    connection.feed(connection.compressed(TEXT, deflated(b"text")))
    assert not connection.messages()
    assert failed_with(connection) == WSCloseCode.MESSAGE_TOO_BIG
