"""What is told of a connection's rare events, whatever its listener is. Private tier."""

from picows_codec.transport cimport WSTransport

cdef class Follower:
    cdef Follower _next

    # Messages may be sent again: the write queue has drained, or a fragmented message is complete.
    # Called after the listener's resume_writing.
    cdef int _may_send(self) except -1
    # The connection has ended. Called after the listener's on_ws_disconnected.
    cdef int _ended(self) except -1

cdef int follow(WSTransport transport, Follower follower) except -1
# The first one, or None. The transport has none from now on, if ``for_good``.
cdef Follower first_follower(WSTransport transport, bint for_good)
cdef inline Follower next_follower(Follower follower):
    return follower._next
