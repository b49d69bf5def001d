"""Streams of frames, good and bad, and ways to cut them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional

from hypothesis import strategies as st

from tests.support import frames
from tests.support.frames import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

__all__ = ["Piece", "cuts", "encode", "messages", "streams", "texts"]


@dataclass(frozen=True)
class Piece:
    """A frame that is to be encoded by either side."""

    opcode: int
    payload: bytes
    fin: bool = True


def encode(pieces: List[Piece], key: Optional[bytes]) -> bytes:
    """The frames on the wire."""
    return b"".join(
        frames.build(piece.opcode, piece.payload, fin=piece.fin, key=key) for piece in pieces
    )


def cuts(stream: bytes) -> st.SearchStrategy[List[bytes]]:
    """The stream in pieces, empty ones included."""

    def cut(places: List[int]) -> List[bytes]:
        edges = [0, *sorted(places), len(stream)]
        return [stream[start:end] for start, end in zip(edges, edges[1:])]

    return st.lists(st.integers(0, len(stream)), max_size=30).map(cut)


texts = st.text(max_size=300).map(str.encode)

# Sizes on both sides of the changes of encoding, and any others.
_sizes = st.one_of(st.sampled_from([0, 1, 125, 126, 127]), st.integers(0, 700))
_binaries = _sizes.flatmap(lambda size: st.binary(min_size=size, max_size=size))


@st.composite
def messages(draw: Any) -> List[Piece]:
    """One message, in fragments, with control frames between them."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(texts if opcode == TEXT else _binaries)
    places = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    edges = [0, *places, len(payload)]
    parts = [payload[start:end] for start, end in zip(edges, edges[1:])]
    pieces = []
    for i, part in enumerate(parts):
        if i:
            pieces += draw(st.lists(_controls, max_size=2))
        pieces.append(Piece(CONTINUATION if i else opcode, part, i == len(parts) - 1))
    return pieces


_controls = st.builds(Piece, st.sampled_from([PING, PONG]), st.binary(max_size=125))

_close_payloads = st.one_of(
    st.just(b""),
    st.builds(
        lambda code, reason: frames.close_payload(code, reason.encode()[:120]),
        st.sampled_from([1000, 1001, 1002, 1003, 1007, 1011, 3000, 4999]),
        st.text(st.characters(max_codepoint=127), max_size=120),
    ),
)
_closes = st.builds(Piece, st.just(CLOSE), _close_payloads)


@st.composite
def streams(draw: Any, *, closed: Optional[bool] = None) -> List[Piece]:
    """Some messages and control frames, and perhaps a CLOSE frame at the end."""
    parts = draw(st.lists(st.one_of(messages(), _controls.map(lambda piece: [piece])), max_size=5))
    pieces = [piece for part in parts for piece in part]
    if closed or (closed is None and draw(st.booleans())):
        pieces.append(draw(_closes))
    return pieces
