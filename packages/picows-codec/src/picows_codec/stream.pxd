"""The fast lane for plain sockets: a transport of our own. Private tier."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from picows_codec.buffers cimport ThreadBuffers
from picows_codec.connection.endpoint cimport WSEndpoint
from picows_codec.connection.sender cimport Wire
from picows_codec.write_queue cimport WriteQueue

cdef class Callbacks:
    """What a descriptor of somebody else's transport is watched for."""

    cdef object reader          # called when it is readable, or None
    cdef object writer

cdef class Poller:
    cdef object _loop
    cdef int _epoll             # file descriptor, or -1 when closed
    cdef dict _members          # file descriptor -> StreamTransport or Callbacks
    cdef PyObject** _table      # the same, borrowed, indexed by descriptor
    cdef int _table_size
    cdef int _latest            # descriptor of the last event
    cdef bint _polling          # busy_poll: looks in every turn of the loop

    cdef int _grow_table(self, int fd) except -1
    cdef inline object _member(self, int fd)
    cdef inline int _serve(self, object member, int ready) except -1
    cdef int _call_back(self, Callbacks callbacks, int ready) except -1
    cdef bint _set_callbacks(self, int fd, bint for_reading, object callback) except -1
    cdef int set_interest(self, int fd, object member, bint reading, bint writing) except -1
    cdef int poll_always(self) except -1

cdef class StreamTransport(Wire):
    cdef:
        object _loop
        object _socket              # owned; None once closed
        int _fd
        WSEndpoint _endpoint        # None once connection_lost was called
        object _protocol            # the same object
        Poller _poller              # None: registered with the loop itself
        ThreadBuffers _buffers
        WriteQueue _queue           # queue_size bytes; None: nothing
        Py_ssize_t _high_watermark
        Py_ssize_t _low_watermark
        bint _protocol_paused
        bint _reading               # wanted by the protocol
        bint _watching_reads        # registered
        bint _watching_writes
        bint _closing
        bint _dead                  # connection_lost is scheduled
        bint _eof_sent
        bint _eof_wanted
        object __weakref__

    cdef int _update_interest(self) except -1
    cdef int _set_loop_interest(self, bint reading, bint writing) except -1
    cdef int _receive(self) except -1
    cdef bint _receive_once(self) except -1
    cdef int _drain(self) except -1
    cdef int _note_unsendable(self, Py_ssize_t size) except -1
    cdef int _enqueue(self, const uint8_t* data, Py_ssize_t size, object owner) except -1
    cdef int _failed(self, int error_number, str action) except -1
    cdef int _die(self, object exc) except -1
    cdef int _queue_emptied(self) except -1
