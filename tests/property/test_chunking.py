"""However a stream is cut, the frames are the same."""

from __future__ import annotations

from typing import Any, List, Tuple

from hypothesis import given
from hypothesis import strategies as st

from picows_codec import (
    WSBatchListener,
    WSFrameParser,
    WSMessage,
    WSMessageListener,
    WSProtocolError,
    WSTransport,
)
from tests.property.strategies import Piece, cuts, encode, streams
from tests.support import frames
from tests.support.connection import Connection
from tests.support.frames import CLOSE, PING, PONG, TEXT

sides = st.booleans()
Found = Tuple[List[Tuple[Any, ...]], int]


def key_of(is_server: bool) -> Any:
    return frames.KEY if is_server else None


def parse(is_server: bool, pieces: List[bytes]) -> Found:
    """Frames, and the close code of the violation or 0."""
    parser = WSFrameParser(is_server=is_server)
    found: List[Tuple[Any, ...]] = []
    for piece in pieces:
        try:
            found += parser.feed(piece)
        except WSProtocolError as error:
            return found + list(error.frames), error.code
    return found, 0


@given(data=st.data(), is_server=sides, stream=streams())
def test_parser(data: st.DataObject, is_server: bool, stream: List[Piece]) -> None:
    wire = encode(stream, key_of(is_server))
    expected = [(piece.opcode, piece.fin, piece.payload) for piece in stream]
    assert parse(is_server, [wire]) == (expected, 0)
    assert parse(is_server, data.draw(cuts(wire))) == (expected, 0)


@given(
    data=st.data(),
    is_server=sides,
    stream=streams(),
    place=st.integers(0, 10_000),
    replacement=st.binary(max_size=3),
)
def test_parser_with_damaged_streams(
    data: st.DataObject, is_server: bool, stream: List[Piece], place: int, replacement: bytes
) -> None:
    wire = encode(stream, key_of(is_server))
    place %= len(wire) + 1
    wire = wire[:place] + replacement + wire[place + len(replacement) :]
    assert parse(is_server, data.draw(cuts(wire))) == parse(is_server, [wire])


@given(
    data=st.data(),
    is_server=sides,
    stream=streams(),
    buffered=st.booleans(),
    shared_reads=st.booleans(),
)
def test_endpoint(
    data: st.DataObject,
    is_server: bool,
    stream: List[Piece],
    buffered: bool,
    shared_reads: bool,
) -> None:
    connection = Connection(
        "server" if is_server else "client",
        open=False,
        shared_reads=shared_reads,
        transport_options={"buffered": buffered},
    )
    connection.start()
    connection.sent_bytes()
    opening = connection.opening_bytes()
    wire = opening + encode(stream, key_of(is_server))
    connection.feed(*data.draw(cuts(wire)))
    assert connection.listener.events == [
        ("connected",),
        *((piece.opcode, piece.payload, piece.fin) for piece in stream if piece.opcode != PING),
        *([("disconnected",)] if connection.transport.lost else []),
    ]
    written = connection.sent_bytes()
    if is_server:
        written = written.partition(b"\r\n\r\n")[2]
    sent, rest = frames.parse_all(written)
    assert rest == b""
    assert [(frame.opcode, frame.payload) for frame in sent] == [
        (PONG, piece.payload) if piece.opcode == PING else (CLOSE, piece.payload[:2])
        for piece in stream
        if piece.opcode in (PING, CLOSE)
    ]


@given(
    data=st.data(),
    is_server=sides,
    stream=streams(),
    place=st.integers(0, 10_000),
    replacement=st.binary(min_size=1, max_size=3),
)
def test_endpoint_and_parser_agree(
    data: st.DataObject, is_server: bool, stream: List[Piece], place: int, replacement: bytes
) -> None:
    """Also on streams that break rules: the same frames, then the same close code."""
    wire = encode(stream, key_of(is_server))
    place %= len(wire) + 1
    wire = wire[:place] + replacement + wire[place + len(replacement) :]
    expected, code = parse(is_server, [wire])
    connection = Connection("server" if is_server else "client", enable_auto_pong=False)
    connection.feed(*data.draw(cuts(wire)))
    assert [(opcode, fin, payload) for opcode, payload, fin in connection.listener.frames] == (
        expected
    )
    closes = [frame for frame in connection.sent() if frame.opcode == CLOSE]
    if code:
        assert [close.payload[:2] for close in closes] == [frames.close_payload(code)]
    else:
        assert len(closes) == sum(opcode == CLOSE for opcode, _, _ in expected)


class Messages(WSMessageListener):
    """Notes what a batch listener would get, and the end."""

    def __init__(self) -> None:
        self.found: List[Any] = []

    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None:
        is_text = message.opcode == TEXT
        self.found.append(
            message.get_payload_as_utf8_text() if is_text else message.get_payload_as_bytes()
        )

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.found.append(None)


class Batches(WSBatchListener):
    def __init__(self) -> None:
        self.found: List[Any] = []
        self.calls = 0

    def on_ws_batch(self, transport: WSTransport, messages: List[Any]) -> None:
        assert messages
        self.calls += 1
        self.found += messages

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.found.append(None)


@given(
    data=st.data(),
    is_server=sides,
    stream=streams(),
    damage=st.one_of(st.just(b""), st.binary(min_size=1, max_size=3)),
    place=st.integers(0, 10_000),
    buffered=st.booleans(),
    shared_reads=st.booleans(),
)
def test_batches_are_the_messages(
    data: st.DataObject,
    is_server: bool,
    stream: List[Piece],
    damage: bytes,
    place: int,
    buffered: bool,
    shared_reads: bool,
) -> None:
    """However a stream is cut, and whatever ends it."""
    wire = encode(stream, key_of(is_server))
    place %= len(wire) + 1
    wire = wire[:place] + damage + wire[place + len(damage) :]
    pieces = data.draw(cuts(wire))
    connections = [
        Connection(
            "server" if is_server else "client",
            listener,
            shared_reads=shared_reads,
            transport_options={"buffered": buffered},
        )
        for listener in (Messages(), Batches())
    ]
    for connection in connections:
        connection.feed(*pieces)
    messages, batches = connections
    assert batches.listener.found == messages.listener.found
    assert batches.ws.close_handshake == messages.ws.close_handshake
    assert batches.sent() == messages.sent()
    if not buffered:  # each piece is one read
        assert batches.listener.calls <= len(pieces)
