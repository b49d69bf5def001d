"""Opening handshake of both sides, without I/O (RFC 6455, 4). Private tier."""

from libc.stdint cimport uint8_t, uint32_t

from picows_codec.headers cimport ws_chunked, ws_upgrade_head
from picows_codec.options cimport WSOptions


cdef class WSUpgradeRequest:
    cdef readonly bytes raw_header
    cdef object _remote_address     # packed, see socket_address
    cdef object _local_address
    cdef object _headers            # CIMultiDictProxy, or None until somebody asks
    cdef uint32_t _method_size
    cdef uint32_t _path_start
    cdef uint32_t _path_size
    cdef uint32_t _version          # 11 for HTTP/1.1


cdef class WSUpgradeResponse:
    cdef readonly int status
    cdef readonly str reason
    cdef readonly str version
    cdef readonly str subprotocol   # or None
    cdef readonly bytes body        # or None
    cdef readonly bytes raw_header  # as received or sent; None for a response made by a caller
    cdef object _headers            # CIMultiDict, or None until somebody asks


cdef class WSUpgradeResponseWithListener:
    cdef readonly WSUpgradeResponse response
    cdef readonly object listener


cdef class OpeningHandshake:
    cdef readonly bint done
    cdef readonly bint accepted
    cdef readonly WSUpgradeRequest request
    cdef readonly WSUpgradeResponse response
    cdef readonly object listener
    cdef readonly str subprotocol
    cdef readonly object error
    cdef readonly bint factory_failed   # error is the factory's: it raised, or returned no listener
    cdef readonly bytes to_send
    cdef bint _is_server
    cdef WSOptions _options
    cdef object _factory            # makes the listener; dropped when done
    cdef ws_upgrade_head _head
    cdef bytearray _pieces          # of a head that did not arrive in one piece
    cdef bytes _raw_header          # of the peer, once complete
    cdef object _remote_address     # packed, for the request
    cdef object _local_address
    cdef str _refusal               # what a refused client is told: nothing of its request
    cdef uint8_t _passed_over       # empty lines before a request, interim responses

    # Takes the next bytes of the peer; they may be freed afterwards. Returns how many were the
    # handshake's: if it is accepted, the rest are frames. Sets done. Raises only what is not an
    # Exception (KeyboardInterrupt and the like) out of a caller's factory.
    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1
    # Say where the bytes come from, and whereto, for the request: what pack_address gives.
    cdef int set_addresses(self, object remote, object local) except -1
    cpdef feed_eof(self)
    cpdef feed_timeout(self)
    cpdef fail(self, object exception)
    cpdef bytes take_to_send(self)

    cdef int _on_head(self) except -1
    cdef int _refuse(self, object error) except -1
    cdef object _header_error(self, object error_type, int known, str name, str wanted)
    cdef str _bad_line(self, int status)
    cdef int _end(self, object error) except -1
    cdef int _accept(self, object listener, str subprotocol) except -1


cdef class ClientHandshake(OpeningHandshake):
    cdef bytes _key
    cdef tuple _subprotocols
    cdef bytearray _body            # of an answer other than 101
    cdef Py_ssize_t _body_left      # bytes of it that are still waited for
    cdef ws_chunked _chunked

    cdef object _check_response(self)
    cdef int _expect_body(self) except -1
    cdef int _feed_body(self, const uint8_t* data, Py_ssize_t size) except -1
    cdef int _finish_body(self) except -1


cdef class ServerHandshake(OpeningHandshake):
    cdef object _check_request(self)
    cdef object _check_upgrade(self)
    cdef object _unfit(self, int status, str wanted, str found)
    cdef int _on_result(self, object result) except -1
    cdef int _answer(self, WSUpgradeResponse response, object error) except -1
