"""How a connection ends: closing handshake, failing, aborting, the cause. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.connection.receiver cimport Receiver
from picows_codec.deadlines cimport Sweeper

cdef enum:
    # Second looks before a verdict while bytes come: what is waited for may be behind them.
    MOST_LOOKS = 50

cdef class Closing(Receiver):
    cdef:
        object _logger
        object _clock
        Sweeper _sweeper                # None before connection_made and after the end
        object _cause                   # WSDisconnectCause, once there is one
        object _remote_address          # packed, see socket_address
        object _local_address
        bint _secure
        uint8_t _looks                  # of a handshake before its verdict, see _is_certain

    cdef int _begin_closing(self, object logger, object clock, object remote_address) except -1
    cdef int _note_addresses(self) except -1
    # The request comes from the client of a proxy: its address, packed.
    cdef int _replace_remote_address(self, object remote) except -1
    cdef int _start_deadlines(self) except -1
    cdef int _release_closing(self) except -1

    # The connection's one deadline, in seconds from now; None clears it.
    cdef int _watch(self, object delay) except -1
    # The same for another event than the one that it has waited for.
    cdef int _watch_anew(self, object delay) except -1
    cdef bint _is_paused(self) except -1
    cdef int _pause_after_read(self, object pause) except -1
    cdef int _pause_now(self) except -1
    cdef int _read_again(self) except -1
    cdef bint _is_certain(self, uint8_t* looks, int most, uint8_t heard_bit) except -1

    cdef str _peer(self)
    # What a record of the log says of the connection beside its text.
    cdef dict _log_fields(self)
    cdef int _debug(self, str text, object detail) except -1
    cdef int _debug_close(self, str text, bytes payload) except -1
    cdef int _debug_end(self) except -1
    cdef object _complete_cause(self)
    cdef int _set_cause(self, object kind, object error) except -1
    cdef int _replace_cause(self, object cause) except -1
    cdef int _note_unsent(self) except -1

    cdef int _fail(self, int code, str reason, object kind, object error) except -1
    # The same with WSProtocolError, or with the error of a timeout.
    cdef int _fail_protocol(self, int code, str reason, str text) except -1
    cdef int _time_out(
        self, str what, object kind, object error_type, str missing, str option) except -1
    cdef str _within(self, str option)      # for error texts: an option in seconds, and its value
    cdef int _slow_consumer(self, Py_ssize_t size, str text) except -1
    cdef int _finish_closing(self) except -1
    cdef int _linger(self) except -1
    cdef int _abort(self) except -1
    cdef int _log_listener_error(self, str callback, object error) except -1
    cdef int _end_of_closing_time(self) except -1

cdef int drop_tracebacks(object error) except -1
