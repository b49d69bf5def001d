"""`WSUpgradeRequest`, `WSUpgradeResponse`: the opening handshake as a user sees it. Private tier.

The fields of both are set here only, by the functions below.
"""

from libc.stdint cimport uint32_t

from picows_codec.http.head cimport ws_request_line


cdef class WSUpgradeRequest:
    cdef readonly bytes raw_header
    cdef object _remote_address     # packed, see socket_address
    cdef object _local_address
    cdef object _headers            # CIMultiDictProxy, or None until somebody asks
    cdef object _server             # a weak reference to the server, or None
    cdef uint32_t _path_start       # the method is before it, the version behind it
    cdef uint32_t _path_size


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


# A request with this head, whose first line was parsed into `line`.
cdef WSUpgradeRequest ws_new_request(bytes raw_header, const ws_request_line* line)

# Addresses as pack_address gives them.
cdef int ws_set_request_addresses(
    WSUpgradeRequest self, object remote, object local) except -1

# Set the server that got the request, by a weak reference.
cdef int ws_set_request_server(WSUpgradeRequest self, object server) except -1

# Where the request comes from, packed: set_remote_address may have changed it.
cdef object ws_remote_address(WSUpgradeRequest self)

# A response as it was received or sent.
cdef WSUpgradeResponse ws_wire_response(
    bytes raw_header, int status, str reason, str version, str subprotocol)

# Set what the head of a received response alone does not decide.
cdef int ws_set_response_subprotocol(WSUpgradeResponse self, str subprotocol) except -1
cdef int ws_set_response_body(WSUpgradeResponse self, bytes body) except -1

# The head of a response that a route made, with what the library adds to it. size: bytes of its
# body; negative for that which it has. date: the value of Date, unless it has one; None: no Date.
cdef bytes ws_response_head(WSUpgradeResponse self, Py_ssize_t size, bytes date)

# The ASCII bytes of a subprotocol that a caller passes.
cdef bytes ws_encode_subprotocol(object value)
