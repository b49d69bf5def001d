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
from picows_codec.callbacks cimport check_callbacks
from picows_codec.connection.closing cimport Closing, drop_tracebacks
from picows_codec.connection.keepalive cimport KeepAlive, new_keepalive
from picows_codec.connection.progress cimport DataWatch, StallWatch
from picows_codec.connection.receiver cimport HEARD_FOR_VERDICT
from picows_codec.connection.sender cimport begin_read, end_read, expect_more
from picows_codec.connection.state cimport (
    CLOSED,
    CONNECTING,
    DELIVERS,
    DISCONNECTS,
    ENDS,
    HANDSHAKE_FAILED,
    MAY_SEND,
    OPEN,
    OPENED,
    READS,
    RECEIVES_EOF,
)
from picows_codec.constants cimport WS_OP_PONG
from picows_codec.deadlines cimport SECOND_LOOK, is_due, time_left
from picows_codec.frames cimport WSFrame
from picows_codec.http.handshake cimport OpeningHandshake
from picows_codec.listener cimport WSListener
from picows_codec.options cimport WSOptions
from picows_codec.transport cimport WSTransport

from picows_codec.disconnect import WSDisconnectKind
from picows_codec.errors import WSConnectionError, WSHandshakeError, WSStateError
from picows_codec.http.client_handshake import ClientHandshake
from picows_codec.listener_factory import await_result

from types import CoroutineType


cdef class WSEndpoint(Closing):
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
    ):
        cdef bint is_client = isinstance(handshake, ClientHandshake)
        self._handshake = handshake
        self._shared_reads = shared_reads
        self._handshake_deadline = handshake_deadline or 0
        self._begin()
        self._begin_sending(loop, options, is_client)
        self._begin_receiving(options, is_client)
        self._begin_closing(logger, clock, remote_address)

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

    @property
    def opened(self):
        """A future of the loop: the end of the opening handshake.

        Its result is ``(transport, listener)``, after ``on_ws_connected`` was called; its exception
        is a :class:`WSHandshakeError`, or what ``on_ws_connected`` or the factory raised. Ask for
        it before ``connection_made``, on the thread in which the endpoint was made: on any other it
        raises :class:`WSThreadError`.
        """
        self.check_thread()
        if self._opened_waiter is None:
            self._opened_waiter = self._loop.create_future()
        return self._opened_waiter

    # What a transport calls: asyncio's protocol interface

    def connection_made(self, transport):
        """Start the opening handshake."""
        cdef bytes data
        if self._handshake is None:
            raise WSStateError(
                "an endpoint serves one connection; a subclass must call super().__init__()")
        try:
            self._attach(transport)
            self._note_addresses()
            self._handshake.set_addresses(self._remote_address, self._local_address)
            if self._wire is None:
                transport.set_write_buffer_limits(
                    high=self._options.write_high_watermark,
                    low=self._options.write_low_watermark)
                if self._options.busy_poll:
                    self._keep_loop_awake()
            self._start_deadlines()
            if self._handshake_deadline:
                self._watch(time_left(self._handshake_deadline, self._sweeper.now()))
            else:
                self._watch(self._options.websocket_handshake_timeout)
            data = self._handshake.take_to_send()
            if data:
                self._write(<const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
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
            self._stop_waiting()
            self._handshake.feed_eof()
            self._hold(self._handshake.take_to_send())
            self._refuse(self._handshake.error)
            return False
        self._set_cause(
            WSDisconnectKind.CONNECTION_LOST,
            WSConnectionError("the peer closed the connection without a closing handshake"))
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
        self._watch_stalls()

    def resume_writing(self):
        """The transport's write queue is at or below the low watermark."""
        cdef bytes payload
        cdef bint was_reported = self._resume()
        if self._stalls is not None:
            self._stalls.queue_moved()
        if was_reported and self._listener is not None and self._state & DELIVERS:
            try:
                self._listener.resume_writing()
            except Exception as error:
                self._listener_failed("resume_writing", error)
            except BaseException as error:
                self._dropped_by(error)
                raise
        if self._pending_pong is not None and self._state & MAY_SEND:
            payload = self._pending_pong
            self._pending_pong = None
            self._ping_arrived(
                <const uint8_t*> PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))

    def connection_lost(self, exc):
        """The connection has ended: the transport's last call."""
        cdef WSTransport transport = self._transport
        cdef WSListener listener = self._listener
        cdef list waiters = self._closed_waiters
        cdef KeepAlive keepalive = self._keepalive
        if self._state == CLOSED:
            return
        if exc is not None:
            drop_tracebacks(exc)       # asyncio's refers to the callback that was sending
        if self._handshake is not None:
            self._stop_waiting()
            if exc is None and not self._handshake.done:
                self._handshake.feed_eof()
            error = self._handshake.error
            if error is None:
                error = WSHandshakeError(
                    "the connection was lost during the opening handshake"
                    + (f": {exc}" if exc is not None else ""))
                error.__cause__ = exc
            self._set_cause(WSDisconnectKind.HANDSHAKE_FAILURE, error)
        else:
            if self._cause is None:
                self._set_cause(
                    WSDisconnectKind.CONNECTION_LOST,
                    exc if exc is not None else WSConnectionError(
                        "the connection was closed without a closing handshake"))
            error = self._cause.exception
        self._opening_failed(error)
        self._advance(ENDS)
        self._note_unsent()
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

    def give_up(self):
        """No transport will come. Has no effect after ``connection_made``."""
        if self._transport_below is None and self._state == CONNECTING:
            self._advance(ENDS)
            self._release()

    cdef int _release(self) except -1:
        """Drop every reference that could keep the connection's objects alive in a cycle."""
        self._release_closing()
        self._release_receiver()
        self._release_sender()
        if self._private_buffer is not None:
            keep_view(self._private_buffer, None)
        self._handshake = self._private_buffer = None
        self._keepalive = None
        self._stalls = None
        self._data = None
        self._closed_waiters = None
        self._opened_waiter = None
        return 0

    cdef int _ping_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1:
        """5.5.2: send a pong at once; for a peer that does not read, keep only the latest one."""
        if not self._state & MAY_SEND:
            return 0
        if self._write_paused:
            self._pending_pong = (<const char*> payload)[:size]
            return 0
        return self._emit(0x80 | WS_OP_PONG, payload, size, None)

    # Opening handshake

    cdef int _advance_handshake(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Returns how many bytes belonged to the handshake."""
        cdef OpeningHandshake handshake = self._handshake
        cdef bint is_held = handshake.holds_bytes()
        cdef int used = <int> handshake.feed(data, size)
        if handshake.deferred is not None:
            if size > used:
                handshake.feed(data + used, size - used)
            # A peer that waits for the response may leave, which only a transport that reads sees;
            # so reading stops when there is something that must wait.
            if handshake.holds_bytes() and not is_held:
                self._transport_below.pause_reading()
            if not self._waits_for_result:
                self._wait_for_result()
            return <int> size
        if handshake.done:
            self._finish_handshake()
        return used

    def create_task(self, coroutine):
        """Start the coroutine that decides about a request whose response is deferred.

        A subclass may keep track of the task, which is cancelled if the peer leaves before it is
        done, or the time for the opening handshake is over.
        """
        return self._loop.create_task(coroutine)

    cdef int _wait_for_result(self) except -1:
        cdef OpeningHandshake handshake = self._handshake
        self._waits_for_result = True
        awaitable = handshake.deferred
        try:
            task = self.create_task(
                awaitable if type(awaitable) is CoroutineType else await_result(awaitable))
            handshake.set_deferred(task)
            task.add_done_callback(self._result_is_there)
        except Exception as error:
            handshake.fail(error)
            self._finish_handshake()
        return 0

    cdef int _stop_waiting(self) except -1:
        """The peer has left, or its time is over: nobody waits for the result."""
        cdef OpeningHandshake handshake = self._handshake
        task = handshake.deferred
        if task is None or not self._waits_for_result:
            return 0
        self._waits_for_result = False
        task.cancel()
        if handshake.holds_bytes():
            self._read_again()
        return 0

    def _result_is_there(self, task):
        if self._state != CONNECTING or not self._waits_for_result:
            # The connection has ended. What was raised instead of the cancellation is still told.
            if not task.cancelled() and task.exception() is not None:
                self._logger.error(
                    "%s: the listener factory failed after the connection had ended", self._peer(),
                    exc_info=task.exception())
            return
        if self._handshake.holds_bytes():
            self._read_again()      # what arrives in this call is held, too
        begin_read(self)
        try:
            self._settle(task)
        except BaseException as error:
            end_read(self)
            try:
                if self._pending is not None and self._corks == 0:
                    self._flush()
            finally:
                self._dropped_by(error)
            raise
        end_read(self)
        if self._pending is not None and self._corks == 0:
            self._flush_after_read()

    cdef int _settle(self, object task) except -1:
        """The factory's task is done: answer, then go on with what has come behind the request."""
        cdef OpeningHandshake handshake = self._handshake
        cdef bytes held = handshake.take_held()
        self._waits_for_result = False
        if task.cancelled():
            handshake.fail(WSHandshakeError("the task of the listener factory was cancelled"))
        elif task.exception() is not None:
            handshake.fail(task.exception())
        else:
            handshake.resolve(task.result())
        self._finish_handshake()
        if held and self._state & READS:
            self.data_received(held)
        return 0

    cdef int _finish_handshake(self) except -1:
        """There is a result: send the response, and open the connection if that accepts."""
        cdef OpeningHandshake handshake = self._handshake
        if handshake.accepted:
            self._check_listener(handshake)
        self._hold(handshake.take_to_send())
        if handshake.accepted:
            expect_more(self, True)     # the response and the first frames leave together
            self._open()
        else:
            self._refuse(handshake.error)
        return 0

    def _check_listener(self, OpeningHandshake handshake):
        """Take the acceptance back if its listener cannot be used."""
        if not isinstance(handshake.listener, WSListener):
            handshake.fail(TypeError(
                "the listener factory must return a WSListener, not"
                f" {type(handshake.listener).__name__}: {handshake.listener!r}"))
            return
        try:
            check_callbacks(handshake.listener)
        except Exception as error:      # also what a property of the listener's class raises
            handshake.fail(error)

    cdef int _open(self) except -1:
        """The opening handshake has succeeded."""
        cdef OpeningHandshake handshake = self._handshake
        cdef WSListener listener = handshake.listener
        with cython.critical_section(self):
            self._request = handshake.request
            self._response = handshake.response
            self._subprotocol = handshake.subprotocol
        self._handshake = None
        self._sweeper.forget(self)
        self._set_listener(listener)
        if handshake.compression is not None:
            from picows_codec.deflate.extension import new_compression

            self._begin_compression(new_compression(handshake.compression, self._options))
        self._advance(OPENED)
        self._watch_peer()
        try:
            self._debug("open: %r", self._transport)
            self._look_up_callbacks()
            listener._opened()
            self._connected_called = True
            listener.on_ws_connected(self._transport)
        except Exception as error:
            self._listener_failed("on_ws_connected", error)
            if self._options.disconnect_on_exception:
                self._opening_failed(error)
        if self._opened_waiter is not None and not self._opened_waiter.done():
            self._opened_waiter.set_result((self._transport, listener))
        return 0

    def _opening_failed(self, error):
        """Tell whoever waits for the connection to open."""
        if self._opened_waiter is None or self._opened_waiter.done():
            return
        if error is None or isinstance(error, StopIteration):   # futures refuse the latter
            failure = WSHandshakeError("the connection ended before it was open")
            failure.__cause__ = error
            error = failure
        self._opened_waiter.set_exception(error)

    cdef int _refuse(self, object error) except -1:
        """The opening handshake has failed; its response, if any, has been sent."""
        if error is None:
            self._logger.debug(
                "%s: the upgrade request was answered without an upgrade", self._peer())
            self._opening_failed(WSHandshakeError(
                "the upgrade request was answered without an upgrade"))
        elif isinstance(error, WSHandshakeError) and not self._handshake.factory_failed:
            self._logger.info("%s: the opening handshake failed: %s", self._peer(), error)
        else:
            self._logger.error(
                "%s: the listener factory failed" if self._handshake.factory_failed
                else "%s: the opening handshake failed because of an error in picows",
                self._peer(), exc_info=error)
            drop_tracebacks(error)
        self._set_cause(WSDisconnectKind.HANDSHAKE_FAILURE, error)
        if error is not None:
            self._opening_failed(error)
        self._advance(HANDSHAKE_FAILED)
        self._handshake = None
        if self._is_client:
            self._transport_below.close()   # which waits for the queue: the request, for one
            return self._watch(self._options.close_timeout)
        return self._linger()

    # What WSTransport calls

    def disconnect(self, bint graceful, bytes close_payload not None):
        """See :meth:`WSTransport.disconnect`."""
        self.check_thread()
        if self._transport_below is None:
            return
        if self._state == CONNECTING or not graceful:
            self._set_cause(WSDisconnectKind.LOCAL_ABORT, None)
            self._abort()
            return
        self._send_close(
            DISCONNECTS, <const uint8_t*> PyBytes_AS_STRING(close_payload),
            PyBytes_GET_SIZE(close_payload))
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

    # What any thread may ask. Only the loop's thread writes the fields, in this object's critical
    # section, in which other threads read them; so the loop's thread may read them anywhere.

    @property
    def request(self):
        """See :attr:`WSTransport.request`."""
        with cython.critical_section(self):
            return self._request

    @property
    def response(self):
        """See :attr:`WSTransport.response`."""
        with cython.critical_section(self):
            return self._response

    @property
    def subprotocol(self):
        """See :attr:`WSTransport.subprotocol`."""
        with cython.critical_section(self):
            return self._subprotocol

    # The deadline

    cdef int on_deadline(self, double now) except -1:
        if self._state == OPEN:
            return self._look_at_peer(now)
        if self._state == CONNECTING:
            if not self._is_certain(&self._looks, 1, HEARD_FOR_VERDICT):
                return self._watch(SECOND_LOOK)
            self._stop_waiting()
            self._handshake.feed_timeout()
            self._hold(self._handshake.take_to_send())
            return self._refuse(self._handshake.error)
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
        return self._write_paused or (
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
        return Closing._close_was_sent(self)

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
