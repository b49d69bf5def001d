# cython: auto_pickle=False
"""What a request is addressed to: its target and the value of its Host header.

The functions in the second half are the Python face of the C ones, one to one.
"""

from picows_codec.http.grammar cimport (
    WS_DEL,
    WS_SP,
    ws_equals_ignore_case,
    ws_hex_value,
    ws_is_alpha,
    ws_is_digit,
    ws_make_span,
    ws_start_of,
)

__all__ = ["is_host", "is_target"]


cdef inline bint is_target_byte(uint8_t byte) noexcept nogil:
    # More than RFC 3986 has, because browsers send "|", "{" and "^" as they are; a fragment is
    # no part of a target.
    return WS_SP < byte < WS_DEL and byte != c'#'


cdef inline bint is_host_byte(uint8_t byte) noexcept nogil:
    # unreserved, sub-delims; "%" is checked separately
    return ws_is_alpha(byte) or ws_is_digit(byte) or byte in (
        c'-', c'.', c'_', c'~',
        c'!', c'$', c'&', c"'", c'(', c')', c'*', c'+', c',', c';', c'=')


cdef bint ws_has_target_bytes(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t position = 0
    while position < size and is_target_byte(data[position]):
        position += 1
    return position == size


cdef bint ws_find_path(const uint8_t* target, Py_ssize_t size, ws_span* path) noexcept nogil:
    cdef Py_ssize_t position = 0
    cdef Py_ssize_t authority
    if size == 0 or not ws_has_target_bytes(target, size):
        return False
    if target[0] != c'/':
        # RFC 6455, 4.2.1, 1: an absolute HTTP/HTTPS URI is allowed instead of its path.
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
    path[0] = ws_make_span(position, size - position)
    return True


cdef bint ws_is_target(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef ws_span path
    return ws_find_path(data, size, &path)


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
                or ws_hex_value(data[position + 1]) < 0
                or ws_hex_value(data[position + 2]) < 0
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
        if not ws_is_digit(data[position]):
            return False
        port = port * 10 + data[position] - c'0'
        position += 1
    return port <= 65535


# Python face

def is_target(bytes data not None):
    """Whether data is a request target in origin-form or absolute-form (RFC 9112, 3.2)."""
    return ws_is_target(ws_start_of(data), len(data))


def is_host(bytes data not None):
    """Whether data is a Host value: a name or address with or without a port (RFC 9110, 7.2)."""
    return ws_is_host(ws_start_of(data), len(data))
