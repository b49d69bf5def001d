# cython: auto_pickle=False
"""The lines of an HTTP/1.1 head, under limits (RFC 9112, 2 to 5).

The class and the functions in the second half are the Python face of the C ones, one to one.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memcmp, memset

from picows_codec.http.grammar cimport (
    WS_CR,
    WS_LF,
    WS_SP,
    ws_is_digit,
    ws_is_line_byte,
    ws_is_tchar,
    ws_is_white,
    ws_make_span,
    ws_move_span,
    ws_start_of,
)
from picows_codec.http.target cimport ws_find_path, ws_has_target_bytes

from picows_codec.errors import WSInvalidMessageError

__all__ = ["HeadScanner", "parse_field_line", "parse_request_line", "parse_status_line"]

cdef str _HTTP_1_1 = "HTTP/1.1"


cdef int ws_head_next_line(
    ws_head_scan* self, const ws_head_limits* limits,
    const uint8_t* data, Py_ssize_t size, ws_span* line
) noexcept nogil:
    cdef Py_ssize_t end = size if size < limits.max_size else limits.max_size
    cdef Py_ssize_t position = self.position
    cdef Py_ssize_t length

    if position == self.line_start and position < end and self.line_count > 0:
        # RFC 9112, 5.2: a folded line must be rejected (or replaced by spaces).
        if ws_is_white(data[position]):
            return WS_HEAD_OBS_FOLD
        if self.line_count > limits.max_fields and data[position] != WS_CR:
            return WS_HEAD_TOO_MANY_FIELDS

    while position < end and ws_is_line_byte(data[position]):
        position += 1
    self.position = position
    length = position - self.line_start
    if length > limits.max_line_size:
        return WS_HEAD_LINE_TOO_LONG

    if position < end:
        # RFC 9112, 2.2: a bare CR is invalid. A bare LF may be accepted as a line end; it is not
        # accepted here, because request smuggling uses such differences.
        if data[position] == WS_LF:
            return WS_HEAD_BARE_LF
        if data[position] != WS_CR:
            return WS_HEAD_BAD_BYTE
        if position + 1 < end:
            if data[position + 1] != WS_LF:
                return WS_HEAD_BARE_CR
            line[0] = ws_make_span(self.line_start, length)
            self.position = self.line_start = position + 2
            self.line_count += 1
            if length > 0:
                return WS_HEAD_LINE
            return WS_HEAD_END if self.line_count > 1 else WS_HEAD_EMPTY_START_LINE

    return WS_HEAD_MORE if size < limits.max_size else WS_HEAD_TOO_LARGE


cdef inline int parse_version(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    # "HTTP/" DIGIT "." DIGIT, in upper case (RFC 9112, 2.3); -1 if it is not
    if (
        size == 8
        and data[0] == c'H' and data[1] == c'T' and data[2] == c'T' and data[3] == c'P'
        and data[4] == c'/' and ws_is_digit(data[5]) and data[6] == c'.' and ws_is_digit(data[7])
    ):
        return (data[5] - c'0') * 10 + data[7] - c'0'
    return -1


cdef bint is_get_or_head(const uint8_t* method, Py_ssize_t size) noexcept nogil:
    return (size == 3 and memcmp(method, b"GET", 3) == 0) or (
        size == 4 and memcmp(method, b"HEAD", 4) == 0)


cdef int ws_parse_request_line(
    const uint8_t* line, Py_ssize_t size, ws_request_line* out
) noexcept nogil:
    # request-line = method SP request-target SP HTTP-version (RFC 9112, 3)
    cdef Py_ssize_t method_size = 0
    cdef Py_ssize_t target, end
    while method_size < size and ws_is_tchar(line[method_size]):
        method_size += 1
    if method_size == 0 or method_size == size or line[method_size] != WS_SP:
        return WS_HEAD_BAD_REQUEST_LINE
    target = end = method_size + 1
    while end < size and line[end] != WS_SP:
        end += 1
    if end == target or end == size:
        return WS_HEAD_BAD_REQUEST_LINE
    out.version = parse_version(line + end + 1, size - end - 1)
    if out.version < 0:
        return WS_HEAD_BAD_VERSION
    out.method = ws_make_span(0, method_size)
    if ws_find_path(line + target, end - target, &out.path):
        ws_move_span(&out.path, target)
    elif is_get_or_head(line, method_size):
        return WS_HEAD_BAD_TARGET
    else:
        # CONNECT, OPTIONS and M-SEARCH have targets of their own.
        if not ws_has_target_bytes(line + target, end - target):
            return WS_HEAD_BAD_TARGET
        out.path = ws_make_span(target, end - target)
    return 0


cdef int ws_parse_status_line(
    const uint8_t* line, Py_ssize_t size, ws_status_line* out
) noexcept nogil:
    # status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112, 4). The second SP
    # may be missing here: servers that send no reason often leave it out.
    if size < 12 or line[8] != WS_SP or (size > 12 and line[12] != WS_SP):
        return WS_HEAD_BAD_STATUS_LINE
    out.version = parse_version(line, 8)
    if out.version < 0:
        return WS_HEAD_BAD_STATUS_LINE
    if not (c'1' <= line[9] <= c'9' and ws_is_digit(line[10]) and ws_is_digit(line[11])):
        return WS_HEAD_BAD_STATUS_LINE
    out.status = (line[9] - c'0') * 100 + (line[10] - c'0') * 10 + line[11] - c'0'
    out.reason = ws_make_span(13, size - 13) if size > 13 else ws_make_span(size, 0)
    return 0


cdef int ws_parse_field_line(const uint8_t* line, Py_ssize_t size, ws_field* out) noexcept nogil:
    # field-line = field-name ":" OWS field-value OWS (RFC 9112, 5)
    cdef Py_ssize_t name_size = 0
    cdef Py_ssize_t start
    while name_size < size and ws_is_tchar(line[name_size]):
        name_size += 1
    if name_size == size:
        return WS_HEAD_FIELD_WITHOUT_COLON
    if line[name_size] != c':':
        # RFC 9112, 5.1: white space before the colon must be rejected.
        return WS_HEAD_SPACE_IN_NAME if ws_is_white(line[name_size]) else WS_HEAD_BAD_NAME
    if name_size == 0:
        return WS_HEAD_FIELD_WITHOUT_NAME
    start = name_size + 1
    while start < size and ws_is_white(line[start]):
        start += 1
    while size > start and ws_is_white(line[size - 1]):
        size -= 1
    out.name = ws_make_span(0, name_size)
    out.value = ws_make_span(start, size - start)
    return 0


cdef bint ws_next_field(
    const uint8_t* head, Py_ssize_t size, Py_ssize_t* position, ws_field* field
) noexcept nogil:
    cdef const uint8_t* line_end
    cdef Py_ssize_t start = position[0]
    if start == 0:
        # Only the position is used: the head is never written to.
        line_end = <const uint8_t*>memchr(head, WS_LF, size)
        if line_end == NULL:
            return False
        start = line_end - head + 1
    line_end = <const uint8_t*>memchr(head + start, WS_CR, size - start)
    if line_end == NULL:
        return False
    if ws_parse_field_line(head + start, line_end - head - start, field) != 0:
        return False
    ws_move_span(&field.name, start)
    ws_move_span(&field.value, start)
    position[0] = line_end - head + 2
    return True


cdef const char* ws_head_status_text(int status) noexcept nogil:
    if status == WS_HEAD_LINE_TOO_LONG:
        return "a line exceeds max_handshake_line_size"
    if status == WS_HEAD_TOO_MANY_FIELDS:
        return "more header lines than max_handshake_headers"
    if status == WS_HEAD_TOO_LARGE:
        return "the head exceeds max_handshake_size"
    if status == WS_HEAD_BAD_BYTE:
        return "a control character in the head (RFC 9110, 5.5)"
    if status == WS_HEAD_BARE_CR:
        return "a CR without LF (RFC 9112, 2.2)"
    if status == WS_HEAD_BARE_LF:
        return "a LF without CR (RFC 9112, 2.2)"
    if status == WS_HEAD_OBS_FOLD:
        return "a folded header line (RFC 9112, 5.2)"
    if status == WS_HEAD_EMPTY_START_LINE:
        return "an empty line in place of the first line (RFC 9112, 2.1)"
    if status == WS_HEAD_BAD_REQUEST_LINE:
        return "malformed request line (RFC 9112, 3)"
    if status == WS_HEAD_BAD_TARGET:
        return "malformed request target (RFC 9112, 3.2)"
    if status == WS_HEAD_BAD_VERSION:
        return "malformed HTTP version (RFC 9112, 2.3)"
    if status == WS_HEAD_BAD_STATUS_LINE:
        return "malformed status line (RFC 9112, 4)"
    if status == WS_HEAD_FIELD_WITHOUT_COLON:
        return "a header line without a colon (RFC 9112, 5)"
    if status == WS_HEAD_FIELD_WITHOUT_NAME:
        return "a header line without a name (RFC 9112, 5)"
    if status == WS_HEAD_SPACE_IN_NAME:
        return "white space in a header name or before its colon (RFC 9112, 5.1)"
    if status == WS_HEAD_BAD_NAME:
        return "malformed header name (RFC 9110, 5.1)"
    return "nothing is wrong"


cdef int ws_head_http_status(const ws_head_scan* scan, int status) noexcept nogil:
    if status == WS_HEAD_TOO_MANY_FIELDS:
        return 431
    if status == WS_HEAD_LINE_TOO_LONG or status == WS_HEAD_TOO_LARGE:
        return 414 if scan.line_count == 0 else 431
    return 400


# Text

cdef str ws_decode_header(const uint8_t* data, Py_ssize_t size):
    return PyUnicode_DecodeUTF8(<const char*>data, size, "surrogateescape")


cdef str ws_span_text(bytes data, ws_span span):
    return ws_decode_header(ws_start_of(data) + span.start, span.size)


cdef str ws_version_text(int version):
    return _HTTP_1_1 if version == 11 else f"HTTP/{version // 10}.{version % 10}"


# Python face

cdef int _raise_if_wrong(int status, int http_status=400) except -1:
    if status < 0:
        raise WSInvalidMessageError(
            ws_head_status_text(status).decode("ascii"), status=http_status)
    return 0


@cython.final
cdef class HeadScanner:
    """Find the lines of a head that arrives in pieces, under limits.

    ``max_line_size`` counts the bytes of a line without its CRLF, ``max_headers`` the lines
    after the first, ``max_size`` all bytes of the head.
    """

    def __init__(
        self, *, Py_ssize_t max_line_size=8192, Py_ssize_t max_headers=128,
        Py_ssize_t max_size=65536,
    ):
        memset(&self._scan, 0, sizeof(self._scan))
        self._limits = ws_make_head_limits(max_line_size, max_headers, max_size)
        self.finished = False

    @property
    def position(self):
        """Bytes of the head that have been read; they are never read again."""
        return self._scan.position

    def feed(self, data):
        """Return the new lines as (start, size), without their CRLF.

        ``data`` is bytes-like and holds the head from its first byte to the last that arrived.
        ``finished`` is set with the empty line, after which the head is ``data[:position]``.
        Raises :exc:`WSInvalidMessageError`, whose ``status`` is the HTTP status of the response.
        """
        cdef Py_buffer buffer
        cdef ws_span line
        cdef int status = WS_HEAD_LINE
        lines = []
        PyObject_GetBuffer(data, &buffer, PyBUF_SIMPLE)
        try:
            while status == WS_HEAD_LINE and not self.finished:
                status = ws_head_next_line(
                    &self._scan, &self._limits, <const uint8_t*>buffer.buf, buffer.len, &line)
                if status == WS_HEAD_LINE:
                    lines.append((line.start, line.size))
                self.finished = status == WS_HEAD_END
        finally:
            PyBuffer_Release(&buffer)
        _raise_if_wrong(status, ws_head_http_status(&self._scan, status))
        return lines


def parse_request_line(bytes line not None):
    """Return method, path with query, and version, or raise :exc:`WSInvalidMessageError`."""
    cdef ws_request_line out
    _raise_if_wrong(ws_parse_request_line(ws_start_of(line), len(line), &out))
    return (
        ws_span_text(line, out.method), ws_span_text(line, out.path), ws_version_text(out.version))


def parse_status_line(bytes line not None):
    """Return version, status and reason, or raise :exc:`WSInvalidMessageError`."""
    cdef ws_status_line out
    _raise_if_wrong(ws_parse_status_line(ws_start_of(line), len(line), &out))
    return ws_version_text(out.version), out.status, ws_span_text(line, out.reason)


def parse_field_line(bytes line not None):
    """Return name and value, or raise :exc:`WSInvalidMessageError`."""
    cdef ws_field out
    _raise_if_wrong(ws_parse_field_line(ws_start_of(line), len(line), &out))
    return ws_span_text(line, out.name), ws_span_text(line, out.value)
