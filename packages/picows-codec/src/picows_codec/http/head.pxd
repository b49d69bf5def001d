"""The lines of an HTTP/1.1 head, under limits (RFC 9112, 2 to 5). Private tier.

Plain functions over pointers and plain structs: no socket, no allocation, no GIL. Positions are
offsets from the first byte of the head, so a buffer may move between two calls.
"""

from libc.stdint cimport uint8_t

from picows_codec.http.grammar cimport ws_span

cdef enum ws_head_status:
    WS_HEAD_MORE = 0        # everything so far is fine, the head goes on
    WS_HEAD_LINE = 1        # a line is complete
    WS_HEAD_END = 2         # the empty line at the end of the head is complete
    # What a peer can do wrong:
    WS_HEAD_LINE_TOO_LONG = -1
    WS_HEAD_TOO_MANY_FIELDS = -2
    WS_HEAD_TOO_LARGE = -3
    WS_HEAD_BAD_BYTE = -4
    WS_HEAD_BARE_CR = -5
    WS_HEAD_BARE_LF = -6
    WS_HEAD_OBS_FOLD = -7
    WS_HEAD_EMPTY_START_LINE = -8
    WS_HEAD_BAD_REQUEST_LINE = -9
    WS_HEAD_BAD_TARGET = -10
    WS_HEAD_BAD_VERSION = -11
    WS_HEAD_BAD_STATUS_LINE = -12
    WS_HEAD_FIELD_WITHOUT_COLON = -13
    WS_HEAD_FIELD_WITHOUT_NAME = -14
    WS_HEAD_SPACE_IN_NAME = -15
    WS_HEAD_BAD_NAME = -16

cdef struct ws_head_limits:
    Py_ssize_t max_line_size    # bytes of one line, its CRLF not counted
    Py_ssize_t max_fields       # header lines
    Py_ssize_t max_size         # bytes of the head, with the empty line at its end

cdef inline ws_head_limits ws_make_head_limits(
    Py_ssize_t max_line_size, Py_ssize_t max_fields, Py_ssize_t max_size
) noexcept nogil:
    cdef ws_head_limits made
    made.max_line_size = max_line_size
    made.max_fields = max_fields
    made.max_size = max_size
    return made


cdef struct ws_head_scan:
    # Zero-initialise before the first byte. Every byte before `position` was looked at.
    Py_ssize_t position
    Py_ssize_t line_start
    Py_ssize_t line_count

cdef struct ws_field:
    ws_span name
    ws_span value               # without the white space around it

cdef struct ws_request_line:
    ws_span method
    ws_span path                # path and query: the target without scheme and authority
    int version                 # 11 for HTTP/1.1

cdef struct ws_status_line:
    int version                 # 11 for HTTP/1.1
    int status                  # 100 to 999
    ws_span reason              # may be empty


# Find the next line of a head. data[0:size] is everything that has arrived, from the first byte
# of the head on. Only bytes from scan.position on are read, so the work is linear in the number of
# bytes, whatever pieces they arrive in. Limits hold for unfinished lines, too. Returns
# WS_HEAD_LINE (line is set), WS_HEAD_END (the head ends at scan.position), WS_HEAD_MORE, or what
# is wrong. The bytes of a line are HTAB, SP, VCHAR or obs-text; any other byte is an error.
cdef int ws_head_next_line(
    ws_head_scan* self, const ws_head_limits* limits,
    const uint8_t* data, Py_ssize_t size, ws_span* line) noexcept nogil

# Parse one line that ws_head_next_line found, without its CRLF. Return 0 or what is wrong;
# spans are relative to the start of the line.
cdef int ws_parse_request_line(
    const uint8_t* line, Py_ssize_t size, ws_request_line* out) noexcept nogil
cdef int ws_parse_status_line(
    const uint8_t* line, Py_ssize_t size, ws_status_line* out) noexcept nogil
cdef int ws_parse_field_line(
    const uint8_t* line, Py_ssize_t size, ws_field* out) noexcept nogil

# The next header of a complete head whose lines passed the functions above. Start with position 0.
cdef bint ws_next_field(
    const uint8_t* head, Py_ssize_t size, Py_ssize_t* position, ws_field* field) noexcept nogil

# One line on what is wrong, and the HTTP status of the response to it.
cdef const char* ws_head_status_text(int status) noexcept nogil
cdef int ws_head_http_status(const ws_head_scan* scan, int status) noexcept nogil

# Bytes of a head as text: UTF-8 where they are, otherwise kept by surrogateescape, because header
# values are opaque bytes to HTTP.
cdef str ws_decode_header(const uint8_t* data, Py_ssize_t size)
cdef str ws_span_text(bytes data, ws_span span)

# "HTTP/1.1" for 11; always the same object for that.
cdef str ws_version_text(int version)


cdef class HeadScanner:
    cdef readonly bint finished
    cdef ws_head_scan _scan
    cdef ws_head_limits _limits
