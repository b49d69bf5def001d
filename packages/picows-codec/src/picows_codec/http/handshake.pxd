"""What both sides of the opening handshake share, without I/O (RFC 6455, 4). Private tier.

The fields of `OpeningHandshake` are set here only: a side changes them by its methods.
"""

from libc.stdint cimport uint8_t

from picows_codec.http.upgrade cimport WSUpgradeRequest, WSUpgradeResponse
from picows_codec.http.upgrade_head cimport ws_upgrade_head
from picows_codec.options cimport WSOptions

cdef enum:
    WS_MAX_PASSED_OVER = 8      # empty lines before a request, interim responses before a 101
    WS_ENOUGH_HELD = 65536      # bytes behind a request whose response is deferred

# A value of the peer for the text of an error: escaped, and not too long.
cdef str ws_bounded(object value)


cdef class OpeningHandshake:
    cdef readonly bint done
    cdef readonly bint accepted
    cdef readonly WSUpgradeRequest request
    cdef readonly WSUpgradeResponse response
    cdef readonly object listener
    cdef readonly str subprotocol
    cdef readonly object compression    # the Agreement about permessage-deflate, or None
    cdef readonly object error
    cdef readonly bint factory_failed   # error comes from the factory
    cdef readonly bytes to_send
    cdef readonly object deferred       # what will give the factory's result, or None
    cdef readonly bint response_begun   # by what is deferred
    cdef readonly object unused         # a listener for a request that is no upgrade, or None
    cdef bint _is_server
    cdef WSOptions _options
    cdef object _factory            # makes the listener; dropped when done
    cdef ws_upgrade_head _head
    cdef bytearray _pieces          # of a head that did not arrive in one piece; bytes behind it
    cdef bytes _raw_header          # of the peer, once complete
    cdef object _remote_address     # packed, for the request
    cdef object _local_address
    cdef str _refusal               # what a refused client is told: nothing of its request
    cdef uint8_t _passed_over       # empty lines before a request, interim responses

    # Take the next bytes of the peer, which may be freed afterwards, and set done. Returns how many
    # belong to the handshake: if it is accepted, the rest are frames. Raises only what a caller's
    # factory raises that is not an Exception (KeyboardInterrupt, for example).
    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1
    # Set the addresses of the request, as pack_address returns them.
    cdef int set_addresses(self, object remote, object local) except -1
    # Whether the peer's request is for an upgrade to WebSocket, valid or not.
    cdef bint asks_for_upgrade(self) noexcept
    # The factory's result is there, which was deferred.
    cpdef resolve(self, object result)
    # Remember the task that runs what was deferred.
    cdef int set_deferred(self, object task) except -1
    # What is deferred sends the response itself. data: a part of it; the first one has its head.
    cdef int begin_response(self, bytes data) except -1
    # Whether enough came behind the head while the result was waited for; and what came.
    cdef bint is_full(self) noexcept
    cdef bytes take_held(self)
    cpdef feed_eof(self)
    cpdef feed_timeout(self)
    cpdef fail(self, object exception)
    cpdef bytes take_to_send(self)

    # What a side does:
    # The peer's head is complete, in _raw_header and _head.
    cdef int _on_head(self) except -1
    # Call the factory.
    cdef object _ask_factory(self)
    # The factory has returned this.
    cdef int _on_result(self, object result) except -1
    # The peer broke a rule.
    cdef int _refuse(self, object error) except -1

    # What a side uses:
    cdef int _begin(self, bint is_server, object factory, WSOptions options) except -1
    cdef int _set_request(self, WSUpgradeRequest request) except -1
    cdef int _set_compression(self, object agreement) except -1
    cdef int _set_unused(self, object listener) except -1
    cdef int _set_response(self, WSUpgradeResponse response) except -1
    cdef int _set_to_send(self, bytes data) except -1
    # Say what a refused client is told.
    cdef int _set_refusal(self, str text) except -1
    cdef int _set_factory_failed(self, bint failed) except -1
    # Drop what has arrived, because it comes before the head that is waited for. Returns 0 if too
    # much of that has come.
    cdef bint _pass_over(self) noexcept
    # The bytes of the first header line of this name: one of the WS_FIELD_ numbers.
    cdef bytes _value_of(self, int known)
    cdef object _values_of(self, int known, str name)
    cdef object _header_error(self, object error_type, int known, str name, str wanted)
    # The factory's result comes later.
    cdef int _defer(self, object awaitable) except -1
    # Whether that may be: only once.
    cdef bint _may_be_deferred(self) noexcept
    # Nothing more is wanted from the peer: _ask_factory, and _on_result.
    cdef int _conclude(self) except -1
    cdef int _accept(self, object listener, str subprotocol) except -1
    cdef int _end(self, object error) except -1

    cdef str _bad_line(self, int status)
