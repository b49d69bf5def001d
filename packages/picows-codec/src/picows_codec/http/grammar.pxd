"""Bytes, tokens and lists: what HTTP's heads are made of (RFC 9110, 5.5 and 5.6). Private tier.

Plain functions over pointers and plain structs: no allocation, no GIL. Positions are offsets, so
a buffer may move between two calls.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t
from libc.string cimport strlen

cdef enum ws_ascii:
    WS_HTAB = 0x09
    WS_LF = 0x0A
    WS_CR = 0x0D
    WS_SP = 0x20
    WS_DEL = 0x7F

cdef struct ws_span:
    Py_ssize_t start
    Py_ssize_t size


cdef inline ws_span ws_make_span(Py_ssize_t start, Py_ssize_t size) noexcept nogil:
    cdef ws_span made
    made.start = start
    made.size = size
    return made


cdef inline void ws_move_span(ws_span* self, Py_ssize_t by) noexcept nogil:
    self.start += by


# Classes of bytes (RFC 5234, appendix B.1; RFC 9110, 5.5 and 5.6.2; RFC 3986, 2)

cdef inline bint ws_is_alpha(uint8_t byte) noexcept nogil:
    return c'a' <= (byte | 0x20) <= c'z'


cdef inline bint ws_is_digit(uint8_t byte) noexcept nogil:
    return c'0' <= byte <= c'9'


cdef inline int ws_hex_value(uint8_t byte) noexcept nogil:
    # -1 if the byte is no hexadecimal digit
    if ws_is_digit(byte):
        return byte - c'0'
    if c'a' <= (byte | 0x20) <= c'f':
        return (byte | 0x20) - c'a' + 10
    return -1


cdef inline bint ws_is_white(uint8_t byte) noexcept nogil:
    return byte == WS_SP or byte == WS_HTAB


cdef inline bint ws_is_line_byte(uint8_t byte) noexcept nogil:
    # HTAB, SP, VCHAR, obs-text
    return (byte >= WS_SP and byte != WS_DEL) or byte == WS_HTAB


cdef inline bint ws_is_tchar(uint8_t byte) noexcept nogil:
    return ws_is_alpha(byte) or ws_is_digit(byte) or byte in (
        c'!', c'#', c'$', c'%', c'&', c"'", c'*', c'+', c'-', c'.', c'^', c'_', c'`', c'|', c'~')


# 1 if the bytes are the given lower-case text, in any case of its letters.
cdef inline bint ws_equals_ignore_case(
    const uint8_t* data, Py_ssize_t size, const char* lower
) noexcept nogil:
    cdef Py_ssize_t position
    cdef uint8_t byte
    if <Py_ssize_t>strlen(lower) != size:
        return False
    for position in range(size):
        byte = data[position]
        if (byte | 0x20 if c'A' <= byte <= c'Z' else byte) != <uint8_t>lower[position]:
            return False
    return True


# The first byte; valid as long as the object is.
cdef inline const uint8_t* ws_start_of(bytes data) noexcept:
    return <const uint8_t*>PyBytes_AS_STRING(data)


# 1 if the bytes are a token / a field value without line breaks or control characters
# (RFC 9110, 5.6.2 and 5.5).
cdef bint ws_is_token(const uint8_t* data, Py_ssize_t size) noexcept nogil
cdef bint ws_is_field_value(const uint8_t* data, Py_ssize_t size) noexcept nogil

# The next element of a comma-separated list, without the empty ones (RFC 9110, 5.6.1). Start with
# position 0; returns 0 when there are no more. A comma in a quoted string counts like any other.
cdef bint ws_list_next(
    const uint8_t* value, Py_ssize_t size, Py_ssize_t* position, ws_span* element) noexcept nogil

# 1 if a list has the token, which is given in lower case; the list may be in any case.
cdef bint ws_list_contains(
    const uint8_t* value, Py_ssize_t size, const char* token) noexcept nogil
