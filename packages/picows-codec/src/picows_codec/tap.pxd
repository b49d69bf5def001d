"""WSTap in C: is given the raw bytes of every read and write. Gated tier.

A compiled tap subclasses it and overrides ``on_bytes``, which is called through the vtable.
Everything that starts with an underscore is private, or room that is reserved for later: the class
keeps its size and the order of its methods.
"""

from libc.stdint cimport int64_t, uint8_t

cimport picows_codec.abi

cdef enum ws_direction:
    # The numbers of WSDirection.
    WS_RECEIVED = 0
    WS_SENT = 1

cdef class WSTap:
    # A read has brought data[0:size], or a write is about to hand it to the transport. The bytes
    # are valid during the call only. time_ns: as of time.time_ns().
    cdef int on_bytes(
        self, int direction, const uint8_t* data, Py_ssize_t size, int64_t time_ns) except -1

    # The connection has ended, because of a WSDisconnectCause.
    cdef int on_end(self, object cause) except -1

    cdef void _reserved_0(self) noexcept
    cdef void _reserved_1(self) noexcept
    cdef void _reserved_2(self) noexcept
    cdef void _reserved_3(self) noexcept
