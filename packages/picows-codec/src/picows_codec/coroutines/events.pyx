"""The listener below an application server (ASGI): messages become events, dicts that an
application awaits one by one, and dicts that it sends become messages.

An event wakes whoever waits; the first one for which nobody waits pauses reading, and reading is
resumed when none is left. What to do beyond that is decided by a subclass in Python. ``_deliver``
and ``resume`` are called per message; watched by the ASGI benches.

A task that awaits a ``Waiter`` goes on within the callback of the read, as a listener does.
"""

cimport cython
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF

from picows_codec.buffers cimport current_thread
from picows_codec.connection.sender cimport Sender
from picows_codec.connection.state cimport MAY_SEND
from picows_codec.constants cimport WS_OP_BINARY, WS_OP_CLOSE, WS_OP_TEXT
from picows_codec.coroutines.compiled_coroutine cimport (
    RETURNS, YIELDS, drop_early, picows_make_coroutine, picows_resume, picows_take_spare)
from picows_codec.coroutines.inbox cimport content_of
from picows_codec.coroutines.waiter cimport Waiter, new_waiter
from picows_codec.frames cimport WSFrame, WSMessage
from picows_codec.transport cimport WSTransport, _send_message_of

cdef extern from "Python.h":
    bint PyDict_CheckExact(object value)

cdef enum:
    RECEIVES = 0
    SENDS = 1

    IS_NEW = 0
    IS_RUNNING = 1
    IS_WAITING = 2              # for a Waiter
    IS_DELEGATING = 3           # to a coroutine of the subclass
    IS_DONE = 4

    # Sends in a row, none of whose events was asked for, after which nobody seems to receive.
    SENDS_ONLY = 2

cdef tuple _NAMES = ("EventListener.receive", "EventListener.send")

cdef str _SEND = "websocket.send"


cdef class EventListener(WSMessageListener):
    """Gives messages as events: ``{"type": "websocket.receive", "text" or "bytes": ...}``.

    A subclass overrides ``send_otherwise``, ``pause_reading``, ``resume_reading``,
    ``close_received`` and ``delivery_stopped``. All methods belong to the thread of the
    connection's event loop.
    """

    def __cinit__(self, *args, **kwargs):
        self._events = []
        self._waiters = []

    # What an application calls

    def receive(self):
        """Coroutine: the next event. Several tasks may wait; each event goes to one of them."""
        return _new_operation(self, RECEIVES, None)

    def send(self, message):
        """Coroutine: send what an event says, a dict; or what ``send_otherwise`` does."""
        return _new_operation(self, SENDS, message)

    # What a subclass overrides

    def send_otherwise(self, message):
        """A coroutine for what is no ``websocket.send``, or cannot be sent at once."""
        raise NotImplementedError

    def pause_reading(self):
        """An event waits, and nobody waits for it. Returns whether reading is paused now."""
        return False

    def resume_reading(self):
        """No event waits any more, or only sends are called, so that what is behind the events that
        wait must be read: the peer may have closed the connection."""

    def close_received(self, transport):
        """The peer has sent a CLOSE frame; it is answered after this call."""

    def delivery_stopped(self, transport):
        """No message comes any more: the connection fails, or this side closes it."""

    # What a subclass calls

    @property
    def queued_events(self):
        """How many events wait, without the last one of ``end_events``."""
        return self.count()

    @property
    def queued_size(self):
        """Bytes and characters of the messages that wait."""
        cdef Py_ssize_t size = 0
        for event in self._events[self._first:]:
            content = event.get("bytes")
            if content is None:
                content = event.get("text", "")
            size += len(content)
        return size

    @property
    def only_sends(self):
        """Whether ``send`` was called again and again since ``receive`` has taken an event."""
        return self._sends == SENDS_ONLY

    @property
    def last_event(self):
        """What ``end_events`` was called with, or None."""
        return self._end

    @property
    def reads_are_paused(self):
        """Whether reading is paused because an event waits."""
        return self._is_paused

    def begin_events(self, loop):
        """Before the first call of ``receive``."""
        self._loop = loop

    def put_event(self, dict event not None):
        """Add an event behind those that wait."""
        self.put(event)

    def end_events(self, dict event not None):
        """Nothing comes any more: ``event`` is given to everybody who receives, when no other event
        is left. A second call has no effect."""
        self._takes_messages = False
        self._is_paused = False
        if self._end is None:
            self._end = event
            waiters = self._waiters
            self._waiters = []
            for waiter in waiters:
                (<Waiter> waiter).wake_soon()

    def allow_messages(self, bint allowed):
        """Whether ``send`` sends by itself, as long as the connection is open."""
        self._takes_messages = allowed

    def writing_is_paused(self):
        """Whether the peer does not read. ``resume_writing`` is called when it does again."""
        cdef Sender sender
        if not self._takes_messages:
            return False
        sender = <Sender> self.transport._connection
        if not sender._write_paused:
            return False
        sender._pause_is_reported()     # a transport may pause outside of a call of send
        return True

    def forget_pause(self):
        """Reading was resumed for another reason: the next event pauses it again."""
        self._is_paused = False

    def pause_if_needed(self):
        """Pause reading if an event waits."""
        if self.count() and not self._is_paused and self._end is None:
            self._is_paused = self.pause_reading()

    # What the connection calls

    cdef int _deliver(self, WSTransport transport, WSFrame frame) except -1:
        if frame.fin and (frame.wire_opcode == WS_OP_TEXT or frame.wire_opcode == WS_OP_BINARY):
            return self._hand_over(transport, frame)
        if frame.wire_opcode == WS_OP_CLOSE:
            self.close_received(transport)
            return 0
        return self._take(transport, frame)

    cdef int _stopped(self) except -1:
        self.delivery_stopped(self.transport)
        return 0

    cdef int _hand_over(self, WSTransport transport, WSMessage message) except -1:
        if message.wire_opcode == WS_OP_TEXT:
            return self.put({"type": "websocket.receive", "text": content_of(message)})
        return self.put({"type": "websocket.receive", "bytes": content_of(message)})

    # The queue

    cdef Py_ssize_t count(self) noexcept:
        return PyList_GET_SIZE(self._events) - self._first

    cdef int put(self, object event) except -1:
        cdef Waiter waiter
        self._events.append(event)
        while PyList_GET_SIZE(self._waiters):
            waiter = <Waiter> self._waiters.pop(0)
            if waiter._is_done:
                continue            # cancelled
            return waiter.wake()
        if not self._is_paused and self._end is None:
            self._is_paused = self.pause_reading()
        return 0

    cdef PyObject* take(self) except NULL:
        cdef object event = self._events[self._first]
        self._sends = 0
        self._events[self._first] = None
        self._first += 1
        if self._first == PyList_GET_SIZE(self._events):
            self._events.clear()
            self._first = 0
            if self._is_paused:
                self._is_paused = False
                self.resume_reading()
        Py_INCREF(event)
        return <PyObject*> event

    cdef int sends_unread(self) except -1:
        """``send`` is called while an event waits that has paused reading."""
        if self._sends < SENDS_ONLY:
            self._sends += 1
            if self._sends == SENDS_ONLY:
                self._is_paused = False
                self.resume_reading()
        return 0

    cdef Waiter wait(self):
        cdef Waiter waiter = new_waiter(self._loop)
        self._waiters.append(waiter)
        return waiter

    cdef int stop_waiting(self, Waiter waiter) except -1:
        """Whoever waited is cancelled. If an event has come for it, another one may take it."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif self.count():
            while PyList_GET_SIZE(self._waiters):
                waiter = <Waiter> self._waiters.pop(0)
                if not waiter._is_done:
                    return waiter.wake_soon()
            self.pause_if_needed()
        return 0


cdef int _resume(PyObject* self, PyObject* value, PyObject** result) except -1:
    return (<EventOperation> self).resume(value, result)


cdef int _drop(PyObject* self) noexcept:
    if (<EventOperation> self)._stage == IS_DONE:
        return True
    return drop_early(self)


@cython.final
@cython.auto_pickle(False)
cdef class EventOperation(CompiledCoroutine):
    """One call of ``receive`` or ``send``."""

    def __await__(self):
        return self

    cdef str full_name(self):
        return _NAMES[self._kind]

    cdef object raise_inside(self, object error):
        cdef object other
        if self._stage == IS_DELEGATING:
            other = self._awaited
            try:
                return other.throw(error)
            except BaseException:
                self._finish()
                raise
        self.give_up()
        raise error

    cdef int give_up(self) except -1:
        if self._stage == IS_WAITING:
            self._listener.stop_waiting(self._awaited)
        elif self._stage == IS_DELEGATING:
            self._awaited.close()
        return self._finish()

    cdef int _finish(self) except -1:
        self._stage = IS_DONE
        self._listener = None
        self._message = self._awaited = None
        return 0

    cdef int resume(self, PyObject* value, PyObject** result) except -1:
        if self._stage == IS_DELEGATING:
            return self._step_of_other(<object> value, result)
        if self._stage == IS_DONE:
            raise RuntimeError(f"cannot reuse already awaited {self!r}")
        if self._stage == IS_WAITING and not (<Waiter> self._awaited)._is_done:
            self.give_up()
            raise RuntimeError(f"{self!r} was resumed before its event had come")
        if self._kind == RECEIVES:
            return self._receive(result)
        return self._send(result)

    cdef int _receive(self, PyObject** result) except -1:
        cdef EventListener listener = self._listener
        if listener.count():
            self._stage = IS_DONE
            self._listener = None
            self._awaited = None
            result[0] = listener.take()
            return RETURNS
        if listener._end is not None:
            self._finish()
            event = dict(listener._end)
            Py_INCREF(event)
            result[0] = <PyObject*> event
            return RETURNS
        waiter = listener.wait()
        self._awaited = waiter
        self._stage = IS_WAITING
        Py_INCREF(waiter)
        result[0] = <PyObject*> waiter
        return YIELDS

    cdef int _send(self, PyObject** result) except -1:
        cdef EventListener listener = self._listener
        cdef object message = self._message
        cdef Sender sender
        cdef dict fields
        cdef int opcode
        self._stage = IS_DONE
        self._listener = None
        self._message = None
        if listener._is_paused:
            listener.sends_unread()
        if listener._takes_messages and PyDict_CheckExact(message):
            fields = <dict> message
            sender = <Sender> listener.transport._connection
            if (
                    fields["type"] == _SEND and sender._state & MAY_SEND
                    and not sender._write_paused
                    and sender._buffers.thread_id == current_thread()):
                opcode = WS_OP_BINARY
                data = fields.get("bytes")
                if data is None:
                    opcode = WS_OP_TEXT
                    data = fields.get("text")
                if data is not None:
                    _send_message_of(sender, opcode, data)
                    Py_INCREF(None)
                    result[0] = <PyObject*> None
                    return RETURNS
        self._awaited = listener.send_otherwise(message)
        self._listener = listener
        self._stage = IS_DELEGATING
        return self._step_of_other(None, result)

    cdef int _step_of_other(self, object value, PyObject** result) except -1:
        cdef object other = self._awaited
        try:
            yielded = other.send(value)
        except StopIteration as end:
            self._finish()
            returned = end.value
            Py_INCREF(returned)
            result[0] = <PyObject*> returned
            return RETURNS
        except BaseException:
            self._finish()
            raise
        Py_INCREF(yielded)
        result[0] = <PyObject*> yielded
        return YIELDS

    cdef int dropped(self) except -1:
        if self._listener is None:      # the garbage collector may have cleared it
            return 0
        if self._stage == IS_NEW:
            return self.warn_of_no_await()
        return self.give_up()


cdef EventOperation _new_operation(EventListener listener, int kind, object message):
    """Called per message; watched by the ASGI benches."""
    cdef EventOperation made
    cdef PyObject* spare = picows_take_spare()
    if spare == NULL:
        made = EventOperation.__new__(EventOperation)
    else:
        made = <EventOperation> spare
        Py_DECREF(made)         # the reference of the spares
        made._stage = IS_NEW
    made._listener = listener
    made._kind = kind
    made._message = message
    return made


picows_make_coroutine(<PyTypeObject*> EventOperation, <picows_resume> _resume, _drop)
