"""What one endpoint sends, another receives."""

from __future__ import annotations

import contextlib
from typing import Any, List

from hypothesis import given
from hypothesis import strategies as st

from picows_codec import decode_frame_header, encode_frame_header
from tests.property.strategies import Piece, cuts, streams
from tests.support.connection import Connection
from tests.support.frames import PING

roles = st.sampled_from(["client", "server"])
ways = st.sampled_from(["send", "in place", "view", "bytearray"])


def send(connection: Connection, piece: Piece, way: str) -> None:
    if way == "in place":
        buffer = bytearray(14) + piece.payload
        connection.ws.send_reuse_external_bytearray(piece.opcode, buffer, 14, piece.fin)
        return
    message: Any = piece.payload
    if way == "view":
        message = memoryview(message)
    elif way == "bytearray":
        message = bytearray(message)
    connection.ws.send(piece.opcode, message, piece.fin)


@given(data=st.data(), role=roles, stream=streams(closed=False))
def test_endpoints(data: st.DataObject, role: str, stream: List[Piece]) -> None:
    sender = Connection(role)
    receiver = Connection("client" if role == "server" else "server", enable_auto_pong=False)
    with contextlib.ExitStack() as corks:
        for piece in stream:
            if data.draw(st.booleans()):
                corks.enter_context(sender.ws.cork())
            send(sender, piece, data.draw(ways))
            if data.draw(st.booleans()):
                corks.close()
    receiver.feed(*data.draw(cuts(sender.sent_bytes())))
    assert receiver.listener.frames == [
        (piece.opcode, piece.payload, piece.fin) for piece in stream
    ]
    assert receiver.cause is None


@given(data=st.data(), role=roles, stream=streams(closed=False))
def test_echo(data: st.DataObject, role: str, stream: List[Piece]) -> None:
    """There and back again, with pongs in their places."""
    echoing = Connection(role)
    echoing.listener.act(
        "on_ws_frame", lambda transport, frame: transport.send(frame.opcode, frame, frame.fin)
    )
    wire = b"".join(echoing.build(piece.opcode, piece.payload, fin=piece.fin) for piece in stream)
    echoing.feed(*data.draw(cuts(wire)))
    assert [(frame.opcode, frame.payload, frame.fin) for frame in echoing.sent()] == [
        (piece.opcode + (piece.opcode == PING), piece.payload, piece.fin) for piece in stream
    ]


@given(
    opcode=st.integers(0, 15),
    size=st.integers(0, 2**63 - 1),
    bits=st.tuples(*[st.booleans()] * 4),
    key=st.none() | st.binary(min_size=4, max_size=4),
    tail=st.binary(max_size=20),
)
def test_headers(opcode: int, size: int, bits: Any, key: Any, tail: bytes) -> None:
    fin, rsv1, rsv2, rsv3 = bits
    encoded = encode_frame_header(
        opcode, size, fin=fin, rsv1=rsv1, rsv2=rsv2, rsv3=rsv3, masking_key=key
    )
    decoded = (len(encoded), opcode, fin, rsv1 << 2 | rsv2 << 1 | rsv3, size, key)
    assert decode_frame_header(encoded + tail) == decoded
    assert decode_frame_header(encoded[:-1]) is None
