"""How a connection opens: the opening handshake, a deferred response, the outcome (RFC 6455, 4).

The rules of the handshake itself, without a connection, are in ``http``.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from picows_codec.callbacks cimport check_callbacks
from picows_codec.connection.closing cimport drop_tracebacks
from picows_codec.connection.receiver cimport HEARD_FOR_VERDICT
from picows_codec.connection.state cimport CLOSED, CONNECTING, HANDSHAKE_FAILED, OPENED, READS
from picows_codec.connection.writer cimport begin_read, end_read, expect_more
from picows_codec.connection.record cimport record_heard, record_outcome
from picows_codec.deadlines cimport SECOND_LOOK, time_left
from picows_codec.http.handshake cimport ws_bounded
from picows_codec.http.upgrade cimport ws_remote_address
from picows_codec.listener cimport WSListener
from picows_codec.totals cimport count_opened, count_slow_consumer

from picows_codec.deferred_response import DeferredResponse
from picows_codec.disconnect import WSDisconnectCause, WSDisconnectKind
from picows_codec.errors import WSHandshakeError, WSHandshakeTimeout
from picows_codec.listener_factory import await_result
from picows_codec.log_text import one_line

from types import CoroutineType

ctypedef int (*settling)(Handshaking, object) noexcept


cdef int _settle(Handshaking self, object task) except -1:
    """The factory's task is done: answer, then go on with what has come behind the request."""
    cdef OpeningHandshake handshake = self._handshake
    cdef bytes held = handshake.take_held()
    self._waits_for_result = False
    if task.cancelled():
        handshake.fail(WSHandshakeError("the task that decides about the request was cancelled"))
    elif task.exception() is not None:
        handshake.fail(task.exception())
    else:
        handshake.resolve(task.result())
        if handshake.deferred is not None:      # a DeferredResponse of a coroutine
            if held:
                handshake.feed(<const uint8_t*> PyBytes_AS_STRING(held), PyBytes_GET_SIZE(held))
                if handshake.is_full():
                    self._pause_after_read(self._pause_while_waiting)
            return self._wait_for_result()
    self._finish_handshake()
    if held and self._state & READS:
        self._received_behind_request(held)
    return 0


cdef bint _was_opening_handshake(Handshaking self) except -1:
    """Whether it was one: a request that could be read, and asks for no upgrade, was none."""
    cdef OpeningHandshake handshake = self._handshake
    return self._is_client or handshake.request is None or handshake.asks_for_upgrade()


cdef str _what_failed(Handshaking self):
    if _was_opening_handshake(self):
        return "the opening handshake failed"
    return f"{ws_bounded(self._handshake.request.method)} without an upgrade failed"


cdef class Handshaking(Closing):
    # Beginning and end

    cdef int _begin_handshaking(self, OpeningHandshake handshake, object deadline) except -1:
        self._handshake = handshake
        self._began = deadline or 0
        return 0

    cdef int _release_handshaking(self) except -1:
        self._handshake = None
        self._opened_waiter = None
        return 0

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
            if self._connected_called and self._listener is not None:
                self._opened_waiter.set_result((self._transport, self._listener))
        return self._opened_waiter

    cdef dict _log_fields(self):
        cdef dict found = Closing._log_fields(self)
        request = self._request
        if request is None and self._handshake is not None:
            request = self._handshake.request
        if request is None and self._record is not None:
            request = self._record.request
        if request is not None:     # without the query, which may hold secrets
            found["path"] = one_line(request.path.partition("?")[0])
        if self._transport_below is not None or self._state == CLOSED:
            found["seconds"] = round(self._age(), 6)
        return found

    cdef double _age(self) except -1.0:
        return self._began if self._state == CLOSED else self._now() - self._began

    cdef int _end_age(self, bint has_begun) except -1:
        self._began = self._now() - self._began if has_begun else 0
        return 0

    cdef int _start_handshake(self) except -1:
        cdef bytes data
        cdef double deadline
        self._handshake.set_addresses(self._remote_address, self._local_address)
        deadline = self._began
        self._began = self._now()
        if self._options.collect_stats:
            self._begin_counts()
        if self._record is not None:
            record_heard(<void*> self._record, self._began)
        if deadline:
            self._watch(time_left(deadline, self._began))
        else:
            self._watch(self._options.websocket_handshake_timeout)
        data = self._handshake.take_to_send()
        if data:
            self._write(<const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return 0

    cdef int _advance_handshake(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Returns how many bytes belonged to the handshake."""
        cdef OpeningHandshake handshake = self._handshake
        cdef bint was_full = handshake.is_full()
        cdef int used = <int> handshake.feed(data, size)
        if handshake.request is not None:       # a route may know better where it comes from
            self._replace_remote_address(ws_remote_address(handshake.request))
        if handshake.deferred is not None:
            if size > used:
                handshake.feed(data + used, size - used)
            # The peer may leave while it waits, which only a transport that reads sees; so reading
            # stops only when much is held.
            if handshake.is_full() and not was_full:
                self._pause_after_read(self._pause_while_waiting)
            if not self._waits_for_result:
                self._wait_for_result()
            return <int> size
        if handshake.done:
            self._finish_handshake()
        return used

    def _pause_while_waiting(self):
        if self._waits_for_result:
            self._pause_now()

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
            if isinstance(awaitable, DeferredResponse):
                task = awaitable
                task.begin(self)
            else:
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
        if handshake.is_full():
            self._read_again()
        return 0

    def _result_is_there(self, task):
        if self._state != CONNECTING or not self._waits_for_result:
            # The connection has ended. What was raised instead of the cancellation is still told.
            if task.cancelled():
                return
            if task.exception() is not None:
                self._logger.error(
                    "%s: the listener factory failed after the connection had ended", self._peer(),
                    exc_info=task.exception(), extra=self._log_fields())
            elif isinstance(task.result(), DeferredResponse):
                task.result().cancel()
            return
        if self._handshake.is_full():
            self._read_again()      # what arrives in this call is held, too
        begin_read(self)
        if (<settling> _settle)(self, task) < 0:
            self._read_raised()
        end_read(self)
        if self._pending is not None and self._corks == 0:
            self._flush_after_read()

    def send_response(self, bytes data not None):
        """Send a part of the response that a :class:`DeferredResponse` sends itself.

        Returns whether there is room for the next part. If not, ``resume_writing`` of the deferred
        response is called when there is. ``websocket_handshake_timeout`` does not count any more.
        The connection is aborted if something is still queued ``stall_timeout`` after the last
        call. A peer that sends no more is still sent the response, except over TLS.
        """
        self.check_thread()
        if self._state != CONNECTING or not self._waits_for_result:
            return False
        self._handshake.begin_response(data)
        self._watch_anew(self._options.stall_timeout)
        self._write(<const uint8_t*> PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        return not self._write_paused

    cdef int _response_may_go_on(self) except -1:
        cdef OpeningHandshake handshake = self._handshake
        if not self._waits_for_result or not isinstance(handshake.deferred, DeferredResponse):
            return 0
        try:
            handshake.deferred.resume_writing()
        except Exception as error:
            self._logger.error(
                "%s: sending the response failed", self._peer(), exc_info=error,
                extra=self._log_fields())
            drop_tracebacks(error)
            return self._abort_response(WSDisconnectKind.LOCAL_ABORT, error)
        return 0

    cdef int _abort_response(self, object kind, object error) except -1:
        """Nothing can be said any more: it would be taken for a part of the response."""
        self._set_cause(kind, error)
        self._opening_failed(error)
        return self._abort()

    cdef int _set_cause_of_failure(self, object error) except -1:
        """A response that was cut is no failed handshake: it has a status, and is counted by it."""
        if error is None or not self._handshake.response_begun:
            return self._set_cause(WSDisconnectKind.HANDSHAKE_FAILURE, error)
        if self._cause is None:
            self._replace_cause(WSDisconnectCause(WSDisconnectKind.CONNECTION_LOST, error))
        return 0

    cdef int _finish_handshake(self) except -1:
        """There is a result: send the response, and open the connection if that accepts."""
        cdef OpeningHandshake handshake = self._handshake
        if handshake.accepted:
            self._check_listener(handshake, handshake.listener)
        elif handshake.unused is not None:
            self._check_listener(handshake, handshake.unused)
        self._hold(handshake.take_to_send())
        if handshake.accepted:
            expect_more(self, True)     # the response and the first frames leave together
            self._open()
        else:
            self._refuse(handshake.error)
        return 0

    def _check_listener(self, OpeningHandshake handshake, listener):
        """Take the result back if its listener cannot be used: its factory is wrong, not the peer.
        """
        if not isinstance(listener, WSListener):
            hint = ""
            if isinstance(listener, type) and issubclass(listener, WSListener):
                hint = "; call the class"
            elif type(listener) is CoroutineType:
                listener.close()    # or Python would warn of it, too
                hint = "; nobody awaits it"
            handshake.fail(TypeError(
                "the listener factory must return a WSListener"
                + (" or a WSUpgradeResponse" if not self._is_client else "") + ", not"
                f" {type(listener).__name__}: {listener!r}{hint}"))
            return
        try:
            check_callbacks(listener)
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
        count_opened(<void*> self._totals)
        if self._record is not None:
            record_outcome(self._record, handshake.request, handshake.response)
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
        waiter = self._opened_waiter
        if waiter is not None and not waiter.done():
            self._opened_waiter = None      # an open connection needs it no more
            waiter.set_result((self._transport, listener))
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

    cdef int _refuse(self, object error, bint is_told=False) except -1:
        """The opening handshake has failed; its response, if any, has been sent."""
        cdef bint was_sent_in_parts = self._handshake.response_begun
        if error is None:
            response = self._handshake.response
            self._debug(
                "the upgrade request was answered without an upgrade: %s",
                f"{response.status} {response.reason}")
            self._opening_failed(WSHandshakeError(
                "the upgrade request was answered without an upgrade"))
        elif isinstance(error, WSHandshakeError) and not self._handshake.factory_failed:
            log = self._logger.debug if is_told else self._logger.info
            log(
                "%s: %s: %s", self._peer(),
                "the response was cut off" if was_sent_in_parts else _what_failed(self), error,
                extra=self._log_fields())
        elif isinstance(error, WSHandshakeError) and error.__traceback__ is None:
            # Nothing was raised: the task was too slow, or was cancelled.
            self._logger.error(
                "%s: %s: %s", self._peer(), _what_failed(self), error,
                extra=self._log_fields())
        else:
            self._logger.error(
                "%s: the listener factory failed" if self._handshake.factory_failed
                else "%s: the opening handshake failed because of an error in picows",
                self._peer(), exc_info=error, extra=self._log_fields())
            drop_tracebacks(error)
        self._set_cause_of_failure(error)
        if error is not None:
            self._opening_failed(error)
        self._advance(HANDSHAKE_FAILED)
        self._count_refusal(self._handshake.response)
        self._handshake = None
        if self._is_client:
            self._transport_below.close()   # which waits for the queue: the request, for one
            return self._watch(self._options.close_timeout)
        self._linger()
        # A TLS transport does not count what it has encrypted.
        if was_sent_in_parts and (self._secure or self._queue_below() > 0):
            self._watch(self._options.stall_timeout)
        return 0

    cdef int _count_refusal(self, object response) except -1:
        """By the status of the response, or None. The request alone decides what is counted."""
        cdef OpeningHandshake handshake = self._handshake
        if self._is_client:
            return 0
        if self._record is not None:
            record_outcome(self._record, handshake.request, response)
        if response is None:
            return self._totals.count_closed(WSDisconnectKind.HANDSHAKE_FAILURE)
        return self._totals.count_response(response.status, _was_opening_handshake(self))

    # The ways in which it ends otherwise

    cdef bint _handshake_eof(self) except -1:
        """The peer sends no more."""
        if self._handshake.response_begun and not self._secure:
            return True
        deferred = self._handshake.deferred
        self._stop_waiting()
        self._handshake.feed_eof()
        self._hold(self._handshake.take_to_send())
        # Whoever decides was told that the client has left, which is no failure.
        self._refuse(self._handshake.error, isinstance(deferred, DeferredResponse))
        return False

    cdef int _handshake_time_is_up(self) except -1:
        if not self._is_certain(&self._looks, 1, HEARD_FOR_VERDICT):
            return self._watch(SECOND_LOOK)
        if self._handshake.response_begun:
            if self._queue_below() == 0:    # this side is slow, not its peer
                return self._watch_anew(self._options.stall_timeout)
            error = WSHandshakeTimeout(
                f"the peer did not read the response {self._within('stall_timeout')}")
            self._logger.info("%s: %s", self._peer(), error, extra=self._log_fields())
            count_slow_consumer(<void*> self._totals)
            return self._abort_response(WSDisconnectKind.SLOW_CONSUMER, error)
        self._stop_waiting()
        self._handshake.feed_timeout()
        self._hold(self._handshake.take_to_send())
        return self._refuse(self._handshake.error)

    cdef object _handshake_lost(self, object exc):
        """The transport has ended, with ``exc`` or None. Returns the error."""
        self._stop_waiting()
        if exc is None and not self._handshake.done:
            self._handshake.feed_eof()
        error = self._handshake.error
        if error is None:
            error = WSHandshakeError(
                "the connection was lost during the opening handshake"
                + (f": {exc}" if exc is not None else ""))
            error.__cause__ = exc
        self._set_cause_of_failure(error)
        return error

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

    # Hooks

    cdef int _watch_peer(self) except -1:
        raise NotImplementedError

    cdef int _received_behind_request(self, bytes data) except -1:
        raise NotImplementedError
