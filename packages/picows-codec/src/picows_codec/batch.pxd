"""WSBatchListener in C. Gated tier.

A compiled listener subclasses it and overrides ``on_ws_batch``, which is called through the vtable.
Everything that starts with an underscore is private, or room that is reserved for later: the class
keeps its size and the order of its methods.
"""

cimport picows_codec.abi
from picows_codec.frames cimport WSMessage
from picows_codec.listener cimport WSMessageListener
from picows_codec.transport cimport WSTransport

cdef class WSBatchListener(WSMessageListener):
    cdef list _messages         # of the read that is under way, or None
    cdef object _on_batch       # the overridden Python callback, or None for a compiled one
    cdef bint _decodes          # TEXT messages become str
    cdef bint _takes_all        # on_ws_message is not overridden

    cpdef on_ws_batch(self, WSTransport transport, list messages)

    cdef int _add(self, WSMessage message) except -1

    cdef void _reserved_of_batches_0(self) noexcept
    cdef void _reserved_of_batches_1(self) noexcept
    cdef void _reserved_of_batches_2(self) noexcept
    cdef void _reserved_of_batches_3(self) noexcept
