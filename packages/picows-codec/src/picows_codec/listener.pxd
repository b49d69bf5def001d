"""WSListener and WSMessageListener in C. Gated tier.

A compiled listener subclasses one of them and overrides its ``cpdef`` callbacks; they are called
through the vtable, without a Python call. Everything that starts with an underscore is private, or
room that is reserved for later: both classes keep their size and the order of their methods.
"""

cimport picows_codec.abi
from picows_codec.frames cimport WSFrame, WSMessage
from picows_codec.transport cimport WSTransport

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

    # _opened: called once, when the connection opens. _closed: called once, when it has ended.
    # _deliver: called per frame, if on_ws_frame is compiled.
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

cdef class WSMessageListener(WSListener):
    cdef object _on_message     # the overridden Python callback, or None for a compiled one
    cdef object _assembly       # fragments of the message under way, or None

    cpdef on_ws_message(self, WSTransport transport, WSMessage message)

    cdef int _take(self, WSTransport transport, WSFrame frame) except -1
    cdef int _hand_over(self, WSTransport transport, WSMessage message) except -1
    # Whether the listener gathers what a read brings, which is asked once; and the end of a read.
    cdef bint _is_batching(self) noexcept
    cdef int _end_batch(self, WSTransport transport) except -1
    # No frame is delivered any more, though the connection has not ended yet.
    cdef int _stopped(self) except -1

    cdef void _reserved_of_messages_0(self) noexcept
    cdef void _reserved_of_messages_1(self) noexcept
    cdef void _reserved_of_messages_2(self) noexcept

# For the dispatcher
cdef int _introduce(WSListener listener, WSTransport transport) except -1
cdef bint _is_compiled(object callback)
