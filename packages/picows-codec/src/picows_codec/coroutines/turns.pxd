"""Whose turn it is to send on a coroutine connection. Private tier."""

cdef class Turns:
    cdef object _waiting        # a deque of futures, first come first served
    cdef object _between        # the future of who sends fragments and waits between two, or None
    cdef bint _is_held          # a message of several fragments is being sent

    cdef bint is_taken(self) noexcept
    cdef bint is_held(self) noexcept
    cdef object join(self, object future, bint first)
    cdef object pause_between(self, object future)
    cdef int leave(self, object future) except -1
    cdef int hold(self) noexcept
    cdef int release(self) except -1
    cdef int call_next(self) except -1
    cdef int call_all(self) except -1
