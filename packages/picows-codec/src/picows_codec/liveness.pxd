"""Whether the peer of an open connection is alive: stalls, keep-alive, round trips. Private."""

from libc.stdint cimport uint8_t

from picows_codec.deadlines cimport Sweeper
from picows_codec.receiver cimport Receiver
from picows_codec.view cimport WSFrame

cdef enum:
    # Values of _state: WSState's.
    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3

cdef class Liveness(Receiver):
    cdef:
        uint8_t _state

        # Small fields lie together, as each would take eight bytes among the others.
        uint8_t _queue_is_late          # the write queue, above its watermarks or before a ping
        uint8_t _ping_pending           # an automatic ping waits for its pong
        uint8_t _user_ping              # the listener has a ping of its own
        uint8_t _data_quarters          # quarters of data_timeout without a data frame
        # Looks taken before a verdict, see _is_certain: of a ping or a handshake, and of others
        uint8_t _looks
        uint8_t _stall_looks
        uint8_t _data_looks

        object _loop
        Sweeper _sweeper

        # Stalls: what stood unfinished at the last look, and how far it was
        double _stall_due               # when to look next; 0: nothing is unfinished
        Py_ssize_t _frame_mark          # bytes of the incoming frame's payload
        Py_ssize_t _queue_mark          # bytes that the kernel had taken of this connection

        # Keep-alive
        bytes _ping_payload
        double _idle_since
        double _ping_sent               # since when its pong could have come
        Py_ssize_t _ping_mark           # while it may be queued: bytes that leave up to its end
        double _ping_due                # when to look next, on the sweeper's clock; 0: never
        list _roundtrips                # of (payload or None, future, start)

        double _data_due                # data_timeout: when to look next; 0: never

    cdef int _watch(self, object delay) except -1
    cdef int _watch_open(self, double now) except -1
    cdef int _look_at_peer(self, double now) except -1
    cdef bint _is_paused(self) except -1
    cdef int _read_again(self) except -1
    cdef bint _is_certain(self, uint8_t* looks, int most) except -1
    cdef int _mark_stalls(self, double now) except -1
    cdef int _look_for_stalls(self, double now) except -1
    cdef Py_ssize_t _acknowledged(self) except -1
    cdef int _stalled(self, str what) except -1
    cdef int _keep_alive(self, double now) except -1
    cdef int _await_pong(self, double now) except -1
    cdef int _follow_ping(self, double now) except -1
    cdef int _expect_data(self, double now) except -1
    cdef int _look_for_data(self, double now) except -1
    cdef int _note_pings(self) except -1
    cdef bint _is_pong(self, WSFrame frame) except -1

    # Hooks that the endpoint fills in.
    cdef int _fail(self, int code, str reason, object kind, object error) except -1
    cdef int _slow_consumer(self, Py_ssize_t size, str text) except -1
