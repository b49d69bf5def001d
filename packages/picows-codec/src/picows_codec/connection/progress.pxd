"""Whether bytes go on to move: stalls, and the option data_timeout. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.connection.closing cimport Closing

cdef class StallWatch:
    """Exists while a frame, a message or the write queue of a connection is unfinished."""

    cdef:
        double due                      # when to look next, on the sweeper's clock; 0: never
        Py_ssize_t _frame_mark          # bytes of the incoming frame's payload at the last look
        Py_ssize_t _queue_mark          # bytes that had left
        bint _queue_is_late             # the queue was above its watermarks, or before a ping
        uint8_t _looks                  # before a verdict, see Closing._is_certain

    cdef int mark(self, Closing connection, double now, bint queue_matters) except -1
    cdef int look(self, Closing connection, double now, bint queue_matters) except -1
    cdef int queue_moved(self) noexcept

cdef class DataWatch:
    """Exists on connections with a data_timeout."""

    cdef:
        double due
        uint8_t _quarters               # of data_timeout without a data frame
        uint8_t _looks

    cdef int expect(self, Closing connection, double now) except -1
    cdef int look(self, Closing connection, double now) except -1

# Bytes that have left, as far as this side can tell.
cdef Py_ssize_t bytes_taken(Closing connection) except -1
