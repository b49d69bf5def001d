"""What a listener is handed: a frame or a message, in place in the receive buffer.

Gated tier. A compiled listener may read ``payload_ptr[0:payload_size]`` directly during its
callback; the memory belongs to the library. After the callback use the object (it stays valid
as long as it is referenced), never a pointer that was kept. Everything that starts with an
underscore is private or reserved: both classes keep their size and the order of their methods.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

cimport picows_codec.abi

cdef class WSMessage:
    cdef:
        const uint8_t* payload_ptr      # never NULL
        readonly Py_ssize_t payload_size
        readonly uint8_t wire_opcode    # the opcode as a C number
        int _exports                    # memoryviews that are alive
        object _owner                   # bytes or ReadBuffer that keeps payload_ptr alive
        object _source                  # ReadBuffer that payload_ptr points into while borrowed
        object _reserved

    cpdef bytes get_payload_as_bytes(self)
    cpdef str get_payload_as_utf8_text(self)
    cpdef str get_payload_as_ascii_text(self)
    cpdef object get_payload_as_memoryview(self)

    cdef int _detach(self) except -1

    cdef void _reserved_0(self) noexcept
    cdef void _reserved_1(self) noexcept
    cdef void _reserved_2(self) noexcept
    cdef void _reserved_3(self) noexcept

cdef class WSFrame(WSMessage):
    cdef:
        readonly bint fin
        readonly bint rsv1
        readonly bint rsv2
        readonly bint rsv3
        readonly bint last_in_buffer
        readonly Py_ssize_t tail_size
        object _reserved_of_frame

    cpdef object get_close_code(self)
    cpdef object get_close_reason(self)
    cpdef object get_close_message(self)

    cdef void _reserved_of_frame_0(self) noexcept
    cdef void _reserved_of_frame_1(self) noexcept
    cdef void _reserved_of_frame_2(self) noexcept
    cdef void _reserved_of_frame_3(self) noexcept

# For the receiver, per frame and inline for that; watched by the inbound benches.

cdef inline void _set_payload(
        WSFrame self, uint8_t opcode, const uint8_t* payload, Py_ssize_t size) noexcept:
    self.wire_opcode = opcode
    self.payload_ptr = payload
    self.payload_size = size

# source: the ReadBuffer that the payload lies in. owner: the bytes object that it lies in, or None.
cdef inline void _set_memory(WSFrame self, object owner, object source) noexcept:
    if self._owner is not owner:
        self._owner = owner
    if self._source is not source:
        self._source = source

cdef inline void _forget_owner(WSFrame self) noexcept:
    self._owner = None

cdef inline void _set_fin(WSFrame self, bint fin) noexcept:
    self.fin = fin

cdef inline void _set_tail(WSFrame self, Py_ssize_t size, bint is_last) noexcept:
    self.tail_size = size
    self.last_in_buffer = is_last

# For the listener: a message that owns its payload.
cdef inline WSMessage _message_of(uint8_t opcode, bytes payload):
    cdef WSMessage message = WSMessage.__new__(WSMessage)
    message.wire_opcode = opcode
    message._owner = payload
    message.payload_ptr = <const uint8_t*> PyBytes_AS_STRING(payload)
    message.payload_size = PyBytes_GET_SIZE(payload)
    return message
