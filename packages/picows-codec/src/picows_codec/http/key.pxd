"""Sec-WebSocket-Key and the Sec-WebSocket-Accept for it (RFC 6455, 4). Private tier."""

from libc.stdint cimport uint8_t

# 1 if the bytes are the base64 of 16 bytes, in its canonical spelling (RFC 6455, 4.2.1, 5).
cdef bint ws_is_key(const uint8_t* data, Py_ssize_t size) noexcept nogil

# The key of a new connection: 24 bytes (RFC 6455, 4.1, 7).
cdef bytes ws_new_key()

# Sec-WebSocket-Accept for the 24 bytes of a Sec-WebSocket-Key (RFC 6455, 4.2.2, 5.4).
cdef bytes ws_accept_for_key(bytes key)
