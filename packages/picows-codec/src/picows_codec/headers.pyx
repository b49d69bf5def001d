# cython: auto_pickle=False
"""Grammar of the opening handshake: HTTP/1.1 heads (RFC 9110, RFC 9112, RFC 6455, 4).

The functions in the second half are the Python face of the C ones, one to one.
"""

import hashlib
from binascii import b2a_base64

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memchr, memmove, memset, strlen

from multidict import CIMultiDict

from picows_codec.errors import WSInvalidMessageError, WSInvalidOptionError

__all__ = [
    "ChunkedDecoder",
    "HeadScanner",
    "accept_for_key",
    "is_field_value",
    "is_host",
    "is_key",
    "is_target",
    "is_token",
    "list_contains",
    "list_elements",
    "parse_content_length",
    "parse_field_line",
    "parse_request_line",
    "parse_status_line",
]

cdef extern from *:
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    HTAB = 0x09
    LF = 0x0A
    CR = 0x0D
    SP = 0x20
    DEL = 0x7F
    KEY_SIZE = 24

cdef enum chunked_state:
    CHUNK_SIZE = 0
    CHUNK_EXTENSION = 1
    CHUNK_SIZE_LF = 2
    CHUNK_DATA = 3
    CHUNK_DATA_CR = 4
    CHUNK_DATA_LF = 5


# Bytes (RFC 5234, appendix B.1; RFC 9110, 5.5 and 5.6.2; RFC 3986, 2)

cdef inline bint is_alpha(uint8_t byte) noexcept nogil:
    return c'a' <= (byte | 0x20) <= c'z'


cdef inline bint is_digit(uint8_t byte) noexcept nogil:
    return c'0' <= byte <= c'9'


cdef inline int hex_value(uint8_t byte) noexcept nogil:
    if is_digit(byte):
        return byte - c'0'
    if c'a' <= (byte | 0x20) <= c'f':
        return (byte | 0x20) - c'a' + 10
    return -1


cdef inline bint is_white(uint8_t byte) noexcept nogil:
    return byte == SP or byte == HTAB


cdef inline bint is_line_byte(uint8_t byte) noexcept nogil:
    # HTAB, SP, VCHAR, obs-text
    return (byte >= SP and byte != DEL) or byte == HTAB


cdef inline bint is_tchar(uint8_t byte) noexcept nogil:
    return is_alpha(byte) or is_digit(byte) or byte in (
        c'!', c'#', c'$', c'%', c'&', c"'", c'*', c'+', c'-', c'.', c'^', c'_', c'`', c'|', c'~')


cdef inline bint is_target_byte(uint8_t byte) noexcept nogil:
    # More than RFC 3986 has, because browsers send "|", "{" and "^" as they are; a fragment is
    # no part of a target.
    return SP < byte < DEL and byte != c'#'


cdef inline bint is_host_byte(uint8_t byte) noexcept nogil:
    # unreserved, sub-delims; "%" is checked apart
    return is_alpha(byte) or is_digit(byte) or byte in (
        c'-', c'.', c'_', c'~',
        c'!', c'$', c'&', c"'", c'(', c')', c'*', c'+', c',', c';', c'=')


cdef inline bint is_base64_byte(uint8_t byte) noexcept nogil:
    return is_alpha(byte) or is_digit(byte) or byte == c'+' or byte == c'/'


cdef inline uint8_t to_lower(uint8_t byte) noexcept nogil:
    return byte | 0x20 if c'A' <= byte <= c'Z' else byte


# Lines

cdef int ws_head_next_line(
    ws_head_scan* self, const ws_head_limits* limits,
    const uint8_t* data, Py_ssize_t size, ws_span* line
) noexcept nogil:
    cdef Py_ssize_t end = size if size < limits.max_size else limits.max_size
    cdef Py_ssize_t position = self.position
    cdef Py_ssize_t length

    if position == self.line_start and position < end and self.line_count > 0:
        # RFC 9112, 5.2: a folded line must be rejected (or replaced by spaces).
        if is_white(data[position]):
            return WS_HEAD_OBS_FOLD
        if self.line_count > limits.max_fields and data[position] != CR:
            return WS_HEAD_TOO_MANY_FIELDS

    while position < end and is_line_byte(data[position]):
        position += 1
    self.position = position
    length = position - self.line_start
    if length > limits.max_line_size:
        return WS_HEAD_LINE_TOO_LONG

    if position < end:
        # RFC 9112, 2.2: a bare CR is invalid; a bare LF may be taken for a line end, and is not
        # here, because request smuggling lives on such differences.
        if data[position] == LF:
            return WS_HEAD_BARE_LF
        if data[position] != CR:
            return WS_HEAD_BAD_BYTE
        if position + 1 < end:
            if data[position + 1] != LF:
                return WS_HEAD_BARE_CR
            line.start = self.line_start
            line.size = length
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
        and data[4] == c'/' and is_digit(data[5]) and data[6] == c'.' and is_digit(data[7])
    ):
        return (data[5] - c'0') * 10 + data[7] - c'0'
    return -1


cdef bint find_path(const uint8_t* target, Py_ssize_t size, ws_span* path) noexcept nogil:
    """0 if the target is neither in origin-form nor in absolute-form (RFC 9112, 3.2)."""
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t authority
    while position < size:
        if not is_target_byte(target[position]):
            return False
        position += 1
    if size == 0:
        return False
    path.start = 0
    if target[0] != c'/':
        # RFC 6455, 4.2.1, 1: an absolute HTTP/HTTPS URI is as good as its path.
        if size > 7 and ws_equals_ignore_case(target, 7, "http://"):
            authority = 7
        elif size > 8 and ws_equals_ignore_case(target, 8, "https://"):
            authority = 8
        else:
            return False
        position = authority
        while position < size and target[position] != c'/' and target[position] != c'?':
            position += 1
        if not ws_is_host(target + authority, position - authority):
            return False
        path.start = position
    path.size = size - path.start
    return True


cdef int ws_parse_request_line(
    const uint8_t* line, Py_ssize_t size, ws_request_line* out
) noexcept nogil:
    # request-line = method SP request-target SP HTTP-version (RFC 9112, 3)
    cdef Py_ssize_t method_size = 0
    cdef Py_ssize_t target, end
    while method_size < size and is_tchar(line[method_size]):
        method_size += 1
    if method_size == 0 or method_size == size or line[method_size] != SP:
        return WS_HEAD_BAD_REQUEST_LINE
    target = end = method_size + 1
    while end < size and line[end] != SP:
        end += 1
    if end == target or end == size:
        return WS_HEAD_BAD_REQUEST_LINE
    out.version = parse_version(line + end + 1, size - end - 1)
    if out.version < 0:
        return WS_HEAD_BAD_VERSION
    out.method.start = 0
    out.method.size = method_size
    if find_path(line + target, end - target, &out.path):
        out.path.start += target
    elif method_size == 3 and line[0] == c'G' and line[1] == c'E' and line[2] == c'T':
        return WS_HEAD_BAD_TARGET
    else:
        # CONNECT and OPTIONS have targets of their own; no other method is served anyway.
        out.path.start = target
        out.path.size = end - target
        while target < end:
            if not is_target_byte(line[target]):
                return WS_HEAD_BAD_TARGET
            target += 1
    return 0


cdef int ws_parse_status_line(
    const uint8_t* line, Py_ssize_t size, ws_status_line* out
) noexcept nogil:
    # status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112, 4). The second SP
    # is forgiven: servers that send no reason often leave it out, and the reason means nothing.
    if size < 12 or line[8] != SP or (size > 12 and line[12] != SP):
        return WS_HEAD_BAD_STATUS_LINE
    out.version = parse_version(line, 8)
    if out.version < 0:
        return WS_HEAD_BAD_STATUS_LINE
    if not (is_digit(line[9]) and is_digit(line[10]) and is_digit(line[11])) or line[9] == c'0':
        return WS_HEAD_BAD_STATUS_LINE
    out.status = (line[9] - c'0') * 100 + (line[10] - c'0') * 10 + line[11] - c'0'
    out.reason.start = 13 if size > 13 else size
    out.reason.size = size - out.reason.start
    return 0


cdef int ws_parse_field_line(const uint8_t* line, Py_ssize_t size, ws_field* out) noexcept nogil:
    # field-line = field-name ":" OWS field-value OWS (RFC 9112, 5)
    cdef Py_ssize_t name_size = 0
    cdef Py_ssize_t start
    while name_size < size and is_tchar(line[name_size]):
        name_size += 1
    if name_size == size:
        return WS_HEAD_FIELD_WITHOUT_COLON
    if line[name_size] != c':':
        # RFC 9112, 5.1: white space before the colon must be rejected.
        return WS_HEAD_SPACE_IN_NAME if is_white(line[name_size]) else WS_HEAD_BAD_NAME
    if name_size == 0:
        return WS_HEAD_FIELD_WITHOUT_NAME
    start = name_size + 1
    while start < size and is_white(line[start]):
        start += 1
    while size > start and is_white(line[size - 1]):
        size -= 1
    out.name.start = 0
    out.name.size = name_size
    out.value.start = start
    out.value.size = size - start
    return 0


cdef bint ws_next_field(
    const uint8_t* head, Py_ssize_t size, Py_ssize_t* position, ws_field* field
) noexcept nogil:
    cdef const uint8_t* line_end
    cdef Py_ssize_t start = position[0]
    if start == 0:
        # memchr's answer is used as a position only: the head is never written to.
        line_end = <const uint8_t*>memchr(head, LF, size)
        if line_end == NULL:
            return False
        start = line_end - head + 1
    line_end = <const uint8_t*>memchr(head + start, CR, size - start)
    if line_end == NULL:
        return False
    if ws_parse_field_line(head + start, line_end - head - start, field) != 0:
        return False
    field.name.start += start
    field.value.start += start
    position[0] = line_end - head + 2
    return True


# The whole head

cdef int known_field(const uint8_t* name, Py_ssize_t size) noexcept nogil:
    if size == 4:
        if ws_equals_ignore_case(name, size, "host"):
            return WS_FIELD_HOST
    elif size == 7:
        if ws_equals_ignore_case(name, size, "upgrade"):
            return WS_FIELD_UPGRADE
    elif size == 8:
        if ws_equals_ignore_case(name, size, "location"):
            return WS_FIELD_LOCATION
    elif size == 10:
        if ws_equals_ignore_case(name, size, "connection"):
            return WS_FIELD_CONNECTION
    elif size == 14:
        if ws_equals_ignore_case(name, size, "content-length"):
            return WS_FIELD_CONTENT_LENGTH
    elif size == 17:
        if ws_equals_ignore_case(name, size, "sec-websocket-key"):
            return WS_FIELD_KEY
        if ws_equals_ignore_case(name, size, "transfer-encoding"):
            return WS_FIELD_TRANSFER_ENCODING
    elif size == 20:
        if ws_equals_ignore_case(name, size, "sec-websocket-accept"):
            return WS_FIELD_ACCEPT
    elif size == 21:
        if ws_equals_ignore_case(name, size, "sec-websocket-version"):
            return WS_FIELD_VERSION
    elif size == 22:
        if ws_equals_ignore_case(name, size, "sec-websocket-protocol"):
            return WS_FIELD_PROTOCOL
    elif size == 24:
        if ws_equals_ignore_case(name, size, "sec-websocket-extensions"):
            return WS_FIELD_EXTENSIONS
    return WS_FIELD_OTHER


cdef void note_field(
    ws_upgrade_head* self, const uint8_t* line, Py_ssize_t line_start, const ws_field* field
) noexcept nogil:
    cdef const uint8_t* value = line + field.value.start
    cdef Py_ssize_t size = field.value.size
    cdef int known = known_field(line + field.name.start, field.name.size)
    cdef Py_ssize_t position = 0
    cdef ws_span element
    if known == WS_FIELD_OTHER:
        return
    if (known == WS_FIELD_PROTOCOL or known == WS_FIELD_EXTENSIONS) and not ws_list_next(
        value, size, &position, &element
    ):
        return      # some peers and proxies send an empty list where they have nothing to say
    if self.fields[known].count == 0:
        self.fields[known].value.start = line_start + field.value.start
        self.fields[known].value.size = size
    self.fields[known].count += 1
    if known == WS_FIELD_UPGRADE:
        self.upgrade_websocket |= ws_list_contains(value, size, "websocket")
    elif known == WS_FIELD_CONNECTION:
        self.connection_upgrade |= ws_list_contains(value, size, "upgrade")
    elif known == WS_FIELD_CONTENT_LENGTH:
        self.has_content |= ws_parse_content_length(value, size) != 0
    elif known == WS_FIELD_TRANSFER_ENCODING:
        self.has_content = True
        self.chunked |= ws_list_contains(value, size, "chunked")


cdef int ws_upgrade_head_feed(
    ws_upgrade_head* self, const ws_head_limits* limits, bint is_request,
    const uint8_t* data, Py_ssize_t size
) noexcept nogil:
    cdef ws_span line
    cdef ws_field field
    cdef int status
    while True:
        status = ws_head_next_line(&self.scan, limits, data, size, &line)
        if status != WS_HEAD_LINE:
            return status
        if line.start > 0:
            status = ws_parse_field_line(data + line.start, line.size, &field)
            if status == 0:
                note_field(self, data + line.start, line.start, &field)
        elif is_request:
            status = ws_parse_request_line(data, line.size, &self.request_line)
        else:
            status = ws_parse_status_line(data, line.size, &self.status_line)
        if status != 0:
            return status


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


# Values

cdef bint ws_is_token(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t position = 0
    while position < size and is_tchar(data[position]):
        position += 1
    return position == size and size > 0


cdef bint ws_is_field_value(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t position = 0
    while position < size and is_line_byte(data[position]):
        position += 1
    return position == size


cdef bint ws_is_target(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef ws_span path
    return find_path(data, size, &path)


cdef bint ws_is_host(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    # uri-host [ ":" port ] (RFC 9110, 7.2), where uri-host is a name, an IPv4 address or an IP
    # literal in brackets (RFC 3986, 3.2.2); no user information
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t start = 0
    cdef bint literal = size > 0 and data[0] == c'['
    cdef int port = 0
    if literal:
        position = start = 1
    while position < size:
        if data[position] == c'%':
            if (
                position + 2 >= size
                or hex_value(data[position + 1]) < 0
                or hex_value(data[position + 2]) < 0
            ):
                return False
            position += 3
        elif is_host_byte(data[position]) or (literal and data[position] == c':'):
            position += 1
        else:
            break
    if position == start:
        return False
    if literal:
        if position == size or data[position] != c']':
            return False
        position += 1
    if position == size:
        return True
    if data[position] != c':' or size - position > 6:
        return False
    position += 1
    while position < size:
        if not is_digit(data[position]):
            return False
        port = port * 10 + data[position] - c'0'
        position += 1
    return port <= 65535


cdef bint ws_is_key(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t position
    if size != KEY_SIZE or data[22] != c'=' or data[23] != c'=':
        return False
    for position in range(22):
        if not is_base64_byte(data[position]):
            return False
    # 22 digits are 132 bits: the last four must be zero (RFC 4648, 3.5).
    return data[21] in (c'A', c'Q', c'g', c'w')


cdef Py_ssize_t ws_parse_content_length(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t position
    if size == 0:
        return -1
    for position in range(size):
        if not is_digit(data[position]):
            return -1
        if length > (PY_SSIZE_T_MAX - 9) // 10:
            length = PY_SSIZE_T_MAX
        else:
            length = length * 10 + data[position] - c'0'
    return length


cdef bint ws_list_next(
    const uint8_t* value, Py_ssize_t size, Py_ssize_t* position, ws_span* element
) noexcept nogil:
    cdef Py_ssize_t start = position[0]
    cdef Py_ssize_t end
    while start < size and (value[start] == c',' or is_white(value[start])):
        start += 1
    end = start
    while end < size and value[end] != c',':
        end += 1
    position[0] = end
    while end > start and is_white(value[end - 1]):
        end -= 1
    element.start = start
    element.size = end - start
    return end > start


cdef bint ws_list_contains(
    const uint8_t* value, Py_ssize_t size, const char* token
) noexcept nogil:
    cdef Py_ssize_t position = 0
    cdef ws_span element
    while ws_list_next(value, size, &position, &element):
        if ws_equals_ignore_case(value + element.start, element.size, token):
            return True
    return False


cdef bint ws_equals_ignore_case(
    const uint8_t* data, Py_ssize_t size, const char* lower
) noexcept nogil:
    cdef Py_ssize_t position
    if <Py_ssize_t>strlen(lower) != size:
        return False
    for position in range(size):
        if to_lower(data[position]) != <uint8_t>lower[position]:
            return False
    return True


cdef Py_ssize_t ws_chunked_feed(
    ws_chunked* self, uint8_t* out, const uint8_t* data, Py_ssize_t size
) noexcept nogil:
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t written = 0
    cdef Py_ssize_t piece
    cdef uint8_t byte
    cdef int digit
    while position < size and not self.done and not self.broken:
        if self.state == CHUNK_DATA:
            piece = size - position
            if piece > self.remaining:
                piece = self.remaining
            memmove(out + written, data + position, piece)
            written += piece
            position += piece
            self.remaining -= piece
            if self.remaining == 0:
                self.state = CHUNK_DATA_CR
            continue
        byte = data[position]
        position += 1
        if self.state == CHUNK_SIZE:
            digit = hex_value(byte)
            if digit >= 0 and self.remaining <= (PY_SSIZE_T_MAX >> 4):
                self.remaining = self.remaining * 16 + digit
                self.digits += 1
            elif digit >= 0 or self.digits == 0:
                self.broken = True
            elif byte == CR:
                self.state = CHUNK_SIZE_LF
            elif byte == c';' or is_white(byte):
                self.state = CHUNK_EXTENSION
            else:
                self.broken = True
        elif self.state == CHUNK_EXTENSION:
            if byte == CR:
                self.state = CHUNK_SIZE_LF
            elif not is_line_byte(byte):
                self.broken = True
        elif self.state == CHUNK_SIZE_LF:
            self.broken = byte != LF
            self.done = byte == LF and self.remaining == 0
            self.state = CHUNK_DATA
        elif self.state == CHUNK_DATA_CR:
            self.broken = byte != CR
            self.state = CHUNK_DATA_LF
        else:
            self.broken = byte != LF
            self.state = CHUNK_SIZE
            self.digits = 0
    return written


# Python objects

cdef str ws_decode_header(const uint8_t* data, Py_ssize_t size):
    return PyUnicode_DecodeUTF8(<const char*>data, size, "surrogateescape")


cdef object ws_headers_of(bytes head):
    cdef const uint8_t* data = <const uint8_t*>PyBytes_AS_STRING(head)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(head)
    cdef Py_ssize_t position = 0
    cdef ws_field field
    headers = CIMultiDict()
    while ws_next_field(data, size, &position, &field):
        headers.add(
            ws_decode_header(data + field.name.start, field.name.size),
            ws_decode_header(data + field.value.start, field.value.size))
    return headers


# What decides about the upgrade or where the message ends is the library's alone.
cdef frozenset _RESERVED = frozenset(
    ("connection", "content-length", "transfer-encoding", "upgrade"))


cdef bytes ws_encode_field(object name, object value, str where):
    cdef bytes name_bytes, value_bytes
    if not isinstance(name, str):
        raise TypeError(f"{where}: a header name must be str, not {type(name).__name__}: {name!r}")
    if not isinstance(value, str):
        raise TypeError(
            f"{where}: the value of header {name!r} must be str, not {type(value).__name__}")
    name_bytes = (<str>name).encode("utf-8", "replace")
    if not ws_is_token(<const uint8_t*>PyBytes_AS_STRING(name_bytes), PyBytes_GET_SIZE(name_bytes)):
        raise WSInvalidOptionError(
            f"{where}: {name!r} is not a header name: a token is wanted (RFC 9110, 5.1)")
    lower = (<str>name).lower()
    if lower in _RESERVED or lower.startswith("sec-websocket-"):
        raise WSInvalidOptionError(
            f"{where}: header {name!r} is set by the library and cannot be passed")
    # Values may be secrets: messages name the header only.
    try:
        value_bytes = (<str>value).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise WSInvalidOptionError(
            f"{where}: the value of header {name!r} has a lone surrogate") from None
    if not ws_is_field_value(
        <const uint8_t*>PyBytes_AS_STRING(value_bytes), PyBytes_GET_SIZE(value_bytes)
    ):
        raise WSInvalidOptionError(
            f"{where}: the value of header {name!r} has a line break or another control "
            f"character (RFC 9110, 5.5)")
    return b"%b: %b\r\n" % (name_bytes, value_bytes)


cdef list ws_header_pairs(object headers, str where):
    if headers is None:
        return []
    if not isinstance(headers, (str, bytes)):
        items = getattr(headers, "items", None)
        try:
            return [(name, value) for name, value in (headers if items is None else items())]
        except (TypeError, ValueError):
            pass
    raise TypeError(
        f"{where} must be a mapping or an iterable of (name, value) pairs, "
        f"not {type(headers).__name__}")


# Imported and made here, not for the first key: a process may be unable to open files by then.
try:
    _empty_sha1 = hashlib.sha1(usedforsecurity=False)
except TypeError:  # Python 3.8
    _empty_sha1 = hashlib.sha1()
cdef object _sha1 = _empty_sha1


cdef bytes ws_accept_for_key(bytes key):
    hasher = _sha1.copy()       # faster than a new one
    hasher.update(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
    digest = hasher.digest()
    return b2a_base64(digest, newline=False)


# Python face

cdef int _raise_if_wrong(int status, int http_status=400) except -1:
    if status < 0:
        raise WSInvalidMessageError(
            ws_head_status_text(status).decode("ascii"), status=http_status)
    return 0


cdef inline const uint8_t* _start(bytes data) noexcept:
    return <const uint8_t*>PyBytes_AS_STRING(data)


cdef inline str _text(bytes data, ws_span span):
    return ws_decode_header(_start(data) + span.start, span.size)


cdef inline str _version_text(int version):
    return f"HTTP/{version // 10}.{version % 10}"


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
        self._limits.max_line_size = max_line_size
        self._limits.max_fields = max_headers
        self._limits.max_size = max_size
        self.finished = False

    @property
    def position(self):
        """Bytes of the head that were looked at; they are never looked at again."""
        return self._scan.position

    def feed(self, data):
        """Return the new lines as (start, size), without their CRLF.

        ``data`` is bytes-like and holds the head from its first byte to the last that arrived.
        ``finished`` is set with the empty line, after which the head is ``data[:position]``.
        Raises :exc:`WSInvalidMessageError`, whose ``status`` is the HTTP status that answers it.
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


@cython.final
cdef class ChunkedDecoder:
    """Decoder of the chunked transfer coding (RFC 9112, 7.1)."""

    def __init__(self):
        memset(&self._state, 0, sizeof(self._state))

    @property
    def done(self):
        """The last chunk was read."""
        return self._state.done

    @property
    def broken(self):
        """What came is not chunked; nothing after it is decoded."""
        return self._state.broken

    def feed(self, bytes data not None):
        """Return the content of the next piece."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, len(data))
        cdef Py_ssize_t size = ws_chunked_feed(
            &self._state, <uint8_t*>PyBytes_AS_STRING(out), _start(data), len(data))
        return out[:size]


def parse_request_line(bytes line not None):
    """Return method, path with query, and version, or raise :exc:`WSInvalidMessageError`."""
    cdef ws_request_line out
    _raise_if_wrong(ws_parse_request_line(_start(line), len(line), &out))
    return _text(line, out.method), _text(line, out.path), _version_text(out.version)


def parse_status_line(bytes line not None):
    """Return version, status and reason, or raise :exc:`WSInvalidMessageError`."""
    cdef ws_status_line out
    _raise_if_wrong(ws_parse_status_line(_start(line), len(line), &out))
    return _version_text(out.version), out.status, _text(line, out.reason)


def parse_field_line(bytes line not None):
    """Return name and value, or raise :exc:`WSInvalidMessageError`."""
    cdef ws_field out
    _raise_if_wrong(ws_parse_field_line(_start(line), len(line), &out))
    return _text(line, out.name), _text(line, out.value)


def is_token(bytes data not None):
    """Whether data is a token (RFC 9110, 5.6.2)."""
    return ws_is_token(_start(data), len(data))


def is_field_value(bytes data not None):
    """Whether data has neither a line break nor another control character but HTAB."""
    return ws_is_field_value(_start(data), len(data))


def is_target(bytes data not None):
    """Whether data is a request target in origin-form or absolute-form (RFC 9112, 3.2)."""
    return ws_is_target(_start(data), len(data))


def is_host(bytes data not None):
    """Whether data is a Host value: a name or address with or without a port (RFC 9110, 7.2)."""
    return ws_is_host(_start(data), len(data))


def is_key(bytes data not None):
    """Whether data is base64 of 16 bytes in its canonical spelling (RFC 6455, 4.2.1)."""
    return ws_is_key(_start(data), len(data))


def parse_content_length(bytes data not None):
    """Return the number, or None if data is not one. Huge numbers are cut to ``sys.maxsize``."""
    cdef Py_ssize_t length = ws_parse_content_length(_start(data), len(data))
    return None if length < 0 else length


def list_elements(bytes value not None):
    """Return the elements of a comma-separated list that are not empty (RFC 9110, 5.6.1)."""
    cdef Py_ssize_t position = 0
    cdef ws_span element
    elements = []
    while ws_list_next(_start(value), len(value), &position, &element):
        elements.append(value[element.start:element.start + element.size])
    return elements


def list_contains(bytes value not None, bytes token not None):
    """Whether the list has the token, given in lower case, in any case."""
    return ws_list_contains(_start(value), len(value), PyBytes_AS_STRING(token))


def accept_for_key(str key not None):
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455, 4.2.2, 5.4)."""
    return ws_accept_for_key(key.encode("ascii")).decode("ascii")
