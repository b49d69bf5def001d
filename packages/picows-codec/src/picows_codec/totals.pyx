"""Running totals of all connections of one server.

A connection adds to them what it does: per read, per write, per run of frames. Those that belong to
no server add to the totals of their thread, which nobody reads, because that is cheaper than to ask
each time whether there are any.
"""

cimport cython

from picows_codec.disconnect import WSDisconnectKind

__all__ = ["Totals"]

cdef tuple _KINDS = tuple(WSDisconnectKind)
cdef dict _PLACES = {kind: place for place, kind in enumerate(_KINDS)}
# How nearly all connections end: a member of an Enum is hashed in Python.
cdef object _PEER_CLOSE = WSDisconnectKind.PEER_CLOSE
cdef Py_ssize_t _PLACE_OF_PEER_CLOSE = _PLACES[WSDisconnectKind.PEER_CLOSE]

# In the order of WS_VIOLATION_*, from 1 on.
cdef tuple _VIOLATIONS = (
    None,
    "reserved_opcode",
    "reserved_bits",
    "length_not_minimal",
    "length_top_bit",
    "control_too_long",
    "control_fragmented",
    "not_masked",
    "masked",
    "unexpected_continuation",
    "expected_continuation",
    "invalid_utf8",
    "close_payload",
    "close_code",
    "close_reason",
    "frame_too_big",
    "message_too_big",
    "too_many_fragments",
    "compression",
    "unfinished",
    "no_memory",
)


@cython.final
cdef class Totals:
    """What the connections of one server have done so far. A server makes one."""

    def __cinit__(self):
        self._refused = {}
        self._responses = {}

    cdef int count_closed(self, object kind) except -1:
        cdef Py_ssize_t place = (
            _PLACE_OF_PEER_CLOSE if kind is _PEER_CLOSE else _PLACES[kind])
        self.closed[place] += 1
        return 0

    cdef int count_response(self, object status, bint is_refusal) except -1:
        cdef dict counts = self._refused if is_refusal else self._responses
        status = int(status)
        counts[status] = counts.get(status, 0) + 1
        return 0

    def failed_before_handshake(self, status=None):
        """A connection has ended before its opening handshake began, for example in TLS.

        ``status``: of the response that it got, if it did.
        """
        if status is None:
            self.count_closed(WSDisconnectKind.HANDSHAKE_FAILURE)
        else:
            self.count_response(status, True)

    def values(self):
        """A dict of all totals, by names of the fields of ``WSServerStats``."""
        cdef int place
        closed = {}
        violations = {}
        for place in range(KINDS):
            closed[_KINDS[place]] = self.closed[place]
        for place in range(1, VIOLATIONS):
            if self.violations[place]:
                violations[_VIOLATIONS[place]] = self.violations[place]
        return {
            "opened": self.opened,
            "closed": closed,
            "refused": dict(self._refused),
            "responses": dict(self._responses),
            "messages_received": self.messages_received,
            "messages_sent": self.frames_sent - self.not_begun_sent,
            "frames_received": self.messages_received + self.not_begun_received,
            "frames_sent": self.frames_sent,
            "bytes_received": self.bytes_received,
            "bytes_sent": self.bytes_sent,
            "pings_lost": self.pings_lost,
            "slow_consumers": self.slow_consumers,
            "violations": violations,
            "write_queue_bytes": max(self.queued, 0),
            "write_queue_bytes_highest": self.most_queued,
        }
