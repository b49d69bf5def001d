# cython: auto_pickle=False
"""`WSUpgradeRequest`, `WSUpgradeResponse`: the opening handshake as a user sees it.

The peer's head is kept as one bytes object; its headers become objects only if somebody asks.
"""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from picows_codec.http.fields cimport (
    ws_encode_field,
    ws_encode_text,
    ws_header_pairs,
    ws_headers_of,
)
from picows_codec.http.grammar cimport (
    ws_equals_ignore_case,
    ws_is_token,
    ws_list_next,
    ws_move_span,
    ws_span,
    ws_start_of,
)
from picows_codec.http.head cimport ws_field, ws_next_field, ws_span_text, ws_version_text

from multidict import CIMultiDict, CIMultiDictProxy

from picows_codec.errors import WSInvalidOptionError, WSStateError
from picows_codec.http.reason_phrases import reason_phrase
from picows_codec.socket_address import pack_address, unpack_address

__all__ = [
    "WSUpgradeRequest",
    "WSUpgradeResponse",
    "WSUpgradeResponseWithListener",
    "encode_response_head",
    "set_remote_address",
]

cdef enum:
    MAX_REPR_PATH = 80          # characters

cdef bytes _HTTP_VERSION = b"HTTP/1.1"

# RFC 9110, 15: responses that end with their head. Only a 205 has a Content-Length, of 0.
cdef tuple _WITHOUT_BODY = (204, 205, 304)


# Request

@cython.final
@cython.no_gc   # holds bytes and strings: never part of a cycle
cdef class WSUpgradeRequest:
    """The request that opens a connection (RFC 6455, 4.1), as it was sent or received.

    Read-only. Only the bytes of the head are kept until ``headers`` is used: ``raw_header``.

    ``remote_address`` and ``local_address`` are those of the connection's sockets, known before
    the listener factory is called: ``(host, port)``, four items for IPv6, a path for Unix sockets
    (``""`` for one without a name, bytes in Linux's abstract namespace), None where the transport
    cannot tell. Behind a proxy they are those of the connection with the proxy, unless the server
    was told to believe what that says of its client.
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
    def server(self):
        """The server that got the request; None for a client's, and when the server is gone."""
        return None if self._server is None else self._server()

    @property
    def method(self):
        """``"GET"`` of an upgrade; another request may have any method."""
        return self.raw_header.partition(b" ")[0].decode("ascii")

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
        cdef Py_ssize_t start = <Py_ssize_t>self._path_start + self._path_size + 1
        return self.raw_header[start:start + len(_HTTP_VERSION)].decode("ascii")

    @property
    def headers(self):
        """All headers, a read-only case-insensitive multidict of str.

        Values are decoded as UTF-8; what is not UTF-8 is kept by ``surrogateescape``.
        """
        # Several threads may ask at once; all get the same object.
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

    def __reduce__(self):
        return _restored_request, (
            self.raw_header, self._remote_address, self._local_address, self._path_start,
            self._path_size)


def _restored_request(
    bytes raw_header not None, remote_address, local_address, path_start, path_size
):
    """What a pickle of a request calls."""
    cdef WSUpgradeRequest request = WSUpgradeRequest.__new__(WSUpgradeRequest)
    request.raw_header = raw_header
    request._remote_address = remote_address
    request._local_address = local_address
    request._path_start = path_start
    request._path_size = path_size
    return request


cdef WSUpgradeRequest ws_new_request(bytes raw_header, const ws_request_line* line):
    cdef WSUpgradeRequest request = WSUpgradeRequest.__new__(WSUpgradeRequest)
    request.raw_header = raw_header
    request._path_start = <uint32_t>line.path.start
    request._path_size = <uint32_t>line.path.size
    return request


cdef int ws_set_request_addresses(
    WSUpgradeRequest self, object remote, object local
) except -1:
    self._remote_address = remote
    self._local_address = local
    return 0


cdef int ws_set_request_server(WSUpgradeRequest self, object server) except -1:
    self._server = server
    return 0


cdef object ws_remote_address(WSUpgradeRequest self):
    return self._remote_address


def set_remote_address(WSUpgradeRequest request not None, address):
    """Let a request come from another address: that of a proxy's client.

    For routes of servers, within their call. The connection takes it over when they have returned.
    """
    request._remote_address = pack_address(address)


cdef list _offered_subprotocols(bytes raw_header):
    cdef const uint8_t* head = ws_start_of(raw_header)
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
            ws_move_span(&element, field.value.start)
            offered.append(ws_span_text(raw_header, element))
    return offered


# Response

@cython.final
cdef class WSUpgradeResponse:
    """The response to an opening handshake: received, sent, or made by a route.

    A route makes one with a ``create_...`` method. It may be kept and returned many times, from
    one thread at a time. The library adds the headers that decide about the upgrade or the length
    of the message (Upgrade, Connection, Sec-WebSocket-..., Content-Length, Transfer-Encoding) when
    it sends the response; they cannot be passed.

    ``status``, ``reason`` and ``version`` are those of the status line, ``subprotocol`` the chosen
    one or None. ``body`` is None if there is none. ``raw_header`` has the bytes of the head, as
    received or sent.
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
            ws_encode_subprotocol(subprotocol)
            response.subprotocol = subprotocol
        return response

    @staticmethod
    def create_ok_response(body=None, extra_headers=None):
        """Respond with 200 instead of an upgrade: to a health check, for instance.

        ``body`` is bytes-like, or str (sent as UTF-8). Its type is ``text/plain; charset=utf-8``
        unless ``extra_headers`` has a Content-Type.
        """
        return _new_response(200, body, extra_headers)

    @staticmethod
    def create_response(status, body=None, extra_headers=None):
        """Respond with any status from 200 to 599; for ``body`` see the 200 response.

        204, 205 and 304 have none (RFC 9110, 15.3.5, 15.3.6 and 15.4.5).
        """
        cdef WSUpgradeResponse response = _new_response(
            _checked_status(status, range(200, 600), "200 to 599"), body, extra_headers)
        if response.body and status in _WITHOUT_BODY:
            raise WSInvalidOptionError(f"a {int(status)} response has no body")
        return response

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
        ws_encode_text(location, "location", _is_uri, "a URL without spaces, in ASCII, is wanted")
        response._headers["Location"] = location
        return response

    @property
    def headers(self):
        """Headers, a case-insensitive multidict of str.

        For a response that was received or that accepted an upgrade: all headers, and changing
        them has no effect. For a response made by a route: the headers that it passes.
        """
        # Several threads may ask at once, as for a request.
        with cython.critical_section(self):
            headers = self._headers
        if headers is not None:
            return headers
        headers = ws_headers_of(self.raw_header or b"")
        with cython.critical_section(self):
            if self._headers is None:
                self._headers = headers
            return self._headers

    @property
    def cookies(self):
        """The cookies that the response sets, a new :class:`http.cookies.SimpleCookie`.

        ``response.cookies["session"].value`` is a value and ``response.cookies["session"]["path"]``
        an attribute of it: what Set-Cookie says (RFC 6265, 5.2), whether a client obeys or not.
        """
        # Not imported by those who have no cookies.
        from picows_codec.http.set_cookie import parse_set_cookies
        return parse_set_cookies(self.headers.getall("Set-Cookie", ()))

    def to_bytes(self):
        """The response as it is on the wire.

        Raises :exc:`WSInvalidOptionError` if ``headers`` were changed to something that cannot
        be sent, and :exc:`WSStateError` for a 101 response that belongs to no request yet.
        """
        cdef bytes head
        if self.raw_header is not None:
            return self.raw_header + (self.body or b"")
        head = ws_response_head(self, -1, None)
        return head + self.body if self.body else head

    def __repr__(self):
        return f"<WSUpgradeResponse {self.status} {self.reason}>"

    def __reduce__(self):
        # What was received or sent has its headers in raw_header.
        headers = None if self.raw_header is not None else list(self.headers.items())
        return _restored_response, (
            self.raw_header, self.status, self.reason, self.version, self.subprotocol, self.body,
            headers)


def _restored_response(
    bytes raw_header, int status, str reason, str version, str subprotocol, bytes body, headers
):
    """What a pickle of a response calls."""
    cdef WSUpgradeResponse response = ws_wire_response(
        raw_header, status, reason, version, subprotocol)
    response.body = body
    if headers is not None:
        response._headers = CIMultiDict(headers)
    return response


def encode_response_head(
    WSUpgradeResponse response not None, Py_ssize_t size, bytes date=None
):
    """The head of a response whose body, of ``size`` bytes, is sent apart from it.

    ``date``: the value of Date, unless the response has one. Raises what
    :meth:`WSUpgradeResponse.to_bytes` raises.
    """
    return ws_response_head(response, size, date)


cdef bytes ws_response_head(WSUpgradeResponse self, Py_ssize_t size, bytes date):
    cdef list parts
    if self.status == 101:
        raise WSStateError("a 101 response is complete only with the request that it answers")
    if size < 0:
        size = len(self.body or b"")
    parts = [b"HTTP/1.1 %d %b\r\n" % (self.status, self.reason.encode("ascii"))]
    for name, value in self._headers.items():
        parts.append(ws_encode_field(name, value, "headers"))
    if date is not None and "Date" not in self._headers:
        parts.append(b"Date: %b\r\n" % date)
    if size and "Content-Type" not in self._headers:
        parts.append(b"Content-Type: text/plain; charset=utf-8\r\n")
    # RFC 9110, 8.6: a 204 must not have one, and that of a 304 would be the 200 response's.
    if self.status not in (204, 304):
        parts.append(b"Content-Length: %d\r\n" % size)
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


cdef bytes ws_encode_subprotocol(object value):
    return ws_encode_text(
        value, "subprotocol", ws_is_token, "a token is wanted (RFC 6455, 4.1, 10)")


cdef WSUpgradeResponse _new_response(int status, object body, object extra_headers):
    cdef WSUpgradeResponse response = WSUpgradeResponse.__new__(WSUpgradeResponse)
    response.status = status
    response.reason = reason_phrase(status)
    response.version = ws_version_text(11)
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


cdef WSUpgradeResponse ws_wire_response(
    bytes raw_header, int status, str reason, str version, str subprotocol
):
    cdef WSUpgradeResponse response = WSUpgradeResponse.__new__(WSUpgradeResponse)
    response.raw_header = raw_header
    response.status = status
    response.reason = reason
    response.version = version
    response.subprotocol = subprotocol
    return response


cdef int ws_set_response_subprotocol(WSUpgradeResponse self, str subprotocol) except -1:
    self.subprotocol = subprotocol
    return 0


cdef int ws_set_response_body(WSUpgradeResponse self, bytes body) except -1:
    self.body = body
    return 0


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
