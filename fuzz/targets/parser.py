"""Target: the frame parser and the frame header functions.

Input: a byte of flags (1: the server's side; 2, 4, 8: a small limit for frames, messages,
fragments), a byte that says how the rest is cut, and the rest: what the peer sends.
"""

from __future__ import annotations

from typing import List, Optional, Tuple

from fuzz.frames import Reading, Rules, read_frames
from fuzz.harness import Input, check, cut
from picows_codec import (
    WSFrameParser,
    WSProtocolError,
    decode_frame_header,
    encode_frame_header,
)

__all__ = ["run"]

Found = List[Tuple[int, bool, bytes]]


def run(data: bytes) -> None:
    """The parser reads what the model reads, however the bytes are cut."""
    source = Input(data)
    flags, pattern = source.byte(), source.byte()
    stream = source.rest()
    rules = Rules(
        masked=bool(flags & 1),
        max_frame=300 if flags & 2 else 0,
        max_message=400 if flags & 4 else 0,
        max_fragments=3 if flags & 8 else 0,
    )
    wanted = read_frames(stream, rules)
    for pieces in ([stream], list(cut(stream, pattern))):
        found, code, finished = _feed(_parser(rules), pieces)
        check(found == _expected(wanted), "other frames", found, wanted)
        check(code == wanted.violation, "another violation", code, wanted)
        check(finished == (wanted.closed or wanted.violation is not None), "finished is", finished)
    # What follows changes nothing about what came before.
    found, _, _ = _feed(_parser(rules), [stream + b"\x8a\x00"])
    check(found[: len(wanted.frames)] == _expected(wanted), "changed by a tail", found)
    _check_headers(stream)


def _expected(wanted: Reading) -> Found:
    """The frames of the model as the parser returns them."""
    return [(frame.opcode, frame.fin, frame.payload) for frame in wanted.frames]


def _parser(rules: Rules) -> WSFrameParser:
    return WSFrameParser(
        is_server=rules.masked,
        max_frame_size=rules.max_frame,
        max_message_size=rules.max_message,
        max_fragments=rules.max_fragments,
    )


def _feed(parser: WSFrameParser, pieces: List[bytes]) -> Tuple[Found, Optional[int], bool]:
    """The frames, the violation's close code, and whether the parser is finished."""
    found: Found = []
    code = None
    for piece in pieces:
        check(not parser.finished or parser.feed(piece) == [], "frames after the end")
        try:
            found += parser.feed(piece)
        except WSProtocolError as error:
            found += error.frames
            code = error.code
    return found, code, parser.finished


def _check_headers(stream: bytes) -> None:
    """A header that was read is written as the same bytes; a shorter piece has no header."""
    try:
        header = decode_frame_header(stream)
    except WSProtocolError as error:
        check(error.code == 1002, "wrong code for a header", error.code)
        return
    if header is None:
        return
    size, opcode, fin, rsv, payload_size, key = header
    again = encode_frame_header(
        opcode,
        payload_size,
        fin=fin,
        rsv1=bool(rsv & 4),
        rsv2=bool(rsv & 2),
        rsv3=bool(rsv & 1),
        masking_key=key,
    )
    check(again == stream[:size], "another header", again, stream[:size])
    for shorter in range(size):
        check(decode_frame_header(stream[:shorter]) is None, "a header from too few bytes")
