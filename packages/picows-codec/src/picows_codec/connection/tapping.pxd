"""A tap between a connection and its transport. Private tier."""

from picows_codec.connection.closing cimport Closing
from picows_codec.connection.writer cimport Wire, Witness
from picows_codec.tap cimport WSTap

cdef class GuardedTap(Witness):
    cdef:
        WSTap _tap              # None once it has failed, and after the end
        Closing _connection

    cdef int _failed(self, object error) except -1

cdef class TappedWire(Wire):
    cdef:
        Witness _witness
        Wire _below
