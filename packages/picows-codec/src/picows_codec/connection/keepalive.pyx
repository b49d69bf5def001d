"""Automatic pings and measured round trips of a connection.

The listener may have a ping of its own (``send_user_specific_ping``). Otherwise a ping of the
library has eight random bytes as its payload, and its pong is recognised by them.
"""

cimport cython

from picows_codec.connection.closing cimport MOST_LOOKS, Closing
from picows_codec.connection.progress cimport bytes_taken
from picows_codec.connection.receiver cimport HEARD_FOR_IDLE, HEARD_FOR_VERDICT
from picows_codec.connection.record cimport record_latency
from picows_codec.constants cimport WS_OP_PONG
from picows_codec.deadlines cimport SECOND_LOOK
from picows_codec.frames cimport WSFrame
from picows_codec.listener cimport WSListener
from picows_codec.options cimport WSOptions
from picows_codec.totals cimport count_lost_ping

from os import urandom
from time import perf_counter

from picows_codec.constants import WSAutoPingStrategy
from picows_codec.disconnect import WSDisconnectKind
from picows_codec.errors import WSPingTimeout

cdef enum:
    # A ping behind an upload may wait for so many bytes in the buffers of both kernels.
    KERNEL_QUEUES = 8388608

    # More measurements that were given up are not kept until their pongs come.
    MOST_GIVEN_UP = 64

# Automatic pings look this often within auto_ping_idle_timeout whether bytes came.
cdef double LOOKS_PER_IDLE = 4.0


cdef KeepAlive new_keepalive(Closing connection):
    cdef KeepAlive made = KeepAlive.__new__(KeepAlive)
    made._user_ping = (
        (<object> type(connection._listener)).send_user_specific_ping
        is not (<object> WSListener).send_user_specific_ping)
    return made


@cython.final
cdef class KeepAlive:
    cdef int start(self, Closing connection, double now) except -1:
        """Ping by itself from now on."""
        self._is_automatic = True
        self._idle_since = now
        self._look_when_idle(connection._options, now)
        return 0

    cdef int stop(self, Closing connection) except -1:
        """A CLOSE frame was sent: a missing pong does not matter any more."""
        self._ping_pending = False
        return self._note(connection)

    cdef bint waits_in_queue(self) noexcept:
        """Whether a ping of this side may not have left yet."""
        return self._ping_mark != 0

    cdef bint is_needed(self) noexcept:
        return self._is_automatic or self._roundtrips is not None

    cdef int look(self, Closing connection, double now) except -1:
        """Both strategies. ``_idle_since`` is the last sign of life that counts: any bytes
        (PING_WHEN_IDLE), or the last ping (PING_PERIODICALLY)."""
        cdef WSOptions options = connection._options
        cdef bint heard = connection._has_heard(HEARD_FOR_IDLE)
        self.due = now + options.auto_ping_idle_timeout / LOOKS_PER_IDLE
        if heard and options.auto_ping_strategy == WSAutoPingStrategy.PING_WHEN_IDLE:
            self._ping_pending = False
            self._note(connection)
            self._idle_since = now
        if self._ping_pending:
            return self._await_pong(connection, now)
        if now + 0.001 < self._idle_since + options.auto_ping_idle_timeout:
            self._look_when_idle(options, now)
            return 0
        self._ping_pending = True
        self._note(connection)
        self._ping_sent = now
        self._idle_since = now
        self._ping_mark = 0
        self._looks = 0
        self._look_for_pong(options, now)
        connection._exempt_from_limit(True)
        try:
            if self._user_ping:
                self._ping_of_listener(connection)
            else:
                self._ping_payload = urandom(8)
                self._note(connection)
                self._ping_time = perf_counter()
                connection._transport.send_ping(self._ping_payload)
        finally:
            connection._exempt_from_limit(False)
        if connection._queue_size():
            self._ping_mark = connection._written + (
                connection._pending.used if connection._pending is not None else 0)
        return 0

    def _look_when_idle(self, WSOptions options, double now):
        cdef double left = self._idle_since + options.auto_ping_idle_timeout - now
        if options.auto_ping_strategy == WSAutoPingStrategy.PING_WHEN_IDLE:
            left = min(left, options.auto_ping_idle_timeout / LOOKS_PER_IDLE)
        self.due = now + max(left, 0)

    def _look_for_pong(self, WSOptions options, double now):
        # The pong may come long before it is due, and the next ping must not wait for that time.
        self.due = min(
            self._ping_sent + options.auto_ping_reply_timeout,
            now + options.auto_ping_idle_timeout / LOOKS_PER_IDLE)

    def _ping_of_listener(self, Closing connection):
        try:
            connection._listener.send_user_specific_ping(connection._transport)
        except Exception as error:
            connection._listener_failed("send_user_specific_ping", error)
        except BaseException as error:
            connection._dropped_by(error)
            raise

    cdef int _await_pong(self, Closing connection, double now) except -1:
        cdef WSOptions options = connection._options
        if connection._is_paused():
            self._ping_sent = now
        elif self._ping_mark:
            self._follow_ping(connection, now)
        if now < self._ping_sent + options.auto_ping_reply_timeout:
            self._looks = 0
            self._look_for_pong(options, now)
            return 0
        if not connection._is_certain(&self._looks, MOST_LOOKS, HEARD_FOR_VERDICT):
            self.due = now + SECOND_LOOK
            return 0
        count_lost_ping(<void*> connection._totals)
        return connection._time_out(
            "ping", WSDisconnectKind.PING_TIMEOUT, WSPingTimeout, "answer to a ping",
            "auto_ping_reply_timeout")

    cdef int _follow_ping(self, Closing connection, double now) except -1:
        """The ping had to queue. The time for its pong begins when it has left. Until then the
        progress of the queue, which stall_timeout watches, is the sign of life."""
        cdef Py_ssize_t waiting = connection._queue_size()
        cdef Py_ssize_t taken = connection._written - connection._queue_below()
        if waiting == 0 or taken >= self._ping_mark + KERNEL_QUEUES:
            self._ping_mark = 0
            self._ping_sent = now
        elif connection._options.stall_timeout is not None:
            self._ping_sent = now
            connection._watch_stalls()
        elif bytes_taken(connection) > self._queue_mark:
            self._queue_mark = bytes_taken(connection)
            self._ping_sent = now
        return 0

    cdef int _note(self, Closing connection) except -1:
        return connection._expect_pongs(
            self._ping_pending or self._ping_payload is not None or self._roundtrips is not None)

    # Pongs

    cdef bint takes(self, Closing connection, WSFrame frame) except -1:
        """Whether this frame answers a ping of the library; it is then not delivered."""
        cdef Py_ssize_t index
        cdef bytes payload
        if self._user_ping:
            if not connection._listener.is_user_specific_pong(frame):
                return False
            self.user_pong_arrived(connection)
            return True
        if frame.wire_opcode != WS_OP_PONG:
            return False
        payload = frame.get_payload_as_bytes()
        if payload == self._ping_payload:       # also if other bytes came before it
            self._ping_payload = None
            self._ping_pending = False
            # 5.5.3: a peer may answer only the latest of several pings.
            while self._roundtrips and self._roundtrips[0][2] < self._ping_time:
                self._end_roundtrip(connection)
            self.latency = <double> perf_counter() - self._ping_time
            if connection._record is not None:
                record_latency(<void*> connection._record, self.latency)
            self._note(connection)
            return True
        for index in range(len(self._roundtrips or ())):
            if self._roundtrips[index][0] == payload:
                for _ in range(index + 1):
                    self._end_roundtrip(connection)
                return True
        return False

    cdef int user_pong_arrived(self, Closing connection) except -1:
        self._ping_pending = False
        if self._roundtrips:
            self._end_roundtrip(connection)
        return self._note(connection)

    # Round trips

    cdef object measure(self, Closing connection):
        """Ping now. Returns a future of the seconds until the pong."""
        cdef bytes token = None
        future = connection._loop.create_future()
        if self._roundtrips is None:
            self._roundtrips = []
        elif len(self._roundtrips) >= MOST_GIVEN_UP and not self._user_ping:
            self._roundtrips = [each for each in self._roundtrips if not each[1].done()]
        if not self._user_ping:
            token = urandom(8)
        self._roundtrips.append((token, future, perf_counter()))
        self._note(connection)
        try:
            if self._user_ping:
                connection._listener.send_user_specific_ping(connection._transport)
            else:
                connection._transport.send_ping(token)
        except BaseException:
            self._roundtrips = [each for each in self._roundtrips or () if each[1] is not future]
            self._roundtrips = self._roundtrips or None
            self._note(connection)
            raise
        return future

    cdef int _end_roundtrip(self, Closing connection) except -1:
        """The pong of the oldest one has arrived."""
        _, future, start = self._roundtrips.pop(0)
        if not self._roundtrips:
            self._roundtrips = None
        self._note(connection)
        self.latency = <double> perf_counter() - <double> start
        if connection._record is not None:
            record_latency(<void*> connection._record, self.latency)
        if not future.done():
            future.set_result(self.latency)
        return 0

    cdef int give_up_roundtrips(self, object error_type, str text) except -1:
        for _, future, _ in self._roundtrips or ():
            if not future.done():
                future.set_exception(error_type(text))
        return 0
