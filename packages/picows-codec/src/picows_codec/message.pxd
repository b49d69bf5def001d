"""WSMessageListener: whole messages instead of frames. Gated tier."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from picows_codec.transport cimport WSListener, WSTransport
from picows_codec.view cimport WSFrame, WSMessage

cdef class WSMessageListener(WSListener):
    cdef object _on_message     # the overridden Python callback, or None for a compiled one
    cdef PyObject* _parts       # bytes: the fragments so far with spare room behind them, or NULL
    cdef Py_ssize_t _size       # bytes used of it
    cdef uint8_t _opcode

    cpdef on_ws_message(self, WSTransport transport, WSMessage message)

    cdef int _take(self, WSTransport transport, WSFrame frame) except -1
    cdef int _hand_over(self, WSTransport transport, WSMessage message) except -1
