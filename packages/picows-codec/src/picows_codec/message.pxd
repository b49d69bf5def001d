"""WSMessageListener: whole messages instead of frames. Gated tier."""

cimport picows_codec.abi
from picows_codec.transport cimport WSListener, WSTransport
from picows_codec.view cimport WSFrame, WSMessage

cdef class WSMessageListener(WSListener):
    cdef object _on_message     # the overridden Python callback, or None for a compiled one
    cdef object _assembly       # fragments of the message under way, or None

    cpdef on_ws_message(self, WSTransport transport, WSMessage message)

    cdef int _take(self, WSTransport transport, WSFrame frame) except -1
    cdef int _hand_over(self, WSTransport transport, WSMessage message) except -1

    cdef void _reserved_of_messages_0(self) noexcept
    cdef void _reserved_of_messages_1(self) noexcept
    cdef void _reserved_of_messages_2(self) noexcept
    cdef void _reserved_of_messages_3(self) noexcept
