"""WSPreparedMessage in C: made once, sent often. Gated tier.

``transport.send_prepared`` takes it. Everything that starts with an underscore is private, or room
that is reserved for later: the class keeps its size.
"""

from libc.stdint cimport uint8_t

cimport cython
cimport picows_codec.abi
from picows_codec.transport cimport _Sendable


@cython.final
cdef class WSPreparedMessage(_Sendable):
    cdef const uint8_t* payload_ptr         # valid as long as the object lives
    cdef readonly Py_ssize_t payload_size
    cdef readonly uint8_t wire_opcode       # the opcode as a C number
    cdef bytes _frame                       # what a server sends: a header, and the payload
    cdef dict _compressed                   # window bits -> such a frame with RSV1 (RFC 7692)
    cdef object _reserved

    cdef int _take(self, object payload) except -1
    cdef int _encode(self, const uint8_t* payload, Py_ssize_t size) except -1
