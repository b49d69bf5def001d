"""Close payloads: code and reason (RFC 6455, 5.5.1 and 7.4). Stable tier."""

from libc.stdint cimport uint8_t

cimport picows_codec.abi

# 1000-1003, 1007-1014, 3000-4999: the same codes may be sent and received.
cdef bint ws_close_code_allowed(int code) noexcept nogil

# Check a received close payload. Returns 0 and sets code (1005 if the payload is empty), or
# returns a negative ws_violation. The reason, if any, is payload[2:size], valid UTF-8.
cdef int ws_check_close_payload(const uint8_t* payload, size_t size, int* code) noexcept nogil

# Build a close payload: b"" for code None. Raises WSInvalidCloseError for a code that may not
# be sent or a reason over 123 bytes or not UTF-8. code: int; reason: str, bytes-like or None.
cpdef bytes encode_close_payload(object code, object reason=*)
