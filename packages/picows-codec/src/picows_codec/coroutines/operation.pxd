"""What recv, send and the like return: awaited once. Private tier."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from picows_codec.connection.sender cimport Sender
from picows_codec.coroutines.compiled_coroutine cimport CompiledCoroutine
from picows_codec.coroutines.inbox cimport Inbox

cdef enum:
    RECEIVES = 0
    ITERATES = 1
    RECEIVES_MANY = 2
    SENDS = 3
    SENDS_MANY = 4
    TAKES_TURN = 5              # for a message of several fragments
    SENDS_FRAGMENT = 6          # of that message

    # decode of recv, text of send; AS_PREPARED: what is sent is a WSPreparedMessage, or has one
    AS_IT_IS = 0
    AS_TEXT = 1
    AS_BYTES = 2
    AS_PREPARED = 3

cdef class Operation(CompiledCoroutine):
    cdef:
        Inbox _inbox            # None when it has ended
        object _future          # what is waited for, or None; a Waiter for what receives
        object _payload         # what is to be sent: a message, a list of them, or a fragment
        Py_ssize_t _number      # RECEIVES_MANY: the limit; SENDS_MANY: how many have been sent
        uint8_t _kind
        uint8_t _form           # AS_IT_IS, AS_TEXT, AS_BYTES or AS_PREPARED
        uint8_t _stage

    cdef int _receive_now(self, PyObject** result) except -1
    cdef int _send_now(self, PyObject** result) except -1
    cdef int _begin(self) except -1
    cdef int _receive(self, PyObject** result) except -1
    cdef object _converted(self, object message)
    cdef int _no_more(self) except -1
    cdef int _send(self, PyObject** result) except -1
    cdef int _send_rest(self, Sender sender) except -1
    cdef object _pause_future(self)
    cdef bint _is_over(self)
    cdef int _suspend(self, object future, PyObject** result) except -1
    cdef int _wait(self, object future, PyObject** result) except -1
    cdef int _finish(self) except -1
    cdef int _finish_by_error(self) except -1

cdef Operation new_operation(Inbox inbox, uint8_t kind)
cdef Operation new_receive(Inbox inbox, uint8_t kind, uint8_t form, Py_ssize_t limit)
cdef Operation new_send(Inbox inbox, uint8_t kind, uint8_t form, object payload)
cdef bint is_message(object value)
cdef list checked_messages(object messages, uint8_t* form)
