# cython: binding=False, embedsignature=True, embedsignature.format=clinic
"""WSTransport: what a user calls to send, to end a connection, and to know about it.

The methods are CPython's own kind, for the reason given in ``frames``.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.long cimport PyLong_AsLongAndOverflow, PyLong_Check
from cpython.memoryview cimport PyMemoryView_FromObject
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t

from picows_codec.close cimport encode_close_payload
from picows_codec.connection.sender cimport Sender
from picows_codec.constants cimport (
    WS_MAX_HEADER_SIZE,
    WS_OP_BINARY,
    WS_OP_CLOSE,
    WS_OP_PING,
    WS_OP_PONG,
    WS_OP_TEXT,
)
from picows_codec.exports cimport PICOWS_FREE_THREADED, picows_count_export
from picows_codec.frames cimport WSMessage

from picows_codec.errors import WSInvalidFrameError, WSInvalidOptionError, WSStateError
from picows_codec.socket_address import format_address
from picows_codec.transport_coroutines import collect_roundtrips, wait_for

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_Check(object value)
    bint PyBuffer_IsContiguous(Py_buffer* view, char order)
    bint PyMemoryView_Check(object value)
    Py_buffer* PyMemoryView_GET_BUFFER(object view)
    PyObject* PyMemoryView_GET_BASE(object view)


cdef enum:
    MAX_REPR_TARGET = 200       # characters


cdef int _opcode_number(object opcode) except -1:
    cdef int overflow
    cdef long number
    if not PyLong_Check(opcode):
        raise TypeError(
            f"opcode must be a WSMsgType, not {type(opcode).__name__}: {opcode!r}; write"
            " send(WSMsgType.TEXT, message)")
    number = PyLong_AsLongAndOverflow(opcode, &overflow)
    if not 0 <= number <= 15:
        raise WSInvalidFrameError(
            f"opcode must be CONTINUATION, TEXT, BINARY, CLOSE, PING or PONG, not {opcode!r}")
    return <int> number


cdef inline object _bytes_of(WSMessage message):
    """The bytes object that holds the payload, or None. The owner may also be a read buffer;
    without the GIL the receiver may set it while this thread looks."""
    if PICOWS_FREE_THREADED:
        with cython.critical_section(message):
            return message._owner if PyBytes_CheckExact(message._owner) else None
    return message._owner if PyBytes_CheckExact(message._owner) else None


cdef object _bytes_below(object message):
    """The bytes object of which a buffer is the whole content, or None."""
    cdef object base
    if not PyMemoryView_Check(message) or PyMemoryView_GET_BASE(message) == NULL:
        return None
    base = <object> PyMemoryView_GET_BASE(message)
    if isinstance(base, WSMessage):
        base = _bytes_of(<WSMessage> base)
    if PyBytes_CheckExact(base) and PyBytes_GET_SIZE(base) == message.nbytes:
        return base
    return None


cdef int _send_message(
        Sender connection, int opcode, WSMessage message, bint fin, int rsv) except -1:
    """Send a received message. The payload is held meanwhile, because writing releases the GIL, and
    the thread that received the message would receive its next bytes over the payload."""
    picows_count_export(message, &message._exports, 1)
    try:
        return connection.send_frame(
            opcode, fin, rsv, message.payload_ptr, message.payload_size, _bytes_of(message))
    finally:
        picows_count_export(message, &message._exports, -1)


cdef int _send_object(Sender connection, int opcode, object message, bint fin, int rsv) except -1:
    cdef Py_buffer view
    cdef const char* text
    cdef Py_ssize_t size
    if PyBytes_CheckExact(message):
        return connection.send_frame(
            opcode, fin, rsv, <const uint8_t*> PyBytes_AS_STRING(message),
            PyBytes_GET_SIZE(message), message)
    if isinstance(message, WSMessage):
        return _send_message(connection, opcode, <WSMessage> message, fin, rsv)
    if message is None:
        return connection.send_frame(opcode, fin, rsv, <const uint8_t*> b"", 0, None)
    if PyUnicode_Check(message):
        if opcode == WS_OP_BINARY:
            raise TypeError(
                "a BINARY message cannot be a str: encode it to bytes, or send it as TEXT")
        text = PyUnicode_AsUTF8AndSize(message, &size)
        return connection.send_frame(opcode, fin, rsv, <const uint8_t*> text, size, message)
    if not PyObject_CheckBuffer(message):
        raise TypeError(
            "message must be bytes, bytearray, memoryview, another contiguous buffer, str or"
            f" None, not {type(message).__name__}"
            + (": use send_prepared()" if isinstance(message, _Sendable) else ""))
    PyObject_GetBuffer(message, &view, PyBUF_SIMPLE)
    try:
        return connection.send_frame(
            opcode, fin, rsv, <const uint8_t*> view.buf, view.len, _bytes_below(message))
    finally:
        PyBuffer_Release(&view)


cdef int _send_message_of(object connection, int opcode, object message) except -1:
    return _send_object(<Sender> connection, opcode, message, True, 0)


cdef object _hold(int opcode, object payload, Py_ssize_t index):
    """The same payload, as an object that keeps it where and as it is: bytes, str or memoryview."""
    cdef Py_ssize_t size
    if payload is None:
        return b""
    if PyUnicode_Check(payload):
        if opcode == WS_OP_BINARY:
            raise TypeError(
                f"payloads[{index}] is a str, which a BINARY message cannot be: encode it to bytes,"
                " or send TEXT")
        PyUnicode_AsUTF8AndSize(payload, &size)     # raises for what has no UTF-8, and keeps it
        return payload
    if not PyObject_CheckBuffer(payload):
        raise TypeError(
            f"payloads[{index}] must be bytes, bytearray, memoryview, another contiguous buffer,"
            f" str or None, not {type(payload).__name__}"
            + (": use send_prepared()" if isinstance(payload, _Sendable) else ""))
    view = PyMemoryView_FromObject(payload)
    if not PyBuffer_IsContiguous(PyMemoryView_GET_BUFFER(view), b"C"):
        raise BufferError(f"payloads[{index}] is not contiguous")
    return view


cdef tuple _held(int opcode, object payloads):
    """All payloads, none of which can change any more while others of them are sent."""
    cdef tuple given
    cdef list held = None
    cdef Py_ssize_t i
    if not isinstance(payloads, (list, tuple)):
        if PyUnicode_Check(payloads) or PyObject_CheckBuffer(payloads):
            raise TypeError(
                f"payloads must be an iterable of payloads, not {type(payloads).__name__}:"
                " use send() for one message")
        if not hasattr(payloads, "__iter__") and not hasattr(payloads, "__getitem__"):
            raise TypeError(
                f"payloads must be an iterable of payloads, not {type(payloads).__name__}")
    given = tuple(payloads)
    for i in range(len(given)):
        if not PyBytes_CheckExact(given[i]):
            if held is None:
                held = list(given)
            held[i] = _hold(opcode, given[i], i)
    return given if held is None else tuple(held)


# The connection of a transport that the library did not make: it has ended.
cdef Sender _NO_CONNECTION = Sender.__new__(Sender)


cdef class _Sendable:
    cdef int _send_on(self, object connection) except -1:
        raise NotImplementedError


cdef class Cork:
    """The context manager of :meth:`WSTransport.cork`."""

    cdef Sender _connection
    cdef int _depth

    def __cinit__(self):
        self._connection = _NO_CONNECTION

    def __enter__(self):
        self._connection.cork()
        self._depth += 1

    def __exit__(self, exc_type, exc, traceback):
        self._connection.check_thread()
        if not self._depth:
            raise WSStateError("this cork was not entered: use it in a with statement")
        self._depth -= 1
        self._connection.uncork()


cdef class WSTransport:
    """One WebSocket connection, as the listener and the rest of the program use it.

    Made by ``ws_connect`` and ``ws_create_server``. All methods must be called on the thread of
    the connection's event loop; from another thread they raise :class:`WSThreadError` and do
    nothing (use ``loop.call_soon_threadsafe``). Properties may be read on any thread, except
    ``underlying_transport`` and ``write_queue_size``, which raise it too.

    Frames leave in the order in which they are sent. What the operating system does not take at
    once is queued: a large payload that cannot change (bytes, str, a received frame) by reference
    if it is not masked, anything else as a copy. So a buffer may be changed as soon as a call
    returns. ``pause_writing`` and the option ``max_write_queue_size`` bound the queue.

    A finalizer, a signal handler or a logging handler that runs during a write cannot send on the
    same connection: that raises :class:`WSStateError`. ``disconnect`` then waits for the write.
    """

    def __cinit__(self):
        self._connection = _NO_CONNECTION

    def __init__(self):
        raise TypeError("transports are made by ws_connect and ws_create_server")

    # Sending

    cpdef send(
            self, object opcode, object message, bint fin=True, bint rsv1=False, bint rsv2=False,
            bint rsv3=False):
        """Send one frame (RFC 6455, 5.2).

        :param opcode: a :class:`WSMsgType`.
        :param message: the payload: bytes, bytearray, memoryview or any other object with a
            contiguous buffer, a :class:`WSFrame` or :class:`WSMessage`, None for an empty payload,
            or a str, which is sent as UTF-8 and is taken for every opcode but BINARY. The bytes of
            a text message must be UTF-8, across its fragments; they are not checked again here.
        :param fin: False for a fragment that another CONTINUATION frame follows (5.4).
        :param rsv1: with rsv2 and rsv3 the reserved bits; a peer with which no extension was
            agreed on fails the connection when one is set.
        :raises WSInvalidFrameError: a reserved opcode, a control frame that is fragmented or has
            more than 125 bytes, a frame that does not fit the fragmented message under way.
        :raises WSInvalidCloseError: a CLOSE frame with a code or reason that may not be sent.
        :raises WSStateError: the connection is not open, or is being closed.
        :raises TypeError: another type of message.
        :raises BufferError: a buffer that is not contiguous.
        :raises UnicodeEncodeError: a str with surrogates.
        """
        cdef int number = _opcode_number(opcode)
        cdef int rsv = 0
        if rsv1 or rsv2 or rsv3:
            rsv = (4 if rsv1 else 0) | (2 if rsv2 else 0) | (1 if rsv3 else 0)
        _send_object(<Sender> self._connection, number, message, fin, rsv)

    cpdef send_reuse_external_bytearray(
            self, object opcode, bytearray buffer, Py_ssize_t offset, bint fin=True,
            bint rsv1=False, bint rsv2=False, bint rsv3=False):
        """Send ``buffer[offset:]`` as one frame, writing the header into the bytes before it.

        Saves the copy that :meth:`send` makes. ``offset`` must be at least 14 (bytes); up to 14
        bytes before it are overwritten, and on a client the payload is left masked. Raises what
        :meth:`send` raises, and IndexError for an offset outside the buffer.
        """
        cdef int number = _opcode_number(opcode)
        if buffer is None:
            raise TypeError("buffer must be a bytearray, not None")
        if not WS_MAX_HEADER_SIZE <= offset <= PyByteArray_GET_SIZE(buffer):
            raise IndexError(
                f"offset must be {WS_MAX_HEADER_SIZE} (room for the header) to"
                f" {PyByteArray_GET_SIZE(buffer)} (the buffer's size), not {offset}")
        (<Sender> self._connection).send_in_place(
            number, fin, (4 if rsv1 else 0) | (2 if rsv2 else 0) | (1 if rsv3 else 0),
            <uint8_t*> PyByteArray_AS_STRING(buffer) + offset,
            PyByteArray_GET_SIZE(buffer) - offset)

    cpdef send_many(self, object opcode, object payloads):
        """Send many messages, one frame each: cheaper than a loop of :meth:`send` inside a cork.

        They leave in one write if they fit. All payloads are looked at first: if one of them cannot
        be sent, nothing is. ``write_queue_size`` and ``max_write_queue_size`` count each message.

        :param opcode: ``WSMsgType.TEXT`` or ``WSMsgType.BINARY``, for all of them.
        :param payloads: a list, a tuple or another iterable of what :meth:`send` takes as message.
        :raises WSInvalidFrameError: another opcode, or a fragmented message is under way.
        :raises WSStateError: the connection is not open, or is being closed.
        :raises TypeError: ``payloads`` is a payload itself, or one of them has another type.
        :raises BufferError: a buffer that is not contiguous.
        :raises UnicodeEncodeError: a str with surrogates.
        """
        cdef int number = _opcode_number(opcode)
        if number != WS_OP_TEXT and number != WS_OP_BINARY:
            raise WSInvalidFrameError(f"send_many sends TEXT and BINARY messages, not {opcode!r}")
        (<Sender> self._connection).send_all(number, _held(number, payloads))

    cpdef send_prepared(self, object message):
        """Send a :class:`WSPreparedMessage`. Raises what :meth:`send` raises.

        On a server nothing is copied: bytes that the operating system does not take at once are
        queued by reference, unless they are tiny. A client masks a copy for each connection, as it
        must. Where permessage-deflate was negotiated, a variant that was compressed once is sent
        (RFC 7692).
        """
        if not isinstance(message, _Sendable):
            raise TypeError(
                f"message must be a WSPreparedMessage, not {type(message).__name__}: use send()")
        (<_Sendable> message)._send_on(self._connection)

    cdef int send_bytes(
            self, int opcode, const void* payload, Py_ssize_t size, bint fin=True,
            int rsv=0) except -1:
        return (<Sender> self._connection).send_frame(
            opcode, fin, rsv, <const uint8_t*> payload, size, None)

    cdef int send_reuse_external_buffer(
            self, int opcode, void* payload, Py_ssize_t size, bint fin=True, int rsv=0) except -1:
        return (<Sender> self._connection).send_in_place(opcode, fin, rsv, <uint8_t*> payload, size)

    cpdef send_ping(self, object message=None):
        """Send a PING frame; ``message``: up to 125 bytes (RFC 6455, 5.5.2)."""
        _send_object(<Sender> self._connection, WS_OP_PING, message, True, 0)

    cpdef send_pong(self, object message=None):
        """Send a PONG frame; ``message``: up to 125 bytes (RFC 6455, 5.5.3)."""
        _send_object(<Sender> self._connection, WS_OP_PONG, message, True, 0)

    def ping(self, message=None):
        """The same as :meth:`send_ping`."""
        _send_object(<Sender> self._connection, WS_OP_PING, message, True, 0)

    def pong(self, message=None):
        """The same as :meth:`send_pong`."""
        _send_object(<Sender> self._connection, WS_OP_PONG, message, True, 0)

    cpdef send_close(self, object code=1000, object reason=None):
        """Send a CLOSE frame: start the closing handshake, or answer the peer's (RFC 6455, 7.1).

        Frames are delivered until the peer's CLOSE arrives or ``close_timeout`` has passed; the
        connection is then closed. A second call is ignored.

        :param code: 1000-1003, 1007-1014 or 3000-4999; None, or 1005 for what a CLOSE
            frame without a code is reported as, sends no code and no reason.
        :param reason: str or UTF-8 bytes, at most 123 bytes as UTF-8.
        :raises WSInvalidCloseError: a code or reason that may not be sent.
        :raises WSStateError: the connection is not open.
        """
        _send_object(
            <Sender> self._connection, WS_OP_CLOSE, encode_close_payload(code, reason), True, 0)

    def cork(self):
        """Return a context manager: frames sent inside leave together, in one write if they fit.

        They leave when the outermost block ends, or earlier when 128 KiB have gathered.
        """
        cdef Cork context = Cork.__new__(Cork)
        (<Sender> self._connection).check_thread()
        context._connection = <Sender> self._connection
        return context

    # Ending

    cpdef disconnect(
            self, object graceful=True, object code=1000, object reason=None):
        """End the connection; no frame is delivered from now on. Does nothing if it has ended.

        Pass ``code`` and ``reason`` by name: ``disconnect(code=1012, reason="restart")``.

        :param graceful: True sends what is queued and a CLOSE frame with ``code`` and ``reason``,
            unless one was sent, and waits at most ``close_timeout`` seconds for the peer's. False
            drops the connection at once, and with it what is queued.
        :raises WSInvalidCloseError: a code or reason that may not be sent.
        :raises TypeError: ``graceful`` is not a bool (but a close code, for example).
        """
        if not isinstance(graceful, bool):
            raise TypeError(
                f"graceful must be True or False, not {graceful!r}: pass a close code and a reason"
                " by name, disconnect(code=..., reason=...)")
        self._connection.disconnect(graceful, encode_close_payload(code, reason))

    def wait_disconnected(self):
        """Coroutine that returns when the connection has ended and the listener was told.

        It raises no error of the listener or the peer: see ``disconnect_cause``.
        """
        return wait_for(self._connection.wait_ended())

    def wait_until_closed(self):
        """The same as :meth:`wait_disconnected`."""
        return wait_for(self._connection.wait_ended())

    # Measuring

    def measure_roundtrip_time(self, Py_ssize_t rounds=1):
        """Coroutine: ping the peer ``rounds`` times, one after another.

        Returns a list of round-trip times in seconds. A listener that overrides
        ``send_user_specific_ping`` sends the pings. Raises :class:`WSConnectionError` if the
        connection ends first, and :class:`WSInvalidOptionError` for less than one round.
        """
        (<Sender> self._connection).check_thread()
        if rounds < 1:
            raise WSInvalidOptionError(f"rounds must be at least 1, not {rounds}")
        return collect_roundtrips(self._start_roundtrip, rounds)

    def _start_roundtrip(self):
        return self._connection.ping_peer()

    cpdef notify_user_specific_pong_received(self):
        """Tell the library that the answer to a ``send_user_specific_ping`` has arrived.

        For listeners that recognise it elsewhere than in ``is_user_specific_pong``.
        """
        self._connection.user_pong_received()

    def stats(self):
        """A :class:`WSConnectionStats` of what the connection has done, also after its end.

        Needs the option ``collect_stats=True``, else it raises :class:`WSStateError`. Within a
        callback, what has been received counts up to the frame or batch that it is called for; the
        bytes are those of the whole read. Raises :class:`WSThreadError` on another thread than the
        event loop's.
        """
        return self._connection.stats()

    def log_fields(self):
        """A new dict for ``extra`` of a record of the log about the connection.

        The library's own records have it, too: ``peer``, ``path`` (without the query),
        ``connection_id``, ``cause`` and ``code`` once the connection ends (a
        :class:`WSDisconnectKind` in lower case, and the close code), ``bytes_received``,
        ``bytes_sent``, and ``seconds`` since the connection began. What is not known is None.
        """
        return self._connection.log_fields()

    # State

    @property
    def connection_id(self):
        """A short str that no other connection has, for logs: ``extra`` of the library's has it.

        It is made when somebody first asks.
        """
        return self._connection.connection_id

    @property
    def state(self):
        """The connection's :class:`WSState`."""
        return self._connection.state

    @property
    def is_disconnected(self):
        """Whether the connection has ended."""
        return self._connection.state == 3

    @property
    def is_client_side(self):
        """Whether this is the client's end of the connection."""
        return self._connection.is_client_side

    @property
    def is_secure(self):
        """Whether the connection runs over TLS."""
        return self._connection.is_secure

    @property
    def is_close_frame_sent(self):
        """Whether a CLOSE frame has been sent."""
        return self._connection.is_close_frame_sent

    @property
    def underlying_transport(self):
        """The asyncio transport below; None once the connection has ended.

        :raises WSThreadError: another thread than the event loop's asks.
        """
        return self._connection.underlying_transport

    @property
    def remote_address(self):
        """The address of the peer's socket; still there after the end of the connection.

        ``(host, port)``, ``(host, port, flowinfo, scope_id)`` for IPv6, the path for a Unix socket
        (``""`` for one without a name, bytes in Linux's abstract namespace), None where the
        transport could not tell. Behind a proxy it is the proxy's, unless the server was told to
        believe that.
        """
        return self._connection.remote_address

    @property
    def local_address(self):
        """The address of this side's socket, in the form of :attr:`remote_address`."""
        return self._connection.local_address

    @property
    def request(self):
        """The :class:`WSUpgradeRequest` of the opening handshake."""
        return self._connection.request

    @property
    def response(self):
        """The :class:`WSUpgradeResponse` of the opening handshake."""
        return self._connection.response

    @property
    def subprotocol(self):
        """The subprotocol that both sides agreed on, or None (RFC 6455, 1.9)."""
        return self._connection.subprotocol

    @property
    def close_handshake(self):
        """The :class:`WSCloseHandshake` so far, or None if no CLOSE frame was seen."""
        return self._connection.close_handshake

    @property
    def disconnect_cause(self):
        """The :class:`WSDisconnectCause`, or None while the connection is open."""
        return self._connection.disconnect_cause

    @property
    def write_queue_size(self):
        """Bytes that wait for the peer to read.

        :raises WSThreadError: another thread than the event loop's asks.
        """
        return self._connection.write_queue_size

    def __repr__(self):
        side = "client" if self.is_client_side else "server"
        peer = format_address(self.remote_address)
        request = self.request
        if request is None:
            return f"<WSTransport {side} {self.state.name} peer {peer}>"
        # Neither headers nor the query: both carry credentials.
        target = request.path.partition("?")[0]
        if self.is_client_side:
            scheme = "wss" if self.is_secure else "ws"
            target = f"{scheme}://{request.headers.get('Host', '')}{target}"
        if len(target) > MAX_REPR_TARGET:
            target = target[:MAX_REPR_TARGET] + "..."
        return f"<WSTransport {side} {self.state.name} {target} peer {peer}>"

    cdef void _reserved_0(self) noexcept:
        pass

    cdef void _reserved_1(self) noexcept:
        pass

    cdef void _reserved_2(self) noexcept:
        pass

    cdef void _reserved_3(self) noexcept:
        pass


cdef WSTransport _new_transport(object connection):
    cdef WSTransport transport = <WSTransport> WSTransport.__new__(WSTransport)
    transport._connection = connection
    return transport


cdef int _set_follower(WSTransport transport, object follower) except -1:
    transport._follower = follower
    return 0
