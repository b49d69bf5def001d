"""wsproto and we agree on which streams are valid, and on what is in them."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

from hypothesis import example, given
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, ParseFailed

from picows_codec import WSFrameParser, WSProtocolError
from tests.property.strategies import Piece, encode, streams
from tests.support import frames
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, TEXT

Found = Tuple[List[Tuple[int, bytes]], int]

# Codes that wsproto takes or refuses against RFC 6455, 7.4.2, and the IANA registry.
DISPUTED_CLOSE_CODES = {1014, *range(5000, 65536)}


def ours(is_server: bool, wire: bytes) -> Found:
    """Whole messages and control frames up to a CLOSE frame, and the violation's code or 0."""
    parser = WSFrameParser(is_server=is_server)
    code = 0
    try:
        found = parser.feed(wire)
    except WSProtocolError as error:
        found, code = list(error.frames), error.code  # type: ignore[arg-type]
    complete = []
    parts: List[bytes] = []
    message_opcode = 0
    for opcode, fin, payload in found:
        if opcode >= CLOSE:
            complete.append((int(opcode), payload))
            continue
        if opcode != CONTINUATION:
            message_opcode = int(opcode)
            parts = []
        parts.append(payload)
        if fin:
            complete.append((message_opcode, b"".join(parts)))
    return complete, code


def theirs(is_server: bool, wire: bytes) -> Found:
    """The same, as wsproto sees it."""
    protocol = FrameProtocol(client=not is_server, extensions=[])
    complete: List[Tuple[int, bytes]] = []
    parts: Dict[bool, List[bytes]] = {True: [], False: []}
    try:
        protocol.receive_bytes(wire)
        for frame in protocol.received_frames():
            is_control = frame.opcode >= CLOSE
            payload: Any = frame.payload
            if frame.opcode == CLOSE:
                code, reason = payload
                raw = b"" if code == 1005 else frames.close_payload(code, (reason or "").encode())
                complete.append((CLOSE, raw))
                return complete, 0
            parts[is_control].append(
                payload.encode() if isinstance(payload, str) else bytes(payload)
            )
            if frame.frame_finished and (is_control or frame.message_finished):
                complete.append((int(frame.opcode), b"".join(parts[is_control])))
                parts[is_control] = []
    except ParseFailed as error:
        return complete, int(error.code)
    return complete, 0


def is_disputed(found: Found, wire: bytes) -> bool:
    """Whether the stream comes to a CLOSE frame whose code wsproto judges differently."""
    complete, code = found
    payloads = [payload for opcode, payload in complete if opcode == CLOSE]
    if code == 1002:
        # Ours may have refused it: look at what it refused.
        rest, _ = frames.parse_all(wire)
        payloads += [frame.payload for frame in rest if frame.opcode == CLOSE]
    return any(
        len(payload) >= 2 and int.from_bytes(payload[:2], "big") in DISPUTED_CLOSE_CODES
        for payload in payloads
    )


def check(is_server: bool, wire: bytes) -> None:
    found = ours(is_server, wire)
    if is_disputed(found, wire):
        return
    expected = theirs(is_server, wire)
    if found[1] and not expected[1]:
        # Some rules that we apply to a header, wsproto applies when there is a payload, too.
        _, unfinished = frames.parse_all(wire)
        size = frames.size_of(unfinished) or len(unfinished) + 14
        assert unfinished
        if size > 100_000:
            assert found[0] == expected[0]
            return
        expected = theirs(is_server, wire + bytes(size - len(unfinished) + 1))
    assert found == expected


@given(is_server=st.booleans(), stream=streams())
def test_valid_streams(is_server: bool, stream: List[Piece]) -> None:
    wire = encode(stream, frames.KEY if is_server else None)
    found = ours(is_server, wire)
    assert found[1] == 0
    assert found == theirs(is_server, wire)


@given(
    is_server=st.booleans(),
    stream=streams(),
    place=st.integers(0, 10_000),
    replacement=st.binary(min_size=1, max_size=4),
    removed=st.integers(0, 4),
)
def test_damaged_streams(
    is_server: bool, stream: List[Piece], place: int, replacement: bytes, removed: int
) -> None:
    wire = encode(stream, frames.KEY if is_server else None)
    place %= len(wire) + 1
    check(is_server, wire[:place] + replacement + wire[place + removed :])


@given(is_server=st.booleans(), stream=streams(), noise=st.binary(max_size=40))
def test_noise_behind_a_stream(is_server: bool, stream: List[Piece], noise: bytes) -> None:
    check(is_server, encode(stream, frames.KEY if is_server else None) + noise)


any_frames = st.builds(
    frames.build,
    st.integers(0, 15),
    st.binary(max_size=130),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 1, 2, 4]),
    key=st.sampled_from([None, frames.KEY]),
)


@given(is_server=st.booleans(), wire=st.lists(any_frames, max_size=6).map(b"".join))
@example(is_server=False, wire=frames.build(TEXT, b"\xc3") + frames.build(CONTINUATION, b"\xa9"))
@example(is_server=False, wire=frames.build(BINARY, b"", fin=False) + frames.build(PING))
@example(is_server=True, wire=frames.build(CLOSE, b"\x03\xe8\xff", key=frames.KEY))
def test_any_frames(is_server: bool, wire: bytes) -> None:
    check(is_server, wire)
