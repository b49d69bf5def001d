"""send_many: one frame for each payload, one write, and nothing if one of them cannot be sent."""

from __future__ import annotations

import array
import sys
from typing import Any, Iterator, List, Tuple

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSFrame,
    WSInvalidFrameError,
    WSPreparedMessage,
    WSState,
    WSStateError,
    WSTransport,
)
from tests.support.connection import Connection, Recorder, both_roles, kind_of
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT


def sent(connection: Connection) -> List[Tuple[int, bytes]]:
    return [(frame.opcode, frame.payload) for frame in connection.sent()]


@both_roles
@pytest.mark.parametrize("container", [list, tuple, iter, dict.fromkeys])
def test_one_frame_each_and_one_write(role: str, container: Any) -> None:
    connection = Connection(role)
    payloads = [b"", b"a", b"b" * 200, b"c" * 70_000]
    before = len(connection.transport.writes)
    connection.ws.send_many(BINARY, container(payloads[:3]))
    assert len(connection.transport.writes) == before + 1
    connection.ws.send_many(BINARY, container(payloads))
    assert sent(connection) == [(BINARY, payload) for payload in payloads[:3] + payloads]


@both_roles
def test_every_type_of_payload(role: str) -> None:
    connection = Connection(role)
    kept: List[WSFrame] = []
    connection.listener.act("on_ws_frame", lambda transport, frame: kept.append(frame))
    connection.receive(BINARY, b"frame")
    buffer = bytearray(b"bytearray")

    class Text(str):
        __slots__ = ()

    class Bytes(bytes):
        __slots__ = ()

    connection.ws.send_many(
        TEXT,
        [
            "str",
            "\u00fc",
            Text("subclass"),
            Bytes(b"another"),
            b"bytes",
            buffer,
            memoryview(b"-memoryview-")[1:-1],
            array.array("B", b"array"),
            None,
            kept[0],
        ],
    )
    buffer += b"grows"  # it is not held any more
    assert [payload for _, payload in sent(connection)] == [
        b"str",
        "\u00fc".encode(),
        b"subclass",
        b"another",
        b"bytes",
        b"bytearray",
        b"memoryview",
        b"array",
        b"",
        b"frame",
    ]


@both_roles
@pytest.mark.parametrize("size", [64, 1000, 16_000, 17_000, 40_000, 131_000, 131_072, 300_000])
def test_more_than_a_buffer(role: str, size: int) -> None:
    connection = Connection(role)
    count = max(10, 400_000 // size)
    payloads = [bytes([i % 251]) * (size - i % 64) for i in range(count)]
    connection.ws.send_many(BINARY, payloads)
    assert sent(connection) == [(BINARY, payload) for payload in payloads]


@both_roles
@pytest.mark.parametrize(
    ("payloads", "error", "text"),
    [
        ([b"fine", 1], TypeError, r"payloads\[1\] must be bytes.*not int"),
        ([b"fine", object()], TypeError, r"payloads\[1\]"),
        ([b"fine", "text"], TypeError, r"payloads\[1\] is a str"),
        ([b"fine", memoryview(b"abcd")[::2]], BufferError, r"payloads\[1\] is not contiguous"),
        ([WSPreparedMessage(BINARY, b"x")], TypeError, r"payloads\[0\] .*: use send_prepared\(\)"),
        ("text", TypeError, "iterable of payloads, not str"),
        (b"bytes", TypeError, "iterable of payloads, not bytes"),
        (bytearray(b"x"), TypeError, "iterable of payloads, not bytearray"),
        (None, TypeError, "payloads must be an iterable of payloads, not NoneType"),
        (1, TypeError, "payloads must be an iterable of payloads, not int"),
    ],
)
def test_nothing_is_sent_if_one_cannot_be(role: str, payloads: Any, error: Any, text: str) -> None:
    connection = Connection(role)
    with pytest.raises(error, match=text):
        connection.ws.send_many(BINARY, payloads)
    assert connection.sent_bytes() == b""
    connection.ws.send_many(BINARY, [b"fine"])
    assert sent(connection) == [(BINARY, b"fine")]


@both_roles
def test_text_without_an_encoding(role: str) -> None:
    connection = Connection(role)
    with pytest.raises(UnicodeEncodeError):
        connection.ws.send_many(TEXT, ["fine", "\ud800"])
    assert connection.sent_bytes() == b""


@both_roles
def test_an_iterable_that_raises(role: str) -> None:
    def payloads() -> Iterator[bytes]:
        yield b"fine"
        raise LookupError("as asked for")

    connection = Connection(role)
    with pytest.raises(LookupError):
        connection.ws.send_many(BINARY, payloads())
    assert connection.sent_bytes() == b""


@both_roles
def test_an_iterable_that_ends_the_connection(role: str) -> None:
    connection = Connection(role)

    def payloads() -> Iterator[bytes]:
        yield b"fine"
        connection.ws.disconnect()

    with pytest.raises(WSStateError):
        connection.ws.send_many(BINARY, payloads())
    assert sent(connection) == [(CLOSE, b"\x03\xe8")]


@both_roles
@pytest.mark.parametrize("opcode", [CONTINUATION, PING, CLOSE, 3, 11])
def test_messages_only(role: str, opcode: int) -> None:
    connection = Connection(role)
    with pytest.raises(WSInvalidFrameError, match="send_many sends TEXT and BINARY"):
        connection.ws.send_many(opcode, [b"x"])
    assert connection.sent_bytes() == b""


@both_roles
@pytest.mark.parametrize("payloads", [[], [b"x"]])
def test_state_is_checked_also_for_nothing(role: str, payloads: List[bytes]) -> None:
    connection = Connection(role)
    connection.ws.send(TEXT, b"begun", fin=False)
    with pytest.raises(WSInvalidFrameError, match="fragmented"):
        connection.ws.send_many(TEXT, payloads)
    connection.ws.send(CONTINUATION, b"")
    connection.ws.send_many(TEXT, payloads)
    connection.ws.send_close()
    with pytest.raises(WSStateError):
        connection.ws.send_many(TEXT, payloads)
    connection.lose()
    with pytest.raises(WSStateError):
        connection.ws.send_many(TEXT, payloads)


@both_roles
def test_inside_a_cork_and_a_callback(role: str) -> None:
    listener = Recorder()
    listener.act("on_ws_frame", lambda transport, frame: transport.send_many(TEXT, ["x", "y"]))
    connection = Connection(role, listener)
    before = len(connection.transport.writes)
    with connection.ws.cork():
        connection.ws.send(TEXT, "first")
        connection.ws.send_many(TEXT, ["a", "b"])
        connection.ws.send(TEXT, "last")
        assert len(connection.transport.writes) == before
    assert len(connection.transport.writes) == before + 1
    connection.feed(connection.build(TEXT, b"1") + connection.build(TEXT, b"2"))
    assert [payload for _, payload in sent(connection)] == [
        *(b"first", b"a", b"b", b"last"),
        *(b"x", b"y", b"x", b"y"),
    ]


@both_roles
def test_more_than_a_buffer_inside_a_cork(role: str) -> None:
    connection = Connection(role)
    payloads = [bytes([i]) * 1000 for i in range(250)]
    with connection.ws.cork():
        connection.ws.send_many(BINARY, payloads)
        connection.ws.send_many(BINARY, payloads)
    assert sent(connection) == 2 * [(BINARY, payload) for payload in payloads]


@both_roles
def test_bursts(role: str) -> None:
    """As with send, what follows in the same loop iteration may wait for its end."""
    connection = Connection(role)
    for i in range(5):
        connection.ws.send_many(TEXT, [b"%d" % i, b"x"])
    assert sent(connection) == [(TEXT, payload) for i in range(5) for payload in (b"%d" % i, b"x")]


# A slow peer


@both_roles
def test_pause_is_reported_once_all_is_queued(role: str) -> None:
    listener = Recorder()
    listener.act("pause_writing", lambda transport: transport.send(TEXT, "in pause"))
    connection = Connection(role, listener, room=0, write_high_watermark=1000)
    connection.ws.send_many(BINARY, [bytes(600)] * 3)
    assert listener.count("paused") == 1
    assert [len(payload) for _, payload in sent(connection)] == [600, 600, 600, 8]


@both_roles
def test_the_cap_of_the_queue(role: str) -> None:
    connection = Connection(
        role, room=0, write_high_watermark=1000, max_write_queue_size=10_000, coalesce_writes=False
    )
    connection.ws.send_many(BINARY, [bytes(1000)] * 5)
    assert connection.ws.state is WSState.OPEN
    connection.ws.send_many(BINARY, [bytes(1000)] * 10)
    assert kind_of(connection) is WSDisconnectKind.SLOW_CONSUMER
    assert connection.cause is not None
    assert connection.cause.unsent_bytes > 10_000
    connection.loop.run_ready()
    assert connection.listener.events[-1] == ("disconnected",)


@both_roles
def test_a_transport_that_raises(role: str) -> None:
    connection = Connection(role)
    connection.transport.fail_next()
    with pytest.raises(Exception, match="write"):
        connection.ws.send_many(BINARY, [b"a", b"b"])
    assert kind_of(connection) is WSDisconnectKind.CONNECTION_LOST
    # The thread's buffers are as they were.
    other = Connection(role)
    other.ws.send_many(BINARY, [b"a", b"b"])
    assert len(other.sent()) == 2


@both_roles
def test_nothing_is_kept(role: str) -> None:
    connection = Connection(role)
    payloads: List[Any] = [bytes(100), bytearray(100), "x" * 100]
    before = [sys.getrefcount(payload) for payload in payloads]
    connection.ws.send_many(TEXT, payloads)
    assert [sys.getrefcount(payload) for payload in payloads] == before


def test_from_a_callback_that_ends_the_connection() -> None:
    def leave(transport: WSTransport) -> None:
        transport.disconnect(graceful=False)

    listener = Recorder()
    listener.act("pause_writing", leave)
    connection = Connection("server", listener, room=0, write_high_watermark=100)
    connection.ws.send_many(BINARY, [bytes(60)] * 10)
    assert kind_of(connection) is WSDisconnectKind.LOCAL_ABORT
