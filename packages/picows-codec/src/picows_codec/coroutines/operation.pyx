"""What ``recv``, ``send`` and the like return: a coroutine, made for one await.

It does nothing before it is awaited. Where a message is there, or writing is not paused, awaiting
it is a call of a few C functions: no future, no exception, no suspension. ``resume`` is called per
message; watched by the inbound benches.

Receiving: a message is taken from the queue only when the coroutine that awaits it runs, never for
it while it waits; so a cancellation cannot lose one.
"""

cimport cython
from cpython.bytes cimport PyBytes_CheckExact
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t

from picows_codec.buffers cimport current_thread
from picows_codec.connection.closing cimport Closing
from picows_codec.connection.sender cimport Sender
from picows_codec.connection.writer cimport reraise
from picows_codec.connection.state cimport MAY_SEND
from picows_codec.constants cimport WS_CLOSE_INTERNAL_ERROR, WS_OP_BINARY, WS_OP_TEXT
from picows_codec.coroutines.compiled_coroutine cimport (
    RETURNS, YIELDS, drop_early, picows_make_coroutine, picows_resume, picows_take_spare)
from picows_codec.coroutines.inbox cimport Inbox, must_suspend, sender_of
from picows_codec.coroutines.turns cimport Turns
from picows_codec.coroutines.waiter cimport Waiter
from picows_codec.transport cimport _send_message_of, _Sendable

from picows_codec.coroutines.ending import connection_closed, ends_iteration
from picows_codec.disconnect import WSDisconnectKind
from picows_codec.errors import WSStateError

cdef extern from "Python.h":
    bint PyBuffer_IsContiguous(Py_buffer* view, char order)
    Py_buffer* PyMemoryView_GET_BUFFER(object view)
    bint PyUnicode_Check(object value)
    bint PyObject_CheckBuffer(object value)
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

cdef enum:
    IS_NEW = 0
    IS_RUNNING = 1
    IS_WAITING = 2              # for a Waiter, or a future
    IS_YIELDING = 3             # for the next loop iteration
    IS_DONE = 4

cdef tuple _NAMES = (
    "WSConnection.recv", "WSConnection.__anext__", "WSConnection.recv_many", "WSConnection.send",
    "WSConnection.send_many", "WSConnection.send", "WSConnection.send")

ctypedef int (*stepping)(Operation, PyObject**) noexcept


cdef inline bint _is_there(Inbox inbox) noexcept:
    """Whether a message can be received at once."""
    return (
        inbox._count != 0 and inbox._receiver == NULL and not must_suspend(inbox)
        and sender_of(inbox)._buffers.thread_id == current_thread())


cdef inline bint _may_send(Inbox inbox) noexcept:
    """Whether a message can be sent at once."""
    return (
        not sender_of(inbox)._write_paused and sender_of(inbox)._state & MAY_SEND
        and (inbox._turns is None or not inbox._turns.is_taken())
        and sender_of(inbox)._buffers.thread_id == current_thread())


cdef int _step(Operation self, PyObject** result) except -1:
    if self._kind <= RECEIVES_MANY:
        return self._receive(result)
    return self._send(result)


cdef int _resume(PyObject* self, PyObject* value, PyObject** result) except -1:
    return (<Operation> self).resume(value, result)


cdef int _drop(PyObject* self) noexcept:
    if (<Operation> self)._stage == IS_DONE:
        return True
    return drop_early(self)


@cython.final
@cython.auto_pickle(False)
cdef class Operation(CompiledCoroutine):
    """One call of a method of :class:`WSConnection`."""

    def __await__(self):
        return self

    cdef str full_name(self):
        return _NAMES[self._kind]

    cdef int resume(self, PyObject* value, PyObject** result) except -1:
        cdef int status
        if self._stage == IS_NEW:
            if self._form == AS_IT_IS:
                if self._kind <= ITERATES:
                    if _is_there(self._inbox):
                        return self._receive_now(result)
                elif self._kind == SENDS and _may_send(self._inbox):
                    return self._send_now(result)
            self._begin()
        elif self._stage == IS_DONE:
            raise RuntimeError(f"cannot reuse already awaited {self!r}")
        elif self._stage == IS_WAITING and not self._is_over():
            self.give_up()
            raise RuntimeError(f"{self!r} was resumed before what it waits for had come")
        status = (<stepping> _step)(self, result)
        if status == RETURNS:
            self._finish()
        elif status != YIELDS:
            self._finish_by_error()
        return status

    # What most operations do, in few steps: the same as what follows does in all cases.

    cdef int _receive_now(self, PyObject** result) except -1:
        cdef Inbox inbox = self._inbox
        self._stage = IS_DONE
        self._inbox = None
        result[0] = inbox.take()
        return RETURNS

    cdef int _send_now(self, PyObject** result) except -1:
        cdef Inbox inbox = self._inbox
        cdef object message = self._payload
        self._stage = IS_DONE
        self._inbox = self._payload = None
        _send_message_of(
            inbox.transport._connection,
            WS_OP_TEXT if PyUnicode_Check(message) else WS_OP_BINARY, message)
        Py_INCREF(None)
        result[0] = <PyObject*> None
        return RETURNS

    # The steps

    cdef int _begin(self) except -1:
        cdef Inbox inbox = self._inbox
        cdef object payload = self._payload
        self._stage = IS_DONE       # if one of these raises
        self._inbox = self._payload = None
        sender_of(inbox).check_thread()
        if self._kind <= RECEIVES_MANY:
            if inbox._receiver != NULL:
                raise WSStateError(
                    "another task is receiving from this connection already; each message goes to"
                    " one of them, so only one can wait")
            inbox.set_receiver(<void*> self)
        self._inbox = inbox
        self._payload = payload
        self._stage = IS_RUNNING
        return 0

    cdef bint _is_over(self):
        """Whether what it waits for has come."""
        if self._kind <= RECEIVES_MANY:
            return (<Waiter> self._future)._is_done
        return self._future.done()

    cdef int _wait(self, object future, PyObject** result) except -1:
        """Suspend until the future is done: what ``await future`` does in a coroutine."""
        future._asyncio_future_blocking = True
        return self._suspend(future, result)

    cdef int _suspend(self, object future, PyObject** result) except -1:
        self._future = future
        self._stage = IS_WAITING
        Py_INCREF(future)
        result[0] = <PyObject*> future
        return YIELDS

    cdef int _finish(self) except -1:
        """It has returned or raised."""
        cdef Inbox inbox = self._inbox
        cdef Turns turns
        self._stage = IS_DONE
        self._inbox = None
        self._future = None
        if self._kind <= RECEIVES_MANY:
            return inbox.set_receiver(NULL)
        self._payload = None
        turns = inbox._turns
        if turns is not None and not sender_of(inbox)._write_paused:
            turns.call_next()
        return 0

    cdef int _finish_by_error(self) except -1:
        try:
            reraise()
        except BaseException:
            self._finish()
            raise

    cdef int give_up(self) except -1:
        cdef uint8_t stage = self._stage
        if stage == IS_NEW or stage == IS_DONE:
            self._stage = IS_DONE
            self._inbox = self._payload = None
            return 0
        if stage == IS_WAITING:
            if self._kind <= RECEIVES_MANY:
                self._inbox.stop_waiting()
            else:
                self._inbox.line().leave(self._future)
        return self._finish()

    cdef int dropped(self) except -1:
        cdef Inbox inbox = self._inbox
        if inbox is not None and self._stage == IS_NEW:
            self.warn_of_no_await()
        # The garbage collector clears objects in any order, and then nobody else is left.
        if inbox is not None and inbox.transport is not None:
            self.give_up()
        return 0

    # Receiving

    cdef int _receive(self, PyObject** result) except -1:
        cdef Inbox inbox = self._inbox
        cdef object taken
        if inbox._count == 0:
            if inbox.has_ended():
                return self._no_more()
            return self._suspend(inbox.wait(), result)
        if must_suspend(inbox):
            if self._stage != IS_YIELDING:
                self._stage = IS_YIELDING
                Py_INCREF(None)
                result[0] = <PyObject*> None
                return YIELDS
            inbox.has_suspended()
        if self._kind == RECEIVES_MANY:
            taken = inbox.take_many(self._number)
        else:
            result[0] = inbox.take()
            if self._form == AS_IT_IS:
                return RETURNS
            taken = <object> result[0]
            Py_DECREF(taken)
            result[0] = NULL
            taken = self._converted(taken)
        Py_INCREF(taken)
        result[0] = <PyObject*> taken
        return RETURNS

    cdef object _converted(self, object message):
        """What ``decode`` asks for."""
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
        cdef Sender sender = sender_of(inbox)
        cdef Turns turns = inbox._turns
        cdef bint is_late = self._stage == IS_WAITING
        if is_late:
            turns.leave(self._future)
        if not sender._state & MAY_SEND:
            raise connection_closed(inbox.transport)
        if self._kind == SENDS_FRAGMENT:
            if sender._write_paused:
                return self._wait(inbox.line().pause_between(self._pause_future()), result)
        elif sender._write_paused or (
                turns is not None and (turns.is_held() if is_late else turns.is_taken())):
            return self._wait(inbox.line().join(self._pause_future(), is_late), result)
        if self._kind == SENDS:
            _send_message(inbox, self._payload, self._form)
        elif self._kind == SENDS_MANY:
            self._send_rest(sender)
            if self._number < len(<list> self._payload):
                return self._wait(inbox.line().join(self._pause_future(), True), result)
        elif self._kind == TAKES_TURN:
            inbox.line().hold()
        else:
            opcode, data, fin = self._payload
            inbox.transport.send(opcode, data, fin)
        Py_INCREF(None)
        result[0] = <PyObject*> None
        return RETURNS

    cdef object _pause_future(self):
        """A future for a sender. Whoever waits for the end of a pause has to be told of it."""
        cdef Sender sender = sender_of(self._inbox)
        sender._pause_is_reported()
        return self._inbox.create_future()

    cdef int _send_rest(self, Sender sender) except -1:
        """Send the messages of a list, together, until writing is paused."""
        cdef list messages = <list> self._payload
        cdef Py_ssize_t count = len(messages)
        sender.cork()
        try:
            while self._number < count and not sender._write_paused:
                if not sender._state & MAY_SEND:
                    raise connection_closed(self._inbox.transport)
                _send_message(self._inbox, messages[self._number], self._form)
                self._number += 1
        finally:
            sender.uncork()
        return 0


cdef int _send_message(Inbox inbox, object message, uint8_t form) except -1:
    cdef object connection = inbox.transport._connection
    if form == AS_PREPARED and isinstance(message, _Sendable):
        inbox.transport.send_prepared(message)
    elif not PyUnicode_Check(message):
        _send_message_of(connection, WS_OP_TEXT if form == AS_TEXT else WS_OP_BINARY, message)
    elif form == AS_BYTES:
        _send_message_of(connection, WS_OP_BINARY, message.encode("utf-8"))
    else:
        _send_message_of(connection, WS_OP_TEXT, message)
    return 0


cdef Operation new_operation(Inbox inbox, uint8_t kind):
    """Called per message; watched by the inbound benches."""
    cdef Operation made
    cdef PyObject* spare = picows_take_spare()
    if spare == NULL:
        made = Operation.__new__(Operation)
    else:
        made = <Operation> spare
        Py_DECREF(made)         # the reference of the spares
        made._stage = IS_NEW
        made._form = AS_IT_IS
        made._number = 0
    made._inbox = inbox
    made._kind = kind
    return made


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


cdef list checked_messages(object messages, uint8_t* form):
    """A list of messages each of which can be sent; ``form``: AS_PREPARED if one is prepared."""
    cdef list checked
    cdef Py_ssize_t size
    if is_message(messages):
        raise TypeError(
            f"messages must be an iterable of messages, not {type(messages).__name__}: use send()"
            " for one message")
    checked = list(messages)
    for message in checked:
        if PyBytes_CheckExact(message):
            continue
        if PyUnicode_Check(message):
            PyUnicode_AsUTF8AndSize(message, &size)     # raises for surrogates, and keeps the bytes
            continue
        if not PyObject_CheckBuffer(message):
            if isinstance(message, _Sendable):
                form[0] = AS_PREPARED
                continue
            raise TypeError(
                "messages must be str, bytes, other contiguous buffers or WSPreparedMessage; one is"
                f" {type(message).__name__}")
        view = PyMemoryView_FromObject(message)
        if not PyBuffer_IsContiguous(PyMemoryView_GET_BUFFER(view), b"C"):
            raise BufferError("one of the messages is not contiguous")
    return checked


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
    cdef Sender sender = sender_of(inbox)
    if sender._state & MAY_SEND:
        (<Closing> sender)._fail(
            WS_CLOSE_INTERNAL_ERROR, "a message was not finished", WSDisconnectKind.LOCAL_ABORT,
            WSStateError(text))
    inbox.end()


picows_make_coroutine(<PyTypeObject*> Operation, <picows_resume> _resume, _drop)
