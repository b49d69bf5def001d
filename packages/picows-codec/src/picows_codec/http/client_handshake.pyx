# cython: auto_pickle=False
"""The client's half of the opening handshake (RFC 6455, 4.1)."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_GET_SIZE
from libc.string cimport memcpy

from picows_codec.http.body cimport ws_chunked_feed, ws_parse_content_length
from picows_codec.http.fields cimport ws_encode_field, ws_encode_text, ws_header_pairs
from picows_codec.http.grammar cimport ws_equals_ignore_case, ws_span, ws_start_of
from picows_codec.http.handshake cimport WS_MAX_PASSED_OVER, ws_bounded
from picows_codec.http.head cimport (
    ws_parse_request_line,
    ws_request_line,
    ws_span_text,
    ws_version_text,
)
from picows_codec.http.key cimport ws_accept_for_key, ws_new_key
from picows_codec.http.target cimport ws_is_host, ws_is_target
from picows_codec.http.upgrade cimport (
    WSUpgradeResponse,
    ws_encode_subprotocol,
    ws_new_request,
    ws_set_response_body,
    ws_set_response_subprotocol,
    ws_wire_response,
)
from picows_codec.http.upgrade_head cimport (
    WS_FIELD_ACCEPT,
    WS_FIELD_CONNECTION,
    WS_FIELD_CONTENT_LENGTH,
    WS_FIELD_EXTENSIONS,
    WS_FIELD_LOCATION,
    WS_FIELD_PROTOCOL,
    WS_FIELD_UPGRADE,
    ws_upgrade_head,
)
from picows_codec.options cimport WSOptions

from picows_codec.errors import (
    WSInvalidHeaderError,
    WSInvalidMessageError,
    WSInvalidOptionError,
    WSInvalidStatusError,
    WSInvalidUpgradeError,
)
from picows_codec.log_text import quoted

__all__ = ["ClientHandshake"]

cdef enum:
    MAX_BODY_SIZE = 65536       # bytes kept of the body of a response other than 101
    MAX_QUOTED = 400            # bytes of it that an error makes at most 100 characters of


@cython.final
cdef class ClientHandshake(OpeningHandshake):
    """The client's half (RFC 6455, 4.1).

    ``target``: path and query of the URL, percent-encoded. ``host_header``: value of the Host
    header; a Host in ``extra_headers`` replaces it. ``listener_factory``: called as
    ``factory(request, response)`` when the server has accepted, see
    :func:`picows_codec.listener_factory.bind_listener_factory`; what it raises becomes ``error``.
    ``extra_headers``: mapping or pairs. ``subprotocols``: names to offer, best first.

    A bad argument raises :exc:`WSInvalidOptionError` or :exc:`TypeError`; no argument can add a
    line to the request. ``request`` is the :class:`WSUpgradeRequest`, from the beginning on.
    """

    def __init__(
        self,
        str target not None,
        str host_header not None,
        listener_factory,
        WSOptions options not None,
        extra_headers=None,
        subprotocols=(),
    ):
        cdef ws_request_line line
        cdef bytes request_line, host, name_bytes, raw_header
        cdef list extra = []
        cdef list offered = []
        cdef bint has_host = False
        if not callable(listener_factory):
            raise TypeError(
                f"listener_factory must be callable, not {type(listener_factory).__name__}")
        request_line = b"GET %b HTTP/1.1" % ws_encode_text(
            target, "target", ws_is_target,
            "a percent-encoded path that begins with '/' is wanted (RFC 6455, 3)")
        host = ws_encode_text(
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
            host = ws_encode_text(
                value, "extra_headers: Host", ws_is_host,
                "a host name or address with an optional port is wanted (RFC 9110, 7.2)")
        if isinstance(subprotocols, (str, bytes)):
            raise TypeError(
                f"subprotocols must be a sequence of str, not {type(subprotocols).__name__}")
        for name in subprotocols:
            name_bytes = ws_encode_subprotocol(name)
            if name_bytes in offered:
                raise WSInvalidOptionError(
                    f"subprotocols: {name!r} is passed twice (RFC 6455, 4.1, 10)")
            offered.append(name_bytes)
        if offered:
            extra.append(b"Sec-WebSocket-Protocol: %b\r\n" % b", ".join(offered))

        if options.compression is not None:
            from picows_codec.deflate.negotiation import offer_of

            extra.append(b"Sec-WebSocket-Extensions: %b\r\n"
                         % offer_of(options.compression).encode("ascii"))

        self._begin(False, listener_factory, options)
        self._subprotocols = tuple(offered)
        self._key = ws_new_key()
        raw_header = (
            b"%b\r\n"
            b"Host: %b\r\n"
            b"Upgrade: websocket\r\n"
            b"Connection: Upgrade\r\n"
            b"Sec-WebSocket-Key: %b\r\n"
            b"Sec-WebSocket-Version: 13\r\n"
            b"%b\r\n"
        ) % (request_line, host, self._key, b"".join(extra))
        ws_parse_request_line(ws_start_of(request_line), PyBytes_GET_SIZE(request_line), &line)
        self._set_request(ws_new_request(raw_header, &line))
        self._set_to_send(raw_header)

    cdef Py_ssize_t feed(self, const uint8_t* data, Py_ssize_t size) except -1:
        cdef Py_ssize_t taken = 0
        cdef uint8_t before
        while self.response is None:
            before = self._passed_over
            taken += OpeningHandshake.feed(self, data + taken, size - taken)
            if self._passed_over == before:
                break       # else it was an interim response, and the next one may have arrived
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
        # The status is known, and says more than a timeout of the body.
        if not self.done and self.response is not None:
            self._finish_body()
        else:
            OpeningHandshake.feed_timeout(self)

    cdef int _on_head(self) except -1:
        cdef int status = self._head.status_line.status
        cdef int version = self._head.status_line.version
        if version // 10 != 1:
            return self._refuse(WSInvalidMessageError(
                f"the server answers in {ws_version_text(version)}, "
                f"HTTP/1.1 is wanted (RFC 6455, 4.2.2)", self._raw_header))
        if status < 200 and status != 101:
            # RFC 9110, 15.2: interim responses may come before a final one, even unrequested.
            if not self._pass_over():
                return self._refuse(WSInvalidMessageError(
                    f"more than {WS_MAX_PASSED_OVER} interim responses, the last one {status},"
                    " and no final one (RFC 9110, 15.2)", self._raw_header))
            return 0
        self._set_response(ws_wire_response(
            self._raw_header, status,
            ws_span_text(self._raw_header, self._head.status_line.reason),
            ws_version_text(version), None))
        if status != 101:
            return self._expect_body()
        error = self._check_response()
        if error is not None:
            return self._refuse(error)
        if self._head.fields[WS_FIELD_PROTOCOL].count > 0:
            ws_set_response_subprotocol(
                self.response,
                ws_span_text(self._raw_header, self._head.fields[WS_FIELD_PROTOCOL].value))
        return self._conclude()

    cdef object _ask_factory(self):
        return self._factory(self.request, self.response)

    cdef int _on_result(self, object result) except -1:
        return self._accept(result, self.response.subprotocol)

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
            ws_start_of(raw) + value.start, value.size, "websocket"
        ):
            return self._header_error(
                WSInvalidUpgradeError, WS_FIELD_UPGRADE, "Upgrade",
                "must be websocket, once (RFC 6455, 4.1, 2)")
        if not head.connection_upgrade:
            return self._header_error(
                WSInvalidUpgradeError, WS_FIELD_CONNECTION, "Connection",
                "must list upgrade (RFC 6455, 4.1, 3)")

        if (
            head.fields[WS_FIELD_ACCEPT].count != 1
            or self._value_of(WS_FIELD_ACCEPT) != ws_accept_for_key(self._key)
        ):
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_ACCEPT, "Sec-WebSocket-Accept",
                "must be there once and match the key (RFC 6455, 4.1, 4)")

        if head.fields[WS_FIELD_EXTENSIONS].count > 0:
            if self._options.compression is None:
                return self._header_error(
                    WSInvalidHeaderError, WS_FIELD_EXTENSIONS, "Sec-WebSocket-Extensions",
                    "must not name an extension that was not offered (RFC 6455, 4.1, 5)")
            from picows_codec.deflate.negotiation import accept_answer

            try:
                self._set_compression(accept_answer(
                    self._values_of(WS_FIELD_EXTENSIONS, "Sec-WebSocket-Extensions"),
                    self._options.compression))
            except ValueError as error:
                return self._header_error(
                    WSInvalidHeaderError, WS_FIELD_EXTENSIONS, "Sec-WebSocket-Extensions",
                    str(error))
        if head.fields[WS_FIELD_PROTOCOL].count > 1 or (
            head.fields[WS_FIELD_PROTOCOL].count == 1
            and self._value_of(WS_FIELD_PROTOCOL) not in self._subprotocols
        ):
            return self._header_error(
                WSInvalidHeaderError, WS_FIELD_PROTOCOL, "Sec-WebSocket-Protocol",
                "must be one subprotocol that was offered (RFC 6455, 4.1, 6)")
        return None

    cdef int _refuse(self, object error) except -1:
        error.response = self.response
        error.status = None if self.response is None else self.response.status
        self._set_to_send(b"")
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
            length = ws_parse_content_length(
                ws_start_of(self._raw_header) + value.start, value.size)
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
        # A client that follows a redirect does not need its body.
        if self._body_left == 0 or self._chunked.done or self._chunked.broken or redirect:
            self._finish_body()
        return 0

    cdef int _finish_body(self) except -1:
        cdef WSUpgradeResponse response = self.response
        ws_set_response_body(response, bytes(self._body))
        self._body = None
        text = (
            f"the server answered with status {response.status} {ws_bounded(response.reason)}"
            " instead of status 101")
        if response.body and not 300 <= response.status < 400:  # of a redirect, a part may be here
            text += f": {quoted(response.body[:MAX_QUOTED].decode('utf-8', 'backslashreplace'))}"
        return self._refuse(WSInvalidStatusError(text, self._raw_header, response.body))
