"""The private listener of a coroutine connection: what has arrived, and who waits. Private tier."""

from cpython.object cimport PyObject

from picows_codec.connection.sender cimport Sender
from picows_codec.coroutines.turns cimport Turns
from picows_codec.listener cimport WSMessageListener

cdef class QueueMarks:
    cdef:
        Py_ssize_t high_count
        Py_ssize_t low_count
        Py_ssize_t high_size
        Py_ssize_t low_size

cdef class Inbox(WSMessageListener):
    cdef:
        QueueMarks _marks
        object _on_open             # called with the connection when it is open
        PyObject** _ring            # str or bytes, each a reference of its own
        Py_ssize_t _room            # of the ring: a power of two, or 0 if there is none
        Py_ssize_t _first           # index of the oldest message
        Py_ssize_t _count
        Py_ssize_t _size            # bytes of payload that wait
        int _taken                  # messages since the consumer has last suspended
        bint _is_paused             # reading is paused because of this queue
        bint _is_ended              # no message comes any more
        void* _receiver             # the operation that receives; not a reference
        object _waiter              # its future, or None
        Turns _turns                # senders that wait, or None

    cdef Sender sender(self)
    cdef object create_future(self)

    # For the receiving operation
    cdef bint has_ended(self)
    cdef object take(self)
    cdef list take_many(self, Py_ssize_t limit)
    cdef bint must_suspend(self) noexcept
    cdef int has_suspended(self) noexcept
    cdef int set_receiver(self, void* operation) noexcept
    cdef object wait(self)
    cdef int stop_waiting(self) noexcept

    # For senders
    cdef bint must_wait(self)
    cdef Turns line(self)

    cdef int end(self) except -1

    cdef int _push(self, object message) except -1
    cdef int _grow(self) except -1
    cdef int _taken_out(self) except -1
    cdef int _pause(self) except -1
