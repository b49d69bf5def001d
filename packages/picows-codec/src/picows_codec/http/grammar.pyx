# cython: auto_pickle=False
"""Bytes, tokens and lists: what HTTP's heads are made of (RFC 9110, 5.5 and 5.6).

The functions in the second half are the Python face of the C ones, one to one.
"""

from cpython.bytes cimport PyBytes_AS_STRING

__all__ = ["is_field_value", "is_token", "list_contains", "list_elements"]


cdef bint ws_is_token(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t position = 0
    while position < size and ws_is_tchar(data[position]):
        position += 1
    return position == size and size > 0


cdef bint ws_is_field_value(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t position = 0
    while position < size and ws_is_line_byte(data[position]):
        position += 1
    return position == size


cdef bint ws_list_next(
    const uint8_t* value, Py_ssize_t size, Py_ssize_t* position, ws_span* element
) noexcept nogil:
    cdef Py_ssize_t start = position[0]
    cdef Py_ssize_t end
    while start < size and (value[start] == c',' or ws_is_white(value[start])):
        start += 1
    end = start
    while end < size and value[end] != c',':
        end += 1
    position[0] = end
    while end > start and ws_is_white(value[end - 1]):
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


# Python face

def is_token(bytes data not None):
    """Whether data is a token (RFC 9110, 5.6.2)."""
    return ws_is_token(ws_start_of(data), len(data))


def is_field_value(bytes data not None):
    """Whether data has neither a line break nor another control character but HTAB."""
    return ws_is_field_value(ws_start_of(data), len(data))


def list_elements(bytes value not None):
    """Return the elements of a comma-separated list that are not empty (RFC 9110, 5.6.1)."""
    cdef Py_ssize_t position = 0
    cdef ws_span element
    elements = []
    while ws_list_next(ws_start_of(value), len(value), &position, &element):
        elements.append(value[element.start:element.start + element.size])
    return elements


def list_contains(bytes value not None, bytes token not None):
    """Whether the list has the token, given in lower case, in any case."""
    return ws_list_contains(ws_start_of(value), len(value), PyBytes_AS_STRING(token))
