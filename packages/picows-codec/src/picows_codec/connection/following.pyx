"""What is told of a connection's rare events, whatever its listener is.

A connection nobody follows has no field for that: its transport has a reserved one.
"""

from picows_codec.transport cimport WSTransport, _set_follower


cdef class Follower:
    """It may raise: that is logged, and harms nobody else."""

    cdef int _may_send(self) except -1:
        return 0

    cdef int _ended(self) except -1:
        return 0


cdef int follow(WSTransport transport, Follower follower) except -1:
    follower._next = <Follower> transport._follower
    return _set_follower(transport, follower)


cdef Follower first_follower(WSTransport transport, bint for_good):
    cdef Follower first = <Follower> transport._follower
    if for_good:
        _set_follower(transport, None)
    return first
