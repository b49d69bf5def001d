"""WSPreparedMessage and send_prepared: what may be prepared, and what is sent for it."""

from __future__ import annotations

import copy
import pickle
import sys
from typing import Any, List

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSFrame,
    WSInvalidFrameError,
    WSMsgType,
    WSPreparedMessage,
    WSStateError,
)
from tests.support.connection import Connection, Recorder, both_roles, kind_of
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT
from tests.support.memory import MemoryTransport

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
    with pytest.raises(TypeError):
        missing(BINARY)


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
