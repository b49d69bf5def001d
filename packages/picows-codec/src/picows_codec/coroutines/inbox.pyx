"""The private listener of a coroutine connection: messages that wait for their consumer.

The queue is bounded in messages and in bytes. Above a high mark reading is paused, below the low
marks it is resumed. What one read has brought is always taken, so the queue may pass a mark by the
messages of one read buffer. ``_hand_over`` is called per message; watched by the inbound benches.
"""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF, Py_XDECREF

from picows_codec.connection.sender cimport Sender
from picows_codec.connection.state cimport DELIVERS
from picows_codec.constants cimport WS_OP_CLOSE, WS_OP_TEXT
from picows_codec.coroutines.turns cimport Turns
from picows_codec.frames cimport WSFrame, WSMessage
from picows_codec.listener cimport WSMessageListener
from picows_codec.transport cimport WSTransport

import sys

from picows_codec.errors import WSInvalidOptionError

cdef extern from "Python.h":
    list PyList_New(Py_ssize_t size)
    void PyList_SET_ITEM(list values, Py_ssize_t index, PyObject* value)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    int PyUnicode_KIND(object text)

cdef enum:
    FIRST_ROOM = 4
    KEPT_ROOM = 8               # of the ring, while nothing waits
    # A consumer that always finds a message suspends after so many, so that the loop runs. That
    # costs a loop iteration, some hundredth of what the messages cost.
    MOST_AT_ONCE = 256


cdef inline Py_ssize_t _size_of(object message):
    """Bytes that a message takes: those of its payload, or more for a text outside ASCII."""
    if PyBytes_CheckExact(message):
        return PyBytes_GET_SIZE(message)
    return PyUnicode_GET_LENGTH(message) * PyUnicode_KIND(message)


@cython.final
cdef class QueueMarks:
    """When reading is paused and resumed, for all connections of one call."""

    def __init__(self, object max_queue=2048, object max_queue_bytes=262144):
        self.high_count, self.low_count = _checked_marks("max_queue", "messages", max_queue)
        self.high_size, self.low_size = _checked_marks("max_queue_bytes", "bytes", max_queue_bytes)


cdef tuple _checked_marks(str name, str unit, object value):
    """A high and a low mark. One number is the high mark; a quarter of it is the low one."""
    if value is None:
        return sys.maxsize, sys.maxsize
    high, low = value if isinstance(value, tuple) and len(value) == 2 else (value, None)
    if high is None:
        high = sys.maxsize
    for mark in (high, low):
        if mark is None:
            continue
        if isinstance(mark, bool) or not isinstance(mark, int):
            raise TypeError(
                f"{name} must be a number of {unit}, a tuple of the high and the low mark, or None"
                f" (no limit), not {value!r}")
    if low is None:
        low = high // 4
    if not 0 <= low <= high <= sys.maxsize or high == 0:
        raise WSInvalidOptionError(
            f"{name}={value!r} is out of range: at least 1 of {unit} is wanted, and a low mark"
            " that is not above the high one")
    return high, low


cdef class Inbox(WSMessageListener):
    """The listener below a :class:`WSConnection`.

    :param marks: when reading is paused and resumed.
    :param on_open: called with the :class:`WSConnection` when the connection is open; None if
        somebody makes one of the listener then.
    """

    def __init__(self, QueueMarks marks not None, object on_open=None):
        self._marks = marks
        self._on_open = on_open

    def __dealloc__(self):
        while self._count:
            Py_XDECREF(self._ring[self._first])
            self._first = (self._first + 1) & (self._room - 1)
            self._count -= 1
        PyMem_Free(self._ring)

    cdef Sender sender(self):
        return <Sender> self.transport._connection

    cdef object create_future(self):
        return self.sender()._loop.create_future()

    # What the connection calls

    cpdef on_ws_connected(self, WSTransport transport):
        on_open = self._on_open
        self._on_open = None
        if on_open is not None:
            on_open(self)

    cpdef on_ws_disconnected(self, WSTransport transport):
        self._is_paused = False
        self.end()

    cpdef resume_writing(self):
        if self._turns is not None:
            self._turns.call_next()

    cdef int _deliver(self, WSTransport transport, WSFrame frame) except -1:
        if frame.wire_opcode == WS_OP_CLOSE:
            return self.end()
        return self._take(transport, frame)

    cdef int _hand_over(self, WSTransport transport, WSMessage message) except -1:
        if message.wire_opcode == WS_OP_TEXT:
            return self._push(message.get_payload_as_utf8_text())
        return self._push(message.get_payload_as_bytes())

    # The queue

    cdef int _push(self, object message) except -1:
        if self._count == self._room:
            self._grow()
        Py_INCREF(message)
        self._ring[(self._first + self._count) & (self._room - 1)] = <PyObject*> message
        self._count += 1
        self._size += _size_of(message)
        if self._waiter is not None:
            self._wake()
        if (
                (self._count > self._marks.high_count or self._size > self._marks.high_size)
                and not self._is_paused):
            self._pause()
        return 0

    cdef int _grow(self) except -1:
        cdef Py_ssize_t room = 2 * self._room if self._room else FIRST_ROOM
        cdef PyObject** ring = <PyObject**> PyMem_Malloc(room * sizeof(PyObject*))
        cdef Py_ssize_t index
        if ring == NULL:
            raise MemoryError       # pragma: no cover - no test makes this allocation fail
        for index in range(self._count):
            ring[index] = self._ring[(self._first + index) & (self._room - 1)]
        PyMem_Free(self._ring)
        self._ring = ring
        self._room = room
        self._first = 0
        return 0

    cdef object take(self):
        """The oldest message; there has to be one."""
        cdef PyObject* message = self._ring[self._first]
        cdef object result = <object> message
        Py_XDECREF(message)
        self._first = (self._first + 1) & (self._room - 1)
        self._count -= 1
        self._taken += 1
        self._size -= _size_of(result)
        if self._is_paused:
            self._taken_out()
        return result

    cdef list take_many(self, Py_ssize_t limit):
        """The oldest messages, at most ``limit``."""
        cdef Py_ssize_t count = self._count if limit > self._count else limit
        cdef list result = PyList_New(count)
        cdef Py_ssize_t index
        cdef PyObject* message
        for index in range(count):
            message = self._ring[(self._first + index) & (self._room - 1)]
            PyList_SET_ITEM(result, index, message)     # which takes over the reference
            self._size -= _size_of(<object> message)
        self._first = (self._first + count) & (self._room - 1)
        self._count -= count
        self._taken += <int> count
        if self._is_paused:
            self._taken_out()
        return result

    cdef int _pause(self) except -1:
        """Too much waits: stop reading."""
        cdef object below = self.sender()._transport_below
        if below is None or below.is_closing():
            return 0
        self._is_paused = True
        below.pause_reading()
        return 0

    cdef int _taken_out(self) except -1:
        """Read again, if little enough is left."""
        cdef object below = self.sender()._transport_below
        if self._count > self._marks.low_count or self._size > self._marks.low_size:
            return 0
        self._is_paused = False
        if below is not None and not below.is_closing() and not below.is_reading():
            below.resume_reading()
        return 0

    cdef bint must_suspend(self) noexcept:
        return self._taken >= MOST_AT_ONCE

    cdef int has_suspended(self) noexcept:
        self._taken = 0
        return 0

    # Waiting for a message

    cdef bint has_ended(self):
        """Whether no message will come. Those that wait are still to be taken."""
        return self._is_ended or not self.sender()._state & DELIVERS

    cdef int set_receiver(self, void* operation) noexcept:
        self._receiver = operation
        return 0

    cdef object wait(self):
        """A future that is done when there is a message, or the end."""
        if self._room > KEPT_ROOM:
            PyMem_Free(self._ring)
            self._ring = NULL
            self._room = self._first = 0
        self._taken = 0
        self._waiter = self.create_future()
        return self._waiter

    cdef int stop_waiting(self) noexcept:
        self._waiter = None
        return 0

    def _wake(self):
        waiter = self._waiter
        self._waiter = None
        if not waiter.done():
            waiter.set_result(None)

    cdef int end(self) except -1:
        """No message comes any more, and nobody can send: tell those who wait."""
        self._is_ended = True
        if self._waiter is not None:
            self._wake()
        if self._turns is not None:
            self._turns.call_all()
        return 0

    # Senders

    cdef bint must_wait(self):
        """Whether a sender that comes now has to wait."""
        return self.sender()._write_paused or (self._turns is not None and self._turns.is_taken())

    cdef Turns line(self):
        if self._turns is None:
            self._turns = Turns.__new__(Turns)
        return self._turns
