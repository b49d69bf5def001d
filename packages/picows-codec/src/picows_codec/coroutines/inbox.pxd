"""The private listener of a coroutine connection: what has arrived, and who waits. Private tier."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from picows_codec.connection.sender cimport Sender
from picows_codec.constants cimport WS_OP_TEXT
from picows_codec.coroutines.turns cimport Turns
from picows_codec.coroutines.waiter cimport Waiter
from picows_codec.frames cimport WSMessage
from picows_codec.listener cimport WSMessageListener
from picows_codec.text cimport picows_text

cdef enum:
    # A consumer that always finds a message suspends after so many, so that the loop runs. That
    # costs a loop iteration, some hundredth of what the messages cost.
    MOST_AT_ONCE = 256

cdef class QueueMarks:
    cdef:
        Py_ssize_t high_count
        Py_ssize_t low_count
        Py_ssize_t high_size
        Py_ssize_t low_size

cdef class Inbox(WSMessageListener):
    cdef:
        QueueMarks _marks
        object _on_open             # called with this object when the connection is open
        list _arrived               # str and bytes in the order of arrival, or None
        list _next                  # older ones, the oldest last, so that it is popped; or None
        Py_ssize_t _count           # messages in both
        Py_ssize_t _size            # their bytes of payload
        int _taken                  # messages since the consumer has last suspended
        uint8_t _is_paused          # reading is paused because of this queue
        uint8_t _is_ended           # no message comes any more
        void* _receiver             # the operation that receives; not a reference
        Waiter _waiter              # what it awaits, or None
        Turns _turns                # senders that wait, or None

    # For the receiving operation
    cdef bint has_ended(self)
    cdef PyObject* take(self) except NULL       # returns a new reference
    cdef list take_many(self, Py_ssize_t limit)
    cdef int set_receiver(self, void* operation) noexcept
    cdef Waiter wait(self)
    cdef Waiter stop_waiting(self)
    cdef int has_suspended(self) noexcept

    # For senders
    cdef Turns line(self)

    cdef object create_future(self)
    cdef int end(self) except -1

    cdef int _push(self, object message) except -1
    cdef int _taken_out(self) except -1
    cdef int _pause(self) except -1
    cdef Py_ssize_t _most_beyond(self)
    cdef int _fail(self) except -1

# Inline, because they are called per message.

cdef inline Sender sender_of(Inbox self):
    return <Sender> self.transport._connection

cdef inline bint must_suspend(Inbox self) noexcept:
    return self._taken >= MOST_AT_ONCE

cdef inline object content_of(WSMessage message):
    """Nobody else has the message: it needs no protection while it is read."""
    if message._owner is None:
        if message.wire_opcode == WS_OP_TEXT:
            return picows_text(message.payload_ptr, message.payload_size)
        return PyBytes_FromStringAndSize(<const char*> message.payload_ptr, message.payload_size)
    if message.wire_opcode == WS_OP_TEXT:
        return message.get_payload_as_utf8_text()
    return message.get_payload_as_bytes()
