"""Inflating what arrives, under limits. Private tier."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from picows_codec.utf8 cimport ws_utf8

cdef class Output:
    """What a frame is inflated to."""

    cdef bytes _first               # the first piece; of most frames the only one
    cdef PyObject* _block           # all pieces and room for more: a bytes object; or NULL
    cdef Py_ssize_t _room
    cdef Py_ssize_t size            # bytes so far
    cdef Py_ssize_t limit           # the most that they may become
    cdef Py_ssize_t _seen           # of them went into a window

    cdef int add(self, bytes piece) except -1
    cdef char* _bytes(self) noexcept
    cdef bytes take(self)
    cdef bytes window(self, bytes before)

cdef class Inflater:
    cdef object _stream             # with context takeover, or within a message; or None
    cdef bytes _window              # what the next stream may refer to; None before a final block
    cdef bint _is_alone             # without context takeover
    cdef bint _is_text              # the message under way is one
    cdef bint _has_bytes            # of payload on the wire
    cdef int _window_bits
    cdef Py_ssize_t _step           # bytes to ask for at first: about what a message has
    cdef Py_ssize_t _size           # bytes of the message so far
    cdef Py_ssize_t _max_frame_size
    cdef Py_ssize_t _max_message_size
    cdef ws_utf8 _utf8

    cdef int begin(self, bint is_text) noexcept
    # The payload of the next frame, or None with violation[0] set.
    cdef bytes inflate(
        self, const uint8_t* payload, Py_ssize_t size, bint fin, int* violation)

    cdef int _inflate(
        self, const uint8_t* payload, Py_ssize_t size, bint fin, Output output) except 1
    cdef int _inflate_part(
        self, bytes data, bytes tail, Output output, Py_ssize_t* final_blocks) except 1

cdef Inflater new_message_inflater(
    int window_bits, bint is_alone, Py_ssize_t max_frame_size, Py_ssize_t max_message_size)
