"""What ``recv``, ``send`` and the like return: a coroutine, made for one await.

It does nothing before it is awaited. Where a message is there, or writing is not paused, awaiting
it is a call of a few C functions: no future, no exception, no suspension. ``resume`` is called per
message; watched by the inbound benches.

Receiving: a message is taken from the queue only when the coroutine that awaits it runs, never for
it while it waits; so a cancellation cannot lose one.
"""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_XDECREF
from libc.stdint cimport uint8_t

from picows_codec.connection.closing cimport Closing
from picows_codec.connection.sender cimport Sender
from picows_codec.connection.writer cimport reraise
from picows_codec.connection.state cimport MAY_SEND
from picows_codec.constants cimport WS_CLOSE_INTERNAL_ERROR, WS_OP_BINARY, WS_OP_TEXT
from picows_codec.coroutines.inbox cimport Inbox
from picows_codec.coroutines.turns cimport Turns

from picows_codec.coroutines.ending import connection_closed, ends_iteration
from picows_codec.disconnect import WSDisconnectKind
from picows_codec.errors import WSStateError

cdef extern from "native/coroutine_slots.h":
    ctypedef int (*picows_resume)(PyObject* self, PyObject* value, PyObject** result) noexcept
    void picows_make_coroutine(PyTypeObject* type, picows_resume resume)

cdef extern from "Python.h":
    bint PyUnicode_Check(object value)
    bint PyObject_CheckBuffer(object value)

cdef enum:
    IS_NEW = 0
    IS_RUNNING = 1
    IS_WAITING = 2              # for a future
    IS_YIELDING = 3             # for the next loop iteration
    IS_DONE = 4

    RETURNS = 0                 # what resume returns, as PySendResult
    YIELDS = 1

cdef tuple _NAMES = (
    "recv", "__anext__", "recv_many", "send", "send_many", "send", "send")
cdef object _TEXT = WS_OP_TEXT
cdef object _BINARY = WS_OP_BINARY

ctypedef int (*stepping)(Operation, PyObject**) noexcept


cdef int _step(Operation self, PyObject** result) except -1:
    if self._kind <= RECEIVES_MANY:
        return self._receive(result)
    return self._send(result)


cdef int _resume(PyObject* self, PyObject* value, PyObject** result) except -1:
    return (<Operation> self).resume(result)


@cython.final
@cython.freelist(16)
@cython.auto_pickle(False)
cdef class Operation:
    """A coroutine (:class:`collections.abc.Coroutine`): await it, or make a task of it."""

    def __init__(self):
        raise TypeError("it is made by the methods of WSConnection")

    def __dealloc__(self):
        if self._inbox is None or self._stage == IS_DONE:
            return
        if self._stage == IS_NEW:
            _warn_of(_NAMES[self._kind])
        elif self._inbox._receiver == <void*> self:
            self._inbox.set_receiver(NULL)

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):     # picows_next replaces it
        return self.send(None)

    def send(self, value):
        """Go on, as a task does."""
        cdef PyObject* result = NULL
        cdef int status = self.resume(&result)
        cdef object held = <object> result
        Py_XDECREF(result)
        if status == YIELDS:
            return held
        raise StopIteration(held)

    def throw(self, kind, value=None, traceback=None):
        """Raise an exception inside of the coroutine: mostly a cancellation."""
        self._give_up()
        if isinstance(kind, BaseException):
            raise kind
        if not isinstance(value, BaseException):
            value = kind() if value is None else kind(value)
        if traceback is not None:
            value = value.with_traceback(traceback)
        raise value

    def close(self):
        """End the coroutine, which may not have been started."""
        self._give_up()

    @property
    def __name__(self):
        return self._name()

    @property
    def __qualname__(self):
        return f"WSConnection.{self._name()}"

    def __repr__(self):
        return f"<coroutine WSConnection.{self._name()}>"

    cdef str _name(self):
        return _NAMES[self._kind]

    cdef int resume(self, PyObject** result) except -1:
        """Returns RETURNS or YIELDS, with a new reference in ``result``."""
        cdef int status
        if self._stage == IS_NEW:
            self._begin()
        elif self._stage == IS_DONE:
            raise RuntimeError(f"cannot reuse already awaited {self!r}")
        elif self._stage == IS_WAITING and not self._future.done():
            self._give_up()
            raise RuntimeError(f"{self!r} was resumed before its future was done")
        status = (<stepping> _step)(self, result)
        if status == RETURNS:
            self._finish()
        elif status != YIELDS:
            self._finish_by_error()
        return status

    cdef int _begin(self) except -1:
        self._stage = IS_DONE       # if one of these raises
        self._inbox.sender().check_thread()
        if self._kind <= RECEIVES_MANY:
            if self._inbox._receiver != NULL:
                raise WSStateError(
                    "another task is receiving from this connection already; each message goes to"
                    " one of them, so only one can wait")
            self._inbox.set_receiver(<void*> self)
        self._stage = IS_RUNNING
        return 0

    cdef int _wait(self, object future, PyObject** result) except -1:
        """Suspend until the future is done: what ``await future`` does in a coroutine."""
        self._future = future
        self._stage = IS_WAITING
        future._asyncio_future_blocking = True
        Py_INCREF(future)
        result[0] = <PyObject*> future
        return YIELDS

    cdef int _finish(self) except -1:
        """It has returned or raised."""
        cdef Turns turns
        self._stage = IS_DONE
        self._future = None
        if self._kind <= RECEIVES_MANY:
            return self._inbox.set_receiver(NULL)
        turns = self._inbox._turns
        if turns is not None and not self._inbox.sender()._write_paused:
            turns.call_next()
        return 0

    cdef int _finish_by_error(self) except -1:
        try:
            reraise()
        except BaseException:
            self._finish()
            raise

    cdef int _give_up(self) except -1:
        """Stop waiting, whatever for."""
        cdef uint8_t stage = self._stage
        if stage == IS_NEW or stage == IS_DONE:
            self._stage = IS_DONE
            return 0
        if stage == IS_WAITING:
            if self._kind <= RECEIVES_MANY:
                self._inbox.stop_waiting()
            else:
                self._inbox.line().leave(self._future)
        return self._finish()

    # Receiving

    cdef int _receive(self, PyObject** result) except -1:
        cdef Inbox inbox = self._inbox
        cdef object taken
        if inbox._count == 0:
            if inbox.has_ended():
                return self._no_more()
            return self._wait(inbox.wait(), result)
        if inbox.must_suspend():
            if self._stage != IS_YIELDING:
                self._stage = IS_YIELDING
                Py_INCREF(None)
                result[0] = <PyObject*> None
                return YIELDS
            inbox.has_suspended()
        taken = self._taken()
        Py_INCREF(taken)
        result[0] = <PyObject*> taken
        return RETURNS

    cdef object _taken(self):
        cdef object message
        if self._kind == RECEIVES_MANY:
            return self._inbox.take_many(self._number)
        message = self._inbox.take()
        if self._form == AS_IT_IS:
            return message
        if self._form == AS_TEXT:
            return message.decode("utf-8") if PyBytes_CheckExact(message) else message
        return message if PyBytes_CheckExact(message) else message.encode("utf-8")

    cdef int _no_more(self) except -1:
        """Every message was taken, and none will come."""
        if self._kind == ITERATES and ends_iteration(self._inbox.transport):
            raise StopAsyncIteration
        raise connection_closed(self._inbox.transport)

    # Sending

    cdef int _send(self, PyObject** result) except -1:
        cdef Inbox inbox = self._inbox
        cdef Sender sender = inbox.sender()
        cdef bint is_late = self._stage == IS_WAITING
        cdef bint must_wait
        if is_late:
            inbox.line().leave(self._future)
        if not sender._state & MAY_SEND:
            raise connection_closed(inbox.transport)
        if self._kind == SENDS_FRAGMENT:
            if sender._write_paused:
                return self._wait(inbox.line().pause_between(inbox.create_future()), result)
        else:
            if is_late:
                must_wait = sender._write_paused or inbox.line().is_held()
            else:
                must_wait = inbox.must_wait()
            if must_wait:
                return self._wait(inbox.line().join(inbox.create_future(), is_late), result)
        if self._kind == SENDS_MANY:
            self._send_rest()
            if self._number < len(<list> self._payload):
                return self._wait(inbox.line().join(inbox.create_future(), True), result)
        elif self._kind == TAKES_TURN:
            inbox.line().hold()
        else:
            self._do_send()
        Py_INCREF(None)
        result[0] = <PyObject*> None
        return RETURNS

    cdef int _do_send(self) except -1:
        if self._kind == SENDS_FRAGMENT:
            opcode, data, fin = self._payload
            self._inbox.transport.send(opcode, data, fin)
        else:
            _send_message(self._inbox, self._payload, self._form)
        self._payload = None
        return 0

    cdef int _send_rest(self) except -1:
        """Send the messages of a list, together, until writing is paused."""
        cdef Sender sender = self._inbox.sender()
        cdef list messages = <list> self._payload
        sender.cork()
        try:
            while self._number < len(messages) and not sender._write_paused:
                if not sender._state & MAY_SEND:
                    raise connection_closed(self._inbox.transport)
                _send_message(self._inbox, messages[self._number], AS_IT_IS)
                self._number += 1
        finally:
            sender.uncork()
        return 0


cdef int _send_message(Inbox inbox, object message, uint8_t form) except -1:
    if PyUnicode_Check(message):
        if form == AS_BYTES:
            inbox.transport.send(_BINARY, message.encode("utf-8"))
        else:
            inbox.transport.send(_TEXT, message)
    else:
        inbox.transport.send(_TEXT if form == AS_TEXT else _BINARY, message)
    return 0


cdef int _warn_of(str name) except -1:
    """Warn as Python does of a coroutine that nobody has awaited."""
    import warnings
    warnings.warn(
        f"coroutine 'WSConnection.{name}' was never awaited", RuntimeWarning, stacklevel=1)
    return 0


cdef Operation new_receive(Inbox inbox, uint8_t kind, uint8_t form, Py_ssize_t limit):
    cdef Operation made = new_operation(inbox, kind)
    made._form = form
    made._number = limit
    return made


cdef Operation new_send(Inbox inbox, uint8_t kind, uint8_t form, object payload):
    cdef Operation made = new_operation(inbox, kind)
    made._form = form
    made._payload = payload
    return made


cdef bint is_message(object value):
    """Whether it is sent as one message; else it may be an iterable of fragments."""
    return PyUnicode_Check(value) or PyObject_CheckBuffer(value)


# For fragments, in Python

def take_turn(Inbox inbox not None):
    """Wait until nobody else sends, and keep others from sending until :func:`release_turn`."""
    return new_operation(inbox, TAKES_TURN)


def send_fragment(Inbox inbox not None, opcode, data, bint fin):
    """Send one fragment; the caller has the turn."""
    if not is_message(data):
        raise TypeError(
            "a fragment must be a str, bytes or another contiguous buffer, not"
            f" {type(data).__name__}")
    return new_send(inbox, SENDS_FRAGMENT, AS_IT_IS, (opcode, data, fin))


def release_turn(Inbox inbox not None):
    """Others may send."""
    inbox.line().release()


def fail_message(Inbox inbox not None, str text not None):
    """Fail the connection, because a message with fragments on the wire cannot be finished."""
    cdef Sender sender = inbox.sender()
    if sender._state & MAY_SEND:
        (<Closing> sender)._fail(
            WS_CLOSE_INTERNAL_ERROR, "a message was not finished", WSDisconnectKind.LOCAL_ABORT,
            WSStateError(text))
    inbox.end()


picows_make_coroutine(<PyTypeObject*> Operation, <picows_resume> _resume)
