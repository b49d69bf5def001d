# cython: auto_pickle=False
"""Inflating what arrives (RFC 7692, 7.2.2), frame by frame and under limits.

A stream is never shared between connections, because a peer could refer to what another one sent.
Input is given in parts and output asked for in steps, the last of which ends one byte above the
limit. So a small message takes little memory, a bomb no more than the limit, and no part of a
large message is copied again and again.
"""

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
    _PyBytes_Resize,
)
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
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
    FIRST_STEP = 1024           # bytes
    LARGEST_FIRST_STEP = 16384
    STEP = 65536
    # zlib copies what it has not read yet, in each step.
    PART = 65536
    WINDOW = 32768
    # Blocks that end the stream, in one frame: so many, and one more for every KiB of it. Each
    # costs a new stream and a copy of the rest of the part.
    FINAL_BLOCKS = 16
    BYTES_PER_FINAL_BLOCK = 1024

# 7.2.2, 1: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end". Another block follows, which
# makes a stream fail whose last block is not complete, for example because the peer has left the
# tail in place. With context takeover it is an empty stored block, whose padding cannot be taken
# for a length; without, a final one, because then zlib tells whether it has come to its end.
cdef bytes _TAIL = b"\x00\x00\xff\xff\xf8\x00\x00\xff\xff"
cdef bytes _TAIL_AND_END = b"\x00\x00\xff\xff\x01\x00\x00\xff\xff"
cdef bytes _NONE = b""


cdef inline bytes _part(const uint8_t* payload, Py_ssize_t size, bytes tail):
    cdef bytes data = PyBytes_FromStringAndSize(NULL, size + PyBytes_GET_SIZE(tail))
    memcpy(PyBytes_AS_STRING(data), payload, size)
    memcpy(PyBytes_AS_STRING(data) + size, PyBytes_AS_STRING(tail), PyBytes_GET_SIZE(tail))
    return data


@cython.final
@cython.no_gc
@cython.freelist(4)
cdef class Output:
    """A single piece is handed on as it is; of several a block is made, in which nothing moves."""

    def __dealloc__(self):
        Py_XDECREF(self._block)

    cdef int add(self, bytes piece) except -1:
        cdef Py_ssize_t length = PyBytes_GET_SIZE(piece)
        cdef bytes block
        if self.size == 0:
            self._first = piece
            self.size = length
            return 0
        if self.size + length > self._room:
            # Larger by a fourth and a step, which most allocators give without moving the block.
            self._room = self.limit
            if self.limit - self.size > self.size // 4 + STEP:
                self._room = self.size + self.size // 4 + STEP
            if self._block == NULL:
                block = PyBytes_FromStringAndSize(NULL, self._room)
                memcpy(PyBytes_AS_STRING(block), PyBytes_AS_STRING(self._first), self.size)
                self._first = None
                Py_INCREF(block)
                self._block = <PyObject*> block
            else:
                _PyBytes_Resize(&self._block, self._room)
        memcpy(self._bytes() + self.size, PyBytes_AS_STRING(piece), length)
        self.size += length
        return 0

    cdef char* _bytes(self) noexcept:
        if self._block != NULL:
            return PyBytes_AS_STRING(<object> self._block)
        return PyBytes_AS_STRING(self._first)

    cdef bytes take(self):
        """All of it; nothing is left here."""
        cdef bytes found
        if self._block == NULL:
            return _NONE if self._first is None else self._first
        if self.size != self._room:
            _PyBytes_Resize(&self._block, self.size)
        found = <bytes> self._block
        Py_XDECREF(self._block)
        self._block = NULL
        return found

    cdef bytes window(self, bytes before):
        """The last 32 KiB of a window, or None, and of what was added since this was called."""
        cdef Py_ssize_t since = self.size - self._seen
        cdef Py_ssize_t kept
        cdef bytes window
        if since == 0:
            return _NONE if before is None else before
        if since > WINDOW:
            since = WINDOW
        kept = 0 if before is None else min(PyBytes_GET_SIZE(before), WINDOW - since)
        window = PyBytes_FromStringAndSize(NULL, kept + since)
        if kept:
            memcpy(
                PyBytes_AS_STRING(window),
                PyBytes_AS_STRING(before) + PyBytes_GET_SIZE(before) - kept, kept)
        memcpy(PyBytes_AS_STRING(window) + kept, self._bytes() + self.size - since, since)
        self._seen = self.size
        return window


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
        cdef Output output = Output.__new__(Output)
        cdef bytes data
        self._has_bytes |= size != 0
        # A peer that removes the tail of nothing means an empty message.
        if self._has_bytes:
            output.limit = min(self._max_frame_size, self._max_message_size - self._size)
            violation[0] = self._inflate(payload, size, fin, output)
            if violation[0] < 0:
                self._stream = None
                return None
        if self._window is not None:
            self._window = output.window(self._window)
        if fin and self._is_alone:
            self._stream = self._window = None
        data = output.take()
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

    cdef int _inflate(
            self, const uint8_t* payload, Py_ssize_t size, bint fin, Output output) except 1:
        """Add what a frame inflates to; return 0, or a violation."""
        cdef Py_ssize_t final_blocks = FINAL_BLOCKS + size // BYTES_PER_FINAL_BLOCK
        cdef bytes tail
        cdef int violation
        while size > PART:
            violation = self._inflate_part(
                _part(payload, PART, _NONE), None, output, &final_blocks)
            if violation < 0:
                return violation
            payload += PART
            size -= PART
        if not fin:
            return self._inflate_part(_part(payload, size, _NONE), None, output, &final_blocks)
        tail = _TAIL_AND_END if self._is_alone else _TAIL
        return self._inflate_part(_part(payload, size, tail), tail, output, &final_blocks)

    cdef int _inflate_part(
            self, bytes data, bytes tail, Output output, Py_ssize_t* final_blocks) except 1:
        """``tail``: how the data ends if it is the last of a message, else None."""
        cdef Py_ssize_t step = self._step
        cdef Py_ssize_t length
        cdef object stream
        cdef bytes piece
        while True:
            stream = self._stream
            if stream is None:
                if tail is not None and self._window is not None and data == tail:
                    return 0        # after a final block nothing is left to be flushed
                stream = self._stream = new_inflater(
                    self._window_bits, PyBytes_GET_SIZE(data),
                    _NONE if self._window is None else self._window)
            # One byte more than allowed tells a payload of that size from a larger one.
            if step > output.limit - output.size:
                step = output.limit - output.size + 1
            try:
                piece = stream.decompress(data, step)
            except MemoryError:
                raise
            except Exception:       # zlib.error, or that of another library
                return WS_VIOLATION_COMPRESSION
            length = PyBytes_GET_SIZE(piece)
            if length:
                if length > output.limit - output.size:
                    return (
                        WS_VIOLATION_FRAME_TOO_BIG if output.limit == self._max_frame_size
                        else WS_VIOLATION_MESSAGE_TOO_BIG)
                output.add(piece)
            if stream.eof:
                data = stream.unused_data
                self._stream = None
                if not data and tail is not None and self._is_alone:
                    return 0        # the block of the tail
                # 7.2.3.4: other blocks may follow a final one, and refer to what came before.
                self._window = output.window(self._window)
                final_blocks[0] -= 1
                if final_blocks[0] < 0:
                    return WS_VIOLATION_COMPRESSION
                if not data:
                    return 0
            elif length < step and not stream.unconsumed_tail:
                # Without context takeover a complete message has come to its end.
                return WS_VIOLATION_COMPRESSION if tail is not None and self._is_alone else 0
            else:
                data = stream.unconsumed_tail
                step = STEP


cdef Inflater new_message_inflater(
        int window_bits, bint is_alone, Py_ssize_t max_frame_size, Py_ssize_t max_message_size):
    cdef Inflater inflater = Inflater.__new__(Inflater)
    inflater._window_bits = window_bits
    inflater._is_alone = is_alone
    inflater._step = FIRST_STEP
    inflater._max_frame_size = max_frame_size
    inflater._max_message_size = max_message_size
    return inflater
