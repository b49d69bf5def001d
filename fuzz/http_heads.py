"""A second reading of HTTP/1.1 heads (RFC 9112), strict, and without a line of the codec's."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import List, Optional, Tuple

__all__ = ["Head", "accept_for", "read_head"]

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# HTAB, SP, VCHAR and obs-text, without white space around it
_VALUE = re.compile(rb"(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?")
_LINE = re.compile(rb"[\t\x20-\x7e\x80-\xff]+")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(frozen=True)
class Head:
    """A start line and fields; names are in lower case, ``size`` includes the empty line."""

    start: bytes
    fields: List[Tuple[bytes, bytes]]
    size: int

    def values(self, name: bytes) -> List[bytes]:
        """The values of every field of this name."""
        return [value for found, value in self.fields if found == name]

    def elements(self, name: bytes) -> List[bytes]:
        """The elements of a comma-separated list over all fields of this name, in lower case."""
        joined = b",".join(self.values(name)).lower()
        return [element.strip(b" \t") for element in joined.split(b",") if element.strip(b" \t")]


def read_head(data: bytes) -> Optional[Head]:
    """The head at the front of the data; None for anything that is not exactly a head."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    start, *lines = data[:end].split(b"\r\n")
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        value = value.strip(b" \t")
        if not colon or not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            return None
        fields.append((name.lower(), value))
    if not _LINE.fullmatch(start):
        return None
    return Head(start, fields, end + 4)


def accept_for(key: bytes) -> bytes:
    """The value of Sec-WebSocket-Accept for a key (RFC 6455, 4.2.2, 5)."""
    return base64.b64encode(hashlib.sha1(key + _GUID).digest())
