"""How a connection opens. Private tier."""

from picows_codec.connection.closing cimport Closing
from picows_codec.http.handshake cimport OpeningHandshake

cdef class Handshaking(Closing):
    cdef:
        OpeningHandshake _handshake     # None once it is over
        object _request
        object _response
        str _subprotocol
        object _opened_waiter
        # On the clock: when the connection began. Before it has, the deadline of its opening
        # handshake; 0: websocket_handshake_timeout. After its end, how long it was.
        double _began
        bint _connected_called
        bint _waits_for_result          # a task makes the response

    cdef int _begin_handshaking(self, OpeningHandshake handshake, object deadline) except -1
    cdef int _release_handshaking(self) except -1
    cdef int _start_handshake(self) except -1
    # Seconds since connection_made, or until the end.
    cdef double _age(self) except -1.0
    cdef int _end_age(self, bint has_begun) except -1   # the state is CLOSED

    cdef int _wait_for_result(self) except -1
    cdef int _stop_waiting(self) except -1
    cdef int _finish_handshake(self) except -1
    cdef int _open(self) except -1
    cdef int _refuse(self, object error, bint is_told=*) except -1
    cdef int _count_refusal(self, object response) except -1

    # Returns whether the transport stays open, because the response is still being sent.
    cdef bint _handshake_eof(self) except -1
    cdef int _response_may_go_on(self) except -1
    cdef int _abort_response(self, object kind, object error) except -1
    cdef int _set_cause_of_failure(self, object error) except -1
    cdef int _handshake_time_is_up(self) except -1
    cdef object _handshake_lost(self, object exc)

    # Hooks of the room above
    cdef int _watch_peer(self) except -1        # the connection is open
    cdef int _received_behind_request(self, bytes data) except -1
