"""A tap between a connection and its transport. Private tier."""

from libc.stdint cimport int64_t, uint8_t

from picows_codec.connection.closing cimport Closing
from picows_codec.connection.writer cimport Wire
from picows_codec.tap cimport WSTap

cdef class GuardedTap(WSTap):
    cdef:
        WSTap _tap              # None once it has failed, and after the end
        Closing _connection

    cdef int _failed(self, object error) except -1

cdef class TappedWire(Wire):
    cdef:
        WSTap _tap
        Wire _below
