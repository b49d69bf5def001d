"""Batches, messages, coroutines and many payloads on connections that compress (RFC 7692)."""

from __future__ import annotations

from itertools import chain
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from picows_codec import (
    WSBatchListener,
    WSConnection,
    WSConnectionClosed,
    WSDisconnectKind,
    WSMessage,
    WSMessageListener,
    WSPermessageDeflate,
    WSTransport,
)
from picows_codec.coroutines.inbox import Inbox, QueueMarks
from tests.support.connection import Connection, both_roles, kind_of
from tests.support.deflate import ALONE, DeflateConnection, Peer, both_contexts
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

TEXTS = ["", "a", '{"id":1,"price":"60000.10"}' * 3, "gr\u00fc\u00df\u20ac" * 40, "x" * 70_000]

pytestmark = pytest.mark.usefixtures("each_library")


class Batches(WSBatchListener):
    def __init__(self) -> None:
        self.events: List[Any] = []

    def on_ws_batch(self, transport: WSTransport, messages: List[Any]) -> None:
        self.events.append(messages)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.events.append("disconnected")


def fragments(connection: Connection, opcode: int, wire: bytes, count: int) -> List[bytes]:
    """The frames of a compressed message."""
    cuts = [len(wire) * index // count for index in range(count + 1)]
    return [
        connection.build(
            CONTINUATION if index else opcode,
            wire[cuts[index] : cuts[index + 1]],
            fin=index == count - 1,
            rsv=0 if index else 4,
        )
        for index in range(count)
    ]


# Batches


@both_roles
@both_contexts
def test_batches(role: str, answer: str) -> None:
    listener = Batches()
    connection = DeflateConnection(role, listener, answer=answer)
    peer = Peer(alone=answer == ALONE)
    data = b"".join(
        connection.compressed(TEXT, peer.deflate(text.encode()))
        + connection.build(BINARY, b"plain")
        + connection.compressed(BINARY, peer.deflate(text.encode()))
        + connection.build(PING, b"ping")
        for text in TEXTS
    )
    connection.feed(data)
    expected = [[text, b"plain", text.encode()] for text in TEXTS]
    assert listener.events == [list(chain(*expected))]
    assert [frame.opcode for frame in connection.sent()] == [PONG] * len(TEXTS)


@both_roles
@both_contexts
def test_batches_of_fragments(role: str, answer: str) -> None:
    """A message belongs to the batch of the read that completes it."""
    listener = Batches()
    connection = DeflateConnection(role, listener, answer=answer)
    peer = Peer(alone=answer == ALONE)
    one, two, three = ("\u20ac" * size for size in (5, 300, 20_000))
    frames = [
        frame
        for text in (one, two, three)
        for frame in fragments(connection, TEXT, peer.deflate(text.encode()), 4)
    ]
    connection.feed(b"".join(frames[:3]), b"".join(frames[3:9]), b"".join(frames[9:]))
    assert listener.events == [[one, two], [three]]


@both_roles
@both_contexts
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_batches_in_any_pieces(role: str, answer: str, size: int) -> None:
    listener = Batches()
    connection = DeflateConnection(role, listener, answer=answer)
    peer = Peer(alone=answer == ALONE)
    texts = [text[:2000] for text in TEXTS]
    data = b"".join(connection.compressed(TEXT, peer.deflate(text.encode())) for text in texts)
    connection.feed(*(data[start : start + size] for start in range(0, len(data), size)))
    assert list(chain(*listener.events)) == texts


@both_roles
@both_contexts
@pytest.mark.parametrize("bad", [b"\xff\xff", b"\x07"])
def test_a_batch_before_a_broken_stream(role: str, answer: str, bad: bytes) -> None:
    listener = Batches()
    connection = DeflateConnection(role, listener, answer=answer)
    good = [connection.compressed(TEXT, Peer().deflate(b"good")) for _ in range(3)]
    connection.feed(b"".join(good) + connection.compressed(TEXT, bad) + good[0])
    connection.lose()
    assert listener.events == [["good"] * 3, "disconnected"]
    assert kind_of(connection) is WSDisconnectKind.PROTOCOL_ERROR


@both_roles
def test_a_batch_before_a_bomb_and_before_a_close(role: str) -> None:
    for last in (
        lambda connection: connection.compressed(BINARY, Peer().deflate(bytes(2000))),
        lambda connection: connection.build(CLOSE, b"\x03\xe8"),
    ):
        listener = Batches()
        connection = DeflateConnection(role, listener, max_message_size=1000)
        peer = Peer()
        data = b"".join(connection.compressed(TEXT, peer.deflate(b"good")) for _ in range(3))
        connection.feed(data + last(connection))
        connection.lose()
        assert listener.events == [["good"] * 3, "disconnected"]


# send_many


@both_roles
@both_contexts
def test_send_many(role: str, answer: str) -> None:
    connection = DeflateConnection(role, answer=answer)
    peer = Peer(alone=answer == ALONE)
    calls = len(connection.transport.calls)
    connection.ws.send_many(TEXT, TEXTS[:4])
    assert connection.transport.calls[calls:].count("write") == 1
    connection.ws.send_many(BINARY, [bytearray(b"abc" * 50), memoryview(b"abc" * 51)])
    found = [
        peer.inflate(frame.payload) if frame.rsv else frame.payload for frame in connection.sent()
    ]
    assert found == [text.encode() for text in TEXTS[:4]] + [b"abc" * 50, b"abc" * 51]


@both_roles
@both_contexts
def test_send_many_of_a_wrong_type_sends_nothing(role: str, answer: str) -> None:
    """Nor does it change what later messages refer to."""
    connection = DeflateConnection(role, answer=answer)
    peer = Peer(alone=answer == ALONE)
    for text in TEXTS:
        with pytest.raises(TypeError):
            connection.ws.send_many(TEXT, [text * 2, 5])  # type: ignore[list-item]
        assert not connection.sent()
        connection.ws.send(TEXT, text)
        (frame,) = connection.sent()
        assert (peer.inflate(frame.payload) if frame.rsv else frame.payload) == text.encode()


@given(
    sends=st.lists(st.lists(st.text(max_size=200) | st.just("abc" * 300), max_size=5), max_size=6),
    is_alone=st.tuples(st.booleans(), st.booleans()),
    bits=st.tuples(st.integers(8, 15), st.integers(8, 15)),
    level=st.integers(0, 9),
    min_size=st.sampled_from([0, 64]),
)
def test_many_messages_between_two_ends_of_picows(
    sends: List[List[str]], is_alone: Any, bits: Any, level: int, min_size: int
) -> None:
    """What both agree on, whatever it is, carries every batch, either way."""
    answer = f"permessage-deflate; server_max_window_bits={bits[0]}"
    answer += f"; client_max_window_bits={bits[1]}"
    answer += "; server_no_context_takeover" if is_alone[0] else ""
    answer += "; client_no_context_takeover" if is_alone[1] else ""
    parameters = WSPermessageDeflate(
        level=level,
        min_size=min_size,
        client_compresses=True,
        server_max_window_bits=bits[0],
        client_max_window_bits=bits[1],
        server_no_context_takeover=is_alone[0],
        client_no_context_takeover=is_alone[1],
    )
    ends = [
        DeflateConnection(role, Batches(), answer=answer, compression=parameters)
        for role in ("client", "server")
    ]
    for texts in sends:
        for sender, receiver in (ends, ends[::-1]):
            before = len(receiver.listener.events)
            sender.ws.send_many(TEXT, texts)
            receiver.feed(sender.sent_bytes())
            assert list(chain(*receiver.listener.events[before:])) == texts


# Messages


class Messages(WSMessageListener):
    """Keeps the messages themselves, and answers in the callback."""

    def __init__(self) -> None:
        self.found: List[WSMessage] = []

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        self.found.append(message)
        transport.send(message.opcode, message)


@both_roles
@both_contexts
def test_messages_are_kept_and_sent_back(role: str, answer: str) -> None:
    """Each reply is compressed while more frames of the read wait."""
    listener = Messages()
    connection = DeflateConnection(role, listener, answer=answer)
    to_us, to_them = (Peer(alone=answer == ALONE) for _ in range(2))
    data = b"".join(
        b"".join(fragments(connection, TEXT, to_us.deflate(text.encode()), count))
        for count, text in enumerate(TEXTS, 1)
    )
    connection.feed(data)
    assert [message.get_payload_as_utf8_text() for message in listener.found] == TEXTS
    sent = [
        to_them.inflate(frame.payload) if frame.rsv else frame.payload
        for frame in connection.sent()
    ]
    assert sent == [text.encode() for text in TEXTS]


@both_roles
def test_number_of_fragments(role: str) -> None:
    connection = DeflateConnection(role, Messages(), max_fragments_per_message=3)
    wire = Peer().deflate(b"abc" * 100)
    connection.feed(b"".join(fragments(connection, TEXT, wire, 4)))
    (frame,) = connection.sent()
    assert (frame.opcode, frame.payload[:2]) == (CLOSE, (1008).to_bytes(2, "big"))


# Coroutines


@both_roles
@both_contexts
def test_coroutines(role: str, answer: str) -> None:
    connection = DeflateConnection(role, Inbox(QueueMarks()), answer=answer)
    awaited = WSConnection(connection.listener)
    to_us, to_them = (Peer(alone=answer == ALONE) for _ in range(2))

    async def echo() -> None:
        async for message in awaited:
            await awaited.send(message)
            await awaited.send([message[:2], message[2:]])

    task = connection.loop.create_task(echo())
    for text in TEXTS:
        connection.feed(connection.compressed(TEXT, to_us.deflate(text.encode())))
    received, wire, is_compressed = [], b"", False
    for frame in connection.sent():
        if frame.opcode:
            wire, is_compressed = b"", frame.rsv == 4
        wire += frame.payload
        if frame.fin:
            received.append(to_them.inflate(wire) if is_compressed else wire)
    assert received == [text.encode() for text in TEXTS for _ in range(2)]
    connection.feed(connection.compressed(TEXT, b"\x07"))
    connection.lose()
    assert task.done()
    assert not task.cancelled()
    error = task.exception()
    assert isinstance(error, WSConnectionClosed)
