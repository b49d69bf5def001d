"""WSPreparedMessage and send_prepared: what may be prepared, and what is sent for it."""

from __future__ import annotations

import copy
import pickle
import random
import sys
from typing import Any, List

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSFrame,
    WSInvalidFrameError,
    WSMsgType,
    WSPermessageDeflate,
    WSPreparedMessage,
    WSStateError,
)
from picows_codec.testing.memory_transport import MemoryTransport
from tests.support.connection import Connection, Recorder, both_roles, kind_of
from tests.support.deflate import DeflateConnection, Peer, inflated
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT

SIZES = [0, 1, 125, 126, 256, 16_384, 16_385, 65_535, 65_536, 131_072, 1_000_000]


@pytest.mark.parametrize(
    ("opcode", "payload", "expected"),
    [
        (TEXT, "\u00fc", b"\xc3\xbc"),
        (TEXT, b"bytes", b"bytes"),
        (BINARY, b"\xff", b"\xff"),
        (BINARY, bytearray(b"bytearray"), b"bytearray"),
        (BINARY, memoryview(b"-memoryview-")[1:-1], b"memoryview"),
        (TEXT, memoryview(b"memoryview"), b"memoryview"),
        (TEXT, None, b""),
        (BINARY, None, b""),
    ],
)
def test_payloads(opcode: int, payload: Any, expected: bytes) -> None:
    message = WSPreparedMessage(opcode, payload)
    assert message.payload == expected
    assert message.opcode is WSMsgType(opcode)
    assert message.wire_opcode == opcode
    assert len(message) == message.payload_size == len(expected)


def test_it_does_not_change_with_its_payload() -> None:
    payload = bytearray(b"payload")
    message = WSPreparedMessage(BINARY, payload)
    payload[:] = b"else"
    assert message.payload == b"payload"


def test_it_cannot_be_changed() -> None:
    message: Any = WSPreparedMessage(BINARY, b"payload")
    for name in ("payload", "payload_size", "opcode", "wire_opcode"):
        with pytest.raises(AttributeError):
            setattr(message, name, getattr(message, name))
    with pytest.raises(TypeError):
        type("Subclass", (WSPreparedMessage,), {})
    with pytest.raises(AttributeError):
        message.more = 1


@pytest.mark.parametrize(
    ("opcode", "payload", "error"),
    [
        ("TEXT", b"", TypeError),
        (None, b"", TypeError),
        (1.0, b"", TypeError),
        (CONTINUATION, b"", WSInvalidFrameError),
        (CLOSE, b"", WSInvalidFrameError),
        (PING, b"", WSInvalidFrameError),
        (-1, b"", WSInvalidFrameError),
        (2**70, b"", WSInvalidFrameError),
        (TEXT, 1, TypeError),
        (TEXT, [b"x"], TypeError),
        (BINARY, "text", TypeError),
        (BINARY, memoryview(b"abcd")[::2], BufferError),
        (TEXT, "\ud800", UnicodeEncodeError),
        (TEXT, b"\xff", WSInvalidFrameError),
        (TEXT, bytearray(b"\xc3"), WSInvalidFrameError),
    ],
)
def test_what_cannot_be_prepared(opcode: Any, payload: Any, error: Any) -> None:
    with pytest.raises(error):
        WSPreparedMessage(opcode, payload)


def test_arguments_by_name() -> None:
    message = WSPreparedMessage(payload=b"x", opcode=BINARY)
    assert repr(message) == "<WSPreparedMessage BINARY payload_size=1>"
    missing: Any = WSPreparedMessage
    for arguments in ((), (BINARY,), ("x",)):
        with pytest.raises(
            TypeError, match=r"wanted: WSPreparedMessage\(WSMsgType.TEXT, payload\)"
        ):
            missing(*arguments)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies(copied: Any) -> None:
    message = copied(WSPreparedMessage(TEXT, "\u00fc"))
    assert (message.opcode, message.payload) == (TEXT, b"\xc3\xbc")


@both_roles
@pytest.mark.parametrize("size", SIZES)
def test_sent_again_and_again(role: str, size: int) -> None:
    message = WSPreparedMessage(BINARY, bytes(range(256)) * (size // 256) + bytes(size % 256))
    connections = [Connection(role) for _ in range(3)]
    for connection in connections * 2:
        connection.ws.send_prepared(message)
    for connection in connections:
        assert [(frame.opcode, frame.payload) for frame in connection.sent()] == 2 * [
            (BINARY, message.payload)
        ]


def test_a_server_writes_one_object() -> None:
    """A loop's own transport gets the same bytes for every connection, which it may keep."""
    message = WSPreparedMessage(BINARY, bytes(100_000))
    written: List[Any] = []

    class Keeping(MemoryTransport):
        def write(self, data: Any) -> None:
            written.append(data)
            super().write(data)

    connections = [Connection("server", transport_class=Keeping) for _ in range(3)]
    del written[:]
    for connection in connections:
        connection.ws.send_prepared(message)
        assert len(connection.sent()) == 1
    assert written == [written[0]] * 3
    assert len({id(data) for data in written}) == 1


@both_roles
def test_received_messages_are_prepared(role: str) -> None:
    kept: List[WSPreparedMessage] = []

    def prepare(transport: Any, frame: WSFrame) -> None:
        kept.append(WSPreparedMessage(frame.opcode, frame))

    connection = Connection(role, Recorder().act("on_ws_frame", prepare))
    connection.feed(connection.build(TEXT, b"one") + connection.build(BINARY, b"\xff"))
    assert [(one.opcode, one.payload) for one in kept] == [(TEXT, b"one"), (BINARY, b"\xff")]


@both_roles
def test_order_among_other_frames(role: str) -> None:
    message = WSPreparedMessage(TEXT, "prepared")
    listener = Recorder()

    def reply(transport: Any, frame: WSFrame) -> None:
        transport.send(TEXT, "reply")
        transport.send_prepared(message)

    connection = Connection(role, listener.act("on_ws_frame", reply))
    with connection.ws.cork():
        connection.ws.send(TEXT, "1")
        connection.ws.send_prepared(message)
        connection.ws.send(TEXT, "2")
    connection.ws.send_prepared(message)
    connection.ws.send_prepared(message)
    connection.feed(connection.build(TEXT, b"x") + connection.build(TEXT, b"y"))
    expected = [b"1", b"prepared", b"2", b"prepared", b"prepared", *(b"reply", b"prepared") * 2]
    assert [frame.payload for frame in connection.sent()] == expected


@both_roles
def test_bursts(role: str) -> None:
    connection = Connection(role)
    messages = [WSPreparedMessage(BINARY, bytes([i]) * size) for i, size in enumerate(SIZES[:8])]
    for message in messages:
        connection.ws.send_prepared(message)
    assert [frame.payload for frame in connection.sent()] == [one.payload for one in messages]


@both_roles
def test_states(role: str) -> None:
    message = WSPreparedMessage(TEXT, "x")
    connection = Connection(role)
    connection.ws.send(TEXT, "begun", fin=False)
    with pytest.raises(WSInvalidFrameError, match="fragmented"):
        connection.ws.send_prepared(message)
    connection.ws.send(CONTINUATION, "")
    connection.ws.send_prepared(message)
    connection.ws.send_close()
    with pytest.raises(WSStateError):
        connection.ws.send_prepared(message)


@both_roles
@pytest.mark.parametrize("wrong", [None, b"x", "x", WSPreparedMessage, object()])
def test_something_else(role: str, wrong: Any) -> None:
    connection = Connection(role)
    with pytest.raises(TypeError, match="message must be a WSPreparedMessage, not"):
        connection.ws.send_prepared(wrong)


@both_roles
def test_send_tells_of_send_prepared(role: str) -> None:
    connection = Connection(role)
    message: Any = WSPreparedMessage(TEXT, "x")
    with pytest.raises(TypeError, match=r"not WSPreparedMessage: use send_prepared\(\)"):
        connection.ws.send(TEXT, message)
    assert connection.sent_bytes() == b""


@both_roles
def test_a_transport_that_raises(role: str) -> None:
    connection = Connection(role)
    connection.transport.fail_next()
    with pytest.raises(Exception, match="write"):
        connection.ws.send_prepared(WSPreparedMessage(TEXT, "x"))
    assert kind_of(connection) is WSDisconnectKind.CONNECTION_LOST


@both_roles
def test_the_cap_of_the_queue(role: str) -> None:
    connection = Connection(
        role, room=0, write_high_watermark=1000, max_write_queue_size=5000, coalesce_writes=False
    )
    message = WSPreparedMessage(BINARY, bytes(1000))
    for _ in range(4):
        connection.ws.send_prepared(message)
    assert connection.listener.count("paused") == 1
    assert connection.cause is None
    for _ in range(2):
        if connection.cause is None:
            connection.ws.send_prepared(message)
    assert kind_of(connection) is WSDisconnectKind.SLOW_CONSUMER


def test_nothing_is_kept_of_a_message() -> None:
    message = WSPreparedMessage(BINARY, bytes(1000))
    before = sys.getrefcount(message)
    for role in ("client", "server"):
        Connection(role).ws.send_prepared(message)
    assert sys.getrefcount(message) == before


# With permessage-deflate

LONG = [b"%d, which compresses well: " % n * 40 for n in range(4)]


@both_roles
@pytest.mark.parametrize("alone", [False, True])
def test_compressed_among_other_messages(role: str, alone: bool) -> None:
    """Plain zlib follows, with and without context takeover."""
    answer = "permessage-deflate"
    if alone:
        answer += "; server_no_context_takeover; client_no_context_takeover"
    connection = DeflateConnection(role, answer=answer)
    peer = Peer(alone=alone)
    message = WSPreparedMessage(BINARY, LONG[0])
    expected = []
    for payload in LONG:
        connection.ws.send(TEXT, payload)
        connection.ws.send_prepared(message)
        expected += [(TEXT, payload), (BINARY, LONG[0])]
    with connection.ws.cork():
        connection.ws.send_prepared(message)
        connection.ws.send(TEXT, LONG[1])
    expected += [(BINARY, LONG[0]), (TEXT, LONG[1])]
    sent = connection.sent()
    assert {frame.rsv for frame in sent} == {4}
    assert [(frame.opcode, peer.inflate(frame.payload)) for frame in sent] == expected


@pytest.mark.parametrize("size", [100, 1000, 100_000, 10_000_000])
def test_a_server_writes_one_compressed_object(size: int) -> None:
    message = WSPreparedMessage(TEXT, "a" * size)
    written: List[Any] = []

    class Keeping(MemoryTransport):
        def write(self, data: Any) -> None:
            written.append(data)
            super().write(data)

    connections = [DeflateConnection("server", transport_class=Keeping) for _ in range(3)]
    del written[:]
    for connection in connections:
        connection.ws.send_prepared(message)
        (frame,) = connection.sent()
        assert (frame.opcode, frame.rsv, inflated(frame.payload)) == (TEXT, 4, b"a" * size)
    assert len(written) == 3
    assert len({id(data) for data in written}) == 1


def test_each_window_has_its_own() -> None:
    """What a smaller window cannot hold is not referred to."""
    message = WSPreparedMessage(
        BINARY, random.Random(1).getrandbits(16_000).to_bytes(2000, "big") * 2
    )
    sizes = {}
    for bits in (9, 12, 15, 9, 12, 15):
        connection = DeflateConnection(
            "server",
            answer=f"permessage-deflate; server_max_window_bits={bits}",
            compression=WSPermessageDeflate(min_size=0, server_max_window_bits=15),
        )
        connection.ws.send_prepared(message)
        (frame,) = connection.sent()
        payload = frame.payload
        assert (Peer(window_bits=bits).inflate(payload) if frame.rsv else payload) == (
            message.payload
        )
        assert sizes.setdefault(bits, len(payload)) == len(payload)
    assert sizes[9] == 4000
    assert sizes[12] == sizes[15] < 2500


@pytest.mark.parametrize(
    ("role", "payload", "given"),
    [
        ("server", b"", {}),
        ("server", bytes(range(100)), {}),
        ("server", b"a" * 99, {"min_size": 100}),
        ("server", b"a" * 1000, {"server_max_window_bits": 8}),
        ("client", b"a" * 1000, {"client_compresses": False}),
    ],
    ids=["empty", "not smaller", "min_size", "no window", "client"],
)
def test_sent_as_it_is(role: str, payload: bytes, given: Any) -> None:
    """The messages around it refer to each other as ever."""
    answer = "permessage-deflate"
    if "server_max_window_bits" in given:
        answer += "; server_max_window_bits=8"
    options = {"min_size": 0, "client_compresses": True, **given}
    connection = DeflateConnection(role, answer=answer, compression=WSPermessageDeflate(**options))
    message = WSPreparedMessage(BINARY, payload)
    connection.ws.send(TEXT, LONG[0])
    connection.ws.send_prepared(message)
    connection.ws.send(TEXT, LONG[0])
    first, prepared, last = connection.sent()
    assert (prepared.rsv, prepared.payload) == (0, payload)
    if first.rsv:
        assert len(last.payload) < len(first.payload)


@both_roles
def test_not_within_a_fragmented_message_that_is_compressed(role: str) -> None:
    connection = DeflateConnection(role)
    message = WSPreparedMessage(TEXT, LONG[0].decode())
    connection.ws.send(TEXT, LONG[1], fin=False)
    with pytest.raises(WSInvalidFrameError):
        connection.ws.send_prepared(message)
    connection.ws.send(CONTINUATION, LONG[2])
    connection.ws.send_prepared(message)
    first, last, prepared = connection.sent()
    peer = Peer()
    assert peer.inflate(first.payload + last.payload) == LONG[1] + LONG[2]
    assert peer.inflate(prepared.payload) == LONG[0]


def test_no_compression_once_it_has_ended() -> None:
    connection = DeflateConnection("server")
    connection.ws.disconnect()
    with pytest.raises(WSStateError):
        connection.ws.send_prepared(WSPreparedMessage(TEXT, LONG[0]))
    connection.lose()
    with pytest.raises(WSStateError):
        connection.ws.send_prepared(WSPreparedMessage(TEXT, LONG[0]))
