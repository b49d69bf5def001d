"""Where a message's content ends: Content-Length and the chunked coding. Private tier."""

from libc.stdint cimport uint8_t

cdef struct ws_chunked:
    # Decoder of the chunked transfer coding (RFC 9112, 7.1). Zero-initialise.
    int state
    Py_ssize_t remaining
    Py_ssize_t digits
    bint done                   # the last chunk was read
    bint broken                 # this is not chunked


# The number in a Content-Length, at most the largest Py_ssize_t; -1 if it is not one.
cdef Py_ssize_t ws_parse_content_length(const uint8_t* data, Py_ssize_t size) noexcept nogil

# Decode the next piece into out, which has room for size bytes and may be data itself. Returns
# the number of bytes written to out; what follows the last chunk is ignored.
cdef Py_ssize_t ws_chunked_feed(
    ws_chunked* self, uint8_t* out, const uint8_t* data, Py_ssize_t size) noexcept nogil


cdef class ChunkedDecoder:
    cdef ws_chunked _state
