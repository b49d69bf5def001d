"""Deflating what is sent: one stream per connection, or per thread. Private tier."""

from libc.stdint cimport uint8_t

cdef class Deflater:
    cdef object _stream         # with context takeover, or within a fragmented message; or None
    cdef bint _is_alone         # without context takeover
    cdef bint _is_foreign       # the peer's window has what this stream does not know
    cdef int _window_bits
    cdef int _level
    cdef int _memory_level

    # The payload of a frame of a compressed message, of which size[0] bytes are sent; None if the
    # message is better sent as it is.
    cdef bytes deflate(
        self, const uint8_t* payload, Py_ssize_t* size, bint first, bint fin)
    # A message that this stream did not make was sent.
    cdef int forget_context(self) noexcept

cdef Deflater new_message_deflater(int window_bits, bint is_alone, int level, int memory_level)
