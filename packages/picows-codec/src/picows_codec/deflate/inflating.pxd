"""Inflating what arrives, under limits. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.utf8 cimport ws_utf8

cdef class Inflater:
    cdef object _stream             # with context takeover, or within a message; or None
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

    cdef int _inflate(self, bytes data, bint fin, list pieces) except 1

cdef Inflater new_message_inflater(
    int window_bits, bint is_alone, Py_ssize_t max_frame_size, Py_ssize_t max_message_size)
