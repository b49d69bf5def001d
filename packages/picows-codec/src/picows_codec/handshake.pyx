# cython: auto_pickle=False
"""Opening handshake of both sides, without I/O (RFC 6455, 4).

A handshake is fed with what the peer sends until it is ``done``; what it wants to be written is
in ``to_send``. Then either ``accepted`` is set, with the listener, the request, the response and
the subprotocol, or ``error`` says what the peer or the caller's factory did wrong. A server's
route may also turn a request down with a response of its own: neither ``accepted`` nor ``error``.

The peer's head is kept as one bytes object; few headers decide about the upgrade, they are
picked out while the head arrives, and the others become objects only if somebody asks.
"""

from binascii import b2a_base64
from http import HTTPStatus
from os import urandom

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport (
    PyByteArray_AS_STRING,
    PyByteArray_FromStringAndSize,
    PyByteArray_GET_SIZE,
    PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy, memset

from picows_codec.headers cimport (
    WS_FIELD_ACCEPT,
    WS_FIELD_CONNECTION,
    WS_FIELD_CONTENT_LENGTH,
    WS_FIELD_EXTENSIONS,
    WS_FIELD_HOST,
    WS_FIELD_KEY,
    WS_FIELD_LOCATION,
    WS_FIELD_PROTOCOL,
    WS_FIELD_UPGRADE,
    WS_FIELD_VERSION,
    WS_HEAD_BAD_BYTE,
    WS_HEAD_BAD_REQUEST_LINE,
    WS_HEAD_END,
    WS_HEAD_LINE_TOO_LONG,
    WS_HEAD_MORE,
    ws_accept_for_key,
    ws_chunked_feed,
    ws_decode_header,
    ws_encode_field,
    ws_equals_ignore_case,
    ws_field,
    ws_head_http_status,
    ws_head_limits,
    ws_head_status_text,
    ws_header_pairs,
    ws_headers_of,
    ws_is_host,
    ws_is_key,
    ws_is_target,
    ws_is_token,
    ws_list_next,
    ws_next_field,
    ws_parse_content_length,
    ws_parse_request_line,
    ws_request_line,
    ws_span,
    ws_upgrade_head,
    ws_upgrade_head_feed,
)

from multidict import CIMultiDict, CIMultiDictProxy

from picows_codec.errors import (
    WSHandshakeTimeout,
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
    WSStateError,
)
from picows_codec.socket_address import unpack_address

__all__ = [
    "ClientHandshake",
    "OpeningHandshake",
    "ServerHandshake",
    "WSUpgradeRequest",
    "WSUpgradeResponse",
    "WSUpgradeResponseWithListener",
]

cdef enum:
    MAX_BODY_SIZE = 65536       # bytes of an answer other than 101 that a client keeps
    MAX_REPR_PATH = 80          # characters
    MAX_REFUSED_VALUE = 100     # characters or bytes of a refused value in an error's text
    MAX_PASSED_OVER = 8         # empty lines before a request, interim responses before a 101

cdef tuple _SECRET_FIELDS = (b"authorization", b"proxy-authorization", b"cookie", b"set-cookie")
cdef dict _REASONS = {int(status): status.phrase for status in HTTPStatus}
cdef str _HTTP_1_1 = "HTTP/1.1"
cdef WSOptions _DEFAULTS = WSOptions()
cdef bytes _ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: "
)


# Small helpers over bytes

cdef inline const uint8_t* _start(bytes data) noexcept:
    return <const uint8_t*>PyBytes_AS_STRING(data)


cdef inline str _text(bytes data, ws_span span):
    return ws_decode_header(_start(data) + span.start, span.size)


cdef bytes _checked(
    object value, str where, bint (*check)(const uint8_t*, Py_ssize_t) noexcept nogil, str wanted
):
    """The ASCII bytes of a caller's text that passes the check."""
    if not isinstance(value, str):
        raise TypeError(f"{where} must be str, not {type(value).__name__}")
    cdef bytes data = (<str>value).encode("ascii", "replace")
    # "?" stands for what is not ASCII; a target may have it, so it is looked for apart.
    if not (<str>value).isascii() or not check(_start(data), PyBytes_GET_SIZE(data)):
        raise WSInvalidOptionError(f"{where}={value!r} is not valid: {wanted}")
    return data


cdef str _bounded(object value):
    """A value of the peer for the text of an error: escaped, and not too long."""
    if len(value) > MAX_REFUSED_VALUE:
        return f"{value[:MAX_REFUSED_VALUE]!r}..."
    return repr(value)


cdef tuple _body_header(object headers):
    """Which header announces a body, and its value."""
    for value in headers.getall("Transfer-Encoding", ()):
        return "Transfer-Encoding", value
    for value in headers.getall("Content-Length", ()):
        if not value or value.strip("0"):
            return "Content-Length", value
    return "Content-Length", ""


cdef bint _is_token_text(str text):
    cdef bytes data = text.encode("utf-8", "surrogateescape")
    return ws_is_token(_start(data), PyBytes_GET_SIZE(data))


cdef bytes _checked_subprotocol(object value):
    return _checked(
        value, "subprotocol", ws_is_token, "a token is wanted (RFC 6455, 4.1, 10)")


# Request and response

@cython.final
@cython.no_gc   # holds bytes and strings: never part of a cycle
cdef class WSUpgradeRequest:
    """The request that opens a connection (RFC 6455, 4.1), as it was sent or received.

    Read-only. Only the bytes of the head are kept until ``headers`` is used.

    ``remote_address`` and ``local_address`` are those of the connection's sockets, known before
    the listener factory is called: ``(host, port)``, four items for IPv6, a path for Unix sockets
    (``""`` for one without a name, bytes in Linux's abstract namespace), None where the transport
    cannot tell. Behind a proxy they are those of the connection with the proxy.
    """

    def __cinit__(self):
        self.raw_header = b""

    def __init__(self):
        raise TypeError("requests are made by the opening handshake")

    @property
    def remote_address(self):
        """The address of the peer's socket, see above."""
        return unpack_address(self._remote_address)

    @property
    def local_address(self):
        """The address of this side's socket."""
        return unpack_address(self._local_address)

    @property
    def method(self):
        """``"GET"`` of an upgrade; another request may have any method."""
        return self.raw_header[:self._method_size].decode("ascii")

    @property
    def path(self):
        """Path and query as they were sent, ``"/a?b=1"``, not percent-decoded.

        An absolute URI in the request line is given without its scheme and authority.
        """
        cdef bytes path = self.raw_header[self._path_start:self._path_start + self._path_size]
        if not path or path[0] == c'?':
            path = b"/" + path
        return path.decode("ascii")

    @property
    def version(self):
        """``"HTTP/1.1"`` of an upgrade; another request may also have ``"HTTP/1.0"``."""
        return f"HTTP/{self._version // 10}.{self._version % 10}"

    @property
    def headers(self):
        """All headers, a read-only case-insensitive multidict of str.

        Values are decoded as UTF-8; what is not UTF-8 is kept by ``surrogateescape``.
        """
        # Any thread may ask, several at once; all get the same.
        with cython.critical_section(self):
            headers = self._headers
        if headers is not None:
            return headers
        headers = CIMultiDictProxy(ws_headers_of(self.raw_header))
        with cython.critical_section(self):
            if self._headers is None:
                self._headers = headers
            return self._headers

    @property
    def subprotocols(self):
        """The subprotocols that the client offers, in its order of preference; a new list."""
        return _offered_subprotocols(self.raw_header)

    def __repr__(self):
        # Neither headers nor the query: both carry credentials.
        path = self.path.partition("?")[0]
        if len(path) > MAX_REPR_PATH:
            path = path[:MAX_REPR_PATH] + "..."
        return f"<WSUpgradeRequest {self.method} {path}>"


cdef WSUpgradeRequest _new_request(bytes raw_header, const ws_request_line* line):
    cdef WSUpgradeRequest request = WSUpgradeRequest.__new__(WSUpgradeRequest)
    request.raw_header = raw_header
    request._method_size = <uint32_t>line.method.size
    request._path_start = <uint32_t>line.path.start
    request._path_size = <uint32_t>line.path.size
    request._version = <uint32_t>line.version
    return request


cdef list _offered_subprotocols(bytes raw_header):
    cdef const uint8_t* head = _start(raw_header)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(raw_header)
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t list_position
    cdef ws_field field
    cdef ws_span element
    cdef list offered = []
    while ws_next_field(head, size, &position, &field):
        if not ws_equals_ignore_case(
            head + field.name.start, field.name.size, "sec-websocket-protocol"
        ):
            continue
        list_position = 0
        while ws_list_next(
            head + field.value.start, field.value.size, &list_position, &element
        ):
            element.start += field.value.start
            offered.append(_text(raw_header, element))
    return offered


@cython.final
cdef class WSUpgradeResponse:
    """The answer to an opening handshake: received, sent, or made by a route.

    A route makes one with a ``create_...`` method. It may be kept and returned many times, from
    one thread at a time. Headers that decide about the upgrade or the length of the message
    (Upgrade, Connection, Sec-WebSocket-..., Content-Length, Transfer-Encoding) are added by the
    library when the response is sent, and cannot be passed.
    """

    def __init__(self):
        raise TypeError("use one of the WSUpgradeResponse.create_... methods")

    @staticmethod
    def create_101_response(extra_headers=None, subprotocol=None):
        """Accept the upgrade, with headers of your own or a subprotocol.

        ``subprotocol`` must be one of ``request.subprotocols``. Return the response inside a
        :class:`WSUpgradeResponseWithListener`.
        """
        cdef WSUpgradeResponse response = _new_response(101, None, extra_headers)
        if subprotocol is not None:
            _checked_subprotocol(subprotocol)
            response.subprotocol = subprotocol
        return response

    @staticmethod
    def create_ok_response(body=None, extra_headers=None):
        """Answer 200 instead of an upgrade: a health check, for instance.

        ``body`` is bytes-like, or str (sent as UTF-8). Its type is ``text/plain; charset=utf-8``
        unless ``extra_headers`` has a Content-Type.
        """
        return _new_response(200, body, extra_headers)

    @staticmethod
    def create_error_response(status, body=None, extra_headers=None):
        """Refuse the request with a status from 400 to 599; for ``body`` see the 200 response."""
        return _new_response(
            _checked_status(status, range(400, 600), "400 to 599"), body, extra_headers)

    @staticmethod
    def create_redirect_response(status, location, extra_headers=None):
        """Send the client elsewhere: 301, 302, 303, 307 or 308, and a URL (ASCII)."""
        cdef WSUpgradeResponse response = _new_response(
            _checked_status(status, (301, 302, 303, 307, 308), "301, 302, 303, 307 or 308"),
            None, extra_headers)
        if "Location" in response._headers:
            raise WSInvalidOptionError("extra_headers: header 'Location' is set by location")
        _checked(location, "location", _is_uri, "a URL without spaces, in ASCII, is wanted")
        response._headers["Location"] = location
        return response

    @property
    def headers(self):
        """Headers, a case-insensitive multidict of str.

        Of a response that was received or accepted an upgrade: all of them, and changing them
        changes nothing. Of a response made by a route: those that it passes.
        """
        # As for a request.
        with cython.critical_section(self):
            headers = self._headers
        if headers is not None:
            return headers
        headers = ws_headers_of(self.raw_header or b"")
        with cython.critical_section(self):
            if self._headers is None:
                self._headers = headers
            return self._headers

    def to_bytes(self):
        """The response as it is on the wire.

        Raises :exc:`WSInvalidOptionError` if ``headers`` were changed to something that cannot
        be sent, and :exc:`WSStateError` for a 101 response that answers no request yet.
        """
        cdef bytes head
        if self.raw_header is not None:
            return self.raw_header + (self.body or b"")
        head = _response_head(self)
        return head + self.body if self.body else head

    def __repr__(self):
        return f"<WSUpgradeResponse {self.status} {self.reason}>"


cdef bytes _response_head(WSUpgradeResponse self):
    """The head of a response that a route made, with what the library adds to it."""
    cdef list parts
    if self.status == 101:
        raise WSStateError("a 101 response is completed by the request that it answers")
    body = self.body or b""
    parts = [b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason.encode("ascii"))]
    for name, value in self._headers.items():
        parts.append(ws_encode_field(name, value, "headers"))
    if body and "Content-Type" not in self._headers:
        parts.append(b"Content-Type: text/plain; charset=utf-8\r\n")
    parts.append(b"Content-Length: %d\r\n" % len(body))
    if self.status == 426:
        # RFC 9110, 15.5.22: Upgrade must say which protocol is required, and 7.8: Connection
        # must list it then. RFC 6455, 4.4: the version that is understood.
        parts.append(
            b"Upgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"Connection: Upgrade, close\r\n\r\n")
    else:
        parts.append(b"Connection: close\r\n\r\n")
    return b"".join(parts)


cdef bint _is_uri(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t position
    for position in range(size):
        if not 0x20 < data[position] < 0x7F:
            return False
    return size > 0


cdef int _checked_status(object status, object allowed, str wanted) except -1:
    if not isinstance(status, int):
        raise TypeError(f"status must be int, not {type(status).__name__}")
    if status not in allowed:
        raise WSInvalidOptionError(f"status={status!r} is out of range: {wanted} is wanted")
    return status


cdef WSUpgradeResponse _new_response(int status, object body, object extra_headers):
    cdef WSUpgradeResponse response = WSUpgradeResponse.__new__(WSUpgradeResponse)
    response.status = status
    response.reason = _REASONS.get(status, "")
    response.version = _HTTP_1_1
    response._headers = CIMultiDict()
    for name, value in ws_header_pairs(extra_headers, "extra_headers"):
        ws_encode_field(name, value, "extra_headers")
        response._headers.add(name, value)
    if isinstance(body, str):
        response.body = (<str>body).encode("utf-8")
    elif body is not None:
        try:
            response.body = bytes(memoryview(body))
        except TypeError:
            raise TypeError(
                f"body must be bytes-like, str or None, not {type(body).__name__}") from None
    return response


cdef WSUpgradeResponse _wire_response(
    bytes raw_header, int status, str reason, str version, str subprotocol
):
    cdef WSUpgradeResponse response = WSUpgradeResponse.__new__(WSUpgradeResponse)
    response.raw_header = raw_header
    response.status = status
    response.reason = reason
    response.version = version
    response.subprotocol = subprotocol
    return response


@cython.final
cdef class WSUpgradeResponseWithListener:
    """What a route returns to accept an upgrade with a response of its own.

    ``response`` is a 101 response and ``listener`` the connection's; for a response that refuses
    the upgrade the listener is None.
    """

    def __init__(self, WSUpgradeResponse response not None, listener):
        if (response.status == 101) != (listener is not None):
            raise WSInvalidOptionError(
                f"a 101 response needs a listener, any other response None; "
                f"status={response.status} came with listener={listener!r}")
        self.response = response
        self.listener = listener

    def __repr__(self):
        return f"<WSUpgradeResponseWithListener {self.response!r}>"


# The handshake

cdef class OpeningHandshake:
    """What both sides share: the peer's head arrives in pieces, under limits.

    ``done``: nothing more is wanted from the peer. ``accepted``: the connection is open, and
    ``request``, ``response``, ``listener`` and ``subprotocol`` (str or None) are set. ``error``:
    why it is not, see the module; ``factory_failed``: it comes from the caller's factory, which
    raised it or returned what is of no use. ``to_send``: bytes that must be written now.
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
            self.request._remote_address = remote
            self.request._local_address = local
        return 0

    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef ws_head_limits limits
        cdef Py_ssize_t before = 0
        cdef Py_ssize_t length
        cdef const uint8_t* head = data
        cdef int status
        if self.done or size == 0:
            return 0
        limits.max_line_size = self._options.max_handshake_line_size
        limits.max_fields = self._options.max_handshake_headers
        limits.max_size = self._options.max_handshake_size
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
        self._refusal = ws_head_status_text(status).decode("ascii")
        text = self._refusal + self._bad_line(status)
        # RFC 8446, 5.1: a TLS record of type alert or handshake.
        if self._raw_header.startswith((b"\x15", b"\x16")):    # head may be gone with _pieces
            text = "TLS came where plain HTTP was expected: one side uses wss://, the other ws://"
        self._refuse(WSInvalidMessageError(
            text, self._raw_header,
            status=ws_head_http_status(&self._head.scan, status)))
        return size

    def feed_data(self, data):
        """Take the next bytes of the peer (bytes-like); return how many are the handshake's.

        If it is accepted, the rest are frames. Once done nothing is taken.
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
        whose = "request" if self._is_server else "response"
        arrived = bytes(self._pieces or b"")
        where = "within" if arrived else "before"
        self._refuse(WSInvalidMessageError(
            f"the connection was closed {where} the {whose} of the opening handshake", arrived))

    cpdef feed_timeout(self):
        """Time is up (``websocket_handshake_timeout``). Sets ``done`` and ``error``."""
        if self.done:
            return
        self._refuse(WSHandshakeTimeout(
            f"the opening handshake did not finish within websocket_handshake_timeout "
            f"({self._options.websocket_handshake_timeout} seconds)",
            bytes(self._pieces or b"")))

    cpdef fail(self, object exception):
        """The handshake fails because of the caller's factory: ``exception`` becomes ``error``.

        Also takes back an acceptance, for a caller that finds the listener unusable before
        ``to_send`` is written. A server answers 500.
        """
        self.accepted = False
        self.listener = None
        self.subprotocol = None
        self.to_send = b""
        self.factory_failed = True
        self._end(exception)

    cpdef bytes take_to_send(self):
        """Return ``to_send`` and empty it."""
        cdef bytes data = self.to_send
        self.to_send = b""
        return data

    cdef int _on_head(self) except -1:
        """The peer's head is complete, in _raw_header and _head."""
        raise NotImplementedError

    cdef object _header_error(self, object error_type, int known, str name, str wanted):
        cdef str text = f"invalid {name.lower()} header: {name} {wanted}"
        cdef str value = None
        cdef Py_ssize_t count = self._head.fields[known].count
        if count > 0:
            value = _text(self._raw_header, self._head.fields[known].value)
            text += f"; it is {_bounded(value)}"
            if count > 1:
                text += f", and there are {count}"
        else:
            text += "; it is missing"
        self._refusal = f"header {name} {wanted}"
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
            # Up to the byte that is wrong: what more there is depends on how it arrived.
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
        return f": {_bounded(line)}" if line else ""

    cdef int _refuse(self, object error) except -1:
        """The peer broke a rule."""
        raise NotImplementedError

    cdef int _end(self, object error) except -1:
        self.error = error
        self.done = True
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
        elif not self.done:
            state = "unfinished"
        else:
            state = "refused"
        return f"<{type(self).__name__} {state}>"


@cython.final
cdef class ClientHandshake(OpeningHandshake):
    """The client's half (RFC 6455, 4.1).

    ``target``: path and query of the URL, percent-encoded. ``host_header``: value of the Host
    header; a Host in ``extra_headers`` replaces it. ``listener_factory``: called as
    ``factory(request, response)`` when the server has accepted, see
    :func:`picows_codec.listener_factory.bind_listener_factory`; what it raises becomes ``error``.
    ``extra_headers``: mapping or pairs. ``subprotocols``: names to offer, best first.

    A bad argument raises :exc:`WSInvalidOptionError` or :exc:`TypeError`; nothing that is passed
    can add a line to the request.
    """

    def __init__(
        self,
        str target not None,
        str host_header not None,
        listener_factory,
        *,
        extra_headers=None,
        subprotocols=(),
        WSOptions options not None,
    ):
        cdef ws_request_line line
        cdef bytes request_line, host, name_bytes, raw_header
        cdef list extra = []
        cdef list offered = []
        cdef bint has_host = False
        if not callable(listener_factory):
            raise TypeError(
                f"listener_factory must be callable, not {type(listener_factory).__name__}")
        request_line = b"GET %b HTTP/1.1" % _checked(
            target, "target", ws_is_target,
            "a percent-encoded path that begins with '/' is wanted (RFC 6455, 3)")
        host = _checked(
            host_header, "host_header", ws_is_host,
            "a host name or address with an optional port is wanted (RFC 9110, 7.2)")
        for name, value in ws_header_pairs(extra_headers, "extra_headers"):
            field = ws_encode_field(name, value, "extra_headers")
            if name.lower() != "host":
                extra.append(field)
                continue
            if has_host:
                raise WSInvalidOptionError("extra_headers: header 'Host' is passed twice")
            has_host = True
            host = _checked(
                value, "extra_headers: Host", ws_is_host,
                "a host name or address with an optional port is wanted (RFC 9110, 7.2)")
        if isinstance(subprotocols, (str, bytes)):
            raise TypeError(
                f"subprotocols must be a sequence of str, not {type(subprotocols).__name__}")
        for name in subprotocols:
            name_bytes = _checked_subprotocol(name)
            if name_bytes in offered:
                raise WSInvalidOptionError(
                    f"subprotocols: {name!r} is passed twice (RFC 6455, 4.1, 10)")
            offered.append(name_bytes)
        if offered:
            extra.append(b"Sec-WebSocket-Protocol: %b\r\n" % b", ".join(offered))

        self._options = options
        self._factory = listener_factory
        self._subprotocols = tuple(offered)
        # RFC 6455, 4.1, 7: 16 random bytes for each connection
        self._key = b2a_base64(urandom(16), newline=False)
        raw_header = (
            b"%b\r\n"
            b"Host: %b\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %b\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"%b\r\n"
        ) % (request_line, host, self._key, b"".join(extra))
        ws_parse_request_line(_start(request_line), PyBytes_GET_SIZE(request_line), &line)
        self.request = _new_request(raw_header, &line)
        self.to_send = raw_header

    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t taken = 0
        cdef uint8_t before
        while self.response is None:
            before = self._passed_over
            taken += OpeningHandshake.feed(self, data + taken, size - taken)
            if self._passed_over == before:
                break       # else that was an interim response, and the next one may be there
        if self.done or self.response is None:
            return taken
        self._feed_body(data + taken, size - taken)
        return size

    cpdef feed_eof(self):
        if not self.done and self.response is not None:
            self._finish_body()
        else:
            OpeningHandshake.feed_eof(self)

    cpdef feed_timeout(self):
        # The status is known and says more than that the body is slow.
        if not self.done and self.response is not None:
            self._finish_body()
        else:
            OpeningHandshake.feed_timeout(self)

    cdef int _on_head(self) except -1:
        cdef int status = self._head.status_line.status
        cdef int version = self._head.status_line.version
        if version // 10 != 1:
            return self._refuse(WSInvalidMessageError(
                f"the server answers in HTTP/{version // 10}.{version % 10}, "
                f"HTTP/1.1 is wanted (RFC 6455, 4.2.2)", self._raw_header))
        if status < 200 and status != 101:
            # RFC 9110, 15.2: interim responses may come before any final one, asked for or not.
            if self._passed_over == MAX_PASSED_OVER:
                return self._refuse(WSInvalidMessageError(
                    f"more than {MAX_PASSED_OVER} interim responses, the last one {status},"
                    " and no final one (RFC 9110, 15.2)", self._raw_header))
            self._passed_over += 1
            self._raw_header = None
            memset(&self._head, 0, sizeof(ws_upgrade_head))
            return 0
        self.response = _wire_response(
            self._raw_header, status, _text(self._raw_header, self._head.status_line.reason),
            _HTTP_1_1 if version == 11 else f"HTTP/1.{version % 10}", None)
        if status != 101:
            return self._expect_body()
        error = self._check_response()
        if error is not None:
            return self._refuse(error)
        if self._head.fields[WS_FIELD_PROTOCOL].count > 0:
            self.response.subprotocol = _text(
                self._raw_header, self._head.fields[WS_FIELD_PROTOCOL].value)
        # Before the factory runs: whatever it does, the peer's bytes are not looked at again.
        self.done = True
        try:
            listener = self._factory(self.request, self.response)
        except BaseException as exc:
            self.fail(exc)
            if not isinstance(exc, Exception):
                raise
            return 0
        return self._accept(listener, self.response.subprotocol)

    cdef object _check_response(self):
        """The rules at the end of RFC 6455, 4.1; the first broken one as an exception, or None."""
        cdef const ws_upgrade_head* head = &self._head
        cdef bytes raw = self._raw_header
        cdef ws_span value

        if head.status_line.version != 11:
            return WSInvalidMessageError(
                f"the server accepts in {self.response.version}, "
                f"HTTP/1.1 is wanted (RFC 6455, 4.2.2, 5)", raw)

        value = head.fields[WS_FIELD_UPGRADE].value
        if head.fields[WS_FIELD_UPGRADE].count != 1 or not ws_equals_ignore_case(
            _start(raw) + value.start, value.size, "websocket"
        ):
            return self._header_error(
                WSInvalidUpgradeError, WS_FIELD_UPGRADE, "Upgrade",
                "must be websocket, once (RFC 6455, 4.1, 2)")
        if not head.connection_upgrade:
            return self._header_error(
                WSInvalidUpgradeError, WS_FIELD_CONNECTION, "Connection",
                "must list upgrade (RFC 6455, 4.1, 3)")

        value = head.fields[WS_FIELD_ACCEPT].value
        if (
            head.fields[WS_FIELD_ACCEPT].count != 1
            or raw[value.start:value.start + value.size] != ws_accept_for_key(self._key)
        ):
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_ACCEPT, "Sec-WebSocket-Accept",
                "must be there once and match the key (RFC 6455, 4.1, 4)")

        if head.fields[WS_FIELD_EXTENSIONS].count > 0:
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_EXTENSIONS, "Sec-WebSocket-Extensions",
                "must not name an extension that was not offered (RFC 6455, 4.1, 5)")
        value = head.fields[WS_FIELD_PROTOCOL].value
        if head.fields[WS_FIELD_PROTOCOL].count > 1 or (
            head.fields[WS_FIELD_PROTOCOL].count == 1
            and raw[value.start:value.start + value.size] not in self._subprotocols
        ):
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_PROTOCOL, "Sec-WebSocket-Protocol",
                "must be one subprotocol that was offered (RFC 6455, 4.1, 6)")
        return None

    cdef int _refuse(self, object error) except -1:
        error.response = self.response
        error.status = None if self.response is None else self.response.status
        self.to_send = b""
        return self._end(error)

    cdef int _expect_body(self) except -1:
        cdef const ws_upgrade_head* head = &self._head
        cdef int status = self.response.status
        cdef ws_span value = head.fields[WS_FIELD_CONTENT_LENGTH].value
        self._body = bytearray()
        self._body_left = MAX_BODY_SIZE
        if status == 204 or status == 304:
            self._body_left = 0     # RFC 9112, 6.3: none of these has a body
        elif not head.chunked and head.fields[WS_FIELD_CONTENT_LENGTH].count == 1:
            length = ws_parse_content_length(_start(self._raw_header) + value.start, value.size)
            if length >= 0:
                self._body_left = min(length, MAX_BODY_SIZE)
        # else until the connection is closed (RFC 9112, 6.3)
        return 0

    cdef int _feed_body(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t before = PyByteArray_GET_SIZE(self._body)
        cdef uint8_t* end
        cdef bint redirect = (
            300 <= self.response.status <= 399
            and self._head.fields[WS_FIELD_LOCATION].count > 0)
        size = min(size, self._body_left)
        self._body_left -= size
        PyByteArray_Resize(self._body, before + size)
        end = <uint8_t*>PyByteArray_AS_STRING(self._body) + before
        if self._head.chunked:
            size = ws_chunked_feed(&self._chunked, end, data, size)
            PyByteArray_Resize(self._body, before + size)
        else:
            memcpy(end, data, size)
        # Whoever follows a redirect does not need to wait for its body.
        if self._body_left == 0 or self._chunked.done or self._chunked.broken or redirect:
            self._finish_body()
        return 0

    cdef int _finish_body(self) except -1:
        cdef WSUpgradeResponse response = self.response
        response.body = bytes(self._body)
        self._body = None
        return self._refuse(WSInvalidStatusError(
            f"the server answered with status {response.status} {_bounded(response.reason)}"
            " instead of status 101",
            self._raw_header, response.body))


@cython.final
cdef class ServerHandshake(OpeningHandshake):
    """The server's half (RFC 6455, 4.2).

    ``route(request)`` is called for every well-formed request without a body, whatever its method,
    in HTTP/1.0 and 1.1, before it is known whether it asks for an upgrade: a route can answer plain
    HTTP, such as a load balancer's health check. It returns

    - a listener: the upgrade is accepted, if the request is one;
    - a :class:`WSUpgradeResponseWithListener`: the same, with headers or a subprotocol;
    - a :class:`WSUpgradeResponse`: sent as it is, and the connection is closed;
    - None: 404.

    What it raises becomes ``error`` and is answered with 500. See
    :func:`picows_codec.listener_factory.bind_route`. Answers hold no byte of the request.
    """

    def __init__(self, route, *, WSOptions options not None):
        if not callable(route):
            raise TypeError(f"route must be callable, not {type(route).__name__}")
        self._is_server = True
        self._options = options
        self._factory = route

    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t skipped = 0
        if self.done or size == 0 or self._head.scan.line_count > 0:
            return OpeningHandshake.feed(self, data, size)
        # RFC 9112, 2.2: "should ignore at least one empty line (CRLF) received prior to the
        # request-line".
        if (
            self._pieces is not None and data[0] == c'\n' and self._pieces == b"\r"
            and self._passed_over < MAX_PASSED_OVER
        ):
            self._pieces = None
            self._passed_over += 1
            skipped = 1
        while (
            self._pieces is None and size - skipped >= 2
            and data[skipped] == c'\r' and data[skipped + 1] == c'\n'
            and self._passed_over < MAX_PASSED_OVER
        ):
            self._passed_over += 1
            skipped += 2
        return skipped + OpeningHandshake.feed(self, data + skipped, size - skipped)

    cdef int _on_head(self) except -1:
        self.request = _new_request(self._raw_header, &self._head.request_line)
        self.request._remote_address = self._remote_address
        self.request._local_address = self._local_address
        error = self._check_request()
        if error is not None:
            return self._refuse(error)
        # Before the route runs: whatever it does, the peer's bytes are not looked at again.
        self.done = True
        try:
            result = self._factory(self.request)
        except BaseException as exc:
            self.fail(exc)
            if not isinstance(exc, Exception):
                raise
            return 0
        try:
            self._on_result(result)
        except BaseException as exc:
            self.fail(exc)
            # What the checks of a result raise; anything else is no fault of the route.
            self.factory_failed = isinstance(exc, (TypeError, WSInvalidOptionError))
            if not isinstance(exc, Exception):
                raise
        return 0

    cdef object _check_request(self):
        """What must hold for any request, before the route sees it: an exception, or None."""
        cdef const ws_upgrade_head* head = &self._head
        cdef bytes raw = self._raw_header
        cdef ws_span host = head.fields[WS_FIELD_HOST].value
        if head.request_line.version != 11 and head.request_line.version != 10:
            return self._unfit(505, "HTTP/1.1 is wanted", self.request.version)
        if raw.startswith(b"CONNECT "):
            # RFC 9110, 9.3.6: this is no proxy, and a 200 would promise a tunnel.
            return self._unfit(405, "GET is wanted", "CONNECT")
        # Content would be taken for frames.
        if head.has_content:
            name, value = _body_header(self.request.headers)
            self._refusal = f"a request without a body is wanted, and it has {name}"
            return WSInvalidMessageError(f"{self._refusal}: {_bounded(value)}", raw)
        # RFC 9112, 3.2: 400 for a request that lacks Host, repeats it or has an invalid one; one in
        # HTTP/1.0 may lack it.
        if head.fields[WS_FIELD_HOST].count == 0 and head.request_line.version == 10:
            return None
        if head.fields[WS_FIELD_HOST].count != 1 or not ws_is_host(
            _start(raw) + host.start, host.size
        ):
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_HOST, "Host",
                "must be there once and valid (RFC 9112, 3.2)")
        return None

    cdef object _unfit(self, int status, str wanted, str found):
        self._refusal = f"{wanted} (RFC 6455, 4.2.1, 1)"
        return WSInvalidMessageError(
            f"{self._refusal}, not {_bounded(found)}", self._raw_header, status=status)

    cdef object _check_upgrade(self):
        """What must hold for an upgrade (RFC 6455, 4.2.1, 3 to 8): an exception, or None."""
        cdef const ws_upgrade_head* head = &self._head
        cdef bytes raw = self._raw_header
        cdef ws_span value
        # RFC 6455, 4.2.1, 1: "an HTTP/1.1 or higher GET request"; HTTP/2 has no such upgrade
        if not raw.startswith(b"GET "):
            return self._unfit(405, "GET is wanted", self.request.method)
        if head.request_line.version != 11:
            return self._unfit(505, "HTTP/1.1 is wanted", self.request.version)
        if not head.upgrade_websocket:
            return self._header_error(
                WSInvalidUpgradeError, WS_FIELD_UPGRADE, "Upgrade",
                "must list websocket (RFC 6455, 4.2.1, 3)")
        if not head.connection_upgrade:
            return self._header_error(
                WSInvalidUpgradeError, WS_FIELD_CONNECTION, "Connection",
                "must list upgrade (RFC 6455, 4.2.1, 4)")
        value = head.fields[WS_FIELD_KEY].value
        if head.fields[WS_FIELD_KEY].count != 1 or not ws_is_key(
            _start(raw) + value.start, value.size
        ):
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_KEY, "Sec-WebSocket-Key",
                "must be there once and be the base64 of 16 bytes (RFC 6455, 4.2.1, 5)")
        if head.fields[WS_FIELD_VERSION].count != 1:
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_VERSION, "Sec-WebSocket-Version",
                "must be there once (RFC 6455, 4.2.1, 6)")
        value = head.fields[WS_FIELD_VERSION].value
        if raw[value.start:value.start + value.size] != b"13":
            error = self._header_error(
                WSInvalidHeaderError, WS_FIELD_VERSION, "Sec-WebSocket-Version",
                "must be 13 (RFC 6455, 4.2.2, 4)")
            error.status = 426
            return error
        if head.fields[WS_FIELD_PROTOCOL].count > 0:
            offered = self.request.subprotocols
            if not offered or not all([_is_token_text(name) for name in offered]):
                return self._header_error(
                    WSInvalidHeaderError, WS_FIELD_PROTOCOL, "Sec-WebSocket-Protocol",
                    "must be a list of tokens (RFC 6455, 4.1, 10)")
        return None

    cdef int _on_result(self, object result) except -1:
        cdef WSUpgradeResponse response = None
        cdef ws_span key
        cdef bytes accepted
        cdef str subprotocol = None
        cdef list parts
        if result is None:
            return self._answer(
                WSUpgradeResponse.create_error_response(404, b"Not Found\n"), None)
        if isinstance(result, WSUpgradeResponseWithListener):
            response = (<WSUpgradeResponseWithListener>result).response
            result = (<WSUpgradeResponseWithListener>result).listener
        elif isinstance(result, WSUpgradeResponse):
            response = <WSUpgradeResponse>result
            result = None
            if response.status == 101:
                raise TypeError(
                    "a 101 response needs a listener: "
                    "return WSUpgradeResponseWithListener(response, listener)")
        if result is None:
            return self._answer(response, None)

        error = self._check_upgrade()
        if error is not None:
            return self._refuse(error)
        key = self._head.fields[WS_FIELD_KEY].value
        accepted = _ACCEPTED + ws_accept_for_key(
            self._raw_header[key.start:key.start + key.size])
        if response is None:
            accepted += b"\r\n\r\n"
        else:
            parts = [accepted, b"\r\n"]
            subprotocol = response.subprotocol
            if subprotocol is not None:
                if subprotocol not in self.request.subprotocols:
                    raise WSInvalidOptionError(
                        f"subprotocol={subprotocol!r} was not offered by the client: "
                        f"choose one of request.subprotocols or None")
                parts.append(b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode("ascii"))
            for name, value in response.headers.items():
                parts.append(ws_encode_field(name, value, "headers"))
            parts.append(b"\r\n")
            accepted = b"".join(parts)
        self.response = _wire_response(
            accepted, 101, "Switching Protocols", _HTTP_1_1, subprotocol)
        self.to_send = accepted
        return self._accept(result, subprotocol)

    cdef int _answer(self, WSUpgradeResponse response, object error) except -1:
        # RFC 9110, 9.3.2: the response to HEAD is that to GET without its content.
        if (self._raw_header or getattr(error, "raw_header", None) or b"").startswith(b"HEAD "):
            self.to_send = _response_head(response)
        else:
            self.to_send = response.to_bytes()
        self.response = response
        return self._end(error)

    cdef int _refuse(self, object error) except -1:
        if not error.raw_header:
            # Nothing was asked, so there is nothing to answer.
            return self._end(error)
        return self._answer(
            WSUpgradeResponse.create_error_response(
                error.status,
                f"{self._refusal or error}\n",
                # RFC 9110, 15.5.6: 405 must say what is allowed
                {"Allow": "GET"} if error.status == 405 else None),
            error)

    cpdef fail(self, object exception):
        OpeningHandshake.fail(self, exception)
        self._answer(
            WSUpgradeResponse.create_error_response(500, b"Internal Server Error\n"), exception)
