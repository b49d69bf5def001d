"""Who is due at which tick, at the same cost for any number of members."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum:
    BUCKETS = 4096      # ticks ahead for which there is a bucket each: 64 words of 64 bits

cdef struct Link:
    uint32_t next
    uint32_t previous

cdef class WheelMember:
    """Base of what can be in one wheel."""
    cdef uint32_t _node         # 0: it is in no wheel

cdef class TimerWheel:
    cdef readonly int64_t now   # the tick up to which members were collected
    cdef list _members          # in the order of their nodes
    cdef int64_t* _ticks        # of the members
    cdef Link* _links           # of the buckets, the due, and the members: rings by number
    cdef Py_ssize_t _capacity   # members for which there is memory
    cdef uint64_t _filled[64]   # a bit for each bucket
    cdef uint64_t _words        # a bit for each word above

    cpdef int set(self, WheelMember member, int64_t tick) except -1
    cpdef int remove(self, WheelMember member) except -1
    cpdef bint is_empty(self) noexcept
    cpdef int64_t earliest(self) noexcept
    cpdef int advance(self, int64_t tick) except -1
    cpdef int postpone(self, int64_t tick, int64_t until) except -1
    cpdef bint has_due(self) noexcept
    cpdef WheelMember take(self)

    cdef bint _holds(self, WheelMember member) except -1
    cdef int _reserve(self, Py_ssize_t members) except -1
    cdef int _link(self, uint32_t node, int64_t tick) noexcept
    cdef int _unlink(self, uint32_t node) noexcept
    cdef uint32_t _bucket(self, int64_t tick) noexcept
    cdef uint32_t _last(self, uint32_t bucket) noexcept
    cdef int _collect(self, int64_t tick) noexcept
    cdef int _join(self, uint32_t source, uint32_t target) noexcept
    cdef int _mark(self, uint32_t bucket, bint is_filled) noexcept
