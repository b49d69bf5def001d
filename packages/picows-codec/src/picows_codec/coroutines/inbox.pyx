"""The private listener of a coroutine connection: messages that wait for their consumer.

The queue is bounded in messages and in bytes. Above a high mark reading is paused, below the low
marks it is resumed. What one read has brought is always taken, so the queue may pass a mark by the
messages of one read buffer. ``_deliver`` is called per message; watched by the inbound benches.
"""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF

from picows_codec.connection.closing cimport Closing
from picows_codec.connection.state cimport DELIVERS
from picows_codec.constants cimport (
    WS_CLOSE_POLICY_VIOLATION,
    WS_OP_BINARY,
    WS_OP_CLOSE,
    WS_OP_TEXT,
)
from picows_codec.coroutines.turns cimport Turns
from picows_codec.coroutines.waiter cimport Waiter, new_waiter
from picows_codec.frames cimport WSFrame, WSMessage
from picows_codec.listener cimport WSMessageListener
from picows_codec.transport cimport WSTransport

import sys

from picows_codec.errors import WSInvalidOptionError

cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x03090000
    #define Py_SET_SIZE(object, size) (Py_SIZE(object) = (size))
    #endif
    /* list.pop() of a list that is not empty; its memory is kept. */
    static inline PyObject *picows_pop(PyObject *list) {
        Py_ssize_t last = PyList_GET_SIZE(list) - 1;
        PyObject *value = PyList_GET_ITEM(list, last);
        Py_SET_SIZE((PyVarObject *) list, last);
        return value;
    }
    static inline Py_ssize_t picows_room(PyObject *list) {
        return ((PyListObject *) list)->allocated;
    }
    """
    PyObject* picows_pop(list values)
    Py_ssize_t picows_room(list values)
    Py_ssize_t PyList_GET_SIZE(object values)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    int PyUnicode_KIND(object text)

cdef enum:
    KEPT_ROOM = 8               # of the list, while nothing waits
    MOST_BEYOND = 16777216      # bytes, or max_message_size if that is more


cdef inline Py_ssize_t _size_of(object message) noexcept:
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
    if not 1 <= high <= sys.maxsize:
        raise WSInvalidOptionError(
            f"{name}={value!r} is out of range: a number of {unit} from 1 is wanted, or None for"
            " no limit")
    if not 0 <= low <= high:
        raise WSInvalidOptionError(
            f"{name}={value!r} is out of range: the low mark must be from 0 to the high one")
    return high, low


@cython.final
cdef class Inbox(WSMessageListener):
    """The listener below a :class:`WSConnection`.

    :param marks: when reading is paused and resumed.
    :param on_open: called with this object when the connection is open, to make a
        :class:`WSConnection` of it; None if somebody makes one then.
    """

    def __init__(self, QueueMarks marks not None, object on_open=None):
        self._marks = marks
        self._on_open = on_open

    cdef object create_future(self):
        return sender_of(self)._loop.create_future()

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
        if frame.fin and (frame.wire_opcode == WS_OP_TEXT or frame.wire_opcode == WS_OP_BINARY):
            return self._push(content_of(frame))
        if frame.wire_opcode == WS_OP_CLOSE:
            return self.end()
        return self._take(transport, frame)

    cdef int _hand_over(self, WSTransport transport, WSMessage message) except -1:
        return self._push(content_of(message))

    cdef bint _is_batching(self) noexcept:
        return True

    cdef int _end_batch(self, WSTransport transport) except -1:
        """A read is over: the consumer may go on, and if too much waits, reading is paused. Called
        also within a read, for each MiB that compressed messages have been inflated to."""
        if self._count == 0 or self._is_ended:
            return 0
        if self._waiter is not None:
            self.stop_waiting().wake()
            if self._count == 0 or self._is_ended:
                return 0
        if self._is_paused:
            if self._size - self._marks.high_size > self._most_beyond():
                return self._fail()
        elif self._count > self._marks.high_count or self._size > self._marks.high_size:
            self._pause()
        return 0

    cdef Py_ssize_t _most_beyond(self):
        """Bytes by which compressed messages of one read may pass the high mark."""
        cdef Py_ssize_t largest = (<Closing> sender_of(self))._options.max_message_size
        return MOST_BEYOND if largest < MOST_BEYOND else largest

    cdef int _fail(self) except -1:
        self._is_ended = True
        return (<Closing> sender_of(self))._fail_protocol(
            WS_CLOSE_POLICY_VIOLATION, "too much at once",
            f"compressed messages that arrived together were inflated to {self._size} bytes, far"
            " more than max_queue_bytes")

    cdef int _stopped(self) except -1:
        return self.end()

    # The queue. Messages are appended to one list and popped from another one, which is the first,
    # reversed, as soon as all of it was popped.

    cdef int _push(self, object message) except -1:
        if self._arrived is None:
            self._arrived = []
        self._arrived.append(message)
        self._count += 1
        self._size += _size_of(message)
        return 0

    cdef PyObject* take(self) except NULL:
        """The oldest message; there has to be one."""
        cdef list source = self._next
        cdef PyObject* message
        if source is None or PyList_GET_SIZE(source) == 0:
            source = self._arrived
            if PyList_GET_SIZE(source) > 1:
                source.reverse()
                self._arrived = self._next
                self._next = source
        message = picows_pop(source)
        self._count -= 1
        self._taken += 1
        self._size -= _size_of(<object> message)
        if self._is_paused:
            self._taken_out()
        return message

    cdef list take_many(self, Py_ssize_t limit):
        """The oldest messages, at most ``limit``; there has to be one."""
        cdef list result
        cdef PyObject* message
        if limit < self._count:
            result = []
            while limit:
                message = self.take()
                result.append(<object> message)
                Py_DECREF(<object> message)
                limit -= 1
            return result
        result = self._next
        if result is None or PyList_GET_SIZE(result) == 0:
            result = self._arrived
        else:
            self._next = None
            result.reverse()
            if self._arrived is not None:
                result += self._arrived
        self._arrived = None
        self._taken += <int> self._count
        self._count = self._size = 0
        if self._is_paused:
            self._taken_out()
        return result

    cdef int _pause(self) except -1:
        """Too much waits: stop reading."""
        cdef Closing connection = <Closing> sender_of(self)
        cdef object below = connection._transport_below
        if below is None or below.is_closing():
            return 0
        self._is_paused = True
        return connection._pause_after_read(self._pause_while_full)

    def _pause_while_full(self):
        if self._is_paused:
            (<Closing> sender_of(self))._pause_now()

    cdef int _taken_out(self) except -1:
        """Read again, if little enough is left."""
        cdef object below = sender_of(self)._transport_below
        if self._count > self._marks.low_count or self._size > self._marks.low_size:
            return 0
        self._is_paused = False
        if below is not None and not below.is_closing() and not below.is_reading():
            below.resume_reading()
        return 0

    cdef int has_suspended(self) noexcept:
        self._taken = 0
        return 0

    # Waiting for a message

    cdef bint has_ended(self):
        """Whether no message will come. Those that wait are still to be taken."""
        return self._is_ended or not sender_of(self)._state & DELIVERS

    cdef int set_receiver(self, void* operation) noexcept:
        self._receiver = operation
        return 0

    cdef Waiter wait(self):
        """What is to be awaited until there is a message, or the end."""
        self._next = None
        if self._arrived is not None and picows_room(self._arrived) > KEPT_ROOM:
            self._arrived = None
        self._taken = 0
        self._waiter = new_waiter(sender_of(self)._loop)
        return self._waiter

    cdef Waiter stop_waiting(self):
        cdef Waiter waiter = self._waiter
        self._waiter = None
        return waiter

    cdef int end(self) except -1:
        """No message comes any more, and nobody can send: tell those who wait."""
        self._is_ended = True
        if self._waiter is not None:
            self.stop_waiting().wake_soon()
        if self._turns is not None:
            self._turns.call_all()
        return 0

    # Senders

    cdef Turns line(self):
        if self._turns is None:
            self._turns = Turns.__new__(Turns)
        return self._turns
