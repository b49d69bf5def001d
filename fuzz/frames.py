"""A second reading of RFC 6455, 5: slow, plain Python, and without a line of the codec's.

Targets compare the codec with it: the frames in a stream of bytes, and how the stream fails.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass, field
from typing import List, NamedTuple, Optional, Tuple

__all__ = ["Frame", "Reading", "Rules", "encode_frame", "read_frames", "xor"]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PROTOCOL_ERROR, INVALID_DATA, POLICY_VIOLATION, TOO_BIG = 1002, 1007, 1008, 1009


class Frame(NamedTuple):
    """A frame with its payload unmasked."""

    opcode: int
    fin: bool
    rsv: int
    payload: bytes


@dataclass(frozen=True)
class Rules:
    """What a reader insists on. Sizes are in bytes, 0 is no limit."""

    masked: bool
    max_frame: int = 0
    max_message: int = 0
    max_fragments: int = 0
    # A reader of our own output: the caller answers for text and reserved bits.
    trusts_caller: bool = False


@dataclass
class Reading:
    """What a stream of bytes says."""

    frames: List[Frame] = field(default_factory=list)
    # The close code of its violation, if it has one.
    violation: Optional[int] = None
    # Whether a CLOSE frame ended it.
    closed: bool = False
    # Bytes in complete frames.
    used: int = 0


class _Violation(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class _Message:
    """The message under way."""

    def __init__(self) -> None:
        self.opcode = 0
        self.size = 0
        self.fragments = 0
        self.text = codecs.getincrementaldecoder("utf-8")()


def read_frames(data: bytes, rules: Rules) -> Reading:
    """Read frames until the bytes end, break a rule, or a CLOSE frame is complete."""
    reading = Reading()
    message = _Message()
    try:
        while not reading.closed:
            frame, size = _read_frame(data, reading.used, rules, message)
            if frame is None:
                break
            reading.frames.append(frame)
            reading.used += size
            reading.closed = frame.opcode == CLOSE
    except _Violation as violation:
        reading.violation = violation.code
    return reading


def _read_frame(
    data: bytes, position: int, rules: Rules, message: _Message
) -> Tuple[Optional[Frame], int]:
    """The frame at this position, and its size; None if it is not complete."""
    head = data[position : position + 14]
    if len(head) < 2:
        return None, 0
    fin, rsv, opcode = bool(head[0] & 0x80), head[0] >> 4 & 7, head[0] & 0x0F
    masked, length = bool(head[1] & 0x80), head[1] & 0x7F
    _check_start(rules, message, fin, rsv, opcode, masked, length)
    extra = {126: 2, 127: 8}.get(length, 0)
    start = 2 + extra + (4 if masked else 0)
    if len(head) < start:
        return None, 0
    if extra:
        length = int.from_bytes(head[2 : 2 + extra], "big")
        # 5.2: "the minimal number of bytes MUST be used", and the top bit "MUST be 0"
        if length < (126 if extra == 2 else 65536) or length >> 63:
            raise _Violation(PROTOCOL_ERROR)
    _check_limits(rules, message, opcode, length)
    payload = data[position + start : position + start + length]
    if masked:
        payload = xor(payload, head[start - 4 : start])
    complete = len(payload) == length
    _check_payload(rules, message, opcode, payload, complete, fin)
    if not complete:
        return None, 0
    if not opcode & 8 and fin:
        message.opcode = 0
    return Frame(opcode, fin, rsv, payload), start + length


def _check_start(
    rules: Rules, message: _Message, fin: bool, rsv: int, opcode: int, masked: bool, length: int
) -> None:
    """What the first two bytes show."""
    if opcode in (CLOSE, PING, PONG):
        legal = fin and length <= 125
    elif opcode == CONTINUATION:
        legal = message.opcode != 0
    else:
        legal = opcode in (TEXT, BINARY) and message.opcode == 0
    if not legal or masked != rules.masked or (rsv and not rules.trusts_caller):
        raise _Violation(PROTOCOL_ERROR)


def _check_limits(rules: Rules, message: _Message, opcode: int, length: int) -> None:
    if rules.max_frame and length > rules.max_frame:
        raise _Violation(TOO_BIG)
    if opcode & 8:
        return
    if opcode != CONTINUATION:
        message.opcode, message.size, message.fragments = opcode, 0, 0
        message.text.reset()
    message.size += length
    message.fragments += 1
    if message.size >= 1 << 63 or 0 < rules.max_message < message.size:
        raise _Violation(TOO_BIG)
    if 0 < rules.max_fragments < message.fragments:
        raise _Violation(POLICY_VIOLATION)


def _check_payload(
    rules: Rules, message: _Message, opcode: int, payload: bytes, complete: bool, fin: bool
) -> None:
    """Text as far as it is there; CLOSE when it is complete."""
    if opcode == CLOSE and complete:
        _check_close(payload)
    if opcode & 8 or message.opcode != TEXT or rules.trusts_caller:
        return
    try:
        message.text.decode(payload, final=complete and fin)
    except UnicodeDecodeError:
        raise _Violation(INVALID_DATA) from None
    # Python waits for the third byte of a surrogate, which no third byte makes valid.
    pending = message.text.getstate()[0]
    if pending[:1] == b"\xed" and pending[1:] >= b"\xa0":
        raise _Violation(INVALID_DATA)


def _check_close(payload: bytes) -> None:
    """RFC 6455, 5.5.1 and 7.4; 1012 to 1014 are in the IANA registry."""
    if not payload:
        return
    code = int.from_bytes(payload[:2], "big")
    legal = code in (1000, 1001, 1002, 1003) or 1007 <= code <= 1014 or 3000 <= code <= 4999
    if len(payload) == 1 or not legal:
        raise _Violation(PROTOCOL_ERROR)
    try:
        payload[2:].decode("utf-8")
    except UnicodeDecodeError:
        raise _Violation(INVALID_DATA) from None


def xor(payload: bytes, key: bytes) -> bytes:
    """Mask or unmask (RFC 6455, 5.3)."""
    size = len(payload)
    repeated = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def encode_frame(first_byte: int, payload: bytes, key: Optional[bytes]) -> bytes:
    """A frame on the wire: FIN, RSV and opcode as they are, the shortest length, key or no mask."""
    size = len(payload)
    mask_bit = 0 if key is None else 0x80
    if size < 126:
        head = bytes([first_byte, mask_bit | size])
    elif size < 65536:
        head = bytes([first_byte, mask_bit | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first_byte, mask_bit | 127]) + size.to_bytes(8, "big")
    return head + payload if key is None else head + key + xor(payload, key)
