"""picows_codec.coroutines.inbox: the queue, its marks, and what pauses reading."""

from __future__ import annotations

import sys
import zlib
from typing import Any, List

import pytest

from picows_codec import WSConnectionClosed, WSInvalidOptionError, WSPermessageDeflate, WSState
from picows_codec.coroutines.inbox import Inbox, QueueMarks
from tests.support.connection import Connection, both_roles
from tests.support.coroutines import CoroutineConnection
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    KEY,
    PING,
    PONG,
    TEXT,
    build,
    close_payload,
)


@both_roles
def test_order_and_types(role: str) -> None:
    link = CoroutineConnection(role)
    link.receive(TEXT, "häß".encode())
    link.receive(BINARY, b"\x00\xff")
    link.receive(TEXT, b"")
    link.receive(TEXT, b"frag", fin=False)
    link.receive(PING, b"between")
    link.receive(CONTINUATION, b"ment")
    assert [link.do(link.awaited.recv()) for _ in range(4)] == ["häß", b"\x00\xff", "", "fragment"]


def test_control_frames_are_no_messages() -> None:
    link = CoroutineConnection(enable_auto_pong=False)
    link.receive(PING, b"one")
    link.receive(PONG, b"two")
    task = link.start_task(link.awaited.recv())
    assert not task.done()
    link.cancel(task)


def test_growing_and_wrapping_around() -> None:
    link = CoroutineConnection()
    taken: List[Any] = []
    sent = 0
    for burst in (3, 5, 1, 40, 2, 100, 7):
        link.texts(*(str(sent + index) for index in range(burst)))
        sent += burst
        taken += [link.do(link.awaited.recv()) for _ in range(burst - 1)]
    rest = link.do(link.awaited.recv_many())
    assert [int(text) for text in taken + rest] == list(range(sent))


def test_paused_above_the_high_mark_resumed_at_the_low_one() -> None:
    link = CoroutineConnection(marks=QueueMarks((4, 2)))
    for index in range(4):
        link.texts(str(index))
    assert link.transport.is_reading()
    link.texts("4", "5", "6")
    assert not link.transport.is_reading()
    for index in range(7):
        assert link.do(link.awaited.recv()) == str(index)
        assert link.transport.is_reading() is (index >= 4)


def test_bytes_count_too() -> None:
    link = CoroutineConnection(marks=QueueMarks(None, 100))
    link.receive(BINARY, bytes(60))
    assert link.transport.is_reading()
    link.receive(TEXT, "\u20ac".encode() * 21)  # 42 bytes as they are kept
    assert not link.transport.is_reading()
    assert len(link.do(link.awaited.recv())) == 60
    assert not link.transport.is_reading()
    assert link.do(link.awaited.recv()) == "\u20ac" * 21
    assert link.transport.is_reading()


def test_many_taken_at_once_resume() -> None:
    link = CoroutineConnection(marks=QueueMarks(2))
    link.texts("a", "b", "c")
    assert not link.transport.is_reading()
    assert link.do(link.awaited.recv_many(1)) == ["a"]
    assert not link.transport.is_reading()
    assert link.do(link.awaited.recv_many()) == ["b", "c"]
    assert link.transport.is_reading()


def test_pausing_a_connection_that_closes() -> None:
    link = CoroutineConnection(marks=QueueMarks(1))
    link.ws.send_close()
    link.transport.close()
    link.texts("a", "b")
    assert link.do(link.iterate()) == []


def test_the_peers_close_is_read_when_there_is_room() -> None:
    link = CoroutineConnection(marks=QueueMarks((1, 0)))
    link.texts("a", "b")
    assert not link.transport.is_reading()
    link.receive_close()
    assert link.awaited.state is WSState.OPEN
    assert link.do(link.awaited.recv_many()) == ["a", "b"]
    link.receive_close()
    assert link.do(link.iterate()) == []
    assert link.sent()[-1].opcode == CLOSE


def test_closing_reads_again() -> None:
    link = CoroutineConnection(marks=QueueMarks((1, 0)))
    link.texts("a", "b")
    task = link.start_task(link.awaited.close())
    assert link.transport.is_reading()
    link.receive_close()
    assert task.done()
    assert link.do(link.iterate()) == ["a", "b"]


def test_keepalive_does_not_blame_the_peer_for_a_full_queue() -> None:
    link = CoroutineConnection(
        marks=QueueMarks((1, 0)),
        enable_auto_ping=True,
        auto_ping_idle_timeout=1,
        auto_ping_reply_timeout=1,
    )
    link.texts("a", "b")
    link.loop.advance(100)
    assert link.awaited.state is WSState.OPEN
    assert link.do(link.awaited.recv_many()) == ["a", "b"]
    link.loop.advance(100)
    assert link.awaited.state is not WSState.OPEN


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (0, WSInvalidOptionError),
        (-1, WSInvalidOptionError),
        ((4, 5), WSInvalidOptionError),
        ((4, -1), WSInvalidOptionError),
        (sys.maxsize + 1, WSInvalidOptionError),
        (True, TypeError),
        ("4", TypeError),
        ((1, 2, 3), TypeError),
        ((1, "0"), TypeError),
        (1.5, TypeError),
    ],
)
@pytest.mark.parametrize("name", ["max_queue", "max_queue_bytes"])
def test_wrong_marks(name: str, value: Any, error: Any) -> None:
    with pytest.raises(error, match=name):
        QueueMarks(**{name: value})


@pytest.mark.parametrize("value", [1, 16, None, (16, 4), (16, None), (None, 4), (None, None)])
def test_marks(value: Any) -> None:
    QueueMarks(value, value)


def test_wrong_listeners() -> None:
    with pytest.raises(TypeError):
        Inbox(None)  # type: ignore[arg-type]


def test_on_open_is_called_once_with_the_listener() -> None:
    opened: List[Inbox] = []
    inbox = Inbox(QueueMarks(), opened.append)
    link = Connection("server", inbox)
    assert opened == [inbox]
    link.lose()
    assert len(opened) == 1


def test_messages_that_nobody_takes_are_freed() -> None:
    link = CoroutineConnection()
    link.receive(TEXT, b"a text of its own")
    (message,) = link.do(link.awaited.recv_many())
    before = sys.getrefcount(message)
    link.receive(TEXT, b"another")
    link.lose()
    assert sys.getrefcount(message) == before
    del link


def compressed(count: int, size: int) -> bytes:
    """Frames of a server's peer that are inflated to so many bytes each."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = (squeeze.compress(b"x" * size) + squeeze.flush(zlib.Z_SYNC_FLUSH))[:-4]
    return build(BINARY, data, rsv=4, key=KEY) * count


COMPRESSED = {
    "compression": WSPermessageDeflate(client_no_context_takeover=True),
    "peer_headers": [("Sec-WebSocket-Extensions", "permessage-deflate")],
    "shared_reads": False,
    "read_buffer_init_size": 1 << 20,
}


def test_compressed_messages_that_come_together() -> None:
    """They may pass the mark, because a read is taken whole, but not by any amount."""
    link = CoroutineConnection(**COMPRESSED)
    link.transport.feed(compressed(15, 1 << 20))
    assert link.awaited.state is WSState.OPEN
    assert not link.transport.is_reading()
    assert len(link.do(link.awaited.recv_many())) == 15
    assert link.transport.is_reading()
    link.transport.feed(compressed(500, 1 << 20))
    link.loop.run_ready()
    taken = link.do(link.awaited.recv_many())
    assert 16 <= len(taken) <= 19
    with pytest.raises(WSConnectionClosed, match="max_queue_bytes") as caught:
        link.do(link.awaited.recv())
    assert caught.value.code == 1008
    assert link.sent()[-1].payload[:2] == close_payload(1008)


def test_compressed_messages_without_a_limit() -> None:
    link = CoroutineConnection(marks=QueueMarks(None, None), **COMPRESSED)
    link.transport.feed(compressed(40, 1 << 20))
    assert len(link.do(link.awaited.recv_many())) == 40


def test_many_with_a_limit_after_single_ones() -> None:
    link = CoroutineConnection()
    link.texts(*"0123456789")
    taken = [link.do(link.awaited.recv())]
    link.texts(*"abcdefghij")
    while len(taken) < 20:
        part = link.do(link.awaited.recv_many(4))
        assert 1 <= len(part) <= 4
        taken += part
        if len(taken) < 20:
            taken.append(link.do(link.awaited.recv()))
    assert "".join(taken) == "0123456789abcdefghij"
    task = link.start_task(link.awaited.recv_many())
    link.texts("x", "y")
    assert task.result() == ["x", "y"]


def test_the_list_of_many_belongs_to_the_caller() -> None:
    link = CoroutineConnection()
    link.texts("a", "b")
    first = link.do(link.awaited.recv_many())
    link.texts("c")
    assert first == ["a", "b"]
    first.clear()
    assert link.do(link.awaited.recv_many()) == ["c"]
