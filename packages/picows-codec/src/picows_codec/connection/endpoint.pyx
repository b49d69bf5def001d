"""WSEndpoint, the face of one connection: asyncio's protocol methods, and what WSTransport calls.

Only ``connection_lost`` tells the listener and the waiters of the end, and releases every object of
the connection. The steps before it are in ``closing``.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from picows_codec.buffers cimport ReadBuffer, keep_view
from picows_codec.connection.closing cimport drop_tracebacks
from picows_codec.connection.dispatcher cimport COUNTS
from picows_codec.connection.following cimport Follower, first_follower, next_follower
from picows_codec.connection.keepalive cimport KeepAlive, new_keepalive
from picows_codec.connection.progress cimport DataWatch, StallWatch
from picows_codec.connection.receiver cimport set_witness
from picows_codec.connection.record cimport Record, record_end
from picows_codec.connection.state cimport (
    CLOSED,
    CONNECTING,
    DELIVERS,
    DISCONNECTS,
    ENDS,
    MAY_SEND,
    OPEN,
    READS,
    RECEIVES_EOF,
)
from picows_codec.connection.writer cimport (
    FRAGMENTED,
    HOLDS,
    NOT_PAUSED,
    WRITING,
    Witness,
    count_sent,
    set_send_flags,
)
from picows_codec.constants cimport WS_OP_PONG
from picows_codec.deadlines cimport is_due
from picows_codec.frames cimport WSFrame
from picows_codec.http.handshake cimport OpeningHandshake
from picows_codec.listener cimport WSListener
from picows_codec.options cimport WSOptions
from picows_codec.totals cimport Totals, count_sent_rest
from picows_codec.transport cimport WSTransport

from picows_codec.disconnect import WSDisconnectKind
from picows_codec.errors import WSConnectionError, WSStateError
from picows_codec.http.client_handshake import ClientHandshake


cdef object _HANDSHAKE_FAILURE = WSDisconnectKind.HANDSHAKE_FAILURE


cdef class WSEndpoint(Handshaking):
    """One WebSocket connection as an ``asyncio.BufferedProtocol``, without importing asyncio.

    Mix it with ``asyncio.BufferedProtocol`` and hand it to a loop, or to ``picows_codec.stream``.

    :param options: a :class:`WSOptions`.
    :param handshake: a :class:`ClientHandshake` or :class:`ServerHandshake`; decides the role.
    :param loop: the event loop: ``create_future``, ``call_later`` and ``time`` are used.
    :param logger: a ``logging.Logger`` or the like.
    :param clock: callable returning seconds, used instead of ``loop.time``.
    :param shared_reads: False for a loop that fills buffers in the background (IOCP): the
        connection then has a read buffer of its own.
    :param handshake_deadline: when the opening handshake must be over, in seconds on the clock; by
        default ``websocket_handshake_timeout`` after ``connection_made``.
    :param remote_address: the peer's, from ``accept``; by default the transport is asked.
    :param totals: a ``picows_codec.totals.Totals``, to which the connection adds what it does.
    """

    def __cinit__(self, *args, **options):
        self._shared_reads = True

    def __init__(
        self,
        WSOptions options not None,
        OpeningHandshake handshake not None,
        loop,
        logger,
        *,
        clock=None,
        bint shared_reads=True,
        handshake_deadline=None,
        remote_address=None,
        Totals totals=None,
    ):
        cdef bint is_client = isinstance(handshake, ClientHandshake)
        self._shared_reads = shared_reads
        self._begin()
        self._begin_writing(loop, options, is_client, totals)
        self._begin_receiving(options, is_client)
        self._begin_closing(logger, clock, remote_address)
        self._begin_handshaking(handshake, handshake_deadline)

    @property
    def transport(self):
        """The connection's :class:`WSTransport`; None once the connection has ended."""
        with cython.critical_section(self):
            return self._transport

    @property
    def listener(self):
        """The connection's listener; None before it is open and once it has ended."""
        with cython.critical_section(self):
            return self._listener

    # What a transport calls: asyncio's protocol interface

    def connection_made(self, transport):
        """Start the opening handshake."""
        if self._handshake is None:
            raise WSStateError(
                "an endpoint serves one connection; a subclass must call super().__init__()")
        try:
            self._attach(transport)
            self._note_addresses()
            if self._wire is None:
                transport.set_write_buffer_limits(
                    high=self._options.write_high_watermark,
                    low=self._options.write_low_watermark)
                if self._options.busy_poll:
                    self._keep_loop_awake()
            self._start_deadlines()
            if self._options.tap is not None:
                from picows_codec.connection.tapping import begin_tapping

                begin_tapping(self, self._options.tap)
            self._start_handshake()
        except BaseException as error:
            self._dropped_by(error)     # a loop only logs it
            raise

    def _keep_loop_awake(self):
        """busy_poll, where the loop receives: it polls in every iteration instead of sleeping."""
        if self._state != CLOSED:
            self._loop.call_soon(self._keep_loop_awake)

    def get_buffer(self, Py_ssize_t sizehint):
        """The memory for the next bytes: the frame under way, or a read buffer.

        A loop that fills it at once gets the thread's buffer, which stays there for others. A loop
        that fills it in the background gets a buffer of the connection's own.
        """
        cdef ReadBuffer buffer
        cdef Py_ssize_t room
        cdef uint8_t* block
        if self._shared_reads:
            block = self.block_room(&room)
            self._block_is_lent = block != NULL
            if block != NULL:
                return PyMemoryView_FromMemory(<char*> block, room, PyBUF_WRITE)
            buffer = self._buffers.lend_read(self._options.read_buffer_init_size)
        else:
            if self._private_buffer is None:
                self._private_buffer = ReadBuffer(self._options.read_buffer_init_size)
            buffer = self._private_buffer
        if buffer.view is None:
            keep_view(buffer, memoryview(buffer))
        return buffer.view

    def buffer_updated(self, Py_ssize_t nbytes):
        """``nbytes`` bytes were received into the memory of the last ``get_buffer``."""
        cdef ReadBuffer buffer
        cdef Py_ssize_t room
        if self._shared_reads:
            buffer = self._buffers.take_read(0)
            if not self._block_is_lent:
                room = buffer.size
            elif self.block_room(&room) == NULL:
                raise WSStateError("the memory of the last get_buffer is gone")
            _check_received(nbytes, room)
            try:
                if self._block_is_lent:
                    self.received(buffer, nbytes, 0)
                else:
                    self.received(buffer, 0, nbytes)
            finally:
                self._buffers.give_read(buffer)
            return
        if self._private_buffer is None:
            raise WSStateError("buffer_updated without get_buffer")
        buffer = self._private_buffer
        _check_received(nbytes, buffer.size)
        self._private_buffer = None
        self.received(buffer, 0, nbytes)
        if self._state != CLOSED and not buffer.pinned:
            self._private_buffer = buffer
        else:
            keep_view(buffer, None)

    def data_received(self, data):
        """Bytes from a transport that has its own buffer; copied into the library's."""
        cdef Py_buffer view
        cdef ReadBuffer buffer
        cdef Py_ssize_t offset = 0
        cdef Py_ssize_t piece
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            while offset < view.len and self._state != CLOSED:
                buffer = self._buffers.take_read(self._options.read_buffer_init_size)
                piece = view.len - offset if view.len - offset < buffer.size else buffer.size
                memcpy(buffer.data, <uint8_t*> view.buf + offset, piece)
                self.received(buffer, 0, piece)
                self._buffers.give_read(buffer)
                offset += piece
        finally:
            PyBuffer_Release(&view)

    def eof_received(self):
        """The peer will send no more. Returns False, so that the transport closes itself."""
        if not self._state & READS:
            return False
        if self._state == CONNECTING:
            return self._handshake_eof()
        self._set_cause(
            WSDisconnectKind.CONNECTION_LOST,
            WSConnectionError("the peer ended the stream"))
        if self._pending is not None:
            self._flush()
        if self._state == OPEN:
            # The transport closes when its queue is empty, but a peer that does not read must not
            # prevent that.
            self._advance(RECEIVES_EOF)
            self._watch(self._options.close_timeout)
        return False

    def pause_writing(self):
        """The transport's write queue is above the high watermark."""
        self._pause()
        if self._wire is None:
            self._note_queue(self._queue_below())
        self._watch_stalls()

    def resume_writing(self):
        """The transport's write queue is at or below the low watermark."""
        cdef bytes payload
        cdef bint was_reported = self._resume()
        if self._wire is None:      # below the watermark, such a transport is not asked
            self._note_queue(0)
        if self._stalls is not None:
            self._stalls.queue_moved()
        if self._handshake is not None:
            self._response_may_go_on()
        if was_reported and self._listener is not None and self._state & DELIVERS:
            try:
                self._listener.resume_writing()
            except Exception as error:
                self._listener_failed("resume_writing", error)
            except BaseException as error:
                self._dropped_by(error)
                raise
        if self._transport is not None:
            self._tell_followers(self._transport, False)
        if self._pending_pong is not None and self._state & MAY_SEND:
            payload = self._pending_pong
            self._pending_pong = None
            self._ping_arrived(
                <const uint8_t*> PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))

    def connection_lost(self, exc):
        """The connection has ended: the transport's last call."""
        if self._send_flags & WRITING:      # by a transport that does not wait for its own write
            self._loop.call_soon(WSEndpoint.connection_lost, self, exc)
            return
        cdef WSTransport transport = self._transport
        cdef WSListener listener = self._listener
        cdef list waiters = self._closed_waiters
        cdef KeepAlive keepalive = self._keepalive
        cdef Witness witness = self._witness
        if self._state == CLOSED:
            return
        if exc is not None:
            drop_tracebacks(exc)       # asyncio's refers to the callback that was sending
        if self._handshake is not None:
            error = self._handshake_lost(exc)
        else:
            if self._cause is None:
                self._set_cause(
                    WSDisconnectKind.CONNECTION_LOST,
                    exc if exc is not None else WSConnectionError(
                        "the connection was closed without a closing handshake"))
            error = self._cause.exception
        self._opening_failed(error)
        self._settle()
        self._count_end()
        self._advance(ENDS)
        self._end_age(True)
        if self._record is not None:
            record_end(<void*> self._record, self._now())
        self._note_unsent()
        self._note_queue(0)
        self._release()
        try:
            if self._connected_called:
                listener.on_ws_disconnected(transport)
        except Exception as error:
            self._log_listener_error("on_ws_disconnected", error)
        finally:
            if listener is not None:
                listener._closed()
            for waiter in waiters or ():
                if not waiter.done():
                    waiter.set_result(None)
            if keepalive is not None:
                keepalive.give_up_roundtrips(
                    WSConnectionError, "the connection ended before the pong")
            self._debug_end()
            if self._record is not None:
                self.record_ended()
            if witness is not None:
                witness.saw_end(self._complete_cause())
            if transport is not None:
                self._tell_followers(transport, True)

    cdef int _tell_followers(self, WSTransport transport, bint has_ended) except -1:
        cdef Follower follower = first_follower(transport, has_ended)
        while follower is not None:
            try:
                if has_ended:
                    follower._ended()
                else:
                    follower._may_send()
            except Exception as error:
                self._logger.error(
                    "%s: what follows the connection raised an exception", self._peer(),
                    exc_info=error, extra=self._log_fields())
            except BaseException as error:
                self._dropped_by(error)
                raise
            follower = next_follower(follower)
        return 0

    cdef int _release_held(self) except -1:
        if self._send_flags & (FRAGMENTED | WRITING) or not self._send_flags & HOLDS:
            return 0        # it is called again, or was called before
        set_send_flags(self, self._send_flags & ~HOLDS)
        return self._tell_followers(self._transport, False) if self._transport is not None else 0

    def release_held(self):
        """Messages had to wait for the end of a write."""
        self._release_held()

    cdef int _count_end(self) except -1:
        """What was refused has been counted by the status of its response."""
        if self._request is not None:
            self._totals.count_closed(
                self._cause.kind if self._cause.kind is not _HANDSHAKE_FAILURE
                else WSDisconnectKind.CONNECTION_LOST)
        elif self._handshake is not None:
            # Nobody gets what the handshake wants to say now.
            self._count_refusal(
                self._handshake.response if self._handshake.response_begun else None)
        return 0

    def record_ended(self):
        """The connection has ended; called where a record of it was kept. For subclasses."""

    def keep_record(self):
        """Keep what :meth:`outcome` and :meth:`counts` give. Call it before ``connection_made``."""
        self._begin_counts()

    def outcome(self):
        """The request, and the status of its response; None for what there was not."""
        cdef Record record = self._record
        return None if record is None else record.request, None if record is None else record.status

    def log_fields(self):
        """The fields of a record of the log about this connection: for ``extra=``."""
        return self._log_fields()

    def counts(self):
        """A :class:`WSConnectionStats` of what is recorded; see :meth:`keep_record`."""
        from picows_codec.stats import WSConnectionStats

        cdef Record record = self._record
        cdef double now
        if not self._read_flags & COUNTS:
            raise WSStateError("nothing is recorded of the connection, or it has not begun")
        self._settle()
        now = record.ended or self._now()
        return WSConnectionStats(
            age=self._age(),
            last_heard=now - record.heard,
            rtt=record.latency or None,
            messages_received=record.messages_received,
            messages_sent=record.messages_sent,
            frames_received=record.frames_received,
            frames_sent=record.frames_sent,
            bytes_received=self._taken,
            bytes_sent=self._written,
        )

    def stats(self):
        """See :meth:`WSTransport.stats`."""
        self.check_thread()
        if not self._options.collect_stats:
            raise WSStateError(
                "the connection does not count what it does: pass collect_stats=True to ws_connect"
                " or ws_create_server")
        return self.counts()

    def give_up(self):
        """No transport will come. Has no effect after ``connection_made``."""
        if self._transport_below is None and self._state == CONNECTING:
            self._totals.count_closed(_HANDSHAKE_FAILURE)
            self._advance(ENDS)
            self._end_age(False)
            self._release()

    cdef int _release(self) except -1:
        """Drop every reference that could keep the connection's objects alive in a cycle."""
        self._release_handshaking()
        self._release_closing()
        self._release_receiver()
        self._release_sender()
        if self._private_buffer is not None:
            keep_view(self._private_buffer, None)
        self._private_buffer = None
        self._keepalive = None
        self._stalls = None
        self._data = None
        self._closed_waiters = None
        return 0

    cdef int _ping_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1:
        """5.5.2: send a pong at once; for a peer that does not read, keep only the latest one."""
        if not self._state & MAY_SEND:
            return 0
        if self._write_paused:
            self._pending_pong = (<const char*> payload)[:size]
            return 0
        count_sent(self, WS_OP_PONG, 1)
        count_sent_rest(<void*> self._totals)
        return self._emit(0x80 | WS_OP_PONG, payload, size, None)

    # What WSTransport calls

    def disconnect(self, bint graceful, bytes close_payload not None):
        """See :meth:`WSTransport.disconnect`."""
        self.check_thread()
        if self._transport_below is None:
            return
        if self._send_flags & WRITING:
            self._loop.call_soon(self.disconnect, graceful, close_payload)
            return
        if self._state == CONNECTING or not graceful:
            self._set_cause(WSDisconnectKind.LOCAL_ABORT, None)
            self._abort()
            return
        self._send_close(
            DISCONNECTS, <const uint8_t*> PyBytes_AS_STRING(close_payload),
            PyBytes_GET_SIZE(close_payload))
        self._report_stop()
        if self._was_close_received():
            self._finish_closing()
        self._read_again()

    def wait_ended(self):
        """A future that is done when the listener was told of the end; None if that was before."""
        self.check_thread()
        if self._state == CLOSED:
            return None
        future = self._loop.create_future()
        # Without those that were cancelled: a caller may wait for a second, again and again.
        self._closed_waiters = [
            waiter for waiter in self._closed_waiters or () if not waiter.done()]
        self._closed_waiters.append(future)
        return future

    cdef int _received_behind_request(self, bytes data) except -1:
        cdef Witness witness = self._witness
        set_witness(self, None)         # which has seen them
        try:
            self.data_received(data)
        finally:
            if self._state != CLOSED:
                set_witness(self, witness)
        return 0

    # The deadline

    cdef int on_deadline(self, double now) except -1:
        if self._state == OPEN:
            return self._look_at_peer(now)
        if self._state == CONNECTING:
            return self._handshake_time_is_up()
        return self._end_of_closing_time()

    cdef int _watch_peer(self) except -1:
        """The connection is open: begin to ping and to watch, as the options say."""
        cdef double now
        if not self._options.enable_auto_ping and self._options.data_timeout is None:
            return 0
        now = self._sweeper.now()
        if self._options.enable_auto_ping:
            self._keepalive = new_keepalive(self)
            self._keepalive.start(self, now)
        if self._options.data_timeout is not None:
            self._data = DataWatch.__new__(DataWatch)
            self._data.expect(self, now)
        return self._watch_open(now)

    cdef int _watch_open(self, double now) except -1:
        """Set the deadline of an open connection: the next look at its peer."""
        cdef double due = 0
        if self._keepalive is not None:
            due = self._keepalive.due
        if self._stalls is not None and (due == 0 or self._stalls.due < due):
            due = self._stalls.due
        if self._data is not None and (due == 0 or self._data.due < due):
            due = self._data.due
        return self._watch(max(due - now, 0) if due else None)

    cdef int _look_at_peer(self, double now) except -1:
        """The deadline of an open connection has come: does its peer still do its part?"""
        # Held here, because a connection that ends in the middle of a look drops them.
        cdef StallWatch stalls = self._stalls
        cdef KeepAlive keepalive = self._keepalive
        cdef DataWatch data = self._data
        try:
            if stalls is not None and is_due(stalls.due, now):
                stalls.look(self, now, self._queue_matters())
                if stalls.due == 0:
                    self._stalls = None
            if (
                    self._state == OPEN and keepalive is not None and keepalive.due != 0
                    and is_due(keepalive.due, now)):
                keepalive.look(self, now)
            if self._state == OPEN and data is not None and is_due(data.due, now):
                data.look(self, now)
        finally:    # there is a next look, even if a transport or a listener raised
            if self._state == OPEN:
                self._watch_open(now)
        return 0

    cdef bint _queue_matters(self) noexcept:
        """Whether the write queue must get shorter: it is long, or a ping may wait in it."""
        return self._write_paused != NOT_PAUSED or (
            self._keepalive is not None and self._keepalive.waits_in_queue())

    cdef int _watch_stalls(self) except -1:
        """A frame or a full write queue is now unfinished: look again after stall_timeout."""
        cdef StallWatch stalls
        cdef double now
        if (
                self._stalls is not None or self._state != OPEN
                or self._options.stall_timeout is None):
            return 0
        now = self._sweeper.now()
        stalls = StallWatch.__new__(StallWatch)
        stalls.mark(self, now, self._queue_matters())
        if stalls.due != 0:
            self._stalls = stalls
        return self._watch_open(now)

    # Pings and pongs

    cdef int _close_was_sent(self) except -1:
        if self._keepalive is not None:
            self._keepalive.stop(self)
        return Handshaking._close_was_sent(self)

    cdef bint _takes_pong(self, WSFrame frame) except -1:
        cdef KeepAlive keepalive = self._keepalive
        try:
            if keepalive is not None and keepalive.takes(self, frame):
                self._drop_idle_keepalive()
                return True
        except Exception as error:
            self._listener_failed("is_user_specific_pong", error)
            return True
        if not self._state & DELIVERS:      # the listener was asked, and disconnected
            return True
        if not frame.wire_opcode & 0x08:
            self._mark_data(False)
        return False

    cdef int _drop_idle_keepalive(self) except -1:
        if self._keepalive is not None and not self._keepalive.is_needed():
            self._keepalive = None
        return 0

    def ping_peer(self):
        """A future of the seconds from a ping that is sent now to its pong."""
        cdef KeepAlive keepalive
        self.check_thread()
        if not self._state & MAY_SEND:
            raise WSStateError(
                f"cannot measure a round trip: the connection is {self._state_name()}")
        if self._keepalive is None:
            self._keepalive = new_keepalive(self)
        keepalive = self._keepalive     # held here, because the listener's pong may drop it
        try:
            return keepalive.measure(self)
        finally:
            self._drop_idle_keepalive()

    def user_pong_received(self):
        """See :meth:`WSTransport.notify_user_specific_pong_received`."""
        self.check_thread()
        if self._keepalive is not None:
            self._keepalive.user_pong_arrived(self)
            self._drop_idle_keepalive()


cdef int _check_received(Py_ssize_t size, Py_ssize_t room) except -1:
    if not 0 < size <= room:
        raise ValueError(f"{size} bytes cannot have been received into a buffer of {room}")
    return 0
