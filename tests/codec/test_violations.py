"""Every rule for incoming frames, exhaustively where the cases can be counted (RFC 6455, 5 to 8).

The samples of each rule are in ``test_parser.py``, those on a connection in
``connection/test_receiver_faults.py``; here nothing is a sample.
"""

from __future__ import annotations

import sys
from typing import List, Optional, Tuple

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSFrameParser,
    WSInvalidCloseError,
    WSProtocolError,
    WSState,
)
from tests.support import frames
from tests.support.chunking import Feeding, byte_by_byte, every_feeding, whole
from tests.support.connection import Connection, both_roles
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame

both_sides = pytest.mark.parametrize("is_server", [True, False])

# RFC 6455, 7.4.1 and 7.4.2, with the codes that IANA has registered since.
CODES_ALLOWED = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}


# Headers


def verdict(first: int, second: int, is_server: bool, inside: bool) -> Optional[int]:
    """The close code for the first two bytes of a header, or None (RFC 6455, 5.1 to 5.5)."""
    opcode = first & 0x0F
    wrong = first & 0x70 or opcode not in (0, 1, 2, 8, 9, 10)
    if opcode >= CLOSE:
        wrong = wrong or not first & 0x80 or second & 0x7F > 125
    else:
        wrong = wrong or (opcode == CONTINUATION) != inside
    return 1002 if wrong or bool(second & 0x80) != is_server else None


@both_sides
@pytest.mark.parametrize("inside", [False, True])
def test_the_first_two_bytes_of_a_header(is_server: bool, inside: bool) -> None:
    """All 65536 of them, at the start and inside a message."""
    start = frames.build(BINARY, b"a", fin=False, key=frames.KEY if is_server else None)
    for number in range(65536):
        parser = WSFrameParser(is_server=is_server)
        if inside:
            parser.feed(start)
        found = None
        try:
            parser.feed(number.to_bytes(2, "big"))
        except WSProtocolError as error:
            found = error.code
        assert found == verdict(number >> 8, number & 0xFF, is_server, inside), hex(number)


@both_sides
def test_every_length_in_16_bits(is_server: bool) -> None:
    key = frames.KEY if is_server else None
    for size in range(65536):
        parser = WSFrameParser(is_server=is_server)
        head = frames.header(BINARY, size, key=key, width=16)
        if size > 125:
            assert parser.feed(head) == []
        else:
            with pytest.raises(WSProtocolError, match="minimal") as caught:
                parser.feed(head)
            assert caught.value.code == 1002


LENGTHS_IN_64_BITS = [
    *((size, 1002) for size in (0, 1, 125, 126, 65534, 65535)),
    *((size, None) for size in (65536, 65537, 1 << 20, 16 << 20)),
    *((size, 1009) for size in ((16 << 20) + 1, *(1 << bit for bit in range(25, 63)))),
    *((size, 1009) for size in (2**63 - 2, 2**63 - 1)),
    *((size, 1002) for size in (2**63, 2**63 + 1, 2**63 + 125, 2**64 - 2, 2**64 - 1)),
]


@both_roles
@pytest.mark.parametrize("feeding", [whole, byte_by_byte])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION])
def test_lengths_in_64_bits(role: str, feeding: Feeding, opcode: int) -> None:
    """With default options, on a connection. The header alone is judged."""
    for size, code in LENGTHS_IN_64_BITS:
        connection = Connection(role, max_message_size=32 * 1024 * 1024)
        before = connection.build(TEXT, b"before", fin=opcode != CONTINUATION)
        head = frames.header(opcode, size, key=connection.key, width=64)
        connection.feed(*feeding(before + head))
        assert connection.listener.frames == [(TEXT, b"before", opcode != CONTINUATION)]
        sent = connection.sent()
        if code is None:
            assert sent == []
            connection.ws.disconnect(graceful=False)
        else:
            (close,) = sent
            assert (close.opcode, close.payload[:2]) == (CLOSE, frames.close_payload(code)), size
            assert connection.cause is not None
            assert connection.cause.kind is WSDisconnectKind.PROTOCOL_ERROR
            connection.feed_eof()


@both_roles
def test_a_wrong_frame_is_not_waited_for(role: str) -> None:
    """What its first two bytes break is answered at the second byte, before any payload."""
    right, wrong = (0x80, 0) if role == "server" else (0, 0x80)
    for first, second in [
        (0x83, right | 5),  # reserved opcode
        (0xC2, right | 5),  # reserved bit
        (0x09, right | 5),  # fragmented control frame
        (0x89, right | 126),  # oversized control frame
        (0x80, right | 5),  # nothing to continue
        (0x82, wrong | 5),  # masked by a server, or not masked by a client
    ]:
        connection = Connection(role)
        connection.feed(bytes([first]))
        assert connection.sent() == []
        connection.feed(bytes([second]))
        (close,) = connection.sent()
        assert close.payload[:2] == frames.close_payload(1002)
        connection.feed_eof()


# Text: UTF-8 as RFC 3629 has it

INVALID = [
    # A continuation byte, or one that never occurs
    *(bytes([byte]) for byte in (0x80, 0xBF, 0xC0, 0xC1, 0xF5, 0xF8, 0xFC, 0xFE, 0xFF)),
    # Too long for what they encode
    b"\xc0\x80",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xf0\x80\x80\x80",
    b"\xf0\x8f\xbf\xbf",
    # Surrogates, and beyond U+10FFFF
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf7\xbf\xbf\xbf",
    # Sequences that are broken off by something else
    b"\xc3A",
    b"\xe2\x82A",
    b"\xf0\x9f\x98A",
    b"\xf0\x9f\xc3\xa9",
]
UNFINISHED = [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x98"]


@both_roles
@every_feeding
@pytest.mark.parametrize("bad", INVALID + UNFINISHED, ids=repr)
def test_text_in_fragments_cut_at_every_byte(role: str, feeding: Feeding, bad: bytes) -> None:
    text = "caf\u00e9 \u20ac ".encode() + bad
    for cut in range(len(text) + 1):
        connection = Connection(role)
        connection.feed(
            *feeding(
                connection.build(BINARY, b"first")
                + connection.build(TEXT, text[:cut], fin=False)
                + connection.build(PING, b"\xff")
                + connection.build(CONTINUATION, text[cut:])
                + connection.build(TEXT, b"never seen")
            )
        )
        assert connection.listener.frames[0] == (BINARY, b"first", True)
        assert all(frame[2] is False for frame in connection.listener.frames[1:])
        *pongs, close = connection.sent()
        assert pongs in ([], [Frame(PONG, b"\xff")])
        assert (close.opcode, close.payload[:2]) == (CLOSE, frames.close_payload(1007))
        connection.feed_eof()


@both_roles
def test_valid_text_in_fragments_cut_at_every_byte(role: str) -> None:
    text = "caf\u00e9 \u20ac \U0001f600 \uffff\U0010ffff\u0000".encode()
    connection = Connection(role)
    for cut in range(len(text) + 1):
        for feeding in (whole, byte_by_byte):
            connection.listener.events.clear()
            connection.feed(
                *feeding(
                    connection.build(TEXT, text[:cut], fin=False)
                    + connection.build(CONTINUATION, text[cut:])
                )
            )
            assert b"".join(frame[1] for frame in connection.listener.frames) == text
    assert connection.cause is None


# CLOSE


@both_sides
def test_every_close_code_that_a_peer_may_send(is_server: bool) -> None:
    key = frames.KEY if is_server else None
    refused = {}
    for code in range(65536):
        parser = WSFrameParser(is_server=is_server)
        try:
            parser.feed(frames.build(CLOSE, frames.close_payload(code, b"why"), key=key))
        except WSProtocolError as error:
            refused[code] = error.code
    assert set(refused.values()) == {1002}
    assert set(range(65536)) - set(refused) == CODES_ALLOWED


@both_roles
def test_every_allowed_close_code_is_echoed(role: str) -> None:
    for code in CODES_ALLOWED:
        connection = Connection(role)
        connection.receive_close(code, b"why")
        assert connection.sent() == [Frame(CLOSE, frames.close_payload(code))]
        handshake = connection.ws.close_handshake
        assert handshake is not None
        assert handshake.recv is not None
        assert (handshake.recv.code, handshake.recv.reason) == (code, "why")
        connection.feed_eof()


@both_roles
def test_every_close_code_that_we_may_send(role: str) -> None:
    refusing = Connection(role)
    sent = set()
    for code in range(65536):
        if code not in CODES_ALLOWED:
            # 1005 is how a frame without a code is reported: alone, it sends one of these.
            with pytest.raises(WSInvalidCloseError):
                refusing.ws.send_close(code, "reason" if code == 1005 else None)
            with pytest.raises(WSInvalidCloseError):
                refusing.ws.send(CLOSE, frames.close_payload(code))
            continue
        connection = Connection(role)
        connection.ws.send_close(code)
        assert connection.sent() == [Frame(CLOSE, frames.close_payload(code))]
        sent.add(code)
        connection.ws.disconnect(graceful=False)
    assert sent == CODES_ALLOWED
    assert refusing.sent() == []
    assert refusing.ws.state is WSState.OPEN


@both_roles
@every_feeding
@pytest.mark.parametrize("bad", INVALID + UNFINISHED, ids=repr)
def test_close_reason_that_is_no_text(role: str, feeding: Feeding, bad: bytes) -> None:
    for reason in (bad, b"x" * (123 - len(bad)) + bad):
        connection = Connection(role)
        connection.feed(
            *feeding(
                connection.build(TEXT, b"first")
                + connection.build(CLOSE, frames.close_payload(1000, reason))
                + connection.build(TEXT, b"never seen")
            )
        )
        # The CLOSE frame that breaks a rule is not delivered either.
        assert connection.listener.frames == [(TEXT, b"first", True)]
        (close,) = connection.sent()
        assert close.payload[:2] == frames.close_payload(1007)
        assert connection.cause is not None
        assert connection.cause.kind is WSDisconnectKind.PROTOCOL_ERROR
        handshake = connection.ws.close_handshake
        assert handshake is not None
        assert handshake.recv is None
        connection.feed_eof()


@both_roles
@every_feeding
@pytest.mark.parametrize("byte", [0x00, 0x03, 0xFF])
def test_close_payload_of_one_byte(role: str, feeding: Feeding, byte: int) -> None:
    connection = Connection(role)
    connection.feed(
        *feeding(connection.build(CLOSE, bytes([byte])) + connection.build(TEXT, b"never seen"))
    )
    assert connection.listener.frames == []
    (close,) = connection.sent()
    assert close.payload[:2] == frames.close_payload(1002)


# What follows the end

Tail = List[Tuple[int, bytes]]
TAILS: List[Tail] = [
    [(TEXT, b"late")],
    [(BINARY, b"late" * 1000)],
    [(PING, b"late")],
    [(PONG, b"late")],
    [(CLOSE, frames.close_payload(1001))],
    [(CLOSE, b"\x03")],
    [(3, b"reserved")],
    [(CONTINUATION, b"late"), (TEXT, b"\xff")],
]


@both_roles
@every_feeding
@pytest.mark.parametrize("ours_first", [False, True])
@pytest.mark.parametrize("tail", TAILS, ids=range(len(TAILS)))
def test_nothing_after_a_close(role: str, feeding: Feeding, ours_first: bool, tail: Tail) -> None:
    """Data or a second CLOSE behind a CLOSE: not delivered, not answered, not judged (5.5.1)."""
    connection = Connection(role)
    if ours_first:
        connection.ws.send_close(4000)
        assert connection.sent() == [Frame(CLOSE, frames.close_payload(4000))]
    stream = connection.build(TEXT, b"first") + connection.build(CLOSE, frames.close_payload(3000))
    for opcode, payload in tail:
        stream += connection.build(opcode, payload)
    connection.feed(*feeding(stream))
    connection.feed(*feeding(stream))
    assert connection.listener.frames == [
        (TEXT, b"first", True),
        (CLOSE, frames.close_payload(3000), True),
    ]
    assert connection.sent() == ([] if ours_first else [Frame(CLOSE, frames.close_payload(3000))])
    connection.feed_eof()
    assert connection.listener.count("disconnected") == 1
    assert connection.cause is not None
    assert connection.cause.kind is (
        WSDisconnectKind.LOCAL_CLOSE if ours_first else WSDisconnectKind.PEER_CLOSE
    )


@both_roles
@every_feeding
def test_a_frame_that_no_memory_could_hold(role: str, feeding: Feeding) -> None:
    """Limits that are none do not turn a header into an exception of ours."""
    connection = Connection(role, max_frame_size=sys.maxsize, max_message_size=sys.maxsize)
    head = frames.header(BINARY, 2**63 - 1, key=connection.key)
    connection.feed(*feeding(connection.build(TEXT, b"first") + head + b"payload"))
    assert connection.listener.frames == [(TEXT, b"first", True)]
    (close,) = connection.sent()
    assert close.payload[:2] == frames.close_payload(1009)
    assert connection.transport.fatal_errors == []
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PROTOCOL_ERROR
