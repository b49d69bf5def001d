"""Deadlines of all connections of a loop, swept by one timer."""

# Seconds until the second look, before a verdict about a peer.
cdef double SECOND_LOOK

cdef class Deadlined:
    cdef double deadline        # seconds on the sweeper's clock; 0 means none

    cdef int on_deadline(self, double now) except -1

cdef class Sweeper:
    cdef object _loop
    cdef object _clock
    cdef object _handle
    cdef double _wakeup
    cdef bint _was_late         # the last sweep came late and only gave time
    cdef set _members
    cdef object __weakref__

    cdef double now(self) except -1.0
    cdef int watch(self, Deadlined member, double delay) except -1
    cdef int forget(self, Deadlined member) except -1

# Whether a deadline is served by a wake-up at this time.
cdef bint is_due(double deadline, double now) noexcept

# Seconds until the deadline. One that has passed already was missed by a loop that was blocked, for
# instance, which gives the time back.
cpdef double time_left(double deadline, double now) noexcept

# Seconds until the second look at a peer whose deadline, which has come, is not a Sweeper's.
cpdef double until_second_look(double deadline, double now) noexcept

cdef Sweeper sweeper_for(object loop, object clock)
