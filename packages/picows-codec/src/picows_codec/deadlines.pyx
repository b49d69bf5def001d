"""Deadlines of all connections of a loop, swept by one timer.

A connection without a deadline (open, without automatic ping) is not in the sweeper at all and
costs nothing; the others share one ``loop.call_later``, which is set for the first of them only. A
sweep looks at nobody but those that are due, and lets the loop go on after some of them.
"""

from libc.math cimport ceil, floor
from libc.stdint cimport int64_t

from weakref import ref

from picows_codec.buffers cimport ThreadBuffers, keep_sweeper, thread_buffers

# Seconds of a tick. All deadlines within one are served by one wake-up, at its end.
cdef double RESOLUTION = 0.005
# Some loops count whole milliseconds, so that their timers may come half a one early.
cdef double TIMER_EARLY = 0.001
# A deadline at the end of a tick, within the error of the floats, belongs to it.
cdef double ROUNDING = 0.0001
# No time of a clock: a number of ticks that can be counted.
cdef double FURTHEST = 1e15

cdef enum:
    # Deadlines that are served before the loop goes on: a millisecond or two of pings.
    SLICE = 128

# The loop reads between the looks. As long as a round trip to a busy peer may take.
cdef double SECOND_LOOK = 0.05

# A sweep that comes this many seconds late shows that the loop was blocked or the machine asleep.
cdef double LATE = 0.1
# The most seconds for which the loop then reads what peers did meanwhile, before it judges them.
cdef double LONGEST_GRACE = 5.0


cdef bint is_due(double deadline, double now) noexcept:
    return deadline <= now + RESOLUTION


cpdef double time_left(double deadline, double now) noexcept:
    """Seconds until ``deadline``; if a late loop missed it, the seconds to give back."""
    return deadline - now if deadline > now else min(now - deadline, LONGEST_GRACE)


cpdef double until_second_look(double deadline, double now) noexcept:
    """Seconds until the second look at a peer whose ``deadline`` has come."""
    return SECOND_LOOK + min(max(now - deadline, 0.0), LONGEST_GRACE)


cdef int64_t tick_of(double deadline) noexcept:
    """The tick at which a deadline is served; it is later by less than RESOLUTION."""
    return <int64_t> ceil((min(deadline, FURTHEST) - ROUNDING) / RESOLUTION)


cdef int64_t tick_at(double now) noexcept:
    return <int64_t> floor((now + TIMER_EARLY) / RESOLUTION)


cdef class Deadlined(WheelMember):
    """Base of what the sweeper can watch."""

    cdef int on_deadline(self, double now) except -1:
        """The deadline has passed and was cleared; may watch() again."""
        raise NotImplementedError


cdef class Sweeper:
    """Watches the deadlines of one loop."""

    def __cinit__(self, loop, clock):
        self._loop = loop
        self._clock = clock
        self._wheel = TimerWheel(tick_at(self.now()))

    cdef double now(self) except -1.0:
        return self._loop.time() if self._clock is None else self._clock()

    cdef int watch(self, Deadlined member, double delay) except -1:
        """Set member's only deadline to delay seconds from now."""
        cdef double now = self.now()
        cdef int64_t tick = tick_of(now + delay)
        if self._wheel.is_empty():
            self._wheel.advance(tick_at(now))
        self._wheel.set(member, tick)
        if not self._is_sweeping and (
                self._handle is None or tick * RESOLUTION < self._wakeup):
            self._schedule(now)
        return 0

    cdef int forget(self, Deadlined member) except -1:
        self._wheel.remove(member)
        if self._wheel.is_empty() and self._handle is not None:
            self._handle.cancel()
            self._handle = None
        return 0

    cdef int _schedule(self, double now) except -1:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._wheel.has_due():
            self._wakeup = now
            self._handle = self._loop.call_soon(self._sweep_on)
        elif not self._wheel.is_empty():
            self._wakeup = max(self._wheel.earliest() * RESOLUTION, now)
            self._handle = self._loop.call_later(self._wakeup - now, self._sweep)
        return 0

    def _sweep(self):
        cdef double now = self.now()
        cdef double grace = min(now - self._wakeup, LONGEST_GRACE)
        if grace > LATE and not self._was_late:
            # This side was late: give its peers the time that they lost.
            self._was_late = True
            self._wheel.postpone(tick_at(now), tick_of(now + grace))
            self._handle = None
            self._schedule(now)
        else:
            self._was_late = False
            self._sweep_on()

    def _sweep_on(self):
        """Serve those that are due, as many as do not hold up the loop; then set the timer."""
        cdef double now = self.now()
        cdef Deadlined member
        self._handle = None
        self._is_sweeping = True
        self._wheel.advance(tick_at(now))
        try:
            for _ in range(SLICE):
                if not self._wheel.has_due():
                    break
                # A callback of this sweep may have set or cleared another member's deadline.
                member = <Deadlined> self._wheel.take()
                if member is not None:
                    member.on_deadline(now)
        finally:    # if one connection raised, the others still have deadlines
            self._is_sweeping = False
            self._schedule(now)


cdef Sweeper sweeper_for(object loop, object clock):
    """The sweeper of this thread's running loop; it lives as long as somebody uses it."""
    cdef ThreadBuffers local = thread_buffers()
    cdef Sweeper found = local.sweeper() if local.sweeper is not None else None
    if found is None or found._loop is not loop or found._clock is not clock:
        found = Sweeper(loop, clock)
        keep_sweeper(local, ref(found))
    return found
