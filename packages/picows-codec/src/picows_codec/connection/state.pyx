"""What a connection may do now, and what changes that (RFC 6455, 4, 7.1).

``TRANSITIONS`` is the table of all states and of what moves a connection from one to the next; an
event that is not listed for a state leaves it as it is. What each state means and allows stands in
state.pxd. The diagram in ARCHITECTURE.md is made from the table (``python tools/states.py``).
"""

cimport cython
from libc.stdint cimport uint8_t

from picows_codec.constants cimport WS_CLOSE_NO_STATUS_RECEIVED, ws_close_code_member

from picows_codec.disconnect import WSCloseHandshake, WSCloseInfo, WSState

cdef tuple _STATES = tuple(WSState)

_NAMES = {
    "CONNECTING": CONNECTING,
    "OPEN": OPEN,
    "CLOSE_SENT": CLOSE_SENT,
    "LEAVING": LEAVING,
    "CLOSE_RECEIVED": CLOSE_RECEIVED,
    "CLOSE_EXCHANGED": CLOSE_EXCHANGED,
    "LEFT": LEFT,
    "PEER_GONE": PEER_GONE,
    "FAILING": FAILING,
    "REFUSED": REFUSED,
    "ABORTED": ABORTED,
    "CLOSED": CLOSED,
}
_EVENTS = {
    "OPENED": OPENED,
    "HANDSHAKE_FAILED": HANDSHAKE_FAILED,
    "SENDS_CLOSE": SENDS_CLOSE,
    "DISCONNECTS": DISCONNECTS,
    "RECEIVES_CLOSE": RECEIVES_CLOSE,
    "FAILS": FAILS,
    "RECEIVES_EOF": RECEIVES_EOF,
    "ABORTS": ABORTS,
    "ENDS": ENDS,
}
TRANSITIONS = {
    "CONNECTING": {
        "OPENED": "OPEN",
        "HANDSHAKE_FAILED": "REFUSED",
        "ABORTS": "ABORTED",
        "ENDS": "CLOSED",
    },
    "OPEN": {
        "SENDS_CLOSE": "CLOSE_SENT",
        "DISCONNECTS": "LEAVING",
        "RECEIVES_CLOSE": "CLOSE_RECEIVED",
        "FAILS": "FAILING",
        "RECEIVES_EOF": "PEER_GONE",
        "ABORTS": "ABORTED",
        "ENDS": "CLOSED",
    },
    "CLOSE_SENT": {
        "DISCONNECTS": "LEAVING",
        "RECEIVES_CLOSE": "CLOSE_EXCHANGED",
        "FAILS": "FAILING",
        "ABORTS": "ABORTED",
        "ENDS": "CLOSED",
    },
    "LEAVING": {
        "RECEIVES_CLOSE": "LEFT",
        "FAILS": "FAILING",
        "ABORTS": "ABORTED",
        "ENDS": "CLOSED",
    },
    "CLOSE_RECEIVED": {
        "SENDS_CLOSE": "CLOSE_EXCHANGED",
        "DISCONNECTS": "LEFT",
        "FAILS": "FAILING",
        "ABORTS": "ABORTED",
        "ENDS": "CLOSED",
    },
    "CLOSE_EXCHANGED": {
        "DISCONNECTS": "LEFT",
        "FAILS": "FAILING",
        "ABORTS": "ABORTED",
        "ENDS": "CLOSED",
    },
    "LEFT": {"FAILS": "FAILING", "ABORTS": "ABORTED", "ENDS": "CLOSED"},
    "PEER_GONE": {"DISCONNECTS": "LEFT", "FAILS": "FAILING", "ABORTS": "ABORTED", "ENDS": "CLOSED"},
    "FAILING": {"ABORTS": "ABORTED", "ENDS": "CLOSED"},
    "REFUSED": {"ABORTS": "ABORTED", "ENDS": "CLOSED"},
    "ABORTED": {"ENDS": "CLOSED"},
    "CLOSED": {},
}

cdef uint8_t _next[128][<int> EVENTS]


def _fill_table():
    for name, state in _NAMES.items():
        for event, number in _EVENTS.items():
            _next[<int> state][<int> number] = _NAMES[TRANSITIONS[name].get(event, name)]


_fill_table()


def allows(state):
    """What ``state`` (a name of ``TRANSITIONS``) allows: a WSState, then sends, reads, delivers."""
    cdef int number = _NAMES[state]
    return (
        WSState(number & PHASE), bool(number & MAY_SEND), bool(number & READS),
        bool(number & DELIVERS))


def state_of(ConnectionState connection not None):
    """The name of the state that a connection is in."""
    for name, number in _NAMES.items():
        if number == connection._state:
            return name


cdef class ConnectionState(Deadlined):
    """The state of a connection, and the CLOSE frames that went either way.

    Only the thread of the loop writes them, in the critical section in which others read them.
    """

    def __cinit__(self, *args, **options):
        # It is CLOSED until __init__ has run, which a subclass may forget to call.
        self._state = CLOSED

    @property
    def state(self):
        """See :attr:`WSTransport.state`."""
        with cython.critical_section(self):
            return _STATES[self._state & PHASE]

    @property
    def is_close_frame_sent(self):
        """See :attr:`WSTransport.is_close_frame_sent`."""
        with cython.critical_section(self):
            return self._was_close_sent()

    @property
    def close_handshake(self):
        """See :attr:`WSTransport.close_handshake`."""
        with cython.critical_section(self):
            received = self._close_payload_received
            sent = self._close_payload_sent
            was_first = bool(self._close_was_first)
        if received is None and sent is None:
            return None
        return WSCloseHandshake(close_info(received), close_info(sent), was_first)

    cdef bint _was_close_sent(self) noexcept:
        return self._close_payload_sent is not None

    cdef bint _was_close_received(self) noexcept:
        return self._close_payload_received is not None

    cdef str _state_name(self):
        if self._state == CONNECTING:
            return "not open yet"
        return "closed" if self._state == CLOSED else "being closed"

    cdef int _begin(self) noexcept:
        with cython.critical_section(self):
            self._state = CONNECTING
        return 0

    cdef int _advance(self, ws_event event) noexcept:
        with cython.critical_section(self):
            self._state = _next[self._state][<int> event]
        return 0

    cdef int _advance_by_sent_close(self, ws_event event, bytes payload) except -1:
        with cython.critical_section(self):
            self._close_payload_sent = payload
            self._state = _next[self._state][<int> event]
        return 0

    cdef int _advance_by_received_close(self, bytes payload) except -1:
        with cython.critical_section(self):
            self._close_was_first = self._close_payload_sent is None
            self._close_payload_received = payload
            self._state = _next[self._state][<int> RECEIVES_CLOSE]
        return 0


cdef object close_info(bytes payload):
    """The contents of a CLOSE frame that has been checked; None without one."""
    if payload is None:
        return None
    if len(payload) < 2:
        return WSCloseInfo(ws_close_code_member(WS_CLOSE_NO_STATUS_RECEIVED), "")
    return WSCloseInfo(
        ws_close_code_member(payload[0] << 8 | payload[1]), payload[2:].decode("utf-8"))
