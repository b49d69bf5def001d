# cython: auto_pickle=False
"""Inflating what arrives (RFC 7692, 7.2.2), frame by frame and under limits.

A stream is never shared between connections, because a peer could refer to what another one sent.
Output is asked for in steps, the last of which ends one byte above the limit, so that a small
message takes little memory and a bomb no more than the limit.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from picows_codec.constants cimport (
    WS_VIOLATION_COMPRESSION,
    WS_VIOLATION_FRAME_TOO_BIG,
    WS_VIOLATION_INVALID_UTF8,
    WS_VIOLATION_MESSAGE_TOO_BIG,
)
from picows_codec.utf8 cimport _begin_text, ws_utf8_complete, ws_utf8_feed

from picows_codec.deflate.engine import new_inflater

cdef enum:
    TAIL_SIZE = 4
    FIRST_STEP = 1024           # bytes
    LARGEST_FIRST_STEP = 16384
    # Blocks that end the stream, in one frame. Each costs a new stream and a copy of the rest of
    # the frame, and no known peer makes more than one.
    MOST_FINAL_BLOCKS = 16

# 7.2.2, 1: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end". Without context takeover a
# final block follows: a stream whose last block is not complete does not come to its end.
cdef const char* TAIL = b"\x00\x00\xff\xff\x01\x00\x00\xff\xff"
cdef bytes _TAIL = b"\x00\x00\xff\xff"
cdef bytes _TAIL_AND_END = b"\x00\x00\xff\xff\x01\x00\x00\xff\xff"


@cython.final
cdef class Inflater:
    """What one connection receives."""

    cdef int begin(self, bint is_text) noexcept:
        self._is_text = is_text
        self._has_bytes = False
        self._size = 0
        _begin_text(&self._utf8)
        return 0

    cdef bytes inflate(
            self, const uint8_t* payload, Py_ssize_t size, bint fin, int* violation):
        """Called per frame of a compressed message."""
        cdef Py_ssize_t tail_size = 0
        cdef list pieces = []
        cdef bytes data
        self._has_bytes |= size != 0
        # A peer that removes the tail of nothing means an empty message.
        if self._has_bytes:
            if fin:
                tail_size = TAIL_SIZE + 5 if self._is_alone else TAIL_SIZE
            data = PyBytes_FromStringAndSize(NULL, size + tail_size)
            memcpy(PyBytes_AS_STRING(data), payload, size)
            memcpy(PyBytes_AS_STRING(data) + size, TAIL, tail_size)
            violation[0] = self._inflate(data, fin, pieces)
            if violation[0] < 0:
                self._stream = None
                return None
        if fin and self._is_alone:
            self._stream = None
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if self._is_text:
            # RFC 6455, 8.1 holds for what the application sees.
            if not ws_utf8_feed(
                    &self._utf8, <const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)
            ) or (fin and not ws_utf8_complete(&self._utf8)):
                violation[0] = WS_VIOLATION_INVALID_UTF8
                return None
        self._size += PyBytes_GET_SIZE(data)
        self._step = min(max(2 * PyBytes_GET_SIZE(data), FIRST_STEP), LARGEST_FIRST_STEP)
        return data

    cdef int _inflate(self, bytes data, bint fin, list pieces) except 1:
        """Append what data inflates to; return 0, or a violation."""
        cdef Py_ssize_t limit = min(
            self._max_frame_size, self._max_message_size - self._size)
        cdef Py_ssize_t inflated = 0
        cdef Py_ssize_t step = self._step
        cdef Py_ssize_t length
        cdef int final_blocks = 0
        cdef object stream = self._stream
        cdef bytes piece
        if stream is None:
            stream = self._stream = new_inflater(self._window_bits)
        while True:
            # One byte more than allowed tells a payload of that size from a larger one.
            if step > limit - inflated:
                step = limit - inflated + 1
            try:
                piece = stream.decompress(data, step)
            except MemoryError:
                raise
            except Exception:       # zlib.error, or that of another library
                return WS_VIOLATION_COMPRESSION
            length = PyBytes_GET_SIZE(piece)
            if length:
                pieces.append(piece)
                inflated += length
                if inflated > limit:
                    return (
                        WS_VIOLATION_FRAME_TOO_BIG if inflated > self._max_frame_size
                        else WS_VIOLATION_MESSAGE_TOO_BIG)
            if stream.eof:
                data = stream.unused_data
                if fin and (not data or data == _TAIL or data == _TAIL_AND_END):
                    # The end: after a final block of the peer's nothing is left to be flushed.
                    self._stream = None
                    if not self._is_alone:
                        self._stream = new_inflater(self._window_bits, _window(pieces))
                    return 0
                # 7.2.3.4: blocks may follow a final one. The window stays.
                final_blocks += 1
                if final_blocks > MOST_FINAL_BLOCKS:
                    return WS_VIOLATION_COMPRESSION
                stream = self._stream = new_inflater(self._window_bits, _window(pieces))
                if not data:
                    return 0
            elif length < step and not stream.unconsumed_tail:
                # Without context takeover a complete message has come to its end.
                return WS_VIOLATION_COMPRESSION if fin and self._is_alone else 0
            else:
                data = stream.unconsumed_tail
                step *= 4


cdef bytes _window(list pieces):
    """The last 32 KiB of what a frame was inflated to: what a stream that begins may refer to.

    zlib does not tell what earlier messages left in the window of a stream that has ended.
    """
    cdef bytes inflated = b"".join(pieces)
    return inflated[max(PyBytes_GET_SIZE(inflated) - 32768, 0):]


cdef Inflater new_message_inflater(
        int window_bits, bint is_alone, Py_ssize_t max_frame_size, Py_ssize_t max_message_size):
    cdef Inflater inflater = Inflater.__new__(Inflater)
    inflater._window_bits = window_bits
    inflater._is_alone = is_alone
    inflater._step = FIRST_STEP
    inflater._max_frame_size = max_frame_size
    inflater._max_message_size = max_message_size
    return inflater
