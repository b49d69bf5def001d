"""The server's half of the opening handshake (RFC 6455, 4.2). Private tier."""

from picows_codec.http.handshake cimport OpeningHandshake
from picows_codec.http.upgrade cimport WSUpgradeResponse


cdef class ServerHandshake(OpeningHandshake):
    cdef tuple _subprotocols        # this server's, best first
    cdef object _server             # a weak reference for the request, or None
    cdef object _date               # a function that returns the Date of a response, or None

    cdef object _check_request(self)
    cdef object _check_upgrade(self)
    cdef object _check_extensions(self)
    cdef object _extensions_error(self)
    cdef object _unfit(self, int status, str wanted, str found)
    cdef str _common_subprotocol(self)
    cdef int _use_result(self, object result) except -1
    cdef int _respond(self, WSUpgradeResponse response, object error) except -1
