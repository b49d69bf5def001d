"""Who learns that a descriptor is ready: from one epoll descriptor, or from the loop. Private tier.

A poller knows its members by one virtual function only.
"""

from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t

from picows_codec.connection.writer cimport Wire

cdef extern from "stream/native/epoll.h" nogil:
    # Events. A broken descriptor is readable and writable.
    enum:
        READABLE "PICOWS_READABLE"
        WRITABLE "PICOWS_WRITABLE"

cdef class Member(Wire):
    """An object that is told when its descriptor is ready.

    A transport is a member and a wire. An extension type has only one base class, so one of the
    two is the base of the other.
    """

    cdef uint8_t watched_events     # what the descriptor is watched for: READABLE, WRITABLE

    # These events have occurred. Not all of them need to be watched: another member's callback may
    # have ended this one's interest, and a broken descriptor is ready for everything.
    cdef int ready(self, uint32_t events) except -1

cdef class CallbackMember(Member):
    """A descriptor of somebody else's transport."""

    cdef object _loop           # is told what a callback raises
    cdef object _reader         # called when the descriptor is readable, or None
    cdef object _writer

    cdef int _call(self, object callback) except -1

cdef class Poller:
    cdef object _loop
    cdef int _epoll             # file descriptor, or -1 when closed
    cdef dict _members          # file descriptor -> Member
    cdef PyObject** _table      # the same, borrowed, indexed by descriptor
    cdef int _table_size
    cdef int _latest            # descriptor of the last event
    cdef bint _polling          # busy_poll: looks in every iteration of the loop

    # Watch a member's descriptor for these events from now on; for none: no longer.
    cdef int watch(self, int fd, Member member, uint8_t events) except -1
    # Look in every iteration of the loop, as long as there is a member: busy_poll.
    cdef int poll_always(self) except -1

    cdef bint _set_callback(self, int fd, uint8_t event, object callback) except -1
    cdef int _grow_table(self, int fd) except -1
    cdef inline Member _member(self, int fd)

# The same as Poller.watch() where the loop itself watches the descriptor.
cdef int watch_by_loop(object loop, int fd, Member member, uint8_t events) except -1
