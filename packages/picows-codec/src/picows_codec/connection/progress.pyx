"""Whether bytes go on to move: stalls, and the option data_timeout.

A look tells what has been unfinished since the last look from what came and went. So the clock is
read once per timeout, not for each frame.
"""

cimport cython

from picows_codec.connection.closing cimport MOST_LOOKS, Closing
from picows_codec.connection.receiver cimport (
    HEARD_FOR_DATA,
    HEARD_FOR_VERDICT,
    LATE_DATA,
    LATE_FRAME,
    LATE_MESSAGE,
)
from picows_codec.constants cimport WS_CLOSE_POLICY_VIOLATION
from picows_codec.deadlines cimport SECOND_LOOK
from picows_codec.totals cimport UNFINISHED, count_violation

from sys import byteorder as _BYTE_ORDER

from picows_codec.disconnect import WSDisconnectKind
from picows_codec.errors import WSDataTimeout

cdef enum:
    # A frame or queue that moves by this many bytes within stall_timeout has not stalled.
    STALL_PROGRESS = 65536
    # How often data frames are looked for within data_timeout.
    DATA_QUARTERS = 4
    # Where tcpi_bytes_acked is in Linux's struct tcp_info.
    BYTES_ACKED = 120

# IPPROTO_TCP, TCP_INFO and a size: the codec does not import socket.
cdef tuple TCP_INFO = (6, 11, 128)


cdef Py_ssize_t bytes_taken(Closing connection) except -1:
    return connection._written - connection._queue_below() + _acknowledged(connection)


cdef Py_ssize_t _acknowledged(Closing connection) except -1:
    """Bytes that the peer's kernel has confirmed. The queue is not enough, because below the TLS of
    asyncio and uvloop is another one, which they do not count. 0 except on Linux."""
    if connection._wire is not None:
        return 0
    try:
        info = connection._transport_below.get_extra_info("socket").getsockopt(*TCP_INFO)
        return int.from_bytes(info[BYTES_ACKED:BYTES_ACKED + 8], _BYTE_ORDER)
    except Exception:
        return 0        # another system, another socket than TCP, or a transport that has ended


@cython.final
cdef class StallWatch:
    cdef int mark(self, Closing connection, double now, bint queue_matters) except -1:
        """Note what is unfinished now. If nothing is, ``due`` becomes 0."""
        connection._mark_unfinished()
        self._frame_mark = connection._block_size if connection._block is not None else 0
        self._queue_is_late = queue_matters and connection._queue_below() != 0
        self._queue_mark = bytes_taken(connection)
        self._looks = 0
        self.due = 0
        if connection._late & (LATE_FRAME | LATE_MESSAGE) or self._queue_is_late:
            self.due = now + <double> connection._options.stall_timeout
        return 0

    cdef int queue_moved(self) noexcept:
        self._queue_is_late = False
        return 0

    cdef int look(self, Closing connection, double now, bint queue_matters) except -1:
        cdef Py_ssize_t enough = STALL_PROGRESS if connection._write_paused else 1
        cdef bint queue_stalls
        cdef bint frame_stalls
        cdef bint message_stalls
        cdef bint is_paused
        self.due = now + <double> connection._options.stall_timeout
        queue_stalls = (
            self._queue_is_late and queue_matters
            and bytes_taken(connection) < self._queue_mark + enough)
        is_paused = connection._is_paused()
        frame_stalls = not is_paused and connection._late & LATE_FRAME and (
            connection._block is None
            or connection._block_size < self._frame_mark + STALL_PROGRESS)
        # Between two fragments, because an unfinished frame has a check of its own.
        message_stalls = (
            not is_paused and connection._late & LATE_MESSAGE and connection._block is None
            and connection._head_size == 0)
        if not (queue_stalls or frame_stalls or message_stalls):
            return self.mark(connection, now, queue_matters)
        if not connection._is_certain(&self._looks, 1, HEARD_FOR_VERDICT):
            self.due = now + SECOND_LOOK
            return 0
        if queue_stalls:
            return connection._slow_consumer(
                0, f"hardly any were taken {connection._within('stall_timeout')}")
        count_violation(<void*> connection._totals, UNFINISHED)
        what = "frame" if frame_stalls else "message"
        return connection._fail_protocol(
            WS_CLOSE_POLICY_VIOLATION, f"unfinished {what}",
            f"the peer did not go on with a {what} {connection._within('stall_timeout')}")


@cython.final
cdef class DataWatch:
    cdef int expect(self, Closing connection, double now) except -1:
        """Each data frame clears LATE_DATA, so that no clock is read for it."""
        connection._mark_data(True)
        connection._has_heard(HEARD_FOR_DATA)
        self._looks = 0
        self.due = now + <double> connection._options.data_timeout / DATA_QUARTERS
        return 0

    cdef int look(self, Closing connection, double now) except -1:
        cdef bint is_paused
        self.due = now + <double> connection._options.data_timeout / DATA_QUARTERS
        is_paused = connection._is_paused()
        # No pong can come between the pieces of a frame, so its bytes are data.
        if is_paused or not connection._late & LATE_DATA or (
                connection._block is not None and connection._heard & HEARD_FOR_DATA):
            self._quarters = 0
        elif self._quarters < DATA_QUARTERS:
            self._quarters += 1
        if self._quarters < DATA_QUARTERS:
            self.expect(connection, now)
            if is_paused:       # the time begins at the first look at which this side reads
                connection._mark_data(False)
            return 0
        if not connection._is_certain(&self._looks, MOST_LOOKS, HEARD_FOR_DATA):
            self.due = now + SECOND_LOOK
            return 0
        return connection._time_out(
            "data", WSDisconnectKind.DATA_TIMEOUT, WSDataTimeout, "data frame", "data_timeout")
