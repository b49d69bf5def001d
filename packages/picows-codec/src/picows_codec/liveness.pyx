"""Whether the peer of an open connection is alive: stalls, keep-alive, round trips.

A connection has one deadline; while it is open that is the next look at its peer.

A verdict is about the peer, not about this side. So it takes a second look, before which the loop
has read; none is passed while this side does not read; and a blocked loop gives time (deadlines).
"""

from libc.stdint cimport uint8_t

from picows_codec.constants cimport (
    WS_CLOSE_INTERNAL_ERROR,
    WS_CLOSE_POLICY_VIOLATION,
    WS_OP_PONG,
    ws_close_code_member,
)
from picows_codec.deadlines cimport SECOND_LOOK, is_due
from picows_codec.receiver cimport (
    HEARD_FOR_DATA,
    HEARD_FOR_IDLE,
    HEARD_FOR_VERDICT,
    LATE_DATA,
    LATE_FRAME,
    LATE_MESSAGE,
)
from picows_codec.view cimport WSFrame

from os import urandom
from sys import byteorder
from time import perf_counter

from picows_codec.constants import WSAutoPingStrategy
from picows_codec.errors import WSDataTimeout, WSPingTimeout, WSProtocolError, WSStateError
from picows_codec.outcome import WSDisconnectKind

# What has got this many bytes further within stall_timeout has not stalled.
cdef enum:
    STALL_PROGRESS = 65536
    # A ping behind an upload may wait for as many bytes in the buffers of both kernels.
    KERNEL_QUEUES = 8388608
    # Second looks before a verdict, as long as bytes come: what is waited for may be behind them.
    MOST_LOOKS = 50
    # Where tcpi_bytes_acked is in Linux's struct tcp_info.
    BYTES_ACKED = 120
    # In which parts of its time the peer's data are looked for.
    DATA_QUARTERS = 4

# IPPROTO_TCP, TCP_INFO and a size: the codec does not import socket.
cdef tuple TCP_INFO = (6, 11, 128)

# Automatic pings look this often within auto_ping_idle_timeout whether bytes came.
cdef double LOOKS_PER_IDLE = 4.0


cdef class Liveness(Receiver):
    cdef int _watch(self, object delay) except -1:
        """Set the connection's one deadline, in seconds from now; None clears it."""
        if self._sweeper is None:
            return 0
        if delay is None:
            return self._sweeper.forget(self)
        return self._sweeper.watch(self, delay)

    cdef int _watch_open(self, double now) except -1:
        """Set the deadline of an open connection: the next look at its peer."""
        cdef double due = self._ping_due
        if due == 0 or (self._stall_due and self._stall_due < due):
            due = self._stall_due
        if due == 0 or (self._data_due and self._data_due < due):
            due = self._data_due
        return self._watch(max(due - now, 0) if due else None)

    cdef int _look_at_peer(self, double now) except -1:
        """The deadline of an open connection has come: does its peer still do its part?"""
        if self._stall_due and is_due(self._stall_due, now):
            self._look_for_stalls(now)
        if self._state == OPEN and self._ping_due and is_due(self._ping_due, now):
            self._keep_alive(now)
        if self._state == OPEN and self._data_due and is_due(self._data_due, now):
            self._look_for_data(now)
        return self._watch_open(now) if self._state == OPEN else 0

    cdef bint _is_paused(self) except -1:
        """Whether this side does not read, which says nothing about the peer."""
        try:
            return not (
                self._transport_below.is_reading() or self._transport_below.is_closing())
        except Exception:
            return False        # a transport that is gone need not know

    cdef int _read_again(self) except -1:
        """Frames are not delivered any more, so that nobody needs a pause, and an end is read."""
        if self._transport_below is not None and self._is_paused():
            self._transport_below.resume_reading()
        return 0

    cdef bint _is_certain(self, uint8_t* looks, int most) except -1:
        """Whether the peer's time is over. Never at the first look, because what it did may wait in
        the socket; and as long as bytes come between looks, not before ``most`` of them."""
        cdef uint8_t mine = HEARD_FOR_DATA if looks == &self._data_looks else HEARD_FOR_VERDICT
        cdef bint heard = self._heard & mine
        self._heard &= ~mine
        if looks[0] == 0 or (heard and looks[0] < most):
            looks[0] += 1
            return False
        looks[0] = 0
        return True

    # Stalls

    cdef int _watch_stalls(self) except -1:
        """A frame or a full write queue is now unfinished: look again after stall_timeout.

        That look tells what was unfinished all the time from what came and went. So the clock is
        read once in that time and not for each frame.
        """
        cdef double now
        if self._stall_due or self._state != OPEN or self._options.stall_timeout is None:
            return 0
        now = self._sweeper.now()
        self._mark_stalls(now)
        return self._watch_open(now)

    cdef int _mark_stalls(self, double now) except -1:
        cdef Py_ssize_t below = self._queue_below()
        self._late &= LATE_DATA
        if self._block is not None or self._head_size != 0:
            self._late |= LATE_FRAME
        if self._gathers and self._parser.message_opcode != 0:
            self._late |= LATE_MESSAGE
        self._frame_mark = self._block_size if self._block is not None else 0
        self._queue_is_late = below != 0 and (self._write_paused or self._ping_mark != 0)
        self._queue_mark = self._written - below + self._acknowledged()
        self._stall_looks = 0
        self._stall_due = 0
        if self._late & (LATE_FRAME | LATE_MESSAGE) or self._queue_is_late:
            self._stall_due = now + self._options.stall_timeout
        return 0

    cdef int _look_for_stalls(self, double now) except -1:
        cdef Py_ssize_t enough = STALL_PROGRESS if self._write_paused else 1
        cdef bint queue_stalls = (
            self._queue_is_late and (self._write_paused or self._ping_mark != 0)
            and self._written - self._queue_below() + self._acknowledged()
            < self._queue_mark + enough)
        cdef bint is_paused = self._is_paused()
        cdef bint frame_stalls = not is_paused and self._late & LATE_FRAME and (
            self._block is None or self._block_size < self._frame_mark + STALL_PROGRESS)
        # Between two fragments; a frame under way is judged by itself.
        cdef bint message_stalls = (
            not is_paused and self._late & LATE_MESSAGE and self._block is None
            and self._head_size == 0)
        if not (queue_stalls or frame_stalls or message_stalls):
            return self._mark_stalls(now)
        if not self._is_certain(&self._stall_looks, 1):
            self._stall_due = now + SECOND_LOOK
            return 0
        if queue_stalls:
            return self._slow_consumer(
                0, f"hardly any were taken within stall_timeout ({self._options.stall_timeout}"
                " seconds)")
        return self._stalled("frame" if frame_stalls else "message")

    cdef Py_ssize_t _acknowledged(self) except -1:
        """Bytes that the peer's kernel has confirmed, where the queue does not tell enough: below
        the TLS of asyncio and uvloop is another one, which they do not count. 0 except on Linux."""
        if self._wire is not None:
            return 0
        try:
            info = self._transport_below.get_extra_info("socket").getsockopt(*TCP_INFO)
            return int.from_bytes(info[BYTES_ACKED:BYTES_ACKED + 8], byteorder)
        except Exception:
            return 0        # another system, no TCP, or a transport that is gone

    cdef int _stalled(self, str what) except -1:
        return self._fail(
            WS_CLOSE_POLICY_VIOLATION, f"unfinished {what}", WSDisconnectKind.PROTOCOL_ERROR,
            WSProtocolError(
                ws_close_code_member(WS_CLOSE_POLICY_VIOLATION),
                f"the peer did not go on with a {what} within stall_timeout"
                f" ({self._options.stall_timeout} seconds)"))

    # Keep-alive

    def _watch_idle(self, double now):
        cdef double left = self._idle_since + self._options.auto_ping_idle_timeout - now
        if self._options.auto_ping_strategy == WSAutoPingStrategy.PING_WHEN_IDLE:
            left = min(left, self._options.auto_ping_idle_timeout / LOOKS_PER_IDLE)
        self._ping_due = now + max(left, 0)
        self._watch_open(now)

    def _watch_ping(self, double now):
        # The pong may come long before it is due, and the next ping is not to wait for that time.
        self._ping_due = min(
            self._ping_sent + self._options.auto_ping_reply_timeout,
            now + self._options.auto_ping_idle_timeout / LOOKS_PER_IDLE)
        self._watch_open(now)

    cdef int _keep_alive(self, double now) except -1:
        """Both strategies of automatic ping. ``_idle_since`` is the last sign of life that counts:
        any bytes (PING_WHEN_IDLE), or the last ping (PING_PERIODICALLY)."""
        cdef bint any_bytes_count = (
            self._options.auto_ping_strategy == WSAutoPingStrategy.PING_WHEN_IDLE)
        if any_bytes_count and self._heard & HEARD_FOR_IDLE:
            self._ping_pending = False
            self._note_pings()
            self._idle_since = now
        self._heard &= ~HEARD_FOR_IDLE
        if self._ping_pending:
            return self._await_pong(now)
        if now + 0.001 < self._idle_since + self._options.auto_ping_idle_timeout:
            self._watch_idle(now)
            return 0
        self._ping_pending = True
        self._note_pings()
        self._ping_sent = now
        self._idle_since = now
        self._ping_mark = 0
        self._looks = 0
        self._watch_ping(now)
        self._unlimited = True
        try:
            if not self._user_ping:
                self._ping_payload = urandom(8)
                self._note_pings()
                self._transport.send_ping(self._ping_payload)
            else:
                self._ping_of_listener()
        finally:
            self._unlimited = False
        if self._queue_size():
            self._ping_mark = self._written + (
                self._pending.used if self._pending is not None else 0)
        return 0

    cdef int _await_pong(self, double now) except -1:
        if self._is_paused():
            self._ping_sent = now
        elif self._ping_mark:
            self._follow_ping(now)
        if now < self._ping_sent + self._options.auto_ping_reply_timeout:
            self._looks = 0
            self._watch_ping(now)
            return 0
        if not self._is_certain(&self._looks, MOST_LOOKS):
            self._ping_due = now + SECOND_LOOK
            return 0
        return self._fail(
            WS_CLOSE_INTERNAL_ERROR, "ping timeout", WSDisconnectKind.PING_TIMEOUT,
            WSPingTimeout(
                "no answer to a ping within auto_ping_reply_timeout"
                f" ({self._options.auto_ping_reply_timeout} seconds)"))

    cdef int _follow_ping(self, double now) except -1:
        """The ping had to queue. The time for its pong runs from when it has left; until then the
        progress of the queue is the sign of life, which stall_timeout watches."""
        cdef Py_ssize_t waiting = self._queue_size()
        cdef Py_ssize_t taken = self._written - self._queue_below()
        if waiting == 0 or taken >= self._ping_mark + KERNEL_QUEUES:
            self._ping_mark = 0
            self._ping_sent = now
        elif self._options.stall_timeout is not None:
            self._ping_sent = now
            self._watch_stalls()
        elif taken + self._acknowledged() > self._queue_mark:
            self._queue_mark = taken + self._acknowledged()
            self._ping_sent = now
        return 0

    def _ping_of_listener(self):
        try:
            self._listener.send_user_specific_ping(self._transport)
        except Exception as error:
            self._listener_failed("send_user_specific_ping", error)
        except BaseException as error:
            self._dropped_by(error)
            raise

    cdef int _note_pings(self) except -1:
        self._expects_pong = (
            self._ping_pending or self._ping_payload is not None or self._roundtrips is not None)
        return 0

    cdef bint _takes_pong(self, WSFrame frame) except -1:
        try:
            if self._is_pong(frame):
                return True
        except Exception as error:
            self._listener_failed("is_user_specific_pong", error)
            return True
        if not frame.wire_opcode & 0x08:
            self._late &= ~LATE_DATA
        return False

    cdef bint _is_pong(self, WSFrame frame) except -1:
        """Whether this frame answers a ping of the library; it is then not delivered."""
        cdef Py_ssize_t index
        cdef bytes payload
        if self._user_ping:
            if not self._listener.is_user_specific_pong(frame):
                return False
            self.user_pong_received()
            return True
        if frame.wire_opcode != WS_OP_PONG:
            return False
        payload = frame.get_payload_as_bytes()
        if payload == self._ping_payload:       # also one that other bytes have outrun
            self._ping_payload = None
            self._ping_pending = False
            self._note_pings()
            return True
        for index in range(len(self._roundtrips or ())):
            if self._roundtrips[index][0] == payload:
                self._end_roundtrip(index)
                return True
        return False

    # Data

    cdef int _expect_data(self, double now) except -1:
        """Of the frames that arrive each clears LATE_DATA. No clock is read for them."""
        self._late |= LATE_DATA
        self._heard &= ~HEARD_FOR_DATA
        self._data_looks = 0
        self._data_due = now + <double> self._options.data_timeout / DATA_QUARTERS
        return 0

    cdef int _look_for_data(self, double now) except -1:
        # Between the pieces of a frame there is room for no pong: its bytes are data.
        cdef bint is_paused = self._is_paused()
        if is_paused or not self._late & LATE_DATA or (
                self._block is not None and self._heard & HEARD_FOR_DATA):
            self._data_quarters = 0
        elif self._data_quarters < DATA_QUARTERS:
            self._data_quarters += 1
        if self._data_quarters < DATA_QUARTERS:
            self._expect_data(now)
            if is_paused:       # the time begins with the first look that finds this side reading
                self._late &= ~LATE_DATA
            return 0
        if not self._is_certain(&self._data_looks, MOST_LOOKS):
            self._data_due = now + SECOND_LOOK
            return 0
        return self._fail(
            WS_CLOSE_INTERNAL_ERROR, "data timeout", WSDisconnectKind.DATA_TIMEOUT,
            WSDataTimeout(
                f"no data frame within data_timeout ({self._options.data_timeout} seconds)"))

    # Round trips

    cdef object roundtrip_future(self):
        cdef bytes token = None
        self.check_thread()
        if not self._may_send:
            raise WSStateError(
                f"cannot measure a round trip: the connection is {self._state_name()}")
        future = self._loop.create_future()
        if self._roundtrips is None:
            self._roundtrips = []
        if not self._user_ping:
            token = urandom(8)
        self._roundtrips.append((token, future, perf_counter()))
        self._note_pings()
        try:
            if self._user_ping:
                self._listener.send_user_specific_ping(self._transport)
            else:
                self._transport.send_ping(token)
        except BaseException:
            self._roundtrips = [each for each in self._roundtrips or () if each[1] is not future]
            self._roundtrips = self._roundtrips or None
            self._note_pings()
            raise
        return future

    cdef int user_pong_received(self) except -1:
        self.check_thread()
        self._ping_pending = False
        if self._roundtrips:
            self._end_roundtrip(0)
        return self._note_pings()

    def _end_roundtrip(self, Py_ssize_t index):
        _, future, start = self._roundtrips.pop(index)
        if not self._roundtrips:
            self._roundtrips = None
        self._note_pings()
        if not future.done():
            future.set_result(perf_counter() - start)

    # Hooks

    cdef int _fail(self, int code, str reason, object kind, object error) except -1:
        raise NotImplementedError

    cdef int _slow_consumer(self, Py_ssize_t size, str text) except -1:
        raise NotImplementedError
