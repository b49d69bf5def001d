# cython: auto_pickle=False
"""The server's half of the opening handshake (RFC 6455, 4.2)."""

cimport cython
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from picows_codec.http.fields cimport ws_encode_field
from picows_codec.http.grammar cimport ws_is_token, ws_span, ws_start_of
from picows_codec.http.handshake cimport ws_bounded
from picows_codec.http.head cimport ws_version_text
from picows_codec.http.key cimport ws_accept_for_key, ws_is_key
from picows_codec.http.target cimport ws_is_host
from picows_codec.http.upgrade cimport (
    WSUpgradeResponseWithListener,
    ws_new_request,
    ws_response_head,
    ws_set_request_server,
    ws_wire_response,
)
from picows_codec.http.upgrade_head cimport (
    WS_FIELD_CONNECTION,
    WS_FIELD_EXTENSIONS,
    WS_FIELD_HOST,
    WS_FIELD_KEY,
    WS_FIELD_PROTOCOL,
    WS_FIELD_UPGRADE,
    WS_FIELD_VERSION,
    ws_upgrade_head,
)
from picows_codec.options cimport WSOptions

from picows_codec.deferred_response import DeferredResponse, SentResponse
from picows_codec.errors import (
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidUpgradeError,
)

__all__ = ["ServerHandshake"]

cdef bytes _ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: "
)


cdef tuple _body_header(object headers):
    """The header that announces a body, and its value."""
    for value in headers.getall("Transfer-Encoding", ()):
        return "Transfer-Encoding", value
    for value in headers.getall("Content-Length", ()):
        if not value or value.strip("0"):
            return "Content-Length", value
    return "Content-Length", ""


cdef bint _is_awaitable(object result):
    return (
        result is not None and not isinstance(result, WSUpgradeResponse)
        and hasattr(type(result), "__await__"))


cdef bint _is_token_text(str text):
    cdef bytes data = text.encode("utf-8", "surrogateescape")
    return ws_is_token(ws_start_of(data), PyBytes_GET_SIZE(data))


@cython.final
cdef class ServerHandshake(OpeningHandshake):
    """The server's half (RFC 6455, 4.2).

    ``route(request)`` is called for every well-formed request without a body, whatever its method,
    in HTTP/1.0 and 1.1, before it is known whether it asks for an upgrade. So a route can serve
    plain HTTP, such as a load balancer's health check. It returns

    - a listener: the upgrade is accepted, if the request is one;
    - a :class:`WSUpgradeResponseWithListener`: the same, with headers or a subprotocol;
    - a :class:`WSUpgradeResponse`: it is sent as it is, and the connection is closed;
    - None: the response is 404;
    - an awaitable, such as a coroutine: the handshake is ``deferred`` until its result, one of the
      above, is passed to ``resolve``, or its exception to ``fail``;
    - a :class:`picows_codec.deferred_response.DeferredResponse`: the same without a task; most are
      for upgrades only, and any other request is refused.

    ``subprotocols``: those that the server speaks, best first. The first that the client offers is
    chosen if the route accepts and does not choose itself; without a common one the response is
    400. By default none is chosen.

    ``server``: a weak reference (:class:`weakref.ref`) to what ``request.server`` gives, or None.

    ``date``: called for each response but 101, it returns the value of Date (RFC 9110, 6.6.1) as
    bytes, or None. A route's own Date is sent instead.

    An exception of the route becomes ``error``, and the response is 500. See
    :func:`picows_codec.listener_factory.bind_route`. No response holds a byte of the request.
    """

    def __init__(self, route, WSOptions options not None, subprotocols=(), server=None, date=None):
        if not callable(route):
            raise TypeError(f"route must be callable, not {type(route).__name__}")
        self._subprotocols = tuple(subprotocols)
        self._server = server
        self._date = date
        self._begin(True, route, options)

    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t skipped = 0
        if self.done or size == 0 or self._head.scan.line_count > 0:
            return OpeningHandshake.feed(self, data, size)
        # RFC 9112, 2.2: "should ignore at least one empty line (CRLF) received prior to the
        # request-line".
        if (
            self._pieces is not None and data[0] == c'\n' and self._pieces == b"\r"
            and self._pass_over()
        ):
            skipped = 1
        while (
            self._pieces is None and size - skipped >= 2
            and data[skipped] == c'\r' and data[skipped + 1] == c'\n'
            and self._pass_over()
        ):
            skipped += 2
        return skipped + OpeningHandshake.feed(self, data + skipped, size - skipped)

    cdef int _on_head(self) except -1:
        self._set_request(ws_new_request(self._raw_header, &self._head.request_line))
        ws_set_request_server(self.request, self._server)
        error = self._check_request()
        if error is not None:
            return self._refuse(error)
        return self._conclude()

    cdef object _ask_factory(self):
        return self._factory(self.request)

    cdef int _on_result(self, object result) except -1:
        if isinstance(result, DeferredResponse):
            if result.is_for_upgrades:
                error = self._check_upgrade()
                if error is None:
                    error = self._check_extensions()
                if error is not None:
                    return self._refuse(error)
            return self._defer(result)
        if self._may_be_deferred() and _is_awaitable(result):
            return self._defer(result)
        try:
            self._use_result(result)
        except BaseException as exc:
            self.fail(exc)
            # The checks of a result raise these; no other error is the route's fault.
            self._set_factory_failed(isinstance(exc, (TypeError, WSInvalidOptionError)))
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
            # RFC 9110, 9.3.6: this is no proxy, and a 200 would promise a tunnel. Not 405, whose
            # Allow would speak of a target that is not here.
            self._set_refusal("CONNECT is not implemented (RFC 9110, 9.3.6)")
            return WSInvalidMessageError(self._refusal, raw, status=501)
        # Content would be taken for frames.
        if head.has_content:
            name, value = _body_header(self.request.headers)
            self._set_refusal(f"a request without a body is wanted, and it has {name}")
            return WSInvalidMessageError(f"{self._refusal}: {ws_bounded(value)}", raw)
        # RFC 9112, 3.2: 400 for a request that lacks Host, repeats it or has an invalid one; one in
        # HTTP/1.0 may lack it.
        if head.fields[WS_FIELD_HOST].count == 0 and head.request_line.version == 10:
            return None
        if head.fields[WS_FIELD_HOST].count != 1 or not ws_is_host(
            ws_start_of(raw) + host.start, host.size
        ):
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_HOST, "Host",
                "must be there once and valid (RFC 9112, 3.2)")
        return None

    cdef object _unfit(self, int status, str wanted, str found):
        self._set_refusal(f"{wanted} (RFC 6455, 4.2.1, 1)")
        return WSInvalidMessageError(
            f"{self._refusal}, not {ws_bounded(found)}", self._raw_header, status=status)

    cdef object _check_upgrade(self):
        """What must hold for an upgrade (RFC 6455, 4.2.1, 3 to 8): an exception, or None."""
        cdef const ws_upgrade_head* head = &self._head
        cdef bytes raw = self._raw_header
        cdef ws_span value
        # RFC 6455, 4.2.1, 1: "an HTTP/1.1 or higher GET request"; HTTP/2 has no such upgrade
        if not raw.startswith(b"GET "):
            return self._unfit(405, "GET is wanted", self.request.method)
        # Before the version, so that a health check in HTTP/1.0 is told the same as one in 1.1.
        if not head.upgrade_websocket:
            return self._header_error(
                WSInvalidUpgradeError, WS_FIELD_UPGRADE, "Upgrade",
                "must list websocket (RFC 6455, 4.2.1, 3)")
        if head.request_line.version != 11:
            return self._unfit(505, "HTTP/1.1 is wanted", self.request.version)
        if not head.connection_upgrade:
            return self._header_error(
                WSInvalidUpgradeError, WS_FIELD_CONNECTION, "Connection",
                "must list upgrade (RFC 6455, 4.2.1, 4)")
        # Before the key, so that a client of another version learns which one is spoken here.
        if head.fields[WS_FIELD_VERSION].count != 1:
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_VERSION, "Sec-WebSocket-Version",
                "must be there once (RFC 6455, 4.2.1, 6)")
        if self._value_of(WS_FIELD_VERSION) != b"13":
            error = self._header_error(
                WSInvalidHeaderError, WS_FIELD_VERSION, "Sec-WebSocket-Version",
                "must be 13 (RFC 6455, 4.2.2, 4)")
            error.status = 426
            return error
        value = head.fields[WS_FIELD_KEY].value
        if head.fields[WS_FIELD_KEY].count != 1 or not ws_is_key(
            ws_start_of(raw) + value.start, value.size
        ):
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_KEY, "Sec-WebSocket-Key",
                "must be there once and be the base64 of 16 bytes (RFC 6455, 4.2.1, 5)")
        if head.fields[WS_FIELD_PROTOCOL].count > 0:
            offered = self.request.subprotocols
            if not offered or not all([_is_token_text(name) for name in offered]):
                return self._header_error(
                    WSInvalidHeaderError, WS_FIELD_PROTOCOL, "Sec-WebSocket-Protocol",
                    "must be a list of tokens (RFC 6455, 4.1, 10)")
        return None

    cdef object _check_extensions(self):
        """Whether an offer of extensions, if one is used, is well-formed: an exception, or None."""
        if self._options.compression is None or not self._head.fields[WS_FIELD_EXTENSIONS].count:
            return None
        from picows_codec.deflate.negotiation import parse_extensions

        try:
            for value in self._values_of(WS_FIELD_EXTENSIONS, "Sec-WebSocket-Extensions"):
                parse_extensions(value)
        except ValueError:
            return self._extensions_error()
        return None

    cdef object _extensions_error(self):
        # RFC 6455, 9.1: a header that breaks the grammar fails the connection.
        return self._header_error(
            WSInvalidHeaderError, WS_FIELD_EXTENSIONS, "Sec-WebSocket-Extensions",
            "must be a list of extensions (RFC 6455, 9.1)")

    cdef str _common_subprotocol(self):
        cdef list offered = self.request.subprotocols
        for name in self._subprotocols:
            if name in offered:
                return name
        return None

    cdef int _use_result(self, object result) except -1:
        cdef WSUpgradeResponse response = None
        cdef bytes accepted
        cdef str subprotocol = None
        cdef list parts
        if result is None:
            return self._respond(
                WSUpgradeResponse.create_error_response(404, b"Not Found\n"), None)
        if isinstance(result, SentResponse):
            self._set_response(ws_wire_response(
                b"", result.status, result.reason, ws_version_text(11), None))
            return self._end(None)
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
            if response is None:
                raise TypeError("the route returned a WSUpgradeResponseWithListener that is empty")
            return self._respond(response, None)

        error = self._check_upgrade()
        if error is not None:
            self._set_unused(result)
            return self._refuse(error)
        if response is not None:
            subprotocol = response.subprotocol
            if subprotocol is not None and subprotocol not in self.request.subprotocols:
                raise WSInvalidOptionError(
                    f"subprotocol={subprotocol!r} was not offered by the client: "
                    f"choose one of request.subprotocols or None")
        if subprotocol is None and self._subprotocols:
            subprotocol = self._common_subprotocol()
            if subprotocol is None:
                return self._refuse(self._header_error(
                    WSInvalidHeaderError, WS_FIELD_PROTOCOL, "Sec-WebSocket-Protocol",
                    "must have one of this server's subprotocols, "
                    + ", ".join(self._subprotocols)))
        accepted = _ACCEPTED + ws_accept_for_key(self._value_of(WS_FIELD_KEY))
        if self._options.compression is not None and self._head.fields[WS_FIELD_EXTENSIONS].count:
            from picows_codec.deflate.negotiation import accept_offers

            try:
                agreed = accept_offers(
                    self._values_of(WS_FIELD_EXTENSIONS, "Sec-WebSocket-Extensions"),
                    self._options.compression)
            except ValueError:
                return self._refuse(self._extensions_error())
            if agreed is not None:
                accepted += b"\r\nSec-WebSocket-Extensions: " + agreed[0].encode("ascii")
                self._set_compression(agreed[1])
        if response is None and subprotocol is None:
            accepted += b"\r\n\r\n"
        else:
            parts = [accepted, b"\r\n"]
            if subprotocol is not None:
                parts.append(b"Sec-WebSocket-Protocol: %b\r\n" % subprotocol.encode("ascii"))
            if response is not None:
                for name, value in response.headers.items():
                    parts.append(ws_encode_field(name, value, "headers"))
            parts.append(b"\r\n")
            accepted = b"".join(parts)
        self._set_response(ws_wire_response(
            accepted, 101, "Switching Protocols", ws_version_text(11), subprotocol))
        self._set_to_send(accepted)
        return self._accept(result, subprotocol)

    cdef int _respond(self, WSUpgradeResponse response, object error) except -1:
        cdef bytes data = response.raw_header
        if data is None:    # else it comes from another server, and is passed on as it is
            data = ws_response_head(
                response, -1, None if self._date is None else self._date())
        # RFC 9110, 9.3.2: the response to HEAD is that to GET without its content.
        if response.body and not (
            self._raw_header or getattr(error, "raw_header", None) or b""
        ).startswith(b"HEAD "):
            data += response.body
        self._set_to_send(data)
        self._set_response(response)
        return self._end(error)

    cdef int _refuse(self, object error) except -1:
        if not error.raw_header:
            # Without a request there is no response.
            return self._end(error)
        return self._respond(
            WSUpgradeResponse.create_error_response(
                error.status,
                f"{self._refusal or error}\n",
                # RFC 9110, 15.5.6: 405 must say what is allowed
                {"Allow": "GET"} if error.status == 405 else None),
            error)

    cpdef fail(self, object exception):
        OpeningHandshake.fail(self, exception)
        self._respond(
            WSUpgradeResponse.create_error_response(500, b"Internal Server Error\n"), exception)
