"""Publications as bytes: what is sent to an engine, and kept in its history.

A record is one message. An envelope is what an engine carries at once: a version, the process that
has published, and records of one topic. Where the engine counts offsets, its script puts its line
before that.
"""

from __future__ import annotations

from struct import Struct, error
from typing import List, Optional, Tuple

from picows_server.backplane.interface import Position

__all__ = [
    "ENVELOPE_OVERHEAD",
    "PRODUCER_SIZE",
    "RECORD_OVERHEAD",
    "PublishedRecord",
    "decode_envelope",
    "decode_records",
    "encode_published",
    "plain_envelope",
    "sequence_of",
]

#: Bytes that name a process.
PRODUCER_SIZE = 12

# Sequence number, that of the topic's record before it, token, opcode, sizes of key and payload.
_FIELDS = "QQqBII"
_HEAD = Struct(f">{_FIELDS}")
_HEAD_SIZE = _HEAD.size
_pack, _unpack = _HEAD.pack, _HEAD.unpack_from
# An envelope without an offset and its first record.
_FIRST = Struct(f">B{PRODUCER_SIZE}s{_FIELDS}")
_FIRST_SIZE = _FIRST.size
_unpack_first = _FIRST.unpack_from
_NO_KEY = 0xFFFFFFFF
_NO_TOKEN = -1
_PLAIN = b"\x01"
_PLAIN_CODE = 1
_POSITIONED_CODE = 2

#: One message in an envelope: its sequence number, which grows with every message of a process;
#: that of the message before it, of the same process and topic (0: not told); token, opcode, key
#: and payload. A named tuple would cost a receiver a tenth more instructions per message.
PublishedRecord = Tuple[int, int, Optional[int], int, Optional[str], bytes]

#: Bytes that :func:`plain_envelope` adds to records.
ENVELOPE_OVERHEAD = 1 + PRODUCER_SIZE

#: The most bytes that are sent with a payload, without its key and its topic.
RECORD_OVERHEAD = _HEAD_SIZE + PRODUCER_SIZE + 64


def encode_published(
    sequence: int,
    previous: int,
    token: Optional[int],
    opcode: int,
    key: Optional[str],
    payload: bytes,
) -> bytes:
    """Return one record.

    Called per publish; watched by the bench of backplanes.
    """
    number = _NO_TOKEN if token is None else token
    if key is None:
        return _pack(sequence, previous, number, opcode, _NO_KEY, len(payload)) + payload
    encoded = key.encode("utf-8", "surrogatepass")
    head = _pack(sequence, previous, number, opcode, len(encoded), len(payload))
    return b"%b%b%b" % (head, encoded, payload)


def sequence_of(record: bytes) -> int:
    """Return the sequence number of a record."""
    return int.from_bytes(record[:8], "big")


def plain_envelope(producer: bytes, records: List[bytes]) -> bytes:
    """Return an envelope without an offset.

    Called per publish, mostly with one record; watched by the bench of backplanes.
    """
    if len(records) == 1:
        return _PLAIN + producer + records[0]  # no tuple, no join
    return b"".join((_PLAIN, producer, *records))


def decode_envelope(data: bytes) -> Tuple[Optional[Position], bytes, List[PublishedRecord]]:
    """Return the position of the first record, who has published, and the records.

    Called per message, mostly with one record; watched by the bench of backplanes.

    :raises ValueError: the bytes are not ours.
    """
    code = data[0] if data else 0
    if code == _PLAIN_CODE:
        if len(data) >= _FIRST_SIZE:
            _, producer, sequence, previous, token, opcode, key, size = _unpack_first(data)
            if key == _NO_KEY and _FIRST_SIZE + size == len(data):  # nothing follows
                number = None if token == _NO_TOKEN else token
                payload = data[_FIRST_SIZE:]
                return None, producer, [(sequence, previous, number, opcode, None, payload)]
        return None, data[1 : 1 + PRODUCER_SIZE], decode_records(data, 1 + PRODUCER_SIZE)
    if code == _POSITIONED_CODE:
        end = data.index(b"\n")
        epoch, _, offset = data[1:end].partition(b" ")
        start = end + 1 + PRODUCER_SIZE
        position = Position(int(offset), epoch.decode("ascii"))
        return position, data[end + 1 : start], decode_records(data, start)
    raise ValueError(f"an envelope of version {code}")


def decode_records(data: bytes, start: int) -> List[PublishedRecord]:
    """Return the records that follow each other from ``start`` on.

    Called per message; watched by the bench of backplanes.

    :raises ValueError: the bytes are not ours.
    """
    records = []
    size = len(data)
    while start < size:
        try:
            sequence, previous, token, opcode, key_size, payload_size = _unpack(data, start)
        except error:
            raise ValueError("half a record") from None
        start += _HEAD_SIZE
        key = None
        if key_size != _NO_KEY:
            key = data[start : start + key_size].decode("utf-8", "surrogatepass")
            start += key_size
        end = start + payload_size
        if end > size:
            raise ValueError("half a record")
        number = None if token == _NO_TOKEN else token
        records.append((sequence, previous, number, opcode, key, data[start:end]))
        start = end
    return records
