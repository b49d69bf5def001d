"""The client's half of the opening handshake (RFC 6455, 4.1). Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.http.body cimport ws_chunked
from picows_codec.http.handshake cimport OpeningHandshake


cdef class ClientHandshake(OpeningHandshake):
    cdef bytes _key
    cdef tuple _subprotocols
    cdef bytearray _body            # of a response other than 101
    cdef Py_ssize_t _body_left      # bytes of it that have not arrived
    cdef ws_chunked _chunked

    cdef object _check_response(self)
    cdef int _expect_body(self) except -1
    cdef int _feed_body(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _finish_body(self) except -1
