"""Messages as events of an application server, and the coroutines that take and send them. Private
tier."""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from picows_codec.coroutines.compiled_coroutine cimport CompiledCoroutine
from picows_codec.coroutines.waiter cimport Waiter
from picows_codec.listener cimport WSMessageListener

cdef class EventListener(WSMessageListener):
    cdef:
        object _loop
        list _events                # those that wait, from _first on; before it None
        Py_ssize_t _first
        list _waiters               # a Waiter for each that waits for an event
        object _end                 # the last event, once nothing else comes; else None
        uint8_t _is_paused          # reading is paused because an event waits
        uint8_t _takes_messages     # open and not being closed, so that send() sends
        uint8_t _sends              # while reading was paused, since an event was taken; at most 2

    cdef Py_ssize_t count(self) noexcept
    cdef int put(self, object event) except -1
    cdef PyObject* take(self) except NULL       # returns a new reference
    cdef int sends_unread(self) except -1
    cdef Waiter wait(self)
    cdef int stop_waiting(self, Waiter waiter) except -1

cdef class EventOperation(CompiledCoroutine):
    cdef:
        EventListener _listener     # None when it has ended
        object _message         # what is to be sent; None: it receives
        object _awaited         # what is waited for: a Waiter, or a coroutine that sends
        uint8_t _kind
        uint8_t _stage

    cdef int _receive(self, PyObject** result) except -1
    cdef int _send(self, PyObject** result) except -1
    cdef int _step_of_other(self, object value, PyObject** result) except -1
    cdef int _finish(self) except -1
