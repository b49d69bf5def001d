"""WSListener and WSTransport, the two sides of a connection's C-level API. Gated tier.

A compiled listener subclasses :class:`WSListener` and overrides its ``cpdef`` callbacks; they are
called through the vtable, without a Python call. From there ``transport.send_bytes`` and
``transport.send_reuse_external_buffer`` send without one. Everything that starts with an
underscore is private, or room that is reserved for later: both classes keep their size and the
order of their methods.
"""

cimport picows_codec.abi
from picows_codec.view cimport WSFrame

cdef class WSTransport:
    cdef object _connection
    cdef object _reserved
    cdef object __weakref__

    cpdef send(
        self, object opcode, object message, bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*)
    cpdef send_reuse_external_bytearray(
        self, object opcode, bytearray buffer, Py_ssize_t offset,
        bint fin=*, bint rsv1=*, bint rsv2=*, bint rsv3=*)
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

cdef class WSListener:
    cdef public WSTransport transport
    cdef object _reserved
    cdef object __weakref__

    cpdef on_ws_connected(self, WSTransport transport)
    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame)
    cpdef on_ws_disconnected(self, WSTransport transport)
    cpdef pause_writing(self)
    cpdef resume_writing(self)
    cpdef send_user_specific_ping(self, WSTransport transport)
    cpdef is_user_specific_pong(self, WSFrame frame)

    # Called once when the connection opens and once when it has ended, and for every frame where
    # on_ws_frame is compiled.
    cdef int _opened(self) except -1
    cdef int _closed(self) except -1
    cdef int _deliver(self, WSTransport transport, WSFrame frame) except -1

    cdef void _reserved_0(self) noexcept
    cdef void _reserved_1(self) noexcept
    cdef void _reserved_2(self) noexcept
    cdef void _reserved_3(self) noexcept
    cdef void _reserved_4(self) noexcept
    cdef void _reserved_5(self) noexcept
    cdef void _reserved_6(self) noexcept
    cdef void _reserved_7(self) noexcept

# For the endpoint
cdef WSTransport _new_transport(object connection)
cdef int _introduce(WSListener listener, WSTransport transport) except -1
cdef bint _is_compiled(object callback)
