# cython: auto_pickle=False
"""Sec-WebSocket-Key, and the Sec-WebSocket-Accept that belongs to it (RFC 6455, 4)."""

import hashlib
from binascii import b2a_base64
from os import urandom

from picows_codec.http.grammar cimport ws_is_alpha, ws_is_digit, ws_start_of

__all__ = ["accept_for_key", "is_key"]

cdef enum:
    KEY_SIZE = 24

# Made at import, because a process may be unable to open files when it needs the first key.
try:
    _empty_sha1 = hashlib.sha1(usedforsecurity=False)
except TypeError:  # pragma: no cover - Python 3.8
    _empty_sha1 = hashlib.sha1()  # pragma: no cover
cdef object _sha1 = _empty_sha1


cdef inline bint is_base64_byte(uint8_t byte) noexcept nogil:
    return ws_is_alpha(byte) or ws_is_digit(byte) or byte == c'+' or byte == c'/'


cdef bint ws_is_key(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t position
    if size != KEY_SIZE or data[22] != c'=' or data[23] != c'=':
        return False
    for position in range(22):
        if not is_base64_byte(data[position]):
            return False
    # 22 digits are 132 bits: the last four must be zero (RFC 4648, 3.5).
    return data[21] in (c'A', c'Q', c'g', c'w')


cdef bytes ws_new_key():
    return b2a_base64(urandom(16), newline=False)


cdef bytes ws_accept_for_key(bytes key):
    hasher = _sha1.copy()       # faster than a new one
    hasher.update(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    digest = hasher.digest()
    return b2a_base64(digest, newline=False)


# Python face

def is_key(bytes data not None):
    """Whether data is base64 of 16 bytes in its canonical spelling (RFC 6455, 4.2.1)."""
    return ws_is_key(ws_start_of(data), len(data))


def accept_for_key(str key not None):
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, 4.2.2, 5.4)."""
    return ws_accept_for_key(key.encode("ascii")).decode("ascii")
