"""What a task awaits until something has arrived. Private tier."""

from libc.stdint cimport uint8_t

cdef class Waiter:
    cdef:
        object _loop
        object _wakeup          # what the task wants to be called, or None
        object _context         # in which context
        object _reason          # of the cancellation, or None
        uint8_t _is_blocking    # the task has not taken note of it
        uint8_t _is_done        # it was woken, or cancelled
        uint8_t _is_cancelled

    cdef int wake_soon(self) except -1
    cdef int wake(self) except -1
    cdef int _raised(self) except -1

cdef Waiter new_waiter(object loop)
