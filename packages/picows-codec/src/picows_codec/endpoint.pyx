"""WSEndpoint: one connection, driven by an asyncio-shaped transport.

The states (RFC 6455, 4, 7.1) and what moves a connection from one to the next:

* CONNECTING, until the opening handshake is over. It succeeds: OPEN. It fails: the refusal is
  sent (server), then CLOSING.
* OPEN. Frames are delivered as they arrive.
* CLOSING begins with the first CLOSE frame, either way, or with a failure.
    - A received CLOSE is delivered, then answered unless the listener did that. Nothing after it
      is looked at.
    - A CLOSE was sent: frames are delivered until the peer's CLOSE; after ``disconnect()`` they
      are dropped.
    - Both were exchanged: a server closes the connection, a client waits for the server to.
    - A failure sends its CLOSE frame, stops listening, half-closes and drains what the peer still
      sends, so that the CLOSE frame is not lost to a reset.
    - ``close_timeout`` seconds after its start whatever is left is aborted.
    - What raises in the middle of a read or a write (a transport, or a callback with something
      else than an Exception) leaves a gap in the stream: the connection is aborted.
* CLOSED, when the transport reports ``connection_lost``: the one place that tells the listener
  and the waiters, and lets go of every object of the connection.

The first cause of the end is the one that is reported, except that a closing handshake that the
peer never completed becomes CLOSE_TIMEOUT.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITE, PyBuffer_Release, PyObject_GetBuffer
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from picows_codec.buffers cimport ReadBuffer, current_thread, thread_buffers
from picows_codec.callbacks cimport check_callbacks
from picows_codec.close cimport encode_close_payload
from picows_codec.constants cimport (
    WS_CLOSE_INTERNAL_ERROR,
    WS_CLOSE_MESSAGE_TOO_BIG,
    WS_CLOSE_NO_STATUS_RECEIVED,
    WS_OP_PONG,
    ws_close_code_member,
    ws_violation_close_code,
    ws_violation_text,
)
from picows_codec.core cimport (
    ATTRIBUTE_CLOSE_HANDSHAKE,
    ATTRIBUTE_DISCONNECT_CAUSE,
    ATTRIBUTE_IS_CLIENT,
    ATTRIBUTE_IS_SECURE,
    ATTRIBUTE_LOCAL_ADDRESS,
    ATTRIBUTE_REMOTE_ADDRESS,
    ATTRIBUTE_REQUEST,
    ATTRIBUTE_RESPONSE,
    ATTRIBUTE_STATE,
    ATTRIBUTE_SUBPROTOCOL,
    ATTRIBUTE_UNDERLYING,
    ATTRIBUTE_WRITE_QUEUE,
)
from picows_codec.deadlines cimport SECOND_LOOK, sweeper_for, time_left
from picows_codec.handshake cimport OpeningHandshake
from picows_codec.liveness cimport CLOSED, CLOSING, CONNECTING, OPEN, Liveness
from picows_codec.message cimport WSMessageListener
from picows_codec.options cimport WSOptions
from picows_codec.parser cimport ws_parser_init
from picows_codec.sender cimport Wire
from picows_codec.transport cimport WSListener, WSTransport, _is_compiled

from types import MethodType

from picows_codec.errors import (
    WSCloseTimeout,
    WSConnectionError,
    WSHandshakeError,
    WSProtocolError,
    WSSlowConsumer,
    WSStateError,
)
from picows_codec.handshake import ClientHandshake
from picows_codec.log_text import one_line
from picows_codec.outcome import (
    WSCloseHandshake,
    WSCloseInfo,
    WSDisconnectCause,
    WSDisconnectKind,
    WSState,
)
from picows_codec.socket_address import format_address, pack_address, unpack_address

cdef tuple _STATES = tuple(WSState)
# How connections mostly end. Looking a member up in its class is slow before Python 3.12.
cdef object _PEER_CLOSE = WSDisconnectKind.PEER_CLOSE
cdef object _LOCAL_CLOSE = WSDisconnectKind.LOCAL_CLOSE
cdef WSOptions _DEFAULTS = WSOptions()

# Seconds for which a failed connection waits for the peer to take the CLOSE frame and hang up.
cdef double LINGER = 1.0

cdef enum:
    DEBUG = 10      # logging.DEBUG: a logger is the caller's, and logging is not imported here
    # Second looks for the peer's CLOSE frame, as long as bytes come, which it may be behind.
    MOST_CLOSING_LOOKS = 10


cdef class WSEndpoint(Liveness):
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
        # Until __init__ has run, which a subclass may forget, this is a connection that has ended.
        self._buffers = thread_buffers()
        self._options = _DEFAULTS
        self._state = CLOSED
        self._deaf = True
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
        self._options = options
        self._handshake = handshake
        self._loop = loop
        self._logger = logger
        self._clock = clock
        self._shared_reads = shared_reads
        self._handshake_deadline = handshake_deadline or 0
        self._remote_address = remote_address
        self._state = CONNECTING
        self._opening = True
        self._deaf = False
        self._is_client = isinstance(handshake, ClientHandshake)
        self._max_write_queue = options.max_write_queue_size
        self._coalesces = options.coalesce_writes
        self._burst_limit = options.write_high_watermark
        self._buffers = thread_buffers()
        self._transport = <WSTransport> WSTransport.__new__(WSTransport)
        self._transport._core = self
        ws_parser_init(&self._parser, not self._is_client)
        self._parser.max_frame_size = options.max_frame_size
        self._parser.max_message_size = options.max_message_size
        self._parser.max_fragments = options.max_fragments_per_message

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
        self._transport_below = transport
        try:
            self._note_addresses(transport)
            if isinstance(transport, Wire):
                self._wire = transport
            else:
                self._write_below = transport.write
                secure = transport.get_extra_info("sslcontext") is not None
                with cython.critical_section(self):
                    self._secure = secure
                transport.set_write_buffer_limits(
                    high=self._options.write_high_watermark,
                    low=self._options.write_low_watermark)
                if self._options.busy_poll:
                    self._keep_loop_awake()
            self._sweeper = sweeper_for(self._loop, self._clock)
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

    def _note_addresses(self, transport):
        """While the socket can tell: after a reset it no longer does."""
        remote = self._remote_address
        if remote is None:
            remote = _address_of(transport, "peername")
        local = _address_of(transport, "sockname")
        # A server's connections share the local one, and a client's mostly the remote one.
        if remote == self._buffers.last_remote:
            packed_remote = self._buffers.last_remote
        else:
            self._buffers.last_remote = remote
            packed_remote = pack_address(remote)
        if local == self._buffers.last_local:
            packed_local = self._buffers.last_local
        else:
            self._buffers.last_local = local
            packed_local = pack_address(local)
        with cython.critical_section(self):
            self._remote_address = packed_remote
            self._local_address = packed_local
        self._handshake.set_addresses(packed_remote, packed_local)

    def _keep_loop_awake(self):
        """busy_poll, where the loop receives: it polls in every turn instead of sleeping."""
        if self._state != CLOSED:
            self._loop.call_soon(self._keep_loop_awake)

    def get_buffer(self, Py_ssize_t sizehint):
        """The memory that the next bytes belong into: the frame under way, or a read buffer.

        A loop that fills it at once gets the thread's, which stays there for others if no bytes
        come after all. One that fills it in the background gets a buffer of the connection's own.
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
            buffer.view = memoryview(buffer)
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
            buffer.view = None

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
        """The peer will send no more; returns False: the transport then closes itself."""
        if self._deaf:
            return False
        if self._state == CONNECTING:
            self._handshake.feed_eof()
            self._hold(self._handshake.take_to_send())
            self._refuse(self._handshake.error)
        elif not self._close_received:
            self._set_cause(
                WSDisconnectKind.CONNECTION_LOST,
                WSConnectionError("the peer closed the connection without a closing handshake"))
        if self._state == OPEN:
            if self._pending is not None:
                self._flush()
            # The transport closes once its queue is empty; a peer that does not read cannot keep
            # it from that.
            self._enter(CLOSING)
            self._may_send = False
            self._deaf = True
            self._watch(self._options.close_timeout)
        return False

    def pause_writing(self):
        """The transport's write queue is above the high watermark."""
        self._write_paused = True
        self._pause_due = True
        self._watch_stalls()

    def resume_writing(self):
        """The transport's write queue is at or below the low watermark."""
        cdef bytes payload
        self._write_paused = False
        self._queue_is_late = False
        if self._pause_due:
            self._pause_due = False     # the listener never heard of the pause
        elif self._listener is not None and not self._muted:
            try:
                self._listener.resume_writing()
            except Exception as error:
                self._listener_failed("resume_writing", error)
            except BaseException as error:
                self._dropped_by(error)
                raise
        if self._pending_pong is not None and self._may_send:
            payload = self._pending_pong
            self._pending_pong = None
            self._ping_arrived(
                <const uint8_t*> PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))

    def connection_lost(self, exc):
        """The connection has ended: the transport's last call."""
        cdef WSTransport transport = self._transport
        cdef WSListener listener = self._listener
        cdef list waiters = self._closed_waiters
        cdef list roundtrips = self._roundtrips
        if self._state == CLOSED:
            return
        if exc is not None:
            _drop_tracebacks(exc)       # asyncio's leads to the callback that was sending
        if self._state == CONNECTING:
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
        self._enter(CLOSED)
        self._note_unsent()
        self._may_send = False
        self._deaf = True
        if self._sweeper is not None:
            self._sweeper.forget(self)
        self._let_go()
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
            for _, future, _ in roundtrips or ():
                if not future.done():
                    future.set_exception(
                        WSConnectionError("the connection ended before the pong"))
            self._debug_end()

    def give_up(self):
        """No transport will come. Without effect from ``connection_made`` on."""
        if self._transport_below is None and self._state == CONNECTING:
            self._state = CLOSED
            self._let_go()

    def _let_go(self):
        """Drop every reference that could keep the connection's objects alive in a circle."""
        self._drop_pending()
        if self._private_buffer is not None:
            self._private_buffer.view = None
        self._transport_below = self._write_below = self._wire = None
        with cython.critical_section(self):
            self._transport = self._listener = None
        self._on_frame = None
        self._handshake = self._sweeper = self._private_buffer = None
        self._block = None
        self._closed_waiters = self._roundtrips = None
        self._opened_waiter = None

    def _drop_pending(self):
        if self._pending is not None:
            self._buffers.give_write(self._pending)
            self._pending = None

    def _note_unsent(self):
        """Complete the cause with what is still in the queue."""
        cdef Py_ssize_t unsent
        try:
            unsent = self._queue_size()
        except Exception:
            return      # a transport that is gone need not know
        if unsent > self._cause.unsent_bytes:
            self._replace_cause(
                WSDisconnectCause(self._cause.kind, self._cause.exception, unsent))

    # What other threads may ask for is written in the critical section, see attribute().

    cdef int _enter(self, uint8_t state) except -1:
        with cython.critical_section(self):
            self._state = state
        return 0

    cdef int _replace_cause(self, object cause) except -1:
        with cython.critical_section(self):
            self._cause = cause
        return 0

    # What the receiver leaves to the endpoint

    cdef int _close_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1:
        self._close_received = True
        with cython.critical_section(self):
            self._close_was_first = not self._close_sent
            self._close_payload_received = (<const char*> payload)[:size]
            self._state = CLOSING
        if not self._close_sent:
            self._set_cause(_PEER_CLOSE, None)
        self._debug_close("received", self._close_payload_received)
        return 0

    cdef int _close_delivered(self, const uint8_t* payload, Py_ssize_t size) except -1:
        self._deaf = True
        self._read_again()
        if self._may_send:
            # 5.5.1: "the endpoint typically echos the status code it received".
            self._send_close(payload, size if size < 2 else 2)
        return self._finish_closing()

    cdef int _no_memory(self, object size) except -1:
        return self._fail(
            WS_CLOSE_MESSAGE_TOO_BIG, "no memory for the frame", WSDisconnectKind.PROTOCOL_ERROR,
            WSProtocolError(
                ws_close_code_member(WS_CLOSE_MESSAGE_TOO_BIG),
                f"no memory for a frame of {size} bytes"))

    cdef int _ping_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1:
        """5.5.2: pong at once; to a peer that does not read, only the latest, when it does."""
        if not self._may_send:
            return 0
        if self._write_paused:
            self._pending_pong = (<const char*> payload)[:size]
            return 0
        return self._emit(0x80 | WS_OP_PONG, payload, size, None)

    # Opening handshake

    cdef int _advance_handshake(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Returns how many bytes belonged to the handshake."""
        cdef OpeningHandshake handshake = self._handshake
        cdef int used = <int> handshake.feed(data, size)
        if not handshake.done:
            return used
        if handshake.accepted:
            self._check_listener(handshake)
        self._hold(handshake.take_to_send())
        if handshake.accepted:
            self._more_to_come = True       # the answer and the first frames leave together
            self._open()
        else:
            self._refuse(handshake.error)
        return used

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

    def _hold(self, bytes data not None):
        """Begin the next write with bytes that are no frame."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef const uint8_t* content = <const uint8_t*> PyBytes_AS_STRING(data)
        if size == 0:
            return
        self._pending = self._buffers.take_write()
        if size > self._pending.capacity:
            self._write(content, size)
        else:
            memcpy(self._pending.data, content, size)
            self._pending.used = size

    cdef int _open(self) except -1:
        """The opening handshake has succeeded."""
        cdef OpeningHandshake handshake = self._handshake
        cdef WSListener listener = handshake.listener
        with cython.critical_section(self):
            self._request = handshake.request
            self._response = handshake.response
            self._subprotocol = handshake.subprotocol
            self._listener = listener
        self._handshake = None
        self._sweeper.forget(self)
        with cython.critical_section(listener):     # which may have had another connection
            listener.transport = self._transport
        self._enter(OPEN)
        self._opening = False
        self._may_send = True
        self._heard = 0
        self._looks = 0
        if self._options.enable_auto_ping:
            self._idle_since = self._sweeper.now()
            self._watch_idle(self._idle_since)
        if self._options.data_timeout is not None:
            self._expect_data(self._sweeper.now())
            self._watch_open(self._sweeper.now())
        try:
            if self._logger.isEnabledFor(DEBUG):
                self._logger.debug("%s: open: %r", self._peer(), self._transport)
            callback = (<object> listener).on_ws_frame
            self._gathers = isinstance(listener, WSMessageListener)
            if _is_compiled(callback) and not (self._gathers and _sees_frames(listener)):
                self._on_frame = None
            elif type(callback) is MethodType and callback.__self__ is listener:
                self._on_frame = callback.__func__
                self._on_frame_is_method = True
            else:
                self._on_frame = callback
            self._user_ping = (
                (<object> type(listener)).send_user_specific_ping
                is not (<object> WSListener).send_user_specific_ping)
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
        """The opening handshake has failed; its answer, if any, is on its way."""
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
            _drop_tracebacks(error)
        self._set_cause(WSDisconnectKind.HANDSHAKE_FAILURE, error)
        if error is not None:
            self._opening_failed(error)
        self._enter(CLOSING)
        self._opening = False
        self._deaf = True
        self._handshake = None
        if self._is_client:
            self._transport_below.close()
            return 0
        return self._linger()

    # What WSTransport calls

    cdef int _call_at_end_of_turn(self) except -1:
        self._loop.call_soon(self._end_of_turn)
        return 0

    cdef int disconnect(self, bint graceful, bytes close_payload) except -1:
        self.check_thread()
        if self._transport_below is None:
            return 0
        self._muted = True
        if self._state == CONNECTING or not graceful:
            self._set_cause(WSDisconnectKind.LOCAL_ABORT, None)
            return self._abort()
        if self._may_send:
            self._send_close(
                <const uint8_t*> PyBytes_AS_STRING(close_payload),
                PyBytes_GET_SIZE(close_payload))
        if self._close_received:
            self._finish_closing()
        return self._read_again()

    cdef object closed_future(self):
        self.check_thread()
        if self._state == CLOSED:
            return None
        future = self._loop.create_future()
        # Without those that were cancelled: a caller may wait for a second, again and again.
        self._closed_waiters = [
            waiter for waiter in self._closed_waiters or () if not waiter.done()]
        self._closed_waiters.append(future)
        return future

    cdef object attribute(self, int which):
        """Any thread may ask, except for what the event loop's own objects tell. Only the loop's
        thread writes the fields, in this object's critical section, in which other threads read
        them; so the loop's thread may read them anywhere."""
        if which == ATTRIBUTE_WRITE_QUEUE:
            self.check_thread()
            return self._queue_size()
        if which == ATTRIBUTE_UNDERLYING:
            self.check_thread()
            return self._transport_below
        if which == ATTRIBUTE_DISCONNECT_CAUSE:
            return self._complete_cause()
        if which == ATTRIBUTE_CLOSE_HANDSHAKE:
            return self._close_handshake()
        with cython.critical_section(self):
            return self._snapshot(which)

    cdef object _snapshot(self, int which):
        if which == ATTRIBUTE_STATE:
            return _STATES[self._state]
        if which == ATTRIBUTE_REQUEST:
            return self._request
        if which == ATTRIBUTE_RESPONSE:
            return self._response
        if which == ATTRIBUTE_REMOTE_ADDRESS:
            return unpack_address(self._remote_address)
        if which == ATTRIBUTE_LOCAL_ADDRESS:
            return unpack_address(self._local_address)
        if which == ATTRIBUTE_SUBPROTOCOL:
            return self._subprotocol
        if which == ATTRIBUTE_IS_CLIENT:
            return self._is_client
        if which == ATTRIBUTE_IS_SECURE:
            return self._secure
        return self._close_sent     # ATTRIBUTE_CLOSE_SENT

    cdef object _close_handshake(self):
        with cython.critical_section(self):
            received = self._close_payload_received
            sent = self._close_payload_sent
            was_first = bool(self._close_was_first)
        if received is None and sent is None:
            return None
        return WSCloseHandshake(_close_info(received), _close_info(sent), was_first)

    cdef object _complete_cause(self):
        """The cause with the CLOSE frame that ended the connection, if one did."""
        with cython.critical_section(self):
            cause = self._cause
            received = self._close_payload_received
            sent = self._close_payload_sent
        if cause is None or cause.close is not None:
            return cause
        payload = received if cause.kind is _PEER_CLOSE else sent
        if payload is None:
            return cause
        complete = WSDisconnectCause(
            cause.kind, cause.exception, cause.unsent_bytes, _close_info(payload))
        if current_thread() == self._buffers.thread_id:
            self._replace_cause(complete)
        return complete

    # The log: one line for each thing that happens to a connection, none for a frame

    cdef str _peer(self):
        return format_address(unpack_address(self._remote_address))

    cdef int _debug_close(self, str what, bytes payload) except -1:
        if self._logger.isEnabledFor(DEBUG):
            self._logger.debug("%s: %s CLOSE %s", self._peer(), what, _close_info(payload))
        return 0

    cdef int _debug_end(self) except -1:
        if self._logger.isEnabledFor(DEBUG):
            self._logger.debug(
                "%s: the connection ended: %s", self._peer(), self._complete_cause())
        return 0

    # Closing

    cdef int _close_was_sent(self) except -1:
        self._debug_close("sent", self._close_payload_sent)
        if self._state == OPEN:
            self._enter(CLOSING)
        if not self._close_received:
            self._set_cause(_LOCAL_CLOSE, None)
        self._ping_pending = False
        self._note_pings()
        self._looks = 0
        return self._watch(self._options.close_timeout)

    cdef int _finish_closing(self) except -1:
        """Both CLOSE frames were exchanged. 7.1.1: the server closes the connection first."""
        if self._transport_below is None or not self._close_sent:
            return 0
        if self._pending is not None:
            self._flush()
        if not self._is_client:
            self._transport_below.close()
        return 0

    cdef int _violated(self, int violation) except -1:
        cdef str text = ws_violation_text(violation).decode("ascii")
        cdef int code = ws_violation_close_code(violation)
        return self._fail(
            code, text, WSDisconnectKind.PROTOCOL_ERROR,
            WSProtocolError(ws_close_code_member(code), text))

    cdef int _listener_failed(self, str callback, object error) except -1:
        if callback == "on_ws_frame" and self._gathers:
            callback = _written_callback(self._listener, error)
        self._log_listener_error(callback, error)
        if not self._options.disconnect_on_exception:
            return 0
        _drop_tracebacks(error)
        return self._fail(
            WS_CLOSE_INTERNAL_ERROR, "internal error", WSDisconnectKind.LISTENER_EXCEPTION, error)

    def _log_listener_error(self, callback, error):
        self._logger.error(
            "%s: the listener's %s raised an exception", self._peer(), callback, exc_info=error)

    cdef int _fail(self, int code, str reason, object kind, object error) except -1:
        """7.1.7, "fail the connection"."""
        cdef bytes payload
        self._set_cause(kind, error)
        if self._logger.isEnabledFor(DEBUG):
            self._logger.debug("%s: failing the connection: %s", self._peer(), one_line(error))
        self._deaf = True
        self._muted = True
        self._block = None
        if self._transport_below is None:
            return 0
        if self._may_send:
            payload = encode_close_payload(code, reason)
            self._send_close(
                <const uint8_t*> PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        self._read_again()
        return self._linger()

    cdef int _set_cause(self, object kind, object error) except -1:
        if self._cause is None:
            if self._state == CONNECTING and kind is WSDisconnectKind.CONNECTION_LOST:
                kind = WSDisconnectKind.HANDSHAKE_FAILURE
            self._replace_cause(WSDisconnectCause(kind, error))
        return 0

    cdef int _linger(self) except -1:
        """Close so that what was sent last is not lost: half-close, then wait for the peer."""
        if self._transport_below is None:
            return 0
        if self._pending is not None:
            self._flush()
        if self._secure or not self._transport_below.can_write_eof():
            self._transport_below.close()
            return self._watch(self._options.close_timeout)
        if self._transport_below.is_closing():
            return 0
        try:
            self._transport_below.write_eof()
        except OSError:     # asyncio's, where the peer has reset the connection
            return self._abort()
        delay = self._options.close_timeout
        # The peer has yet to read what is queued: a large HTTP answer, for one.
        if self._queue_below() == 0 and (delay is None or delay > LINGER):
            delay = LINGER
        return self._watch(delay)

    cdef int _abort(self) except -1:
        self._deaf = True
        self._muted = True
        self._may_send = False
        if self._state != CONNECTING:
            self._enter(CLOSING)
        if self._transport_below is not None:
            self._note_unsent()
            self._drop_pending()
            self._transport_below.abort()
        return 0

    cdef int _write_failed(self, object error) except -1:
        return self._dropped_by(error)

    cdef int _dropped_by(self, object error) except -1:
        """Abort because of an exception that is going to be raised. Its traceback leads to the
        connection, so that the cause cannot keep it."""
        self._set_cause(
            WSDisconnectKind.CONNECTION_LOST if isinstance(error, Exception)
            else WSDisconnectKind.LISTENER_EXCEPTION,
            WSConnectionError(f"the connection was dropped because of {error!r}"))
        return self._abort()

    cdef int _queue_overflow(self, Py_ssize_t size) except -1:
        return self._slow_consumer(
            size, f"max_write_queue_size is {self._max_write_queue}: send less, heed"
            " pause_writing, or raise the limit")

    cdef int _slow_consumer(self, Py_ssize_t size, str text) except -1:
        """``size``: bytes of the frame that found no room."""
        cdef Py_ssize_t unsent = self._queue_size() + size
        self._set_cause(WSDisconnectKind.SLOW_CONSUMER, WSSlowConsumer(
            f"{unsent} bytes wait for a peer that does not read, and {text}"))
        self._replace_cause(WSDisconnectCause(self._cause.kind, self._cause.exception, unsent))
        return self._abort()

    cdef int _report_pause(self) except -1:
        self._pause_due = False
        if self._listener is None or self._muted:
            return 0
        try:
            self._listener.pause_writing()
        except Exception as error:
            self._listener_failed("pause_writing", error)
        return 0

    cdef str _state_name(self):
        if self._state == CLOSING or self._state == OPEN:
            return "being closed"
        return "not open yet" if self._state == CONNECTING else "closed"

    # Deadlines

    cdef int on_deadline(self, double now) except -1:
        if self._state == OPEN:
            return self._look_at_peer(now)
        if self._state == CONNECTING:
            if not self._is_certain(&self._looks, 1):
                return self._watch(SECOND_LOOK)
            self._handshake.feed_timeout()
            self._hold(self._handshake.take_to_send())
            return self._refuse(self._handshake.error)
        if (
                not self._close_received and self._cause.kind is _LOCAL_CLOSE
                and not self._is_paused()):
            if not self._is_certain(&self._looks, MOST_CLOSING_LOOKS):
                return self._watch(SECOND_LOOK)
            self._replace_cause(WSDisconnectCause(WSDisconnectKind.CLOSE_TIMEOUT, WSCloseTimeout(
                "the peer did not answer the CLOSE frame within close_timeout"
                f" ({self._options.close_timeout} seconds)")))
        return self._abort()

cdef str _written_callback(object listener, object error):
    """Which callback of a WSMessageListener raised: the one that its user wrote."""
    if (
            type(listener).on_ws_frame is (<object> WSMessageListener).on_ws_frame
            and "on_ws_frame" not in getattr(listener, "__dict__", ())):
        return "on_ws_message"
    trace = error.__traceback__
    while trace is not None:
        # A compiled function's name is a dotted one.
        if trace.tb_frame.f_code.co_name.rpartition(".")[2] == "on_ws_message":
            return "on_ws_message"
        trace = trace.tb_next
    return "on_ws_frame"


cdef object _address_of(object transport, str name):
    """``peername`` or ``sockname``; None where the transport cannot tell."""
    try:
        return transport.get_extra_info(name)
    except OSError:     # uvloop's, of a connection that the peer has reset
        return None


cdef bint _sees_frames(object listener) except -1:
    """Whether a compiled listener of messages has an on_ws_frame of its own. Its frames must not
    be gathered past that."""
    return (
        (<object> type(listener)).on_ws_frame is not (<object> WSMessageListener).on_ws_frame)


cdef int _check_received(Py_ssize_t size, Py_ssize_t room) except -1:
    if not 0 < size <= room:
        raise ValueError(f"{size} bytes cannot have been received into a buffer of {room}")
    return 0


cdef int _drop_tracebacks(object error) except -1:
    """Of an exception that a cause is to keep, and of those that it came from: they were logged,
    and their frames would tie the connection into a circle."""
    cdef list found = [error]
    for each in found:      # grows
        each.__traceback__ = None
        for other in (each.__cause__, each.__context__, *getattr(each, "exceptions", ())):
            if other is not None and other not in found:
                found.append(other)
    return 0


cdef object _close_info(bytes payload):
    """The contents of a CLOSE frame that has been checked."""
    if payload is None:
        return None
    if len(payload) < 2:
        return WSCloseInfo(ws_close_code_member(WS_CLOSE_NO_STATUS_RECEIVED), "")
    return WSCloseInfo(
        ws_close_code_member(payload[0] << 8 | payload[1]), payload[2:].decode("utf-8"))
