"""OPEN: what fails the connection."""

from __future__ import annotations

from typing import List, Tuple

import pytest

from picows_codec import (
    WSDisconnectKind,
    WSProtocolError,
    WSState,
)
from tests.support import frames
from tests.support.chunking import Feeding, every_feeding
from tests.support.connection import Connection, both_roles, both_ways_of_reading
from tests.support.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Frame,
)

# Violations: the right code, nothing lost before, nothing delivered after


def bad_frames(connection: Connection) -> List[Tuple[bytes, int]]:
    """Bytes that break a rule each, and the close code that answers it."""
    build, key = connection.build, connection.key
    wrong_key = None if key is not None else frames.KEY
    invalid = b"fine\xff"
    return [
        (build(3), 1002),
        (build(7, fin=False), 1002),
        (build(11), 1002),
        (build(15), 1002),
        (build(TEXT, rsv=4), 1002),
        (build(TEXT, rsv=2), 1002),
        (build(PING, rsv=1), 1002),
        (build(PING, fin=False), 1002),
        (build(CLOSE, fin=False), 1002),
        (frames.header(PING, 126, key=key), 1002),
        (frames.header(CLOSE, 2, key=key, width=16), 1002),
        (frames.header(BINARY, 5, key=key, width=16), 1002),
        (frames.header(BINARY, 65535, key=key, width=64), 1002),
        (frames.header(BINARY, 2**63, key=key), 1002),
        (build(TEXT, b"x", key=wrong_key), 1002),
        (build(PING, key=wrong_key), 1002),
        (build(CONTINUATION, b"x"), 1002),
        (build(TEXT, b"x", fin=False) + build(TEXT, b"y"), 1002),
        (build(BINARY, b"x", fin=False) + build(BINARY, b"y", fin=False), 1002),
        (build(TEXT, invalid), 1007),
        (build(TEXT, b"\xc3", fin=False) + build(CONTINUATION, b"x"), 1007),
        (build(TEXT, b"\xc3"), 1007),
        (build(CLOSE, b"\x03"), 1002),
        (build(CLOSE, frames.close_payload(1005)), 1002),
        (build(CLOSE, frames.close_payload(0)), 1002),
        (build(CLOSE, frames.close_payload(5000)), 1002),
        (build(CLOSE, frames.close_payload(1000, b"\xff")), 1007),
        (frames.header(BINARY, 2**63 - 1, key=key), 1009),
        (frames.header(BINARY, 1001, key=key), 1009),
        (build(BINARY, b"x" * 900, fin=False) + build(CONTINUATION, b"x" * 900), 1009),
        (build(BINARY, fin=False) + build(CONTINUATION, fin=False) * 5, 1008),
    ]


@both_roles
@every_feeding
@both_ways_of_reading
@pytest.mark.parametrize("case", range(31))
def test_violations(role: str, feeding: Feeding, buffered: bool, case: int) -> None:
    connection = Connection(
        role,
        transport_options={"buffered": buffered},
        max_frame_size=1000,
        max_message_size=1500,
        max_fragments_per_message=5,
    )
    bad, code = bad_frames(connection)[case]
    before = connection.build(TEXT, b"first") + connection.build(BINARY, b"second")
    after = connection.build(TEXT, b"never seen") + connection.build(PING, b"never answered")
    connection.feed(*feeding(before + bad + after))

    assert connection.listener.events[:3] == [
        ("connected",),
        (TEXT, b"first", True),
        (BINARY, b"second", True),
    ]
    # All that may follow is the valid beginning of what breaks a rule.
    late = {payload for _, payload, _ in connection.listener.frames[2:]}
    assert late <= {b"", b"x", b"\xc3", b"x" * 900}

    (close,) = connection.sent()
    assert close.opcode == CLOSE
    assert close.payload[:2] == frames.close_payload(code)
    assert len(close.payload) > 2
    assert connection.transport.eof_written
    assert connection.ws.state is WSState.CLOSING
    assert connection.ws.is_close_frame_sent
    cause = connection.cause
    assert cause is not None
    assert cause.kind is WSDisconnectKind.PROTOCOL_ERROR
    assert isinstance(cause.exception, WSProtocolError)
    assert cause.exception.code == code
    assert str(cause.exception).encode() == close.payload[2:]
    handshake = connection.ws.close_handshake
    assert handshake is not None
    assert handshake.recv is None
    assert handshake.sent is not None
    assert handshake.sent.code == code

    events = len(connection.listener.events)
    connection.feed(after, b"\xff" * 100)
    connection.feed_eof()
    assert connection.listener.events[events:] == [("disconnected",)]
    assert connection.sent() == []
    assert connection.cause is cause


@both_roles
@pytest.mark.parametrize("case", range(31))
def test_violations_of_a_peer_that_stays(role: str, case: int) -> None:
    connection = Connection(
        role, max_frame_size=1000, max_message_size=1500, max_fragments_per_message=5
    )
    connection.feed(bad_frames(connection)[case][0])
    assert connection.transport.eof_written
    connection.loop.advance(0.9)
    connection.feed(b"goes on and on" * 1000)
    assert not connection.transport.lost
    connection.loop.advance(0.2)
    assert connection.transport.aborted
    assert connection.listener.count("disconnected") == 1
    assert not connection.loop.timers
    assert connection.cause is not None
    assert connection.cause.kind is WSDisconnectKind.PROTOCOL_ERROR


@both_roles
def test_the_number_of_cases(role: str) -> None:
    assert len(bad_frames(Connection(role))) == 31


@both_roles
def test_violation_where_half_closing_is_impossible(role: str) -> None:
    for options in ({"secure": True}, {"can_half_close": False}):
        connection = Connection(role, transport_options=options)
        connection.receive(3)
        assert [frame.opcode for frame in connection.sent()] == [CLOSE]
        assert "write_eof" not in connection.transport.calls
        assert connection.transport.lost
        assert not connection.transport.aborted


@both_roles
def test_violation_after_our_close(role: str) -> None:
    connection = Connection(role)
    connection.ws.send_close(1001)
    assert len(connection.sent()) == 1
    connection.receive(3)
    assert connection.sent() == []
    assert connection.transport.eof_written
    connection.feed_eof()
    assert connection.listener.count("disconnected") == 1


@both_roles
@every_feeding
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999])
def test_nothing_after_close(role: str, feeding: Feeding, code: int) -> None:
    connection = Connection(role)
    connection.feed(
        *feeding(
            connection.build(TEXT, b"first")
            + connection.build(CLOSE, frames.close_payload(code))
            + connection.build(TEXT, b"late")
            + connection.build(PING)
            + connection.build(CLOSE, frames.close_payload(1000))
            + b"\xff\xff\xff"
        )
    )
    assert connection.listener.frames == [
        (TEXT, b"first", True),
        (CLOSE, frames.close_payload(code), True),
    ]
    assert connection.sent() == [Frame(CLOSE, frames.close_payload(code))]
