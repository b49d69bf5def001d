"""Deadlines of all connections of a loop, swept by one timer."""

from picows_codec.timer_wheel cimport TimerWheel, WheelMember

# Seconds until the second look, before a verdict about a peer.
cdef double SECOND_LOOK

cdef class Deadlined(WheelMember):
    cdef int on_deadline(self, double now) except -1

cdef class Sweeper:
    cdef object _loop
    cdef object _clock
    cdef object _handle
    cdef double _wakeup         # when the loop calls, on the sweeper's clock
    cdef bint _was_late         # the last sweep came late and only gave time
    cdef bint _is_sweeping      # the timer is set at the end
    cdef TimerWheel _wheel
    cdef object __weakref__

    cdef double now(self) except -1.0
    cdef int watch(self, Deadlined member, double delay) except -1
    cdef int forget(self, Deadlined member) except -1
    cdef int _schedule(self, double now) except -1

# Whether a look at this time is soon enough for what is due then.
cdef bint is_due(double deadline, double now) noexcept

# Seconds until the deadline. If it has passed, the loop was late (blocked, for example): the result
# is then the time that it gives back to the peer.
cpdef double time_left(double deadline, double now) noexcept

# Seconds until the second look at a peer whose deadline has come, for users without a Sweeper.
cpdef double until_second_look(double deadline, double now) noexcept

cdef Sweeper sweeper_for(object loop, object clock)
