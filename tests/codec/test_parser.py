from __future__ import annotations

import random
from typing import Any, List, Optional, Tuple

import pytest

from picows_codec import WSCloseCode, WSFrameParser, WSMsgType, WSProtocolError
from tests.support import frames
from tests.support.chunking import Feeding, byte_by_byte, every_feeding, in_halves, whole
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

both_sides = pytest.mark.parametrize("is_server", [True, False])

EXTREMES = "\u0000\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff"


class Stream:
    """Bytes for a parser of either side."""

    def __init__(self, is_server: bool) -> None:
        self.key: Optional[bytes] = frames.KEY if is_server else None
        self.data = b""

    def add(self, opcode: int, payload: bytes = b"", **options: Any) -> Stream:
        options.setdefault("key", self.key)
        self.data += frames.build(opcode, payload, **options)
        return self


def parse(
    is_server: bool, pieces: List[bytes], **limits: int
) -> Tuple[List[Tuple[int, bool, bytes]], Optional[WSProtocolError], WSFrameParser]:
    """Feed the pieces; return frames, error and parser. After an error it is fed on."""
    parser = WSFrameParser(is_server=is_server, **limits)
    found: List[Tuple[int, bool, bytes]] = []
    error = None
    for piece in pieces:
        try:
            result = parser.feed(piece)
        except WSProtocolError as exc:
            assert error is None
            error = exc
            result = exc.frames
        else:
            assert error is None or not result
        found += result
    return found, error, parser


def check(
    feeding: Feeding,
    is_server: bool,
    stream: Stream,
    expected: List[Tuple[int, bool, bytes]],
    tail: bytes = b"",
) -> None:
    """A valid stream, alone and with the beginning of another frame behind it."""
    for data in (stream.data, stream.data + tail):
        found, error, parser = parse(is_server, feeding(data))
        assert error is None
        assert found == expected
        assert not parser.finished


def check_violation(
    feeding: Feeding,
    is_server: bool,
    stream: Stream,
    code: int,
    match: str,
    before: Tuple[Tuple[int, bool, bytes], ...] = (),
    **limits: int,
) -> None:
    """A stream that breaks a rule, alone and with a good frame behind it."""
    good = Stream(is_server).add(BINARY, b"never seen").data
    for data in (stream.data, stream.data + good):
        found, error, parser = parse(is_server, feeding(data), **limits)
        assert error is not None
        assert error.code == code
        assert match in str(error)
        assert found == list(before)
        assert parser.finished
        assert parser.feed(good) == []


# Valid streams


@every_feeding
@both_sides
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 300])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_one_frame(feeding: Feeding, is_server: bool, size: int, opcode: int) -> None:
    payload = bytes(32 + i % 90 for i in range(size))
    stream = Stream(is_server).add(opcode, payload)
    check(feeding, is_server, stream, [(opcode, True, payload)], tail=b"\x82")


@both_sides
@pytest.mark.parametrize("size", [65535, 65536, 70000])
@pytest.mark.parametrize("feeding", [whole, in_halves])
def test_large_frames(feeding: Feeding, is_server: bool, size: int) -> None:
    payload = random.Random(size).getrandbits(8 * size).to_bytes(size, "big")
    stream = Stream(is_server).add(BINARY, payload).add(BINARY, b"next")
    check(feeding, is_server, stream, [(BINARY, True, payload), (BINARY, True, b"next")])


@every_feeding
@both_sides
def test_control_frames(feeding: Feeding, is_server: bool) -> None:
    stream = Stream(is_server)
    expected = []
    for opcode in (PING, PONG):
        for size in (0, 1, 125):
            stream.add(opcode, b"\xff" * size)
            expected.append((opcode, True, b"\xff" * size))
    check(feeding, is_server, stream, expected, tail=b"\x89")


@every_feeding
@both_sides
def test_fragments_with_control_frames_between(feeding: Feeding, is_server: bool) -> None:
    stream = (
        Stream(is_server)
        .add(TEXT, b"one", fin=False)
        .add(PING, b"\xff")
        .add(CONTINUATION, b"", fin=False)
        .add(PONG)
        .add(CONTINUATION, b"two")
        .add(BINARY, b"\xff", fin=False)
        .add(CONTINUATION)
    )
    check(
        feeding,
        is_server,
        stream,
        [
            (TEXT, False, b"one"),
            (PING, True, b"\xff"),
            (CONTINUATION, False, b""),
            (PONG, True, b""),
            (CONTINUATION, True, b"two"),
            (BINARY, False, b"\xff"),
            (CONTINUATION, True, b""),
        ],
        tail=Stream(is_server).add(TEXT, b"x").data[:-1],
    )


@every_feeding
@both_sides
def test_empty_messages_of_empty_fragments(feeding: Feeding, is_server: bool) -> None:
    stream = Stream(is_server).add(TEXT, fin=False).add(CONTINUATION, fin=False).add(CONTINUATION)
    check(
        feeding,
        is_server,
        stream,
        [(TEXT, False, b""), (CONTINUATION, False, b""), (CONTINUATION, True, b"")],
    )


@both_sides
def test_text_split_at_every_byte(is_server: bool) -> None:
    text = EXTREMES.encode()
    for end in range(len(text) + 1):
        stream = Stream(is_server).add(TEXT, text[:end], fin=False).add(PING)
        stream.add(CONTINUATION, text[end:])
        for feeding in (whole, byte_by_byte):
            found, error, _ = parse(is_server, feeding(stream.data))
            assert error is None
            assert b"".join(frame[2] for frame in found) == text


def test_opcodes_are_members() -> None:
    (frame,) = WSFrameParser(is_server=False).feed(b"\x81\x01a")
    assert frame[0] is WSMsgType.TEXT


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer(kind: Any) -> None:
    assert WSFrameParser(is_server=False).feed(kind(b"\x82\x01a")) == [(BINARY, True, b"a")]


def test_the_callers_bytes_are_left_alone() -> None:
    data = bytearray(Stream(True).add(BINARY, b"abc").data)
    before = bytes(data)
    WSFrameParser(is_server=True).feed(data)
    assert data == before


# The closing handshake


@every_feeding
@both_sides
@pytest.mark.parametrize(
    "payload", [b"", frames.close_payload(1000), frames.close_payload(4999, b"\xc3\xa9" * 61)]
)
def test_close_ends_the_stream(feeding: Feeding, is_server: bool, payload: bytes) -> None:
    stream = Stream(is_server).add(BINARY, b"first").add(CLOSE, payload)
    for tail in (b"", b"\xff\xff\xff", Stream(is_server).add(BINARY, b"late").data):
        found, error, parser = parse(is_server, feeding(stream.data + tail))
        assert error is None
        assert found == [(BINARY, True, b"first"), (CLOSE, True, payload)]
        assert parser.finished
        assert parser.feed(b"\x00\x00") == []


@every_feeding
@both_sides
def test_close_inside_a_message(feeding: Feeding, is_server: bool) -> None:
    stream = Stream(is_server).add(TEXT, b"\xc3", fin=False).add(CLOSE)
    found, error, _ = parse(is_server, feeding(stream.data))
    assert error is None
    assert found == [(TEXT, False, b"\xc3"), (CLOSE, True, b"")]


# Violations

FIRST = (BINARY, True, b"first")


def after_first(is_server: bool) -> Stream:
    return Stream(is_server).add(BINARY, b"first")


@every_feeding
@both_sides
@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("fin", [True, False])
def test_reserved_opcode(feeding: Feeding, is_server: bool, opcode: int, fin: bool) -> None:
    stream = after_first(is_server).add(opcode, b"x", fin=fin)
    check_violation(feeding, is_server, stream, 1002, "reserved opcode", (FIRST,))


@every_feeding
@both_sides
@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, PING, CLOSE])
def test_reserved_bits(feeding: Feeding, is_server: bool, rsv: int, opcode: int) -> None:
    stream = after_first(is_server).add(opcode, b"", rsv=rsv)
    check_violation(feeding, is_server, stream, 1002, "reserved bit", (FIRST,))


@every_feeding
@both_sides
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_control_fragmented(feeding: Feeding, is_server: bool, opcode: int) -> None:
    stream = after_first(is_server).add(opcode, b"", fin=False)
    check_violation(feeding, is_server, stream, 1002, "fragmented control frame", (FIRST,))


@every_feeding
@both_sides
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize(("size", "width"), [(126, 16), (200, 16), (65536, 64), (5, 16), (5, 64)])
def test_control_too_long(
    feeding: Feeding, is_server: bool, opcode: int, size: int, width: int
) -> None:
    stream = after_first(is_server)
    stream.data += frames.header(opcode, size, key=stream.key, width=width)
    check_violation(feeding, is_server, stream, 1002, "more than 125 bytes", (FIRST,))


@both_sides
def test_a_bad_header_is_found_at_its_second_byte(is_server: bool) -> None:
    for first, second in [(0x83, 0), (0xC1, 0), (0x09, 0), (0x89, 126), (0x80, 0)]:
        masked = 0x80 if is_server else 0
        parser = WSFrameParser(is_server=is_server)
        assert parser.feed(bytes([first])) == []
        with pytest.raises(WSProtocolError):
            parser.feed(bytes([second | masked]))


@every_feeding
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("size", [0, 10, 1000])
def test_unmasked_frame_of_a_client(feeding: Feeding, opcode: int, size: int) -> None:
    if opcode >= CLOSE:
        size = min(size, 125)
    stream = after_first(True).add(opcode, b"x" * size, key=None)
    check_violation(feeding, True, stream, 1002, "unmasked frame from a client", (FIRST,))


@every_feeding
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CLOSE, PING, PONG])
@pytest.mark.parametrize("key", [frames.KEY, b"\x00\x00\x00\x00"])
def test_masked_frame_of_a_server(feeding: Feeding, opcode: int, key: bytes) -> None:
    stream = after_first(False).add(opcode, b"", key=key)
    check_violation(feeding, False, stream, 1002, "masked frame from a server", (FIRST,))


@every_feeding
@both_sides
@pytest.mark.parametrize("fin", [True, False])
def test_continuation_without_a_start(feeding: Feeding, is_server: bool, fin: bool) -> None:
    stream = after_first(is_server).add(CONTINUATION, b"x", fin=fin)
    check_violation(feeding, is_server, stream, 1002, "without a message to continue", (FIRST,))
    stream = Stream(is_server).add(BINARY, b"a", fin=False).add(CONTINUATION, b"b")
    stream.add(CONTINUATION, b"c", fin=fin)
    before = ((BINARY, False, b"a"), (CONTINUATION, True, b"b"))
    check_violation(feeding, is_server, stream, 1002, "without a message to continue", before)


@every_feeding
@both_sides
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_new_message_inside_a_message(feeding: Feeding, is_server: bool, opcode: int) -> None:
    stream = Stream(is_server).add(BINARY, b"a", fin=False).add(PING).add(opcode, b"b")
    before = ((BINARY, False, b"a"), (PING, True, b""))
    check_violation(feeding, is_server, stream, 1002, "new data frame inside", before)


@every_feeding
@both_sides
@pytest.mark.parametrize(("size", "width"), [(0, 16), (125, 16), (0, 64), (126, 64), (65535, 64)])
def test_length_not_minimal(feeding: Feeding, is_server: bool, size: int, width: int) -> None:
    stream = after_first(is_server)
    stream.data += frames.header(BINARY, size, key=stream.key, width=width)
    check_violation(feeding, is_server, stream, 1002, "minimal encoding", (FIRST,))


@every_feeding
@both_sides
@pytest.mark.parametrize("size", [2**63, 2**63 + 5, 2**64 - 1])
def test_length_with_the_top_bit(feeding: Feeding, is_server: bool, size: int) -> None:
    stream = after_first(is_server)
    stream.data += frames.header(BINARY, size, key=stream.key)
    check_violation(feeding, is_server, stream, 1002, "most significant bit", (FIRST,))


@both_sides
def test_the_longest_length(is_server: bool) -> None:
    stream = Stream(is_server)
    stream.data = frames.header(BINARY, 2**63 - 1, key=stream.key)
    found, error, _ = parse(is_server, [stream.data, b"abc"])
    assert (found, error) == ([], None)
    # As the rest of a message it makes the sum of the lengths overflow.
    stream = Stream(is_server).add(BINARY, b"x", fin=False)
    stream.data += frames.header(CONTINUATION, 2**63 - 1, key=stream.key)
    check_violation(whole, is_server, stream, 1009, "max_message_size", ((BINARY, False, b"x"),))


INVALID_TEXTS = [
    b"\x80",
    b"\xbf",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xc3\x28",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xe2\x82\x28",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xfe",
    b"\xff",
]
UNFINISHED_TEXTS = [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"]


@every_feeding
@both_sides
@pytest.mark.parametrize("bad", INVALID_TEXTS + UNFINISHED_TEXTS)
@pytest.mark.parametrize("before", [b"", b"x" * 100])
def test_invalid_text(feeding: Feeding, is_server: bool, bad: bytes, before: bytes) -> None:
    stream = after_first(is_server).add(TEXT, before + bad)
    check_violation(feeding, is_server, stream, 1007, "UTF-8", (FIRST,))


@both_sides
@pytest.mark.parametrize("bad", INVALID_TEXTS)
def test_invalid_text_split_at_every_byte(is_server: bool, bad: bytes) -> None:
    for end in range(len(bad) + 1):
        stream = Stream(is_server).add(TEXT, bad[:end], fin=False).add(PING)
        stream.add(CONTINUATION, bad[end:], fin=False).add(CONTINUATION)
        for feeding in (whole, byte_by_byte):
            _, error, _ = parse(is_server, feeding(stream.data))
            assert error is not None
            assert error.code == 1007


@both_sides
def test_invalid_text_is_found_as_it_arrives(is_server: bool) -> None:
    parser = WSFrameParser(is_server=is_server)
    key = frames.KEY if is_server else None
    head = frames.header(TEXT, 1000, key=key)
    payload = b"x" * 500 + b"\xff" + b"x" * 499
    if key is not None:
        payload = frames.mask(payload, key)
    assert parser.feed(head + payload[:500]) == []
    with pytest.raises(WSProtocolError) as caught:
        parser.feed(payload[500:501])
    assert caught.value.code == WSCloseCode.INVALID_PAYLOAD_DATA


@both_sides
def test_binary_and_control_payloads_need_not_be_text(is_server: bool) -> None:
    stream = Stream(is_server).add(BINARY, b"\xff", fin=False).add(PING, b"\xfe")
    stream.add(CONTINUATION, b"\x80").add(TEXT, b"\xc3", fin=False).add(PONG, b"\xff")
    stream.add(CONTINUATION, b"\xa9")
    found, error, _ = parse(is_server, [stream.data])
    assert error is None
    assert len(found) == 6


@every_feeding
@both_sides
def test_close_payload_of_one_byte(feeding: Feeding, is_server: bool) -> None:
    stream = after_first(is_server).add(CLOSE, b"\x03")
    check_violation(feeding, is_server, stream, 1002, "payload of one byte", (FIRST,))


@every_feeding
@both_sides
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_close_code_that_must_not_be_sent(feeding: Feeding, is_server: bool, code: int) -> None:
    stream = after_first(is_server).add(CLOSE, frames.close_payload(code))
    check_violation(feeding, is_server, stream, 1002, "close code", (FIRST,))


@every_feeding
@both_sides
@pytest.mark.parametrize("reason", [b"\xff", b"\xc3", b"fine until here\xed\xa0\x80"])
def test_close_reason_that_is_no_text(feeding: Feeding, is_server: bool, reason: bytes) -> None:
    stream = after_first(is_server).add(CLOSE, frames.close_payload(1000, reason))
    check_violation(feeding, is_server, stream, 1007, "close reason", (FIRST,))


# Limits


@every_feeding
@both_sides
def test_max_frame_size(feeding: Feeding, is_server: bool) -> None:
    stream = Stream(is_server).add(BINARY, b"x" * 200)
    found, error, _ = parse(is_server, feeding(stream.data), max_frame_size=200)
    assert (len(found), error) == (1, None)
    check_violation(feeding, is_server, stream, 1009, "max_frame_size", max_frame_size=199)
    # The header alone tells.
    stream.data = frames.header(BINARY, 2**40, key=stream.key)
    check_violation(feeding, is_server, stream, 1009, "max_frame_size", max_frame_size=199)


@every_feeding
@both_sides
def test_max_message_size(feeding: Feeding, is_server: bool) -> None:
    stream = Stream(is_server).add(BINARY, b"x" * 60, fin=False).add(PING, b"y" * 125)
    stream.add(CONTINUATION, b"x" * 40)
    twice = Stream(is_server)
    twice.data = stream.data * 2
    found, error, _ = parse(is_server, feeding(twice.data), max_message_size=100)
    assert (len(found), error) == (6, None)
    before = ((BINARY, False, b"x" * 60), (PING, True, b"y" * 125))
    check_violation(
        feeding, is_server, stream, 1009, "max_message_size", before, max_message_size=99
    )
    check_violation(
        feeding,
        is_server,
        Stream(is_server).add(TEXT, b"x" * 100),
        1009,
        "max_message_size",
        max_message_size=99,
    )


@every_feeding
@both_sides
def test_max_fragments(feeding: Feeding, is_server: bool) -> None:
    stream = Stream(is_server).add(BINARY, fin=False).add(PING).add(CONTINUATION, fin=False)
    stream.add(CONTINUATION)
    twice = Stream(is_server)
    twice.data = stream.data * 2
    found, error, _ = parse(is_server, feeding(twice.data), max_fragments=3)
    assert (len(found), error) == (8, None)
    before = ((BINARY, False, b""), (PING, True, b""), (CONTINUATION, False, b""))
    check_violation(feeding, is_server, stream, 1008, "max_fragments", before, max_fragments=2)


# Misuse


def test_arguments() -> None:
    with pytest.raises(TypeError):
        WSFrameParser()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        WSFrameParser(True)  # type: ignore[call-arg,misc]
    for limit in ("max_frame_size", "max_message_size", "max_fragments"):
        with pytest.raises(TypeError):
            WSFrameParser(is_server=True, **{limit: None})  # type: ignore[arg-type]
        with pytest.raises(OverflowError):
            WSFrameParser(is_server=True, **{limit: -1})
        with pytest.raises(OverflowError):
            WSFrameParser(is_server=True, **{limit: 2**64})


@pytest.mark.parametrize("data", [None, "text", 5, [0x82, 0], object()])
def test_feed_something_else(data: Any) -> None:
    parser = WSFrameParser(is_server=False)
    with pytest.raises(TypeError):
        parser.feed(data)
    assert parser.feed(b"\x82\x01a") == [(BINARY, True, b"a")]


def test_finished_is_read_only() -> None:
    with pytest.raises(AttributeError):
        WSFrameParser(is_server=False).finished = True  # type: ignore[misc]
