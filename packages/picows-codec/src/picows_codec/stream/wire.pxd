"""The write side of a stream transport. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.connection.endpoint cimport WSEndpoint
from picows_codec.stream.poller cimport Member
from picows_codec.write_queue cimport WriteQueue

cdef class StreamWire(Member):
    cdef:
        int _fd                     # -1 once closed
        WSEndpoint _endpoint        # None once connection_lost was called
        WriteQueue _queue           # what is to be sent; None: nothing
        Py_ssize_t _size            # bytes in the queue, and those that came after the end
        Py_ssize_t _high_watermark
        Py_ssize_t _low_watermark
        bint _endpoint_paused       # was told to pause writing
        bint _is_cut                # sends nothing any more: connection_lost is scheduled
        bint _eof_wanted
        bint _eof_sent

    cdef int _begin_wire(self, int fd, WSEndpoint endpoint) except -1
    cdef int _cut(self) noexcept
    cdef int _release_wire(self) except -1

    cdef int _set_watermarks(self, Py_ssize_t high, Py_ssize_t low) noexcept
    # The peer sees the end of the stream after what is queued.
    cdef int _half_close(self) except -1
    # The socket takes bytes again.
    cdef int _drain(self) except -1

    cdef int _not_sent(
        self, const uint8_t* data, Py_ssize_t size, Py_ssize_t count, bytes shared) except -1
    cdef int _enqueue(self, const uint8_t* data, Py_ssize_t size, object owner) except -1
    cdef int _begin_queue(self) except -1
    cdef int _queued(self, Py_ssize_t size) except -1
    cdef int _count_unsendable(self, Py_ssize_t size) except -1
    cdef int _pause_if_full(self) except -1
    cdef int _send_eof(self) noexcept

    # Hooks of the room above
    cdef int _update_interest(self) except -1       # the queue is no longer empty, or empty
    cdef int _queue_emptied(self) except -1
    cdef int _socket_failed(self, int error_number, str action) except -1
