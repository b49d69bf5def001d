"""Which frames may be sent, by which call, and on which thread."""

from __future__ import annotations

import array
import threading
from typing import Any, Callable, List

import pytest

from picows_codec import (
    WSFrame,
    WSInvalidFrameError,
    WSMessage,
    WSMsgType,
    WSPreparedMessage,
    WSState,
    WSStateError,
    WSThreadError,
    broadcast,
)
from tests.support import frames
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, pattern


def send_and_see(role: str, message: Any, opcode: int = TEXT) -> bytes:
    connection = Connection(role)
    connection.ws.send(opcode, message)
    (frame,) = connection.sent()
    assert frame.opcode == opcode
    return frame.payload


@both_roles
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG])
@pytest.mark.parametrize("rsv", range(8))
def test_first_byte(role: str, opcode: int, rsv: int) -> None:
    connection = Connection(role)
    bits = {"rsv1": bool(rsv & 4), "rsv2": bool(rsv & 2), "rsv3": bool(rsv & 1)}
    connection.ws.send(opcode, b"x", **bits)
    assert connection.sent() == [Frame(opcode, b"x", True, rsv)]
    connection.ws.send_reuse_external_bytearray(opcode, bytearray(14) + b"y", 14, **bits)
    assert connection.sent() == [Frame(opcode, b"y", True, rsv)]


@both_roles
@pytest.mark.parametrize(
    ("message", "payload"),
    [
        (b"abc", b"abc"),
        (b"", b""),
        (None, b""),
        (bytearray(b"abc"), b"abc"),
        (memoryview(b"abcdef")[2:4], b"cd"),
        (array.array("H", [1, 2]), array.array("H", [1, 2]).tobytes()),
        (type("Bytes", (bytes,), {})(b"abc"), b"abc"),
        ("ascii", b"ascii"),
        ("z\u00df\u6c34\U0001f30a", "z\u00df\u6c34\U0001f30a".encode()),
        ("", b""),
        (type("Text", (str,), {})("abc"), b"abc"),
    ],
)
def test_messages(role: str, message: Any, payload: bytes) -> None:
    assert send_and_see(role, message) == payload
    assert send_and_see(role, message, PING) == payload


@both_roles
@pytest.mark.parametrize("size", [5, 3000, 200_000])
def test_echo_of_frames_and_messages(role: str, size: int) -> None:
    listener = Recorder()
    listener.act("on_ws_frame", lambda transport, frame: transport.send(frame.opcode, frame))
    connection = Connection(role, listener)
    connection.receive(BINARY, pattern(size))
    assert connection.sent() == [Frame(BINARY, pattern(size))]


@both_roles
def test_echo_of_a_kept_frame(role: str) -> None:
    kept: List[WSFrame] = []
    connection = Connection(role, Recorder().act("on_ws_frame", lambda _, f: kept.append(f)))
    connection.receive(TEXT, b"abc")
    connection.receive(TEXT, b"xyz")
    connection.ws.send(TEXT, kept[0])
    connection.ws.send(BINARY, memoryview(kept[1]))
    assert [frame.payload for frame in connection.sent()] == [b"abc", b"xyz"]
    connection.ws.send(TEXT, WSMessage.__new__(WSMessage))
    assert connection.sent() == [Frame(TEXT)]


@both_roles
def test_control_frames(role: str) -> None:
    connection = Connection(role)
    ws = connection.ws
    for send, opcode in (
        (ws.send_ping, PING),
        (ws.ping, PING),
        (ws.send_pong, PONG),
        (ws.pong, PONG),
    ):
        send()
        send(b"x" * 125)
        send("text")
        assert connection.sent() == [
            Frame(opcode),
            Frame(opcode, b"x" * 125),
            Frame(opcode, b"text"),
        ]


@both_roles
def test_opcodes_of_several_types(role: str) -> None:
    connection = Connection(role)
    for opcode in (WSMsgType.TEXT, 1, True):
        connection.ws.send(opcode, b"x")
    assert connection.sent() == [Frame(TEXT, b"x")] * 3


# Buffers of the caller


@both_roles
def test_the_callers_buffer_may_change_afterwards(role: str) -> None:
    connection = Connection(role, room=0)
    buffer = bytearray(b"first")
    connection.ws.send(BINARY, buffer)
    buffer[:] = b"wrong"
    with connection.ws.cork():
        connection.ws.send(BINARY, buffer)
        buffer[:] = b"worse"
    big = bytearray(b"b" * 200_000)
    connection.ws.send(BINARY, big)
    big[:] = bytes(200_000)
    assert [frame.payload for frame in connection.sent()] == [b"first", b"wrong", b"b" * 200_000]


@both_roles
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
@pytest.mark.parametrize("offset", [14, 100])
@pytest.mark.parametrize("corked", [True, False])
def test_send_reuse_external_bytearray(role: str, size: int, offset: int, corked: bool) -> None:
    connection = Connection(role)
    buffer = bytearray(b"\xee" * offset + pattern(size))
    if corked:
        with connection.ws.cork():
            connection.ws.send_reuse_external_bytearray(BINARY, buffer, offset)
    else:
        connection.ws.send_reuse_external_bytearray(BINARY, buffer, offset)
    assert connection.sent() == [Frame(BINARY, pattern(size))]
    # Nothing but the room for the header and the payload is touched.
    assert buffer[: offset - 14] == b"\xee" * (offset - 14)
    assert len(buffer) == offset + size


@both_roles
@pytest.mark.parametrize("offset", [-1, 0, 13, 31, 1000, 2**62])
def test_offset_outside_the_buffer(role: str, offset: int) -> None:
    connection = Connection(role)
    buffer = bytearray(30)
    with pytest.raises(IndexError, match=f"not {offset}"):
        connection.ws.send_reuse_external_bytearray(BINARY, buffer, offset)
    assert connection.sent() == []
    assert buffer == bytearray(30)


@both_roles
@pytest.mark.parametrize("buffer", [None, b"x" * 20, memoryview(bytearray(20)), "text", object()])
def test_reused_buffer_of_a_wrong_type(role: str, buffer: Any) -> None:
    connection = Connection(role)
    with pytest.raises(TypeError):
        connection.ws.send_reuse_external_bytearray(BINARY, buffer, 14)
    assert connection.sent() == []


# What may not be sent


def refused(
    connection: Connection, error: Any, match: str, *arguments: Any, **options: Any
) -> None:
    """The frame is refused by every method that could send it, and nothing was written."""
    state = connection.ws.state
    with pytest.raises(error, match=match):
        connection.ws.send(*arguments, **options)
    opcode, message = arguments
    if isinstance(message, bytes):
        buffer = bytearray(14) + message
        with pytest.raises(error, match=match):
            connection.ws.send_reuse_external_bytearray(opcode, buffer, 14, **options)
        assert buffer == bytearray(14) + message
    assert connection.sent() == []
    assert connection.ws.state is state


@both_roles
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("fin", [True, False])
def test_reserved_opcodes(role: str, opcode: int, fin: bool) -> None:
    connection = Connection(role)
    refused(connection, WSInvalidFrameError, f"opcode {opcode} is reserved", opcode, b"", fin=fin)


@both_roles
@pytest.mark.parametrize("opcode", [-1, 16, 128, 2**31, 2**64, -(2**64)])
def test_opcodes_out_of_range(role: str, opcode: int) -> None:
    refused(Connection(role), WSInvalidFrameError, f"not {opcode}", opcode, b"")


@both_roles
@pytest.mark.parametrize("opcode", [None, "TEXT", 1.0, b"\x01", object(), WSMsgType])
def test_opcodes_of_a_wrong_type(role: str, opcode: Any) -> None:
    refused(Connection(role), TypeError, "opcode must be a WSMsgType", opcode, b"")


@both_roles
@pytest.mark.parametrize("message", [5, 1.0, [1, 2], {}, object(), WSMsgType.TEXT, range(3)])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING])
def test_messages_of_a_wrong_type(role: str, message: Any, opcode: int) -> None:
    refused(Connection(role), TypeError, "message must be bytes", opcode, message)


@both_roles
def test_text_as_binary(role: str) -> None:
    refused(Connection(role), TypeError, "encode it to bytes", BINARY, "text")


@both_roles
def test_text_that_cannot_be_encoded(role: str) -> None:
    refused(Connection(role), UnicodeEncodeError, "surrogates", TEXT, "\ud800")


@both_roles
def test_buffer_with_gaps(role: str) -> None:
    refused(Connection(role), BufferError, "contiguous", BINARY, memoryview(b"abcd")[::2])


@both_roles
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_control_frames_that_are_too_long(role: str, opcode: int) -> None:
    payload = frames.close_payload(1000, b"x" * 124)
    refused(Connection(role), WSInvalidFrameError, "at most 125", opcode, payload)
    refused(Connection(role), WSInvalidFrameError, "at most 125", opcode, b"x" * 100_000)


@both_roles
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_fragmented_control_frames(role: str, opcode: int) -> None:
    refused(Connection(role), WSInvalidFrameError, "cannot be fragmented", opcode, b"", fin=False)


@both_roles
@pytest.mark.parametrize("fin", [True, False])
def test_continuation_of_nothing(role: str, fin: bool) -> None:
    connection = Connection(role)
    match = "no fragmented message to continue"
    refused(connection, WSInvalidFrameError, match, CONTINUATION, b"x", fin=fin)
    connection.ws.send(TEXT, b"a", fin=False)
    connection.ws.send(CONTINUATION, b"b")
    connection.sent()
    refused(connection, WSInvalidFrameError, match, CONTINUATION, b"x", fin=fin)


@both_roles
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("in_place", [True, False])
def test_message_inside_a_message(role: str, opcode: int, in_place: bool) -> None:
    connection = Connection(role)
    if in_place:
        connection.ws.send_reuse_external_bytearray(TEXT, bytearray(15), 14, fin=False)
    else:
        connection.ws.send(TEXT, b"\x00", fin=False)
    connection.sent()
    refused(connection, WSInvalidFrameError, "fragmented message is under way", opcode, b"x")
    connection.ws.send_ping()
    connection.ws.send(CONTINUATION, b"b", fin=False)
    connection.ws.send(CONTINUATION, b"c")
    connection.ws.send(opcode, b"next")
    assert [frame.opcode for frame in connection.sent()] == [PING, 0, 0, opcode]


@both_roles
def test_frames_after_a_close(role: str) -> None:
    connection = Connection(role)
    connection.ws.send_close()
    connection.sent()
    for opcode in (TEXT, BINARY, CONTINUATION, PING, PONG):
        refused(connection, WSStateError, "a CLOSE frame has been sent", opcode, b"x")


@both_roles
def test_close_inside_a_message(role: str) -> None:
    connection = Connection(role)
    connection.ws.send(TEXT, b"a", fin=False)
    connection.ws.send_close()
    assert [frame.opcode for frame in connection.sent()] == [TEXT, CLOSE]


@both_roles
@pytest.mark.parametrize(
    "call",
    [
        lambda ws: ws.send(),
        lambda ws: ws.send(TEXT),
        lambda ws: ws.send(TEXT, b"", True, False, False, False, False),
        lambda ws: ws.send(TEXT, b"", final=True),
        lambda ws: ws.send_reuse_external_bytearray(TEXT, bytearray(20)),
        lambda ws: ws.send_reuse_external_bytearray(TEXT, bytearray(20), None),
        lambda ws: ws.send_reuse_external_bytearray(TEXT, bytearray(20), "14"),
        lambda ws: ws.send_ping(b"", b""),
        lambda ws: ws.send_close("1000"),
        lambda ws: ws.send_close(1000, 5),
        lambda ws: ws.send_close(object()),
        lambda ws: ws.disconnect(True, "1000"),
        lambda ws: ws.disconnect(True, 1000, 5),
        lambda ws: ws.cork(1),
        lambda ws: ws.notify_user_specific_pong_received(1),
    ],
)
def test_wrong_arguments(role: str, call: Callable[[Any], Any]) -> None:
    connection = Connection(role)
    with pytest.raises(TypeError):
        call(connection.ws)
    assert connection.sent() == []
    assert connection.ws.state is WSState.OPEN


# Threads


@both_roles
def test_another_thread(role: str) -> None:
    connection = Connection(role)
    ws = connection.ws
    corked, held = ws.cork(), ws.cork()
    prepared = WSPreparedMessage(TEXT, b"x")
    held.__enter__()
    ws.send(TEXT, b"held")
    calls: List[Callable[[], Any]] = [
        lambda: ws.send(TEXT, b"x"),
        lambda: ws.send_reuse_external_bytearray(TEXT, bytearray(20), 14),
        lambda: ws.send_many(TEXT, [b"x"]),
        lambda: ws.send_many(TEXT, []),
        lambda: ws.send_prepared(prepared),
        lambda: broadcast([ws], prepared),
        ws.send_ping,
        ws.send_pong,
        ws.ping,
        ws.pong,
        ws.send_close,
        ws.disconnect,
        lambda: ws.disconnect(graceful=False),
        ws.wait_disconnected,
        ws.wait_until_closed,
        ws.cork,
        corked.__enter__,
        lambda: held.__exit__(None, None, None),
        ws.notify_user_specific_pong_received,
        ws.measure_roundtrip_time,
        lambda: ws.write_queue_size,
        lambda: ws.underlying_transport,
    ]
    caught: List[BaseException] = []

    def work() -> None:
        for call in calls:
            try:
                call()
            except WSThreadError as error:
                caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == len(calls)
    assert "loop.call_soon_threadsafe()" in str(caught[0])
    assert "for a coroutine asyncio.run_coroutine_threadsafe()" in str(caught[0])
    assert connection.sent() == []
    held.__exit__(None, None, None)
    assert connection.sent() == [Frame(TEXT, b"held")]
    assert connection.ws.state is WSState.OPEN
    ws.send(TEXT, b"x")
    assert connection.sent() == [Frame(TEXT, b"x")]


@both_roles
@pytest.mark.parametrize("end", ["none", "closing", "closed"])
def test_another_thread_is_refused_before_the_state_is_looked_at(role: str, end: str) -> None:
    connection = Connection(role)
    if end != "none":
        connection.ws.send_close()
    if end == "closed":
        connection.lose()
    caught: List[Any] = []

    def work() -> None:
        ws = connection.ws
        # A CONTINUATION is the wrong frame here.
        for call in (
            lambda: ws.send(TEXT, b"x"),
            lambda: ws.send(CONTINUATION, b"x"),
            lambda: ws.send_reuse_external_bytearray(TEXT, bytearray(20), 14),
            lambda: ws.send_reuse_external_bytearray(CONTINUATION, bytearray(20), 14),
            lambda: ws.send_many(TEXT, [b"x"]),
            lambda: ws.send_prepared(WSPreparedMessage(TEXT, b"x")),
            lambda: broadcast([ws], b"x"),
            lambda: ws.send_close(1001, "y"),
            ws.disconnect,
        ):
            with pytest.raises(WSThreadError):
                call()
        caught.extend([ws.state, ws.is_disconnected, ws.is_close_frame_sent, ws.is_client_side])
        caught.extend([ws.is_secure, ws.request, ws.response, ws.subprotocol])
        caught.extend([ws.disconnect_cause, ws.close_handshake, repr(ws)])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    ws = connection.ws
    assert caught == [
        *(ws.state, ws.is_disconnected, ws.is_close_frame_sent, ws.is_client_side),
        *(ws.is_secure, ws.request, ws.response, ws.subprotocol),
        *(ws.disconnect_cause, ws.close_handshake, repr(ws)),
    ]
