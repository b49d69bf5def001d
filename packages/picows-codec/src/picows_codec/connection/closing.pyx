"""How a connection ends: closing handshake, failing, aborting, and the cause of it (RFC 6455, 7.1).

* A received CLOSE frame is delivered, then answered unless the listener did that. Nothing after it
  is looked at.
* After a CLOSE frame was sent, frames are delivered until the peer's CLOSE; after ``disconnect()``
  they are dropped.
* When both were exchanged, a server closes the connection, and a client waits for the server.
* A failure sends its CLOSE frame, half-closes and discards what the peer still sends, so that the
  CLOSE frame is not lost to a reset.
* The connection is aborted ``close_timeout`` seconds after the first of these.
* An exception in the middle of a read or a write (of a transport, or of a callback, if it is not an
  Exception) leaves a gap in the stream, so the connection is aborted.

The first cause is reported, except that a closing handshake that the peer never completed becomes
CLOSE_TIMEOUT.

A verdict must not blame the peer for what this side did. So it takes a second look, before which
the loop has read; there is none while this side does not read; and a blocked loop gives its peers
time (see deadlines).
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from picows_codec.buffers cimport current_thread, shared_local, shared_remote
from picows_codec.close cimport encode_close_payload
from picows_codec.connection.dispatcher cimport GATHERS
from picows_codec.connection.receiver cimport HEARD_FOR_VERDICT
from picows_codec.connection.state cimport (
    ABORTS,
    CONNECTING,
    DELIVERS,
    FAILS,
    READS,
    SENDS_CLOSE,
    close_info,
)
from picows_codec.connection.writer cimport MANY
from picows_codec.constants cimport (
    WS_CLOSE_INTERNAL_ERROR,
    WS_CLOSE_MESSAGE_TOO_BIG,
    ws_close_code_member,
    ws_violation_close_code,
    ws_violation_text,
)
from picows_codec.deadlines cimport SECOND_LOOK, sweeper_for
from picows_codec.listener cimport WSMessageListener
from picows_codec.totals cimport NO_MEMORY, count_slow_consumer, count_violation

from picows_codec.disconnect import WSDisconnectCause, WSDisconnectKind
from picows_codec.errors import WSCloseTimeout, WSConnectionError, WSProtocolError, WSSlowConsumer
from picows_codec.log_text import one_line
from picows_codec.socket_address import format_address, unpack_address

# How connections mostly end. Looking a member up in its class is slow before Python 3.12.
cdef object _PEER_CLOSE = WSDisconnectKind.PEER_CLOSE
cdef object _LOCAL_CLOSE = WSDisconnectKind.LOCAL_CLOSE
# How most connections end: made once, because causes never change.
cdef object _CLOSED_BY_PEER = WSDisconnectCause(_PEER_CLOSE, None)
cdef object _CLOSED_HERE = WSDisconnectCause(_LOCAL_CLOSE, None)

# Seconds for which a failed connection waits for the peer to take the CLOSE frame and hang up.
cdef double LINGER = 1.0

cdef enum:
    DEBUG = 10      # logging.DEBUG: a logger is the caller's, and logging is not imported here
    # Second looks for the peer's CLOSE frame while bytes come, because it may be behind them.
    MOST_CLOSING_LOOKS = 10


cdef class Closing(Receiver):
    # Beginning and end

    cdef int _begin_closing(self, object logger, object clock, object remote_address) except -1:
        self._logger = logger
        self._clock = clock
        self._remote_address = remote_address
        return 0

    cdef int _note_addresses(self) except -1:
        """Read the addresses now, because the socket does not tell them after a reset."""
        cdef object remote = self._remote_address
        cdef object local = _address_of(self._transport_below, "sockname")
        if remote is None:
            remote = _address_of(self._transport_below, "peername")
        remote = shared_remote(self._buffers, remote)
        local = shared_local(self._buffers, local)
        secure = (
            self._wire is None
            and self._transport_below.get_extra_info("sslcontext") is not None)
        with cython.critical_section(self):
            self._remote_address = remote
            self._local_address = local
            self._secure = secure
        return 0

    cdef int _replace_remote_address(self, object remote) except -1:
        with cython.critical_section(self):
            self._remote_address = remote
        return 0

    cdef int _start_deadlines(self) except -1:
        self._sweeper = sweeper_for(self._loop, self._clock)
        return 0

    cdef int _release_closing(self) except -1:
        if self._sweeper is not None:
            self._sweeper.forget(self)
            self._sweeper = None
        return 0

    # What any thread may ask. Only the loop's thread writes the fields, in this object's critical
    # section, in which other threads read them; so the loop's thread may read them anywhere.

    @property
    def is_secure(self):
        """See :attr:`WSTransport.is_secure`."""
        with cython.critical_section(self):
            return self._secure

    @property
    def remote_address(self):
        """See :attr:`WSTransport.remote_address`."""
        with cython.critical_section(self):
            return unpack_address(self._remote_address)

    @property
    def local_address(self):
        """See :attr:`WSTransport.local_address`."""
        with cython.critical_section(self):
            return unpack_address(self._local_address)

    @property
    def connection_id(self):
        """See :attr:`WSTransport.connection_id`."""
        with cython.critical_section(self):
            self._begin_record()
            return self._record.id

    @property
    def disconnect_cause(self):
        """See :attr:`WSTransport.disconnect_cause`."""
        return self._complete_cause()

    # The log: one line for each thing that happens to a connection, none for a frame

    cdef str _peer(self):
        return format_address(unpack_address(self._remote_address))

    cdef dict _log_fields(self):
        """No name is an attribute of ``logging.LogRecord``, which a record must not replace."""
        cause = self._complete_cause()
        return {
            "peer": self._peer(),
            "path": None,
            "connection_id": self.connection_id,
            "cause": None if cause is None else cause.kind.name.lower(),
            "code": None if cause is None else int(cause.code),
            "bytes_received": self._taken,
            "bytes_sent": self._written,
            "seconds": None,
        }

    cdef int _debug(self, str text, object detail) except -1:
        if self._logger.isEnabledFor(DEBUG):
            self._logger.debug(
                "%s: " + text, self._peer(), detail, extra=self._log_fields())
        return 0

    cdef int _debug_close(self, str text, bytes payload) except -1:
        if self._logger.isEnabledFor(DEBUG):
            self._debug(text, close_info(payload))
        return 0

    cdef int _debug_end(self) except -1:
        if self._logger.isEnabledFor(DEBUG):
            self._debug("the connection ended: %s", self._complete_cause())
        return 0

    cdef int _log_listener_error(self, str callback, object error) except -1:
        self._logger.error(
            "%s: the listener's %s raised an exception", self._peer(), callback, exc_info=error,
            extra=self._log_fields())
        return 0

    # The deadline

    cdef double _now(self) except -1.0:
        return self._loop.time() if self._clock is None else self._clock()

    cdef int _watch(self, object delay) except -1:
        if self._sweeper is None:
            return 0
        if delay is None:
            return self._sweeper.forget(self)
        return self._sweeper.watch(self, delay)

    cdef int _watch_anew(self, object delay) except -1:
        self._looks = 0
        return self._watch(delay)

    cdef bint _is_paused(self) except -1:
        """Whether this side does not read, which says nothing about the peer."""
        try:
            return not (
                self._transport_below.is_reading() or self._transport_below.is_closing())
        except Exception:
            return False        # a transport that is gone need not know

    cdef int _pause_after_read(self, object pause) except -1:
        """Stop reading for a while. With TLS ``pause`` is called for that when this read is over:
        aiofastnet leaves what it has decrypted, or read from the socket, where it is if reading is
        paused within a read, and does not look there when reading is resumed."""
        if self._transport_below.get_extra_info("sslcontext") is None:
            self._transport_below.pause_reading()
        else:
            self._loop.call_soon(pause)
        return 0

    cdef int _pause_now(self) except -1:
        """What such a ``pause`` does, unless the reason for it is gone."""
        cdef object below = self._transport_below
        if below is not None and not below.is_closing() and below.is_reading():
            below.pause_reading()
        return 0

    cdef int _read_again(self) except -1:
        """Resume reading: no frame is delivered any more, and the peer's end must be read."""
        if self._transport_below is not None and self._is_paused():
            self._transport_below.resume_reading()
        return 0

    cdef bint _is_certain(self, uint8_t* looks, int most, uint8_t heard_bit) except -1:
        """Whether the peer's time is over. Not at the first look, because what it sent may wait in
        the socket; and if bytes come between the looks, not before ``most`` looks."""
        cdef bint heard = self._has_heard(heard_bit)
        if looks[0] == 0 or (heard and looks[0] < most):
            looks[0] += 1
            return False
        looks[0] = 0
        return True

    cdef int _end_of_closing_time(self) except -1:
        """The deadline of a connection that is being closed has come. In a state that reads, it
        waits for the peer's CLOSE frame."""
        if (
                self._state & READS and self._cause.kind is _LOCAL_CLOSE
                and not self._is_paused()):
            if not self._is_certain(&self._looks, MOST_CLOSING_LOOKS, HEARD_FOR_VERDICT):
                return self._watch(SECOND_LOOK)
            self._replace_cause(WSDisconnectCause(WSDisconnectKind.CLOSE_TIMEOUT, WSCloseTimeout(
                f"the peer did not answer the CLOSE frame {self._within('close_timeout')}")))
        return self._abort()

    def drop_deadline(self):
        """Do not abort the connection after ``close_timeout``: somebody else watches the time."""
        self._watch(None)

    # The cause

    cdef int _set_cause(self, object kind, object error) except -1:
        if self._cause is None:
            if self._state == CONNECTING and kind is WSDisconnectKind.CONNECTION_LOST:
                kind = WSDisconnectKind.HANDSHAKE_FAILURE
            self._replace_cause(WSDisconnectCause(kind, error))
        return 0

    cdef int _replace_cause(self, object cause) except -1:
        with cython.critical_section(self):
            self._cause = cause
        return 0

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
            cause.kind, cause.exception, cause.unsent_bytes, close_info(payload))
        if current_thread() == self._buffers.thread_id:
            self._replace_cause(complete)
        return complete

    cdef int _note_unsent(self) except -1:
        """Complete the cause with what is still in the queue."""
        cdef Py_ssize_t unsent
        try:
            unsent = self._queue_size()
        except Exception:
            return 0    # a transport that is gone need not know
        if unsent > self._cause.unsent_bytes:
            self._replace_cause(
                WSDisconnectCause(self._cause.kind, self._cause.exception, unsent))
        return 0

    # The closing handshake

    cdef int _close_was_sent(self) except -1:
        self._debug_close("sent CLOSE %s", self._close_payload_sent)
        if not self._was_close_received() and self._cause is None:
            self._replace_cause(_CLOSED_HERE)
        self._looks = 0
        return self._watch(self._options.close_timeout)

    cdef int _close_arrived(self, const uint8_t* payload, Py_ssize_t size) except -1:
        self._advance_by_received_close((<const char*> payload)[:size])
        if not self._was_close_sent() and self._cause is None:
            self._replace_cause(_CLOSED_BY_PEER)
        self._debug_close("received CLOSE %s", self._close_payload_received)
        return 0

    cdef int _close_delivered(self, const uint8_t* payload, Py_ssize_t size) except -1:
        self._read_again()
        # 5.5.1: "the endpoint typically echos the status code it received".
        self._send_close(SENDS_CLOSE, payload, size if size < 2 else 2)
        return self._finish_closing()

    cdef int _finish_closing(self) except -1:
        """Both CLOSE frames were exchanged. 7.1.1: the server closes the connection first."""
        if self._transport_below is None or not self._was_close_sent():
            return 0
        if self._pending is not None:
            self._flush()
        if not self._is_client:
            self._transport_below.close()
        return 0

    # Failing, aborting

    cdef int _violated(self, int violation) except -1:
        cdef str text = ws_violation_text(violation).decode("ascii")
        count_violation(<void*> self._totals, -violation)
        return self._fail_protocol(ws_violation_close_code(violation), text, text)

    cdef int _no_memory(self, object size) except -1:
        count_violation(<void*> self._totals, NO_MEMORY)
        return self._fail_protocol(
            WS_CLOSE_MESSAGE_TOO_BIG, "no memory for the frame",
            f"no memory for a frame of {size} bytes")

    cdef int _listener_failed(self, str callback, object error) except -1:
        if callback == "on_ws_frame" and self._read_flags & GATHERS:
            callback = _written_callback(self._listener, error)
        self._log_listener_error(callback, error)
        if not self._options.disconnect_on_exception:
            return 0
        drop_tracebacks(error)
        return self._fail(
            WS_CLOSE_INTERNAL_ERROR, "internal error", WSDisconnectKind.LISTENER_EXCEPTION, error)

    cdef int _fail_protocol(self, int code, str reason, str text) except -1:
        return self._fail(
            code, reason, WSDisconnectKind.PROTOCOL_ERROR,
            WSProtocolError(ws_close_code_member(code), text))

    cdef int _time_out(
            self, str what, object kind, object error_type, str missing, str option) except -1:
        """The peer has not sent what it owes within the seconds of an option."""
        return self._fail(
            WS_CLOSE_INTERNAL_ERROR, f"{what} timeout", kind,
            error_type(f"no {missing} {self._within(option)}"))

    cdef str _within(self, str option):
        return f"within {option} ({getattr(self._options, option)} seconds)"

    cdef int _fail(self, int code, str reason, object kind, object error) except -1:
        """7.1.7, "fail the connection"."""
        cdef bytes payload
        self._end_batch()
        self._set_cause(kind, error)
        self._debug("failing the connection: %s", one_line(error))
        self._drop_block()
        if self._transport_below is None:
            return 0
        payload = encode_close_payload(code, reason)
        self._send_close(
            FAILS, <const uint8_t*> PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        self._report_stop()
        self._read_again()
        return self._linger()

    cdef int _linger(self) except -1:
        """Half-close, then wait for the peer, so that the last bytes are not lost to a reset."""
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
        # The peer has not read what is queued, for example a large HTTP response.
        if self._queue_below() == 0 and (delay is None or delay > LINGER):
            delay = LINGER
        return self._watch(delay)

    cdef int _abort(self) except -1:
        self._advance(ABORTS)
        if self._transport_below is not None:
            self._note_unsent()
            self._drop_pending()
            self._transport_below.abort()
        return 0

    cdef int _write_failed(self, object error) except -1:
        return self._dropped_by(error)

    cdef int _dropped_by(self, object error) except -1:
        """Abort because of an exception that will be raised. The cause does not keep it, because
        its traceback refers to the connection."""
        self._set_cause(
            WSDisconnectKind.CONNECTION_LOST if isinstance(error, Exception)
            else WSDisconnectKind.LISTENER_EXCEPTION,
            WSConnectionError(f"the connection was dropped because of {error!r}"))
        return self._abort()

    cdef int _queue_overflow(self, Py_ssize_t size) except -1:
        return self._slow_consumer(
            size, f"max_write_queue_size is {self._options.max_write_queue_size}: send less, heed"
            " pause_writing, or raise the limit")

    cdef int _slow_consumer(self, Py_ssize_t size, str text) except -1:
        """``size``: bytes of the frame that found no room."""
        cdef Py_ssize_t unsent = self._queue_size() + size
        count_slow_consumer(<void*> self._totals)
        self._set_cause(WSDisconnectKind.SLOW_CONSUMER, WSSlowConsumer(
            f"{unsent} bytes wait for a peer that does not read, and {text}"))
        self._replace_cause(WSDisconnectCause(self._cause.kind, self._cause.exception, unsent))
        return self._abort()

    cdef int _report_pause(self) except -1:
        if self._send_flags & MANY:
            return 0
        if self._buffers.late_pauses is not None:
            self._buffers.late_pauses.append(self)
            return 0
        self._pause_is_reported()
        if self._listener is None or not self._state & DELIVERS:
            return 0
        try:
            self._listener.pause_writing()
        except Exception as error:
            self._listener_failed("pause_writing", error)
        return 0


cdef object _address_of(object transport, str name):
    """``peername`` or ``sockname``; None where the transport cannot tell."""
    try:
        return transport.get_extra_info(name)
    except OSError:     # uvloop's, of a connection that the peer has reset
        return None


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


cdef int drop_tracebacks(object error) except -1:
    """Remove the tracebacks of an exception that a cause keeps, and of those that it came from.
    They were logged, and their frames would make a reference cycle with the connection."""
    cdef list found = [error]
    for each in found:      # which grows meanwhile
        each.__traceback__ = None
        for other in (each.__cause__, each.__context__, *getattr(each, "exceptions", ())):
            if other is not None and other not in found:
                found.append(other)
    return 0
