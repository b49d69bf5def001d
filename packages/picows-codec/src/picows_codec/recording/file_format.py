"""The file format of recordings, version 1: see docs/recording.md, which is its description."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, Dict, Optional

from picows_codec.errors import WSError
from picows_codec.tap_types import WSDirection

__all__ = [
    "DATA",
    "END",
    "FILE_HEAD",
    "OPEN",
    "RECORD_HEAD",
    "Record",
    "RecordingError",
    "check_file_head",
    "decode_body",
    "encode_record",
    "file_head",
]

_MAGIC = b"\x89PICOWS\n"
_VERSION = 1
FILE_HEAD = struct.Struct("<8sH6x")  # magic, version
RECORD_HEAD = struct.Struct("<III")  # size of the body, its CRC-32, CRC-32 of these eight bytes
_BODY = struct.Struct("<BBHIqq")  # kind, flags, 0, connection, monotonic, wall; data follows

OPEN, DATA, END = 1, 2, 3
_KINDS = {OPEN: "open", DATA: "data", END: "end"}
_SENT = 1
_HANDSHAKE = 2


class RecordingError(WSError, ValueError):
    """A file that is no recording, or is damaged, or cannot be replayed."""


@dataclass(frozen=True)
class Record:
    """One record of a recording.

    ``kind``: ``"open"``, ``"data"`` or ``"end"``. ``connection``: a number in this file.
    ``time_ns``: wall time, as ``time.time_ns()``; ``monotonic_ns``: as ``time.monotonic_ns()``.
    Of ``"data"``: ``direction``, ``data``, and whether these are the head of an opening handshake
    (``is_handshake``), which has no secrets. Of ``"open"`` and ``"end"``: ``facts``.
    """

    kind: str
    connection: int
    time_ns: int
    monotonic_ns: int
    direction: Optional[WSDirection] = None  # of data
    data: bytes = b""
    is_handshake: bool = False  # data: an opening handshake's head, without secrets
    facts: Dict[str, Any] = field(default_factory=dict)  # of open and end

    @property
    def role(self) -> Optional[str]:
        """Of ``"open"``: ``"client"`` or ``"server"``."""
        return self.facts.get("role")

    @property
    def url(self) -> Optional[str]:
        """Of ``"open"``: the URL, without secrets."""
        return self.facts.get("url")


def file_head() -> bytes:
    """Return the first bytes of a file."""
    return FILE_HEAD.pack(_MAGIC, _VERSION)


def check_file_head(head: bytes, path: object) -> None:
    """Raise :exc:`RecordingError` for what is no recording of this version."""
    if len(head) < FILE_HEAD.size or head[:8] != _MAGIC:
        raise RecordingError(f"{path} is not a recording")
    version = FILE_HEAD.unpack(head)[1]
    if version != _VERSION:
        raise RecordingError(
            f"{path} is a recording of version {version}; version {_VERSION} can be read"
        )


def encode_record(
    kind: int,
    connection: int,
    monotonic_ns: int,
    time_ns: int,
    data: bytes,
    *,
    is_sent: bool = False,
    is_handshake: bool = False,
) -> bytes:
    """Return the bytes of a record."""
    flags = (_SENT if is_sent else 0) | (_HANDSHAKE if is_handshake else 0)
    body = _BODY.pack(kind, flags, 0, connection, monotonic_ns, time_ns) + data
    sizes = struct.pack("<II", len(body), zlib.crc32(body))
    return sizes + struct.pack("<I", zlib.crc32(sizes)) + body


def decode_body(body: bytes) -> Optional[Record]:
    """Return the record of a body whose checksum is right; None for a kind of a later time."""
    if len(body) < _BODY.size:
        raise ValueError("a body that is too short")
    kind, flags, _, connection, monotonic_ns, time_ns = _BODY.unpack_from(body)
    name = _KINDS.get(kind)
    if name is None:
        return None
    data = body[_BODY.size :]
    if kind != DATA:
        return Record(name, connection, time_ns, monotonic_ns, facts=_facts_of(data))
    direction = WSDirection.SENT if flags & _SENT else WSDirection.RECEIVED
    is_handshake = bool(flags & _HANDSHAKE)
    return Record(name, connection, time_ns, monotonic_ns, direction, data, is_handshake)


def _facts_of(data: bytes) -> Dict[str, Any]:
    """Take the JSON of a record apart; ValueError for what this version cannot use."""
    try:
        facts = json.loads(data)
    except RecursionError:
        raise ValueError("its JSON is nested too deeply") from None
    if not isinstance(facts, dict):
        raise ValueError("its JSON is no object")  # noqa: TRY004 - what readers catch
    if facts.get("role", "client") not in ("client", "server"):
        raise ValueError("its role is neither client nor server")
    if "continues" in facts:
        _check_continuation(facts["continues"])
    return facts


def _check_continuation(continues: Any) -> None:
    is_whole = (
        isinstance(continues, dict)
        and all(isinstance(continues.get(name), int) for name in ("heads", "left", "last"))
        and min(continues["heads"], continues["left"], continues["last"]) >= 0
        and isinstance(continues.get("head"), str)
        and {"in_message", "is_lost"} <= continues.keys()
    )
    if not is_whole:
        raise ValueError("its continuation is not as it should be")
    bytes.fromhex(continues["head"])
