"""Automatic pings and measured round trips of a connection. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.connection.closing cimport Closing
from picows_codec.frames cimport WSFrame

cdef class KeepAlive:
    """Exists while a connection pings by itself, or measures round trips."""

    cdef:
        double due                      # when to look next, on the sweeper's clock; 0: never
        bint _is_automatic              # enable_auto_ping
        bint _user_ping                 # the listener has a ping of its own
        bint _ping_pending              # an automatic ping waits for its pong
        uint8_t _looks                  # before a verdict, see Closing._is_certain
        bytes _ping_payload
        double _idle_since              # the last sign of life that counts, see look()
        double _ping_sent               # since when its pong could have come
        Py_ssize_t _ping_mark           # while it may be queued: bytes that leave up to its end
        Py_ssize_t _queue_mark          # bytes that had left at the last look at the queue
        list _roundtrips                # of (payload or None, future, start)
        double _ping_time               # when the last automatic ping was sent
        double latency                  # seconds of the last round trip; 0: none was measured

    cdef int start(self, Closing connection, double now) except -1
    cdef int stop(self, Closing connection) except -1
    cdef bint waits_in_queue(self) noexcept
    cdef bint is_needed(self) noexcept
    cdef int look(self, Closing connection, double now) except -1
    cdef bint takes(self, Closing connection, WSFrame frame) except -1
    cdef int user_pong_arrived(self, Closing connection) except -1
    cdef object measure(self, Closing connection)
    cdef int give_up_roundtrips(self, object error_type, str text) except -1

    cdef int _await_pong(self, Closing connection, double now) except -1
    cdef int _follow_ping(self, Closing connection, double now) except -1
    cdef int _note(self, Closing connection) except -1
    cdef int _end_roundtrip(self, Closing connection) except -1

cdef KeepAlive new_keepalive(Closing connection)
