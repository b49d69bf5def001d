"""Messages to audiences that last. Private tier."""

cimport cython

from picows_codec.buffers cimport ThreadBuffers
from picows_codec.connection.closing cimport Closing
from picows_codec.connection.following cimport Follower
from picows_codec.prepared cimport WSPreparedMessage
from picows_codec.transport cimport WSTransport

cdef class Recipient(Follower):
    cdef Closing _connection
    cdef readonly WSTransport transport
    cdef bint _is_corked

cdef class Audience:
    cdef dict _members
    cdef list _listed           # the same; None: it has changed
    cdef public bint spares     # nothing is sent to connections beyond their watermark

    cdef list _list(self)


@cython.final
cdef class FanOut:
    cdef ThreadBuffers _buffers     # of the thread that uses it; None: of none yet
    cdef int _depth
    cdef int _batches
    cdef list _corked               # recipients

    cdef int _check_thread(self) except -1
    cdef int _begin(self) except -1
    cdef int _end(self) except -1
    cdef Py_ssize_t _deliver(
        self, Audience audience, WSPreparedMessage message, object key,
        object excluded) except -1
    cdef int _cork(self, Recipient recipient) except -1
