"""Deadlines of all connections of a loop, swept by one timer.

A connection without a deadline (open, without automatic ping) is not in the sweeper at all and
costs nothing; the others share one ``loop.call_later``.
"""

from weakref import ref

from picows_codec.buffers cimport ThreadBuffers, keep_sweeper, thread_buffers

# Deadlines closer together than this are served by one wake-up.
cdef double RESOLUTION = 0.005

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


cdef class Deadlined:
    """Base of what the sweeper can watch."""

    cdef int on_deadline(self, double now) except -1:
        """The deadline has passed and was cleared; may watch() again."""
        raise NotImplementedError


cdef class Sweeper:
    """Watches the deadlines of one loop."""

    def __cinit__(self, loop, clock):
        self._loop = loop
        self._clock = clock
        self._members = set()

    cdef double now(self) except -1.0:
        return self._loop.time() if self._clock is None else self._clock()

    cdef int watch(self, Deadlined member, double delay) except -1:
        """Set member's only deadline to delay seconds from now."""
        member.deadline = self.now() + delay
        self._members.add(member)
        if self._handle is None or member.deadline < self._wakeup:
            self._schedule(delay, member.deadline)
        return 0

    cdef int forget(self, Deadlined member) except -1:
        member.deadline = 0
        self._members.discard(member)
        if not self._members and self._handle is not None:
            self._handle.cancel()
            self._handle = None
        return 0

    def _schedule(self, double delay, double wakeup):
        if self._handle is not None:
            self._handle.cancel()
        self._wakeup = wakeup
        self._handle = self._loop.call_later(
            delay if delay > RESOLUTION else RESOLUTION, self._sweep)

    def _sweep(self):
        cdef double now = self.now()
        cdef double earliest = 0
        cdef Deadlined member
        self._handle = None
        if now > self._wakeup + LATE and not self._was_late:
            self._give_time(now, min(now - self._wakeup, LONGEST_GRACE))
            return
        self._was_late = False
        try:
            for member in [
                each for each in self._members
                if is_due((<Deadlined> each).deadline, now)
            ]:
                # A callback of this sweep may have set or cleared another member's deadline.
                if member.deadline == 0 or not is_due(member.deadline, now):
                    continue
                self._members.discard(member)
                member.deadline = 0
                member.on_deadline(now)
        finally:    # if one connection raised, the others still have deadlines
            for member in self._members:
                if earliest == 0 or member.deadline < earliest:
                    earliest = member.deadline
            if earliest != 0:
                self._schedule(earliest - now, earliest)

    def _give_time(self, double now, double grace):
        """This side was late: give its peers the time that they lost."""
        cdef Deadlined member
        self._was_late = True
        for member in self._members:
            member.deadline = max(member.deadline, now + grace)
        self._schedule(grace, now + grace)


cdef Sweeper sweeper_for(object loop, object clock):
    """The sweeper of this thread's running loop; it lives as long as somebody uses it."""
    cdef ThreadBuffers local = thread_buffers()
    cdef Sweeper found = local.sweeper() if local.sweeper is not None else None
    if found is None or found._loop is not loop or found._clock is not clock:
        found = Sweeper(loop, clock)
        keep_sweeper(local, ref(found))
    return found
