from __future__ import annotations

import copy
import ctypes
import pickle
import sys
from typing import Any, Callable, List, Tuple

import pytest

from picows_codec import (
    WSCloseCode,
    WSFrame,
    WSMessage,
    WSMessageListener,
    WSMsgType,
    WSStateError,
    WSTransport,
)
from picows_codec.buffers import ReadBuffer
from tests.support import frames
from tests.support.chunking import Feeding, byte_by_byte, every_feeding, in_halves, whole
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT
from tests.support.leaks import count_instances


def look(
    role: str,
    stream: Callable[[Connection], bytes],
    feeding: Feeding,
    see: Callable[[WSFrame], Any],
) -> List[Any]:
    """Feed a stream and return what ``see`` returned for each frame, in its callback."""
    seen: List[Any] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: seen.append(see(frame)))
    connection = Connection(role, listener)
    connection.feed(*feeding(stream(connection)))
    return seen


# During the callback


@both_roles
@every_feeding
@pytest.mark.parametrize("size", [0, 1, 125, 126, 1020, 5000])
def test_payload(role: str, feeding: Feeding, size: int) -> None:
    payload = bytes(i % 128 for i in range(size))

    def see(frame: WSFrame) -> Any:
        return (
            frame.get_payload_as_bytes(),
            frame.get_payload_as_ascii_text(),
            frame.get_payload_as_utf8_text(),
            bytes(frame.get_payload_as_memoryview()),
            bytes(frame),
            frame.payload_size,
            len(frame),
        )

    (seen,) = look(role, lambda c: c.build(BINARY, payload), feeding, see)
    text = payload.decode("ascii")
    assert seen == (payload, text, text, payload, payload, size, size)


@both_roles
@pytest.mark.parametrize("size", [0, 100, 5000])
def test_types(role: str, size: int) -> None:
    def see(frame: WSFrame) -> Any:
        view = frame.get_payload_as_memoryview()
        return (
            type(frame.get_payload_as_bytes()),
            type(frame.get_payload_as_utf8_text()),
            type(frame.get_payload_as_ascii_text()),
            (type(view), view.readonly, view.format, view.itemsize, view.ndim, view.contiguous),
        )

    (seen,) = look(role, lambda c: c.build(TEXT, b"x" * size), byte_by_byte, see)
    assert seen == (bytes, str, str, (memoryview, True, "B", 1, 1, True))


@both_roles
def test_header_fields(role: str) -> None:
    def see(frame: WSFrame) -> Any:
        return (
            frame.opcode,
            frame.msg_type,
            frame.fin,
            frame.rsv1,
            frame.rsv2,
            frame.rsv3,
            frame.last_in_buffer,
            frame.tail_size,
        )

    (seen,) = look(role, lambda c: c.build(TEXT, b"x", fin=False), whole, see)
    assert seen == (1, 1, False, False, False, False, True, 0)
    assert [type(field) for field in seen] == [WSMsgType, WSMsgType, *[bool] * 5, int]


@both_roles
def test_opcodes_are_members(role: str) -> None:
    def stream(connection: Connection) -> bytes:
        build = connection.build
        return (
            build(BINARY, fin=False)
            + build(PONG)
            + build(CONTINUATION)
            + build(TEXT)
            + build(CLOSE)
        )

    seen = look(role, stream, whole, lambda frame: frame.opcode)
    assert [opcode is WSMsgType(opcode) for opcode in seen] == [True] * 5
    assert seen == [BINARY, PONG, CONTINUATION, TEXT, CLOSE]


@both_roles
def test_text_that_is_none(role: str) -> None:
    def see(frame: WSFrame) -> Any:
        with pytest.raises(UnicodeDecodeError):
            frame.get_payload_as_ascii_text()
        with pytest.raises(UnicodeDecodeError):
            frame.get_payload_as_utf8_text()
        return True

    assert look(role, lambda c: c.build(BINARY, b"\xff"), whole, see) == [True]


@both_roles
def test_text_beyond_ascii(role: str) -> None:
    text = "z\u00df\u6c34\U0001f30a"

    def see(frame: WSFrame) -> Any:
        with pytest.raises(UnicodeDecodeError):
            frame.get_payload_as_ascii_text()
        return frame.get_payload_as_utf8_text()

    assert look(role, lambda c: c.build(TEXT, text.encode()), whole, see) == [text]


@pytest.mark.parametrize("size", [7, 8, 31, 33, 63, 65, 255, 256, 257, 319, 511])
def test_text_beyond_ascii_at_every_place(size: int) -> None:
    """Whether a text is ASCII is looked up many bytes at a time."""
    texts = ["x" * place + "\xe9" + "x" * (size - 2 - place) for place in range(size - 1)]

    def see(frame: WSFrame) -> str:
        return frame.get_payload_as_utf8_text()

    assert (
        look("server", lambda c: b"".join(c.build(TEXT, t.encode()) for t in texts), whole, see)
        == texts
    )


@both_roles
@pytest.mark.parametrize(
    ("payload", "code", "reason"),
    [
        (b"", WSCloseCode.NO_STATUS_RECEIVED, ""),
        (frames.close_payload(1000), WSCloseCode.NORMAL_CLOSURE, ""),
        (frames.close_payload(1001, b"bye"), WSCloseCode.GOING_AWAY, "bye"),
        (frames.close_payload(3000, "\u00e9".encode()), 3000, "\u00e9"),
        (frames.close_payload(4999, b"r" * 123), 4999, "r" * 123),
    ],
)
def test_close_code_and_reason(role: str, payload: bytes, code: int, reason: str) -> None:
    (seen,) = look(
        role,
        lambda c: c.build(CLOSE, payload),
        byte_by_byte,
        lambda frame: (
            frame.get_close_code(),
            frame.get_close_reason(),
            frame.get_close_message(),
        ),
    )
    assert seen == (code, reason, reason or None)
    assert type(seen[0]) is type(code)


@both_roles
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PONG])
def test_close_code_of_another_frame(role: str, opcode: int) -> None:
    def see(frame: WSFrame) -> Any:
        for method in (frame.get_close_code, frame.get_close_reason, frame.get_close_message):
            with pytest.raises(WSStateError, match=WSMsgType(opcode).name):
                method()
        return True

    assert look(role, lambda c: c.build(opcode, b"xx"), whole, see) == [True]


@both_roles
@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda frame: f"{frame}", "%s".__mod__])
def test_in_a_log_line(role: str, show: Callable[[WSFrame], str]) -> None:
    (seen,) = look(role, lambda c: c.build(TEXT, b"abc"), whole, show)
    assert seen == "<WSFrame TEXT fin payload_size=3 last_in_buffer=True tail_size=0>"


# What else is in the buffer


@both_roles
def test_tail_size(role: str) -> None:
    sizes: List[int] = []

    def stream(connection: Connection) -> bytes:
        pieces = [
            connection.build(TEXT, b"one"),
            connection.build(BINARY, b"x" * 200),
            connection.build(CLOSE)[:1],
        ]
        sizes.extend([len(pieces[1]) + 1, 1])
        return b"".join(pieces)

    seen = look(role, stream, whole, lambda frame: (frame.tail_size, frame.last_in_buffer))
    assert seen == [(sizes[0], False), (sizes[1], True)]


@both_roles
def test_last_in_buffer_passes_over_pings(role: str) -> None:
    def stream(connection: Connection) -> bytes:
        build = connection.build
        return build(TEXT, b"1") + build(PING) * 3 + build(TEXT, b"2") + build(PING)

    assert look(role, stream, whole, lambda frame: frame.last_in_buffer) == [False, True]
    assert look(role, stream, byte_by_byte, lambda frame: frame.last_in_buffer) == [True, True]


@both_roles
def test_last_in_buffer_counts_pongs_nobody_asked_for(role: str) -> None:
    def stream(connection: Connection) -> bytes:
        return connection.build(TEXT, b"1") + connection.build(PONG)

    assert look(role, stream, whole, lambda frame: frame.last_in_buffer) == [False, True]


@both_roles
def test_last_in_buffer_passes_over_the_pong_that_is_waited_for(role: str) -> None:
    seen: List[bool] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: seen.append(frame.last_in_buffer))
    connection = Connection(role, listener)
    task = connection.loop.create_task(connection.ws.measure_roundtrip_time())  # type: ignore[arg-type]
    connection.loop.run_ready()
    (ping,) = connection.sent()
    connection.feed(connection.build(TEXT, b"1") + connection.build(PONG, ping.payload))
    assert seen == [True]
    assert task.done()


@both_roles
def test_last_in_buffer_with_half_a_frame_behind(role: str) -> None:
    def stream(connection: Connection) -> bytes:
        return connection.build(TEXT, b"1") + connection.build(TEXT, b"22222")[:-1]

    assert look(role, stream, whole, lambda frame: frame.last_in_buffer) == [True]


@both_roles
def test_nothing_is_behind_a_close_frame(role: str) -> None:
    def stream(connection: Connection) -> bytes:
        build = connection.build
        return build(TEXT, b"1") + build(CLOSE) + build(TEXT, b"2")

    assert look(role, stream, whole, lambda frame: frame.last_in_buffer) == [False, True]


@both_roles
def test_looking_past_a_flood_of_pings_takes_linear_time(role: str) -> None:
    # One callback per frame, each of which looks ahead: the square of this takes minutes.
    def stream(connection: Connection) -> bytes:
        return connection.build(TEXT, b"1") * 30000 + connection.build(PING) * 30000

    seen: List[bool] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: seen.append(frame.last_in_buffer))
    connection = Connection(role, listener, read_buffer_init_size=1 << 20, enable_auto_ping=True)
    connection.feed(stream(connection))
    assert len(seen) == 30000
    assert seen[-1]
    # Here each frame is followed by tens of thousands that may be the library's own.
    seen.clear()
    connection.loop.advance(12.0)
    connection.feed(connection.build(PONG) * 40000)
    assert len(seen) == 40000


# After the callback

# How a listener keeps a payload, and how a test reads it later.
KEEPING: List[Tuple[Callable[[WSFrame], Any], Callable[[Any], bytes]]] = [
    (lambda frame: frame, lambda kept: kept.get_payload_as_bytes()),
    (lambda frame: frame, bytes),
    (lambda frame: frame.get_payload_as_memoryview(), bytes),
    (lambda frame: memoryview(frame)[0:], bytes),
    (lambda frame: (frame, frame.get_payload_as_memoryview()), lambda kept: bytes(kept[0])),
    (lambda frame: (frame, memoryview(frame)), lambda kept: bytes(kept[1])),
    (lambda frame: frame.get_payload_as_bytes(), bytes),
]


@both_roles
@every_feeding
@pytest.mark.parametrize(("keep", "read"), KEEPING)
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("size", [10, 500, 3000])
def test_kept_payloads_stay(
    role: str,
    feeding: Feeding,
    keep: Callable[[WSFrame], Any],
    read: Callable[[Any], bytes],
    buffered: bool,
    size: int,
) -> None:
    kept: List[Any] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: kept.append(keep(frame)))
    connection = Connection(role, listener, transport_options={"buffered": buffered})
    payloads = [bytes([65 + i]) * (size + i) for i in range(5)]
    connection.feed(*feeding(b"".join(connection.build(BINARY, data) for data in payloads)))
    assert [read(each) for each in kept] == payloads
    # Later reads use the same memory.
    connection.feed(*feeding(connection.build(BINARY, b"z" * 4000)))
    assert [read(each) for each in kept[:5]] == payloads
    connection.lose()
    del connection
    assert [read(each) for each in kept[:5]] == payloads


@both_roles
def test_kept_frame_stays_itself(role: str) -> None:
    kept: List[WSFrame] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: kept.append(frame))
    connection = Connection(role, listener)
    connection.feed(connection.build(TEXT, b"first", fin=False) + connection.build(CONTINUATION))
    connection.receive(CLOSE, frames.close_payload(1001, b"bye"))
    first, second, close = kept
    assert (first.opcode, first.fin, first.last_in_buffer) == (TEXT, False, False)
    assert (second.opcode, second.fin, bytes(second)) == (CONTINUATION, True, b"")
    assert (close.get_close_code(), close.get_close_reason()) == (1001, "bye")
    assert repr(first) == (
        f"<WSFrame TEXT payload_size=5 last_in_buffer=False tail_size={first.tail_size}>"
    )


@both_roles
def test_a_view_taken_from_a_kept_frame(role: str) -> None:
    kept: List[WSFrame] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: kept.append(frame))
    connection = Connection(role, listener)
    connection.feed(connection.build(TEXT, b"first") + connection.build(TEXT, b"second"))
    view = memoryview(kept.pop(0))
    connection.receive(TEXT, b"x" * 100)
    assert bytes(view) == b"first"
    del kept[:]
    connection.receive(TEXT, b"y" * 100)
    assert bytes(view) == b"first"


@both_roles
@pytest.mark.parametrize("buffered", [True, False])
def test_a_frame_of_several_reads_is_handed_over_without_a_copy(role: str, buffered: bool) -> None:
    kept: List[bytes] = []
    listener = Recorder()
    listener.act("on_ws_frame", lambda _, frame: kept.append(frame.get_payload_as_bytes()))
    connection = Connection(role, listener, transport_options={"buffered": buffered})
    connection.feed(*in_halves(connection.build(BINARY, b"x" * 10000)))
    assert kept == [b"x" * 10000]
    # The recorder has asked for the payload, too, and got the same object.
    assert kept[0] is listener.frames[0][1]


@both_roles
def test_a_frame_object_is_used_again(role: str) -> None:
    identities = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: identities.append(id(frame)))
    connection = Connection(role, listener)
    for _ in range(10):
        connection.feed(connection.build(TEXT, b"1") + connection.build(TEXT, b"2"))
    assert len(set(identities)) == 1


@both_roles
def test_a_kept_frame_is_freed_by_its_owner(role: str) -> None:
    kept: List[WSFrame] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: kept.append(frame))
    connection = Connection(role, listener)
    connection.receive(TEXT, b"abc")
    before = sys.getrefcount(kept[0])
    view = memoryview(kept[0])
    meanwhile = sys.getrefcount(kept[0])
    view.release()
    after = sys.getrefcount(kept[0])
    assert before == after < meanwhile


class Interrupted(BaseException):
    pass


@both_roles
@pytest.mark.parametrize("error", [LookupError, Interrupted])
@pytest.mark.parametrize(("keep", "read"), KEEPING)
def test_kept_by_a_callback_that_raises(
    role: str, error: Any, keep: Callable[[WSFrame], Any], read: Callable[[Any], bytes]
) -> None:
    kept: List[Any] = []

    def handler(_: WSTransport, frame: WSFrame) -> None:
        kept.append(keep(frame))
        raise error

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    connection.receive(BINARY, b"abc")
    other = Connection(role)
    other.receive(BINARY, b"something else")
    assert read(kept[0]) == b"abc"


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("shared_reads", [True, False])
def test_pinned_buffers_are_freed_without_the_collector(shared_reads: bool) -> None:
    kept: List[memoryview] = []
    listener = Recorder().act("on_ws_frame", lambda _, frame: kept.append(memoryview(frame)))
    connection = Connection("server", listener, shared_reads=shared_reads)
    before = count_instances(ReadBuffer)
    for _ in range(3):
        connection.receive(BINARY, b"abc")
    # Each view took its buffer along.
    assert count_instances(ReadBuffer) >= 3
    connection.lose()
    kept.clear()
    # What is left is the buffer of the thread.
    assert count_instances(ReadBuffer) <= max(before, 1)


# The buffer protocol


@both_roles
def test_read_only(role: str) -> None:
    def see(frame: WSFrame) -> Any:
        before = sys.getrefcount(frame)
        with pytest.raises(TypeError):
            (ctypes.c_char * 3).from_buffer(frame)
        with pytest.raises(TypeError):
            memoryview(frame)[0] = 1
        assert sys.getrefcount(frame) == before
        return True

    assert look(role, lambda c: c.build(TEXT, b"abc"), whole, see) == [True]


@both_roles
def test_references_are_counted(role: str) -> None:
    def see(frame: WSFrame) -> Any:
        before = sys.getrefcount(frame), sys.getrefcount(None)
        for _ in range(1000):
            memoryview(frame).release()
            with pytest.raises(TypeError):
                (ctypes.c_char * 3).from_buffer(frame)
        after = sys.getrefcount(frame), sys.getrefcount(None)
        return after[0] - before[0], after[1] - before[1] < 500

    assert look(role, lambda c: c.build(TEXT, b"abc"), whole, see) == [(0, True)]


@both_roles
def test_used_as_bytes(role: str) -> None:
    def see(frame: WSFrame) -> Any:
        return (
            b"".join([frame, frame]),
            int.from_bytes(frame, "big"),
            b"abc".startswith(bytes(frame)),
        )

    (seen,) = look(role, lambda c: c.build(TEXT, b"ab"), whole, see)
    assert seen == (b"abab", 0x6162, True)


# Misuse


@pytest.mark.parametrize("kind", [WSFrame, WSMessage])
def test_made_by_the_library_only(kind: Any) -> None:
    with pytest.raises(TypeError, match="made by the library"):
        kind()
    empty = kind.__new__(kind)
    assert (bytes(empty), empty.payload_size, empty.get_payload_as_bytes()) == (b"", 0, b"")
    assert empty.get_payload_as_utf8_text() == empty.get_payload_as_ascii_text() == ""
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            duplicate(empty)


@both_roles
def test_fields_are_read_only(role: str) -> None:
    def see(frame: WSFrame) -> Any:
        for name in ("opcode", "fin", "rsv1", "payload_size", "last_in_buffer", "tail_size", "new"):
            with pytest.raises(AttributeError):
                setattr(frame, name, 1)
        return True

    assert look(role, lambda c: c.build(TEXT, b"abc"), whole, see) == [True]


# WSMessage


@both_roles
@every_feeding
def test_message_of_fragments(role: str, feeding: Feeding) -> None:
    kept: List[WSMessage] = []

    class Listener(WSMessageListener):
        def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
            kept.append(message)

    connection = Connection(role, Listener())
    connection.feed(
        *feeding(
            connection.build(TEXT, b"a\xc3", fin=False) + connection.build(CONTINUATION, b"\xa9")
        )
    )
    (message,) = kept
    assert type(message) is WSMessage
    assert message.opcode is message.msg_type is WSMsgType.TEXT
    assert message.get_payload_as_bytes() is message.get_payload_as_bytes()
    assert bytes(message) == bytes(memoryview(message)) == message.get_payload_as_bytes()
    assert message.get_payload_as_utf8_text() == "a\u00e9"
    assert len(message) == message.payload_size == 3
    assert repr(message) == "<WSMessage TEXT payload_size=3>"
    with pytest.raises(UnicodeDecodeError):
        message.get_payload_as_ascii_text()
