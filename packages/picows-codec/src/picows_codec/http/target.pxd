"""What a request is addressed to: its target and the value of its Host header. Private tier."""

from libc.stdint cimport uint8_t

from picows_codec.http.grammar cimport ws_span

# Find path and query in a request target: all of it but the scheme and authority of an absolute
# URI. Returns 0 if it is neither in origin-form nor in absolute-form (RFC 9112, 3.2).
cdef bint ws_find_path(const uint8_t* target, Py_ssize_t size, ws_span* path) noexcept nogil

# 1 if all bytes may stand in a request target.
cdef bint ws_has_target_bytes(const uint8_t* data, Py_ssize_t size) noexcept nogil

# 1 if the bytes are an origin-form or absolute-form target / a Host value that is not empty
# (RFC 9112, 3.2; RFC 9110, 7.2).
cdef bint ws_is_target(const uint8_t* data, Py_ssize_t size) noexcept nogil
cdef bint ws_is_host(const uint8_t* data, Py_ssize_t size) noexcept nogil
