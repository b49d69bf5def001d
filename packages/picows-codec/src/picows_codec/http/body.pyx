# cython: auto_pickle=False
"""Where a message's content ends: Content-Length and the chunked coding (RFC 9112, 6 and 7.1).

The class and the function at the end are the Python face of the C functions.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memmove, memset

from picows_codec.http.grammar cimport (
    WS_CR,
    WS_LF,
    ws_hex_value,
    ws_is_digit,
    ws_is_line_byte,
    ws_is_white,
    ws_start_of,
)

__all__ = ["ChunkedDecoder", "parse_content_length"]

cdef extern from *:
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum chunked_state:
    CHUNK_SIZE = 0
    CHUNK_EXTENSION = 1
    CHUNK_SIZE_LF = 2
    CHUNK_DATA = 3
    CHUNK_DATA_CR = 4
    CHUNK_DATA_LF = 5


cdef Py_ssize_t ws_parse_content_length(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t length = 0
    cdef Py_ssize_t position
    if size == 0:
        return -1
    for position in range(size):
        if not ws_is_digit(data[position]):
            return -1
        if length > (PY_SSIZE_T_MAX - 9) // 10:
            length = PY_SSIZE_T_MAX
        else:
            length = length * 10 + data[position] - c'0'
    return length


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
            digit = ws_hex_value(byte)
            if digit >= 0 and self.remaining <= (PY_SSIZE_T_MAX >> 4):
                self.remaining = self.remaining * 16 + digit
                self.digits += 1
            elif digit >= 0 or self.digits == 0:
                self.broken = True
            elif byte == WS_CR:
                self.state = CHUNK_SIZE_LF
            elif byte == c';' or ws_is_white(byte):
                self.state = CHUNK_EXTENSION
            else:
                self.broken = True
        elif self.state == CHUNK_EXTENSION:
            if byte == WS_CR:
                self.state = CHUNK_SIZE_LF
            elif not ws_is_line_byte(byte):
                self.broken = True
        elif self.state == CHUNK_SIZE_LF:
            self.broken = byte != WS_LF
            self.done = byte == WS_LF and self.remaining == 0
            self.state = CHUNK_DATA
        elif self.state == CHUNK_DATA_CR:
            self.broken = byte != WS_CR
            self.state = CHUNK_DATA_LF
        else:
            self.broken = byte != WS_LF
            self.state = CHUNK_SIZE
            self.digits = 0
    return written


# Python face

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
            &self._state, <uint8_t*>PyBytes_AS_STRING(out), ws_start_of(data), len(data))
        return out[:size]


def parse_content_length(bytes data not None):
    """Return the number, or None if data is not one. Huge numbers are cut to ``sys.maxsize``."""
    cdef Py_ssize_t length = ws_parse_content_length(ws_start_of(data), len(data))
    return None if length < 0 else length
