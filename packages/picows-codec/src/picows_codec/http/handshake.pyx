# cython: auto_pickle=False
"""What both sides of the opening handshake share, without I/O (RFC 6455, 4).

A handshake is fed with what the peer sends until it is ``done``; what it wants to be written is
in ``to_send``. Then either ``accepted`` is set, with the listener, the request, the response and
the subprotocol, or ``error`` says what the peer or the caller's factory did wrong. A server's
route may also turn a request down with a response of its own: neither ``accepted`` nor ``error``.

A server's route may give its result later (a coroutine, or another awaitable). Then the handshake
is not ``done``; ``deferred`` has the awaitable. Whoever drives the handshake awaits it, and calls
``resolve`` with its result or ``fail`` with its exception. What the peer sends meanwhile is kept.

The peer's head is kept as one bytes object. The few headers that decide about the upgrade are
picked out while it arrives; the others become objects only if somebody asks for them.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_FromStringAndSize,
    PyByteArray_GET_SIZE,
    PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcpy, memset

from picows_codec.http.fields cimport ws_headers_of
from picows_codec.http.grammar cimport ws_span, ws_start_of
from picows_codec.http.head cimport (
    WS_HEAD_BAD_BYTE,
    WS_HEAD_BAD_REQUEST_LINE,
    WS_HEAD_END,
    WS_HEAD_LINE_TOO_LONG,
    WS_HEAD_MORE,
    ws_head_http_status,
    ws_head_limits,
    ws_head_status_text,
    ws_make_head_limits,
    ws_parse_status_line,
    ws_span_text,
    ws_status_line,
    ws_version_text,
)
from picows_codec.http.upgrade cimport ws_set_request_addresses, ws_wire_response
from picows_codec.http.upgrade_head cimport ws_upgrade_head_feed

from picows_codec.errors import (
    WSHandshakeError,
    WSHandshakeTimeout,
    WSInvalidMessageError,
    WSStateError,
)

__all__ = ["OpeningHandshake"]

cdef enum:
    MAX_REFUSED_VALUE = 100     # characters or bytes of a refused value in an error's text

cdef tuple _SECRET_FIELDS = (b"authorization", b"proxy-authorization", b"cookie", b"set-cookie")
cdef WSOptions _DEFAULTS = WSOptions()


cdef str ws_bounded(object value):
    if len(value) > MAX_REFUSED_VALUE:
        return f"{value[:MAX_REFUSED_VALUE]!r}..."
    return repr(value)


cdef class OpeningHandshake:
    """What both sides share: the peer's head arrives in pieces, under limits.

    ``done``: nothing more is wanted from the peer. ``accepted``: the connection is open, and
    ``request``, ``response``, ``listener`` and ``subprotocol`` (str or None) are set. ``error``:
    why it is not, see the module. ``factory_failed``: the error comes from the caller's factory,
    which raised it or returned something unusable. ``to_send``: bytes that must be written now.
    ``deferred``: the awaitable whose result ``resolve`` wants, see the module; else None.
    ``response_begun``: what is deferred sends the response itself, and has begun with it.
    ``unused``: what a route returned as the listener of a request that is refused, because it is no
    upgrade; else None.
    """

    def __cinit__(self):
        self.to_send = b""
        self._options = _DEFAULTS

    def __init__(self):
        raise TypeError("use ClientHandshake or ServerHandshake")

    cdef int set_addresses(self, object remote, object local) except -1:
        self._remote_address = remote
        self._local_address = local
        if self.request is not None:
            ws_set_request_addresses(self.request, remote, local)
        return 0

    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef ws_head_limits limits = ws_make_head_limits(
            self._options.max_handshake_line_size, self._options.max_handshake_headers,
            self._options.max_handshake_size)
        cdef Py_ssize_t before = 0
        cdef Py_ssize_t length
        cdef const uint8_t* head = data
        cdef int status
        if self.done or size == 0:
            return 0
        if self.deferred is not None:
            if self._pieces is None:
                self._pieces = bytearray()
            self._pieces += (<const char*>data)[:size]
            return size
        # An unfinished head is shorter than max_size, and nothing beyond it is kept.
        if self._pieces is not None:
            before = PyByteArray_GET_SIZE(self._pieces)
        length = before + min(size, limits.max_size - before)
        if before > 0:
            PyByteArray_Resize(self._pieces, length)
            memcpy(PyByteArray_AS_STRING(self._pieces) + before, data, length - before)
            head = <const uint8_t*>PyByteArray_AS_STRING(self._pieces)

        status = ws_upgrade_head_feed(&self._head, &limits, self._is_server, head, length)
        if status == WS_HEAD_MORE:
            if before == 0:
                self._pieces = PyByteArray_FromStringAndSize(<const char*>data, size)
            return size
        if status == WS_HEAD_END:
            length = self._head.scan.position
        self._raw_header = PyBytes_FromStringAndSize(<const char*>head, length)
        self._pieces = None
        if status == WS_HEAD_END:
            self._on_head()
            return length - before
        self._set_refusal(ws_head_status_text(status).decode("ascii"))
        text = self._refusal + self._bad_line(status)
        # RFC 8446, 5.1: a TLS record of type alert or handshake.
        if self._raw_header.startswith((b"\x15", b"\x16")):    # head may be gone with _pieces
            text = "TLS came where plain HTTP was expected: one side uses wss://, the other ws://"
        self._refuse(WSInvalidMessageError(
            text, self._raw_header,
            status=ws_head_http_status(&self._head.scan, status)))
        return size

    def feed_data(self, data):
        """Take the next bytes of the peer (bytes-like); return how many belong to the handshake.

        If it is accepted, the rest are frames. A handshake that is done takes nothing.
        """
        cdef Py_buffer buffer
        PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        try:
            return self.feed(<const uint8_t*>buffer.buf, buffer.len)
        finally:
            PyBuffer_Release(&buffer)

    cpdef feed_eof(self):
        """The peer sends no more. Sets ``done`` and ``error`` unless the handshake was done."""
        if self.done:
            return
        if self.deferred is not None:
            self._end(WSHandshakeError(
                "the peer closed the connection before "
                + ("the end of the response" if self.response_begun
                   else "the listener factory had decided")))
            return
        whose = "request" if self._is_server else "response"
        arrived = bytes(self._pieces or b"")
        where = "within" if arrived else "before"
        self._refuse(WSInvalidMessageError(
            f"the connection was closed {where} the {whose} of the opening handshake", arrived))

    cpdef feed_timeout(self):
        """Time is up (``websocket_handshake_timeout``). Sets ``done`` and ``error``."""
        if self.done:
            return
        if self.deferred is not None:
            # The server was too slow, not its peer.
            self._set_refusal("the server did not decide in time")
            self.factory_failed = True
            self._refuse(WSHandshakeTimeout(
                f"the listener factory, or process_request of serve, did not decide within"
                f" websocket_handshake_timeout={self._options.websocket_handshake_timeout} seconds",
                self._raw_header, status=503))
            return
        self._refuse(WSHandshakeTimeout(
            f"the opening handshake did not finish within websocket_handshake_timeout "
            f"({self._options.websocket_handshake_timeout} seconds)",
            bytes(self._pieces or b"")))

    cpdef fail(self, object exception):
        """The handshake fails because of the caller's factory: ``exception`` becomes ``error``.

        Also takes back an acceptance, for a caller that finds the listener unusable before
        ``to_send`` is written. A server's response is then 500.
        """
        self.accepted = False
        self.listener = None
        self.subprotocol = None
        self.compression = None
        self.to_send = b""
        self.factory_failed = True
        self._end(exception)

    cpdef resolve(self, object result):
        """Conclude a handshake that was ``deferred``, with what the route would have returned.

        Raises :exc:`WSStateError` if it is not deferred, or not any more.
        """
        if self.deferred is None:
            raise WSStateError("the opening handshake does not wait for a result")
        self.deferred = None
        self.done = True
        self._on_result(result)

    cdef int set_deferred(self, object task) except -1:
        self.deferred = task
        return 0

    cdef int begin_response(self, bytes data) except -1:
        cdef Py_ssize_t size = data.find(b"\r\n")
        cdef ws_status_line line
        if self.response_begun:
            return 0
        self.response_begun = True
        if size >= 0 and ws_parse_status_line(ws_start_of(data), size, &line) == 0:
            reason = data[line.reason.start:line.reason.start + line.reason.size]
            self.response = ws_wire_response(
                b"", line.status, reason.decode("latin-1"), ws_version_text(11), None)
        return 0

    cdef bint asks_for_upgrade(self) noexcept:
        return self._head.upgrade_websocket

    cdef bint is_full(self) noexcept:
        return (
            self.deferred is not None and self._pieces is not None
            and PyByteArray_GET_SIZE(self._pieces) >= WS_ENOUGH_HELD)

    cdef bytes take_held(self):
        cdef bytes held = bytes(self._pieces or b"")
        self._pieces = None
        return held

    cpdef bytes take_to_send(self):
        """Return ``to_send`` and empty it."""
        cdef bytes data = self.to_send
        self.to_send = b""
        return data

    # What a side does

    cdef int _on_head(self) except -1:
        raise NotImplementedError

    cdef object _ask_factory(self):
        raise NotImplementedError

    cdef int _on_result(self, object result) except -1:
        raise NotImplementedError

    cdef int _refuse(self, object error) except -1:
        raise NotImplementedError

    # What a side uses

    cdef int _begin(self, bint is_server, object factory, WSOptions options) except -1:
        self._is_server = is_server
        self._factory = factory
        self._options = options
        return 0

    cdef int _set_request(self, WSUpgradeRequest request) except -1:
        ws_set_request_addresses(request, self._remote_address, self._local_address)
        self.request = request
        return 0

    cdef int _set_compression(self, object agreement) except -1:
        self.compression = agreement
        return 0

    cdef int _set_unused(self, object listener) except -1:
        self.unused = listener
        return 0

    cdef int _set_response(self, WSUpgradeResponse response) except -1:
        self.response = response
        return 0

    cdef int _set_to_send(self, bytes data) except -1:
        self.to_send = data
        return 0

    cdef int _set_refusal(self, str text) except -1:
        self._refusal = text
        return 0

    cdef int _set_factory_failed(self, bint failed) except -1:
        self.factory_failed = failed
        return 0

    cdef bint _pass_over(self) noexcept:
        if self._passed_over == WS_MAX_PASSED_OVER:
            return False
        self._passed_over += 1
        self._pieces = None
        self._raw_header = None
        memset(&self._head, 0, sizeof(ws_upgrade_head))
        return True

    cdef bytes _value_of(self, int known):
        cdef ws_span value = self._head.fields[known].value
        return self._raw_header[value.start:value.start + value.size]

    cdef object _values_of(self, int known, str name):
        """The values of each line, without objects that request or response would keep."""
        if self._head.fields[known].count == 1:
            return (ws_span_text(self._raw_header, self._head.fields[known].value),)
        return ws_headers_of(self._raw_header).getall(name)

    cdef object _header_error(self, object error_type, int known, str name, str wanted):
        cdef str text = f"invalid {name.lower()} header: {name} {wanted}"
        cdef str value = None
        cdef Py_ssize_t count = self._head.fields[known].count
        if count > 0:
            value = ws_span_text(self._raw_header, self._head.fields[known].value)
            text += f"; it is {ws_bounded(value)}"
            if count > 1:
                text += f", and there are {count}"
        else:
            text += "; it is missing"
        self._set_refusal(f"header {name} {wanted}")
        return error_type(text, name, value, self._raw_header)

    cdef str _bad_line(self, int status):
        """The line that ended a head, for the text of an error."""
        cdef Py_ssize_t start = self._head.scan.line_start
        cdef bytes line
        if status <= WS_HEAD_BAD_REQUEST_LINE:      # found when the line was complete
            start = self._raw_header.rfind(b"\r\n", 0, max(start - 2, 0))
            line = self._raw_header[0 if start < 0 else start + 2:].partition(b"\r\n")[0]
        elif status == WS_HEAD_LINE_TOO_LONG:
            line = self._raw_header[start:start + self._options.max_handshake_line_size]
        else:
            # Up to the wrong byte, because what follows it depends on how the bytes arrived.
            line = self._raw_header[start:self._head.scan.position + 1]
            if status != WS_HEAD_BAD_BYTE:
                line = line[:self._head.scan.position - start]
        # A query may hold credentials, and some headers do.
        start = line.find(b"?")
        if start >= 0 and self._is_server and self._head.scan.line_count <= 1:
            line = line[:start] + b"?..."
        start = line.find(b":")
        if start >= 0 and line[:start].strip().lower() in _SECRET_FIELDS:
            line = line[:start] + b":..."
        return f": {ws_bounded(line)}" if line else ""

    cdef int _defer(self, object awaitable) except -1:
        self.deferred = awaitable
        self._factory = None
        self.done = False
        return 0

    cdef bint _may_be_deferred(self) noexcept:
        return self._factory is not None

    cdef int _conclude(self) except -1:
        # Done before the factory runs, so that no call from there parses the peer's bytes again.
        self.done = True
        try:
            result = self._ask_factory()
        except BaseException as exc:
            self.fail(exc)
            if not isinstance(exc, Exception):
                raise
            return 0
        return self._on_result(result)

    cdef int _end(self, object error) except -1:
        self.error = error
        self.done = True
        self.deferred = None
        self._pieces = None
        self._factory = None
        return 0

    cdef int _accept(self, object listener, str subprotocol) except -1:
        self.listener = listener
        self.subprotocol = subprotocol
        self.accepted = True
        return self._end(None)

    def __repr__(self):
        if self.accepted:
            state = "accepted"
        elif self.deferred is not None:
            state = "deferred"
        elif not self.done:
            state = "unfinished"
        else:
            state = "refused"
        return f"<{type(self).__name__} {state}>"
