"""The outgoing half: what may be sent, how it is encoded, and when it leaves."""

from __future__ import annotations

import array
import contextlib
import threading
from typing import Any, Callable, List

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSFrame,
    WSInvalidFrameError,
    WSMessage,
    WSMsgType,
    WSState,
    WSStateError,
    WSThreadError,
    WSTransport,
)
from tests.support import frames
from tests.support.connection import Connection, Recorder, both_roles
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame
from tests.support.memory import InjectedFault

# Around every change of the encoding, of the gather write, of the pieces in which a loop's own
# transport gets a large frame (64,512 bytes, the header included), and of the write buffer (128 KiB
# of frames that leave together, 1 MiB of one frame).
SIZES = [0, 1, 125, 126, 127, 4096, 16384, 16385, 64504, 64505, 64508, 64509, 65535, 65536]
SIZES += [129010, 129011, 129014, 129015, 131058, 131059, 131071, 131072, 131073, 400_000]
SIZES += [1048562, 1048563, 1048576, 1048577, 2_500_000]


def pattern(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


# Encoding


@both_roles
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("corked", [True, False])
def test_sizes(role: str, size: int, corked: bool) -> None:
    connection = Connection(role)
    if corked:
        with connection.ws.cork():
            connection.ws.send(BINARY, pattern(size))
    else:
        connection.ws.send(BINARY, pattern(size))
    written = connection.sent_bytes()
    frame, used = frames.parse(written)
    assert frame is not None
    assert used == len(written)
    assert frame.payload == pattern(size)
    # The length is in its minimal encoding (RFC 6455, 5.2).
    assert written[: len(written) - size] == frames.header(BINARY, size, key=frame.key)


@both_roles
@pytest.mark.parametrize("corked", [True, False])
def test_large_frames_reach_a_transport_in_pieces(role: str, corked: bool) -> None:
    connection = Connection(role)
    with connection.ws.cork() if corked else contextlib.nullcontext():
        connection.ws.send(BINARY, pattern(1_000_000))
    assert connection.sent() == [Frame(BINARY, pattern(1_000_000))]
    assert max(map(len, connection.transport.writes)) <= 64512


@both_roles
@pytest.mark.parametrize("first", [0, 100, 131_000, 131_058, 131_059])
@pytest.mark.parametrize("second", [1, 131_072, 200_000, 1_048_576, 2_000_000])
def test_cork_around_large_frames(role: str, first: int, second: int) -> None:
    """Nothing overtakes anything, and no more than 128 KiB are held back."""
    connection = Connection(role)
    sizes = [first, second, 10, second, first]
    with connection.ws.cork():
        for size in sizes:
            connection.ws.send(BINARY, pattern(size))
            assert connection.ws.write_queue_size < 131_072
    assert connection.sent() == [Frame(BINARY, pattern(size)) for size in sizes]


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


def test_every_frame_of_a_client_has_a_key_of_its_own() -> None:
    connection = Connection("client")
    for _ in range(1000):
        connection.ws.send(TEXT, b"same")
    found, _ = frames.parse_all(connection.sent_bytes())
    assert len({frame.key for frame in found}) > 990


def send_and_see(role: str, message: Any, opcode: int = TEXT) -> bytes:
    connection = Connection(role)
    connection.ws.send(opcode, message)
    (frame,) = connection.sent()
    assert frame.opcode == opcode
    return frame.payload


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


# Cork


@both_roles
def test_cork(role: str) -> None:
    connection = Connection(role)
    before = len(connection.transport.writes)
    with connection.ws.cork():
        for i in range(10):
            connection.ws.send(TEXT, b"%d" % i)
            connection.ws.send_reuse_external_bytearray(BINARY, bytearray(15), 14)
        connection.ws.send_ping()
        assert len(connection.transport.writes) == before
        assert connection.ws.write_queue_size > 0
    assert len(connection.transport.writes) == before + 1
    assert connection.ws.write_queue_size == 0
    opcodes = [frame.opcode for frame in connection.sent()]
    assert opcodes == [TEXT, BINARY] * 10 + [PING]


@both_roles
def test_cork_inside_a_cork(role: str) -> None:
    connection = Connection(role)
    before = len(connection.transport.writes)
    cork = connection.ws.cork()
    with cork:
        connection.ws.send(TEXT, b"1")
        with connection.ws.cork(), cork:
            connection.ws.send(TEXT, b"2")
        connection.ws.send(TEXT, b"3")
        assert len(connection.transport.writes) == before
    assert len(connection.transport.writes) == before + 1
    assert len(connection.sent()) == 3


@both_roles
def test_empty_cork(role: str) -> None:
    connection = Connection(role)
    before = len(connection.transport.writes)
    with connection.ws.cork():
        pass
    assert len(connection.transport.writes) == before


@both_roles
def test_cork_that_is_left_by_an_exception(role: str) -> None:
    def send_and_raise() -> None:
        with connection.ws.cork():
            connection.ws.send(TEXT, b"before")
            raise LookupError

    connection = Connection(role)
    with pytest.raises(LookupError):
        send_and_raise()
    assert connection.sent() == [Frame(TEXT, b"before")]
    connection.ws.send(TEXT, b"after")
    assert connection.sent() == [Frame(TEXT, b"after")]


@both_roles
def test_cork_that_was_never_entered(role: str) -> None:
    """It cannot end somebody else's."""
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(TEXT, b"x")
        with pytest.raises(WSStateError, match="not entered"):
            connection.ws.cork().__exit__(None, None, None)
        assert connection.transport.writes[-1:] != [b"x"]
        assert connection.sent() == []
    assert connection.sent() == [Frame(TEXT, b"x")]


@both_roles
@pytest.mark.parametrize("size", [1000, 16_384, 20_000, 130_000, 131_072, 300_000])
def test_cork_with_more_than_fits(role: str, size: int) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        for i in range(20):
            connection.ws.send(BINARY, bytes([i]) * (size + i))
            connection.ws.send(TEXT, b"%d" % i)
    found = connection.sent()
    assert [frame.payload for frame in found[::2]] == [bytes([i]) * (size + i) for i in range(20)]
    assert [frame.payload for frame in found[1::2]] == [b"%d" % i for i in range(20)]


@both_roles
def test_cork_that_is_filled_to_the_last_byte(role: str) -> None:
    connection = Connection(role)
    head = 4 + (4 if role == "client" else 0)
    for missing in range(-1, 16):
        with connection.ws.cork():
            for _ in range(31):
                connection.ws.send(BINARY, b"x" * (4096 - head))
            connection.ws.send(BINARY, b"y" * (4096 * 2 - head - 4096 - missing))
            connection.ws.send(BINARY, b"z" * 300)
        found = connection.sent()
        assert len(found) == 33
        assert found[-1] == Frame(BINARY, b"z" * 300)


@both_roles
def test_cork_inside_a_callback(role: str) -> None:
    def handler(transport: WSTransport, frame: WSFrame) -> None:
        with transport.cork():
            transport.send(TEXT, b"a")
            transport.send(TEXT, b"b")

    connection = Connection(role, Recorder().act("on_ws_frame", handler))
    before = len(connection.transport.writes)
    connection.feed(connection.build(TEXT) * 3)
    assert len(connection.transport.writes) == before + 1
    assert len(connection.sent()) == 6


@both_roles
def test_cork_around_a_read(role: str) -> None:
    listener = Recorder()
    listener.act("on_ws_frame", lambda transport, frame: transport.send(TEXT, b"reply"))
    connection = Connection(role, listener)
    with connection.ws.cork():
        connection.receive(TEXT)
        connection.receive(PING)
        assert connection.sent() == []
    assert [frame.opcode for frame in connection.sent()] == [TEXT, PONG]


@both_roles
@pytest.mark.parametrize("received", [True, False])
def test_close_inside_a_cork(role: str, received: bool) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(TEXT, b"x")
        connection.ws.disconnect()
        if received:
            connection.receive_close()
    assert [frame.opcode for frame in connection.sent()] == [TEXT, CLOSE]
    if not received:
        connection.receive_close()
    if role == "client":
        connection.feed_eof()
    assert connection.transport.lost
    assert connection.listener.count("disconnected") == 1


@both_roles
def test_failure_inside_a_cork(role: str) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(TEXT, b"x")
        connection.receive(3)
    assert [frame.opcode for frame in connection.sent()] == [TEXT, CLOSE]
    assert connection.transport.eof_written


@both_roles
def test_connection_that_is_lost_inside_a_cork(role: str) -> None:
    connection = Connection(role)
    with connection.ws.cork():
        connection.ws.send(TEXT, b"x" * 50)
        connection.lose()
    assert connection.sent() == []
    assert connection.cause is not None
    assert connection.cause.unsent_bytes > 50


@both_roles
def test_pause_is_reported_inside_a_cork(role: str) -> None:
    connection = Connection(role, room=0, write_high_watermark=1000)
    with connection.ws.cork():
        connection.ws.send(BINARY, b"x" * 200_000)
        connection.ws.send(BINARY, b"x" * 200_000)
    assert connection.listener.count("paused") == 1


@both_roles
def test_other_connections_inside_a_cork(role: str) -> None:
    first, second = Connection(role), Connection(role)
    with first.ws.cork():
        first.ws.send(TEXT, b"first")
        with second.ws.cork():
            second.ws.send(TEXT, b"second")
        assert second.sent() == [Frame(TEXT, b"second")]
        second.ws.send(TEXT, b"again")
        assert second.sent() == [Frame(TEXT, b"again")]
        first.ws.send(TEXT, b"last")
    assert first.sent() == [Frame(TEXT, b"first"), Frame(TEXT, b"last")]


# Threads


@both_roles
def test_another_thread(role: str) -> None:
    connection = Connection(role)
    ws = connection.ws
    corked, held = ws.cork(), ws.cork()
    held.__enter__()
    ws.send(TEXT, b"held")
    calls: List[Callable[[], Any]] = [
        lambda: ws.send(TEXT, b"x"),
        lambda: ws.send_reuse_external_bytearray(TEXT, bytearray(20), 14),
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
    assert "call_soon_threadsafe" in str(caught[0])
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


# A transport that cannot write


@both_roles
@pytest.mark.parametrize("corked", [True, False])
@pytest.mark.parametrize(("size", "nth"), [(10, 1), (200_000, 1), (200_000, 2)])
def test_transport_that_cannot_write(role: str, corked: bool, size: int, nth: int) -> None:
    connection = Connection(role)
    connection.transport.fail_next(nth)

    def send() -> None:
        with connection.ws.cork() if corked else contextlib.nullcontext():
            connection.ws.send(BINARY, b"x" * size)

    with pytest.raises(InjectedFault):
        send()
    # There may be a gap in the stream: nothing can follow.
    assert connection.ws.state is WSState.CLOSING
    with pytest.raises(WSStateError):
        connection.ws.send(TEXT, b"x")
    connection.loop.run_ready()
    assert connection.transport.aborted
    assert connection.listener.events == [("connected",), ("disconnected",)]
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.CONNECTION_LOST
    assert "InjectedFault" in str(connection.cause.exception)


# Bursts


def written(connection: Connection) -> List[int]:
    """How many frames each write had since the last look, this turn of the loop included."""
    counts = []
    for write in connection.transport.writes[connection.seen_writes :]:
        found, rest = frames.parse_all(write)
        assert not rest
        counts.append(len(found))
    connection.seen_writes = len(connection.transport.writes)
    return counts


def bursting(role: str, listener: Any = None, **options: Any) -> Any:
    connection: Any = Connection(role, listener, **options)
    connection.seen_writes = len(connection.transport.writes)
    return connection


@both_roles
def test_a_burst_shares_a_write(role: str) -> None:
    connection = bursting(role)
    for i in range(10):
        connection.ws.send(BINARY, b"%d" % i)
    # What was sent first did not wait.
    assert written(connection) == [1, 1]
    connection.loop.run_ready()
    assert written(connection) == [8]
    assert [frame.payload for frame in connection.sent()] == [b"%d" % i for i in range(10)]
    # The next turn begins anew.
    for i in range(3):
        connection.ws.send(BINARY, b"%d" % i)
    assert written(connection) == [1, 1]
    connection.loop.run_ready()
    assert written(connection) == [1]


@both_roles
def test_a_burst_in_a_callback_of_a_read(role: str) -> None:
    listener = Recorder()

    def answer(transport: WSTransport, frame: Any) -> None:
        for i in range(5):
            transport.send(BINARY, b"%d" % i)
        assert written(connection) == [1]

    connection = bursting(role, listener.act("on_ws_frame", answer))
    for _ in range(2):
        connection.transport.feed(connection.build(TEXT, b"x"))
        assert written(connection) == [4]
        connection.loop.run_ready()
        assert written(connection) == []


@both_roles
def test_frames_of_separate_reads_do_not_wait(role: str) -> None:
    """Whatever other connections of the thread receive, too, ends a turn."""
    connection, other = bursting(role), Connection(role)
    for _ in range(10):
        connection.ws.send(BINARY, b"x")
        assert written(connection) == [1]
        other.transport.feed(other.build(TEXT, b"x"))


@both_roles
def test_a_frame_a_turn_does_not_wait(role: str) -> None:
    connection = bursting(role)
    for _ in range(10):
        connection.ws.send(BINARY, b"x")
        assert written(connection) == [1]
        connection.loop.run_ready()
        assert written(connection) == []


@both_roles
def test_without_coalesce_writes(role: str) -> None:
    connection = bursting(role, coalesce_writes=False)
    for _ in range(10):
        connection.ws.send(BINARY, b"x")
    assert written(connection) == [1] * 10


@both_roles
def test_a_burst_ends_with_a_cork(role: str) -> None:
    connection = bursting(role)
    for _ in range(5):
        connection.ws.send(BINARY, b"x")
    with connection.ws.cork():
        connection.ws.send(BINARY, b"x")
    assert written(connection) == [1, 1, 4]
    connection.loop.run_ready()
    assert written(connection) == []


@both_roles
@pytest.mark.parametrize("size", [100, 20_000])
def test_a_burst_heeds_the_watermark(role: str, size: int) -> None:
    connection = bursting(role, room=0, write_high_watermark=50_000)
    sent = 0
    while not connection.listener.count("paused"):
        connection.ws.send(BINARY, bytes(size))
        sent += size
        # As much in the queue, as much held back, and what was under way.
        assert sent <= 100_000 + 2 * size
    assert connection.ws.write_queue_size > 50_000


@both_roles
def test_a_burst_before_the_end(role: str) -> None:
    connection = bursting(role)
    for i in range(5):
        connection.ws.send(BINARY, b"%d" % i)
    connection.ws.disconnect()
    assert [frame.opcode for frame in connection.sent()] == [BINARY] * 5 + [CLOSE]
    connection = bursting(role)
    for i in range(5):
        connection.ws.send(BINARY, b"%d" % i)
    connection.feed_eof()
    assert [frame.opcode for frame in connection.sent()] == [BINARY] * 5


@both_roles
def test_a_burst_that_is_dropped_is_counted(role: str) -> None:
    connection = bursting(role)
    for _ in range(5):
        connection.ws.send(BINARY, bytes(100))
    connection.ws.disconnect(graceful=False)
    connection.loop.run_ready()
    assert connection.cause is not None
    assert connection.cause.unsent_bytes == 3 * (106 if role == "client" else 102)


# Sending in place, behind what is held back


@both_roles
@pytest.mark.parametrize("what", ["free", "close"])
def test_send_in_place_behind_what_is_held_back(role: str, what: str) -> None:
    """What is held back may make the queue pass its watermark, and the listener act on that."""
    buffer = bytearray(14 + 300_000)
    kept: List[bytes] = []

    def on_frame(transport: WSTransport, frame: Any) -> None:
        if frame.last_in_buffer:
            transport.send_reuse_external_bytearray(BINARY, buffer, 14)
        else:
            transport.send(BINARY, b"a" * 10_000)

    def on_pause(transport: WSTransport) -> None:
        if what == "close":
            transport.send_close(1000)
        else:
            buffer.clear()
            kept.extend(b"secret" * 1000 for _ in range(100))

    listener = Recorder().act("on_ws_frame", on_frame).act("pause_writing", on_pause)
    connection = Connection(role, listener, room=0)
    connection.feed(connection.build(TEXT, b"x") * 8)
    connection.drain()
    found = connection.sent()
    data = [frame for frame in found if frame.opcode == BINARY]
    assert [len(frame.payload) for frame in data] == [10_000] * 7 + [300_000]
    assert data[-1].payload == bytes(300_000)
    if what == "close":
        assert [frame.opcode for frame in found] == [BINARY] * 8 + [CLOSE]
