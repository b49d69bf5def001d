"""WSTransport in C: what a compiled listener sends with. Gated tier.

``send_bytes`` and ``send_reuse_external_buffer`` send without a Python call. Everything that starts
with an underscore is private, or room that is reserved for later: the class keeps its size and the
order of its methods.
"""

cimport picows_codec.abi

cdef class _Sendable:
    """What send_prepared takes: something that sends itself."""

    cdef int _send_on(self, object connection) except -1

cdef class WSTransport:
    cdef object _connection
    cdef object _follower
    cdef object __weakref__

    cpdef send(
        self, object opcode, object message, bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*)
    cpdef send_reuse_external_bytearray(
        self, object opcode, bytearray buffer, Py_ssize_t offset,
        bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*)
    cpdef send_many(self, object opcode, object payloads)
    cpdef send_prepared(self, object message)
    cpdef send_ping(self, object message=*)
    cpdef send_pong(self, object message=*)
    cpdef send_close(self, object code=*, object reason=*)
    cpdef disconnect(self, object graceful=*, object code=*, object reason=*)
    cpdef notify_user_specific_pong_received(self)

    # Send payload[0:size]; copied or handed to the kernel before the call returns. rsv: RSV1 = 4,
    # RSV2 = 2, RSV3 = 1. Raises what send() raises.
    cdef int send_bytes(
        self, int opcode, const void* payload, Py_ssize_t size, bint fin=*, int rsv=*) except -1
    # The same without a copy: the 14 bytes before payload are overwritten with the header, and on
    # a client the payload itself is masked in place.
    cdef int send_reuse_external_buffer(
        self, int opcode, void* payload, Py_ssize_t size, bint fin=*, int rsv=*) except -1

    cdef void _reserved_0(self) noexcept
    cdef void _reserved_1(self) noexcept
    cdef void _reserved_2(self) noexcept
    cdef void _reserved_3(self) noexcept

# For the dispatcher
cdef WSTransport _new_transport(object connection)

# For what follows connections
cdef int _set_follower(WSTransport transport, object follower) except -1

# For coroutines: send() without its arguments. opcode: TEXT or BINARY.
cdef int _send_message_of(object connection, int opcode, object message) except -1
